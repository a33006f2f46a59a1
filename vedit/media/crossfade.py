"""Let one clip turn into the next: the end of one and the beginning of the other, blended.

What is shown in between is cut into images where either clip changes, and so that none is shown for longer
than a step. An image shows the blend of what both clips show in its middle, at the share of that moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from vedit.media.frames import Clip, Frame
from vedit.media.streams.planes import MODE, Planes
from vedit.media.timing import rounded


def mixed(before: Any, after: Any, share: Fraction) -> Any:
    """before + (after - before) * share for every channel, rounded half up.

    before, after: pictures of one size, "L", "RGB", "RGBA" or `Planes`. Colours of an "RGBA" one count as far
    as they are opaque: c = (c1 * a1 * (1 - share) + c2 * a2 * share) / a, of an a that is not rounded yet.
    share: of `after`, from 0 to 1.
    """
    if before.mode == MODE:
        pairs = ((getattr(before, name), getattr(after, name)) for name in "yuv")
        return Planes(*(mixed(*pair, share) for pair in pairs))
    if before.mode == after.mode != "RGBA":
        levels = _weighed(np.asarray(before), np.asarray(after), share)
        return Image.fromarray(_divided(levels, share.denominator))
    return _mixed_rgba(before.convert("RGBA"), after.convert("RGBA"), share)


def _weighed(before: np.ndarray, after: np.ndarray, share: Fraction) -> np.ndarray:
    """The sum of both, times the denominator of the share: whole numbers."""
    mine, whole = share.numerator, share.denominator
    total: np.ndarray = before.astype(np.int64) * (whole - mine) + after.astype(np.int64) * mine
    return total


def _divided(numerator: np.ndarray, denominator: Any) -> np.ndarray:
    """Rounded half up."""
    rounded_up: np.ndarray = (2 * numerator + denominator) // (2 * denominator)
    return rounded_up.astype(np.uint8)


def _mixed_rgba(before: Image.Image, after: Image.Image, share: Fraction) -> Image.Image:
    (c1, a1), (c2, a2) = (
        (pixels[..., :3], pixels[..., 3:]) for pixels in (np.asarray(before), np.asarray(after))
    )
    opaque = _weighed(a1, a2, share)
    colours = _weighed(c1.astype(np.int64) * a1, c2.astype(np.int64) * a2, share)
    alpha = _divided(opaque, share.denominator)
    colours = np.where(alpha > 0, _divided(colours, np.maximum(opaque, 1)), 0)
    return Image.fromarray(np.concatenate((colours, alpha), axis=-1).astype(np.uint8))


def cuts(begins: Iterable[int], length: int, step: int, gap: int) -> list[int]:
    """Where the images between two clips begin, and at last where they end: from 0 to `length`, in ticks.

    begins: of the images of both clips. step: the longest that one is shown. gap: what begins within so many
    ticks is one.
    """
    changes = [0]
    for begin in sorted(set(begins)):
        if changes[-1] + gap <= begin <= length - gap:
            changes.append(begin)
    found = []
    for begin, end in zip(changes, [*changes[1:], length], strict=True):
        pieces = -(-(end - begin) // step)
        found += [begin + rounded(Fraction((end - begin) * n, pieces)) for n in range(pieces)]
    return [*found, length]


def blended(
    clip: Clip, tail: Sequence[Frame], head: Sequence[Frame], length: int, step: int, gap: int
) -> Iterator[Frame]:
    """The images between two clips.

    clip: that they belong to. tail, head: frames of the clip before and of the one behind, whole pictures,
    times counted from where the blending begins; both last for `length` ticks at least. step, gap: see
    `cuts`. Each has the palette of the nearer clip, which says no more than that its colours are to be kept
    where they are few.
    """
    begins = [frame.pts for frame in (*tail, *head)]
    places = cuts(begins, length, step, gap)
    for begin, end in pairwise(places):
        middle = Fraction(begin + end, 2)
        before, after = _shown(tail, middle), _shown(head, middle)
        picture = mixed(before.pixels, after.pixels, middle / length)
        nearer = after if 2 * middle > length else before
        yield nearer.but(
            pts=begin,
            duration=end - begin,
            kind=picture.mode.lower(),
            rect=clip.canvas,
            pixels=picture,
            before=(),
        )


def _shown(frames: Sequence[Frame], moment: Fraction) -> Frame:
    """The last frame that has begun."""
    found: Frame = next(frame for frame in reversed(frames) if frame.pts <= moment)
    return found
