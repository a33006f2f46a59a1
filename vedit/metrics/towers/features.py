"""What towers computed, kept in memory and on disk, so that nothing is computed twice."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from vedit.errors import OutputError
from vedit.media.atomic import atomic_path
from vedit.metrics.types import Floats

Features = dict[str, Floats]


def feature_key(*parts: str) -> str:
    """The name of features: SHA-256 of all they depend on."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class FeatureStore:
    """Features by key: the last `memory_mib` of them in memory, and in a folder when there is one.

    folder: holds one safetensors file per key; the longest unused go when they exceed `disk_mib`.
    """

    def __init__(self, folder: Path | None = None, memory_mib: int = 256, disk_mib: int = 4096) -> None:
        self.folder, self.memory, self.disk = folder, memory_mib * 2**20, disk_mib * 2**20
        self._recent: OrderedDict[str, Features] = OrderedDict()
        self.misses = 0

    def get(self, key: str) -> Features | None:
        """The features of a key, or None. A damaged file counts as none."""
        found = self._recent.get(key) or self._read(key)
        if found is None:
            self.misses += 1
            return None
        self._remember(key, found)
        return found

    def put(self, key: str, features: Mapping[str, Floats]) -> None:
        """Keep features; a folder that cannot be written costs time, not results."""
        self._remember(key, dict(features))
        if self.folder is None:
            return
        from safetensors.numpy import save_file

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(str(self._file(key))) as part:
                save_file(dict(features), part)
            self._forget_oldest()
        except (OSError, OutputError):
            pass

    def _file(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{key}.features.safetensors"

    def _read(self, key: str) -> Features | None:
        if self.folder is None or not (path := self._file(key)).is_file():
            return None
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            found = load_file(path)
            path.touch()  # the time of the last use, for _forget_oldest
        except (OSError, SafetensorError):
            return None
        return found

    def _remember(self, key: str, features: Features) -> None:
        self._recent[key] = features
        self._recent.move_to_end(key)
        while len(self._recent) > 1 and sum(_size(kept) for kept in self._recent.values()) > self.memory:
            self._recent.popitem(last=False)

    def _forget_oldest(self) -> None:
        assert self.folder is not None
        kept = sorted(
            (
                (file.stat().st_mtime, file.stat().st_size, file)
                for file in self.folder.glob("*.features.safetensors")
            ),
            reverse=True,
        )
        total = 0
        for _, size, file in kept:
            total += size
            if total > self.disk:
                file.unlink(missing_ok=True)


def _size(features: Features) -> int:
    return sum(value.nbytes for value in features.values())
