"""Protects vedit/jobs/score/agree.py, blind.py and the rank correlations: SciPy's numbers, labels as people
write them, and a sheet that tells nothing.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import vedit
from tests.jobs.score.test_clips import greys, write_gif
from tests.jobs.scores import report
from vedit.errors import InputError
from vedit.jobs.score.agree import agree, agreement_table, read_labels
from vedit.jobs.score.blind import differences, drawn, read_choices, sheet_of
from vedit.jobs.score.results import to_json
from vedit.jobs.score.statistics import _kendall, _spearman, agreement

X = [2.0, -2.6, 0.4, -0.6, -0.5, -0.2, -2.0, -0.2, -0.9, 3.3, 0.2, -0.4]
Y = [2.0, -3.0, -1.0, -1.0, 0.0, 0.0, -1.0, 0.0, -1.0, 5.0, 1.0, -1.0]


def test_correlations_are_those_of_scipy_ties_included() -> None:
    found = agreement(X, Y)  # scipy.stats.spearmanr and kendalltau of SciPy 1.17
    assert found.spearman == pytest.approx(0.7977805022336708, abs=1e-12)
    assert found.kendall == pytest.approx(0.7326116869731845, abs=1e-12)
    assert (found.n, found.videos) == (12, 12)


def test_a_bootstrap_sample_is_the_rows_repeated_as_often_as_they_were_drawn() -> None:
    picked = [0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 11, 11]
    weights = np.bincount(picked, minlength=12)[None].astype(float)
    x, y = np.array(X), np.array(Y)
    assert _spearman(x, y, weights)[0] == pytest.approx(0.8563488385776752, abs=1e-12)  # scipy, of x[picked]
    assert _kendall(x, y, weights)[0] == pytest.approx(0.7977240352174656, abs=1e-12)


def test_the_interval_takes_videos_with_all_their_edits() -> None:
    one = agreement(X, Y, seed=1)
    assert one.spearman_interval is not None and one.kendall_interval is not None
    assert one.spearman_interval[0] < 0.7978 < one.spearman_interval[1]
    twice = agreement([*X, *X], [*Y, *Y], [*map(str, range(12)), *map(str, range(12))], seed=1)
    assert twice.spearman_interval == pytest.approx(one.spearman_interval)
    assert (twice.n, twice.videos) == (24, 12)
    assert agreement(X[:4], Y[:4]).spearman_interval is None


def test_perfect_opposite_and_constant_rankings() -> None:
    assert agreement([1, 2, 3, 4], [10, 20, 30, 40])[2] == agreement([1, 2, 3, 4], [10, 20, 30, 40])[4] == 1
    assert agreement([1, 2, 3, 4], [4, 3, 2, 1]).kendall == -1
    assert agreement([1, 1, 1], [1, 2, 3]).spearman is None


def labels(tmp_path: Path, text: str) -> str:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return str(path)


def test_raters_are_averaged_and_lower_is_turned_round(tmp_path: Path) -> None:
    text = "video_id,rater,quality\nv0,a,1\nv0,b,3\nv1,a,4\nv2,a,5\nv3,a,\nv9,a,1\n"
    read = read_labels(labels(tmp_path, text))
    assert read["", "v0", "0"] == {"quality": 2}
    assert read["", "v3", "0"] == {}
    given = report("glp", {"good": [1, 2, 3, 9], "bad": [3, 2, 1, 0]}, lower=["bad"])
    lines = agree([given], read)
    assert [(line.metric, line.found.spearman, line.found.n) for line in lines] == [
        ("good", 1.0, 3),
        ("bad", 1.0, 3),
    ]
    shown = agreement_table(lines, [given], is_of_choices=False)
    assert [cell.text for cell in shown.rows[0]][:4] == ["good", "quality", "3", "+1.000"]


def test_labels_of_several_methods_belong_to_their_reports(tmp_path: Path) -> None:
    text = "method;video_id;quality\nglp;v0;1,5\nglp;v1;2\np2p;v0;4\np2p;v1;3\n"
    reports = [report("glp", {"m": [1, 2]}), report("p2p", {"m": [4, 3]})]
    (line,) = agree(reports, read_labels(labels(tmp_path, text)))
    assert (line.found.n, line.found.videos, line.found.spearman) == (4, 2, 1.0)
    with pytest.raises(InputError, match="no edit has both"):
        agree(reports, read_labels(labels(tmp_path, "video_id,q\nv0,1\nv1,2\n")))


@pytest.mark.parametrize(
    "text", ["", "video_id\nv0\n", "name,quality\nv0,1\n", "video_id,q\nv0,good\n", "video_id,q\nv0,nan\n"]
)
def test_what_is_no_file_of_labels_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="labels"):
        read_labels(labels(tmp_path, text))


def sheet(tmp_path: Path) -> tuple[str, str]:
    """Two reports of three clips that exist."""
    names = []
    for name, first in (("glp", 20), ("secret-p2p", 60)):
        rows = report(name, {"m": [1.0, 2.0, 3.0], "low": [3.0, 2.0, 1.0]}, lower=["low"])
        record = to_json(rows)
        for number, video in enumerate(record["videos"]):
            video["edited"] = write_gif(tmp_path / f"{name}{number}.gif", greys(2, first=first + number))
            video["source"], video["prompt"] = video["edited"], "a <b>cat</b>"
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(record))
        names.append(str(path))
    return names[0], names[1]


def test_a_blind_sheet_tells_no_method_and_its_key_does(tmp_path: Path) -> None:
    one, other = sheet(tmp_path)
    page = tmp_path / "sheet.html"
    done = vedit("score", "blind", one, other, "-o", page)
    assert done.code == 0, done.err
    text = page.read_text()
    assert "secret-p2p" not in text and "glp" not in text
    assert "a &lt;b&gt;cat&lt;/b&gt;" in text
    key = json.loads((tmp_path / "sheet.key.json").read_text())
    assert {pair["left"] for pair in key["pairs"]} | {pair["right"] for pair in key["pairs"]} == {
        "glp",
        "secret-p2p",
    }
    assert sorted(pair["video_id"] for pair in key["pairs"]) == ["v0", "v1", "v2"]
    again = vedit("score", "blind", one, other, "-o", page)
    assert again.code == 4 and "exists" in again.err


def test_sides_and_order_are_drawn_from_the_seed() -> None:
    count = 40
    a, b = (report(name, {"m": list(range(count))}) for name in "ab")
    pairs = drawn(a, b, seed=1)
    assert 10 < sum(pair.left_name == "a" for pair in pairs) < 30
    assert [pair.left.id for pair in pairs] != sorted(pair.left.id for pair in pairs)
    assert drawn(a, b, seed=1) == pairs != drawn(a, b, seed=2)
    assert len(drawn(a, b, limit=7)) == 7
    with pytest.raises(InputError, match="in common"):
        drawn(a, report("c", {"m": [1]}, videos=["other"]))


def test_answers_are_held_against_differences_whichever_side_they_were_on(tmp_path: Path) -> None:
    key = {
        "sheet": "abc",
        "pairs": [
            {"video_id": f"v{number}", "edit_id": "0", "left": left, "right": right}
            for number, (left, right) in enumerate([("a", "b"), ("b", "a"), ("a", "b"), ("b", "a")])
        ],
    }
    answers = {"sheet": "abc", "answers": {"1": "left", "2": "left", "3": "same", "4": "right"}}
    paths = []
    for name, value in (("key", key), ("answers", answers)):
        paths.append(str(tmp_path / f"{name}.json"))
        Path(paths[-1]).write_text(json.dumps(value))
    choices = read_choices(paths[0], [paths[1]])
    assert choices == {("a", "b", f"v{n}", "0"): value for n, value in enumerate((1, -1, 0, 1))}
    a, b = report("a", {"m": [5, 1, 3, 9]}), report("b", {"m": [2, 4, 3, 1]})
    apart, judged = differences({"a": a, "b": b}, choices)
    assert [row.numbers["m"].value for row in apart.rows] == [3, -3, 0, 8]
    (line,) = agree([apart], judged)
    assert (line.found.same, line.found.decided) == (3, 3)
    assert line.found.kendall is not None and math.isclose(line.found.kendall, 5 / math.sqrt(30))
    Path(paths[1]).write_text(json.dumps({**answers, "sheet": "other"}))
    with pytest.raises(InputError, match="answers the sheet other"):
        read_choices(paths[0], [paths[1]])
    Path(paths[1]).write_text(json.dumps({"sheet": "abc", "answers": {"9": "left"}}))
    with pytest.raises(InputError, match="no pair '9'"):
        read_choices(paths[0], [paths[1]])


def test_a_sheet_says_that_a_report_names_no_clips() -> None:
    a, b = report("a", {"m": [1]}), report("b", {"m": [1]})
    with pytest.raises(InputError, match="does not say where the edited clip is"):
        sheet_of(drawn(a, b))
