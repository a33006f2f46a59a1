"""Words of strangers are shown, and command nothing."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from tests.conftest import vedit
from tests.random_gifs import nasty
from vedit.plain import json_text, plain

EVERY = "".join(map(chr, range(0x3000))) + "\ud800 \udcff \udfff\U0001f4a1\u52a8"


def test_nothing_that_unicode_calls_a_control_is_left_but_breaks_and_tabs() -> None:
    left = {
        char
        for char in plain(EVERY)
        if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(char) in ("RLO", "LRO", "RLE", "LRI", "RLI", "FSI", "PDF", "PDI")
    }
    assert left == {"\n", "\t"}
    plain(EVERY).encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("caf\udce9", "caf\\xe9"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("caf\u00e9 \u52a8\n", "caf\u00e9 \u52a8\n"),
    ],
)
def test_what_is_hidden_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_json_reads_back_and_holds_no_control() -> None:
    for indent in (None, 2):
        text = json_text({"text": EVERY}, indent=indent)
        assert json.loads(text) == {"text": EVERY}
        assert plain(text) == text
    assert json_text("\u00e9", is_ascii=True).isascii()


def test_a_comment_and_a_name_reach_no_terminal_raw(tmp_path: Path) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\x9b"
    clip = tmp_path / f"name{evil}.gif"
    clip.write_bytes(
        nasty.header(2, 2, nasty.FOUR)
        + nasty.comment(evil.encode())
        + nasty.image(2, 2, bytes(4))
        + nasty.END
    )
    for command in (
        ("probe",),
        ("probe", "--json"),
        ("probe", "-e", "comments"),
        ("gif", "rotate", "90", "--dry-run", "-o", "o.gif"),
        ("gif", "crop", "--left", "900"),
        ("gif", "nothing"),
    ):
        done = vedit(*command, clip)
        assert plain(done.text + done.err) == done.text + done.err, command
