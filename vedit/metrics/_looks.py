"""What a clip looks like to somebody who opens it: standing still, of one colour, nothing but noise.

Such a clip gets perfect numbers from metrics that only ask for steadiness, so a report says it beside them. A
frame is of one colour when no channel's standard deviation reaches 2 grey levels, and noise when pixels have
nothing to do with those 1, 2 and 3 away: the mean squared difference is then twice the variance (von Neumann
1941), where pictures have a small part of that. Noise that a codec has smoothed, or that was enlarged, is
noise after it is made smaller by 2 or 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedit.metrics.types import Floats, Pixels

STILL = 3  # grey levels: what a codec leaves of a frozen frame
FLAT = 2.0
NOISE = (0.75, 1.25)  # mean squared difference over twice the variance, both ways
LEAST_DEVIATION = 8.0  # grey levels; below it the grain of a codec is all there is
SMALLEST = 32  # rows and columns that a verdict on noise needs
Flags = NDArray[np.bool_]


def is_frozen(frames_TYX3: Pixels) -> bool:
    """Whether no pixel of two frames or more leaves the first frame's colour."""
    first = frames_TYX3[0].astype(np.int16)
    return len(frames_TYX3) > 1 and all(np.abs(frame - first).max() <= STILL for frame in frames_TYX3[1:])


def flat_frames(frames_TYX3: Pixels) -> Flags:
    """Which frames are of one colour, (T,)."""
    return np.array([bool((frame.reshape(-1, 3).std(axis=0) < FLAT).all()) for frame in frames_TYX3])


def noise_frames(frames_TYX3: Pixels) -> Flags:
    """Which frames are noise, (T,)."""
    return np.array([is_noise(frame) for frame in frames_TYX3])


def is_noise(frame_YX3: Pixels) -> bool:
    grey: Floats = frame_YX3.mean(axis=2)
    while min(grey.shape) >= SMALLEST and max(frame_YX3.shape[:2]) <= 4 * max(grey.shape):
        if _is_white(grey):
            return True
        rows, columns = grey.shape[0] // 2 * 2, grey.shape[1] // 2 * 2
        grey = grey[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
    return False


def _is_white(grey_YX: Floats) -> bool:
    variance = float(grey_YX.var())
    if variance < LEAST_DEVIATION**2 / 4:
        return False
    # a chessboard of 2 pixels is like noise one pixel on, but not two on
    apart = [(grey_YX[lag:] - grey_YX[:-lag], grey_YX[:, lag:] - grey_YX[:, :-lag]) for lag in (1, 2, 3)]
    ratios = [float((part**2).mean()) / (2 * variance) for pair in apart for part in pair]
    return all(NOISE[0] < ratio < NOISE[1] for ratio in ratios)


def unclear_frames(frames_TYX3: Pixels) -> Flags:
    """Which frames show nothing that a prompt could be about: one colour, or noise, (T,)."""
    return flat_frames(frames_TYX3) | noise_frames(frames_TYX3)


def unsure(which_T: Flags) -> dict[str, Any]:
    """What a score says of frames that fit no prompt."""
    if not which_T.any():
        return {}
    return {
        "unsure_frames": int(which_T.sum()),
        "warning": f"{_count(which_T)} fit neither prompt, and count as no success",
    }


def colour_name(frame_YX3: Pixels) -> str:
    """black, white, or the colour in numbers."""
    colour = frame_YX3.reshape(-1, 3).mean(axis=0)
    return (
        "black"
        if colour.max() < 16
        else (
            "white"
            if colour.min() > 239
            else f"of one colour, rgb {' '.join(f'{value:.0f}' for value in colour)}"
        )
    )


def remarks(edited_TYX3: Pixels, source_TYX3: Pixels | None) -> list[str]:
    """What a reader must know before believing steadiness, consistency and the like; nothing for what the
    source is too.
    """
    found = []
    if is_frozen(edited_TYX3) and not (source_TYX3 is not None and is_frozen(source_TYX3)):
        found.append("frozen: all frames are the same, so steadiness, consistency and flicker say nothing")
    flat, noise = flat_frames(edited_TYX3), noise_frames(edited_TYX3)
    if source_TYX3 is not None and len(source_TYX3) == len(edited_TYX3):
        flat, noise = flat & ~flat_frames(source_TYX3), noise & ~noise_frames(source_TYX3)
    if flat.any():
        name = colour_name(edited_TYX3[int(flat.argmax())])
        found.append(
            f"{name if name in ('black', 'white') else 'flat'}: {_count(flat)}"
            f" {'is' if flat.sum() == 1 else 'are'} {name}"
        )
    if noise.any():
        found.append(
            f"noise: {_count(noise)} {'is' if noise.sum() == 1 else 'are'} noise, which shows no prompt"
        )
    return found


def _count(which_T: Flags) -> str:
    return (
        f"{int(which_T.sum())} of {len(which_T)} frames"
        if not which_T.all()
        else "every frame"
        if len(which_T) == 1
        else f"all {len(which_T)} frames"
    )
