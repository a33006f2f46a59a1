#!/usr/bin/env python3
"""Draw a clip and run vedit's GIF commands on it, each printed before it runs: what `make tour` shows.

python scripts/demo.py [FOLDER]            default: tour
"""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from PIL import Image, ImageDraw

SIZE = (320, 180)
FRAMES = 24
SCALE = 3  # drawn larger and shrunk, so that edges are smooth
CHAIN = "crop:left=10%,right=10%; resize:scale=60%; speed:1.5"
STEPS = (
    ("What is in it?", "vedit probe clip.gif"),
    (
        "Cut a tenth off the left and right: no pixel that stays changes",
        "vedit gif crop --left 10% --right 10% clip.gif -o cropped.gif -y -v",
    ),
    ("Turn it by a quarter", "vedit gif rotate 90 clip.gif -o turned.gif -y -v"),
    ("Half the size, with good colours", "vedit gif resize --scale 50% clip.gif -o small.gif -y -v"),
    ("Twice as fast, and not one image lost", "vedit gif speed 2 clip.gif -o fast.gif -y -v"),
    (
        "Brighter and stronger: only colour tables change",
        "vedit gif adjust --brightness 1.15 --contrast 1.2 clip.gif -o bright.gif -y -v",
    ),
    (
        "Sign it: pixels outside the text stay as they are",
        "vedit gif watermark --text 'made with vedit' --font-size 18 clip.gif -o signed.gif -y -v",
    ),
    (
        "Several steps at once, decoded and coloured once",
        f"vedit gif chain '{CHAIN}' clip.gif -o chained.gif -y -v",
    ),
    (
        "The same through a pipe",
        (
            "cat clip.gif | vedit gif crop --left 10% --right 10% | vedit gif resize --scale 60% | vedit gif"
            " speed 1.5 > piped.gif"
        ),
    ),
    ("A preset, and where its values come from", "vedit presets show web-small"),
    ("What became of the clip?", "vedit probe chained.gif"),
)


def draw(path: Path, size: tuple[int, int] = SIZE, frames: int = FRAMES) -> None:
    """A balloon over hills at dusk, one round of an endless loop, in 96 colours."""
    pictures = [_picture(place / frames, size) for place in range(frames)]
    palette = pictures[frames // 3].quantize(96, method=Image.Quantize.MEDIANCUT)
    indexed = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    indexed[0].save(
        path,
        save_all=True,
        append_images=indexed[1:],
        duration=80,
        loop=0,
        optimize=False,
        comment=b"drawn by vedit's demo",
    )


def _picture(time: float, size: tuple[int, int]) -> Image.Image:
    """The scene at a time from 0 to 1, where 1 looks like 0."""
    width, height = size[0] * SCALE, size[1] * SCALE
    picture = Image.new("RGB", (width, height))
    pen = ImageDraw.Draw(picture)
    bands = 18
    for band in range(bands):
        share = band / (bands - 1)
        colour = tuple(
            round(low + (high - low) * share)
            for low, high in zip((58, 72, 130), (255, 186, 130), strict=True)
        )
        pen.rectangle([0, height * band // bands, width, height * (band + 1) // bands], fill=colour)
    unit = height / 180
    pen.ellipse([width * 0.68, 66 * unit, width * 0.68 + 44 * unit, 110 * unit], fill=(255, 236, 190))
    for base, rise, waves, phase, colour in (
        (118, 14, 2, 0.3, (122, 92, 132)),
        (138, 16, 3, 1.9, (84, 70, 112)),
        (160, 9, 4, 4.0, (44, 46, 78)),
    ):
        edge = [
            (x, (base - rise * math.sin(phase + waves * math.tau * x / width)) * unit)
            for x in range(0, width + 1, 3)
        ]
        pen.polygon([*edge, (width, height), (0, height)], fill=colour)
    x = width * (0.36 + 0.13 * math.sin(math.tau * time))
    y = (64 + 13 * math.cos(2 * math.tau * time)) * unit
    _balloon(pen, x, y, unit)
    return picture.resize(size, Image.Resampling.BOX)


def _balloon(pen: ImageDraw.ImageDraw, x: float, y: float, unit: float) -> None:
    radius = 34 * unit
    colours = ((214, 64, 62), (250, 224, 178))
    for stripe in range(5):  # nested ellipses read as the gores of a balloon
        half = radius * (1 - stripe * 0.22)
        pen.ellipse([x - half, y - radius, x + half, y + radius], fill=colours[stripe % 2])
    top, bottom = y + radius * 0.76, y + 47 * unit
    pen.polygon(
        [(x - radius * 0.62, top), (x + radius * 0.62, top), (x + 7 * unit, bottom), (x - 7 * unit, bottom)],
        fill=colours[0],
    )
    for side in (-1, 1):
        pen.line(
            [(x + side * 6 * unit, y + 46 * unit), (x + side * 6 * unit, y + 54 * unit)],
            fill=(60, 40, 40),
            width=round(1.6 * unit),
        )
    pen.rectangle([x - 8 * unit, y + 53 * unit, x + 8 * unit, y + 64 * unit], fill=(120, 78, 48))


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0] if arguments else "tour")
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder / "clip.gif")
    print(f"Drew {folder}/clip.gif: {FRAMES} images of {SIZE[0]}x{SIZE[1]}. Now vedit, in {folder}/:")
    scripts = sysconfig.get_path("scripts")
    for title, command in STEPS:
        print(f"\n# {title}\n$ {command}", flush=True)
        done = subprocess.run(f"PATH={shlex.quote(scripts)}:$PATH; {command}", shell=True, cwd=folder)
        if done.returncode:
            print(f"that ended with exit code {done.returncode}", file=sys.stderr)
            return done.returncode
    print(f"\nThe results are in {folder}/. Every command explains itself: vedit gif crop --help")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
