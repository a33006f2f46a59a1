"""What metrics and the networks they read speak of: pixels, vectors, a decoded video, the options of a call.

Shape letters: T frames, Y X rows and columns, 3 channels, E embedding width.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vedit.metrics._options import MetricOptions
from vedit.options import declared_in

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Options(MetricOptions):
    """What a user can choose about the numbers; part of every report.

    profile: "v2vbench" follows the public code with its quirks, "strict" repairs them, "embedded" needs no
    weights from outside, "small" is the same and one small network for free prompts. device, dtype: as
    `vedit.models.place` reads them; float32 unless asked otherwise.
    batch: frames per network call. The others are those of `MetricOptions`.
    """

    profile: str = "v2vbench"
    device: str = "auto"
    dtype: str = "fp32"
    batch: int = 16

    def json(self) -> dict[str, Any]:
        """The options as a report tells them."""
        own = {key: getattr(self, key) for key in declared_in(self)}
        return {
            "profile": self.profile,
            "device": self.device,
            "dtype": self.dtype,
            "batch": self.batch,
            **own,
        }

    @property
    def flow_engine(self) -> str:
        """What estimates flow for the warping error."""
        return self.flow or flow_of(self.profile)

    @property
    def is_strict(self) -> bool:
        return self.profile == "strict"


def flow_of(profile: str) -> str:
    """What estimates flow in a profile unless it is named."""
    return "tvl1" if profile in ("embedded", "small") else "gmflow"


class Video:
    """Ordered RGB frames and what several metrics derive from them, each computed once.

    frames_TYX3: uint8.
    """

    def __init__(self, frames_TYX3: Pixels) -> None:
        assert frames_TYX3.ndim == 4 and frames_TYX3.shape[3] == 3 and frames_TYX3.dtype == np.uint8, (
            frames_TYX3.shape,
            frames_TYX3.dtype,
        )
        self.frames_TYX3 = frames_TYX3

    def __len__(self) -> int:
        return len(self.frames_TYX3)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.frames_TYX3.shape[1], self.frames_TYX3.shape[2]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the shape and the pixels."""
        digest = hashlib.sha256(repr(self.frames_TYX3.shape).encode())
        digest.update(np.ascontiguousarray(self.frames_TYX3).data)
        return digest.hexdigest()

    @cached_property
    def clip224_TYX3(self) -> Pixels:
        """The input of the CLIP towers before normalisation: shorter side bicubic to 224, centre crop."""
        return np.stack([shrink_and_crop(frame, 224, 224) for frame in self.frames_TYX3])

    @cached_property
    def dino224_TYX3(self) -> Pixels:
        """The input of the DINO towers before normalisation: shorter side bicubic to 256, centre crop 224."""
        return np.stack([shrink_and_crop(frame, 256, 224) for frame in self.frames_TYX3])


def shrink(frame_YX3: Pixels, side: int) -> Pixels:
    """Pillow's bicubic resize of the shorter side to `side`; the longer one is rounded down.

    Pillow and not a tensor resize: the published preprocessing came from it, and the numbers do not
    move with a library's choice of backend.
    """
    rows, columns = frame_YX3.shape[:2]
    new_rows, new_columns = (
        (side, int(side * columns / rows)) if rows <= columns else (int(side * rows / columns), side)
    )
    if (new_rows, new_columns) == (rows, columns):
        return frame_YX3
    return np.asarray(Image.fromarray(frame_YX3).resize((new_columns, new_rows), Image.Resampling.BICUBIC))


def shrink_and_crop(frame_YX3: Pixels, side: int, crop: int) -> Pixels:
    """`shrink`, then the central `crop` x `crop` pixels."""
    small = shrink(frame_YX3, side)
    top, left = (small.shape[0] - crop) // 2, (small.shape[1] - crop) // 2
    return small[top : top + crop, left : left + crop]


def unit(vectors_TE: Floats) -> Floats:
    """Vectors divided by their L2 norms; a zero vector stays zero."""
    wide = np.asarray(vectors_TE, np.float64)
    norm = np.linalg.norm(wide, axis=-1, keepdims=True)
    return wide / np.where(norm == 0, 1, norm)
