"""Make clips from text: one module per kind of generator."""
