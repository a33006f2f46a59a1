"""Real clips and a checkpoint in Stable Diffusion 1.5's own layout and widths, through the whole command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import numpy as np

from tests.conftest import ROOT, Result, shared, vedit
from tests.engine.folder import write_folder
from tests.engine.sd15 import PARAMETERS, write_sd15
from tests.hub import stub_hub
from tests.jobs.layouts import probed, record_of
from vedit import methods
from vedit.jobs.clips import Selection, read_pixels

PROMPTS = {
    "wolf.mp4": ("a grey wolf turning its head in a forest", "a grey fox turning its head in a forest"),
    "woman-running.mp4": ("a woman running along the beach", "a robot running along the beach"),
}
SWAPS = {
    **PROMPTS,
    "kitten.mp4": (
        "a kitten turning its head on a wooden floor",
        "a puppy turning its head on a wooden floor",
    ),
    "ballet.mp4": ("a ballerina dancing on a city street", "a skeleton dancing on a city street"),
    "rabbit-watermelon.mp4": ("a rabbit is eating a watermelon", "a rabbit is eating a pizza"),
    "man-skiing.mp4": (
        "a man in a yellow jacket is snowboarding",
        "a panda in a yellow jacket is snowboarding",
    ),
}
INVERTED = ["--steps", "2", "--set", "inversion_steps=2"]
SHORT = {  # settings that make each method short; all others are those of its preset
    "sdedit": ["--steps", "2"],
    "fresco": ["--steps", "4", "--set", "iterations=2"],
    "dds": ["--set", "iterations=2"],
    "glp": ["--set", "iterations=2"],
    "video-p2p": [*INVERTED, "--set", "tune_steps=20", "--set", "inner_steps=1"],
    "edit-a-video": [*INVERTED, "--set", "tune_steps=2"],
    "combine": [*INVERTED, "--set", "start_index=1", "--set", "glp={iterations=2}"],
}
SELECTION = ["--frames", "2", "--stride", "3", "--size", "128", "--crop", "square", "--output-size", "worked"]
UNET = "diffusion_pytorch_model.safetensors"


def line(clip: str, output: Path, method: str, model: str, *more: str) -> list[str]:
    source, target = SWAPS[clip]
    settings = SHORT.get(method, INVERTED)
    prompts = ["--source", source, "--prompt", target]
    return [
        "edit",
        str(shared(f"data/clips/{clip}")),
        "-o",
        str(output),
        "--model",
        model,
        "--method",
        method,
        *SELECTION,
        *prompts,
        *settings,
        *more,
    ]


def warned(done: Result, output: Path) -> list[str]:
    """The warnings of an edit, without the line that says what it made and how long it took."""
    return [text for text in done.warnings if not text.startswith(f"vedit: {output}: ")]


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    words = sorted({word for pair in SWAPS.values() for prompt in pair for word in prompt.split()})
    folder = write_sd15(tmp_path_factory.mktemp("hub") / "stable-diffusion-v1-5", words)
    yield folder
    for weights in folder.rglob("*.safetensors"):  # 2.1 GB that pytest would keep for three runs
        weights.unlink()


@pytest.fixture(scope="module")
def loads_once() -> Iterator[Callable[..., Any]]:
    """`load_model` that loads a model once: reading 1.7 GB for every edit proves nothing more."""
    from vedit.models.sd import load as models

    load, kept = models.load_model, dict[str, Any]()

    def loaded(name: str, *args: Any, **options: Any) -> Any:
        if name not in kept:
            kept[name] = load(name, *args, **options)
        return kept[name]

    yield loaded
    kept.clear()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "inversions"))


def in_a_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vedit", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_mp4_with_sound_keeps_its_sound_and_its_time(tmp_path: Path) -> None:
    model = write_folder(tmp_path / "model")
    clip, output = str(shared("data/clips/rabbit-watermelon.mp4")), tmp_path / "out.mp4"
    prompts = ["--source", "a red cat", "--prompt", "a blue dog"]
    done = vedit(
        "edit",
        clip,
        "-o",
        output,
        "--model",
        model,
        "--method",
        "sdedit",
        "--steps",
        "2",
        "--frames",
        "5",
        "--stride",
        "3",
        "--size",
        "32",
        "--quiet",
        *prompts,
    )
    assert (done.code, done.err) == (0, "")
    before, after = probed(Path(clip)), probed(output)
    assert (after["width"], after["height"], after["images"]) == (before["width"], before["height"], 5)
    assert after["duration_s"] == pytest.approx(5 * 3 / 30, abs=1e-3)
    assert before["audio"] and after["audio"]["rate"] == before["audio"]["rate"]


@pytest.mark.slow
def test_the_real_layout_loads_whole_in_its_own_widths(sd15: Path, loads_once: Callable[..., Any]) -> None:
    model = loads_once(str(sd15))
    counts = {
        part: sum(weight.numel() for weight in getattr(model, part).parameters()) for part in PARAMETERS
    }
    assert counts == PARAMETERS
    assert (model.scale, model.native_size, model.vae.config.scaling_factor, model.schedule.prediction) == (
        8,
        512,
        0.18215,
        "epsilon",
    )
    assert len(model.tokenizer) == 49408 and model.encode_prompt("a grey wolf").shape == (1, 77, 768)
    assert (
        model.tokenizer("a grey wolf").input_ids[0] == 49406
        and len(model.tokenizer("a grey wolf").input_ids) == 5
    )


@pytest.mark.slow
@pytest.mark.parametrize("clip", sorted(PROMPTS))
@pytest.mark.parametrize("method", methods.fitting(of_clips=False))
def test_every_method_edits_a_real_clip(
    sd15: Path,
    loads_once: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    clip: str,
    method: str,
) -> None:
    monkeypatch.setattr("vedit.models.sd.load.load_model", loads_once)
    output = tmp_path / "out.mp4"
    done = vedit(*line(clip, output, method, str(sd15), "--preview", str(tmp_path / "side.mp4")))
    assert done.code == 0, done.err
    assert all("no edit mask" in text for text in warned(done, output))
    facts = probed(output)
    assert (facts["width"], facts["height"], facts["images"]) == (128, 128, 2)
    assert facts["duration_s"] == pytest.approx(2 * 3 / 20, abs=1e-3)
    record = record_of(tmp_path / "out.mp4")
    assert record["peak_memory_mib"]["host"] < 8 * 1024
    result = read_pixels(str(output), Selection(size=128)).frames_FYX3
    assert result.std() > 5, "a picture, not a grey field"


@pytest.mark.slow
@pytest.mark.parametrize("clip", sorted(SWAPS))
@pytest.mark.parametrize("method", ["video-p2p", "tokenflow", "fatezero"])
def test_methods_of_video_keep_sound_and_rate_of_every_real_clip(
    sd15: Path,
    loads_once: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    clip: str,
    method: str,
) -> None:
    monkeypatch.setattr("vedit.models.sd.load.load_model", loads_once)
    output = tmp_path / "out.mp4"
    done = vedit(*line(clip, output, method, str(sd15)))
    assert (done.code, warned(done, output)) == (0, []), done.err
    before, after = probed(shared(f"data/clips/{clip}")), probed(output)
    assert after["duration_s"] == pytest.approx(2 * 3 / before["rate"]["avg"], abs=1e-3)
    assert (after["width"], after["height"], after["images"]) == (128, 128, 2)
    assert (after["audio"] is None) == (before["audio"] is None)
    if before["audio"]:
        assert after["audio"]["rate"] == before["audio"]["rate"]
    assert read_pixels(str(output), Selection(size=128)).frames_FYX3.std() > 5, "a picture, not a grey field"


@pytest.mark.slow
def test_the_same_prompt_without_guidance_gives_what_the_autoencoder_shows_of_a_real_clip(
    sd15: Path, loads_once: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from vedit.pixels import from_bytes, to_bytes

    monkeypatch.setattr("vedit.models.sd.load.load_model", loads_once)
    source = PROMPTS["wolf.mp4"][0]
    done = vedit(
        *line("wolf.mp4", tmp_path / "out.nut", "ddim", str(sd15)),
        "--prompt",
        source,
        "--set",
        "guidance=1",
        "--set",
        "fixed_point=3",
    )
    assert done.code == 0, done.err
    model = loads_once(str(sd15))
    pixels = read_pixels(str(shared("data/clips/wolf.mp4")), Selection(0, 3, 2, 128))
    codec = to_bytes(model.decode_latents(model.encode_frames(from_bytes(pixels.frames_FYX3))))
    result = read_pixels(str(tmp_path / "out.nut"), Selection(size=128)).frames_FYX3
    assert 10 * np.log10(255**2 / np.mean((result.astype(float) - codec) ** 2)) > 40


@pytest.mark.slow
def test_the_same_folder_from_a_hub_gives_the_same_bytes(sd15: Path, tmp_path: Path) -> None:
    here = in_a_process(*line("wolf.mp4", tmp_path / "folder.mp4", "p2p", str(sd15)))
    assert here.returncode == 0, here.stderr
    record = record_of(tmp_path / "folder.mp4")
    assert record["peak_memory_mib"]["host"] < 8 * 1024
    name = "somebody/stable-diffusion-v1-5"
    with stub_hub() as hub:
        hub.add(name, sd15)
        hub.breaks[UNET] = [300_000_000, 500_000_000]
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
        fetched = in_a_process("models", "fetch", name, **environment)
        assert (fetched.returncode, fetched.stderr) == (0, "")
        resumed = [request.range for request in hub.downloads(UNET) if request.range]
        assert resumed and all(
            int(asked.removeprefix("bytes=").rstrip("-")) > 100_000_000 for asked in resumed
        )
        assert (
            sum(path.stat().st_size for path in Path(fetched.stdout.strip()).rglob("*.safetensors")) > 2.1e9
        )
    there = in_a_process(
        *line("wolf.mp4", tmp_path / "hub.mp4", "p2p", name), **environment, HF_HUB_OFFLINE="1"
    )
    assert there.returncode == 0, there.stderr
    assert np.array_equal(
        *(
            read_pixels(str(tmp_path / file), Selection(size=128)).frames_FYX3
            for file in ("folder.mp4", "hub.mp4")
        )
    )
    assert (tmp_path / "folder.mp4").read_bytes() == (tmp_path / "hub.mp4").read_bytes()
    for blob in (tmp_path / "home").rglob("blobs/*"):
        blob.unlink()
