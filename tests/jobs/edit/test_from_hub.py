"""ControlNets, image prompts and motion adapters by their names on the Hub, at a stub of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("torch")
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.conftest import Result, vedit
from tests.engine import tiny
from tests.engine.beside import write_adapter, write_controlnet
from tests.engine.motion import write_adapter as write_motion
from tests.hub import StubHub
from vedit.jobs.clips import Selection, read_pixels
from vedit.models import controls, images
from vedit.models.sd.model import Model

NAME = "somebody/beside"
FILE = "models/ip-adapter_sd15.safetensors"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "fox.png")
    return tmp_path / "fox.png"


def write_image_adapter(folder: Path, unet: Any) -> Path:
    """Its files as h94/IP-Adapter has them, whose encoder lies beside the weights."""
    made = write_adapter(folder / "models", unet)
    made.rename(folder / FILE)
    return folder


class Kind(NamedTuple):
    """A thing of the Hub. write: its repository. options: that ask for it by a name. told: what a record
    says that it was.
    """

    write: Callable[[Path, Any], Path]
    options: Callable[[str, str, Path], tuple[str, ...]]
    told: Callable[[dict[str, Any]], str]


def by_control(name: str, revision: str, picture: Path) -> tuple[str, ...]:
    return ("--control", f"{name}{revision}=0.7:canny")


def by_picture(name: str, revision: str, picture: Path) -> tuple[str, ...]:
    return ("--image-prompt", str(picture), "--image-adapter", f"{name}/{FILE}{revision}")


KINDS = {
    "control": Kind(write_controlnet, by_control, lambda record: str(record["control"][0]["revision"])),
    "picture": Kind(
        write_image_adapter,
        by_picture,
        lambda record: str(record["image_prompt"]["adapter"]).partition("@")[2],
    ),
    "motion": Kind(
        lambda folder, unet: write_motion(folder),
        lambda name, revision, picture: ("+", f"{name}{revision}"),
        lambda record: str(record["model"]["id"]).partition("@")[2],
    ),
}


def edit(model: Model, clip: str, output: Path, *more: str) -> Result:
    name = str(model.folder)
    if more[:1] == ("+",):  # a motion adapter is part of the model's name
        name, more = f"{name}+{more[1]}", more[2:]
    return vedit(
        "edit", clip, "-o", output, "--model", name, "--method", "ddim", "--steps", "2", "--source", "a red cat",
        "--prompt", "a blue dog", "--size", "32", "-q", "-y", *more,
    )  # fmt: skip


def record_of(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"{output}.vedit.json").read_text())
    return found


def change(folder: Path) -> None:
    """What its author does for a new revision."""
    (file,) = [path for path in folder.rglob("*.safetensors") if path.parent.name != "image_encoder"]
    save_file({name: tensor * 1.5 for name, tensor in load_file(file).items()}, file)


def offline(patch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    patch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_it_is_fetched_once_and_does_what_its_folder_does(
    model: Model, clip: str, picture: Path, hub: StubHub, tmp_path: Path, kind: str
) -> None:
    write, options, told = KINDS[kind]
    folder = write(tmp_path / "beside", model.unet)
    (folder / "unused.bin").write_bytes(b"a pickle of the same")
    hub.add(NAME, folder)
    for name, output in ((str(folder), "a.gif"), (NAME, "b.gif"), (NAME, "c.gif")):
        done = edit(model, clip, tmp_path / output, *options(name, "", picture))
        assert done.code == 0, done.err
    made = [read_pixels(str(tmp_path / f"{name}.gif"), Selection(size=32)).frames_FYX3 for name in "abc"]
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[1], made[2])
    assert told(record_of(tmp_path / "b.gif")) == hub.repositories[NAME].commit
    assert not hub.downloads(".bin")
    names = [request.path for request in hub.downloads(".safetensors")]
    assert len(names) == len(set(names)) == (2 if kind == "picture" else 1)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_without_network_an_edit_is_repeated_in_the_revision_that_made_it(
    model: Model, clip: str, picture: Path, hub: StubHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:  # fmt: skip
    write, options, told = KINDS[kind]
    folder = write(tmp_path / "beside", model.unet)
    first = hub.add(NAME, folder).commit
    assert edit(model, clip, tmp_path / "a.gif", *options(NAME, "", picture)).code == 0
    change(folder)
    newer = edit(model, clip, tmp_path / "b.gif", *options(NAME, "", picture))
    assert newer.code == 0, newer.err
    revisions = [told(record_of(tmp_path / name)) for name in ("a.gif", "b.gif")]
    assert revisions == [first, hub.repositories[NAME].commit] and revisions[0] != revisions[1]
    offline(monkeypatch)
    again = vedit("replay", tmp_path / "a.gif", "-o", tmp_path / "again.gif")
    assert again.code == 0, again.err
    assert (tmp_path / "again.gif").read_bytes() == (tmp_path / "a.gif").read_bytes()
    pinned = edit(model, clip, tmp_path / "pinned.gif", *options(NAME, f"@{first}", picture))
    assert pinned.code == 0 and told(record_of(tmp_path / "pinned.gif")) == first, pinned.err


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_without_network_an_older_revision_stands_in_where_the_newest_was_begun(
    model: Model, clip: str, picture: Path, hub: StubHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:  # fmt: skip
    from huggingface_hub import snapshot_download

    write, options, told = KINDS[kind]
    folder = write(tmp_path / "beside", model.unet)
    first = hub.add(NAME, folder).commit
    assert edit(model, clip, tmp_path / "a.gif", *options(NAME, "", picture)).code == 0
    change(folder)
    begun = snapshot_download(NAME, allow_patterns=["*config.json"])
    assert Path(begun).name == hub.repositories[NAME].commit != first
    offline(monkeypatch)
    done = edit(model, clip, tmp_path / "b.gif", *options(NAME, "", picture))
    assert done.code == 0, done.err
    assert told(record_of(tmp_path / "b.gif")) == first


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_cannot_be_fetched_says_what_to_type(
    model: Model, clip: str, picture: Path, hub: StubHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:  # fmt: skip
    write, options, _ = KINDS[kind]
    missing = edit(model, clip, tmp_path / "a.gif", *options("somebody/nothing", "", picture))
    assert missing.code == 5 and "somebody/nothing does not exist on the Hub" in missing.err
    hub.add(NAME, write(tmp_path / "beside", model.unet))
    other = edit(model, clip, tmp_path / "a.gif", *options(NAME, "@v9", picture))
    assert other.code == 5 and f"{NAME} has no revision 'v9'" in other.err and "Leave out @v9" in other.err
    tagged = edit(model, clip, tmp_path / "a.gif", *options(NAME, "@v1", picture))
    assert tagged.code == 0, tagged.err
    shutil.rmtree(tmp_path / "hub")
    offline(monkeypatch)
    refused = edit(model, clip, tmp_path / "b.gif", *options(NAME, "@v1", picture))
    assert refused.code == 5 and f"hf download {NAME} --revision v1" in refused.err, refused.err


def test_a_controlnet_of_another_family_is_refused_before_its_weights_are_fetched(
    model: Model, clip: str, hub: StubHub, tmp_path: Path
) -> None:
    from tests.engine.sdxl import unet

    hub.add(NAME, write_controlnet(tmp_path / "xl", unet()))
    refused = edit(model, clip, tmp_path / "a.gif", "--control", f"{NAME}:canny")
    assert refused.code == 5 and f"{NAME} was made for text of width 40, and" in refused.err, refused.err
    assert not hub.downloads(".safetensors")


def test_a_kind_alone_is_the_published_controlnet_and_a_picture_alone_the_published_adapter(
    model: Model, clip: str, picture: Path, hub: StubHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, adapter = "lllyasviel/sd-controlnet-canny", "h94/IP-Adapter"
    assert controls.PUBLISHED["canny"][768] == net and images.PUBLISHED[768] == f"{adapter}/{FILE}"
    monkeypatch.setattr(controls, "PUBLISHED", {"canny": {tiny.WIDTH: net}})
    monkeypatch.setattr(images, "PUBLISHED", {tiny.WIDTH: f"{adapter}/{FILE}"})
    hub.add(net, write_controlnet(tmp_path / "net", model.unet))
    hub.add(adapter, write_image_adapter(tmp_path / "adapter", model.unet))
    done = edit(model, clip, tmp_path / "a.gif", "--control", "canny=0.5", "--image-prompt", str(picture))
    assert done.code == 0, done.err
    record = record_of(tmp_path / "a.gif")
    assert (record["control"][0]["net"], record["control"][0]["tool"]) == (net, "canny")
    assert record["image_prompt"]["adapter"] == f"{adapter}/{FILE}@{hub.repositories[adapter].commit}"
