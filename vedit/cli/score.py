"""`vedit score`: judge edited clips.

The command itself scores; agree, blind, check, compare, merge, table and weights stand beside it.
"""

from __future__ import annotations

import os
from typing import Any

import click

from vedit.cli import LazyGroup
from vedit.cli.common import Voice, declared_options, echo, examples, options, voice_options
from vedit.errors import UsageError, nearest
from vedit.metrics._options import NetworkOptions, RegionOptions

OWN = {
    "agree": "Hold metrics against people's judgement.",
    "blind": "Make a sheet on which people compare two methods blind.",
    "check": "Say what is wrong with reports.",
    "compare": "Compare methods on the same videos.",
    "merge": "Make one report of several.",
    "table": "Lay reports out as tables.",
    "weights": "List the weights of the metrics, check or fetch them.",
}
EXAMPLES = (
    (
        'vedit score edited.gif --source clip.gif --prompt "a blue circle on a grey background"',
        "right after installation, without any download",
    ),
    (
        "vedit score edited.gif --explain",
        "prompts, source and mask out of the run record; what each number says",
    ),
    (
        "vedit score out.mp4 --source in.mp4 --metrics background,temporal --mask mask.png --json out.json",
        "some groups of metrics, and a report",
    ),
    (
        (
            "vedit score --index suite.toml --edited out --source-dir in --html report.html --json glp.json"
            " --resume"
        ),
        "a suite; goes on where it was stopped",
    ),
    ("vedit score edited.gif --truth ideal.gif --fail-under psnr=30", "exit code 1 below 30 dB"),
    ("vedit score edited.gif --metric-file redness.py", "with a metric of one's own"),
)

input_options = options(
    click.option(
        "--source", metavar="FILE", help="The clip before the edit; from the run record by default."
    ),
    click.option(
        "--prompt", metavar="TEXT", help="What the edit should show; from the run record by default."
    ),
    click.option(
        "--source-prompt", metavar="TEXT", help="What the source shows; from the run record by default."
    ),
    click.option("--truth", metavar="FILE", help="The ideal edit, for psnr, ssim and lpips."),
    click.option(
        "--mask",
        default="auto",
        metavar="FILE|L,T,R,B|auto|none",
        help="Where the edit may act (white); auto takes the run record's.",
    ),
    click.option("--index", metavar="FILE", help="A suite: TOML with [[video]] tables, or V2VBench's YAML."),
    click.option(
        "--edited",
        "edited_dir",
        metavar="DIR",
        help="Edited clips of a suite, DIR/VIDEO/EDIT; without --index every clip in DIR.",
    ),
    click.option("--source-dir", metavar="DIR", help="Source clips of a suite; beside the index by default."),
    click.option(
        "--align",
        type=click.Choice(["first", "stride"]),
        help="For a source of another length: its first frames, or frames over all of it.",
    ),
    click.option("--resize-source", is_flag=True, help="Bring source and truth to the edited size."),
    click.option(
        "--yes", is_flag=True, help="Read what run records of others name outside their folders too."
    ),
)
metric_options = options(
    click.option(
        "--metrics",
        metavar="LIST",
        help=(
            "Metrics and groups (v2vbench, quality, alignment, temporal, reference, background, core, judge,"
            " method, embedded, small, all); -NAME removes."
        ),
    ),
    click.option(
        "--metric-file",
        multiple=True,
        metavar="FILE.py",
        help="A metric of your own, which is computed too; several may be given.",
    ),
    click.option(
        "--judge",
        metavar="truth|local:DIR|hub:ID|URL",
        help=(
            "Who answers the questions of the group judge: the reader of drawn scenes, a model that runs here"
            " and sees pictures, or a chat model at an address."
        ),
    ),
    click.option("--judge-model", metavar="NAME", help="The model at the judge's URL."),
    click.option(
        "--judge-key-env", metavar="NAME", help="The variable with its key; VEDIT_REMOTE_KEY by default."
    ),
    click.option(
        "--profile",
        type=click.Choice(["v2vbench", "strict", "embedded", "small"]),
        help=(
            "As published, with its quirks repaired, without weights, or with one network for free prompts"
            " (94 MB, small); embedded when none are found."
        ),
    ),
    click.option("--weights", metavar="DIR", help="Look for weights as DIR/OWNER/REPO/FILE first."),
    declared_options(RegionOptions),
    declared_options(NetworkOptions),
    click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps."),
    click.option(
        "--dtype",
        type=click.Choice(["fp32", "fp16", "bf16"]),
        default="fp32",
        help="Precision of the networks; bf16 changes digits.",
    ),
    click.option("--batch", type=click.IntRange(1), default=16, metavar="N", help="Frames per network call."),
    click.option("-j", "--jobs", type=click.IntRange(1), metavar="N", help="Threads of the networks."),
    click.option(
        "--cache",
        is_flag=True,
        help="Keep what networks computed on disk, for the next method on the same source.",
    ),
)
report_options = options(
    click.option(
        "--explain", is_flag=True, help="Say what each number means; without a clip, list all metrics."
    ),
    click.option(
        "--json", "json_file", metavar="FILE", help="Write the report as JSON; - is standard output."
    ),
    click.option(
        "--csv",
        "csv_file",
        metavar="FILE",
        help="Write one row per video, and for a suite the means to *.summary.csv.",
    ),
    click.option("--md", "md_file", metavar="FILE", help="Write the table as Markdown."),
    click.option("--latex", "latex_file", metavar="FILE", help="Write the table as LaTeX."),
    click.option(
        "--html", "html_file", metavar="FILE", help="Write a page with the clips side by side and charts."
    ),
    click.option(
        "--link-media", is_flag=True, help="Link the clips in the page instead of embedding frames."
    ),
    click.option("--standalone", is_flag=True, help="Make the LaTeX a document that compiles alone."),
    click.option(
        "--name", metavar="TEXT", help="Name of the method in tables; from the run record by default."
    ),
    click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the bootstrap."),
    click.option(
        "--baseline",
        type=click.Choice(["identity"]),
        help="Score the unchanged source too, as a reference row.",
    ),
    click.option(
        "--fail-under", multiple=True, metavar="METRIC=VALUE", help="Exit with 1 when the mean is lower."
    ),
    click.option(
        "--fail-over", multiple=True, metavar="METRIC=VALUE", help="Exit with 1 when the mean is higher."
    ),
    click.option("--journal", metavar="FILE", help="Journal of a suite; DIR/vedit-score.jsonl by default."),
    click.option("--resume", is_flag=True, help="Take from the journal what has not changed."),
    click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist."),
    voice_options(),
)


class ScoreGroup(LazyGroup):
    """`vedit score CLIP` with options of its own, and commands by their name as first word.

    A clip called like a command is written ./compare.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] in self.table:
            ctx.args = list(args)
            return ctx.args
        rest = click.Command.parse_args(self, ctx, args)
        if rest:
            first = ctx.params.get("clip") or rest[0]
            what = f"one clip is scored at a time, and {' '.join(rest)} came behind it"
            raise UsageError(
                f"{what}{nearest(first, self.table)}",
                "Score several with --edited DIR.",
                "See: vedit score --help",
            )
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        if not ctx.args:
            return click.Command.invoke(self, ctx)
        name, *rest = ctx.args
        command = self.get_command(ctx, name)
        assert command is not None, "parse_args looked it up"
        ctx.invoked_subcommand = name
        with command.make_context(name, list(rest), parent=ctx) as inner:
            return inner.command.invoke(inner)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", "CLIP | --edited DIR | COMMAND ..."]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        click.Command.format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


@click.command(
    cls=ScoreGroup,
    table=OWN,
    modules={name: f"vedit.cli.score_{name}" for name in OWN},
    context_settings={"allow_interspersed_args": True},
    no_args_is_help=True,
    invoke_without_command=True,
    help=f"""Judge edited clips: quality, fidelity to text and source, steadiness.

CLIP is a GIF, a video, a folder of frames, or - for what another vedit command writes. Without
weights the embedded profile is computed, which needs no download; the eight metrics of V2VBench
need those that vedit score weights lists. Metrics of a group whose inputs are absent are
skipped and said so.

\b
An index is TOML (or the YAML of V2VBench):
  [[video]]
  id = "cat"                 # the edited clip is DIR/cat/0.gif, .mp4 ... or a frame folder
  source = "cat.mp4"         # under --source-dir; also: mask, truth
  source_prompt = "a cat"
  [[video.edit]]
  prompt = "a dog"

{examples(EXAMPLES)}""",
)
@click.argument("clip", required=False, metavar="CLIP")
@input_options
@metric_options
@report_options
def command(clip: str | None, explain: bool, quiet: bool, progress: str, **given: Any) -> None:
    from vedit.jobs.score.plan import plan
    from vedit.jobs.score.request import ScoreRequest
    from vedit.metrics import own

    request = ScoreRequest(clip=clip, **given)
    for path in request.metric_file:
        own.load(path)
    if clip is None and not request.edited_dir and explain:
        show_metrics(request.metrics)
        return
    if clip is not None and clip != "-" and not os.path.exists(clip):
        raise UsageError(
            f"there is neither a clip nor a command called {clip}{nearest(clip, OWN)}",
            "",
            "See: vedit score --help",
        )
    voice = Voice(quiet, progress)
    scored = plan(request, voice).run(voice)
    if not request.takes_stdout:
        echo(scored.text(explain=explain), nl=False)
    scored.check()


def show_metrics(text: str | None) -> None:
    """Every metric, or those of a list, in words."""
    from vedit.jobs.score.metrics import catalogue, choose
    from vedit.jobs.score.summary import explained

    facts = catalogue()
    echo(explained(facts[key] for key in choose(text or "all", "v2vbench").keys))
