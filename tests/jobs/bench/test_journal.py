"""The journal of the drawn-scene benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

from vedit.data.cases import KINDS, load_cases
from vedit.errors import OutputError
from vedit.jobs.bench import scenes
from vedit.jobs.bench.journal import Journal, Score, score_key
from vedit.jobs.bench.sheet import Sheet

CASE = load_cases("drawn-scenes-tuning")[0]
SCORE = Score("p2p", CASE.id, CASE.kind, 20.0, 30.0, 10.0, 1.0, 4.0)


class StubModel:
    """A codec that keeps everything."""

    def identity(self) -> dict[str, str]:
        return {"unet_sha256": "0"}

    def encode_frames(self, frames: Any) -> Any:
        return frames

    decode_latents = encode_frames


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was really edited: case and method."""
    seen: list[tuple[str, str]] = []

    def edit(model: Any, case: Any, method: str, values: Any, frames: int) -> torch.Tensor:
        seen.append((case.id, method))
        return torch.zeros(frames, 3, 64, 64)

    monkeypatch.setattr(scenes, "edit_scene", edit)
    return seen


def run(path: str | None, presets: dict[str, dict[str, Any]], **more: Any) -> list[Score]:
    model: Any = StubModel()
    contenders = {name: scenes.Contender(name, values) for name, values in presets.items()}
    return scenes.run_scenes(model, contenders, limit=1, frames=2, journal=Journal(path), **more)


def test_a_preset_stands_in_its_own_row_as_its_method(made: list[tuple[str, str]]) -> None:
    rows = {"best-shapes": scenes.Contender("combine", {}), "p2p": scenes.Contender("p2p", {})}
    model: Any = StubModel()
    found = scenes.run_scenes(model, rows, limit=1, frames=2)
    assert [name for _, name in made[:2]] == ["combine", "p2p"], "case by case, one kind after the other"
    assert [case.rpartition("-")[0] for case, _ in made[::2]] == list(KINDS)
    assert [score.method for score in found if score.method not in (scenes.COPY, scenes.CODEC)] == [
        "best-shapes",
        "p2p",
    ] * len(KINDS)


def test_what_a_journal_knows_is_not_edited_again(tmp_path: Path, made: list[tuple[str, str]]) -> None:
    path = str(tmp_path / "scores.jsonl")
    first = run(path, {"pnp": {}})
    assert len(made) == 6
    assert run(path, {"pnp": {}}) == first and len(made) == 6
    run(path, {"pnp": {}, "ddim": {}})
    assert len(made) == 12 and {method for _, method in made[6:]} == {"ddim"}
    run(path, {"pnp": {"steps": 3}})
    assert len(made) == 18, "other parameters are another score"


def test_a_run_that_was_stopped_goes_on_behind_a_torn_line(
    tmp_path: Path, made: list[tuple[str, str]]
) -> None:
    path = tmp_path / "scores.jsonl"
    whole = run(str(path), {"pnp": {}})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9]) + lines[9][:40])  # three rows a case: ten begun, nine whole
    made.clear()
    assert run(str(path), {"pnp": {}}) == whole and len(made) == 3
    made.clear()
    assert run(str(path), {"pnp": {}}) == whole and not made


def test_a_sheet_shows_what_the_journal_knows_too(tmp_path: Path, made: list[tuple[str, str]]) -> None:
    path, sheet = str(tmp_path / "scores.jsonl"), Sheet()
    run(path, {"pnp": {}})
    run(path, {"pnp": {}}, sheet=sheet)
    assert [list(row) for _, row in sheet.rows.values()] == [["source", "truth", "pnp"]] * 6


def test_the_key_tells_case_method_parameters_frames_and_model_apart() -> None:
    other = load_cases("drawn-scenes-tuning")[1]
    keys = {
        score_key(CASE, "p2p", {}, 8, {}),
        score_key(other, "p2p", {}, 8, {}),
        score_key(CASE, "pnp", {}, 8, {}),
        score_key(CASE, "p2p", {"steps": 4}, 8, {}),
        score_key(CASE, "p2p", {}, 4, {}),
        score_key(CASE, "p2p", {}, 8, {"unet_sha256": "1"}),
    }
    assert len(keys) == 6


def test_a_file_that_is_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text("| method |\n")
    with pytest.raises(OutputError, match="not a journal of vedit bench scenes"):
        Journal(str(path))
    assert path.read_text() == "| method |\n"


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "nowhere" / "scores.jsonl"))
    with pytest.raises(OutputError, match="cannot write the journal"):
        journal.add("key", SCORE)
