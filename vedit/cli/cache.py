"""`vedit cache`: what is kept between edits and between scores."""

from __future__ import annotations

import click

from vedit.cli.common import echo, examples

EXAMPLES = (
    ("vedit cache list", "what is kept, newest first"),
    ("vedit cache clear", "remove all of it"),
)


@click.group(help="List and clear what edits and scores keep for the next time.")
def command() -> None:
    pass


@command.command(
    "list",
    help=f"""List the inversions kept: key, size, prompt and model; and how much vedit score --cache keeps.

{examples(EXAMPLES[:1])}""",
)
def list_() -> None:
    from vedit.jobs.cache import entries, features, flows, unfinished, unfinished_work, words

    total = 0
    for entry in entries():
        total += entry.size
        echo(f"{entry.key[:16]}  {entry.size / 2**20:8.1f} MiB  {entry.model}  {entry.prompt!r}")
    sizes = [size for _, size in features()]
    if sizes:
        echo(f"features of vedit score  {sum(sizes) / 2**20:8.1f} MiB  in {len(sizes)} files")
    written = {name: [size for _, size in files] for name, files in words().items() if files}
    for name, of_it in written.items():
        echo(f"{name}  {sum(of_it) / 2**20:8.1f} MiB  in {len(of_it)} files")
    moving = [size for _, size in flows()]
    if moving:
        echo(f"motion of clips  {sum(moving) / 2**20:8.1f} MiB  in {len(moving)} files")
    parts = [size for _, size in unfinished()]
    if parts:
        echo(f"left by calls that were killed  {sum(parts) / 2**20:8.1f} MiB  in {len(parts)} files")
    works = [work.size for work in unfinished_work() if work.size]
    if works:
        echo(
            f"unfinished edits and inversions  {sum(works) / 2**20:8.1f} MiB  of {len(works)}; the same call"
            " goes on from there"
        )
    total += sum(map(sum, (*written.values(), sizes, moving, parts, works)))
    echo(f"{total / 2**20:.1f} MiB in all")


@command.command(
    help=f"""Remove what is kept; the next edit of a clip inverts it again, the next score
computes its features again.

{examples(EXAMPLES[1:])}"""
)
def clear() -> None:
    from vedit.jobs.cache import clear as clear_cache

    removed = clear_cache()
    killed = f", {removed.parts} files of calls that were killed" if removed.parts else ""
    written = f", {removed.words} prompts, captions and answers" if removed.words else ""
    moving = f", {removed.flows} flows of clips" if removed.flows else ""
    works = f", {removed.works} unfinished edits and inversions" if removed.works else ""
    echo(
        f"removed {removed.inversions} inversions and {removed.features} files of features"
        f"{written}{moving}{killed}{works}, {removed.size / 2**20:.1f} MiB"
    )
