"""`--max-size`: the best GIF that is no larger than asked for.

What is given up, in this order, each only when all before it is not enough:

    1. nothing: `optimize` alone
    2. exactness: `--lossy` up to 100
    3. colours: 128, 64, 32
    4. every second image
    5. pixels: down to a tenth of the width and height

Behind the first of these that is enough less is given up until the result is near the size: of the pixels,
then of the exactness, the colours, and the images.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from vedit.errors import OutputError, UsageError, Warn, option
from vedit.jobs.media.chain import Spec
from vedit.media.atomic import apart, open_output
from vedit.media.formats import output_format
from vedit.media.run import Report

CLOSE = Fraction(95, 100)  # of the size asked for: near enough to look no further
WHOLE = 1000  # thousandths
MOST_LOSSY, SMALLEST = 1000, 100
UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9,
         "kib": 2**10, "mib": 2**20, "gib": 2**30}  # fmt: skip
LAST = ("optimize", "metadata")  # stages that stay behind what is added


class Setting(NamedTuple):
    """What is given up. lossy: in tenths. images: thousandths that stay. scale: thousandths of the sides."""

    lossy: int = 0
    colors: int = 256
    images: int = WHOLE
    scale: int = WHOLE

    def __str__(self) -> str:
        """In the words of the command line."""
        parts = [option("lossy", f"{self.lossy / 10:g}")] if self.lossy else ["lossless"]
        if self.colors < 256:
            parts.append(option("colors", self.colors))
        if self.images < WHOLE:
            is_half = 2 * self.images == WHOLE
            parts.append("every second image" if is_half else f"{self.images / 10:g}% of the images")
        if self.scale < WHOLE:
            parts.append(f"{self.scale / 10:g}% of the width and height")
        return ", ".join(parts)

    def specs(self, asked: Sequence[Spec]) -> list[Spec]:
        """The stages asked for with what is given up behind them."""
        head = list(asked)
        tail: list[Spec] = []
        while head and head[-1][0] in LAST:
            tail.insert(0, head.pop())
        own = next((texts for name, texts in tail if name == "optimize"), {})
        marks = [spec for spec in tail if spec[0] != "optimize"]
        if self.images < WHOLE:
            head.append(("frames", {"every": f"{WHOLE}/{self.images}"}))
        if self.scale < WHOLE:
            head.append(("resize", {"scale": f"{self.scale}/{WHOLE}"}))
        lossy = max(Fraction(self.lossy, 10), Fraction(own.get("lossy", "0")))
        return [*head, ("optimize", {**own, "lossy": str(lossy)}), *marks]


LADDER = (
    Setting(),
    Setting(MOST_LOSSY),
    Setting(MOST_LOSSY, 128),
    Setting(MOST_LOSSY, 64),
    Setting(MOST_LOSSY, 32),
    Setting(MOST_LOSSY, 32, WHOLE // 2),
    Setting(MOST_LOSSY, 32, WHOLE // 2, SMALLEST),
)
BACK = ("scale", "lossy", "colors", "images")  # the order in which less of each is given up


def read_size(text: str) -> int:
    """A number of bytes: 8MB, 500k, 1.5MiB. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([kmg]?i?b?)", text.strip().lower())
    if not match or match[2] not in UNITS or not (size := int(Fraction(match[1]) * UNITS[match[2]])):
        raise ValueError(f"{text!r} is not a size.")
    return size


def wish_of(text: str | None) -> int | None:
    """The size asked for, in bytes; None for none. Raises UsageError."""
    try:
        return None if text is None else read_size(text)
    except ValueError:
        raise UsageError(
            f"{option('max_size', text)} is not a size.",
            "It is a number of bytes such as 8MB, 500k or 1.5MiB.",
        ) from None


def check_fits(name: str, output: str, to: str | None) -> None:
    """Refuse what is no GIF, and what cannot be read as often as it takes."""
    if output_format(output, to) != "gif":
        raise UsageError(f"{option('max_size')} is for GIFs, and {output} is none.")
    if name == "-":
        raise UsageError(
            f"{option('max_size')} reads its input several times, and a pipe only once.", "", "Name a file"
        )


Attempt = Callable[[Setting, str], Report]


class _Search:
    """Settings tried on one clip, with the best that fits."""

    def __init__(self, attempt: Attempt, wish: int, folder: str) -> None:
        self.attempt, self.wish, self.folder = attempt, wish, folder
        self.tried: dict[Setting, Report] = {}
        self.best: Setting | None = None

    def fits(self, setting: Setting) -> bool:
        """Whether a setting's result is small enough; it is kept as the best."""
        if setting not in self.tried:
            with apart():
                self.tried[setting] = self.attempt(setting, self._path("trial"))
            if self._size(setting) <= self.wish:
                os.replace(self._path("trial"), self._path("best"))
                self.best = setting
        return self._size(setting) <= self.wish

    def _size(self, setting: Setting) -> int:
        return self.tried[setting].bytes_out or 0

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, f"{name}.gif")

    @property
    def is_close(self) -> bool:
        assert self.best is not None
        return self._size(self.best) >= CLOSE * self.wish

    def why_no_nearer(self) -> str:
        """Of a result that is not close: the setting that was just too much, and what it takes."""
        above = [setting for setting in self.tried if self._size(setting) > self.wish]
        if self.is_close or not above:
            return ""
        nearest = min(above, key=lambda setting: (self._size(setting), -setting.lossy))
        return f"; the next better one, {nearest}, takes {self._size(nearest)}"

    def give_back(self, field: str) -> None:
        """Of one thing give up less, as far as the result fits, and until it is close."""
        assert self.best is not None
        good, bad = getattr(self.best, field), getattr(LADDER[0], field)
        if good == bad or self.is_close or self.fits(self.best._replace(**{field: bad})):
            return
        while abs(bad - good) > 1 and not self.is_close:
            middle = (good + bad) // 2
            if self.fits(self.best._replace(**{field: middle})):
                good = middle
            else:
                bad = middle


def fitted(attempt: Attempt, wish: int, output: str, warn: Warn) -> Report:
    """Write the best result of at most `wish` bytes, and tell what was given up for it.

    attempt: makes a GIF with a setting, at a path. Raises OutputError where nothing is small enough.
    """
    import shutil  # here, since every GIF command loads this module
    import tempfile

    with tempfile.TemporaryDirectory(prefix="vedit-") as folder:
        search = _Search(attempt, wish, folder)
        if not any(map(search.fits, LADDER)):
            tried = "; ".join(f"{setting}: {report.bytes_out}" for setting, report in search.tried.items())
            raise OutputError(
                f"no result is as small as {wish} bytes.",
                f"Tried were (in bytes) {tried}.",
                f"Cut the clip, or ask for more with {option('max_size', 'SIZE')}",
            )
        assert search.best is not None
        if search.best != LADDER[0]:
            for field in BACK:
                search.give_back(field)
            tried = f"{len(search.tried)} settings tried{search.why_no_nearer()}"
            warn(f"to fit in {wish} bytes: {search.best} ({tried})")
        with open(search._path("best"), "rb") as result, open_output(output) as stream:
            shutil.copyfileobj(result, stream)
        first = search.tried[LADDER[0]]
        report = search.tried[search.best]
        return report._replace(output=output, size_in=first.size_in, setting=str(search.best))
