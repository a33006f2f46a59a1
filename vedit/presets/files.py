"""The files of presets: where they lie, what is wrong with one, and how one is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vedit.config import config_folder
from vedit.documents import Kind, read_text, read_toml
from vedit.errors import OutputError, UsageError, nearest, reason_of, refuse_mistakes
from vedit.presets import kinds
from vedit.presets.kinds import method as of_method
from vedit.presets.kinds.chain import Chain, resolve_chain
from vedit.presets.kinds.train import tables_of

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

SUFFIX = ".toml"
PRESET = Kind("a preset", UsageError, "A preset is a TOML file.", "See: vedit presets list", largest=2**20)


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
    """The presets that ship: inside the package when it is installed, beside it in a checkout."""
    here = os.path.dirname(os.path.abspath(__file__))
    inside = os.path.join(here, "shipped")
    return inside if os.path.isdir(inside) else os.path.normpath(os.path.join(here, "../../presets"))


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
            f"there is no preset called {name_or_path!r}{nearest(name_or_path, known) or '.'}",
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
        for stage, settings in resolve_chain(load(name_or_path, "chain").table)
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
    wrong = list(mistakes_of(table))
    if table.get("kind", "method") != "method":
        raise UsageError(
            f"{path}: this preset is a {table['kind']}, not a method.", "", "See: vedit presets list"
        )
    from vedit import methods
    from vedit.methods.params import mistakes

    named = table.get("method", method)
    if methods.has(str(named)):
        wrong += mistakes(methods.load(named).Params, of_method.parameters(table))
    refuse_mistakes(path, wrong)
    if named != method:
        raise UsageError(
            f"{path}: this preset is for the method {named}, not for {method}.", "", "See: vedit presets list"
        )
    return of_method.parameters(table)


def method_of(name: str) -> str:
    """The method that a preset is for; the name itself where it is a method's, or no preset has it."""
    from vedit import methods

    if methods.has(name) or name not in paths():
        return name
    return str(read_toml(find(name), PRESET).get("method", name))


def load_train(name_or_path: str) -> dict[str, Any]:
    """The tables of a training preset, found right."""
    from vedit.training import params

    preset = load(name_or_path, "train")
    tables = tables_of(preset.table)
    refuse_mistakes(preset.path, list(params.mistakes(tables)))
    return tables


def load_embedded(name_or_path: str) -> dict[str, Any]:
    """How a stage of the embedded models is trained: its name under "stage", and EMBEDDED_KEYS."""
    table = load(name_or_path, "embedded").table
    return {key: value for key, value in table.items() if key not in ("kind", "summary")}


def check(path: str, table: Mapping[str, Any]) -> None:
    """Raise one UsageError that names every mistake in a preset's table.

    Of a method preset this is what can be known without loading the method.
    """
    refuse_mistakes(path, list(mistakes_of(table)))


def mistakes_of(table: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each mistake that can be known without loading pydantic or a method."""
    kind = table.get("kind")
    known = kinds.names()
    if not isinstance(kind, str) or kind not in known:
        what = "there is no kind" if kind is None else f"no kind is called {kind!r}"
        right = " or ".join(f'kind = "{name}"' for name in known)
        yield f"top level: {what}{nearest(str(kind), known) or '.'} Write {right}."
        return
    if not isinstance(table.get("summary", ""), str):
        yield "top level: summary is not a text."
    yield from kinds.load(kind).mistakes(table)


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
