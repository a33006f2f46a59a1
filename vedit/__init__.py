"""vedit: text-driven video editing and exact GIF tools on one streamed frame pipeline."""

__version__ = "0.1.0"
