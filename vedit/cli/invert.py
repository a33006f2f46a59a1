"""`vedit invert`: from a clip to the noise that samples back to it."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, echo, examples, print_json
from vedit.cli.edit import call_option, clip_options, hide_bars_of, model_options, read_first
from vedit.errors import UsageError

EXAMPLES = (
    ('vedit invert clip.gif -o clip.inv.safetensors --prompt "a red circle on a grey background"', "invert with the embedded model"),
    (
        'vedit invert wolf.mp4 -o wolf.inv.safetensors --model FOLDER --prompt "a grey wolf" --frames 8 --stride 3',
        "eight frames of a real clip, with a model of yours",
    ),
    (
        'vedit invert clip.gif -o clip.inv.safetensors --method null-text --guidance 4 --prompt "a red circle on a grey background"',
        "embeddings that hold sampling at guidance 4 on the clip; edit with: --inversion clip.inv.safetensors --set guidance=4",
    ),
)


@click.command(
    help=f"""Invert a clip: compute the noise that samples back to it, for edits to start from.

`vedit edit` does this by itself and keeps the result in a cache; a file of one's own can be moved
to another machine. Prints the identity key and how well the clip is reconstructed.

{examples(EXAMPLES)}"""
)
@click.argument("input", metavar="INPUT")
@click.option("-o", "--output", metavar="FILE", required=True, help="Write the inversion here (NAME.inv.safetensors).")
@click.option("--prompt", default="", metavar="TEXT", help="What the clip shows.")
@click.option("--steps", type=click.IntRange(1), default=50, metavar="N", help="Noise levels computed.")
@click.option("--fixed-point", type=click.IntRange(0, 10), default=1, metavar="N", help="Further evaluations per step, which make the round trip exact.")
@click.option(
    "--method", type=click.Choice(["ddim", "null-text"]), default="ddim", help="null-text also optimises embeddings that hold guided sampling on the clip."
)
@click.option("--guidance", type=click.FloatRange(1, 100), default=7.5, metavar="X", help="null-text: guidance of the edits to come.")
@click.option("--inner-steps", type=click.IntRange(0, 50), default=10, metavar="N", help="null-text: steps of Adam per noise level, at most.")
@click.option("--lr", type=click.FloatRange(1e-5, 1), default=1e-2, metavar="X", help="null-text: step size of the first level.")
@click.option("--early-stop", type=click.FloatRange(0), default=1e-5, metavar="X", help="null-text: mean squared error to stop at in the first level.")
@click.option("--shared/--per-frame", default=True, help="null-text: one embedding for all frames, or one for each.")
@click.option("--check/--no-check", default=True, help="Sample the inversion back and print the error in dB.")
@model_options
@call_option
@clip_options
@click.option("-y", "--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings.")
@click.option("--progress", type=click.Choice(["auto", "jsonl", "none"]), default="auto", help="Progress on standard error.")
def command(input: str, output: str, **given: Any) -> None:
    from vedit.app.extras import need
    from vedit.media.atomic import check_output

    if not output.endswith(".safetensors"):
        raise UsageError(
            f"-o {output} does not name an inversion.", "It ends in .safetensors.", f"Name it {output.rpartition('.')[0] or output}.inv.safetensors"
        )
    check_output(output, (input,), True if given["overwrite"] else None)
    need("diffusion")
    report = run(input, output, given)
    if given["as_json"]:
        print_json(report)
        return
    echo(f"{output}: key {report['key'][:16]}, {report['seconds']:.1f} s, {quality(report)}")
    if "psnr" in report:
        how = f" at guidance {given['guidance']:g}" if given["method"] == "null-text" else ""
        echo(f"sampled back{how}: {report['psnr']:.1f} dB to the clip, {report['psnr_vae']:.1f} dB to what the autoencoder can show of it")


def quality(report: dict[str, Any]) -> str:
    return f"noise rms {report['noise_rms']:.2f}" if "noise_rms" in report else f"distance from the path {report['null_error']:.2g}"


def run(input: str, output: str, given: dict[str, Any]) -> dict[str, Any]:
    voice = Voice(given["quiet"], given["progress"])
    if not voice.shows_bar:
        hide_bars_of(given["model"])
    pixels = read_first(input, (given["prompt"],), given, voice)

    from vedit.app.edit.invert import InversionSettings, invert_video, measure
    from vedit.diffusion.null_text import NullText
    from vedit.media.atomic import together, whereabouts
    from vedit.models.sd.load import load_model

    model = load_model(given["model"], given["revision"], device=given["device"], dtype=given["dtype"], offload=given["offload"], warn=voice.warn)
    null = None
    if given["method"] == "null-text":
        null = NullText(given["guidance"], given["inner_steps"], given["lr"], given["early_stop"], given["shared"])
    settings = InversionSettings(given["prompt"], given["steps"], given["fixed_point"], given["frames_per_call"], null)
    with together(is_last=True):
        report = invert_video(model, pixels, output, settings, watch=voice.steps)
        return {**report, **measure(model, pixels, whereabouts(output), settings)} if given["check"] else report
