"""`vedit score compare`: two reports, video by video."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples

EXAMPLES = (
    ("vedit score compare glp.json p2p.json", "which differences hold up over the videos"),
    ("vedit score compare glp.json p2p.json --metrics clip_consistency,motion_alignment --latex table.tex", "two metrics, as a LaTeX table too"),
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
@click.option("--metrics", metavar="LIST", help="Metrics to show and to correct over; all that both hold by default.")
@click.option("--force", is_flag=True, help="Compare reports that were computed differently; the table says so.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the bootstrap.")
@click.option("--json", "json_file", metavar="FILE", help="Write the comparison as JSON; - is standard output.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write the table as CSV.")
@click.option("--md", "md_file", metavar="FILE", help="Write the table as Markdown.")
@click.option("--latex", "latex_file", metavar="FILE", help="Write the table as LaTeX.")
@click.option("--html", "html_file", metavar="FILE", help="Write the table as a page.")
@click.option("--standalone", is_flag=True, help="Make the LaTeX a document that compiles alone.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
def command(a: str, b: str, metrics: str | None, force: bool, seed: int, **outputs: Any) -> None:
    import json

    from vedit.app.score.compare import compare, comparison_json, comparison_table
    from vedit.app.score.html import forest, page
    from vedit.app.score.render import as_html, rendered
    from vedit.app.score.results import finite, read_results
    from vedit.app.score.tables import distinct
    from vedit.cli.score_outputs import check_outputs, write_outputs

    check_outputs(outputs, (a, b))
    one, other = distinct([read_results(a), read_results(b)])
    found = compare(one, other, metrics.split(",") if metrics else None, force=force, seed=seed)
    table = comparison_table(found)
    write_outputs(
        outputs,
        {
            "json": lambda: json.dumps(finite(comparison_json(found)), indent=1, ensure_ascii=False) + "\n",
            "csv": lambda: rendered([table], "csv"),
            "md": lambda: rendered([table], "md"),
            "latex": lambda: rendered([table], "latex", alone=outputs["standalone"]),
            "html": lambda: page(table.title, forest(found) + as_html(comparison_table(found, verdict_first=True))),
        },
        lambda: rendered([table], "text"),
    )
