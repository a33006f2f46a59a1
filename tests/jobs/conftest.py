"""What tests of edits share: a tiny model, a clip, a job, caches and a Hub of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.hub import StubHub, stub_as_hub
from vedit.jobs.clips import Selection
from vedit.jobs.edit.job import Job

if TYPE_CHECKING:
    from vedit.models.sd.model import Model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tiny model of the tests, from a folder as the Hub has them."""
    import torch

    from tests.engine.folder import write_folder
    from vedit.models.sd.load import load_model

    torch.set_num_threads(1)
    return load_model(str(write_folder(tmp_path_factory.mktemp("model"))))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache for the inversions of one test."""
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache for the inversions of all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VEDIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    """A Hub on loopback, and an empty cache of it."""
    with stub_as_hub(monkeypatch, tmp_path / "hub") as stub:
        yield stub


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A red square that moves over green, three frames of 32x32, and a cache of its own."""
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "vedit.engine.memory.available", lambda device: None
    )  # tests/jobs/edit/test_memory.py has the prediction
    images = []
    for number in range(3):
        picture = Image.new("RGB", (32, 32), (90, 120, 60))
        picture.paste((200, 40, 40), (4 + 3 * number, 8, 16 + 3 * number, 20))
        images.append(picture)
    images[0].save(
        tmp_path / "clip.gif", save_all=True, append_images=images[1:], duration=[50, 70, 90], loop=0
    )
    return str(tmp_path / "clip.gif")


def job(clip: str, output: Path, **changes: Any) -> Job:
    """A short edit of `clip`, with what a test asks for."""
    base = Job(
        clip, str(output), "ddim", "a red cat", "a red cat", Selection(size=32), {"steps": 3, "guidance": 1.0}
    )
    return base._replace(**changes)
