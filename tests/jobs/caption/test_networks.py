"""Protects the captioners that run a network: true classes with small random weights, and the way to them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from PIL import Image

from tests.conftest import vedit
from tests.hub import stub_as_hub
from tests.jobs.caption import tiny
from vedit import api
from vedit.errors import ModelError, UsageError
from vedit.jobs.caption.captioners import Look, Opening, medoid, module_of, question
from vedit.jobs.caption.captioners.blip import open_captioner as open_blip

SAVED = {"florence2": tiny.save_florence2, "blip": tiny.save_blip, "smolvlm2": tiny.save_smolvlm2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("captioners")
    return {name: save(place / name) for name, save in SAVED.items()}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of noise, twice as wide as high, ten a second."""
    path = tmp_path_factory.mktemp("clip") / "clip.gif"
    draw = np.random.default_rng(3)
    frames = [Image.fromarray(draw.integers(0, 256, (24, 48, 3), np.uint8)) for _ in range(12)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0)
    return path


def with_smolvlm2(name: str) -> None:
    if name == "smolvlm2":
        pytest.importorskip("num2words")


@pytest.mark.parametrize("name", SAVED)
def test_a_captioner_says_the_same_twice_and_another_thing_with_other_weights(
    name: str, folders: dict[str, Path], clip: Path, tmp_path: Path
) -> None:
    with_smolvlm2(name)
    told, again = api.caption(str(clip), str(clip), model=f"{name}:{folders[name]}", frames=2)
    assert told == again and told["caption"].isprintable() and told["caption"]
    other = SAVED[name](tmp_path / name, seed=7)
    changed = api.caption(str(clip), model=f"{name}:{other}", frames=2)[0]
    assert changed["caption"] != told["caption"]
    assert changed["model"]["sha256"] != told["model"]["sha256"]


@pytest.mark.parametrize("name", ["florence2", "blip"])
def test_frames_are_spread_over_the_clip_and_its_caption_is_that_of_one(
    name: str, folders: dict[str, Path], clip: Path
) -> None:
    told = api.caption(str(clip), model=f"{name}:{folders[name]}", frames=3)[0]
    assert [frame["at"] for frame in told["frames"]] == [0.0, 0.4, 0.8]
    assert told["caption"] == medoid([frame["caption"] for frame in told["frames"]])


def test_smolvlm2_is_told_how_long_the_clip_is(folders: dict[str, Path], clip: Path) -> None:
    with_smolvlm2("smolvlm2")
    captioner = module_of("smolvlm2").open_captioner(Opening(str(folders["smolvlm2"]), device="cpu"))
    frames = np.zeros((6, 32, 32, 3), np.uint8)
    inputs = captioner.inputs(frames, Look(by="clip", rate=0.5))
    asked = captioner.reader.processor.decode(inputs["input_ids"][0])
    assert "six frames from a 0:00:12" in asked and "Frame from 00:10:" in asked, "not the 24 that it assumes"
    assert tuple(inputs["pixel_values"].shape[:2]) == (1, 6)
    by_frame = api.caption(str(clip), model=f"smolvlm2:{folders['smolvlm2']}", frames=2, by="medoid")[0]
    assert len([frame["caption"] for frame in by_frame["frames"]]) == 2


def test_a_missing_num2words_is_named_with_the_line_to_type(
    folders: dict[str, Path], clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.smolvlm import processing_smolvlm

    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    done = vedit("caption", clip, "--model", f"smolvlm2:{folders['smolvlm2']}")
    assert done.code == 5 and "needs num2words" in done.err and 'pip install "vedit[language]"' in done.err


@pytest.mark.parametrize("name", SAVED)
def test_any_of_them_is_also_a_model_of_the_hub_by_its_own_configuration(
    name: str, folders: dict[str, Path], clip: Path
) -> None:
    with_smolvlm2(name)
    told = api.caption(str(clip), model=f"hub:{folders[name]}", frames=2)[0]
    assert told["model"]["model"] == str(folders[name]) and told["caption"]
    assert ("caption" in told["frames"][0]) is (name != "smolvlm2"), "what is asked in words sees all frames"


def test_a_model_without_a_chat_has_one_kind_of_caption(folders: dict[str, Path], clip: Path) -> None:
    with pytest.raises(UsageError, match="one kind of caption"):
        api.caption(str(clip), model=f"hub:{folders['blip']}", detail="more")


@pytest.mark.parametrize("name", ["blip", "hub"])
def test_a_checkpoint_is_fetched_once_from_the_hub_one_set_of_weights_alone(
    name: str, folders: dict[str, Path], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    source = tmp_path / "published"
    shutil.copytree(folders["blip"], source)
    (source / "pytorch_model.bin").write_bytes(b"the same once more")
    (source / "original").mkdir()
    (source / "original" / "consolidated.safetensors").write_bytes(b"and again")
    with stub_as_hub(monkeypatch, tmp_path / "cache") as hub:
        commit = hub.add("someone/reader", source).commit
        told = [api.caption(str(clip), model=f"{name}:someone/reader", frames=1)[0] for _ in range(2)]
        fetched = [request.path.rsplit("/", 1)[-1] for request in hub.downloads()]
    assert told[0] == told[1] and told[0]["model"]["revision"] == commit
    assert fetched.count("model.safetensors") == 1
    assert not {"pytorch_model.bin", "consolidated.safetensors"} & set(fetched)


def test_what_is_not_in_the_cache_offline_names_the_command(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = vedit("caption", clip, "--model", "florence2")
    assert done.code == 5 and "HF_HUB_OFFLINE is set" in done.err
    assert "vedit caption CLIP --model florence2:florence-community/Florence-2-base" in done.err


def damaged(folder: Path, place: Path, what: str) -> Path:
    import shutil

    shutil.copytree(folder, place)
    config = json.loads((place / "config.json").read_text())
    if what == "code":
        config |= {
            "model_type": "of_its_own",
            "auto_map": {"AutoModelForImageTextToText": "modeling.Own", "AutoConfig": "modeling.Config"},
        }
        config.pop("architectures", None)
        (place / "modeling.py").write_text("raise SystemExit('it ran')\n")
    elif what == "cut":
        weights = place / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:2000])
    elif what == "another":
        (place / "model.safetensors").write_bytes(_one_tensor())
    elif what == "empty":
        (place / "model.safetensors").unlink()
    (place / "config.json").write_text(json.dumps(config))
    return place


def _one_tensor() -> bytes:
    import torch
    from safetensors.torch import save

    return save({"of.another": torch.zeros(2)}, {"format": "pt"})


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("code", "brings code of its own, which is not run"),
        ("cut", "cannot be loaded"),
        ("another", "its weights are not those of a Blip"),
        ("empty", "has no weights"),
    ],
)
def test_a_checkpoint_that_is_not_one_is_refused(
    what: str, why: str, folders: dict[str, Path], clip: Path, tmp_path: Path
) -> None:
    folder = damaged(folders["blip"], tmp_path / "model", what)
    with pytest.raises(ModelError, match=why):
        api.caption(str(clip), model=f"hub:{folder}")
    assert "modeling" not in sys.modules


class Mute:
    """A processor and a network in one, whose answer is a start token and nothing."""

    device, dtype = "cpu", None

    class config:
        is_encoder_decoder = True

    def __call__(self, return_tensors: str) -> Any:
        from transformers import BatchFeature

        return BatchFeature({})

    def generate(self, **inputs: Any) -> list[list[int]]:
        return [[0]]

    def batch_decode(self, ids: Any, skip_special_tokens: bool) -> list[str]:
        return [" \n"]


def test_an_empty_answer_is_an_error_and_not_a_caption() -> None:
    from vedit.models.readers import Reader

    reader = Reader(Mute(), Mute(), {"model": "someone/mute"})
    with pytest.raises(ModelError, match="someone/mute answers without words"):
        reader.answer(reader.of())


@pytest.mark.parametrize(
    ("captions", "chosen"),
    [
        (["a red star", "a red star on grey", "a dog"], "a red star"),
        (["a", "b", "b"], "b"),
        (["a", "b", "c"], "a"),
        (["A Dog runs", "a dog runs"], "A Dog runs"),
        (["alone"], "alone"),
    ],
)
def test_the_medoid_is_most_like_the_others_and_the_earliest_of_equals(
    captions: list[str], chosen: str
) -> None:
    assert medoid(captions) == chosen


def test_a_question_says_how_many_pictures_there_are() -> None:
    assert "this picture shows" in question("short")
    assert "these 4 pictures are from" in question("more", 4)


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--model", "hub"], "names no model"),
        (["--model", "shapes:x"], "has one model"),
        (["--model", "blip:"], "no model is named behind the colon"),
        (["--model", "shapes", "--revision", "main"], "has no revisions"),
        (["--model", "blip", "--by", "clip"], "is not a way of blip"),
        (["--model", "blip", "--base-url", "https://example.org/v1"], "is for a hosted model"),
        (["--model", "florence"], "did you mean florence2"),
        (["-o", "told.txt"], "is not the name of a list"),
    ],
)
def test_options_that_do_not_go_together_are_refused(args: list[str], why: str, clip: Path) -> None:
    done = vedit("caption", clip, *args)
    assert done.code == 2 and why in done.err, done.err


def test_a_network_is_not_loaded_to_be_listed() -> None:
    assert open_blip.__module__ in sys.modules
    from tests.conftest import measured

    listed = measured("caption", "--help")
    assert not {"torch", "transformers"} & listed.modules and listed.code == 0
