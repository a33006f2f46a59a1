"""`vedit data clip`: one clip out of a video."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples, print_json

EXAMPLES = (
    (
        'vedit data clip wolf.mp4 wolf.gif --frames 8 --stride 3 --size 512 --fps 8 --caption "a grey wolf"',
        "as the thesis takes its clips",
    ),
    (
        "vedit data clip hike.mp4 hike.mp4 --start 40 --stride 2 --offset 0.5 -y",
        "from frame 40 on, the square right of the middle",
    ),
)


@click.command(
    help=f"""Cut one clip out of a video: so many frames, every so many-th, as a square.

With --caption the text is written beside it as NAME.txt, as in a data set.

{examples(EXAMPLES)}"""
)
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT")
@click.option(
    "--start", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="First frame, from 0."
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    metavar="N",
    help="Frames to take; fewer in the clip are an error.",
)
@click.option(
    "--stride",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Take every so many-th frame.",
)
@click.option(
    "--size",
    metavar="S|WxH",
    default="512",
    show_default=True,
    help="Side of the square, or width and height without cutting.",
)
@click.option(
    "--offset",
    type=click.FloatRange(-1, 1),
    default=0.0,
    show_default=True,
    help="Where the square lies: -1 left or top, 0 middle, 1 right or bottom.",
)
@click.option("--fps", metavar="R", default="8", show_default=True, help="Frames a second of the result.")
@click.option("--caption", metavar="TEXT", help="What the clip shows, for NAME.txt.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as one JSON object.")
def command(as_json: bool, **given: Any) -> None:
    from vedit.jobs.data.request import ClipRequest, cut_clip

    made = cut_clip(ClipRequest(**given))
    if as_json:
        print_json(made)
