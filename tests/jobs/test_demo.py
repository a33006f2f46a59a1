"""Protects vedit/jobs/demo.py: what it writes can be used by the other commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import vedit
from vedit.data.cases import Case
from vedit.jobs.demo import METHODS, SOURCE, TARGET, outputs_in, scores_text, shown
from vedit.jobs.draw_scene import scene_for
from vedit.jobs.record import SUFFIX


def test_each_record_of_the_demonstration_lies_beside_the_edit_itself() -> None:
    names = [Path(path).name for path in outputs_in("demo")]
    assert len(set(names)) == len(names)
    assert [name for name in names if name.endswith(SUFFIX)] == [
        f"{method}.gif{SUFFIX}" for method in METHODS
    ]
    assert {f"{method}-beside-source.gif" for method in METHODS} <= set(names)


@pytest.mark.parametrize(
    ("larger", "right", "lower", "words"),
    [
        (0, 0, 0, "yes"),
        (1, -1, 1, "yes"),
        (-3, 0, 0, "no: 3 px smaller"),
        (0, 3, -6, "no: 3 px too far right, 6 px too high"),
    ],
)
def test_an_object_of_another_size_or_elsewhere_is_not_right(
    larger: float, right: float, lower: float, words: str
) -> None:
    from vedit.data import scenes

    scene, truth = scene_for(SOURCE, seed=0, truth=TARGET)
    assert truth is not None
    case = Case("demo", "colour", truth.colour, scene)
    drawn = replace(truth, size_offset=truth.size_offset + larger, x=truth.x + right, y=truth.y + lower)
    found = shown("method", case, scenes.clip(drawn, 4) * 2 - 1)
    assert scores_text([found]).splitlines()[1].endswith(f"  {words}")


def test_the_source_has_another_colour_in_the_right_place() -> None:
    from vedit.data import scenes

    scene, truth = scene_for(SOURCE, seed=0, truth=TARGET)
    assert truth is not None
    found = shown("copy", Case("demo", "colour", truth.colour, scene), scenes.clip(scene, 4) * 2 - 1)
    assert not found.is_right and scores_text([found]).endswith("  no: another colour")


@pytest.mark.slow
def test_what_the_demonstration_writes_can_be_scored(tmp_path: Path) -> None:
    assert vedit("demo", "-O", tmp_path / "d", "-q").code == 0
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == sorted(
        Path(path).name for path in outputs_in(str(tmp_path / "d"))
    )
    for method in METHODS:
        done = vedit("score", tmp_path / "d" / f"{method}.gif", "--metrics", "embedded", "-q")
        assert done.code == 0 and "shapes_direction" in done.text, done.err
        assert "8 frames of 64x64" in done.text
