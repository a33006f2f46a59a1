"""The same pictures and delays in fewer bytes: what is redundant in a GIF is left out.

Three steps, of which only the first needs a pass of its own:

    colours_in_use  looks at the palettes, and at the colours in use, for one table that all images share
    drawing         knows what every picture shows, draws only what changed, and merges equal pictures
    image_coder     finds the palette and the codes of one image that take the fewest bytes
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from vedit.errors import silent
from vedit.media.frames import Clip, Frame, Frames, Palette
from vedit.media.gif import lzw
from vedit.media.gif.alike import Alike
from vedit.media.gif.colour_ids import ColourIds, Picture, Screen
from vedit.media.gif.colours_in_use import Survey
from vedit.media.gif.container import GREYS
from vedit.media.gif.drawing import Optimiser
from vedit.media.gif.image_coder import Coder
from vedit.media.gif.palettes import split
from vedit.media.memory import threads_for
from vedit.media.window import ordered_map


class Optimisation:
    """A clip on its way through all steps: packed frames in, packed frames out.

    seen: what a survey of the same frames told; without one the source's palettes are used.
    """

    def __init__(self, clip: Clip, seen: Survey | None, *, merges: bool, loss: Fraction | int = 0) -> None:
        self.source, self.loss = clip, loss
        self.seen = seen or Survey(clip.palette or GREYS)
        self.merges = merges
        self.kind = np.uint16 if self.seen.colours < 1 << 16 else np.uint32
        shared = self.seen.shared
        container = clip.container._replace(flags=clip.container.flags & 0x70)
        if shared is not clip.palette and shared is not GREYS:
            container = container._replace(background=_moved(container.background, clip.palette, shared))
        self.clip = clip.but(palette=None if shared is GREYS else shared, container=container)

    def run(self, frames: Frames) -> Frames:
        colours = ColourIds()
        alike = Alike(colours, self.loss) if self.loss else None
        coder = Coder(self.source, colours, self.seen.shared, alike)
        optimiser = Optimiser(
            self.clip, self.kind, merges=self.merges, is_wild=self.seen.is_wild, alike=alike
        )
        for drawing in optimiser.run(self._pictures(frames, colours)):
            frame, drawn = coder.packed(drawing)
            if drawn is not None:
                optimiser.redraw(frame.rect, drawn)
            yield frame

    def _pictures(self, frames: Frames, colours: ColourIds) -> Iterator[Picture]:
        """What the frames show."""
        screen = Screen(self.source.canvas, colours, self.kind)
        default = self.source.palette or GREYS
        opened = ordered_map(self._opened, self._admitted(frames), self._threads())
        for frame, stored in opened:
            yield screen.show(frame, frame.palette or default)._replace(stored=stored)

    def _threads(self) -> int:
        return threads_for(self.source.canvas.area, self.source.jobs, self.source.limits)

    def _admitted(self, frames: Frames) -> Iterator[tuple[lzw.Unpacker, list[str], Frame]]:
        """Packed frames within the limits, each with its own unpacker and what that finds wrong with it."""
        limits = lzw.Unpacker(self.source, self.source.limits, silent)
        for frame in frames:
            wrong: list[str] = []
            yield lzw.Unpacker(self.source, self.source.limits, wrong.append), wrong, limits.admit(frame)

    def _opened(self, task: tuple[lzw.Unpacker, list[str], Frame]) -> tuple[Frame, Frame | None]:
        unpacker, wrong, frame = task
        opened = unpacker(frame)
        for message in wrong:
            self.source.hurt(message)
        is_plain = not wrong and opened.rect == frame.rect and 2 <= frame.code_size <= 8
        return opened, frame if is_plain else None


def _moved(background: int, before: Palette | None, after: Palette | None) -> int:
    """The index of the background's colour in another palette; no viewer of our time paints it."""
    colours = split(before.rgb[:768]) if before is not None else []
    others = split(after.rgb[:768]) if after is not None else []
    is_there = background < len(colours) and colours[background] in others
    return others.index(colours[background]) if is_there else 0
