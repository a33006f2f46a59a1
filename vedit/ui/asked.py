"""Requests as they come in: their fields, read or refused, and how a refusal is said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vedit.errors import InputError, OutputError, UsageError
from vedit.ui.controls import Spec

Args = Mapping[str, Any]
Answer = dict[str, Any]


class NotUnderstood(UsageError):
    """A request is not as `protocol` has it."""


class Missing(InputError):
    """There is no source, result, frame or preset of that name."""


class InTheWay(OutputError):
    """Something exists already, or is not ready yet."""


class NoRoom(OutputError):
    """The disk is full."""


def problem(text: str, code: int, stage: int | None = None, option: str | None = None) -> Answer:
    """An ERROR of the protocol."""
    return {"text": text, "stage": stage, "option": option, "code": code}


def shown_name(name: str) -> str:
    """The last part of a file's name, without what could be mistaken for more than a name."""
    base = re.split(r"[/\\]", name)[-1]
    base = "".join(char for char in base if char.isprintable())[-120:].strip()
    return base if base not in ("", ".", "..") else "clip"


def text_of(args: Args, key: str) -> str:
    value = args.get(key)
    if not isinstance(value, str):
        raise NotUnderstood(f"{key}: expected a text.")
    return value


def page_of(args: Args) -> str:
    page = args.get("page", "")
    if not isinstance(page, str) or len(page) > 40:
        raise NotUnderstood("page: expected a text of up to 40 characters.")
    return page


def texts_of(args: Args, key: str) -> dict[str, str]:
    """A table of texts."""
    table = {} if args.get(key) is None else args[key]
    if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
        raise NotUnderstood(f"{key}: expected texts by name.")
    return table


def chain_of(args: Args) -> list[Spec]:
    """The chain of a request."""
    chain = args.get("chain")
    if not isinstance(chain, list) or len(chain) > 100:
        raise NotUnderstood("chain: expected a list of at most 100 stages.")
    found = []
    for spec in chain:
        if not isinstance(spec, (list, tuple)) or len(spec) != 2 or not isinstance(spec[0], str):
            raise NotUnderstood("chain: expected [stage, options] for each stage.")
        found.append((spec[0], texts_of({"options": spec[1]}, "options")))
    return found
