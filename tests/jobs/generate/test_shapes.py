"""Protects vedit/jobs/generate/shapes.py: the embedded generator makes what its words say, and refuses the
rest.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vedit.data import scenes
from vedit.errors import ModelError, UsageError
from vedit.jobs.generate import run as generate
from vedit.jobs.generate import shapes as generate_shapes
from vedit.jobs.generate.run import Choices, Take
from vedit.models.shapes import folder
from vedit.training import shapes_truth

torch.set_num_threads(1)  # ten times faster for small tensors on a busy machine
SCHEDULE = SimpleNamespace(train_steps=1000)


@pytest.fixture(scope="module")
def maker():
    return generate_shapes.load(Choices("shapes", device="cpu"))


@pytest.fixture
def unloaded():
    return generate_shapes.ShapesMaker(SimpleNamespace(schedule=SCHEDULE), None, torch.float32, {})


def watch(steps, total, what):
    return steps


def test_the_embedded_model_is_asked_for_by_its_name_alone():
    assert generate.backend_of("shapes") is generate_shapes
    assert not generate_shapes.claims("shapes/other") and not generate_shapes.claims("./shapes")


def test_a_prompt_becomes_a_complete_caption_and_the_seed_draws_what_it_leaves_out():
    full = "a small striped red ring moving left on a wavy teal background"
    assert generate_shapes.read_prompt(full.title() + ".", 0) == full
    drawn = {generate_shapes.read_prompt("digit 5 moving left", seed) for seed in range(40)}
    assert len(drawn) > 10 and generate_shapes.read_prompt("digit 5 moving left", 3) in drawn
    assert all(" digit 5 moving left on a" in caption for caption in drawn)
    assert "moving" not in generate_shapes.read_prompt("a red ring", 0)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [("a cat on a sofa", '"cat", "sofa"'), ("moving left", "names no shape"), ("digit", "two words")],
)
def test_a_prompt_that_no_drawn_scene_shows_is_refused(unloaded, prompt, said):
    with pytest.raises(UsageError, match=said):
        unloaded.make(Take(prompt), watch)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"frames": 16}, "clips of 8 frames"),
        ({"size": (128, 128)}, "64x64 pixels"),
        ({"steps": 2000}, "1000 noise levels"),
        ({"negative": "red", "guidance": 1.0}, "no meaning with guidance 1"),
        ({"negative": "ugly"}, '"ugly"'),
        ({"negative": "red " * 23}, "23 words"),
    ],
)
def test_what_the_model_was_not_made_for_is_refused_before_sampling(unloaded, asked, said):
    with pytest.raises(UsageError, match=said):
        unloaded.make(Take("a ring", **asked), watch)


def test_a_missing_adapter_says_how_to_make_one(monkeypatch, tmp_path):
    monkeypatch.setattr(folder, "MOTION", tmp_path)
    with pytest.raises(ModelError, match="vedit models pack RUN --motion"):
        generate_shapes.load(Choices("shapes"))


def test_a_few_steps_already_show_colour_and_background_and_repeat_by_seed(maker):
    prompt = "a large red circle moving left on a teal background"
    made = maker.make(Take(prompt, seed=1, steps=6), watch)
    assert made.frames_FYX3.shape == (8, 64, 64, 3) and made.frames_FYX3.dtype == np.uint8
    assert np.array_equal(made.frames_FYX3, maker.make(Take(prompt, seed=1, steps=6), watch).frames_FYX3)
    words = {
        "shape": "circle",
        "colour": "red",
        "texture": "plain",
        "size": "large",
        "ground": "teal",
        "pattern": "plain",
        "motion": "left",
    }
    clip = torch.from_numpy(made.frames_FYX3).permute(0, 3, 1, 2) / 255
    read = shapes_truth.read_clip(clip, words)
    assert (read["colour"], read["ground"]) == ("red", "teal")
    assert made.facts == {
        "caption": prompt,
        "steps": 6,
        "guidance": 3.0,
        "frames": scenes.FRAMES,
        "size": [64, 64],
    }


def test_the_record_names_the_weights(maker):
    identity = maker.identity()
    assert len(set(identity.values())) == 5 and all(len(value) == 64 for value in identity.values())
