"""Where and when an edit may act: pictures, clips, boxes and time ranges as one mask.

    m.png | m.gif | m.mp4                  white is edited; a clip is matched frame by frame, or
                                           stretched in time
    box:x,y,w,h[@t0-t1]                    pixels of the output, or percent of it
    L,T,R,B                                the same box by its edges
    time:1.5s- | time:-2s | time:1s-2s     the whole frame, in the source's time
    frames:12-40                           the whole frame, by the source's frame numbers from 0

    track:x,y,w,h[@t] | track:m.png[@t]    a box or a painted mask in the frame at a time, the first by
                                           default, that follows what it holds through the clip
    not:FORM                               the opposite of any of these

`~0.5s` behind a range lets the mask rise and fall over that time. A frame belongs to a range that
its middle lies in. Several masks are united.
Shape letters: F frames, Y X rows and columns.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from vedit.errors import InputError, UsageError, VeditError, Warn, option, silent
from vedit.jobs.clips import Pixels, Selection, blank_frames, fitted, frames_in, has_proportions
from vedit.jobs.recorded import DRAWN_AT, file_in
from vedit.media.source import opened

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vedit.jobs.tracked import Tracked

FORMS = (
    "A mask is a picture or clip, box:x,y,w,h[@1s-2s], time:1.5s-, time:-2s, frames:12-40 or "
    "track:x,y,w,h@1s; "
    "~0.5s behind a range makes it soft, not: before it takes the opposite."
)
WHITE = "White is edited, black is kept, and transparent counts as black."
NOT = "not:"  # before a mask: the opposite of it
TRACK = "track:"  # before a box or a picture: it follows what it holds
MOST_LABELS = 31  # of a picture whose levels are numbers of objects; a painted grey is brighter
ROUNDING = 1e-9  # of times, which need not be whole numbers of anything
HALF = 127  # what is brighter is followed
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


Layer = Union[Box, "np.ndarray", "Tracked"]


class EditMask:
    """The union of several masks over a clip; 255 is edited, 0 is kept, and between is mixed.

    flow: what estimates the motion that masks follow. when: the part of the clip, in shares of its time, that
    all of them hold in; without masks it is one. Everything is read and checked at once. Raises UsageError
    for a form that is not known, a box outside the frame and a range that holds no frame of the clip.
    """

    def __init__(
        self,
        specs: Sequence[str],
        pixels: Pixels,
        warn: Warn = silent,
        flow: str = "tvl1",
        when: tuple[Fraction, Fraction] | None = None,
    ) -> None:
        self.shape, self.warn, self.flow = pixels.shown_FYX3.shape[:3], warn, flow
        whole: list[tuple[Layer, list[float]]] = [
            (Box(0, 0, self.shape[2], self.shape[1]), [1.0] * self.shape[0])
        ]
        self.layers = [self._layer(spec, pixels) for spec in specs] or whole
        self.holds = None if when is None else self._frames_in(when, pixels)

    def _frames_in(self, when: tuple[Fraction, Fraction], pixels: Pixels) -> list[bool]:
        """Which frames have their middle in a part of the clip, its end left out but for that of the clip."""
        times = pixels.times()
        begin, length = times[0][0], times[-1][1] - times[0][0]
        shares = [((shown[0] + shown[1]) / 2 - begin) / length + ROUNDING for shown in times]
        holds = [bool(when[0] <= share and (share < when[1] or when[1] >= 1)) for share in shares]
        first, last = (begin + float(share) * length for share in when)
        said = f"{first:.2f} s to {last:.2f} s"
        if not any(holds):
            raise UsageError(
                f"the instruction holds from {said}, and no frame has its middle there.",
                "Its words of time are shares of the clip.",
                "Leave those words out, or take more frames",
            )
        self.warn(f"the instruction is kept to the time that it says, {said}")
        return holds

    def _layer(self, spec: str, pixels: Pixels) -> tuple[Layer, list[float]]:
        if spec.startswith(NOT):
            return self._opposite(self._layer(spec.removeprefix(NOT), pixels)), [1.0] * self.shape[0]
        if spec.startswith(TRACK):
            return self._tracked(spec, pixels), [1.0] * self.shape[0]
        if os.path.exists(spec):
            return clip_layer(spec, pixels, self.warn), [1.0] * self.shape[0]
        box, span, by_frames = parse(spec, (self.shape[2], self.shape[1]))
        return box, [1.0] * self.shape[0] if span is None else self._weights(spec, span, by_frames, pixels)

    def _tracked(self, spec: str, pixels: Pixels) -> Tracked:
        """A mask that follows what it holds. Raises UsageError for a time that no frame has."""
        from vedit.jobs.tracked import Tracked

        drawn, at = parse_track(spec, (self.shape[2], self.shape[1]))
        times = pixels.times()
        at = times[0][0] if at is None else at
        shown = [place for place, (begin, end) in enumerate(times) if begin <= at < end]
        if not shown:
            raise UsageError(
                f"the mask {spec} is drawn at {at:g} s, where no frame is edited.",
                f"The frames that are edited are {times[0][0]:.2f} s to {times[-1][1]:.2f} s of the source.",
                "Draw it in one of them",
            )
        first = drawn if isinstance(drawn, Box) else self._painted_once(drawn, pixels)
        return Tracked(spec, first, shown[0], pixels, self.warn, self.flow)

    def _painted_once(self, name: str, pixels: Pixels) -> np.ndarray:
        """The mask that is followed, (Y, X) uint8: a picture, or the first of a clip. Raises UsageError for
        one with nothing to follow.
        """
        masks = read_masks(name, pixels, self.warn)
        if len(masks) > 1:
            self.warn(
                f"the mask {name} has {len(masks)} frames, and {TRACK} follows the first of them;"
                f" without {TRACK} each is taken as it is"
            )
        if masks[0].max() <= HALF:
            raise UsageError(
                f"the mask {name} has nothing as bright as half of white{' at first' * (len(masks) > 1)},"
                f" and so nothing to follow.",
                WHITE,
                "Paint what is to be followed white",
            )
        first: np.ndarray = masks[0]
        return first

    def _weights(self, spec: str, span: Span, by_frames: bool, pixels: Pixels) -> list[float]:
        """How much of a mask each frame takes; raises UsageError for a range that holds none."""
        first, stride = pixels.selection.start, pixels.selection.stride
        # a frame number is a time whose second is one frame, and a range holds both its ends
        spans = (
            [(first + stride * place - 0.5, first + stride * place + 0.5) for place in range(self.shape[0])]
            if by_frames
            else pixels.times()
        )
        weights = [span.weight(*shown) for shown in spans]
        if not any(weights):
            shown = (
                f"frames {spans[0][0] + 0.5:.0f} to {spans[-1][1] - 0.5:.0f}"
                if by_frames
                else f"{spans[0][0]:.2f} s to {spans[-1][1]:.2f} s"
            )
            raise UsageError(
                f"the mask {spec} holds no frame of this clip.",
                f"The frames that are edited are {shown} of the source.",
                "Name a range among them",
            )
        return weights

    def _opposite(self, layer: tuple[Layer, list[float]]) -> np.ndarray:
        from vedit.jobs.tracked import Tracked

        made, drawn = blank_frames(self.shape), layer[0]
        for place in range(self.shape[0]):
            if isinstance(drawn, Tracked) and drawn.is_lost(place):
                continue  # what it holds may be anywhere, and would be edited with all else
            made[place] = 255
            made[place] -= self._painted([layer], slice(place, place + 1))[0]
        return made

    def pixels(self, frames: slice) -> np.ndarray:
        """The mask of some frames, (F, Y, X) uint8."""
        mask = self._painted(self.layers, frames)
        if self.holds is not None:
            for place, is_held in enumerate(self.holds[frames]):
                mask[place] *= is_held
        return mask

    def _painted(self, layers: Sequence[tuple[Layer, list[float]]], frames: slice) -> np.ndarray:
        import numpy as np

        first, stop, _ = frames.indices(self.shape[0])
        mask = np.zeros((stop - first, *self.shape[1:]), np.uint8)
        for layer, weights in layers:
            for place in range(first, stop):
                shown = mask[place - first]
                if isinstance(layer, Box):
                    part = shown[layer.top : layer.bottom, layer.left : layer.right]
                    np.maximum(part, round(255 * weights[place]), out=part)
                else:
                    np.maximum(shown, layer[place if len(layer) > 1 else 0], out=shown)
        return mask

    def latent(
        self, frames: slice, scale: int, size: tuple[int, int] | None = None, multiple: int = 1
    ) -> Tensor:
        """The mask of some frames at latent size, (F, 1, Y, X) in [0, 1]: the share of a cell that is edited.

        size: width and height that the clip is worked on in, where its output has others. multiple: of
        cells on a side, which a frame is filled up to.
        """
        import torch

        from vedit.pixels import padded

        full = torch.from_numpy(self.pixels(frames)).float()[:, None] / 255
        if size is not None and size != (self.shape[2], self.shape[1]):
            full = torch.nn.functional.interpolate(full, (size[1], size[0]), mode="area")
        return torch.nn.functional.avg_pool2d(padded(full, scale * multiple), scale)


def file_of(spec: str) -> str | None:
    """The file or folder that a mask names, None for a box and for a range."""
    parts = file_in("mask", spec)
    return None if parts is None else parts[1]


def check_specs(specs: Sequence[str], size: tuple[int, int]) -> None:
    """Refuse what is not a mask, and boxes outside a frame of a width and height, before a clip is read.

    Raises UsageError.
    """
    for spec in specs:
        spec = spec.removeprefix(NOT)
        if spec.startswith(TRACK):
            parse_track(spec, size)
        elif not os.path.exists(spec):
            parse(spec, size)


def clip_layer(name: str, pixels: Pixels, warn: Warn) -> np.ndarray:
    """A mask clip's frame for each edited one, (F or 1, Y, X) uint8.

    A clip as long as the source is taken by the same start and stride; one of another length is
    stretched over the source's time, which is warned of.
    """
    masks = read_masks(name, pixels, warn)
    count, (start, stride) = len(pixels.durations), pixels.selection[:2]
    if len(masks) in (1, count):
        return masks
    if len(masks) == frames_in(pixels):
        return masks[start::stride][:count]
    warn(
        f"the mask {name} has {len(masks)} frames, and {count} {'is' if count == 1 else 'are'} edited:"
        " it is stretched over their time"
    )
    times = pixels.times()
    begin, length = times[0][0], times[-1][1] - times[0][0]
    places = [int(((shown[0] + shown[1]) / 2 - begin) / length * len(masks)) for shown in times]
    return masks[[min(place, len(masks) - 1) for place in places]]


def read_masks(name: str, pixels: Pixels, warn: Warn) -> np.ndarray:
    """All frames of a mask at the size of the output, cut as the clip is; (F, Y, X) uint8, 255 is edited.

    Transparent is black. Labels, as segmenters write them (0 and 1, or a colour for each object), are
    white wherever they are not black. Raises UsageError for a mask that is black everywhere.
    """
    import numpy as np

    selection = pixels.selection
    levels, shades = shades_of(name, warn)
    warn_of_shape("mask", name, (shades.shape[2], shades.shape[1]), pixels, warn)
    top = max(levels)
    if top == 0:
        raise UsageError(
            f"the mask {name} is black everywhere, and so nothing would be edited.",
            WHITE,
            f"If black is what you mean: {option('mask', f'{NOT}{name}')}",
        )
    if levels == {255}:
        warn(f"the mask {name} is white everywhere: it leaves nothing out")
    has_labels = top < 255 and (len(levels) <= 2 or top <= MOST_LABELS)
    if has_labels:
        warn(f"the mask {name} has no white: what is not black in it is edited")
    width, height = selection.shown
    made = blank_frames((len(shades), height, width))
    for place, frame in enumerate(shades):
        made[place] = cut((frame > 0) * np.uint8(255) if has_labels else frame, selection)
    return made


def warn_of_shape(what: str, name: str, size: tuple[int, int], pixels: Pixels, warn: Warn) -> None:
    """Tell of a mask or the like that has other proportions than the clip, whose sides it is brought to.

    size: its width and height.
    """
    width, height = size
    whole = pixels.clip.width, pixels.clip.height
    is_cut = isinstance(pixels.selection.size, int)
    fits = [whole, pixels.selection.shown, *([(1, 1)] if is_cut else [])]
    if not any(has_proportions(size, fit) for fit in fits):
        warn(
            f"the {what} {name} is {width}x{height} and the clip {whole[0]}x{whole[1]}: it is"
            f" {'cut to a square' if is_cut else 'stretched to the shape of the clip'}"
        )


def shades_of(name: str, warn: Warn) -> tuple[set[int], np.ndarray]:
    """The levels that a mask has, and its frames (F, Y, X) uint8 in a temporary file."""
    import numpy as np

    levels, count = set[int](), 0
    try:
        with opened(name, warn=warn) as (clip, frames), tempfile.TemporaryFile(prefix="vedit-") as spool:
            for frame in frames:
                grey = shade(frame.pixels)
                levels.update(level for level, found in enumerate(grey.histogram()) if found)
                spool.write(grey.tobytes())
                count += 1
            spool.flush()
            if not count:
                raise InputError("no frames.", "A mask is a picture or a clip.")
            return levels, np.asarray(np.memmap(spool, np.uint8, "r", shape=(count, clip.height, clip.width)))
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


def shade(picture: Any) -> Any:
    """How bright a mask is, "L": the largest of the colours, for objects of any colour, as far as it is
    opaque.
    """
    from PIL import ImageChops

    bands = picture.split()
    brightest = ImageChops.lighter(ImageChops.lighter(bands[0], bands[1]), bands[2])
    return brightest if picture.mode == "RGB" else ImageChops.multiply(brightest, bands[3])


def cut(frame_YX: np.ndarray, selection: Selection) -> np.ndarray:
    """One mask as the selection cuts its frames, at the size of the output."""
    import numpy as np
    from PIL import Image

    return np.asarray(fitted(Image.fromarray(frame_YX), selection.size, selection.shown))[..., 0]


def parse(spec: str, size: tuple[int, int], typed: str | None = None) -> tuple[Box, Span | None, bool]:
    """A box in pixels, the range it holds for (None is always), and whether that counts frames; size: width,
    height. typed: what the user wrote, where that is more.
    """
    whole = Box(0, 0, *size)
    if match := re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", spec):
        left, top, right, bottom = map(int, match.groups())
        return _within(spec, Box(left, top, right, bottom), size), None, False
    if match := re.fullmatch(rf"box:({SIDE}),({SIDE}),({SIDE}),({SIDE})(?:@{RANGE})?", spec):
        x, y, width, height = (
            _pixels(text, size[place % 2]) for place, text in enumerate(match.groups()[:4])
        )
        edges = Box(round(x), round(y), round(x + width), round(y + height))
        box = _within(typed or spec, edges, size)
        return box, _span(match, spec) if "@" in spec else None, False
    if match := re.fullmatch(rf"time:{RANGE}", spec):
        return whole, _span(match, spec), False
    if match := re.fullmatch(r"frames:(?P<begin>\d+)?-(?P<end>\d+)?(?:~(?P<ramp>\d+))?", spec):
        return whole, _span(match, spec), True
    raise UsageError(f"{option('mask', spec)} is neither a file nor a form of mask.", FORMS)


def parse_track(spec: str, size: tuple[int, int]) -> tuple[Box | str, float | None]:
    """A box in pixels or the file of a mask, and when it is drawn. Raises UsageError for neither."""
    body = spec.removeprefix(TRACK)
    drawn = None if os.path.exists(body) else DRAWN_AT.fullmatch(body)
    what, after = drawn.groups() if drawn else (body, "")
    at = _seconds(after.removeprefix("@") or None)
    if os.path.exists(what):
        return what, at
    if not re.fullmatch(rf"{SIDE},{SIDE},{SIDE},{SIDE}", what):
        raise UsageError(
            f"{option('mask', spec)} follows neither a box nor a file: {_fault_of_track(what)}.",
            "",
            f"Try {option('mask', 'track:10%,10%,40%,60%@1s')}, or {option('mask', 'track:mask.png')}",
        )
    return parse(f"box:{what}", size, spec)[0], at


def _fault_of_track(what: str) -> str:
    """Why a text is neither a box, which has four numbers and perhaps a time, nor a file."""
    box, is_timed, time = what.rpartition("@")
    if is_timed and re.fullmatch(rf"{SIDE},{SIDE},{SIDE},{SIDE}", box):
        return f"{time!r} is not a time in seconds, from 0, such as 1s"
    if what and re.fullmatch(r"[-+.,%\d\se]*", what):
        return f"{what} is not x,y,width,height, four numbers from 0 in pixels or percent"
    return f"{what} is not there" if what else "nothing is named"


def _within(spec: str, box: Box, size: tuple[int, int]) -> Box:
    if box.left < box.right <= size[0] and box.top < box.bottom <= size[1]:
        return box
    frame = f"the {size[0]}x{size[1]} frame"
    if box.left >= box.right or box.top >= box.bottom:
        raise UsageError(
            f"the mask {spec} has no area: {box.right - box.left} by {box.bottom - box.top} pixels.",
            "box: takes x,y,width,height, and a mask by its edges left,top,right,bottom.",
            "Make it at least a pixel wide and high",
        )
    inner = Box(box.left, box.top, min(box.right, size[0]), min(box.bottom, size[1]))
    sides = f"{inner.left},{inner.top},{inner.right - inner.left},{inner.bottom - inner.top}"
    raise UsageError(
        f"the mask {spec} does not lie in {frame}: it reaches from {box.left},{box.top} to"
        f" {box.right},{box.bottom}.",
        "box: takes x,y,width,height, and a mask by its edges left,top,right,bottom.",
        f"What of it is in the frame is box:{sides}"
        if inner.left < inner.right and inner.top < inner.bottom
        else "Name a box inside it",
    )


def _pixels(text: str, side: int) -> float:
    return float(text[:-1]) * side / 100 if text.endswith("%") else float(text)


def _span(match: re.Match[str], spec: str) -> Span:
    begin, end, ramp = (_seconds(match[name]) for name in ("begin", "end", "ramp"))
    if (begin is None and end is None) or (begin is not None and end is not None and end < begin):
        raise UsageError(
            f"the range of the mask {spec} is empty or open on both sides.",
            "A range goes from what is earlier to what is later, and one of both may be missing:"
            " time:1s-2s, time:1.5s-, time:-2s, frames:12-40.",
        )
    return Span(begin, end, ramp or 0.0)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))
