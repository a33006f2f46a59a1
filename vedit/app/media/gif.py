"""Run a chain of stages over a clip: open, plan, connect, write."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

from vedit.errors import InputError, UsageError, VeditError, reason_of
from vedit.media import gif
from vedit.media.atomic import open_output, same_file, whereabouts
from vedit.media.closing import ClosingFrames
from vedit.media.formats import LOOK, check_own_format, keeps_tags, output_format
from vedit.media.frames import Clip, Frame, Frames
from vedit.media.limits import Limits, check_sides
from vedit.media.pipeline import Stage, connect, path_name, plan

BuildStages = Callable[[], Sequence[Stage]]


class Settings(NamedTuple):
    """What holds for every input of a call.

    jobs: threads for the frames of one clip. to: output format, None to go by the output's name.
    quantise: palette, colors, dither. video: options of the video writer.
    watch: wraps the frames on their way out, to show progress.
    """

    jobs: int = 1
    limits: Limits = Limits()
    strict: bool = False
    to: str | None = None
    quantise: Mapping[str, Any] = MappingProxyType({})
    read: Mapping[str, Any] = MappingProxyType({})
    write: Mapping[str, Any] = MappingProxyType({})
    warn: Callable[[str], None] = lambda message: None
    watch: Callable[[Frames, int | None], Frames] = lambda frames, total: frames


class Report(NamedTuple):
    """What was done, or would be done in a dry run, to one input."""

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


class Source:
    """An input that can be opened more than once when a stage needs a look ahead.

    A pipe is read once, unless `spool` copies it to a temporary file first.
    """

    def __init__(self, name: str, settings: Settings, stack: ExitStack) -> None:
        self.name = name
        self.settings = settings
        self.stack = stack
        self.stream = self._open()
        mode = os.fstat(self.stream.fileno()).st_mode
        if stat.S_ISDIR(mode):
            raise InputError("this is a folder.", "", "Give -O DIR to work on the clips in it")
        self.is_file = stat.S_ISREG(mode)
        self.size = os.fstat(self.stream.fileno()).st_size if self.is_file else None
        self.facts: gif.GifFacts | None = None
        self.start = self._peek()

    def _open(self) -> BinaryIO:
        if self.name == "-":
            if sys.stdin.isatty():
                raise UsageError("no input: standard input is a terminal.", "", "Name a file, or pipe a clip in")
            return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
        try:
            return self.stack.enter_context(open(self.name, "rb", buffering=0))
        except IsADirectoryError:
            raise InputError("this is a folder.", "", "Give -O DIR to work on the clips in it") from None
        except OSError as error:
            raise InputError(f"cannot read: {reason_of(error)}.") from None
        except ValueError as error:  # a NUL byte in the name
            raise InputError(f"cannot read: {error}.") from None

    def _peek(self) -> bytes:
        start = self.read(LOOK)
        while 0 < len(start) < LOOK and (more := self.read(LOOK - len(start))):
            start += more
        return start

    def read(self, count: int) -> bytes:
        try:
            return self.stream.read(count) or b""
        except OSError as error:
            raise InputError(f"cannot read: {reason_of(error)}.") from None

    def spool(self) -> None:
        """Make a pipe readable again by copying it to a temporary file."""
        if self.is_file:
            return
        from vedit.media.bytesource import spool

        copy = self.stack.enter_context(spool(self.stream, self.start, self.settings.limits))
        self.stream, self.is_file, self.size = copy, True, os.fstat(copy.fileno()).st_size
        self.start = self._peek()

    @property
    def is_gif(self) -> bool:
        return self.start[:4] == b"GIF8" and not self.is_named

    @property
    def is_text(self) -> bool:
        """Empty, or words where a clip should be: the GIF reader says so best."""
        return not self.is_named and (not self.start or self.start.lstrip()[:1] in (b"<", b"{"))

    @property
    def is_named(self) -> bool:
        """Whether the format was named, so that the first bytes are not looked at: raw frames are any."""
        return self.settings.read.get("format") not in (None, "gif")

    def scan(self, touches_pixels: bool) -> None:
        """Walk a GIF file's blocks: limits before any pixel is decoded, and facts for what follows."""
        if not (self.is_file and self.is_gif) or self.facts is not None:
            return
        limits = self.settings.limits if touches_pixels else Limits(0, 0, 0, *self.settings.limits[3:5], 0)
        self.stream.seek(0)
        self.facts = gif.scan_gif(self.read, limits=limits)

    def open(self, quiet: bool = False, wants_planes: bool = False) -> tuple[Clip, Frames, str, Callable[[str], None]]:
        """The clip, its frames, their kind, and what to call about damage found on the way.

        wants_planes: give the frames of a film as it stores them, if it can.
        """
        settings = self.settings
        warn = (lambda message: None) if quiet else settings.warn
        if not self.is_gif and not self.is_text:
            from vedit.media.open import open_clip

            if self.is_file:  # opened a second time: behind what was looked at
                self.stream.seek(len(self.start))
            clip, frames, kind = open_clip(
                self.name, stream=self.stream, start=self.start, limits=settings.limits, warn=warn, **{**settings.read, "wants_planes": wants_planes}
            )
            self.stack.callback(frames.close)  # a decoder must not outlive a failure, whatever still refers to it
            return clip, frames, kind, warn
        start = self.start
        if self.is_file:
            self.stream.seek(0)
            start = b""
        reader = gif.GifReader(self.read, self.name, start, limits=settings.limits, strict=settings.strict and not quiet, warn=warn)
        clip = reader.clip
        if self.facts is not None:
            clip = clip.but(loop=self.facts.loop, frames_hint=self.facts.images, duration_hint=self.facts.duration_cs, tail=clip.tail)
            reader.clip = clip
        read = ClosingFrames(reader.frames(), lambda: None)
        self.stack.callback(read.close)
        return clip, read, "packed", reader.hurt


def edit_gif(name: str, output: str, build: BuildStages, settings: Settings, dry_run: bool = False) -> Report:
    """Run the stages over one clip and write the result, which appears only when complete.

    name, output: paths, or "-" for standard input and output.
    build: makes fresh stages, since a stage holds the state of one clip.
    Raises VeditError with the name of the input in front.
    """
    try:
        with ExitStack() as stack:
            source = Source(name, settings, stack)
            if name != "-" and same_file(name, output) and not source.is_text:
                check_own_format(output, source.start)
            return edit_clip(source, output, build(), settings, dry_run)
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


def edit_clip(source: Any, output: str, stages: Sequence[Stage], settings: Settings, dry_run: bool) -> Report:
    """Run stages over an opened input; see `edit_gif`.

    source: a `Source`, or anything with its name, size, is_gif, is_text, spool, scan and open.
    """
    sink = output_format(output, settings.to)
    for stage in stages:
        if hasattr(stage, "jobs"):
            stage.jobs = settings.jobs
    sink_kind = "packed" if sink == "gif" else "rgba"
    source_kind = "packed" if source.is_gif or source.is_text else "rgba"
    if sink == "gif" and source_kind == "rgba":
        from vedit.media.timing import GifTiming

        stages = [*stages, GifTiming()]
    path = path_name(plan(stages, source_kind, sink_kind))
    if idle := idle_colours(settings.quantise, sink, path):
        settings.warn(idle)
    elif source_kind == sink_kind == "packed" and _wants_colours(settings.quantise):
        stages = [*stages, NewColours()]
    steps = plan(stages, source_kind, sink_kind)
    path = path_name(steps)
    if any(stage.prepass for stage in stages):
        source.spool()
    source.scan(touches_pixels=path != "copy")
    _look_ahead(source, stages, source_kind, settings)
    keeps_planes = keeps_tags(sink) and all("yuv" in stage.accepts for stage in stages) and isinstance(source, Source)
    clip, frames, kind, hurt = source.open(wants_planes=True) if keeps_planes else source.open()
    if kind == "yuv":
        steps = plan(stages, "yuv", "yuv")
        path = path_name(steps)
    clip.limits = settings.limits
    size_in = clip.width, clip.height
    images_in = clip.frames_hint
    clip, frames = connect(clip, frames, steps, converters(settings, hurt))
    check_sides(output, sink, clip.width, clip.height)
    report = Report(
        source.name, output, path, [step.name for step in steps], size_in, (clip.width, clip.height), clip.frames_hint or images_in, bytes_in=source.size
    )
    if dry_run:
        return _dry(report, clip, frames, path)
    frames = settings.watch(frames, report.images)
    try:
        return _write(clip, frames, output, sink, settings, report)
    finally:  # threads that feed a window stop now, not when the last reference to a traceback goes
        if hasattr(frames, "close"):
            frames.close()


class NewColours:
    """Nothing but a wish for full colour, so that a clip gets the palettes that were asked for."""

    name = "colours"
    accepts: tuple[str, ...] = ("rgba",)
    prepass: str | None = None

    def open(self, clip: Clip) -> Clip:
        return clip

    def run(self, frames: Frames) -> Frames:
        return frames


def _wants_colours(quantise: Mapping[str, Any]) -> bool:
    return quantise.get("colors", 256) != 256 or quantise.get("palette", "auto") in ("global", "frame")


def idle_colours(quantise: Mapping[str, Any], sink: str, path: str) -> str:
    """Which of --colors, --palette and --dither will change nothing, and why; "" when all act or none was given."""
    usual = {"palette": "auto", "colors": 256, "dither": "none"}
    given = [f"--{name}" for name, value in usual.items() if quantise.get(name, value) != value]
    if given and sink != "gif":
        return f"{' and '.join(given)} change{'' if len(given) > 1 else 's'} nothing: only a GIF has palettes"
    if given == ["--dither"] and path != "full":
        return "--dither changes nothing: the clip keeps every colour exactly; fewer are made by --colors"
    return ""


def _look_ahead(source: Any, stages: Sequence[Stage], source_kind: str, settings: Settings) -> None:
    """Let each stage that must know the whole clip observe it, behind the stages before it."""
    for place, stage in enumerate(stages):
        if stage.prepass:
            clip, frames, _, hurt = source.open(quiet=True)
            wanted = stage.prepass if source_kind == "packed" else "rgba"
            steps = plan(stages[:place], source_kind, wanted)
            clip, frames = connect(clip, frames, steps, converters(settings, hurt))
            stage.observe(clip, frames)  # type: ignore[attr-defined]


def converters(settings: Settings, hurt: Callable[[str], None]) -> dict[str, Callable[[Clip, Frames], Frames]]:
    """The conversions between kinds of frame; each imports what it needs when a plan holds it."""
    jobs = settings.jobs

    def unpack(clip: Clip, frames: Frames) -> Frames:
        from vedit.media import lzw

        return lzw.unpack(clip, frames, limits=settings.limits, hurt=hurt, jobs=jobs)

    def pack(clip: Clip, frames: Frames) -> Frames:
        from vedit.media import lzw

        return lzw.pack(clip, frames, jobs=jobs)

    def compose(clip: Clip, frames: Frames) -> Frames:
        from vedit.media import compose

        return compose.compose(clip, frames)

    def quantise(clip: Clip, frames: Frames) -> Frames:
        from vedit.media.quantise import QuantiseOptions, quantise

        chosen = {name: value for name, value in settings.quantise.items() if value is not None}
        return _primed(quantise(clip, frames, QuantiseOptions(**chosen), jobs))

    return {"unpack": unpack, "pack": pack, "compose": compose, "quantise": quantise}


def _primed(frames: Frames) -> Frames:
    """Draw the first frame now: the quantiser then has set the clip's palette for who comes next."""
    first = next(frames, None)
    return iter(()) if first is None else _behind(first, frames)


def _behind(first: Frame, frames: Frames) -> Frames:
    """A generator, unlike `itertools.chain`: closing it closes the frames."""
    yield first
    yield from frames


def _write(clip: Clip, frames: Frames, output: str, sink: str, settings: Settings, report: Report) -> Report:
    tally = Tally()
    if sink == "gif":
        with open_output(output) as stream:
            counter = _Counter(stream)
            gif.write_gif(clip, tally.count(frames), counter, flush=output == "-")  # type: ignore[arg-type]
        size: int | None = counter.bytes
    else:
        from vedit.media.open import write_clip

        write_clip(clip, tally.count(frames), output, format=settings.to, **settings.write)
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
