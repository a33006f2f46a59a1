"""Decoded frames on their way between programs."""
