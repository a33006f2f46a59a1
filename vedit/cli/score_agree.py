"""`vedit score agree`: metrics against people's judgement."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import echo, examples

EXAMPLES = (
    ("vedit score agree glp.json --labels people.csv", "which metrics rank the clips as people do"),
    (
        "vedit score agree glp.json p2p.json --answers answers.json --key sheet.key.json",
        "against the choices of a blind sheet",
    ),
)


@click.command(
    help=f"""Hold metrics against people's judgement.

Labels are a CSV: video_id, edit_id where a video has several edits, method where there are several
reports, and a column of numbers for each thing that was judged; lines of several raters are averaged.
Answers come from the sheet that vedit score blind makes: there the difference of the two methods on a
video is held against what was chosen. Spearman's and Kendall's correlations (tau-b) carry 95% intervals,
a bootstrap over videos; metrics of which lower is better are turned round.

{examples(EXAMPLES)}"""
)
@click.argument("reports", nargs=-1, required=True, metavar="REPORT.json...")
@click.option("--labels", metavar="FILE.csv", help="People's labels.")
@click.option(
    "--answers", multiple=True, metavar="FILE.json", help="Answers to a blind sheet; one file a rater."
)
@click.option("--key", metavar="FILE.json", help="The key of the blind sheet.")
@click.option("--metrics", metavar="LIST", help="Metrics and groups to show; -NAME removes.")
@click.option("--json", "json_file", metavar="FILE", help="Write the numbers as JSON; - is standard output.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write the table as CSV.")
@click.option("--md", "md_file", metavar="FILE", help="Write the table as Markdown.")
@click.option("--latex", "latex_file", metavar="FILE", help="Write the table as LaTeX.")
@click.option("--html", "html_file", metavar="FILE", help="Write the table as a page.")
@click.option("--standalone", is_flag=True, help="Make the LaTeX a document that compiles alone.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the bootstrap.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
def command(**given: Any) -> None:
    from vedit.jobs.score.reports import agree_with
    from vedit.jobs.score.request import AgreeRequest

    request = AgreeRequest(**given)
    text = agree_with(request)
    if not request.takes_stdout:
        echo(text, nl=False)
