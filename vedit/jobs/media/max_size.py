"""`--max-size`: the best GIF that is no larger than asked for.

What is given up, in this order, each only when all before it is not enough:

    1. nothing: `optimize` alone
    2. exactness: `--lossy` 1 to 100
    3. colours: 128, 64, 32
    4. every second image
    5. pixels: down to a tenth of the width and height

Behind the first of these that is enough, the least of it is looked for, and behind 3 and 4 the least lossy.
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
MOST_LOSSY = 100
SMALLEST, WHOLE = 100, 1000  # thousandths of width and height
UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9,
         "kib": 2**10, "mib": 2**20, "gib": 2**30}  # fmt: skip
LAST = ("optimize", "metadata")  # stages that stay behind what is added


class Setting(NamedTuple):
    """What is given up. every: one image of so many stays. scale: thousandths."""

    lossy: int = 0
    colors: int = 256
    every: int = 1
    scale: int = WHOLE

    def __str__(self) -> str:
        """In the words of the command line."""
        parts = [option("lossy", self.lossy)] if self.lossy else ["lossless"]
        if self.colors < 256:
            parts.append(option("colors", self.colors))
        if self.every > 1:
            parts.append("every second image")
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
        if self.every > 1:
            head.append(("frames", {"every": str(self.every)}))
        if self.scale < WHOLE:
            head.append(("resize", {"scale": f"{self.scale}/{WHOLE}"}))
        lossy = max(self.lossy, int(own.get("lossy", "0")))
        return [*head, ("optimize", {**own, "lossy": str(lossy)}), *marks]


LADDER = (
    Setting(),
    Setting(MOST_LOSSY),
    Setting(MOST_LOSSY, 128),
    Setting(MOST_LOSSY, 64),
    Setting(MOST_LOSSY, 32),
    Setting(MOST_LOSSY, 32, 2),
    Setting(MOST_LOSSY, 32, 2, SMALLEST),
)


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
        """Try a setting, and keep its result while it is the best that fits."""
        with apart():
            report = self.tried[setting] = self.attempt(setting, self._path("trial"))
        if (report.bytes_out or 0) > self.wish:
            return False
        os.replace(self._path("trial"), self._path("best"))
        self.best = setting
        return True

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, f"{name}.gif")

    @property
    def is_close(self) -> bool:
        assert self.best is not None
        return (self.tried[self.best].bytes_out or 0) >= CLOSE * self.wish

    def why_no_nearer(self) -> str:
        """Of a result that is not close: the setting that was just too much, and what it takes."""
        sizes = {setting: report.bytes_out or 0 for setting, report in self.tried.items()}
        above = [setting for setting in sizes if sizes[setting] > self.wish]
        if self.is_close or not above:
            return ""
        nearest = min(above, key=lambda setting: (sizes[setting], -setting.lossy))
        return f"; the next better one, {nearest}, takes {sizes[nearest]}"

    def narrow(self, setting: Setting, field: str, good: int, bad: int) -> None:
        """Between a value that fits and one that does not, go towards the latter until it is close."""
        while abs(bad - good) > 1 and not self.is_close:
            middle = (good + bad) // 2
            if self.fits(setting._replace(**{field: middle})):
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
        step = next((i for i, setting in enumerate(LADDER) if search.fits(setting)), None)
        if step is None:
            tried = "; ".join(f"{setting}: {report.bytes_out}" for setting, report in search.tried.items())
            raise OutputError(
                f"no result is as small as {wish} bytes.",
                f"Tried were (in bytes) {tried}.",
                f"Cut the clip, or ask for more with {option('max_size', 'SIZE')}",
            )
        found = LADDER[step]
        if found.scale < WHOLE:
            search.narrow(found, "scale", SMALLEST, WHOLE)
        elif step:
            search.narrow(found, "lossy", MOST_LOSSY, 0)
        assert search.best is not None
        if search.best != LADDER[0]:
            tried = f"{len(search.tried)} settings tried{search.why_no_nearer()}"
            warn(f"to fit in {wish} bytes: {search.best} ({tried})")
        with open(search._path("best"), "rb") as result, open_output(output) as stream:
            shutil.copyfileobj(result, stream)
        first = search.tried[LADDER[0]]
        report = search.tried[search.best]
        return report._replace(output=output, size_in=first.size_in, setting=str(search.best))
