"""Protects vedit/jobs/rewrite and `vedit rewrite`: prompts that keep the source's wording, or a refusal."""

from __future__ import annotations

import json
import random

import pytest

from tests.conftest import vedit
from vedit.data import grammar
from vedit.data.cases import Case, load_cases
from vedit.data.instructions import KINDS, WHEN, instruction
from vedit.errors import UsageError
from vedit.jobs.rewrite.request import RewriteRequest
from vedit.jobs.rewrite.rules import rewritten
from vedit.jobs.rewrite.run import rewrite
from vedit.jobs.rewrite.words import changes, distance, failed_check

CASES = load_cases()
CIRCLE = "a red circle on a grey background"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_wording_of_a_benchmark_s_edit_gives_its_prompt(case: Case) -> None:
    for seed in range(8):
        rng = random.Random(seed)
        said = instruction({**case.scene.fields}, case.kind, case.value, rng, rng.choice([None, *WHEN]))
        assert rewritten(case.source_prompt, said) == case.target_prompt, said


def test_captions_in_other_words_mean_the_edited_scene_afterwards() -> None:
    rng = random.Random(5)
    for _ in range(200):
        fields = {name: rng.choice(values) for name, values in grammar.FIELDS.items()}
        caption = grammar.varied_caption(fields, rng, complete=True, says_motion=1.0)
        kind = rng.choice(KINDS)
        value = rng.choice([value for value in grammar.FIELDS[kind] if value != fields[kind]])
        made = rewritten(caption, instruction(fields, kind, value, rng))
        usual = {"size": "medium", "texture": "plain", "pattern": "plain"}
        assert {**usual, **grammar.parse_caption(made)} == {**fields, kind: value}, (caption, made)


@pytest.mark.parametrize(
    ("source", "said", "target"),
    [
        (CIRCLE, "navy checkered", "a red circle on a checkered navy background"),
        (CIRCLE, "make it larger", "a large red circle on a grey background"),
        (CIRCLE, "let the circle move up", "a red circle moving up on a grey background"),
        (CIRCLE, "make it orange", "an orange circle on a grey background"),
        ("a star", "put it on a teal background", "a star on a teal background"),
        ("A grey wolf in a forest", "replace the wolf with a fox", "A grey fox in a forest"),
        ("A wolf in a forest", "Turn the wolf into an owl.", "An owl in a forest"),
        ("a wolf and a werewolf", "change werewolf to bear", "a wolf and a bear"),
    ],
)
def test_what_rules_make_of_an_instruction(source: str, said: str, target: str) -> None:
    assert rewritten(source, said) == target


@pytest.mark.parametrize(
    ("source", "said", "why"),
    [
        (CIRCLE, "make the circle red", "changes nothing"),
        (CIRCLE, "make it Japanese", "changes nothing"),
        ("a wolf", "make it snow", "is not a swap"),
        ("a wolf", "replace the dog with a cat", '"dog" does not stand in'),
        ("a wolf", "replace the wolf with a very long tall old friendly bear", "more than 4 words"),
        ("a wolf", "replace the wolf with a bear", "0.50 of its words change"),
    ],
)
def test_what_rules_do_not_understand_is_refused(source: str, said: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        rewrite(RewriteRequest(source=source, instruction=said))


@pytest.mark.parametrize(
    ("source", "target", "far"),
    [
        ("a b c", "a b c", 0.0),
        ("a b c", "a x c", 1 / 3),
        ("a b c", "a c", 1 / 3),
        ("a", "b c d", 1.0),
        ("a wolf", "an owl", 0.5),
        ("", "", 0.0),
    ],
)
def test_distance_is_levenshteins_in_words(source: str, target: str, far: float) -> None:
    assert distance(source.split(), target.split()) == pytest.approx(far)


def plain_levenshtein(one: list[str], other: list[str]) -> int:
    if not one or not other:
        return len(one) + len(other)
    drop, add = plain_levenshtein(one[1:], other), plain_levenshtein(one, other[1:])
    return min(drop + 1, add + 1, plain_levenshtein(one[1:], other[1:]) + (one[0] != other[0]))


def test_distance_is_that_of_the_definition() -> None:
    rng = random.Random(0)
    for _ in range(60):
        one, other = ([rng.choice("pqrs") for _ in range(rng.randint(1, 5))] for _ in range(2))
        share = plain_levenshtein(one, other) / max(len(one), len(other))
        assert distance(one, other) == pytest.approx(share)


def test_a_prompt_longer_than_clip_reads_is_refused() -> None:
    assert "76 words" in failed_check("word " * 75, "word " * 76, 0.4)


def test_the_command_tells_what_changed() -> None:
    assert (
        vedit("rewrite", "make the circle blue", "--source", CIRCLE).text
        == f"{CIRCLE.replace('red', 'blue')}\n"
    )
    told = json.loads(vedit("rewrite", "make the circle blue", "--source", CIRCLE, "--json").text)
    assert told["changes"] == [{"from": "red", "to": "blue"}] and told["blend"] == [["red", "blue"]]
    assert (told["emphasise"], told["mode"], told["method"]) == (["blue"], "align", "rules")
    assert told["distance"] == pytest.approx(1 / 7, abs=1e-4)
    assert changes(["a", "red", "owl"], ["an", "orange", "owl"]) == [("red", "orange")]
    refused = vedit("rewrite", "sing", "--source", CIRCLE)
    assert refused.code == 2 and "For example" in refused.err


def test_rewriting_loads_no_tensor_library() -> None:
    done = vedit("rewrite", "make the circle blue", "--source", CIRCLE)
    assert not {"torch", "transformers", "diffusers"} & done.modules


@pytest.mark.parametrize(
    ("instruction", "target"),
    [
        ("replace the wolf by a fox", "a fox by the sea in a forest"),
        ("Replace the wolf by the sea with a fox.", "a fox in a forest"),
        ("a fox instead of the wolf", "a fox by the sea in a forest"),
        ("put an owl in place of the wolf", "an owl by the sea in a forest"),
        ("use a city instead of the forest", "a wolf by the sea in a city"),
        ("substitute an owl for the wolf", "an owl by the sea in a forest"),
        ("exchange the wolf for an owl", "an owl by the sea in a forest"),
        ("transform the forest into a city", "a wolf by the sea in a city"),
        ("convert the wolf to a fox", "a fox by the sea in a forest"),
    ],
)
def test_a_swap_may_be_said_in_many_ways(instruction: str, target: str) -> None:
    request = RewriteRequest(
        source="a wolf by the sea in a forest", instruction=instruction, max_distance=0.6
    )
    assert rewrite(request)["target"] == target
