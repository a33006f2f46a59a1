"""Data sets, and the drawn scenes that the embedded models are trained and measured on."""
