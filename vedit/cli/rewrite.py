"""`vedit rewrite`: from an instruction to the prompt of an edit."""

from __future__ import annotations

import click

from vedit.cli.common import echo, examples, print_json

EXAMPLES = (
    (
        'vedit rewrite --source "a red circle on a grey background" "make the circle blue"',
        "a blue circle on a grey background",
    ),
    (
        'vedit rewrite --source "a grey wolf in a forest" "replace the wolf with an arctic fox" --json',
        "with what changed, and how far the prompt is from the source",
    ),
)


@click.command(
    help=f"""Make the prompt of an edit from what a clip shows and an instruction.

The prompt keeps the source's wording and order, as Prompt-to-Prompt, GLP and Video-P2P want it. Rules do it,
offline: those of drawn scenes, and swaps that are spelled out.

{examples(EXAMPLES)}"""
)
@click.argument("instruction", metavar="INSTRUCTION")
@click.option("--source", required=True, metavar="TEXT", help="What the clip shows.")
@click.option(
    "--max-distance",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.4,
    metavar="SHARE",
    help="The share of words that may change (0.4).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(instruction: str, source: str, max_distance: float, as_json: bool) -> None:
    from vedit.jobs.rewrite.request import RewriteRequest
    from vedit.jobs.rewrite.run import rewrite

    made = rewrite(RewriteRequest(source=source, instruction=instruction, max_distance=max_distance))
    if as_json:
        print_json(made)
    else:
        echo(made["target"])
