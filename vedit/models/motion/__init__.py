"""Video networks whose layers see either a frame or a pixel through time: AnimateDiff and I2VGen-XL."""
