"""`vedit bench scenes`: methods against the true edited clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from vedit import methods
from vedit.cli.common import Voice, echo, examples, print_json, voice_options
from vedit.cli.edit import model_options, settings_of

if TYPE_CHECKING:
    from vedit.jobs.bench.scenes import Contender

SHOWN = 3  # cases of each kind on a sheet
EXAMPLES = (
    ("vedit bench scenes --methods p2p,pnp --limit 2", "two cases of each kind"),
    (
        "vedit bench scenes --markdown -o table.md --sheet sheet.png",
        "all methods on all 120 cases, and a picture of some",
    ),
    (
        "vedit bench scenes --instructions --limit 2",
        "the embedded instruction editor on the same cases, told as instructions",
    ),
    ("vedit bench scenes --journal scores.jsonl", "the same in parts: a run that is stopped goes on"),
)


@click.command(
    help=f"""Score editing methods on drawn scenes, where the true edited clip is known.

Every case changes one field of a scene and keeps the rest. The table shows PSNR in dB to the truth
(whole), to the source where nothing should change (unchanged), to the truth elsewhere
(edited); success, which draws the scene with each value of the field and asks whether the
wanted one is nearest; and flicker. copy-source is what doing nothing scores, codec-of-truth the
most that can be reached. With --instructions the cases are told as instructions ("make the circle
blue") to the methods that follow some, and below the table stands the loss with the source against
that without. Intervals are 95 % bootstrap intervals over cases.

{examples(EXAMPLES)}"""
)
@click.option(
    "--methods",
    "names",
    metavar="A,B",
    help="Methods to score, or presets of theirs; all methods by default.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="METHOD.KEY=VALUE", help="Set a parameter of a method."
)
@click.option(
    "--cases",
    type=click.Choice(["drawn-scenes", "drawn-scenes-tuning"]),
    default="drawn-scenes",
    help="The frozen set; presets may be tuned on the second only.",
)
@click.option("--instructions", is_flag=True, help="Tell the cases as instructions, to easyv2v.")
@click.option(
    "--weights",
    metavar="DIR|ID",
    help="With --instructions: the weights of easyv2v; the embedded ones by default.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Cases of each kind; all by default.")
@click.option("--frames", type=click.IntRange(2, 8), default=8, metavar="N", help="Frames of each clip.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@click.option("--json", "as_json", is_flag=True, help="Print rows and the scores of every case as JSON.")
@click.option("-o", "--output", metavar="FILE", help="Write the table here too.")
@click.option(
    "--sheet",
    metavar="FILE",
    help=(
        "Write a contact sheet: source, truth and every method, three cases of each kind; without -o or"
        " --limit only those are run."
    ),
)
@click.option(
    "--journal",
    metavar="FILE",
    help=(
        "Write each score to FILE as soon as it is known, and take from there what is known already; code"
        " that changed is not noticed."
    ),
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
@model_options
@voice_options()
def command(
    names: str | None, settings: tuple[str, ...], cases: str, limit: int | None, frames: int, markdown: bool,
    as_json: bool,
    output: str | None, sheet: str | None, journal: str | None, overwrite: bool, quiet: bool,
    progress: str, instructions: bool, weights: str | None, **model_choice: Any,
) -> None:  # fmt: skip
    from vedit.errors import UsageError
    from vedit.jobs.extras import need
    from vedit.media.atomic import check_output, open_output, refuse_twice

    refuse_twice((("-o", output), ("--sheet", sheet), ("--journal", journal)))
    for path in (output, sheet):
        if path:
            check_output(path, (), True if overwrite else None)
    if sheet and not sheet.endswith((".png", ".webp")):
        raise UsageError(f"--sheet {sheet} is no name of a picture.", "End it in .png or .webp.")
    need("diffusion")
    from vedit.jobs.edit.settings import own_model
    from vedit.models.hub import layout_named
    from vedit.models.layout import ANIMATEDIFF, CLIPS

    if weights is not None and not instructions:
        raise UsageError("--weights is for --instructions.", "", "Add --instructions")
    if instructions:
        names = names or "easyv2v"
        check_followed(names.split(","))
        settings = (*settings, *([f"easyv2v.weights={weights}"] if weights is not None else []))
        model_choice["model"] = own_model("easyv2v", {"weights": weights or ""}, model_choice["model"])
    layout = layout_named(model_choice["model"], model_choice["revision"])
    able = methods.fitting_motion() if layout is ANIMATEDIFF else methods.fitting(of_clips=layout in CLIPS)
    chosen = names.split(",") if names else able
    contenders = contenders_of(chosen, settings, model_choice["model"])

    from dataclasses import asdict

    from vedit.jobs.bench.journal import Journal
    from vedit.jobs.bench.scenes import run_scenes, summary, table_text
    from vedit.jobs.bench.sheet import Sheet
    from vedit.models.load import load_model

    known = Journal(journal)
    model = load_model(model_choice.pop("model"), model_choice.pop("revision"), **model_choice)
    shown = Sheet() if sheet else None
    if shown is not None and limit is None and output is None:
        limit = SHOWN
    watch = timed(Voice(quiet, progress), len(contenders) + 2)
    scores = run_scenes(
        model, contenders, cases=cases, limit=limit, frames=frames, watch=watch, sheet=shown, journal=known
    )
    rows = summary(scores)
    text = table_text(rows, markdown)
    losses = {}
    if instructions and "easyv2v" in contenders:
        from vedit.jobs.bench.instructions import losses_of, losses_told

        losses = losses_of(model, weights or "", cases=cases, limit=limit, frames=frames)
        text = f"{text}\n\n{losses_told(losses)}"
    if as_json:
        told = {"losses": losses} if losses else {}
        print_json({"rows": rows, "scores": [asdict(entry) for entry in scores], **told})
    else:
        echo(text)
    if output:
        with open_output(output) as stream:
            stream.write(text.encode() + b"\n")
    if sheet and shown is not None:
        with open_output(sheet) as stream:
            shown.picture().save(stream, sheet.rpartition(".")[2])


def check_followed(names: list[str]) -> None:
    """Refuse methods that follow no instruction. Raises UsageError."""
    from vedit.errors import UsageError
    from vedit.jobs.edit.before import follows_instructions

    for name in names:
        if not follows_instructions(name):
            raise UsageError(
                f"--instructions tells the cases as instructions, and {name} follows none.",
                "",
                "Leave out --methods, or name easyv2v",
            )


def contenders_of(chosen: list[str], settings: tuple[str, ...], model: str) -> dict[str, Contender]:
    """The parameters of each method, by its own preset or by the preset that is named in its place.

    settings: METHOD.KEY=VALUE, or PRESET.KEY=VALUE. Raises UsageError.
    """
    from vedit.errors import UsageError
    from vedit.jobs.bench.scenes import Contender
    from vedit.jobs.edit.settings import method_params
    from vedit.presets.files import method_of

    own: dict[str, list[str]] = {name: [] for name in chosen}
    for setting in settings:
        method, dot, rest = setting.partition(".")
        if not dot or method not in own:
            raise UsageError(
                f"--set {setting} names no method that is scored.",
                "Write METHOD.KEY=VALUE.",
                f"Methods: {', '.join(chosen)}",
            )
        own[method].append(rest)
    found = {}
    for name in chosen:
        method = method_of(name)
        preset = None if name == method else name
        found[name] = Contender(method, method_params(method, preset, settings_of(method, own[name]), model))
    return found


def timed(voice: Voice, each: int) -> Any:
    """Progress that says, after the first case, how long all of them will take. each: rows of a case."""
    import time

    def watch(rows: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        begin = time.perf_counter()
        for done, row in enumerate(voice.steps(rows, total, what), 1):
            if done == each and total > each:
                took = time.perf_counter() - begin
                left = took * (total - done) / each
                voice.say(
                    f"a case takes {took:.1f} s; {total // each} cases: about"
                    f" {f'{left / 60:.0f} minutes' if left >= 90 else f'{left:.0f} s'} more"
                )
            yield row

    return watch
