"""`vedit models export`: write a trained generator as a folder for use."""

from __future__ import annotations

import click

from vedit.cli.common import Voice, examples, print_json

EXAMPLES = (
    ("vedit models export RUN -o digits", "the averaged weights of the newest state, config.json and a card"),
    (
        "vedit models export RUN -o digits --step 5000 --both -y",
        "an earlier state, with the trained weights beside the averaged ones",
    ),
)


@click.command(
    help=f"""Write the generator of a run of vedit train --data as a folder.

The folder is what vedit generate --model takes and what may be uploaded to the Hub. A run itself
can be named there as well; an exported folder is smaller and stays as it is.

{examples(EXAMPLES)}"""
)
@click.argument("run")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write.")
@click.option(
    "--step", type=click.IntRange(1), metavar="N", help="The state of this step; the newest by default."
)
@click.option("--both", is_flag=True, help="Add the trained weights, for vedit generate --weights raw.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace a generator that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print config.json.")
def command(run: str, output: str, step: int | None, both: bool, overwrite: bool, as_json: bool) -> None:
    from pathlib import Path

    from vedit.jobs.extras import need
    from vedit.jobs.generate.export import export_generator

    need("diffusion")
    config = export_generator(Path(run), Path(output), step=step, with_raw=both, overwrite=overwrite)
    if as_json:
        print_json(config)
    else:
        Voice().say(
            f'{output}: step {config["training"]["step"]}. Try it with: vedit generate "..." --model {output}'
            " -o clip.gif"
        )
