"""Protects vedit/jobs/draw_scene.py and `vedit scene`: captions become clips, edits their truth."""

import json

import numpy as np
import pytest
import torch

from vedit.data import grammar, scenes
from vedit.errors import InputError, UsageError
from vedit.jobs import draw_scene

CAPTION = "a small red circle moving left on a checkered grey background"


def test_a_caption_becomes_the_scene_it_describes():
    scene, truth = draw_scene.scene_for(CAPTION, seed=4)
    assert scene.caption == CAPTION and truth is None


def test_the_same_seed_draws_the_same_scene_and_another_seed_does_not():
    assert draw_scene.scene_for(CAPTION, 4) == draw_scene.scene_for(CAPTION, 4)
    assert draw_scene.scene_for(CAPTION, 4) != draw_scene.scene_for(CAPTION, 5)


def test_what_a_caption_leaves_out_is_plain_and_medium_or_drawn():
    scene, _ = draw_scene.scene_for("a star", 1)
    assert (scene.shape, scene.size, scene.texture, scene.pattern) == ("star", "medium", "plain", "plain")


def test_the_truth_changes_the_fields_it_names_and_no_other():
    scene, truth = draw_scene.scene_for(CAPTION, 4, "a small blue star")
    changed = {name for name in scene.__dataclass_fields__ if getattr(scene, name) != getattr(truth, name)}
    assert changed == {"colour", "shape"}


def test_a_truth_without_the_pattern_of_its_background_takes_the_pattern_away():
    _, truth = draw_scene.scene_for(CAPTION, 4, "a small red circle on a navy background")
    assert (truth.ground, truth.pattern) == ("navy", "plain")


def test_growing_objects_get_room_in_both_clips():
    for seed in range(10):
        scene, truth = draw_scene.scene_for("a small cross moving up", seed, "a large cross moving up")
        assert scene.is_inside and truth.is_inside


def test_frames_are_ten_a_second_and_the_pixels_of_the_drawing():
    scene, _ = draw_scene.scene_for(CAPTION, 4)
    clip, frames = draw_scene.frames_of(scene, 8)
    frames = list(frames)
    assert (clip.width, clip.height, clip.loop) == (64, 64, 0)
    assert [(frame.pts, frame.duration) for frame in frames] == [(10 * i, 10) for i in range(8)]
    drawn = (scenes.clip(scene)[3] * 255).round().permute(1, 2, 0)
    shown = torch.from_numpy(np.array(frames[3].pixels))
    assert float((drawn - shown).abs().max()) == 0


def test_a_record_draws_the_same_clip_again(tmp_path):
    first, again, record = (str(tmp_path / name) for name in ("a.gif", "b.gif", "scene.json"))
    draw_scene.draw_scene(
        CAPTION,
        seed=2,
        truth="a blue circle",
        output=first,
        truth_output=str(tmp_path / "t.gif"),
        record=record,
    )
    draw_scene.draw_scene(None, from_record=record, output=again)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    assert json.loads((tmp_path / "scene.json").read_text())["truth_caption"].startswith("a blue circle")


def test_a_gif_of_a_scene_shows_its_colours(tmp_path):
    from PIL import Image

    output = tmp_path / "a.gif"
    draw_scene.draw_scene(
        "a large white circle standing still on a navy background", grain=0.0, output=str(output)
    )
    with Image.open(output) as image:
        assert image.n_frames == 8
        colours = image.convert("RGB").getcolors(4096)
    brightest = max(colours, key=lambda entry: sum(entry[1]))[1]
    assert min(brightest) > 225


def test_unknown_words_are_refused_before_anything_is_drawn(tmp_path):
    with pytest.raises(UsageError, match="do not know"):
        draw_scene.draw_scene("a cat on a sofa", output=str(tmp_path / "a.gif"))
    assert not list(tmp_path.iterdir())


def test_every_word_of_the_grammar_can_be_used_in_a_caption():
    said = set()
    for name, values in grammar.FIELDS.items():
        for value in values:
            fields = {
                "shape": "ring",
                "colour": "red",
                "texture": "plain",
                "size": "medium",
                "ground": "teal",
                "pattern": "plain",
                "motion": "up",
                name: value,
            }
            scene, _ = draw_scene.scene_for(grammar.caption(fields), 0)
            said.add((name, getattr(scene, name)))
    assert len(said) == sum(len(values) for values in grammar.FIELDS.values())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x": "3"}, "x is '3'"), ({"grain_seed": 10**30}, "grain_seed is"), ({"span": float("inf")}, "span is inf"),
        ({"colour_shift": 3}, "colour_shift is 3"), ({"colour_shift": [0, 0]}, "three numbers"), ({"shape": []}, r"shape is \[\]"),
    ],
)  # fmt: skip
def test_a_record_of_wrong_types_is_refused_with_its_name(tmp_path, changes, said):
    path = str(tmp_path / "scene.json")
    whole = draw_scene.scene_for("a red star", 1)[0]
    record = {"scene": {**json.loads(whole.to_json()), **changes}}
    (tmp_path / "scene.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=rf"(?s)scene\.json: .*{said}"):
        draw_scene.read_record(path)
