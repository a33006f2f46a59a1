"""Repeat an edit or a generated clip from its run record."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from vedit.errors import InputError, ModelError, Warn, option, silent
from vedit.jobs.edit.plan import plan as plan_edit
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.generate.request import GenerateRequest, plan
from vedit.jobs.generate.run import may_be_repeated
from vedit.jobs.record import versions
from vedit.jobs.record_shape import check_record
from vedit.jobs.recorded import OURS, Recorded, is_folder, is_inside, sha256_of
from vedit.jobs.sink import Told
from vedit.jobs.watch import Watch, unwatched
from vedit.models.adapters import find, parse, recorded
from vedit.models.family import Model
from vedit.models.hub import (
    cache_only,
    find_folder,
    hash_weights,
    is_in_cache,
    layout_in,
    weighed_in,
    with_adapter,
)
from vedit.models.load import load_model
from vedit.models.sd import single_file
from vedit.plain import plain

ADAPTER = "motion_adapter_sha256"  # in the identity of a model


def replay(
    record: dict[str, Any],
    output: str,
    *,
    name: str = "the record",
    is_other_source: bool = False,
    accept_licence: bool = False,
    may_fetch: bool = True,
    warn: Warn = silent,
    watch: Watch = unwatched,
) -> dict[str, Any]:
    """Run what was recorded again, into `output`; returns the new record.

    name: of the file with the record, for messages. is_other_source: the user named the source, which
    may be another clip. accept_licence: the user accepts that of a released editor's weights. may_fetch:
    without it models come from the cache alone.
    Raises InputError for a record of another command or another shape, and for a source that is gone
    or changed; ModelError when the model's weights are not those recorded, before they are loaded.
    """
    may_be_repeated(record)
    check_record(record, name)
    _warn_of_versions(record, warn)
    if not may_fetch and record.get("inversion"):  # a file of whoever wrote the record; it is made again
        record = {
            **record,
            "inversion": {key: value for key, value in record["inversion"].items() if key != "path"},
        }
    check_model(record)
    with nullcontext() if may_fetch else cache_only():
        if record["command"] == "generate":
            check_files(
                record,
                [
                    path
                    for extra in _extras(record)
                    for path in (extra.get("from_x_start"), *(extra.get("mask") or ()))
                    if path
                ],
            )
            return plan(GenerateRequest.from_record(record, output)).run(Told(warn, watch))[0]
        check_source(record, is_other_source, warn)
        check_files(
            record, [*record["edit_mask"], *filter(None, [record.get("truth"), *conditions_of(record)])]
        )
        check_networks_beside(record)
        model = recorded_model(record) if record["method"] != "instruct" else None
        request, sink = EditRequest.from_record(record, output), Told(warn, watch)
        request = replace(request, accept_licence=accept_licence)
        made = plan_edit(request, sink, repeats=True).run(
            sink, model or recorded_editor(record, request, sink)
        )
    if record["input"] == "-" and made["clip"]["sha256"] != record["clip"]["sha256"]:
        warn("standard input was another clip than that of the record")
    return made


def steps_outside(found: Recorded, named: set[str]) -> tuple[list[str], list[str]]:
    """Of a record that may be a stranger's: lines that say what it does, and what of that needs the user's
    word.

    named: keys of what the user named instead: input, model, edit_mask.
    """
    given = {"input": "input", "model": "model", "mask": "edit_mask"}
    opens = [
        (what, path)
        for what, path in found.opens()
        if what not in ("saved mask", "inversion") and given.get(what) not in named
    ]
    fetches = [name for name in found.repositories() if "model" not in named]
    reads = ", ".join(f"{what} {legible(path)}" for what, path in opens) or "no file"
    method = found.record.get("method") or "generate"
    told = [
        f"{legible(found.name)} may be somebody else's recipe: {method}; reads {reads}; models:"
        f" {', '.join(map(legible, fetches)) or 'none of the Hub'}"
    ]
    outside = [f"open {legible(path)} ({what})" for what, path in opens if not is_inside(path, found.folder)]
    outside += [f"fetch {legible(name)}" for name in fetches if not is_in_cache(name)]
    return told, outside


def legible(name: str) -> str:
    """A name out of a file as it may be printed."""
    return plain(name)[:400]


def check_source(record: Mapping[str, Any], is_other: bool, warn: Warn) -> None:
    """Refuse a source that is gone or not the recorded one; of one that the user named only say so."""
    source = record["input"]
    if source == "-":
        if not is_other:
            raise InputError(
                "the source of this record came through a pipe.",
                "A pipe can be read once.",
                f"Name the clip: {option('input', 'FILE')}, or {option('input', '-')} to pipe it again",
            )
        return
    digest = sha256_of(source)
    if digest is None:
        raise InputError(
            f"{source}, the source of this record, is not there, or is not a file.",
            "It is looked for where the record says, and beside it.",
            f"Name it: {option('input', 'FILE')}",
        )
    if digest != record["clip"]["sha256"]:
        what = f"{source} is not the clip that was edited: its contents differ by their SHA-256"
        if not is_other:
            raise InputError(
                f"{what}.",
                "It was changed or replaced since.",
                f"Edit it all the same: {option('input', source)}",
            )
        warn(what)


def _extras(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [record["choices"]["extra"], *(request["extra"] for row in record["clips"] for request in row)]


def check_model(record: Mapping[str, Any]) -> None:
    """Refuse the folder of a model that is not there: a recipe inside a file has its name alone."""
    name = record["model"]["name" if record["command"] == "generate" else "id"]
    if any(is_folder(part) and not os.path.exists(part) for part in with_adapter(name) if part):
        raise InputError(
            f"the record's model, {legible(name)}, is not there.",
            "A recipe inside a file tells its name, not where it is.",
            f"Name it: {option('model', 'FOLDER')}",
        )


def recorded_editor(record: Mapping[str, Any], request: EditRequest, sink: Told) -> Any:
    """The released editor of an edit's record, its weights compared by their hashes. Raises ModelError."""
    from vedit.jobs.edit.released import check_weights, load

    check_loras(record["model"].get("lora", ()))
    editor = load(request, sink)
    check_weights(record, editor)
    return editor


def check_loras(told: Sequence[Mapping[str, Any]]) -> None:
    """Refuse LoRAs whose contents are not those of a record. Raises ModelError."""
    for one in told:
        if find(parse(recorded(one))).facts["sha256"] != one["sha256"]:
            raise ModelError(
                f"the LoRA {legible(one['name'])} is not the one of the record.",
                "Its contents differ by their SHA-256, so the result would too.",
                "Put back the file that was used",
            )


def conditions_of(record: Mapping[str, Any]) -> list[str | None]:
    """The clips and the picture that an edit's network went by."""
    picture = record.get("image_prompt")
    return [*(told["clip"] for told in record.get("control", ())), picture and picture["image"]]


def check_networks_beside(record: Mapping[str, Any]) -> None:
    """Refuse ControlNets and image adapters of this machine whose contents are not those of a record.

    Those of the Hub are named with their commit. Raises ModelError.
    """
    found = [
        (told["net"], hash_weights(Path(told["net"])), told["sha256"])
        for told in record.get("control", ())
        if os.path.isdir(told["net"])
    ]
    picture = record.get("image_prompt")
    if picture is not None and os.path.isfile(picture["adapter"]):
        found.append((picture["adapter"], sha256_of(picture["adapter"]) or "", picture["adapter_sha256"]))
    for flow in {record.get("flow"), record["params"].get("flow")} - {None}:
        file = str(flow).partition(":")[2]
        if file and os.path.isfile(file):
            found.append((file, sha256_of(file) or "", record.get("flow_sha256", "")))
    for name, digest, wanted in found:
        if digest != wanted:
            raise ModelError(
                f"the weights of {legible(name)} are not those of the record.",
                "Their hashes differ, so the result would too.",
                "Put back the files that were used",
            )


def check_files(record: Mapping[str, Any], names: Any) -> None:
    """Refuse masks and other files of a record whose contents are not those recorded, and what is no file."""
    known = record.get("files")
    for path in names:
        if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
            raise InputError(f"{path} is not a file.", "A record names clips and pictures.")
        wanted = known.get(os.path.basename(path)) if isinstance(known, dict) else None
        if wanted is not None and os.path.exists(path) and sha256_of(path) != wanted:
            raise InputError(
                f"{path} is not the file of the record: its contents differ by their SHA-256.",
                "It was changed or replaced since.",
                f"Name another: {option('mask', 'MASK')}",
            )


def recorded_model(record: Mapping[str, Any]) -> Model:
    """The model of an edit's record, its weights compared by their hashes before they are loaded.

    Raises ModelError.
    """
    wanted = record["model"]
    revision = wanted["revision"] if not is_folder(wanted["id"]) and wanted["id"] not in OURS else None
    base, _ = with_adapter(wanted["id"])
    if single_file.is_file(base):
        layout = single_file.layout(base)
        parts = layout.weighed
        hashes = dict.fromkeys(parts, single_file.digest_of(Path(base)))
    else:
        folder = find_folder(wanted["id"], revision)
        layout, parts = layout_in(folder), weighed_in(folder)
        hashes = {part: hash_weights(folder / part) for part in parts}
    if any(hashes[part] != wanted.get(key) for key, part in layout.hashed.items() if part in parts):
        raise _other_weights(wanted["id"])
    lora = [recorded(told) for told in wanted.get("lora", ())]
    check_loras(wanted.get("lora", ()))
    short = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[record["dtype"]]
    model = load_model(wanted["id"], revision, device=record["device"], dtype=short, lora=lora)
    model.hashes.update(hashes)
    if model.identity().get(ADAPTER) != wanted.get(ADAPTER):
        raise _other_weights(wanted["id"])
    return model


def _other_weights(name: str) -> ModelError:
    return ModelError(
        f"the weights of {name} are not those of the record.",
        "Their hashes differ, so the result would too.",
        f"Name the model that was used: {option('model', 'NAME')}",
    )


def _warn_of_versions(record: Mapping[str, Any], warn: Warn) -> None:
    ours = versions(*record["versions"])
    changed = [
        f"{name} {ours.get(name, 'none')} (was {old})"
        for name, old in record["versions"].items()
        if ours.get(name) != old
    ]
    if changed:
        warn(f"other versions may change the last bits: {', '.join(changed)}")
