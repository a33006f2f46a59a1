"""Judge edited clips: read, run the metrics, keep a journal, compare, print."""
