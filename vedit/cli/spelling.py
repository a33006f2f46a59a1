"""How the command line spells the options that messages name; see `vedit.errors.option`."""

from __future__ import annotations

SHORT = {"output": "-o", "output_dir": "-O", "overwrite": "-y", "jobs": "-j"}  # as they are known best
OTHERS = {  # options that are called otherwise here
    "edited_dir": "edited",
    "folder": "out",
    "compiled": "compile",
    "settings": "set",
    "listing": "list",
}


def on_command_line(name: str, value: object = None) -> str:
    """`--dtype bf16`, `-y`, `--no-metadata`, `--set 'blend_words=["WORD"]'`; without a value the option
    alone.
    """
    word = name.replace("-", "_")
    kind, dot, key = word.partition(".")
    if dot:
        return f"--{kind} {_quoted(f'{key}={_toml(value)}')}"
    word = OTHERS.get(word, word)
    flag = SHORT.get(word) or f"--{'no-' if value is False else ''}{word.replace('_', '-')}"
    if value is None or isinstance(value, bool):
        return flag
    return f"{flag} {value:g}" if isinstance(value, float) else f"{flag} {value}"


def _toml(value: object) -> str:
    import json

    return (
        value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value)
    )


def _quoted(text: str) -> str:
    """As a shell takes it."""
    import shlex

    return shlex.quote(text)
