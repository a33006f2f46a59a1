"""`vedit generate`: clips from text."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, declared_options, examples, print_json, toml_value, voice_options
from vedit.errors import UsageError
from vedit.jobs.generate.options import CheckpointOptions, HubOptions, RemoteOptions

EXAMPLES = (
    (
        'vedit generate "a red star moving left on a grey background" -o star.gif',
        "with the embedded model: shapes on plain or patterned ground",
    ),
    ('vedit generate "digit 5 moving left" --model RUN -o five.gif', "with what vedit train has made so far"),
    (
        'vedit generate "digit 5 moving left" --model RUN -o four.gif --count 4 --ddim-num-steps 50',
        "four seeds side by side",
    ),
    ("vedit generate --prompts prompts.txt --model RUN -O clips", "a clip for each line of a file"),
    (
        (
            'vedit generate "a cat on a beach" --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers -o cat.mp4 --frames'
            " 33 --size 832x480 --offload model"
        ),
        "any text-to-video pipeline of the Hub",
    ),
    (
        'vedit generate "a cat on a beach" --provider fal-ai --model Wan-AI/Wan2.2-TI2V-5B -o cat.mp4',
        "the same at an inference provider",
    ),
    (
        (
            'vedit generate "a cat on a beach" --model remote:videos --base-url http://127.0.0.1:8000/v1'
            " --remote-model wan -o cat.mp4"
        ),
        "a server of one's own, such as vLLM-Omni",
    ),
    (
        'vedit generate "digit 5 moving left" --model RUN -o five.gif --save-x-start x0',
        "keep what each step foresees",
    ),
    (
        (
            'vedit generate "digit 3 moving left" --model RUN -o three.gif --from-x-start'
            " x0/step-019.safetensors --from-step 8 --mask 0,0,32,64"
        ),
        "make a part of it anew",
    ),
)


@click.command(
    help=f"""Make a clip from text.

{examples(EXAMPLES)}"""
)
@click.argument("prompt", required=False)
@click.option(
    "-o", "--output", metavar="FILE", help="Write here; - is standard output. Several clips become a grid."
)
@click.option("-O", "--output-dir", metavar="DIR", help="Write each clip into this folder.")
@click.option(
    "--to",
    metavar="FORMAT",
    help="Output format when the name does not tell; of the files of -O, gif by default.",
)
@click.option(
    "--model",
    metavar="NAME",
    default="shapes-video",
    show_default=True,
    help="shapes-video or shapes (embedded, drawn scenes), a run of vedit train, a packed one, or a Hub id.",
)
@click.option("--revision", metavar="REV", help="Branch, tag or commit of a Hub model.")
@click.option("--prompts", metavar="FILE", help="Prompts from a file, one per line.")
@click.option("--negative", metavar="TEXT", help="What guidance leads away from.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Seed of the noise."
)
@click.option(
    "--count",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Clips per prompt, with seeds counted up.",
)
@click.option(
    "--steps", "--ddim-num-steps", "steps", type=click.IntRange(1), metavar="N", help="Sampling steps."
)
@click.option(
    "--guidance",
    type=click.FloatRange(0, 100),
    metavar="W",
    help="Weight of classifier-free guidance; 1 is none.",
)
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Frames of the clip.")
@click.option("--size", metavar="S|WxH", help="Side of the square, or width and height.")
@click.option("--fps", type=click.FloatRange(0.01, 1000), metavar="X", help="Frames per second.")
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "fp32", "fp16", "bf16"]),
    default="auto",
    help="Precision of the network.",
)
@declared_options(CheckpointOptions)
@declared_options(HubOptions)
@click.option(
    "--pipe",
    multiple=True,
    metavar="KEY=VALUE",
    help="A further argument of the pipeline's call, or of the provider's model.",
)
@click.option(
    "--provider",
    metavar="NAME",
    help=(
        "Ask an inference provider of the Hub, such as fal-ai or replicate, for --model; token from HF_TOKEN."
    ),
)
@declared_options(RemoteOptions)
@click.option("--no-metadata", is_flag=True, help="Write no run record.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option(
    "--skip-existing",
    is_flag=True,
    help="With -O: make only the clips that are not there yet, as after a call that was stopped.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the run record of each output.")
@voice_options()
def command(
    model: str, pipe: tuple[str, ...], as_json: bool, quiet: bool, progress: str, **given: Any
) -> None:
    from vedit.jobs.generate.request import GenerateRequest, plan

    own = click.get_current_context().get_parameter_source("model") == click.core.ParameterSource.DEFAULT
    request = GenerateRequest(model=None if own else model, pipe=_arguments(pipe) or None, **given)
    for record in plan(request).run(Voice(quiet, progress)):
        if as_json:
            print_json(record)


def _arguments(texts: tuple[str, ...]) -> dict[str, Any]:
    """The `KEY=VALUE` of --pipe, values as TOML reads them."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"--pipe {text} has no value.", "Write KEY=VALUE.", "Example: --pipe max_sequence_length=256"
            )
        found[key.strip().replace("-", "_")] = toml_value(value)
    return found
