"""What the page draws: the options of every stage, and of the result as a whole, as plain values.

Stages say themselves what they take, those of other distributions too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from vedit import stages
from vedit.errors import VeditError
from vedit.media.formats import suffix_of
from vedit.media.light import CURVES, DEFAULT_CURVE
from vedit.plain import american
from vedit.presets import as_text
from vedit.stages.options import Choice, FilePath, Flag, Integer, Option, Text, read_options

Spec = tuple[str, dict[str, str]]

FORMATS = {  # what results can be, and what a browser calls it
    "gif": "image/gif",
    "webp": "image/webp",
    "apng": "image/apng",
    "avif": "image/avif",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
}
FORMAT = "format"  # stands in the name of the output
_TIME = Text()


def output_options() -> tuple[Option, ...]:
    """What concerns the result as a whole; a command line has them behind those of its stages."""
    shared = {option.name: option for option in stages.load("metadata").OPTIONS}
    return (
        Option(FORMAT, Choice(*FORMATS), "kind of file", "FORMAT", "gif"),
        Option(
            "palette",
            Choice("auto", "keep", "global", "frame"),
            "colours of full-colour results: few palettes, the source's, one, or one per image",
            "auto|keep|global|frame",
            "auto",
        ),
        Option("colors", Integer(2, 256), "colours per palette", "2-256", 256),
        Option(
            "dither",
            Choice("none", "bayer", "fs"),
            "dithering of full-colour results",
            "none|bayer|fs",
            "none",
        ),
        Option(
            "max-size",
            Text(),
            "fit a GIF into so many bytes (8MB, 500k): lossy, then fewer colours, images, pixels",
            "SIZE",
        ),
        shared["loop"],
        Option("start", _TIME, "begin here: seconds, or 1:02.5", "TIME"),
        Option("end", _TIME, "end here", "TIME"),
        Option("duration", _TIME, "or take this much", "TIME"),
        Option("fps", _TIME, "frames per second: at most so many in a GIF, exactly so many in film", "R"),
        Option("crf", Integer(0, 63), "quality of film, lower is better (18; webm 24)", "N"),
        Option("no-audio", Flag(), "leave the sound of film out"),
        Option(
            "subtitles", FilePath("captions"), "draw the words of this file in, each for its time", "FILE"
        ),
        Option(
            "subtitles-font",
            FilePath("font"),
            "draw them with this font",
            "FILE",
        ),
        Option("tonemap", Choice(*CURVES), "how HDR film becomes SDR", "CURVE", DEFAULT_CURVE),
        Option(
            "deinterlace",
            Choice("auto", "on", "off"),
            "make whole pictures of the halves of interlaced film",
            "auto|on|off",
            "auto",
        ),
        shared["strip"],
        shared["comment"],
        Option("strict", Flag(), "treat recoverable damage as an error"),
    )


def controls() -> dict[str, Any]:
    """All of it, as `protocol` has it."""
    return {
        "stages": [_stage(name) for name in stages.names()],
        "output": [control(option) for option in output_options()],
        "formats": [{"name": name, "media": media} for name, media in FORMATS.items()],
    }


def _stage(name: str) -> dict[str, Any]:
    module = stages.load(name)
    return {
        "name": name,
        "summary": module.SUMMARY,
        "positional": module.POSITIONAL,
        "options": [control(option) for option in module.OPTIONS],
        "ways": [
            {
                "what": ways.what,
                "needs_one": ways.needs_one,
                "ways": [
                    {"name": " / ".join(way.options), "options": list(way.options)} for way in ways.ways
                ],
            }
            for ways in getattr(module, "WAYS", ())
        ],
    }


def control(option: Option) -> dict[str, Any]:
    """An option as the page draws it; its default is a text, as all values there are."""
    facts, text = option.control(), default_text(option)
    return facts if text is None else {**facts, "default": text}


def default_text(option: Option) -> str | None:
    """The text that means the same as leaving the option out; None where there is none."""
    if option.is_flag and not option.negatable:
        return as_text(bool(option.default))
    return None if option.default is None else as_text(option.default)


@contextmanager
def blamed(stage: int | None, option: str | None = None) -> Iterator[None]:
    """Let an error say which stage and which option it is about."""
    try:
        yield
    except VeditError as error:
        error.stage, error.option = stage, option or error.option
        raise


def checked(chain: list[Spec]) -> list[Spec]:
    """The stages with their options in the order of the table, without those that say what holds anyway.

    Raises UsageError that names the stage and the option.
    """
    return [_checked_stage(place, name, given) for place, (name, given) in enumerate(chain)]


def _checked_stage(place: int, name: str, given: Mapping[str, str]) -> Spec:
    with blamed(place):
        module = stages.load(name)
        texts = settled(module.OPTIONS, given, name)
        read = read_options(name, module.OPTIONS, texts)
    with blamed(place):
        module.make(**read)
    return name, texts


def settled(options: tuple[Option, ...], given: Mapping[str, str], where: str) -> dict[str, str]:
    """Option texts by name in the order of the table, without defaults. Raises UsageError."""
    read_options(where, options, given)  # which finds names that are unknown
    texts = {american(name.replace("_", "-")): text for name, text in given.items()}
    kept = {}
    for option in options:
        text = texts.get(american(option.name))
        if text is not None and text != default_text(option):
            kept[option.name] = text
    return kept


def checked_output(given: Mapping[str, str], fixed: str = "") -> dict[str, str]:
    """What is asked of the result, without defaults, but always its format. Raises UsageError.

    fixed: the format that the name behind -o asks for.
    """
    options = output_options()
    own = given
    if fixed:
        own = {name: text for name, text in given.items() if name != FORMAT}
    with blamed(None):
        texts = settled(options, own, "the result")
    if fixed:
        texts[FORMAT] = fixed
    texts.setdefault(FORMAT, "gif")
    return texts


def request_fields(output: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a `GifRequest` that say the same."""
    fields = {}
    for option in output_options():
        if option.name == FORMAT or option.name not in output:
            continue
        text = output[option.name]
        is_typed = isinstance(option.parse, (Integer, Flag))
        fields[option.key] = option.read("the result", text) if is_typed else text
    return fields


def media_type(path: str) -> str:
    """What a browser should take a file for; never something that could hold a script."""
    named = suffix_of(path) or path.rpartition(".")[2].lower()
    known = {**FORMATS, "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "m4v": "video/mp4"}
    return known.get(named, "application/octet-stream")


def file_options(name: str) -> set[str]:
    """The options of a stage that name a file."""
    return _files(stages.load(name).OPTIONS)


def output_files() -> set[str]:
    """The options of the result that name a file."""
    return _files(output_options())


def _files(options: tuple[Option, ...]) -> set[str]:
    return {option.name for option in options if isinstance(option.parse, FilePath)}


def checked_shape(chain: Sequence[Spec], specs: Sequence[Spec]) -> list[Spec]:
    """The chain as the page has it, with the options alone that `checked` left, in its order."""
    return [
        (name, {key: given.get(key, texts[key]) for key in texts})
        for (name, given), (_, texts) in zip(chain, specs, strict=True)
    ]
