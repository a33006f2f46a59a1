"""`vedit suite run`: edits, scores and tables."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, echo, examples, settings_of, voice_options

EXAMPLES = (
    ("vedit suite run shapes -O out", "the thesis' runs and tables on drawn scenes, offline"),
    ("vedit suite run shapes -O out --limit 3 --steps 5", "a quick look at all of it"),
    (
        "vedit suite run thesis -O out --clips clips --index prompts.yaml --partial",
        "on those of its clips that are here",
    ),
)


@click.command(
    help=f"""Run a suite, or go on with one.

Clips, prompts, edits, scores and tables lie in OUT; each step skips what is done, so the same call goes on
after a break. Tables are text, Markdown, LaTeX and CSV in OUT/tables, all of them with the paired
comparisons in OUT/report.html. OUT/suite.lock.toml holds the models, weights and prompts that decided the
numbers; a later run says what differs. A run that fails is left out of the tables, which say of how many
clips they are, and the exit code is 8.

{examples(EXAMPLES)}"""
)
@click.argument("suite", metavar="NAME|FILE.toml")
@click.option("-O", "--output", required=True, metavar="DIR", help="The folder of everything.")
@click.option("--clips", metavar="DIR", help="The source clips of a suite that does not draw them.")
@click.option(
    "--index", metavar="FILE", help="Their prompts: V2VBench's YAML, or TOML with [[video]] tables."
)
@click.option("--only", metavar="LABEL,...", help="Of its runs, these.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many clips.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Steps and iterations of every method.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="LABEL.KEY=VALUE",
    help="A parameter of the method of one run.",
)
@click.option("--model", metavar="ID|DIR", help="Instead of the suite's model.")
@click.option("--llm", metavar="NAME", help="Who rewrites prompts: any of vedit rewrite.")
@click.option("--base-url", metavar="URL", help="A hosted language model that rewrites prompts.")
@click.option("--llm-model", metavar="NAME", help="What that service calls its model.")
@click.option(
    "--key-env", metavar="NAME", help="Variable that holds the API key; VEDIT_REMOTE_KEY by default."
)
@click.option("--weights", metavar="DIR", help="Look for the metrics' weights here first.")
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--partial", is_flag=True, help="Run the clips that are there.")
@voice_options()
def command(only: str | None, settings: tuple[str, ...], quiet: bool, progress: str, **given: Any) -> None:
    from vedit.cli.batch_run import Face
    from vedit.jobs.suite.request import SuiteRequest
    from vedit.jobs.suite.run import run

    labels = tuple(part.strip() for part in (only or "").split(",") if part.strip())
    voice = Voice(quiet, progress)
    face = Face(voice)
    try:
        done = run(SuiteRequest(only=labels, set=settings_of(settings, "LABEL"), **given), voice, face)
    finally:
        face.end()
    for text in done.changed:
        voice.warn(f"since the last run: {text}")
    for text in done.left_out:
        voice.warn(text)
    echo(f"{len(done.tables)} tables in {done.output}/tables, all in {done.output}/report.html")
    done.check()
