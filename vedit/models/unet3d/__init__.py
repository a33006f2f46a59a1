"""The text-to-video generator of `vedit train`: a 3D U-Net on pixels."""
