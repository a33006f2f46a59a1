"""Change brightness, contrast, saturation and gamma; on a GIF only its colour tables change."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from vedit.errors import InputError
from vedit.media.frames import Clip, Frame, Frames, Palette
from vedit.media.gif.container import GREYS
from vedit.stages.options import Choice, Number, Option

SUMMARY = "Change brightness, contrast, saturation and gamma, exact to the rounding."
POSITIONAL = None
EXAMPLES = (
    ("vedit gif adjust --brightness 1.2 in.gif -o out.gif", "a fifth brighter"),
    ("vedit gif adjust --contrast 1.3 --saturation 0 in.gif -o out.gif", "a stronger, grey picture"),
)
OPTIONS = (
    Option(
        "brightness",
        Number(0.1, 3.0),
        "factor on every channel",
        "0.1-3.0",
        Fraction(1),
        usual=(0.1, 3, 0.01),
    ),
    Option(
        "contrast",
        Number(0.1, 3.0),
        "factor on the distance from the pivot",
        "0.1-3.0",
        Fraction(1),
        usual=(0.1, 3, 0.01),
    ),
    Option(
        "saturation", Number(0, 3), "factor on the distance from grey", "0-3", Fraction(1), usual=(0, 3, 0.01)
    ),
    Option(
        "gamma",
        Number(0.1, 10, is_log=True),
        "exponent 1/GAMMA: more than 1 lightens the middle",
        "0.1-10",
        Fraction(1),
        usual=(0.1, 10, 0.01),
    ),
    Option(
        "pivot",
        Choice("middle", "mean", "frame-mean"),
        "what contrast leaves alone: grey 128, the mean luma of the first frame, or of each frame (flickers)",
        "middle|mean|frame-mean",
        "middle",
    ),
)


def make(**values: Any) -> Adjust:
    return Adjust(**values)


class Adjust:
    """Map colours in the order brightness, contrast, saturation, gamma.

    Each step rounds half to even and clips to 0-255, as if done in 8 bits one after another.
    Palettes are mapped once each, by identity; full-colour frames through tables.
    """

    name = "adjust"

    def __init__(
        self,
        brightness: Fraction = Fraction(1),
        contrast: Fraction = Fraction(1),
        saturation: Fraction = Fraction(1),
        gamma: Fraction = Fraction(1),
        pivot: str = "middle",
    ) -> None:
        self.brightness, self.contrast = float(brightness), float(contrast)
        self.saturation, self.gamma = float(saturation), float(gamma)
        self.pivot = pivot if contrast != 1 else "middle"
        self.accepts: tuple[str, ...] = (
            ("rgba",) if self.pivot == "frame-mean" else ("packed", "index", "rgba")
        )
        self.prepass: str | None = "rgba" if self.pivot == "mean" else None
        self.level = 128.0

    def observe(self, clip: Clip, frames: Frames) -> None:
        """Take the pivot from the first composed frame, after brightness."""
        first = next(frames, None)
        if first is None:
            raise InputError("no frames to take the mean of.")
        self.level = self._mean(first)

    def open(self, clip: Clip) -> Clip:
        self.tables = self._tables(self.level)
        self.canvas = clip.canvas
        self.seen: dict[int, tuple[Palette, Palette]] = {}
        # an image without any palette shows 256 greys: write them down, mapped
        return clip.but(palette=self._map_palette(clip.palette or GREYS))

    def run(self, frames: Frames) -> Frames:
        for frame in frames:
            if frame.kind in ("packed", "index"):
                yield frame.but(palette=self._map_palette(frame.palette)) if frame.palette else frame
            else:
                changes_all = self.pivot == "frame-mean"  # also where the frame repeats the one before
                tables = self._tables(self._mean(frame)) if changes_all else self.tables
                rect = self.canvas if changes_all else frame.rect
                yield frame.but(pixels=self._map_pixels(frame.pixels, tables), palette=None, rect=rect)

    def _tables(self, level: float) -> tuple[bytes, bytes]:
        """256-entry tables of what comes before saturation, and of what comes after it."""
        before = bytes(
            _clip((_clip(v * self.brightness) - level) * self.contrast + level) for v in range(256)
        )
        after = bytes(_clip(255 * (v / 255) ** (1 / self.gamma)) for v in range(256))
        return before, after

    def _map_palette(self, palette: Palette) -> Palette:
        if id(palette) not in self.seen:  # the pair keeps the key's palette alive
            self.seen[id(palette)] = (palette, Palette(self._map_colours(palette.rgb)))
            if len(self.seen) > 256:  # clips with a palette per image: forget the oldest
                self.seen.pop(next(iter(self.seen)))
        return self.seen[id(palette)][1]

    def _map_colours(self, rgb: bytes) -> bytes:
        before, after = self.tables
        mapped = rgb.translate(before)
        if self.saturation != 1:
            out = bytearray()
            for i in range(0, len(mapped) - 2, 3):
                grey = luma(*mapped[i : i + 3])
                out += bytes(_clip(grey + (v - grey) * self.saturation) for v in mapped[i : i + 3])
            mapped = bytes(out)
        return mapped.translate(after)

    def _map_pixels(self, pixels: Any, tables: tuple[bytes, bytes]) -> Any:
        before, after = tables
        alpha = [bytes(range(256))] if pixels.mode == "RGBA" else []
        if self.saturation == 1:
            table = before.translate(after)
            return pixels.point(list(b"".join([table] * 3 + alpha)))
        mapped = pixels.point(list(b"".join([before] * 3 + alpha)))
        return self._saturate(mapped).point(list(b"".join([after] * 3 + alpha)))

    def _saturate(self, pixels: Any) -> Any:
        import numpy as np
        from PIL import Image

        values = np.asarray(pixels).copy()
        grey = np.asarray(pixels.convert("RGB").convert("L"), dtype=np.float64)[..., None]
        colours = grey + (values[..., :3] - grey) * self.saturation
        values[..., :3] = np.clip(np.rint(colours), 0, 255)
        return Image.fromarray(values, pixels.mode)

    def _mean(self, frame: Frame) -> float:
        """Mean luma of the visible pixels after brightness, rounded as Pillow's ImageEnhance does."""
        bright = bytes(_clip(v * self.brightness) for v in range(256))
        channels = 4 if frame.pixels.mode == "RGBA" else 3
        grey = (
            frame.pixels.point(list(b"".join([bright] * 3 + [bytes(range(256))] * (channels - 3))))
            .convert("RGB")
            .convert("L")
        )
        mask = frame.pixels.getchannel("A").point([0] * 128 + [255] * 128) if channels == 4 else None
        histogram = grey.histogram(mask)
        return float(int(sum(v * n for v, n in enumerate(histogram)) / max(1, sum(histogram)) + 0.5))


def luma(red: int, green: int, blue: int) -> int:
    """ITU-R 601 luma in the fixed point of Pillow's RGB to L conversion."""
    return (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16


def _clip(value: float) -> int:
    return min(255, max(0, round(value)))
