"""`vedit suite show`: what a suite does."""

from __future__ import annotations

import click

from vedit.cli.common import echo, examples, print_json

EXAMPLES = (
    ("vedit suite show shapes", "its clips, runs, scores and tables"),
    ("vedit suite show shapes --file > mine.toml", "the file to change and run: vedit suite run mine.toml"),
)


@click.command(
    help=f"""Print what a suite does.

{examples(EXAMPLES)}"""
)
@click.argument("suite", metavar="NAME|FILE.toml")
@click.option("--file", "as_file", is_flag=True, help="Print its file as it is.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(suite: str, as_file: bool, as_json: bool) -> None:
    from vedit.jobs.suite.run import definition, file_of

    if as_file:
        with open(file_of(suite), encoding="utf-8") as file:
            echo(file.read(), nl=False)
        return
    table = definition(suite)
    if as_json:
        print_json(table)
        return
    echo(str(table.get("summary", "")))
    clips = table.get("clips", {})
    echo("clips: " + ", ".join(f"{key} {value}" for key, value in clips.items() if key != "names"))
    if "names" in clips:
        echo(f"  {', '.join(clips['names'])}")
    for run in table["run"]:
        rest = ", ".join(f"{key} {value}" for key, value in run.items() if key not in ("label", "method"))
        echo(f"run {run['label']}: {run['method']}{', ' + rest if rest else ''}")
    for entry in table.get("table", []):
        of = entry.get("runs", entry.get("videos", []))
        by = "by video of " if "videos" in entry else "of "
        echo(f"table {entry['id']}: {by}{', '.join(of)}")
    for entry in table.get("compare", []):
        echo(f"comparison: {' and '.join(entry['runs'])}")
