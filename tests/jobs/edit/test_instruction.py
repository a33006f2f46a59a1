"""Edits by an instruction with a tiny model of Wan's layout: pairs, training, an edit, as users type them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import Result, vedit
from tests.engine.video_folder import write_wan
from tests.jobs.edit.square import read_frames
from vedit.jobs.clips import write_frames
from vedit.jobs.record import SUFFIX
from vedit.training.loop import latest_state, tensors_of

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("module_cache")
SETTINGS = ("--set", "rank=2", "--set", "frames=5", "--set", "positions=shared", "--set", "log_every=1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone, two pairs of clips of 16x16, and weights trained on them for two steps in two calls."""
    place = tmp_path_factory.mktemp("place")
    write_wan(place / "wan")
    rows = []
    for name, grey in (("a", 40), ("b", 200)):
        frames = np.full((5, 16, 16, 3), grey, np.uint8)
        write_frames(frames, [10] * 5, str(place / f"{name}.apng"))
        write_frames(255 - frames, [10] * 5, str(place / f"{name}-edited.apng"))
        files = {"source": f"{name}.apng", "target": f"{name}-edited.apng"}
        rows.append({"id": name, "kind": "expert", **files, "instruction": "a red cat"})
    (place / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for steps in ("1", "2"):
        result = trained(place, "run", "--steps", steps)
        assert result.code == 0, result.err
    return place


def trained(place: Path, run: str, *more: str) -> Result:
    given = ("--pairs", place / "pairs.jsonl", "--backbone", place / "wan", "--out", place / run)
    return vedit("train", "--method", "easyv2v", *given, *SETTINGS, *more)


def edit(place: Path, output: str, *more: str | Path) -> Result:
    given = ("--instruction", "a red cat", "--weights", place / "run" / "weights")
    return vedit("edit", place / "a.apng", "-o", place / output, *given, "--steps", "2", *more)


def test_training_in_two_calls_equals_training_in_one(place: Path) -> None:
    assert trained(place, "whole", "--steps", "2").code == 0
    for name in ("model", "ema", "optimizer"):
        parts, whole = (tensors_of(latest_state(place / run), name) for run in ("run", "whole"))  # type: ignore[arg-type]
        assert whole and all(torch.equal(value, parts[key]) for key, value in whole.items())
    again = json.loads((place / "run" / "weights" / "config.json").read_text())
    assert again["training"]["steps"] == 2 and again["rank"] == 2 and again["way"] == "sequence"
    assert {"transformer_sha256", "vae_sha256"} == set(again["backbone"]["hashes"])


@pytest.mark.slow  # half a minute: two whole edits
def test_an_edit_takes_the_model_of_its_weights_and_its_record_repeats_it(place: Path) -> None:
    result = edit(place, "out.gif", "--mask", "box:0,0,8,16", "--ref", place / "b.apng")
    assert result.code == 0, result.err
    record = json.loads((place / f"out.gif{SUFFIX}").read_text())
    assert record["method"] == "easyv2v" and record["target_prompt"] == "a red cat"
    assert record["source_prompt"] == "" and len(record["weights_sha256"]) == 64
    first = read_frames(place / "out.gif")
    assert first.shape == (5, 16, 16, 3) and not np.array_equal(
        first[:, :, :8], read_frames(place / "a.apng")[:, :, :8]
    )
    assert np.abs(first[:, :, 8:].astype(int) - 40).max() <= 2  # outside the mask the clip is put back
    again = vedit("replay", place / "out.gif", "-o", place / "again.gif")
    assert again.code == 0, again.err
    assert (place / "again.gif").read_bytes() == (place / "out.gif").read_bytes()


@pytest.mark.slow  # half a minute: two whole edits
def test_a_frame_is_edited_first_and_is_then_the_reference(place: Path) -> None:
    result = edit(place, "ref.gif", "--ref-from", "3", "--ref-edit", "a blue cat")
    assert result.code == 0, result.err
    plain = edit(place, "plain.gif")
    assert plain.code == 0 and not np.array_equal(
        read_frames(place / "ref.gif"), read_frames(place / "plain.gif")
    )
    record = json.loads((place / f"ref.gif{SUFFIX}").read_text())
    assert (record["ref_from"], record["ref_edit"]) == (3, "a blue cat")
    far = edit(place, "far.gif", "--ref-from", "9", "--ref-edit", "a blue cat")
    assert far.code == 2 and "Those are 0 to 4." in far.err


@pytest.mark.slow  # half a minute: two whole edits
def test_several_clips_follow_an_instruction(place: Path, tmp_path: Path) -> None:
    given = ("--instruction", "a red cat", "--weights", place / "run" / "weights", "--steps", "1")
    result = vedit("edit", place / "a.apng", place / "b.apng", "-O", tmp_path / "out", *given)
    assert result.code == 0, result.err
    assert {"a", "b"} <= {file.name.partition(".")[0] for file in (tmp_path / "out").iterdir()}


def test_the_plan_tells_of_the_weights(place: Path) -> None:
    told = vedit(
        "edit",
        place / "a.apng",
        "--explain",
        "--instruction",
        "a red cat",
        "--weights",
        place / "run/weights",
    )
    assert told.code == 0 and "LoRA of rank 2" in told.text and "shown as more frames" in told.text


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--prompt", "a cat"), "--prompt and --instruction were given together"),
        (("--method", "p2p"), "p2p follows no instruction"),
        (("--source-prompt", "a cat"), "needs no --source-prompt"),
        (("--ref", "missing.png"), "there is no such file"),
        (("--ref-from", "1"), 'Add --ref-edit "'),  # as a shell takes it
        (("--ref-edit", "a cat"), "go together"),
        (("--ref", "pairs.jsonl", "--ref-from", "1", "--ref-edit", "a cat"), "were given together"),
        (("--weights", "wan"), "not the weights of an instruction editor"),
        (("--weights", "nowhere"), "no such folder"),
        (("--save-attention", "maps"), "follows an instruction"),
    ],
)
def test_what_does_not_go_with_an_instruction_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(place)
    result = edit(Path("."), "no.gif", *more)
    assert result.code in (2, 3, 5) and told in result.err and not (place / "no.gif").exists()


def test_a_reference_without_an_instruction_is_refused(place: Path) -> None:
    given = ("--source", "a cat", "--prompt", "a dog", "--ref", place / "b.apng")
    result = vedit("edit", place / "a.apng", "-o", place / "no.gif", *given)
    assert result.code == 2 and "--ref is for a method that follows an instruction" in result.err


def test_weights_of_an_editor_are_refused_by_a_method_that_has_none(place: Path) -> None:
    given = ("--source", "a cat", "--prompt", "a dog", "--weights", place / "run" / "weights")
    result = vedit("edit", place / "a.apng", "-o", place / "no.gif", "--method", "p2p", *given)
    assert result.code == 2 and "--weights are those of easyv2v, and the method is p2p" in result.err
    assert "Add --instruction TEXT" in result.err and "named by --model" in result.err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--set", "rnk=3"), "no key 'rnk'"),
        (("--set", "frames=6"), "not 4k + 1"),
        (("--set", "width=32"), "go together"),
        (("--preset", "tiny"), "--preset is not for --method easyv2v"),
        (("--anneal", "3"), "--anneal is not for"),
        (("--set", "rank=3"), "started with other settings"),
        (("--precision", "fp16"), "not for easyv2v"),
    ],
)
def test_settings_of_training_that_are_wrong_are_refused(
    place: Path, more: tuple[str, ...], told: str
) -> None:
    result = trained(place, "run", "--steps", "3", *more)
    assert result.code == 2 and told in result.err


def test_pairs_and_backbones_that_are_wrong_are_refused(place: Path, tmp_path: Path) -> None:
    given = ("train", "--method", "easyv2v", "--out", tmp_path / "r", "--steps", "1")
    assert "--pairs is missing" in vedit(*given, "--backbone", place / "wan").err
    none = vedit(*given, "--pairs", tmp_path / "no.jsonl", "--backbone", place / "wan", *SETTINGS)
    assert none.code == 3 and "no.jsonl" in none.err
    many = vedit(*given, "--pairs", place / "pairs.jsonl", "--backbone", place / "wan")
    assert many.code == 2 and "places for 32" in many.err
    assert "for the training of an instruction editor" in vedit("train", "--pairs", "x", "--out", "y").err
    assert "there is no method to train called 'p2p'" in vedit("train", "--method", "p2p", "--out", "y").err
