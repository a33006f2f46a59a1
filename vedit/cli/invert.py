"""`vedit invert`: from a clip to the noise that samples back to it."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, examples, print_json
from vedit.cli.edit import clip_options, model_options, parse_size

EXAMPLES = (
    ('vedit invert clip.gif -o clip.inv.safetensors --prompt "a red circle on a grey background"', "invert with the embedded model"),
    (
        'vedit invert wolf.mp4 -o wolf.inv.safetensors --model FOLDER --prompt "a grey wolf" --frames 8 --stride 3',
        "eight frames of a real clip, with a model of yours",
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
@click.option("--check/--no-check", default=True, help="Sample the inversion back and print the error in dB.")
@model_options
@clip_options
@click.option("-y", "--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings.")
@click.option("--progress", type=click.Choice(["auto", "jsonl", "none"]), default="auto", help="Progress on standard error.")
def command(input: str, output: str, **given: Any) -> None:
    from vedit.app.extras import need
    from vedit.media.atomic import check_output

    check_output(output, (input,), True if given["overwrite"] else None)
    need("diffusion")
    report = run(input, output, given)
    if given["as_json"]:
        print_json(report)
        return
    click.echo(f"{output}: key {report['key'][:16]}, {report['seconds']:.1f} s, noise std {report['noise_std']:.2f}")
    if "psnr" in report:
        click.echo(f"sampled back: {report['psnr']:.1f} dB to the clip, {report['psnr_vae']:.1f} dB to what the autoencoder can show of it")


def run(input: str, output: str, given: dict[str, Any]) -> dict[str, Any]:
    from vedit.app.clips import Selection, check_size, read_pixels
    from vedit.app.edit_video import latent_multiple
    from vedit.app.invert_video import InversionSettings, invert_video, measure
    from vedit.diffusion.hub import hide_downloads
    from vedit.diffusion.models import load_model

    voice = Voice(given["quiet"], given["progress"])
    if not voice.shows_bar:
        hide_downloads()
    model = load_model(given["model"], given["revision"], device=given["device"], dtype=given["dtype"], offload=given["offload"])
    selection = Selection(given["start"], given["stride"], given["frames"], parse_size(given["size"]) or model.native_size)
    check_size(selection.size, latent_multiple(model))
    pixels = read_pixels(input, selection, warn=voice.warn)
    settings = InversionSettings(given["prompt"], given["steps"], given["fixed_point"], given["frames_per_call"])
    report = invert_video(model, pixels, output, settings, watch=voice.steps)
    return {**report, **measure(model, pixels, output, settings)} if given["check"] else report
