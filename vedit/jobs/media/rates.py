"""Rates and times that a call asks for, and the stages that give a clip its rate."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeVar

from vedit.errors import UsageError, option
from vedit.media.formats import PICTURES, VIDEO
from vedit.media.limits import frame_rate
from vedit.media.pipeline import Stage

EARLY_S = Fraction(1)  # read before a start: the frame that is shown there begins before it


def rate_of(text: str) -> Fraction:
    """Frames per second, such as 25, 29.97 or 30000/1001; raises ValueError."""
    rate = frame_rate(text)
    if not 0 < rate <= 1000:
        raise ValueError("too fast")
    return rate


T = TypeVar("T")


def read_as(read: Callable[[str], T], text: str | None, name: str) -> Any:
    """The value of a text, None where there is none. Raises UsageError."""
    try:
        return None if text is None else read(text)
    except ValueError as error:
        raise UsageError(f"{option(name, text)}: {error}.") from None


def rate_stages(fps: Fraction, to: str) -> list[Stage]:
    """What gives a clip this rate in a format: in a GIF at most so many images a second, elsewhere exactly.

    Raises UsageError for a rate that no GIF has.
    """
    from vedit.media.timing import FASTEST_GIF, ConstantRate, GifTiming

    if to == "gif":
        if fps > FASTEST_GIF:
            raise UsageError(
                f"{option('fps', float(fps))} is too fast for a GIF.",
                f"Browsers play at most {FASTEST_GIF} images per second.",
                f"Use {option('fps', FASTEST_GIF)}",
            )
        return [GifTiming(fps)]
    return [ConstantRate(fps)] if to in (*VIDEO, *PICTURES, "nut", "folder") else []
