"""What tests of whole layouts share: a real clip and its prompts, an edit of it, and what is asked of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Result, shared, vedit
from tests.hub import StubHub
from vedit.jobs.clips import Selection, read_pixels

CLIP = "data/clips/wolf.mp4"
SOURCE, TARGET = "a grey wolf turning its head in a forest", "a grey fox turning its head in a forest"
WORDS = sorted({*SOURCE.split(), *TARGET.split()})
PROMPTS = ("--source", SOURCE, "--prompt", TARGET)


def edited(model: object, output: Path, method: str, *options: str) -> Result:
    """An edit of the clip that has gone well."""
    done = vedit(
        "edit", shared(CLIP), "-o", output, "--model", str(model), "--method", method, *PROMPTS, *options
    )
    assert done.code == 0, done.err
    return done


def made(text: str, model: object, output: Path, frames: int) -> None:
    """A clip of 64x64 from text."""
    done = vedit(
        "generate", text, "--model", str(model), "-o", output, "--frames", str(frames), "--size", "64x64",
        "--steps", "2",
    )  # fmt: skip
    assert done.code == 0, done.err


def record_of(output: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Path(f"{output}.vedit.json").read_text())
    return record


def probed(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(vedit("probe", "--json", path).text)
    return facts


def frames_of(path: Path) -> np.ndarray:
    """The frames at 64x64, (F, 64, 64, 3)."""
    return read_pixels(str(path), Selection(size=64)).frames_FYX3


def assert_kept(output: Path, frames: int, clip: str = CLIP, stride: int = 1) -> None:
    """The result has so many frames, of the clip's size and rate, sound where that has some, and shows a
    picture, not a grey field.
    """
    source, facts = probed(shared(clip)), probed(output)
    assert (facts["width"], facts["height"], facts["images"]) == (source["width"], source["height"], frames)
    each = source["duration_s"] / source["images"]
    assert facts["duration_s"] == pytest.approx(stride * frames * each, abs=2e-3)
    assert (facts["audio"] is None) == (source["audio"] is None)
    assert frames_of(output).std() > 5


def fetch(hub: StubHub, name: str, folder: Path, title: str) -> None:
    """Put a folder on the Hub, and fetch every file of weights, once, into a cache that is then complete."""
    hub.add(name, folder)
    fetched = vedit("models", "fetch", name)
    assert fetched.code == 0, fetched.err
    assert len(hub.downloads(".safetensors")) == len(list(folder.rglob("*.safetensors"))) > 0
    told = vedit("models", "list").text
    assert name in told and title in told and "incomplete" not in told
