"""Suites: clips, edits by several methods, scores, and the tables of a paper, by one call that goes on."""
