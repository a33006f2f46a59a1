"""What long work has done so far, so that the same call goes on where it was stopped, bit by bit the same.

It lies in the cache under `unfinished/`: a file and a state for an inversion, which is kept after
every level, and a folder for an edit, which is kept after every window. Whoever works on it holds a
lock; a second run of the same call beside it works on its own. What nobody came back to for two
weeks is removed.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit.documents import Kind, parse_json, read_json, table
from vedit.errors import InputError
from vedit.jobs import cache
from vedit.jobs.claims import Lock, remove
from vedit.plain import digest

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

KEPT = Kind("unfinished work", largest=2**26)
STALE_S = 14 * 24 * 3600


def folder() -> Path:
    """Where unfinished work lies; old work is removed on the way."""
    found = Path(cache.work_folder())
    found.mkdir(parents=True, exist_ok=True)
    for entry in found.iterdir():
        if time.time() - entry.stat().st_mtime > STALE_S:
            remove(entry)
    return found


def name_of(*facts: Any) -> str:
    """A name for work that depends on these facts."""
    return digest(facts)[:32]


def claimed(name: str) -> tuple[Path, Lock]:
    """A path under this name, or under one of its own where another process works on it."""
    path = folder() / name
    lock = Lock(path.with_suffix(".lock"))
    if not lock.is_held:
        lock.release()
        path = folder() / f"{name}-{os.getpid()}"
        lock = Lock(path.with_suffix(".lock"))
    return path, lock


class Level(NamedTuple):
    """How far an inversion is: the first frame of the part that is worked on, the index of the last level
    reached, its latents, and sums so far.
    """

    first: int
    reached: int
    latents: Tensor
    squares: float


class Levels:
    """The state of an inversion beside its file."""

    def __init__(self, name: str) -> None:
        self.path, self.lock = claimed(name)
        self.file, self.state = self.path.with_suffix(".inv"), self.path.with_suffix(".state")

    def read(self) -> Level | None:
        """The state, unless there is none or it is damaged."""
        import torch

        try:
            head, _, content = self.state.read_bytes().partition(b"\n")
            facts = table(parse_json(head, str(self.state), KEPT), str(self.state), KEPT)
            if zlib.crc32(content) != facts["crc"]:
                return None
            latents = (
                torch.frombuffer(bytearray(content), dtype=torch.float32).reshape(facts["shape"]).clone()
            )
            return Level(facts["first"], facts["reached"], latents, facts["squares"])
        except (InputError, OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError):
            return None

    def keep(self, level: Level) -> None:
        """Put the state on disk; it is the old one or the new one whenever the process ends."""
        content = level.latents.detach().float().cpu().contiguous().numpy().tobytes()
        facts = {
            "first": level.first,
            "reached": level.reached,
            "squares": level.squares,
            "shape": list(level.latents.shape),
            "crc": zlib.crc32(content),
        }
        partial = self.path.with_suffix(".new")
        partial.write_bytes(json.dumps(facts).encode() + b"\n" + content)
        os.replace(partial, self.state)

    def __enter__(self) -> Levels:
        return self

    def __exit__(self, *error: object) -> None:
        self.lock.release()

    def finish(self) -> None:
        """Remove what is left; the file was moved away."""
        for suffix in (".inv", ".state", ".new", ".lock"):
            self.path.with_suffix(suffix).unlink(missing_ok=True)


class State:
    """Tensors and facts that work goes on from, in one file. tensors: those of `read`."""

    def __init__(self, name: str) -> None:
        self.path, self.lock = claimed(name)
        self.state = self.path.with_suffix(".state")
        self.tensors: dict[str, Tensor] | None = None

    def read(self) -> dict[str, Any] | None:
        """The facts, unless there are none or the file is damaged."""
        from safetensors.torch import load

        try:
            head, _, content = self.state.read_bytes().partition(b"\n")
            facts: dict[str, Any] = table(parse_json(head, str(self.state), KEPT), str(self.state), KEPT)
            if zlib.crc32(content) != facts["crc"]:
                return None
            self.tensors = load(content)
            return facts
        except (InputError, OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError):
            return None

    def keep(self, facts: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Put a state on disk; it is the old one or the new one whenever the process ends."""
        from safetensors.torch import save

        content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
        partial = self.path.with_suffix(".new")
        partial.write_bytes(json.dumps({**facts, "crc": zlib.crc32(content)}).encode() + b"\n" + content)
        os.replace(partial, self.state)

    def __enter__(self) -> State:
        return self

    def __exit__(self, *error: object) -> None:
        self.lock.release()

    def finish(self) -> None:
        """Remove what is left: the result is written."""
        for suffix in (".state", ".new", ".lock"):
            self.path.with_suffix(suffix).unlink(missing_ok=True)


class Windows:
    """The windows of an edit that are done: their frames, masks and attention, in a folder.

    result, masks: arrays of all frames, in files. done: first frames of the finished windows.
    """

    def __init__(self, name: str, shape: tuple[int, ...], with_masks: bool) -> None:
        self.path, self.lock = claimed(name)
        self.path.mkdir(exist_ok=True)
        self.result = self._array("result", shape)
        self.masks = self._array("masks", shape[:3]) if with_masks else None
        self.done = {int(first): crc for first, crc in self._journal().items()}

    def _array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        import numpy as np

        file, size = self.path / name, int(np.prod(shape))
        is_there = file.exists() and file.stat().st_size == size
        if not is_there:
            (self.path / "done.json").unlink(missing_ok=True)
        return np.asarray(np.memmap(file, np.uint8, "r+" if is_there else "w+", shape=shape))

    def _journal(self) -> dict[str, int]:
        try:
            sums = read_json(self.path / "done.json", KEPT)
            return {str(int(first)): int(crc) for first, crc in sums.items()}
        except (InputError, ValueError, AttributeError, TypeError, OverflowError):
            return {}

    def has(self, frames: slice) -> bool:
        """Whether a window is done, and still what it was."""
        return frames.start in self.done and self.done[frames.start] == self._sum(frames)

    def _sum(self, frames: slice) -> int:
        crc = zlib.crc32(self.result[frames].tobytes())
        return crc if self.masks is None else zlib.crc32(self.masks[frames].tobytes(), crc)

    def keep(self, frames: slice, attention: dict[str, Tensor]) -> None:
        """Note that a window is done, behind its pixels."""
        from safetensors.torch import save_file

        if attention:
            save_file(attention, self.path / f"{frames.start}.safetensors")
        self.done[frames.start] = self._sum(frames)
        partial = self.path / "done.new"
        partial.write_text(json.dumps(self.done))
        os.replace(partial, self.path / "done.json")

    def attention(self, frames: slice) -> dict[str, Tensor]:
        """Where words looked in a window that is done; nothing when nobody asked."""
        from safetensors.torch import load_file

        path = self.path / f"{frames.start}.safetensors"
        return dict(load_file(path)) if path.exists() else {}

    def finish(self) -> None:
        """Remove the folder: its results are written."""
        remove(self.path)
        self.path.with_suffix(".lock").unlink(missing_ok=True)
        self.lock.release()
