"""Tuning a network on a clip: kept, resumed after a kill, put into an inversion, and refused where it does not fit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from PIL import Image

from tests.jobs.conftest import job
from vedit.engine.artefact import Artefact
from vedit.engine.inflation import inflated
from vedit.engine.memory import Live
from vedit.engine.tune import Tuning, tune
from vedit.errors import MemoryBudgetError, UsageError
from vedit.jobs.clips import Selection, read_pixels
from vedit.jobs.edit.explain import explain
from vedit.jobs.edit.invert import InversionSettings, invert_video, measure
from vedit.jobs.edit.memory import check_memory, need_of
from vedit.jobs.edit.plan import inversion_settings, plan_inversion
from vedit.jobs.edit.request import InvertRequest
from vedit.jobs.edit.video import edit_video
from vedit.jobs.edit.windows import Edit
from vedit.media.run import Settings
from vedit.methods import video_p2p
from vedit.methods.params import read_params
from vedit.models.sd.model import Model

TABLE: dict[str, Any] = {
    "steps": 2, "guidance": 3.0, "tune_steps": 4, "tune_lr": 1e-2, "inner_steps": 1, "self_max_tokens": 64,
}  # fmt: skip
OTHER = "a red dog"


def task(clip: str, output: Path, **changes: Any) -> Any:
    table = {**TABLE, **changes.pop("params", {})}
    return job(clip, output, **{"method": "video-p2p", "target": OTHER, "params": table, **changes})


def edited(model: Model, one: Any) -> dict[str, Any]:
    return edit_video(one, model, Settings(warn=lambda message: None))


def sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def embedded(model: Model, clip: str, path: Path, prompt: str = "a red cat", **changes: Any) -> str:
    """An inversion of the clip that holds the weights that were tuned for it."""
    params = read_params(video_p2p.Params, {**TABLE, **changes}, "test")
    settings = InversionSettings.of(params, prompt)._replace(embed=True)
    invert_video(model, read_pixels(clip, Selection(size=32)), str(path), settings)
    return str(path)


def stopping(step: int) -> Callable[..., Iterator[Any]]:
    """A watch that is interrupted at a step of tuning."""

    def watch(steps: Iterator[Any], total: int, what: str) -> Iterator[Any]:
        for number, one in enumerate(steps):
            if what == "tune" and number == step:
                raise KeyboardInterrupt
            yield one

    return watch


def test_an_edit_tunes_once_and_finds_its_weights_again(model: Model, clip: str, tmp_path: Path) -> None:
    before = {name: weight.clone() for name, weight in model.unet.state_dict().items()}
    record = edited(model, task(clip, tmp_path / "a.gif"))
    assert record["inversion"]["tuning"]["steps"] == 4 and record["inversion"]["kind"] == "null-text"
    again = edited(model, task(clip, tmp_path / "b.gif", target="a blue dog"))
    assert "steps" not in again["inversion"]["tuning"] and again["inversion"]["cached"]
    assert all(torch.equal(weight, before[name]) for name, weight in model.unet.state_dict().items())


@pytest.mark.parametrize("step", [2, 3])
def test_tuning_that_is_interrupted_goes_on_to_the_same_bytes(
    model: Model, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    one = task(clip, tmp_path / "whole.gif", params={"inner_steps": 0})
    whole = edited(model, one)
    weights = sum_of(Path(whole["inversion"]["tuning"]["path"]))
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "other"))
    other = one._replace(output=str(tmp_path / "resumed.gif"))
    with pytest.raises(KeyboardInterrupt):
        edit_video(other, model, Settings(warn=lambda message: None), watch=stopping(step))
    assert not (tmp_path / "resumed.gif").exists()
    resumed = edited(model, other)
    assert sum_of(Path(resumed["inversion"]["tuning"]["path"])) == weights
    assert sum_of(tmp_path / "resumed.gif") == sum_of(tmp_path / "whole.gif")
    assert not [entry for entry in (tmp_path / "other" / "unfinished").iterdir() if entry.suffix != ".lock"]


def test_damaged_state_of_tuning_begins_anew(model: Model, clip: str, tmp_path: Path) -> None:
    one = task(clip, tmp_path / "out.gif", params={"inner_steps": 0})
    with pytest.raises(KeyboardInterrupt):
        edit_video(one, model, Settings(warn=lambda message: None), watch=stopping(2))
    state = next((tmp_path / "cache" / "unfinished").glob("*.state"))
    content = bytearray(state.read_bytes())
    content[-5] ^= 1
    state.write_bytes(content)
    assert edited(model, one)["inversion"]["tuning"]["steps"] == 4


def test_weights_in_the_inversion_give_the_bytes_of_those_in_the_cache(
    model: Model, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = embedded(model, clip, tmp_path / "own.inv.safetensors")
    assert any(name.startswith("tuned/mid_block") for name in Artefact(file).names)
    edited(model, task(clip, tmp_path / "cached.gif"))
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "empty"))
    record = edited(model, task(clip, tmp_path / "given.gif", inversion=file))
    assert record["inversion"]["tuning"]["path"] == file
    assert sum_of(tmp_path / "given.gif") == sum_of(tmp_path / "cached.gif")
    assert not list((tmp_path / "empty").rglob("*tuned*"))


def test_a_tuned_inversion_of_another_edit_clip_or_model_is_refused_naming_the_field(
    model: Model, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = {"inner_steps": 0, "tune_steps": 1}
    file = embedded(model, clip, tmp_path / "own.inv.safetensors", **brief)
    images = [Image.new("RGB", (32, 32), (number, 90, 50)) for number in (10, 60, 90)]
    other = tmp_path / "other.gif"
    images[0].save(other, save_all=True, append_images=images[1:], duration=[50, 70, 90], loop=0)
    one = task(clip, tmp_path / "out.gif", inversion=file, params=brief)
    plain = {"steps": 2, "self_max_tokens": 64}
    for changed, field in (
        (one._replace(params={**one.params, "tune_steps": 5}), "tuning.steps"),
        (one._replace(params={**one.params, "tune_lr": 0.02}), "tuning.lr"),
        (one._replace(source="a blue cat"), "prompt"),
        (one._replace(selection=Selection(size=32, frames=2)), "source.frames"),
        (one._replace(method="p2p", params=plain), "model.inflation"),
        (one._replace(input=str(other)), "source.pixels_sha256 differs"),
    ):
        with pytest.raises(UsageError, match=re.escape(field)):
            edited(model, changed)
    facts = {**model.identity(), "unet_sha256": "0" * 64}
    monkeypatch.setattr(Model, "identity", lambda self: facts)
    with pytest.raises(UsageError, match=r"model\.unet_sha256 differs"):
        edited(model, one)
    assert not (tmp_path / "out.gif").exists()


def test_an_inversion_for_the_method_samples_back_under_its_attention(
    model: Model, clip: str, tmp_path: Path
) -> None:
    params = read_params(
        video_p2p.Params, {**TABLE, "inner_steps": 0, "fixed_point": 5, "tune_steps": 1}, "test"
    )
    settings = InversionSettings.of(params, "a red cat")
    pixels, path = read_pixels(clip, Selection(size=32)), str(tmp_path / "own.inv.safetensors")
    invert_video(model, pixels, path, settings)
    assert measure(model, pixels, path, settings)["psnr_vae"] > 40


def test_invert_for_a_method_takes_its_settings_and_refuses_others(clip: str, tmp_path: Path) -> None:
    def asked(**more: Any) -> InvertRequest:
        return InvertRequest(
            input=clip, output=str(tmp_path / "o.inv.safetensors"), prompt="a red circle", **more
        )

    settings = inversion_settings(asked(for_method="video-p2p", set={"tune_steps": 7}, embed_tuning=True))
    assert (settings.tuning, settings.inflation, settings.embed) == (Tuning(7), "first-frame", True)
    for more, told in (
        ({"for_method": "sdedit"}, "starts without an inversion"),
        ({"for_method": "p2p", "embed_tuning": True}, "tunes nothing"),
        ({"for_method": "video-p2p", "steps": 20}, "brings its own"),
        ({"embed_tuning": True}, "belongs to a method"),
    ):
        with pytest.raises(UsageError, match=told):
            plan_inversion(asked(**more))


def test_a_window_that_would_cut_the_clip_is_refused_and_a_longer_one_is_not(
    model: Model, clip: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="all of its frames see each other"):
        edited(model, task(clip, tmp_path / "out.gif", window=2))
    pixels = read_pixels(clip, Selection(size=32))
    assert Edit(task(clip, tmp_path / "out.gif", window=16), model, pixels, print).window == 3


@pytest.mark.slow  # half a minute: tuning at several sizes
def test_tuning_takes_what_is_foreseen_and_is_refused_before_it_runs(
    model: Model, clip: str, tmp_path: Path
) -> None:
    pixels = read_pixels(clip, Selection(size=32))
    edit = Edit(task(clip, tmp_path / "out.gif"), model, pixels, print)
    with Live() as live:
        for _ in tune(
            inflated(model), torch.randn(3, 4, 8, 8), model.encode_prompt("a cat"), Tuning(2), "first-frame"
        ):
            pass
    assert 0.9 * live.peak < need_of(edit).working < 2 * live.peak
    with pytest.raises(MemoryBudgetError, match="needs about"):
        check_memory(edit, 1)
    assert "attention over frames" in explain(task(clip, tmp_path / "out.gif"), model, pixels)


def test_explain_counts_tuning_and_null_embeddings(
    model: Model, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vedit.jobs.edit import cost

    monkeypatch.setattr(cost, "_measured", lambda model, size, frames: 2.0)
    text = explain(task(clip, tmp_path / "out.gif"), model, read_pixels(clip, Selection(size=32)))
    # four steps of tuning, two levels with an optimisation step each: a gradient is four evaluations
    assert "a frame takes 16 for tuning, 2 for the inversion, 12 at most for null embeddings, unless" in text


def test_a_source_that_nothing_holds_is_told_of(model: Model, clip: str, tmp_path: Path) -> None:
    said: list[str] = []

    def run(**params: Any) -> None:
        said.clear()
        one = task(clip, tmp_path / "out.gif", params={"tune_steps": 0, **params})
        edit = Edit(one, model, read_pixels(clip, Selection(size=32)), said.append)
        edit.run(lambda steps, total, what: iter(steps))

    run(inner_steps=0)
    assert "no null embeddings" in said[0] and "source_branch" in said[0]
    for held in ({"inner_steps": 1}, {"inner_steps": 0, "source_branch": "replay"}):
        run(**held)
        assert not said
