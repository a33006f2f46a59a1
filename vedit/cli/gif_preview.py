"""`vedit gif preview`: look at a clip in the terminal, as a contact sheet, or at one frame."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from vedit.cli.common import Voice, examples, limit_option, options
from vedit.errors import UsageError

if TYPE_CHECKING:
    from vedit.media.options import ReadOptions

EXAMPLES = (
    ("vedit gif preview in.gif", "play it once in the terminal"),
    (
        "vedit gif preview in.gif -o sheet.png --grid 4x3",
        "twelve evenly spread frames with their times in one picture",
    ),
    ("vedit gif preview in.gif --frame 3 -o f.png", "the third frame as it is shown, with its transparency"),
    (
        "vedit gif preview in.mp4 --frame 1 --style blocks",
        "the first frame of a video, drawn with characters",
    ),
)


class Grid(click.ParamType):  # type: ignore[type-arg]
    """COLUMNSxROWS, each from 1 to 50."""

    name = "grid"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,2})x(\d{1,2})", str(value).lower())
        if isinstance(value, tuple):
            return value
        if not match or not (1 <= int(match[1]) <= 50 and 1 <= int(match[2]) <= 50):
            raise UsageError(
                f"--grid {value}: expected COLUMNSxROWS such as 4x3, each from 1 to 50.",
                "",
                "See: vedit gif preview --help",
            )
        return int(match[1]), int(match[2])


@click.command(
    help=f"""Show a GIF or a video: in the terminal, as a contact sheet, or one frame of it.

Without -o it plays once in the terminal, with its delays; where output is not a terminal, one
frame is drawn with characters. With -o it writes a picture: PNG or WebP, no pixel lost.

{examples(EXAMPLES)}"""
)
@click.argument("input", default="-", metavar="[INPUT]")
@options(
    click.option("-o", "--output", metavar="FILE", help="Write a picture here; - is standard output."),
    click.option(
        "--grid",
        type=Grid(),
        default=None,
        metavar="COLUMNSxROWS",
        help="Shape of the contact sheet (default 4x3).",
    ),
    click.option(
        "--tile",
        type=click.IntRange(16, 4096),
        default=240,
        metavar="N",
        help="Longer side of its pictures in pixels (default 240).",
    ),
    click.option(
        "--frame", type=click.IntRange(1), default=None, metavar="N", help="Only this frame, counted from 1."
    ),
    click.option(
        "--style",
        type=click.Choice(["auto", "blocks", "kitty", "sixel"]),
        default="auto",
        help="How to draw; auto: as well as the terminal can.",
    ),
    click.option(
        "-y",
        "--overwrite/",
        "overwrite",
        flag_value=True,
        default=None,
        is_flag=True,
        help="Replace an output that exists.",
    ),
    click.option(
        "-n", "--no-overwrite", "keep", is_flag=True, help="Never replace an output, and never ask."
    ),
    limit_option,
    click.option("--strict", is_flag=True, help="Treat recoverable damage as an error."),
    click.option("-q", "--quiet", is_flag=True, help="No warnings."),
)
def command(
    input: str,
    output: str | None,
    grid: tuple[int, int] | None,
    tile: int,
    frame: int | None,
    style: str,
    **common: Any,
) -> None:
    if grid and frame:
        raise UsageError(
            "--grid and --frame were given together.",
            "A contact sheet has many frames, --frame picks one.",
            "Give one of them.",
        )
    if grid and output is None:
        raise UsageError(
            "--grid makes a picture, and no output is named.",
            "",
            f"Add -o sheet.png to: vedit gif preview {input} --grid {grid[0]}x{grid[1]}",
        )
    if input == "-" and sys.stdin.isatty():
        raise UsageError(
            "no input named, and standard input is a terminal.", "", "Example: vedit gif preview in.gif"
        )
    if common["overwrite"] and common["keep"]:
        raise UsageError("-y and -n were given together.", "Give one of them.")
    from vedit.media.limits import environment_limits, parse_limits
    from vedit.media.options import ReadOptions

    voice = Voice(common["quiet"])
    typed = {
        name
        for name in ("tile", "style")
        if click.get_current_context().get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
    }
    if "tile" in typed and (frame or output is None):
        voice.say("--tile changes nothing: it is for contact sheets, which -o writes without --frame")
    if "style" in typed and output is not None:
        voice.say("--style changes nothing: it is for the terminal, and -o writes a picture")
    read, warn = (
        ReadOptions(limits=parse_limits(common["limits"], environment_limits()), strict=common["strict"]),
        voice.named(input),
    )
    if output is None:
        _show(input, read, warn, frame, style)
    else:
        overwrite = True if common["overwrite"] else False if common["keep"] else None
        _write(input, read, warn, output, overwrite, frame, grid or (4, 3), tile)


def _show(name: str, read: ReadOptions, warn: Callable[[str], None], number: int | None, style: str) -> None:
    """Play in a terminal; one frame elsewhere, or when it is asked for."""
    from vedit.jobs.media import preview

    is_terminal = sys.stdout.isatty()
    style = style if style != "auto" else preview.terminal_style(os.environ) if is_terminal else "blocks"
    columns, lines = shutil.get_terminal_size()
    with preview.opened(name, read, warn) as (_, shots):
        if number is None and is_terminal:
            preview.play(shots, sys.stdout, style, columns, max(1, lines - 1))
        else:
            text, _ = preview.draw(
                preview.pick(shots, number or 1).picture, style, columns, max(1, lines - 1)
            )
            sys.stdout.write(text)
            sys.stdout.flush()


def _write(
    name: str,
    read: ReadOptions,
    warn: Callable[[str], None],
    output: str,
    overwrite: bool | None,
    number: int | None,
    grid: tuple[int, int],
    tile: int,
) -> None:
    """One frame, or a contact sheet, as a picture."""
    from vedit.jobs.media import preview
    from vedit.media.atomic import check_output, open_output

    format = preview.picture_format(output)
    if output == "-" and sys.stdout.isatty():
        raise UsageError(
            "a picture would go to the terminal.", "", "Name a file with -o, or leave out -o to draw it"
        )
    check_output(output, (name,), overwrite)
    with preview.opened(name, read, warn, is_counted=number is None) as (clip, shots):
        picture = (
            preview.contact_sheet(clip, shots, *grid, tile)
            if number is None
            else preview.pick(shots, number).picture
        )
    with open_output(output) as stream:
        preview.save_picture(picture, stream, format)
