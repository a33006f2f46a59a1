"""Parts of a suite become the report that the whole would have had."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.conftest import vedit
from tests.jobs.scores import report, thesis
from vedit.errors import UsageError
from vedit.jobs.score.merge import by_seed, merge
from vedit.jobs.score.results import Results, to_json
from vedit.jobs.score.statistics import bootstrap_interval
from vedit.metrics.types import Options


def part(whole: Results, rows: slice, keys: list[str]) -> Results:
    kept = [replace(row, numbers={key: row.numbers[key] for key in keys}) for row in whole.rows[rows]]
    return replace(whole, rows=tuple(kept), metrics={key: whole.metrics[key] for key in keys})


def test_parts_by_video_and_by_metric_give_the_whole_in_any_order() -> None:
    whole, keys = thesis("glp"), list(thesis("glp").metrics)
    parts = [
        part(whole, slice(0, 7), keys),
        part(whole, slice(7, 20), keys[:3]),
        part(whole, slice(5, 20), keys[3:]),
    ]
    parts[2] = replace(parts[2], rows=(*parts[2].rows,))
    for order in (parts, parts[::-1]):
        merged = merge(order)
        assert merged.keys == whole.keys and len(merged.rows) == 20
        assert [merged.summary(key) for key in merged.keys] == [whole.summary(key) for key in whole.keys]
    assert [entry["edits"] for entry in merge(parts).provenance["merged"]] == [7, 13, 15]


def test_two_values_of_one_number_are_refused_and_equal_ones_are_one() -> None:
    a = report("m", {"psnr": [1.0, 2.0]})
    assert merge([a, a]).rows == a.rows
    with pytest.raises(UsageError, match="v1: psnr is 2 in one report and 3 in another"):
        merge([a, report("m", {"psnr": [1.0, 3.0]})])


def test_a_failure_is_mended_by_the_report_that_has_the_number() -> None:
    a = report("m", {"psnr": [1.0, 2.0]})
    broken = replace(a, rows=(a.rows[0], replace(a.rows[1], numbers={}, failed={"psnr": "torn file"})))
    assert merge([broken, part(a, slice(1, 2), ["psnr"])]).rows[1].failed == {}


def test_what_one_report_cannot_say_is_refused() -> None:
    a, b = report("m", {"psnr": [1.0]}), report("n", {"psnr": [1.0]}, videos=["w"])
    with pytest.raises(UsageError, match="several methods: m, n"):
        merge([a, b])
    assert merge([a, b], "both").name == "both"
    options = {**asdict(Options()), "mask_dilate": 3}
    mae = replace(report("m", {"bg_mae": [1.0]}), options=asdict(Options()))
    psnr = replace(report("m", {"bg_psnr": [1.0]}), options=options)
    mae, psnr = (
        replace(one, metrics={k: replace(f, metric="background") for k, f in one.metrics.items()})
        for one in (mae, psnr)
    )
    with pytest.raises(UsageError, match="--mask-dilate has several values: 0, 3"):
        merge([mae, psnr])
    other = replace(a, provenance={"weights": {"net": {"sha256": "b" * 64}}}, metrics={})
    with pytest.raises(UsageError, match="the hash of net is aaaaaaaaaaaa or bbbbbbbbbbbb"):
        merge([replace(a, provenance={"weights": {"net": {"sha256": "a" * 64}}}), other])


def test_merge_writes_a_report_that_check_finds_whole(tmp_path: Path) -> None:
    whole, keys = thesis("glp"), list(thesis("glp").metrics)
    for name, rows in (("a", slice(0, 9)), ("b", slice(9, 20))):
        (tmp_path / f"{name}.json").write_text(json.dumps(to_json(part(whole, rows, keys))))
    inputs = [tmp_path / "a.json", tmp_path / "b.json"]
    done = vedit("score", "merge", *inputs, "-o", tmp_path / "all.json")
    assert done.code == 0
    saved = json.loads((tmp_path / "all.json").read_text())
    assert saved["summary"]["dover_score"]["mean"] == pytest.approx(0.932465, abs=1e-6)
    assert vedit("score", "merge", *inputs, "-o", inputs[0]).code == 2
    checked = vedit("score", "check", tmp_path / "all.json")
    assert checked.code == 0 and "glp: 20 edits of 20 videos, 8 metrics: nothing is wrong" in checked.text
    parts = vedit("score", "check", *inputs)
    assert parts.code == 1 and "not in every report: blue-texture/0" in parts.text


def test_seeds_are_edits_of_their_video_in_every_interval() -> None:
    drawn = {0: [1.0, 2.0, 3.0, 4.0, 6.0], 7: [2.0, 2.5, 3.5, 4.0, 8.0]}
    parts = [report("m", {"psnr": values}, run={"seed": seed}) for seed, values in drawn.items()]
    whole = merge(by_seed(parts))
    assert [row.edit_id for row in whole.rows][:2] == ["0@0", "0@7"] and len(whole.rows) == 10
    means = [(a + b) / 2 for a, b in zip(*drawn.values(), strict=True)]
    assert whole.summary("psnr").interval == pytest.approx(bootstrap_interval(means))
    assert whole.summary("psnr").videos == 5
    with pytest.raises(UsageError, match="v0: its run record has no seed"):
        by_seed([report("m", {"psnr": [1.0]})])
