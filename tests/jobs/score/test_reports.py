"""Reports that somebody else wrote are told or read: no wrong type reaches a table."""

from __future__ import annotations

import json
from pathlib import Path

from tests import mutations
from tests.conftest import vedit

NUMBER = {"value": 1.5, "per_frame": [1.0, None], "extra": {"a": 1}, "provenance": {"b": "c"}}
ROW = {
    "video_id": "cat",
    "edit_id": "0",
    "values": {"psnr": NUMBER},
    "skipped": {"ssim": "no source"},
    "failed": {},
    "flags": ["x"],
    "width": 64,
}
FACT = {
    "unit": "dB",
    "higher_is_better": True,
    "usual": "20 to 40",
    "explanation": "e",
    "aliases": ["p"],
    "metric": "psnr",
    "version": 1,
}
REPORT = {
    "schema": 1, "name": "m", "profile": "exact", "seed": 0, "options": {"x": 1}, "metrics": {"psnr": FACT},
    "videos": [ROW, {**ROW, "video_id": "dog"}], "baselines": {"identity": [ROW]}, "summary": {}, "provenance": {"vedit": "1"},
}  # fmt: skip
COMMANDS = (
    ("compare",),
    ("table",),
    ("table", "--layout", "thesis"),
    ("table", "--layout", "v2vbench", "--format", "csv"),
)


def test_five_hundred_damaged_reports_are_compared_and_laid_out_or_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**REPORT, "name": "other"}))

    def run(seed: int) -> object:
        (tmp_path / "b.json").write_bytes(mutations.json_of(REPORT, seed))
        return vedit("score", *COMMANDS[seed % len(COMMANDS)], tmp_path / "a.json", tmp_path / "b.json")

    codes = mutations.exits(run, 500, (0, 2, 3, 6))
    assert codes[0] > 10 and codes[3] > 100


def test_no_cell_of_a_table_begins_a_formula_and_the_report_comes_back(tmp_path: Path) -> None:
    from vedit.jobs.score.results import read_results, to_csv

    evil = {
        **REPORT,
        "videos": [{**ROW, "video_id": "=HYPERLINK(1)"}, {**ROW, "video_id": "@a", "edit_id": "-1"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(evil))
    written = to_csv(read_results(str(tmp_path / "a.json")))
    assert not any(line.startswith(("=", "+", "-", "@")) or ",-1" in line for line in written.splitlines())
    (tmp_path / "a.csv").write_text(written)
    assert sorted(row.id for row in read_results(str(tmp_path / "a.csv")).rows) == [
        ("=HYPERLINK(1)", "0"),
        ("@a", "-1"),
    ]
