"""Memory: what is predicted is what is taken, what would fit is named, and long clips take no more than short
ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from PIL import Image

from tests.jobs.conftest import job
from vedit.engine.memory import MARGIN, Live, codec_peak, network_peak
from vedit.engine.sample import Stream, branch_names, predict
from vedit.errors import MemoryBudgetError
from vedit.jobs.clips import Selection, read_pixels
from vedit.jobs.edit.explain import explain
from vedit.jobs.edit.memory import check_memory, need_of
from vedit.jobs.edit.video import edit_video
from vedit.jobs.edit.windows import Edit
from vedit.media.run import Settings
from vedit.methods.sampled import bound
from vedit.models.bare import weight_bytes
from vedit.models.sd.model import Model

MIB = 2**20
WORDS = {"steps": 3, "blend_words": ["cat"], "blend_scales": [1], "guidance": 3.0}


def edit_of(model: Model, name: str, **changes: Any) -> Edit:
    task = job(name, Path("unused.gif"), **{"target": "a red dog", **changes})
    return Edit(task, model, read_pixels(name, task.selection), print)


def long_clip(path: Path, frames: int) -> str:
    images = [Image.new("RGB", (32, 32), (number % 250, 90, 200 - number)) for number in range(frames)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=40, loop=0)
    return str(path)


def actual(call: Any) -> int:
    with torch.inference_mode(), Live() as live:
        call()
    return live.peak


@pytest.mark.parametrize(
    "method, params",
    [("ddim", {"steps": 3, "guidance": 3.0}), ("pnp", {"steps": 3, "guidance": 3.0}), ("p2p", WORDS)],
)
def test_a_call_takes_what_is_predicted(model: Model, clip: str, method: str, params: dict[str, Any]) -> None:
    edit = edit_of(model, clip, method=method, params=params)
    predicted = network_peak(model, edit.prepared.plan, edit.prepared.branches, 3, (8, 8))
    window = edit.request.blank()
    text = model.encode_prompt("a cat")
    streams = [Stream("src", window.latents_FCYX, text)] * ("src" in edit.prepared.branches) + [
        Stream("tgt", window.latents_FCYX, text, text, 3.0)
    ]
    assert branch_names(streams) == list(edit.prepared.branches)
    controller = bound(model, edit.request, edit.prepared.plan, edit.prepared.branches, 3)

    def call() -> None:
        with controller.installed():
            predict(model, streams, 501, 0, controller, 3)

    taken = actual(call) - controller.store.predicted_bytes()
    # fused attention on a CPU keeps the sums of its rows too; the batch itself is made inside `predict`
    assert 0.8 * taken <= predicted <= 1.2 * taken


@pytest.mark.parametrize("frames_per_call", [2, 8])
def test_a_grid_of_frames_is_foreseen_as_the_large_picture_that_it_is(
    model: Model, clip: str, frames_per_call: int
) -> None:
    """A grid has all of its frames, however few were to go through at once."""
    params = {"steps": 1, "guidance": 3.0, "grid": 2, "feature_layers": [], "attention_layers": []}
    edit = edit_of(model, clip, method="rave", params=params, frames_per_call=frames_per_call)
    predicted = need_of(edit).working / MARGIN
    seen = edit.prepared.seen
    assert seen is not None and seen.size == (16, 16) and seen.frames == 1
    window = edit.request.blank()
    taken = actual(lambda: list(edit.prepared.run(window)))
    assert 0.8 * taken <= predicted <= 1.3 * taken


def test_the_autoencoder_takes_what_is_predicted(model: Model) -> None:
    taken = max(
        actual(lambda: model.encode_frames(torch.zeros(3, 3, 32, 32))),
        actual(lambda: model.decode_latents(torch.zeros(3, 4, 8, 8))),
    )
    assert 0.8 * taken <= codec_peak(model, 3, (8, 8)) <= 1.2 * taken


def test_a_run_that_does_not_fit_says_what_would(
    model: Model, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = edit_of(model, clip, method="p2p", params=WORDS)
    whole, one = need_of(edit), need_of(edit, 1)
    assert (
        one.working < whole.working / 2
        and one.held < whole.held
        and one.weights == whole.weights == _weights(model)
    )
    monkeypatch.setattr("vedit.engine.memory.available", lambda device: whole.total - whole.weights - 1)
    with pytest.raises(MemoryBudgetError) as error:
        edit_video(
            job(clip, tmp_path / "a.gif", method="p2p", params=WORDS, target="a red dog"), model, Settings()
        )
    assert error.value.exit_code == 6 and "cpu has" in error.value.what
    assert error.value.next_step.startswith("Try --frames-per-call 1 (about ")
    assert (
        not (tmp_path / "a.gif").exists() and not (tmp_path / "cache").exists()
    )  # nothing was run before it


def test_nothing_fits_into_a_mebibyte(model: Model, clip: str) -> None:
    edit = edit_of(model, clip)
    with pytest.raises(MemoryBudgetError, match="a smaller --size"):
        check_memory(edit, 1)


def test_weights_that_are_loaded_already_need_no_room(
    model: Model, clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = edit_of(model, clip)
    need = need_of(edit)
    monkeypatch.setattr("vedit.engine.memory.available", lambda device: need.total - need.weights)
    check_memory(edit)


def test_explain_prints_the_plan_and_the_memory(model: Model, clip: str) -> None:
    task = job(clip, Path("unused.gif"), method="p2p", params=WORDS, target="a red dog")
    text = explain(task, model, read_pixels(clip, Selection(size=32)))
    assert (
        "cross-attention (swap): 16 sites" in text
        and "memory: about " in text
        and "3 frames in windows of 3" in text
    )


def growth(model: Model, folder: Path, short: int, long: int, **task: Any) -> float:
    """The peak of a long clip over that of a short one, four frames at once."""

    def peak(frames: int) -> int:
        edit = job(
            long_clip(folder / f"{frames}.gif", frames),
            folder / f"{frames}.nut",
            target="a red dog",
            frames_per_call=4,
            record=False,
            **task,
        )
        return actual(lambda: edit_video(edit, model, Settings()))

    return peak(long) / peak(short)


@pytest.mark.parametrize("method, params", [("p2p", {**WORDS, "steps": 2}), ("dds", {"iterations": 2})])
def test_three_windows_take_no_more_than_one(
    model: Model, clip: str, tmp_path: Path, method: str, params: dict[str, Any]
) -> None:
    # of a peak of 1 MB the frames that are more, 8 of 3 kB, are 2.5 %
    assert growth(model, tmp_path, 4, 12, method=method, params=params) <= 1.03


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, params",
    [
        ("p2p", WORDS),
        ("pnp", {"steps": 3}),
        ("sdedit", {"steps": 3}),
        ("dds", {"iterations": 2}),
        ("glp", {"iterations": 2}),
    ],
)
def test_64_frames_take_no_more_than_8(
    model: Model, clip: str, tmp_path: Path, method: str, params: dict[str, Any]
) -> None:
    """GLP joins frames: its windows of gradients grow with them, and are small beside a real network's call,
    not beside this one's.
    """
    assert growth(model, tmp_path, 8, 64, method=method, params=params) <= (4 if method == "glp" else 1.1)


def _weights(model: Model) -> int:
    return sum(weight_bytes(part) for part in (model.unet, model.vae, model.text_encoder))


def test_explain_says_seconds_and_disk_by_one_measurement_per_model(
    model: Model, clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vedit.jobs.edit import cost

    task = job(
        clip,
        Path("unused.gif"),
        method="p2p",
        params={**WORDS, "inversion_steps": 6, "fixed_point": 1},
        target="a red dog",
    )
    monkeypatch.setattr(cost, "_measured", lambda model, size, frames: 2.0)
    text = explain(task, model, read_pixels(clip, Selection(size=32)))
    # 3 frames of 2 s for 6 steps of inversion with 2 evaluations each, and 3 steps of 3 branches: 126 s
    assert (
        "time: about 2 minutes (an evaluation of a frame takes 2 s here; a frame takes 12 for the inversion,"
        in text
    )
    pixels, level = 2 * 3 * 32 * 32 * 3, 3 * 4 * 8 * 8 * 4
    assert f"disk: {(pixels + 4 * level) / 2**20:.1f} MiB" in text
    monkeypatch.setattr(cost, "_measured", lambda model, size, frames: pytest.fail("measured again"))
    explain(task, model, read_pixels(clip, Selection(size=32)))


def test_an_evaluation_is_measured_on_the_network_itself(model: Model, clip: str) -> None:
    from vedit.jobs.edit import cost

    assert 0 < cost._measured(model, (8, 8)) < 60
