"""`vedit demo`: draw a clip, edit it, compare with the truth."""

from __future__ import annotations

import click

from vedit.cli.common import Voice, echo, examples, voice_options

EXAMPLES = (("vedit demo", "clips, side-by-side GIFs and a table in vedit-demo/"),)


@click.command(
    help=f"""Draw a clip, edit it by text with three methods, and compare with the true answer.

Works offline with the embedded model. The clip is a drawn scene, so the right answer is known.

{examples(EXAMPLES)}"""
)
@click.option("-O", "--output-dir", default="vedit-demo", metavar="DIR", help="Write here (vedit-demo).")
@click.option("-y", "--overwrite", is_flag=True, help="Replace files of an earlier demonstration.")
@voice_options()
def command(output_dir: str, overwrite: bool, quiet: bool, progress: str) -> None:
    from vedit.jobs.extras import need

    need("diffusion")
    from vedit.jobs.demo import SOURCE, TARGET, outputs_in, run_demo, scores_text
    from vedit.media.atomic import check_output, make_folder, open_output
    from vedit.models.hub import EMBEDDED
    from vedit.models.load import load_model

    make_folder(output_dir)
    for path in outputs_in(output_dir):
        check_output(path, (), True if overwrite else None)
    voice = Voice(quiet, progress)
    echo(f'"{SOURCE}" becomes "{TARGET}"')
    text = scores_text(run_demo(output_dir, load_model(EMBEDDED), say=echo, watch=voice.steps))
    with open_output(f"{output_dir}/table.txt") as stream:
        stream.write(text.encode() + b"\n")
    echo(text)
    echo("the same with a real model:")
    echo(
        "  vedit edit clip.mp4 -o out.mp4 --model stable-diffusion-v1-5/stable-diffusion-v1-5 --frames 8"
        ' --source "a grey wolf" --prompt "a grey fox"'
    )
