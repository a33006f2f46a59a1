"""Read captions: SubRip (.srt), WebVTT, the texts of ASS and SSA, and plain lists of times and words.

Words alone are taken: styles, places and drawings of a file are left out. A file is read by us and is never
handed to another program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from heapq import heappop, heappush
from typing import NamedTuple

from vedit.errors import InputError, Warn, reason_of, silent
from vedit.media.limits import LONGEST_S, seconds

LARGEST = 10**7  # bytes of a file
LONGEST = 2000  # letters of one caption
MOST_AT_ONCE = 16  # more texts at one moment are a mistake, or made to fill the memory
RIGHT = "It holds blocks as SubRip, WebVTT or ASS have them, or lines such as: 0.5-2 Hello"
ARROW = re.compile(r"\s*([\d:.,]+)\s*-->\s*([\d:.,]+)")
CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d\d?):(\d\d?)(?:\.(\d{1,9}))?")
PLAIN = re.compile(r"\s*([\d:.]+)\s*-\s*([\d:.]+)?\s+(\S.*)")
MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<\d[\d:.]*>|\{\\[^{}]*\}")
OVERRIDE = re.compile(r"\{[^{}]*\}")
DRAWING = re.compile(r"\{[^{}]*\\p[1-9]")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "nbsp": " ", "lrm": "\u200e", "rlm": "\u200f"}
ENTITY = re.compile(rf"&({'|'.join(ENTITIES)});")
BYTE_ORDERS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class Caption(NamedTuple):
    """Words, and the moments in seconds between which they are shown; None is to the end."""

    start_s: Fraction
    end_s: Fraction | None
    text: str


def read_captions(path: str, warn: Warn = silent) -> tuple[Caption, ...]:
    """The captions of a file in order of time; raises InputError naming the file and the line.

    warn: told of a file that is not UTF-8, and of captions that no moment belongs to.
    """
    text = _text_of(path, lambda message: warn(f"the captions {path} {message}"))
    empty = 0
    found = []
    try:
        for caption in _read(text):
            if caption.end_s is not None and caption.end_s <= caption.start_s:
                empty += 1
            else:
                found.append(caption)
    except ValueError as error:
        raise InputError(f"the captions {path}: {error}.", RIGHT) from None
    if not found:
        raise InputError(f"the captions {path} hold no words.", RIGHT)
    if empty:
        warn(f"{empty} of the captions {path} end where they begin, or before, and are left out")
    found.sort(key=lambda caption: caption.start_s)
    _refuse_crowd(path, found)
    return tuple(found)


def _text_of(path: str, tell: Warn) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the captions {path}: {reason_of(error)}.", RIGHT) from None
    if len(data) > LARGEST:
        raise InputError(f"the captions {path} are too large.", f"The most are {LARGEST // 10**6} MB.")
    encoding = next((name for start, name in BYTE_ORDERS if data.startswith(start)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8" or b"\0" in data:
            raise InputError(f"cannot read the captions {path}: not text in UTF-8.", RIGHT) from None
        tell("are not UTF-8: they are read as Windows-1252")
        text = data.decode("cp1252", "replace")
    if "\0" in text:
        raise InputError(f"cannot read the captions {path}: not text in UTF-8.", RIGHT)
    return text


def _read(text: str) -> Iterator[Caption]:
    lines = re.split(r"\r\n|\r|\n", text)  # not splitlines: it would cut at a form feed too
    if any(line.strip().lower() == "[events]" for line in lines):
        return _events(lines)
    return _blocks(lines) if "-->" in text else _lines(lines)


def _blocks(lines: list[str]) -> Iterator[Caption]:
    heads = [place for place, line in enumerate(lines) if "-->" in line]
    for head, behind in zip(heads, [*heads[1:], len(lines) + 1]):
        match = ARROW.match(lines[head])
        if not match:
            raise ValueError(f"line {head + 1} is not a pair of times ({lines[head].strip()[:40]})")
        end = next((i for i in range(head + 1, min(behind, len(lines))) if not lines[i].strip()), behind)
        if end == behind <= len(lines):  # no empty line in front of the next block's number
            end -= lines[behind - 1].strip().isdecimal()
        words = MARKUP.sub("", "\n".join(lines[head + 1 : end]))
        words = ENTITY.sub(lambda found: ENTITIES[found[1]], words)
        yield from _caption(match[1].replace(",", "."), match[2].replace(",", "."), words, head + 1)


def _lines(lines: list[str]) -> Iterator[Caption]:
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = PLAIN.match(line)
        if not match:
            raise ValueError(f"line {number} is not times and words ({line.strip()[:40]})")
        for caption in _caption(match[1], match[2], match[3].replace("\\n", "\n"), number):
            if caption.end_s is not None and caption.end_s <= caption.start_s:
                raise ValueError(f"line {number} ends before it begins")
            yield caption


def _events(lines: list[str]) -> Iterator[Caption]:
    """The dialogue of an ASS or SSA script, without its styles."""
    section, fields = "", ["layer", "start", "end", "style", "name", "l", "r", "v", "effect", "text"]
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line.lower()
        kind, colon, rest = line.partition(":")
        if section != "[events]" or not colon:
            continue
        if kind.lower() == "format":
            fields = [name.strip().lower() for name in rest.split(",")]
        elif kind.lower() == "dialogue":
            values = dict(zip(fields, rest.strip().split(",", len(fields) - 1)))
            words = values.get("text", "")
            if DRAWING.search(words):
                continue
            words = OVERRIDE.sub("", words).replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
            yield from _caption(values.get("start", ""), values.get("end", ""), words, number)


def _caption(start: str, end: str | None, words: str, number: int) -> Iterator[Caption]:
    try:
        start_s, end_s = _moment(start), None if end is None else _moment(end)
    except ValueError:
        raise ValueError(f"line {number} has a time that is none") from None
    words = CONTROL.sub("", words.replace("\t", "    ")).strip()
    if len(words) > LONGEST:
        raise ValueError(f"line {number} has {len(words)} letters, and the most are {LONGEST}")
    if words:
        yield Caption(start_s, end_s, words)


def _moment(text: str) -> Fraction:
    if clock := CLOCK.fullmatch(text.strip()):  # ten times as fast, and a file may hold 200,000 of them
        hours, minutes, whole, part = clock.groups(default="")
        total_s = int(hours or 0) * 3600 + int(minutes) * 60 + int(whole)
        return Fraction(int(f"{total_s}{part}"), 10 ** len(part))
    return seconds(text.strip())


def _refuse_crowd(path: str, captions: list[Caption]) -> None:
    """Raise InputError where more texts than anyone reads are shown at one moment."""
    ends: list[Fraction] = []
    for caption in captions:
        while ends and ends[0] <= caption.start_s:
            heappop(ends)
        heappush(ends, Fraction(LONGEST_S) if caption.end_s is None else caption.end_s)
        if len(ends) > MOST_AT_ONCE:
            raise InputError(
                f"the captions {path} show more than {MOST_AT_ONCE} texts at once,"
                f" at {float(caption.start_s):g} s."
            )
