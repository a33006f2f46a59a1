"""Protects `vedit bench rewrite`: frozen pairs, and figures that anybody can work out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import vedit
from tests.remote.stub import serve
from vedit.data.instructions import KINDS
from vedit.jobs.bench.rewrite import Tried, pairs, summary
from vedit.jobs.rewrite.words import failed_check


def test_the_rules_give_at_least_95_of_100_target_captions_of_the_drawn_cases() -> None:
    told = json.loads(vedit("bench", "rewrite", "--cases", "drawn-scenes", "--json", "-q").text)
    assert len(told["cases"]) == 120 and told["rows"][-1]["right"] >= 0.95
    assert set(row["kind"] for row in told["rows"]) <= {*KINDS, "all"}


def test_there_are_thirty_pairs_whose_targets_pass_the_checks() -> None:
    found = pairs()
    assert len(found) == 30 == len({pair.id for pair in found})
    assert all(failed_check(pair.source, pair.target, 0.4) == "" for pair in found)


def test_a_model_s_share_does_not_count_what_rules_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path))
    with serve() as stub:
        stub.on("POST", "/v1/chat/completions", {"choices": [{"message": {"content": "no"}}]})
        done = vedit(
            "bench", "rewrite", "--limit", "1", "--base-url", stub.url, "--llm-model", "m", "--json", "-q"
        )
        rows = {row["kind"]: row for row in json.loads(done.text)["rows"]}
    assert rows["all"]["accepted"] == 0.0 and rows["all"]["cases"] == 5
    assert rows["swap"]["right"] == 1.0 and not any(tmp_path.iterdir())


def test_shares_and_means_are_of_the_cases_that_have_them() -> None:
    tried = [
        Tried("a-0", "a", True, True, 0.1, "t", "rules", 1.0),
        Tried("a-1", "a", False, False, None, "", "", 3.0, "why"),
        Tried("b-0", "b", False, True, 0.3, "t", "rules", 2.0),
    ]
    assert summary(tried)[-1] == {
        "kind": "all",
        "cases": 3,
        "accepted": 0.3333,
        "right": 0.6667,
        "distance": 0.2,
        "seconds": 2.0,
    }
    assert summary(tried)[1]["kind"] == "b" and summary(tried)[0]["accepted"] == 0.5
