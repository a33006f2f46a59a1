"""A real clip and models in the layouts of Wan 2.1 and 2.2, from a folder and from a Hub, through whole commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
import numpy as np

from tests.conftest import shared, vedit
from tests.engine.wan21 import write_wan21
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
SELECTED = ("--size", "64", "--frames", "6")
SHORT = {
    "flowedit": ("--steps", "4", "--set", "n_max=3"),
    "p2p": ("--steps", "3"),
    "kvlock": ("--steps", "3", "--mask", "box:25%,25%,50%,50%"),
    "unedit": ("--steps", "3"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("wan")
    return {"2.1": write_wan21(root / "one", WORDS), "2.2": write_wan21(root / "two", WORDS, two=True)}


def invert(model: object, output: Path, *options: str) -> None:
    done = vedit(
        "invert", shared(CLIP), "-o", output, "--model", str(model), "--size", "64", "--frames", "5", "--prompt", SOURCE,
        *options,
    )  # fmt: skip
    assert done.code == 0, done.err


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.1", "2.2"])
@pytest.mark.parametrize("method", sorted(SHORT))
def test_a_real_clip_keeps_its_frames_rate_and_size(
    folders: dict[str, Path], tmp_path: Path, method: str, version: str
) -> None:
    output = tmp_path / "out.mp4"
    edited(folders[version], output, method, *SELECTED, *SHORT[method])
    assert_kept(output, 6)
    assert ("transformer_2_sha256" in record_of(output)["model"]) == (version == "2.2")


@pytest.mark.slow
def test_frames_that_do_not_fit_the_codec_are_filled_up_and_said_so(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    told = edited(
        folders["2.1"], tmp_path / "o.mp4", "flowedit", *SELECTED, *SHORT["flowedit"], "--explain"
    ).text
    assert "6 frames, filled up to 9 by repeating the last" in told and "3 latent frames" in told
    assert "written as" in told and "filled up to" in told


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.1", "2.2"])
def test_a_real_clip_is_inverted_and_made_from_text(
    folders: dict[str, Path], tmp_path: Path, version: str
) -> None:
    invert(folders[version], tmp_path / "wolf.inv.safetensors", "--steps", "4", "--solver", "uni-inv")
    made(SOURCE, folders[version], tmp_path / "g.gif", 5)
    assert probed(tmp_path / "g.gif")["images"] == 5
    refused = vedit(
        "generate", SOURCE, "--model", folders[version], "-o", tmp_path / "h.gif", "--frames", "6"
    )
    assert refused.code == 2 and "Try --frames 5 or --frames 9" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.1", "2.2"])
def test_the_same_folder_from_a_hub_gives_the_same_bytes(
    folders: dict[str, Path], hub: StubHub, tmp_path: Path, version: str
) -> None:
    name, folder = f"somebody/Wan{version}-T2V-Diffusers", folders[version]
    stored = {path.parent.name for path in folder.rglob("*.safetensors")}
    assert ("transformer_2" in stored) == (version == "2.2")
    fetch(hub, name, folder, "WanPipeline")
    for model, output in ((folder, "folder"), (name, "hub")):
        edited(model, tmp_path / f"{output}.mp4", "flowedit", *SELECTED, *SHORT["flowedit"])
        invert(model, tmp_path / f"{output}.inv.safetensors", "--steps", "2")
        made(SOURCE, model, tmp_path / f"{output}.gif", 5)
    for ending in ("mp4", "gif"):
        assert np.array_equal(*(frames_of(tmp_path / f"{origin}.{ending}") for origin in ("folder", "hub")))
    record = record_of(tmp_path / "hub.mp4")
    assert record["params"]["n_max"] == 3 and record["model"]["revision"]
    assert ("transformer_2_sha256" in record["model"]) == (version == "2.2")


def test_an_image_to_video_model_is_refused_before_its_weights_are_fetched(
    folders: dict[str, Path], hub: StubHub, tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(folders["2.1"], tmp_path / "i2v"))
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"_class_name": "WanImageToVideoPipeline", "image_encoder": ["transformers", "CLIPVisionModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    hub.add("somebody/i2v", folder)
    refused = vedit("models", "info", "somebody/i2v")
    assert refused.code == 5 and "is a WanImageToVideoPipeline" in refused.err, refused.err
    assert "begins with a picture" in refused.err and not hub.downloads(".safetensors")


def test_a_model_is_described_with_its_layout_and_sites(folders: dict[str, Path]) -> None:
    told = vedit("models", "info", folders["2.2"], "--sites").text
    assert "transformer_2" in told and "blocks.29.attn2" in told
    assert "511 tokens at most" in told and "latents 16 channels at 1/8" in told
