"""Command lines as text: quoting, one stage or a chain, files, presets, folders."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from vedit.jobs.media.chain import parse_chain, read_chain
from vedit.ui.commands import forms, posix, powershell

GIF = {"format": "gif"}


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("a.gif", "a.gif"),
        ("it's", "'it''s'"),
        ("a b", "'a b'"),
        ("a;b", "'a;b'"),
        ("$x", "'$x'"),
        ("`n", "'`n'"),
        ("a,b", "'a,b'"),  # bare it would be a list
        ("@x", "'@x'"),
        ("100%", "100%"),
        ("", "''"),
        ("it\u2019s", "'it\u2019\u2019s'"),  # PowerShell takes a typographic quote for a quote
        ("C:/x.gif", "C:/x.gif"),
    ],
)
def test_words_are_quoted_for_powershell(word: str, written: str) -> None:
    assert powershell([word]) == written


def test_words_are_quoted_for_a_shell() -> None:
    assert posix(["a.gif", "it's", "a b", ""]) == "a.gif 'it'\"'\"'s' 'a b' ''"


def test_one_stage_is_its_own_command_and_several_are_a_chain() -> None:
    one = forms(
        [("resize", {"width": "50", "only-shrink": "true"})], {**GIF, "colors": "64"}, "in.gif", "out.gif"
    )
    assert (
        one["command"]["posix"] == "vedit gif resize --width 50 --only-shrink --colors 64 in.gif -o out.gif"
    )
    two = forms([("rotate", {"angle": "90"}), ("speed", {"factor": "2"})], GIF, "in.gif", "out.gif")
    assert two["command"]["posix"] == "vedit gif chain 'rotate:angle=90; speed:factor=2' in.gif -o out.gif"


def test_switches_are_said_both_ways() -> None:
    for text, word in (("true", "--keep-aspect"), ("false", "--no-keep-aspect")):
        written = forms([("resize", {"size": "9x9", "keep-aspect": text})], GIF, "in.gif", "out.gif")
        assert f" {word} " in written["command"]["posix"]


def test_a_value_that_begins_with_a_dash_is_no_option() -> None:
    written = forms([("metadata", {"comment": "-o x"})], GIF, "-in.gif", "out.gif")
    assert written["command"]["posix"] == "vedit gif metadata '--comment=-o x' ./-in.gif -o out.gif"


def test_a_stage_that_hides_an_option_of_the_result_is_a_chain() -> None:
    """`speed --duration` is the length of the result, the result's own the part that is taken."""
    written = forms([("speed", {"duration": "2"})], {**GIF, "duration": "1"}, "in.gif", "out.gif")
    assert written["command"]["posix"] == "vedit gif chain speed:duration=2 --duration 1 in.gif -o out.gif"


def test_no_stage_is_the_command_that_changes_nothing() -> None:
    assert forms([], GIF, "in.gif", "out.gif")["command"]["posix"] == "vedit gif metadata in.gif -o out.gif"


def test_a_text_of_several_lines_stays_on_the_line() -> None:
    written = forms([("watermark", {"text": "one\ntwo"})], GIF, "in.gif", "out.gif")["command"]
    assert "\n" not in written["posix"] and "'one\\ntwo'" in written["posix"]


def test_steps_and_presets_hold_the_same_chain(tmp_path: Path) -> None:
    chain = [("watermark", {"text": 'it\'s "a; b"', "font-size": "12"}), ("rotate", {"angle": "90"})]
    written = forms(chain, GIF, "in.gif", "out.gif")
    (tmp_path / "steps.txt").write_text(written["file"]["text"], encoding="utf-8")
    assert read_chain(str(tmp_path / "steps.txt")) == chain
    table = tomllib.loads(written["preset"]["text"])
    assert table["stage"][0] == {"name": "watermark", "text": 'it\'s "a; b"', "font-size": 12}
    assert written["preset"]["posix"].split()[3:5] == ["--preset", "my-preset"]


def test_powershell_gets_a_chain_without_double_quotes() -> None:
    """Older ones lose them on the way to a program."""
    written = forms([("watermark", {"text": "it's, me"}), ("rotate", {"angle": "90"})], GIF, "a.gif", "b.gif")
    line = written["command"]["powershell"]
    chain = line.split("'", 1)[1].rpartition("'")[0].replace("''", "'")
    assert '"' not in line or "'" in line
    assert parse_chain(chain)[0] == ("watermark", {"text": "it's, me"})


def test_films_become_gifs_in_a_folder_too() -> None:
    chain = [("rotate", {"angle": "90"})]
    assert forms(chain, GIF, "in.mp4", "out.gif")["folder"]["posix"].endswith(" clips -O done --to gif")
    assert forms(chain, GIF, "in.gif", "out.gif")["folder"]["posix"].endswith(" clips -O done")
