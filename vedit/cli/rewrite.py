"""`vedit rewrite`: from an instruction to the prompt of an edit."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, complain, echo, examples, options, print_json
from vedit.errors import PartialFailure, UsageError, VeditError

EXAMPLES = (
    (
        'vedit rewrite --source "a red circle on a grey background" "make the circle blue"',
        "a blue circle on a grey background",
    ),
    (
        'vedit rewrite --source "a grey wolf in a forest" "replace the wolf with an arctic fox" --json',
        "with what changed, and how far the prompt is from the source",
    ),
    (
        'vedit rewrite --source "a chef slices roast duck" "make the food Japanese" --max-distance 0.5',
        "a chef slices sushi roll: by the lexicon",
    ),
    (
        (
            'vedit rewrite --source "a dog runs on a beach" "as a watercolour" --mode free --base-url'
            " http://127.0.0.1:8080/v1 --llm-model qwen3"
        ),
        "a model that a server of one's own runs, such as llama-server",
    ),
    ("vedit rewrite jobs.csv -o told.csv", "the rows of a list that have source and instruction"),
)

model_options = options(
    click.option(
        "--llm",
        metavar="NAME",
        help="Who writes the prompt: rules (the default), local:FOLDER or hub:ID, a language model run here.",
    ),
    click.option("--base-url", metavar="URL", help="Ask a hosted language model here; words go there alone."),
    click.option("--llm-model", metavar="NAME", help="What that service calls its model."),
    click.option(
        "--key-env", metavar="NAME", help="Variable that holds the API key; VEDIT_REMOTE_KEY by default."
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(1),
        default=120,
        show_default=True,
        metavar="S",
        help="Longest wait for an answer of the service.",
    ),
    click.option("--revision", metavar="REV", help="Branch, tag or commit of a Hub model."),
    click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps."),
    click.option(
        "--dtype",
        type=click.Choice(["auto", "fp32", "fp16", "bf16"]),
        default="auto",
        help="Precision of a network that runs here.",
    ),
    click.option("--preset", metavar="NAME", help="What a model is told; by default rewrite-MODE."),
    click.option(
        "--lexicon", metavar="FILE", help="Phrases for rules, TOML as vedit's own, which they go before."
    ),
    click.option(
        "--forbid", multiple=True, metavar="WORD", help="A word that may not be in the prompt; repeatable."
    ),
    click.option("--strict", is_flag=True, help="Do not let rules do what a model has failed at."),
    click.option("--refresh", is_flag=True, help="Ask again for what was asked before."),
    click.option("--no-cache", is_flag=True, help="Neither take answers that are kept nor keep them."),
)


@click.command(
    help=f"""Make the prompt of an edit from what a clip shows and an instruction.

Rules do it, offline: those of drawn scenes, swaps that are spelled out, and a lexicon of places, seasons and
times. A language model does it where one is named; its answer is checked, and asked for again with what was
wrong, three times at most. Then rules try, unless --strict is given.

Modes: align keeps the source's wording and order, as Prompt-to-Prompt, GLP and Video-P2P want it; free words
it anew, for methods that read one prompt; generate is for text-to-video models; description says the result
of an instruction, for editors such as VACE.

{examples(EXAMPLES)}"""
)
@click.argument("instruction", metavar="INSTRUCTION|LIST", required=False)
@click.option("--source", metavar="TEXT", help="What the clip shows.")
@click.option("-o", "--output", metavar="LIST", help="With a LIST: write its rows with their prompts.")
@click.option(
    "--instruction", "shared", metavar="TEXT", help="With a LIST: the instruction of rows that have none."
)
@click.option("--redo", is_flag=True, help="With a LIST: rewrite rows that have a prompt, too.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace the list that is written.")
@click.option(
    "--mode",
    type=click.Choice(["align", "free", "generate", "description"]),
    default="align",
    show_default=True,
    help="What the prompt is for.",
)
@click.option(
    "--max-distance",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.4,
    metavar="SHARE",
    help="The share of words that align may change (0.4).",
)
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per prompt.")
@click.option("-q", "--quiet", is_flag=True, help="No warnings.")
def command(
    instruction: str | None, source: str | None, output: str | None, shared: str | None, redo: bool,
    overwrite: bool, no_cache: bool, as_json: bool, quiet: bool, **given: Any,
) -> None:  # fmt: skip
    from vedit.jobs.lists import is_list
    from vedit.jobs.rewrite.request import RewriteListRequest, RewriteRequest
    from vedit.jobs.rewrite.run import rewrite, rewrite_list

    given |= {"cache": not no_cache, "forbid": list(given["forbid"])}
    if instruction is None:
        raise UsageError(
            "no instruction named.",
            "Say what should become of the clip, or name a list.",
            f"Example: {EXAMPLES[0][0]}",
        )
    if source is None and is_list(instruction):
        if output is None:
            raise UsageError(f"{instruction} is a list.", "", "Add -o LIST, where it is written with prompts")
        more: dict[str, Any] = {"list": instruction, "output": output, "instruction": shared}
        more |= {"overwrite": overwrite, "redo": redo}
        asked = RewriteListRequest.from_json({**given, **more}, "rewrite")
        _show_list(rewrite_list(asked, Voice(quiet)), as_json)
        return
    if source is None:
        raise UsageError("what the clip shows is missing.", "", 'Add --source "..."; vedit caption says it')
    if output or shared or redo:
        raise UsageError("-o, --instruction and --redo are for lists.", "", "Leave them out")
    request = RewriteRequest.from_json({**given, "source": source, "instruction": instruction}, "rewrite")
    _show(rewrite(request, Voice(quiet)), as_json)


def _show(made: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(made)
    else:
        echo(made["target"])


def _show_list(rows: Any, as_json: bool) -> None:
    count, failed = 0, []
    for where, made in rows:
        count += 1
        if isinstance(made, VeditError):
            complain(made)
            failed.append(where)
        else:
            _show(made, as_json)
    if failed:
        raise PartialFailure(f"{len(failed)} of {count} rows have no prompt: {', '.join(failed[:5])}.")
