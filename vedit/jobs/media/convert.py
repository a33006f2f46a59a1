"""Convert any clip to any format: the GIF pipeline with other sources, sinks and times."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from vedit.errors import UsageError
from vedit.media.formats import VIDEO, format_of
from vedit.media.options import ReadOptions, WriteOptions
from vedit.media.pipeline import Stage
from vedit.media.run import BuildStages, Report, Settings, run_file


class Conversion(NamedTuple):
    """What to take from the input, and what to make of it; None leaves a thing as it is.

    start_s, duration_s: part of the clip, in seconds.
    width, height: one of them keeps the aspect. fps: a GIF gets at most so many frames per second
    (None: 25 when the source is faster), other formats exactly so many.
    """

    start_s: Fraction = Fraction(0)
    duration_s: Fraction | None = None
    width: int | None = None
    height: int | None = None
    fps: Fraction | None = None
    read: ReadOptions = ReadOptions()
    write: WriteOptions = WriteOptions()


def convert(
    name: str,
    output: str,
    conversion: Conversion,
    settings: Settings,
    *,
    stages: BuildStages = tuple,
    dry_run: bool = False,
) -> Report:
    """Convert one clip; the output appears only when complete.

    name: a path, "-", or a folder of pictures. stages: makes stages to run last.
    Raises VeditError with the name of the input in front.
    """
    to = conversion.write.format or format_of(output)
    settings = settings._replace(write=conversion.write._replace(format=to, rate=conversion.fps))
    return run_file(
        name,
        output,
        lambda: [*build_stages(conversion, to), *stages()],
        settings,
        _read_options(conversion, to),
        dry_run,
    )


def _read_options(conversion: Conversion, to: str) -> ReadOptions:
    """What a video decoder does cheaper than a stage is asked of it too."""
    read = conversion.read._replace(start_s=conversion.start_s, duration_s=conversion.duration_s)
    if conversion.width or conversion.height:
        read = read._replace(scale=(conversion.width, conversion.height))
    if to == "gif":
        from vedit.media.timing import GIF_RATE

        read = read._replace(fps=conversion.fps or GIF_RATE, is_quick=True)
    return read


def build_stages(conversion: Conversion, to: str) -> list[Stage]:
    """Trim, scale, and set the rate; each does nothing where the reader has done it."""
    from vedit.media.timing import FASTEST_GIF, ConstantRate, GifTiming, Trim

    stages: list[Stage] = []
    if conversion.start_s or conversion.duration_s is not None:
        if conversion.start_s < 0 or (conversion.duration_s is not None and conversion.duration_s <= 0):
            raise UsageError(
                "the part of the clip is empty.",
                "--start is 0 or more, --duration more than 0, both in seconds.",
            )
        stages.append(Trim(conversion.start_s, conversion.duration_s))
    if conversion.width or conversion.height:
        from vedit.stages.resize import Resize

        both = conversion.width is not None and conversion.height is not None
        resize = (
            Resize(size=(conversion.width, conversion.height))
            if both
            else Resize(width=conversion.width, height=conversion.height)
        )
        resize.accepts = (*resize.accepts, "yuv")  # planes come from a decoder, which has scaled already
        stages.append(resize)
    if conversion.fps is not None and to == "gif":
        if conversion.fps > FASTEST_GIF:
            raise UsageError(
                f"--fps {float(conversion.fps):g} is too fast for a GIF.",
                f"Browsers play at most {FASTEST_GIF} images per second.",
                f"Use --fps {FASTEST_GIF}",
            )
        stages.append(GifTiming(conversion.fps))
    elif conversion.fps is not None and to in (*VIDEO, "nut", "apng", "png", "webp", "folder"):
        stages.append(ConstantRate(conversion.fps))
    return stages
