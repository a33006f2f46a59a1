"""Media in and out: frames, GIF, ffmpeg, pixel streams. Imports nothing above it but `errors`."""
