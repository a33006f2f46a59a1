"""`vedit generate` with text-to-video pipelines in folders and at a stub of the Hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

pytest.importorskip("torch")

from tests.conftest import vedit
from tests.engine.folder import write_folder
from tests.engine.video_folder import write_wan
from tests.hub import StubHub, stub_as_hub
from vedit.models.pipelines import Order, load_pipeline

SMALL = ("--frames", "5", "--size", "32", "--steps", "2", "--guidance", "1", "-q")


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wan(tmp_path_factory.mktemp("models") / "wan")


def shown(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)])


def test_a_pipeline_in_a_folder_makes_a_clip_with_its_record(wan: Path, tmp_path: Path) -> None:
    output = tmp_path / "cat.webp"
    result = vedit(
        "generate",
        "a cat",
        "--model",
        wan,
        "-o",
        output,
        "--seed",
        "3",
        "--pipe",
        "max_sequence_length=16",
        *SMALL,
    )
    assert (result.code, result.err) == (0, "")
    record = json.loads((tmp_path / "cat.webp.vedit.json").read_text())
    assert record["model"]["pipeline"] == "WanPipeline"
    (clip,) = record["clips"][0]
    assert (clip["frames"], clip["size"], clip["steps"], clip["seed"], clip["fps"], clip["arguments"]) == (
        5,
        [32, 32],
        2,
        3,
        16.0,
        {"max_sequence_length": 16},
    )
    assert "pending" not in clip
    made = load_pipeline(str(wan), device="cpu").make(
        Order("a cat", 3, 5, (32, 32), 2, 1.0, more={"max_sequence_length": 16})
    )
    assert np.abs(shown(output).astype(int) - made).mean() < 6  # WebP loses a little


def test_several_seeds_make_a_grid_and_steps_are_told(wan: Path, tmp_path: Path) -> None:
    result = vedit(
        "generate",
        "a cat",
        "--model",
        wan,
        "-o",
        tmp_path / "grid.gif",
        "--count",
        "2",
        *SMALL[:-1],
        "--progress",
        "jsonl",
    )
    assert result.code == 0
    assert shown(tmp_path / "grid.gif").shape == (5, 32, 65, 3)
    steps = [json.loads(line)["step"] for line in result.err.splitlines() if line.startswith("{")]
    assert steps == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--frames", "6"), 2, "--frames 5 or --frames 9"),
        (("--size", "40"), 2, "multiples of 16"),
        (("--pipe", "max_sequence_lenght=3"), 2, "did you mean max_sequence_length"),
        (("--pipe", "max_sequence_length"), 2, "has no value"),
        (("--eta", "1"), 2, "--eta has no meaning"),
        (("--eta", "1"), 2, "Who makes these clips is hub: "),
        (("--offload", "model", "--device", "cpu"), 2, "the device is the CPU"),
        (("--field", "a=1"), 2, "--field has no meaning"),
        (("--motion-adapter", "a/b"), 5, "StableDiffusionPipeline"),
    ],
)
def test_mistakes_are_told_with_what_would_be_right(
    wan: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = vedit("generate", "a cat", "--model", wan, "-o", tmp_path / "a.gif", *arguments)
    assert result.code == code, result.err
    assert said in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_pictures_is_refused_with_the_way_to_clips(tmp_path: Path) -> None:
    result = vedit("generate", "a cat", "--model", write_folder(tmp_path / "sd"), "-o", tmp_path / "a.gif")
    assert result.code == 5
    assert "--motion-adapter" in result.err


def test_a_folder_that_is_no_model_is_a_model_error(tmp_path: Path) -> None:
    result = vedit("generate", "a cat", "--model", tmp_path, "-o", tmp_path / "a.gif")
    assert result.code == 5


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    with stub_as_hub(monkeypatch, tmp_path / "cache") as stub:
        yield stub


def test_a_pipeline_of_the_hub_is_fetched_and_then_works_without_a_network(
    hub: StubHub, wan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    hub.add("somebody/wan", wan)
    commit = hub.repositories["somebody/wan"].commit
    fetched = vedit("models", "fetch", "somebody/wan", "-q")
    assert (fetched.code, fetched.text.strip().endswith(commit)) == (0, True), fetched.err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    output = tmp_path / "a.gif"
    made = vedit("generate", "a cat", "--model", "somebody/wan", "-o", output, *SMALL)
    assert (made.code, made.err) == (0, "")
    assert json.loads(output.with_name("a.gif.vedit.json").read_text())["model"]["commit"] == commit


def test_gated_missing_and_empty_repositories_are_told_apart(hub: StubHub, wan: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "weights.bin").write_bytes(b"x")
    hub.add("somebody/wan", wan, access="gated")
    hub.add("somebody/other", tmp_path / "other")
    for name, said in (
        ("wan", "is gated"),
        ("nothing", "does not exist"),
        ("other", "no pipeline of diffusers"),
    ):
        result = vedit("generate", "a cat", "--model", f"somebody/{name}", "-o", tmp_path / "a.gif", *SMALL)
        assert result.code == 5
        assert said in result.err


def test_offline_names_what_is_not_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    result = vedit("generate", "a cat", "--model", "someone/some-video-model", "-o", tmp_path / "a.gif")
    assert result.code == 5
    assert "vedit models fetch someone/some-video-model" in result.err


def test_a_pipeline_whose_weights_changed_is_refused_before_it_is_loaded(
    wan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shutil.copytree(wan, tmp_path / "wan")
    assert vedit("generate", "a cat", "--model", model, "-o", tmp_path / "a.gif", *SMALL).code == 0
    assert str(tmp_path).encode() not in (tmp_path / "a.gif").read_bytes()
    assert str(tmp_path) not in (tmp_path / "a.gif.vedit.json").read_text()
    assert vedit("replay", tmp_path / "a.gif", "-o", tmp_path / "b.gif", "-q").code == 0
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    (weights,) = (model / "transformer").glob("*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    monkeypatch.setattr("vedit.jobs.generate.hub.load", lambda choices: pytest.fail("it was loaded"))
    changed = vedit("replay", tmp_path / "a.gif", "-o", tmp_path / "c.gif", "-q")
    assert changed.code == 5 and "not those of the record" in changed.err
