"""`vedit localize`: four ways from a clip to another culture, place or look, side by side."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, echo, examples, print_json, settings_of, voice_options
from vedit.errors import UsageError

EXAMPLES = (
    (
        'vedit localize star.gif -O out --to "navy checkered"',
        "a drawn scene, offline: four clips, their scores and out/report.html",
    ),
    (
        "vedit localize duck.mp4 -O out --recipe localize --to Japan --from China --category food --dry-run",
        "captions and prompts alone, to be read and changed in out/words.json",
    ),
    (
        'vedit localize duck.mp4 -O out --recipe localize --instruction "make the dish Japanese" --only'
        " video,text",
        "two branches",
    ),
)


@click.command(
    help=f"""Take a clip to another culture, place or look in four ways, and compare them.

The clip is captioned and its prompts are rewritten; then it is edited frame by frame (PnP), as a whole (GLP),
by the rewritten prompt (Video-P2P), and generated anew from its words. Every branch is scored, and
DIR/report.html shows them beside the source. A branch that fails leaves the others, and the exit code is 8.
The same call goes on where it was stopped. A recipe is a preset of kind localize: localize-shapes for drawn
scenes, localize for real clips; vedit presets show prints one to start from. Nothing is sent but to hosts
that the recipe or the call names.

{examples(EXAMPLES)}"""
)
@click.argument("input", required=False)
@click.option("-O", "--output-dir", metavar="DIR", help="The folder for words, clips, scores and the page.")
@click.option("--to", metavar="TEXT", help="Where the clip should go: Japan, winter, navy checkered.")
@click.option(
    "--from", "origin", metavar="TEXT", help="Where it comes from, when rules or a model should know."
)
@click.option("--category", metavar="TEXT", help="What should change: food, clothing, architecture.")
@click.option("--instruction", metavar="TEXT", help="What should become of it, in your own words.")
@click.option("--source-prompt", metavar="TEXT", help="What the clip shows; it is captioned without.")
@click.option("--recipe", metavar="NAME|FILE", help="The branches, and who writes the words.")
@click.option("--only", metavar="A,B", help="These branches alone.")
@click.option("--model", metavar="NAME", help="The model that edits, in the recipe's place.")
@click.option("--generator", metavar="NAME", help="The model that generates: any of vedit generate.")
@click.option("--captioner", metavar="NAME[:ID]", help="The captioner: any of vedit caption.")
@click.option("--llm", metavar="NAME", help="Who rewrites prompts: any of vedit rewrite.")
@click.option("--base-url", metavar="URL", help="A hosted language model that rewrites prompts.")
@click.option("--llm-model", metavar="NAME", help="What that service calls its model.")
@click.option(
    "--key-env", metavar="NAME", help="Variable that holds the API key; VEDIT_REMOTE_KEY by default."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="BRANCH.KEY=VALUE",
    help="A parameter of a branch's method, or an option of its generator.",
)
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Frames that are edited.")
@click.option("--size", metavar="S|WxH", help="Size that edits are made in.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Seed of all branches."
)
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--no-score", is_flag=True, help="Leave out the scores.")
@click.option("--dry-run", is_flag=True, help="Stop behind the words, and tell what would be made.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace another localisation in DIR.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per branch.")
@voice_options()
def command(
    input: str | None, output_dir: str | None, only: str | None, settings: tuple[str, ...], no_score: bool,
    dry_run: bool, as_json: bool, quiet: bool, progress: str, **given: Any,
) -> None:  # fmt: skip
    from vedit.jobs.localize.request import LocalizeRequest
    from vedit.jobs.localize.run import plan, raise_failures

    if input is None or output_dir is None:
        missing = "no clip named." if input is None else "no folder named."
        raise UsageError(missing, "", f"Example: {EXAMPLES[0][0]}")
    more = {"input": input, "output_dir": output_dir, "only": only.split(",") if only else []}
    table = {**given, **more, "score": not no_score, "set": settings_of(settings, "BRANCH")}
    voice = Voice(quiet, progress)
    planned = plan(LocalizeRequest.from_json(table, "localize"), voice)
    if dry_run:
        if as_json:
            print_json(dict(planned.words))
        else:
            echo(planned)
        return
    results = planned.run(voice)
    for result in results:
        if as_json:
            print_json(result.json())
        else:
            echo(f"{result.branch.name}: {result.output or 'failed'}")
    if not as_json:
        echo(f"{output_dir}/report.html")
    raise_failures(output_dir, results)
