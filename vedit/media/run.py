"""Run a chain of stages over a clip: open, plan, connect, write."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, NamedTuple

from vedit.errors import VeditError, Warn, option, silent
from vedit.media.atomic import open_output, same_file, whereabouts
from vedit.media.formats import check_own_format, keeps_alpha, keeps_tags, output_format
from vedit.media.frames import Clip, Frames, Rect
from vedit.media.gif import container as gif
from vedit.media.limits import check_sides
from vedit.media.options import QuantiseOptions, ReadOptions, WriteOptions
from vedit.media.pipeline import Stage, at_stage, connect, converters, path_name, plan
from vedit.media.source import FileSource, Source, source_of

BuildStages = Callable[[], Sequence[Stage]]


def unwatched(frames: Frames, total: int | None) -> Frames:
    """Nobody looks on."""
    return frames


class Settings(NamedTuple):
    """What holds for every clip of a call.

    jobs: threads for the frames of one clip. watch: wraps the frames on their way out, to show progress.
    look: wraps the frames that a stage looks at before the clip is made. Both may raise, which ends the job.
    """

    jobs: int = 1
    write: WriteOptions = WriteOptions()
    quantise: QuantiseOptions = QuantiseOptions()
    warn: Warn = silent
    watch: Callable[[Frames, int | None], Frames] = unwatched
    look: Callable[[Frames], Frames] = iter

    def with_colors(self, most: int) -> "Settings":
        """The same with no more than so many colours."""
        return self._replace(quantise=self.quantise._replace(colors=min(most, self.quantise.colors)))


class Report(NamedTuple):
    """What was done, or would be done in a dry run, to one input. setting: what was given up for its size."""

    input: str
    output: str
    path: str
    steps: list[str]
    size_in: tuple[int, int]
    size_out: tuple[int, int]
    images: int | None = None
    delays: list[int] | None = None
    duration_s: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    setting: str | None = None


def run_file(
    name: str,
    output: str,
    build: BuildStages,
    settings: Settings,
    read: ReadOptions = ReadOptions(),
    dry_run: bool = False,
) -> Report:
    """Run the stages over one clip and write the result, which appears only when complete.

    name: a path, "-" for standard input, or a folder of pictures. output: a path, or "-" for standard output.
    build: makes fresh stages, since a stage holds the state of one clip.
    Raises VeditError with the name of the input in front.
    """
    try:
        with ExitStack() as stack:
            source = source_of(name, read, stack, settings.warn)
            if (
                isinstance(source, FileSource)
                and not source.is_text
                and name != "-"
                and same_file(name, output)
            ):
                check_own_format(output, source.start)
            return written(source, output, build(), settings, dry_run)
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


def written(
    source: Source,
    output: str,
    stages: Sequence[Stage] = (),
    settings: Settings = Settings(),
    dry_run: bool = False,
) -> Report:
    """Run stages over a source and write the result, see `run_file`. dry_run: tell what would be done, and
    write nothing.
    """
    sink = output_format(output, settings.write.format)
    sink_kind = "packed" if sink == "gif" else "rgba"
    stages = _with_what_the_sink_needs(source, sink, sink_kind, stages, settings)
    steps = plan(stages, source.kind, sink_kind)
    if any(stage.prepass for stage in stages):
        source.spool()
    source.scan(touches_pixels=path_name(steps) != "copy")
    if _look_ahead(source, stages, settings):  # what a stage has seen may spare it a conversion
        steps = plan(stages, source.kind, sink_kind)
    keeps_planes = keeps_tags(sink) and all("yuv" in stage.accepts for stage in stages)
    clip, frames, kind, hurt = source.open(wants_planes=keeps_planes)
    if kind == "yuv":
        steps = plan(stages, "yuv", "yuv")
    path = path_name(steps) if steps or kind == "packed" else "planes" if kind == "yuv" else "full"
    clip.limits, clip.jobs, clip.hurt = source.read.limits, settings.jobs, hurt
    size_in = clip.width, clip.height
    images_in = clip.frames_hint
    clip, frames = connect(
        clip, frames, steps, converters(source.read.limits, hurt, settings.jobs, settings.quantise)
    )
    check_sides(output, sink, clip.width, clip.height)
    report = Report(
        source.name,
        output,
        path,
        [step.name for step in steps],
        size_in,
        (clip.width, clip.height),
        clip.frames_hint or images_in,
        bytes_in=source.size,
    )
    if dry_run:
        return _dry(report, clip, frames, path)
    frames = settings.watch(frames, report.images)
    try:
        return _write(clip, frames, output, sink, settings.write, report)
    finally:  # threads that feed a window stop now, not when the last reference to a traceback goes
        if hasattr(frames, "close"):
            frames.close()


def _with_what_the_sink_needs(
    source: Source, sink: str, sink_kind: str, stages: Sequence[Stage], settings: Settings
) -> list[Stage]:
    """The stages, with a GIF's times behind them for what is no GIF, and a wish for the palettes that were
    asked for.
    """
    stages = list(stages)
    if sink == "gif" and source.kind == "rgba":
        from vedit.media.timing import GifTiming

        stages = before_packing(stages, [GifTiming()])
    wants_alpha = sink == "avif" or (keeps_alpha(sink) and settings.write.background is None)
    if wants_alpha and source.is_cheap:
        from vedit.media.alpha import SeenAlpha

        stages.append(SeenAlpha())
    path = path_name(plan(stages, source.kind, sink_kind))
    if idle := idle_colours(settings.quantise, sink, path):
        settings.warn(idle)
    elif source.kind == sink_kind == "packed" and _wants_colours(settings.quantise):
        stages = before_packing(stages, [NewColours()])
    return stages


def before_packing(stages: Sequence[Stage], added: Sequence[Stage]) -> list[Stage]:
    """The stages with others behind them, but in front of one that packs images, where none behind that
    looks at pixels.
    """
    place = len(stages)
    while place and "packed" in stages[place - 1].accepts:
        place -= 1
        if stages[place].accepts == ("packed",):
            return [*stages[:place], *added, *stages[place:]]
    return [*stages, *added]


class NewColours:
    """Nothing but a wish for full colour, so that a clip gets the palettes that were asked for."""

    name = "colours"
    accepts: tuple[str, ...] = ("rgba",)
    prepass: str | None = None

    def open(self, clip: Clip) -> Clip:
        return clip

    def run(self, frames: Frames) -> Frames:
        return frames


def _wants_colours(quantise: QuantiseOptions) -> bool:
    return quantise.colors != 256 or quantise.palette in ("global", "frame")


def idle_colours(quantise: QuantiseOptions, sink: str, path: str) -> str:
    """Which of the options of palettes will change nothing, and why; "" when all act or none was given."""
    given = [
        option(name)
        for name, value, usual in zip(quantise._fields, quantise, QuantiseOptions(), strict=True)
        if value != usual
    ]
    if given and sink != "gif":
        return f"{' and '.join(given)} change{'' if len(given) > 1 else 's'} nothing: only a GIF has palettes"
    if given == [option("dither")] and path != "full":
        return (
            f"{option('dither')} changes nothing: the clip keeps every colour exactly; fewer are made by"
            f" {option('colors')}"
        )
    return ""


def _look_ahead(source: Source, stages: Sequence[Stage], settings: Settings) -> bool:
    """Let each stage that must know the whole clip observe it, behind those before it; whether any did."""
    for place, stage in enumerate(stages):
        if stage.prepass:
            clip, read, _, hurt = source.open(quiet=True)
            wanted = stage.prepass if source.kind == "packed" else "rgba"
            steps = plan(stages[:place], source.kind, wanted)
            clip.limits, clip.jobs = source.read.limits, settings.jobs
            ways = converters(source.read.limits, hurt, settings.jobs, settings.quantise)
            clip, frames = connect(clip, read, steps, ways)
            with at_stage(place):
                stage.observe(clip, settings.look(frames))  # type: ignore[attr-defined]
            if hasattr(read, "close"):  # a decoder of film shares its place in the file with the next one
                read.close()
    return any(stage.prepass for stage in stages)


@contextmanager
def shown(
    name: str,
    output: str,
    build: BuildStages,
    settings: Settings = Settings(),
    read: ReadOptions = ReadOptions(),
    is_timing: bool = False,
) -> Iterator[tuple[Clip, Frames]]:
    """A clip behind its stages as whole pictures, before palettes are made or anything is written.

    output: whose format may ask for other times. is_timing: frames of any kind will do, since only their
    times are looked at. Errors name the input.
    """
    try:
        with ExitStack() as stack:
            source = source_of(name, read, stack, settings.warn)
            source.spool()
            sink = output_format(output, settings.write.format)
            stages = _with_what_the_sink_needs(source, sink, "rgba", build(), settings)
            kind = _cheapest(source, stages) if is_timing else "rgba"
            source.scan(touches_pixels=kind != "packed")
            _look_ahead(source, stages, settings)
            clip, frames, given, hurt = source.open()
            clip.limits, clip.jobs = source.read.limits, settings.jobs
            steps = plan(stages, given, kind)
            yield connect(clip, frames, steps, converters(source.read.limits, hurt, settings.jobs))
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


def _cheapest(source: Source, stages: Sequence[Stage]) -> str:
    """The kind of frames that all stages take with the least work."""
    if source.kind == "rgba":
        return "rgba"
    for kinds in (("packed",), ("packed", "index")):
        if all(any(kind in stage.accepts for kind in kinds) for stage in stages):
            return kinds[-1]
    return "rgba"


def marked(
    name: str,
    build: BuildStages,
    place: int,
    settings: Settings = Settings(),
    read: ReadOptions = ReadOptions(),
) -> tuple[tuple[int, int], list[Rect]]:
    """Width and height of what the stage at a place of a chain gets, and the rectangles that it marks there.

    Errors name the input.
    """
    try:
        with ExitStack() as stack:
            source = source_of(name, read, stack, settings.warn)
            source.spool()
            stages = list(build())[: place + 1]
            source.scan(touches_pixels=True)
            _look_ahead(source, stages, settings)
            clip, frames, kind, hurt = source.open()
            steps = plan(stages[:place], kind, "rgba")
            clip, frames = connect(clip, frames, steps, converters(source.read.limits, hurt))
            size = clip.width, clip.height
            with at_stage(place):
                stages[place].open(clip)
            return size, list(getattr(stages[place], "marked", ()))
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


def _write(clip: Clip, frames: Frames, output: str, sink: str, write: WriteOptions, report: Report) -> Report:
    tally = Tally()
    if sink == "gif":
        with open_output(output) as stream:
            counter = _Counter(stream)
            gif.write_gif(clip, tally.count(frames), counter, flush=output == "-")  # type: ignore[arg-type]
        size: int | None = counter.bytes
    else:
        from vedit.media.open import write_clip

        write_clip(clip, tally.count(frames), output, write)
        written = whereabouts(output)
        size = os.path.getsize(written) if os.path.isfile(written) else None
    return report._replace(images=tally.images, duration_s=float(tally.ticks * clip.timebase), bytes_out=size)


class Tally:
    """Count images and time as they pass."""

    images = 0
    ticks = 0

    def count(self, frames: Frames) -> Frames:
        for frame in frames:
            self.images += 1
            self.ticks += frame.duration
            yield frame


class _Counter:
    """A stream that counts the bytes written to it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.bytes = 0

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        return self.stream.write(data)

    def flush(self) -> None:
        self.stream.flush()


def _dry(report: Report, clip: Clip, frames: Frames, path: str) -> Report:
    """What a dry run can tell: the copy path costs nothing, so its delays are known too."""
    if path != "copy":
        return report
    delays = [frame.duration for frame in frames]
    return report._replace(images=len(delays), delays=delays, duration_s=float(sum(delays) * clip.timebase))
