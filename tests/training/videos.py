"""Two clips that only their captions tell apart, and the tiny preset for them."""

import numpy as np

from vedit import presets
from vedit.training.clips import Clips
from vedit.training.params import changed, read_params

CAPTIONS = ("a square moving right", "a square moving left")


def tiny(**settings):
    """The tiny preset; keys are written TABLE__KEY."""
    changes = {key.replace("__", ".", 1): value for key, value in settings.items()}
    return read_params(changed(presets.load_train("tiny"), changes), "test")


def squares(frames=4, side=8, square=3):
    """A white square on black going right, and one going left; (2, F, Y, X, 3)."""
    pixels = np.zeros((2, frames, side, side, 3), np.uint8)
    top = (side - square) // 2
    for frame in range(frames):
        left = frame * (side - square) // (frames - 1)
        pixels[0, frame, top : top + square, left : left + square] = 255
        pixels[1, frame, top : top + square, side - square - left : side - left] = 255
    return pixels


def two_clips(**shape):
    return Clips(squares(**shape), [[caption] for caption in CAPTIONS], 10.0, "squares")


def write_folder(folder, *, frames=4, side=8):
    """The same clips as a data folder."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for caption, clip in zip(CAPTIONS, squares(frames, side)):
        name = caption.split()[-1]
        pictures = [Image.fromarray(frame) for frame in clip]
        pictures[0].save(
            folder / f"{name}.gif", save_all=True, append_images=pictures[1:], duration=100, loop=0
        )
        (folder / f"{name}.txt").write_text(caption + "\n")
    return folder
