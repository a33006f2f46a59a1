"""Stages over clips: what is asked, what will be done.

for outcome in plan(GifRequest(inputs=("in.gif",), stages="crop:left=10%; speed:2", output="out.gif")).run():
    print(outcome.result)
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from vedit.errors import UsageError, option, silent
from vedit.jobs.batch.files import Item, name_outputs
from vedit.jobs.media.chain import Spec, build_chain, parse_chain, subtitle_specs
from vedit.jobs.media.files import FilesPlan, cores_for, joined, limits_of, one_output
from vedit.jobs.media.max_size import Setting, check_fits, fitted, wish_of
from vedit.jobs.media.rates import EARLY_S, rate_of, rate_stages, read_as
from vedit.jobs.request import Request
from vedit.jobs.sink import Quiet, Sink
from vedit.media.formats import output_format
from vedit.media.light import DEFAULT_CURVE
from vedit.media.limits import seconds
from vedit.media.options import QuantiseOptions, ReadOptions, WriteOptions
from vedit.media.run import BuildStages, Report, Settings, before_packing, run_file


class GifFields(NamedTuple):
    """The fields of `GifRequest`."""

    inputs: tuple[str, ...] = ("-",)
    stages: str | tuple[tuple[str, Mapping[str, str]], ...] = ()
    output: str | None = None
    output_dir: str | None = None
    in_place: bool = False
    suffix: str = ""
    overwrite: bool | None = None
    to: str | None = None
    loop: str | None = None
    strip: str | None = None
    comment: str | None = None
    palette: str = "auto"
    colors: int = 256
    dither: str = "none"
    start: str | None = None
    end: str | None = None
    duration: str | None = None
    fps: str | None = None
    crf: int | None = None
    no_audio: bool = False
    subtitles: str | None = None
    subtitles_font: str | None = None
    tonemap: str = DEFAULT_CURVE
    deinterlace: str = "auto"
    strict: bool = False
    limits: tuple[str, ...] = ()
    jobs: int | None = None
    dry_run: bool = False
    join: bool = False
    max_size: str | None = None
    concat: bool = False
    crossfade: str | None = None
    size: str | None = None
    around: str | None = None
    still: str | None = None


class GifRequest(GifFields, Request):
    """Stages over one clip or many.

    inputs: files, folders, "-" for standard input; with join pictures, the frames of one clip.
    stages: a line as `parse_chain` reads it, or what it gives: names with the texts of their options; a
    single command is a chain of one. output, or output_dir
    with suffix, or in_place: where results go, standard output by default. overwrite: replace outputs that
    exist; False leaves them, None lets the face decide. to: format, by the output's name by default.
    loop, strip, comment: as the stage metadata has them, behind the others. palette, colors, dither,
    tonemap, deinterlace, strict: as `QuantiseOptions` and `ReadOptions` have them. start, end or duration:
    the part that the stages get, in seconds or as 1:02.5. fps: frames per second of the result, at most so
    many in a GIF. crf, no_audio: of films. subtitles: a file whose
    words are drawn in behind the stages, in the letters of the file subtitles_font if there is one.
    limits: KEY=N. jobs: threads. dry_run: write nothing. concat: join the inputs, one after another, in
    front of the stages; with crossfade, size, around and still, texts as `concat.Manner` has them.
    """

    @property
    def specs(self) -> list[Spec]:
        """All stages with the texts of their options."""
        asked = parse_chain(self.stages) if isinstance(self.stages, str) else self.stages
        marks = {"loop": self.loop, "strip": self.strip, "comment": self.comment}
        given = {name: text for name, text in marks.items() if text is not None}
        specs = [(name, dict(texts)) for name, texts in asked]
        if any(moment is not None for moment in (self.start, self.end, self.duration)):
            start_s, end_s = _part(self)
            end = "" if end_s is None else _text(end_s)
            specs.insert(0, ("frames", {"time": f"{_text(start_s)}-{end}"}))
        place = len(specs) - (bool(specs) and specs[-1][0] == "optimize")
        specs[place:place] = subtitle_specs(self.subtitles, self.subtitles_font)
        return [*specs, ("metadata", given)] if given else specs


def _part(request: GifRequest) -> tuple[Fraction, Fraction | None]:
    """The part of the clip that is asked for, in seconds. Raises UsageError."""
    if request.end is not None and request.duration is not None:
        raise UsageError(
            f"{option('end')} and {option('duration')} were given together.", "Give one of them."
        )
    start_s = read_as(seconds, request.start, "start") or Fraction(0)
    end_s = read_as(seconds, request.end, "end")
    length_s = read_as(seconds, request.duration, "duration")
    if length_s is not None:
        end_s = start_s + length_s
    if end_s is not None and end_s <= start_s:
        raise UsageError(
            "the part of the clip is empty.",
            f"{option('end')} is behind {option('start')}, {option('duration')} more than 0, in seconds.",
        )
    return start_s, end_s


def _text(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def _with_rate(build: BuildStages, fps: Fraction, output: str, to: str | None) -> BuildStages:
    """The stages, and behind them one that gives the result its rate."""
    sink = output_format(output, to)
    return lambda: before_packing(build(), rate_stages(fps, sink))


def read_options(request: GifRequest) -> ReadOptions:
    """How the inputs are read. Raises UsageError."""
    start_s, end_s = _part(request)
    if request.concat:  # the part is one of the whole
        start_s, end_s = Fraction(0), None
    early_s = max(Fraction(0), start_s - EARLY_S)
    return ReadOptions(
        limits=limits_of(request.limits), strict=request.strict, tonemap=request.tonemap,
        start_s=early_s, duration_s=None if end_s is None else end_s - early_s,
        deinterlace=request.deinterlace, rate=read_as(rate_of, request.fps, "fps"), still_s=end_s,
        pictures=request.inputs if request.join else (),
    )  # fmt: skip


def stages_of(request: GifRequest) -> Callable[[str], BuildStages]:
    """What makes the stages of a clip, by the name of its output. Raises UsageError."""
    return _stages_of(request, request.specs)


def _stages_of(request: GifRequest, specs: Sequence[Spec]) -> Callable[[str], BuildStages]:
    build = build_chain(specs)
    fps = read_as(rate_of, request.fps, "fps")
    return lambda output: _with_rate(build, fps, output, request.to) if fps else build


def _items(request: GifRequest, sink: Sink, to_terminal: bool) -> list[Item]:
    if request.join:
        return [
            joined(
                request.inputs, request.output, request.output_dir, request.in_place, request.to,
                request.overwrite, to_terminal,
            )
        ]  # fmt: skip
    if request.concat:
        if request.inputs.count("-") > 1:
            raise UsageError("- is named twice, and standard input is read once.")
        return [
            one_output(
                request.inputs, request.output, request.to, request.overwrite, to_terminal,
                "Every name is an input.",
            )
        ]  # fmt: skip
    return name_outputs(
        request.inputs, request.output, request.output_dir, request.in_place, request.suffix, request.to,
        request.overwrite, is_stdout_tty=to_terminal, makes_folders=not request.dry_run, say=sink.warn,
    )  # fmt: skip


def plan(request: GifRequest, sink: Sink = Quiet(), *, to_terminal: bool = False) -> FilesPlan:
    """Check the stages, and pair inputs with outputs.

    to_terminal: standard output is a terminal, which takes no clip. Raises VeditError.
    """
    stages = stages_of(request)  # a wrong option is found before any input is opened
    items = _items(request, sink, to_terminal and not request.dry_run)
    read = read_options(request)
    settings = Settings(
        write=WriteOptions(format=request.to, crf=request.crf, keep_audio=not request.no_audio),
        quantise=QuantiseOptions(request.palette, request.colors, request.dither),
    )

    wish = wish_of(request.max_size)
    run = _runner(request, read)

    def work(item: Item, settings: Settings) -> Report:
        if wish is None or request.dry_run:
            return run(item.input, item.output, stages(item.output), settings, request.dry_run)
        check_fits("-" if "-" in request.inputs else item.input, item.output, request.to)
        heard = settings.warn
        quiet = settings._replace(warn=silent)

        def attempt(setting: Setting, path: str) -> Report:
            build = _stages_of(request, setting.specs(request.specs))(path)
            manner = settings if setting == Setting() else quiet
            return run(item.input, path, build, manner.with_colors(setting.colors), False)

        return fitted(attempt, wish, item.output, heard)

    return FilesPlan(items, work, settings, cores_for(request.jobs))


def _refuse_idle(request: GifRequest) -> None:
    """Raise UsageError for what only says how clips are joined."""
    for name in ("crossfade", "size", "around", "still"):
        if (value := getattr(request, name)) is not None:
            raise UsageError(f"{option(name, value)} has no meaning without {option('concat', True)}.")


def _runner(
    request: GifRequest, read: ReadOptions
) -> Callable[[str, str, BuildStages, Settings, bool], Report]:
    """What makes an output of an input, or of all of them. Raises UsageError."""
    if not request.concat:
        _refuse_idle(request)
        return lambda name, output, build, settings, dry_run: run_file(
            name, output, build, settings, read, dry_run
        )
    from vedit.jobs.media.concat import manner_of, run_concat

    manner = manner_of(request.crossfade, request.size, request.around, request.still)
    return lambda _, output, build, settings, dry_run: run_concat(
        request.inputs, manner, output, build, settings, read, dry_run
    )
