"""What clips show, in words: captioners, and the caption of a clip from those of its frames."""
