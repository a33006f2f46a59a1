"""Protects vedit/cli/score*.py: what a newcomer types, what programs read, and every exit code."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import leftovers, vedit
from tests.jobs.scores import thesis
from vedit.jobs.score.results import to_csv, to_json

RED, BLUE = "a red circle on a grey background", "a blue circle on a grey background"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip and the true result of an edit, drawn by `vedit scene`."""
    folder = tmp_path_factory.mktemp("drawn")
    done = vedit(
        "scene",
        RED,
        "-o",
        folder / "clip.gif",
        "--truth",
        "a blue circle",
        "-t",
        folder / "edited.gif",
        "--frames",
        "3",
    )
    assert done.code == 0
    return folder


@pytest.fixture(autouse=True)
def nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No weights of the person who runs the tests, and no network."""
    import torch

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny networks only lose time to threads on a machine that does other things
    request.addfinalizer(lambda: torch.set_num_threads(before))
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("vedit.metrics.towers.files.WeightFinder._cached", lambda self, file: None)


def noise_gif(path: Path, frames: int, rows: int = 17, columns: int = 23, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    images = [
        Image.fromarray(rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)) for _ in range(frames)
    ]
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, disposal=2)
    return path


# --- one clip ------------------------------------------------------------------------------------


def test_a_newcomers_line_gives_a_table_and_says_which_profile(drawn: Path) -> None:
    done = vedit("score", drawn / "edited.gif", "--source", drawn / "clip.gif", "--prompt", BLUE)
    assert done.code == 0
    assert done.warnings == [
        "vedit: no weights found, so this is the embedded profile, which needs none; the eight metrics of"
        " V2VBench: vedit score weights"
    ]
    lines = done.text.splitlines()
    assert lines[0].endswith("profile embedded") and "3 frames of 64x64" in lines[0]
    assert lines[1].split() == ["metric", "value", "better", "usual", "range", "unit"]
    found = {line.split()[0]: line.split()[1:3] for line in lines[3:] if not line.startswith("Skipped")}
    assert float(found["shapes_text_alignment"][0]) > 80 and found["shapes_text_alignment"][1] == "higher"
    assert found["warp_error"][1] == "lower"
    assert "Skipped: psnr, ssim, ciede2000, ms_ssim: needs the ideal edit (--truth)." in done.text


def test_explain_says_direction_range_and_meaning(drawn: Path) -> None:
    done = vedit("score", drawn / "edited.gif", "--metrics", "flicker", "--explain", "-q")
    assert (
        "flicker_mae: lower is better, usually 0..20 (grey levels)\n    Mean change of a colour value"
        in done.text
    )
    everything = vedit("score", "--explain")
    assert everything.code == 0 and "aesthetic_score: higher is better" in everything.text


def test_the_true_edit_succeeds_and_a_copy_is_flagged(drawn: Path) -> None:
    options = (
        "--source",
        drawn / "clip.gif",
        "--prompt",
        BLUE,
        "--source-prompt",
        RED,
        "--metrics",
        "shapes_edit_success,shapes_direction",
        "--json",
        "-",
        "-q",
    )
    true, copy = (
        json.loads(vedit("score", drawn / name, *options).text) for name in ("edited.gif", "clip.gif")
    )
    assert (
        true["videos"][0]["values"]["shapes_edit_success"]["value"] == 1 and true["videos"][0]["flags"] == []
    )
    assert copy["videos"][0]["values"]["shapes_edit_success"]["value"] == 0
    assert copy["videos"][0]["flags"][0].startswith("no_edit_guard")


def test_a_prompt_beyond_the_drawn_scenes_skips_the_embedded_scorer(drawn: Path) -> None:
    done = vedit("score", drawn / "edited.gif", "--prompt", "a grey wolf", "-q")
    assert done.code == 0 and 'do not know "wolf"' in done.text and "flicker_mae" in done.text
    named = vedit(
        "score", drawn / "edited.gif", "--prompt", "a grey wolf", "--metrics", "shapes_text_alignment"
    )
    assert named.code == 2 and "wolf" in named.err


def test_the_report_holds_every_number_with_its_provenance(drawn: Path, tmp_path: Path) -> None:
    out = {form: tmp_path / f"r.{form}" for form in ("json", "csv", "md", "latex", "html")}
    options = [part for form, path in out.items() for part in (f"--{form}", path)]
    done = vedit(
        "score",
        drawn / "edited.gif",
        "--truth",
        drawn / "edited.gif",
        "--prompt",
        BLUE,
        "--standalone",
        *options,
        "-q",
    )
    assert done.code == 0 and leftovers(tmp_path) == []
    saved = json.loads(out["json"].read_text())
    assert (saved["schema"], saved["profile"], saved["seed"]) == (1, "embedded", 0)
    (video,) = saved["videos"]
    assert (video["frames"], video["width"], video["height"]) == (3, 64, 64)
    assert video["values"]["psnr"]["value"] == 100 and video["values"]["psnr"]["per_frame"] == [100, 100, 100]
    assert video["values"]["psnr"]["provenance"]["metric"] == "psnr"
    assert saved["metrics"]["psnr"]["higher_is_better"] is True
    assert len(saved["provenance"]["weights"]["shapes_text_alignment"]["sha256"]) == 64
    assert saved["provenance"]["versions"]["numpy"] == np.__version__
    (line,) = csv.DictReader(io.StringIO(out["csv"].read_text()))
    assert line["video_id"] == "edited" and float(line["psnr"]) == 100
    assert "| psnr | 100.0000 |" in out["md"].read_text()
    assert out["latex"].read_text().startswith(r"\documentclass")
    assert out["html"].read_text().startswith("<!DOCTYPE html>")


def test_a_metric_of_flow_needs_no_weights_where_there_are_none(drawn: Path) -> None:
    done = vedit(
        "score",
        drawn / "edited.gif",
        "--source",
        drawn / "clip.gif",
        "--metrics",
        "warp_error",
        "--json",
        "-",
        "-q",
    )
    report = json.loads(done.text)
    assert (done.code, report["profile"], report["options"]["flow"]) == (0, "embedded", "tvl1")


def test_json_on_standard_output_comes_alone(drawn: Path) -> None:
    done = vedit("score", drawn / "edited.gif", "--metrics", "flicker", "--json", "-", "-q")
    assert json.loads(done.text)["summary"]["flicker_mae"]["n"] == 1


def test_the_same_line_twice_gives_the_same_numbers(drawn: Path) -> None:
    line = (
        "score",
        drawn / "edited.gif",
        "--source",
        drawn / "clip.gif",
        "--prompt",
        BLUE,
        "--csv",
        "-",
        "-q",
    )
    assert vedit(*line).text == vedit(*line).text


@pytest.mark.parametrize("frames", [1, 2, 8, 9, 24])
def test_any_number_of_frames_and_odd_sizes(tmp_path: Path, frames: int) -> None:
    edited, source = noise_gif(tmp_path / "e.gif", frames, seed=1), noise_gif(tmp_path / "s.gif", frames)
    done = vedit(
        "score",
        edited,
        "--source",
        source,
        "--truth",
        source,
        "--mask",
        "3,3,9,9",
        "--metrics",
        "reference,background,temporal,-warp_error,-warp_error_ratio,-ff_alpha,-ff_beta",
        "--json",
        "-",
        "-q",
    )
    assert done.code == 0, done.err
    values = json.loads(done.text)["videos"][0]["values"]
    assert len(values["bg_psnr"]["per_frame"]) == frames
    assert ("flicker_mae" in values) == (frames > 1)


def test_standard_input_from_another_vedit(drawn: Path) -> None:
    piped = vedit("convert", drawn / "edited.gif", "--to", "nut", "-o", "-").out
    done = vedit("score", "-", "--metrics", "flicker", "--csv", "-", "-q", stdin=piped)
    assert done.code == 0 and done.text.splitlines()[1].startswith("stdin,0,")
    page = vedit("score", "-", "--metrics", "flicker", "--html", "-", "-q", stdin=piped)
    assert page.text.count("data:image/webp") > 2  # read once, shown all the same


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, code, said",
    [
        ((), 2, "Usage: vedit score"),
        (("gone.gif",), 2, "neither a clip nor a command called gone.gif"),
        (("tabel", "x.json"), 2, "did you mean table?"),
        (("EDITED", "--metrics", "psnrr"), 2, "did you mean psnr?"),
        (("EDITED", "--metrics", "reference"), 2, "no metric could be computed"),
        (("EDITED", "--metrics", "psnr"), 2, "psnr needs the ideal edit (--truth)"),
        (("EDITED", "--edited", "."), 2, "both given"),
        (("--index", "suite.toml"), 2, "--edited"),
        (("--edited", ".", "--prompt", "x"), 2, "--prompt is for one clip"),
        (("--edited", ".", "--mask", "0,0,2,2"), 2, "--mask is for one clip"),
        (("EDITED", "--source-dir", "."), 2, "--source FILE"),
        (("-", "--journal", "j.jsonl"), 2, "standard input"),
        (("EDITED", "--resume"), 2, "--journal FILE"),
        (("EDITED", "--fail-under", "psnr"), 2, "METRIC=VALUE"),
        (("EDITED", "--fail-under", "pick_score=3"), 2, "not among the metrics"),
        (("EDITED", "--source", "TEXT"), 3, "text.gif"),
        (("EDITED", "--truth", "CLIP", "--fail-under", "psnr=90"), 1, "psnr is "),
        (("EDITED", "--fail-over", "flicker_mae=0.1"), 1, "over 0.1"),
        (("EDITED", "--fail-over", "flicker_mae=90"), 0, ""),
        (("EDITED", "--metrics", "clip_consistency"), 5, "vedit score weights --fetch clip_l"),
        (("EDITED", "--profile", "v2vbench"), 5, "--profile embedded"),
        (
            ("EDITED", "--source", "SHORT", "--metrics", "warp_error", "--flow", "tvl1"),
            3,
            "--align first|stride",
        ),
        (("EDITED", "--source", "CLIP", "--metrics", "warp_error", "--flow", "best"), 2, "tvl1"),
        (("EDITED", "--json", "EDITED"), 2, "both input and output"),
        (("EDITED", "--json", "TEXT"), 4, "exists"),
        (("EDITED", "--json", "x.out", "--csv", "x.out"), 2, "are one file"),
    ],
)
def test_each_way_out_has_its_code_and_says_what_to_type(
    drawn: Path, tmp_path: Path, args: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "text.gif").write_text("GIF8 no")
    names: dict[str, Any] = {
        "EDITED": drawn / "edited.gif",
        "CLIP": drawn / "clip.gif",
        "TEXT": tmp_path / "text.gif",
        "SHORT": noise_gif(tmp_path / "s.gif", 2),
    }
    done = vedit("score", *(names.get(arg, arg) for arg in args))
    assert (done.code, said in done.err + done.text) == (code, True), done.err
    assert "Traceback" not in done.err and "bug" not in done.err


# --- suites --------------------------------------------------------------------------------------


@pytest.fixture
def suite(drawn: Path, tmp_path: Path) -> Path:
    """Two edited videos and one that is broken, with an index."""
    for name in "abc":
        (tmp_path / "out" / name).mkdir(parents=True)
        shutil.copy(drawn / "edited.gif", tmp_path / "out" / name / "0.gif")
        shutil.copy(drawn / "clip.gif", tmp_path / f"{name}.gif")
    (tmp_path / "out" / "b" / "0.gif").write_bytes(b"GIF89a")
    tables = (
        f'[[video]]\nid = "{name}"\nsource_prompt = "{RED}"\n[[video.edit]]\nprompt = "{BLUE}"\n'
        for name in "abc"
    )
    (tmp_path / "suite.toml").write_text("".join(tables))
    return tmp_path


def test_a_suite_scores_the_rest_names_the_broken_and_resumes(suite: Path) -> None:
    line = (
        "score",
        "--index",
        suite / "suite.toml",
        "--edited",
        suite / "out",
        "--metrics",
        "flicker",
        "-q",
        "-y",
        "--csv",
        suite / "r.csv",
    )
    done = vedit(*line)
    assert done.code == 8 and "1 of 3 videos" in done.err and "b: " in done.err
    assert "b: not scored" in done.text
    assert [row["video_id"] for row in csv.DictReader(io.StringIO((suite / "r.csv").read_text()))] == [
        "a",
        "b",
        "c",
    ]
    assert (suite / "r.summary.csv").read_text().splitlines()[
        0
    ] == "name,edits,flicker_mae,temporal_flickering,flicker_mae_n,temporal_flickering_n"
    journal = suite / "out" / "vedit-score.jsonl"
    assert len(journal.read_text().splitlines()) == 2
    shutil.copy(suite / "out" / "a" / "0.gif", suite / "out" / "b" / "0.gif")
    assert vedit(*line, "--resume").code == 0
    assert len(journal.read_text().splitlines()) == 3  # only b was computed


def test_a_folder_of_clips_is_a_suite(suite: Path) -> None:
    flat = suite / "flat"
    flat.mkdir()
    for name in "xyz":
        shutil.copy(suite / "a.gif", flat / f"{name}.gif")
    done = vedit("score", "--edited", flat, "--metrics", "flicker", "--journal", suite / "j.jsonl", "-q")
    assert done.code == 0 and done.text.startswith("flat: 3 edited videos")
    assert "Fewer than 5 videos carry no interval." in done.text
    assert not (flat / "vedit-score.jsonl").exists()


# --- reports -------------------------------------------------------------------------------------


@pytest.fixture
def reports(tmp_path: Path) -> tuple[Path, Path]:
    """The thesis' rows of two methods: one as JSON, one as CSV."""
    (tmp_path / "glp.json").write_text(json.dumps(to_json(thesis("glp"))))
    (tmp_path / "video-p2p.csv").write_text(to_csv(thesis("video-p2p")))
    return tmp_path / "glp.json", tmp_path / "video-p2p.csv"


def test_compare_reaches_the_verdicts_of_the_thesis_rows(reports: tuple[Path, Path], tmp_path: Path) -> None:
    done = vedit(
        "score",
        "compare",
        *reports,
        "--json",
        tmp_path / "c.json",
        "--latex",
        tmp_path / "c.tex",
        "--html",
        tmp_path / "c.html",
    )
    assert done.code == 0
    verdicts = {
        line.split()[0]: line.rstrip().endswith("no difference shown")
        for line in done.text.splitlines()
        if re.match(r"\w+ [↑↓]", line)
    }
    assert len(verdicts) == 8 and [key for key, is_nothing in verdicts.items() if not is_nothing] == [
        "clip_consistency"
    ]
    assert json.loads((tmp_path / "c.json").read_text())["metrics"]["clip_consistency"]["verdict"] == "glp"
    assert r"\begin{tabular}" in (tmp_path / "c.tex").read_text()
    assert "<table" in (tmp_path / "c.html").read_text()
    assert vedit("score", "compare", *reports, "--metrics", "psnr").code == 2


def test_table_prints_the_thesis_tables_in_every_form(reports: tuple[Path, Path]) -> None:
    text = vedit("score", "table", *reports, "--layout", "thesis").text
    assert text.count("Average") == 6 and "0.9071" in text and "have exchanged" not in text
    assert text.count("has the headings Pick Score and ViCLIP Text Alignment exchanged") == 3
    latex = vedit(
        "score", "table", *reports, "--layout", "thesis", "--lang", "zh", "--format", "latex", "--standalone"
    ).text
    assert "时序一致性" in latex and latex.count(r"\end{tabular}") == 7 and "ctexart" in latex
    assert (
        vedit("score", "table", reports[0], "--layout", "v2vbench", "--format", "csv")
        .text.splitlines()[1]
        .startswith("glp,4.974,0.950")
    )
    assert vedit("score", "table", reports[0], "--format", "md").text.startswith("| method |")


def test_three_reports_are_compared_in_pairs_in_every_form(
    reports: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "third.csv").write_text(reports[1].read_text())
    forms = [part for form in ("json", "csv", "html") for part in (f"--{form}", tmp_path / f"c.{form}")]
    done = vedit("score", "compare", *reports, tmp_path / "third.csv", "--metrics", "temporal", *forms)
    assert done.code == 0 and "glp, video-p2p and third" in done.text
    saved = json.loads((tmp_path / "c.json").read_text())
    assert (saved["tests"], len(saved["pairs"])) == (9, 3)
    assert saved["pairs"][0]["metrics"]["clip_consistency"]["videos_needed"] > 5
    assert (tmp_path / "c.html").read_text().count('class="forest"') == 3
    assert vedit("score", "compare", reports[0]).code == 2


def test_tables_are_a_page_too_or_instead(reports: tuple[Path, Path], tmp_path: Path) -> None:
    line = ("score", "table", *reports, "--layout", "thesis", "--only", "comparison", "--transpose")
    done = vedit(*line, "--html", tmp_path / "t.html")
    assert done.code == 0 and "Comparison of glp and video-p2p" in done.text
    written = (tmp_path / "t.html").read_text()
    assert written.startswith("<!DOCTYPE html>") and written.count("<table") == 1 and "0.9071" in written
    alone = vedit(*line, "--html", "-").text
    assert alone == written
    assert vedit(*line, "--html", "-", "-o", "-").code == 2
    assert vedit(*line, "--html", tmp_path / "t.html").code == 4
    assert vedit(*line, "--html", reports[0]).code == 2


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_tables_compile_alone(reports: tuple[Path, Path], tmp_path: Path) -> None:
    text = vedit("score", "compare", *reports, "--latex", "-", "--standalone").text
    (tmp_path / "t.tex").write_text(text)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "Overfull" not in done.stdout, done.stdout[-1500:]


def test_a_report_that_is_none_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    done = vedit("score", "table", tmp_path / "x.json")
    assert done.code == 3 and "not a report of vedit score" in done.err


# --- weights -------------------------------------------------------------------------------------


def test_weights_lists_what_is_missing_and_where_it_is_looked_for(tmp_path: Path) -> None:
    done = vedit("score", "weights")
    assert done.code == 0
    assert (
        "clip_h: 3945 MB, not here" in done.text
        and "licence: " in done.text
        and "for pick_score" in done.text
    )
    assert "Another folder: --weights DIR" in done.text


def test_a_file_in_the_folder_is_found_hashed_and_refused_when_it_is_another(tmp_path: Path) -> None:
    place = tmp_path / "w" / "pranay-ar" / "gmflow"
    place.mkdir(parents=True)
    (place / "gmflow_sintel-0c07dcb3.pth").write_bytes(b"something else")
    listed = json.loads(
        vedit("score", "weights", "--weights", tmp_path / "w", "--metrics", "motion_alignment", "--json").text
    )
    assert [(entry["tower"], entry["place"], entry["sha256"]) for entry in listed] == [
        ("gmflow", "folder", None)
    ]
    done = vedit("score", "weights", "--weights", tmp_path / "w", "--check")
    assert (
        done.code == 1
        and "not that of the published file" in done.err
        and "NOT the published file" in done.text
    )


def test_fetching_without_network_says_where_to_put_the_file(tmp_path: Path) -> None:
    done = vedit("score", "weights", "--fetch", "dover_score")
    assert done.code == 5 and "teowu/DOVER/DOVER.pth" in done.err
    assert vedit("score", "weights", "--fetch", "dovr").code == 2
