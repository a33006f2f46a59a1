"""Protects vedit/jobs/suite: what a suite may say, the prompts of its runs, tables that say of how many clips
they are, and a second call that does nothing again.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import vedit
from tests.jobs.scores import report, thesis
from tests.remote.stub import serve
from vedit import presets
from vedit.data.cases import load_cases
from vedit.errors import InputError, PartialFailure, UsageError
from vedit.jobs.rewrite.request import RewriteRequest
from vedit.jobs.rewrite.run import rewrite
from vedit.jobs.suite import report as reports
from vedit.jobs.suite import run as suites
from vedit.jobs.suite.clips import Take, drawn, found, short_prompt, takes_of
from vedit.jobs.suite.request import SuiteRequest
from vedit.presets.kinds import suite as kind

RUNS = [{"label": "a", "method": "glp"}, {"label": "b", "method": "p2p", "factor": 2}]


@pytest.mark.parametrize("name", ["shapes", "thesis", "v2vbench"])
def test_the_suites_that_ship_are_right(name: str) -> None:
    assert suites.definition(name)["kind"] == "suite"
    assert name in suites.names()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"run": []}, "no [[run]]"),
        ({"run": [{"label": "a"}]}, "no label or no method"),
        ({"run": [*RUNS, RUNS[0]]}, "two have the label 'a'"),
        ({"run": [{"label": "a/../../b", "method": "p2p"}]}, "is not a word of letters"),
        ({"run": RUNS, "rewrite": {"lmm": "rules"}}, "did you mean llm"),
        ({"run": RUNS, "table": [{"id": "1", "runs": ["c"]}]}, "there is no run 'c'"),
        ({"run": [{**RUNS[0], "prompt": "long"}]}, "none of full, short, rewritten"),
        ({"run": RUNS, "score": {"metric": "psnr"}}, "did you mean metrics"),
        ({"run": RUNS, "tables": []}, "did you mean table"),
        (
            {"run": RUNS, "group": [{"name": "g", "columns": []}], "table": [{"id": "1", "groups": ["h"]}]},
            "no group 'h'",
        ),
    ],
)
def test_what_a_suite_may_not_say_is_told(table: Mapping[str, Any], words: str) -> None:
    assert any(words in said for said in kind.mistakes({"kind": "suite", **table})), list(
        kind.mistakes(table)
    )


def test_an_unknown_suite_and_an_unknown_run_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean shapes"):
        suites.definition("shape")
    with pytest.raises(UsageError, match="no run 'glb'"):
        suites.chosen_runs(suites.definition("shapes"), ["glb"])


def test_the_short_prompt_says_what_is_new_and_leaves_out_the_rest() -> None:
    cases = {case.id: case for case in load_cases("drawn-scenes")}
    assert short_prompt(cases["colour-00"]) == "a red triangle on a brown background"
    assert short_prompt(cases["size-17"]) == "a large purple star on a grey background"
    assert short_prompt(cases["pattern-11"]) == "a purple cross on a wavy teal background"


def test_rules_rewrite_the_instruction_of_every_drawn_case_to_its_prompt() -> None:
    cases = load_cases("drawn-scenes")
    same = [
        rewrite(RewriteRequest(source=case.source_prompt, instruction=case.instruction))["target"]
        == case.target_prompt
        for case in cases
    ]
    assert sum(same) / len(same) >= 0.95


def test_runs_have_the_prompts_that_they_say(tmp_path: Path) -> None:
    takes = drawn("drawn-scenes", str(tmp_path), {"count": 2, "frames": 2}, None)
    runs = [{"label": kind, "method": "p2p", "prompt": kind} for kind in kind.PROMPTS]
    left: list[str] = []
    rows = suites.prompts_of(runs, takes, left)
    assert not left
    assert [row["prompt"] for row in rows if row["video"] == takes[0].video] == [
        takes[0].prompt,
        takes[0].short,
        takes[0].prompt,
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{take.video}{end}.gif" for take in takes for end in ("", "-true")
    )


def take(instruction: str = "", prompt: str = "a red fox in a forest") -> Take:
    return Take("v", "0", "v.gif", "a grey wolf in a forest", prompt, prompt, instruction)


REWRITTEN = [{"label": "llm-edit", "method": "p2p", "prompt": "rewritten"}]


def test_a_prompt_that_runs_along_its_source_needs_no_rewriting_and_another_needs_a_model() -> None:
    left: list[str] = []
    near, said = suites.prompts_of(REWRITTEN, [take(), take("replace the wolf with a dog")], left)
    assert near["prompt"] == "a red fox in a forest" and near["rewritten_by"].startswith("nobody")
    assert (said["prompt"], said["rewritten_by"]) == ("a grey dog in a forest", "rules")
    assert (
        suites.prompts_of(REWRITTEN, [take(prompt="snow falls over the sleeping city at night")], left) == []
    )
    assert len(left) == 1 and "llm-edit v: rules do not bring 'snow falls" in left[0]


def test_a_language_model_rewrites_the_prompts_of_a_suite(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path))
    target = "a grey wolf in a city"
    with serve() as stub:
        answer = {"choices": [{"message": {"content": json.dumps({"target": target})}}]}
        stub.on("POST", "/v1/chat/completions", answer)
        asked = SuiteRequest(suite="thesis", output="o", base_url=stub.url, llm_model="m")
        options = suites.rewriting(
            {"rewrite": {"llm": "hub:a/b", "strict": True, "max_distance": 0.5}}, asked
        )
        assert (options.llm, options.base_url, options.strict, options.max_distance) == (
            None,
            stub.url,
            True,
            0.5,
        )
        (row,) = suites.prompts_of(REWRITTEN, [take(prompt="a wolf walks through a city")], [], options)
        assert row["prompt"] == target and row["rewritten_by"].endswith(":m")
        assert "a wolf walks through a city" in json.loads(stub.asked[0].body)["messages"][-1]["content"]


def test_parameters_of_one_run_can_be_set_and_a_wrong_label_has_a_neighbour() -> None:
    one, two = suites.with_settings(RUNS, {"a.iterations": 3})
    assert one["set"] == {"iterations": 3} and two["set"] == {} and two["factor"] == 2
    for key in ("c.steps", "steps", "a."):
        with pytest.raises(UsageError, match="names no run"):
            suites.with_settings(RUNS, {key: 1})
    refused = vedit("suite", "run", "shapes", "-O", "out", "--set", "glp.iterations")
    assert refused.code == 2 and "has no value" in refused.err


def test_an_index_may_say_instructions(tmp_path: Path) -> None:
    drawn("drawn-scenes", str(tmp_path), {"count": 1, "frames": 2}, None)
    index = tmp_path / "i.toml"
    lines = '[[video]]\nid = "colour-00"\nsource_prompt = "a"\n[[video.edit]]\nprompt = "b"\n'
    index.write_text(lines + 'instruction = "make it b"\n')
    (only,), _ = found({}, str(tmp_path), str(index), None, partial=False)
    assert (only.prompt, only.instruction) == ("b", "make it b")
    index.write_text(lines)
    (only,), _ = found({}, str(tmp_path), str(index), None, partial=False)
    assert (only.prompt, only.instruction) == ("b", "")


def test_factors_go_to_the_words_that_are_new_and_steps_to_every_method(tmp_path: Path) -> None:
    (taken,) = drawn("drawn-scenes", str(tmp_path), {"count": 1, "frames": 2}, None)
    request = SuiteRequest(suite="shapes", output=str(tmp_path), steps=3)
    row = {"prompt": taken.prompt}
    p2p = suites.job_of(request, {"clips": {"cases": "drawn-scenes", "frames": 8}}, RUNS[1], taken, row)
    assert p2p["set.equalizer"] == {"red": 2}
    assert (p2p["set.steps"], p2p["frames"], p2p["output"]) == (3, 8, "b/colour-00/0.gif")
    glp = suites.job_of(request, {}, RUNS[0], taken, row)
    assert glp["set.iterations"] == 3 and "set.equalizer" not in glp


def test_clips_that_are_missing_are_all_named_and_partial_runs_the_rest(tmp_path: Path) -> None:
    drawn("drawn-scenes", str(tmp_path), {"count": 1, "frames": 2}, None)
    index = tmp_path / "i.toml"
    index.write_text('[[video]]\nid = "colour-00"\nsource_prompt = "a"\n[[video.edit]]\nprompt = "b"\n')
    asked = {"names": ["colour-00", "cat", "hike"]}
    with pytest.raises(InputError, match="cat, hike"):
        found(asked, str(tmp_path), str(index), None, partial=False)
    takes, missing = found(asked, str(tmp_path), str(index), None, partial=True)
    assert ([take.video for take in takes], missing) == (["colour-00"], ["cat", "hike"])
    with pytest.raises(InputError, match="none of the suite's clips is both in"):
        found({"names": ["cat", "hike"]}, str(tmp_path), str(index), None, partial=True)
    with pytest.raises(UsageError, match="do not ship"):
        takes_of(asked, "", source_dir=None, index=None, limit=None, partial=False)


def test_the_printed_means_stand_beside_ours_with_what_they_do_not_say() -> None:
    check = reports.thesis_check({"glp": thesis("glp")})
    assert "| 3-1 | glp | pick_score | 21.1001 | 21.1001 | 20 |" in check
    assert "interchanged" in check and "-2.6195 is worse than -1.9940" in check
    assert "no conclusion is drawn from\n  absolute differences" in check
    assert reports.thesis_check({"other": thesis("glp")}) == ""


def test_the_thesis_has_nine_tables_and_each_says_of_how_many_clips(tmp_path: Path) -> None:
    suite = suites.definition("thesis")
    every = {label: thesis("glp" if label == "glp" else "video-p2p") for label in
             ("glp", "video-p2p", "llm-edit", "values-2", "values-4", "values-6")}  # fmt: skip
    every = {label: reports.replace(of, name=label) for label, of in every.items()}
    made = reports.write(str(tmp_path), suite, every, 23, ["the clip <x> is missing"])
    tables = ["3-1", "3-2", "3-3", "3-4", "3-5", "3-6", "4-1", "4-2", "4-3"]
    assert made == [*tables, "compare-glp-video-p2p", "compare-video-p2p-llm-edit"]
    for name in tables:
        for ending in ("txt", "md", "tex", "csv"):
            assert (tmp_path / "tables" / f"{name}.{ending}").stat().st_size > 50
        assert "of 23." in (tmp_path / "tables" / f"{name}.txt").read_text()
    page = (tmp_path / "report.html").read_text()
    assert "the clip &lt;x&gt; is missing" in page and 'id="4-3"' in page
    assert "21.1001" in (tmp_path / "tables" / "4-1.csv").read_text()


def test_the_lock_is_toml_and_says_what_differs(tmp_path: Path) -> None:
    request = SuiteRequest(suite="shapes", output=str(tmp_path))
    runs = {"a": report("a", {"m": [1]}, run={"model": {"id": "x"}, "params": {"steps": 2}})}
    prompts = [{"label": "a", "video": 'v"0', "edit": "0", "prompt": "a [cat]"}]
    assert reports.lock(str(tmp_path), request, {}, runs, prompts) == []
    read = tomllib.loads((tmp_path / "suite.lock.toml").read_text())
    assert read["prompts"] == {'a/v"0/0': "a [cat]"}
    assert reports.lock(str(tmp_path), request, {}, runs, prompts) == []
    other = {"a": report("a", {"m": [1]}, run={"model": {"id": "y"}, "params": {"steps": 2}})}
    (changed,) = reports.lock(str(tmp_path), request, {}, other, prompts)
    assert changed.startswith("run.a.models was") and '"y"' in changed


SMALL = """
kind = "suite"
[clips]
cases = "drawn-scenes"
count = 2
frames = 2
[[run]]
label = "one"
method = "p2p"
[[run]]
label = "two"
method = "p2p"
[score]
profile = "embedded"
metrics = "psnr,sharpness"
[[group]]
name = "quality"
columns = [["psnr", "PSNR"], ["sharpness", "Sharpness"]]
[[table]]
id = "t"
runs = ["one", "two"]
[[compare]]
runs = ["one", "two"]
"""


def test_a_second_call_makes_and_scores_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    out = tmp_path / "out"

    def edits(request: Any, suite: Any, runs: Any, takes: Any, prompts: Sequence[Any], *rest: Any) -> None:
        for row in prompts:
            target = out / "edits" / row["label"] / row["video"] / "0.gif"
            end = "-true" if row["label"] == "one" else ""
            if not target.exists():
                target.parent.mkdir(parents=True)
                shutil.copy(out / "clips" / f"{row['video']}{end}.gif", target)

    monkeypatch.setattr(suites, "make_edits", edits)
    request = SuiteRequest(suite=str(tmp_path / "small.toml"), output=str(out))
    first = suites.run(request)
    assert first.tables == ["t", "compare-one-two"] and not first.left_out
    assert first.reports["one"].summary("psnr").mean == 100
    kept = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    monkeypatch.setattr(suites, "plan_score", lambda *_: pytest.fail("scored again"))
    assert suites.run(request).changed == []
    assert {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} == kept
    first.left_out.append("two: something")
    with pytest.raises(PartialFailure, match="not complete: two: something"):
        first.check()


def test_a_run_without_any_clip_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    out = tmp_path / "out"

    def edits(request: Any, suite: Any, runs: Any, takes: Any, prompts: Any, done: Any, *rest: Any) -> None:
        for label in ("one", "two"):
            (out / "edits" / label / takes[0].video).mkdir(parents=True)
        shutil.copy(takes[0].source, out / "edits" / "one" / takes[0].video / "0.gif")
        done.left_out.append("two was not made")

    monkeypatch.setattr(suites, "make_edits", edits)
    done = suites.run(SuiteRequest(suite=str(tmp_path / "small.toml"), output=str(out)))
    assert list(done.reports) == ["one"]
    assert "one n = 1 of 2." in (out / "tables" / "t.txt").read_text()
    with pytest.raises(PartialFailure, match="two was not made"):
        done.check()


def test_a_metric_that_there_is_not_is_told_before_any_edit(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL.replace("psnr,sharpness", "psnr,sharpnes"))
    with pytest.raises(UsageError, match="no metric or group called 'sharpnes'; did you mean sharpness"):
        suites.run(SuiteRequest(suite=str(tmp_path / "small.toml"), output=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_edits_that_nothing_can_score_are_kept_and_the_call_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unscored = SMALL.replace('profile = "embedded"\n', "").replace("psnr,sharpness", "v2vbench")
    (tmp_path / "small.toml").write_text(unscored)
    out = tmp_path / "out"

    def edits(request: Any, suite: Any, runs: Any, takes: Any, *rest: Any) -> None:
        for label in ("one", "two"):
            (out / "edits" / label / takes[0].video).mkdir(parents=True)
            shutil.copy(takes[0].source, out / "edits" / label / takes[0].video / "0.gif")

    monkeypatch.setattr(suites, "make_edits", edits)
    with pytest.raises(PartialFailure, match="no run could be scored: two: no metric") as told:
        suites.run(SuiteRequest(suite=str(tmp_path / "small.toml"), output=str(out)))
    assert "vedit score weights" in str(told.value)
    assert len(list((out / "edits").rglob("0.gif"))) == 2


def test_suites_are_listed_and_shown() -> None:
    listed = vedit("suite", "list")
    assert listed.code == 0 and b"thesis" in listed.out
    shown = vedit("suite", "show", "thesis")
    assert b"run llm-edit: video-p2p, preset video-p2p-thesis, prompt rewritten" in shown.out
    file = vedit("suite", "show", "shapes", "--file")
    assert file.out == Path(presets.find("suite-shapes")).read_bytes()
    assert json.loads(vedit("suite", "show", "shapes", "--json").out)["clips"]["count"] == 20


@pytest.mark.slow
def test_shapes_runs_offline_to_nine_tables(tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ("suite", "run", "shapes", "-O", out, "--limit", "1", "--steps", "2", "--progress", "none")
    done = vedit(*line)
    assert done.code == 0, done.err
    tables = {path.stem for path in (out / "tables").glob("*.csv")}
    assert {"3-1", "3-2", "3-3", "3-4", "3-5", "3-6", "4-1", "4-2", "4-3"} <= tables
    assert vedit(*line).code == 0
