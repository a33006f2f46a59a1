"""The side that LTX-Video was trained at, which its files do not tell. Loads no torch."""

from pathlib import Path

NATIVE_SIDE = 512  # the shorter of its pipeline's own 704x512
NATIVE = (704, 512, 161, 25.0)  # width, height, frames and frames a second of the pipeline's call


def native_side(name: str, folder: Path) -> int:
    """The side in pixels that a model was trained at: one for all of this family."""
    return NATIVE_SIDE
