"""Where and when an edit may act: pictures, clips, boxes and time ranges as one mask.

    m.png | m.gif | m.mp4                  white is edited; a clip is matched frame by frame, or
                                           stretched in time
    box:x,y,w,h[@t0-t1]                    pixels of the edited size, or percent of it
    L,T,R,B                                the same box by its edges
    time:1.5s- | time:-2s | time:1s-2s     the whole frame, in the source's time
    frames:12-40                           the whole frame, by the source's frame numbers from 0

`~0.5s` behind a range lets the mask rise and fall over that time. A frame belongs to a range that
its middle lies in. Several masks are united.
Shape letters: F frames, Y X rows and columns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from vedit.app.clips import Pixels, read_pixels
from vedit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

FORMS = "A mask is a picture or clip, box:x,y,w,h[@1s-2s], time:1.5s-, time:-2s or frames:12-40; ~0.5s behind a range makes it soft."
NUMBER = r"\d+(?:\.\d+)?"
TIME = rf"{NUMBER}(?:s|ms)?"
RANGE = rf"(?P<begin>{TIME})?-(?P<end>{TIME})?(?:~(?P<ramp>{TIME}))?"
SIDE = rf"{NUMBER}%?"


class Span(NamedTuple):
    """A range of time in seconds; None is open. ramp: seconds over which the mask rises and falls."""

    begin: float | None = None
    end: float | None = None
    ramp: float = 0.0

    def weight(self, start: float, stop: float) -> float:
        """How much of the mask a frame shown from `start` to `stop` takes, in [0, 1]."""
        middle = (start + stop) / 2
        inside = [middle - self.begin] if self.begin is not None else []
        inside += [self.end - middle] if self.end is not None else []
        if not inside:
            return 1.0
        return min(1.0, max(0.0, min(inside) / self.ramp)) if self.ramp else float(min(inside) >= 0)


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: int
    top: int
    right: int
    bottom: int


class EditMask:
    """The union of several masks over a clip; 255 is edited, 0 is kept, and between is mixed.

    Everything is read and checked at once. Raises UsageError for a form that is not known, a box
    outside the frame and a range that holds no frame of the clip.
    """

    def __init__(self, specs: Sequence[str], pixels: Pixels) -> None:
        self.shape = pixels.frames_FYX3.shape[:3]
        self.layers = [self._layer(spec, pixels) for spec in specs]

    def _layer(self, spec: str, pixels: Pixels) -> tuple[Box | np.ndarray, list[float]]:
        always = [1.0] * self.shape[0]
        if os.path.exists(spec):
            return clip_layer(spec, pixels), always
        box, span, by_frames = parse(spec, (self.shape[2], self.shape[1]))
        if span is None:
            return box, always
        first, stride = pixels.selection.start, pixels.selection.stride
        # a frame number is a time whose second is one frame, and a range holds both its ends
        spans = [(first + stride * place - 0.5, first + stride * place + 0.5) for place in range(self.shape[0])] if by_frames else pixels.times()
        weights = [span.weight(*shown) for shown in spans]
        if not any(weights):
            shown = f"frames {spans[0][0] + 0.5:.0f} to {spans[-1][1] - 0.5:.0f}" if by_frames else f"{spans[0][0]:.2f} s to {spans[-1][1]:.2f} s"
            raise UsageError(f"the mask {spec} holds no frame of this clip.", f"The frames that are edited are {shown} of the source.")
        return box, weights

    def pixels(self, frames: slice) -> np.ndarray:
        """The mask of some frames, (F, Y, X) uint8."""
        import numpy as np

        first, stop, _ = frames.indices(self.shape[0])
        mask = np.zeros((stop - first, *self.shape[1:]), np.uint8)
        for layer, weights in self.layers:
            for place in range(first, stop):
                shown = mask[place - first]
                if isinstance(layer, Box):
                    part = shown[layer.top : layer.bottom, layer.left : layer.right]
                    np.maximum(part, round(255 * weights[place]), out=part)
                else:
                    np.maximum(shown, layer[place if len(layer) > 1 else 0], out=shown)
        return mask

    def latent(self, frames: slice, scale: int) -> Tensor:
        """The mask of some frames at latent size, (F, 1, Y, X) in [0, 1]: the share of a cell that is edited."""
        import torch

        full = torch.from_numpy(self.pixels(frames)).float()[:, None] / 255
        return torch.nn.functional.avg_pool2d(full, scale)


def clip_layer(name: str, pixels: Pixels) -> np.ndarray:
    """A mask clip's frame for each edited one, (F or 1, Y, X) uint8.

    A clip as long as the source is taken by the same start and stride; one of another length is
    stretched over the source's time.
    """
    masks = read_pixels(name, pixels.selection._replace(frames=None, start=0, stride=1)).frames_FYX3[..., 0]
    count, (start, stride) = len(pixels.durations), pixels.selection[:2]
    if len(masks) in (1, count):
        return masks
    if len(masks) == pixels.clip.frames_hint:
        return masks[start::stride][:count]
    times = pixels.times()
    begin, length = times[0][0], times[-1][1] - times[0][0]
    places = [int(((shown[0] + shown[1]) / 2 - begin) / length * len(masks)) for shown in times]
    return masks[[min(place, len(masks) - 1) for place in places]]


def parse(spec: str, size: tuple[int, int]) -> tuple[Box, Span | None, bool]:
    """A box in pixels, the range it holds for (None is always), and whether that counts frames; size: width, height."""
    whole = Box(0, 0, *size)
    if match := re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", spec):
        left, top, right, bottom = map(int, match.groups())
        return _within(spec, Box(left, top, right, bottom), size), None, False
    if match := re.fullmatch(rf"box:({SIDE}),({SIDE}),({SIDE}),({SIDE})(?:@{RANGE})?", spec):
        x, y, width, height = (_pixels(text, size[place % 2]) for place, text in enumerate(match.groups()[:4]))
        box = _within(spec, Box(round(x), round(y), round(x + width), round(y + height)), size)
        return box, _span(match, spec) if "@" in spec else None, False
    if match := re.fullmatch(rf"time:{RANGE}", spec):
        return whole, _span(match, spec), False
    if match := re.fullmatch(r"frames:(?P<begin>\d+)?-(?P<end>\d+)?(?:~(?P<ramp>\d+))?", spec):
        return whole, _span(match, spec), True
    raise UsageError(f"--mask {spec} is neither a file nor a form of mask.", FORMS)


def _within(spec: str, box: Box, size: tuple[int, int]) -> Box:
    if not (box.left < box.right <= size[0] and box.top < box.bottom <= size[1]):
        raise UsageError(f"the mask box {spec} does not lie in the {size[0]}x{size[1]} frame.", FORMS)
    return box


def _pixels(text: str, side: int) -> float:
    return float(text[:-1]) * side / 100 if text.endswith("%") else float(text)


def _span(match: re.Match[str], spec: str) -> Span:
    begin, end, ramp = (_seconds(match[name]) for name in ("begin", "end", "ramp"))
    if (begin is None and end is None) or (begin is not None and end is not None and end < begin):
        raise UsageError(f"the range of the mask {spec} is empty or open on both sides.", FORMS)
    return Span(begin, end, ramp or 0.0)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))
