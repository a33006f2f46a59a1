"""`vedit gif`: one command for every stage, made from its table of options, plus chain and preview."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from vedit import stages
from vedit.cli import LazyGroup
from vedit.cli.common import (
    Voice,
    complain,
    echo,
    examples,
    limit_option,
    manner_options,
    options,
    output_options,
    print_json,
)
from vedit.errors import UsageError
from vedit.media.light import CURVES, DEFAULT_CURVE

if TYPE_CHECKING:
    from vedit.stages.options import Option

OWN = {
    "chain": "Run several stages in one process.",
    "preview": "Show frames in the terminal, or as a contact sheet.",
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
clip_options = options(
    tonemap_option,
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
        return stage_command(name) if stages.has(name) else None

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
            if re.fullmatch(r"-\d+(\.\d+)?", arg) and (i == 0 or args[i - 1] not in takes_value):
                args[i] = MINUS + arg[1:]
        return super().parse_args(ctx, args)


class StageOption(click.ParamType):  # type: ignore[type-arg]
    """A stage option's own parser as a click type."""

    def __init__(self, stage: str, option: Option) -> None:
        self.name = option.metavar or "text"
        self.stage = stage
        self.option = option

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self.option.read(self.stage, value) if isinstance(value, str) else value


def click_option(stage: str, option: Option) -> click.Option:
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
        type=StageOption(stage, option),
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
    params: list[click.Parameter] = [click_option(name, option) for option in module.OPTIONS]
    positional = next((option for option in module.OPTIONS if option.name == module.POSITIONAL), None)

    def callback(arguments: tuple[str, ...], **given: Any) -> None:
        values = {option.key: given.pop(option.key, None) for option in module.OPTIONS}
        inputs = [
            argument.replace(MINUS, "-", 1) if argument.startswith(MINUS) else argument
            for argument in arguments
        ]
        if (
            positional is not None
            and inputs
            and values[positional.key] is None
            and _is_value(inputs[0], positional)
        ):
            values[positional.key] = positional.read(name, inputs.pop(0))
        values = {
            option.key: option.default if values[option.key] is None else values[option.key]
            for option in module.OPTIONS
        }
        run_stages(inputs, lambda: [module.make(**values)], **given)

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
        return re.match(r"-?[\d.]", argument) is not None and not argument.lower().endswith(CLIP_SUFFIXES)


def run_stages(
    inputs: Sequence[str],
    build: Callable[[], Sequence[Any]],
    *,
    loop: str | None = None,
    strip: str | None = None,
    comment: str | None = None,
    **common: Any,
) -> None:
    """Run stages over the inputs with the common options; shared by every gif command."""
    voice = Voice(common["quiet"], common["progress"])
    build()  # a wrong combination of options is found before any input is opened
    extra = _metadata(loop, strip, comment)
    run_inputs(inputs, lambda: [*build(), *extra()], voice, common)


def _metadata(loop: str | None, strip: str | None, comment: str | None) -> Callable[[], list[Any]]:
    """The stage behind --loop, --strip and --comment, when one of them is given."""
    if loop is None and strip is None and comment is None:
        return list
    from vedit.stages import metadata
    from vedit.stages.options import read_options

    given = {
        key: value
        for key, value in (("loop", loop), ("strip", strip), ("comment", comment))
        if value is not None
    }
    values = read_options("metadata", metadata.OPTIONS, given)
    return lambda: [metadata.make(**values)]


def run_inputs(
    inputs: Sequence[str], build: Callable[[], Sequence[Any]], voice: Voice, common: dict[str, Any]
) -> None:
    """Pair inputs with outputs, run them all, print what is asked for."""
    from vedit.jobs.batch import Item, name_outputs, raise_failures, run_batch
    from vedit.media.atomic import together
    from vedit.media.limits import environment_limits, parse_limits
    from vedit.media.options import QuantiseOptions, ReadOptions, WriteOptions
    from vedit.media.run import Report, Settings, run_file
    from vedit.media.window import usable_cores

    dry_run, as_json = common["dry_run"], common["as_json"]
    if common["overwrite"] and common["keep"]:
        raise UsageError("-y and -n were given together.", "Give one of them.")
    if not inputs and sys.stdin.isatty():
        raise UsageError(
            "no input named, and standard input is a terminal.",
            "",
            f"Example: {click.get_current_context().command_path} in.gif -o out.gif",
        )
    overwrite = True if common["overwrite"] else False if common["keep"] else None
    items = name_outputs(
        inputs or ["-"], common["output"], common["output_dir"], common["in_place"], common["suffix"],
        common["to"], overwrite,
        is_stdout_tty=sys.stdout.isatty() and not dry_run, makes_folders=not dry_run, say=voice.warn,
    )  # fmt: skip
    if as_json and not dry_run and any(item.output == "-" for item in items):
        raise UsageError("--json and the result would both go to standard output.", "", "Add -o FILE")
    cores = common["jobs"] or usable_cores()
    limits = parse_limits(common["limits"], environment_limits())
    read = ReadOptions(limits=limits, strict=common["strict"], tonemap=common["tonemap"])
    settings = Settings(
        jobs=cores if len(items) == 1 else 1,
        write=WriteOptions(format=common["to"]),
        quantise=QuantiseOptions(common["palette"], common["colors"], common["dither"]),
    )
    if len(items) == 1:
        settings = settings._replace(watch=voice.watch)

    def work(item: Item) -> Report:
        with together(is_last=len(items) == 1):
            return run_file(
                item.input, item.output, build, settings._replace(warn=voice.named(item.input)), read, dry_run
            )

    outcomes = []
    for outcome in run_batch(items, work, min(cores, max(1, len(items)))):
        outcomes.append(outcome)
        if outcome.result is not None:
            show_report(outcome.result, voice, as_json, common["verbose"], common["info"], dry_run)
        elif len(items) > 1:
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
