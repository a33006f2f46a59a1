"""`vedit batch`: many edits from a list, a matrix, an index or a folder."""

from __future__ import annotations

import click

from vedit.cli import LazyGroup

OWN = {
    "collect": "Write results.jsonl, failed.csv and index.toml anew.",
    "gallery": "Show what a batch made as a page.",
    "run": "Make what is open; what a call without a command does.",
    "status": "Tell how far a batch is.",
}


class BatchGroup(LazyGroup):
    """A group whose first word may be a list or an option: then it is `run`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.table and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=BatchGroup, table=OWN, modules={name: f"vedit.cli.batch_{name}" for name in OWN})
def command() -> None:
    """Make many edits: from a list, a matrix, an index or a folder, on several devices.

    vedit batch JOBS.csv -O OUT makes every row; the same call again goes on where it stopped. All
    options are those of vedit batch run.
    """
