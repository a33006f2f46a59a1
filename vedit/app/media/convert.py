"""Convert any clip to any format: the GIF pipeline with other sources, sinks and times."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

from vedit.app.media.gif import BuildStages, Report, Settings, Source, edit_clip
from vedit.errors import UsageError, VeditError
from vedit.media.formats import VIDEO, format_of
from vedit.media.frames import Clip, Frames
from vedit.media.open import open_clip
from vedit.media.pipeline import Stage


class Conversion(NamedTuple):
    """What to take from the input, and what to make of it; None leaves a thing as it is.

    to: output format, None to go by the name. source_format, raw_size, raw_rate, raw_info: of an
    input that does not tell itself. start_s, duration_s: part of the clip, in seconds.
    width, height: one of them keeps the aspect. fps: a GIF gets at most so many frames per second
    (None: 25 when the source is faster), other formats exactly so many.
    tonemap: one of `media.light.CURVES`, for HDR films. write: options of the writer, see `media.open.write_clip`.
    """

    to: str | None = None
    source_format: str | None = None
    raw_size: tuple[int, int] | None = None
    rate: Fraction | None = None
    raw_info: str | None = None
    start_s: Fraction = Fraction(0)
    duration_s: Fraction | None = None
    width: int | None = None
    height: int | None = None
    fps: Fraction | None = None
    tonemap: str | None = None
    write: Mapping[str, Any] = MappingProxyType({})


class FolderSource:
    """A folder of pictures as an input; the counterpart of `app.gif.Source`."""

    is_gif = is_text = False
    size: int | None = None

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings

    def spool(self) -> None:
        """A folder can be read again as it is."""

    def scan(self, touches_pixels: bool) -> None:
        """Limits are checked when it is opened."""

    def open(self, quiet: bool = False) -> tuple[Clip, Frames, str, Any]:
        warn = (lambda message: None) if quiet else self.settings.warn
        clip, frames, kind = open_clip(self.name, limits=self.settings.limits, warn=warn, **self.settings.read)
        return clip, frames, kind, warn


def convert(name: str, output: str, conversion: Conversion, settings: Settings, *, stages: BuildStages = tuple, dry_run: bool = False) -> Report:
    """Convert one clip; the output appears only when complete.

    name: a path, "-", or a folder of pictures. settings: its read, write and to are filled in from
    the conversion. stages: makes stages to run last.
    Raises VeditError with the name of the input in front.
    """
    to = conversion.to or format_of(output)
    settings = settings._replace(to=to, read=_read_options(conversion, to), write={**conversion.write, "rate": conversion.fps})
    try:
        chain = [*build_stages(conversion, to), *stages()]
        if name != "-" and os.path.isdir(name):
            return edit_clip(FolderSource(name, settings), output, chain, settings, dry_run)
        with ExitStack() as stack:
            return edit_clip(Source(name, settings, stack), output, chain, settings, dry_run)
    except VeditError as error:
        raise error.in_file(name) from None


def _read_options(conversion: Conversion, to: str) -> dict[str, Any]:
    """Options of `open_clip`: what a video decoder does cheaper than a stage is asked of it too."""
    given: dict[str, Any] = {"format": conversion.source_format, "size": conversion.raw_size, "rate": conversion.rate, "raw_info": conversion.raw_info}
    given.update(start_s=conversion.start_s, duration_s=conversion.duration_s, tonemap=conversion.tonemap)
    if conversion.width or conversion.height:
        given["scale"] = (conversion.width, conversion.height)
    if to == "gif":
        from vedit.media.timing import GIF_RATE

        given.update(fps=conversion.fps or GIF_RATE, is_quick=True)
    return {key: value for key, value in given.items() if value is not None}


def build_stages(conversion: Conversion, to: str) -> list[Stage]:
    """Trim, scale, and set the rate; each does nothing where the reader has done it."""
    from vedit.media.timing import FASTEST_GIF, ConstantRate, GifTiming, Trim

    stages: list[Stage] = []
    if conversion.start_s or conversion.duration_s is not None:
        if conversion.start_s < 0 or (conversion.duration_s is not None and conversion.duration_s <= 0):
            raise UsageError("the part of the clip is empty.", "--start is 0 or more, --duration more than 0, both in seconds.")
        stages.append(Trim(conversion.start_s, conversion.duration_s))
    if conversion.width or conversion.height:
        from vedit.stages.resize import Resize

        both = conversion.width is not None and conversion.height is not None
        resize = Resize(size=(conversion.width, conversion.height)) if both else Resize(width=conversion.width, height=conversion.height)
        resize.accepts = (*resize.accepts, "yuv")  # planes come from a decoder, which has scaled already
        stages.append(resize)
    if conversion.fps is not None and to == "gif":
        if conversion.fps > FASTEST_GIF:
            raise UsageError(
                f"--fps {float(conversion.fps):g} is too fast for a GIF.", f"Browsers play at most {FASTEST_GIF} images per second.", f"Use --fps {FASTEST_GIF}"
            )
        stages.append(GifTiming(conversion.fps))
    elif conversion.fps is not None and to in (*VIDEO, "nut", "apng", "png", "webp", "folder"):
        stages.append(ConstantRate(conversion.fps))
    return stages
