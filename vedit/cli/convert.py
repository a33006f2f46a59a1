"""`vedit convert`: any clip to any format."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import click

from vedit.cli.common import Voice, complain, examples, limit_option, manner_options, output_options
from vedit.cli.gif import palette_options, show_report, tonemap_option
from vedit.errors import UsageError
from vedit.media.formats import CONTAINERS, FORMATS, VIDEO, output_format
from vedit.media.limits import fraction, frame_rate, frame_size

LONGEST_S = 10**9

EXAMPLES = (
    ("vedit convert in.mp4 out.gif", "a GIF of at most 25 images per second"),
    ("vedit convert --start 2 --duration 1.5 --width 320 in.mp4 -o out.gif", "a part of it, smaller"),
    ("vedit convert --repeat 3 in.gif -o out.mp4", "a video that shows the GIF three times"),
    ("vedit convert *.mp4 --to gif -O gifs", "many at once"),
    ("vedit convert in.mp4 -o frames/%05d.png", "one picture per frame"),
    ("vedit convert --rate 24 frames -o out.mp4", "and back"),
    (
        "vedit convert in.mp4 --to nut | vedit convert - -o out.webm",
        "exact frames, times and sound through a pipe",
    ),
)


class Seconds(click.ParamType[Fraction]):
    """Seconds, or minutes and seconds as 1:02.5, exact."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        if isinstance(value, Fraction):
            return value
        try:
            total = Fraction(0)
            for part in value.split(":"):
                if not part or part.startswith(("-", "+")):
                    raise ValueError
                total = total * 60 + fraction(part)
            if total > LONGEST_S:
                raise ValueError
            return total
        except ValueError:
            self.fail(
                f"{value!r} is not a time. Write seconds (2.5), or minutes and seconds (1:02.5).", param, ctx
            )


class Rate(click.ParamType[Fraction]):
    """Frames per second, such as 25, 29.97 or 30000/1001."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        if isinstance(value, Fraction):
            return value
        try:
            rate = frame_rate(value)
        except ValueError:
            rate = Fraction(0)
        if not 0 < rate <= 1000:
            self.fail(
                f"{value!r} is not a frame rate. Write frames per second: 25, 29.97 or 30000/1001.",
                param,
                ctx,
            )
        return rate


class FrameSize(click.ParamType[tuple[int, int]]):
    """WIDTHxHEIGHT."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        try:
            return frame_size(value)
        except ValueError:
            self.fail(f"{value!r} is not a size. Write WIDTHxHEIGHT: 640x480.", param, ctx)


@click.command(
    help=f"""Convert between GIF, video, animated pictures, frame folders and frame streams.

INPUT is a GIF, any video that ffmpeg reads, an animated PNG, WebP or AVIF, a folder of pictures, or a
NUT, y4m, rgb24 or rgba stream. The name of the output, or --to, tells what to write. Times are
kept: varying delays stay as they are in video, and come back the same.

With two names and no -o the second is the output.

{examples(EXAMPLES)}"""
)
@click.argument("inputs", nargs=-1, metavar="INPUT... [OUTPUT]")
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
@click.option(
    "--start", "start_s", type=Seconds(), default="0", metavar="TIME", help="Begin here: seconds, or 1:02.5."
)
@click.option("--duration", "duration_s", type=Seconds(), metavar="TIME", help="Take this much.")
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
    type=Rate(),
    metavar="R",
    help="Frames per second: at most this many in a GIF (25 by default), exactly this many elsewhere.",
)
@click.option("--size", "raw_size", type=FrameSize(), metavar="WxH", help="Frame size of a raw input.")
@click.option(
    "--rate", type=Rate(), metavar="R", help="Frame rate of a raw input, or of a folder (25 by default)."
)
@click.option(
    "--raw-info",
    metavar="FILE",
    help="Size and rate of raw frames: read for a raw input, written for a raw output.",
)
@click.option(
    "--background",
    metavar="COLOR",
    help="Shown where the clip is transparent and the format is not (white; black in y4m and rgb24).",
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
    help="Quality of WebP (exact for a GIF's frames, else 90).",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=1,
    metavar="N",
    help="Write the clip this many times over, in video, which cannot loop.",
)
@tonemap_option
@click.option("--no-audio", is_flag=True, help="Leave the sound out.")
@click.option(
    "--loop",
    default=None,
    metavar="N|forever|once|keep",
    help="Repeats of a GIF: a number (0 forever), forever, once or keep.",
)
@palette_options
@limit_option
@output_options
@manner_options
def command(inputs: tuple[str, ...], loop: str | None, **common: Any) -> None:
    from vedit.jobs.batch import Item, raise_failures, run_batch
    from vedit.jobs.media.convert import Conversion, convert
    from vedit.media.atomic import together
    from vedit.media.limits import environment_limits, parse_limits
    from vedit.media.options import QuantiseOptions, ReadOptions, WriteOptions
    from vedit.media.run import Report, Settings
    from vedit.media.window import usable_cores

    voice = Voice(common["quiet"], common["progress"])
    names = list(inputs)
    if common["in_place"]:
        raise UsageError(
            "convert does not rewrite its input.",
            "Name the output.",
            "Example: vedit convert in.mp4 -o out.gif",
        )
    if common["output"] is None and common["output_dir"] is None and len(names) == 2:
        common["output"] = names.pop()
    if not names and sys.stdin.isatty():
        raise UsageError(
            "no input named, and standard input is a terminal.",
            "",
            "Example: vedit convert in.mp4 -o out.gif",
        )
    items = _items(names or ["-"], common, voice.warn)
    reads_info = common["source_format"] in ("rgb24", "rgba")
    limits = parse_limits(common["limits"], environment_limits())
    write = WriteOptions(
        **{key: common[key] for key in ("background", "quality", "even", "crf", "repeat")},
        format=common["to"],
        keep_audio=not common["no_audio"],
        overwrite=bool(common["overwrite"]),
        raw_info=None if reads_info else common["raw_info"],
        preset=common["encoder_preset"],
    )
    read = ReadOptions(
        format=common["source_format"],
        rate=common["rate"],
        size=common["raw_size"],
        raw_info=common["raw_info"] if reads_info else None,
        limits=limits,
        tonemap=common["tonemap"],
    )
    conversion = Conversion(
        **{key: common[key] for key in ("start_s", "duration_s", "width", "height", "fps")},
        read=read,
        write=write,
    )
    for line in idle_options(
        click.get_current_context(), [output_format(item.output, common["to"]) for item in items]
    ):
        voice.say(line)
    cores = common["jobs"] or usable_cores()
    stages = _loop_stage(loop)

    colours = QuantiseOptions(common["palette"], common["colors"], common["dither"])
    settings = Settings(jobs=cores if len(items) == 1 else 1, quantise=colours)
    if len(items) == 1:
        settings = settings._replace(watch=voice.watch)

    def work(item: Item) -> Report:
        with together(is_last=len(items) == 1):
            named = settings._replace(warn=voice.named(item.input))
            return convert(
                item.input, item.output, conversion, named, stages=stages, dry_run=common["dry_run"]
            )

    outcomes = []
    for outcome in run_batch(items, work, min(cores, max(1, len(items)))):
        outcomes.append(outcome)
        if outcome.result is not None:
            show_report(outcome.result, voice, common["as_json"], common["verbose"], False, common["dry_run"])
        elif len(items) > 1:
            complain(outcome.error)
    raise_failures(outcomes)


STILL_LOOPS = ("gif", "nut", "apng", "png", "webp")
OPAQUE = (*VIDEO, "y4m", "mono", "rgb24", "folder")
# An option that acts on some formats only: its name, those formats, and what would help elsewhere.
FOR_FORMATS = {
    "crf": (VIDEO, "it is the quality of films"),
    "encoder_preset": (
        tuple(name for name in VIDEO if "libx264" in CONTAINERS[name].video),
        "it is for H.264 films",
    ),
    "even": (VIDEO, "only films need even sizes"),
    "quality": (("webp",), "it is the quality of WebP; that of films is --crf"),
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
        and not any(os.path.isdir(name) for name in context.params["inputs"])
    ):
        lines.append(
            "--rate changes nothing: it is for raw input and folders of pictures; results are timed by --fps"
        )
    return lines


def _items(names: list[str], common: dict[str, Any], say: Callable[[str], None]) -> list[Any]:
    """Pair inputs with outputs; a folder of pictures is one input, and frames go into a folder."""
    from vedit.jobs.batch import Item, name_outputs, refuse_collisions
    from vedit.media.atomic import check_output
    from vedit.media.formats import format_of

    if common["overwrite"] and common["keep"]:
        raise UsageError("-y and -n were given together.", "Give one of them.")
    overwrite = True if common["overwrite"] else False if common["keep"] else None
    output, to = common["output"], common["to"]
    if (
        output is not None
        and len(names) == 1
        and (os.path.isdir(names[0]) or (to or format_of(output)) == "folder")
    ):
        if (to or format_of(output)) != "folder":
            check_output(output, (), overwrite)
        return [Item(names[0], output)]
    if to is None and output is None:
        raise UsageError(
            "no output format.",
            f"The formats are: {', '.join(FORMATS)}.",
            "Name the output with -o FILE, or add --to FORMAT",
        )
    if to == "folder" and common["output_dir"] is not None:
        items = [
            Item(name, os.path.join(common["output_dir"], os.path.splitext(os.path.basename(name))[0], ""))
            for name in names
        ]
        refuse_collisions(items)
        return items
    items = name_outputs(
        names, output, common["output_dir"], False, common["suffix"], to, overwrite,
        is_stdout_tty=sys.stdout.isatty() and not common["dry_run"], makes_folders=not common["dry_run"],
        say=say,
    )  # fmt: skip
    if common["as_json"] and not common["dry_run"] and any(item.output == "-" for item in items):
        raise UsageError("--json and the result would both go to standard output.", "", "Add -o FILE")
    return items


def _loop_stage(loop: str | None) -> Any:
    """Makes the stage behind --loop, when it is given."""
    if loop is None:
        return list
    from vedit.stages import metadata
    from vedit.stages.options import read_options

    values = read_options("metadata", metadata.OPTIONS, {"loop": loop})
    return lambda: [metadata.make(**values)]
