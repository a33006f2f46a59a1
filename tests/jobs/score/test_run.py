"""Protects vedit/jobs/score/run.py and journal.py: order of work, failures, resuming, flags."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.jobs.score.test_clips import greys, write_gif
from vedit import metrics
from vedit.errors import InputError, UsageError
from vedit.jobs.score import metrics as score_metrics
from vedit.jobs.score import run as score_run
from vedit.jobs.score.clips import Item
from vedit.jobs.score.journal import Journal
from vedit.jobs.score.metrics import Choice, Fact, choose
from vedit.jobs.score.results import Number, Results, read_results, summary_csv, to_csv, to_json
from vedit.jobs.score.run import UNEDITED, Draft, Suite, flags_of, run
from vedit.metrics.base import Clip, Score, Value
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

EMBEDDED = Options(profile="embedded")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two metrics that tell when they are called: level is the first grey level, gap needs a source and is
    undefined at 100.
    """
    made: list[str] = []

    def metric(name: str, needs: frozenset[str], value: Any) -> ModuleType:
        def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
            made.append(f"{name} {clip.id}")
            found = value(clip)
            return {name: Score(found, (found, found), {} if math.isfinite(found) else {"why": "level 100"})}

        facts = {
            "SUMMARY": name,
            "VERSION": 1,
            "VALUES": (Value(name, "", True, "", name),),
            "NEEDS": needs,
            "GROUPS": frozenset({"quality"}),
            "TOWERS": (),
        }
        return SimpleNamespace(__name__=f"tests.{name}", score=score, **facts)  # type: ignore[return-value]

    level = metric("level", frozenset(), lambda clip: float(clip.edited_TYX3[0, 0, 0, 0]))
    gap = metric(
        "gap",
        frozenset({"source"}),
        lambda clip: math.nan if clip.edited_TYX3[0, 0, 0, 0] == 100 else float(len(clip.source_TYX3)),
    )
    modules = {"level": level, "gap": gap}
    monkeypatch.setattr(metrics, "names", lambda: list(modules))
    monkeypatch.setattr(metrics, "load", lambda name: modules[name.replace("-", "_")])
    return made


def suite(folder: Path, levels: dict[str, int], *, sources: bool = True) -> list[Item]:
    """Edited clips of two frames, one per name, and a source of three frames."""
    source = write_gif(folder / "source.gif", greys(3))
    items = []
    for name, level in levels.items():
        edited = write_gif(folder / f"{name}.gif", greys(2, first=level))
        items.append(Item(name, "0", edited, source if sources else None))
    return items


def score(items: list[Item], journal: Journal | None = None, **changes: Any) -> Results:
    plan = Suite(
        tuple(items),
        choose(changes.pop("metrics", "quality"), "embedded"),
        EMBEDDED,
        **{"is_suite": True, "fallback_name": "suite", **changes},
    )
    results, stopped_by = run(plan, Towers(EMBEDDED), journal or Journal(None, False))
    assert stopped_by == ""
    return results


def test_metrics_are_outermost_and_videos_innermost(calls: list[str], tmp_path: Path) -> None:
    found = score(suite(tmp_path, {"a": 10, "b": 20}))
    assert calls == ["level a", "level b", "gap a", "gap b"]
    assert found.values("level") == [10, 20] and found.summary("gap").mean == 3


def test_the_order_of_the_videos_does_not_matter(calls: list[str], tmp_path: Path) -> None:
    items = suite(tmp_path, {name: 10 * place for place, name in enumerate("abcdef", 1)})
    one, other = score(items), score(items[::-1])
    assert one.summary("level") == other.summary("level") and one.summary("level").interval is not None


def test_a_corrupt_video_is_named_and_the_others_are_scored(calls: list[str], tmp_path: Path) -> None:
    items = suite(tmp_path, {"a": 10, "b": 20, "c": 30})
    (tmp_path / "b.gif").write_bytes(b"GIF89a broken")
    found = score(items)
    assert calls == ["level a", "level c", "gap a", "gap c"]
    assert found.summary("level").mean == 20 and (
        found.summary("level").n,
        found.summary("level").n_failed,
    ) == (2, 1)
    (lost,) = [row for row in found.rows if row.failed]
    assert lost.video_id == "b" and str(tmp_path / "b.gif") in lost.failed["level"]


def test_an_undefined_number_is_counted_and_never_in_a_mean(calls: list[str], tmp_path: Path) -> None:
    found = score(suite(tmp_path, {"a": 10, "b": 100}))
    assert (found.summary("gap").mean, found.summary("gap").n, found.summary("gap").n_failed) == (3, 1, 1)
    assert found.rows[1].failed == {"gap": "level 100"}
    saved = to_json(found)
    assert saved["videos"][1]["values"]["gap"]["value"] is None
    json.dumps(saved, allow_nan=False)


def test_missing_inputs_skip_a_group_and_refuse_a_name(calls: list[str], tmp_path: Path) -> None:
    items = suite(tmp_path, {"a": 10}, sources=False)
    assert score(items).rows[0].skipped == {"gap": "needs the source clip (--source)"}
    with pytest.raises(UsageError, match=r"a: gap needs the source clip \(--source\)"):
        score(items, metrics="gap")


def test_a_single_video_raises_what_is_wrong_with_it(calls: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.gif"):
        score([Item("gone", "0", str(tmp_path / "gone.gif"))], is_suite=False)


def test_nothing_in_the_journal_is_computed_twice(calls: list[str], tmp_path: Path) -> None:
    items, path = suite(tmp_path, {"a": 10, "b": 100}), str(tmp_path / "journal.jsonl")
    first = score(items, Journal(path, False))
    done = len(calls)
    again = score(items, Journal(path, True))
    assert len(calls) == done
    assert again.values("level") == first.values("level") and again.rows[1].failed == first.rows[1].failed
    assert again.rows[0].facts["width"] == 16


def test_a_clip_that_changed_and_a_torn_line_are_computed_anew(calls: list[str], tmp_path: Path) -> None:
    items, path = suite(tmp_path, {"a": 10, "b": 20}), tmp_path / "journal.jsonl"
    score(items, Journal(str(path), False))
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(lines[:-1]) + "\n" + lines[-1][:30]
    )  # a crash in the middle of the last line: gap b
    write_gif(tmp_path / "a.gif", greys(2, first=50))
    calls.clear()
    found = score(items, Journal(str(path), True))
    assert calls == ["level a", "gap a", "gap b"]
    assert found.values("level") == [50, 20]
    calls.clear()
    score(items, Journal(str(path), True))
    assert calls == []  # the torn line has not spoilt those behind it


def test_without_resume_the_journal_starts_again(calls: list[str], tmp_path: Path) -> None:
    items, path = suite(tmp_path, {"a": 10}), str(tmp_path / "journal.jsonl")
    score(items, Journal(path, False))
    score(items, Journal(path, False))
    assert calls == ["level a", "gap a"] * 2 and len(Path(path).read_text().splitlines()) == 2


@pytest.mark.parametrize("signal, name", [(KeyboardInterrupt, "interrupt"), (SystemExit, "terminate")])
def test_a_signal_keeps_what_is_done(
    signal: type[BaseException], name: str, calls: list[str], tmp_path: Path
) -> None:
    items, path = suite(tmp_path, {"a": 10, "b": 20}), str(tmp_path / "journal.jsonl")
    plan = Suite(tuple(items), choose("quality", "embedded"), EMBEDDED, is_suite=True, fallback_name="suite")

    def watch(tasks: Any, total: int, what: str) -> Any:
        for number, task in enumerate(tasks):
            if number == 3:
                raise signal
            yield task

    results, stopped_by = run(plan, Towers(EMBEDDED), Journal(path, False), watch=watch)
    assert stopped_by == name and results.values("level") == [10, 20]
    assert results.rows[1].skipped == {"gap": "interrupted before it was computed"}
    calls.clear()
    assert score(items, Journal(path, True)).values("gap") == [3, 3]
    assert calls == ["gap b"]


def test_the_identity_baseline_scores_the_source_in_place_of_the_edit(
    calls: list[str], tmp_path: Path
) -> None:
    found = score(suite(tmp_path, {"a": 90}), baseline="identity")
    assert found.values("level") == [90]
    (row,) = found.baselines["identity"]
    assert row.numbers["level"].value == 20


def test_an_edit_that_changed_nothing_is_flagged(calls: list[str], tmp_path: Path) -> None:
    source = write_gif(tmp_path / "source.gif", greys(3))
    copy, other = (
        write_gif(tmp_path / "copy.gif", greys(3)),
        write_gif(tmp_path / "other.gif", greys(3, first=60)),
    )
    found = score([Item("copy", "0", copy, source), Item("other", "0", other, source)])
    assert [row.flags for row in found.rows] == [(UNEDITED,), ()]


@pytest.mark.parametrize(
    ("change", "direction", "unedited"),
    [
        (1.99, 0.019, True),
        (2.0, 0.019, False),  # two grey levels are an edit, whatever the prompts say
        (1.99, 0.02, False),  # so is a move in the prompts' direction, however little changed
        (1.99, math.nan, False),  # without a direction only a copy is known to be one
        (0.0, math.nan, True),
        (0.0, None, True),
        (1.99, None, False),
        (None, 0.0, False),
    ],
)
@pytest.mark.parametrize("key", ["clip_direction", "shapes_direction"])
def test_without_the_guard_a_clip_counts_as_unedited_below_both_of_its_thresholds(
    key: str, change: float | None, direction: float | None, unedited: bool
) -> None:
    numbers = {} if direction is None else {key: Number(direction, ())}
    draft = Draft(Item("a", "0", "a.gif", None), numbers, facts={"change": change})
    assert (UNEDITED in flags_of(draft)) == unedited


@pytest.mark.parametrize(("flag", "change"), [(1.0, 90.0), (0.0, 0.0)])
def test_the_guard_outweighs_what_is_known_without_it(flag: float, change: float) -> None:
    draft = Draft(
        Item("a", "0", "a.gif", None), {"no_edit_guard": Number(flag, ())}, facts={"change": change}
    )
    assert (UNEDITED in flags_of(draft)) == (flag == 1)


def test_the_method_of_the_run_records_names_the_report(calls: list[str], tmp_path: Path) -> None:
    items = suite(tmp_path, {"a": 10, "b": 20})
    assert score(items).name == "suite"
    for name in "ab":
        (tmp_path / f"{name}.gif.vedit.json").write_text(json.dumps({"method": "glp"}))
    assert score(items).name == "glp"
    assert score(items, name="mine").name == "mine"


def test_a_report_reads_back_from_json_and_csv(
    calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = score(suite(tmp_path, {"b": 10, "a": 100}), baseline="identity")
    (tmp_path / "r.json").write_text(json.dumps(to_json(found)))
    again = read_results(str(tmp_path / "r.json"))
    assert (again.name, again.profile, again.seed) == ("suite", "embedded", 0)
    assert to_json(again) == to_json(found)
    assert to_csv(found).splitlines() == ["video_id,edit_id,level,gap", "a,0,100.0,", "b,0,10.0,3.0"]
    assert summary_csv(found).splitlines()[1] == "suite,2,55.0,3.0,2,1"
    (tmp_path / "r.csv").write_text(to_csv(found))
    facts = {key: Fact(Value(key, "", True, "", ""), key, 1) for key in ("level", "gap")}
    monkeypatch.setattr("vedit.jobs.score.results.catalogue", lambda: facts)
    assert read_results(str(tmp_path / "r.csv")).values("level") == [100.0, 10.0]
    (tmp_path / "r.csv").write_text("video_id,colour\na,3\n")
    with pytest.raises(InputError, match="not metrics: colour"):
        read_results(str(tmp_path / "r.csv"))


@pytest.mark.parametrize(
    "text", ["{}", "[]", "null", '{"schema": 2}', "not json", '{"schema": 1, "videos": 3}']
)
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError):
        read_results(str(tmp_path / "x.json"))


# --- choosing metrics ----------------------------------------------------------------------------


def test_the_default_is_the_eight_of_v2vbench_or_what_needs_no_weights() -> None:
    assert set(choose(None, "v2vbench").keys) == set(list(score_metrics.catalogue())[:8])
    embedded = choose(None, "embedded").keys
    assert {"shapes_text_alignment", "psnr", "bg_psnr", "flicker_mae", "warp_error"} <= set(embedded)
    assert not set(embedded) & set(list(score_metrics.catalogue())[:8])


def test_lists_take_groups_keys_modules_and_names_of_others() -> None:
    assert choose("psnr,ssim", "embedded") == Choice(("psnr", "ssim"), frozenset({"psnr", "ssim"}))
    assert choose("background,-bg_mae,-bg_lpips,-edit_exclusivity", "embedded").keys == (
        "bg_psnr",
        "bg_ssim",
        "bg_maxabs",
    )
    assert choose("warp-error", "embedded").keys == ("warp_error",)
    assert choose("flicker", "embedded").keys == ("flicker_mae", "temporal_flickering")
    assert choose("Motion Alignment", "v2vbench").keys == ("motion_alignment",)
    assert choose("temporal", "embedded").named == frozenset()
    assert "psnr" not in choose("-psnr", "embedded").keys and "ssim" in choose("-psnr", "embedded").keys


def test_unknown_and_empty_lists_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="did you mean psnr"):
        choose("psnrr", "embedded")
    with pytest.raises(UsageError, match="leaves no metric"):
        choose("psnr,-psnr", "embedded")


def test_every_number_has_a_key_of_its_own_and_a_line_that_explains_it() -> None:
    seen: dict[str, str] = {}
    for name in metrics.names():
        for value in metrics.load(name).VALUES:
            assert seen.setdefault(value.key, name) == name
            assert value.explanation.endswith(".")


def test_large_suites_keep_only_some_clips_decoded(
    calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_run, "CLIP_MEMORY", 1)
    items = suite(tmp_path, {"a": 10, "b": 20})
    plan = Suite(tuple(items), choose("quality", "embedded"), EMBEDDED, is_suite=True)
    clips = score_run.Clips(plan)
    assert np.array_equal(clips.get(items[0])[0].edited_TYX3, clips.get(items[0])[0].edited_TYX3)
    clips.get(items[1])
    assert len(clips._kept) == 1
