"""`vedit gif`: one command for every stage, made from its table of options, plus chain and preview."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from vedit import stages
from vedit.cli import LazyGroup, prepared
from vedit.cli.common import (
    Voice,
    complain,
    echo,
    examples,
    limit_option,
    manner_options,
    may_overwrite,
    options,
    output_options,
    print_json,
)
from vedit.errors import UsageError
from vedit.media.light import CURVES, DEFAULT_CURVE

if TYPE_CHECKING:
    from vedit.jobs.media.chain import Spec
    from vedit.jobs.media.files import FilesPlan
    from vedit.stages.options import Option

OWN = {
    "chain": "Run several stages in one process.",
    "concat": "Join clips one after another, with a crossfade if you like.",
    "preview": "Show frames in the terminal, or as a contact sheet.",
    "serve": "Edit in a page of your browser, and see every result as it is.",
}
MINUS = "\N{MINUS SIGN}"  # stands for the dash of a negative number while click looks for options

palette_options = options(
    click.option(
        "--palette",
        type=click.Choice(["auto", "keep", "global", "frame"]),
        default="auto",
        help="Colours of full-colour results: few palettes, the source's, one, or one per image.",
    ),
    click.option(
        "--colors", type=click.IntRange(2, 256), default=256, metavar="2-256", help="Colours per palette."
    ),
    click.option(
        "--dither",
        type=click.Choice(["none", "bayer", "fs"]),
        default="none",
        help="Dithering of full-colour results.",
    ),
)
tonemap_option = click.option(
    "--tonemap",
    type=click.Choice(CURVES),
    default=DEFAULT_CURVE,
    metavar="CURVE",
    help=f"How HDR film becomes SDR: {', '.join(CURVES)} ({DEFAULT_CURVE}).",
)
deinterlace_option = click.option(
    "--deinterlace",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    help="Make whole pictures of the halves of interlaced film: where it says so (auto), always, or never.",
)
subtitle_options = options(
    click.option(
        "--subtitles",
        metavar="FILE",
        help="Draw the words of this file (.srt, .vtt or .ass) into the result, each for its time in it.",
    ),
    click.option(
        "--subtitles-font",
        metavar="FILE",
        help="A font for them; without it one that has Latin, Greek and Cyrillic letters.",
    ),
)
join_option = click.option(
    "--join", is_flag=True, help="Take all inputs, in this order, as the pictures of one clip."
)
max_size_option = click.option(
    "--max-size",
    metavar="SIZE",
    help="Fit a GIF into so many bytes (8MB, 500k): lossy, then fewer colours, images, pixels.",
)
part_options = options(
    click.option("--start", metavar="TIME", help="Begin here: seconds, or 1:02.5."),
    click.option("--end", metavar="TIME", help="End here."),
    click.option("--duration", metavar="TIME", help="Or take this much."),
    click.option(
        "--fps", metavar="R", help="Frames per second: at most so many in a GIF, exactly so many in film."
    ),
    max_size_option,
    click.option(
        "--crf",
        type=click.IntRange(0, 63),
        metavar="N",
        help="Quality of film, lower is better (18; webm 24).",
    ),
    click.option("--no-audio", is_flag=True, help="Leave the sound of film out."),
    subtitle_options,
    tonemap_option,
    deinterlace_option,
    click.option("--strict", is_flag=True, help="Treat recoverable damage as an error."),
    limit_option,
    click.option(
        "--info",
        is_flag=True,
        help="Print the path taken: copy, index, recolour, planes (film to film) or full.",
    ),
    click.option(
        "--to",
        type=click.Choice(["gif", "nut", "y4m", "rgb24", "rgba"]),
        default=None,
        help="Output format when the name does not tell.",
    ),
)
clip_options = options(join_option, part_options)
metadata_options = options(
    click.option(
        "--loop",
        default=None,
        metavar="N|forever|once|keep",
        help="Repeats of the result: a number (0 forever), forever, once or keep.",
    ),
    click.option("--strip", default=None, metavar="GROUPS", help="Remove blocks: comments,xmp,icc,apps,all."),
    click.option("--comment", default=None, metavar="TEXT", help="Add a comment."),
)


class GifGroup(LazyGroup):
    """The stages in `vedit/stages` and in other distributions, and the commands of our own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*OWN, *stages.names()])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in OWN:
            return super().get_command(ctx, name)
        return prepared(stage_command(name)) if stages.has(name) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, OWN.get(name) or stages.summary(name)) for name in self.list_commands(ctx)]
            )


@click.group(cls=GifGroup, table=OWN, modules={name: f"vedit.cli.gif_{name}" for name in OWN})
def command() -> None:
    """Edit GIFs exactly: what an operation does not change stays as it is, bit for bit.

    Every command takes GIF or video and writes GIF, or video when the output's name says so.
    Without -o the result goes to standard output, so commands can be piped:
    vedit gif crop --left 10% < in.gif | vedit gif speed 2 > out.gif
    """


class StageCommand(click.Command):
    """A command whose first argument may be a negative number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        takes_value = {
            name
            for param in self.params
            if isinstance(param, click.Option) and not param.is_flag
            for name in param.opts
        }
        for i, arg in enumerate(args):
            is_value = i > 0 and args[i - 1] in takes_value
            if not is_value and re.fullmatch(r"-\d+(\.\d+)?", arg):
                args[i] = MINUS + arg[1:]
        return super().parse_args(ctx, args)


class StageOption(click.ParamType):  # type: ignore[type-arg]
    """The text of a stage's option, which is read when the stages are planned."""

    def __init__(self, option: Option) -> None:
        self.name = option.metavar or "text"
        self.option = option


def click_option(option: Option) -> click.Option:
    """One option of a stage as a click option."""
    text = option.help[:1].upper() + option.help[1:]
    if option.is_flag:
        names = (
            f"--{option.name}/--no-{option.name}"
            if option.default or option.negatable
            else f"--{option.name}"
        )
        return click.Option(
            [names, option.key],
            is_flag=True,
            default=None if option.negatable else bool(option.default),
            help=text + ".",
        )
    shown = "" if option.default is None or option.metavar == "" else f" (default {_shown(option.default)})"
    return click.Option(
        [f"--{option.name}", option.key],
        type=StageOption(option),
        metavar=option.metavar,
        help=f"{text}{shown}.",
    )


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and len(value) == 3:
        return f"#{bytes(value).hex()}"
    return f"{float(value):g}" if hasattr(value, "numerator") else str(value)


def stage_command(name: str) -> click.Command:
    """The click command of one stage."""
    module = stages.load(name)
    params: list[click.Parameter] = [click_option(option) for option in module.OPTIONS]
    positional = next((option for option in module.OPTIONS if option.name == module.POSITIONAL), None)

    def callback(arguments: tuple[str, ...], **given: Any) -> None:
        texts = {
            option.name: text
            for option in module.OPTIONS
            if (text := _text(given.pop(option.key, None), option)) is not None
        }
        inputs = [
            argument.replace(MINUS, "-", 1) if argument.startswith(MINUS) else argument
            for argument in arguments
        ]
        if (
            positional is not None
            and inputs
            and positional.name not in texts
            and _is_value(inputs[0], positional)
        ):
            texts[positional.name] = inputs.pop(0)
        run_stages(inputs, ((name, texts),), **given)

    usage = f"[{positional.metavar or positional.name.upper()}] [INPUT]..." if positional else "[INPUT]..."
    params.append(click.Argument(["arguments"], nargs=-1, metavar=usage))
    shared = options(output_options, metadata_options, palette_options, clip_options, manner_options)
    holder: Any = shared(lambda: None)
    own = {
        param.name for param in params
    }  # a stage may have an option of its own in the place of a shared one
    params += [param for param in reversed(holder.__click_params__) if param.name not in own]
    text = f"{module.SUMMARY}\n\n{examples(module.EXAMPLES)}"
    return StageCommand(name, params=params, callback=callback, help=text, short_help=module.SUMMARY)


def _is_value(argument: str, option: Option) -> bool:
    """Whether the first argument is the stage's value rather than an input."""
    import os

    from vedit.media.formats import CLIP_SUFFIXES

    if os.path.exists(argument):
        return False
    try:
        option.parse(argument)
        return True
    except ValueError:
        if (is_meant := getattr(option.parse, "is_meant", None)) is not None:
            return bool(is_meant(argument))
        return re.match(r"-?[\d.]", argument) is not None and not argument.lower().endswith(CLIP_SUFFIXES)


def _text(value: str | bool | None, option: Option) -> str | None:
    """An option's text as a chain has it; None where it was not given, or says what holds anyway."""
    if isinstance(value, bool):
        return None if value == option.default else str(value).lower()
    return value


def run_stages(
    inputs: Sequence[str],
    specs: Sequence[Spec],
    *,
    overwrite: bool | None,
    no_overwrite: bool,
    quiet: bool,
    progress: str,
    as_json: bool,
    verbose: bool,
    info: bool,
    **given: Any,
) -> None:
    """Run stages over the inputs with the common options; shared by every gif command."""
    from vedit.jobs.media.gif import GifRequest, plan

    voice = Voice(quiet, progress)
    request = GifRequest(
        tuple(inputs) or ("-",), tuple(specs), overwrite=may_overwrite(overwrite, no_overwrite), **given
    )
    if not inputs and sys.stdin.isatty():
        raise UsageError(
            "no input named, and standard input is a terminal.",
            "",
            f"Example: {click.get_current_context().command_path} in.gif -o out.gif",
        )
    planned = plan(request, voice, to_terminal=sys.stdout.isatty())
    run_files(planned, voice, as_json, verbose, info, request.dry_run)


def run_files(
    planned: FilesPlan, voice: Voice, as_json: bool, verbose: bool, info: bool, dry_run: bool
) -> None:
    """Run a plan and print what is asked for."""
    from vedit.jobs.batch.files import raise_failures

    if as_json and not dry_run and any(item.output == "-" for item in planned.items):
        raise UsageError("--json and the result would both go to standard output.", "", "Add -o FILE")
    outcomes = []
    for outcome in planned.run(voice, is_last=True):
        outcomes.append(outcome)
        if outcome.result is not None:
            show_report(outcome.result, voice, as_json, verbose, info, dry_run)
        elif len(planned.items) > 1:
            complain(outcome.error)
    raise_failures(outcomes)


def show_report(report: Any, voice: Voice, as_json: bool, verbose: bool, info: bool, dry_run: bool) -> None:
    if as_json:
        print_json({key: getattr(report, key) for key in report._fields if getattr(report, key) is not None})
        return
    if info:
        sys.stderr.write(f"{report.path}\n")
    if verbose or dry_run:
        width, height = report.size_out
        images = f", {report.images} images" if report.images else ""
        time = f", {report.duration_s:.2f} s" if report.duration_s is not None else ""
        size = (
            f", {report.bytes_in} to {report.bytes_out} bytes" if report.bytes_in and report.bytes_out else ""
        )
        line = (
            f"{report.input} -> {report.output}: {report.path} path"
            f" ({' '.join(report.steps) or 'nothing to do'}), {report.size_in[0]}x{report.size_in[1]} to"
            f" {width}x{height}{images}{time}{size}"
        )
        if dry_run:
            echo(line)
            if report.delays:
                echo(f"delays (cs): {' '.join(map(str, report.delays))}")
        else:
            voice.say(line)
