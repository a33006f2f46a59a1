"""A real clip and Stable Diffusion XL's layout at tiny widths, from a folder and from a Hub, through whole commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
import numpy as np

from tests.conftest import Result, shared, vedit
from tests.engine.sdxl import write_sdxl
from tests.hub import StubHub, stub_as_hub
from tests.jobs.test_real_layout import INVERTED, SHORT
from vedit import methods
from vedit.jobs.clips import Selection, read_pixels

# a step of tuning goes through all seventy blocks, and back
QUICK = {**SHORT, "video-p2p": [*INVERTED, "--set", "tune_steps=2", "--set", "inner_steps=1"]}
SOURCE, TARGET = "a grey wolf turning its head in a forest", "a grey fox turning its head in a forest"
NAME = "somebody/stable-diffusion-xl-base-1.0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sdxl(tmp_path_factory.mktemp("xl") / "base", sorted({*SOURCE.split(), *TARGET.split()}))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    with stub_as_hub(monkeypatch, tmp_path / "hub") as stub:
        yield stub


def edit(model: str, output: Path, method: str, *more: str) -> Result:
    prompts = ("--source", SOURCE, "--prompt", TARGET)
    return vedit("edit", shared("data/clips/wolf.mp4"), "-o", output, "--model", model, "--method", method, "--size", "64",
                 "--frames", "2", "--stride", "3", "--quiet", *prompts, *QUICK.get(method, INVERTED), *more)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", methods.fitting(of_clips=False))
def test_every_method_edits_a_real_clip_on_it(folder: Path, tmp_path: Path, method: str) -> None:
    done = edit(str(folder), tmp_path / "out.mp4", method)
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "out.mp4.vedit.json").read_text())
    assert record["sizes"]["worked"][1] == 64 and record["model"]["text_encoder_2_sha256"]
    frames = read_pixels(str(tmp_path / "out.mp4"), Selection(size=64)).frames_FYX3
    assert len(frames) == 2 and frames.std() > 5


@pytest.mark.slow
def test_a_mask_of_words_is_found_and_an_edit_is_repeated(folder: Path, tmp_path: Path) -> None:
    more = ("--set", 'blend_words=["wolf","fox"]', "--save-masks", str(tmp_path / "mask.gif"))
    done = edit(str(folder), tmp_path / "a.gif", "p2p", *more)
    assert done.code == 0, done.err
    mask = read_pixels(str(tmp_path / "mask.gif"), Selection(size=64)).frames_FYX3
    assert 0 < (mask > 127).mean() < 1
    again = vedit("replay", tmp_path / "a.gif", "-o", tmp_path / "b.gif")
    assert again.code == 0, again.err
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


@pytest.mark.slow
def test_the_same_folder_from_a_hub_gives_the_same_bytes(folder: Path, hub: StubHub, tmp_path: Path) -> None:
    hub.add(NAME, folder)
    fetched = vedit("models", "fetch", NAME)
    assert fetched.code == 0, fetched.err
    assert len(hub.downloads(".safetensors")) == 4  # one file of weights for each part
    told = vedit("models", "list").text
    assert NAME in told and "StableDiffusionXLPipeline" in told and "incomplete" not in told
    for model, output in ((str(folder), "folder.mp4"), (NAME, "hub.mp4")):
        done = edit(model, tmp_path / output, "sdedit")
        assert done.code == 0, done.err
    a, b = (
        read_pixels(str(tmp_path / name), Selection(size=64)).frames_FYX3
        for name in ("folder.mp4", "hub.mp4")
    )
    assert np.array_equal(a, b)


def test_a_model_is_described_with_both_its_text_encoders(folder: Path) -> None:
    told = vedit("models", "info", folder, "--sites").text
    assert "text_encoder_2" in told and "up_blocks.1.attentions.2.transformer_blocks.1.attn2" in told
    assert "1024x1024" in told and "75 tokens at most" in told


def test_the_network_of_a_refiner_is_refused_before_its_weights_are_fetched(hub: StubHub, folder: Path, tmp_path: Path) -> None:  # fmt: skip
    import shutil

    copy = Path(shutil.copytree(folder, tmp_path / "refiner"))
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(
        json.dumps({**index, "text_encoder": [None, None], "tokenizer": [None, None]})
    )
    hub.add("somebody/refiner", copy)
    refused = vedit("models", "fetch", "somebody/refiner")
    assert refused.code == 5 and not hub.downloads(".safetensors"), refused.err
