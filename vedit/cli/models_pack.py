"""`vedit models pack`: write a training run's averaged weights as a model folder."""

from __future__ import annotations

import click

from vedit.cli.common import Voice, examples, print_json
from vedit.errors import UsageError

EXAMPLES = (
    ("vedit models pack RUN -o model", "a Stable Diffusion folder in half precision, with training.json"),
    ("vedit models pack RUN -o model --annealed -y", "the weights of vedit train --anneal"),
    ("vedit models pack RUN -o motion --motion", "the motion adapter of vedit train --preset shapes-motion"),
    (
        "vedit models pack RUN -o video --video",
        "the video model of vedit train --preset shapes-video, a WanPipeline of diffusers",
    ),
    (
        "vedit models pack RUN -o editor --instruct",
        "the instruction editor of vedit train --preset shapes-instruct, for vedit edit --weights",
    ),
)


@click.command(
    help=f"""Pack a run of vedit train --preset shapes-all into a model folder.

The folder opens with diffusers' StableDiffusionPipeline.from_pretrained; the scorer and the
judge lie beside it, and training.json says how everything was trained, with a hash of every
file. Measure it with: vedit bench model DIR --store. With --motion the folder holds the adapter
that makes clips: a MotionAdapter of diffusers and the vectors of the motion words. With --video it
holds the video model, a WanPipeline; before clips have trained, as far as single pictures go. With
--instruct it holds the instruction editor, for vedit edit --weights and vedit bench scenes --instructions.

{examples(EXAMPLES)}"""
)
@click.argument("run")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write.")
@click.option("--annealed", is_flag=True, help="Pack the annealed copy.")
@click.option("--motion", is_flag=True, help="Pack the motion adapter instead.")
@click.option("--video", is_flag=True, help="Pack the video model instead.")
@click.option("--instruct", is_flag=True, help="Pack the instruction editor instead.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace what the folder holds, except its README.md.")
@click.option("--json", "as_json", is_flag=True, help="Print training.json.")
def command(
    run: str, output: str, annealed: bool, motion: bool, video: bool, instruct: bool, overwrite: bool,
    as_json: bool,
) -> None:  # fmt: skip
    from pathlib import Path

    from vedit.jobs.extras import need

    need("diffusion")
    from vedit.jobs import shapes_model

    asked = [f"--{name}" for name, on in (("motion", motion), ("video", video), ("instruct", instruct)) if on]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} ask for different folders.", "Give one of them.")
    if video or instruct:
        pack = shapes_model.pack_video if video else shapes_model.pack_instruct
        record = pack(Path(run), Path(output), annealed=annealed, overwrite=overwrite)
    else:
        write, stage = (shapes_model.pack_motion, "motion") if motion else (shapes_model.pack, "unet")
        record = write(
            Path(run), Path(output), stage=f"{stage}-annealed" if annealed else stage, overwrite=overwrite
        )
    measure = (
        f"vedit bench scenes --instructions --weights {output}"
        if instruct
        else f"vedit bench {'motion' if motion or video else 'model'} {output} --store"
    )
    if as_json:
        print_json(record)
    else:
        Voice().say(f"{output}: packed {len(record['files'])} files. Measure it with: {measure}")
