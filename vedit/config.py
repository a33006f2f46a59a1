"""The user's settings: a TOML file of defaults, one table per command.

    # ~/.config/vedit/config.toml
    [gif.resize]
    filter = "lanczos"

Precedence: option, environment (VEDIT_GIF_RESIZE_FILTER), --preset, this file, built-in default.
"""

from __future__ import annotations

import os
from typing import Any

from vedit.errors import UsageError


def config_folder() -> str:
    """Where vedit keeps settings and the user's presets: VEDIT_CONFIG_DIR, or the XDG place."""
    own = os.environ.get("VEDIT_CONFIG_DIR")
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return own or os.path.join(base, "vedit")


def user_config() -> dict[str, Any]:
    """The user's defaults by command and option; empty when there is no file."""
    path = os.path.join(config_folder(), "config.toml")
    if not os.path.exists(path):
        return {}
    import tomllib

    try:
        with open(path, "rb") as file:
            return _with_underscores(tomllib.load(file))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}.", "It holds a table per command, such as [gif.resize].") from None


def _with_underscores(table: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): _with_underscores(value) if isinstance(value, dict) else value for key, value in table.items()}
