"""Protects vedit/training/shapes_truth.py: what a clip shows is read from its pixels."""

import dataclasses

import pytest
import torch

from vedit.data import grammar, scenes
from vedit.training import shapes_truth
from vedit.training.shapes_gates import read_right


def test_drawn_clips_are_read_right_digits_and_textures_included():
    records = scenes.sample_records(40, 21, held_out=True, digits=0.3)
    right = read_right(records, [scenes.clip(record) for record in records])
    assert list(right) == ["motion", "shape", "colour", "ground"]
    assert {name: int(values.sum()) for name, values in right.items()} == dict.fromkeys(right, 40)


def test_a_clip_of_something_else_is_read_wrong():
    scene = next(
        record
        for record in scenes.sample_records(1000, 22)
        if record.shape == "circle" and record.colour == "red" and record.motion == "left"
    )
    asked = {**scene.fields, "motion": "right", "shape": "square"}
    read = shapes_truth.read_clip(scenes.clip(scene), asked)
    assert (read["motion"], read["shape"]) == ("left", "circle")


def test_clips_backwards_move_the_other_way():
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up", "still": "still"}
    for record in scenes.sample_records(10, 23):
        assert (
            shapes_truth.read_clip(scenes.clip(record).flip(0), record.fields)["motion"]
            == opposite[record.motion]
        )


@pytest.mark.parametrize(
    ("x", "y", "motion"), [(6, 1, "right"), (-6, 1, "left"), (1, 6, "down"), (-1, -6, "up"), (3, -3, "still")]
)
def test_the_line_through_the_centroids_names_the_motion(x, y, motion):
    path = torch.linspace(0, 1, 8)[:, None] * torch.tensor([float(x), float(y)])
    assert shapes_truth.motion_of(path + torch.tensor([30.0, 20.0])) == motion


def test_a_picture_without_the_object_is_tracked_at_its_centre():
    words = dataclasses.replace(
        scenes.sample_records(1, 24)[0], pattern="plain", ground="navy", colour="yellow"
    ).fields
    empty = torch.tensor(scenes.GROUND_RGB["navy"])[None, :, None, None].expand(8, 3, 64, 64)
    assert shapes_truth.track(empty, words).tolist() == [[32.0, 32.0]] * 8


def test_errors_to_drawings_are_those_of_the_drawings():
    generator = torch.Generator().manual_seed(0)
    picture, masks = torch.rand(3, 64, 64, generator=generator), torch.rand(4, 64, 64, generator=generator)
    objects, grounds = torch.rand(2, 3, generator=generator), torch.rand(5, 3, generator=generator)
    m = masks[:, None, None, None]
    drawn = m * objects[None, :, None, :, None, None] + (1 - m) * grounds[None, None, :, :, None, None]
    expected = (drawn - picture).square().sum(dim=(3, 4, 5)) - picture.square().sum()
    assert torch.allclose(
        shapes_truth.drawing_errors(picture, masks, objects, grounds), expected, rtol=1e-4, atol=0.05
    )


def test_candidates_are_centred_on_the_place_asked_for():
    words = {**scenes.sample_records(1, 25)[0].fields, "shape": "digit 7", "size": "medium"}
    names, masks = shapes_truth.outlines(words, torch.tensor([30.0, 36.0]))
    assert set(names) == set(grammar.DIGITS)
    assert torch.allclose(shapes_truth.centroids(masks), torch.tensor([30.0, 36.0]), atol=0.1)
