"""Invert and edit clips, in windows, with a run record that can be replayed."""
