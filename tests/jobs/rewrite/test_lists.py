"""Protects `vedit rewrite LIST` and vedit/jobs/lists.py: rows get prompts, and a batch reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import vedit
from vedit.jobs.batch.rows import read_rows
from vedit.jobs.lists import caption_key, moved

CIRCLE = "a red circle on a grey background"


def test_rows_get_prompts_and_what_failed_is_named(tmp_path: Path) -> None:
    given, out = tmp_path / "jobs.csv", tmp_path / "deep" / "told.csv"
    (tmp_path / "deep").mkdir()
    given.write_text(
        f"input,source,instruction,prompt,_mine\nc.gif,{CIRCLE},make it blue,,1\nc.gif,{CIRCLE},make it sing,,2\nc.gif,{CIRCLE},x,an owl,3\nc.gif,{CIRCLE},,,4\n"
    )
    done = vedit("rewrite", given, "-o", out)
    assert done.code == 8 and "jobs.csv row 2" in done.err and "row 4: the instruction is empty" in done.err
    assert done.text == f"{CIRCLE.replace('red', 'blue')}\n"
    whole = vedit("rewrite", given, "-o", out, "-y", "--instruction", "make it green", "--redo")
    assert whole.code == 8 and "2 of 4 rows have no prompt" in whole.err
    again = vedit("rewrite", out, "-o", out, "-y")
    assert again.code == 8 and "1 of 1 rows" in again.err, "the call for what is left"
    out.write_text("\n".join(line for line in out.read_text().splitlines() if "sing" not in line))
    rows = read_rows([str(out)])
    made = [CIRCLE.replace("red", "blue"), "an owl", CIRCLE.replace("red", "green")]
    assert [row.request.prompt for row in rows] == made
    assert rows[0].request.input == str(tmp_path / "c.gif") and rows[0].extra["_rewrite"] == "rules"


def test_a_list_of_json_lines_keeps_its_keys(tmp_path: Path) -> None:
    given, out = tmp_path / "jobs.jsonl", tmp_path / "told.jsonl"
    row = {"input": "c.gif", "source_prompt": CIRCLE, "instruction": "make it blue", "set": {"a": 1}}
    given.write_text(json.dumps(row) + "\n")
    assert vedit("rewrite", given, "-o", out).code == 0
    row.pop("instruction")
    told = json.loads(out.read_text())
    assert told == {
        **row,
        "prompt": CIRCLE.replace("red", "blue"),
        "_instruction": "make it blue",
        "_rewrite": "rules",
    }
    assert vedit("rewrite", given, "-o", out).code == 4
    assert vedit("rewrite", given).code == 2 and vedit("rewrite", given, "-o", tmp_path / "x.txt").code == 2


def test_a_list_that_is_missing_or_empty_is_told(tmp_path: Path) -> None:
    assert vedit("rewrite", tmp_path / "none.csv", "-o", tmp_path / "o.csv").code == 3
    (tmp_path / "empty.csv").write_text("")
    done = vedit("rewrite", tmp_path / "empty.csv", "-o", tmp_path / "o.csv")
    assert done.code == 2 and "has no rows" in done.err and not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize(
    ("row", "key"),
    [({"source_prompt": ""}, "source_prompt"), ({"file": "a"}, "captions"), ({"input": "a", "file": "b"}, "source"), ({}, "source")],
)  # fmt: skip
def test_a_row_says_in_its_own_way_what_its_clip_shows(row: dict[str, str], key: str) -> None:
    assert caption_key(row) == key


def test_a_clip_is_found_from_where_the_list_is_written(tmp_path: Path) -> None:
    row = {"input": "c.gif", "file": "/abs/c.gif", "prompt": "c.gif"}
    here, there = str(tmp_path / "a" / "l.csv"), str(tmp_path / "b" / "l.csv")
    assert moved(row, here, there) == {**row, "input": "../a/c.gif"}
    assert moved(row, here, here) == row
