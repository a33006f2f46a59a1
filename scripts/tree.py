"""The click tree as plain values: what man pages, completions and the README are made from."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


@dataclass(frozen=True)
class Value:
    """What an option or an argument takes: words to choose from, a file, a folder, a preset, or any text."""

    kind: str = "text"
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flag:
    """One option. value: None for a switch."""

    names: tuple[str, ...]
    metavar: str
    help: str
    value: Value | None
    is_repeated: bool
    variable: str | None


@dataclass
class Node:
    """One command with its place in the tree: words are what a user types, ("vedit", "gif", "crop")."""

    words: tuple[str, ...]
    command: click.Command
    context: click.Context
    children: list[Node] = field(default_factory=list)

    @property
    def typed(self) -> str:
        return " ".join(self.words)

    @property
    def page(self) -> str:
        return "-".join(self.words)

    @property
    def is_group(self) -> bool:
        return isinstance(self.command, click.Group)

    def all(self) -> Iterator[Node]:
        """This node and everything below, in the order of help."""
        yield self
        for child in self.children:
            yield from child.all()

    @cached_property
    def _paragraphs(self) -> list[str]:
        return [
            part.strip("\n")
            for part in re.split(r"\n\s*\n", inspect.cleandoc(self.command.help or "").partition("\f")[0])
            if part.strip()
        ]

    @property
    def summary(self) -> str:
        """One line without its full stop."""
        text = self.command.short_help or (self._paragraphs[0] if self._paragraphs else "")
        return " ".join(text.split()).removesuffix(".")

    @property
    def description(self) -> list[str]:
        """Paragraphs; one that begins with a backspace is kept line by line, as click does."""
        return [part for part in self._paragraphs if not _is_examples(part)]

    @property
    def examples(self) -> list[tuple[str, str]]:
        """Command lines with what each does, from the Examples block of the help text."""
        lines = next((part.splitlines()[2:] for part in self._paragraphs if _is_examples(part)), [])
        return [(line.strip(), what.strip()) for line, what in zip(lines[::2], lines[1::2], strict=True)]

    @property
    def usage(self) -> str:
        return " ".join(self.command.collect_usage_pieces(self.context))

    @cached_property
    def flags(self) -> list[Flag]:
        return [
            _flag(param, self.context)
            for param in self.command.get_params(self.context)
            if isinstance(param, click.Option) and not param.hidden
        ]

    @property
    def arguments(self) -> list[tuple[Value, bool]]:
        """What the positional arguments take, and whether each may repeat."""
        return [
            (_argument_value(param, self.context), param.nargs != 1)
            for param in self.command.params
            if isinstance(param, click.Argument)
        ]


def build() -> Node:
    """The tree of the whole command line."""
    from vedit.cli import main

    return _node(("vedit",), main, None)


def _node(words: tuple[str, ...], command: click.Command, parent: click.Context | None) -> Node:
    context = click.Context(command, info_name=words[-1], parent=parent, **command.context_settings)
    node = Node(words, command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            try:
                child = command.get_command(context, name)
            except ModuleNotFoundError as error:
                if not (error.name or "").startswith("vedit.cli."):
                    raise
                print(f"left out, since it has no module yet: {' '.join((*words, name))}", file=sys.stderr)
                continue
            assert child is not None, f"{' '.join(words)} lists {name} and has no such command"
            if not child.hidden:
                node.children.append(_node((*words, name), child, context))
    return node


def _is_examples(paragraph: str) -> bool:
    return paragraph.startswith("\b\nExamples:")


def _flag(option: click.Option, context: click.Context) -> Flag:
    record = option.get_help_record(context)
    assert record is not None
    names = tuple(name for name in (*option.opts, *option.secondary_opts) if name.startswith("-"))
    takes_value = not option.is_flag and not option.count
    metavar = option.make_metavar(context) if takes_value else ""
    variable = option.envvar if isinstance(option.envvar, str) else None
    text, _, extra = record[1].partition("  [")  # click's own additions, said in words below
    facts = [_range(option.type, metavar)] if takes_value else []
    facts += [
        fact.replace("default", "Default", 1) + "."
        for fact in extra.removesuffix("]").split("; ")
        if fact.startswith("default")
    ]
    facts += ["Required."] if option.required else []
    text = " ".join(part for part in (text, *facts) if part)
    if takes_value and option.metavar is None and _is_range(option.type):
        metavar = "N"
    return Flag(
        names,
        metavar,
        text,
        _option_value(option, metavar) if takes_value else None,
        option.multiple,
        variable,
    )


def _is_range(kind: click.ParamType) -> bool:
    return isinstance(kind, (click.IntRange, click.FloatRange))


def _range(kind: click.ParamType, metavar: str) -> str:
    """A number's range as a sentence, unless its metavar shows it: 2-256."""
    if not isinstance(kind, (click.IntRange, click.FloatRange)) or metavar == f"{kind.min}-{kind.max}":
        return ""
    if kind.max is None:
        return f"At least {kind.min:g}." if kind.min is not None else ""
    return f"At most {kind.max:g}." if kind.min is None else f"From {kind.min:g} to {kind.max:g}."


def _option_value(option: click.Option, metavar: str) -> Value:
    if isinstance(option.type, click.Choice):
        return Value("words", tuple(map(str, option.type.choices)))
    own = getattr(getattr(option.type, "option", None), "choices", ())  # a stage's option
    if own:
        return Value("words", tuple(own))
    if metavar == "PRESET" or "--preset" in option.opts:
        return Value("preset")
    return _value_of(metavar)


def _argument_value(argument: click.Argument, context: click.Context) -> Value:
    first, _, rest = (argument.metavar or argument.make_metavar(context)).partition(" ")
    words = _value_of(first.strip("[]."))
    return Value("file", words.words) if rest or words.kind == "text" else words


def _value_of(metavar: str) -> Value:
    if metavar == "PRESET":
        return Value("preset")
    if re.search(r"\b(DIR|FOLDER)\b", metavar):
        return Value("folder")
    if re.search(r"\b(FILE|INPUT|OUTPUT|PATH|CLIP)\b", metavar):
        return Value("file")
    words = tuple(
        word for word in metavar.strip("[]").split("|") if re.fullmatch(r"[a-z0-9][a-z0-9-]*", word)
    )
    return Value("words", words) if "|" in metavar and words else Value()
