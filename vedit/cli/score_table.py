"""`vedit score table`: reports laid out as tables."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples

EXAMPLES = (
    (
        "vedit score table glp.json p2p.json --layout thesis",
        "tables per method and group, and the comparison of both",
    ),
    ("vedit score table *.json --layout v2vbench --format md", "one row per method"),
    ("vedit score table p2p.json llm-edit.json --layout 4-2", "what rewritten prompts change"),
    (
        "vedit score table v2.json v4.json v6.json --layout thesis --column-from preset:values",
        "a sweep over one parameter",
    ),
    (
        "vedit score table glp.json p2p.json --metrics temporal,-dino_consistency --transpose --html t.html",
        "some metrics, a row for each, and a page besides",
    ),
)


@click.command(
    help=f"""Lay reports out as tables.

thesis: per method a table for each group of metrics, rows by video, and with several methods one
that compares them. 4-1, 4-2, 4-3: that table of the thesis alone, of methods, of one method
without and with rewritten prompts, and of values of P2P's equalizer. v2vbench: one row per
method under the survey's names. wide: one row per method, a column for each metric that any
report holds.

{examples(EXAMPLES)}"""
)
@click.argument("reports", nargs=-1, required=True, metavar="REPORT.json...")
@click.option(
    "--layout",
    type=click.Choice(["thesis", "4-1", "4-2", "4-3", "v2vbench", "wide"]),
    default="wide",
    help="Which tables.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "md", "latex", "csv"]),
    default="text",
    help="How they are written.",
)
@click.option(
    "--lang", type=click.Choice(["en", "zh"]), default="en", help="Language of the thesis' group headings."
)
@click.option(
    "--column-from",
    metavar="preset:KEY",
    help="Head each column with a parameter's value out of the run records.",
)
@click.option(
    "--metrics",
    metavar="LIST",
    help="Metrics, groups and other names of them to show; -NAME removes. All by default.",
)
@click.option(
    "--only",
    type=click.Choice(["videos", "comparison"]),
    help="Of the thesis' tables those of each method, or the one that compares methods.",
)
@click.option(
    "--tags",
    metavar="FILE",
    help="Add a table for each tag of the videos in this index (wide and v2vbench).",
)
@click.option("--transpose", is_flag=True, help="Turn rows into columns.")
@click.option("--html", "html_file", metavar="FILE", help="Write the tables as a page too; - in their place.")
@click.option(
    "--svg", "svg_file", metavar="FILE", help="Write the means with their intervals as an SVG picture too."
)
@click.option("--standalone", is_flag=True, help="Make the LaTeX a document that compiles alone.")
@click.option(
    "--force", is_flag=True, help="Put reports that were computed differently into one table; it says so."
)
@click.option("-o", "--output", metavar="FILE", help="Write here instead of to standard output.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace the output if it exists.")
def command(**given: Any) -> None:
    from vedit.jobs.score.reports import lay_out
    from vedit.jobs.score.request import TableRequest

    lay_out(TableRequest(**given))
