"""Each backbone at its real size, from a file in the published layout, against the same oracles as the tiny
ones.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.metrics.seeded import moving_video, relative, seeded, towers_at, write_weights
from tests.metrics.towers import test_clip, test_dino, test_dover, test_gmflow, test_viclip
from vedit.metrics.towers import clip, dino, dover, viclip
from vedit.metrics.types import Options

pytestmark = pytest.mark.slow
PROMPT = "a silver jeep on a winding road"


def counted(state: dict[str, Any]) -> int:
    """Weights of a file, without its buffers."""
    return sum(
        value.numel() for name, value in state.items() if not name.endswith(("position_ids", "_index"))
    )


@pytest.mark.parametrize(("name", "count"), [("clip_l", 427_616_513), ("clip_h", 986_109_441)])
def test_clip_at_its_real_size(tmp_path: Path, name: str, count: int) -> None:
    model = test_clip.hf_model(clip.CONFIGS[name]).half()
    state = test_clip.hf_state(model)
    assert counted(state) == count
    write_half(tmp_path, name, state)
    video = moving_video(1, 256, 300)
    expected = test_clip.expected_of(model.float(), video, PROMPT)
    del model, state
    gc.collect()
    tower = towers_at(tmp_path).get(name)
    found = {**tower.images(video), "text": tower.text(PROMPT)["projected"]}
    for kind, value in expected.items():
        assert relative(found[kind], value) < 1e-4, kind


def write_half(folder: Path, name: str, state: dict[str, Any]) -> None:
    """Without the copies that `write_weights` makes."""
    from safetensors.torch import save_file

    from vedit.metrics.towers import FILES

    path = folder / FILES[name][0].repo / FILES[name][0].path
    path.parent.mkdir(parents=True)
    save_file(state, path)


@pytest.mark.parametrize("name", ["dinov2", "dino-vitb16"])
def test_dino_at_its_real_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(test_dino, "TINY", dino.CONFIGS)
    model = test_dino.hf_model(name)
    state = test_dino.published(name, model, tmp_path / "saved")
    if name == "dinov2":
        assert counted(state) == 86_580_480
    write_weights(tmp_path, name, state)
    video = moving_video(2, 300, 400)
    with torch.no_grad():
        expected = model(test_dino.pixels(video)).last_hidden_state[:, 0].numpy()
    assert relative(towers_at(tmp_path).get(name).cropped(video)["cls"], expected) < 1e-4


def test_viclip_at_its_real_size(tmp_path: Path) -> None:
    state = seeded(test_viclip.shapes(viclip.CONFIG))
    assert counted(state) == 427_590_145
    write_weights(tmp_path, "viclip", state)
    video = moving_video(8, 240, 320)
    with torch.no_grad():
        expected = test_viclip.expected_video(state, viclip.CONFIG, test_clip.pixels(video)).numpy()
        text = test_viclip.expected_text(state, viclip.CONFIG, PROMPT).numpy()
    del state
    gc.collect()
    tower = towers_at(tmp_path).get("viclip")
    assert relative(tower.video(video, range(8))["projected"][0], expected) < 1e-4
    assert relative(tower.text(PROMPT)["projected"][0], text) < 1e-4


def test_dover_at_its_real_size(tmp_path: Path) -> None:
    state = test_dover.weights_of(dover.CONFIG)
    assert counted(state) == 56_218_302
    write_weights(tmp_path, "dover", state)
    video = moving_video(8, 260, 320)
    found = towers_at(tmp_path, Options(device="cpu", profile="strict")).get("dover").scores(video)
    indices = [index * 8 // 32 for index in range(32)]
    small = F.interpolate(
        test_dover.normalised(video.frames_TYX3[indices]), size=(224, 224), mode="bilinear", antialias=False
    )
    with torch.no_grad():
        technical = test_dover.technical(
            test_dover.normalised(test_dover.cut(video.frames_TYX3, [indices])[0]), state, dover.CONFIG
        )
        aesthetic = test_dover.aesthetic(small, state, dover.CONFIG)
    assert found["technical"] == pytest.approx([technical], abs=1e-5)
    assert found["aesthetic"] == pytest.approx([aesthetic], abs=1e-5)


def test_gmflow_on_frames_of_256_pixels(tmp_path: Path) -> None:
    state = seeded(test_gmflow.shapes())
    write_weights(tmp_path, "gmflow", state)
    video = moving_video(2, 256, 256)
    with torch.no_grad():
        expected = test_gmflow.expected_flow(*test_gmflow.normalised(video), state).numpy()
    assert np.abs(towers_at(tmp_path).get("gmflow").flow(video)[0] - expected).mean() < 1e-3
