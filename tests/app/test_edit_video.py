from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from PIL import Image

from tests.diffusion.folder import write_folder
from vedit.app import cache
from vedit.app.clips import Selection, read_pixels
from vedit.app.edit_video import Job, edit_video
from vedit.app.edit_windows import to_frames
from vedit.app.gif import Settings
from vedit.app.invert_video import InversionSettings, invert_video, measure, to_tensor
from vedit.diffusion.models import Model, load_model
from vedit.errors import UsageError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.set_num_threads(1)
    return load_model(str(write_folder(tmp_path_factory.mktemp("model"))))


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))
    images = []
    for number in range(3):
        picture = Image.new("RGB", (32, 32), (90, 120, 60))
        picture.paste((200, 40, 40), (4 + 3 * number, 8, 16 + 3 * number, 20))
        images.append(picture)
    images[0].save(tmp_path / "clip.gif", save_all=True, append_images=images[1:], duration=[50, 70, 90], loop=0)
    return str(tmp_path / "clip.gif")


def job(clip: str, output: Path, **changes: Any) -> Job:
    base = Job(clip, str(output), "ddim", "a red cat", "a red cat", Selection(size=32), {"steps": 5, "guidance": 1.0, "fixed_point": 8})
    return base._replace(**changes)


def test_the_same_prompt_at_guidance_1_gives_what_the_autoencoder_shows_of_the_clip(model: Model, clip: str, tmp_path: Path) -> None:
    edit_video(job(clip, tmp_path / "out.nut"), model, Settings())
    pixels = read_pixels(clip, Selection(size=32))
    codec = to_frames(model.decode_latents(model.encode_frames(to_tensor(pixels))))
    result = read_pixels(str(tmp_path / "out.nut"), Selection(size=32)).frames_FYX3
    assert np.abs(result.astype(int) - codec).max() <= 2


def test_the_same_call_gives_the_same_bytes_and_uses_the_kept_inversion(model: Model, clip: str, tmp_path: Path) -> None:
    first = edit_video(job(clip, tmp_path / "a.gif", target="a blue dog"), model, Settings())
    second = edit_video(job(clip, tmp_path / "b.gif", target="a blue dog"), model, Settings())
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    assert "cached" not in first["inversion"] and second["inversion"]["cached"]
    assert [entry.prompt for entry in cache.entries()] == ["a red cat"]
    assert cache.clear()[0] == 1 and cache.entries() == []


def test_times_survive_and_the_record_says_how_it_was_made(model: Model, clip: str, tmp_path: Path) -> None:
    edit_video(job(clip, tmp_path / "a.gif", target="a blue dog", seed=5), model, Settings())
    assert read_pixels(str(tmp_path / "a.gif"), Selection(size=32)).durations == [5, 7, 9]
    record = json.loads((tmp_path / "a.gif.vedit.json").read_text())
    assert (record["method"], record["seed"], record["target_prompt"]) == ("ddim", 5, "a blue dog")
    assert record["params"]["steps"] == 5 and len(record["model"]["unet_sha256"]) == 64
    assert record["seconds"].keys() >= {"invert", "edit", "decode", "total"} and record["peak_memory_mib"]["host"] > 0


def test_outside_the_mask_the_pixels_are_the_source_s_own(model: Model, clip: str, tmp_path: Path) -> None:
    edit_video(job(clip, tmp_path / "a.nut", target="a blue dog", mask=("0,0,16,32",), keep_outside=True), model, Settings())
    result = read_pixels(str(tmp_path / "a.nut"), Selection(size=32)).frames_FYX3
    source = read_pixels(clip, Selection(size=32)).frames_FYX3
    assert (result[:, :, 16:] == source[:, :, 16:]).all()
    assert (result[:, :, :16] != source[:, :, :16]).any()


def test_the_preview_shows_source_and_edit_side_by_side(model: Model, clip: str, tmp_path: Path) -> None:
    edit_video(job(clip, tmp_path / "a.nut", preview=str(tmp_path / "p.nut")), model, Settings())
    shown = read_pixels(str(tmp_path / "p.nut"), Selection(size=(66, 32))).frames_FYX3
    assert (shown[:, :, :32] == read_pixels(clip, Selection(size=32)).frames_FYX3).all()


def test_an_inversion_samples_back_to_the_codec_s_picture(model: Model, clip: str, tmp_path: Path) -> None:
    pixels = read_pixels(clip, Selection(size=32))
    settings = InversionSettings("a red cat", steps=5, fixed_point=8)
    report = invert_video(model, pixels, str(tmp_path / "x.inv.safetensors"), settings)
    assert measure(model, pixels, str(tmp_path / "x.inv.safetensors"), settings)["psnr_vae"] > 45
    assert len(report["key"]) == 64


def test_a_mask_outside_the_frame_and_keep_outside_without_a_mask_are_refused(model: Model, clip: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not lie in the 32x32 frame"):
        edit_video(job(clip, tmp_path / "a.gif", mask=("0,0,99,10",)), model, Settings())
    with pytest.raises(UsageError, match="needs a --mask"):
        edit_video(job(clip, tmp_path / "a.gif", keep_outside=True), model, Settings())
    assert not (tmp_path / "a.gif").exists()
