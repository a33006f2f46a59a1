"""`vedit batch collect`: the reports of a batch anew, and those of several folders as one."""

from __future__ import annotations

import click

from vedit.cli.common import complain, examples
from vedit.errors import UsageError

EXAMPLES = (
    ("vedit batch collect out", "results.jsonl, failed.csv and index.toml of what lies there now"),
    ("vedit batch collect part1 part2 -O out", "bring what several machines made into one folder"),
)


@click.command(
    help=f"""Write results.jsonl, failed.csv and index.toml of a batch anew.

With -O, what lies in several folders of one batch (see --shard) is brought into one, as links
or copies.

{examples(EXAMPLES)}"""
)
@click.argument("folders", nargs=-1, metavar="DIR...")
@click.option(
    "-O", "--output-dir", "out", metavar="DIR", help="Bring the outputs of the folders into this one."
)
def command(folders: tuple[str, ...], out: str | None) -> None:
    if not folders or (len(folders) > 1 and out is None):
        missing = "a folder of a batch" if not folders else f"-O DIR for {len(folders)} folders"
        raise UsageError(f"collect needs {missing}.", "", f"Example: {EXAMPLES[bool(folders)][0]}")
    from vedit.jobs.batch.status import collect, merge

    plan = collect(folders[0]) if out is None else merge(folders, out)
    complain(f"{plan.state.out}: {len(plan.done)} done, {len(plan.failed)} failed")
