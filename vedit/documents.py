"""Read documents that somebody else may have written: JSON, JSON lines, TOML, YAML and tables.

Every file of facts comes through here: it is a file that ends, no larger and no deeper than its kind
allows, text in UTF-8, and what is wrong with it is said in one sentence that names it. What a reader
gives can be walked by recursion, written as JSON and converted to float, whoever wrote it.

    REPORT = Kind("a report of vedit score", right="It is the JSON that --json writes.")
    report = validated(read_json(path, REPORT), Report, path, REPORT)
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Hashable, Iterator
from functools import cache
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

from vedit.errors import InputError, VeditError, reason_of
from vedit.plain import json_text

T = TypeVar("T")
LONGEST_NUMBER = 1024  # bits of a whole number; a float holds no more
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # of cells that spreadsheets take for formulas
# tomllib walks all parts of a table's name again for each key in it
DEEP_TABLE = r"""(?m)^[ \t]*\[{1,2}(?:[ \t]*(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.){32}"""


class Kind(NamedTuple):
    """What a document should be, for limits and messages.

    what: with its article ("a preset"). error: its class. right, next_step: further parts of the message.
    largest: bytes. deepest: lists and tables in one another.
    names_files: texts may hold file names that are not UTF-8, the way Python spells them (U+DC80 to U+DCFF).
    """

    what: str
    error: type[VeditError] = InputError
    right: str = ""
    next_step: str = ""
    largest: int = 16 * 2**20
    deepest: int = 32
    names_files: bool = False

    def refusal(self, name: str, why: str) -> VeditError:
        """The error of a document called `name`, to be raised."""
        return self.error(f"{name}: not {self.what}: {why.rstrip('.')}.", self.right, self.next_step)

    def unreadable(self, name: str, error: OSError) -> VeditError:
        return self.error(f"{name}: cannot read: {reason_of(error)}.", self.right, self.next_step)


class _Unfit(Exception):
    """Why a document is refused."""


def read_bytes(path: str | os.PathLike[str], kind: Kind) -> bytes:
    """The bytes of a document, which may be a pipe of the shell (/dev/fd/63). Raises the kind's error."""
    name = os.fspath(path)
    try:
        if stat.S_ISFIFO(os.stat(name).st_mode) and not name.startswith("/dev/"):
            raise kind.refusal(name, "it is a named pipe, which may never end")
        with open(name, "rb") as file:
            content = file.read(kind.largest + 1)
    except OSError as error:
        raise kind.unreadable(name, error) from None
    if len(content) > kind.largest:
        raise kind.refusal(name, f"it is larger than {_size(kind.largest)}")
    return content


def _size(count: int) -> str:
    return f"{count / 2**20:g} MiB" if count >= 2**20 else f"{count} bytes"


def read_text(path: str | os.PathLike[str], kind: Kind) -> str:
    """The text of a document in UTF-8, with or without a byte order mark. Raises the kind's error."""
    return _text(read_bytes(path, kind), os.fspath(path), kind)


def _text(content: str | bytes | bytearray, name: str, kind: Kind) -> str:
    if len(content) > kind.largest:
        raise kind.refusal(name, f"it is larger than {_size(kind.largest)}")
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind.refusal(name, f"byte {error.start} is not UTF-8 text") from None


def read_json(path: str | os.PathLike[str], kind: Kind) -> Any:
    """The value of a JSON file. Raises the kind's error, also where there is no such file."""
    return parse_json(read_bytes(path, kind), os.fspath(path), kind)


def parse_json(content: str | bytes | bytearray, name: str, kind: Kind) -> Any:
    """The value of JSON that came in the file `name`. Raises the kind's error."""
    import json

    return _parsed(json.loads, content, name, kind, "JSON")


def read_json_lines(path: str | os.PathLike[str], kind: Kind) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with its number from 1; empty lines are passed over."""
    name = os.fspath(path)
    for number, line in enumerate(read_text(path, kind).split("\n"), 1):
        if line.strip():
            where = f"{name}: line {number}"
            yield number, table(parse_json(line, where, kind), where, kind)


def whole_lines(path: str | os.PathLike[str], kind: Kind) -> Iterator[dict[str, Any]]:
    """The objects of a journal of JSON lines, without what a kill or a bad disk has torn."""
    for line in read_bytes(path, kind).split(b"\n"):
        try:
            yield table(parse_json(line, "", kind), "", kind)
        except VeditError:
            continue


def add_line(path: str | os.PathLike[str], value: Any) -> None:
    """Add an object to a journal, behind a whole line, in one write: lines of several processes do not mix.

    Raises OSError.
    """
    with open_journal(path) as file:
        file.write(f"{json_text(value)}\n".encode())


def open_journal(path: str | os.PathLike[str]) -> BinaryIO:
    """A file that lines are added to, each written at once; a line that a kill has torn is ended first.

    Raises OSError.
    """
    file = open(path, "ab+", buffering=0)
    if file.seekable() and file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


def read_toml(path: str | os.PathLike[str], kind: Kind) -> dict[str, Any]:
    """The table of a TOML file. Raises the kind's error, also where there is no such file."""
    return parse_toml(read_bytes(path, kind), os.fspath(path), kind)


def parse_toml(content: str | bytes, name: str, kind: Kind) -> dict[str, Any]:
    """The table of TOML that came in the file `name`. Raises the kind's error."""
    import tomllib

    def parse(text: str) -> Any:
        if re.search(DEEP_TABLE, text):
            raise _Unfit("a table in it has too many parents")
        return tomllib.loads(text)

    value: dict[str, Any] = _parsed(parse, content, name, kind, "TOML")
    return value


def read_yaml(path: str | os.PathLike[str], kind: Kind) -> Any:
    """The value of a YAML file without aliases. Raises the kind's error, also where there is no such file."""
    return parse_yaml(read_bytes(path, kind), os.fspath(path), kind)


def parse_yaml(content: str | bytes, name: str, kind: Kind) -> Any:
    """The value of YAML that came in the file `name`. Raises the kind's error.

    Aliases are refused: forty lines of them stand for more values than any machine holds.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    def parse(text: str) -> Any:
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise _Unfit(f"it uses an alias (*{event.anchor}); write the value out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > kind.deepest:
                raise _Unfit(_too_deep(kind))
        return yaml.load(text, Loader=loader)

    try:
        return _parsed(parse, content, name, kind, "YAML")
    except yaml.YAMLError as error:
        raise kind.refusal(name, f"not YAML: {' '.join(str(error).split())}") from None


def read_table(
    path: str | os.PathLike[str], kind: Kind, delimiter: str = ",", *, is_strict: bool = False
) -> list[dict[str, str]]:
    """The rows of a CSV file by column; cells that a short row lacks are not in it.

    is_strict: refuse quotes that do not end, which would swallow the rows behind them.

    Raises the kind's error.
    """
    import csv
    import io

    name = os.fspath(path)
    lines = csv.reader(io.StringIO(read_text(path, kind), newline=""), delimiter=delimiter, strict=is_strict)
    rows: list[dict[str, str]] = []
    try:
        columns = _without_empty_ends(next(lines, []))
        if len(set(columns)) < len(columns):
            twice = next(column for column in columns if columns.count(column) > 1)
            raise kind.refusal(name, f"two columns are called {twice!r}")
        for cells in lines:
            if len(cells) > len(columns) and any(cells[len(columns) :]):
                raise kind.refusal(
                    name,
                    f"line {lines.line_num} has {len(cells)} cells, and there are {len(columns)} columns",
                )
            if cells:
                rows.append(dict(zip(columns, cells)))
    except csv.Error as error:
        raise kind.refusal(name, f"line {lines.line_num}: {error}") from None
    return rows


def _without_empty_ends(cells: list[str]) -> list[str]:
    """The cells without the empty ones that spreadsheets put behind the last column."""
    count = max((place for place, text in enumerate(cells, 1) if text), default=0)
    return cells[:count]


def cell(text: str) -> str:
    """A text for a cell of CSV, with ' in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip("'").startswith(FORMULA_STARTS) else text


def uncell(text: str) -> str:
    """The text that `cell` was given."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULA_STARTS) else text


def table(value: Any, name: str, kind: Kind) -> dict[str, Any]:
    """The value, when it is an object or a table. Raises the kind's error."""
    if not isinstance(value, dict):
        raise kind.refusal(name, f"it holds {_named(value)} where a table of keys should be")
    return value


def _named(value: Any) -> str:
    names = {
        type(None): "nothing",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
    }
    return names.get(type(value), "something else")


def validated(value: Any, shape: type[T], name: str, kind: Kind) -> T:
    """The value as the pydantic shape (a model, a dataclass, a TypedDict) has it. Raises the kind's error."""
    from pydantic import ValidationError

    try:
        made: T = _adapter(cast("Hashable", shape)).validate_python(value)
        return made
    except ValidationError as error:
        mistakes = [
            f"{'.'.join(map(str, mistake['loc'])) or 'top level'}: {mistake['msg']}"
            for mistake in error.errors()
        ]
        raise kind.refusal(
            name, "; ".join(mistakes[:3]) + (f" (and {len(mistakes) - 3} more)" if mistakes[3:] else "")
        ) from None


@cache
def _adapter(shape: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(shape)


def _parsed(
    parse: Callable[[str], Any], content: str | bytes | bytearray, name: str, kind: Kind, format: str
) -> Any:
    text = _text(content, name, kind)
    try:
        value = parse(text)
        _check(value, kind)
    except _Unfit as error:
        raise kind.refusal(name, str(error)) from None
    except RecursionError:
        raise kind.refusal(name, _too_deep(kind)) from None
    except (
        ValueError,
        OverflowError,
    ) as error:  # also of a date that is none, and of a number of 5000 digits
        raise kind.refusal(name, f"not {format}: {error}") from None
    return value


def _too_deep(kind: Kind) -> str:
    return f"it is nested more than {kind.deepest} deep"


def _check(value: Any, kind: Kind) -> None:
    """Raise _Unfit for what would break those who walk, write or compute with the value."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
                if not all(isinstance(key, str) for key in item):
                    raise _Unfit("a key in it is not a text")
            elif isinstance(item, list):
                below.extend(item)
            else:
                _check_leaf(item, kind)
                continue
            if depth == kind.deepest:
                raise _Unfit(_too_deep(kind))
        level, depth = below, depth + 1


def _check_leaf(item: Any, kind: Kind) -> None:
    if isinstance(item, str):
        try:
            item.encode("utf-8", "surrogateescape" if kind.names_files else "strict")
        except UnicodeEncodeError:
            raise _Unfit(f"the text {item[:40]!a} holds half a character") from None
    elif isinstance(item, int) and item.bit_length() > LONGEST_NUMBER:
        raise _Unfit("a number in it has more than 308 digits")
