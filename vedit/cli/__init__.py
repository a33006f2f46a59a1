"""The command line: parse, call `app`, print. One module per command, imported when it is asked for.

`COMMANDS` names every command with its one line of help, so that `vedit --help` imports none; a test holds
the table against the modules.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import click

from vedit import __version__
from vedit.cli.spelling import on_command_line
from vedit.errors import OutputError, UsageError, VeditError, answer, listen, nearest, speak
from vedit.media import stopping
from vedit.plain import american, plain

COMMANDS = {
    "caption": "Say what clips show, in a sentence each.",
    "batch": "Make many edits: from a list, a matrix or a folder, on several devices.",
    "bench": "Measure models and methods where the right answer is known.",
    "cache": "List and clear the inversions that edits keep.",
    "convert": "Convert between GIF, video, pictures and frame streams.",
    "data": "Make data sets for training and benchmarks from your own files.",
    "demo": "Draw a clip, edit it by text, compare with the truth.",
    "edit": "Change what a clip shows by text.",
    "env": "Show versions, devices, ffmpeg and caches, for bug reports.",
    "generate": "Make clips from text.",
    "gif": "Resize, crop, rotate, watermark, adjust, speed up, chain, preview.",
    "localize": "Edit a clip in four ways with one purpose, and compare them.",
    "models": "List, fetch and look into models; make folders of training runs.",
    "invert": "Compute the noise that samples back to a clip.",
    "presets": "List, show and save presets.",
    "probe": "Tell what is in a GIF or a video.",
    "replay": "Repeat an edit or a generated clip from its run record.",
    "rewrite": "Make the prompt of an edit from an instruction.",
    "scene": "Draw a clip from a caption, and the true result of an edit.",
    "score": "Judge edited clips, compare methods, lay out tables.",
    "suite": "Make edits by several methods, score them, print a paper's tables.",
    "train": "Train the embedded models, or a generator on your clips.",
}

DISK_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EBADF,
)  # the last: standard output is closed
# what a folder or a file that may not be written says, where nothing nearer has told it
FILE_ERRORS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOENT,
    errno.ENAMETOOLONG,
    errno.ETXTBSY,
)


class NamedContext(click.Context):
    """What a command is called in: no file and no folder that an option names has an empty name."""

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        for param in self.command.params:
            if param.metavar in ("FILE", "DIR") and self.params.get(param.name or "") == "":
                raise UsageError(
                    f"the name behind {param.opts[0]} is empty.",
                    "A variable of a script may not be set.",
                    f"Name a {'file' if param.metavar == 'FILE' else 'folder'}, or leave {param.opts[0]} out",
                )
        return super().invoke(*args, **kwargs)


def prepared(command: click.Command) -> click.Command:
    """A command that is called in a context of ours, and finds options of one letter at once.

    click looks for `-o` among the long options first. What it does not find there it compares with every
    other option, which takes 5 % of a small call.
    """
    if command.context_class is NamedContext:
        return command
    make_parser = command.make_parser

    def with_letters(ctx: click.Context) -> Any:
        parser: Any = make_parser(ctx)
        parser._long_opt.update(parser._short_opt)
        return parser

    command.context_class = NamedContext
    command.make_parser = with_letters  # type: ignore[method-assign]
    return command


class LazyGroup(click.Group):
    """A group whose commands are modules named in a table, each with an attribute `command`."""

    def __init__(
        self, *args: Any, table: Mapping[str, str], modules: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.table = table
        self.modules = modules or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.table:
            return None
        module = self.modules.get(name, f"{__name__}.{name.replace('-', '_')}")
        return prepared(importlib.import_module(module).command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            path = ctx.command_path
            raise UsageError(
                f"there is no command {path} {args[0]}{nearest(args[0], self.list_commands(ctx))}",
                "",
                f"See: {path} --help",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.table[name]) for name in self.list_commands(ctx)])


class OutputClosed(Exception):
    """Who reads our output has gone."""


class Main(LazyGroup):
    """All commands. A broken pipe leaves it by a name that click does not turn into exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise OutputClosed from None


CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "auto_envvar_prefix": "VEDIT",
    "max_content_width": 100,
    "token_normalize_func": american,  # --centre and --center are one option, whichever is documented
}


@click.group(cls=Main, table=COMMANDS, context_settings=CONTEXT)
@click.version_option(__version__, "-V", "--version", prog_name="vedit", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Exact GIF and video tools, and text-driven video editing.

    Data goes to standard output, words to standard error; "-" is standard input or output.
    Every command explains itself: vedit COMMAND --help, or man vedit-COMMAND.
    """
    from vedit.config import Defaults, user_config

    ctx.default_map = Defaults(user_config())


def run() -> None:
    """Entry point: run the command line and leave with the exit code of what happened."""
    # Threads of torch wait for each other busily, for milliseconds by default. On a machine with
    # other work they wait for threads that do not run: 1.4 to 1.7 times the time for a small model.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Interpreters that libraries start (compilers, workers) import nothing from the working folder either.
    os.environ["PYTHONSAFEPATH"] = "1"
    # Looking for plugins of pydantic, which change nothing here, takes as long as pydantic itself.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _open_standard_streams()
    code = execute(sys.argv[1:])
    stopping.ignore()
    sys.exit(code)


def _open_standard_streams() -> None:
    """Let the three standard streams exist, and print any name.

    A service may start a program without them; then the next files opened would take their numbers.
    What is missing is opened the wrong way round, so that reading and writing fail and are told.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free: this one
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def ask(path: str) -> bool:
    """Ask the person at the terminal, if one is there, whether an output may be replaced."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"{plain(path)} exists. Replace it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def at_keyboard() -> bool:
    """Whether standard input is a terminal."""
    return sys.stdin.isatty()


def execute(args: list[str]) -> int:
    """Run one command line; returns its exit code. Never lets a traceback through without --debug.

    Ctrl-C, SIGTERM and SIGHUP leave no part file and end in 130, 143 and 129.
    """
    debug = "--debug" in args or bool(os.environ.get("VEDIT_DEBUG"))
    args = [arg for arg in args if arg != "--debug"]  # wherever it stands
    stopping.install()
    speak(on_command_line)
    answer(ask)
    listen(at_keyboard)
    warnings.filterwarnings(
        "ignore", module=r"PIL\."
    )  # what its warnings tell of is told in vedit's words, or concerns tags
    try:
        main.main(args, prog_name="vedit", standalone_mode=False)
        sys.stdout.flush()
        return 0
    except BaseException as error:  # every way out is turned into an exit code here, and only here
        if debug and not isinstance(
            error, (click.exceptions.Exit, SystemExit, OutputClosed, BrokenPipeError)
        ):
            import traceback

            traceback.print_exc()
        for module, clear in (
            ("vedit.media.video.ffmpeg", "end_children"),
            ("vedit.media.atomic", "remove_unfinished"),
        ):
            if module in sys.modules:
                getattr(sys.modules[module], clear)()
        return _exit_code(error)


def _exit_code(error: BaseException) -> int:
    """Say what went wrong, once, and give the exit code for it."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, VeditError):
        _say(str(error))
        try:
            sys.stdout.flush()
        except (OSError, ValueError):  # the error was about standard output, and was told
            _drop_output()
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and error.ctx:
        click.echo(error.ctx.get_help(), err=True)
        return UsageError.exit_code
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "vedit"
        _say(f"{error.format_message()}\nSee: {where} --help")
        return UsageError.exit_code
    if isinstance(error, click.ClickException):
        _say(error.format_message())
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        _say("interrupted.")
        return 130
    if isinstance(error, (OutputClosed, BrokenPipeError)):
        _drop_output()
        return 141
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        _say(f"cannot write: {os.strerror(error.errno).lower()}.")
        _drop_output()
        return OutputError.exit_code
    if isinstance(error, OSError) and error.errno in FILE_ERRORS and error.filename:
        _say(f"{os.fsdecode(error.filename)}: {os.strerror(error.errno).lower()}.")
        return OutputError.exit_code
    if isinstance(error, MemoryError):
        _say("out of memory.\nWork on fewer frames at once (-j 1), or on a smaller clip.")
        return 6
    _say(
        f"bug: {type(error).__name__}: {error}\nPlease report it with the output of: vedit env\nA traceback"
        " is shown by: VEDIT_DEBUG=1"
    )
    return 1


def _drop_output() -> None:
    """Send what standard output still holds nowhere, or the interpreter complains at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # it is no file, or closed
        pass


def _say(message: str) -> None:
    from vedit.secrecy import without_login

    try:
        sys.stderr.write(f"vedit: {plain(without_login(message))}\n")
    except (OSError, ValueError):  # standard error is closed: there is nobody to tell
        pass
