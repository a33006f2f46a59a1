"""Protects vedit/metrics/small_text_alignment.py and the profile `small`: TinyCLIP's sizes, its layout, and the
way from the Hub to a number for a free prompt on a real clip.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
from tests.conftest import shared, vedit
from tests.hub import stub_as_hub
from tests.metrics.seeded import write_weights
from tests.metrics.towers.test_clip import expected_of, hf_model, hf_state
from vedit.jobs.clips import Selection
from vedit.jobs.score.clips import read_frames
from vedit.metrics.towers import FILES, clip
from vedit.metrics.types import Video

PROMPT = "a woman running along the beach"
TINY = clip.ClipConfig(32, 32, 2, 2, 24, 2, 2, 16, quick=False)
REPO = "wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M"


def test_the_sizes_are_those_of_the_published_file() -> None:
    import torch

    with torch.device("meta"):
        net = clip.ClipNet(clip.CONFIGS["clip_small"])
    weights = sum(one.numel() for one in net.parameters())
    assert weights * 4 / 1e6 == pytest.approx(93.8, abs=0.05), "model.safetensors has 93.8 MB of float32"
    assert clip.CONFIGS["clip_small"].width // clip.CONFIGS["clip_small"].heads == 64


def test_a_free_prompt_on_a_real_clip_has_a_number_by_way_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip, "CONFIGS", {**clip.CONFIGS, "clip_small": TINY})
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    model = hf_model(TINY)
    path = write_weights(tmp_path / "published", "clip_small", hf_state(model))
    assert FILES["clip_small"][0].repo == REPO
    frames = read_frames(str(shared("data/clips/woman-running.mp4")), Selection(0, 4, 2, (64, 36)))
    first, *rest = map(Image.fromarray, frames)
    first.save(cut := tmp_path / "cut.png", save_all=True, append_images=rest)
    with stub_as_hub(monkeypatch, tmp_path / "hub") as hub:
        hub.add(REPO, path.parent)
        done = vedit("score", cut, "--prompt", PROMPT, "--profile", "small", "--json", "-")
        assert done.code == 0, done.err
        assert hub.downloads(), "the weights came from the Hub"
    report = json.loads(done.out)
    values = report["videos"][0]["values"]
    oracle = expected_of(model, Video(frames), PROMPT)
    image, text = (
        oracle[key] / np.linalg.norm(oracle[key], axis=1)[:, None] for key in ("projected", "text")
    )
    assert values["small_text_alignment"]["value"] == pytest.approx(100 * (image @ text.T).mean(), abs=1e-3)
    assert "sharpness" in values and "clip_text_alignment" not in values
    assert report["provenance"]["weights"]["clip_small"]["repo"] == REPO
    assert "shapes_text_alignment" not in values, "its words are those of drawn scenes"
