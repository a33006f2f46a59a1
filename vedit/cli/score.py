"""`vedit score`: judge edited clips. The command itself scores; compare, table and weights stand beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from vedit.cli import LazyGroup
from vedit.cli.common import Voice, echo, examples, options
from vedit.errors import CheckFailed, Interrupted, PartialFailure, Stopped, UsageError, nearest

if TYPE_CHECKING:
    from vedit.app.score.results import Results
    from vedit.app.score.run import Plan
    from vedit.metrics.types import Options

OWN = {
    "compare": "Compare two methods on the same videos.",
    "table": "Lay reports out as tables.",
    "weights": "List the weights of the metrics, check or fetch them.",
}
EXAMPLES = (
    ('vedit score edited.gif --source clip.gif --prompt "a blue circle on a grey background"', "right after installation, without any download"),
    ("vedit score edited.gif --explain", "prompts, source and mask out of the run record; what each number says"),
    ("vedit score out.mp4 --source in.mp4 --metrics background,temporal --mask mask.png --json out.json", "some groups of metrics, and a report"),
    ("vedit score --index suite.toml --edited out --source-dir in --html report.html --json glp.json --resume", "a suite; goes on where it was stopped"),
    ("vedit score edited.gif --truth ideal.gif --fail-under psnr=30", "exit code 1 below 30 dB"),
)

input_options = options(
    click.option("--source", metavar="FILE", help="The clip before the edit; from the run record by default."),
    click.option("--prompt", metavar="TEXT", help="What the edit should show; from the run record by default."),
    click.option("--source-prompt", metavar="TEXT", help="What the source shows; from the run record by default."),
    click.option("--truth", metavar="FILE", help="The ideal edit, for psnr, ssim and lpips."),
    click.option("--mask", default="auto", metavar="FILE|L,T,R,B|auto|none", help="Where the edit may act (white); auto takes the run record's."),
    click.option("--index", metavar="FILE", help="A suite: TOML with [[video]] tables, or V2VBench's YAML."),
    click.option("--edited", "edited_dir", metavar="DIR", help="Edited clips of a suite, DIR/VIDEO/EDIT; without --index every clip in DIR."),
    click.option("--source-dir", metavar="DIR", help="Source clips of a suite; beside the index by default."),
    click.option("--align", type=click.Choice(["first", "stride"]), help="For a source of another length: its first frames, or frames over all of it."),
    click.option("--resize-source", is_flag=True, help="Bring source and truth to the edited size."),
    click.option("--yes", is_flag=True, help="Read what run records of others name outside their folders too."),
)
metric_options = options(
    click.option(
        "--metrics",
        metavar="LIST",
        help="Metrics and groups (v2vbench, quality, alignment, temporal, reference, background, method, embedded, all); -NAME removes.",
    ),
    click.option(
        "--profile",
        type=click.Choice(["v2vbench", "strict", "embedded"]),
        help="As published, with its quirks repaired, or without weights; embedded when none are found.",
    ),
    click.option("--weights", metavar="DIR", help="Look for weights as DIR/OWNER/REPO/FILE first."),
    click.option("--flow", metavar="gmflow|tvl1|dis|file:F.npz", help="What estimates motion for the warping error; tvl1 needs no weights, dis needs OpenCV."),
    click.option("--mask-dilate", type=click.IntRange(0, 256), default=0, metavar="N", help="Grow the edit region by N pixels."),
    click.option(
        "--bg-norm", type=click.Choice(["background", "full"]), default="background", help="Divide the background's error by its own area, or by the frame's."
    ),
    click.option("--dino", type=click.Choice(["dinov2", "dino-vitb16"]), help="Backbone of the DINO metrics; each its own by default."),
    click.option("--dover-antialias", is_flag=True, help="Smooth before DOVER's resize, as newer libraries do."),
    click.option("--lpips-net", type=click.Choice(["alex", "vgg", "squeeze"]), default="alex", help="Backbone of lpips."),
    click.option("--success-model", type=click.Choice(["clip_l", "clip_b32"]), default="clip_l", help="Backbone of edit_success."),
    click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps."),
    click.option("--dtype", type=click.Choice(["fp32", "fp16", "bf16"]), default="fp32", help="Precision of the networks; bf16 changes digits."),
    click.option("--batch", type=click.IntRange(1), default=16, metavar="N", help="Frames per network call."),
    click.option("-j", "--jobs", type=click.IntRange(1), metavar="N", help="Threads of the networks."),
    click.option("--cache", is_flag=True, help="Keep what networks computed on disk, for the next method on the same source."),
)
report_options = options(
    click.option("--explain", is_flag=True, help="Say what each number means; without a clip, list all metrics."),
    click.option("--json", "json_file", metavar="FILE", help="Write the report as JSON; - is standard output."),
    click.option("--csv", "csv_file", metavar="FILE", help="Write one row per video, and for a suite the means to *.summary.csv."),
    click.option("--md", "md_file", metavar="FILE", help="Write the table as Markdown."),
    click.option("--latex", "latex_file", metavar="FILE", help="Write the table as LaTeX."),
    click.option("--html", "html_file", metavar="FILE", help="Write a page with the clips side by side and charts."),
    click.option("--link-media", is_flag=True, help="Link the clips in the page instead of embedding frames."),
    click.option("--standalone", is_flag=True, help="Make the LaTeX a document that compiles alone."),
    click.option("--name", metavar="TEXT", help="Name of the method in tables; from the run record by default."),
    click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the bootstrap."),
    click.option("--baseline", type=click.Choice(["identity"]), help="Score the unchanged source too, as a reference row."),
    click.option("--fail-under", multiple=True, metavar="METRIC=VALUE", help="Exit with 1 when the mean is lower."),
    click.option("--fail-over", multiple=True, metavar="METRIC=VALUE", help="Exit with 1 when the mean is higher."),
    click.option("--journal", metavar="FILE", help="Journal of a suite; DIR/vedit-score.jsonl by default."),
    click.option("--resume", is_flag=True, help="Take from the journal what has not changed."),
    click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist."),
    click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings."),
    click.option("--progress", type=click.Choice(["auto", "jsonl", "none"]), default="auto", help="Progress on standard error."),
)


PAGE_MEMORY_MIB = 512  # flows kept for the maps of the page


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
            raise UsageError(f"{what}{nearest(first, self.table)}", "Score several with --edited DIR.", "See: vedit score --help")
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
def command(clip: str | None, **given: Any) -> None:
    from vedit.app.extras import need
    from vedit.cli.score_outputs import check_outputs

    if clip is None and not given["edited_dir"]:
        if given["explain"]:
            show_metrics(given["metrics"])
            return
        raise UsageError("no clip to score.", "Name an edited clip, or a folder of them with --edited.", f"Example: {EXAMPLES[0][0]}")
    if clip is not None and given["edited_dir"]:
        raise UsageError("CLIP and --edited were both given.", "One clip, or a folder of edited clips.")
    if given["index"] and not given["edited_dir"]:
        raise UsageError("--index needs --edited, the folder of the edited clips.", "", f"Example: {EXAMPLES[3][0]}")
    if clip is not None and clip != "-" and not os.path.exists(clip):
        raise UsageError(f"there is neither a clip nor a command called {clip}{nearest(clip, OWN)}", "", "See: vedit score --help")
    refuse_unread(clip, given)
    inputs = [path for path in (clip, given["source"], given["truth"]) if path]
    check_outputs(given, inputs)
    need("diffusion")
    run_score(clip, given)


def refuse_unread(clip: str | None, given: dict[str, Any]) -> None:
    """Options that this call would not read are mistakes."""
    if clip is None:
        single = [name for name in ("source", "prompt", "source_prompt", "truth") if given[name] is not None]
        single += ["mask"] if given["mask"] not in ("auto", "none") else []
        if single:
            option = single[0].replace("_", "-")
            raise UsageError(
                f"--{option} is for one clip.", "In a suite the index says it for each video, or the run record.", "The form of an index: vedit score --help"
            )
        return
    if given["source_dir"]:
        raise UsageError("--source-dir is for a suite.", "", "For one clip: --source FILE")
    if clip == "-" and given["journal"]:
        raise UsageError("--journal cannot tell one standard input from another.", "", "Name a file, or leave --journal out")
    if given["resume"] and not given["journal"]:
        raise UsageError("--resume has no journal to go on with.", "A suite has one; a single clip has one when it is named.", "Add --journal FILE")


def show_metrics(text: str | None) -> None:
    """Every metric, or those of a list, in words."""
    from vedit.app.score.metrics import catalogue, choose
    from vedit.app.score.summary import explained

    facts = catalogue()
    echo(explained(facts[key] for key in choose(text or "all", "v2vbench").keys))


def run_score(clip: str | None, given: dict[str, Any]) -> None:
    from pathlib import Path

    from vedit.app.cache import folder
    from vedit.app.score.html import report_page
    from vedit.app.score.journal import Journal
    from vedit.app.score.run import Clips, run
    from vedit.metrics.towers import FeatureStore, Towers, WeightFinder

    voice = Voice(given["quiet"], given["progress"])
    kept = Path(folder()).parent / "score"
    finder = WeightFinder(Path(given["weights"]) if given["weights"] else None, kept, bool(os.environ.get("HF_HUB_OFFLINE")))
    plan = make_plan(clip, given, finder, voice)
    thresholds = [(name, *threshold(name, text, plan)) for name in ("fail_under", "fail_over") for text in given[name]]
    if given["jobs"]:
        import torch

        torch.set_num_threads(given["jobs"])
    towers = Towers(
        plan.options, finder, FeatureStore(kept / "features" if given["cache"] else None, memory_mib=PAGE_MEMORY_MIB if given["html_file"] else 256)
    )
    journal = Journal(journal_path(given) if plan.is_suite or given["journal"] else None, given["resume"])
    clips = Clips(plan, voice.warn)
    results, stopped_by = run(plan, towers, journal, clips=clips, watch=voice.steps)
    report(results, given, lambda: report_page(results, plan, towers, clips, link_media=given["link_media"]), is_suite=plan.is_suite)
    verdict(results, thresholds, stopped_by, journal.path)


def make_plan(clip: str | None, given: dict[str, Any], finder: Any, voice: Voice) -> Plan:
    """What to score and how, out of the options; the profile is chosen by the weights that are there."""
    from dataclasses import replace

    from vedit.app.score.clips import Item, Reading
    from vedit.app.score.index import read_folder, read_index
    from vedit.app.score.metrics import choose
    from vedit.app.score.run import Plan

    profile, skips = choose_profile(given, finder, voice)
    choice = choose(given["metrics"], profile)
    if given["index"]:
        items = read_index(given["index"], given["edited_dir"], given["source_dir"])
    elif given["edited_dir"]:
        items = read_folder(given["edited_dir"], given["source_dir"])
    else:
        assert clip is not None
        label = "stdin" if clip == "-" else os.path.splitext(os.path.basename(clip.rstrip("/")))[0]
        items = [Item(label, "0", clip, given["source"], given["prompt"], given["source_prompt"], given["truth"], given["mask"])]
    if given["mask"] == "none":
        items = [replace(item, mask="none") for item in items]
    reading = Reading(given["align"], given["resize_source"], given["yes"])
    fallback = os.path.basename(os.path.normpath(given["edited_dir"] or items[0].video_id))
    return Plan(
        items=tuple(items),
        choice=choice,
        options=make_options(given, profile),
        reading=reading,
        name=given["name"],
        fallback_name=fallback,
        seed=given["seed"],
        baseline=given["baseline"],
        is_suite=bool(given["edited_dir"]),
        skips=skips,
    )


def make_options(given: dict[str, Any], profile: str) -> Options:
    from vedit.metrics.types import Options

    names = ("device", "dtype", "batch", "dino", "dover_antialias", "success_model", "lpips_net", "flow", "mask_dilate", "bg_norm")
    return Options(profile, **{name: given[name] for name in names})


def choose_profile(given: dict[str, Any], finder: Any, voice: Voice) -> tuple[str, dict[str, str]]:
    """The profile, and modules that are skipped since their weights are not on this machine.

    Without --profile nothing is downloaded unless a metric that needs weights is named: metrics of a
    group are skipped, flow is TV-L1 where GMFlow is not here, and where no weights are left to read
    the profile is the embedded one.
    """
    from vedit import metrics
    from vedit.app.score.metrics import catalogue, choose
    from vedit.metrics.base import towers_of

    if given["profile"]:
        return given["profile"], {}
    if given["flow"] is None and finder.look("gmflow") is None:
        given["flow"] = "tvl1"
    options, facts = make_options(given, "v2vbench"), catalogue()
    choice = choose(given["metrics"], "v2vbench")
    named = {facts[key].metric for key in choice.named}
    towers = {module: towers_of(metrics.load(module), options) for module in choice.modules()}
    lacking = {
        module: missing for module, names in towers.items() if (missing := [name for name in names if finder.look(name) is None]) and module not in named
    }
    skips = {module: f"no weights on this machine; fetch them with: vedit score weights --fetch {missing[0]}" for module, missing in lacking.items()}
    if any(names for module, names in towers.items() if module not in lacking):
        return "v2vbench", skips
    if not given["metrics"]:
        voice.say("no weights found, so this is the embedded profile, which needs none; the eight metrics of V2VBench: vedit score weights")
        return "embedded", {}
    return "embedded", skips


def threshold(name: str, text: str, plan: Plan) -> tuple[str, float]:
    """METRIC=VALUE of --fail-under or --fail-over, whose name the message bears."""
    option = f"--{name.replace('_', '-')}"
    key, equals, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not equals or value != value:
        raise UsageError(f"{option} {text} is not a threshold.", f"Write METRIC=VALUE, for example {option} psnr=30.")
    key = key.strip().replace("-", "_")
    if key not in plan.choice.keys:
        raise UsageError(f"{option} {text}: {key} is not among the metrics{nearest(key, plan.choice.keys)}", f"They are: {', '.join(plan.choice.keys)}.")
    return key, value


def journal_path(given: dict[str, Any]) -> str:
    return str(given["journal"] or os.path.join(given["edited_dir"], "vedit-score.jsonl"))


def report(results: Results, given: dict[str, Any], page: Callable[[], str], *, is_suite: bool) -> None:
    """Write every form that was asked for, and the text table."""
    import json

    from vedit.app.score.render import rendered
    from vedit.app.score.results import summary_csv, to_csv, to_json
    from vedit.app.score.summary import explained, report_table
    from vedit.cli.score_outputs import write_outputs
    from vedit.media.atomic import open_output

    table = report_table(results)

    def text() -> str:
        words = explained(results.metrics[key] for key in results.keys)
        return rendered([table], "text") + (f"\n{words}\n" if given["explain"] else "")

    write_outputs(
        given,
        {
            "json": lambda: json.dumps(to_json(results), indent=1, ensure_ascii=False) + "\n",
            "csv": lambda: to_csv(results),
            "md": lambda: rendered([table], "md"),
            "latex": lambda: rendered([table], "latex", alone=given["standalone"]),
            "html": page,
        },
        text,
    )
    path = given["csv_file"]
    if path and path != "-" and is_suite:
        with open_output(os.path.splitext(path)[0] + ".summary.csv") as stream:
            stream.write(summary_csv(results).encode("utf-8", "backslashreplace"))


def verdict(results: Results, thresholds: list[tuple[str, str, float]], stopped_by: str, journal: str | None) -> None:
    """The exit code: a signal, failed videos, missed thresholds, in this order."""
    if stopped_by:
        done = sum(1 for row in results.rows if not any(why.startswith("interrupted") for why in row.skipped.values()))
        kind = Interrupted if stopped_by == "interrupt" else Stopped
        raise kind(
            f"interrupted; {done} of {len(results.rows)} videos are complete.", f"What is done is kept in {journal}.", "Go on with the same line and --resume"
        )
    if not results.metrics and not any(row.failed for row in results.rows):
        raise UsageError("no metric could be computed.", "What each one needs stands above.")
    failed = [row for row in results.rows if row.failed or (row.damage and len(results.rows) > 1)]
    if failed:
        first = failed[0]
        what = f"{first.label}: {next(iter(first.failed.values()), f'damaged: {first.damage}')}"
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise PartialFailure(f"{len(failed)} of {len(results.rows)} videos were not scored completely.", what + more)
    missed = []
    for name, key, value in thresholds:
        mean = results.summary(key).mean if key in results.metrics else None
        if mean is None or (mean < value if name == "fail_under" else mean > value):
            missed.append(f"{key} is {'undefined' if mean is None else f'{mean:.4f}'}, {'under' if name == 'fail_under' else 'over'} {value:g}")
    if missed:
        raise CheckFailed("; ".join(missed) + ".")
