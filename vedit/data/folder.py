"""Quality of clips in a folder of one's own: size, times, doubles; and captions from names.

There is no crawler: what a site's terms allow, and who holds the rights in a clip, is for the user to know.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

SAMPLES = 4  # frames of a clip that tell it from others
HASH, THUMBNAIL = (9, 8), (8, 8)  # width and height of the pictures that are compared
# Six real clips against themselves at 96 pixels and 32 colours: 0.004 to 0.129 of the bits, 1.2 to 4.1
# levels; against one another at least 0.406 and 31.
SAME_SHARE = 0.15  # of the 256 hash bits may differ between doubles
SAME_LEVELS = 8.0  # and so many grey levels, on average
ROUNDING_S = 0.0101  # a GIF's times are rounded to centiseconds
NEAR = 0.25  # a delay this far from the usual one, as a share, is another


class Inspection(NamedTuple):
    """What is known of a clip before it is taken.

    delays_s: of its frames. hash: difference hash of four frames at even times, hex.
    thumbnails: the same frames at 8x8 grey, hex.
    """

    source: str
    width: int
    height: int
    delays_s: list[float]
    hash: str
    thumbnails: str


def difference_hash(pictures: Sequence[Any]) -> str:
    """64 bits a picture: whether each pixel of 9x8 grey ones is brighter than the one to its right. Hex."""
    bits = [np.asarray(picture.convert("L").resize(HASH)) for picture in pictures]
    return np.packbits(np.stack([grey[:, :-1] > grey[:, 1:] for grey in bits])).tobytes().hex()


def thumbnails(pictures: Sequence[Any]) -> str:
    """The pictures at 8x8 grey, hex. Deviation: without them dark clips with little in them, such as
    digits on black, have near hashes while they show other things."""
    return (
        np.stack([np.asarray(picture.convert("L").resize(THUMBNAIL)) for picture in pictures]).tobytes().hex()
    )


def uneven_share(delays_s: Sequence[float]) -> float:
    """Share of the frames whose delay is not the usual one.

    The usual one is the median. A delay of several times it counts as that many frames: writers of
    GIFs merge equal frames into one that is shown longer. A centisecond is borne: 30 frames a second
    are written as 3, 3, 4.
    """
    usual = float(np.median(delays_s))
    multiples = np.maximum(1, np.round(np.array(delays_s) / usual))
    return float(np.mean(np.abs(np.array(delays_s) - multiples * usual) > max(NEAR * usual, ROUNDING_S)))


class Limits(NamedTuple):
    """What a clip must have to be taken; None or 0 asks nothing."""

    min_side: int = 32
    min_frames: int = 2
    max_uneven: float | None = 0.1
    min_seconds: float = 0.0
    max_seconds: float | None = None


def fault(clip: Inspection, limits: Limits) -> str:
    """Why a clip is not taken, "" when it is."""
    seconds, uneven = sum(clip.delays_s), uneven_share(clip.delays_s)
    if min(clip.width, clip.height) < limits.min_side:
        return f"{clip.width}x{clip.height} is smaller than {limits.min_side} pixels"
    if len(clip.delays_s) < limits.min_frames:
        return f"{len(clip.delays_s)} of at least {limits.min_frames} frames"
    if seconds < limits.min_seconds or (limits.max_seconds is not None and seconds > limits.max_seconds):
        return f"lasts {seconds:.2f} s"
    if limits.max_uneven is not None and uneven > limits.max_uneven:
        return f"{uneven:.0%} of the frames have another delay than the rest"
    return ""


def doubles(clips: Iterable[Inspection]) -> dict[str, str]:
    """Clips that show the same as a larger one: source to the source that is kept.

    Of two, the one with more pixels in all is kept, of equal ones the first by name.
    """
    ordered = sorted(clips, key=lambda clip: (-clip.width * clip.height * len(clip.delays_s), clip.source))
    if not ordered:
        return {}
    hashes = np.stack([np.unpackbits(np.frombuffer(bytes.fromhex(clip.hash), np.uint8)) for clip in ordered])
    small = np.stack([np.frombuffer(bytes.fromhex(clip.thumbnails), np.uint8) for clip in ordered]).astype(
        np.int16
    )
    kept: list[int] = []
    found: dict[str, str] = {}
    for number, clip in enumerate(ordered):
        share = (hashes[kept] != hashes[number]).mean(axis=1)
        levels = np.abs(small[kept] - small[number]).mean(axis=1)
        same = np.flatnonzero((share <= SAME_SHARE) & (levels <= SAME_LEVELS))
        if len(same):
            found[clip.source] = ordered[kept[same[0]]].source
        else:
            kept.append(number)
    return found


def words_of(path: str) -> str:
    """A caption from a file name: its words, without numbers that only count; "" when none are left."""
    stem = re.sub(r"([a-z])([A-Z])", r"\1 \2", os.path.splitext(os.path.basename(path))[0])
    words = [word for word in re.split(r"[\W_]+", stem) if word]
    while words and words[-1].isdigit():
        words.pop()
    return " ".join(words) if any(any(char.isalpha() for char in word) for word in words) else ""
