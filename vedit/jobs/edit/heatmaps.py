"""Pictures of where words looked: every frame with the word's attention over it.

Shape letters: F frames, Y X rows and columns.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from vedit.media.atomic import open_output

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

PER_ROW = 8


def write_heatmaps(
    folder: str, maps: dict[str, Tensor], frames_FYX3: np.ndarray, covered: tuple[float, float] = (1.0, 1.0)
) -> None:
    """Write `BRANCH-PLACE-WORD.png` for each map (F, 1, y, x) named "BRANCH/WORD", in the prompt's order.

    covered: which share of a map's height and width the frames fill; the rest was filled up. A picture's
    scale ends at the word's own maximum over the clip. Raises OutputError.
    """
    from PIL import Image

    os.makedirs(folder, exist_ok=True)
    places: dict[str, int] = {}
    for name, map_F1YX in maps.items():
        branch, _, word = name.partition("/")
        places[branch] = places.get(branch, 0) + 1
        plain = re.sub(r"[^\w-]+", "_", word)
        with open_output(os.path.join(folder, f"{branch}-{places[branch]:02d}-{plain}.png")) as stream:
            Image.fromarray(tiled(overlay(map_F1YX, frames_FYX3, covered))).save(stream, "PNG")


def overlay(
    map_F1YX: Tensor, frames_FYX3: np.ndarray, covered: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Grey frames under the map in black, red, yellow and white, (F, Y, X, 3) uint8."""
    import numpy as np
    import torch

    height, width = frames_FYX3.shape[1:3]
    shown = map_F1YX / map_F1YX.max().clamp(min=torch.finfo(map_F1YX.dtype).tiny)
    filled = (round(height / covered[0]), round(width / covered[1]))
    heat = torch.nn.functional.interpolate(shown, filled, mode="bilinear", align_corners=False)[
        :, 0, :height, :width
    ].numpy()
    colours = np.clip(3 * heat[..., None] - np.arange(3), 0, 1) * 255
    grey = frames_FYX3.mean(-1, keepdims=True)
    mixed: np.ndarray = np.rint(0.35 * grey + 0.65 * colours).astype(np.uint8)
    return mixed


def tiled(frames_FYX3: np.ndarray) -> np.ndarray:
    """Frames in rows of eight."""
    import numpy as np

    count, height, width = frames_FYX3.shape[:3]
    columns = min(count, PER_ROW)
    sheet = np.zeros((-(-count // columns) * height, columns * width, 3), np.uint8)
    for place, frame in enumerate(frames_FYX3):
        row, column = divmod(place, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = frame
    return sheet
