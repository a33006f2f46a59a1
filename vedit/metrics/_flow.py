"""Optical flow for the metrics that follow motion: GMFlow, TV-L1, OpenCV's DIS, or a file.

A flow F from frame a to frame b says where each pixel of a is found in b: x + F(x), in pixels, x
first. `backward` goes from each frame to the one before it, `forward` to the one after it.

TV-L1 needs no weights: Zach, Pock and Bischof 2007, in a pyramid with warps, in the numerical
scheme of Sanchez, Meinhardt-Llopis and Facciolo 2013 (IPOL). Ours differs in taking, at each
pixel, the colour channel with the largest gradient, and in having no median filter. On drawn
scenes, where the true flow is known, its mean error on moving objects is 0.33 pixels and that of
OpenCV's DIS (medium) 0.77, with zero flow at 2.92.

Shape letters: P pairs of frames, 2 for x and y, Y X rows and columns, C colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from vedit.errors import InputError, ModelError, UsageError, option
from vedit.metrics.towers.features import feature_key
from vedit.metrics.types import Floats, Options, Pixels, Video

if TYPE_CHECKING:
    from torch import Tensor

ENGINES = ("gmflow", "tvl1", "dis", "file:F.npz")
VERSION = 1
DATA_WEIGHT, COUPLING, STEP = 40.0, 0.3, 0.25  # lambda, theta and tau of the paper, for colours in 0..1
WARPS, ITERATIONS = 3, 20
PIXELS_FOR_THREADS = 2**17
SMALLEST = 12  # rows or columns of the coarsest level


@dataclass(frozen=True)
class Flows:
    """Flows between neighbouring frames. forward_P2YX: None when a file holds none."""

    backward_P2YX: Floats
    forward_P2YX: Floats | None


def towers_of_flow(options: Options) -> tuple[str, ...]:
    """The networks that the chosen engine reads."""
    return ("gmflow",) if options.flow_engine == "gmflow" else ()


def flows(video: Video, towers: Any, options: Options, *, of_source: bool = True) -> Flows:
    """Flows between neighbouring frames, computed once per video and engine; at least two frames.

    of_source: both directions, out of a file where one is named. For the edit itself only the
    backward flow is computed, and a file is refused, since it holds the flow of the source.
    Raises UsageError for an unknown engine, InputError for a file that does not fit, ModelError.
    """
    engine = options.flow_engine
    if engine.startswith("file:"):
        if not of_source:
            raise UsageError(
                "a flow file holds the flow of the source; the edit's flow is needed too.",
                "",
                f"Use {option('flow', 'tvl1')}, or leave out ff_beta",
            )
        return read_flows(engine.removeprefix("file:"), video)
    if engine not in ("gmflow", "tvl1", "dis"):
        raise UsageError(f"there is no flow engine {engine!r}.", f"There are: {', '.join(ENGINES)}.")
    follow = (
        towers.get("gmflow").flow if engine == "gmflow" else partial(estimated, engine=engine, towers=towers)
    )
    return Flows(follow(video, backward=True), follow(video, backward=False) if of_source else None)


def estimated(video: Video, *, backward: bool, engine: str, towers: Any) -> Floats:
    """Flow without weights in one direction, (P, 2, Y, X), out of the store where it is known."""
    key = feature_key("flow", engine, str(VERSION), "backward" if backward else "forward", video.digest)
    kept = towers.store.get(key) if towers is not None else None
    if kept is None:
        estimate = tvl1_pairs if engine == "tvl1" else dis_pairs
        earlier_PYX3, later_PYX3 = video.frames_TYX3[:-1], video.frames_TYX3[1:]
        kept = {
            "flow": estimate(later_PYX3, earlier_PYX3) if backward else estimate(earlier_PYX3, later_PYX3)
        }
        if towers is not None:
            towers.store.put(key, kept)
    found: Floats = kept["flow"]
    return found


def read_flows(path: str, video: Video) -> Flows:
    """`backward` and, where there is one, `forward` of an .npz file, each (T-1, 2, Y, X) in pixels."""
    wanted = (len(video) - 1, 2, *video.size)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {
                name: np.asarray(arrays[name], np.float32)
                for name in ("backward", "forward")
                if name in arrays
            }
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(
            f"{path}: cannot read flow: {error}.", "It is an .npz file with the arrays backward and forward."
        ) from None
    if "backward" not in found:
        raise InputError(
            f"{path}: it has no array `backward`.",
            f"It goes from each frame to the one before it: {wanted}, x first.",
        )
    for name, array in found.items():
        if array.shape != wanted:
            raise InputError(
                f"{path}: {name} has the shape {array.shape}.",
                f"The source needs {wanted}: pairs of frames, x and y, rows, columns.",
            )
    return Flows(found["backward"], found.get("forward"))


def dis_pairs(a_PYX3: Pixels, b_PYX3: Pixels) -> Floats:
    """Flow from each frame of one clip to that of another, (P, 2, Y, X) in pixels."""
    return np.stack([dis_pair(a, b) for a, b in zip(a_PYX3, b_PYX3, strict=True)])


def dis_pair(a_YX3: Pixels, b_YX3: Pixels) -> Floats:
    """OpenCV's dense inverse search, preset medium, on grey levels. Raises ModelError without OpenCV."""
    try:
        import cv2
    except ImportError:
        raise ModelError(
            f"{option('flow', 'dis')} needs OpenCV, not installed here.",
            "",
            f"Install with: pip install opencv-python-headless, or use {option('flow', 'tvl1')}",
        ) from None
    if min(a_YX3.shape[:2]) < 16:
        raise InputError(
            f"{option('flow', 'dis')} needs 16 pixels in each direction; the clip has"
            f" {a_YX3.shape[1]}x{a_YX3.shape[0]}.",
            "",
            f"Use {option('flow', 'tvl1')}",
        )
    grey = [cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in (a_YX3, b_YX3)]
    flow_YX2 = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)
    return np.ascontiguousarray(flow_YX2.transpose(2, 0, 1), np.float32)


# --- TV-L1 ---------------------------------------------------------------------------------------


def tvl1_pairs(a_PYX3: Pixels, b_PYX3: Pixels) -> Floats:
    """Flow from each frame of one clip to that of another, (P, 2, Y, X) in pixels.

    Small frames go through in groups: their operations are so short that calling them costs more.
    """
    import torch

    rows, columns = a_PYX3.shape[1:3]
    group = max(1, PIXELS_FOR_THREADS // (rows * columns))
    with torch.inference_mode(), few_threads(rows * columns):
        found = [
            tvl1(as_colours(a_PYX3[at : at + group]), as_colours(b_PYX3[at : at + group])).numpy()
            for at in range(0, len(a_PYX3), group)
        ]
    return np.concatenate(found)


def as_colours(frames_PYX3: Pixels) -> Tensor:
    """(P, C, Y, X), 0..1."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(frames_PYX3.transpose(0, 3, 1, 2))).float() / 255


@contextmanager
def few_threads(pixels: int) -> Iterator[None]:
    """One thread for small pictures: their thousands of short operations would mostly wait."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if pixels < PIXELS_FOR_THREADS else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tvl1(a_PCYX: Tensor, b_PCYX: Tensor) -> Tensor:
    """Flow from each a to its b, (P, 2, Y, X) in pixels; colours in 0..1."""
    from torch.nn.functional import interpolate

    flow = None
    for a, b in reversed(pyramid(a_PCYX, b_PCYX)):
        rows, columns = a.shape[-2:]
        if flow is None:
            flow = a.new_zeros(len(a), 2, rows, columns)
        else:
            scale = a.new_tensor([columns / flow.shape[-1], rows / flow.shape[-2]]).view(1, 2, 1, 1)
            flow = interpolate(flow, size=(rows, columns), mode="bilinear", align_corners=False) * scale
        flow = refine(a, b, flow)
    assert flow is not None
    return flow


def pyramid(a: Tensor, b: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Both images halved until a side would be smaller than SMALLEST, largest first."""
    from torch.nn.functional import interpolate

    levels = [(a, b)]
    while min(a.shape[-2:]) >= 2 * SMALLEST:
        size = [max(1, round(side / 2)) for side in a.shape[-2:]]
        # sigma 0.6 sqrt(1 / 0.5^2 - 1) keeps halving free of aliasing (Sanchez et al., section 3.2)
        a, b = (
            interpolate(smoothed(image, 0.6 * math.sqrt(3)), size=size, mode="bilinear", align_corners=False)
            for image in (a, b)
        )
        levels.append((a, b))
    return levels


def refine(a: Tensor, b: Tensor, flow: Tensor) -> Tensor:
    """Alternate between linearising the images at the flow and solving for flow and dual variables."""
    import torch

    gradient_x, gradient_y = central_differences(b)
    dual_x, dual_y = flow.new_zeros(flow.shape), flow.new_zeros(flow.shape)
    for _ in range(WARPS):
        slope_x, slope_y = warped(gradient_x, flow), warped(gradient_y, flow)
        rest = warped(b, flow) - a - slope_x * flow[:, :1] - slope_y * flow[:, 1:]
        steepest = (slope_x**2 + slope_y**2).argmax(1, keepdim=True)
        slope_x, slope_y, rest = (part.gather(1, steepest) for part in (slope_x, slope_y, rest))
        squared = slope_x**2 + slope_y**2
        is_flat = squared < 1e-9
        limit = DATA_WEIGHT * COUPLING
        for _ in range(ITERATIONS):
            residual = rest + slope_x * flow[:, :1] + slope_y * flow[:, 1:]
            # thresholding of the data term, equation 15 of the paper
            step = (-residual / squared.clamp(min=1e-9)).clamp(-limit, limit).masked_fill(is_flat, 0)
            flow = flow + step * torch.cat([slope_x, slope_y], dim=1) + COUPLING * divergence(dual_x, dual_y)
            change_x, change_y = forward_differences(flow)
            size = 1 + STEP / COUPLING * (change_x**2 + change_y**2).sqrt()
            dual_x, dual_y = (
                (dual_x + STEP / COUPLING * change_x) / size,
                (dual_y + STEP / COUPLING * change_y) / size,
            )
    return flow


def smoothed(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with replicated borders."""
    import torch
    from torch.nn.functional import conv2d, pad

    reach = max(1, int(3 * sigma + 0.5))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=image.dtype) / sigma) ** 2)
    weights = (weights / weights.sum()).repeat(image.shape[1], 1)
    across = conv2d(
        pad(image, (reach, reach, 0, 0), mode="replicate"), weights[:, None, None, :], groups=image.shape[1]
    )
    return conv2d(
        pad(across, (0, 0, reach, reach), mode="replicate"), weights[:, None, :, None], groups=image.shape[1]
    )


def warped(image: Tensor, flow: Tensor) -> Tensor:
    """The image looked up at x + flow(x); outside it the border goes on."""
    import torch
    from torch.nn.functional import grid_sample

    rows, columns = image.shape[-2:]
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    at_x, at_y = x + flow[:, 0], y + flow[:, 1]
    grid = torch.stack([at_x * 2 / max(columns - 1, 1) - 1, at_y * 2 / max(rows - 1, 1) - 1], dim=-1)
    return grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def central_differences(image: Tensor) -> tuple[Tensor, Tensor]:
    from torch.nn.functional import pad

    wide = pad(image, (1, 1, 1, 1), mode="replicate")
    return (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2, (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2


def forward_differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """Differences to the right and lower neighbour, 0 at the last column and row."""
    from torch.nn.functional import pad

    return pad(image.diff(dim=-1), (0, 1)), pad(image.diff(dim=-2), (0, 0, 0, 1))


def divergence(x: Tensor, y: Tensor) -> Tensor:
    """The negative adjoint of `forward_differences`."""
    from torch.nn.functional import pad

    inner_x, inner_y = x[..., :-1], y[..., :-1, :]
    return (
        pad(inner_x, (0, 1)) - pad(inner_x, (1, 0)) + pad(inner_y, (0, 0, 0, 1)) - pad(inner_y, (0, 0, 1, 0))
    )


# --- following a flow ----------------------------------------------------------------------------


def own_flow_only(options: Options) -> str:
    """Why a metric that follows the edit itself cannot be computed with a file of flow; "" where it can."""
    if not options.flow_engine.startswith("file:"):
        return ""
    return "follows the edit too, and a flow file holds the motion of the source"


def look_up(image_YXC: NDArray[Any], flow_2YX: Floats) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The image at x + flow(x), bilinear between pixel centres, and where that lies inside the frame."""
    rows, columns = image_YXC.shape[:2]
    y, x = np.mgrid[0:rows, 0:columns]
    return look_up_at(image_YXC, np.stack([x, y]) + flow_2YX.astype(np.float64))


def look_up_at(image_YXC: NDArray[Any], at_2: Floats) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The image at places (x, y) in any shape, (..., C), and which of them lie inside the frame."""
    rows, columns = image_YXC.shape[:2]
    at_x, at_y = at_2
    is_inside: NDArray[np.bool_] = (at_x >= 0) & (at_x <= columns - 1) & (at_y >= 0) & (at_y <= rows - 1)
    at_x, at_y = np.clip(np.nan_to_num(at_x), 0, columns - 1), np.clip(np.nan_to_num(at_y), 0, rows - 1)
    left, top = np.floor(at_x).astype(int), np.floor(at_y).astype(int)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    share_x, share_y = (at_x - left)[..., None], (at_y - top)[..., None]
    upper = image_YXC[top, left] * (1 - share_x) + image_YXC[top, right] * share_x
    lower = image_YXC[bottom, left] * (1 - share_x) + image_YXC[bottom, right] * share_x
    return upper * (1 - share_y) + lower * share_y, is_inside


def visible(backward_2YX: Floats, forward_2YX: Floats | None) -> NDArray[np.bool_]:
    """Which pixels of a frame are also in the frame before: inside it, and back again by the forward flow.

    |b + f|^2 <= 0.01 (|b|^2 + |f|^2) + 0.5, f looked up where b points (Sundaram et al. 2010).
    """
    b = backward_2YX.astype(np.float64)
    if forward_2YX is None:
        return look_up(b.transpose(1, 2, 0), backward_2YX)[1]
    found, is_inside = look_up(forward_2YX.transpose(1, 2, 0), backward_2YX)
    f = found.transpose(2, 0, 1)
    is_back: NDArray[np.bool_] = ((b + f) ** 2).sum(0) <= 0.01 * ((b**2).sum(0) + (f**2).sum(0)) + 0.5
    return is_inside & is_back
