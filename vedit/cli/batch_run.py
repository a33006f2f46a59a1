"""`vedit batch run`: make what is open of many edits."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from vedit.cli.common import Voice, echo, examples, options, print_json, voice_options
from vedit.errors import RemoteError, UsageError, reason_of
from vedit.jobs import runners

if TYPE_CHECKING:
    from vedit.jobs.batch.plan import Plan
    from vedit.jobs.batch.request import BatchRequest
    from vedit.jobs.batch.run import Outcome

EXAMPLES = (
    ("vedit batch run jobs.csv -O out", "every row of a table; again, and it goes on"),
    (
        'vedit batch run clips --source-from txt --prompt "{caption} in the snow" -O out',
        "every clip of a folder, with the words of NAME.txt beside it",
    ),
    (
        (
            'vedit batch run clips --source "a red circle" --prompt "a blue circle" --over '
            "seed=0,1 --over method=p2p,pnp -O out"
        ),
        "every combination",
    ),
    ("vedit batch run jobs.toml -O out --dry-run", "what a matrix would make, and what is done already"),
    ("vedit batch run out/failed.csv -O out", "what failed, once more, when it is mended"),
    ("vedit batch run jobs.csv -O out --shard 1/4", "the first quarter, on one of four machines"),
    (
        "vedit batch run jobs.csv -O out --runner slurm --tasks 8%4 --sbatch=--gres=gpu:1 | sbatch",
        "an array of eight parts, four at a time",
    ),
)
row_options = options(
    click.option(
        "--prompt",
        "prompts",
        multiple=True,
        metavar="TEXT",
        help=(
            "What clips should show, where a row does not say; {stem} {parent} {caption} "
            "{index} and columns are filled in. Several make an edit each."
        ),
    ),
    click.option(
        "--source-prompt", "--source", metavar="TEXT", help="What clips show, where a row does not say."
    ),
    click.option(
        "--source-from",
        type=click.Choice(["txt", "record", "name"]),
        help=(
            "What the clips of a folder show: the words of NAME.txt beside each, the prompt in its run"
            " record, or its name."
        ),
    ),
    click.option(
        "--clips", metavar="DIR", help="Where the videos of an index lie; its own folder by default."
    ),
    click.option(
        "--over", multiple=True, metavar="KEY=V1,V2", help="Make every row with each of these values."
    ),
    click.option(
        "--pair",
        type=click.Choice(["product", "zip"]),
        default="product",
        help="Several --over: every combination, or the first with the first.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set a parameter of the method, where a row does not.",
    ),
    click.option(
        "--method", metavar="NAME", help="Editing method, where a row does not say; p2p by default."
    ),
    click.option("--preset", metavar="NAME", help="Preset of parameters, where a row does not say."),
    click.option(
        "--model",
        metavar="NAME",
        help="Model, where a row does not say; that of vedit edit or generate by default.",
    ),
    click.option("--revision", metavar="REV", help="Branch, tag or commit of a Hub model."),
    click.option(
        "--dtype", type=click.Choice(["auto", "fp32", "fp16", "bf16"]), help="Precision of the network."
    ),
    click.option(
        "--lora",
        multiple=True,
        metavar="FILE|ID[:SCALE]",
        help="Merge a LoRA into the model, where a row does not say; several add up.",
    ),
    click.option(
        "--control",
        multiple=True,
        metavar="NET[=WEIGHT][:CLIP]",
        help="Go by a ControlNet, where a row does not say: canny, depth=0.5:depth.mp4; several add up.",
    ),
    click.option(
        "--image-prompt",
        metavar="FILE[=WEIGHT]",
        help="Show the look of a picture too, where a row does not say.",
    ),
    click.option(
        "--image-adapter",
        metavar="FILE|DIR|ID",
        help="The IP-Adapter that reads the picture of --image-prompt.",
    ),
    click.option("--seed", type=int, metavar="N", help="Seed, where a row does not say."),
    click.option(
        "--steps", type=click.IntRange(1), metavar="N", help="Sampling steps, where a row does not say."
    ),
    click.option(
        "--guidance",
        type=click.FloatRange(1, 100),
        metavar="X",
        help="How strongly the prompt leads, where a row does not say.",
    ),
    click.option(
        "--negative", metavar="TEXT", help="What guidance leads away from, where a row does not say."
    ),
    click.option("--frames", type=click.IntRange(1), metavar="N", help="Take at most so many frames."),
    click.option("--stride", type=click.IntRange(1), metavar="N", help="Take every so many-th frame."),
    click.option("--start", type=click.IntRange(0), metavar="N", help="First frame, from 0."),
    click.option("--size", metavar="S|WxH", help="Size that is worked on."),
    click.option("--crop", type=click.Choice(["none", "square"]), help="square: only the centre square."),
)
batch_options = options(
    click.option(
        "-O",
        "--output-dir",
        metavar="DIR",
        required=True,
        help="Folder for outputs, reports and the state.",
    ),
    click.option(
        "--name",
        metavar="TEMPLATE",
        help=(
            "Names of outputs, such as {label}/{stem}-{seed}.{ext}. Fields: stem relpath "
            "parent index label method preset seed prompt source edit video axes axis.NAME "
            "key ext, and columns that begin with _; {prompt:40} cuts."
        ),
    ),
    click.option(
        "--workers",
        default="auto",
        metavar="auto|N|cuda:0,cuda:1|cpu*2",
        help="Who works: by default one worker per GPU, or one on the CPU. Any number gives the same bytes.",
    ),
    click.option("--shard", metavar="I/N", help="Make only the I-th of N parts."),
    click.option(
        "--retries",
        type=click.IntRange(0),
        default=1,
        metavar="N",
        help="Further tries when memory runs out, a service fails or a worker dies.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        metavar="S",
        help="Replace a worker that has said nothing for so many seconds, loading included.",
    ),
    click.option(
        "--recycle", type=click.IntRange(1), metavar="N", help="Start a fresh worker after every N items."
    ),
    click.option(
        "--grace",
        type=click.FloatRange(0),
        metavar="S",
        help="After Ctrl-C or SIGTERM let items go on for so many seconds; by default to their end.",
    ),
    click.option(
        "--order",
        type=click.Choice(["model", "given"]),
        default="model",
        help=(
            "model: items of one model and clip follow each other, so that each is loaded and inverted once;"
            " given: as the rows stand."
        ),
    ),
    click.option("--max-failures", metavar="N|P%", help="Stop when so many items have failed."),
    click.option("--fail-fast", is_flag=True, help="Stop at the first failure."),
    click.option("--retry-failed", is_flag=True, help="Try what failed in an earlier call again."),
    click.option(
        "--redo",
        metavar="all|older|REGEX",
        help="Make what is done again: all, what an older vedit made, or outputs whose name matches.",
    ),
    click.option(
        "--verify", is_flag=True, help="Read all outputs that are done, and make again what has changed."
    ),
    click.option("-y", "--overwrite", is_flag=True, help="Replace files in DIR that no batch made."),
    click.option("--dry-run", is_flag=True, help="Tell what would be made, and write nothing."),
    click.option(
        "--json", "as_json", is_flag=True, help="Print the summary, or the plan of --dry-run, as JSON."
    ),
    voice_options(
        "Progress on standard error: a line on a terminal, one a minute elsewhere, JSON lines for programs."
    ),
)

runner_options = options(
    click.option(
        "--runner",
        type=click.Choice(runners.names()),
        default="local",
        help=(
            "Who works: local, processes of this machine; ray, a cluster; slurm, an array of calls, whose "
            "script is printed. All give the same bytes."
        ),
    ),
    click.option("--tasks", metavar="N[%M]", help="slurm: in so many parts, M at a time. By default 4."),
    click.option(
        "--sbatch",
        multiple=True,
        metavar="OPTION",
        help="slurm: an option of sbatch, such as --sbatch=--time=8:00:00.",
    ),
    click.option(
        "--template",
        metavar="FILE",
        help="slurm: a script that was printed before and edited; vedit's own part is written anew.",
    ),
    click.option("--submit", is_flag=True, help="slurm: hand the script to sbatch instead of printing it."),
)
WORKER = (sys.executable, "-m", "vedit.cli.worker")
NOT_OF_PARTS = {
    *("runner", "tasks", "sbatch", "template", "submit"),
    *("shard", "retry_failed", "redo", "dry_run", "as_json"),
}


@click.command(
    short_help="Make what is open; what a call without a command does.",
    help=f"""Make many edits.

JOBS is a table (.csv), JSON lines (.jsonl), a matrix (.toml), an index (suite.toml, V2VBench's
.yaml), a folder of clips, or the failed.csv of an earlier call. Keys of a row are the options of
vedit edit: input, source, prompt, method, preset, set.KEY, seed and so on; label and output name
the result; paths are seen from the list.

The same call again makes what is not done. What an item is goes by its contents: a row that
changes is made again, one that is renamed is moved. Ctrl-C lets items at work finish (exit code
75), a second one ends them. Items that failed are in DIR/failed.csv, and the exit code is 8.

{examples(EXAMPLES)}""",
)
@click.argument("jobs", nargs=-1, metavar="JOBS...")
@row_options
@batch_options
@runner_options
def command(
    jobs: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    progress: str,
    **given: Any,
) -> None:
    if not jobs:
        raise UsageError("batch needs a list of edits, or a folder.", "", f"Example: {EXAMPLES[0][0]}")
    from vedit.jobs.batch.request import BatchRequest, plan_batch

    request = BatchRequest(jobs, set=settings_of(settings), **given)
    voice = Voice(quiet, progress)
    made = plan_batch(request, voice)
    if made.dropped:
        more = f" and {len(made.dropped) - 3} more" if len(made.dropped) > 3 else ""
        voice.warn(f"no longer asked for, and left as they are: {', '.join(made.dropped[:3])}{more}")
    if request.dry_run:
        show_plan(made, request.part(), as_json)
    else:
        finish(made, request, voice, as_json)


def finish(made: Plan, request: BatchRequest, voice: Voice, as_json: bool) -> None:
    """Run what is open, tell what came of it, and raise what the exit code says."""
    from contextlib import closing

    from vedit.jobs.batch.gallery import keep_fresh
    from vedit.jobs.batch.run import run

    is_open = any(not item.twin for item in made.open())
    if is_open and request.runner != "slurm":
        from vedit.jobs.extras import need

        need("diffusion")
    call = request.call(typed(click.get_current_context(), NOT_OF_PARTS), os.getcwd(), WORKER)
    begun = runners.load(request.runner if is_open else "local").begin(call)
    if isinstance(begun, runners.Script):
        hand_over(begun, made, voice, request.submit)
        return
    face = Face(voice)
    with closing(begun) as crew:
        outcome = run(made, crew, request.policy(), face, keep_fresh(made))
    face.end()
    if as_json:
        print_json(outcome_json(outcome))
    conclude(made, outcome, voice)


def typed(context: click.Context, without: Collection[str]) -> list[list[str]]:
    """The call as it was typed, without some options: the words of the command, then those of each option."""
    from click.core import ParameterSource

    command, *_ = context.command_path.partition(" ")[::-1]
    words, options_ = command.split(), []
    for param in context.command.params:
        value: Any = context.params.get(param.name or "")
        source = context.get_parameter_source(param.name or "")
        if param.name in without or source not in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
            continue
        if isinstance(param, click.Argument):
            words += [f"./{name}" if name.startswith("-") else name for name in value]
        elif isinstance(param, click.Option) and param.is_flag:
            options_.append([param.opts[0]])
        else:
            many = value if param.multiple else [value]
            options_ += [_option(param.opts, str(one)) for one in many]
    return [words, *options_]


def _option(spellings: Sequence[str], value: str) -> list[str]:
    """An option with its value; one that looks like an option is tied to it."""
    return [f"{spellings[-1]}={value}"] if value.startswith("-") else [spellings[0], value]


def hand_over(script: runners.Script, made: Plan, voice: Voice, is_submitted: bool) -> None:
    """Print a script, or give it to its queue. The plan is written, and what is to be made again forgotten:
    the parts are plain calls.
    """
    from vedit.jobs.batch.run import prepare

    prepare(made)
    made.forget()
    content = script.text.encode("utf-8", "surrogateescape")
    if not is_submitted:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    import subprocess

    try:
        done = subprocess.run(script.submit, input=content, capture_output=True)
    except OSError as error:
        raise RemoteError(
            f"{script.submit[0]} cannot be called: {reason_of(error)}.",
            "It is there on the machines of a SLURM cluster.",
            "Leave --submit out to print the script",
        ) from None
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise RemoteError(f"{script.submit[0]} refused the script: {told}")
    voice.say(done.stdout.decode(errors="replace").strip() or "submitted")


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """What came of a call, for programs."""
    names = ("total", "done", "made", "failed", "is_stopped", "early", "seconds")
    return {name: getattr(outcome, name) for name in names}


def conclude(made: Plan, outcome: Outcome, voice: Voice) -> None:
    """Say how it ended; raises Stopped and PartialFailure."""
    from vedit.jobs.batch.progress import clock

    out = made.state.out
    mend = f"{out}/failed.csv has them with the reasons: mend it, then: vedit batch {out}/failed.csv -O {out}"
    told = outcome.concluded(out, "items", mend)
    voice.say(f"{out}: {told}, in {clock(outcome.seconds)}")


def settings_of(texts: Iterable[str]) -> dict[str, str]:
    """KEY=VALUE texts as a table of texts, which each row's method reads; raises UsageError for one that is
    none.
    """
    table = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text} has no value.", "Write KEY=VALUE.")
        table[key] = value
    return table


def show_plan(made: Plan, shard: tuple[int, int] | None, as_json: bool) -> None:
    """Counts, models, the first names, and what the rest will take."""
    from vedit.jobs.batch.forecast import costs, dearest, time_left
    from vedit.jobs.batch.plan import in_shard
    from vedit.jobs.batch.progress import clock

    items = made.items if shard is None else in_shard(made.items, shard)
    mine = {item.key for item in items}
    left = [item for item in made.open() if item.key in mine]
    models = sorted({item.request.model for item in left})
    takes = time_left(made, left) if left and made.done else None
    if as_json:
        print_json(
            {
                "total": len(items),
                "done": sum(item.key in made.done for item in items),
                "failed": sum(item.key in made.failed for item in items),
                "open": [{"key": item.key, "output": item.output} for item in left],
                "models": models,
                "dropped": made.dropped,
                "seconds_left": None if takes is None else round(takes.seconds, 1),
                "dearest": [{"output": item.output, "costs": costs(item)} for item in dearest(left)],
            }
        )
        return
    done = sum(item.key in made.done for item in items)
    failed = sum(item.key in made.failed for item in items)
    earlier = f", {failed} failed earlier (--retry-failed)" if failed else ""
    echo(
        f"{len(items)} item{'' if len(items) == 1 else 's'}, {done} done{earlier}, {len(left)} to be made"
        + (f" with {', '.join(models)}" if left else "")
    )
    for item in left[:10]:
        echo(f"  {item.output}")
    if len(left) > 10:
        echo(f"  and {len(left) - 10} more")
    if takes is not None:
        span = f"{clock(takes.low)}-{clock(takes.high)}"
        echo(f"about {clock(takes.seconds)} for one worker ({span}), by those done")
    for item in dearest(left):
        echo(f"the dearest with {item.request.model}, {item.output}:")
        for line in costs(item):
            echo(f"  {line}")


class Face:
    """Shows what a batch tells: a line that changes on a terminal, one a minute elsewhere, JSON lines."""

    EVERY_S = 60.0

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.shown = time.monotonic()
        self.width = 0
        self.said: set[str] = set()
        self.repeated = 0  # warnings that were said of another item

    def __call__(self, event: Mapping[str, Any]) -> None:
        if self.voice.progress == "jsonl":
            if event["event"] != "tick":
                sys.stderr.write(json.dumps(event) + "\n")
            return
        if event["event"] == "failed":
            self._clear()
            is_named = event["where"].endswith(event["output"])
            where = event["where"] if is_named else f"{event['where']}: {event['output']}"
            is_new = self._is_new(event["message"])
            self.voice.say(f"{where}: {event['message'] if is_new else 'failed for the same reason'}")
        elif event["event"] == "retry":
            self._clear()
            self.voice.say(f"{event['output']}: {event['message']}; tried again")
        elif event["event"] == "warning":
            if self._is_new(event["message"]):
                self._clear()
                self.voice.warn(f"{event['output']}: {event['message']}")
            else:
                self.repeated += 1
        elif event["event"] == "stopping":
            self._clear()
            at_work = f"{', '.join(event['running'])} is finished first; " if event["running"] else ""
            self.voice.say(f"stopping: {at_work}Ctrl-C again ends it now")
        elif event["event"] == "tick":
            self._show(event)

    def _show(self, event: Mapping[str, Any]) -> None:
        from vedit.jobs.batch.progress import line

        if self.voice.quiet or self.voice.progress == "none":
            return
        text = line(event["done"], event["total"], event["failed"], event["running"], event["left"])
        now = time.monotonic()
        if self.voice.shows_bar:
            text = text[:150]
            sys.stderr.write(f"\r{text}{' ' * (self.width - len(text))}")
            sys.stderr.flush()
            self.width = len(text)
        elif now - self.shown >= self.EVERY_S:
            self.shown = now
            self.voice.say(text)

    def _clear(self) -> None:
        if self.width:
            sys.stderr.write(f"\r{' ' * self.width}\r")
            self.width = 0

    def _is_new(self, message: str) -> bool:
        is_new = message not in self.said
        self.said.add(message)
        return is_new

    def end(self) -> None:
        self._clear()
        if self.repeated:
            times = "once" if self.repeated == 1 else f"{self.repeated} times"
            self.voice.say(
                f"warnings of the same words were given {times} more; each stands in its item's log"
            )
            self.repeated = 0
        sys.stderr.flush()
