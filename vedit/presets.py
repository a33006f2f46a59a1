"""Named settings: TOML files that ship with vedit or lie in the user's folder.

    # ~/.config/vedit/presets/web-small.toml
    kind = "chain"
    summary = "At most 480 pixels wide, without metadata."

    [[stage]]
    name = "resize"
    width = 480
    only-shrink = true

A preset of kind "chain" lists stages of `vedit gif chain`; the keys of a stage table are the
options of the command with that name. One of kind "method" names an editing method, and its other
keys are the method's parameters. One of kind "train" has the tables that decide a generator and its
training. One of kind "embedded" says how a stage of the embedded models is trained. A file is read
with every mistake in it reported at once.

Where a value comes from, strongest first: option, environment (VEDIT_GIF_RESIZE_FILTER),
preset, user config, built-in default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit.config import config_folder, section, user_config
from vedit.documents import Kind, read_text, read_toml
from vedit.errors import OutputError, UsageError, VeditError, nearest, option, reason_of, refuse_mistakes
from vedit.training.stages import STAGES

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

    from vedit.stages.options import Option

Chain = list[tuple[str, dict[str, str]]]
SUFFIX = ".toml"
PRESET = Kind("a preset", UsageError, "A preset is a TOML file.", "See: vedit presets list", largest=2**20)
EMBEDDED_STAGES = tuple(stage.name for stage in STAGES)
WITH_BATCH = tuple(stage.name for stage in STAGES if stage.has_batch)
EMBEDDED_KEYS: dict[str, type] = {
    "rate": float, "batch": int, "steps": int, "anneal": int, "warmup": int, "ema_decay": float,
    "log_every": int, "save_every": int, "measure_every": int,
}  # fmt: skip


class Setting(NamedTuple):
    """A value as text, and where it comes from: environment, preset, user config or default."""

    text: str
    origin: str


@dataclass(frozen=True)
class Preset:
    """A preset file that has been read and found right.

    table: what the file says. is_shipped: whether it came with vedit.
    """

    name: str
    path: str
    table: Mapping[str, Any]
    is_shipped: bool

    @property
    def kind(self) -> str:
        return str(self.table["kind"])

    @property
    def summary(self) -> str:
        return str(self.table.get("summary", ""))


def shipped_folder() -> str:
    """The presets of the package: inside it when installed, beside it in a checkout."""
    package = os.path.dirname(os.path.abspath(__file__))
    inside = os.path.join(package, "presets")
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(package), "presets")


def user_folder() -> str:
    """Where the user's presets lie; one here hides a shipped one of the same name."""
    return os.path.join(config_folder(), "presets")


def paths() -> dict[str, str]:
    """Every preset by name, and its file."""
    found = {}
    for folder in (shipped_folder(), user_folder()):
        files = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        found.update(
            {file.removesuffix(SUFFIX): os.path.join(folder, file) for file in files if file.endswith(SUFFIX)}
        )
    return dict(sorted(found.items()))


def find(name_or_path: str) -> str:
    """The file of a preset, by its name or its path."""
    if os.sep in name_or_path or name_or_path.endswith(SUFFIX):
        return name_or_path
    known = paths()
    if name_or_path not in known:
        raise UsageError(
            f"there is no preset called {name_or_path!r}{_nearest(name_or_path, known)}",
            f"There are: {', '.join(known)}; or name a file ending in {SUFFIX}.",
            "See: vedit presets list",
        )
    return known[name_or_path]


def load(name_or_path: str, kind: str | None = None) -> Preset:
    """Read and check a preset.

    kind: refuse a preset of another kind. Raises UsageError with every mistake of the file.
    """
    path = find(name_or_path)
    table = read_toml(path, PRESET)
    check(path, table)
    preset = Preset(
        os.path.basename(path).removesuffix(SUFFIX), path, table, os.path.dirname(path) == shipped_folder()
    )
    if kind is not None and preset.kind != kind:
        raise UsageError(
            f"{path}: this preset is a {preset.kind}, not a {kind}.", "", "See: vedit presets list"
        )
    return preset


def load_chain(name_or_path: str) -> Chain:
    """The stages of a chain preset: each one's name and its option texts by key.

    Options set in the environment or the user's config are there too, in the order of
    precedence; those that nobody set are left to the stage's defaults.
    """
    return [
        (stage, {key: setting.text for key, setting in settings.items() if setting.origin != "default"})
        for stage, settings in resolve_chain(load(name_or_path, "chain"))
    ]


def load_method(method: str, name_or_path: str, required: bool = True) -> dict[str, Any]:
    """The parameters that a preset gives an editing method, by key.

    required: when it is not, a preset that does not exist gives none. Loads the method's module,
    since only its class knows what is right.
    """
    if not required and os.sep not in name_or_path and name_or_path not in paths():
        return {}
    path = find(name_or_path)
    table = read_toml(path, PRESET)
    wrong = list(_mistakes(table))
    if table.get("kind", "method") != "method":
        raise UsageError(
            f"{path}: this preset is a {table['kind']}, not a method.", "", "See: vedit presets list"
        )
    from vedit import methods
    from vedit.methods.base import mistakes

    named = table.get("method", method)
    if methods.has(str(named)):
        wrong += mistakes(methods.load(named).Params, parameters(table))
    refuse_mistakes(path, wrong)
    if named != method:
        raise UsageError(
            f"{path}: this preset is for the method {named}, not for {method}.", "", "See: vedit presets list"
        )
    return parameters(table)


def parameters(table: Mapping[str, Any]) -> dict[str, Any]:
    """The method's own keys of a method preset."""
    return {
        key.replace("-", "_"): value
        for key, value in table.items()
        if key not in ("kind", "summary", "method")
    }


def resolve_chain(preset: Preset) -> list[tuple[str, dict[str, Setting]]]:
    """The stages of a chain with every value that is set, and where each comes from."""
    return [(table["name"], resolve_stage(table["name"], _given(table))) for table in preset.table["stage"]]


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


def as_text(value: Any) -> str:
    """A TOML value or a stage's default as it would be typed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple) and len(value) == 3:  # the default of a colour
        return "#{:02x}{:02x}{:02x}".format(*value)
    if isinstance(value, (list, tuple)):
        return ",".join(as_text(part) for part in value)
    return f"{float(value):g}" if hasattr(value, "numerator") and not isinstance(value, int) else str(value)


def check(path: str, table: Mapping[str, Any]) -> None:
    """Raise one UsageError that names every mistake in a preset's table.

    Of a method preset this is what can be known without loading the method.
    """
    refuse_mistakes(path, list(_mistakes(table)))


def _mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in CHECKS:
        what = "there is no kind" if kind is None else f"no kind is called {kind!r}"
        right = " or ".join(f'kind = "{known}"' for known in CHECKS)
        yield f"top level: {what}{_nearest(str(kind), CHECKS)} Write {right}."
        return
    if not isinstance(table.get("summary", ""), str):
        yield "top level: summary is not a text."
    yield from CHECKS[kind](table)


def _chain_mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    known = ("kind", "summary", "stage")
    for key in table:
        if key not in known:
            yield f"top level: no key {key!r}{_nearest(key, known)} There are {', '.join(known)}."
    rows = table.get("stage")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        yield "top level: a chain has one [[stage]] table or more."
        return
    for place, row in enumerate(rows, 1):
        yield from _stage_mistakes(f"[[stage]] {place}", row)


def _method_mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    from vedit import methods

    name = table.get("method")
    if not isinstance(name, str) or not methods.has(name):
        what = "there is no method" if name is None else f"no method is called {name!r}"
        yield (
            f"top level: {what}{_nearest(str(name), methods.names())} There are {', '.join(methods.names())}."
        )


def _train_mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    """What can be known without loading pydantic; `load_train` finds the rest."""
    for key, value in tables_of(table).items():
        if not isinstance(value, dict):
            yield f"top level: {key} is not a table."


def tables_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a training preset."""
    return {key: value for key, value in table.items() if key not in ("kind", "summary")}


def load_train(name_or_path: str) -> dict[str, Any]:
    """The tables of a training preset, found right."""
    from vedit.training.params import mistakes

    preset = load(name_or_path, "train")
    tables = tables_of(preset.table)
    refuse_mistakes(preset.path, list(mistakes(tables)))
    return tables


def _embedded_mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    stage = table.get("stage")
    if stage not in EMBEDDED_STAGES:
        what = "there is no stage" if stage is None else f"no stage is called {stage!r}"
        yield (
            f"top level: {what}{_nearest(str(stage), EMBEDDED_STAGES)} There are"
            f" {', '.join(EMBEDDED_STAGES)}."
        )
    if "rate" not in table:
        yield "top level: there is no rate, the learning rate."
    known = ("kind", "summary", "stage", *EMBEDDED_KEYS)
    for key, value in table.items():
        if key not in known:
            yield f"top level: no key {key!r}{_nearest(key, known)} There are {', '.join(known)}."
        elif key in EMBEDDED_KEYS and not _is_positive(value, EMBEDDED_KEYS[key]):
            yield (
                f"top level: {key} = {value!r} is no positive"
                f" {'whole number' if EMBEDDED_KEYS[key] is int else 'number'}."
            )
    if isinstance(table.get("ema_decay"), (int, float)) and table["ema_decay"] >= 1:
        yield f"top level: ema_decay = {table['ema_decay']} is not below 1."
    if "anneal" in table and "steps" not in table:
        yield "top level: anneal is the end of a run that has steps, and there are none."
    if stage in WITH_BATCH and "batch" not in table:
        yield "top level: there is no batch, the pictures or clips of a step."
    if stage in EMBEDDED_STAGES and stage not in WITH_BATCH and "batch" in table:
        yield f"top level: batch is for {', '.join(WITH_BATCH)}; {stage} keeps its own."


def _is_positive(value: Any, kind: type) -> bool:
    return (
        isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool) and value > 0
    )


def load_embedded(name_or_path: str) -> dict[str, Any]:
    """How a stage of the embedded models is trained: its name under "stage", and EMBEDDED_KEYS."""
    table = load(name_or_path, "embedded").table
    return {key: value for key, value in table.items() if key not in ("kind", "summary")}


def _stage_mistakes(where: str, row: Mapping[str, Any]) -> Iterator[str]:
    from vedit import stages
    from vedit.stages.options import read_options

    name = row.get("name")
    if name not in stages.names():
        what = "there is no name" if name is None else f"no stage is called {name!r}"
        yield f"{where}: {what}{_nearest(str(name), stages.names())} There are {', '.join(stages.names())}."
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
            yield f"no option {typed!r}{_nearest(typed, names)} There are {', '.join(names)}."
            continue
        try:
            known[key].parse(text)
        except ValueError as error:
            yield (
                f"{known[key].name} = {text!r}:"
                f" {str(error).removesuffix('?')}{'?' if str(error).endswith('?') else '.'}"
            )


def _nearest(word: str, known: Iterable[str]) -> str:
    """The nearest spelling, or the end of the sentence."""
    return nearest(word, known) or "."


def _given(row: Mapping[str, Any]) -> dict[str, str]:
    """The option texts of a stage table, by key."""
    return {key.replace("-", "_"): as_text(value) for key, value in row.items() if key != "name"}


def save(name: str, document: TOMLDocument, overwrite: bool | None = None) -> str:
    """Write a preset into the user's folder, once it is found right; returns its path.

    overwrite: as `check_output` takes it.
    """
    import re

    from vedit.media.atomic import check_output, open_output

    if not re.fullmatch(r"[\w][\w.-]*", name) or name.endswith(SUFFIX):
        raise UsageError(
            f"{name!r} is no name for a preset.",
            "A name has letters, digits, dashes, dots and underscores, and no ending.",
            "Example: vedit presets save tiny --from web-small",
        )
    path = os.path.join(user_folder(), name + SUFFIX)
    check(path, document.unwrap())
    try:
        os.makedirs(user_folder(), exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{user_folder()}: cannot make the folder: {reason_of(error)}.",
            "",
            "VEDIT_CONFIG_DIR names another",
        ) from None
    check_output(path, (), overwrite)
    with open_output(path) as stream:
        stream.write(document.as_string().encode())
    return path


def document_of(preset: Preset) -> TOMLDocument:
    """A preset's file with its comments, to be changed and saved under another name."""
    import tomlkit

    return tomlkit.parse(read_text(preset.path, PRESET))


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
            else f"no stage is called {stage!r}{_nearest(stage, names)}"
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


# What a kind of preset may hold, checked by: the table to a sentence for each mistake.
CHECKS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "chain": _chain_mistakes,
    "method": _method_mistakes,
    "train": _train_mistakes,
    "embedded": _embedded_mistakes,
}
