"""Words of strangers where people read them: comments, file names, prompts, answers of servers.

Control characters would command the terminal, and the marks that turn the direction of writing
would show one name as another, so both are shown as the escapes of Python. Bytes of a name that
are not UTF-8 are shown as \\xff.
"""

from __future__ import annotations

import re
from typing import Any

# compiled by `re` when first needed: few starts need it
_HIDDEN = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
# behind them stand the bytes of names that are not UTF-8, see os.fsdecode
_BYTES = range(0xDC80, 0xDD00)


def plain(text: str) -> str:
    """The text with control characters shown; line breaks and tabs stay."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return re.sub(_HIDDEN, _shown, text)


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code in _BYTES:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def one_line(text: str) -> str:
    """The words of a text on one line, without anything that is not shown."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def json_text(value: Any, *, is_ascii: bool = False, indent: int | None = None) -> str:
    """Readable JSON that any terminal and any encoding takes: what is hidden is escaped, as JSON escapes."""
    import json  # costs every start 2 ms

    text = json.dumps(value, ensure_ascii=is_ascii, default=str, indent=indent)
    return re.sub(_HIDDEN, lambda found: f"\\u{ord(found[0]):04x}", text)


def digest(value: Any) -> str:
    """SHA-256 of a value's JSON with sorted keys: what a key of work that may be done already is made of."""
    import hashlib
    import json

    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def american(word: str) -> str:
    """A word in the first of its two spellings: center for centre, color for colour, gray for grey."""
    return word.replace("centre", "center").replace("colour", "color").replace("grey", "gray")
