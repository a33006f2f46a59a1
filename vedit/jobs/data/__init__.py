"""Build and check data sets."""
