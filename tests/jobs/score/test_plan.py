"""What will be scored is known before anything is: profile, what is left out, bars, outputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import NASTY
from vedit.errors import CheckFailed, OutputError, UsageError
from vedit.jobs.score.plan import plan
from vedit.jobs.score.request import ScoreRequest
from vedit.jobs.sink import Quiet

CLIP = str(NASTY / "ok_plain.gif")


def test_planning_loads_no_torch() -> None:
    code = (
        "import sys; from vedit.jobs.score.plan import plan; from vedit.jobs.score.request import"
        f" ScoreRequest; plan(ScoreRequest(clip={CLIP!r}, metrics='quality', profile='embedded'));"
        " print(sorted({'torch', 'transformers', 'diffusers', 'open_clip'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


def test_a_plan_says_what_it_will_do(tmp_path: Path) -> None:
    report = str(tmp_path / "report.json")
    made = plan(ScoreRequest(clip=CLIP, metrics="flicker", profile="embedded", json_file=report))
    assert (
        str(made) == f"score 1 clip, profile embedded: flicker_mae, temporal_flickering\n  json to {report}"
    )
    assert not Path(report).exists()


def test_scoring_from_python_gives_numbers_and_writes_the_report(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    scored = plan(
        ScoreRequest(
            clip=CLIP, source=CLIP, truth=CLIP, metrics="psnr", fail_under=("psnr=30",), json_file=str(report)
        )
    ).run(Quiet())
    scored.check()
    assert scored.results.rows[0].numbers["psnr"].value == 100
    assert "psnr" in scored.text()
    assert report.exists()


def test_a_missed_bar_is_told_with_the_mean() -> None:
    scored = plan(ScoreRequest(clip=CLIP, truth=CLIP, metrics="psnr", fail_over=("psnr=30",))).run(Quiet())
    with pytest.raises(CheckFailed, match=r"^psnr is 100.0000, over 30\.$"):
        scored.check()


def test_a_bar_for_a_metric_that_is_not_computed_is_refused() -> None:
    with pytest.raises(UsageError, match="ssim is not among the metrics"):
        plan(ScoreRequest(clip=CLIP, metrics="psnr", fail_under=("ssim=1",)))


def test_an_output_that_exists_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    there = tmp_path / "report.json"
    there.write_text("{}")
    with pytest.raises(OutputError, match="exists"):
        plan(ScoreRequest(clip=CLIP, json_file=str(there)))


def test_asking_does_not_change_the_request() -> None:
    asked = ScoreRequest(clip=CLIP, metrics="flicker")
    assert plan(asked).request == asked == ScoreRequest(clip=CLIP, metrics="flicker")
