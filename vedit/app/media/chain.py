"""The chain grammar: stages written one after another in a line or a file.

    crop:left=10%,right=10%; resize:scale=50%; rotate:90; speed:2

`;`, a new line, or `,` before the name of a stage separates stages; `name:positional,key=value`
gives options, a flag stands alone (`no-` in front turns it off), a line that begins with `#` is a comment, and
quotes keep separators inside a value: watermark:text="a; b".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vedit import stages
from vedit.errors import UsageError, nearest
from vedit.stages.options import read_options

Spec = tuple[str, dict[str, str]]


def parse_chain(text: str) -> list[Spec]:
    """Stage names with their option texts by name. Raises UsageError on a stage or option unknown."""
    result: list[Spec] = []
    known = stages.names()
    for part in _split(_without_comments(text), ";\n"):
        head, *rest = _split(part, ",")
        specs = [_open_stage(head, known)]
        for piece in rest:
            if _stage_name(piece) in known and "=" not in piece.partition(":")[0] and not _is_option(specs[-1][0], piece):
                specs.append(_open_stage(piece, known))
            else:
                _add(specs[-1], piece)
        result += specs
    if not result:
        raise UsageError(
            "the chain is empty.", "It names stages, with ; between them.", 'Example: vedit gif chain "crop:left=10%; rotate:90" in.gif -o out.gif'
        )
    return result


def build_chain(specs: Sequence[Spec]) -> Callable[[], list[Any]]:
    """A function that makes fresh stages; every option is checked now."""
    made = []
    for name, given in specs:
        module = stages.load(name)
        made.append((module, read_options(name, module.OPTIONS, given)))

    def build() -> list[Any]:
        # make changes nothing of the values it gets, but a stage is free to: hand out copies
        return [module.make(**dict(values)) for module, values in made]

    build()
    return build


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def _split(text: str, separators: str) -> list[str]:
    """Split at separators outside quotes; empty parts are left out, and spaces around parts."""
    parts, current, quote = [], "", ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
            current += char
        elif char in "\"'":
            quote = char
            current += char
        elif char in separators:
            parts.append(current)
            current = ""
        else:
            current += char
    if quote:
        raise UsageError(f"a quote {quote} is not closed in {text.strip()!r}.")
    return [part.strip() for part in [*parts, current] if part.strip()]


def _stage_name(piece: str) -> str:
    return piece.partition(":")[0].strip()


def _is_option(stage: str, piece: str) -> bool:
    """Whether a bare word is an option of the stage before it rather than a new stage."""
    return ":" not in piece and any(option.name == piece for option in stages.load(stage).OPTIONS)


def _open_stage(piece: str, known: list[str]) -> Spec:
    name, _, first = piece.partition(":")
    name = name.strip()
    if name not in known:
        stages.load(name)  # raises, with the nearest spelling
    spec: Spec = (name, {})
    if first.strip():
        _add(spec, first.strip())
    return spec


def _add(spec: Spec, piece: str) -> None:
    """Put `key=value`, a flag or the positional value into a stage's options."""
    name, given = spec
    module = stages.load(name)
    key, equals, value = piece.partition("=")
    if not equals:
        bare = piece.removeprefix("no-")
        if any(option.name == bare and option.is_flag for option in module.OPTIONS):
            key, value = bare, "true" if bare == piece else "false"
        elif module.POSITIONAL and module.POSITIONAL not in given:
            key, value = module.POSITIONAL, piece
        else:
            meant = nearest(_stage_name(piece), [*stages.names(), *(option.name for option in module.OPTIONS)])
            raise UsageError(
                f"{name}: {piece!r} is neither an option of {name} nor a stage{meant}",
                f"Options are key=value; {name} knows {', '.join(option.name for option in module.OPTIONS)}.",
            )
    key = key.strip().replace("_", "-")
    if key in given:
        raise UsageError(f"{name}: {key} is given twice.")
    value = value.strip()
    given[key] = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value
