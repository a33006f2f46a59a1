"""Edits with tiny video models from their folders: what users type, end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import Result, vedit
from tests.engine.folder import write_folder
from tests.engine.motion import MOST, write_adapter, write_animatediff, write_i2vgen
from tests.jobs.edit.square import write_square

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("module_cache")
PROMPTS = ("--source", "a red cat", "--prompt", "a blue cat")
STEPS = ("--steps", "3", "--guidance", "3")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    pictures, adapter = write_folder(root / "pictures"), write_adapter(root / "adapter")
    return {
        "animatediff": str(write_animatediff(root / "animatediff")),
        "adapted": f"{pictures}+{adapter}",
        "pictures": str(pictures),
        "i2vgen": str(write_i2vgen(root / "i2vgen")),
    }


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of 40x24, a square that moves over a slope."""
    return write_square(tmp_path_factory.mktemp("clip") / "c.png", 10, step=2)


def edit(clip: Path, model: str, output: Path, method: str, *options: str) -> Result:
    return vedit(
        "edit", clip, "-o", output, "--model", model, "--method", method, "--size", "24", "--frames", "4",
        "--no-detail", "-y", *PROMPTS, *options,
    )  # fmt: skip


@pytest.mark.parametrize("model", ["animatediff", "adapted"])
def test_uniedit_edits_a_clip_and_is_repeated(
    folders: dict[str, str], clip: Path, tmp_path: Path, model: str
) -> None:
    motion = ("--set", "edits=motion", "--mask", "box:25%,25%,50%,50%", *STEPS)
    done = edit(clip, folders[model], tmp_path / "a.png", "uniedit", *motion)
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "a.png.vedit.json").read_text())
    assert record["params"]["edits"] == "motion" and record["model"]["unet_sha256"]
    assert ("motion_adapter_sha256" in record["model"]) == (model == "adapted")
    again = vedit("replay", tmp_path / "a.png", "-o", tmp_path / "b.png")
    assert again.code == 0, again.err
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ddim", "sdedit", "p2p", "masactrl", "dds", "glp"])
def test_methods_for_any_network_run_on_animatediff(
    folders: dict[str, str], clip: Path, tmp_path: Path, method: str
) -> None:
    more = {"dds": ("--set", "iterations=2"), "glp": ("--set", "iterations=2")}.get(method, STEPS)
    done = edit(clip, folders["animatediff"], tmp_path / "o.png", method, *more)
    assert done.code == 0, done.err


def test_the_plan_names_layers_over_frames_and_the_branches(
    folders: dict[str, str], clip: Path, tmp_path: Path
) -> None:
    told = edit(
        clip, folders["animatediff"], tmp_path / "o.png", "uniedit", "--set", "edits=motion", *STEPS, "--explain"
    )  # fmt: skip
    assert told.code == 0, told.err
    assert "branches of each call: src/uncond, src, mot/uncond, mot, tgt/uncond, tgt" in told.text
    assert "motion of mot: 42 sites" in told.text
    assert "down_blocks.0.motion_modules.0.transformer_blocks.0.attn1 (1/1)" in told.text


def test_a_method_of_pictures_is_refused_with_what_fits(
    folders: dict[str, str], clip: Path, tmp_path: Path
) -> None:
    refused = edit(clip, folders["animatediff"], tmp_path / "o.png", "tokenflow", *STEPS)
    assert refused.code == 5 and "sees them all at once" in refused.err
    assert "uniedit" in refused.err and "flowedit" not in refused.err
    flow = edit(clip, folders["animatediff"], tmp_path / "o.png", "flowedit")
    assert flow.code == 5 and "flow matching" in flow.err


def test_a_network_of_pictures_is_refused_for_layers_over_frames(
    folders: dict[str, str], clip: Path, tmp_path: Path
) -> None:
    refused = edit(clip, folders["pictures"], tmp_path / "o.png", "uniedit", *STEPS)
    assert refused.code == 5 and "has no layers that are for it" in refused.err
    assert "MODEL+ADAPTER" in refused.err and "shapes-motion" in refused.err


def test_frames_that_do_not_fit_are_explained(folders: dict[str, str], clip: Path, tmp_path: Path) -> None:
    refused = edit(clip, folders["animatediff"], tmp_path / "o.png", "uniedit", "--frames", "10", *STEPS)
    assert refused.code == 2 and f"know {MOST} places in time" in refused.err
    assert f"--frames {MOST}" in refused.err and "--stride 2" in refused.err


def test_a_clip_is_inverted_by_a_video_model_and_sampled_back(
    folders: dict[str, str], clip: Path, tmp_path: Path
) -> None:
    done = vedit(
        "invert", clip, "-o", tmp_path / "c.inv.safetensors", "--model", folders["animatediff"], "--size", "24",
        "--frames", "4", "--prompt", "a red cat", "--steps", "4", "--fixed-point", "3", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.text)["psnr_vae"] > 30


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first frame of the clip in green and blue."""
    from PIL import Image

    shown = np.zeros((24, 40, 3), np.uint8) + np.array([20, 90, 60], np.uint8)
    shown[8:16, 4:12] = (30, 30, 220)
    path = tmp_path_factory.mktemp("picture") / "first.png"
    Image.fromarray(shown).save(path)
    return path


SHORT = ("--negative", "")  # the published one is too long for the tiny tokenizer
INVERTED = ("--steps", "4", "--set", "inversion_steps=4", "--set", "start_index=0", *SHORT)


def test_anyv2v_follows_a_first_frame_and_is_repeated(
    folders: dict[str, str], clip: Path, picture: Path, tmp_path: Path
) -> None:
    done = edit(clip, folders["i2vgen"], tmp_path / "a.png", "anyv2v", "--ref", str(picture), *INVERTED)
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "a.png.vedit.json").read_text())
    assert record["model"]["image_encoder_sha256"] and record["ref"]
    again = vedit("replay", tmp_path / "a.png", "-o", tmp_path / "b.png")
    assert again.code == 0, again.err
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_anyv2v_lets_another_method_and_model_edit_the_first_frame(
    folders: dict[str, str], clip: Path, tmp_path: Path
) -> None:
    by = ("--set", "frame_method=sdedit", "--set", f"frame_model={folders['pictures']}",
          "--set", "frame_set={steps=3}")  # fmt: skip
    done = edit(clip, folders["i2vgen"], tmp_path / "a.png", "anyv2v", *by, *INVERTED)
    assert done.code == 0, done.err


def test_a_first_frame_that_is_missing_or_given_twice_is_explained(
    folders: dict[str, str], clip: Path, picture: Path, tmp_path: Path
) -> None:
    missing = edit(clip, folders["i2vgen"], tmp_path / "o.png", "anyv2v", *INVERTED)
    assert missing.code == 2 and "--ref" in missing.err and "frame_model" in missing.err
    twice = edit(clip, folders["i2vgen"], tmp_path / "o.png", "anyv2v", "--ref", str(picture),
                 "--set", "frame_model=shapes")  # fmt: skip
    assert twice.code == 2 and "Give one of them" in twice.err
    gone = edit(clip, folders["i2vgen"], tmp_path / "o.png", "anyv2v", "--ref", "nowhere.png")
    assert gone.code == 3 and "nowhere.png" in gone.err
    (tmp_path / "words.png").write_text("not a picture")
    words = ("--ref", str(tmp_path / "words.png"))
    unreadable = edit(clip, folders["i2vgen"], tmp_path / "o.png", "anyv2v", *words)
    assert unreadable.code == 3 and "words.png" in unreadable.err, unreadable.err


def test_a_first_frame_of_another_size_is_fitted_and_told_of(
    folders: dict[str, str], clip: Path, picture: Path, tmp_path: Path
) -> None:
    from PIL import Image

    with Image.open(picture) as shown:
        shown.resize((32, 32)).save(tmp_path / "square.png")
    square = ("--ref", str(tmp_path / "square.png"))
    done = edit(clip, folders["i2vgen"], tmp_path / "a.png", "anyv2v", *square, *INVERTED)
    assert done.code == 0, done.err
    assert "square.png is 32x32 and what is edited 40x24: the rest of it is white" in done.err
    fits = edit(clip, folders["i2vgen"], tmp_path / "b.png", "anyv2v", "--ref", str(picture), *INVERTED)
    assert fits.code == 0 and "white" not in fits.err


def test_a_network_that_is_shown_no_picture_is_refused_for_anyv2v(
    folders: dict[str, str], clip: Path, picture: Path, tmp_path: Path
) -> None:
    for model in ("animatediff", "pictures"):
        refused = edit(clip, folders[model], tmp_path / "o.png", "anyv2v", "--ref", str(picture), *INVERTED)
        assert refused.code == 5 and "is shown none" in refused.err
        assert "I2VGenXLPipeline" in refused.err


def test_a_network_of_another_kind_is_refused_before_it_is_loaded_and_before_what_else_is_missing(
    folders: dict[str, str], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_model(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the model is loaded")

    monkeypatch.setattr("vedit.models.load.load_model", no_model)
    wrong = {
        ("anyv2v", "pictures"): "pictures is shown none",
        ("anyv2v", "shapes"): "shapes is shown none",  # and not the embedded network of clips in its place
        ("uniedit", "pictures"): "has no layers that are for it",
        ("pnp", "animatediff"): "sees them all at once",
        ("p2p", "i2vgen"): "makes a clip of its first frame",
    }
    for (method, model), said in wrong.items():
        refused = edit(clip, folders.get(model, model), tmp_path / "o.png", method)
        assert (refused.code, said in refused.err) == (5, True), refused.err


def test_a_network_of_a_first_frame_is_refused_for_methods_that_show_none(
    folders: dict[str, str], clip: Path, tmp_path: Path
) -> None:
    for method in ("uniedit", "p2p"):
        refused = edit(clip, folders["i2vgen"], tmp_path / "o.png", method, *STEPS)
        assert refused.code == 5 and "makes a clip of its first frame" in refused.err
        assert "Methods for it are anyv2v." in refused.err
