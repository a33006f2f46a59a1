"""Protects vedit/jobs/localize and `vedit localize`: four branches that share their words and fail alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.conftest import Result, shared, vedit
from tests.remote.stub import Stub, serve
from vedit.errors import UsageError
from vedit.presets import check

CAPTION = "a green star moving right on a grey background"
TARGET = "a green star moving right on a checkered navy background"
QUICK = [
    *("--set", "image.steps=2", "--set", "video.iterations=1"),
    *("--set", "text.steps=2", "--set", "text.tune_steps=1", "--set", "generated.steps=2"),
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("localize") / "star.gif"
    assert vedit("scene", CAPTION, "-o", path).code == 0
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))


def results(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        row["branch"]: row for row in map(json.loads, (folder / "results.jsonl").read_text().splitlines())
    }


def localize(clip: Path, out: Path, *args: str) -> Result:
    return vedit("localize", clip, "-O", out, "--to", "navy checkered", *args)


def test_the_words_come_first_and_can_be_read_and_changed(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = localize(clip, out, "--dry-run")
    assert told.code == 0 and {path.name for path in out.iterdir()} == {"words.json"}
    words = json.loads((out / "words.json").read_text())
    assert (words["caption"], words["instruction"]) == (CAPTION, "make it navy checkered")
    assert words["prompts"]["align"]["target"] == TARGET
    assert words["prompts"]["generate"]["target"] == TARGET.replace("a green", "a medium plain green")
    assert "vedit edit --method video-p2p --model shapes" in told.text and told.text.count(TARGET) == 3
    words["prompts"]["align"]["target"] = "a green star moving right on a pink background"
    (out / "words.json").write_text(json.dumps(words))
    again = localize(clip, out, "--dry-run")
    assert again.text.count("pink background") == 3 and TARGET not in again.text
    other = vedit("localize", clip, "-O", out, "--to", "teal", "--dry-run")
    assert other.code == 4 and "holds another localisation: 'make it navy checkered'" in other.err
    assert vedit("localize", clip, "-O", out, "--to", "teal", "--dry-run", "-y").code == 0


def test_one_branch_that_fails_leaves_the_others_and_the_next_call_makes_it(
    clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    broken = localize(
        clip, out, *QUICK, "--only", "image,generated", "--generator", str(tmp_path / "nothing")
    )
    assert broken.code == 8 and "1 of 2 branches failed: generated" in broken.err
    told = results(out)
    assert told["image"]["output"].endswith("edits/image.gif") and Path(told["image"]["output"]).exists()
    assert told["generated"]["error"] and not told["generated"]["output"]
    assert "Sora" in told["generated"]["note"] and "ended on 24 September 2026" in told["generated"]["note"]
    page = (out / "report.html").read_text()
    assert 'class="missing"' in page and 'data-frames="b-image"' in page
    made = Path(told["image"]["output"]).stat().st_mtime_ns
    whole = localize(clip, out, *QUICK, "--only", "image,generated")
    assert whole.code == 0, whole.err
    told = results(out)
    assert Path(told["image"]["output"]).stat().st_mtime_ns == made, "what was done is not done again"
    assert told["generated"]["output"].endswith("generated/generated.gif")
    keys = set(told["image"]["scores"])
    assert keys and keys > set(told["generated"]["scores"]), "a generated clip has no source to compare with"
    assert told["image"]["scores"] == {
        key: row["mean"]
        for key, row in json.loads((out / "scores" / "image.json").read_text())["summary"].items()
        if row["mean"] is not None
    }


@pytest.mark.slow
def test_an_edit_that_cannot_be_made_is_told_and_the_others_are_made(clip: Path, tmp_path: Path) -> None:
    wrong = ["--set", "video.steps=2", "--only", "image,video", "--no-score"]
    done = localize(clip, tmp_path / "out", *QUICK, *wrong)
    assert done.code == 8 and "1 of 2 branches failed: video" in done.err and "no key 'steps'" in done.err
    told = results(tmp_path / "out")
    assert told["image"]["output"] and "no key 'steps'" in told["video"]["error"]
    assert told["image"]["scores"] == {}


def test_the_page_is_one_file_that_loads_nothing_and_holds_every_branch(clip: Path, tmp_path: Path) -> None:
    done = vedit(
        "localize", clip, "-O", tmp_path / "out", "--instruction", "make the star <b>red", "--only", "generated", *QUICK, "--json", "--no-score"
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (
        json.loads(done.text)["prompt"] == "a medium plain red star moving right on a plain grey background"
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert "make the star &lt;b&gt;red" in page and "<b>red" not in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page) and "Content-Security-Policy" in page
    frames = json.loads(page.split('class="frames">')[1].split("</script>")[0])
    assert set(frames) == {"source", "b-generated"} and len(frames["source"]) == 8


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as made:
        yield made


def test_a_hosted_model_writes_the_prompts_and_its_key_is_in_no_file(
    clip: Path, tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "sesame-of-mine")
    answer = {"choices": [{"message": {"content": json.dumps({"target": TARGET})}}]}
    stub.on("POST", "/v1/chat/completions", answer)
    out = tmp_path / "out"
    args = ["--base-url", stub.url, "--llm-model", "m", "--key-env", "SECRET"]
    done = localize(clip, out, *args, "--only", "image", "--dry-run")
    assert done.code == 0 and stub.count("POST") == 1, "two modes, one of which is not asked for"
    assert stub.asked[0].headers["authorization"] == "Bearer sesame-of-mine"
    told = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert told and not any(b"sesame" in path.read_bytes() for path in told)
    assert "sesame" not in done.text + done.err


def test_a_prompt_that_cannot_be_made_fails_its_branches_alone(clip: Path, tmp_path: Path) -> None:
    done = vedit("localize", clip, "-O", tmp_path / "out", "--instruction", "make it sing", "--dry-run")
    assert done.code == 0 and done.text.count("no prompt:") == 4
    failed = vedit("localize", clip, "-O", tmp_path / "out", "--instruction", "make it sing")
    assert failed.code == 8 and "4 of 4 branches failed" in failed.err
    assert "prompts.align.target" in failed.err


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ([], "where the clip should go is missing"),
        (["--to", "x", "--instruction", "y"], "says it all"),
        (["--to", "x", "--only", "vidoe"], "did you mean video?"),
        (["--to", "x", "--set", "vidoe.a=1"], "names no branch"),
        (["--to", "x", "--set", "video"], "has no value"),
        (["--to", "x", "--recipe", "web-small"], "is a chain, not a localize"),
        (["--to", "x", "--llm", "gpt"], "is not a language model"),
        (["--to", "x", "--captioner", "shape"], "did you mean shapes?"),
    ],
)
def test_what_does_not_go_together_is_refused(args: list[str], why: str, clip: Path, tmp_path: Path) -> None:
    done = vedit("localize", clip, "-O", tmp_path / "out", *args)
    assert done.code == 2 and why in done.err, done.err


def test_a_clip_that_is_no_drawn_scene_needs_another_captioner(tmp_path: Path) -> None:
    done = localize(shared("data/clips/woman-running.mp4"), tmp_path / "out", "--dry-run")
    assert done.code == 3 and "does not look like a drawn scene" in done.err


@pytest.mark.slow
def test_a_real_clip_goes_four_ways_through_models_in_the_published_layouts(tmp_path: Path) -> None:
    """Random weights in small: what they make is noise, and every step of the way to it is taken."""
    from tests.engine.folder import write_folder
    from tests.engine.video_folder import write_wan

    model, generator = write_folder(tmp_path / "sd"), write_wan(tmp_path / "wan")
    shown, said = "a woman running", "replace the woman with a robot"  # the small tokenizer reads 18 tokens
    out = tmp_path / "out"
    done = vedit(
        "localize", shared("data/clips/woman-running.mp4"), "-O", out, "--recipe", "localize", "--model", model,
        "--generator", generator, "--source-prompt", shown, "--instruction", said, "--frames", "2", "--size", "64",
        *("--set", "image.steps=2", "--set", "image.inversion_steps=2", "--set", "video.iterations=2"),
        *("--set", "image.negative_prompt=ugly"),
        *("--set", "text.steps=2", "--set", "text.inversion_steps=2", "--set", "text.tune_steps=2"),
        *("--set", "generated.steps=2", "--set", "generated.frames=5", "--set", "generated.size=32x32"),
    )  # fmt: skip
    told = results(out)
    assert done.code == 0, done.err
    assert {row["prompt"] for row in told.values()} == {"a robot running"}
    sizes = {}
    for name, row in told.items():
        facts = json.loads(vedit("probe", "--json", row["output"]).text)
        sizes[name] = (facts["width"], facts["height"], facts["images"])
    assert sizes == {**dict.fromkeys(("image", "video", "text"), (64, 64, 2)), "generated": (32, 32, 5)}
    assert all(row["scores"] for row in told.values())


@pytest.mark.parametrize(
    ("said", "instruction"),
    [
        (
            {"to": "Japan", "origin": "China", "category": "food"},
            "change food from China culture to Japan culture",
        ),
        ({"to": "Japan", "category": "food"}, "change food to Japan culture"),
        ({"to": "winter", "origin": "summer"}, "change it from summer to winter"),
        ({"to": "winter"}, "make it winter"),
        ({"instruction": "as a drawing"}, "as a drawing"),
    ],
)
def test_labels_become_an_instruction(said: dict[str, str], instruction: str) -> None:
    from vedit.jobs.localize.request import LocalizeRequest
    from vedit.jobs.localize.words import instruction_of

    assert instruction_of(LocalizeRequest(input="a", output_dir="b", **said)) == instruction  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"branch": []}, "one [[branch]] table or more"),
        ({"branch": [{"name": "a/b", "method": "p2p"}]}, "is not a word"),
        ({"branch": [{"name": "a", "method": "p2p"}] * 2}, "two of the name 'a'"),
        ({"branch": [{"name": "a"}]}, "it has no method"),
        ({"branch": [{"name": "a", "command": "rm"}]}, "command 'rm' is not one of"),
        ({"branch": [{"name": "a", "method": "p2p", "output": "/etc/x"}]}, "no key 'output'"),
        ({"branch": [{"name": "a", "method": "p2p", "rewrite": "x"}]}, "rewrite 'x' is not one of"),
        ({"caption": {"modle": "x"}}, "did you mean model?"),
        ({"score": 3}, "score is not a table"),
        ({"outptu": 3}, "no key 'outptu'"),
    ],
    ids=str,
)  # fmt: skip
def test_a_recipe_that_is_not_one_is_refused(change: dict[str, Any], why: str) -> None:
    table = {"kind": "localize", "branch": [{"name": "a", "method": "p2p"}], **change}
    with pytest.raises(UsageError, match=re.escape(why)):
        check("own.toml", table)
