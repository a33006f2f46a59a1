"""Protects vedit/jobs/demo.py: what it writes can be used by the other commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import vedit
from vedit.jobs.demo import METHODS, outputs_in
from vedit.jobs.record import SUFFIX


def test_each_record_of_the_demonstration_lies_beside_the_edit_itself() -> None:
    names = [Path(path).name for path in outputs_in("demo")]
    assert len(set(names)) == len(names)
    assert [name for name in names if name.endswith(SUFFIX)] == [
        f"{method}.gif{SUFFIX}" for method in METHODS
    ]
    assert {f"{method}-beside-source.gif" for method in METHODS} <= set(names)


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
