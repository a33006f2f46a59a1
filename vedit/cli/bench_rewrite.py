"""`vedit bench rewrite`: how often rewritten prompts are right."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, echo, examples, print_json, voice_options
from vedit.cli.rewrite import model_options

EXAMPLES = (
    ("vedit bench rewrite", "the rules on 30 pairs"),
    ("vedit bench rewrite --cases drawn-scenes", "the rules on the 120 drawn cases"),
    (
        "vedit bench rewrite --base-url http://127.0.0.1:8080/v1 --llm-model qwen3 --json",
        "a model that a server of one's own runs, with each prompt",
    ),
)


@click.command(
    help=f"""Measure rewriting on frozen cases: which prompts pass the checks, and which are right.

accepted: the share of prompts that pass the checks, of whoever was asked; what rules made instead of a model
does not count. right: word for word the prompt that a person wrote. distance: of words to the source, 0 to 1.
Answers are asked for anew, and not kept.

{examples(EXAMPLES)}"""
)
@click.option(
    "--cases",
    type=click.Choice(["pairs", "drawn-scenes", "drawn-scenes-tuning"]),
    default="pairs",
    show_default=True,
    help="30 pairs of five kinds, or the drawn cases of the benchmark of methods.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Cases of each kind; all by default.")
@click.option(
    "--mode",
    type=click.Choice(["align", "free", "generate", "description"]),
    default="align",
    show_default=True,
    help="What the prompts are for.",
)
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print rows and every case as JSON.")
@voice_options()
def command(
    cases: str, limit: int | None, as_json: bool, quiet: bool, progress: str, no_cache: bool, **given: Any
) -> None:
    from vedit.jobs.bench import rewrite as bench
    from vedit.jobs.rewrite.request import RewriteOptions

    asked = RewriteOptions.from_json({**given, "forbid": list(given["forbid"])}, "rewrite")
    tried = bench.run_rewrite(asked, cases=cases, limit=limit, sink=Voice(quiet, progress))
    if as_json:
        print_json(bench.as_json(tried))
    else:
        echo(bench.table_text(bench.summary(tried)))
