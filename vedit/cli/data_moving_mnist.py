"""`vedit data moving-mnist`: the public file, or clips drawn by its rule."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples
from vedit.cli.data import build, set_options
from vedit.errors import UsageError

EXAMPLES = (
    ("vedit data moving-mnist --synth 2000 digits", "draw 2000 clips; needs no download"),
    (
        "vedit data moving-mnist --synth 500 digits --straight --frames 8 --scale 2",
        "no digit meets a wall, so each caption holds for its whole clip",
    ),
    (
        "vedit data moving-mnist mnist_test_seq.npy mnist --limit 2000",
        "the public file; captions tell the motion that was tracked",
    ),
)
NEEDS = "moving-mnist needs a file and an output folder, or --synth N and an output folder."


@click.command(
    help=f"""Make a data set of digits that fly and bounce.

With a file: mnist_test_seq.npy as it is published, (20, 10000, 64, 64), two digits a clip and no
labels; a caption tells where each digit flies as far as it can be tracked ("two digits moving"
where they overlap), or is --caption for all. With --synth: clips drawn by the published rule,
whose captions are exact ("digit 5 moving left", until it bounces).

{examples(EXAMPLES)}"""
)
@click.argument("source", required=False, metavar="[FILE.npy]")
@click.argument("folder", required=False, metavar="OUT")
@click.option("--synth", type=click.IntRange(1), metavar="N", help="Draw N clips instead of reading a file.")
@click.option(
    "--digits",
    metavar="font|FILE",
    default="font",
    show_default=True,
    help="With --synth: the font's outlines, or MNIST's train-images-idx3-ubyte.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 3),
    metavar="N",
    help="Digits in a clip: 1 by default with --synth; the file has 2.",
)
@click.option(
    "--straight", is_flag=True, help="With --synth: keep digits off the walls, slowed where need be."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="With --synth: draws everything."
)
@click.option(
    "--frames",
    type=click.IntRange(2),
    metavar="N",
    help="Frames of a clip; 20 by default, of the file the first ones.",
)
@click.option(
    "--scale",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    metavar="N",
    help="Pixels per pixel of the 64x64 canvas.",
)
@click.option("--caption", metavar="TEXT", help="With a file: one caption for all clips.")
@set_options
def command(
    source: str | None,
    folder: str | None,
    as_json: bool,
    quiet: bool,
    progress: str,
    synth: int | None,
    **given: Any,
) -> None:
    from vedit.jobs.data.request import MovingMnistRequest

    if synth is not None and source is not None and folder is None:
        source, folder = None, source  # the only name is that of the folder
    if folder is None:
        what = "--synth takes the output folder and no file." if synth is not None else NEEDS
        raise UsageError(what, "", f"Example: {EXAMPLES[0][0]}")
    build(
        MovingMnistRequest(source=source, folder=folder, synth=synth, **given),
        as_json=as_json,
        quiet=quiet,
        progress=progress,
    )
