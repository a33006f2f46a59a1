"""`vedit score compare`: two reports, video by video."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import echo, examples

EXAMPLES = (
    ("vedit score compare glp.json p2p.json", "which differences hold up over the videos"),
    (
        "vedit score compare glp.json p2p.json --metrics clip_consistency,motion_alignment --latex table.tex",
        "two metrics, as a LaTeX table too",
    ),
)


@click.command(
    help=f"""Compare two methods on the same videos.

A.json and B.json are reports of vedit score (--json), or CSV files with video_id, edit_id and one
column per metric. Edits are paired by video_id and edit_id. The interval of the mean difference
is a bootstrap over videos, each with all its edits; the sign test and Wilcoxon's signed-rank test
take each video's mean difference; Holm's correction covers the metrics shown. The verdict is a
name only when the interval excludes 0, the corrected p-value is below 0.05, and the difference
is larger than the metric's own rounding. Reports made with other options, versions or weights
are refused.

{examples(EXAMPLES)}"""
)
@click.argument("a", metavar="A.json")
@click.argument("b", metavar="B.json")
@click.option(
    "--metrics", metavar="LIST", help="Metrics to show and to correct over; all that both hold by default."
)
@click.option(
    "--force", is_flag=True, help="Compare reports that were computed differently; the table says so."
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the bootstrap.")
@click.option(
    "--json", "json_file", metavar="FILE", help="Write the comparison as JSON; - is standard output."
)
@click.option("--csv", "csv_file", metavar="FILE", help="Write the table as CSV.")
@click.option("--md", "md_file", metavar="FILE", help="Write the table as Markdown.")
@click.option("--latex", "latex_file", metavar="FILE", help="Write the table as LaTeX.")
@click.option("--html", "html_file", metavar="FILE", help="Write the table as a page.")
@click.option("--standalone", is_flag=True, help="Make the LaTeX a document that compiles alone.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
def command(**given: Any) -> None:
    from vedit.jobs.score.reports import compare_reports
    from vedit.jobs.score.request import CompareRequest

    request = CompareRequest(**given)
    text = compare_reports(request)
    if not request.takes_stdout:
        echo(text, nl=False)
