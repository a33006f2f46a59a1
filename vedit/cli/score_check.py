"""`vedit score check`: what is wrong with reports."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import echo, examples, print_json
from vedit.errors import CheckFailed

EXAMPLES = (
    ("vedit score check glp.json", "gaps, damaged clips, weights that are not the published ones"),
    (
        "vedit score check glp.json p2p.json --index suite.toml",
        "whether they hold what an index names, and alike",
    ),
)


@click.command(
    help=f"""Say what is wrong with reports; exit with 1 when something is.

Wrong are numbers that are missing or not finite, failed videos, damaged clips, weights that are
not the published ones, videos that an index does not name or that are not in every report, and
reports that were not computed alike. Worth a look, and no reason to fail: flags, unusual values,
videos of one source, and metrics whose version has changed.

{examples(EXAMPLES)}"""
)
@click.argument("reports", nargs=-1, required=True, metavar="REPORT.json...")
@click.option("--index", metavar="FILE", help="The suite whose edits each report should hold.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(as_json: bool, **given: Any) -> None:
    from dataclasses import asdict

    from vedit.jobs.score.check import findings_text
    from vedit.jobs.score.reports import check_reports
    from vedit.jobs.score.request import CheckRequest

    reports, found = check_reports(CheckRequest(**given))
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        echo(findings_text(reports, found), nl=False)
    wrong = [finding for finding in found if finding.is_wrong]
    if wrong:
        raise CheckFailed(
            f"{len(wrong)} {'things are' if len(wrong) > 1 else 'thing is'} wrong with"
            f" {'the reports' if len(reports) > 1 else 'the report'}."
        )
