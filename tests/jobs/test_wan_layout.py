"""A real clip and models in the layouts of Wan 2.1 and 2.2, from a folder and from a Hub, through whole commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import numpy as np

from tests.conftest import Result, shared, vedit
from tests.engine.wan21 import write_wan21
from tests.hub import StubHub, stub_as_hub
from vedit.jobs.clips import Selection, read_pixels

SOURCE, TARGET = "a grey wolf turning its head in a forest", "a grey fox turning its head in a forest"
WORDS = sorted({*SOURCE.split(), *TARGET.split()})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("wan")
    return {"2.1": write_wan21(root / "one", WORDS), "2.2": write_wan21(root / "two", WORDS, two=True)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    with stub_as_hub(monkeypatch, tmp_path / "hub") as stub:
        yield stub


def edit(model: str, output: Path, method: str, *more: str) -> Result:
    clip = shared("data/clips/wolf.mp4")
    prompts = ("--source", SOURCE, "--prompt", TARGET)
    return vedit("edit", clip, "-o", output, "--model", model, "--method", method, "--size", "64", "--frames", "6",
                 *prompts, *more)  # fmt: skip


def probed(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(vedit("probe", "--json", path).text)
    return facts


SHORT = {
    "flowedit": ("--steps", "4", "--set", "n_max=3"),
    "p2p": ("--steps", "3"),
    "kvlock": ("--steps", "3", "--mask", "box:25%,25%,50%,50%"),
    "unedit": ("--steps", "3"),
}


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.1", "2.2"])
@pytest.mark.parametrize("method", sorted(SHORT))
def test_a_real_clip_keeps_its_frames_rate_and_size(
    folders: dict[str, Path], tmp_path: Path, method: str, version: str
) -> None:
    output = tmp_path / "out.mp4"
    done = edit(str(folders[version]), output, method, *SHORT[method])
    assert done.code == 0, done.err
    source, facts = probed(shared("data/clips/wolf.mp4")), probed(output)
    assert (facts["width"], facts["height"], facts["images"]) == (source["width"], source["height"], 6)
    assert facts["duration_s"] == pytest.approx(6 * source["duration_s"] / source["images"], abs=2e-3)
    record = json.loads((tmp_path / "out.mp4.vedit.json").read_text())
    assert ("transformer_2_sha256" in record["model"]) == (version == "2.2")
    assert read_pixels(str(output), Selection(size=64)).frames_FYX3.std() > 5


@pytest.mark.slow
def test_frames_that_do_not_fit_the_codec_are_filled_up_and_said_so(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    told = edit(str(folders["2.1"]), tmp_path / "o.mp4", "flowedit", *SHORT["flowedit"], "--explain").text
    assert "6 frames, filled up to 9 by repeating the last" in told and "3 latent frames" in told
    assert "written as" in told and "filled up to" in told


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.1", "2.2"])
def test_a_real_clip_is_inverted_and_made_from_text(
    folders: dict[str, Path], tmp_path: Path, version: str
) -> None:
    name = tmp_path / "wolf.inv.safetensors"
    done = vedit("invert", shared("data/clips/wolf.mp4"), "-o", name, "--model", folders[version], "--size", "64",
                 "--frames", "5", "--prompt", SOURCE, "--steps", "4", "--solver", "uni-inv")  # fmt: skip
    assert done.code == 0, done.err
    made = vedit("generate", SOURCE, "--model", folders[version], "-o", tmp_path / "g.gif", "--frames", "5",
                 "--size", "64x64", "--steps", "2")  # fmt: skip
    assert made.code == 0, made.err
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
    name, folder = f"somebody/Wan{version}-T2V-Diffusers", str(folders[version])
    hub.add(name, folders[version])
    fetched = vedit("models", "fetch", name)
    assert fetched.code == 0, fetched.err
    stored = {path.parent.name for path in folders[version].rglob("*.safetensors")}
    assert ("transformer_2" in stored) == (version == "2.2")
    assert len(hub.downloads(".safetensors")) == len(list(folders[version].rglob("*.safetensors")))
    told = vedit("models", "list").text
    assert name in told and "WanPipeline" in told and "incomplete" not in told
    for model, output in ((folder, "folder"), (name, "hub")):
        done = edit(model, tmp_path / f"{output}.mp4", "flowedit", *SHORT["flowedit"])
        assert done.code == 0, done.err
        done = vedit("invert", shared("data/clips/wolf.mp4"), "-o", tmp_path / f"{output}.inv.safetensors", "--model",
                     model, "--size", "64", "--frames", "5", "--prompt", SOURCE, "--steps", "2")  # fmt: skip
        assert done.code == 0, done.err
        done = vedit("generate", SOURCE, "--model", model, "-o", tmp_path / f"{output}.gif", "--frames", "5",
                     "--size", "64x64", "--steps", "2")  # fmt: skip
        assert done.code == 0, done.err
    for ending in ("mp4", "gif"):
        a, b = (
            read_pixels(str(tmp_path / f"{source}.{ending}"), Selection(size=64)).frames_FYX3
            for source in ("folder", "hub")
        )
        assert np.array_equal(a, b)
    record = json.loads((tmp_path / "hub.mp4.vedit.json").read_text())
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
