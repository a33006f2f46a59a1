"""`vedit generate`: clips from text."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, examples, options, print_json
from vedit.errors import UsageError

EXAMPLES = (
    ('vedit generate "digit 5 moving left" -o five.gif', "with the embedded model: shapes and digits on plain or patterned ground"),
    ('vedit generate "digit 5 moving left" --model RUN -o five.gif', "with what vedit train has made so far"),
    ('vedit generate "digit 5 moving left" --model RUN -o four.gif --count 4 --ddim-num-steps 50', "four seeds side by side"),
    ("vedit generate --prompts prompts.txt --model RUN -O clips", "a clip for each line of a file"),
    ('vedit generate "digit 5 moving left" --model RUN -o five.gif --save-x-start x0', "keep what each step foresees"),
    (
        'vedit generate "digit 3 moving left" --model RUN -o three.gif --from-x-start x0/step-019.safetensors --from-step 8 --mask 0,0,32,64',
        "make a part of it anew",
    ),
)
# The options that belong to some backends only; who makes the clips refuses those it does not know.
checkpoint_options = options(
    click.option("--weights", type=click.Choice(["ema", "raw"]), help="Averaged weights (the default), or the trained ones themselves."),
    click.option("--eta", type=click.FloatRange(0, 1), metavar="X", help="0 samples by DDIM, 1 adds the noise of DDPM."),
    click.option("--clip", metavar="HOW", help="What keeps the foreseen clip in range (clip_x_start): none, static, dynamic, dynamic:0.995."),
    click.option("--spacing", type=click.Choice(["leading", "trailing", "linspace"]), help="Which timesteps are sampled."),
    click.option("--save-x-start", metavar="DIR|FILE", help="Keep what the steps foresee: a folder, a .png strip, or one clip."),
    click.option("--save-every", type=click.IntRange(1), metavar="K", help="Keep every K-th only."),
    click.option("--from-x-start", metavar="FILE", help="Go on from a stored or changed clip of --save-x-start."),
    click.option("--from-step", type=click.IntRange(0), metavar="K", help="The step to go on from; the later, the less changes."),
    click.option("--mask", multiple=True, metavar="MASK", help="Where to make it anew: white of a picture or clip, box:x,y,w,h, time:1s-2s."),
)
EXTRA = ("weights", "eta", "clip", "spacing", "save_x_start", "save_every", "from_x_start", "from_step", "mask")


@click.command(
    help=f"""Make a clip from text.

{examples(EXAMPLES)}"""
)
@click.argument("prompt", required=False)
@click.option("-o", "--output", metavar="FILE", help="Write here; - is standard output. Several clips become a grid.")
@click.option("-O", "--output-dir", metavar="DIR", help="Write each clip into this folder.")
@click.option("--to", metavar="FORMAT", help="Output format when the name does not tell; of the files of -O, gif by default.")
@click.option(
    "--model",
    metavar="NAME",
    default="shapes",
    show_default=True,
    help="shapes (embedded, drawn scenes), a run of vedit train, a packed generator, or a Hub id.",
)
@click.option("--revision", metavar="REV", help="Branch, tag or commit of a Hub model.")
@click.option("--prompts", metavar="FILE", help="Prompts from a file, one per line.")
@click.option("--negative", metavar="TEXT", help="What guidance leads away from.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Seed of the noise.")
@click.option("--count", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N", help="Clips per prompt, with seeds counted up.")
@click.option("--steps", "--ddim-num-steps", "steps", type=click.IntRange(1), metavar="N", help="Sampling steps.")
@click.option("--guidance", type=click.FloatRange(0, 100), metavar="W", help="Weight of classifier-free guidance; 1 is none.")
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Frames of the clip.")
@click.option("--size", metavar="S|WxH", help="Side of the square, or width and height.")
@click.option("--fps", type=click.FloatRange(0.01, 1000), metavar="X", help="Frames per second.")
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--dtype", type=click.Choice(["auto", "fp32", "fp16", "bf16"]), default="auto", help="Precision of the network.")
@checkpoint_options
@click.option("--no-metadata", is_flag=True, help="Write no run record.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print the run record of each output.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings.")
@click.option("--progress", type=click.Choice(["auto", "jsonl", "none"]), default="auto", help="Progress on standard error.")
def command(prompt: str | None, output: str | None, output_dir: str | None, as_json: bool, quiet: bool, progress: str, **given: Any) -> None:
    from vedit.app.extras import need
    from vedit.app.generate import Choices, Job, generate, read_prompts, requests_for

    if (prompt is None) == (given["prompts"] is None):
        raise UsageError("give a prompt or --prompts FILE, one of them.", "", f"Example: {EXAMPLES[0][0]}")
    if (output is None) == (output_dir is None):
        raise UsageError("give -o FILE or -O DIR, one of them.", "", f"Example: {EXAMPLES[0][0]}")
    need("diffusion")
    voice = Voice(quiet, progress)
    prompts = read_prompts(given["prompts"]) if given["prompts"] else [prompt or ""]
    extra = {name: given[name] for name in EXTRA if given[name] not in (None, ())}
    rows = requests_for(prompts, _request(given, extra), given["count"])
    if "save_x_start" in extra and len(rows) * given["count"] > 1:
        raise UsageError("--save-x-start keeps the steps of one clip.", f"{len(rows) * given['count']} are asked for.", "Leave out --count and --prompts")
    choices = Choices(given["model"], given["revision"], given["device"], given["dtype"], {}, voice.warn)
    if "weights" in extra:
        choices = choices._replace(extra={"weights": extra["weights"]})
    job = Job(choices, rows, output, output_dir, f".{given['to'] or 'gif'}", given["to"], not given["no_metadata"])
    _check_outputs(job, given["overwrite"])
    for record in generate(job, warn=voice.warn, watch=voice.steps):
        if as_json:
            print_json(record)


def _request(given: dict[str, Any], extra: dict[str, Any]) -> Any:
    """The options that all clips share, without prompt."""
    from vedit.app.generate import Request, rate_of
    from vedit.cli.edit import parse_size

    size = parse_size(given["size"])
    return Request(
        "",
        given["negative"],
        given["seed"],
        given["frames"],
        (size, size) if isinstance(size, int) else size,
        given["steps"],
        given["guidance"],
        rate_of(given["fps"]) if given["fps"] else None,
        extra,
    )


def _check_outputs(job: Any, overwrite: bool) -> None:
    """Refuse outputs that exist before anything is made."""
    import os

    from vedit.app.generate import file_name
    from vedit.errors import OutputError
    from vedit.media.atomic import check_output

    if job.output is not None:
        check_output(job.output, (), overwrite or None)
        return
    try:
        os.makedirs(job.folder, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{job.folder}: cannot make the folder: {(error.strerror or str(error)).lower()}.") from None
    for number, row in enumerate(job.requests):
        for request in row:
            check_output(os.path.join(job.folder, file_name(number, request, job)), (), overwrite or None)
