"""A real clip and a model in the layout of LTX-Video, from a folder and from a Hub, through whole commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import numpy as np

from tests.conftest import Result, shared, vedit
from tests.engine.ltx09 import write_ltx09
from tests.hub import StubHub, stub_as_hub
from vedit.jobs.clips import Selection, read_pixels

SOURCE, TARGET = "a grey wolf turning its head in a forest", "a grey fox turning its head in a forest"
WORDS = sorted({*SOURCE.split(), *TARGET.split()})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ltx09(tmp_path_factory.mktemp("ltx") / "m", WORDS)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    with stub_as_hub(monkeypatch, tmp_path / "hub") as stub:
        yield stub


def edit(model: object, output: Path, method: str, *more: str) -> Result:
    clip = shared("data/clips/wolf.mp4")
    prompts = ("--source", SOURCE, "--prompt", TARGET)
    return vedit("edit", clip, "-o", output, "--model", model, "--method", method, "--size", "96", "--frames",
                 "10", *prompts, *more)  # fmt: skip


def probed(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(vedit("probe", "--json", path).text)
    return facts


SHORT = {
    "flowedit": ("--steps", "4", "--set", "n_max=3"),
    "p2p": ("--steps", "3"),
    "sdedit": ("--steps", "3"),
    "masactrl": ("--steps", "3", "--set", "start_step=0"),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(SHORT))
def test_a_real_clip_keeps_its_frames_rate_size_and_sound(folder: Path, tmp_path: Path, method: str) -> None:
    output = tmp_path / "out.mp4"
    done = edit(folder, output, method, *SHORT[method])
    assert done.code == 0, done.err
    source, facts = probed(shared("data/clips/wolf.mp4")), probed(output)
    assert (facts["width"], facts["height"], facts["images"]) == (source["width"], source["height"], 10)
    assert facts["duration_s"] == pytest.approx(10 * source["duration_s"] / source["images"], abs=2e-3)
    record = json.loads((tmp_path / "out.mp4.vedit.json").read_text())
    assert record["model"]["rate"] == pytest.approx(source["images"] / source["duration_s"], rel=1e-3)
    assert read_pixels(str(output), Selection(size=64)).frames_FYX3.std() > 5


@pytest.mark.slow
def test_the_preset_of_the_family_and_what_is_filled_up_are_said(folder: Path, tmp_path: Path) -> None:
    told = edit(folder, tmp_path / "o.mp4", "flowedit", "--explain").text
    assert "10 frames, filled up to 17 by repeating the last: the first alone and then 8 in one" in told
    assert "3 latent frames" in told and "steps 5 to 50" in told, told  # the first four are left out


@pytest.mark.slow
def test_the_same_folder_from_a_hub_gives_the_same_bytes(folder: Path, hub: StubHub, tmp_path: Path) -> None:
    name = "somebody/LTX-Video"
    hub.add(name, folder)
    fetched = vedit("models", "fetch", name)
    assert fetched.code == 0, fetched.err
    assert len(hub.downloads(".safetensors")) == len(list(folder.rglob("*.safetensors"))) > 4
    told = vedit("models", "list").text
    assert name in told and "LTXPipeline" in told and "incomplete" not in told
    for model, output in ((str(folder), "folder"), (name, "hub")):
        done = edit(model, tmp_path / f"{output}.mp4", "flowedit", *SHORT["flowedit"])
        assert done.code == 0, done.err
        made = vedit("generate", SOURCE, "--model", model, "-o", tmp_path / f"{output}.gif", "--frames", "9",
                     "--size", "64x64", "--steps", "2")  # fmt: skip
        assert made.code == 0, made.err
    for ending in ("mp4", "gif"):
        a, b = (
            read_pixels(str(tmp_path / f"{source}.{ending}"), Selection(size=64)).frames_FYX3
            for source in ("folder", "hub")
        )
        assert np.array_equal(a, b)
    assert json.loads((tmp_path / "hub.mp4.vedit.json").read_text())["model"]["revision"]


@pytest.mark.slow
def test_a_model_is_described_with_its_layout_and_sites(folder: Path) -> None:
    told = vedit("models", "info", folder, "--sites").text
    assert "transformer_blocks.27.attn2" in told and "127 tokens at most" in told
    assert "512x512, latents 128 channels at 1/32" in told
