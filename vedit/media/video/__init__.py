"""Films through ffmpeg: what they hold, their frames and sound in, and out again."""
