"""The report options that score commands share: --json, --csv, --md, --latex, --html."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vedit.cli.common import echo

FORMS = ("json", "csv", "md", "latex", "html")


def check_outputs(outputs: Mapping[str, Any], inputs: Sequence[str]) -> None:
    """Refuse outputs that exist or clash, before any work is done."""
    from vedit.media.atomic import check_output, refuse_twice

    named = [(f"--{form}", outputs[f"{form}_file"]) for form in FORMS if outputs[f"{form}_file"]]
    refuse_twice(named)
    for _, path in named:
        check_output(path, tuple(inputs), True if outputs["overwrite"] else None)


def write_outputs(outputs: Mapping[str, Any], makers: Mapping[str, Callable[[], str]], text: Callable[[], str]) -> None:
    """Write each form that was asked for; the text table goes to standard output unless a form goes there."""
    from vedit.media.atomic import open_output

    asked = {form: outputs[f"{form}_file"] for form in FORMS if outputs[f"{form}_file"]}
    for form, path in asked.items():
        with open_output(path) as stream:
            stream.write(makers[form]().encode("utf-8", "backslashreplace"))
    if "-" not in asked.values():
        echo(text(), nl=False)
