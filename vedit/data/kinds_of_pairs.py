"""The names of the kinds of pairs and of the controls of a clip. Loads nothing."""

KINDS = ("inverse", "lift", "continuation", "transition", "expert")
CONTROLS = ("edges", "gray", "blur", "small")
