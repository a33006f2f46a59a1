"""Time stamps between formats: GIF's centiseconds, constant rates, ranges.

Stages here (see `media.pipeline`) never look at pixels and keep at most one frame back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from math import gcd

from vedit.media.frames import GIF_TIMEBASE, Clip, Frame, Frames, Rect

GIF_RATE = Fraction(25)  # frames per second of a GIF that is made from a faster video
FASTEST_GIF = Fraction(50)  # browsers play no delay below 2 cs
SHORTEST_CS = 2  # browsers slow down shorter delays
LONGEST_CS = 65535
BROWSER_DELAY_CS = 10  # what browsers play for a delay of 0 or 1
FASTEST = Fraction(100)  # constant rate that a clip with varying delays may ask for
WEIGHT_OF_PIECE = 10  # held images of a GIF come through the quantiser: they cost more, and last 655 s each
LOOK_AHEAD = 16
NOTHING = Rect(0, 0, 0, 0)


def rounded(value: Fraction) -> int:
    """To the nearest whole number, halves up."""
    return (value + Fraction(1, 2)).__floor__()


def evenly(count: int, most: int) -> list[int]:
    """Places, from 0, of at most so many things spread evenly over a row, from its first to its last."""
    if min(count, most) <= 1:
        return [0][:count]
    if count <= most:
        return list(range(count))
    return [rounded(Fraction(i * (count - 1), most - 1)) for i in range(most)]


def is_gif_timed(clip: Clip) -> bool:
    """Whether times are a GIF's: centiseconds, without a constant rate."""
    return clip.timebase == GIF_TIMEBASE and clip.rate is None


class GifTiming:
    """Turn a clip's times into centiseconds, thinned out to a rate that a GIF plays well.

    fps: most frames per second; None leaves a GIF as it is, and means 25 for a constant rate and 50, the
    fastest that browsers play, for varying times. A clip with a faster constant rate is thinned evenly and
    plays at `fps` exactly, by error diffusion (30 plays 3, 3, 4). Frames are never doubled: a slower clip
    keeps its own times, each right to half a centisecond. The first frame starts at 0.
    """

    name = "timing"
    accepts: tuple[str, ...] = ("rgba",)  # images that are left out must be whole pictures
    prepass: str | None = None

    def __init__(self, fps: Fraction | None = None) -> None:
        self.fps = fps

    def open(self, clip: Clip) -> Clip:
        self.limits = clip.limits
        self.base = clip.timebase
        self.is_idle = is_gif_timed(clip) and not self.fps
        if self.is_idle:
            return clip
        self.limit = self.fps or (GIF_RATE if clip.rate else FASTEST_GIF)
        self.is_even = clip.rate is not None and clip.rate > self.limit
        self.is_slow = clip.rate is not None and not self.is_even
        images = clip.frames_hint
        if images and clip.rate and self.is_even:
            images = rounded(images * self.limit / clip.rate)
        ticks = clip.duration_hint and rounded(clip.duration_hint * clip.timebase / GIF_TIMEBASE)
        return clip.but(timebase=GIF_TIMEBASE, rate=None, frames_hint=images, duration_hint=ticks, audio=None)

    def run(self, frames: Frames) -> Frames:
        return self._fitting(frames) if self.is_idle else self._timed(frames)

    def _fitting(self, frames: Frames) -> Frames:
        """Times that are a GIF's already, but for delays that no GIF holds: NUT has them."""
        index = 0
        for frame in frames:
            end = frame.pts + frame.duration
            self._check(end)
            for piece in _pieces(frame, frame.pts, end, index):
                yield piece
                index += 1

    def _timed(self, frames: Frames) -> Frames:
        """Hold each frame until the next one says when it ends; a later one of the same slot replaces it."""
        held: Frame | None = None
        start = slot = index = 0
        end = Fraction(0)
        left_out = NOTHING
        for frame in frames:
            at = frame.pts * self.base
            end = at + frame.duration * self.base
            now = index if self.is_slow else rounded(at * self.limit)
            if held is None:
                held, slot = frame, now
                continue
            if self.is_even and now / self.limit >= end:  # over before its slot begins
                left_out = left_out.joined(frame.rect)
                continue
            frame, left_out = frame.but(rect=frame.rect.joined(left_out)), NOTHING
            if now <= slot and not self.is_slow:
                held = frame.but(rect=frame.rect.joined(held.rect))
                continue
            begin = max(
                rounded((Fraction(now) / self.limit if self.is_even else at) * 100), start + SHORTEST_CS
            )
            self._check(begin)
            for piece in _pieces(held, start, begin, index):
                yield piece
                index += 1
            held, start, slot = frame, begin, now
        if held is not None:
            last = max(start + SHORTEST_CS, rounded(end * 100))
            self._check(last)
            yield from _pieces(held, start, last, index)

    def _check(self, end_cs: int) -> None:
        pieces = end_cs // LONGEST_CS
        self.limits.check(
            "held", pieces * WEIGHT_OF_PIECE, f"{float(end_cs) / 100:g} s as GIF delays, {pieces} images,"
        )


def _pieces(frame: Frame, start: int, end: int, index: int) -> Iterator[Frame]:
    """The frame from `start` to `end` in centiseconds, repeated where that is longer than a GIF delay."""
    while end - start > LONGEST_CS:
        yield frame.but(index=index, pts=start, duration=LONGEST_CS)
        frame, start, index = frame.but(rect=NOTHING), start + LONGEST_CS, index + 1
    yield frame.but(index=index, pts=start, duration=end - start)


class Trim:
    """Keep what is shown from `start_s` on, for `duration_s` seconds."""

    name = "trim"
    accepts: tuple[str, ...] = ("rgba", "yuv")
    prepass: str | None = None

    def __init__(self, start_s: Fraction = Fraction(0), duration_s: Fraction | None = None) -> None:
        self.start_s, self.duration_s = start_s, duration_s

    def open(self, clip: Clip) -> Clip:
        self.start = rounded(self.start_s / clip.timebase)
        self.end = None if self.duration_s is None else self.start + rounded(self.duration_s / clip.timebase)
        audio = clip.audio
        if audio is not None:
            audio = audio._replace(
                start_s=audio.start_s + self.start_s * audio.tempo,
                duration_s=self.duration_s and self.duration_s * audio.tempo,
            )
        return clip.but(
            frames_hint=None,
            duration_hint=None,
            audio=audio,
            labels=clip.labels.cut(self.start_s, self.duration_s),
        )

    def run(self, frames: Frames) -> Frames:
        index = 0
        left_out = NOTHING
        for frame in frames:
            first, last = max(frame.pts, self.start), frame.pts + frame.duration
            if self.end is not None and frame.pts >= self.end:
                break
            if last <= self.start:
                left_out = left_out.joined(frame.rect)
                continue
            last = last if self.end is None else min(last, self.end)
            yield frame.but(
                index=index, pts=first - self.start, duration=last - first, rect=frame.rect.joined(left_out)
            )
            index, left_out = index + 1, NOTHING


def constant_rate(
    clip: Clip, frames: Frames, rate: Fraction | None = None
) -> Iterator[tuple[Frame, Fraction]]:
    """Repeat and leave out frames until they have a constant rate; yields each with that rate.

    rate: frames per second; None takes the clip's own, else the slowest that hits every time
    stamp of the first 16 frames, up to 100.
    """
    waiting: deque[Frame] = deque()
    rate = rate or clip.rate
    if rate is None:
        while len(waiting) < LOOK_AHEAD and (frame := next(frames, None)) is not None:
            waiting.append(frame)
        rate = _common_rate(clip, waiting)
    done = held = 0
    for frame in _queued(waiting, frames):
        until = max(rounded((frame.pts + frame.duration) * clip.timebase * rate), 1 if done == 0 else 0)
        held += max(0, until - done - 1)
        clip.limits.check("held", held, f"{held} repeated images at {float(rate):g} a second")
        while done < until:
            yield frame.but(index=done, pts=done, duration=1), rate
            done += 1


def at_constant_rate(clip: Clip, frames: Frames, rate: Fraction | None = None) -> tuple[Clip, Frames]:
    """The clip and its frames with one tick for each frame; rate: as `constant_rate` takes it."""
    paired = constant_rate(clip, frames, rate)
    first = next(paired, None)
    if first is None:
        return clip, iter(())
    rate = first[1]
    return clip.but(timebase=1 / rate, rate=rate), (frame for frame, _ in chain((first,), paired))


def _queued(waiting: deque[Frame], frames: Frames) -> Frames:
    while waiting:
        yield waiting.popleft()
    yield from frames


def _common_rate(clip: Clip, frames: deque[Frame]) -> Fraction:
    step = gcd(*(frame.duration for frame in frames)) * clip.timebase
    return min(1 / step, FASTEST) if step else Fraction(10)


class ConstantRate:
    """Repeat and leave out frames until the clip has `rate` frames per second."""

    name = "rate"
    accepts: tuple[str, ...] = ("rgba", "yuv")
    prepass: str | None = None

    def __init__(self, rate: Fraction) -> None:
        self.rate = rate

    def open(self, clip: Clip) -> Clip:
        self.source = clip
        seconds = clip.duration_hint and clip.duration_hint * clip.timebase
        images = (
            rounded(seconds * self.rate)
            if seconds
            else clip.rate and clip.frames_hint and rounded(clip.frames_hint * self.rate / clip.rate)
        )
        return clip.but(
            timebase=1 / self.rate, rate=self.rate, frames_hint=images or None, duration_hint=images or None
        )

    def run(self, frames: Frames) -> Frames:
        return (frame for frame, _ in constant_rate(self.source, frames, self.rate))


def playable(clip: Clip, frames: Frames) -> Frames:
    """The frames with the delays that browsers play: a GIF's 0 and 1 become 10 centiseconds.

    Other clips pass, less the frames that are shown for no time. Times grow strictly afterwards.
    """
    pts = slow = 0
    if not is_gif_timed(clip):
        for frame in frames:
            if frame.duration > 0:
                yield frame
        return
    for frame in frames:
        duration = frame.duration
        if duration < 2:
            duration, slow = BROWSER_DELAY_CS, slow + 1
        yield frame.but(pts=pts, duration=duration)
        pts += duration
    if slow:
        clip.warn(f"{slow} delays of 0 or 1 cs are written as 10 cs, which is how browsers play them")
