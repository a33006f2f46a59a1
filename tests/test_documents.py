"""One reader for all files of facts: bounded, and plain about what is wrong."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import TypedDict

from vedit import documents
from vedit.documents import Kind
from vedit.errors import InputError, UsageError

KIND = Kind("a list", UsageError, "It holds names.", "See: vedit --help", largest=4096)


def put(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", b"\xff", "byte 0 is not UTF-8 text"),
        ("a.json", b"[" * 2000, "nested more than 32 deep"),
        ("a.json", b"[" * 33 + b"]" * 33, "nested more than 32 deep"),
        ("a.json", b"9" * 3000, "more than 308 digits"),
        ("a.json", b"[" + b" " * 4096 + b"]", "larger than 4096 bytes"),
        ("a.json", b'["\\ud800"]', "half a character"),
        ("a.json", b'{"\\udcff": 1}', "half a character"),
        ("a.json", b"", "not JSON: Expecting value"),
        ("a.toml", b"a = " + b"[" * 2000, "nested more than 32 deep"),
        ("a.toml", b".".join([b"a"] * 40) + b" = 1", "nested more than 32 deep"),
        ("a.toml", b"[" + b".".join([b"a"] * 40) + b"]", "too many parents"),
        ("a.toml", b'[[ "a" . b.' + b".".join([b"'a'"] * 40) + b"]]", "too many parents"),
        ("a.toml", b"a = " + b"9" * 4000, "308 digits"),
        ("a.toml", b'a = "\xe9"', "byte 5 is not UTF-8 text"),
        ("a.toml", b"a", "not TOML: Expected '=' after a key"),
        ("a.yaml", b"a: &x [1]\nb: *x", "uses an alias (*x)"),
        ("a.yaml", b"&x [*x]", "uses an alias"),
        ("a.yaml", b"[" * 300, "nested more than 32 deep"),
        ("a.yaml", b"1: 2", "a key in it is not a text"),
        ("a.yaml", b"a: 2001-99-99", "not YAML: month must be in 1..12"),
        ("a.yaml", b"a: [", "not YAML:"),
        ("a.yaml", b"? [a]\n: b", "not YAML:"),
        ("a.yaml", b"a: !!python/name:os.system", "not YAML: could not determine a constructor"),
        ("a.csv", b"a,b\n1,2,3\n", "line 2 has 3 cells, and there are 2 columns"),
        ("a.csv", b"a,a\n1,2\n", "two columns are called 'a'"),
    ],
)  # fmt: skip
def test_a_document_that_is_not_right_is_refused_with_its_name_and_the_reason(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    read = {".json": documents.read_json, ".toml": documents.read_toml, ".yaml": documents.read_yaml}
    read[".csv"] = documents.read_table
    path = put(tmp_path, name, content)
    with pytest.raises(UsageError) as told:
        read[name[-5:] if name[-5] == "." else name[-4:]](path, KIND)
    assert str(told.value).startswith(f"{path}: not a list: ")
    assert why in told.value.what
    assert told.value.right == "It holds names."
    assert told.value.next_step == "See: vedit --help"


def test_what_is_right_is_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    assert documents.read_json(put(tmp_path, "a", b'\xef\xbb\xbf{"a": [1, "\xc3\xa9"]}'), KIND) == {
        "a": [1, "é"]
    }
    assert documents.read_toml(put(tmp_path, "b", b"\xef\xbb\xbf[a.b]\nc = [0.1, 0.2]"), KIND) == {
        "a": {"b": {"c": [0.1, 0.2]}}
    }
    assert documents.read_yaml(put(tmp_path, "c", "data:\n- a: é\n".encode()), KIND) == {"data": [{"a": "é"}]}
    table = 'a,b\n1,"2\u2028\n3"\n\n4\n'.encode()
    assert documents.read_table(put(tmp_path, "d", b"\xef\xbb\xbf" + table), KIND) == [
        {"a": "1", "b": "2\u2028\n3"},
        {"a": "4"},
    ]
    deepest: Any = []
    for _ in range(31):
        deepest = [deepest]
    assert documents.read_json(put(tmp_path, "e", json.dumps(deepest).encode()), KIND) == deepest


def test_lines_have_numbers_and_a_journal_loses_only_what_was_torn(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", '{"a": "\u2028"}\n\n{"b": 2}\n[3]\n{"c"'.encode())
    assert list(documents.whole_lines(path, KIND)) == [{"a": "\u2028"}, {"b": 2}]
    lines = documents.read_json_lines(path, KIND)
    assert [next(lines), next(lines)] == [(1, {"a": "\u2028"}), (3, {"b": 2})]
    with pytest.raises(
        UsageError, match=r"a\.jsonl: line 4: not a list: it holds a list where a table of keys should be"
    ):
        next(lines)


def test_what_never_ends_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="named pipe"):
        documents.read_json(tmp_path / "pipe", KIND)
    with pytest.raises(UsageError, match="larger than 4096 bytes"):
        documents.read_json("/dev/zero", KIND)
    with pytest.raises(UsageError, match="cannot read: is a directory"):
        documents.read_json(tmp_path, KIND)
    with pytest.raises(UsageError, match="cannot read: no such file or directory"):
        documents.read_json(tmp_path / "none", KIND)


def test_a_pipe_of_the_shell_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"[1]")
    os.close(writing)
    assert documents.read_json(f"/dev/fd/{reading}", KIND) == [1]
    os.close(reading)


def test_names_that_are_not_utf8_pass_where_they_may_stand() -> None:
    kind = Kind("a record", names_files=True)
    assert documents.parse_json(r'["a\udcff"]', "r", kind) == [os.fsdecode(b"a\xff")]
    with pytest.raises(InputError, match="half a character"):
        documents.parse_json(r'["\ud800"]', "r", kind)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@A1", "'=1", "''-", "\t=1", "a", "'a", "", "'"])
def test_no_cell_begins_like_a_formula_and_its_text_comes_back(text: str) -> None:
    written = documents.cell(text)
    assert written[:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert documents.uncell(written) == text
    assert written == text or written == "'" + text


def test_values_of_wrong_types_are_named_by_their_place() -> None:
    class Shape(TypedDict):
        a: dict[str, list[int]]

    assert documents.validated({"a": {"b": [1]}}, Shape, "f", KIND) == {"a": {"b": [1]}}
    with pytest.raises(UsageError, match=r"f: not a list: a\.b\.1: Input should be a valid integer"):
        documents.validated({"a": {"b": [1, "x"]}}, Shape, "f", KIND)


def test_the_worst_of_a_mebibyte_is_refused_within_a_second_or_two(tmp_path: Path) -> None:
    """Table names of 100 000 parts with as many keys below, and deep flows in YAML, take minutes in their
    parsers.
    """
    kind = Kind("a list", UsageError, largest=2**20)
    start = time.process_time()
    for read, content in (
        (
            documents.read_toml,
            b"[" + b"a." * 100_000 + b"a]\n" + b"".join(b"k%d=1\n" % number for number in range(90_000)),
        ),
        (documents.read_toml, b"a = " + b"{b = " * 150_000),
        (documents.read_yaml, b"[" * 1_000_000),
        (documents.read_yaml, b"- " * 500_000),
        (documents.read_json, b'{"a":' * 200_000),
    ):
        with pytest.raises(UsageError):
            read(put(tmp_path, "a", content), kind)
    assert time.process_time() - start < 4


def test_five_hundred_mutations_of_each_format_are_read_or_refused(tmp_path: Path) -> None:
    whole = {
        documents.parse_json: b'{"a": [1, -2.5e3, true, null, "\xc3\xa9\\u00e9"], "b": {"c": {}}}',
        documents.parse_toml: b'a = 1\n[b.c]\nd = [1, 2.5, "x"]\n[[e]]\nf = 1979-05-27T07:32:00Z\n',
        documents.parse_yaml: (
            b"data:\n- id: 1\n  edit: [{prompt: x}, {prompt: 'y'}]\n  at: 2001-01-01\n  b: !!binary aGk=\n"
        ),
    }
    tokens = (
        b"[" * 40,
        b"{",
        b"}",
        b"9" * 400,
        b"1e999",
        b"\xff",
        b"\0",
        b"\\ud800",
        b"*a",
        b"&a ",
        b"0x",
        b"!!int ",
        b"<<: ",
        b"\n",
        b'"',
    )
    rng = random.Random(7)
    read = refused = 0
    for parse, source in whole.items():
        for _ in range(500):
            damaged = bytearray(source)
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(len(damaged) + 1)
                damaged[at : at + rng.choice((0, 1, 5))] = rng.choice(
                    (*tokens, bytes([rng.randrange(256)]), b"")
                )
            try:
                json.dumps(parse(bytes(damaged), "f", KIND), default=str).encode()
                read += 1
            except UsageError:
                refused += 1
    assert read + refused == 1500
    assert read > 50 and refused > 500


def test_a_line_is_added_behind_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    documents.add_line(path, {"name": "a"})
    with path.open("ab") as file:
        file.write(b'{"name": "to')
    documents.add_line(path, {"name": "caf\xe9 \x1b"})
    assert list(documents.whole_lines(path, KIND)) == [{"name": "a"}, {"name": "caf\xe9 \x1b"}]
    assert path.read_bytes().count(b"\n") == 3 and b"\x1b" not in path.read_bytes()
