"""What flows through the pipeline: the facts of a clip, and its frames one at a time.

A frame travels in one of five kinds, from cheap to dear to make:

    packed   a compressed GIF image: `pixels` is its LZW payload (sub-blocks and terminator)
    index    palette indices: `pixels` is a Pillow image of mode "P"
    rgba     the composed canvas with binary or soft alpha: a Pillow image of mode "RGBA"
    rgb      the composed canvas where every pixel is opaque: a Pillow image of mode "RGB"
    yuv      the same as film stores it: `media.planes.Planes`; only between film and film

A packed or index frame covers only `rect` and needs what lies under it; an rgba or rgb frame is
the whole canvas, and `rect` says which part of it may differ from the frame before.
Pillow images are the buffers because its codec, resampler and quantiser release the GIL;
nothing here imports Pillow, so a command that never looks at pixels never loads it.
"""

# Annotations of this half are values, not text: NamedTuple compiles each text, at every start.

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from vedit.errors import Warn, silent
from vedit.media.light import Light
from vedit.media.limits import Limits

NO_OPTIONS = Limits()
GIF_TIMEBASE = Fraction(1, 100)  # GIF delays are in centiseconds


class Rect(NamedTuple):
    """A rectangle of pixels: left, top, width, height. May reach outside the canvas."""

    x: int
    y: int
    w: int
    h: int

    @property
    def right(self) -> int:
        return self.x + self.w

    @property
    def bottom(self) -> int:
        return self.y + self.h

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom, as Pillow wants it."""
        return self.x, self.y, self.x + self.w, self.y + self.h

    @property
    def area(self) -> int:
        return self.w * self.h

    @property
    def is_empty(self) -> bool:
        return self.w <= 0 or self.h <= 0

    def moved(self, dx: int, dy: int) -> "Rect":
        return Rect(self.x + dx, self.y + dy, self.w, self.h)

    def clipped(self, other: "Rect") -> "Rect":
        """The part inside `other`; width and height 0 when they do not meet."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Rect(
            x, y, max(0, min(self.right, other.right) - x), max(0, min(self.bottom, other.bottom) - y)
        )

    def joined(self, other: "Rect") -> "Rect":
        """The smallest rectangle around both; an empty one adds nothing."""
        if self.is_empty:
            return other
        if other.is_empty:
            return self
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Rect(x, y, max(self.right, other.right) - x, max(self.bottom, other.bottom) - y)


class Palette:
    """A colour table, shared between frames by identity: map it once, not per frame.

    rgb: 3 bytes per colour, 1 to 256 colours.
    """

    __slots__ = ("rgb",)

    def __init__(self, rgb: bytes) -> None:
        self.rgb = rgb

    def __len__(self) -> int:
        return len(self.rgb) // 3


class Block(NamedTuple):
    """A GIF extension block that is not a control block, byte for byte.

    label: 0xFE comment, 0xFF application, 0x01 plain text, anything else unknown.
    data: what follows the label in the file: size byte, header, sub-blocks and terminator.
    """

    label: int
    data: bytes

    @property
    def app(self) -> bytes:
        """Identifier and authentication code of an application block, else nothing."""
        return self.data[1:12] if self.label == 0xFF and self.data[:1] == b"\x0b" else b""

    def sub_blocks(self, start: int = 0) -> Iterator[bytes]:
        """What each sub-block holds, from byte `start` of the data on."""
        data, at = self.data, start
        while at < len(data) and (size := data[at]):
            yield data[at + 1 : at + 1 + size]
            at += 1 + size

    @property
    def text(self) -> str:
        """The words of a comment."""
        return b"".join(self.sub_blocks()).decode("utf-8", "replace")


class Container(NamedTuple):
    """GIF header facts that a rewrite keeps: they have no effect on the pixels."""

    version: bytes = b"GIF89a"
    flags: int = 0x70  # colour resolution and sort flag; palette bits are set by the writer
    background: int = 0
    aspect: int = 0


PLAIN_CONTAINER = Container()


class SoundTrack(NamedTuple):
    """One sound track of a film: its place among them, and what the file says about it.

    late_s: see `ffmpeg.MovieFacts.late_s`.
    """

    number: int
    codec: str
    is_default: bool = False
    language: str = ""
    title: str = ""
    late_s: Fraction = Fraction(0)


class Audio(NamedTuple):
    """The sound to copy: the file it is in, where the clip starts in it, and its tempo.

    live: sound that arrives with the frames instead (from a NUT pipe), a `media.nut.Sound`.
    tracks: those of the file, in its order. lost: why a stage had to leave the sound out, "" when
    it did not; a writer that has room for sound says so.
    """

    path: str
    start_s: Fraction = Fraction(0)
    duration_s: Fraction | None = None
    tempo: Fraction = Fraction(1)
    live: Any = None
    tracks: tuple[SoundTrack, ...] = (SoundTrack(0, ""),)
    lost: str = ""

    @property
    def main(self) -> SoundTrack:
        """The track that a player starts with."""
        return next((track for track in self.tracks if track.is_default), self.tracks[0])


class Chapter(NamedTuple):
    """A named part of a film, in seconds."""

    start_s: Fraction
    end_s: Fraction
    title: str = ""


class Labels(NamedTuple):
    """What a film says about itself: tags such as title, date and location, and its chapters."""

    tags: tuple[tuple[str, str], ...] = ()
    chapters: tuple[Chapter, ...] = ()

    def cut(self, start_s: Fraction, duration_s: Fraction | None) -> "Labels":
        """The chapters of a part of the film, at the times they have in it."""
        end_s = None if duration_s is None else start_s + duration_s
        kept = []
        for chapter in self.chapters:
            begin, end = (
                max(chapter.start_s, start_s),
                chapter.end_s if end_s is None else min(chapter.end_s, end_s),
            )
            if begin < end:
                kept.append(Chapter(begin - start_s, end - start_s, chapter.title))
        return self._replace(chapters=tuple(kept))

    def stretched(self, factor: Fraction) -> "Labels":
        """The chapters of a film that takes `factor` times as long."""
        return self._replace(
            chapters=tuple(
                Chapter(begin * factor, end * factor, title) for begin, end, title in self.chapters
            )
        )


NO_LABELS = Labels()


@dataclass
class Clip:
    """The facts of a clip that hold for all its frames.

    timebase: seconds per tick of `Frame.pts` and `Frame.duration`.
    rate: frames per second when it is constant, else None.
    loop: how often the clip repeats: 0 forever, n > 0 that many, None when it plays once, which is
    what a GIF without a loop block, and APNG or WebP with one play, say. What cannot say (film,
    folder, y4m, raw) is 0: made into one of those it loops.
    blocks: metadata that stands before the first image; `Frame.before` holds later ones.
    tail: metadata after the last image; filled by the reader once the last frame has left it.
    frames_hint, duration_hint: number of frames and ticks in all, where the source told.
    limits: for those who make images that the source does not have. jobs: threads that a stage may use.
    labels: tags and chapters of a film. subtitles: how many tracks of them it has; none is ever written.
    light: what the planes of "yuv" frames mean; None for others.
    alpha: whether some pixel of some frame is not opaque, None where that is not known.
    keeps_colours: a stage has composed the frames and blended nothing: palettes are to have every colour,
    where they can. hurt: to be told of damaged pixels, which it may take for an error.
    """

    width: int
    height: int
    name: str = "-"
    timebase: Fraction = GIF_TIMEBASE
    rate: Fraction | None = None
    loop: int | None = None
    palette: Palette | None = None
    container: Container = PLAIN_CONTAINER
    blocks: list[Block] = field(default_factory=list)
    tail: list[Block] = field(default_factory=list)
    frames_hint: int | None = None
    duration_hint: int | None = None
    audio: Audio | None = None
    labels: Labels = NO_LABELS
    subtitles: int = 0
    light: Light | None = None
    alpha: bool | None = None
    warn: Warn = silent
    limits: Limits = NO_OPTIONS
    jobs: int = 1
    keeps_colours: bool = False
    hurt: Warn = silent

    @property
    def canvas(self) -> Rect:
        return Rect(0, 0, self.width, self.height)

    def but(self, **changes: Any) -> "Clip":
        """A copy with some facts changed; lists are shared, so `tail` still fills up."""
        return Clip(**{**vars(self), **changes})


class Frame(NamedTuple):
    """One frame; see the top of this module for what `pixels` and `rect` mean for each kind.

    pts, duration: in ticks of the clip's timebase.
    disposal: what happens to `rect` after showing (packed and index only): 2 clears, 3 restores.
    transparent: palette index that is not drawn, or None.
    palette: own colour table, or None for the clip's.
    code_size: LZW minimum code size of a packed frame.
    before: metadata blocks that stand before this image.
    """

    index: int  # type: ignore[assignment]  # a frame is not searched like a tuple
    pts: int
    duration: int
    kind: str
    rect: Rect
    pixels: Any
    disposal: int = 0
    transparent: int | None = None
    palette: Palette | None = None
    code_size: int = 8
    interlaced: bool = False
    has_control: bool = True
    user_input: bool = False
    before: tuple[Block, ...] = ()

    def but(self, **changes: Any) -> "Frame":
        """A copy with some fields changed; the pixels are shared."""
        return self._replace(**changes)


Frames = Iterator[Frame]
