"""Released instruction editors: whole commands on tiny random pipelines of the true classes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")
import numpy as np
import torch
from PIL import Image

from tests.conftest import Result, vedit
from tests.hub import StubHub, stub_as_hub
from tests.models.tiny_editors import WRITTEN
from vedit.errors import ModelError, UsageError
from vedit.jobs.clips import Selection, read_pixels
from vedit.jobs.edit.released import put_back
from vedit.models import editors
from vedit.models.editors import Order
from vedit.models.editors.editor import Editor, filled, load_editor

pytestmark = pytest.mark.filterwarnings(  # diffusers' Euler ancestral sampler, under NumPy 2
    "ignore:__array__ implementation:DeprecationWarning"
)
INSTRUCTION = ("--method", "instruct", "--instruction", "make the circle blue", "--steps", "2")
SETTINGS = {"steps": 2, "guidance": 5.0, "negative_prompt": "", "image_guidance": 1.5, "guidance_2": None, "conditioning_scale": 1.0,
            "reference_strength": 1.0, "reference_downscale": None, "stg": 1.0}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("editors")
    return {name: write(root / name) for name, write in WRITTEN.items()}


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three frames of 56x40 pixels of noise, which fit no editor as they are."""
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))
    first, *others = (
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 56, 3), dtype=np.uint8))
        for seed in range(3)
    )
    first.save(tmp_path / "clip.gif", save_all=True, append_images=others, duration=[50, 70, 90], loop=0)
    return tmp_path / "clip.gif"


def edit(clip: Path, output: Path, backend: str, *more: str | Path) -> Result:
    return vedit("edit", clip, "-o", output, "--size", "40", "--backend", backend, *INSTRUCTION, *more)


def frames_of(path: Path) -> Any:
    return read_pixels(str(path), Selection(size=(56, 40))).frames_FYX3


@pytest.mark.parametrize("backend", sorted(WRITTEN))
def test_an_editor_gives_back_the_clips_frames_size_and_time_and_what_is_outside_a_mask(
    folders: dict[str, Path], clip: Path, tmp_path: Path, backend: str
) -> None:
    output = tmp_path / "out.nut"
    done = edit(clip, output, backend, "--model", folders[backend], "--mask", "box:0,0,24,16")
    assert done.code == 0, done.err
    source, made = frames_of(clip), frames_of(output)
    assert made.shape == source.shape
    inside = np.zeros(made.shape[1:3], bool)
    inside[:16, :24] = True
    assert np.array_equal(made[:, ~inside], source[:, ~inside])
    assert np.abs(made[:, inside].astype(int) - source[:, inside]).mean() > 5
    record = json.loads((tmp_path / "out.nut.vedit.json").read_text())
    assert record["model"]["pipeline"] == editors.load(backend).PIPELINE and record["keep_outside"]
    assert record["params"]["backend"] == backend and record["model"]["licence"]
    again = vedit("replay", output, "-o", tmp_path / "again.nut")
    assert again.code == 0, again.err
    assert (tmp_path / "again.nut").read_bytes() == output.read_bytes()


def test_equal_frames_stay_equal_frame_by_frame_and_however_many_go_at_once(folders: dict[str, Path]) -> None:
    editor = load_editor(editors.load("ip2p"), str(folders["ip2p"]), device="cpu", warn=lambda message: None)
    still = np.repeat(np.random.default_rng(0).integers(0, 255, (1, 40, 56, 3), dtype=np.uint8), 3, 0)
    made = editor.edit(still, Order("make the circle blue", SETTINGS, frames_per_call=2))
    assert made.shape == still.shape and made.std() > 5
    for frame in made[1:]:
        assert np.abs(frame.astype(int) - made[0]).max() <= 1
    other = editor.edit(still[:1], Order("make the circle blue", SETTINGS, seed=1))
    assert np.abs(other[0].astype(int) - made[0]).mean() > 1


class Spy:
    """A pipeline that keeps what it is called with, and gives the clip back."""

    def __call__(self, **given: Any) -> Any:
        self.given = given
        given["video"] = given.get("video") or given["reference_conditions"][0].frames
        return SimpleNamespace(frames=[np.stack([np.asarray(frame) for frame in given["video"]]) / 255])

    transformer = SimpleNamespace(transformer_blocks=[None] * 48)


def spied(backend: str, frames: Any, **more: Any) -> tuple[dict[str, Any], Any]:
    module, spy = editors.load(backend), Spy()
    editor = Editor("m", None, module, spy, torch.device("cpu"), torch.float32, {}, [])
    made = editor.edit(frames, Order("say", SETTINGS, **more))
    return spy.given, made


@pytest.mark.parametrize(
    ("backend", "packs", "grain"), [("lucy", 4, 32), ("vace", 4, 16), ("ltx2-ic", 8, 32)]
)
@pytest.mark.parametrize("count", [1, 2, 5, 6, 9, 10])
def test_a_clip_is_filled_up_to_what_the_editor_takes_and_cut_again(
    backend: str, packs: int, grain: int, count: int
) -> None:
    wanted = next(frames for frames in range(count, 99) if (frames - 1) % packs == 0)
    frames = np.random.default_rng(0).integers(0, 255, (count, 40, 72, 3), dtype=np.uint8)
    given, made = spied(backend, frames)
    assert np.array_equal(made, frames)
    assert len(given["video"]) == given["num_frames"] == wanted
    assert (given["height"], given["width"]) == (48 if grain == 16 else 64, 80 if grain == 16 else 96)
    assert given["video"][-1].size == (given["width"], given["height"])
    assert np.array_equal(np.asarray(given["video"][-1])[:40, :72], frames[-1])


def test_white_of_a_mask_is_made_anew_by_vace_and_nothing_of_it_is_kept(folders: dict[str, Path]) -> None:
    editor = load_editor(editors.load("vace"), str(folders["vace"]), device="cpu", warn=lambda message: None)
    frames = np.full((5, 32, 32, 3), 200, np.uint8)
    mask = np.zeros((5, 32, 32), np.uint8)
    mask[:, :16] = 255
    seen: dict[str, Any] = {}
    own = editor.pipe.vae.encode

    def encode(clip: Any, *args: Any, **more: Any) -> Any:
        seen[f"{len(seen)}"] = clip.float().clone()
        return own(clip, *args, **more)

    editor.pipe.vae.encode = encode
    editor.edit(frames, Order("say", SETTINGS, mask_FYX=mask))
    kept, open_ = seen["0"], seen["1"]  # what the network is to keep, and what it is to make
    value = 200 / 127.5 - 1
    assert kept[..., :16, :].abs().max() == 0 and (kept[..., 16:, :] - value).abs().max() < 1e-6
    assert open_[..., 16:, :].abs().max() == 0 and (open_[..., :16, :] - value).abs().max() < 1e-6


def test_without_a_mask_vace_makes_everything_and_a_picture_is_handed_over() -> None:
    picture = Image.new("RGB", (20, 20), "blue")
    given, _ = spied("vace", np.zeros((1, 32, 32, 3), np.uint8), references=(picture,))
    assert np.asarray(given["mask"][0]).min() == 255 and given["reference_images"] == [picture]
    assert spied("vace", np.zeros((1, 32, 32, 3), np.uint8))[0]["reference_images"] is None


def test_ltx2_is_told_the_rate_and_shown_the_clip_as_small_as_its_lora_was_trained_to(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (9, 40, 72, 3), dtype=np.uint8)
    given, _ = spied("ltx2-ic", frames, fps=12.5)
    assert given["frame_rate"] == 12.5 and given["reference_downscale_factor"] == 1
    assert given["spatio_temporal_guidance_blocks"] == [28]
    lora = write_ltx2_lora(tmp_path / "ic.safetensors", {"reference_downscale_factor": "2"})
    editor = load_ltx2(folders, lora)
    assert editor.headers["reference_downscale_factor"] == "2" and editor.lora[0]["sha256"]
    editor.pipe = spy = Spy()
    editor.edit(frames, Order("say", SETTINGS))
    assert (spy.given["height"], spy.given["width"], spy.given["reference_downscale_factor"]) == (64, 128, 2)
    editor.edit(frames, Order("say", {**SETTINGS, "reference_downscale": 1}))
    assert (spy.given["width"], spy.given["reference_downscale_factor"]) == (96, 1)
    odd = load_ltx2(
        folders, write_ltx2_lora(tmp_path / "odd.safetensors", {"reference_downscale_factor": "1.5"})
    )
    with pytest.raises(ModelError, match=r"'1\.5' for reference_downscale_factor"):
        odd.edit(frames, Order("say", SETTINGS))


def load_ltx2(folders: dict[str, Path], *lora: Path) -> Editor:
    backend = editors.load("ltx2-ic")
    return load_editor(
        backend,
        str(folders["ltx2-ic"]),
        device="cpu",
        lora=[str(one) for one in lora],
        warn=lambda message: None,
    )


def write_ltx2_lora(path: Path, header: dict[str, str]) -> Path:
    """Two layers by the names of LTX's own network, as IC-LoRAs are published."""
    from safetensors.torch import save_file

    torch.manual_seed(6)
    tensors = {}
    for layer, (rows, columns) in {
        "transformer_blocks.1.attn1.to_q": (24, 24),
        "patchify_proj": (24, 8),
    }.items():
        tensors[f"diffusion_model.{layer}.lora_A.weight"] = torch.randn(2, columns)
        tensors[f"diffusion_model.{layer}.lora_B.weight"] = torch.randn(rows, 2)
    save_file(tensors, path, header)
    return path


def test_ltx2_makes_what_its_pipeline_makes_and_a_lora_is_merged_as_diffusers_does(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    from diffusers import LTX2InContextPipeline
    from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition

    frames = np.random.default_rng(0).integers(0, 255, (9, 64, 64, 3), dtype=np.uint8)
    lora = write_ltx2_lora(tmp_path / "ic.safetensors", {})
    pipe = LTX2InContextPipeline.from_pretrained(folders["ltx2-ic"])
    pipe.load_lora_weights(lora.parent, weight_name=lora.name)
    pipe.set_progress_bar_config(disable=True)
    given = pipe(
        "make the circle blue", "", [LTX2ReferenceCondition([Image.fromarray(frame) for frame in frames])],
        height=64, width=64, num_frames=9, frame_rate=24.0, num_inference_steps=2, guidance_scale=5.0,
        spatio_temporal_guidance_blocks=[1], generator=torch.Generator().manual_seed(0), output_type="np",
    )  # fmt: skip
    made = load_ltx2(folders, lora).edit(frames, Order("make the circle blue", SETTINGS))
    assert np.abs(made.astype(int) - np.rint(given.frames[0] * 255)).max() <= 1
    assert (
        np.abs(
            made.astype(int) - load_ltx2(folders).edit(frames, Order("make the circle blue", SETTINGS))
        ).max()
        > 5
    )


def test_ltx2_without_a_lora_is_refused_before_anything_is_fetched(
    hub: StubHub, clip: Path, tmp_path: Path
) -> None:
    refused = edit(clip, tmp_path / "o.gif", "ltx2-ic")
    assert refused.code == 2 and not hub.log, refused.err
    assert "heeds a clip by a LoRA alone" in refused.err and "--lora OWNER/NAME" in refused.err
    again = edit(clip, tmp_path / "o.gif", "ltx2-ic", "--lora", "somebody/ic")
    told = " ".join(again.err.split())
    assert again.code == 2 and "LTX-2 Community License, which is not accepted" in told and not hub.log, told


def test_put_back_is_in_proportion_where_a_mask_is_grey() -> None:
    source, made = np.full((1, 1, 3, 3), 10, np.uint8), np.full((1, 1, 3, 3), 210, np.uint8)
    mask = np.array([[[0, 51, 255]]], np.uint8)
    assert put_back(source, made, mask)[0, 0, :, 0].tolist() == [10, 50, 210]


def test_nothing_of_lucy_is_fetched_before_its_licence_is_accepted(
    folders: dict[str, Path], hub: StubHub, clip: Path, tmp_path: Path
) -> None:
    hub.add("somebody/lucy", folders["lucy"])
    refused = edit(clip, tmp_path / "o.gif", "lucy", "--model", "somebody/lucy")
    assert refused.code == 2 and not hub.log
    told = " ".join(refused.err.split())
    assert "Non-Commercial License, which is not accepted" in told and "--accept-licence" in told
    assert "https://huggingface.co/decart-ai/Lucy-Edit-Dev" in told
    done = edit(clip, tmp_path / "o.gif", "lucy", "--model", "somebody/lucy", "--accept-licence")
    assert done.code == 0, done.err
    assert "is fetched, under the LUCY EDIT DEV MODEL Non-Commercial License" in done.err
    later = edit(clip, tmp_path / "p.gif", "lucy", "--model", "somebody/lucy")  # it is here, and was accepted
    assert later.code == 0 and "licen" not in later.err.lower()


def test_a_replay_fetches_lucy_only_where_its_licence_is_accepted_too(
    folders: dict[str, Path], hub: StubHub, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("somebody/lucy", folders["lucy"])
    output = tmp_path / "o.nut"
    done = edit(clip, output, "lucy", "--model", "somebody/lucy", "--accept-licence")
    assert done.code == 0, done.err
    with stub_as_hub(monkeypatch, tmp_path / "elsewhere") as empty:  # another machine, with an empty cache
        empty.add("somebody/lucy", folders["lucy"])
        refused = vedit("replay", output, "-o", tmp_path / "p.nut", "--yes")
        assert refused.code == 2 and "--accept-licence" in refused.err and not empty.log, refused.err
        again = vedit("replay", output, "-o", tmp_path / "p.nut", "--yes", "--accept-licence")
        assert again.code == 0, again.err
    assert (tmp_path / "p.nut").read_bytes() == output.read_bytes()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--backend", "lucie"), ("lucie", "did you mean lucy")),
        (("--set", "conditioning_scale=2"), ("ip2p has no conditioning_scale", "image_guidance")),
        (("--inversion", "clip.gif"), ("--inversion does not go with --method instruct",)),
        (("--window", "2"), ("--window does not go with --method instruct",)),
        (("--ref", "clip.gif"), ("ip2p takes no reference picture", "vace")),
        (("--source", "a red circle"), ("needs no --source-prompt",)),
        (("--keep-outside",), ("there is no mask",)),
    ],
)
def test_what_does_not_go_with_an_editor_is_refused(
    folders: dict[str, Path], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], words: tuple[str, ...]
) -> None:  # fmt: skip
    monkeypatch.chdir(clip.parent)
    refused = edit(clip, tmp_path / "o.gif", "ip2p", "--model", folders["ip2p"], *more)
    assert refused.code == 2, refused.err
    assert all(word in " ".join(refused.err.split()) for word in words), refused.err
    assert not (tmp_path / "o.gif").exists()


def test_a_model_of_another_class_is_refused_by_name(
    folders: dict[str, Path], clip: Path, tmp_path: Path
) -> None:
    refused = edit(clip, tmp_path / "o.gif", "vace", "--model", folders["lucy"])
    assert (
        refused.code == 5 and "is a LucyEditPipeline, and the backend calls a WanVACEPipeline" in refused.err
    )


def test_what_will_be_handed_over_is_explained_without_weights(clip: Path, tmp_path: Path) -> None:
    told = vedit("edit", clip, "--size", "40", "--backend", "lucy", *INSTRUCTION, "--explain").text
    assert "3 frames of 56x40, filled up to 5 of 64x64" in told and "Non-Commercial" in told


def test_every_backend_says_what_it_needs() -> None:
    assert editors.names() == ["ip2p", "ltx2-ic", "lucy", "vace"]
    import diffusers

    for name in editors.names():
        backend = editors.load(name)
        assert hasattr(diffusers, backend.PIPELINE) and backend.SUMMARY.endswith(".")
        assert backend.LICENCE.address.startswith("https://") and backend.MODEL.count("/") == 1
    with pytest.raises(UsageError):
        editors.load("editor")
    assert filled(np.zeros((2, 3, 5), np.uint8), editors.load("vace"), {}).shape == (5, 16, 16)


def test_clips_of_a_folder_are_edited_one_after_the_other(
    folders: dict[str, Path], clip: Path, tmp_path: Path
) -> None:
    done = vedit(
        "edit",
        clip,
        "-O",
        tmp_path / "out",
        "--size",
        "40",
        "--backend",
        "lucy",
        *INSTRUCTION,
        "--model",
        folders["lucy"],
    )
    assert done.code == 0, done.err
    assert frames_of(tmp_path / "out" / "clip.gif").shape == (3, 40, 56, 3)
