"""The chain grammar: stages written one after another in a line or a file.

    crop:left=10%,right=10%; resize:scale=50%; rotate:90; speed:2

`;`, a new line, or `,` before the name of a stage separates stages; `name:positional,key=value`
gives options, a flag stands alone (`no-` in front turns it off), a line that begins with `#` is a
comment, and quotes around a value keep separators inside it: watermark:text='a; b'. Inside its own
quotes a quote is written twice: text='it''s'. A quote within a word is a letter: text=don't.
`format_chain` writes what `parse_chain` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vedit import stages
from vedit.errors import InputError, UsageError, nearest, option
from vedit.plain import american
from vedit.stages.options import read_options

Spec = tuple[str, dict[str, str]]
SUBTITLES = {
    "position": "bottom-center",
    "opacity": "255",
    "font-size": "6%",
    "outline": "10%",
    "margin": "5%",
}  # of the stage watermark
QUOTES = "\"'"


def parse_chain(text: str) -> list[Spec]:
    """Stage names with their option texts by name. Raises UsageError on a stage or option unknown."""
    result: list[Spec] = []
    known = stages.names()
    for part in _split(text, ";\n", has_comments=True):
        head, *rest = _split(part, ",")
        specs = [_open_stage(head, known)]
        for piece in rest:
            if (
                _stage_name(piece) in known
                and "=" not in piece.partition(":")[0]
                and not _is_option(specs[-1][0], piece)
            ):
                specs.append(_open_stage(piece, known))
            else:
                _add(specs[-1], piece)
        result += specs
    if not result:
        raise UsageError(
            "the chain is empty.",
            "It names stages, with ; between them.",
            'Example: vedit gif chain "crop:left=10%; rotate:90" in.gif -o out.gif',
        )
    return result


def subtitle_specs(path: str | None, font: str | None) -> list[Spec]:
    """The stage that draws the words of a file into the lower part of the picture, if there is one.

    Raises UsageError for a font without a file.
    """
    if path is None:
        if font is not None:
            raise UsageError(
                f"{option('subtitles_font', font)} has no meaning without {option('subtitles', 'FILE')}."
            )
        return []
    named = {} if font is None else {"font": font}
    return [("watermark", {"captions": path, **SUBTITLES, **named})]


def read_chain(path: str) -> list[Spec]:
    """The stages in a file, as `parse_chain` reads them. Raises InputError too."""
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the chain: {error}.") from None
    return parse_chain(text)


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


def format_chain(specs: Sequence[Spec], quote: str = '"') -> str:
    """The line that `parse_chain` reads these stages from.

    quote: what stands around values that need it, unless only the other one spares them doubled quotes.
    """
    return "; ".join(_written(name, given, quote) for name, given in specs)


def _written(name: str, given: Mapping[str, str], quote: str) -> str:
    pieces = [f"{key}={_quoted(value, quote)}" for key, value in given.items()]
    return f"{name}:{','.join(pieces)}" if pieces else name


def _quoted(value: str, quote: str) -> str:
    """A value as it stands in a chain: bare where nothing in it could be mistaken."""
    if value and value == value.strip() and not any(char in f"{QUOTES};,\n" for char in value):
        return value
    other = QUOTES.replace(quote, "")
    quote = other if quote in value and other not in value else quote
    return quote + value.replace(quote, quote * 2) + quote


def _split(text: str, separators: str, has_comments: bool = False) -> list[str]:
    """Split at separators outside quoted values; empty parts are left out, and spaces around parts.

    has_comments: leave out lines that begin with #.
    """
    parts, current, place = [], "", 0
    while place < len(text):
        char = text[place]
        end = place + 1
        if char in QUOTES and (closing := _closing(text, place, current)):
            end = closing
        elif char == "#" and has_comments and not text[:place].rpartition("\n")[2].strip():
            end = text.find("\n", place) % (len(text) + 1)  # -1, no further line, is the end of the text
            place = end
        elif char in separators:
            parts.append(current)
            current, place = "", end
        current, place = current + text[place:end], end
    return [part.strip() for part in [*parts, current] if part.strip()]


def _closing(text: str, start: int, before: str) -> int:
    """The place behind the quote that closes the one at `start`; 0 for a quote that is a letter.

    before: the part so far. A quote that begins a value must be closed; one behind a space may be.
    """
    begins = not before.strip() or before.rstrip()[-1] in "=:"
    if not begins and not before[-1:].isspace():
        return 0
    quote, place = text[start], start + 1
    while (place := text.find(quote, place)) >= 0:
        if text[place + 1 : place + 2] != quote:
            return place + 1
        place += 2
    if not begins:
        return 0
    right = "A quote inside its own quotes is written twice."
    raise UsageError(f"a quote {quote} is not closed in {text.strip()!r}.", right)


def _unquoted(value: str) -> str:
    if (
        len(value) > 1
        and value[0] == value[-1]
        and value[0] in QUOTES
        and _closing(value, 0, "") == len(value)
    ):
        return value[1:-1].replace(value[0] * 2, value[0])
    return value


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


def _is_positional(module: Any, spec: Spec, key: str, piece: str) -> bool:
    """Whether a piece with = in it is the stage's own value rather than an option with its value."""
    options = {option.name: option for option in module.OPTIONS}
    own = options.get(module.POSITIONAL or "")
    if (
        own is None
        or own.name in spec[1]
        or american(key.strip().replace("_", "-")) in map(american, options)
    ):
        return False
    is_meant = getattr(own.parse, "is_meant", None)
    return is_meant is not None and bool(is_meant(_unquoted(piece.strip())))


def _add(spec: Spec, piece: str) -> None:
    """Put `key=value`, a flag or the positional value into a stage's options."""
    name, given = spec
    module = stages.load(name)
    key, equals, value = piece.partition("=")
    if equals and _is_positional(module, spec, key, piece):
        key, value = module.POSITIONAL, piece
    elif not equals:
        bare = piece.removeprefix("no-")
        if any(option.name == bare and option.is_flag for option in module.OPTIONS):
            key, value = bare, "true" if bare == piece else "false"
        elif module.POSITIONAL and module.POSITIONAL not in given:
            key, value = module.POSITIONAL, piece
        else:
            meant = nearest(
                _stage_name(piece), [*stages.names(), *(option.name for option in module.OPTIONS)]
            )
            raise UsageError(
                f"{name}: {piece!r} is neither an option of {name} nor a stage{meant}",
                f"Options are key=value; {name} knows {', '.join(option.name for option in module.OPTIONS)}.",
            )
    typed = key.strip().replace("_", "-")
    key = next((option.name for option in module.OPTIONS if american(option.name) == american(typed)), typed)
    if key in given:
        raise UsageError(f"{name}: {key} is given twice.")
    given[key] = _unquoted(value.strip())
