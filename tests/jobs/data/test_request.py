"""What data sets are asked to be is checked before anything is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedit.errors import UsageError
from vedit.jobs.data.request import (
    CutRequest,
    FolderRequest,
    ListedRequest,
    MovingMnistRequest,
    MsrVttRequest,
    plan,
)
from vedit.jobs.sink import Quiet


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (MovingMnistRequest(folder="out"), "needs a file and an output folder"),
        (MovingMnistRequest(folder="out", source="x.npy", synth=3), "--synth takes the output folder"),
        (MovingMnistRequest(folder="out", synth=3, caption="x"), "Drawn clips have exact captions"),
        (MovingMnistRequest(folder="out", source="x.npy", straight=True), "for clips that are drawn"),
        (
            FolderRequest(folder="out", source="clips", min_seconds=2, max_seconds=1),
            "1 is below --min-seconds 2",
        ),
        (FolderRequest(folder="out", source="clips", size="many"), "many is not a size"),
        (ListedRequest(folder="out", source="t.csv", clips="clips", fps="99"), "99 is not a rate"),
        (MsrVttRequest(folder="out", annotation="a.json", clips="clips"), "only if you may"),
    ],
)
def test_what_does_not_go_together_is_refused_without_a_file(
    request_: CutRequest, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        plan(request_)
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_is_made_from_python(tmp_path: Path) -> None:
    made = plan(MovingMnistRequest(folder=str(tmp_path / "digits"), synth=5, frames=2, limit=3, seed=1))
    assert str(made) == f"make a data set of gif clips in {tmp_path}/digits, 3 clips at most"
    summary = made.run(Quiet())
    assert (summary.written, summary.failed) == (3, ())
    assert len(list((tmp_path / "digits").glob("*.gif"))) == 3
