"""A real clip and a model in the layout of LTX-Video, from a folder and from a Hub, through whole commands."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
import numpy as np

from tests.conftest import shared, vedit
from tests.engine.ltx09 import write_ltx09
from tests.hub import StubHub
from tests.jobs.layouts import (
    CLIP,
    SOURCE,
    WORDS,
    assert_kept,
    edited,
    fetch,
    frames_of,
    made,
    probed,
    record_of,
)

pytestmark = pytest.mark.usefixtures("own_cache")
SELECTED = ("--size", "96", "--frames", "10")
SHORT = {
    "flowedit": ("--steps", "4", "--set", "n_max=3"),
    "p2p": ("--steps", "3"),
    "sdedit": ("--steps", "3"),
    "masactrl": ("--steps", "3", "--set", "start_step=0"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ltx09(tmp_path_factory.mktemp("ltx") / "m", WORDS)


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(SHORT))
def test_a_real_clip_keeps_its_frames_rate_size_and_sound(folder: Path, tmp_path: Path, method: str) -> None:
    output = tmp_path / "out.mp4"
    edited(folder, output, method, *SELECTED, *SHORT[method])
    assert_kept(output, 10)
    source = probed(shared(CLIP))
    rate = record_of(output)["model"]["rate"]
    assert rate == pytest.approx(source["images"] / source["duration_s"], rel=1e-3)


@pytest.mark.slow
def test_the_preset_of_the_family_and_what_is_filled_up_are_said(folder: Path, tmp_path: Path) -> None:
    told = edited(folder, tmp_path / "o.mp4", "flowedit", *SELECTED, "--explain").text
    assert "10 frames, filled up to 17 by repeating the last: the first alone and then 8 in one" in told
    assert "3 latent frames" in told and "steps 5 to 50" in told, told  # the first four are left out


@pytest.mark.slow
def test_the_same_folder_from_a_hub_gives_the_same_bytes(folder: Path, hub: StubHub, tmp_path: Path) -> None:
    name = "somebody/LTX-Video"
    fetch(hub, name, folder, "LTXPipeline")
    for model, output in ((folder, "folder"), (name, "hub")):
        edited(model, tmp_path / f"{output}.mp4", "flowedit", *SELECTED, *SHORT["flowedit"])
        made(SOURCE, model, tmp_path / f"{output}.gif", 9)
    for ending in ("mp4", "gif"):
        assert np.array_equal(*(frames_of(tmp_path / f"{origin}.{ending}") for origin in ("folder", "hub")))
    assert record_of(tmp_path / "hub.mp4")["model"]["revision"]


@pytest.mark.slow
def test_a_model_is_described_with_its_layout_and_sites(folder: Path) -> None:
    told = vedit("models", "info", folder, "--sites").text
    assert "transformer_blocks.27.attn2" in told and "127 tokens at most" in told
    assert "512x512, latents 128 channels at 1/32" in told
