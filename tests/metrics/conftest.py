from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metrics.tiny import shrink_towers, write_tiny_weights


@pytest.fixture(scope="session")
def tiny_weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `--weights` folder with a tiny file for each tower."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        shrink_towers(patch)
        write_tiny_weights(folder)
    return folder


@pytest.fixture
def tiny_weights(tiny_weights_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder, while vedit builds towers of these sizes."""
    shrink_towers(monkeypatch)
    yield tiny_weights_folder
