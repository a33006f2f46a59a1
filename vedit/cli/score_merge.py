"""`vedit score merge`: reports of parts of a suite as one."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples

EXAMPLES = (
    ("vedit score merge part1.json part2.json -o all.json", "a suite that two machines scored"),
    ("vedit score merge s0.json s1.json s2.json --seeds -o all.json", "one method under three seeds"),
    ("vedit score merge cheap.json clip.json -o all.json", "the same videos, scored with other metrics"),
)


@click.command(
    help=f"""Make one report of several.

The reports are of one method: parts of its videos, or its videos under other metrics, or both. A
number that two reports hold must be the same in both, and reports made with other options,
versions or weights are refused.

{examples(EXAMPLES)}"""
)
@click.argument("reports", nargs=-1, required=True, metavar="REPORT.json...")
@click.option("--name", metavar="TEXT", help="Name of the method; needed where the reports have several.")
@click.option(
    "--seeds",
    is_flag=True,
    help="The reports are of several seeds: edits are called EDIT@SEED, and count as edits of their video.",
)
@click.option(
    "--force", is_flag=True, help="Merge reports that were computed differently; the report says so."
)
@click.option("-o", "--output", metavar="FILE", help="Write here instead of to standard output.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace the output if it exists.")
def command(**given: Any) -> None:
    from vedit.jobs.score.reports import merge_reports
    from vedit.jobs.score.request import MergeRequest

    merge_reports(MergeRequest(**given))
