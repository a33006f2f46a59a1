from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
import numpy as np
import torch
from PIL import Image

from vedit.data import scenes
from vedit.data.cases import KINDS, load_cases
from vedit.jobs.bench.journal import Score
from vedit.jobs.bench.scenes import COPY, interval, mask_drawn, score, summary, table_text, with_mask

FRAMES = 4
CASES = {
    kind: next(case for case in load_cases("drawn-scenes-tuning") if case.kind == kind) for kind in KINDS
}


def drawn(scene: scenes.Scene) -> torch.Tensor:
    return scenes.clip(scene, FRAMES) * 2 - 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_scores_full_marks(kind: str) -> None:
    found = score("truth", CASES[kind], drawn(CASES[kind].truth), FRAMES)
    assert (found.whole, found.edited, found.success, found.flicker) == (100.0, 100.0, 1.0, 0.0)
    assert found.unchanged > 50


@pytest.mark.parametrize("kind", KINDS)
def test_doing_nothing_keeps_what_is_unchanged_and_never_succeeds(kind: str) -> None:
    found = score(COPY, CASES[kind], drawn(CASES[kind].scene), FRAMES)
    assert found.unchanged == 100.0 and found.success == 0.0
    assert found.edited < found.whole < 40


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_of_a_method_that_needs_one_holds_what_the_edit_changes(kind: str, tmp_path: Path) -> None:
    source, truth = (drawn(scene)[0] for scene in (CASES[kind].scene, CASES[kind].truth))
    changed = (source != truth).any(0).numpy()
    (spec,) = mask_drawn(CASES[kind], str(tmp_path))
    assert ("not:" in spec) == (kind in ("ground", "pattern"))
    if kind in ("ground", "pattern"):
        mask = np.asarray(Image.open(spec.removeprefix("not:track:"))) == 0
        assert (mask & changed).sum() > 0.9 * changed.sum() and 0.02 < (~mask).mean() < 0.5
    else:
        x, y, width, height = map(int, spec.removeprefix("track:").split(","))
        mask = np.zeros(changed.shape, bool)
        mask[y : y + height, x : x + width] = True
        assert not (changed & ~mask).any() and mask.mean() < 0.7


def test_another_value_than_the_one_asked_for_is_no_success() -> None:
    case = CASES["colour"]
    other = next(value for value in case.alternatives() if value not in (case.value, case.scene.colour))
    assert score("other", case, drawn(case.alternatives()[other]), FRAMES).success == 0.0


def test_intervals_hold_the_mean_and_shrink_with_cases() -> None:
    few, many = [0.0, 1.0] * 5, [0.0, 1.0] * 100
    assert interval([0.7] * 9) == (0.7, 0.7)
    for values in (few, many):
        low, high = interval(values)
        assert low < 0.5 < high
    assert interval(many)[1] - interval(many)[0] < 0.5 * (interval(few)[1] - interval(few)[0])


def test_the_table_has_a_row_per_method_and_success_by_kind() -> None:
    entries = [
        Score(method, f"{kind}-0", kind, 20, 30, 10, success, 1)
        for method, success in (("a", 1.0), ("b", 0.0))
        for kind in ("colour", "shape")
    ]
    rows = summary(entries)
    assert [(row["method"], row["by_kind"]) for row in rows] == [
        ("a", {"colour": 1.0, "shape": 1.0}),
        ("b", {"colour": 0.0, "shape": 0.0}),
    ]
    text = table_text(rows, markdown=True).splitlines()
    assert len(text) == 4 and text[2].startswith("| a | 20.0 [20.0, 20.0] | 30.0 [30.0, 30.0]")


def test_masks_by_words_are_told_the_shape_except_for_backgrounds() -> None:
    assert with_mask("p2p", CASES["colour"], {"steps": 5}) == {
        "steps": 5,
        "blend_words": [CASES["colour"].scene.shape],
    }
    assert with_mask("p2p", CASES["ground"], {}) == {} == with_mask("pnp", CASES["colour"], {})
    both = with_mask("p2p", CASES["shape"], {})["blend_words"]
    assert both == [CASES["shape"].scene.shape, CASES["shape"].truth.shape]
    assert (
        with_mask("glp", CASES["shape"], {})
        == with_mask("dds", CASES["shape"], {})
        == {"mask_words": [CASES["shape"].scene.shape], "mask_fit": "cells"}
    )


def test_methods_that_hold_shapes_are_told_which_may_change() -> None:
    case = CASES["shape"]
    told = with_mask("fatezero", case, {})
    assert told["shape_words"] == [case.scene.shape] and len(told["blend_words"]) == 2
    assert "shape_words" not in with_mask("fatezero", CASES["colour"], {})
    assert with_mask("masactrl", case, {}) == {"object_words": [case.scene.shape, case.truth.shape]}
    assert with_mask("video-p2p", case, {"blend_words": []}) == {"blend_words": []}, "what is set stays"
