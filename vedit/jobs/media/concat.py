"""One clip after another as a single clip: `vedit gif concat`.

GIFs of one size that need nothing but to follow one another stay as they are stored. Else every clip becomes
whole pictures of the joint size, with its own times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from math import gcd, lcm
from typing import NamedTuple

from vedit.errors import UsageError, VeditError, Warn, option
from vedit.jobs.media.rates import read_as
from vedit.media.closing import ClosingFrames
from vedit.media.crossfade import blended
from vedit.media.frames import GIF_TIMEBASE, Block, Clip, Frame, Frames
from vedit.media.gif.compose import CLEAR, RESTORE
from vedit.media.gif.container import GREYS
from vedit.media.joint_sound import JointSound
from vedit.media.limits import seconds
from vedit.media.memory import SMALL, check_whole
from vedit.media.options import ReadOptions
from vedit.media.pipeline import Stage, check_canvas, connect, converters, plan
from vedit.media.run import BuildStages, Report, Settings, written
from vedit.media.source import Opened, Source, source_of
from vedit.media.timing import BROWSER_DELAY_CS, SHORTEST_CS, is_gif_timed, playable, rounded
from vedit.stages.options import Size
from vedit.stages.pad import Ground, Pad
from vedit.stages.resize import Resize

STEP_S = Fraction(1, 20)  # the longest that an image of a crossfade is shown
GAP_S = SHORTEST_CS * GIF_TIMEBASE  # changes that are nearer to each other are one in a crossfade
STILL_S = Fraction(2)
BLACK = (0, 0, 0)
COMMENT = 0xFE
PIXEL_BYTES = 4


class Manner(NamedTuple):
    """How clips are joined.

    crossfade_s: how long one turns into the next. size: of the whole; None is the first clip's. around: the
    ground of clips of another shape, as the stage pad takes it. still_s: how long a picture is shown.
    """

    crossfade_s: Fraction = Fraction(0)
    size: tuple[int, int] | None = None
    around: tuple[int, int, int] | str = BLACK
    still_s: Fraction = STILL_S


def manner_of(crossfade: str | None, size: str | None, around: str | None, still: str | None) -> Manner:
    """The manner that texts tell. Raises UsageError."""
    manner = Manner(
        read_as(seconds, crossfade, "crossfade") or Fraction(0),
        read_as(Size(), size, "size"),
        BLACK if around is None else read_as(Ground(), around, "around"),
        STILL_S if still is None else read_as(seconds, still, "still"),
    )
    if not manner.still_s:
        raise UsageError(
            f"{option('still', still)} shows pictures for no time.", "It is a number of seconds, more than 0."
        )
    return manner


def run_concat(
    names: Sequence[str],
    manner: Manner,
    output: str,
    build: BuildStages,
    settings: Settings,
    read: ReadOptions,
    dry_run: bool = False,
) -> Report:
    """Join clips, run stages over the whole, and write it, see `media.run.run_file`.

    Raises VeditError with the name of the clip in front, where it is about one.
    """
    with ExitStack() as stack:
        source = ConcatSource(names, read, manner, stack, settings.warn)
        return written(source, output, build(), settings, dry_run)


class _Part(NamedTuple):
    """One of the clips. clip, kind: its facts, of a first look. played: ticks, where they are known."""

    name: str
    source: Source
    clip: Clip
    kind: str
    stages: tuple[Stage, ...] = ()
    can_follow: bool = False
    ends_clear: bool = False
    played: int | None = None


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the name of a clip in front of what is said of it."""
    try:
        yield
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


class ConcatSource:
    """Clips that follow one another, each from a clean canvas, as an input. See `media.source.Source`."""

    def __init__(
        self, names: Sequence[str], read: ReadOptions, manner: Manner, stack: ExitStack, warn: Warn
    ) -> None:
        self.name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        self.read, self.manner, self.stack, self.warn = read, manner, stack, warn
        self.parts = [self._look(name) for name in names]
        self.canvas = manner.size or (self.parts[0].clip.width, self.parts[0].clip.height)
        check_canvas(self.canvas, "concat", read.limits)
        self.parts = [part._replace(stages=self._fitting(part)) for part in self.parts]
        self.base = _common([part.clip.timebase for part in self.parts])
        rates = {part.clip.rate for part in self.parts}
        self.rate = rates.pop() if len(rates) == 1 else None
        self.overlap, self.step = self._overlap()
        sizes = [part.source.size for part in self.parts]
        self.size = None if None in sizes else sum(size for size in sizes if size is not None)
        self._explain()

    # --- what there is ---------------------------------------------------------------------------

    def _look(self, name: str) -> _Part:
        def named(message: str) -> None:
            self.warn(f"{name}: {message}")

        with _naming(name):
            source = source_of(name, self.read._replace(still_s=self.manner.still_s), self.stack, named)
            source.spool()
            source.scan(touches_pixels=True)
            clip, frames, kind, _ = source.open(quiet=True, wants_planes=True)
            part = _Part(name, source, clip, kind)
            if kind == "packed":
                part = _looked_through(part, frames)
            if hasattr(frames, "close"):
                frames.close()
        return part

    def _fitting(self, part: _Part) -> tuple[Stage, ...]:
        """What brings a clip to the size of the whole."""
        size = part.clip.width, part.clip.height
        if size == self.canvas:
            return ()
        resize = Resize(fit=self.canvas)
        target = resize.resolve(*size).view
        fits = (target.w, target.h)
        inside = "" if fits == self.canvas else f", as {_by(fits)} in its middle"
        self.warn(f"{part.name} is {_by(size)} and is fitted into {_by(self.canvas)}{inside}")
        return (resize,) if fits == self.canvas else (resize, Pad(self.canvas, color=self.manner.around))

    def _overlap(self) -> tuple[int, int]:
        """How long two clips are blended, and the longest that an image of that is shown, in ticks: whole
        frames where all clips have one rate.
        """
        wanted_s = self.manner.crossfade_s
        step = max(1, int(STEP_S / self.base))
        if not wanted_s:
            return 0, step
        if self.rate and (frame := 1 / self.rate / self.base).denominator == 1:
            return max(1, rounded(wanted_s * self.rate)) * int(frame), int(frame)
        return max(1, rounded(wanted_s / self.base)), step

    def _explain(self) -> None:
        """Say what differs, and refuse what is too short, where that is known."""
        rated = [part for part in self.parts if part.clip.rate]
        other = next((part for part in rated if part.clip.rate != rated[0].clip.rate), None)
        if other is not None and not self.read.rate:
            self.warn(
                f"{other.name} has {float(other.clip.rate or 0):g} frames a second and {rated[0].name}"
                f" {float(rated[0].clip.rate or 0):g}: each keeps its own times;"
                f" for one rate add {option('fps', 'R')}"
            )
        if any(part.clip.labels.chapters for part in self.parts) and len(self.parts) > 1:
            self.warn("chapters are left out")
        for place, part in enumerate(self.parts):
            if part.played is not None:
                self._check_length(place, part.played * rounded(part.clip.timebase / self.base))

    def _check_length(self, place: int, ticks: int) -> None:
        """Raise UsageError for a clip that is shorter than the crossfades at its ends."""
        ends = (place > 0) + (place < len(self.parts) - 1)
        if ticks >= ends * self.overlap:
            return
        name, lasts_s = self.parts[place].name, ticks * self.base
        both = " at both ends" if ends == 2 else ""
        most_s = rounded(lasts_s * 100 / ends - Fraction(1, 2)) / 100
        raise UsageError(
            f"it lasts {float(lasts_s):g} s, too short for a crossfade of"
            f" {float(self.manner.crossfade_s):g} s{both}.",
            "Each clip lasts at least as long as the crossfades at its ends.",
            f"Use {option('crossfade', most_s)}" if most_s > 0 else f"Leave {name} out",
        ).in_file(name)

    # --- an input --------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        return "packed" if self._is_stored() else "rgba"

    @property
    def is_cheap(self) -> bool:
        return all(part.source.is_cheap for part in self.parts)

    def _is_stored(self) -> bool:
        """Whether the images can follow one another as they are: each clip but the first draws all of its
        canvas first, or finds it empty.
        """
        if self.overlap or any(part.kind != "packed" or part.stages for part in self.parts):
            return False
        pairs = zip(self.parts[:-1], self.parts[1:], strict=True)
        return all(before.ends_clear or after.can_follow for before, after in pairs)

    def _has_planes(self) -> bool:
        """Whether all are films that store what they show alike."""
        first = self.parts[0]
        return all(
            part.kind == "yuv" and not part.stages and part.clip.light == first.clip.light
            for part in self.parts
        )

    def spool(self) -> None:
        """Each clip has been."""

    def scan(self, touches_pixels: bool) -> None:
        """Each clip has been."""

    def open(self, quiet: bool = False, wants_planes: bool = False) -> Opened:
        kind = "packed" if self._is_stored() else "yuv" if wants_planes and self._has_planes() else "rgba"
        clip = self._whole(kind)
        sound = JointSound(self.stack)
        if any(part.clip.audio is not None for part in self.parts):
            clip.audio = sound.audio
        joining = _Joining(self, clip, kind, sound, quiet)
        frames = ClosingFrames(joining.frames(), lambda: None)
        self.stack.callback(frames.close)
        return Opened(clip, frames, kind, joining.hurt)

    def _whole(self, kind: str) -> Clip:
        """The facts of the joined clip."""
        clips = [part.clip for part in self.parts]
        first, alphas = clips[0], {clip.alpha for clip in clips}
        hints = [clip.frames_hint for clip in clips]
        images = sum(hint or 0 for hint in hints) if all(hints) and not self.overlap else None
        if any(Pad in map(type, part.stages) for part in self.parts) and self.manner.around == "transparent":
            alphas.add(True)
        return first.but(
            width=self.canvas[0],
            height=self.canvas[1],
            name=self.name,
            timebase=self.base,
            rate=self.rate,
            tail=[],
            frames_hint=images,
            duration_hint=None,
            audio=None,
            labels=first.labels._replace(chapters=()) if len(clips) > 1 else first.labels,
            subtitles=sum(clip.subtitles for clip in clips),
            light=first.light if kind == "yuv" else None,
            alpha=True if True in alphas else False if alphas == {False} else None,
            warn=self.warn,
            keeps_colours=True,
        )


class _Joining:
    """The frames of a joined clip. at: where the clip that is being read begins, in ticks."""

    def __init__(self, joint: ConcatSource, clip: Clip, kind: str, sound: JointSound, quiet: bool) -> None:
        self.joint, self.clip, self.kind, self.sound, self.quiet = joint, clip, kind, sound, quiet
        self.at = self.ended = 0
        self.tail: list[Frame] = []
        self.opened: Opened | None = None

    def hurt(self, message: str) -> None:
        """Tell of damage in the clip that is being read."""
        if self.opened is not None:
            self.opened.hurt(message)

    def frames(self) -> Frames:
        for index, frame in enumerate(self._placed()):
            self.sound.advance(frame.pts * self.clip.timebase)
            yield frame.but(index=index)
        self.sound.advance(self.at * self.clip.timebase)

    def _placed(self) -> Iterator[Frame]:
        blocks: tuple[Block, ...] = ()
        for place, part in enumerate(self.joint.parts):
            with _naming(part.name):
                clip, frames = self._open(part, is_first=not place)
                self.sound.begin(clip, self.at * self.clip.timebase, self._length(place) * self.clip.timebase)
                for frame in self._of_part(place, frames):
                    yield frame.but(pts=self.at + frame.pts, before=blocks + frame.before)
                    blocks = ()
                blocks = tuple(clip.tail)
            self.at += self.ended - (self.joint.overlap if place < len(self.joint.parts) - 1 else 0)
        self.clip.tail.extend(blocks)

    def _length(self, place: int) -> int:
        return self.joint.overlap if place else 0

    def _open(self, part: _Part, is_first: bool) -> tuple[Clip, Frames]:
        """A clip as the whole takes it, with its times in ticks of the whole, from 0."""
        source = part.source
        self.opened = source.open(self.quiet, wants_planes=self.kind == "yuv")
        clip, frames, kind, hurt = self.opened
        clip.limits = self.joint.read.limits
        if self.kind == "rgba":
            steps = plan(part.stages, kind, "rgba")
            clip, frames = connect(clip, frames, steps, converters(self.joint.read.limits, hurt))
        elif self.kind == "packed" and not is_first:
            frames = self._with_palette(clip, frames)
        if self.joint.overlap or not is_gif_timed(self.clip):
            frames = playable(clip, frames)
        return clip, self._timed(clip, frames, is_first)

    def _with_palette(self, clip: Clip, frames: Frames) -> Frames:
        """Images that bring their palette along, where the whole has another."""
        palette = clip.palette or GREYS
        is_shared = palette.rgb == (self.clip.palette or GREYS).rgb
        for frame in frames:
            yield frame if is_shared or frame.palette is not None else frame.but(palette=palette)

    def _timed(self, clip: Clip, frames: Frames, is_first: bool) -> Frames:
        scale = rounded(clip.timebase / self.clip.timebase)
        kept = () if is_first else tuple(block for block in clip.blocks if block.label == COMMENT)
        for number, frame in enumerate(frames):
            pts, duration = frame.pts * scale, frame.duration * scale
            if not number and not is_first:  # what begins late is shown from the beginning on
                frame = frame.but(before=kept + frame.before)
                if pts:
                    pts, duration = 0, duration + pts
            yield frame.but(pts=pts, duration=duration)

    # --- from one clip to the next ---------------------------------------------------------------

    def _of_part(self, place: int, frames: Frames) -> Iterator[Frame]:
        """The frames of a clip with the crossfade in front; those that the next one covers go to `tail`."""
        is_last = place == len(self.joint.parts) - 1
        rest: Iterable[Frame] = frames
        if self.tail:
            head = self._head(place, frames)
            yield from self._crossfade(head)
            rest = self._behind(head[-1], frames)
        held: deque[Frame] = deque()
        length = 0 if is_last else self.joint.overlap
        end = self._length(place)
        for frame in rest:
            held.append(frame)
            end = frame.pts + frame.duration
            self._check_memory(held)
            while held and held[0].pts + held[0].duration <= end - length:
                yield held.popleft()
        self.ended = end
        self.joint._check_length(place, end)
        yield from self._kept_for_next(held, end - length)

    def _kept_for_next(self, held: deque[Frame], begin: int) -> Iterator[Frame]:
        self.tail = [frame.but(pts=frame.pts - begin) for frame in held]
        if held and held[0].pts < begin:
            self.tail[0] = self.tail[0].but(before=())
            yield held[0].but(duration=begin - held[0].pts)

    def _head(self, place: int, frames: Frames) -> list[Frame]:
        """The frames that begin within the crossfade."""
        head: list[Frame] = []
        while not head or head[-1].pts + head[-1].duration < self.joint.overlap:
            if (frame := next(frames, None)) is None:
                self.joint._check_length(place, head[-1].pts + head[-1].duration if head else 0)
                break
            head.append(frame)
            self._check_memory(head)
        return head

    def _crossfade(self, head: list[Frame]) -> Iterator[Frame]:
        joint, both = self.joint, [*self.tail, *head]
        gap = max(1, min(rounded(GAP_S / joint.base), *(frame.duration for frame in both)))
        blocks = tuple(block for frame in both for block in frame.before)
        for frame in blended(self.clip, self.tail, head, joint.overlap, joint.step, gap):
            yield frame.but(before=blocks)
            blocks = ()
        self.tail = []

    def _behind(self, last: Frame, frames: Frames) -> Iterator[Frame]:
        """What follows a crossfade, whole: the rest of the frame that it ended in first."""
        length, end = self.joint.overlap, last.pts + last.duration
        canvas = self.clip.canvas
        if end > length:
            yield last.but(pts=length, duration=end - length, rect=canvas, before=())
        elif (frame := next(frames, None)) is not None:
            yield frame.but(rect=canvas)
        yield from frames

    def _check_memory(self, held: Sequence[Frame]) -> None:
        """Raise LimitError before what a crossfade holds fills the memory."""
        needed = len(held) * self.clip.canvas.area * PIXEL_BYTES
        if self.joint.overlap and needed > SMALL and len(held) & len(held) - 1 == 0:
            check_whole(
                2 * needed,
                f"a crossfade of {float(self.joint.manner.crossfade_s):g} s",
                self.clip.limits,
                f"Use a shorter {option('crossfade')}, or make the clips smaller first",
            )


def _looked_through(part: _Part, frames: Frames) -> _Part:
    """What the stored images of a GIF say of its beginning, end and time."""
    first = last = None
    played = 0
    for frame in frames:
        first, last = first or frame, frame
        played += frame.duration if frame.duration >= SHORTEST_CS else BROWSER_DELAY_CS
    assert first is not None and last is not None, "a GIF without images is refused when it is opened"
    canvas, palette = part.clip.canvas, first.palette or part.clip.palette or GREYS
    is_opaque = first.transparent is None or first.transparent >= len(palette)
    return part._replace(
        can_follow=is_opaque and first.disposal != RESTORE and first.rect.clipped(canvas) == canvas,
        ends_clear=last.disposal == CLEAR and last.rect.clipped(canvas) == canvas,
        played=played,
    )


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _common(bases: Sequence[Fraction]) -> Fraction:
    """The longest tick that all of them are whole numbers of."""
    denominator = lcm(*(base.denominator for base in bases))
    return Fraction(gcd(*(int(base * denominator) for base in bases)), denominator)
