"""Options and manners that commands share: outputs, overwriting, verbosity, progress, warnings."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from vedit.errors import UsageError
from vedit.plain import json_text, plain

if TYPE_CHECKING:
    from vedit.media.frames import Frames
    from vedit.options import Option

Decorator = Callable[[Any], Any]


def options(*decorators: Decorator) -> Decorator:
    """Stack click options in the order that help should show them."""

    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def declared_options(owner: type) -> Decorator:
    """The options that the fields of a dataclass declare, as click options in the same order."""
    from vedit.options import declared_in, defaults_of

    defaults = defaults_of(owner)
    return options(*(_declared(key, option, defaults[key]) for key, option in declared_in(owner).items()))


def _declared(key: str, option: Option, default: Any) -> Decorator:
    name = f"--{key.replace('_', '-')}"
    if option.kind is bool:
        return click.option(name, is_flag=True, default=default, help=option.help)
    kinds: dict[type, Any] = {int: click.IntRange, float: click.FloatRange}
    kind = (
        click.Choice(option.choices)
        if option.choices
        else kinds[option.kind](option.low, option.high)
        if option.kind in kinds
        else None
    )
    shown: dict[str, Any] = {} if option.metavar is None else {"metavar": option.metavar}
    return click.option(
        name,
        type=kind,
        multiple=option.is_repeated,
        default=None if default == () else default,
        help=option.help,
        **shown,
    )


limit_option = click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="KEY=N",
    help="Change a limit: canvas, image, total, images, comment, expansion, held, spool, memory; 0 lifts it.",
)


def voice_options(help: str = "Progress on standard error.") -> Decorator:
    """-q and --progress, of which `Voice` is made. help: of the second."""
    return options(
        click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings."),
        click.option("--progress", type=click.Choice(["auto", "jsonl", "none"]), default="auto", help=help),
    )


def replacing(help: str) -> Decorator:
    """-y and -n, of which `may_overwrite` makes one answer. help: of the first."""
    return options(
        click.option(
            "-y", "--overwrite/", "overwrite", flag_value=True, default=None, is_flag=True, help=help
        ),
        click.option(
            "-n",
            "--no-overwrite",
            "no_overwrite",
            is_flag=True,
            help="Never replace an output, and never ask.",
        ),
    )


output_options = options(
    click.option("-o", "--output", metavar="FILE", help="Write here; - is standard output."),
    click.option(
        "-O", "--output-dir", metavar="DIR", help="Write each output into this folder under its input's name."
    ),
    click.option("--in-place", is_flag=True, help="Rewrite each input."),
    click.option(
        "--suffix",
        default="",
        metavar="TEXT",
        help="Add to the names that -O writes: a.gif becomes a_small.gif with _small.",
    ),
    replacing("Replace outputs that exist."),
)
manner_options = options(
    click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1),
        envvar="VEDIT_JOBS",
        metavar="N",
        help="Threads; as many as there are cores by default. Any number gives the same bytes.",
    ),
    click.option("--dry-run", is_flag=True, help="Show what would be done, and write nothing."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, one object per input."),
    click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings."),
    click.option("-v", "--verbose", is_flag=True, help="Say how each input is processed."),
    click.option(
        "--progress",
        type=click.Choice(["auto", "jsonl", "none"]),
        default="auto",
        help="Progress on standard error: a bar on a terminal, JSON lines for programs.",
    ),
)


def echo(text: object = "", nl: bool = True, err: bool = False) -> None:
    """Print words for people, control characters shown; what programs read goes through `print_json`."""
    click.echo(plain(str(text)), nl=nl, err=err)


def complain(message: object) -> None:
    """Say something on standard error, in vedit's name."""
    try:
        sys.stderr.write(f"vedit: {plain(str(message))}\n")
    except (OSError, ValueError):  # it is closed: there is nobody to tell
        pass


class Voice:
    """What the command says on standard error besides errors: warnings, each once, and progress."""

    def __init__(self, quiet: bool = False, progress: str = "auto") -> None:
        self.quiet = quiet
        self.progress = progress
        self.said: dict[str, int] = {}

    def warn(self, message: str) -> None:
        """Print a warning, once; from the 11th on they are only counted."""
        if self.quiet or message in self.said:
            return
        self.said[message] = 1
        if len(self.said) <= 10:
            complain(message)
        elif len(self.said) == 11:
            complain("further warnings are not shown")

    def named(self, name: str) -> Callable[[str], None]:
        """A `warn` that puts the name of an input in front."""
        return lambda message: self.warn(f"{name}: {message}")

    def say(self, message: str) -> None:
        if not self.quiet:
            complain(message)

    @property
    def shows_bar(self) -> bool:
        is_plain = os.environ.get("CI") or (os.environ.get("NO_COLOR") and os.environ.get("TERM") == "dumb")
        return self.progress == "auto" and not self.quiet and not is_plain and sys.stderr.isatty()

    def watch(self, frames: Frames, total: int | None) -> Frames:
        """Pass frames on, showing how far they are: a bar after half a second, or JSON lines."""
        if self.progress == "jsonl":
            return self._watch_json(frames, total)
        return self._watch_bar(frames, total) if self.shows_bar else frames

    def _watch_json(self, frames: Frames, total: int | None) -> Frames:
        import json

        for done, frame in enumerate(frames, 1):
            sys.stderr.write(json.dumps({"frame": done, "total": total}) + "\n")
            yield frame

    def _watch_bar(self, frames: Frames, total: int | None) -> Frames:
        start, bar = time.monotonic(), None
        try:
            for done, frame in enumerate(frames, 1):
                if bar is None and time.monotonic() - start > 0.5:
                    from tqdm import tqdm

                    bar = tqdm(total=total, initial=done, unit=" images", leave=False, file=sys.stderr)
                elif bar is not None:
                    bar.update()
                yield frame
        finally:
            if bar is not None:
                bar.close()

    def steps(self, steps: Iterable[Any], total: int | None, what: str) -> Iterator[Any]:
        """Pass the steps of long work on, showing how far it is."""
        return self.watch(iter(steps), total) if what == "images" else self._steps(steps, total, what)

    def _steps(self, steps: Iterable[Any], total: int | None, what: str) -> Iterator[Any]:
        if self.progress == "jsonl":
            import json

            for done, step in enumerate(steps, 1):
                sys.stderr.write(json.dumps({"task": what, "step": done, "total": total}) + "\n")
                yield step
        elif self.shows_bar:
            from tqdm import tqdm

            yield from tqdm(steps, total=total, desc=plain(what), leave=False, file=sys.stderr)
        else:
            yield from steps


def print_json(value: Any) -> None:
    """One JSON object on one line of standard output."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    click.echo(json_text(value, is_ascii=not encoding.startswith("utf")))


def examples(lines: Sequence[tuple[str, str]]) -> str:
    """The EXAMPLES section of a help text, kept line by line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}\n      {what}" for line, what in lines)


def toml_value(text: str) -> Any:
    """A parameter's text as TOML reads it, else as it stands."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def settings_of(texts: Sequence[str], owner: str) -> dict[str, Any]:
    """The values of --set OWNER.KEY=VALUE, read as TOML. Raises UsageError."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text} has no value.", f"Write {owner}.KEY=VALUE.")
        found[key] = toml_value(value)
    return found


def may_overwrite(overwrite: bool | None, keep: bool) -> bool | None:
    """What -y and -n say of outputs that exist; None where neither was given, and the user is asked."""
    if overwrite and keep:
        raise UsageError("-y and -n were given together.", "Give one of them.")
    return True if overwrite else False if keep else None
