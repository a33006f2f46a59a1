"""`vedit score compare`: reports against each other, video by video."""

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
    ("vedit score compare glp.json p2p.json pnp.json --html c.html", "every pair of three, and their ranks"),
)


@click.command(
    help=f"""Compare methods on the same videos.

Reports are JSON of vedit score (--json), or CSV files with video_id, edit_id and one column per
metric. Edits are paired by video_id and edit_id. The interval of the mean difference
is a bootstrap over videos, each with all its edits; the sign test and Wilcoxon's signed-rank test
take each video's mean difference; Holm's correction covers the metrics shown, and with more than
two reports all their pairs together, beside which their ranks are shown. The verdict is a name
only when the interval excludes 0, the corrected p-value is below 0.05, and the difference is
larger than the metric's own rounding. The last columns say how large the difference is beside
its spread, and from how many videos one as large would get a verdict. Reports made with
other options, versions or weights are refused.

{examples(EXAMPLES)}"""
)
@click.argument("reports", nargs=-1, required=True, metavar="A.json B.json...")
@click.option(
    "--metrics",
    metavar="LIST",
    help="Metrics and groups to show and to correct over, -NAME removes; all that are shared by default.",
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
@click.option("--svg", "svg_file", metavar="FILE", help="Write the forest plots as an SVG picture.")
@click.option("--standalone", is_flag=True, help="Make the LaTeX a document that compiles alone.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
def command(**given: Any) -> None:
    from vedit.jobs.score.reports import compare_reports
    from vedit.jobs.score.request import CompareRequest

    request = CompareRequest(**given)
    text = compare_reports(request)
    if not request.takes_stdout:
        echo(text, nl=False)
