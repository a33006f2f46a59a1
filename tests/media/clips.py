"""Small clips for the tests of video, and ffmpeg as the outside oracle."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

from PIL import Image

from vedit.media.frames import GIF_TIMEBASE, Clip, Frame, Frames
from vedit.media.video.ffmpeg import find_ffmpeg

COLOURS = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (48, 192, 128),
    (250, 250, 250),
    (10, 20, 30),
    (255, 255, 0),
    (128, 128, 128),
)


def noise(width: int, height: int, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """A picture of a pattern that no codec likes."""
    bands = len(mode)
    data = bytes(
        (x * 37 + y * 91 + band * 53 + seed * 17 + x * y) & 255
        for y in range(height)
        for x in range(width)
        for band in range(bands)
    )
    return Image.frombytes(mode, (width, height), data)


def bars(width: int = 128, height: int = 32) -> Image.Image:
    """Vertical bars of COLOURS."""
    image = Image.new("RGB", (width, height))
    each = width // len(COLOURS)
    for place, colour in enumerate(COLOURS):
        image.paste(
            colour, (place * each, 0, width if place == len(COLOURS) - 1 else (place + 1) * each, height)
        )
    return image


def clip_of(
    pictures: list[Image.Image], durations: list[int], timebase: Fraction = GIF_TIMEBASE, **facts: object
) -> tuple[Clip, Frames]:
    """A clip and its composed frames."""
    clip = Clip(*pictures[0].size, timebase=timebase, **facts)  # type: ignore[arg-type]
    frames, pts = [], 0
    for index, (picture, duration) in enumerate(zip(pictures, durations, strict=True)):
        frames.append(Frame(index, pts, duration, picture.mode.lower(), clip.canvas, picture))
        pts += duration
    return clip, iter(frames)


def ffmpeg(*args: str | Path, stdin: bytes | None = None) -> bytes:
    """Run ffmpeg; its standard output."""
    command = [find_ffmpeg(), "-v", "error", "-y", *map(str, args)]
    done = subprocess.run(
        command,
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def decoded(data: bytes | Path, size: tuple[int, int], mode: str = "RGB", *options: str) -> list[Image.Image]:
    """Every frame of a file or of bytes, as ffmpeg decodes it."""
    source = ["-i", str(data)] if isinstance(data, Path) else ["-i", "pipe:0"]
    raw = ffmpeg(*source, "-map", "0:v:0", *options, "-fps_mode", "passthrough", "-pix_fmt", "rgb24" if mode == "RGB" else "rgba", "-f", "rawvideo", "pipe:1",
                 stdin=data if isinstance(data, bytes) else None)  # fmt: skip
    step = len(mode) * size[0] * size[1]
    return [Image.frombytes(mode, size, raw[at : at + step]) for at in range(0, len(raw), step)]


def packets(data: bytes | Path, kind: str = "v") -> list[tuple[Fraction, Fraction]]:
    """Time and duration in seconds of every packet, in order of time."""
    source = ["-i", str(data)] if isinstance(data, Path) else ["-i", "pipe:0"]
    text = ffmpeg(
        *source,
        "-map",
        f"0:{kind}:0",
        "-c",
        "copy",
        "-f",
        "framecrc",
        "pipe:1",
        stdin=data if isinstance(data, bytes) else None,
    ).decode()
    base = Fraction(1)
    found = []
    for line in text.splitlines():
        if line.startswith("#tb 0:"):
            base = Fraction(line[6:].strip())
        elif line.startswith("0,"):
            _, _, pts, duration, *_ = line.split(",")
            found.append((int(pts) * base, int(duration) * base))
    return sorted(found)


def sound_md5(path: Path) -> str:
    """A digest of the sound's packets: equal when the sound was copied."""
    return ffmpeg("-i", path, "-map", "0:a:0", "-c", "copy", "-f", "md5", "pipe:1").decode()
