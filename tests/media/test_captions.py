"""Captions are read as players read them, and files that are none are refused by name and line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vedit.errors import InputError
from vedit.media import captions
from vedit.media.captions import Caption, read_captions

S = Fraction


def read(tmp_path: Path, text: str | bytes) -> tuple[Caption, ...]:
    path = tmp_path / "words"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_captions(str(path), warned.append)


warned: list[str] = []


@pytest.fixture(autouse=True)
def nothing_is_said() -> None:
    warned.clear()


BLOCK = "00:00:01,250 --> 00:01:02,5\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"1\n{BLOCK}one\ntwo\n\n", "one\ntwo"),
        (f"\ufeff1\r\n{BLOCK}".replace("\n", "\r\n") + "one\r\n", "one"),
        (f"7\r{BLOCK}one\r".replace("\n", "\r"), "one"),
        (f"1\n{BLOCK}<i>one</i> <font color=red>x</font> {{\\an8}}2 < 3\n", "one x 2 < 3"),
        (f"WEBVTT\n\nNOTE hi\n\n{BLOCK[:-1]} line:0\n<v Ann>a &amp; b</v> <00:00:02.000>c\n", "a & b c"),
        (f"1\n{BLOCK}bell \x07 and tab\tx\x1b[31m\n", "bell  and tab    x[31m"),
    ],
)
def test_blocks_give_their_words_without_markup(text: str, words: str, tmp_path: Path) -> None:
    assert read(tmp_path, text) == (Caption(S(5, 4), S(125, 2), words),)


def test_blocks_without_an_empty_line_between_them_are_told_apart(tmp_path: Path) -> None:
    text = "1\n00:01.0 --> 00:02.0\none\n2\n00:02.0 --> 00:03.0\ntwo 2\n3\n00:03.0 --> 00:04.0\n\nnot shown\n"
    assert [caption.text for caption in read(tmp_path, text)] == ["one", "two 2"]


def test_the_dialogue_of_a_script_is_read_without_styles_and_drawings(tmp_path: Path) -> None:
    script = (
        "[Script Info]\n[V4+ Styles]\nFormat: Name\nStyle: Dialogue\n[Events]\n"
        "Format: Layer, Start, End, Style, Text\n"
        "Comment: 0,0:00:00.00,0:00:01.00,Default,no\n"
        "Dialogue: 0,0:00:02.50,0:01:00.00,Default,{\\i1}Well{\\i0}, yes\\Nno\\h!\n"
        "Dialogue: 0,0:00:01.00,0:00:02.00,Default,first\n"
        "Dialogue: 0,0:00:01.00,0:00:02.00,Default,{\\an7\\p1}m 0 0 l 9 9{\\p0}\n"
    )
    assert read(tmp_path, script) == (
        Caption(S(1), S(2), "first"),
        Caption(S(5, 2), S(60), "Well, yes\nno !"),
    )


@pytest.mark.parametrize(
    ("data", "told"), [("é".encode("utf-16"), 0), ("é".encode("cp1252"), 1), ("é".encode(), 0)]
)
def test_letters_of_other_encodings_are_read_and_told(data: bytes, told: int, tmp_path: Path) -> None:
    name = "utf-16" if data.startswith(b"\xff\xfe") else "latin-1"
    block = f"1\n{BLOCK}".encode("utf-16" if name == "utf-16" else "ascii")
    words = data[2:] if name == "utf-16" else data
    assert [caption.text for caption in read(tmp_path, block + words)] == ["é"]
    assert len(warned) == told


def test_texts_that_no_moment_belongs_to_are_left_out_and_counted(tmp_path: Path) -> None:
    text = "1\n00:02.0 --> 00:01.0\na\n\n2\n00:01.0 --> 00:01.0\nb\n\n3\n00:01.0 --> 00:02.0\nc\n"
    assert [caption.text for caption in read(tmp_path, text)] == ["c"]
    assert len(warned) == 1 and warned[0].startswith("2 of the captions")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<!DOCTYPE html><!-- x --><p>hi</p>", "line 1 is not a pair of times"),
        ("<p>hi</p>", "line 1 is not times and words"),
        ("1\n00:00:01,000 --> later\nx\n", "line 2"),
        ("1\n999999999999:00:00,0 --> 9999999999999:00:00,0\nx\n", "line 2 has a time that is none"),
        ("1\n00:01.0 --> 00:02.0\n" + "x" * 2001, "2001 letters"),
        (b"\0" * 40, "not text"),
        (b"\xff\xfe\x00", "not text"),
        ("".join(f"{n}\n00:01.0 --> 00:02.{n:02}\nx\n\n" for n in range(20)), "more than 16 texts at once"),
        ("WEBVTT\n\n00:01.0 --> 00:02.0\n<b></b>\n", "no words"),
    ],
)
def test_files_that_are_no_captions_are_refused(text: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert words in str(refused.value) and "words" in str(refused.value)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "LARGEST", 100)
    with pytest.raises(InputError, match="too large"):
        read(tmp_path, f"1\n{BLOCK}" + "x" * 100)


def test_unclosed_tags_cost_no_more_than_others(tmp_path: Path) -> None:
    text = "".join(f"{n}\n00:{n % 60:02}.0 --> 00:{n % 60:02}.5\n{'<a' * 900}\n\n" for n in range(60))
    assert len(read(tmp_path, text)) == 60
