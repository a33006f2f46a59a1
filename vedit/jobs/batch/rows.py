"""The rows of a batch, from tables, lists, matrices, folders and indexes: each one an edit request.

    rows = read_rows(["jobs.csv"], Shared())

Every form becomes raw rows, tables from key to value; `--over` multiplies them; then each is checked, and
what is wrong with any of them is said at once.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import Formatter
from typing import Any, NamedTuple

from vedit import methods, presets
from vedit.documents import read_json_lines, read_table, read_text, read_toml, uncell
from vedit.errors import InputError, UsageError, VeditError, nearest, option, refuse_mistakes
from vedit.jobs.batch.matrix import AXES, Axis, Pair, crossed, matrix_rows
from vedit.jobs.batch.names import check_inside
from vedit.jobs.edit.before import check_instruction, follows_instructions
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.edit.settings import own_model
from vedit.jobs.lists import MANIFEST
from vedit.models import images

ALIASES = {"source": "source_prompt", "target_prompt": "prompt", "target": "prompt", "video": "input"}
REQUEST_KEYS = (
    "input",
    "prompt",
    "source_prompt",
    "ref",
    "ref_from",
    "ref_edit",
    "accept_licence",
    "method",
    "preset",
    "set",
    "steps",
    "guidance",
    "negative",
    "strength",
    "backend",
    "seed",
    "frames",
    "stride",
    "start",
    "size",
    "crop",
    "mask",
    "keep_outside",
    "detail",
    "output_size",
    "window",
    "inversion",
    "model",
    "revision",
    "dtype",
    "offload",
    "lora",
    "control",
    "image_prompt",
    "image_adapter",
    "flow",
    "memory",
    "frames_per_call",
)
OWN_KEYS = ("instruction", "weights", "label", "output", "command", "kind", "index", "edit")
KNOWN = (*REQUEST_KEYS, *OWN_KEYS, *ALIASES)
TEXT = '"..."'  # of the user's
FOLLOWER = "easyv2v"  # who follows an instruction where no method is named
MOST_TOLD = 50  # mistakes; a list that was meant for something else has thousands
FROM_ONE = ("steps", "frames", "stride", "window", "memory", "frames_per_call")
PATHS = ("input", "inversion", "ref")
INDEX_SUFFIXES = (".yaml", ".yml")
LISTS = (".csv", ".tsv", ".jsonl", ".toml", *INDEX_SUFFIXES)
VIDEO, EDIT, RELPATH = "\0video", "\0edit", "\0relpath"  # of raw rows, beside what users can write


class Raw(NamedTuple):
    """A row as it was written. where: its file and place, for messages. base: what its paths are seen
    from.
    """

    where: str
    base: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Shared:
    """What goes for all rows: values by key where a row has none of its own, and axes that multiply them.

    source_from: "txt" takes the words of STEM.txt beside a clip of a folder, "record" the prompt in its run
    record, "name" its name. clips: where
    the videos of an index lie. results: a folder of outputs, which is not looked into for clips. over, pair:
    as in `vedit.jobs.batch.matrix`.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    source_from: str | None = None
    clips: str | None = None
    results: str | None = None
    over: tuple[Axis, ...] = ()
    pair: Pair = "product"


@dataclass(frozen=True)
class Row:
    """One edit that is asked for. number: from 1. label: of its method in names. axes: labels by name.
    video, edit: its names in an index. written: its keys as a list has them. extra: its columns that begin
    with _.
    """

    number: int
    where: str
    request: EditRequest
    label: str
    output: str | None
    axes: Mapping[str, str]
    relpath: str
    video: str | None
    edit: str | None
    written: Mapping[str, Any]
    extra: Mapping[str, Any]


def read_rows(manifests: Sequence[str], shared: Shared = Shared()) -> list[Row]:
    """The rows of manifests, in their order. Raises UsageError with every mistake of every row."""
    raws = [raw for path in manifests for raw in _raw_rows(path, shared)]
    if not raws:
        raise UsageError(
            f"{', '.join(manifests)}: there is nothing to edit in it.",
            "A table has a line of keys such as input,source,prompt, then a row a line; a folder has clips.",
        )
    crossed_raws = [Raw(raw.where, raw.base, values) for raw in raws for values in _crossed(raw, shared)]
    rows, wrong = [], dict[str, dict[str, None]]()  # places by what is wrong there, in their order
    for number, raw in enumerate(crossed_raws, 1):
        try:
            rows.append(_row(number, raw))
        except _Mistakes as error:
            for told in error.told:
                wrong.setdefault(told, {})[raw.where] = None
    refuse_mistakes(", ".join(manifests), _told(wrong), _next_step(wrong))
    return rows


def _told(wrong: Mapping[str, Iterable[str]]) -> list[str]:
    """Each mistake with its place, what many rows share once."""
    told = []
    for what, places in wrong.items():
        first, *others = places
        more = f" and {len(others)} more" if len(others) > 1 else f" and {others[0]}" if others else ""
        told.append(f"{first}{more}: {what}")
    return told if len(told) <= MOST_TOLD else [*told[:MOST_TOLD], f"and {len(told) - MOST_TOLD} more."]


def _next_step(wrong: Iterable[str]) -> str:
    """What helps with mistakes that have to do with keys."""
    if not any("no key" in what or "it has no" in what for what in wrong):
        return ""
    return f"Keys of a row: {', '.join((*REQUEST_KEYS, *OWN_KEYS[:4]))}"


def _crossed(raw: Raw, shared: Shared) -> Iterator[dict[str, Any]]:
    """A raw row with what goes for all, for each prompt and each value of the axes."""
    values = {
        **{key: value for key, value in shared.values.items() if not _has(raw.values, key)},
        **raw.values,
    }
    prompts = shared.prompts if not _has(raw.values, "prompt") else ()
    for prompt in prompts or (None,):
        row = values if prompt is None else {**values, "prompt": _filled(prompt, raw, values)}
        yield from crossed([row], shared.over, shared.pair)


def _has(values: Mapping[str, Any], key: str) -> bool:
    return any(
        name == key or ALIASES.get(name) == key for name, value in values.items() if value not in ("", None)
    )


def _filled(prompt: str, raw: Raw, values: Mapping[str, Any]) -> str:
    """A prompt with the fields of its row: {stem} {parent} {caption} {index}, and columns. Raises
    UsageError.
    """
    source = str(values.get("source_prompt", values.get("source", "")))
    place = str(values.get("input", values.get("video", "")))
    fields = {key: str(value) for key, value in values.items() if not key.startswith("\0")}
    fields |= {"stem": _stem(place), "parent": os.path.basename(os.path.dirname(place)), "caption": source}
    fields["index"] = raw.where.rpartition(" ")[2]
    asked = option("prompt", repr(prompt))
    try:
        names = [name for _, name, _, _ in Formatter().parse(prompt) if name is not None]
    except ValueError as error:
        raise UsageError(f"{asked}: {error}.", "A brace of its own is written twice.") from None
    for name in names:
        if name not in fields:
            raise UsageError(
                f"{asked}: there is no field {name!r}{nearest(name, fields) or '.'}",
                f"Fields: {', '.join(fields)}.",
            )
        if name == "caption" and not source:
            raise UsageError(
                f"{raw.where}: {place} has no caption for {{caption}}.",
                "",
                f"Add {option('source_prompt')}, or {option('source_from', 'txt')}",
            )
    return prompt.format_map(fields)


def _stem(path: str) -> str:
    name = os.path.basename(path.rstrip("/"))
    return name if os.path.isdir(path) else os.path.splitext(name)[0]


# --- the forms -----------------------------------------------------------------------------------


def _raw_rows(path: str, shared: Shared) -> Iterator[Raw]:
    suffix = os.path.splitext(path)[1].lower()
    if os.path.isdir(path):
        yield from _folder_rows(path, shared)
    elif not os.path.exists(path):
        raise InputError(f"{path}: there is no such file or folder.", "A batch takes a list or a folder.")
    elif suffix in (".csv", ".tsv"):
        yield from _table_rows(path)
    elif suffix == ".jsonl":
        base = os.path.dirname(path) or "."
        yield from (
            Raw(f"{path} line {number}", base, row) for number, row in read_json_lines(path, MANIFEST)
        )
    elif suffix in INDEX_SUFFIXES or (suffix == ".toml" and _is_index(path)):
        yield from _index_rows(path, shared)
    elif suffix == ".toml":
        base = os.path.dirname(path) or "."
        for number, row in enumerate(matrix_rows(read_toml(path, MANIFEST), path), 1):
            yield Raw(f"{path} row {number}", base, row)
    else:
        yield from _clip_row(path, shared)


def _table_rows(path: str) -> Iterator[Raw]:
    """CSV with a header. The separator is the one of , ; and tab that the header has most of."""
    header = read_text(path, MANIFEST).lstrip("\n").partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    base = os.path.dirname(path) or "."
    for number, cells in enumerate(read_table(path, MANIFEST, delimiter, is_strict=True), 1):
        values = {key.strip(): uncell(text) for key, text in cells.items() if text != ""}
        if not any(text.strip() for text in values.values()):
            continue  # spreadsheets write separators for rows that were emptied
        yield Raw(f"{path} row {number}", base, dict(values))


def _folder_rows(folder: str, shared: Shared) -> Iterator[Raw]:
    """A row for each clip in a folder and below; a folder of pictures alone is a clip."""
    from vedit.jobs.batch.files import expand
    from vedit.jobs.batch.state import made_in

    own = made_in(shared.results) if shared.results else set()
    found = expand([folder], results=shared.results, has_sequences=True)
    clips = [(path, relative) for path, relative in found if os.path.realpath(path) not in own]
    wordless: list[str] = []
    for number, (path, relative) in enumerate(clips, 1):
        values = {"input": os.path.abspath(path), RELPATH: os.path.dirname(relative)}
        try:
            yield Raw(f"{folder} clip {number}", ".", {**values, **_source(path, shared)})
        except InputError as error:
            wordless.append(error.what)
    if wordless:
        more = f"\n  and {len(wordless) - 10} more." if len(wordless) > 10 else ""
        raise InputError(
            f"{folder}: {len(wordless)} of {len(clips)} clips have no words.\n  "
            + "\n  ".join(wordless[:10])
            + more,
            "",
            f"Write them, or give {option('source_prompt', TEXT)} for all clips",
        )


def _clip_row(path: str, shared: Shared) -> Iterator[Raw]:
    from vedit.media.formats import CLIP_SUFFIXES

    if not path.lower().endswith(CLIP_SUFFIXES):
        raise UsageError(f"{path}: not a list of edits.", f"A list ends in {' '.join(LISTS)}.")
    yield Raw(f"{path} clip 1", ".", {"input": os.path.abspath(path), **_source(path, shared)})


def _source(path: str, shared: Shared) -> dict[str, str]:
    """What a clip shows, from where the user said. Raises InputError."""
    if shared.source_from is None:
        return {}
    if shared.source_from == "name":
        return {"source_prompt": re.sub(r"[-_]+", " ", _stem(path)).strip()}
    if shared.source_from == "record":
        return {"source_prompt": _recorded(path)}
    text = os.path.splitext(path)[0] + ".txt"
    if not os.path.exists(text):
        raise InputError(
            f"{path}: there is no {text}.",
            "",
            f"Write it, or give {option('source_prompt', TEXT)} for all clips",
        )
    return {"source_prompt": " ".join(read_text(text, MANIFEST).split())}


def _recorded(path: str) -> str:
    """What the run record of a clip says it shows. Raises InputError."""
    from vedit.jobs.record import find_record

    record = find_record(path).record
    for key in ("target_prompt", "caption"):  # of an edit, of a drawn scene
        if isinstance(record.get(key), str) and record[key]:
            return str(record[key])
    try:
        return str(record["clips"][0][0]["prompt"])  # of a generated clip
    except (KeyError, IndexError, TypeError):
        raise InputError(f"{path}: its run record does not say what it shows.") from None


def _is_index(path: str) -> bool:
    return "video" in read_toml(path, MANIFEST)


def _index_rows(path: str, shared: Shared) -> Iterator[Raw]:
    """A row for each edit of each video of a suite.toml or of V2VBench's YAML."""
    from vedit.jobs.score.index import read_index

    base = shared.clips or os.path.dirname(path) or "."
    for item in read_index(path, "", shared.clips):
        values: dict[str, Any] = {"input": os.path.abspath(item.source or os.path.join(base, item.video_id))}
        values |= {VIDEO: item.video_id, EDIT: item.edit_id}
        values |= {"prompt": item.prompt} if item.prompt else {}
        values |= {"source_prompt": item.source_prompt} if item.source_prompt else {}
        values |= {"mask": os.path.abspath(item.mask)} if os.path.exists(item.mask) else {}
        yield Raw(f"{path} {item.video_id}/{item.edit_id}", ".", values)


# --- a raw row, checked --------------------------------------------------------------------------


class _Mistakes(Exception):
    def __init__(self, told: list[str]) -> None:
        super().__init__(told)
        self.told = told


def _row(number: int, raw: Raw) -> Row:
    """A row as a request. Raises _Mistakes with all that is wrong with it."""
    wrong = list(_wrong_keys(raw))
    values, settings = _sorted(raw)
    wrong += _wrong_values(values)
    request = None
    if not wrong:
        try:
            request = EditRequest.from_json({**values, "set": settings}, raw.where)
            check_instruction(request)
            request = replace(request, model=own_model(request.method, request.set, request.model))
            if _given(raw, "instruction") and not follows_instructions(request.method):
                wrong.append(
                    f"{request.method} follows no instruction; leave out method, or name {FOLLOWER}."
                )
        except VeditError as error:
            wrong.append(error.what.removeprefix(f"{raw.where}: ").replace("not a EditRequest: ", ""))
    if request is None or wrong:
        raise _Mistakes(wrong)
    given = raw.values
    return Row(
        number,
        raw.where,
        request,
        str(given.get("label", values.get("method", "p2p"))),
        given.get("output"),
        given.get(AXES, {}),
        given.get(RELPATH, ""),
        given.get(VIDEO),
        given.get(EDIT),
        {key: value for key, value in given.items() if not key.startswith(("_", "\0"))},
        {key: value for key, value in given.items() if key.startswith("_")},
    )


def _wrong_keys(raw: Raw) -> Iterator[str]:
    for key in raw.values:
        plain = key.replace("-", "_")
        if plain in KNOWN or key.startswith(("_", "\0")) or (key.startswith("set.") and len(key) > 4):
            continue
        yield f"no key {key!r}{nearest(plain, KNOWN) or '.'}"
    written = {key.replace("-", "_") for key, value in raw.values.items() if value not in (None, "")}
    for alias, key in ALIASES.items():
        if alias in written and key in written:
            yield f"{alias} and {key} are one key, and both are given."
    if "instruction" in written and {"prompt", "target", "target_prompt"} & written:
        yield "instruction and prompt are both given; one of them says what is edited."


def _sorted(raw: Raw) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of the request by its own keys, with paths as seen from here; and the method's
    parameters.
    """
    values: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for written, value in raw.values.items():
        key = written if written.startswith("set.") else written.replace("-", "_")
        key = ALIASES.get(key, key)
        if value is None or value == "":
            continue
        if key.startswith("set."):
            settings[key[4:]] = _toml(value)
        elif key == "set" and isinstance(value, Mapping):
            settings.update(value)
        elif key in REQUEST_KEYS:
            values[key] = _seen_from(raw.base, value) if key in PATHS else value
    if instruction := _given(raw, "instruction"):
        values["prompt"] = instruction
        values.setdefault("method", FOLLOWER)
    if weights := _given(raw, "weights"):
        settings["weights"] = _weights(raw.base, weights)
    if "mask" in values:
        masks = values["mask"]
        masks = masks.split(";") if isinstance(masks, str) else masks if isinstance(masks, list) else [masks]
        values["mask"] = [_mask(raw.base, mask) for mask in masks]
    if "lora" in values:
        loras = values["lora"]
        loras = loras.split(";") if isinstance(loras, str) else list(loras)
        values["lora"] = [_lora(raw.base, lora) for lora in loras]
    if "control" in values:
        nets = values["control"]
        nets = nets.split(";") if isinstance(nets, str) else list(nets)
        values["control"] = [_control(raw.base, net) for net in nets]
    if isinstance(image := values.get("image_prompt"), str):
        values["image_prompt"] = images.with_name(image, lambda name: str(_seen_from(raw.base, name)))
    if isinstance(flow := values.get("flow"), str) and ":" in flow:
        name, _, file = flow.partition(":")
        values["flow"] = f"{name}:{_there(raw.base, file)}"
    if isinstance(adapter := values.get("image_adapter"), str):
        values["image_adapter"] = _there(raw.base, adapter)
    return values, settings


def _given(raw: Raw, key: str) -> Any:
    """The value of one of a row's keys, None where it has none."""
    value = raw.values.get(key)
    return None if value == "" else value


def _weights(base: str, weights: Any) -> Any:
    """Weights that are a folder, as seen from here; those of the Hub stay."""
    path = _seen_from(base, weights)
    return path if isinstance(path, str) and os.path.isdir(path) else weights


def _toml(value: Any) -> Any:
    """A parameter's text as TOML reads it, else as it stands."""
    if not isinstance(value, str):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _seen_from(base: str, path: Any) -> Any:
    return os.path.abspath(os.path.join(base, path)) if isinstance(path, str) else path


def _mask(base: str, mask: Any) -> Any:
    """A mask that is a file, as seen from here; a box or a time stays."""
    from vedit.jobs.masks import file_of

    file = file_of(mask) if isinstance(mask, str) else None
    return mask.replace(file, _seen_from(base, file)) if file else mask


def _lora(base: str, lora: Any) -> Any:
    """A LoRA that is a file, as seen from here; one of the Hub stays."""
    from vedit.models.adapters import with_name

    return with_name(lora, lambda name: _there(base, name)) if isinstance(lora, str) else lora


def _control(base: str, control: Any) -> Any:
    """A ControlNet whose folder and clip are files, as seen from here; one of the Hub stays."""
    from vedit.models.controls import with_names

    return with_names(control, lambda name: _there(base, name)) if isinstance(control, str) else control


def _there(base: str, name: str) -> str:
    """A name of a file as seen from here, where there is one."""
    path = str(_seen_from(base, name))
    return path if os.path.exists(path) else name


def _wrong_values(values: Mapping[str, Any]) -> Iterator[str]:
    if "input" not in values:
        yield "it has no input."
    if "prompt" not in values:
        yield f"it has no prompt; {option('prompt', TEXT)} gives one to all that have none."
    method = values.get("method", "p2p")
    if not isinstance(method, str) or not methods.has(method):
        known = methods.names()
        yield f"method {method!r} is not one of {', '.join(known)}{nearest(str(method), known)}"
    preset = values.get("preset")
    is_name = isinstance(preset, str) and os.sep not in preset and not preset.endswith(".toml")
    if is_name and preset and preset not in presets.paths():
        yield f"there is no preset {preset!r}{nearest(str(preset), presets.paths()) or '.'}"
    for key in FROM_ONE:
        if key in values and not _is_from(values[key], 1):
            yield f"{key} {values[key]!r} is not a whole number from 1."
    if "start" in values and not _is_from(values["start"], 0):
        yield f"start {values['start']!r} is not a whole number from 0."


def _is_from(value: Any, low: int) -> bool:
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", str(value).strip()):
        return False
    return int(value) >= low


def check_own(row: Row) -> list[str]:
    """What is wrong with the keys of a row that are the batch's own."""
    wrong = []
    command = row.written.get("command", "edit")
    if command != "edit":
        wrong.append(f"{row.where}: command {command!r}: a batch makes edits; leave the key out.")
    if row.output is not None and (why := check_inside(str(row.output), row.where)):
        wrong.append(why)
    return wrong
