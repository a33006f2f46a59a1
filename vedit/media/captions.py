"""Read captions: SubRip (.srt) files, WebVTT, and plain lists of times and words."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from vedit.errors import InputError, reason_of
from vedit.media.limits import seconds

LARGEST = 10**7  # bytes of a file
RIGHT = "It holds blocks as SubRip has them, or lines such as: 0.5-2 Hello"
ARROW = re.compile(r"\s*([\d:.,]+)\s*-->\s*([\d:.,]+)")
PLAIN = re.compile(r"\s*([\d:.]+)\s*-\s*([\d:.]+)?\s+(\S.*)")
MARKUP = re.compile(r"</?[a-zA-Z][^>]*>|\{\\[^}]*\}")


class Caption(NamedTuple):
    """Words, and the moments in seconds between which they are shown; None is to the end."""

    start_s: Fraction
    end_s: Fraction | None
    text: str


def read_captions(path: str) -> tuple[Caption, ...]:
    """The captions of a file in order of time; raises InputError naming the file and the line."""
    try:
        with open(path, encoding="utf-8-sig", errors="strict") as file:
            text = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = "not text in UTF-8" if isinstance(error, UnicodeDecodeError) else reason_of(error)
        raise InputError(f"cannot read the captions {path}: {reason}.", RIGHT) from None
    if len(text) > LARGEST:
        raise InputError(f"the captions {path} are too large.", f"The most are {LARGEST // 10**6} MB.")
    try:
        found = _blocks(text) if "-->" in text else _lines(text)
    except ValueError as error:
        raise InputError(f"the captions {path}: {error}.", RIGHT) from None
    if not found:
        raise InputError(f"the captions {path} hold no words.", RIGHT)
    return tuple(sorted(found, key=lambda caption: caption.start_s))


def _blocks(text: str) -> list[Caption]:
    found: list[Caption] = []
    lines = [*text.splitlines(), ""]
    for place, line in enumerate(lines):
        if "-->" not in line:
            continue
        match = ARROW.match(line)
        if not match:
            raise ValueError(f"line {place + 1} is not a pair of times ({line.strip()[:40]})")
        end = next(i for i in range(place + 1, len(lines)) if not lines[i].strip())
        words = MARKUP.sub("", "\n".join(lines[place + 1 : end])).strip()
        found += _caption(match[1].replace(",", "."), match[2].replace(",", "."), words, place + 1)
    return found


def _lines(text: str) -> list[Caption]:
    found: list[Caption] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = PLAIN.match(line)
        if not match:
            raise ValueError(f"line {number} is not times and words ({line.strip()[:40]})")
        found += _caption(match[1], match[2], match[3].replace("\\n", "\n").strip(), number)
    return found


def _caption(start: str, end: str | None, words: str, number: int) -> list[Caption]:
    try:
        start_s, end_s = seconds(start), None if end is None else seconds(end)
    except ValueError:
        raise ValueError(f"line {number} has a time that is none") from None
    if end_s is not None and end_s <= start_s:
        raise ValueError(f"line {number} ends before it begins")
    return [Caption(start_s, end_s, words)] if words else []
