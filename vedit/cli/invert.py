"""`vedit invert`: from a clip to the noise that samples back to it."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, echo, examples, print_json, voice_options
from vedit.cli.edit import (
    call_option,
    clip_options,
    control_option,
    hide_bars_of,
    model_options,
    settings_of,
)

EXAMPLES = (
    (
        'vedit invert clip.gif -o clip.inv.safetensors --prompt "a red circle on a grey background"',
        "invert with the embedded model",
    ),
    (
        (
            'vedit invert wolf.mp4 -o wolf.inv.safetensors --model FOLDER --prompt "a grey wolf" --frames 8'
            " --stride 3"
        ),
        "eight frames of a real clip, with a model of yours",
    ),
    (
        (
            "vedit invert clip.gif -o tuned.inv.safetensors --for-method video-p2p --embed-tuning --prompt"
            ' "a red circle on a grey background"'
        ),
        (
            "tuned on the clip, with the weights in the file; edit with: --method video-p2p --inversion"
            " tuned.inv.safetensors"
        ),
    ),
    (
        (
            'vedit invert clip.gif -o clip.inv.safetensors --method null-text --guidance 4 --prompt "a red'
            ' circle on a grey background"'
        ),
        (
            "embeddings that hold sampling at guidance 4 on the clip; edit with: --inversion"
            " clip.inv.safetensors --set guidance=4"
        ),
    ),
)


@click.command(
    help=f"""Invert a clip: compute the noise that samples back to it, for edits to start from.

`vedit edit` does this by itself and keeps the result in a cache; a file of one's own can be moved
to another machine. Prints the identity key and how well the clip is reconstructed.

{examples(EXAMPLES)}"""
)
@click.argument("input", metavar="INPUT")
@click.option(
    "-o", "--output", metavar="FILE", required=True, help="Write the inversion here (NAME.inv.safetensors)."
)
@click.option("--prompt", default="", metavar="TEXT", help="What the clip shows.")
@click.option("--steps", type=click.IntRange(1), default=50, metavar="N", help="Noise levels computed.")
@click.option(
    "--fixed-point",
    type=click.IntRange(0, 10),
    default=1,
    metavar="N",
    help="Further evaluations per step, which make the round trip exact.",
)
@click.option(
    "--solver",
    type=click.Choice(["ddim", "euler", "rf-solver", "fireflow", "uni-inv"]),
    default="ddim",
    help="How the flow of a video transformer is walked; ddim does for all models.",
)
@click.option(
    "--method",
    type=click.Choice(["ddim", "null-text"]),
    default="ddim",
    help="null-text also optimises embeddings that hold guided sampling on the clip.",
)
@click.option(
    "--guidance",
    type=click.FloatRange(1, 100),
    default=7.5,
    metavar="X",
    help="null-text: guidance of the edits to come.",
)
@click.option(
    "--inner-steps",
    type=click.IntRange(0, 50),
    default=10,
    metavar="N",
    help="null-text: steps of Adam per noise level, at most.",
)
@click.option(
    "--lr",
    type=click.FloatRange(1e-5, 1),
    default=1e-2,
    metavar="X",
    help="null-text: step size of the first level.",
)
@click.option(
    "--early-stop",
    type=click.FloatRange(0),
    default=1e-5,
    metavar="X",
    help="null-text: mean squared error to stop at in the first level.",
)
@click.option(
    "--shared/--per-frame", default=True, help="null-text: one embedding for all frames, or one for each."
)
@click.option(
    "--for-method",
    metavar="NAME",
    help="Invert as this method of editing does: its steps, null embeddings, attention of frames, tuning.",
)
@click.option("--preset", metavar="NAME", help="for-method: preset of its parameters.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="for-method: set a parameter of it."
)
@click.option(
    "--embed-tuning", is_flag=True, help="for-method: also write the weights that were tuned on the clip."
)
@click.option("--check/--no-check", default=True, help="Sample the inversion back and print the error in dB.")
@model_options
@control_option
@call_option
@clip_options
@click.option("-y", "--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@voice_options()
def command(
    input: str, settings: tuple[str, ...], as_json: bool, quiet: bool, progress: str, **given: Any
) -> None:
    from vedit.jobs.edit.plan import plan_inversion
    from vedit.jobs.edit.request import InvertRequest
    from vedit.media.atomic import together

    request = InvertRequest(input=input, set=settings_of(given["for_method"] or "p2p", settings), **given)
    voice = Voice(quiet, progress)
    if not voice.shows_bar:
        hide_bars_of(request.model)
    planned = plan_inversion(request, voice)
    with together(is_last=True):
        report = planned.run(voice)
    if as_json:
        print_json(report)
        return
    echo(f"{request.output}: key {report['key'][:16]}, {report['seconds']:.1f} s, {quality(report)}")
    if "psnr" in report:
        how = f" at guidance {request.guidance:g}" if request.method == "null-text" else ""
        echo(
            f"sampled back{how}: {report['psnr']:.1f} dB to the clip, {report['psnr_vae']:.1f} dB to what the"
            " autoencoder can show of it"
        )


def quality(report: dict[str, Any]) -> str:
    return (
        f"noise rms {report['noise_rms']:.2f}"
        if "noise_rms" in report
        else f"distance from the path {report['null_error']:.2g}"
    )
