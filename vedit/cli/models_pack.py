"""`vedit models pack`: write a training run's averaged weights as a model folder."""

from __future__ import annotations

import click

from vedit.cli.common import Voice, examples, print_json

EXAMPLES = (
    ("vedit models pack RUN -o model", "a Stable Diffusion folder in half precision, with training.json"),
    ("vedit models pack RUN -o model --annealed -y", "the weights of vedit train --anneal"),
    ("vedit models pack RUN -o motion --motion", "the motion adapter of vedit train --preset shapes-motion"),
)


@click.command(
    help=f"""Pack a run of vedit train --preset shapes-all into a model folder.

The folder opens with diffusers' StableDiffusionPipeline.from_pretrained; the scorer and the
judge lie beside it, and training.json says how everything was trained, with a hash of every
file. Measure it with: vedit bench model DIR --store. With --motion the folder holds the adapter
that makes clips: a MotionAdapter of diffusers and the vectors of the motion words.

{examples(EXAMPLES)}"""
)
@click.argument("run")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write.")
@click.option("--annealed", is_flag=True, help="Pack the annealed copy.")
@click.option("--motion", is_flag=True, help="Pack the motion adapter instead.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace what the folder holds, except its README.md.")
@click.option("--json", "as_json", is_flag=True, help="Print training.json.")
def command(run: str, output: str, annealed: bool, motion: bool, overwrite: bool, as_json: bool) -> None:
    from pathlib import Path

    from vedit.app.extras import need

    need("diffusion")
    from vedit.app.shapes_model import pack, pack_motion

    write, stage = (pack_motion, "motion") if motion else (pack, "unet")
    record = write(Path(run), Path(output), stage=f"{stage}-annealed" if annealed else stage, overwrite=overwrite)
    if as_json:
        print_json(record)
    else:
        Voice().say(f"{output}: packed {len(record['files'])} files. Measure it with: vedit bench {'motion' if motion else 'model'} {output} --store")
