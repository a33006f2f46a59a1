"""Weights in several files, as `save_pretrained(max_shard_size=...)` writes them: an index names a file for
each tensor.

diffusers and transformers read them by themselves; what is left to us is to find all of them, for
hashes and downloads, and to refuse an index whose files are not all there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from vedit.documents import Kind, read_json
from vedit.errors import ModelError

INDEX = Kind("an index of weights", ModelError)
INDEX_FILE = re.compile(
    r"(?P<stem>diffusion_pytorch_model|model|pytorch_model)\.(?P<suffix>safetensors|bin)\.index(?:\.(?P<variant>fp16))?\.json"
)
SHARD_FILE = re.compile(
    r"(?P<stem>diffusion_pytorch_model|model|pytorch_model)(?:\.(?P<variant>fp16))?-\d{5}-of-\d{5}(?:\.(?P<late>fp16))?\.(?P<suffix>safetensors|bin)"
)


def shards(folder: Path, index: str) -> list[str]:
    """The files that an index names, sorted.

    Raises ModelError for one that is not there, or not in the folder.
    """
    names = sorted(set(_weight_map(folder / index).values()))
    for name in names:
        if not SHARD_FILE.fullmatch(name):
            raise ModelError(
                f"{folder / index} names the file {name!r}, which is not a part of these weights.",
                "Parts are called NAME-00001-of-00002.safetensors.",
            )
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder.name} lacks {name}, one of the {len(names)} files of its weights.",
                f"{index} names it.",
                "Download it again",
            )
    return names


def _weight_map(path: Path) -> dict[str, str]:
    try:
        names = read_json(path, INDEX)["weight_map"]
        return {str(key): str(name) for key, name in names.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise INDEX.refusal(str(path), f"{type(error).__name__}: {error}") from None


def parts_of(names: Iterable[str], index: str) -> list[str]:
    """Of the names in a folder those that an index may name: same stem, suffix and variant."""
    wanted = INDEX_FILE.fullmatch(index)
    assert wanted is not None, index
    found = [match for name in names if (match := SHARD_FILE.fullmatch(name))]
    return [
        match.group()
        for match in found
        if (match["stem"], match["suffix"], match["variant"] or match["late"])
        == (wanted["stem"], wanted["suffix"], wanted["variant"])
    ]
