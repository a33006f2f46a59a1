"""From index frames to composed frames: draw each image on the canvas, and dispose of it.

Reading rules (design: docs/gif.md 4): the canvas starts transparent; disposal 0, 1 and 4-7 keep
the image, 2 clears its rectangle to transparent, 3 brings back what was there; a transparent
index beyond the palette hides nothing, and a pixel index beyond it is black.
"""

from __future__ import annotations

from PIL import Image

from vedit.media.frames import Clip, Frame, Frames, Palette, Rect
from vedit.media.gif.container import GREYS
from vedit.media.gif.palettes import lookup

CLEAR, RESTORE = 2, 3


def compose(clip: Clip, frames: Frames) -> Frames:
    """Yield every frame as the whole canvas, "rgb" where each pixel is known to be opaque, else "rgba".

    frames: index frames ("L" or "P" pixels). The result keeps their time and metadata; `rect` is the part of
    the canvas that may differ from the frame before (the whole of it for the first), and `palette` is the one
    that the image was drawn with, as a hint for `quantise`. An image handed out is never drawn on again.
    Transparent pixels are 0, 0, 0, 0.
    """
    default = clip.palette or GREYS  # now: quantise may set the clip's palette before the second frame
    canvas = Canvas(clip.width, clip.height)
    for frame in frames:
        yield canvas.show(frame, frame.palette or default)


class Canvas:
    """The logical screen. Each frame is drawn on a copy, so that those handed out stay as they are."""

    def __init__(self, width: int, height: int) -> None:
        self.rect = Rect(0, 0, width, height)
        self.shown: Image.Image | None = None
        self.before: Image.Image | None = None  # what the last image was drawn on, if it must come back
        self.disposal = 0
        self.last = Rect(0, 0, 0, 0)

    def show(self, frame: Frame, palette: Palette) -> Frame:
        """Draw one image as its reader sees it, after disposing of the one before."""
        rect = frame.rect.clipped(self.rect)
        shown, changed = self._disposed(rect)
        self.before = shown
        if not rect.is_empty:
            shown = self._draw(shown, frame, rect, palette)
        if frame.disposal != RESTORE:
            self.before = None
        changed = changed.joined(rect) if self.shown is not None else self.rect
        self.shown, self.disposal, self.last = shown, frame.disposal, rect
        kind = "rgb" if shown.mode == "RGB" else "rgba"
        return frame.but(
            kind=kind,
            rect=changed,
            pixels=shown,
            disposal=0,
            transparent=None,
            palette=palette,
            interlaced=False,
        )

    def _disposed(self, rect: Rect) -> tuple[Image.Image, Rect]:
        """The canvas under the next image, and the part of it that disposal changed."""
        if self.shown is None:
            return Image.new("RGBA", (self.rect.w, self.rect.h)), self.rect
        if self.before is not None:  # the last image asked to be taken away
            return self.before, self.last
        if self.disposal == CLEAR and not self.last.is_empty:
            shown = self.shown.convert("RGBA") if self.shown.mode == "RGB" else self.shown.copy()
            shown.paste((0, 0, 0, 0), self.last.box)
            return shown, self.last
        return self.shown, Rect(0, 0, 0, 0)

    def _draw(self, under: Image.Image, frame: Frame, rect: Rect, palette: Palette) -> Image.Image:
        """The canvas with the visible part of an image on it; `under` stays as it is."""
        indices = frame.pixels
        if rect != frame.rect:
            indices = indices.crop(rect.moved(-frame.rect.x, -frame.rect.y).box)
        hidden = (
            frame.transparent if frame.transparent is not None and frame.transparent < len(palette) else None
        )
        if rect == self.rect and (hidden is None or not _occurs(indices, hidden)):
            return _coloured(indices, palette)  # covers everything: nothing under it matters
        canvas = under.copy()
        image = _coloured(indices, palette)
        mask = None if hidden is None else lookup(indices, [255] * hidden + [0] + [255] * (255 - hidden), "1")
        canvas.paste(image, rect.box, mask)
        if canvas.mode == "RGBA" and canvas.getchannel("A").getextrema()[0] == 255:
            return canvas.convert("RGB")
        return canvas


def _occurs(indices: Image.Image, index: int) -> bool:
    return bool(indices.histogram()[index])


def _coloured(indices: Image.Image, palette: Palette) -> Image.Image:
    """Indices as colours, "RGB"; black beyond the palette."""
    image = indices.copy() if indices.mode == "L" else indices
    image.putpalette(palette.rgb[:768].ljust(768, b"\0"))
    return image.convert("RGB")
