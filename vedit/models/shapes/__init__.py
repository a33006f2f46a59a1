"""The embedded models of drawn scenes."""
