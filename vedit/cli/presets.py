"""`vedit presets`: list, show and save named settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from vedit import presets
from vedit.cli.common import complain, echo, examples, options, print_json
from vedit.documents import read_text
from vedit.errors import UsageError, VeditError

LIST_EXAMPLES = (
    ("vedit presets list", "every preset, with what it does"),
    ("vedit presets list --json", "one JSON object per preset"),
)
SHOW_EXAMPLES = (
    ("vedit presets show web-small", "its values, and where each comes from"),
    ("VEDIT_GIF_RESIZE_FILTER=lanczos vedit presets show web-small", "the same under another default"),
)
SAVE_EXAMPLES = (
    ('vedit presets save half "crop:left=10%; resize:scale=50%"', "keep a chain under a name"),
    (
        "vedit presets save tiny --from web-small --set resize.width=240",
        "change a value of another preset; its comments stay",
    ),
)
json_option = options(
    click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per preset.")
)


@click.group()
def command() -> None:
    """List, show and save presets: named settings in TOML files.

    Those that ship with vedit are read-only; your own lie in ~/.config/vedit/presets, and hide a
    shipped one of the same name. Run a chain preset with: vedit gif chain --preset NAME

    A file such as half.toml there holds the stages of a chain, each with its command's options:

    \b
    kind = "chain"
    summary = "Half the size, on the web."
    [[stage]]
    name = "resize"
    scale = "50%"
    [[stage]]
    name = "metadata"
    strip = "all"
    """


@command.command(
    "list",
    help=f"List every preset, with its kind and what it does.\n\n{examples(LIST_EXAMPLES)}",
    short_help="List every preset.",
)
@json_option
def list_presets(as_json: bool) -> None:
    rows = [_row(name, path) for name, path in presets.paths().items()]
    if as_json:
        for row in rows:
            print_json(row)
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        owner = "" if row["shipped"] else " (yours)"
        echo(f"{row['name']:<{width}}  {row['kind'] or '-':<6}  {row['summary'] or row['path']}{owner}")


def _row(name: str, path: str) -> dict[str, Any]:
    """One line of the list; a file with mistakes is named on standard error and listed all the same."""
    try:
        preset = presets.load(path)
    except VeditError as error:
        complain(error)
        return {
            "name": name,
            "kind": None,
            "summary": "has mistakes, see above",
            "path": path,
            "shipped": False,
        }
    return {
        "name": name,
        "kind": preset.kind,
        "summary": preset.summary,
        "path": path,
        "shipped": preset.is_shipped,
    }


@command.command(
    "show",
    help=f"""Show what a preset sets, as TOML, with the origin of each value.

The origin is the environment, the preset, the user config or the default, in this order of
precedence; an option given on the command line goes before them all. What is printed is itself a
preset. PRESET is a name or a TOML file. Of a preset for an editing method or for training its file
is shown.

{examples(SHOW_EXAMPLES)}""",
    short_help="Show the values of a preset and where each comes from.",
)
@click.argument("name", metavar="PRESET")
@json_option
def show_preset(name: str, as_json: bool) -> None:
    preset = presets.load(name)
    if preset.kind != "chain":
        _show_file(preset, as_json)
        return
    stages = presets.resolve_chain(preset.table)
    if as_json:
        shown = [
            {"name": stage, "options": {key: setting._asdict() for key, setting in settings.items()}}
            for stage, settings in stages
        ]
        print_json(
            {
                "name": preset.name,
                "kind": preset.kind,
                "summary": preset.summary,
                "path": preset.path,
                "stages": shown,
            }
        )
        return
    echo(f"# {preset.path}\n" + "\n".join(_show(preset, stages)))


def _show_file(preset: presets.Preset, as_json: bool) -> None:
    """What the file says; the defaults are listed by vedit edit --list-methods and vedit train --describe."""
    if as_json:
        print_json({"name": preset.name, "path": preset.path, **preset.table})
        return
    echo(f"# {preset.path}\n{read_text(preset.path, presets.PRESET)}", nl=False)


def _show(preset: presets.Preset, stages: list[tuple[str, dict[str, presets.Setting]]]) -> Iterator[str]:
    """The merged preset as lines of TOML, the origins as comments."""
    from tomlkit import item

    yield f"kind = {item(preset.kind).as_string()}"
    yield f"summary = {item(preset.summary).as_string()}"
    for stage, settings in stages:
        lines = {
            f"{key.replace('_', '-')} = {item(presets.as_value(setting.text)).as_string()}": setting.origin
            for key, setting in settings.items()
        }
        width = max(map(len, lines), default=0)
        yield f"\n[[stage]]\nname = {item(stage).as_string()}"
        yield from (f"{line:<{width}}  # {origin}" for line, origin in lines.items())


@command.command("save", help=f"""Save a chain, or a changed preset, as a preset of your own.

CHAIN is written as for vedit gif chain. The file goes to the folder presets beside your config
(VEDIT_CONFIG_DIR), and its path is printed. Nothing is written when there is a mistake in it.

{examples(SAVE_EXAMPLES)}""", short_help="Save a chain, or a changed preset, under a name.")  # fmt: skip
@click.argument("name", metavar="NAME")
@click.argument("chain", metavar="[CHAIN]", required=False)
@click.option(
    "--from",
    "source",
    metavar="PRESET",
    help="Start from this preset instead of a chain, keeping its comments.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="STAGE.OPTION=VALUE",
    help="Change or add an option of a stage, by its name or place; repeatable.",
)
@click.option("--summary", metavar="TEXT", help="One line that says what the preset does.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace your preset of that name.")
@click.option("-n", "--no-overwrite", "keep", is_flag=True, help="Never replace a preset, and never ask.")
def save_preset(
    name: str,
    chain: str | None,
    source: str | None,
    changes: tuple[str, ...],
    summary: str | None,
    overwrite: bool,
    keep: bool,
) -> None:
    if (chain is None) == (source is None):
        raise UsageError(
            "a preset is saved from a CHAIN or with --from PRESET, one of the two.",
            "",
            f"Example: {SAVE_EXAMPLES[0][0]}",
        )
    if overwrite and keep:
        raise UsageError("-y and -n were given together.", "Give one of them.")
    if source is not None:
        document = presets.document_of(presets.load(source, "chain"))
    else:
        from vedit.jobs.media.chain import parse_chain

        assert chain is not None
        document = presets.document_from(parse_chain(chain))
        document["summary"] = chain
    for setting in changes:
        presets.change(document, setting)
    if summary is not None:
        document["summary"] = summary
    echo(presets.save(name, document, True if overwrite else False if keep else None))
