"""Wan 2.1 and 2.2, and what has their layout, the embedded video model among them."""
