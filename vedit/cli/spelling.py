"""How the command line spells the options that messages name; see `vedit.errors.option`."""

from __future__ import annotations

SHORT = {"output": "-o", "output_dir": "-O", "overwrite": "-y", "jobs": "-j"}  # as they are known best
SHORT_OFF = {"overwrite": "-n"}
OTHERS = {  # options that are called otherwise here
    "edited_dir": "edited",
    "folder": "out",
    "compiled": "compile",
    "settings": "set",
    "listing": "list",
    "limits": "limit",
    "raw_size": "size",
    "around": "color",
}


def on_command_line(name: str, value: object = None) -> str:
    """`--dtype bf16`, `-y`, `--no-metadata`, `--set 'blend_words=["WORD"]'`, `--limit canvas=0` for each of a
    list; without a value the option alone.
    """
    word = name.replace("-", "_")
    kind, dot, key = word.partition(".")
    if dot:
        return f"--{kind} {_quoted(f'{key}={_toml(value)}')}"
    word = OTHERS.get(word, word.removesuffix("_file"))
    if isinstance(value, (list, tuple)):
        return " ".join(on_command_line(name, item) for item in value)
    short = SHORT_OFF if value is False else SHORT
    flag = short.get(word) or f"--{'no-' if value is False else ''}{word.replace('_', '-')}"
    if value is None or isinstance(value, bool):
        return flag
    text = f"{value:g}" if isinstance(value, float) else str(value) or "''"
    return f"{flag}={text}" if text.startswith("--") else f"{flag} {text}"


def _toml(value: object) -> str:
    import json

    return (
        value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value)
    )


def _quoted(text: str) -> str:
    """As a shell takes it."""
    import shlex

    return shlex.quote(text)
