"""ControlNets and image prompts in whole commands: recorded, part of what an inversion is, repeated, refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import numpy as np
import torch
from PIL import Image

from tests.conftest import Result, vedit
from tests.engine.beside import controlnet, write_adapter, write_controlnet
from vedit import methods
from vedit.jobs import cache
from vedit.jobs.batch.keys import Contents, Keys
from vedit.jobs.batch.rows import read_rows
from vedit.jobs.clips import Selection, read_pixels
from vedit.jobs.edit.conditions import check_conditions, condition, conditioned, taken
from vedit.jobs.edit.reference import one_picture
from vedit.jobs.edit.request import EditRequest
from vedit.media.canny import edges
from vedit.models.sd.model import Model

ASKED = ("--steps", "2", "--source", "a red cat", "--prompt", "a blue dog", "--size", "32")
SHORT = {  # settings that make a method quick
    "sdedit": ("--steps", "2"), "dds": ("--set", "iterations=2"), "glp": ("--set", "iterations=2"),
    "video-p2p": ("--set", "tune_steps=1", "--set", "inner_steps=1"), "edit-a-video": ("--set", "tune_steps=1"),
    "vid2vid-zero": ("--set", "inner_steps=1"), "combine": ("--set", "start_index=1", "--set", "glp={iterations=2}"),
    "protagonist": ("--mask", "box:25%,25%,50%,50%"), "pnp": ("--negative", ""), "tokenflow": ("--negative", ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def net(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_controlnet(tmp_path_factory.mktemp("nets") / "edges", model.unet)


@pytest.fixture(scope="module")
def adapter(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("adapter"), model.unet)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "fox.png")
    return tmp_path / "fox.png"


def edit(model: Model, clip: str, output: Path, *more: str | Path, method: str = "ddim") -> Result:
    asked = ASKED[2:] if method in ("dds", "glp") else ASKED  # they take iterations
    return vedit("edit", clip, "-o", output, "--model", str(model.folder), "--method", method, *asked, "-q", *map(str, more))  # fmt: skip


def record_of(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"{output}.vedit.json").read_text())
    return found


def write_clip(path: Path, frames: int, seed: int = 3) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8)
    pictures = [Image.fromarray(frame) for frame in pixels]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50)
    return path


def test_an_edit_by_a_controlnet_is_recorded_and_repeated(model: Model, clip: str, net: Path, tmp_path: Path) -> None:  # fmt: skip
    outputs = {name: tmp_path / f"{name}.gif" for name in ("bare", "none", "edges", "again")}
    assert edit(model, clip, outputs["bare"]).code == 0
    assert edit(model, clip, outputs["none"], "--control", f"{net}=0:canny").code == 0
    assert edit(model, clip, outputs["edges"], "--control", f"{net}=1.5:canny").code == 0
    (told,) = record_of(outputs["edges"])["control"]
    assert (
        told["weight"] == 1.5
        and told["tool"] == "canny"
        and told["clip"] is None
        and told["net"].endswith("edges")
    )
    shown = [pixels(path) for path in outputs.values() if path.exists()]
    assert np.array_equal(shown[0], shown[1]) and not np.array_equal(shown[0], shown[2])
    again = vedit("replay", outputs["edges"], "-o", outputs["again"])
    assert again.code == 0, again.err
    assert outputs["again"].read_bytes() == outputs["edges"].read_bytes()


def pixels(path: Path) -> Any:
    return read_pixels(str(path), Selection(size=32)).frames_FYX3


def test_an_inversion_belongs_to_its_controlnets(model: Model, clip: str, net: Path, tmp_path: Path) -> None:
    for weight in ("1", "1", "0.5", "0"):
        assert edit(model, clip, tmp_path / "out.gif", "-y", "--control", f"{net}={weight}:canny").code == 0
    assert edit(model, clip, tmp_path / "out.gif", "-y").code == 0
    assert len(cache.entries()) == 3  # one each for 1 and 0.5, one for none and 0
    file = tmp_path / "clip.inv.safetensors"
    invert = ("invert", clip, "-o", file, "--model", str(model.folder), "--prompt", "a red cat", "--steps", "2", "--size", "32", "-q")  # fmt: skip
    done = vedit(*invert, "--control", f"{net}:canny")
    assert done.code == 0, done.err
    fits = edit(model, clip, tmp_path / "out.gif", "-y", "--inversion", file, "--control", f"{net}:canny")
    assert fits.code == 0, fits.err
    other = edit(model, clip, tmp_path / "out.gif", "-y", "--inversion", file)
    assert other.code == 2 and "made with other ControlNets" in other.err


def test_a_clip_sampled_back_under_its_controlnet_is_the_clip(model: Model, clip: str, net: Path, tmp_path: Path) -> None:  # fmt: skip
    """The inversion and the edit go by the same network, frame by frame."""
    more = (
        "--prompt",
        "a red cat",
        "--guidance",
        "1",
        "--set",
        "fixed_point=3",
        "--control",
        f"{net}=0.5:canny",
    )
    done = edit(model, clip, tmp_path / "out.gif", *more, "--frames-per-call", "2", "--no-detail")
    assert done.code == 0, done.err
    plain = edit(model, clip, tmp_path / "plain.gif", *more[:-2], "--no-detail")
    assert plain.code == 0
    assert np.abs(pixels(tmp_path / "out.gif").astype(int) - pixels(tmp_path / "plain.gif")).mean() < 2


def test_a_picture_is_shown_recorded_and_repeated(model: Model, clip: str, adapter: Path, picture: Path, tmp_path: Path) -> None:  # fmt: skip
    outputs = {name: tmp_path / f"{name}.gif" for name in ("bare", "none", "fox", "again")}
    named = ("--image-adapter", str(adapter))
    assert edit(model, clip, outputs["bare"]).code == 0
    assert edit(model, clip, outputs["none"], "--image-prompt", f"{picture}=0", *named).code == 0
    done = edit(model, clip, outputs["fox"], "--image-prompt", f"{picture}=2", *named)
    assert done.code == 0, done.err
    shown = [pixels(path) for path in outputs.values() if path.exists()]
    assert np.array_equal(shown[0], shown[1]) and not np.array_equal(shown[0], shown[2])
    assert len(cache.entries()) == 1  # the clip does not look like the picture, so its inversion is the same
    told = record_of(outputs["fox"])["image_prompt"]
    assert told["weight"] == 2 and told["image"] == "fox.png" and len(told["adapter_sha256"]) == 64
    assert vedit("replay", outputs["fox"], "-o", outputs["again"]).code == 0
    assert outputs["again"].read_bytes() == outputs["fox"].read_bytes()
    Image.new("RGB", (8, 8)).save(picture)
    changed = vedit("replay", outputs["fox"], "-o", outputs["again"], "-y")
    assert changed.code == 3 and "fox.png is not the file of the record" in changed.err


def test_a_replay_refuses_networks_that_were_changed(
    model: Model, clip: str, net: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(net, tmp_path / "net"))
    assert edit(model, clip, tmp_path / "a.gif", "--control", f"{copy}:canny").code == 0
    write_controlnet(copy, model.unet, seed=9)
    done = vedit("replay", tmp_path / "a.gif", "-o", tmp_path / "b.gif")
    assert done.code == 5 and "are not those of the record" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("method", [*methods.fitting(of_clips=False), "protagonist"])
def test_every_method_goes_by_both(model: Model, clip: str, net: Path, adapter: Path, picture: Path, tmp_path: Path, method: str) -> None:  # fmt: skip
    more = SHORT.get(method, ())
    conditions = (
        "--control",
        f"{net}=1:canny",
        "--image-prompt",
        f"{picture}=1.5",
        "--image-adapter",
        str(adapter),
    )
    for name, extra in (("bare", ()), ("control", conditions[:2]), ("both", conditions)):
        done = edit(model, clip, tmp_path / f"{name}.gif", *more, *extra, method=method)
        assert done.code == 0, done.err
    bare, controlled, both = (pixels(tmp_path / f"{name}.gif") for name in ("bare", "control", "both"))
    assert not np.array_equal(bare, controlled) and not np.array_equal(controlled, both)


def test_explain_tells_what_the_network_goes_by(model: Model, clip: str, net: Path, adapter: Path, picture: Path, tmp_path: Path) -> None:  # fmt: skip
    conditions = (
        "--control",
        f"{net}:canny",
        "--image-prompt",
        str(picture),
        "--image-adapter",
        str(adapter),
    )
    told = edit(model, clip, tmp_path / "out.gif", *conditions, "--explain").text
    assert "image prompt: 16 sites" in told and f"ControlNet {net}, weight 1, goes by canny" in told


def test_windows_go_by_the_pictures_of_their_frames(model: Model, clip: str, net: Path) -> None:
    from vedit.jobs.clips import read_pixels

    read = read_pixels(clip, Selection(size=32))
    one = conditioned(model, [f"{net}:canny"], read)
    assert isinstance(one, Model) and one.controls is not None and model.controls is None
    shown = one.controls.parts[0].pictures([2])
    assert torch.equal((shown[0].permute(1, 2, 0) * 255).byte(), torch.from_numpy(edges(read.frames_FYX3[2])))
    assert conditioned(one, [f"{net}:canny"], read) is one and ("control", str(net)) in model.kept


def test_a_condition_clip_is_as_long_as_the_clip_or_what_is_edited_of_it(clip: str, tmp_path: Path) -> None:
    part = read_pixels(clip, Selection(start=1, stride=2, size=32))  # one frame of three
    assert len(part.durations) == 1 and taken("c", 3, part) == [1] and taken("c", 1, part) == [0]
    whole = read_pixels(clip, Selection(size=32))
    assert taken("c", 3, whole) == [0, 1, 2] and taken("c", 1, whole) == [0, 0, 0]
    made = condition(str(write_clip(tmp_path / "c.gif", 3)), whole)
    assert np.array_equal(made, pixels(tmp_path / "c.gif"))


def test_a_condition_of_another_shape_and_a_clip_as_a_picture_are_warned_of(
    clip: str, tmp_path: Path
) -> None:
    read, said = read_pixels(clip, Selection(size=32)), list[str]()
    Image.new("RGB", (48, 32)).save(tmp_path / "wide.png")
    condition(str(tmp_path / "wide.png"), read, said.append)
    assert len(said) == 1 and "wide.png is 48x32 and the clip 32x32" in said[0]
    written = np.asarray(one_picture(str(write_clip(tmp_path / "three.gif", 3)), "reference", said.append))
    assert np.array_equal(written, pixels(tmp_path / "three.gif")[0])
    assert "three.gif is a clip: its first frame is the reference" in said[1]
    one_picture(str(tmp_path / "wide.png"), "reference", said.append)
    assert len(said) == 2


def test_wrong_conditions_are_refused_before_the_model_is_loaded(model: Model, clip: str, net: Path, adapter: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    def no_model(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the model is loaded")

    monkeypatch.setattr("vedit.models.load.load_model", no_model)
    from tests.engine.sdxl import unet

    other = write_controlnet(tmp_path / "xl", unet())
    wrong: list[tuple[tuple[str, ...], int, str]] = [
        (("--control", f"{other}:canny"), 5, "made for text of width 40, and"),
        (("--control", f"{net}:nothing.gif"), 3, "there is no clip 'nothing.gif'"),
        (("--control", f"{net}:{write_clip(tmp_path / 'two.gif', 2)}"), 3, "Try --frames 2"),
        (("--control", f"{net}:{write_clip(tmp_path / 'five.gif', 5)}"), 3, "five.gif OUT --frames 3 --size"),
        (("--control", f"{net}:canny=0.5"), 3, f"Try --control {net}=0.5:canny"),
        (("--control", "kanny"), 2, "there is no ControlNet 'kanny'"),
        (("--control", "depth=1"), 2, "names no clip to go by"),
        (("--control", f"{net}=x:canny"), 2, "'x' is not a weight"),
        (("--control", f"{net}=2x:canny"), 2, f"Try --control {net}=1:canny"),
        (("--control", f"{tmp_path}:canny"), 5, "is not a ControlNet"),
        (("--control", f"{picture}:canny"), 5, "is a file, and a ControlNet is a folder"),
        (("--image-prompt", "nothing.png"), 3, "there is no such file"),
        (("--image-prompt", f"{picture}=x"), 2, "'x' is not a weight"),
        (("--image-prompt", f"{picture}=2x"), 2, f"Try --image-prompt {picture}=1"),
        (("--image-prompt", str(picture), "--image-adapter", "nothing"), 5, "there is no IP-Adapter 'nothing'"),
        (("--image-adapter", str(adapter)), 2, "reads the picture of --image-prompt"),
    ]  # fmt: skip
    for more, code, said in wrong:
        done = edit(model, clip, tmp_path / "out.gif", *more)
        assert (done.code, said in done.err) == (code, True), (more, done.code, done.err)
    assert not (tmp_path / "out.gif").exists()


def test_networks_that_do_not_fit_are_refused(model: Model, clip: str, picture: Path, tmp_path: Path) -> None:
    done = edit(model, clip, tmp_path / "out.gif", "--control", "canny")
    assert done.code == 5 and "no published ControlNet of canny" in done.err
    done = edit(model, clip, tmp_path / "out.gif", "--image-prompt", picture)
    assert done.code == 5 and "no published IP-Adapter" in done.err
    done = vedit("edit", clip, "-o", tmp_path / "o.gif", "--model", "shapes-video", "--method", "flowedit", *ASKED[2:6], "--control", "canny")  # fmt: skip
    assert done.code == 5 and "are for models of Stable Diffusion's layouts" in done.err
    done = vedit("edit", clip, "-o", tmp_path / "o.gif", "--method", "instruct", "--instruction", "make it blue", "--control", "canny")  # fmt: skip
    assert done.code == 2 and "does not go with --method instruct" in done.err


def test_a_batch_reads_and_writes_conditions_as_columns(clip: str, net: Path, picture: Path, adapter: Path, tmp_path: Path) -> None:  # fmt: skip
    write_clip(tmp_path / "edges.gif", 3)
    shutil.copytree(net, tmp_path / "net")
    shutil.copytree(adapter.parent, tmp_path / "adapter")
    columns = {
        "input": Path(clip).name, "prompt": "a blue dog", "source_prompt": "a red cat", "control": "net=0.5:edges.gif;canny=0.3",
        "image_prompt": "fox.png=0.7", "image_adapter": "adapter/ip-adapter_plain.safetensors",
    }  # fmt: skip
    with (tmp_path / "jobs.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(columns))
        writer.writeheader()
        writer.writerow(columns)
    (row,) = read_rows([str(tmp_path / "jobs.csv")])
    assert row.request.control == (f"{tmp_path}/net=0.5:{tmp_path}/edges.gif", "canny=0.3")
    assert row.request.image_prompt == f"{tmp_path}/fox.png=0.7"
    assert row.request.image_adapter == f"{tmp_path}/adapter/ip-adapter_plain.safetensors"
    from vedit.jobs.batch.plan import plan
    from vedit.jobs.batch.report import _row_keys

    made = plan([row], str(tmp_path / "out"), may_fetch=False)
    kept = _row_keys(made.items[0], str(tmp_path / "out"))
    assert kept["control"] == "../net=0.5:../edges.gif;canny=0.3" and kept["image_prompt"] == "../fox.png=0.7"


def test_conditions_are_part_of_what_an_item_is_by_their_contents(clip: str, tmp_path: Path) -> None:
    keys = Keys(Contents(None), may_fetch=False)
    bare = EditRequest(input=clip, prompt="a blue circle", source_prompt="a red circle")

    def key(**more: Any) -> str:
        return keys.of(EditRequest(**{**bare.json(), **more}), ".gif")

    a, b, other = (
        write_clip(tmp_path / f"{name}.gif", 3, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert key(control=(f"canny:{a}",)) == key(control=(f"canny:{b}",)) != key(control=(f"canny:{other}",))
    assert len({key(), key(control=("canny",)), key(control=("canny=0.5",)), key(image_prompt=str(a))}) == 4
    assert key(image_prompt=f"{a}=0.5") == key(image_prompt=f"{b}=0.5") != key(image_prompt=f"{a}=0.6")


def test_a_recipe_inside_a_file_names_no_folder(model: Model, clip: str, net: Path, adapter: Path, picture: Path, tmp_path: Path) -> None:  # fmt: skip
    condition_clip = write_clip(tmp_path / "edges.gif", 3)
    done = edit(
        model, clip, tmp_path / "a.gif", "--control", f"{net}:{condition_clip}", "--image-prompt", picture, "--image-adapter", adapter,
    )  # fmt: skip
    assert done.code == 0, done.err
    with Image.open(tmp_path / "a.gif") as made:
        comment = made.info["comment"].decode()
    assert str(tmp_path) not in comment and "edges.gif" in comment and "fox.png" in comment
    told = record_of(tmp_path / "a.gif")
    assert told["control"][0]["clip"] == "edges.gif" and set(told["files"]) == {"edges.gif", "fox.png"}


def test_conditions_need_nothing_where_there_are_none() -> None:
    check_conditions("nothing/at-all", None, ())


@pytest.mark.slow
def test_real_clips_go_by_a_seeded_controlnet_of_the_official_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """ControlNet 1.0's own sizes beside Stable Diffusion 1.5's, on two real clips, by their edges and by a clip of depth."""
    from tests.conftest import shared
    from tests.engine.sd15 import write_sd15
    from vedit.models.load import load_model

    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))
    source = "a grey wolf turning its head in a forest"
    folder = write_sd15(tmp_path / "sd15", sorted({*source.split(), "fox"}))
    sd15 = load_model(str(folder), device="cpu")
    assert isinstance(sd15, Model)
    net = controlnet(sd15.unet, scale=8)
    assert sum(weight.numel() for weight in net.parameters()) > 3.5e8
    net.half().save_pretrained(tmp_path / "net")
    write_adapter(tmp_path / "adapter", sd15.unet)
    del sd15, net
    depth, made = write_clip(tmp_path / "depth.gif", 2), []
    for name in ("wolf.mp4", "man-skiing.mp4"):
        write = ("-o", tmp_path / name, "--model", folder, "--method", "pnp", "--source", source, "--prompt", source.replace("wolf", "fox"))  # fmt: skip
        done = vedit(
            "edit", shared(f"data/clips/{name}"), *write, "--frames", "2", "--stride", "3", "--size", "128", "--crop", "square", "--output-size", "worked",
            "--steps", "2", "--set", "inversion_steps=2", "--control", f"{tmp_path / 'net'}=0.8:canny", "--control", f"{tmp_path / 'net'}=0.4:{depth}",
            "--image-prompt", depth, "--image-adapter", tmp_path / "adapter", "-q",
        )  # fmt: skip
        assert done.code == 0, done.err
        record = record_of(tmp_path / name)
        assert [told["weight"] for told in record["control"]] == [0.8, 0.4] and len(record["image_prompt"]["encoder_sha256"]) == 64  # fmt: skip
        made.append(read_pixels(str(tmp_path / name), Selection(size=128)).frames_FYX3)
        assert len(made[-1]) == 2 and made[-1].std() > 5
    assert not np.array_equal(*made)
