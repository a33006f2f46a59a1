"""Limits: what they stop, what they say, and how they are set."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedit.errors import LimitError, UsageError
from vedit.media.limits import Limits, environment_limits, parse_limits, short_number


def test_the_defaults_are_those_of_the_design() -> None:
    assert Limits() == (
        100_000_000,
        100_000_000,
        20_000_000_000,
        100_000,
        16_000_000,
        3_000,
        1_000_000,
        20_000_000_000,
        4_000_000_000,
    )


@pytest.mark.parametrize("key", Limits._fields[:-1])
def test_a_limit_admits_its_value_and_stops_one_more(key: str) -> None:
    limits = Limits()._replace(**{key: 1000})
    limits.check(key, 1000, "a thing")
    with pytest.raises(LimitError, match=f"a thing is over the limit of 1k for {key}"):
        limits.check(key, 1001, "a thing")
    limits._replace(**{key: 0}).check(key, 10**15, "a thing")


def test_the_limit_that_the_message_names_admits_the_file() -> None:
    for value in (100_000_001, 4_294_836_225, 123_456_789_000, 999_999_999):
        with pytest.raises(LimitError) as caught:
            Limits(canvas=1).check("canvas", value, "x")
        setting = caught.value.next_step.partition("--limit ")[2].partition(" ")[0]
        parse_limits([setting]).check("canvas", value, "x")


def test_expansion_is_looked_at_only_once_a_billion_pixels_are_passed() -> None:
    Limits().check_expansion(10**9, 1)
    Limits().check_expansion(2 * 10**9, 700_000)
    with pytest.raises(LimitError, match="--limit expansion=0"):
        Limits().check_expansion(2 * 10**9, 199_999)
    Limits(expansion=0).check_expansion(10**12, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("canvas=200M", 200_000_000),
        ("canvas=2G", 2 * 10**9),
        ("canvas=3k", 3000),
        ("canvas=77", 77),
        ("canvas=0", 0),
    ],
)
def test_settings_are_read_with_units(text: str, value: int) -> None:
    assert parse_limits([text]) == Limits(canvas=value)


def test_later_settings_win_and_others_stay() -> None:
    assert parse_limits(["image=5", "image=6", "images=7"], Limits(total=1)) == Limits(
        image=6, images=7, total=1
    )


@pytest.mark.parametrize(
    "text",
    [
        "canvas",
        "canvas=",
        "canvas=-1",
        "canvas=1.5M",
        "canvas=M",
        "width=3",
        "=3",
        "canvas=\N{SUPERSCRIPT TWO}",
    ],
)
def test_a_wrong_setting_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="--limit canvas=200M"):
        parse_limits([text])


def test_the_environment_names_a_file_of_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "limits.toml").write_text("canvas = 5\nimages = 6\n")
    monkeypatch.setenv("VEDIT_LIMITS", str(tmp_path / "limits.toml"))
    assert environment_limits() == Limits(canvas=5, images=6)


@pytest.mark.parametrize(
    "content",
    [
        b"canvas = ",
        b"breadth = 3",
        b"canvas = 'wide'",
        b"canvas = -3",
        b"canvas = '\xff'",
        b"canvas = [1]",
        b"a = " + b"[" * 9999,
        b"canvas = " + b"9" * 4000,
        b"canvas = '" + b"9" * 9000 + b"'",
    ],
)
def test_a_wrong_file_of_limits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "limits.toml").write_bytes(content)
    monkeypatch.setenv("VEDIT_LIMITS", str(tmp_path / "limits.toml"))
    with pytest.raises(UsageError):
        environment_limits()


def test_a_missing_file_of_limits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDIT_LIMITS", "/no/such/limits.toml")
    with pytest.raises(UsageError, match=r"limits\.toml: cannot read(.|\n)*VEDIT_LIMITS"):
        environment_limits()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (100_000_000, "100M"),
        (20_000_000_000, "20G"),
        (1_500_000, "1.5M"),
    ],
)
def test_numbers_are_shown_short(value: int, shown: str) -> None:
    assert short_number(value) == shown
