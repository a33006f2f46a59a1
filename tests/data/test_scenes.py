"""Protects vedit/data/scenes.py: drawings against closed forms, edits against their truth."""

import dataclasses
import itertools
import json
import math
import time

import pytest
import torch

from vedit.data import grammar, scenes
from vedit.errors import InputError

STILL = scenes.Scene(
    shape="circle",
    colour="red",
    texture="plain",
    size="large",
    ground="grey",
    pattern="plain",
    motion="still",
    x=32.0,
    y=31.0,
    span=10.0,
    size_offset=0.0,
    rotation=0.0,
    colour_shift=(0.0, 0.0, 0.0),
    ground_shift=(0.0, 0.0, 0.0),
    slope=0.0,
    slope_angle=0.0,
    period=12.0,
    phase_x=0.0,
    phase_y=0.0,
    stripe_angle=0.0,
    stripe_period=6.5,
    grain=0.0,
    grain_seed=0,
)
RADIUS = 17.0
TIP = 1.15 * RADIUS


def stroke_area(a, b, c, half_width=0.18):
    """Two bars, two half discs at the ends; at the bend a sector outside and a kite counted twice inside."""
    turn = abs(
        math.remainder(
            math.atan2(c[1] - b[1], c[0] - b[0]) - math.atan2(b[1] - a[1], b[0] - a[0]), 2 * math.pi
        )
    )
    bars = 2 * half_width * (math.dist(a, b) + math.dist(b, c))
    return bars + half_width**2 * (math.pi + turn / 2 - math.tan(turn / 2))


AREAS = {
    "circle": math.pi * RADIUS**2,
    "square": (2 * 0.81 * RADIUS) ** 2,
    "triangle": 3 * math.sqrt(3) / 4 * TIP**2,
    # ten triangles between the centre, a tip and a notch
    "star": 10 * 0.5 * TIP * 0.45 * TIP * math.sin(math.pi / 5),
    # two bars less their overlap
    "cross": 2 * (2 * RADIUS) * (0.68 * RADIUS) - (0.68 * RADIUS) ** 2,
    "ring": math.pi * (RADIUS**2 - (0.48 * RADIUS) ** 2),
    # a stroke of width 0.36 along an ellipse; Ramanujan's perimeter
    "digit 0": 0.36 * math.pi * (3 * 1.22 - math.sqrt((3 * 0.42 + 0.8) * (0.42 + 3 * 0.8))) * RADIUS**2,
    "digit 1": stroke_area((-0.3, -0.46), (0.08, -0.8), (0.08, 0.8)) * RADIUS**2,
    "digit 7": stroke_area((-0.42, -0.8), (0.42, -0.8), (-0.1, 0.8)) * RADIUS**2,
}


def mask(scene, time=0.0):
    return scenes.object_mask(scenes.stack([scene]), torch.tensor([time]))[0]


def centre(weights):
    grid = torch.arange(scenes.SIDE) + 0.5
    total = weights.sum()
    return float((weights.sum(0) * grid).sum() / total), float((weights.sum(1) * grid).sum() / total)


@pytest.mark.parametrize("shape", AREAS)
@pytest.mark.parametrize("rotation", [0.0, 0.2])
def test_each_shape_covers_the_area_of_its_formula(shape, rotation):
    scene = dataclasses.replace(STILL, shape=shape, rotation=rotation)
    assert float(mask(scene).sum()) == pytest.approx(AREAS[shape], rel=0.015)


@pytest.mark.parametrize("shape", grammar.FIELDS["shape"])
def test_no_shape_reaches_beyond_its_reach(shape):
    grid = torch.arange(scenes.SIDE) + 0.5
    outside = torch.hypot(grid[None] - 32.0, grid[:, None] - 31.0) > scenes.REACH * RADIUS + 1
    assert float(mask(dataclasses.replace(STILL, shape=shape))[outside].sum()) == 0


def test_a_nine_is_a_six_turned_half_around():
    six, nine = (mask(dataclasses.replace(STILL, shape=shape, y=32.0)) for shape in ("digit 6", "digit 9"))
    assert torch.allclose(six.flip(0, 1), nine, atol=1e-4)


def test_no_two_digits_are_drawn_alike_even_when_small():
    masks = [mask(dataclasses.replace(STILL, shape=digit, size="small")) for digit in grammar.DIGITS]
    for one, other in itertools.combinations(masks, 2):
        assert float((one - other).abs().sum()) > 0.2 * float(torch.maximum(one, other).sum())


def test_a_plain_scene_shows_exactly_its_two_colours_away_from_the_edge():
    picture = scenes.clip(STILL, 1)[0]
    assert picture[:, 31, 32].tolist() == pytest.approx([0.90, 0.12, 0.12])
    assert picture[:, 2, 2].tolist() == pytest.approx([0.5, 0.5, 0.5])


def test_far_paths_take_what_room_the_frame_has():
    near, far = (scenes.sample(4000, torch.Generator().manual_seed(3), far=far) for far in (False, True))
    room = scenes.SIDE - 2 * (scenes.REACH * far.radius_B + scenes.MARGIN)
    assert near.floats["span"].min() >= 8 and near.floats["span"].max() <= 16
    share = (far.floats["span"] - 8) / (room - 8)
    assert (
        share.min() >= 0
        and share.max() <= 1
        and torch.allclose(share, (near.floats["span"] - 8) / 8, atol=1e-5)
    )
    covers = [scenes.object_mask(far[:64], torch.full((64,), time)) for time in (0.0, 1.0)]
    for cover in covers:  # the whole object is inside, at both ends of its path
        assert cover[:, [0, -1]].max() < 0.02 and cover[:, :, [0, -1]].max() < 0.02


@pytest.mark.parametrize(
    ("motion", "step"),
    [("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1)), ("still", (0, 0))],
)
def test_the_object_travels_its_span_in_the_direction_of_its_motion(motion, step):
    scene = dataclasses.replace(STILL, size="small", motion=motion)
    x0, y0 = centre(mask(scene, 0.0))
    x1, y1 = centre(mask(scene, 1.0))
    assert (x0, y0) == pytest.approx((32.0, 31.0), abs=1e-3)
    assert (x1 - x0, y1 - y0) == pytest.approx((10 * step[0], 10 * step[1]), abs=1e-3)


def test_stripes_and_dots_repeat_with_their_period_along_the_object():
    striped = dataclasses.replace(STILL, shape="square", texture="striped", stripe_period=8.0)
    row = scenes.clip(striped, 1)[0, 0, 31, 20:44]
    assert row[:8].tolist() == pytest.approx(row[8:16].tolist(), abs=1e-5)
    assert float(row.max()) == pytest.approx(0.90) and float(row.min()) == pytest.approx(0.45)


def test_texture_turns_and_moves_with_the_object_and_the_background_stays():
    scene = dataclasses.replace(STILL, size="small", texture="dotted", pattern="wavy", motion="right")
    first, *_, last = scenes.clip(dataclasses.replace(scene, span=8.0), 8)
    assert torch.allclose(first[:, 22:40, 22:42], last[:, 22:40, 30:50], atol=1e-5) is False  # ground differs
    inside = mask(scene)[22:40, 22:42] == 1
    moved = last[:, 22:40, 30:50]
    assert torch.allclose(first[:, 22:40, 22:42][:, inside], moved[:, inside], atol=1e-5)
    assert torch.equal(first[:, :15], last[:, :15])


def test_a_batch_draws_each_scene_as_if_alone():
    records = scenes.sample_records(24, seed=5, held_out=None)
    together = scenes.draw(scenes.stack(records), torch.linspace(0, 1, 24))
    alone = [
        scenes.draw(scenes.stack([r]), torch.linspace(0, 1, 24)[i : i + 1])[0] for i, r in enumerate(records)
    ]
    assert torch.allclose(together, torch.stack(alone), atol=1e-6)


def test_a_record_survives_json():
    for scene in scenes.sample_records(20, seed=3):
        assert scenes.Scene.from_json(scene.to_json()) == scene
        assert "\n" not in scene.to_json()


def test_a_damaged_record_is_refused_by_name():
    record = json.loads(STILL.to_json())
    with pytest.raises(InputError, match="period"):
        scenes.Scene.from_dict({name: value for name, value in record.items() if name != "period"})
    with pytest.raises(InputError, match="hexagon"):
        scenes.Scene.from_dict({**record, "shape": "hexagon"})


def test_sampled_objects_stay_inside_and_follow_the_split():
    for held_out in (True, False):
        records = scenes.sample_records(300, seed=11, held_out=held_out)
        assert all(record.is_inside for record in records)
        assert {grammar.is_held_out(record.fields) for record in records} == {held_out}


def test_digits_join_without_changing_the_other_scenes_of_a_seed():
    without, some = (
        scenes.sample(500, torch.Generator().manual_seed(4), digits=share) for share in (0.0, 0.2)
    )
    is_digit = some.fields["shape"] >= len(grammar.SHAPES)
    assert 0.14 < float(is_digit.float().mean()) < 0.26
    for name in grammar.FIELDS:
        assert torch.equal(without.fields[name][~is_digit], some.fields[name][~is_digit])
    for name, values in without.floats.items():
        assert torch.equal(values, some.floats[name])
    assert (some.fields["texture"][is_digit] == 0).all()
    for held_out in (True, False):
        digits = scenes.sample_records(200, seed=5, held_out=held_out, digits=1.0)
        assert {record.shape for record in digits} <= set(grammar.DIGITS)
        assert {grammar.is_held_out(record.fields) for record in digits} == {held_out}


def test_sampling_is_a_function_of_the_seed():
    assert scenes.sample_records(5, seed=1) == scenes.sample_records(5, seed=1)
    assert scenes.sample_records(5, seed=1) != scenes.sample_records(5, seed=2)


def test_object_colours_stay_apart_from_background_colours_with_the_worst_jitter():
    for thing, ground in itertools.product(scenes.OBJECT_RGB.values(), scenes.GROUND_RGB.values()):
        assert math.dist(thing, ground) >= 0.25 + 0.08


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "blue"},
        {"shape": "star"},
        {"texture": "striped"},
        {"size": "small"},
        {"colour": "green", "shape": "ring"},
    ],
)
def test_an_edit_of_the_object_changes_no_pixel_outside_both_objects(change):
    scene = dataclasses.replace(STILL, grain=0.02, motion="up", pattern="checkered")
    before, after = scenes.clip(scene), scenes.clip(scene.edited(**change))
    times = torch.linspace(0, 1, 8)
    touched = torch.maximum(
        scenes.object_mask(scenes.stack([scene] * 8), times),
        scenes.object_mask(scenes.stack([scene.edited(**change)] * 8), times),
    )
    changed = scenes.changed_pixels(before, after, grow=0)
    assert changed.any() and not (changed & (touched == 0)).any()


def test_an_edit_of_the_background_changes_no_pixel_inside_the_object():
    before, after = scenes.clip(STILL), scenes.clip(STILL.edited(ground="navy"))
    changed = scenes.changed_pixels(before, after, grow=0)
    assert not changed[0][mask(STILL) == 1].any()
    assert changed[0][mask(STILL) == 0].all()


def test_changed_pixels_grow_by_the_margin_asked_for():
    before = torch.zeros(1, 3, 9, 9)
    after = before.clone()
    after[0, 1, 4, 4] = 1
    assert int(scenes.changed_pixels(before, after, grow=2).sum()) == 25


def test_an_edit_that_would_leave_the_picture_is_refused():
    near_the_edge = dataclasses.replace(STILL, size="small", x=12.0)
    with pytest.raises(InputError, match="leave the picture"):
        near_the_edge.edited(size="large")


def test_grain_has_the_deviation_of_the_record_and_is_fresh_in_every_frame():
    scene = dataclasses.replace(STILL, grain=0.02, grain_seed=7)
    noise = scenes.clip(scene) - scenes.clip(dataclasses.replace(scene, grain=0.0))
    assert float(noise.std()) == pytest.approx(0.02, rel=0.02)
    assert not torch.equal(noise[0], noise[1])
    assert torch.equal(scenes.clip(scene), scenes.clip(scene))


def test_frame_count_changes_the_pace_and_not_the_path():
    scene = dataclasses.replace(STILL, motion="left")
    long, short = scenes.clip(scene, 15), scenes.clip(scene, 8)
    assert torch.allclose(long[::2], short, atol=1e-6)


@pytest.mark.slow
def test_drawing_makes_1500_pictures_in_a_second_of_one_core():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    started = time.process_time()
    for _ in range(20):
        batch = scenes.sample(64, generator)
        pictures = scenes.draw(batch, torch.rand(64, generator=generator))
        scenes.add_grain(pictures, batch, torch.randn(pictures.shape, generator=generator))
    assert 20 * 64 / (time.process_time() - started) >= 1500
