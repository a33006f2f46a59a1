"""Protects vedit/data/cases.py: the frozen benchmark stays what it was."""

import collections
import hashlib

import pytest
import torch

from vedit.data import cases, grammar, scenes
from vedit.errors import UsageError

FROZEN = {
    "drawn-scenes": "49a1227071ac207b830898b6b4f3d9825475a0fb3448936879766c32f0e7b5ee",
    "drawn-scenes-tuning": "0413c4e4fc92d5d97cb555d8b9c7406aa3f3bfbb112c756149dd5223f684729f",
}


@pytest.mark.parametrize(("name", "expected"), FROZEN.items())
def test_the_frozen_file_has_not_changed(name, expected):
    assert hashlib.sha256((cases.FOLDER / f"{name}.jsonl").read_bytes()).hexdigest() == expected


@pytest.mark.parametrize("name", FROZEN)
def test_the_frozen_file_is_what_its_seed_draws(name):
    lines = "".join(case.to_json() + "\n" for case in cases.make_cases(name))
    assert hashlib.sha256(lines.encode()).hexdigest() == FROZEN[name]


def test_there_are_twenty_cases_of_each_kind_and_ten_for_tuning():
    for name, count in (("drawn-scenes", 20), ("drawn-scenes-tuning", 10)):
        kinds = collections.Counter(case.kind for case in cases.load_cases(name))
        assert kinds == dict.fromkeys(cases.KINDS, count)


def test_no_scene_is_both_reported_on_and_tuned_on():
    reported = {case.scene for case in cases.load_cases("drawn-scenes")}
    assert len(reported) == 120
    assert not reported & {case.scene for case in cases.load_cases("drawn-scenes-tuning")}


def test_every_source_is_held_out_and_every_case_changes_its_field_only():
    for name in FROZEN:
        for case in cases.load_cases(name):
            assert grammar.is_held_out(case.scene.fields)
            changed = {key for key in grammar.FIELDS if getattr(case.scene, key) != getattr(case.truth, key)}
            assert changed == {case.kind}


def test_every_answer_differs_from_its_source_in_the_picture():
    for case in cases.load_cases("drawn-scenes"):
        before, after = scenes.clip(case.scene, 1), scenes.clip(case.truth, 1)
        assert float((before - after).abs().amax()) > 0.05


def test_the_truth_is_nearest_to_its_own_alternative():
    for case in cases.load_cases("drawn-scenes-tuning")[::7]:
        wanted = scenes.clip(case.truth, 1)
        errors = {
            value: float((scenes.clip(s, 1) - wanted).square().mean())
            for value, s in case.alternatives().items()
        }
        assert min(errors, key=errors.get) == case.value and errors[case.value] == 0


def test_a_case_survives_its_line():
    for case in cases.load_cases("drawn-scenes")[::17]:
        assert cases.Case.from_json(case.to_json()) == case
        assert torch.equal(scenes.clip(cases.Case.from_json(case.to_json()).truth), scenes.clip(case.truth))


def test_an_unknown_set_is_refused():
    with pytest.raises(UsageError, match="no case set"):
        cases.load_cases("imagenet")
