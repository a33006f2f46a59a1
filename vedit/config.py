"""The user's settings: a TOML file of defaults, one table per command.

    # ~/.config/vedit/config.toml
    [gif.resize]
    filter = "lanczos"

Precedence: option, environment (VEDIT_GIF_RESIZE_FILTER), --preset, this file, built-in default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from vedit.errors import UsageError


def config_file() -> str:
    return os.path.join(config_folder(), "config.toml")


def config_folder() -> str:
    """Where vedit keeps settings and the user's presets: VEDIT_CONFIG_DIR, or the XDG place."""
    own = os.environ.get("VEDIT_CONFIG_DIR")
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return own or os.path.join(base, "vedit")


def user_config() -> dict[str, Any]:
    """The user's defaults by command and option; empty when there is no file."""
    path = config_file()
    if not os.path.exists(path):
        return {}
    from vedit.documents import Kind, read_toml  # every start comes by, few with a file

    settings = Kind(
        "settings", UsageError, "They hold a table per command, such as [gif.resize].", largest=2**20
    )
    return _with_underscores(read_toml(path, settings))


class Defaults(dict[str, Any]):
    """The user's settings as click asks for them: the table of a command by `get`, the text of an option by
    its key.

    Raises UsageError for a value where a table should be, and for a table where a value should be.
    """

    def __init__(self, table: dict[str, Any], *where: str) -> None:
        super().__init__(table)
        self.where = where

    def get(self, name: str, default: Any = None) -> Defaults:
        key = name.replace("-", "_")
        return Defaults(section(self, key, inside=self.where), *self.where, key)

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if isinstance(value, dict):
            where = ".".join((*self.where, key))
            raise UsageError(
                f"{config_file()}: {where} is a table.", f"It is an option, and takes a value: {key} = ..."
            )
        return Typed(value if isinstance(value, list) else [value])


class Typed(str):
    """A value of TOML as it would be typed: a list with commas.

    Options that may be repeated go through its parts.
    """

    parts: list[str]

    def __new__(cls, values: list[Any]) -> Typed:
        parts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
        made = super().__new__(cls, ",".join(parts))
        made.parts = parts
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)


def section(table: dict[str, Any], *names: str, inside: tuple[str, ...] = ()) -> dict[str, Any]:
    """The table of a command in the user's settings, {} when there is none.

    Raises UsageError for what is not a table.
    """
    for place, name in enumerate(names, 1):
        found = dict.get(table, name, {})
        if not isinstance(found, dict):
            where = ".".join((*inside, *names[:place]))
            raise UsageError(
                f"{config_file()}: {where} = {found!r} is not a table.",
                f"The settings of a command stand under [{where}].",
            )
        table = found
    return table


def _with_underscores(table: dict[str, Any]) -> dict[str, Any]:
    return {
        key.replace("-", "_"): _with_underscores(value) if isinstance(value, dict) else value
        for key, value in table.items()
    }
