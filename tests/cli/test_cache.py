"""vedit cache: what scores keep is listed and cleared beside inversions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
