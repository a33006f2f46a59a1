"""`vedit convert`: any clip to any format."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from vedit.cli.common import Voice, examples, limit_option, manner_options, may_overwrite, output_options
from vedit.cli.gif import (
    deinterlace_option,
    join_option,
    max_size_option,
    palette_options,
    run_files,
    subtitle_options,
    tonemap_option,
)
from vedit.errors import UsageError
from vedit.media.formats import CONTAINERS, FORMATS, PICTURES, VIDEO, names_pictures, output_format
from vedit.media.limits import frame_size

EXAMPLES = (
    ("vedit convert in.mp4 out.gif", "a GIF of at most 25 images per second"),
    ("vedit convert --start 2 --duration 1.5 --width 320 in.mp4 -o out.gif", "a part of it, smaller"),
    ("vedit convert --repeat 3 in.gif -o out.mp4", "a video that shows the GIF three times"),
    ("vedit convert *.mp4 --to gif -O gifs", "many at once"),
    ("vedit convert in.mp4 -o frames/%05d.png", "one picture per frame"),
    ("vedit convert --rate 24 frames -o out.mp4", "and back"),
    ("vedit convert --fps 12 img-%03d.png -o out.gif", "pictures with numbers, twelve a second"),
    ("vedit convert --join a.png b.png c.png --fps 2 -o out.webm", "pictures named one by one"),
    ("vedit convert --duration 5 photo.jpg -o out.mp4", "a picture that is shown for five seconds"),
    (
        "vedit convert in.mp4 --to nut | vedit convert - -o out.webm",
        "exact frames, times and sound through a pipe",
    ),
)


class Read(click.ParamType[str]):
    """A text that `read` understands; `wrong` says what would be right."""

    def __init__(self, name: str, read: Callable[[str], object], wrong: str) -> None:
        self.name, self.read, self.wrong = name, read, wrong

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            self.read(value)
        except ValueError:
            self.fail(f"{value!r} is not a {self.wrong}", param, ctx)
        return str(value)


def _reader(name: str) -> Callable[[str], object]:
    """A reader of the job's, imported when a text is there to be read."""

    def read(text: str) -> object:
        from vedit.jobs.media import convert

        value: object = getattr(convert, name)(text)
        return value

    return read


SECONDS = Read("seconds", _reader("seconds"), "time. Write seconds (2.5), or minutes and seconds (1:02.5).")
RATE = Read("rate", _reader("rate_of"), "frame rate. Write frames per second: 25, 29.97 or 30000/1001.")
SIZE = Read("size", frame_size, "size. Write WIDTHxHEIGHT: 640x480.")


@click.command(
    help=f"""Convert between GIF, video, animated pictures, frame folders and frame streams.

INPUT is a GIF, any video that ffmpeg reads, an animated PNG, WebP or AVIF, a picture, a folder of
pictures, a pattern such as img-%03d.png or '*.png' in quotes, or a NUT, y4m, rgb24 or rgba stream.
The name of the output, or --to, tells what to write. Times are kept: varying delays stay as they
are in video, and come back the same.

With two names and no -o the second is the output. Several inputs are as many clips; with --join
they are pictures, and one clip. Pictures are shown at --fps, 25 a second by default; a single one
for --duration.

{examples(EXAMPLES)}"""
)
@click.argument("inputs", nargs=-1, metavar="INPUT... [OUTPUT]")
@join_option
@click.option(
    "--to",
    type=click.Choice(FORMATS),
    metavar="FORMAT",
    help=f"Output format when the name does not tell: {', '.join(FORMATS)}.",
)
@click.option(
    "-f",
    "--from",
    "source_format",
    type=click.Choice(FORMATS),
    metavar="FORMAT",
    help="Input format, instead of a look at its first bytes; needed for rgb24 and rgba.",
)
@click.option("--start", type=SECONDS, default="0", metavar="TIME", help="Begin here: seconds, or 1:02.5.")
@click.option("--duration", type=SECONDS, metavar="TIME", help="Take this much.")
@click.option(
    "--width",
    type=click.IntRange(1, 16384),
    metavar="W",
    help="Scale to this width; the height follows unless given.",
)
@click.option(
    "--height",
    type=click.IntRange(1, 16384),
    metavar="H",
    help="Scale to this height; the width follows unless given.",
)
@click.option(
    "--fps",
    type=RATE,
    metavar="R",
    help="Frames per second: at most this many in a GIF (25 by default), exactly this many elsewhere.",
)
@click.option("--size", "raw_size", type=SIZE, metavar="WxH", help="Frame size of a raw input.")
@click.option(
    "--rate",
    type=RATE,
    metavar="R",
    help="Frame rate of a raw input, or of pictures (--fps, or 25, by default).",
)
@click.option(
    "--raw-info",
    metavar="FILE",
    help="Size and rate of raw frames: read for a raw input, written for a raw output.",
)
@click.option(
    "--background",
    metavar="COLOR",
    help="Shown where the clip is transparent: instead of transparency in .webm and .mov, and where the"
    " format has none (white; black in y4m and rgb24).",
)
@click.option(
    "--even",
    type=click.Choice(["pad", "crop", "scale"]),
    default="pad",
    help="Odd sizes, which video cannot have: repeat the last row, cut it off, or stretch.",
)
@click.option(
    "--crf", type=click.IntRange(0, 63), metavar="N", help="Quality of video: lower is better (18; webm 24)."
)
@click.option(
    "--encoder-preset",
    type=click.Choice(
        ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
    ),
    default="medium",
    metavar="NAME",
    help="Time against size of H.264 video: ultrafast to veryslow (medium).",
)
@click.option(
    "--quality",
    type=click.IntRange(0, 100),
    metavar="N",
    help="Quality of WebP and AVIF (for a GIF's frames exact in WebP, within a few levels in AVIF; else 90).",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=1,
    metavar="N",
    help="Write the clip this many times over, in video, which cannot loop.",
)
@tonemap_option
@deinterlace_option
@click.option("--no-audio", is_flag=True, help="Leave the sound out.")
@subtitle_options
@click.option(
    "--loop",
    default=None,
    metavar="N|forever|once|keep",
    help="Repeats of a GIF: a number (0 forever), forever, once or keep.",
)
@palette_options
@max_size_option
@limit_option
@output_options
@manner_options
def command(
    inputs: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    in_place: bool,
    overwrite: bool | None,
    no_overwrite: bool,
    quiet: bool,
    progress: str,
    as_json: bool,
    verbose: bool,
    **given: Any,
) -> None:
    from vedit.jobs.media.convert import ConvertRequest, plan

    voice = Voice(quiet, progress)
    if in_place:
        raise UsageError(
            "convert does not rewrite its input.",
            "Name the output.",
            "Example: vedit convert in.mp4 -o out.gif",
        )
    names = list(inputs)
    if output is None and len(names) == 2 and output_dir is None and not given["join"]:
        output = names.pop()
    if not names and sys.stdin.isatty():
        raise UsageError(
            "no input named, and standard input is a terminal.",
            "",
            "Example: vedit convert in.mp4 -o out.gif",
        )
    request = ConvertRequest(
        tuple(names) or ("-",), output, output_dir, overwrite=may_overwrite(overwrite, no_overwrite), **given
    )
    planned = plan(request, voice, to_terminal=sys.stdout.isatty())
    for line in idle_options(
        click.get_current_context(), [output_format(item.output, request.to) for item in planned.items]
    ):
        voice.say(line)
    run_files(planned, voice, as_json, verbose, info=False, dry_run=request.dry_run)


STILL_LOOPS = ("gif", "nut", *PICTURES)
OPAQUE = (*VIDEO, "y4m", "mono", "rgb24", "folder")
# An option that acts on some formats only: its name, those formats, and what would help elsewhere.
FOR_FORMATS = {
    "crf": (VIDEO, "it is the quality of films"),
    "encoder_preset": (
        tuple(name for name in VIDEO if "libx264" in CONTAINERS[name].video),
        "it is for H.264 films",
    ),
    "even": (VIDEO, "only films need even sizes"),
    "quality": (("webp", "avif"), "it is the quality of WebP and AVIF; that of films is --crf"),
    "repeat": (VIDEO, "other formats loop by themselves, see --loop"),
    "loop": (STILL_LOOPS, "such a file cannot loop; films can be written several times over with --repeat"),
    "background": (OPAQUE, "the format keeps transparency"),
}


def idle_options(context: click.Context, formats: list[str]) -> list[str]:
    """A line for each option that was given and acts on none of the outputs."""
    typed = [
        name
        for name in context.params
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
    ]
    lines = [
        f"--{name.replace('_', '-')} changes nothing in {formats[0]}: {why}"
        for name, (acts, why) in FOR_FORMATS.items()
        if name in typed and formats and not any(format in acts for format in formats)
    ]
    raw = {"rgb24", "rgba"}
    if "raw_size" in typed and context.params["source_format"] not in raw:
        lines.append(
            "--size changes nothing: it is for raw input (-f rgb24 or rgba); results are scaled by --width"
            " and --height"
        )
    if "raw_info" in typed and not raw & {context.params["source_format"], *formats}:
        lines.append("--raw-info changes nothing: it is for rgb24 and rgba")
    if (
        "rate" in typed
        and context.params["source_format"] not in raw
        and not context.params["join"]
        and not any(names_pictures(name) for name in context.params["inputs"])
    ):
        lines.append(
            "--rate changes nothing: it is for raw input and lists of pictures; results are timed by --fps"
        )
    return lines
