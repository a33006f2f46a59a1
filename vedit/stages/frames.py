"""Keep some images of a clip, drop others, and put them in another order."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit.errors import UsageError, option
from vedit.media.frames import GIF_TIMEBASE, Block, Clip, Frame, Frames, Rect
from vedit.media.timing import BROWSER_DELAY_CS, LONGEST_CS, rounded
from vedit.stages.options import LAST, Flag, Moments, Number, Option, Spans, Way, Ways, is_within

if TYPE_CHECKING:
    from PIL import Image

SUMMARY = "Keep, drop and reorder images."
POSITIONAL = "keep"
EXAMPLES = (
    ("vedit gif frames 1-20,35 in.gif -o out.gif", "the first twenty images and the 35th"),
    ("vedit gif frames --drop 5-50 in.gif -o out.gif", "all but these"),
    ("vedit gif frames --every 2 in.gif -o out.gif", "every second image, each shown for the time of two"),
    ("vedit gif frames --time 0.1-4 in.gif -o out.gif", "what is shown from 0.1 to 4 seconds"),
    ('vedit gif frames --order "1-10,9-2" in.gif -o out.gif', "ten images forth, and back again"),
    ("vedit gif frames --drop-equal in.gif -o out.gif", "one image where several in a row show the same"),
)
OPTIONS = (
    Option("keep", Spans(), "keep these images: numbers and ranges, counted from 1, or last", "A-B,..."),
    Option("drop", Spans(), "leave these images out", "A-B,..."),
    Option(
        "every",
        Number(1, 10**9),
        "keep every N-th image, from the first on; 1.5 keeps two of three",
        "N",
        usual=(1, 10, 1),
    ),
    Option("of", Spans(), "with every: thin out only these images", "A-B,..."),
    Option("time", Moments(), "keep what is shown from one moment to another: seconds, or 1:02.5", "T-T"),
    Option("drop-equal", Flag(), "keep one of images in a row that show the same"),
    Option("order", Spans(may_turn=True), "show the images that stay in this order", "A-B,B-A,..."),
    Option(
        "hold", Flag(), "the image before shows for the time of those left out (usual for every, drop-equal)"
    ),
    Option("close", Flag(), "the time of images left out goes too (usual for keep, drop, time)"),
)
WAYS = (
    Ways(
        "which images",
        (
            Way(("keep",), ("A-B",)),
            Way(("drop",), ("A-B",)),
            Way(("every",), ("N",)),
            Way(("time",), ("T-T",)),
            Way(("drop-equal",)),
        ),
        needs_one=False,
    ),
    Ways("what becomes of their time", (Way(("hold",)), Way(("close",))), needs_one=False),
)
SpanList = tuple[tuple[int, int | None], ...]
NOWHERE = Rect(0, 0, 0, 0)


def make(**values: Any) -> Selection:
    """Build the stage; one way of choosing, an order, or both."""
    for ways in WAYS:
        ways.check("frames", values)
    if not WAYS[0].chosen(values) and values["order"] is None:
        raise UsageError(
            "frames does not say which images.",
            f"Give one of {', '.join(way.name for way in WAYS[0].ways)}, or {option('order', 'A-B')}.",
            "Example: vedit gif frames 1-20,35 in.gif -o out.gif",
        )
    if values["of"] is not None and values["every"] is None:
        raise UsageError(f"frames {option('of')} belongs to {option('every')}, which was not given.")
    is_held = values.pop("hold") or (bool(values["every"] or values["drop_equal"]) and not values["close"])
    del values["close"]
    return Selection(is_held=bool(is_held), **values)


class Shape(NamedTuple):
    """What a stored image does to the canvas, without its pixels.

    covers: whether no pixel of its rectangle shows what is under it. is_same: whether it shows the same
    as the image before.
    """

    rect: Rect
    disposal: int
    covers: bool
    is_same: bool = False


class Selection:
    """Give some of the frames, each as it was composed in the source.

    On packed and index frames images are left out as they are where no pixel that stays depends on one that
    goes; a look at the stored images tells. Otherwise composed frames are given.
    is_held: the time of what is left out goes to the frame before (to the first that stays, in front of it).
    """

    name = "frames"

    def __init__(
        self,
        keep: SpanList | None = None,
        drop: SpanList | None = None,
        every: Fraction | int | None = None,
        of: SpanList | None = None,
        time: tuple[Fraction, Fraction | None] | None = None,
        drop_equal: bool = False,
        order: SpanList | None = None,
        is_held: bool = False,
    ) -> None:
        self.keep, self.drop, self.every, self.of = keep, drop, every, of or ((1, None),)
        self.time, self.drop_equal, self.order, self.is_held = time, bool(drop_equal), order, is_held
        self.prepass: str | None = "index" if drop_equal else "packed"
        self.accepts: tuple[str, ...] = ("rgba", "yuv")
        self.count: int | None = None
        self.same: set[int] = set()

    # --- the look ahead --------------------------------------------------------------------------

    def observe(self, clip: Clip, frames: Frames) -> None:
        """Count the images, find equal ones, and see whether stored images can be left out as they are."""
        first = next(frames, None)
        if first is None:
            return
        is_stored = first.kind in ("packed", "index")
        spans = chain(self.keep or (), self.drop or (), self.of)
        if not is_stored and not self.drop_equal and all(span[0] != LAST for span in spans):
            if hasattr(frames, "close"):
                frames.close()
            return
        self.open(clip)
        frames = chain((first,), frames)
        shapes, timed = [], []
        for shape, frame in _compared(clip, frames, is_stored) if self.drop_equal else _shapes(clip, frames):
            shapes.append(shape)
            timed.append(frame.but(pixels=None))
            if shape.is_same:
                self.same.add(len(shapes))
        self.count = len(shapes)
        kept = [frame is not None for _, frame in self._chosen(iter(timed))]
        places = [place for place, stays in enumerate(kept) if stays]
        if (
            is_stored
            and _can_be_left_out(shapes, kept)
            and (self.order is None or _are_apart(shapes, places))
        ):
            self.accepts = ("packed", "index", "rgba", "yuv")

    # --- the clip --------------------------------------------------------------------------------

    def open(self, clip: Clip) -> Clip:
        self.clip = clip
        self.is_gif = clip.timebase == GIF_TIMEBASE
        rate = clip.rate
        if self.is_held:
            is_even = self.every == (step := int(self.every or 1)) and self.of == ((1, None),)
            rate = clip.rate / step if clip.rate and is_even else None
        return self._with_sound(clip).but(rate=rate, frames_hint=None, duration_hint=None, keeps_colours=True)

    def _with_sound(self, clip: Clip) -> Clip:
        """Sound and chapters stay where time does, and are cut to a part of it."""
        audio, labels = clip.audio, clip.labels
        if self.order is None and self.is_held:
            return clip
        if self.order is None and self.time is not None:
            start_s, end_s = self.time
            length_s = None if end_s is None else end_s - start_s
            if audio is not None:
                audio = audio._replace(
                    start_s=audio.start_s + start_s * audio.tempo,
                    duration_s=length_s and length_s * audio.tempo,
                )
            return clip.but(audio=audio, labels=labels.cut(start_s, length_s))
        lost = "images are left out or moved, and it has no images of its own"
        return clip.but(
            audio=audio and audio._replace(lost=audio.lost or lost), labels=labels._replace(chapters=())
        )

    # --- the frames ------------------------------------------------------------------------------

    def run(self, frames: Frames) -> Frames:
        given = self._ordered(self._kept(frames)) if self.order is not None else self._kept(frames)
        pts = count = 0
        for frame in given:
            yield frame.but(index=count, pts=pts if count or not self.is_held else frame.pts)
            pts = (frame.pts if self.is_held and not count else pts) + frame.duration
            count += 1
        if not count:
            raise UsageError(
                f"frames keeps no image: the clip has {self.seen}.", "", "Images are counted from 1"
            )

    def _chosen(self, frames: Frames) -> Iterator[tuple[Frame, Frame | None]]:
        """Each frame, and what stays of it; ends early where nothing can follow and nobody needs the rest."""
        nth = at = stays_next = 0
        held = next(frames, None)
        self.seen = 0
        while held is not None:
            after = next(frames, None)
            self.seen += 1
            number, is_last = self.seen, after is None
            played = self._played(held)
            stays: Frame | None = held
            if self.time is not None:
                stays = self._within(held, at, played)
            elif self.keep is not None:
                stays = held if is_within(self.keep, number, is_last) else None
            elif self.drop is not None:
                stays = None if is_within(self.drop, number, is_last) else held
            elif self.every is not None and is_within(self.of, number, is_last):
                stays = held if nth == int(stays_next * self.every) else None
                stays_next += stays is not None
                nth += 1
            elif number in self.same:
                stays = None
            yield held, stays
            at += played
            held = after
            if held is not None and held.kind not in ("packed", "index") and self._is_over(number, at):
                return

    def _played(self, frame: Frame) -> int:
        return BROWSER_DELAY_CS if self.is_gif and frame.duration < 2 else frame.duration

    def _within(self, frame: Frame, at: int, played: int) -> Frame | None:
        """What of a frame is shown within the time that stays; under `is_held` it keeps its own time."""
        assert self.time is not None
        start, end = (
            None if moment is None else rounded(moment / self.clip.timebase) for moment in self.time
        )
        at = at if self.is_gif else frame.pts
        first, last = max(at, start or 0), at + played if end is None else min(at + played, end)
        if last <= first:
            return None
        is_whole = self.is_held or last - first == played
        return frame if is_whole else frame.but(duration=last - first, has_control=True)

    def _is_over(self, number: int, at: int) -> bool:
        if self.is_held:
            return False
        if self.time is not None:
            end_s = self.time[1]
            return end_s is not None and at * self.clip.timebase >= end_s
        return self.keep is not None and all(
            first != LAST and last is not None and last <= number for first, last in self.keep
        )

    def _kept(self, frames: Frames) -> Frames:
        """The frames that stay; what those left out have changed is theirs to show."""
        held: Frame | None = None
        changed, owed = NOWHERE, 0
        blocks: tuple[Block, ...] = ()
        for frame, stays in self._chosen(frames):
            changed = changed.joined(frame.rect)
            blocks += frame.before
            if stays is None:
                if held is None or not self.is_held:
                    owed += self._played(frame)
                else:
                    held = self._longer(held, self._played(frame))
                continue
            if held is not None:
                yield held
            is_stored = frame.kind in ("packed", "index")
            held = stays.but(rect=frame.rect if is_stored else changed, before=blocks)
            if self.is_held and owed:
                held = self._longer(held, owed).but(pts=held.pts - owed)
            changed, blocks, owed = NOWHERE, (), 0
        if held is not None:
            yield held
        self.clip.tail[:0] = blocks
        self._tell_missing()

    def _longer(self, frame: Frame, ticks: int) -> Frame:
        duration = self._played(frame) + ticks
        if self.is_gif and duration > LONGEST_CS:
            self.clip.warn(f"delays are longer than a GIF can say and are cut to {LONGEST_CS} cs")
            duration = LONGEST_CS
        return frame.but(duration=duration, has_control=True)

    def _tell_missing(self) -> None:
        asked = chain(self.keep or (), self.drop or (), self.of)
        if behind := sorted({first for first, _ in asked if first > self.seen}):
            self.clip.warn(f"there is no image {behind[0]}: the clip has {self.seen}")

    def _ordered(self, frames: Frames) -> Frames:
        """The frames in the order asked for, out of a temporary file."""
        import tempfile

        from vedit.media.spool import Spool

        assert self.order is not None
        with tempfile.TemporaryFile(prefix="vedit-") as file:
            kept = Spool(file)
            for frame in frames:
                kept.add(frame)
            for place in self._places(len(kept)):
                frame = kept[place]
                is_stored = frame.kind in ("packed", "index")
                yield frame if is_stored else frame.but(rect=self.clip.canvas)

    def _places(self, count: int) -> Iterator[int]:
        assert self.order is not None
        for first, last in self.order:
            begin = count if first == LAST else first
            end = count if last is None or last == LAST else last
            if begin > count:
                self.clip.warn(f"there is no image {begin} to be put in order: {count} stay")
            step = -1 if end < begin and last is not None else 1
            for number in range(begin, end + step, step):
                if 1 <= number <= count:
                    yield number - 1


# --- stored images -------------------------------------------------------------------------------


def _shapes(clip: Clip, frames: Frames) -> Iterator[tuple[Shape, Frame]]:
    for frame in frames:
        palette = frame.palette or clip.palette
        is_opaque = frame.transparent is None or (palette is not None and frame.transparent >= len(palette))
        yield Shape(frame.rect.clipped(clip.canvas), frame.disposal, is_opaque), frame


def _compared(clip: Clip, frames: Frames, is_stored: bool) -> Iterator[tuple[Shape, Frame]]:
    """Stored or composed frames, with what they show compared with the frame before."""
    from itertools import tee

    stored, again = tee(frames)
    composed = again
    if is_stored:
        from vedit.media.gif.compose import compose

        composed = compose(clip, again)
    before: Frame | None = None
    for (shape, frame), shown in zip(_shapes(clip, stored), composed, strict=True):
        yield shape._replace(is_same=before is not None and _looks_same(before, shown)), frame
        before = shown


def _looks_same(before: Frame, shown: Frame) -> bool:
    from PIL import ImageChops

    size = shown.pixels.size
    rect = shown.rect.clipped(Rect(0, 0, *size))
    if rect.is_empty:
        return True

    def part(frame: Frame) -> Image.Image:
        cut: Image.Image = frame.pixels.crop(rect.box).convert("RGBA")
        return cut

    return ImageChops.difference(part(before), part(shown)).getbbox(alpha_only=False) is None


def _can_be_left_out(shapes: list[Shape], kept: list[bool]) -> bool:
    """Whether the images that stay look the same without the others being drawn.

    So they do where the next one that stays covers all that those left out have drawn, and does not uncover
    it again (disposal 3), or where those have changed nothing.
    """
    gone = NOWHERE
    for place, (shape, stays) in enumerate(zip(shapes, kept, strict=True)):
        if not stays:
            idle = shape.is_same and all(shapes[i].disposal in (0, 1) for i in (place - 1, place))
            gone = gone if idle else gone.joined(shape.rect)
        elif not gone.is_empty:
            if not shape.covers or shape.disposal == 3 or shape.rect.joined(gone) != shape.rect:
                return False
            gone = NOWHERE
    return True


def _are_apart(shapes: list[Shape], places: list[int]) -> bool:
    """Whether each of these images covers the whole canvas, so that they can stand in any order."""
    whole = NOWHERE
    for shape in shapes:
        whole = whole.joined(shape.rect)
    return all(shapes[i].covers and shapes[i].disposal != 3 and shapes[i].rect == whole for i in places)
