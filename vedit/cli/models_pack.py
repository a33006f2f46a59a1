"""`vedit models pack`: write a training run's averaged weights as a model folder."""

from __future__ import annotations

import click

from vedit.cli.common import Voice, examples, print_json

EXAMPLES = (
    ("vedit models pack RUN -o model", "a Stable Diffusion folder in half precision, with training.json"),
    ("vedit models pack RUN -o model --annealed -y", "the weights of vedit train --anneal"),
)


@click.command(
    help=f"""Pack a run of vedit train --preset shapes-all into a model folder.

The folder opens with diffusers' StableDiffusionPipeline.from_pretrained; the scorer and the
judge lie beside it, and training.json says how everything was trained, with a hash of every
file. Measure it with: vedit bench model DIR --store

{examples(EXAMPLES)}"""
)
@click.argument("run")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write.")
@click.option("--annealed", is_flag=True, help="Pack the annealed copy of the denoiser.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace what the folder holds, except its README.md.")
@click.option("--json", "as_json", is_flag=True, help="Print training.json.")
def command(run: str, output: str, annealed: bool, overwrite: bool, as_json: bool) -> None:
    from pathlib import Path

    from vedit.app.extras import need

    need("diffusion")
    from vedit.app.shapes_model import pack

    record = pack(Path(run), Path(output), stage="unet-annealed" if annealed else "unet", overwrite=overwrite)
    if as_json:
        print_json(record)
    else:
        Voice().say(f"{output}: packed {len(record['files'])} files. Measure it with: vedit bench model {output} --store")
