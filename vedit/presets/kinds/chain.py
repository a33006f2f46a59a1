"""Presets of kind "chain": stages of `vedit gif chain` with their options."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit.config import section, user_config
from vedit.errors import UsageError, VeditError, nearest, option

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

    from vedit.stages.options import Option

Chain = list[tuple[str, dict[str, str]]]


class Setting(NamedTuple):
    """A value as text, and where it comes from: environment, preset, user config or default."""

    text: str
    origin: str


def mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a chain: its keys, its stages, their options and how these go together."""
    known = ("kind", "summary", "stage")
    for key in table:
        if key not in known:
            yield f"top level: no key {key!r}{nearest(key, known) or '.'} There are {', '.join(known)}."
    rows = table.get("stage")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        yield "top level: a chain has one [[stage]] table or more."
        return
    for place, row in enumerate(rows, 1):
        yield from _stage_mistakes(f"[[stage]] {place}", row)


def _stage_mistakes(where: str, row: Mapping[str, Any]) -> Iterator[str]:
    from vedit import stages
    from vedit.stages.options import read_options

    name = row.get("name")
    known = stages.names()
    if name not in known:
        what = "there is no name" if name is None else f"no stage is called {name!r}"
        yield f"{where}: {what}{nearest(str(name), known) or '.'} There are {', '.join(known)}."
        return
    module, given = stages.load(str(name)), _given(row)
    wrong = list(_option_mistakes(module.OPTIONS, given))
    yield from (f"{where} ({name}): {mistake}" for mistake in wrong)
    if wrong:
        return
    try:  # a wrong combination is the stage's own to find
        module.make(**read_options(str(name), module.OPTIONS, given))
    except VeditError as error:
        yield f"{where}: {' '.join(part for part in (error.what, error.right) if part)}"


def _option_mistakes(options: tuple[Option, ...], given: Mapping[str, str]) -> Iterator[str]:
    known = {option.key: option for option in options}
    for key, text in given.items():
        if key not in known:
            typed, names = key.replace("_", "-"), [option.name for option in options]
            yield f"no option {typed!r}{nearest(typed, names) or '.'} There are {', '.join(names)}."
            continue
        try:
            known[key].parse(text)
        except ValueError as error:
            yield (
                f"{known[key].name} = {text!r}:"
                f" {str(error).removesuffix('?')}{'?' if str(error).endswith('?') else '.'}"
            )


def resolve_chain(table: Mapping[str, Any]) -> list[tuple[str, dict[str, Setting]]]:
    """The stages of a chain with every value that is set, and where each comes from."""
    return [(row["name"], resolve_stage(row["name"], _given(row))) for row in table["stage"]]


def resolve_stage(stage: str, given: Mapping[str, str]) -> dict[str, Setting]:
    """A stage's options by key, with what the preset gives in its place of the precedence."""
    from vedit import stages

    options = stages.load(stage).OPTIONS
    variable = {option.key: f"VEDIT_GIF_{stage}_{option.key}".replace("-", "_").upper() for option in options}
    own = section(user_config(), "gif", stage.replace("-", "_"))
    layers: dict[str, Mapping[str, str]] = {  # from weak to strong
        "default": {option.key: as_text(option.default) for option in options if option.default is not None},
        "user config": {key: as_text(value) for key, value in own.items() if key in variable},
        "preset": given,
        "environment": {key: os.environ[name] for key, name in variable.items() if os.environ.get(name)},
    }
    settings = {key: Setting(text, origin) for origin, layer in layers.items() for key, text in layer.items()}
    return {key: settings[key] for key in variable if key in settings}


def _given(row: Mapping[str, Any]) -> dict[str, str]:
    """The option texts of a stage table, by key."""
    return {key.replace("-", "_"): as_text(value) for key, value in row.items() if key != "name"}


def as_text(value: Any) -> str:
    """A TOML value or a stage's default as it would be typed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple) and len(value) == 3:  # the default of a colour
        return "#{:02x}{:02x}{:02x}".format(*value)
    if isinstance(value, (list, tuple)):
        return ",".join(as_text(part) for part in value)
    return f"{float(value):g}" if hasattr(value, "numerator") and not isinstance(value, int) else str(value)


def as_value(text: str) -> bool | int | float | str:
    """What a person would write in TOML for a text: true, 480 and 1.5 without quotes."""
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            value = number(text)
        except ValueError:
            continue
        if str(value) == text and abs(value) != float("inf") and value == value:
            return value
    return text


def document_from(specs: Iterable[tuple[str, Mapping[str, str]]]) -> TOMLDocument:
    """A chain preset of stages with their option texts."""
    import tomlkit

    document, rows = tomlkit.document(), tomlkit.aot()
    document["kind"], document["summary"] = "chain", ""
    for stage, given in specs:
        row = tomlkit.table()
        row["name"] = stage
        row.update({key.replace("_", "-"): as_value(text) for key, text in given.items()})
        rows.append(row)
    document["stage"] = rows
    return document


def change(document: TOMLDocument, setting: str) -> None:
    """Apply `STAGE.OPTION=VALUE` to a chain; the stage by name, or by place from 1."""
    where, equals, text = setting.partition("=")
    stage, dot, key = where.partition(".")
    rows = document.unwrap().get("stage", [])
    places = [place for place, row in enumerate(rows) if stage in (row.get("name"), str(place + 1))]
    if not (equals and dot and key):
        raise UsageError(
            f"{option('set', setting)}: expected STAGE.OPTION=VALUE.",
            "",
            f"Example: {option('set.resize.width', 320)}",
        )
    if len(places) != 1:
        names = [str(row.get("name")) for row in rows]
        what = (
            f"{len(places)} stages are called {stage}."
            if places
            else f"no stage is called {stage!r}{nearest(stage, names) or '.'}"
        )
        raise UsageError(
            f"{option('set', setting)}: {what}",
            f"The stages are {', '.join(f'{place} {name}' for place, name in enumerate(names, 1))}; a number"
            " names one of them.",
        )
    table = document["stage"][places[0]]
    alike = next(
        (known for known in table if known.replace("_", "-") == key.replace("_", "-")), key
    )  # as the file spells it
    table[alike] = as_value(text)
