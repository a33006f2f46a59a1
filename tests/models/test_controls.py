"""How ControlNets and image prompts are asked for, without loading any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vedit.errors import InputError, ModelError, UsageError
from vedit.models import controls, images
from vedit.models.controls import Control


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("canny", Control("canny", "canny", 1.0)),
        ("canny=0.8", Control("canny", "canny", 0.8)),
        ("canny:edges.mp4", Control("canny", "edges.mp4", 1.0)),
        ("depth=.5:depth.mp4", Control("depth", "depth.mp4", 0.5)),
        ("pose=0:a:b=c.gif", Control("pose", "a:b=c.gif", 0.0)),
        ("somebody/net=2:canny", Control("somebody/net", "canny", 2.0)),
        ("somebody/net@v1.1=2:x.gif", Control("somebody/net", "x.gif", 2.0, "v1.1")),
    ],
)
def test_a_controlnet_is_asked_for_with_a_weight_and_a_clip(text: str, asked: Control) -> None:
    assert controls.parse(text) == asked == controls.parse(str(asked))


def test_a_folder_may_hold_signs_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b:c").mkdir()
    assert controls.parse("a=b:c=0.3:x.gif") == Control("a=b:c", "x.gif", 0.3)
    assert controls.with_names("a=b:c=0.3:x.gif", lambda name: f"/{name}") == "/a=b:c=0.3:/x.gif"
    assert controls.with_names("canny=0.3", lambda name: f"/{name}") == "canny=0.3"
    assert controls.with_names("a=b:c:canny", lambda name: f"/{name}") == "/a=b:c:canny"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kanny=1", "there is no ControlNet 'kanny'; did you mean canny"),
        ("", "--control '' names no ControlNet"),
        ("=0.5:canny", "names no ControlNet"),
        ("depth=x", "'x' is not a weight"),
        ("depth=1", "names no clip to go by"),
        ("somebody/net", "names no clip to go by"),
        ("canny=much", "'much' is not a weight"),
        ("canny=", "'' is not a weight"),
        ("canny=-1", "'-1' is not a weight"),
        ("canny=nan", "'nan' is not a weight"),
        ("canny=11", "'11' is not a weight"),
        ("somebody/net/file.bin=1:canny", "there is no ControlNet 'somebody/net/file.bin'"),
    ],
)
def test_what_is_not_a_controlnet_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("?", r"\?")) as told:
        controls.parse(text)
    assert "canny" in str(told.value) or "number" in str(told.value)


@pytest.mark.parametrize(
    ("text", "next_step"),
    [
        ("canny:0.5", "Try --control canny=0.5"),
        ("depth:canny=0.5", "Try --control depth=0.5:canny"),
        ("depth:nothing.mp4", "Check the name"),
        ("depth:0.5", "Check the name"),  # what it goes by is not known
    ],
)
def test_a_weight_in_the_place_of_the_clip_is_told_where_it_belongs(text: str, next_step: str) -> None:
    with pytest.raises(InputError, match="there is no clip") as told:
        controls.check_clip(text, controls.parse(text))
    assert told.value.next_step == next_step


@pytest.mark.parametrize(("width", "is_published"), [(16, False), (768, True)])
def test_a_published_one_is_named_only_to_a_model_that_has_one(width: int, is_published: bool) -> None:
    with pytest.raises(ModelError, match="was made for") as told:
        controls.check_made_for("net", {"cross_attention_dim": 1024}, {"cross_attention_dim": width}, "m")
    assert ("--control canny" in told.value.next_step) == is_published


def test_published_ones_go_by_the_width_of_text_that_a_network_reads() -> None:
    with pytest.raises(
        ModelError, match="no published ControlNet of canny for tiny, which reads text of width 16"
    ):
        controls.find(Control("canny", "canny"), 16, "tiny")
    for widths in controls.PUBLISHED.values():
        assert set(widths) == set(controls.FAMILIES)


def test_the_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"it has no config\.json"):
        controls.find(Control(str(tmp_path), "canny"), 768, "m")
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "SD3ControlNetModel"}))
    with pytest.raises(ModelError, match="says 'SD3ControlNetModel'"):
        controls.find(Control(str(tmp_path), "canny"), 768, "m")
    (tmp_path / "config.json").write_text(
        json.dumps({"_class_name": "ControlNetModel", "auto_map": {"A": "b.C"}})
    )
    with pytest.raises(ModelError, match="auto_map"):
        controls.find(Control(str(tmp_path), "canny"), 768, "m")
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "ControlNetModel"}))
    with pytest.raises(ModelError, match="lacks its weights"):
        controls.find(Control(str(tmp_path), "canny"), 768, "m")
    with pytest.raises(ModelError, match="is a file, and a ControlNet is a folder"):
        controls.find(Control(str(tmp_path / "config.json"), "canny"), 768, "m")


def test_a_controlnet_of_another_family_is_refused_by_its_configuration() -> None:
    ours = {
        "cross_attention_dim": 768,
        "block_out_channels": [320, 640],
        "layers_per_block": 2,
        "in_channels": 4,
    }
    controls.check_made_for("net", {**ours, "block_out_channels": (320, 640)}, ours, "model")
    controls.check_made_for(
        "net", {"cross_attention_dim": 768}, {**ours, "addition_embed_type": None}, "model"
    )
    with pytest.raises(ModelError, match=r"made for Stable Diffusion 2 \(text of width 1024\), and model has Stable Diffusion 1"):  # fmt: skip
        controls.check_made_for("net", {**ours, "cross_attention_dim": 1024}, ours, "model")
    with pytest.raises(ModelError, match="made for layers_per_block 1, and model has layers_per_block 2"):
        controls.check_made_for("net", {**ours, "layers_per_block": 1}, ours, "model")


def test_what_decides_a_result_is_content_alone() -> None:
    told = {
        "net": "a",
        "weight": 0.5,
        "revision": None,
        "clip": "b",
        "tool": None,
        "sha256": "1",
        "clip_sha256": "2",
    }
    other = {**told, "net": "/elsewhere/a", "clip": "c"}
    assert (
        controls.by_content([told])
        == controls.by_content([other])
        != controls.by_content([{**told, "weight": 1.0}])
    )
    assert controls.by_content([{**told, "weight": 0.0}]) == []
    assert controls.recorded(told) == "a=0.5:b"
    assert controls.recorded({**told, "clip": None, "tool": "canny", "revision": "0f"}) == "a@0f=0.5:canny"


def test_an_image_prompt_is_a_file_with_a_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("fox.png", "a=1"):
        (tmp_path / name).touch()
    assert images.parse("fox.png=0.7") == images.ImagePrompt("fox.png", 0.7)
    assert images.parse("fox.png").weight == 1 and images.parse("a=1") == images.ImagePrompt("a=1")
    assert images.parse("a=1=0.2") == images.ImagePrompt("a=1", 0.2)
    assert images.with_name("fox.png=0.7", lambda name: f"/{name}") == "/fox.png=0.7"
    with pytest.raises(InputError, match=r"dog\.png: there is no such file"):
        images.parse("dog.png=0.7")
    with pytest.raises(InputError, match="is a folder, not a picture"):
        images.parse(str(tmp_path))
    for wrong in ("fox.png=", "fox.png=x", "fox.png=-1", "fox.png=inf"):
        with pytest.raises(UsageError, match="is not a weight"):
            images.parse(wrong)


def test_an_adapter_is_a_file_or_one_of_the_hub(tmp_path: Path) -> None:
    images.check_adapter(None)
    images.check_adapter("h94/IP-Adapter/models/ip-adapter_sd15.safetensors")
    for wrong in ("h94/IP-Adapter", "./nothing.safetensors", "nothing"):
        with pytest.raises(ModelError, match="there is no IP-Adapter"):
            images.check_adapter(wrong)
    with pytest.raises(ModelError, match="no published IP-Adapter for tiny, which reads text of width 16"):
        images.find(None, 16, "tiny")
    (tmp_path / "a.txt").touch()
    with pytest.raises(ModelError, match="is not a file of weights"):
        images.find(str(tmp_path / "a.txt"), 768, "m")
