"""Protects vedit/jobs/batch/request.py: a batch as plain data, and what is refused before any list is read."""

from __future__ import annotations

import json

import pytest

from vedit.errors import UsageError
from vedit.jobs.batch.request import BatchRequest, plan_batch


def test_a_batch_comes_back_from_json_as_it_was() -> None:
    asked = BatchRequest(("a.csv",), "out", over=("seed=0,1",), set={"cross_steps": "0.4"}, seed=3)
    assert BatchRequest.from_json(json.loads(json.dumps(asked.json()))) == asked


def test_what_goes_for_all_rows_is_what_was_given() -> None:
    shared = BatchRequest(
        ("a.csv",), "out", source_prompt="a red circle", seed=0, set={"tau": "0.3"}, over=('prompt=a,"b, c"',)
    ).shared()
    assert shared.values == {"source_prompt": "a red circle", "seed": 0, "set.tau": "0.3"}
    assert [axis.values for axis in shared.over] == [("a", "b, c")]


@pytest.mark.parametrize(("text", "most"), [(None, None), ("1", 1), ("12", 12), ("20%", 0.2)])
def test_too_many_failures_are_a_number_or_a_share(text: str | None, most: float | None) -> None:
    assert BatchRequest((), "out", max_failures=text).policy().most_failures == most
    assert BatchRequest((), "out", max_failures=text, fail_fast=True).policy().most_failures == 1


@pytest.mark.parametrize("text", ["0", "-1", "x", "100%", "0%", "", "1/2"])
def test_other_texts_are_no_number_of_failures(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a number or a share\.\nWrite 10, or 20%\."):
        plan_batch(BatchRequest(("missing.csv",), "out", max_failures=text))


def test_a_shard_is_a_part_of_a_whole() -> None:
    assert BatchRequest((), "out", shard="2/4").policy().shard == (2, 4)
    for text in ("0/4", "5/4", "1", "a/b", "1/", "-1/4"):
        with pytest.raises(UsageError, match="is not a part of a whole"):
            plan_batch(BatchRequest(("missing.csv",), "out", shard=text))


def test_a_queue_is_told_its_parts_and_no_other_runner_is() -> None:
    assert BatchRequest((), "out", runner="slurm").parts() == (4, None)
    assert BatchRequest((), "out", runner="slurm", tasks="8%2").parts() == (8, 2)
    for text in ("0", "8%0", "8%", "x", "%2", "-1"):
        with pytest.raises(UsageError, match="is not a number of parts"):
            BatchRequest((), "out", runner="slurm", tasks=text).parts()
    with pytest.raises(UsageError, match="--tasks is for --runner slurm, and this is --runner ray"):
        plan_batch(BatchRequest(("missing.csv",), "out", runner="ray", tasks="8"))
    with pytest.raises(UsageError, match="--runner slurm makes the parts itself"):
        plan_batch(BatchRequest(("missing.csv",), "out", runner="slurm", shard="1/2"))
