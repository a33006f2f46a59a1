"""vedit cache: what scores keep is listed and cleared beside inversions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests import mutations
from tests.conftest import vedit
from vedit.metrics.towers import FeatureStore


def test_features_of_scores_are_counted_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path))
    FeatureStore(tmp_path / "score" / "features").put("key", {"x": np.zeros(2**18, np.float32)})
    listed = vedit("cache", "list").text
    assert "features of vedit score       1.0 MiB  in 1 files" in listed
    assert "1.0 MiB in all" in listed
    assert vedit("cache", "clear").text == "removed 0 inversions and 1 files of features, 1.0 MiB\n"
    assert vedit("cache", "list").text == "0.0 MiB in all\n"


def test_a_cache_that_was_never_used_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "absent"))
    assert vedit("cache", "clear").text == "removed 0 inversions and 0 files of features, 0.0 MiB\n"


HEADER = {
    "__metadata__": {"vedit": json.dumps({"model": {"id": "m"}, "prompt": "a cat"})},
    "z0": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
}


def kept_file(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + bytes(4)


def test_damaged_files_of_the_cache_are_listed_without_facts_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 mutations: of the header's bytes, of its types, of the types in the text that it holds."""
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path))
    folder = tmp_path / "inversions"
    folder.mkdir()
    facts = json.loads(HEADER["__metadata__"]["vedit"])  # type: ignore[index]
    for seed in range(500):
        inner = {**HEADER, "__metadata__": {"vedit": mutations.json_of(facts, seed).decode("latin-1")}}
        content = kept_file(mutations.json_of(HEADER, seed) if seed % 3 else json.dumps(inner).encode())
        (folder / f"{seed:03}.inv.safetensors").write_bytes(
            content if seed % 5 else mutations.bytes_of(content, seed)
        )
    (folder / "short.inv.safetensors").write_bytes(b"\xff" * 7)
    (folder / "long.inv.safetensors").write_bytes(b"\xff" * 7 + b"\x7f{}")
    (folder / "deep.inv.safetensors").write_bytes(kept_file(b"[" * 100_000))
    (folder / "good.inv.safetensors").write_bytes(kept_file(json.dumps(HEADER).encode()))
    listed = vedit("cache", "list")
    assert listed.code == 0, listed.err
    assert "m  'a cat'" in next(line for line in listed.text.splitlines() if line.startswith("good"))
    assert len(listed.text.splitlines()) == 505
    assert vedit("cache", "clear").text.startswith("removed 504 inversions and 0 files")
    assert list(folder.iterdir()) == []


def test_part_files_of_killed_calls_are_listed_and_cleared_and_those_being_written_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path))
    (tmp_path / "inversions").mkdir()
    (tmp_path / "inversions" / ".x.00.part").write_bytes(bytes(2**20))
    (tmp_path / "inversions" / "folder.part").mkdir()
    with open(tmp_path / "inversions" / ".y.00.part", "wb"):
        assert "left by calls that were killed       1.0 MiB  in 1 files" in vedit("cache", "list").text
        assert "1 files of calls that were killed, 1.0 MiB" in vedit("cache", "clear").text
    assert sorted(path.name for path in (tmp_path / "inversions").iterdir()) == [".y.00.part", "folder.part"]


def test_a_file_where_the_cache_should_be_is_an_empty_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inversions").write_text("x")
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path))
    assert vedit("cache", "list").text == "0.0 MiB in all\n"
    assert vedit("cache", "clear").code == 0
