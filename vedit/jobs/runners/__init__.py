"""Who does the work of a batch."""
