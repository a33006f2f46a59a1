"""What would make a mean or a comparison other than it seems is found; what is whole is let pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import vedit
from tests.jobs.scores import report
from vedit.jobs.score.check import check
from vedit.jobs.score.results import Number, Results, Row, to_csv

WHOLE = report("m", {"psnr": [0.1, 0.2, 0.3]})


def changed(**fields: object) -> Results:
    """The report with its second row changed."""
    first, second, third = WHOLE.rows
    return replace(WHOLE, rows=(first, replace(second, **fields), third))  # type: ignore[arg-type]


def test_a_whole_report_has_no_findings() -> None:
    assert check([WHOLE]) == []
    assert check([WHOLE, replace(WHOLE, name="n")]) == []


@pytest.mark.parametrize(
    "hurt, said",
    [
        (changed(numbers={}), "psnr: no number of v1."),
        (changed(numbers={"psnr": Number(float("nan"))}), "psnr: not finite for v1."),
        (changed(numbers={}, failed={"psnr": "torn"}), "v1: not scored: psnr: torn."),
        (changed(facts={"damage": "2 frames"}), "Damaged and left out of m: v1."),
        (replace(WHOLE, rows=()), "it holds no video."),
    ],
)
def test_what_is_wrong_is_said_once(hurt: Results, said: str) -> None:
    assert [(finding.text, finding.is_wrong) for finding in check([hurt])] == [(said, True)]


def test_what_is_skipped_for_a_reason_is_not_wrong() -> None:
    assert check([changed(numbers={}, skipped={"psnr": "no truth"})]) == []


def test_flags_and_unusual_values_are_worth_a_look() -> None:
    found = check([changed(flags=("a copy",), numbers={"psnr": Number(1.5)})])
    assert not any(finding.is_wrong for finding in found)
    assert [finding.text for finding in found] == ["psnr: outside the usual 0..1 for v1.", "v1: a copy"]


def test_an_index_and_other_reports_say_which_videos_are_missing(tmp_path: Path) -> None:
    two = [*WHOLE.rows[:2], Row("extra", "0", {"psnr": Number(0.5)})]
    other = replace(WHOLE, name="n", rows=tuple(two))
    assert [finding.text for finding in check([WHOLE, other])] == ["not in every report: extra/0, v2/0."]
    (tmp_path / "n.csv").write_text(to_csv(other))
    (tmp_path / "i.toml").write_text(
        "".join(f'[[video]]\nid = "v{n}"\n[[video.edit]]\nprompt = "x"\n' for n in range(3))
    )
    done = vedit("score", "check", tmp_path / "n.csv", "--index", tmp_path / "i.toml")
    assert done.code == 1
    assert "of the index, not in the report: v2/0." in done.text and "not in the index: extra/0." in done.text
