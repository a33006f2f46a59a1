"""Protects vedit/metrics/own.py: a metric in a file of one's own, as far as to its column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import vedit
from tests.jobs.score.test_clips import greys, write_gif
from tests.metrics.clips import clip, values
from vedit import metrics
from vedit.errors import InputError, UsageError, VeditError
from vedit.metrics import own
from vedit.metrics.types import Options

REDNESS = """
from vedit.metrics.base import Value

VALUES = (Value("redness", "", True, "0..255", "How red the picture is."),)

def score(clip, towers, options):
    return {"redness": [frame[..., 0].mean() for frame in clip.edited_TYX3]}
"""


@pytest.fixture(autouse=True)
def no_files() -> Iterator[None]:
    yield
    metrics.registry.files.clear()


def written(tmp_path: Path, text: str, name: str = "redness.py") -> str:
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def test_numbers_by_frame_become_their_mean(tmp_path: Path) -> None:
    name = own.load(written(tmp_path, REDNESS))
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    frames[1, ..., 0] = 100
    found = metrics.load(name).score(clip(frames), None, Options())
    assert values(found) == {"redness": 50}
    assert found["redness"].per_frame == (0, 100)
    assert own.load(str(tmp_path / "redness.py")) == name  # the same file once more


def test_a_file_is_a_column_of_the_report_with_its_hash(tmp_path: Path) -> None:
    path = written(tmp_path, REDNESS)
    edited = write_gif(tmp_path / "e.gif", greys(3))
    done = vedit("score", edited, "--metrics", "flicker", "--metric-file", path, "--json", "-")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["videos"][0]["values"]["redness"]["value"] == 40
    assert len(report["provenance"]["weights"]["redness"]["sha256"]) == 64
    assert list(report["metrics"]) == ["flicker_mae", "temporal_flickering", "redness"]
    (tmp_path / "r.json").write_bytes(done.out)
    table = vedit("score", "table", tmp_path / "r.json")  # reads without the file
    assert b"redness" in table.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("def score(): pass", "no VALUES"),
        ("VALUES = (1,)", "no VALUES"),
        (REDNESS.partition("def")[0], "no score"),
        (REDNESS + "NEEDS = {'luck'}", "needs luck"),
        (REDNESS.replace("redness", "psnr"), "already"),
        ("import no_such_module_here", "ModuleNotFoundError"),
    ],
)
def test_what_is_no_metric_is_refused_with_the_reason(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(VeditError, match=words):
        own.load(written(tmp_path, text))


def test_a_taken_name_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a metric called psnr"):
        own.load(written(tmp_path, REDNESS, "psnr.py"))
    with pytest.raises(InputError, match="FileNotFoundError"):
        own.load(str(tmp_path / "absent.py"))


def test_an_error_in_the_file_is_its_fault_and_no_traceback(tmp_path: Path) -> None:
    name = own.load(written(tmp_path, REDNESS.replace("clip.edited_TYX3", "clip.frames")))
    with pytest.raises(InputError, match=r"redness\.py: AttributeError"):
        metrics.load(name).score(clip(np.zeros((1, 2, 2, 3), np.uint8)), None, Options())
