"""`vedit cache`: inversions kept between edits."""

from __future__ import annotations

import click

from vedit.cli.common import examples

EXAMPLES = (
    ("vedit cache list", "what is kept, newest first"),
    ("vedit cache clear", "remove all of it"),
)


@click.group(help="List and clear the inversions that edits keep.")
def command() -> None:
    pass


@command.command(
    "list",
    help=f"""List the inversions kept: key, size, prompt and model.

{examples(EXAMPLES[:1])}""",
)
def list_() -> None:
    from vedit.app.cache import entries

    total = 0
    for entry in entries():
        total += entry.size
        click.echo(f"{entry.key[:16]}  {entry.size / 2**20:8.1f} MiB  {entry.model}  {entry.prompt!r}")
    click.echo(f"{total / 2**20:.1f} MiB in all")


@command.command(
    help=f"""Remove the inversions kept; the next edit of a clip inverts it again.

{examples(EXAMPLES[1:])}"""
)
def clear() -> None:
    from vedit.app.cache import clear as clear_cache

    count, size = clear_cache()
    click.echo(f"removed {count} inversions, {size / 2**20:.1f} MiB")
