"""`vedit data folder`: clips of one's own as a data set."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples
from vedit.cli.data import build, cut_options, set_options

EXAMPLES = (
    ("vedit data folder gifs OUT --size 64 --frames 10", "squares of 64 pixels, ten frames at even times"),
    (
        'vedit data folder clips OUT --caption "a street at night" --min-side 128',
        "one caption where no NAME.txt lies beside a clip",
    ),
    (
        "vedit data folder clips OUT --size 256 --no-name-captions --max-seconds 8",
        "only clips with a caption file",
    ),
)


@click.command(
    help=f"""Make a data set of the clips in a folder: good ones, each once, with captions.

Clips are GIF, WebP or video files, in folders too. Left out, with the reason in rejected.tsv: small
ones, stills, clips whose frames come at uneven times, and doubles (the largest of them stays).
The caption is NAME.txt beside the clip, else --caption, else the words of the file's name.
There is no downloader: what you may use is for you to know.

{examples(EXAMPLES)}"""
)
@click.argument("source", metavar="SRC")
@click.argument("folder", metavar="OUT")
@cut_options
@click.option(
    "--min-side",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    metavar="PX",
    help="Leave out clips with a shorter side.",
)
@click.option(
    "--min-frames",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    metavar="N",
    help="Leave out clips with fewer frames.",
)
@click.option(
    "--min-seconds", type=click.FloatRange(0), default=0.0, metavar="S", help="Leave out shorter clips."
)
@click.option(
    "--max-seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="Leave out longer clips."
)
@click.option(
    "--max-uneven",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    metavar="SHARE",
    help="Share of frames with another delay that is borne.",
)
@click.option("--keep-uneven", is_flag=True, help="Do not look at delays.")
@click.option("--keep-doubles", is_flag=True, help="Do not look for doubles.")
@click.option("--caption", metavar="TEXT", help="Caption of clips without NAME.txt.")
@click.option(
    "--no-name-captions", is_flag=True, help="Do not make captions from file names: leave such clips out."
)
@set_options
def command(as_json: bool, quiet: bool, progress: str, **given: Any) -> None:
    from vedit.jobs.data.request import FolderRequest

    build(FolderRequest(**given), as_json=as_json, quiet=quiet, progress=progress)
