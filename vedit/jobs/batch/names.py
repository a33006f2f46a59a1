"""What the outputs of a batch are called: a template, parts that any disk takes, nothing outside the
folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from string import Formatter

from vedit.errors import UsageError, nearest, option

DEFAULT = "{relpath}/{stem}/{label}-{prompt:40}{axes}-s{seed}.{ext}"
OF_INDEX = "{label}{axes}/{video}/{edit}.{ext}"
FIELDS = (
    "stem",
    "relpath",
    "parent",
    "index",
    "label",
    "method",
    "preset",
    "seed",
    "prompt",
    "source",
    "edit",
    "video",
    "axes",
    "key",
    "ext",
)
LONGEST = 100  # bytes of a part
RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))}


def check_template(template: str, columns: tuple[str, ...] = ()) -> None:
    """Refuse a template with fields that there are not, or that leaves the folder. Raises UsageError."""
    asked = option("name", template)
    try:
        fields = [(name, width) for _, name, width, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise UsageError(
            f"{asked}: {error}.", "A field is {stem}; a brace of its own is written twice."
        ) from None
    known = (*FIELDS, *columns)
    for name, width in fields:
        if name not in known and not name.startswith("axis."):
            raise UsageError(
                f"{asked}: there is no field {name!r}{nearest(name, known) or '.'}",
                f"Fields: {', '.join(known)}, and axis.NAME.",
            )
        if width and not width.isdigit():
            raise UsageError(f"{asked}: {width!r} is not a length.", "{prompt:40} cuts at 40.")
    if os.path.isabs(template) or ".." in template.split("/"):
        raise UsageError(f"{asked} leaves the folder for outputs.", "Names are seen from it.")
    if not template.endswith(".{ext}") and not os.path.splitext(template)[1]:
        raise UsageError(f"{asked} has no format.", "", f"End it in .{{ext}}: {template}.{{ext}}")


def named(template: str, values: Mapping[str, str], key: str) -> str:
    """The name that a template gives, its parts made safe.

    values: by field; one with a slash, such as relpath, makes folders. key: of the item, 8 digits of which
    stand
    for what is cut away.
    """
    filled = []
    for literal, field, width, _ in _parsed(template):
        filled.append(literal)
        if field is not None:
            filled.append(_value(values.get(field, ""), field, int(width) if width else 0))
    parts = [part for part in "".join(filled).split("/") if part not in ("", ".")]
    return "/".join(safe(part, key) for part in parts)


@lru_cache(maxsize=8)
def _parsed(template: str) -> list[tuple[str, str | None, str | None, str | None]]:
    return list(Formatter().parse(template))


@lru_cache(maxsize=4096)
def _value(text: str, field: str, width: int) -> str:
    if field != "relpath" and field != "video":
        text = text.replace("/", "-")
    text = re.sub(r"\s+", "-", text.strip())
    if not width or len(text) <= width:
        return text
    # two long prompts that begin alike are two names
    return f"{text[:width].rstrip('-')}-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:6]}"


def safe(part: str, key: str) -> str:
    """One part of a path that every file system takes: letters, digits and -_. in at most 100 bytes."""
    text = re.sub(r"[^\w.-]", "-", unicodedata.normalize("NFC", part))
    text = text.strip() if text.strip(".") else text.replace(".", "-")  # "..": no way out of the folder
    text = text.lstrip(".") or "-"
    if text.partition(".")[0].lower() in RESERVED:
        text = f"_{text}"
    if len(text.encode()) <= LONGEST:
        return text
    stem, suffix = os.path.splitext(text)
    room = LONGEST - len(suffix.encode()) - 9
    return f"{stem.encode()[:room].decode(errors='ignore')}-{key[:8]}{suffix}"


def check_inside(output: str, where: str) -> str | None:
    """What is wrong with a row's own name of its output, or None."""
    if os.path.isabs(output) or ".." in re.split(r"[/\\]", output) or "\0" in output:
        return f"{where}: output {output!r} leaves the folder for outputs; name it as seen from there."
    if not os.path.splitext(output)[1]:
        return f"{where}: output {output!r} has no format; end it in .gif or .mp4."
    return None
