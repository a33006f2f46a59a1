from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.conftest import parsed, vedit
from tests.jobs.conftest import job
from vedit.engine.null_text import NullText
from vedit.errors import InputError, ModelError
from vedit.jobs import cache
from vedit.jobs.clips import Selection, read_pixels
from vedit.jobs.edit.ablate import ablate
from vedit.jobs.edit.invert import InversionSettings, invert_video
from vedit.jobs.edit.request import as_it_was
from vedit.jobs.edit.video import edit_video
from vedit.jobs.generate.run import Choices, Job, Take, generate
from vedit.jobs.record import carried, read_record, write_record
from vedit.jobs.replay import replay
from vedit.media.run import Settings
from vedit.models.sd.model import Model


def test_a_replayed_edit_gives_the_same_bytes(model: Model, clip: str, tmp_path: Path) -> None:
    edit_video(
        job(clip, tmp_path / "a.gif", target="a blue dog", seed=3, mask=("0,0,16,16",), keep_outside=True),
        model,
        Settings(),
    )
    replay(read_record(str(tmp_path / "a.gif")), str(tmp_path / "b.gif"))
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


@pytest.mark.parametrize("detail", [None, False])
def test_detail_is_given_back_or_not_as_it_was(
    model: Model, clip: str, tmp_path: Path, detail: bool | None
) -> None:
    edit_video(job(clip, tmp_path / "a.gif", detail=detail), model, Settings())
    record = read_record(str(tmp_path / "a.gif"))
    assert record["detail"] is (detail is None)
    replay(record, str(tmp_path / "b.gif"))
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    del record["detail"]  # as those were written before there was any
    replay(record, str(tmp_path / "c.gif"))
    assert ((tmp_path / "a.gif").read_bytes() == (tmp_path / "c.gif").read_bytes()) is (detail is False)


def test_masks_of_a_record_from_before_they_could_fit_stay_cells() -> None:
    old = {"blend_scales": [4], "blend_threshold": 0.3}
    assert as_it_was(old) == {**old, "blend_fit": "cells"}
    assert as_it_was({"mask_scales": [4], "mask_fit": "pixels"})["mask_fit"] == "pixels"
    assert as_it_was({"steps": 3}) == {"steps": 3}


def test_other_weights_and_other_commands_are_refused(model: Model, clip: str, tmp_path: Path) -> None:
    record = edit_video(job(clip, tmp_path / "a.gif"), model, Settings())
    with pytest.raises(ModelError, match="not those of the record"):
        replay({**record, "model": {**record["model"], "unet_sha256": "0" * 64}}, str(tmp_path / "b.gif"))
    with pytest.raises(InputError, match="nothing that can be repeated"):
        replay({"command": "score"}, str(tmp_path / "b.gif"))


def test_other_versions_are_named(model: Model, clip: str, tmp_path: Path) -> None:
    record = edit_video(job(clip, tmp_path / "a.gif"), model, Settings())
    said: list[str] = []
    replay(
        {**record, "versions": {**record["versions"], "torch": "1.0"}},
        str(tmp_path / "b.gif"),
        warn=said.append,
    )
    assert any("(was 1.0)" in message for message in said)


def test_an_output_without_a_record_says_where_it_would_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.gif\.vedit\.json"):
        read_record(str(tmp_path / "none.gif"))
    write_record(str(tmp_path / "x.gif"), {"command": "edit"})
    assert read_record(str(tmp_path / "x.gif.vedit.json")) == {"command": "edit"}


@pytest.mark.parametrize("name", ["a.gif", "a.mp4", "a.mkv"])
def test_the_output_alone_is_enough(model: Model, clip: str, tmp_path: Path, name: str) -> None:
    edit_video(
        job(clip, tmp_path / name, target="a blue dog", source='a "red" cat; 50% = a #1 \\ cat'),
        model,
        Settings(),
    )
    sidecar = json.loads((tmp_path / f"{name}.vedit.json").read_text())
    (tmp_path / f"{name}.vedit.json").unlink()
    recipe = read_record(str(tmp_path / name))
    # what was measured is in the sidecar only: a second run must give the same bytes
    assert set(recipe) <= set(sidecar) and {"seconds", "output", "peak_memory_mib"}.isdisjoint(recipe)
    named = ("inversion", "input", "model")  # their folders are told in the sidecar only
    assert all(sidecar[key] == value for key, value in recipe.items() if key not in named)
    assert recipe["input"] == clip and str(tmp_path) not in json.dumps(carried(str(tmp_path / name)))
    cache.clear()
    with pytest.raises(InputError, match="--model FOLDER"):
        replay(recipe, str(tmp_path / f"b{name}"))
    replay({**recipe, "model": {**recipe["model"], "id": str(model.folder)}}, str(tmp_path / f"b{name}"))
    assert (tmp_path / name).read_bytes() == (tmp_path / f"b{name}").read_bytes()


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_nothing_is_recorded_when_it_is_not_wanted(
    model: Model, clip: str, tmp_path: Path, name: str
) -> None:
    edit_video(job(clip, tmp_path / name, record=False), model, Settings())
    assert [path.name for path in tmp_path.glob("a.*")] == [name]
    assert carried(str(tmp_path / name)) is None
    with pytest.raises(InputError, match="has no run record"):
        read_record(str(tmp_path / name))


def test_an_edit_of_an_edit_carries_its_own_recipe_and_the_clip_s_other_comments(
    model: Model, clip: str, tmp_path: Path
) -> None:
    assert vedit("gif", "metadata", "--comment", "by hand", clip, "-o", str(tmp_path / "c.gif")).code == 0
    edit_video(job(str(tmp_path / "c.gif"), tmp_path / "a.gif", target="a blue dog"), model, Settings())
    edit_video(job(str(tmp_path / "a.gif"), tmp_path / "b.gif", target="a red dog"), model, Settings())
    comments = parsed(tmp_path / "b.gif").comments
    assert len(comments) == 2 and comments[0] == b"by hand"
    assert carried(str(tmp_path / "b.gif"))["target_prompt"] == "a red dog"  # type: ignore[index]


def test_an_inversion_that_is_gone_is_made_again_as_it_was(model: Model, clip: str, tmp_path: Path) -> None:
    path, pixels = tmp_path / "x.inv.safetensors", read_pixels(clip, Selection(size=32))
    for null in (None, NullText(3.0, inner_steps=1)):
        invert_video(
            model, pixels, str(path), InversionSettings("a red cat", steps=4, fixed_point=2, null=null)
        )
        task = job(
            clip,
            tmp_path / "a.gif",
            target="a blue dog",
            params={"steps": 4 if null else 2, "guidance": 3.0},
            inversion=str(path),
        )
        record = edit_video(task, model, Settings())
        assert (record["inversion"]["steps"], record["inversion"]["fixed_point"]) == (4, 2)
        path.unlink()
        cache.clear()
        replay(record, str(tmp_path / "b.gif"))
        assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_an_ablation_is_repeated_whole(model: Model, clip: str, tmp_path: Path) -> None:
    ablate(
        job(clip, tmp_path / "a.gif", method="glp", params={"iterations": 2}, target="a blue dog"),
        model,
        Settings(),
    )
    replay(read_record(str(tmp_path / "a.gif")), str(tmp_path / "b.gif"))
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_generated_clips_are_repeated_from_the_output_alone_to_the_byte(tmp_path: Path) -> None:
    rows = [[Take("a red ring", steps=2, seed=seed) for seed in (3, 4)]]
    record = generate(Job(Choices("shapes", device="cpu"), rows, str(tmp_path / "a.gif")))[0]
    (tmp_path / "a.gif.vedit.json").unlink()
    carried_record = read_record(str(tmp_path / "a.gif"))
    replay(carried_record, str(tmp_path / "b.gif"))
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with pytest.raises(ModelError, match="not those of the record"):
        replay({**record, "model": {**record["model"], "unet_sha256": "0" * 64}}, str(tmp_path / "c.gif"))
    assert not (tmp_path / "c.gif").exists()


def test_a_hosted_generator_s_clip_cannot_be_repeated(tmp_path: Path) -> None:
    record = {
        "command": "generate",
        "choices": {},
        "model": {"name": "remote:videos", "revision": None},
        "versions": {},
    }
    with pytest.raises(InputError, match="made by remote:videos"):
        replay(record, str(tmp_path / "b.gif"))
