"""`vedit gif concat`: clips one after another as one clip."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples, manner_options, options, replacing
from vedit.cli.gif import metadata_options, palette_options, part_options, run_stages

EXAMPLES = (
    ("vedit gif concat a.gif b.gif c.gif -o abc.gif", "three clips, one after another"),
    (
        "vedit gif concat --crossfade 0.3 a.gif b.gif -o ab.gif",
        "the end of one turns into the beginning of the next",
    ),
    ("vedit gif concat --crossfade 1 --still 3 --size 640x480 *.jpg -o show.mp4", "a slide show of photos"),
)


@click.command(
    help=f"""Join clips one after another, in the order named.

Clips are GIFs, films, pictures, or folders of pictures. The size is that of the first; clips of
another one are scaled to fit into it. Each keeps its own times. GIFs of one size follow one
another as they are stored, where the next one covers what the one before leaves.

{examples(EXAMPLES)}"""
)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@options(
    click.option(
        "--crossfade",
        metavar="SECONDS",
        help="Let each clip turn into the next for so long; the result is that much shorter for each.",
    ),
    click.option("--size", metavar="WxH", help="The size of the result (that of the first clip)."),
    click.option(
        "--color",
        "around",
        metavar="#rrggbb|transparent|blurred",
        help="What is around clips of another shape (black).",
    ),
    click.option("--still", metavar="SECONDS", help="How long a picture is shown (2)."),
    click.option("-o", "--output", metavar="FILE", help="Write here; - is standard output."),
    replacing("Replace an output that exists."),
)
@metadata_options
@palette_options
@part_options
@manner_options
def command(inputs: tuple[str, ...], **given: Any) -> None:
    run_stages(inputs, (), concat=True, **given)
