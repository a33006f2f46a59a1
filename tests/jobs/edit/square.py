"""A small clip for edits by models of clips: a square that moves over a slope, and frames of what is made."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence


def write_square(path: Path, frames: int, step: int = 3) -> Path:
    """Write an animated PNG of so many frames of 40x24, at ten a second. step: pixels from frame to frame."""
    made = []
    for place in range(frames):
        picture = np.zeros((24, 40, 3), np.uint8) + np.linspace(40, 200, 40).astype(np.uint8)[:, None]
        picture[8:16, 4 + step * place : 12 + step * place] = (220, 30, 30)
        made.append(Image.fromarray(picture))
    made[0].save(path, save_all=True, append_images=made[1:], duration=100)
    return path


def read_frames(path: Path) -> np.ndarray:
    """The frames of an animated picture, (F, Y, X, 3), by Pillow."""
    with Image.open(path) as picture:
        return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)])
