"""`vedit probe`: tell what is in a clip."""

from __future__ import annotations

import sys
from typing import Any

import click

from vedit.cli.common import complain, echo, examples, limit_option, print_json
from vedit.errors import PartialFailure, UsageError, VeditError, nearest

EXAMPLES = (
    ("vedit probe in.gif", "size, images, delays, palettes, metadata"),
    ("vedit probe -e images in.gif", "one value, for a script"),
    ("vedit probe --check *.gif", "decode everything; exit 1 when anything is damaged"),
)


@click.command(
    help=f"""Tell what is in GIFs and videos, without decoding them.

{examples(EXAMPLES)}"""
)
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per input.")
@click.option(
    "-e", "--entry", metavar="KEY", help="Print one value, such as width, images or palettes.local."
)
@click.option("--check", is_flag=True, help="Decode every image, and exit 1 when anything is damaged.")
@limit_option
def command(
    inputs: tuple[str, ...], as_json: bool, entry: str | None, check: bool, limits: tuple[str, ...]
) -> None:
    from vedit.jobs.media.probe import ProbeRequest, raise_if_damaged, run

    if not inputs:
        if sys.stdin.isatty():
            raise UsageError("no input named.", "", "Example: vedit probe in.gif")
        inputs = ("-",)
    found, failed = [], []
    for name, facts in run(ProbeRequest(inputs, check, limits)):
        if isinstance(facts, VeditError):
            if len(inputs) == 1:
                raise facts
            complain(facts)
            failed.append(name)
            continue
        found.append(facts)
        if as_json:
            print_json(facts)
        elif entry:
            echo(_plain(_entry(facts, entry)))
        else:
            echo(("\n" if len(found) > 1 else "") + _block(facts))
    if failed:
        raise PartialFailure(f"{len(failed)} of {len(inputs)} inputs could not be read: {', '.join(failed)}.")
    if check:
        raise_if_damaged(found)


def _entry(facts: dict[str, Any], path: str) -> Any:
    value: Any = facts
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            known = list(value) if isinstance(value, dict) else []
            raise UsageError(
                f"there is no entry {path!r}{nearest(key, known)}",
                f"There are: {', '.join(known)}." if known else "",
            )
        value = value[key]
    return value


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return " ".join(f"{key}={_plain(item)}" for key, item in value.items())
    return " ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def _block(facts: dict[str, Any]) -> str:
    """The aligned block a person reads; long lists are shortened."""
    lines = [facts["file"]]
    for key, value in facts.items():
        if key == "file" or value in ([], None, ""):
            continue
        lines.append(f"  {key:<15}{_short(key, value)}")
    return "\n".join(lines)


def _short(key: str, value: Any) -> str:
    if key == "loop":
        return "forever" if value == 0 else str(value)
    if isinstance(value, list):
        if len(set(map(str, value))) == 1 and len(value) > 1:
            return f"{value[0]} (all {len(value)})"
        text = [_plain(item) for item in value[:16]]
        return (
            " ".join(text) + (f" ... ({len(value)} in all)" if len(value) > 16 else "")
            if key in ("delays_cs", "disposals")
            else "; ".join(text)
        )
    return _plain(value)
