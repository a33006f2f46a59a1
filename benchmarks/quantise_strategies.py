"""Compare ways to choose a palette: error, LZW bytes and CPU time per frame.

    python benchmarks/quantise_strategies.py a.gif b.gif ...

Every frame (up to five per clip) is shrunk to half its size in full colour, gets a palette of 255
colours or fewer, and is mapped to it as `vedit.media.gif.palettes` does, and once without its half-cell
shift. Columns per clip: root mean square error, bytes of LZW data, milliseconds of one core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageChops

from vedit.media.frames import Palette
from vedit.media.gif import palettes
from vedit.media.gif.compose import compose
from vedit.media.gif.container import GREYS, GifReader
from vedit.media.gif.lzw import encode, unpack

Picture = tuple[Image.Image, Palette]
Build = Callable[[Image.Image, Palette], bytes]


def pictures(path: Path) -> list[Picture]:
    """At most five frames of a clip at half size, each with its source palette."""
    with path.open("rb") as file:
        reader = GifReader(file.read, path.name)
        frames = [
            (frame.pixels.convert("RGB"), frame.palette or GREYS)
            for frame in compose(reader.clip, unpack(reader.clip, reader.frames()))
        ]
    chosen = frames[:: max(1, len(frames) // 5)][:5]
    return [
        (
            image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BILINEAR),
            palette,
        )
        for image, palette in chosen
    ]


def pillow(method: Image.Quantize, side: int, count: int = 255, kmeans: int = 0) -> Build:
    """One of Pillow's quantisers on a sample of about side x side pixels; 0: all pixels."""

    def build(image: Image.Image, _: Palette) -> bytes:
        shrink = max(1.0, (image.width * image.height) ** 0.5 / side) if side else 1.0
        sample = image.resize(
            (max(1, round(image.width / shrink)), max(1, round(image.height / shrink))),
            Image.Resampling.NEAREST,
        )
        return bytes(sample.quantize(count, method, kmeans).getpalette() or ())[: 3 * count]

    return build


CUT, FAR, OCTREE = Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE, Image.Quantize.FASTOCTREE
STRATEGIES: dict[str, Build] = {
    "source": lambda _, palette: palettes.distinct(palette.rgb),
    "octree, all": pillow(OCTREE, 0),
    **{f"median cut, {side}": pillow(CUT, side) for side in (48, 64, 96)},
    **{f"median cut, {side}, k-means": pillow(CUT, side, kmeans=1) for side in (48, 64)},
    **{f"farthest, {side}": pillow(FAR, side) for side in (32, 48, 64, 96)},
    **{f"farthest, {side}, k-means": pillow(FAR, side, kmeans=1) for side in (48, 64)},
    **{f"farthest, 64, {count}": pillow(FAR, 64, count) for count in (31, 63, 127)},
}


def measure(shots: list[Picture], build: Build) -> str:
    squares = size = spent = 0.0
    for image, palette in shots:
        start = time.process_time()
        table = palettes.Table(build(image, palette))
        indices = table.map(image)
        spent += time.process_time() - start
        counts = ImageChops.difference(image, indices.convert("RGB")).histogram()
        squares += sum(count * square for count, square in zip(counts, palettes.SQUARES)) / sum(counts)
        size += len(encode(indices, 8))
    return f"{(squares / len(shots)) ** 0.5:6.2f} {size / len(shots):8.0f} {spent / len(shots) * 1e3:7.2f}"


def main() -> None:
    clips = {path.stem[-22:]: pictures(path) for path in map(Path, sys.argv[1:])}
    print(f"{'':28}" + " ".join(f"{name:>23}" for name in clips))
    for name, build in STRATEGIES.items():
        print(f"{name:28}" + " ".join(measure(shots, build) for shots in clips.values()), flush=True)
    palettes.CELL = 0
    print(
        f"{'source, unshifted':28}"
        + " ".join(measure(shots, STRATEGIES["source"]) for shots in clips.values())
    )


if __name__ == "__main__":
    main()
