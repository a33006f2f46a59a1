"""`vedit generate`: clips from text."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, examples, options, print_json
from vedit.errors import UsageError, reason_of

EXAMPLES = (
    ('vedit generate "a red star moving left on a grey background" -o star.gif', "with the embedded model: shapes on plain or patterned ground"),
    ('vedit generate "digit 5 moving left" --model RUN -o five.gif', "with what vedit train has made so far"),
    ('vedit generate "digit 5 moving left" --model RUN -o four.gif --count 4 --ddim-num-steps 50', "four seeds side by side"),
    ("vedit generate --prompts prompts.txt --model RUN -O clips", "a clip for each line of a file"),
    (
        'vedit generate "a cat on a beach" --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers -o cat.mp4 --frames 33 --size 832x480 --offload model',
        "any text-to-video pipeline of the Hub",
    ),
    ('vedit generate "a cat on a beach" --provider fal-ai --model Wan-AI/Wan2.2-TI2V-5B -o cat.mp4', "the same at an inference provider"),
    (
        'vedit generate "a cat on a beach" --model remote:videos --base-url http://127.0.0.1:8000/v1 --remote-model wan -o cat.mp4',
        "a server of one's own, such as vLLM-Omni",
    ),
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
hub_options = options(
    click.option(
        "--offload", type=click.Choice(["model", "sequential", "group"]), help="Keep parts of a Hub pipeline in memory and move them to the GPU for their use."
    ),
    click.option("--vae-tiling", is_flag=True, default=None, help="Decode in tiles: less memory, a Hub pipeline's own seams."),
    click.option("--variant", metavar="NAME", help="Variant of a Hub pipeline's weights, such as fp16."),
    click.option("--motion-adapter", metavar="NAME", help="Make an AnimateDiff of a Stable Diffusion model: a folder or Hub id."),
    click.option("--pipe", multiple=True, metavar="KEY=VALUE", help="A further argument of the pipeline's call, or of the provider's model."),
)
remote_options = options(
    click.option("--provider", metavar="NAME", help="Ask an inference provider of the Hub, such as fal-ai or replicate, for --model; token from HF_TOKEN."),
    click.option("--base-url", metavar="URL", help="Address of a hosted generator, for --model remote:videos; there is no default."),
    click.option("--remote-model", metavar="NAME", help="What the hosted generator calls its model."),
    click.option("--key-env", metavar="NAME", help="Variable that holds the API key; VEDIT_REMOTE_KEY, for a provider HF_TOKEN, by default."),
    click.option("--form", type=click.Choice(["multipart", "json"]), help="How fields are sent to a hosted generator; multipart by default."),
    click.option("--field", multiple=True, metavar="NAME=VALUE", help="A further field for a hosted generator, such as seconds=4; NAME= leaves one out."),
    click.option("--timeout", type=click.FloatRange(1), metavar="S", help="Longest wait for a hosted clip; 1800 by default."),
)
HUB_EXTRA = ("offload", "vae_tiling", "variant", "motion_adapter", "pipe")
REMOTE_EXTRA = ("base_url", "remote_model", "key_env", "form", "field", "timeout")
EXTRA = (*HUB_EXTRA, *REMOTE_EXTRA, "weights", "eta", "clip", "spacing", "save_x_start", "save_every", "from_x_start", "from_step", "mask")


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
@hub_options
@remote_options
@click.option("--no-metadata", is_flag=True, help="Write no run record.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--skip-existing", is_flag=True, help="With -O: make only the clips that are not there yet, as after a call that was stopped.")
@click.option("--json", "as_json", is_flag=True, help="Print the run record of each output.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings.")
@click.option("--progress", type=click.Choice(["auto", "jsonl", "none"]), default="auto", help="Progress on standard error.")
def command(prompt: str | None, output: str | None, output_dir: str | None, as_json: bool, quiet: bool, progress: str, **given: Any) -> None:
    from vedit.app.extras import need
    from vedit.app.generate.run import Choices, Job, generate, read_prompts, requests_for, without_finished

    if (prompt is None) == (given["prompts"] is None):
        raise UsageError("give a prompt or --prompts FILE, one of them.", "", f"Example: {EXAMPLES[0][0]}")
    if (output is None) == (output_dir is None):
        raise UsageError("give -o FILE or -O DIR, one of them.", "", f"Example: {EXAMPLES[0][0]}")
    given["model"] = _named(given["model"], given["provider"])
    if not given["model"].startswith(("remote:", "provider:")):
        need("diffusion")
    voice = Voice(quiet, progress)
    prompts = read_prompts(given["prompts"]) if given["prompts"] else [prompt or ""]
    extra = {name: given[name] for name in EXTRA if given[name] not in (None, ())}
    if "pipe" in extra:
        extra["pipe"] = _arguments(extra["pipe"])
    rows = requests_for(prompts, _request(given, extra), given["count"])
    if "save_x_start" in extra and len(rows) * given["count"] > 1:
        raise UsageError("--save-x-start keeps the steps of one clip.", f"{len(rows) * given['count']} are asked for.", "Leave out --count and --prompts")
    choices = Choices(given["model"], given["revision"], given["device"], given["dtype"], extra, voice.warn)
    if given["skip_existing"] and output_dir is None:
        raise UsageError("--skip-existing is for the files of -O.", "", "Leave it out, or write into a folder with -O DIR")
    job = Job(choices, rows, output, output_dir, f".{given['to'] or 'gif'}", given["to"], not given["no_metadata"])
    _check_outputs(job, given["overwrite"] or given["skip_existing"])
    if given["skip_existing"]:
        job = without_finished(job)
    for record in generate(job, warn=voice.warn, watch=voice.steps):
        if as_json:
            print_json(record)


def _named(model: str, provider: str | None) -> str:
    """The model with the provider that is asked for it; without --model the provider's own choice."""
    if provider is None:
        return model
    own = click.get_current_context().get_parameter_source("model") == click.core.ParameterSource.DEFAULT
    return f"provider:{provider}:{'' if own else model}"


def _arguments(texts: tuple[str, ...]) -> dict[str, Any]:
    """The `KEY=VALUE` of --pipe, values as TOML reads them."""
    from vedit.cli.common import toml_value

    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--pipe {text} has no value.", "Write KEY=VALUE.", "Example: --pipe max_sequence_length=256")
        found[key.strip().replace("-", "_")] = toml_value(value)
    return found


def _request(given: dict[str, Any], extra: dict[str, Any]) -> Any:
    """The options that all clips share, without prompt."""
    from vedit.app.edit.before import parse_size
    from vedit.app.generate.run import Request, rate_of

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

    from vedit.app.generate.run import file_name
    from vedit.app.record import SUFFIX
    from vedit.errors import OutputError
    from vedit.media.atomic import check_output, refuse_twice
    from vedit.media.formats import output_format

    kept = job.choices.extra.get("save_x_start")
    if job.output is not None:
        output_format(job.output, job.to)
        record = job.output + SUFFIX if job.record and job.output != "-" else None
        refuse_twice((("-o", job.output), ("--save-x-start", kept), ("the record", record)))
        check_output(job.output, (), overwrite or None)
        return
    if not job.folder:
        raise UsageError("the name behind -O is empty.", "A variable of a script may not be set.", "Name a folder")
    try:
        os.makedirs(job.folder, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{job.folder}: cannot make the folder: {reason_of(error)}.") from None
    paths = [os.path.join(job.folder, file_name(number, request, job)) for number, row in enumerate(job.requests) for request in row]
    refuse_twice([*(("a clip", path) for path in paths), ("--save-x-start", kept)])
    for path in paths:
        output_format(path, job.to)
        check_output(path, (), overwrite or None)
