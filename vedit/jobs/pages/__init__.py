"""Pages that are one file: style, script and data are inside, and nothing is loaded from elsewhere."""
