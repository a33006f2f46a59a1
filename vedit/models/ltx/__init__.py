"""LTX-Video 0.9 in diffusers' layout."""
