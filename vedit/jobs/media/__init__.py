"""Jobs on frames alone: GIF stages, chains, previews, conversion, probing. None loads torch."""
