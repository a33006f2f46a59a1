"""Diffusion models as the methods use them: load, schedule, invert, sample, control attention."""
