"""Convert any clip to any format: the GIF pipeline with other sources, sinks and times."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import NamedTuple

from vedit.errors import UsageError, option, silent
from vedit.jobs.batch.files import Item, name_outputs, refuse_collisions
from vedit.jobs.media.chain import build_chain, subtitle_specs
from vedit.jobs.media.files import FilesPlan, cores_for, joined, limits_of
from vedit.jobs.media.max_size import Setting, check_fits, fitted, wish_of
from vedit.jobs.media.rates import EARLY_S, rate_of, rate_stages, read_as
from vedit.jobs.request import Request
from vedit.jobs.sink import Quiet, Sink
from vedit.media.atomic import check_output
from vedit.media.formats import FORMATS, format_of
from vedit.media.light import DEFAULT_CURVE
from vedit.media.limits import frame_size, seconds
from vedit.media.options import QuantiseOptions, ReadOptions, WriteOptions
from vedit.media.pipeline import Stage
from vedit.media.run import BuildStages, Report, Settings, run_file

RAW = ("rgb24", "rgba")


class ConvertFields(NamedTuple):
    """The fields of `ConvertRequest`."""

    inputs: tuple[str, ...] = ("-",)
    output: str | None = None
    output_dir: str | None = None
    suffix: str = ""
    overwrite: bool | None = None
    to: str | None = None
    source_format: str | None = None
    start: str = "0"
    duration: str | None = None
    width: int | None = None
    height: int | None = None
    fps: str | None = None
    raw_size: str | None = None
    rate: str | None = None
    raw_info: str | None = None
    background: str | None = None
    even: str = "pad"
    crf: int | None = None
    encoder_preset: str = "medium"
    quality: int | None = None
    repeat: int = 1
    tonemap: str = DEFAULT_CURVE
    deinterlace: str = "auto"
    no_audio: bool = False
    subtitles: str | None = None
    subtitles_font: str | None = None
    loop: str | None = None
    palette: str = "auto"
    colors: int = 256
    dither: str = "none"
    limits: tuple[str, ...] = ()
    jobs: int | None = None
    dry_run: bool = False
    join: bool = False
    max_size: str | None = None


class ConvertRequest(ConvertFields, Request):
    """Clips to be had in another format.

    inputs, join, outputs, overwrite, limits, jobs, dry_run: as `jobs.media.gif.GifRequest` has them; a folder
    of pictures is a clip. source_format: of the input, instead of a look at its first bytes. start,
    duration: a part of it, as `seconds` reads them. fps, rate: as `rate_of`; raw_size: WxH. subtitles,
    subtitles_font: as `GifRequest` has them. loop: of a GIF. The rest: as `Conversion`, `ReadOptions` and
    `WriteOptions` have it.
    """


class Conversion(NamedTuple):
    """What to take from the input, and what to make of it; None leaves a thing as it is.

    start_s, duration_s: part of the clip, in seconds.
    width, height: one of them keeps the aspect. fps: a GIF gets at most so many frames per second
    (None: 25 when the source is faster), other formats exactly so many.
    """

    start_s: Fraction = Fraction(0)
    duration_s: Fraction | None = None
    width: int | None = None
    height: int | None = None
    fps: Fraction | None = None
    read: ReadOptions = ReadOptions()
    write: WriteOptions = WriteOptions()


def convert(
    name: str,
    output: str,
    conversion: Conversion,
    settings: Settings,
    *,
    stages: BuildStages = tuple,
    dry_run: bool = False,
) -> Report:
    """Convert one clip; the output appears only when complete.

    name: a path, "-", or a folder of pictures. stages: makes stages to run last.
    Raises VeditError with the name of the input in front.
    """
    to = conversion.write.format or format_of(output)
    settings = settings._replace(write=conversion.write._replace(format=to, rate=conversion.fps))
    return run_file(
        name,
        output,
        lambda: [*build_stages(conversion, to), *stages()],
        settings,
        _read_options(conversion, to),
        dry_run,
    )


def _read_options(conversion: Conversion, to: str) -> ReadOptions:
    """What a video decoder does cheaper than a stage is asked of it too."""
    start_s, duration_s = conversion.start_s, conversion.duration_s
    if to != "gif":  # where the decoder sets the rate, its frames are counted from the start
        early_s = min(EARLY_S, start_s)
        start_s, duration_s = start_s - early_s, duration_s and duration_s + early_s
    read = conversion.read._replace(start_s=start_s, duration_s=duration_s)
    if conversion.width or conversion.height:
        read = read._replace(scale=(conversion.width, conversion.height))
    if to == "gif":
        from vedit.media.timing import GIF_RATE

        read = read._replace(fps=conversion.fps or GIF_RATE, is_quick=True)
    return read


def build_stages(conversion: Conversion, to: str) -> list[Stage]:
    """Trim, scale, and set the rate; each does nothing where the reader has done it."""
    from vedit.media.timing import Trim

    stages: list[Stage] = []
    if conversion.start_s or conversion.duration_s is not None:
        if conversion.start_s < 0 or (conversion.duration_s is not None and conversion.duration_s <= 0):
            raise UsageError(
                "the part of the clip is empty.",
                f"{option('start')} is 0 or more, {option('duration')} more than 0, both in seconds.",
            )
        stages.append(Trim(conversion.start_s, conversion.duration_s))
    if conversion.width or conversion.height:
        from vedit.stages.resize import Resize

        both = conversion.width is not None and conversion.height is not None
        resize = (
            Resize(size=(conversion.width, conversion.height))
            if both
            else Resize(width=conversion.width, height=conversion.height)
        )
        resize.accepts = (*resize.accepts, "yuv")  # planes come from a decoder, which has scaled already
        stages.append(resize)
    if conversion.fps is not None:
        stages += rate_stages(conversion.fps, to)
    return stages


def plan(request: ConvertRequest, sink: Sink = Quiet(), *, to_terminal: bool = False) -> FilesPlan:
    """Pair inputs with outputs, and read the values.

    to_terminal: standard output is a terminal, which takes no clip. Raises VeditError.
    """
    items = _items(request, sink, to_terminal and not request.dry_run)
    conversion = _conversion(request)
    marks = [("metadata", {"loop": request.loop})] if request.loop is not None else []
    specs = [*subtitle_specs(request.subtitles, request.subtitles_font), *marks]
    stages = build_chain(specs)
    wish = wish_of(request.max_size)

    def work(item: Item, settings: Settings) -> Report:
        if wish is None or request.dry_run:
            return convert(
                item.input, item.output, conversion, settings, stages=stages, dry_run=request.dry_run
            )
        check_fits(item.input, item.output, request.to)
        heard = settings.warn
        quiet = settings._replace(warn=silent)

        def attempt(setting: Setting, path: str) -> Report:
            manner = settings if setting == Setting() else quiet
            build = build_chain(setting.specs(specs))
            return convert(item.input, path, conversion, manner.with_colors(setting.colors), stages=build)

        return fitted(attempt, wish, item.output, heard)

    colours = QuantiseOptions(request.palette, request.colors, request.dither)
    return FilesPlan(items, work, Settings(quantise=colours), cores_for(request.jobs))


def _conversion(request: ConvertRequest) -> Conversion:
    reads_info = request.source_format in RAW
    start_s = read_as(seconds, request.start, "start")
    duration_s = read_as(seconds, request.duration, "duration")
    fps = read_as(rate_of, request.fps, "fps")
    return Conversion(
        start_s,
        duration_s,
        request.width,
        request.height,
        fps,
        ReadOptions(
            format=request.source_format,
            rate=read_as(rate_of, request.rate, "rate") or (None if reads_info else fps),
            pictures=request.inputs if request.join else (),
            still_s=None if duration_s is None else start_s + duration_s,
            size=read_as(frame_size, request.raw_size, "raw_size"),
            raw_info=request.raw_info if reads_info else None,
            limits=limits_of(request.limits),
            tonemap=request.tonemap,
            deinterlace=request.deinterlace,
        ),
        WriteOptions(
            format=request.to,
            background=request.background,
            quality=request.quality,
            raw_info=None if reads_info else request.raw_info,
            keep_audio=not request.no_audio,
            overwrite=bool(request.overwrite),
            crf=request.crf,
            preset=request.encoder_preset,
            even=request.even,
            repeat=request.repeat,
        ),
    )


def _items(request: ConvertRequest, sink: Sink, to_terminal: bool) -> list[Item]:
    """Pair inputs with outputs; a folder of pictures is one input, and frames go into a folder."""
    names, output, to = request.inputs, request.output, request.to
    if to is None and output is None:
        raise UsageError(
            "no output format.",
            f"The formats are: {', '.join(FORMATS)}.",
            f"Name the output with {option('output', 'FILE')}, or add {option('to', 'FORMAT')}",
        )
    if request.join:
        return [joined(names, output, request.output_dir, False, to, request.overwrite, to_terminal)]
    if output is not None and len(names) == 1:
        format = to or format_of(output)
        if format == "folder":
            return [Item(names[0], output)]
        if os.path.isdir(names[0]):
            check_output(output, (), request.overwrite)
            return [Item(names[0], output)]
    if to == "folder" and request.output_dir is not None:
        stems = [os.path.splitext(os.path.basename(name))[0] for name in names]
        items = [Item(name, os.path.join(request.output_dir, stem, "")) for name, stem in zip(names, stems)]
        refuse_collisions(items)
        return items
    return name_outputs(
        names, output, request.output_dir, False, request.suffix, to, request.overwrite,
        is_stdout_tty=to_terminal, makes_folders=not request.dry_run, say=sink.warn,
    )  # fmt: skip
