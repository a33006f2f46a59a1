"""Make a GIF smaller by what is redundant in it; every picture and its time stay as they are."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from vedit.errors import UsageError
from vedit.media.frames import GIF_TIMEBASE, Clip, Frames
from vedit.stages.options import Flag, Number, Option

SUMMARY = "Make a GIF smaller; exact unless told otherwise."
POSITIONAL = None
EXAMPLES = (
    ("vedit gif optimize in.gif -o out.gif", "the same pictures in fewer bytes"),
    ("vedit gif optimize --lossy 40 in.gif -o out.gif", "fewer bytes, in colours that are nearly the same"),
    ("vedit gif optimize --keep-images in.gif -o out.gif", "without merging equal images in a row"),
)
OPTIONS = (
    Option(
        "lossy",
        Number(0, 1000),
        "let pixels become similar ones: much as gifsicle's, 20 is hardly seen, 80 is, 200 is plain",
        "N",
        0,
        usual=(0, 200, 1),
    ),
    Option("keep-images", Flag(), "do not merge equal images in a row into one"),
)


def make(**values: Any) -> Optimize:
    """Build the stage."""
    return Optimize(**values)


class Optimize:
    """Draw what is shown with fewer pixels, colours and codes; see `media.gif.optimise`."""

    name = "optimize"
    accepts: tuple[str, ...] = ("packed",)
    prepass: str | None = "packed"
    decodes = True  # what `path_name` does not see in the kind of its frames

    def __init__(self, lossy: Fraction | int = 0, keep_images: bool = False) -> None:
        self.lossy, self.keep_images = lossy, bool(keep_images)
        self.survey: Any = None

    def observe(self, clip: Clip, frames: Frames) -> None:
        """Look at the palettes of a GIF, for one that its images can share."""
        first = next(frames, None)
        if first is None or first.kind != "packed":
            if hasattr(frames, "close"):
                frames.close()
            return
        from vedit.media.gif.colours_in_use import again, survey

        self.survey = survey(clip, again(first, frames))

    def open(self, clip: Clip) -> Clip:
        if clip.timebase != GIF_TIMEBASE:
            raise UsageError("optimize makes GIFs smaller, and this result is none.")
        from vedit.media.gif.optimise import Optimisation

        self.work = Optimisation(clip, self.survey, merges=not self.keep_images, loss=self.lossy)
        return self.work.clip

    def run(self, frames: Frames) -> Frames:
        return self.work.run(frames)
