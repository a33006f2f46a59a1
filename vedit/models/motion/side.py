"""The side that video models are worked on with, where their files do not tell. Loads no torch."""

from __future__ import annotations

NATIVE_SIDE = 512  # that AnyV2V edits at with I2VGen-XL, whose configuration names another
SVD_SIDE = 576  # of the clips that Stable Video Diffusion was trained on, 1024x576
