"""What an item of a batch is, whatever it is called and whoever makes it: a hash of all that decides its
pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vedit.documents import Kind, read_json, read_toml
from vedit.errors import ModelError, VeditError
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.edit.settings import own_preset
from vedit.media.atomic import open_output
from vedit.models.hub import BUILTIN, OURS, cache_only, commit_of, find_folder, with_adapter
from vedit.plain import digest
from vedit.presets import PRESET, find, parameters, paths

SCHEMA = 1
MEMORY = Kind("a list of hashes", largest=2**28, names_files=True)
# where and how an item is made, not what it is
CONDITIONS = ("control", "image_prompt", "image_adapter", "flow")
APART = (
    "output",
    "overwrite",
    "device",
    "offload",
    "memory",
    "preset",
    "set",
    "steps",
    "guidance",
    "negative",
    "strength",
    "backend",
    "accept_licence",
)
MISSING = "missing"


class Contents:
    """SHA-256 of files and folders, remembered by path, size and time of change.

    memory: a file that they are kept in from call to call, or None.
    """

    def __init__(self, memory: str | None = None) -> None:
        self.memory = memory
        self.known: dict[str, Any] = {}
        self.is_changed = False
        self._seen: dict[str, str] = {}
        if memory and os.path.exists(memory):
            try:
                kept = read_json(memory, MEMORY)
                self.known = kept if isinstance(kept, dict) else {}
            except VeditError:  # torn or foreign: the files are hashed again
                pass

    def of(self, path: str) -> str:
        """The hash of a file's bytes, or of a folder's names and files; "missing" where there is none."""
        path = os.path.abspath(path)
        if path not in self._seen:
            self._seen[path] = self._hash(path)
        return self._seen[path]

    def _hash(self, path: str) -> str:
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if not name.startswith("."))
            listed = [[name, self.of(os.path.join(path, name))] for name in names]
            return digest(listed)
        try:
            status = os.stat(path)
        except OSError:
            return MISSING
        state = [status.st_size, status.st_mtime_ns]
        kept = self.known.get(path)
        if isinstance(kept, list) and len(kept) == 3 and kept[:2] == state and isinstance(kept[2], str):
            return kept[2]
        try:
            with open(path, "rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:  # the item says so when it is its turn
            return MISSING
        self.known[path] = [*state, found]
        self.is_changed = True
        return found

    def save(self) -> None:
        """Write what was learnt, if anything was."""
        if self.memory and self.is_changed:
            with open_output(self.memory) as stream:
                stream.write(json.dumps(self.known).encode())
            self.is_changed = False


class Keys:
    """The key of each request; presets and models are looked at once each. may_fetch: whether a model that is
    not here may be downloaded, since its version is part of what an item is.
    """

    def __init__(self, contents: Contents, *, may_fetch: bool = True) -> None:
        self.contents = contents
        self.may_fetch = may_fetch
        self._models: dict[tuple[str, str | None], Any] = {}
        self._presets: dict[tuple[str, str | None, str, Any], dict[str, Any]] = {}

    def of(self, request: EditRequest, extension: str, command: str = "edit") -> str:
        """The key: 64 hex digits. extension: of the output, which decides its container.

        Raises ModelError where the model is not there, UsageError for a preset that is not.
        """
        table = {name: value for name, value in request.json().items() if name not in APART}
        table["input"] = self.contents.of(request.input)
        table["mask"] = [self._mask(mask) for mask in request.mask]
        table["inversion"] = self.contents.of(request.inversion) if request.inversion else None
        table["ref"] = self.contents.of(request.ref) if request.ref else None
        is_released = request.method == "instruct"
        identify = self._pipeline if is_released else self.model
        table["model"] = identify(request.model, request.revision)
        table["lora"] = [self._lora(lora) for lora in request.lora]
        if not request.lora:  # keys of before there were any are the same
            del table["lora"]
        for name in CONDITIONS:
            del table[name]
        table |= self._conditions(request)
        params = {**self.preset(request), **_underscored(request.set), **request.own_options}
        if os.path.isdir(weights := str(params.get("weights", ""))):
            params["weights"] = self.contents.of(weights)
        return digest([SCHEMA, command, extension, table, params])

    def _mask(self, mask: str) -> str:
        from vedit.jobs.masks import file_of

        file = file_of(mask)
        return mask if file is None else mask.replace(file, self.contents.of(file))

    def _lora(self, lora: str) -> str:
        from vedit.models.adapters import with_name

        return with_name(lora, lambda name: self.contents.of(name) if os.path.exists(name) else name)

    def _conditions(self, request: EditRequest) -> dict[str, Any]:
        """ControlNets, their clips and an image prompt by content; nothing where there are none, so that keys
        of before are the same.
        """
        from vedit.models import controls, images

        def of(name: str) -> str:
            return self.contents.of(name) if os.path.exists(name) else name

        found: dict[str, Any] = {"control": [controls.with_names(one, of) for one in request.control]}
        found["image_prompt"] = request.image_prompt and images.with_name(request.image_prompt, of)
        found["image_adapter"] = request.image_adapter and of(request.image_adapter)
        name, _, file = (request.flow or "").partition(":")
        found["flow"] = f"{name}:{of(file)}" if file else name
        return {name: value for name, value in found.items() if value}

    def preset(self, request: EditRequest) -> dict[str, Any]:
        """What the preset of a request says, without the module of its method."""
        asked = (
            request.method,
            request.preset,
            request.model,
            request.backend or request.set.get("backend"),
        )
        if asked not in self._presets:
            self._presets[asked] = _preset_table(*asked)
        return self._presets[asked]

    def model(self, name: str, revision: str | None) -> Any:
        """What tells a model from others: the commit of a Hub model, else a hash of its files."""
        if (name, revision) not in self._models:
            self._models[name, revision] = self._identify(name, revision)
        return self._models[name, revision]

    def _pipeline(self, name: str, revision: str | None) -> Any:
        """What tells the pipeline of a released editor from others; one of the Hub by its name alone."""
        return self._files(Path(name)) if os.path.isdir(name) else [name, revision]

    def _identify(self, name: str, revision: str | None) -> Any:
        if os.path.isfile(name):
            return self.contents.of(name)
        base, adapter = with_adapter(name)
        if adapter is not None:
            return [self.model(base, revision), self._adapter(adapter)]
        is_here = name in OURS or os.path.isdir(name)
        if not is_here and not self.may_fetch:
            try:
                with cache_only():
                    folder = find_folder(name, revision)
            except ModelError:
                return [name, revision, "not fetched"]
        else:
            folder = find_folder(name, revision)
        return [name, commit] if (commit := commit_of(folder)) else self._files(folder)

    def _adapter(self, name: str) -> Any:
        """What tells a motion adapter from others; one of the Hub by its name alone."""
        folder = BUILTIN / name if name in OURS else Path(name)
        return self._files(folder) if folder.is_dir() else name

    def _files(self, folder: Path) -> str:
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        return digest([[str(file.relative_to(folder)), self.contents.of(str(file))] for file in files])


def _preset_table(method: str, preset: str | None, model: str, backend: Any) -> dict[str, Any]:
    """The parameters of a method's preset as its file has them."""
    own = own_preset(method, model, backend)
    if preset == "" or (preset is None and own not in paths()):
        return {}
    return parameters(read_toml(find(preset or own), PRESET))


def _underscored(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in settings.items()}
