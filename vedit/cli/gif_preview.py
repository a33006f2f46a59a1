"""`vedit gif preview`: look at a clip in the terminal, as a contact sheet, or at one frame."""

from __future__ import annotations

import re
import shutil
import sys
from typing import Any

import click

from vedit.cli.common import Voice, examples, limit_option, may_overwrite, options, replacing
from vedit.errors import UsageError

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
    replacing("Replace an output that exists."),
    limit_option,
    click.option("--strict", is_flag=True, help="Treat recoverable damage as an error."),
    click.option("-q", "--quiet", is_flag=True, help="No warnings."),
)
def command(overwrite: bool | None, no_overwrite: bool, quiet: bool, **given: Any) -> None:
    from vedit.jobs.media.preview import PreviewRequest, show, write

    request = PreviewRequest(overwrite=may_overwrite(overwrite, no_overwrite), **given)
    request.check()
    if request.input == "-" and sys.stdin.isatty():
        raise UsageError(
            "no input named, and standard input is a terminal.", "", "Example: vedit gif preview in.gif"
        )
    voice = Voice(quiet)
    for message in request.unused(typed("tile", "style")):
        voice.say(message)
    if request.output is None:
        columns, lines = shutil.get_terminal_size()
        named = voice.named(request.input)
        show(request, sys.stdout, columns, max(1, lines - 1), named, to_terminal=sys.stdout.isatty())
    else:
        write(request, voice.named(request.input), to_terminal=sys.stdout.isatty())


def typed(*names: str) -> set[str]:
    """Those of the options that were given on the command line."""
    source_of = click.get_current_context().get_parameter_source
    return {name for name in names if source_of(name) == click.core.ParameterSource.COMMANDLINE}
