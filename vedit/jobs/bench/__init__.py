"""Benchmarks against drawn truth, and the gates of the embedded models."""
