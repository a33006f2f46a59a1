from __future__ import annotations

import pytest

from vedit.secrecy import HIDDEN, address, without, without_login, without_values


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("https://u:p@hub.invalid/x", "https://***@hub.invalid/x"),
        ("https://u:p@ss@hub.invalid", "https://***@hub.invalid"),
        ("u:p@proxy:3128", "***@proxy:3128"),
        ("socks5://token@proxy", "socks5://***@proxy"),
        ("https://hub.invalid/a?token=t", "https://hub.invalid/a"),
        ("https://hub.invalid:8443", "https://hub.invalid:8443"),
    ],
)
def test_an_address_shows_neither_login_nor_query(text: str, wanted: str) -> None:
    assert address(text) == wanted


def test_a_sentence_shows_no_login_and_keeps_everything_else() -> None:
    assert (
        without_login("at https://u:p@h/x and me@example.org: https://h/y")
        == "at https://***@h/x and me@example.org: https://h/y"
    )


def test_a_secret_is_hidden_wherever_it_stands_in_a_value() -> None:
    value = {"a": ["sk-1 sk-1", 2, None], "sk-1": {"b": "x"}}
    assert without(value, "sk-1") == {"a": ["*** ***", 2, None], HIDDEN: {"b": "x"}}
    assert without(value, "") == value


def test_fields_called_a_key_are_written_down_without_their_value() -> None:
    fields = {"api_key": "1", "Authorization": "2", "seconds": "4", "password": "3"}
    assert without_values(fields) == {
        "api_key": HIDDEN,
        "Authorization": HIDDEN,
        "seconds": "4",
        "password": HIDDEN,
    }
