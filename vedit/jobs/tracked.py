"""A mask drawn once, in one frame, and carried through the clip by its optical flow.

A box goes on as the middle of what it holds does: the median motion of its pixels, and how far they move
apart (Kalal, Mikolajczyk and Matas 2010, "Forward-backward error"; ours takes the median slope of motion
over place for their pairs of points). A painted mask goes on pixel by pixel: each looks up where it was in
the frame before. Only pixels that the flow back leads home are heard. Where less than half of a mask does,
or a box has left the picture, it is lost: from there on nothing is edited, in its opposite either, and a
warning says when.
Shape letters: F frames, Y X rows and columns, 2 for x and y.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from vedit.errors import Warn, option
from vedit.jobs.clips import Pixels
from vedit.motion import Floats, look_up, pairs_of, visible

SIDE = 256  # pixels of the longer side that flow is estimated at
SEEN = 0.5  # share of a mask that must be found again
LEFT = 0.25  # share of a box that must be in the picture
STEEPEST = 0.2  # growth of a box from frame to frame that is believed


class Place(NamedTuple):
    """A box by its middle and its sides, in pixels of the output."""

    x: float
    y: float
    width: float
    height: float


class Tracked:
    """The masks of all frames, made when the first is asked for, (Y, X) uint8 each.

    spec: as the user wrote it. drawn: a box, or a mask (Y, X) uint8. frame: that it is drawn in. flow: what
    estimates the motion, as `vedit.motion.pairs_of` reads it.
    """

    def __init__(
        self,
        spec: str,
        drawn: tuple[int, int, int, int] | np.ndarray,
        frame: int,
        pixels: Pixels,
        warn: Warn,
        flow: str = "tvl1",
    ) -> None:
        self.spec, self.drawn, self.frame, self.source, self.warn = spec, drawn, frame, pixels, warn
        self.shape = pixels.shown_FYX3.shape[:3]
        self.estimate = pairs_of(flow)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, place: int) -> np.ndarray:
        return self.masks[place]

    def is_lost(self, place: int) -> bool:
        """Whether nobody knows where the mask is in a frame."""
        return place not in self.found

    @cached_property
    def masks(self) -> list[np.ndarray]:
        nothing = np.zeros(self.shape[1:], np.uint8)
        return [self.found.get(place, nothing) for place in range(len(self))]

    @cached_property
    def found(self) -> dict[int, np.ndarray]:
        """The masks of the frames that it is followed into."""
        return {
            place: mask
            for places in (range(self.frame, len(self)), range(self.frame, -1, -1))
            for place, mask in zip(places, self._carried(places), strict=False)
        }

    def _carried(self, places: range) -> Iterator[np.ndarray]:
        """The mask of each frame, until it is lost."""
        if isinstance(self.drawn, np.ndarray):
            yield from self._painted(places)
        else:
            left, top, right, bottom = self.drawn
            box = Place((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            yield from (box_mask(place, self.shape[1:]) for place in self._boxes(box, places))

    def _boxes(self, box: Place, places: range) -> Iterator[Place]:
        yield box
        for now, after in pairwise(places):
            there, back, scale_2 = self._flows(now, after)
            moved = moved_box(box, there, visible(there, back), scale_2)
            if moved is None or share_inside(moved, self.shape[1:]) < LEFT:
                self._say_lost(after)
                return
            box = moved
            yield box

    def _painted(self, places: range) -> Iterator[np.ndarray]:
        assert isinstance(self.drawn, np.ndarray)
        mask_YX = self.drawn
        yield mask_YX
        for now, after in pairwise(places):
            there, back, scale_2 = self._flows(now, after)
            size = there.shape[1:]
            is_masked_YX = resized(mask_YX.astype(np.float32), size) > 127
            if (
                not is_masked_YX.any()
                or (visible(there, back) & is_masked_YX).sum() < SEEN * is_masked_YX.sum()
            ):
                self._say_lost(after)
                return
            wide_2YX = np.stack([resized(part, mask_YX.shape) for part in back]) * scale_2[:, None, None]
            found, is_inside = look_up(mask_YX[..., None], wide_2YX)
            mask_YX = np.where(is_inside, found[..., 0].round(), 0).astype(np.uint8)
            yield mask_YX

    def _flows(self, now: int, after: int) -> tuple[Floats, Floats, Floats]:
        """Flow from a frame to the next one that is looked at and back, and pixels of the output for one of
        theirs.
        """
        frames = [smaller(self.source.shown_FYX3[place]) for place in (now, after)]
        there, back = (self.estimate(one[None], other[None])[0] for one, other in (frames, frames[::-1]))
        rows, columns = there.shape[1:]
        return there, back, np.array([self.shape[2] / columns, self.shape[1] / rows])

    def _say_lost(self, place: int) -> None:
        begin, _ = self.source.times()[place]
        self.warn(
            f"the mask {self.spec} is lost at {begin:.2f} s: what it holds cannot be found again, and"
            f" nothing is edited there; where it is seen again, draw it once more with another"
            f" {option('mask', 'track:X,Y,W,H@T')}"
        )


def smaller(frame_YX3: np.ndarray) -> np.ndarray:
    """A frame whose longer side is SIDE at most."""
    from PIL import Image

    rows, columns = frame_YX3.shape[:2]
    factor = SIDE / max(rows, columns)
    if factor >= 1:
        return np.asarray(frame_YX3)
    size = max(1, round(columns * factor)), max(1, round(rows * factor))
    return np.asarray(Image.fromarray(np.asarray(frame_YX3)).resize(size, Image.Resampling.BOX))


def resized(part_YX: Floats, size: tuple[int, ...]) -> Floats:
    """One channel at another size, between its pixels."""
    from PIL import Image

    if part_YX.shape == size:
        return part_YX
    picture = Image.fromarray(np.ascontiguousarray(part_YX, np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def moved_box(box: Place, flow_2YX: Floats, is_seen_YX: np.ndarray, scale_2: Floats) -> Place | None:
    """Where a box is in the next frame, None if too little of it is seen there.

    flow, is_seen: at another size, of whose pixels one is `scale` of the box's.
    """
    rows, columns = is_seen_YX.shape
    y, x = np.mgrid[0:rows, 0:columns]
    at_2YX = np.stack([(x + 0.5) * scale_2[0], (y + 0.5) * scale_2[1]])
    is_in_YX = (abs(at_2YX[0] - box.x) <= box.width / 2) & (abs(at_2YX[1] - box.y) <= box.height / 2)
    if not is_in_YX.any() or (is_in_YX & is_seen_YX).sum() < SEEN * is_in_YX.sum():
        return None
    chosen = is_in_YX & is_seen_YX
    at_N2, step_N2 = at_2YX[:, chosen].T, (flow_2YX[:, chosen].T * scale_2).astype(np.float64)
    growth = growth_of(at_N2, step_N2)
    step_2 = np.median(step_N2 - growth * (at_N2 - [box.x, box.y]), axis=0)
    return Place(box.x + step_2[0], box.y + step_2[1], box.width * (1 + growth), box.height * (1 + growth))


def growth_of(at_N2: Floats, step_N2: Floats) -> float:
    """How much further apart points come for each pixel that they are apart: the median over pairs."""
    count = len(at_N2)
    if count < 8:
        return 0.0
    one, other = np.arange(count), np.random.default_rng(0).permutation(count)
    apart_N2, moved_N2 = at_N2[one] - at_N2[other], step_N2[one] - step_N2[other]
    length_N = (apart_N2**2).sum(1)
    is_far_N = length_N > np.median(length_N)
    slopes_N = (apart_N2 * moved_N2).sum(1)[is_far_N] / length_N[is_far_N]
    return float(np.clip(np.median(slopes_N), -STEEPEST, STEEPEST)) if len(slopes_N) else 0.0


def share_inside(box: Place, size: tuple[int, ...]) -> float:
    """How much of a box lies in a picture of so many rows and columns."""

    def part(middle: float, side: float, end: int) -> float:
        return max(0.0, min(end, middle + side / 2) - max(0.0, middle - side / 2)) / side

    return part(box.x, box.width, size[1]) * part(box.y, box.height, size[0])


def box_mask(box: Place, size: tuple[int, ...]) -> np.ndarray:
    """255 in the pixels whose middles are in the box, (Y, X)."""

    def inside(middle: float, side: float, end: int) -> np.ndarray:
        is_in: np.ndarray = np.abs(np.arange(end) + 0.5 - middle) <= side / 2
        return is_in

    rows, columns = inside(box.y, box.height, size[0]), inside(box.x, box.width, size[1])
    mask: np.ndarray = (rows[:, None] & columns).astype(np.uint8) * np.uint8(255)
    return mask
