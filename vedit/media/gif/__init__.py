"""GIF: its blocks, its compression, its pictures on their canvas, and its palettes."""
