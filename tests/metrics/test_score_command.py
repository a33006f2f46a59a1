"""`vedit score` through tiny networks in the published layouts: the whole way from files to tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import vedit
from tests.metrics.seeded import moving_video
from vedit import metrics
from vedit.errors import ModelError
from vedit.jobs.score.metrics import catalogue
from vedit.jobs.score.weights import metrics_of
from vedit.metrics._options import MetricOptions
from vedit.metrics.base import LAST
from vedit.metrics.towers import FILES
from vedit.metrics.towers.files import WeightFinder
from vedit.options import declared_in

EIGHT = tuple(catalogue())[:8]
QUALITY = ("aesthetic_score", "clip_consistency", "dino_consistency")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    import torch

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny networks only lose time to threads on a machine that does other things
    request.addfinalizer(lambda: torch.set_num_threads(before))
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(WeightFinder, "_cached", lambda self, file: None)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An edit and its source: folders of eight frames of 64x48."""
    folder = tmp_path_factory.mktemp("clips")
    for seed, name in enumerate(("in", "out")):
        (folder / name).mkdir()
        for number, frame in enumerate(moving_video(8, 48, 64, seed=seed).frames_TYX3):
            Image.fromarray(frame).save(folder / name / f"{number}.png")
    return folder


def score(
    clips: Path, weights: Path, *more: Any, edited: str = "out", prompt: str = "a red car"
) -> dict[str, Any]:
    line = (
        "score",
        clips / edited,
        "--source",
        clips / "in",
        "--prompt",
        prompt,
        "--weights",
        weights,
        "--device",
        "cpu",
        "--json",
        "-",
        "-q",
    )
    done = vedit(*line, *more)
    assert done.code == 0, done.err
    report: dict[str, Any] = json.loads(done.text)
    return report


def numbers(report: dict[str, Any]) -> dict[str, float]:
    return {key: number["value"] for key, number in report["videos"][0]["values"].items()}


def test_with_weights_the_default_is_the_eight_of_v2vbench(clips: Path, tiny_weights: Path) -> None:
    report = score(clips, tiny_weights)
    assert report["profile"] == "v2vbench" and tuple(numbers(report)) == EIGHT
    assert all(abs(value) < 1e4 for value in numbers(report).values())
    weights = report["provenance"]["weights"]
    assert weights["gmflow"]["file"] == FILES["gmflow"][0].path and len(weights["gmflow"]["sha256"]) == 64
    used = report["videos"][0]["values"]["aesthetic_score"]["provenance"]["weights"]
    assert set(used) == {"clip_l", "aesthetic"}


def test_another_prompt_leaves_the_metrics_of_quality_bit_equal_and_so_does_the_cache(
    clips: Path, tiny_weights: Path
) -> None:
    light = ("--metrics", "v2vbench,-dover_score,-motion_alignment")
    first = numbers(score(clips, tiny_weights, "--cache", *light))
    other = numbers(score(clips, tiny_weights, "--cache", *light, prompt="two boats at sea"))
    fresh = numbers(score(clips, tiny_weights, *light))
    assert first == fresh
    assert {key: first[key] for key in QUALITY} == {key: other[key] for key in QUALITY}
    assert all(
        first[key] != other[key] for key in ("clip_text_alignment", "pick_score", "viclip_text_alignment")
    )


def test_a_copy_of_the_source_has_its_motion_and_is_flagged(clips: Path, tiny_weights: Path) -> None:
    report = score(
        clips, tiny_weights, "--metrics", "motion_alignment,warp_error,warp_error_ratio,ff_beta", edited="in"
    )
    assert numbers(report)["motion_alignment"] == 0
    assert numbers(report)["warp_error_ratio"] in (1.0, pytest.approx(1.0))
    assert numbers(report)["ff_beta"] == pytest.approx(0, abs=1e-6)
    assert report["videos"][0]["values"]["warp_error"]["extra"]["flow"] == "gmflow"
    assert "no_edit_guard" in report["videos"][0]["flags"][0]


def test_reports_of_different_profiles_are_compared_by_force_only(
    clips: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    for profile in ("v2vbench", "strict"):
        report = score(clips, tiny_weights, "--profile", profile, "--metrics", "dover_score,clip_consistency")
        (tmp_path / f"{profile}.json").write_text(json.dumps(report))
    line = ("score", "compare", tmp_path / "v2vbench.json", tmp_path / "strict.json")
    refused = vedit(*line)
    assert refused.code == 2 and "--force" in refused.err
    assert vedit(*line, "--force").code == 0
    table = vedit("score", "table", tmp_path / "v2vbench.json", "--layout", "v2vbench")
    assert "Semantic Consistency" in table.text


def test_what_weights_there_are_is_used_and_the_rest_is_skipped_with_a_word(
    clips: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    some = tmp_path / "some"
    shutil.copytree(tiny_weights / FILES["gmflow"][0].repo, some / FILES["gmflow"][0].repo)
    report = score(clips, some)
    assert report["profile"] == "v2vbench" and list(numbers(report)) == ["motion_alignment"]
    assert (
        report["videos"][0]["skipped"]["pick_score"]
        == "no weights on this machine; fetch them with: vedit score weights --fetch clip_h"
    )
    done = vedit("score", clips / "out", "--weights", some, "--metrics", "pick_score", "--prompt", "x")
    assert done.code == 5 and "clip_h" in done.err


def test_a_wrong_key_is_a_model_error_that_names_it(clips: Path, tiny_weights: Path, tmp_path: Path) -> None:
    import torch

    file = FILES["gmflow"][0]
    (tmp_path / file.repo).mkdir(parents=True)
    state = torch.load(tiny_weights / file.repo / file.path, weights_only=True)
    inner = state["model"]
    inner["upsampler.9.weight"] = inner.pop("upsampler.0.weight")
    torch.save(state, tmp_path / file.repo / file.path)
    done = vedit(
        "score",
        clips / "out",
        "--source",
        clips / "in",
        "--weights",
        tmp_path,
        "--metrics",
        "motion_alignment",
    )
    assert (
        done.code == ModelError.exit_code and "upsampler.0.weight" in done.err and "Traceback" not in done.err
    )


def test_each_network_is_loaded_once_for_a_suite(
    clips: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vedit.metrics.towers import tower

    loaded: list[str] = []
    read = tower.read_state
    monkeypatch.setattr(tower, "read_state", lambda path: (loaded.append(str(path)), read(path))[1])
    for name in "ab":
        shutil.copytree(clips / "out", tmp_path / "out" / name)
        shutil.copytree(clips / "in", tmp_path / "in" / name)
    line = (
        "score",
        "--edited",
        tmp_path / "out",
        "--source-dir",
        tmp_path / "in",
        "--weights",
        tiny_weights,
        "--device",
        "cpu",
        "-q",
    )
    done = vedit(*line, "--metrics", "clip_consistency,aesthetic_score,dino_consistency,motion_alignment")
    assert done.code == 0, done.err
    assert len(loaded) == len(set(loaded)) == 4  # CLIP, the aesthetic head, DINO, GMFlow


def test_the_options_of_every_metric_are_declared() -> None:
    named = {key for name in metrics.names() for key in getattr(metrics.load(name), "OPTIONS", ())}
    assert named == set(declared_in(MetricOptions))


def test_no_two_numbers_have_the_same_place_among_the_columns() -> None:
    orders = [fact.value.order for fact in catalogue().values() if fact.value.order != LAST]
    assert orders == sorted(set(orders)) and len(orders) == 26


def test_every_network_says_which_numbers_read_it_under_any_option() -> None:
    assert metrics_of("lpips_squeeze") == ["lpips", "bg_lpips"]
    assert metrics_of("clip_b32") == ["edit_success"]
    assert metrics_of("dinov2") == [
        "dino_consistency",
        "core_correspondence",
        "structure_distance",
        "subject_consistency",
    ]
