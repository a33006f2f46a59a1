"""The manifest of pairs for training instruction editors: pairs.jsonl, one record a line.

    {"id": "000001", "kind": "lift", "source": "000001.source.gif", "target": "000001.target.gif",
     "instruction": ["make the circle blue"], "mask": "000001.mask.gif", "reference": "000001.reference.png",
     "interval": [0.4, 0.8], "expert": "vedit", "licence": "drawn, no rights reserved"}

Files are seen from the manifest's folder. mask, reference and interval may be missing: white may change; a
picture of what the edit makes; seconds of the clip in which it shows. expert says what made the target.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NotRequired

from annotated_types import MinLen
from typing_extensions import TypedDict

from vedit.documents import Kind, read_json_lines, validated
from vedit.errors import InputError

PAIRS = "pairs.jsonl"
DOCUMENT = Kind(
    "pairs for training an instruction editor",
    right='Each line is a record with "id", "kind", "source", "target" and "instruction".',
    next_step="Draw some with: vedit data edit-pairs transition --synth 100 OUT",
    largest=2**30,
    names_files=True,
)
Text = Annotated[str, MinLen(1)]
EXTRA = {"extra": "allow"}  # further keys pass


class Record(TypedDict):
    """A line of pairs.jsonl; further keys stay."""

    __pydantic_config__ = EXTRA  # type: ignore[misc]  # read by pydantic, and no key
    id: Text
    kind: Text
    source: Text
    target: Text
    instruction: Text | Annotated[list[Text], MinLen(1)]
    mask: NotRequired[Text | None]
    reference: NotRequired[Text | None]
    interval: NotRequired[Annotated[list[float], MinLen(2)] | None]
    expert: NotRequired[str]
    licence: NotRequired[str]


class Pair(NamedTuple):
    """A record, its files as they can be opened."""

    id: str
    kind: str
    source: str
    target: str
    instructions: tuple[str, ...]
    mask: str | None = None
    reference: str | None = None
    interval: tuple[float, float] | None = None
    expert: str = ""
    licence: str = "unstated"


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a manifest. Raises InputError for records that are wrong, and where there are none."""
    pairs, lines = list[Pair](), dict[str, int]()
    for number, table in read_json_lines(path, DOCUMENT):
        where = f"{path}: line {number}"
        record = validated(table, Record, where, DOCUMENT)
        pairs.append(_pair(record, path.parent))
        before, span = lines.setdefault(record["id"], number), record.get("interval")
        if before != number:
            raise InputError(
                f"{where}: its id {record['id']!r} is that of line {before}.", "Each pair has one of its own."
            )
        if span is not None and not 0 <= span[0] < span[1]:
            raise InputError(
                f"{where}: its interval ends at {span[1]:g} s and begins at {span[0]:g} s.",
                "It is where the edit holds, begin and end in seconds from 0.",
            )
        for name in ("source", "target", "mask", "reference"):
            file = getattr(pairs[-1], name)
            if file is not None and not os.path.exists(file):
                raise InputError(f"{where}: its {name} {file} is not there.", DOCUMENT.right)
    if not pairs:
        raise InputError(f"{path} holds no pairs.", DOCUMENT.right, DOCUMENT.next_step)
    return pairs


def _pair(record: Record, folder: Path) -> Pair:
    def there(name: str | None) -> str | None:
        return None if name is None else str(folder / name)

    said, span = record["instruction"], record.get("interval")
    return Pair(
        record["id"],
        record["kind"],
        str(folder / record["source"]),
        str(folder / record["target"]),
        (said,) if isinstance(said, str) else tuple(said),
        there(record.get("mask")),
        there(record.get("reference")),
        None if span is None else (span[0], span[1]),
        record.get("expert", ""),
        record.get("licence", "unstated"),
    )


def record_of(pair: Pair, folder: Path) -> dict[str, Any]:
    """A pair as a line of the manifest in a folder, without what it does not have."""

    def seen(name: str | None) -> str | None:
        return None if name is None else os.path.relpath(name, folder)

    table = {
        **pair._asdict(),
        "source": seen(pair.source),
        "target": seen(pair.target),
        "mask": seen(pair.mask),
        "reference": seen(pair.reference),
        "interval": None if pair.interval is None else list(pair.interval),
    }
    table["instruction"] = list(table.pop("instructions"))
    return {key: value for key, value in table.items() if value not in (None, "")}
