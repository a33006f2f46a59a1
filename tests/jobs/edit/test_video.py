from __future__ import annotations

import json
import os
import signal
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from PIL import Image, ImageFilter

from tests.conftest import vedit
from tests.jobs.conftest import job
from vedit.engine.artefact import Artefact
from vedit.engine.null_text import NullText
from vedit.errors import ModelError, UsageError
from vedit.jobs import cache
from vedit.jobs.clips import Selection, read_pixels
from vedit.jobs.edit.before import asked_of
from vedit.jobs.edit.invert import InversionSettings, invert_video, measure
from vedit.jobs.edit.job import Job
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.edit.unfinished import Windows
from vedit.jobs.edit.video import edit_video, say_nothing_changed
from vedit.media.run import Settings
from vedit.models.sd.model import Model
from vedit.pixels import from_bytes, to_bytes


def test_the_same_prompt_at_guidance_1_gives_what_the_autoencoder_shows_of_the_clip(
    model: Model, clip: str, tmp_path: Path
) -> None:
    task = job(
        clip, tmp_path / "out.nut", params={"steps": 5, "guidance": 1.0, "fixed_point": 8}, detail=False
    )
    edit_video(task, model, Settings())
    pixels = read_pixels(clip, Selection(size=32))
    codec = to_bytes(model.decode_latents(model.encode_frames(from_bytes(pixels.frames_FYX3))))
    result = read_pixels(str(tmp_path / "out.nut"), Selection(size=32)).frames_FYX3
    assert np.abs(result.astype(int) - codec).max() <= 2


@pytest.mark.parametrize("output", [None, (50, 40)])
def test_an_edit_that_changes_nothing_gives_the_clip_itself_and_not_what_the_codec_shows_of_it(
    model: Model, clip: str, tmp_path: Path, output: tuple[int, int] | None
) -> None:
    selection = Selection(size=32, output=output)
    # dds with equal prompts moves nothing: its latents are the clip's own, bit for bit
    task = job(
        clip, tmp_path / "a.nut", method="dds", params={"iterations": 1}, selection=selection, window=2
    )
    record = edit_video(task, model, Settings())
    assert record["detail"] is True
    edit_video(task._replace(output=str(tmp_path / "b.nut"), detail=False), model, Settings())
    shown = Selection(size=selection.shown)
    source, with_it, without = (
        read_pixels(name, shown).frames_FYX3 for name in (clip, task.output, str(tmp_path / "b.nut"))
    )
    assert np.array_equal(with_it, source)
    assert np.abs(without.astype(int) - source).max() > 8


def test_an_edit_that_should_change_the_clip_and_changes_no_pixel_is_told_of(
    clip: str, tmp_path: Path
) -> None:
    pixels = read_pixels(clip, Selection(size=32))
    asked = job(clip, tmp_path / "o.nut")._replace(source="a cat", target="a dog")
    changed = pixels.frames_FYX3.copy()
    changed[-1, 3, 3, 1] ^= 1
    for task, result, count in (
        (asked, pixels.frames_FYX3, 1),
        (asked, changed, 0),
        (asked._replace(target="a cat"), pixels.frames_FYX3, 0),
    ):
        said: list[str] = []
        say_nothing_changed(task, pixels, result, said.append)
        assert len(said) == count and all("changes no pixel of the clip" in line for line in said)


def test_the_same_call_gives_the_same_bytes_and_uses_the_kept_inversion(
    model: Model, clip: str, tmp_path: Path
) -> None:
    first = edit_video(job(clip, tmp_path / "a.gif", target="a blue dog"), model, Settings())
    second = edit_video(job(clip, tmp_path / "b.gif", target="a blue dog"), model, Settings())
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    assert "cached" not in first["inversion"] and second["inversion"]["cached"]
    assert [entry.prompt for entry in cache.entries()] == ["a red cat"]
    assert cache.clear()[0] == 1 and cache.entries() == []


def test_times_survive_and_the_record_says_how_it_was_made(model: Model, clip: str, tmp_path: Path) -> None:
    edit_video(job(clip, tmp_path / "a.gif", target="a blue dog", seed=5), model, Settings())
    assert read_pixels(str(tmp_path / "a.gif"), Selection(size=32)).durations == [5, 7, 9]
    record = json.loads((tmp_path / "a.gif.vedit.json").read_text())
    assert (record["method"], record["seed"], record["target_prompt"]) == ("ddim", 5, "a blue dog")
    assert record["params"]["steps"] == 3 and len(record["model"]["unet_sha256"]) == 64
    assert (
        record["seconds"].keys() >= {"invert", "edit", "decode", "total"}
        and record["peak_memory_mib"]["host"] > 0
    )


def test_outside_the_mask_the_pixels_are_the_source_s_own(model: Model, clip: str, tmp_path: Path) -> None:
    edit_video(
        job(clip, tmp_path / "a.nut", target="a blue dog", mask=("0,0,16,32",), keep_outside=True),
        model,
        Settings(),
    )
    result = read_pixels(str(tmp_path / "a.nut"), Selection(size=32)).frames_FYX3
    source = read_pixels(clip, Selection(size=32)).frames_FYX3
    assert (result[:, :, 16:] == source[:, :, 16:]).all()
    assert (result[:, :, :16] != source[:, :, :16]).any()


def test_the_preview_shows_source_and_edit_side_by_side(model: Model, clip: str, tmp_path: Path) -> None:
    edit_video(job(clip, tmp_path / "a.nut", preview=str(tmp_path / "p.nut")), model, Settings())
    shown = read_pixels(str(tmp_path / "p.nut"), Selection(size=(66, 32))).frames_FYX3
    assert (shown[:, :, :32] == read_pixels(clip, Selection(size=32)).frames_FYX3).all()


def test_an_inversion_samples_back_to_the_codec_s_picture(model: Model, clip: str, tmp_path: Path) -> None:
    pixels = read_pixels(clip, Selection(size=32))
    settings = InversionSettings("a red cat", steps=5, fixed_point=8)
    report = invert_video(model, pixels, str(tmp_path / "x.inv.safetensors"), settings)
    assert measure(model, pixels, str(tmp_path / "x.inv.safetensors"), settings)["psnr_vae"] > 45
    assert len(report["key"]) == 64


def test_a_mask_outside_the_frame_and_keep_outside_without_a_mask_are_refused(
    model: Model, clip: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="does not lie in the 32x32 frame"):
        edit_video(job(clip, tmp_path / "a.gif", mask=("0,0,99,10",)), model, Settings())
    with pytest.raises(UsageError, match="ddim makes no mask"):
        edit_video(job(clip, tmp_path / "a.gif", keep_outside=True), model, Settings())
    assert not (tmp_path / "a.gif").exists()


def test_steps_that_the_inversion_will_not_store_are_refused_before_it_is_made(
    model: Model, clip: str, tmp_path: Path
) -> None:
    with pytest.raises(
        UsageError, match="an inversion of 7 steps holds 7 levels, and 5 steps need timestep 801"
    ):
        edit_video(
            job(clip, tmp_path / "a.gif", params={"steps": 5, "inversion_steps": 7}), model, Settings()
        )
    assert cache.entries() == []


P2P = {
    "steps": 3,
    "guidance": 3.0,
    "blend_words": ["cat"],
    "blend_scales": [1],
    "blend_threshold": 0.9,
    "blend_fit": "cells",
    "start_blend": 0.0,
}


@pytest.mark.parametrize(
    "method, params",
    [("ddim", {"steps": 3, "guidance": 3.0}), ("p2p", P2P), ("pnp", {"steps": 3}), ("sdedit", {"steps": 2, "shared_noise": False}),
     ("dds", {"iterations": 4, "shared_noise": False, "lr": 0.9})],
)  # fmt: skip
def test_frames_do_not_depend_on_how_the_clip_was_cut(
    model: Model, clip: str, tmp_path: Path, method: str, params: dict[str, Any]
) -> None:
    for window in (1, 2, 3):
        edit_video(
            job(
                clip,
                tmp_path / f"{window}.nut",
                method=method,
                params=params,
                target="a red dog",
                window=window,
            ),
            model,
            Settings(),
        )
        cache.clear()  # the inversion is cut too
    one, two, three = (
        read_pixels(str(tmp_path / f"{window}.nut"), Selection(size=32)).frames_FYX3.astype(int)
        for window in (1, 2, 3)
    )
    assert abs(one - three).max() <= 1 and abs(two - three).max() <= 1  # rounding of sums of another shape
    assert abs(three - read_pixels(clip, Selection(size=32)).frames_FYX3).max() > 8


def test_methods_that_join_frames_get_the_clip_as_one_unless_told(
    model: Model, clip: str, tmp_path: Path
) -> None:
    said: list[str] = []
    glp = job(clip, tmp_path / "a.nut", method="glp", params={"iterations": 2}, frames_per_call=1)
    edit_video(glp, model, Settings(warn=said.append))
    assert not any("may jump" in message for message in said)
    edit_video(glp._replace(window=2), model, Settings(warn=said.append))
    assert sum("cut into windows of 2 it may jump" in message for message in said) == 1


def grown(mask_YX: np.ndarray, by: int) -> np.ndarray:
    """A mask widened by so many pixels in all eight directions."""
    picture = Image.fromarray(mask_YX.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(2 * by + 1))
    return np.asarray(picture) > 0


def test_the_mask_of_the_blend_is_saved_and_named_in_the_record(
    model: Model, clip: str, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    task = job(
        clip,
        tmp_path / "out" / "a.nut",
        method="p2p",
        params=P2P,
        target="a red dog",
        save_masks=str(tmp_path / "mask.gif"),
        window=2,
    )
    edit_video(task, model, Settings())
    record = json.loads((tmp_path / "out" / "a.nut.vedit.json").read_text())
    assert record["mask"] == "../mask.gif"
    mask = read_pixels(str(tmp_path / "mask.gif"), Selection(size=32)).frames_FYX3
    assert set(np.unique(mask)) == {0, 255} and mask.shape == (3, 32, 32, 3)
    assert (
        mask.reshape(3, 8, 4, 8, 4, 3) == mask[:, ::4, ::4].reshape(3, 8, 1, 8, 1, 3)
    ).all()  # cells of the latent
    result = read_pixels(str(tmp_path / "out" / "a.nut"), Selection(size=32)).frames_FYX3
    codec = to_bytes(
        model.decode_latents(
            model.encode_frames(from_bytes(read_pixels(clip, Selection(size=32)).frames_FYX3))
        )
    )
    source = read_pixels(clip, Selection(size=32)).frames_FYX3
    inside, outside = mask[..., 0] == 255, mask[..., 0] == 0
    assert abs(result.astype(int) - codec).max(-1)[inside].max() > 4  # the edit acted where the mask is white
    # and beyond the soft edge of a cell the source's own pixels stand
    far = outside & ~np.asarray([grown(frame, 4) for frame in inside])
    assert (result[far] == source[far]).all()


def test_a_mask_that_fits_is_soft_and_of_pixels_and_outside_it_stands_the_source(
    model: Model, clip: str, tmp_path: Path
) -> None:
    params = {**P2P, "blend_fit": "pixels", "blend_threshold": 0.75}
    shown: dict[int, Any] = {}
    for window in (1, 3):
        task = job(
            clip, tmp_path / f"{window}.nut", method="p2p", params=params, target="a red dog", window=window,
            save_masks=str(tmp_path / f"mask{window}.nut"), detail=False,
        )  # fmt: skip
        edit_video(task, model, Settings())
        cache.clear()
        shown[window] = [
            read_pixels(name, Selection(size=32)).frames_FYX3.astype(int)
            for name in (task.output, str(task.save_masks))
        ]
    assert all(np.abs(one - three).max() <= 2 for one, three in zip(shown[1], shown[3], strict=True))
    result, mask = shown[3][0], shown[3][1][..., :1]
    assert len(np.unique(mask)) > 2
    source = read_pixels(clip, Selection(size=32)).frames_FYX3.astype(int)
    outside = np.broadcast_to(mask == 0, result.shape)
    assert outside.any() and (result[outside] == source[outside]).all()
    assert (result != source).any()


def test_a_mask_of_the_user_is_saved_as_pictures(model: Model, clip: str, tmp_path: Path) -> None:
    edit_video(
        job(clip, tmp_path / "a.nut", mask=("box:0,0,16,32",), save_masks=str(tmp_path / "masks") + "/"),
        model,
        Settings(),
    )
    names = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert names == ["00001.png", "00002.png", "00003.png"]
    assert (
        np.asarray(Image.open(tmp_path / "masks" / "00002.png").convert("L"))[0] == [255] * 16 + [0] * 16
    ).all()


@pytest.mark.parametrize(
    "method, params", [("ddim", {"steps": 2}), ("glp", {"iterations": 2}), ("p2p", {"steps": 2})]
)
def test_a_picture_shows_where_each_word_looked(
    model: Model, clip: str, tmp_path: Path, method: str, params: dict[str, Any]
) -> None:
    edit_video(
        job(
            clip,
            tmp_path / "a.nut",
            method=method,
            params=params,
            target="a blue dog",
            save_attention=str(tmp_path / "heat"),
        ),
        model,
        Settings(),
    )
    target = {"tgt-01-a.png", "tgt-02-blue.png", "tgt-03-dog.png"}
    source = {"src-01-a.png", "src-02-red.png", "src-03-cat.png"} if method != "ddim" else set()
    assert {path.name for path in (tmp_path / "heat").iterdir()} == target | source
    picture = np.asarray(Image.open(tmp_path / "heat" / "tgt-03-dog.png")).astype(int)
    assert picture.shape == (32, 96, 3)
    assert (picture[..., 0] >= picture[..., 1]).all() and (picture[..., 1] >= picture[..., 2]).all()
    assert (picture[..., 0] - picture[..., 2]).max() > 100


def test_a_mask_that_nobody_makes_cannot_be_saved(model: Model, clip: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pnp makes no mask with these settings"):
        edit_video(
            job(
                clip,
                tmp_path / "a.gif",
                method="pnp",
                params={"steps": 2},
                save_masks=str(tmp_path / "m.gif"),
            ),
            model,
            Settings(),
        )


def test_a_time_mask_changes_only_the_frames_it_holds(model: Model, clip: str, tmp_path: Path) -> None:
    edit_video(
        job(clip, tmp_path / "a.nut", target="a blue dog", mask=("frames:1-1",), keep_outside=True),
        model,
        Settings(),
    )
    same = (
        read_pixels(str(tmp_path / "a.nut"), Selection(size=32)).frames_FYX3
        == read_pixels(clip, Selection(size=32)).frames_FYX3
    ).all((1, 2, 3))
    assert same.tolist() == [True, False, True]


def wide_clip(path: Path, size: tuple[int, int], frames: int = 2) -> str:
    """A square that moves over a gradient."""
    images = []
    for number in range(frames):
        picture = Image.linear_gradient("L").resize(size).convert("RGB")
        picture.paste((200, 40, 40), (4 + 3 * number, 8, 16 + 3 * number, 20))
        images.append(picture)
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, loop=0)
    return str(path)


SHAPES = [
    ("p2p", {**P2P, "self_max_tokens": 16}),
    ("pnp", {"steps": 2, "attention_until": 1.0}),
    ("glp", {"iterations": 2}),
    ("ddim", {"steps": 2}),
]


@pytest.mark.parametrize(
    "size", [(52, 36), (30, 67)]
)  # latents 9x13 and 17x8: levels of 5x7 and 9x4, 3x4 and 5x2
@pytest.mark.parametrize("method, params", SHAPES)
def test_a_clip_of_any_shape_comes_back_in_its_own_size(
    model: Model, clip: str, tmp_path: Path, method: str, params: dict[str, Any], size: Any
) -> None:
    name = wide_clip(tmp_path / "wide.gif", size)
    task = job(
        name,
        tmp_path / "a.nut",
        method=method,
        params=params,
        target="a red dog",
        selection=Selection(size=size),
        save_attention=str(tmp_path / "heat"),
    )
    record = edit_video(task, model, Settings())
    assert read_pixels(str(tmp_path / "a.nut"), Selection(size=size)).clip.canvas[2:] == size
    assert record["sizes"] == {
        "source": list(size), "crop": "none", "worked": list(size), "filled": [-(-side // 4) * 4 for side in size], "output": list(size),
    }  # fmt: skip
    with Image.open(tmp_path / "heat" / "tgt-03-dog.png") as picture:
        assert picture.size == (2 * size[0], size[1])


def test_an_edit_that_is_worked_on_smaller_puts_back_the_clip_s_own_pixels_at_their_size(
    model: Model, clip: str, tmp_path: Path
) -> None:
    name = wide_clip(tmp_path / "wide.gif", (80, 60))
    selection = Selection(size=(43, 32), output=(80, 60))
    task = job(
        name,
        tmp_path / "a.nut",
        target="a blue dog",
        selection=selection,
        mask=("box:0,0,40,60",),
        save_masks=str(tmp_path / "m.nut"),
    )
    record = edit_video(task, model, Settings())
    whole = Selection(size=(80, 60))
    result, source, mask = (
        read_pixels(path, whole).frames_FYX3 for path in (task.output, name, str(tmp_path / "m.nut"))
    )
    assert (result[:, :, 40:] == source[:, :, 40:]).all() and (result[:, :, :40] != source[:, :, :40]).any()
    assert (mask[:, :, :40] == 255).all() and (mask[:, :, 40:] == 0).all()
    assert (
        record["clip"]["size"] == [80, 60]
        and record["sizes"]["worked"] == [43, 32]
        and record["sizes"]["filled"] == [44, 32]
    )
    assert asked_of(EditRequest.from_record(record, "x")).of((80, 60), 64) == selection._replace(
        frames=record["selection"]["frames"]
    )


def test_padding_a_clip_changes_nothing_of_what_needs_none(model: Model) -> None:
    pixels = torch.rand(1, 3, 30, 45) * 2 - 1
    filled = torch.nn.functional.pad(pixels, (0, 3, 0, 2), mode="replicate")
    assert torch.equal(model.encode_frames(pixels), model.encode_frames(filled)) and model.latent_size(
        (45, 30)
    ) == (8, 12)
    latents = model.encode_frames(filled)
    assert torch.equal(
        model.decode_latents(latents, size=(45, 30)), model.decode_latents(latents)[..., :30, :45]
    )


def test_a_transparent_clip_s_edit_says_that_it_is_not(model: Model, clip: str, tmp_path: Path) -> None:
    picture = Image.new("RGBA", (32, 32))
    picture.paste((255, 0, 0, 255), (8, 8, 24, 24))
    picture.save(tmp_path / "t.gif", save_all=True, append_images=[picture.rotate(5)], disposal=2)
    said: list[str] = []
    edit_video(job(str(tmp_path / "t.gif"), tmp_path / "a.nut"), model, Settings(warn=said.append))
    assert any("no transparency" in message for message in said)
    said.clear()
    edit_video(job(clip, tmp_path / "b.nut"), model, Settings(warn=said.append))
    assert not any("transparency" in message for message in said)


class Stop:
    """Ctrl-C at a step of a task."""

    def __init__(self, task: str, step: int) -> None:
        self.task, self.step = task, step

    def __call__(self, steps: Any, total: int, what: str) -> Any:
        for done, step in enumerate(steps, 1):
            yield step
            if (what, done) == (self.task, self.step):
                raise KeyboardInterrupt


def test_ctrl_c_keeps_the_inversion_and_writes_nothing_half(model: Model, clip: str, tmp_path: Path) -> None:
    task = job(
        clip,
        tmp_path / "out" / "a.gif",
        target="a blue dog",
        preview=str(tmp_path / "out" / "p.gif"),
        save_masks=str(tmp_path / "out" / "m.gif"),
        mask=("0,0,8,8",),
    )
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        edit_video(task, model, Settings(), watch=Stop("invert", 2))
    assert cache.entries() == [] and list((tmp_path / "cache" / "inversions").iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        edit_video(task, model, Settings(), watch=Stop("ddim", 3))
    assert list((tmp_path / "out").iterdir()) == [] and len(cache.entries()) == 1
    assert all("vedit" not in type(processor).__module__ for processor in model.unet.attn_processors.values())
    assert edit_video(task, model, Settings())["inversion"]["cached"]


def test_a_network_that_overflows_is_named_with_step_frame_and_dtype(
    model: Model, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = model.unet.forward, []

    def overflowing(sample: Any, timestep: Any, **more: Any) -> Any:
        calls.append(timestep)
        made = plain(sample, timestep, **more)
        if len(calls) == 4:  # frame 2 of the second step, one frame to a call
            made.sample[0] = float("nan")
        return made

    monkeypatch.setattr(model.unet, "forward", overflowing)
    with pytest.raises(
        ModelError, match=r"frame 1 is not finite after step 4 \(network in float32\)"
    ) as error:
        edit_video(
            job(
                clip,
                tmp_path / "a.gif",
                method="sdedit",
                params={"steps": 4, "strength": 1.0, "guidance": 1.0},
                frames_per_call=1,
            ),
            model,
            Settings(),
        )
    assert (
        "--dtype" not in error.value.next_step and error.value.exit_code == 5
    )  # there is nothing finer than full precision to try
    assert list(tmp_path.glob("a.gif*")) == []


def test_null_text_holds_guided_sampling_on_the_clip(model: Model, clip: str, tmp_path: Path) -> None:
    pixels, path = read_pixels(clip, Selection(size=32)), str(tmp_path / "n.inv.safetensors")
    settings = InversionSettings(
        "a red cat",
        steps=2,
        fixed_point=3,
        null=NullText(7.5, inner_steps=6, lr=0.05, early_stop=0.0, shared=False),
    )
    invert_video(model, pixels, path, settings)
    same = job(clip, tmp_path / "a.nut", params={"steps": 2, "guidance": 7.5, "fixed_point": 3}, detail=False)
    codec = to_bytes(model.decode_latents(model.encode_frames(from_bytes(pixels.frames_FYX3)))).astype(int)

    def error(task: Job) -> float:
        edit_video(task, model, Settings())
        return float(((read_pixels(task.output, Selection(size=32)).frames_FYX3 - codec) ** 2).mean())

    assert error(same._replace(inversion=path)) < 0.5 * error(same)
    assert measure(model, pixels, path, settings)["psnr_vae"] > 20
    with pytest.raises(UsageError, match=r"optimised for guidance 7\.5, this edit has 4"):
        edit_video(same._replace(inversion=path, params={**same.params, "guidance": 4.0}), model, Settings())
    with pytest.raises(UsageError, match=r"stand where negative_prompt 'a dog' would"):
        edit_video(
            same._replace(inversion=path, params={**same.params, "negative_prompt": "a dog"}),
            model,
            Settings(),
        )
    edit_video(
        same._replace(inversion=path, params={**same.params, "guidance": 4.0, "null_text": "none"}),
        model,
        Settings(),
    )


def test_a_free_prompt_of_the_inversion_is_for_methods_that_do_not_match_words(
    model: Model, clip: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "x.inv.safetensors")
    invert_video(model, read_pixels(clip, Selection(size=32)), path, InversionSettings("a photo", steps=3))
    assert (
        edit_video(
            job(clip, tmp_path / "a.gif", method="pnp", params={"steps": 3}, inversion=path),
            model,
            Settings(),
        )["source_prompt"]
        == "a photo"
    )
    with pytest.raises(UsageError, match="prompt = 'a photo'"):
        edit_video(
            job(clip, tmp_path / "b.gif", method="p2p", params={"steps": 3}, inversion=path),
            model,
            Settings(),
        )


@pytest.mark.parametrize("keeps", [None, False])
def test_outside_a_method_s_own_mask_the_source_is_put_back_unless_refused(
    model: Model, clip: str, tmp_path: Path, keeps: bool | None
) -> None:
    values = {
        "steps": 3,
        "blend_words": ["cat"],
        "blend_threshold": 0.9,
        "blend_scales": [2],
        "blend_stretch": True,
        "blend_fit": "cells",
        "start_blend": 0.0,
    }
    output, masks = str(tmp_path / "a.nut"), str(tmp_path / "m.nut")
    edit_video(
        job(
            clip,
            output,
            method="p2p",
            params=values,
            target="a blue cat",
            keep_outside=keeps,
            save_masks=masks,
        ),
        model,
        Settings(),
    )
    result, source, mask = (
        read_pixels(path, Selection(size=32)).frames_FYX3 for path in (output, clip, masks)
    )
    grown = [
        np.asarray(Image.fromarray(frame[:, :, 0]).filter(ImageFilter.MaxFilter(2 * model.scale + 1)))
        for frame in mask
    ]
    outside = np.stack(grown) == 0  # an edge falls off within a cell
    assert outside.any() and not outside.all()
    assert (result == source)[outside].all() == (keeps is None)


def film(path: Path, count: int, rate: str) -> str:
    """A video with a constant rate, made by the ffmpeg that ships."""
    from vedit.media.video.ffmpeg import find_ffmpeg

    source = f"testsrc=size=32x32:rate={rate}"
    command = [
        find_ffmpeg(),
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        "-frames:v",
        str(count),
        "-pix_fmt",
        "yuv420p",
        str(path),
    ]
    subprocess.run(command, check=True)
    return str(path)


@pytest.mark.parametrize(("rate", "kept"), [("30", 30), ("30000/1001", 30), ("50", 30), ("60", 25)])
def test_a_film_s_edit_keeps_its_frames_in_a_gif_up_to_50_a_second_and_says_what_it_does_not(
    model: Model, clip: str, tmp_path: Path, rate: str, kept: int
) -> None:
    name = film(tmp_path / "film.mp4", 30, rate)
    said: list[str] = []
    edit_video(
        job(name, tmp_path / "a.gif", method="sdedit", params={"steps": 1, "strength": 1.0, "guidance": 1.0}),
        model,
        Settings(warn=said.append),
    )
    durations = read_pixels(str(tmp_path / "a.gif"), Selection(size=32)).durations
    assert len(durations) == kept and abs(sum(durations) / 100 - 30 / Fraction(rate)) < 0.01
    assert any(f"{kept} of 30 frames" in message for message in said) == (kept < 30)


def test_the_cache_keeps_the_levels_that_are_read(model: Model, clip: str, tmp_path: Path) -> None:
    task = job(clip, tmp_path / "a.gif", params={"steps": 2, "inversion_steps": 10, "guidance": 1.0})
    first = edit_video(task, model, Settings())
    assert [len(Artefact(entry.path).saved) for entry in cache.entries()] == [2]
    assert (
        cache.entries()[0].size < 5 * 3 * 4 * 8 * 8 * 4
    )  # ten levels of three frames in float32 would be twice as much
    more = edit_video(
        task._replace(output=str(tmp_path / "b.gif"), params={**task.params, "steps": 5}), model, Settings()
    )
    assert "cached" not in more["inversion"] and len(cache.entries()) == 2
    again = edit_video(task._replace(output=str(tmp_path / "c.gif")), model, Settings())
    assert (
        again["inversion"]["cached"]
        and again["inversion"]["key"] == first["inversion"]["key"] == more["inversion"]["key"]
    )
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "c.gif").read_bytes()


LONG = {"steps": 2, "inversion_steps": 10, "guidance": 3.0}


@pytest.mark.parametrize("part", ["invert", "ddim"])
def test_stopped_at_ten_moments_the_same_call_goes_on_and_gives_the_same_bytes(
    model: Model, clip: str, tmp_path: Path, part: str
) -> None:
    task = job(
        clip,
        tmp_path / "whole.nut",
        target="a blue dog",
        params=LONG,
        window=1,
        frames_per_call=2,
        mask=("0,0,20,20",),
        save_masks=str(tmp_path / "m.nut"),
    )
    whole = edit_video(task, model, Settings())
    inverted = Path(cache.entries()[0].path).read_bytes()
    cache.clear()
    moments = (
        range(1, 21, 2) if part == "invert" else [1, 2, 3, 4, 5] * 2
    )  # of 2 calls of 10 levels, or of 3 windows of 2 steps
    calls: list[int] = []
    plain = model.unet.forward

    def counted(sample: Any, timestep: Any, **more: Any) -> Any:
        calls.append(len(sample))
        return plain(sample, timestep, **more)

    model.unet.forward = counted
    try:
        for moment in moments:
            with pytest.raises(KeyboardInterrupt):
                edit_video(
                    task._replace(output=str(tmp_path / "a.nut"), save_masks=str(tmp_path / "n.nut")),
                    model,
                    Settings(),
                    watch=Stop(part, moment),
                )
        calls.clear()
        edit_video(
            task._replace(output=str(tmp_path / "a.nut"), save_masks=str(tmp_path / "n.nut")),
            model,
            Settings(),
        )
    finally:
        del model.unet.forward
    assert (tmp_path / "a.nut").read_bytes() == (tmp_path / "whole.nut").read_bytes() and (
        tmp_path / "n.nut"
    ).read_bytes() == (tmp_path / "m.nut").read_bytes()
    assert Path(cache.entries()[0].path).read_bytes() == inverted
    assert len(calls) == (
        1 + 3 * 2 if part == "invert" else 2
    )  # what was left: the last level and the windows, or the last window
    assert list((tmp_path / "cache" / "unfinished").iterdir()) == [] and whole["inversion"]["noise_rms"] > 0


class Kill:
    """SIGKILL at a step of a task: nothing runs behind it."""

    def __init__(self, task: str, step: int) -> None:
        self.task, self.step = task, step

    def __call__(self, steps: Any, total: int, what: str) -> Any:
        for done, step in enumerate(steps, 1):
            yield step
            if (what, done) == (self.task, self.step):
                os.kill(os.getpid(), signal.SIGKILL)


def killed(task: Job, model: Model, part: str, step: int) -> None:
    """The edit in a process of its own that is killed at a step."""
    if (child := os.fork()) == 0:
        try:
            edit_video(task, model, Settings(), watch=Kill(part, step))
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_killed_the_same_call_goes_on_and_gives_the_same_bytes_and_the_cache_tells_what_is_there(
    model: Model, clip: str, tmp_path: Path
) -> None:
    task = job(clip, tmp_path / "whole.nut", target="a blue dog", params=LONG, window=1, frames_per_call=2)
    edit_video(task, model, Settings())
    cache.clear()
    task = task._replace(output=str(tmp_path / "a.nut"))
    for part, step in [("invert", 1), ("invert", 10), ("invert", 13), ("ddim", 1), ("ddim", 4), ("ddim", 6)]:
        killed(task, model, part, step)
        (work,) = (work for work in cache.unfinished_work() if work.size)
        assert {path.suffix for path in work.paths} >= ({".inv", ".state"} if part == "invert" else {""})
        assert "of 1; the same call goes on" in vedit("cache", "list").text
    unfinished = tmp_path / "cache" / "unfinished"
    (folder,) = (path for path in unfinished.iterdir() if path.is_dir())
    assert set(json.loads((folder / "done.json").read_text())) == {"0", "1"}
    edit_video(task, model, Settings())
    assert (tmp_path / "a.nut").read_bytes() == (tmp_path / "whole.nut").read_bytes()
    assert list(unfinished.iterdir()) == [] and sorted(path.name for path in tmp_path.glob("*.nut")) == [
        "a.nut",
        "whole.nut",
    ]
    cache.clear()
    killed(task, model, "invert", 5)
    assert (
        "1 unfinished edits and inversions" in vedit("cache", "clear").text
        and list(unfinished.iterdir()) == []
    )


def test_the_work_of_a_call_that_runs_is_not_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path))
    work = Windows("name", (2, 4, 4, 3), with_masks=False)
    work.result[:] = 7
    cache.clear()
    assert work.path.is_dir() and cache.unfinished_work() == []
    work.keep(slice(0, 2), {})
    work.lock.release()
    assert (
        len(cache.unfinished_work()) == 1
        and cache.clear().works == 1
        and not list((tmp_path / "unfinished").iterdir())
    )


def test_damaged_and_foreign_unfinished_work_is_done_again(model: Model, clip: str, tmp_path: Path) -> None:
    task = job(clip, tmp_path / "a.nut", target="a blue dog", params=LONG, window=1)
    edit_video(task, model, Settings())
    cache.clear()
    with pytest.raises(KeyboardInterrupt):
        edit_video(task._replace(output=str(tmp_path / "b.nut")), model, Settings(), watch=Stop("invert", 5))
    (state,) = (tmp_path / "cache" / "unfinished").glob("*.state")
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    with pytest.raises(KeyboardInterrupt):
        edit_video(task._replace(output=str(tmp_path / "b.nut")), model, Settings(), watch=Stop("ddim", 3))
    (result,) = (tmp_path / "cache" / "unfinished").glob("*/result")
    with result.open("r+b") as stream:
        stream.write(b"other pixels")
    edit_video(task._replace(output=str(tmp_path / "b.nut")), model, Settings())
    assert (tmp_path / "a.nut").read_bytes() == (tmp_path / "b.nut").read_bytes()
