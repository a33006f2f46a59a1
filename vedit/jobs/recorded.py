"""Run records as they are read: the files they name, and whose they are.

A record beside an output names files as seen from the output's folder, and is sealed with a key of
this user. A recipe inside a file names no folder at all, since the file travels. What carries no
seal of this user, or is inside a file, may come from a stranger, and opens nothing outside the
folder it lies in and fetches nothing unless the user says so.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vedit.config import config_folder
from vedit.documents import Kind
from vedit.media.atomic import whereabouts

SUFFIX = ".vedit.json"
SEAL = "seal"  # key of a sidecar: what the output's bytes were, and that this user's vedit wrote the record
RECORD = Kind("a run record", right="Outputs of vedit edit and vedit generate have one.", names_files=True)
FORM = re.compile(
    r"(?:box|time|frames):|[\d.]+%?(?:,[\d.]+%?){3}(?:@\d+(?:\.\d+)?(?:s|ms)?)?$"
)  # of a mask that is no file
MASK = re.compile(r"(?P<before>(?:not:)?(?P<track>track:)?)(?P<name>.*)", re.DOTALL)
DRAWN_AT = re.compile(r"(.+)(@\d+(?:\.\d+)?(?:s|ms)?)", re.DOTALL)
OURS = ("shapes", "shapes-video", "shapes-motion")  # of vedit.models.hub, which this module has no time for

# --- files ---------------------------------------------------------------------------------------

Change = Callable[[str, str], str]  # from what a name is for, and the name, to the name


def renamed(record: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """A copy in which every name of a file, and of a model, is changed; what is not of the right type is
    left.
    """
    made = copy.deepcopy(dict(record))
    for holder, key, what in _names(made):
        if isinstance(holder[key], str) and (parts := file_in(what, holder[key])) is not None:
            before, name, after = parts
            holder[key] = f"{before}{change(what, name)}{after}"
    return made


def file_in(what: str, value: str) -> tuple[str, str, str] | None:
    """The name of a file in a value, with what stands before and after it; None in a mask of another form.

    not:track:m.png@2s is the opposite of the mask m.png, followed from where it is at two seconds.
    """
    if what == "flow":
        name, colon, file = value.partition(":")
        return (f"{name}:", file, "") if colon and file else None
    match = MASK.fullmatch(value) if what == "mask" else None
    if match is None:
        return "", value, ""
    if FORM.match(match["name"]):
        return None
    if match["track"] and not os.path.exists(match["name"]) and (drawn := DRAWN_AT.fullmatch(match["name"])):
        return match["before"], drawn[1], drawn[2]
    return match["before"], match["name"], ""


def _names(record: Mapping[str, Any]) -> Iterator[tuple[Any, Any, str]]:
    """Every place in a record that names a file: what holds it, its key there, and what it is for."""
    yield from _keyed(
        record,
        {
            "input": "input",
            "mask": "saved mask",
            "truth": "truth",
            "ref": "ref",
            "preview": "preview",
            "attention": "attention",
            "output": "output",
        },
    )
    yield from _listed(record.get("edit_mask"))
    yield from _controls(record.get("control"))
    yield from _keyed(record.get("image_prompt"), {"image": "clip", "adapter": "model"})
    yield from _keyed(record.get("inversion"), {"path": "inversion"})
    yield from _keyed(record.get("model"), {"id": "model", "name": "model", "motion_adapter": "model"})
    model = record.get("model")
    yield from _loras(model.get("lora") if isinstance(model, dict) else None)
    yield from _keyed(record, {"flow": "flow"})
    yield from _keyed(record.get("params"), {"flow": "flow"})
    yield from _keyed(record.get("params"), {"weights": "model"})  # of an editor that is trained on a model
    rows = record.get("clips") if isinstance(record.get("clips"), list) else []
    requests = [request for row in rows or () if isinstance(row, list) for request in row]
    for holder in (record.get("choices"), *requests):
        extra = holder.get("extra") if isinstance(holder, dict) else None
        if isinstance(extra, dict):
            yield from _keyed(extra, {"from_x_start": "clip", "motion_adapter": "model"})
            yield from _listed(extra.get("mask"))
            yield from _loras(extra.get("lora"))


def _keyed(holder: Any, keys: Mapping[str, str]) -> Iterator[tuple[Any, Any, str]]:
    if isinstance(holder, dict):
        yield from ((holder, key, what) for key, what in keys.items() if key in holder)


def _loras(told: Any) -> Iterator[tuple[Any, Any, str]]:
    for one in told if isinstance(told, list) else ():
        yield from _keyed(one, {"name": "model"})


def _controls(told: Any) -> Iterator[tuple[Any, Any, str]]:
    for one in told if isinstance(told, list) else ():
        yield from _keyed(one, {"net": "model", "clip": "clip"})


def _listed(masks: Any) -> Iterator[tuple[Any, Any, str]]:
    if isinstance(masks, list):
        yield from ((masks, place, "mask") for place in range(len(masks)))


WRITTEN = ("output", "preview", "attention")  # what a record names and nobody reads
RELATIVE = ("saved mask", "attention")  # from the folder of the output already


def for_sidecar(record: Mapping[str, Any], output: str) -> dict[str, Any]:
    """A record for the file beside an output: names as seen from its folder."""
    folder = os.path.dirname(os.path.realpath(output))

    def change(what: str, name: str) -> str:
        if (
            name == "-"
            or what in RELATIVE
            or (what == "model" and not os.path.exists(name))
            or (what == "mask" and not os.path.exists(name))
        ):
            return name
        real = (
            os.path.join(os.path.realpath(os.path.dirname(name) or "."), os.path.basename(name))
            if what != "model"
            else os.path.realpath(name)
        )
        seen = os.path.relpath(real, folder)
        return seen if seen.startswith(".") or what not in ("model", "mask") else os.path.join(".", seen)

    return {**renamed(record, change), **_hashes(record)}


def for_comment(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe for the inside of a file: names without folders, which would tell of the user's machine."""

    def change(what: str, name: str) -> str:
        if (
            name == "-"
            or (what == "model" and not os.path.exists(name))
            or (what == "mask" and not os.path.exists(name))
        ):
            return name
        short = os.path.basename(os.path.normpath(os.path.abspath(name)))
        return os.path.join(".", short) if what in ("model", "mask") else short

    return {**renamed(recipe, change), **_hashes(recipe)}


def _hashes(record: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of the files that the record holds no hash of elsewhere, by the names without folders."""
    names = {
        holder[key]
        for holder, key, what in _names(record)
        if what in ("mask", "truth", "clip") and isinstance(holder[key], str)
    }
    found = {os.path.basename(name): sha256_of(name) for name in sorted(names) if os.path.isfile(name)}
    return {"files": found} if found else {}


def sha256_of(path: str) -> str | None:
    """The hash of a regular file; None for what is none, or cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


# --- whose ---------------------------------------------------------------------------------------


def sealed(record: Mapping[str, Any], output: str) -> dict[str, Any]:
    """A sidecar's contents: the record, the hash of the output it is of, and a seal by this user's key."""
    plain = json.loads(json.dumps(record, default=str))
    digest, key = sha256_of(whereabouts(output)), _key(make=True)
    return {**plain, SEAL: {"output_sha256": digest, **({"by": _seal(plain, digest, key)} if key else {})}}


def _seal(record: Mapping[str, Any], digest: str | None, key: bytes) -> str:
    text = json.dumps([record, digest], sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _key(make: bool = False) -> bytes | None:
    """The key that this user's records are sealed with; None where it cannot be kept."""
    path = os.path.join(config_folder(), "records.key")
    try:
        if make and not os.path.exists(path):
            os.makedirs(config_folder(), mode=0o700, exist_ok=True)
            part = f"{path}.{os.getpid()}"
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(os.urandom(32))
            try:
                os.link(part, path)  # whole, and the first of two calls at once
            finally:
                os.unlink(part)
        with open(path, "rb") as file:
            found = file.read(33)
    except OSError:
        return None
    return found if len(found) == 32 else None


@dataclass(frozen=True)
class Recorded:
    """A record that was read. name: of the file it was in. folder: that its names are seen from.

    is_own: sealed by this user. is_stale: the output beside it is not the one that it was written for.
    record: names of files are as seen from the working folder.
    """

    record: dict[str, Any]
    name: str
    folder: str
    is_own: bool = False
    is_stale: bool = False

    def outside(self) -> list[str]:
        """The files it would open that lie outside its folder, each once."""
        return [path for what, path in self.opens() if not is_inside(path, self.folder)]

    def opens(self) -> list[tuple[str, str]]:
        """What it would open, each once: what it is for, and its path."""
        found: dict[tuple[str, str], None] = {}
        for holder, key, what in _names(self.record):
            name = holder[key]
            parts = file_in(what, name) if isinstance(name, str) else None
            if what in WRITTEN or parts is None:
                continue
            name = parts[1]
            if (what == "model" and not is_folder(name)) or name == "-":
                continue
            found[what, name] = None
        return list(found)

    def repositories(self) -> list[str]:
        """The models it names that are neither embedded nor folders."""
        names = [
            holder[key]
            for holder, key, what in _names(self.record)
            if what == "model" and isinstance(holder[key], str)
        ]
        # a model and its motion adapter, MODEL+ADAPTER, are two
        parts = {part for name in names for part in ([name] if os.path.exists(name) else name.split("+"))}
        return sorted({name for name in parts if name not in OURS and not is_folder(name)})

    def with_named(self, named: Mapping[str, Any]) -> Recorded:
        """The record with files and a model that the user names instead of its own: keys input, model,
        edit_mask.
        """
        record = copy.deepcopy(self.record)
        if "model" in named:
            model = record.get("model")
            if isinstance(model, dict):
                model["name" if record.get("command") == "generate" else "id"] = named["model"]
                model["revision"] = None if is_folder(named["model"]) else model.get("revision")
        record.update({key: value for key, value in named.items() if key != "model"})
        return replace(self, record=record)


def is_folder(model: str) -> bool:
    """Whether a record means a folder by the name of a model: it then begins with a dot or a root."""
    return model.startswith((".", "/", "~", os.sep)) or os.path.isabs(model)


def is_inside(path: str, folder: str) -> bool:
    """Whether a path, its links followed, lies in a folder."""
    try:
        real, base = os.path.realpath(path), os.path.realpath(folder or ".")
        return os.path.commonpath([real, base]) == base
    except (OSError, ValueError):
        return False


def recorded(record: dict[str, Any], name: str, output: str, *, is_sidecar: bool) -> Recorded:
    """A record as it stands in a file, ready for use."""
    folder = os.path.dirname(output)
    plain = {key: value for key, value in record.items() if key != SEAL}
    seal = record.get(SEAL) if is_sidecar else None
    is_own = is_stale = False
    if isinstance(seal, dict):
        digest, key = seal.get("output_sha256"), _key()
        is_stale = isinstance(digest, str) and os.path.isfile(output) and sha256_of(output) != digest
        is_own = (
            key is not None
            and isinstance(seal.get("by"), str)
            and hmac.compare_digest(seal["by"].encode(), _seal(plain, digest, key).encode())
        )

    def change(what: str, path: str) -> str:
        if path == "-" or what in WRITTEN or (what == "model" and not is_folder(path)):
            return path
        return _found(what, os.path.join(folder, path), plain, folder)

    return Recorded(renamed(plain, change), name, folder, is_own, is_stale)


def _found(what: str, path: str, record: Mapping[str, Any], folder: str) -> str:
    """The path, or the file of that name beside the output where it is the recorded source that was moved."""
    clip = record.get("clip")
    beside = os.path.join(folder, os.path.basename(path))
    if what == "input" and isinstance(clip, dict) and not os.path.exists(path) and os.path.exists(beside):
        return beside if sha256_of(beside) == clip.get("sha256") else path
    return path
