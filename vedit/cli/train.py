"""`vedit train`: train the models that ship with the package, or a generator on your own clips."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from vedit.cli.common import Voice, echo, examples, print_json, toml_value
from vedit.errors import Stopped, UsageError
from vedit.training.stages import PRESETS

if TYPE_CHECKING:
    from vedit.training.loop import Report

EXAMPLES = (
    (
        "vedit train --preset shapes-all --out RUN",
        "every stage of the embedded model; stop and call again as you like",
    ),
    ("vedit train --preset shapes --out RUN --steps 20000", "the denoiser alone, up to a step"),
    (
        "vedit train --preset shapes --out RUN --anneal 1500",
        "a copy of the newest state, its rate falling to zero: weights to ship",
    ),
    (
        "vedit train --preset shapes-all --out RUN --device cuda --compile --batch 1024 --rate 2e-3",
        "on a GPU, drawing included",
    ),
    (
        "vedit train --preset shapes-video-pictures --out RUN",
        "the video model: single pictures, then shapes-video-pairs, then shapes-video for clips",
    ),
    (
        "vedit train --preset shapes-video --begin builtin --out RUN",
        "go on from the video model that ships, without the run that made it",
    ),
    (
        "vedit train --preset moving-mnist --data DIR --out RUN",
        "a text-to-video generator on a folder of NAME.gif and NAME.txt",
    ),
    (
        "vedit train --preset improved --data DIR --out RUN --set loss.perceptual=0 --launch 2",
        "without the VGG loss, in two processes",
    ),
    (
        "vedit train --method easyv2v --pairs pairs.jsonl --backbone shapes-video --out RUN --set rank=16",
        "an instruction editor on pairs of vedit data edit-pairs",
    ),
    ("vedit train --describe", "every setting of a generator, for --set and presets of your own"),
)


@click.command(
    help=f"""Train the embedded models on scenes drawn as they are needed, or a generator on your clips.

Of the embedded models the presets, of kind "embedded", are stages: shapes-codec, shapes-judge
(the classifier that reads samples), shapes-scorer, shapes (denoiser and text encoder, without end), and
shapes-all, which goes through them in this order. The video model has stages of its own upon the packed
picture model: shapes-video-codec, shapes-video-pictures, shapes-video-pairs, shapes-video (clips) and
shapes-video-judged (what it draws is read by the judge), all but the first without end.

A text-to-video generator trains on --data, a folder of NAME.gif and NAME.txt, by a preset of kind
"train": tiny, moving-mnist, improved, or a TOML file of your own. Loss curve, log and sample strips
appear in the run folder. Several machines: accelerate launch -m vedit train ...

An instruction editor trains with --method easyv2v: LoRA on a backbone, on pairs of clips. Its run folder
has the weights for vedit edit --weights as RUN/weights. The embedded one is two presets, shapes-instruct
and shapes-instruct-judged.

The run folder holds everything; the same command goes on where it was stopped, exactly. SIGTERM
and Ctrl-C save first and exit with 75: call again to continue.

{examples(EXAMPLES)}"""
)
@click.option(
    "--preset",
    metavar="NAME",
    help=f"What to train: {', '.join(PRESETS)}; or a training preset or TOML file.",
)
@click.option(
    "--method",
    metavar="NAME",
    help="Train an editor instead of a preset: easyv2v, which follows instructions.",
)
@click.option("--pairs", metavar="FILE", help="With --method: pairs.jsonl of vedit data edit-pairs.")
@click.option(
    "--backbone", metavar="NAME", help="With --method: a model of Wan's layout, as of vedit edit --model."
)
@click.option("--out", "folder", metavar="RUN", help="The run folder: state, log and frozen parts.")
@click.option("--data", metavar="DIR", help="Folder of clips with captions, for a generator.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="[TABLE.]KEY=VALUE",
    help="Change a setting of a generator (TABLE.KEY), or of easyv2v (KEY); repeatable.",
)
@click.option(
    "--describe",
    is_flag=True,
    help="Explain every setting of a generator, or with --method of easyv2v, and stop.",
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda, cuda:1, mps.")
@click.option(
    "--launch",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Train a generator in N processes, one per GPU.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Arithmetic; weights stay in fp32.",
)
@click.option("--threads", type=click.IntRange(1), default=None, metavar="N", help="Threads on a CPU.")
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile the embedded denoiser; takes minutes, then saves a tenth of the time on a CPU.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=None,
    metavar="N",
    help="Decides weights at the start and everything drawn; 0 by default.",
)
@click.option(
    "--steps", type=click.IntRange(1), default=None, metavar="N", help="Train up to this step in all."
)
@click.option(
    "--anneal",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Train a copy N steps further, its rate falling to zero, without the weight of the object's mask.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Pictures or clips at once (embedded denoiser: 32).",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=None,
    metavar="X",
    help="Learning rate (embedded denoiser: 0.0012).",
)
@click.option(
    "--begin",
    metavar="DIR",
    help=(
        "Begin a new stage of the video model with the weights of a packed one; builtin: the one that ships."
    ),
)
@click.option(
    "--vgg-weights",
    metavar="FILE|random:SEED",
    help="VGG16-BN of the perceptual loss; from the Hub by default.",
)
@click.option("--fresh", is_flag=True, help="Begin anew in the run folder; with -y what is there is removed.")
@click.option("-y", "--overwrite", is_flag=True, help="Let --fresh remove an earlier run.")
@click.option("--json", "as_json", is_flag=True, help="Print each report as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No reports.")
def command(describe: bool, as_json: bool, quiet: bool, settings: tuple[str, ...], **given: Any) -> None:
    if describe:
        if given["method"] is not None:
            from vedit.jobs.train import easyv2v

            echo("\n".join(easyv2v.described()))
            return
        from vedit.training.params import described

        echo("\n".join(described()))
        return
    from vedit.jobs.train.request import GeneratorPlan, TrainRequest, plan

    voice = Voice(quiet)
    planned = plan(TrainRequest(settings=_settings(settings), **given))
    if isinstance(planned, GeneratorPlan) and planned.processes > 1:
        # -P: without it, -m looks for vedit and all that it imports in the working folder first
        planned.launch(
            [sys.executable, "-P", "-m", "vedit", *(word for word in sys.argv[1:] if word != "--fresh")]
        )
        return
    with stop_flag() as should_stop, _one_voice():
        for stage, report in planned.run(voice, should_stop):
            if as_json:
                print_json({"stage": stage, **asdict(report)})
            else:
                voice.say(_line(stage, report))
            sys.stdout.flush()


@contextmanager
def _one_voice() -> Iterator[None]:
    """Of processes that train together, let the first say that they were stopped."""
    try:
        yield
    except Stopped:
        if os.environ.get("RANK", "0") != "0":
            raise SystemExit(Stopped.exit_code) from None
        raise


def _settings(texts: tuple[str, ...]) -> dict[str, Any]:
    """`TABLE.KEY=VALUE` by TABLE.KEY."""
    changes = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(
                f"--set {text} has no value.",
                "Write TABLE.KEY=VALUE, such as optim.rate=3e-4.",
                "See: vedit train --describe",
            )
        changes[key.replace("-", "_")] = toml_value(value)
    return changes


def _line(stage: str, report: Report) -> str:
    measured = " ".join(f"{name} {value}" for name, value in report.measured.items())
    place = f"{stage} step {report.step}, {report.pictures} pictures"
    return f"{place}, loss {report.losses['loss']:.4f}, {report.pictures_per_s:.0f}/s {measured}".rstrip()


def _note(asked: list[int], number: int) -> None:
    """Remember a signal, and tell a person once that it came: the end may be a step away."""
    if not asked and sys.stderr.isatty():
        os.write(2, b"\nvedit: stopping; the state is being saved\n")
    asked.append(number)


@contextmanager
def stop_flag() -> Iterator[Any]:
    """Turn SIGTERM, SIGINT and SIGUSR1 into a question: should the loop stop after this step?"""
    asked: list[int] = []
    before = {}
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and (
            name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN
        ):  # nohup ignores it
            before[number] = signal.signal(number, lambda number, frame: _note(asked, number))
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
