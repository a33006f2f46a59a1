"""`vedit score weights`: the published files that metrics read."""

from __future__ import annotations

import os

import click

from vedit.cli.common import echo, examples, print_json
from vedit.errors import CheckFailed, UsageError

EXAMPLES = (
    ("vedit score weights", "every file: size, licence, whether it is here, and for which metrics"),
    (
        "vedit score weights --check --weights ~/weights",
        "hash the files that are here, and compare with the published ones",
    ),
    ("vedit score weights --fetch clip_consistency", "download what a metric needs into the Hub cache"),
)


@click.command(
    help=f"""List the weights that metrics read: files, sizes, licences, and where they are looked for.

Nothing is downloaded without --fetch. Files are looked for as DIR/OWNER/REPO/FILE or DIR/REPO/FILE
under --weights DIR, then in the cache of the Hub.

{examples(EXAMPLES)}"""
)
@click.option(
    "--check",
    is_flag=True,
    help="Hash the files that are here; exit with 1 when one is not the published file.",
)
@click.option(
    "--fetch", multiple=True, metavar="METRIC", help="Download what a metric, a group or a network needs."
)
@click.option("--weights", metavar="DIR", help="Look for weights in this folder first.")
@click.option("--metrics", metavar="LIST", help="Show only what these metrics need.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(
    check: bool, fetch: tuple[str, ...], weights: str | None, metrics: str | None, as_json: bool
) -> None:
    from pathlib import Path

    from vedit.jobs.cache import folder
    from vedit.jobs.score.weights import fetch_weights, list_weights, towers_for, weights_text
    from vedit.metrics.towers.files import FILES, WeightFinder

    if weights and not os.path.isdir(weights):
        raise UsageError(f"--weights {weights}: there is no such folder.")
    finder = WeightFinder(
        Path(weights) if weights else None,
        Path(folder()).parent / "score",
        bool(os.environ.get("HF_HUB_OFFLINE")),
    )
    for word in fetch:
        for tower in towers_for(word):
            echo(f"{tower}: {fetch_weights(finder, tower)}", err=True)
    chosen = [tower for word in (metrics or "").split(",") if word for tower in towers_for(word)] or list(
        FILES
    )
    entries = list_weights(finder, dict.fromkeys(chosen), check=check)
    if as_json:
        print_json([entry.json() for entry in entries])
    else:
        echo(weights_text(entries, finder))
    if wrong := [entry for entry in entries if entry.is_published is False]:
        raise CheckFailed(
            f"{wrong[0].path}: its hash is not that of the published file.",
            "",
            "Remove it, and fetch it with: vedit score weights --fetch " + wrong[0].tower,
        )
