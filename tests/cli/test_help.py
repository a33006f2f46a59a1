"""Help: every command has it, every option of the design is in it, and every word typed wrong gets the
nearest right one.
"""

from __future__ import annotations

import importlib
import re

import pytest

from tests.conftest import gif, vedit
from vedit import __version__
from vedit.cli import COMMANDS
from vedit.cli.gif import OWN

COMMON = (
    "--output --output-dir --in-place --suffix --overwrite --no-overwrite --jobs --quiet --verbose --dry-run"
    " --json --strict --info --limit --loop --strip --comment --palette --colors --dither"
)
OPTIONS = {  # every option that is promised, by command
    "gif resize": (
        "--size --width --height --scale --fit --fill --keep-aspect --no-keep-aspect --filter --only-shrink"
        " nearest box bilinear bicubic lanczos " + COMMON
    ),
    "gif crop": "--rect --left --right --top --bottom --centre --auto " + COMMON,
    "gif rotate": "0|90|180|270|-90 --flip --keep-interlace " + COMMON,
    "gif watermark": (
        "--text --font-size --opacity --position --color --margin --font --outline --outline-color --image"
        " --scale --frames top-left bottom-right center " + COMMON
    ),
    "gif adjust": "--brightness --contrast --saturation --gamma --pivot frame-mean " + COMMON,
    "gif speed": (
        "--any --delay --fps --duration --reverse --boomerang --min-delay --raw-delays --drop " + COMMON
    ),
    "gif metadata": "--loop --strip --comment --in-place",
    "gif chain": "--file --preset " + COMMON,
    "probe": "--json --entry --check",
}
EXACT = {
    "gif chain": ("-f", "-o", "-O", "-y", "-n", "-j", "-q", "-v"),
    "gif speed": ("-o", "-O", "-y", "-n", "-j", "-q", "-v"),
    "probe": ("-e",),
}


def help_of(command: str) -> str:
    done = vedit(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    return done.text


@pytest.mark.parametrize("command", OPTIONS)
def test_help_mentions_every_option_of_the_design(command: str) -> None:
    words = set(re.split(r"[\s,;:()\[\]/]+|(?<=[a-z])\|(?=[a-z])", help_of(command)))
    words = {word.rstrip(".") for word in words}
    assert [option for option in OPTIONS[command].split() if option not in words] == []
    assert [option for option in EXACT.get(command, ()) if option not in words] == []


@pytest.mark.parametrize(
    "command",
    [
        *(
            f"gif {name}"
            for name in (*OWN, "resize", "crop", "rotate", "watermark", "adjust", "speed", "metadata")
        ),
        *COMMANDS,
    ],
)
def test_every_command_has_help_with_a_summary(command: str) -> None:
    text = help_of(command)
    assert text.startswith("Usage: vedit ")
    assert len(text.splitlines()[2].strip()) > 20


@pytest.mark.parametrize(
    "name", ["resize", "crop", "rotate", "watermark", "adjust", "speed", "metadata", "chain"]
)
def test_every_gif_command_shows_examples(name: str) -> None:
    text = help_of(f"gif {name}")
    assert "Examples:" in text and f"vedit gif {name} " in text.partition("Examples:")[2]


def test_the_main_help_lists_every_command_of_the_table() -> None:
    text = help_of("")
    assert all(re.search(rf"^  {name} +\S", text, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_exists(name: str) -> None:
    assert importlib.import_module(f"vedit.cli.{name.replace('-', '_')}").command.name in (name, "command")


def test_the_version_is_that_of_the_package() -> None:
    for option in ("--version", "-V"):
        done = vedit(option)
        assert (done.code, done.text) == (0, f"vedit {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gfi"], "did you mean gif?"),
        (["gif", "rotat"], "did you mean rotate?"),
        (["gif", "speed", "2", "--dely", "3"], "--delay"),
        (["gif", "resize", "--filter", "nearst", "--width", "9"], "did you mean nearest?"),
        (["gif", "chain", "rotat:90"], "did you mean rotate?"),
    ],
)
def test_a_word_typed_wrong_gets_the_nearest_right_one(arguments: list[str], words: str) -> None:
    done = vedit(*arguments, *([gif("ok_1x1.gif")] if len(arguments) > 1 else []))
    assert (done.code, done.out) == (2, b"")
    assert words in done.err
