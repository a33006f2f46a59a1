"""Protects vedit/training/clips.py and params.py and curve.py."""

import json

import pytest
from PIL import Image

from vedit import presets
from vedit.errors import UsageError
from vedit.training.clips import chosen_frames
from vedit.training.curve import draw_curve, read_log
from vedit.training.params import TABLES, changed, described, mistakes, read_params, spellings


@pytest.mark.parametrize(
    ("extend", "frames"),
    [
        ("pingpong", [0, 1, 2, 1, 0, 1, 2, 1]),
        ("loop", [0, 1, 2, 0, 1, 2, 0, 1]),
        ("hold", [0, 1, 2, 2, 2, 2, 2, 2]),
    ],
)
def test_a_short_clip_goes_on_by_itself_and_not_with_black(extend, frames):
    assert chosen_frames([1, 1, 1], 8, extend) == frames
    assert chosen_frames([1], 3, extend) == [0, 0, 0]


def test_frames_are_taken_over_the_whole_clip_and_not_from_its_start():
    """The public base cuts clips to their first frames, and keeps the first tenth of a video."""
    assert chosen_frames([4] * 20, 10, "loop") == list(range(0, 20, 2))
    assert chosen_frames([4] * 10, 4, "loop") == [0, 2, 5, 7]
    assert chosen_frames([4] * 5, 5, "loop") == [0, 1, 2, 3, 4]


def test_a_frame_that_is_shown_long_is_taken_more_than_once():
    assert chosen_frames([50, 10, 10, 10], 4, "loop") == [0, 0, 0, 2]


def test_without_times_frames_are_evenly_spaced():
    assert chosen_frames([0] * 6, 3, "hold") == [0, 2, 4]


@pytest.mark.parametrize("name", ["improved", "moving-mnist", "tiny"])
def test_shipped_presets_are_right(name):
    assert read_params(presets.load_train(name), name).run.steps > 0


def test_the_improved_preset_has_the_settings_of_the_seed():
    params = read_params(presets.load_train("improved"), "improved")
    assert (params.ema.decay_min, params.ema.decay_max) == (0.9, 0.9999)
    assert params.loss.layer_numbers == (3, 8, 15, 22) and params.loss.perceptual > 0
    assert (params.diffusion.steps, params.diffusion.predict) == (1000, "eps")
    assert (params.sample.steps, params.sample.clip) == (20, "dynamic:0.9")


def test_every_mistake_is_named_with_its_table():
    found = list(mistakes({"model": {"dmi": 3, "heads": 0}, "optim": {"rate": "x"}, "lss": {}}))
    assert len(found) == 4
    assert any("did you mean dim" in line for line in found) and any(
        "did you mean loss" in line for line in found
    )
    assert any(line.startswith("model.heads = 0: ") for line in found) and any(
        line.startswith("optim.rate = 'x': ") for line in found
    )


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"data": {"size": 30}}, "data.size 30 is not a multiple of 8"),
        ({"loss": {"layers": [3, 8]}}, "2 layers have 4 layer_weights"),
        ({"loss": {"layers": [8, 3, 15, 22]}}, "not in ascending order"),
        ({"sample": {"steps": 2000}}, "sample.steps 2000 is more than diffusion.steps 1000"),
        ({"optim": {"anneal": 20_000}}, "optim.anneal 20000 is more than run.steps"),
        ({"ema": {"decay_min": 0.99999}}, "ema.decay_min 0.99999 is more than"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(tables, says):
    with pytest.raises(UsageError, match=says.replace(".", r"\.")):
        read_params(tables, "test")


def test_set_reaches_every_key_and_refuses_others():
    assert changed({"optim": {"rate": 1}}, {"optim.rate": 2, "run.steps": 3}) == {
        "optim": {"rate": 2},
        "run": {"steps": 3},
    }
    with pytest.raises(UsageError, match=r"did you mean optim\.rate"):
        changed({}, {"optm.rate": 1})
    assert "loss.cut_below" in spellings()


def test_every_key_is_explained():
    text = "\n".join(described())
    for name, table in TABLES.items():
        assert f"[{name}]" in text
        for key, field in table.model_fields.items():
            assert field.description and f"    {key} = " in text


def test_the_curve_has_a_line_for_each_part_of_the_loss(tmp_path):
    log = tmp_path / "log.jsonl"
    rows = [
        {"step": step, "losses": {"loss": 2 / step, "l_pix": 1 / step, "norm": 9}}
        for step in range(10, 60, 10)
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 6')
    found = read_log(log)
    assert found[0] == {"step": 10, "loss": 0.2, "l_pix": 0.1} and len(found) == 5
    draw_curve(found, tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as picture:
        colours = {colour for _, colour in picture.getcolors(1 << 16)}
    assert {(31, 90, 180), (220, 120, 30)} <= colours and (60, 150, 70) not in colours


def test_a_log_without_a_finite_loss_draws_nothing(tmp_path):
    draw_curve([{"step": 1, "loss": float("nan")}], tmp_path / "loss.png")
    assert not (tmp_path / "loss.png").exists()


def test_a_log_that_somebody_changed_gives_the_lines_that_are_right(tmp_path):
    log = tmp_path / "log.jsonl"
    right = {"step": 2, "losses": {"loss": 0.5, "l_pix": "x"}}
    wrong = ([1], {"step": "x", "losses": {}}, {"step": 1}, {"step": 1, "losses": 3})
    log.write_text("\n".join([*map(json.dumps, wrong), "[" * 5000, json.dumps(right), '{"step": 3, "lo']))
    assert read_log(log) == [{"step": 2, "loss": 0.5}]
