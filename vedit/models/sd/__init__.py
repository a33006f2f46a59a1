"""Stable Diffusion 1.x, 2.x, and what has their layout, the embedded model among them."""
