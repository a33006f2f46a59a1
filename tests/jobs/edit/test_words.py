from __future__ import annotations

import pytest

pytest.importorskip("torch")

from vedit.jobs.edit.words import changed_words, fit_for, object_words, with_mask_words
from vedit.methods import dds, glp, p2p


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("a grey wolf in the snow", "a grey fox in the snow", ["wolf"]),
        ("A cat, on a mat.", "a dog on a mat", ["cat"]),
        ("a cat", "a fluffy cat", []),
        ("a big red cat", "a cat", ["big", "red"]),
        ("a cat and a cat", "a dog and a dog", ["cat"]),
        ("", "a dog", []),
    ],
)
def test_the_words_that_change_are_those_of_the_source_that_go(
    source: str, target: str, expected: list[str]
) -> None:
    assert changed_words(source, target) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("a blue circle moving left on a grey background", ["circle"]),
        ("a striped red circle moving left on a grey background", ["circle"]),
        ("a red star moving left on a grey background", ["circle"]),
        ("a red circle moving left on a navy background", []),
        ("a red circle moving left on a checkered grey background", []),
        ("a red circle moving left on a grey background", []),
    ],
)
def test_a_drawn_scene_s_object_is_its_shape_and_a_new_ground_has_none(
    target: str, expected: list[str]
) -> None:
    assert object_words("a red circle moving left on a grey background", target) == expected
    assert object_words("digit 5 moving left", "digit 7 moving left") == ["digit"]


def test_words_that_are_named_or_refused_by_name_stay() -> None:
    prompts = ("a cat", "a dog")
    assert with_mask_words(dds.Params, {}, *prompts, is_drawn=False) == {
        "mask_words": ["cat"],
        "mask_fit": "cells",
    }
    assert with_mask_words(glp.Params, {"lr": 0.1}, *prompts, is_drawn=False) == {
        "lr": 0.1,
        "mask_words": ["cat"],
        "mask_fit": "cells",
    }
    for kept in ({"mask_words": []}, {"mask_words": ["a"]}, {"reference": "uncond"}, {"iterations": 5}):
        assert with_mask_words(dds.Params, kept, *prompts, is_drawn=False) == kept
    assert with_mask_words(p2p.Params, {}, *prompts, is_drawn=False) == {}


def test_a_mask_fits_where_only_colour_or_texture_change_and_leaves_room_elsewhere() -> None:
    ring = "a red ring on a grey background"
    assert fit_for(ring, "a blue ring on a grey background", is_drawn=True) == "pixels"
    assert fit_for(ring, "a striped red ring on a grey background", is_drawn=True) == "pixels"
    assert fit_for(ring, "a red star on a grey background", is_drawn=True) == "cells"
    assert fit_for(ring, "a large red ring on a grey background", is_drawn=True) == "cells"
    assert fit_for("a grey wolf", "a grey fox", is_drawn=False) == "cells"
