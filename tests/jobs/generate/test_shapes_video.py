"""The embedded video model makes clips from text, and refuses what it does not know."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
import numpy as np
import torch
from PIL import Image, ImageSequence

from tests.conftest import vedit
from vedit.jobs.record import SUFFIX
from vedit.models.shapes.folder import VIDEO, load_video

torch.set_num_threads(1)
CAPTION = "a red circle moving left on a grey background"
LINE = ("--model", "shapes-video", "--steps", "2", "--seed", "5")


def test_a_clip_is_the_one_that_the_packed_model_draws(tmp_path: Path) -> None:
    from vedit.engine.embedded import sample_videos
    from vedit.models.shapes.video import VideoNetwork
    from vedit.pixels import to_bytes

    made = vedit("generate", CAPTION, "-o", tmp_path / "o.png", *LINE)
    assert made.code == 0, made.err
    with Image.open(tmp_path / "o.png") as picture:
        found = np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)])
    model = load_video()
    latents = sample_videos(
        VideoNetwork(model.transformer), model.text_encoder, [CAPTION], frames=5, steps=2, seed=5
    )
    expected = to_bytes(model.decode(latents)[0] * 2 - 1)
    assert found.shape == expected.shape == (9, 64, 64, 3)
    assert np.abs(found.astype(int) - expected).max() <= 1
    record = json.loads((tmp_path / f"o.png{SUFFIX}").read_text())
    files = json.loads((VIDEO / "training.json").read_text())["files"]
    assert record["model"]["transformer_sha256"] == files["transformer/diffusion_pytorch_model.safetensors"]


@pytest.mark.slow
def test_a_clip_takes_at_most_four_seconds_of_one_core(tmp_path: Path) -> None:
    """The time of this process, which does not count waiting for others."""
    loaded = 2  # times as long where the caches and the core's other half are taken
    spent_s = []
    for _ in range(3):
        before = time.process_time()
        assert vedit("generate", CAPTION, "-o", tmp_path / "o.gif", "-y").code == 0
        spent_s.append(time.process_time() - before)
        if spent_s[-1] <= 4:
            return
    assert min(spent_s) <= 4 * loaded, spent_s


def test_a_packed_run_draws_as_the_model_of_the_package_does(tmp_path: Path) -> None:
    shutil.copytree(VIDEO, tmp_path / "packed")
    assert vedit("generate", CAPTION, "-o", tmp_path / "a.png", *LINE).code == 0
    made = vedit("generate", CAPTION, "-o", tmp_path / "b.png", *LINE, "--model", tmp_path / "packed")
    assert made.code == 0, made.err
    with Image.open(tmp_path / "a.png") as ours, Image.open(tmp_path / "b.png") as packed:
        assert [np.asarray(frame.convert("RGB")).tobytes() for frame in ImageSequence.Iterator(ours)] == [
            np.asarray(frame.convert("RGB")).tobytes() for frame in ImageSequence.Iterator(packed)
        ]
    again = vedit("replay", tmp_path / "b.png", "-o", tmp_path / "c.png")
    assert again.code == 0 and (tmp_path / "c.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_clip_from_text_is_repeated_to_the_byte(tmp_path: Path) -> None:
    assert vedit("generate", CAPTION, "-o", tmp_path / "a.png", *LINE).code == 0
    again = vedit("replay", tmp_path / "a.png", "-o", tmp_path / "b.png")
    assert again.code == 0, again.err
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    "prompt, more, says",
    [
        ("a cat on a sofa", (), "cat"),
        (CAPTION, ("--frames", "8"), "clips of 9 frames"),
        (CAPTION, ("--size", "128x128"), "pictures of 64x64"),
        (CAPTION, ("--negative", "a ring", "--guidance", "1"), "no meaning with guidance 1"),
    ],
)
def test_what_it_was_not_trained_on_is_refused(
    tmp_path: Path, prompt: str, more: tuple[str, ...], says: str
) -> None:
    refused = vedit("generate", prompt, "-o", tmp_path / "o.gif", *LINE, *more)
    assert refused.code == 2 and says in refused.err, refused.err
