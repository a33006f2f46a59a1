"""`vedit generate` with text-to-video pipelines in folders and at a stub of the Hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

pytest.importorskip("torch")
import torch
from safetensors.torch import save_file

from tests.conftest import vedit
from tests.engine.folder import write_folder
from tests.engine.video_folder import write_animatediff, write_wan
from tests.hub import StubHub
from tests.models.tiny_editors import write_ltx2
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


LAYERS = {  # one of each network that LoRAs are made for, by the names that are published
    "wan": ("diffusion_model.blocks.0.self_attn.q", (24, 24)),
    "ltx2": ("diffusion_model.transformer_blocks.1.attn1.to_q", (24, 24)),
    "animatediff": ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", (8, 8)),
}


def written_lora(path: Path, kind: str, **more: torch.Tensor) -> Path:
    """A LoRA of rank 2 on one layer, strong enough to be seen."""
    layer, (rows, columns) = LAYERS[kind]
    generator = torch.Generator().manual_seed(3)
    made = {
        f"{layer}.lora_A.weight": torch.randn(2, columns, generator=generator),
        f"{layer}.lora_B.weight": torch.randn(rows, 2, generator=generator),
    }
    save_file({**made, **more}, path)
    return path


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory, wan: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("generators")
    ltx2 = write_ltx2(root / "ltx2")
    index = json.loads((ltx2 / "model_index.json").read_text())
    (ltx2 / "model_index.json").write_text(json.dumps({**index, "_class_name": "LTX2Pipeline"}))
    return {"wan": wan, "ltx2": ltx2, "animatediff": write_animatediff(root / "animatediff")}


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_a_lora_makes_of_a_generator_what_diffusers_makes_of_it(
    generators: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    lora, name = written_lora(tmp_path / "style.safetensors", kind), str(generators[kind])
    order = Order(
        "a red cat", 5, 9 if kind == "ltx2" else 5, (64, 64) if kind == "ltx2" else (32, 32), 2, 2.0
    )
    plain, ours, theirs = (
        load_pipeline(name, device="cpu", lora=which) for which in ((), (f"{lora}:0.5",), ())
    )
    theirs.pipe.load_lora_weights(tmp_path, weight_name=lora.name, adapter_name="one")
    theirs.pipe.set_adapters(["one"], [0.5])
    made, right = ours.make(order).astype(int), theirs.make(order)
    assert np.abs(made - right).max() <= 1 < np.abs(made - plain.make(order)).max()


def test_a_generated_clip_of_a_folder_keeps_its_lora_and_unknown_keys_are_counted(
    wan: Path, tmp_path: Path
) -> None:
    lora, output = written_lora(tmp_path / "style.safetensors", "wan"), tmp_path / "cat.webp"
    line = ("generate", "a cat", "--model", wan, *SMALL)
    made = vedit(*line, "-o", output, "--lora", f"{lora}:2")
    assert made.code == 0, made.err
    record = json.loads((tmp_path / "cat.webp.vedit.json").read_text())
    assert "style.safetensors" in json.dumps(record) and '"scale": 2.0' in json.dumps(record)
    plain = vedit(*line, "-o", tmp_path / "plain.webp")
    assert plain.code == 0 and not np.array_equal(shown(output), shown(tmp_path / "plain.webp"))
    again = vedit("replay", output, "-o", tmp_path / "again.webp")
    assert again.code == 0 and np.array_equal(shown(output), shown(tmp_path / "again.webp")), again.err
    odd = {f"unet.nowhere.{number}.lora_A.weight": torch.zeros(2, 24) for number in range(3)}
    refused = vedit(
        *line, "-o", tmp_path / "o.webp", "--lora", written_lora(tmp_path / "odd.safetensors", "wan", **odd)
    )
    assert refused.code == 5 and "has 3 keys, of 5, that are not of a layer of" in refused.err, refused.err
    assert not (tmp_path / "o.webp").exists()
