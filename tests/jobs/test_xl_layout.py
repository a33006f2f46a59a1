"""A real clip and Stable Diffusion XL's layout at tiny widths, from a folder and from a Hub, through whole commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
import numpy as np

from tests.conftest import Result, vedit
from tests.engine.sdxl import write_sdxl
from tests.hub import StubHub
from tests.jobs import layouts
from tests.jobs.layouts import WORDS, fetch, frames_of, record_of
from tests.jobs.test_real_layout import INVERTED, SHORT
from vedit import methods

pytestmark = pytest.mark.usefixtures("own_cache")
# a step of tuning goes through all seventy blocks, and back
QUICK = {**SHORT, "video-p2p": [*INVERTED, "--set", "tune_steps=2", "--set", "inner_steps=1"]}
NAME = "somebody/stable-diffusion-xl-base-1.0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sdxl(tmp_path_factory.mktemp("xl") / "base", WORDS)


def edited(model: object, output: Path, method: str, *more: str) -> Result:
    selected = ("--size", "64", "--frames", "2", "--stride", "3", "--quiet")
    return layouts.edited(model, output, method, *selected, *QUICK.get(method, INVERTED), *more)


@pytest.mark.slow
@pytest.mark.parametrize("method", methods.fitting(of_clips=False))
def test_every_method_edits_a_real_clip_on_it(folder: Path, tmp_path: Path, method: str) -> None:
    edited(folder, tmp_path / "out.mp4", method)
    record = record_of(tmp_path / "out.mp4")
    assert record["sizes"]["worked"][1] == 64 and record["model"]["text_encoder_2_sha256"]
    frames = frames_of(tmp_path / "out.mp4")
    assert len(frames) == 2 and frames.std() > 5


@pytest.mark.slow
def test_a_mask_of_words_is_found_and_an_edit_is_repeated(folder: Path, tmp_path: Path) -> None:
    # the usual maps have 2x2 cells at this size, and a mask of four cells says nothing
    more = ("--set", 'blend_words=["wolf","fox"]', "--set", "blend_scales=[2]",
            "--save-masks", str(tmp_path / "mask.gif"))  # fmt: skip
    edited(folder, tmp_path / "a.gif", "p2p", *more)
    assert 0 < (frames_of(tmp_path / "mask.gif") > 127).mean() < 1
    again = vedit("replay", tmp_path / "a.gif", "-o", tmp_path / "b.gif")
    assert again.code == 0, again.err
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


@pytest.mark.slow
def test_the_same_folder_from_a_hub_gives_the_same_bytes(folder: Path, hub: StubHub, tmp_path: Path) -> None:
    fetch(hub, NAME, folder, "StableDiffusionXLPipeline")
    assert len(hub.downloads(".safetensors")) == 4  # one file of weights for each part
    edited(folder, tmp_path / "folder.mp4", "sdedit")
    edited(NAME, tmp_path / "hub.mp4", "sdedit")
    assert np.array_equal(*(frames_of(tmp_path / f"{origin}.mp4") for origin in ("folder", "hub")))


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
