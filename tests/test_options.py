"""Options as data: what a field declares decides what is right and what help shows."""

from __future__ import annotations

from dataclasses import dataclass

import click
import pytest

from vedit.cli.common import declared_options
from vedit.options import declared, declared_in, mistakes


@dataclass(frozen=True, kw_only=True)
class Some:
    net: str = declared("Which net.", "alex", choices=("alex", "vgg"))
    share: float | None = declared("How much.", metavar="X", kind=float, low=0, high=1)
    count: int | None = declared("How many.", kind=int, low=1)
    fast: bool = declared("Hurry.", False, kind=bool)
    mask: tuple[str, ...] = declared("Where.", (), is_repeated=True)
    other: int = 3


def test_only_declared_fields_are_options_in_the_order_of_the_text() -> None:
    assert list(declared_in(Some)) == ["net", "share", "count", "fast", "mask"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, []),
        ({"share": 1, "mask": ("a", "b"), "fast": True}, []),
        ({"net": "squeeze"}, ["net: 'squeeze' is not one of alex, vgg."]),
        ({"share": 1.5}, ["share: 1.5 is not from 0 to 1."]),
        ({"count": 0}, ["count: 0 is not 1 or more."]),
        ({"count": True}, ["count: True is not a whole number."]),
        ({"mask": ("a", 3)}, ["mask: 3 is not a text."]),
        ({"fast": 1, "share": "x"}, ["share: 'x' is not a number.", "fast: 1 is not true or false."]),
    ],
)
def test_wrong_values_are_told_with_their_key(values: dict[str, object], said: list[str]) -> None:
    assert mistakes(Some(**values)) == said  # type: ignore[arg-type]


def test_the_command_line_reads_what_the_fields_declare() -> None:
    @click.command()
    @declared_options(Some)
    def command(**given: object) -> None:
        click.echo(sorted(given.items(), key=lambda item: item[0]))

    from click.testing import CliRunner

    made = CliRunner().invoke(command, ["--net", "vgg", "--share", "0.5", "--mask", "a", "--mask", "b"])
    assert (
        made.output
        == "[('count', None), ('fast', False), ('mask', ('a', 'b')), ('net', 'vgg'), ('share', 0.5)]\n"
    )
    assert CliRunner().invoke(command, ["--share", "2"]).exit_code == 2
