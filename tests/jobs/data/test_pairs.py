"""Protects vedit/jobs/data/pairs.py, pair_kinds.py and vedit/data/pairs.py: pairs of clips before and after."""

import json
import random
import shutil
import sys

import numpy as np
import pytest
from PIL import Image, ImageFilter

from vedit.data.pairs import read_pairs
from vedit.errors import InputError, OutputError, PartialFailure, UsageError
from vedit.jobs.clips import write_frames
from vedit.jobs.data import pairs
from vedit.jobs.data.pair_kinds import PairsRequest, base_form, imperative, make_pairs
from vedit.jobs.train.pairs import PairFiles


def clip(frames=5, height=24, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


def made(frames=5, mask=None):
    source = clip(frames)
    return pairs.Made(source, 255 - source, [10] * frames, ("reverse the colours",), mask)


def asked(tmp_path, kind, **more):
    return PairsRequest(**{"kind": kind, "folder": str(tmp_path / "out"), **more})


def rows(tmp_path):
    return [json.loads(line) for line in (tmp_path / "out" / "pairs.jsonl").read_text().splitlines()]


def read(path):
    with Image.open(path) as picture:
        frames = []
        for place in range(getattr(picture, "n_frames", 1)):
            picture.seek(place)
            frames.append(np.asarray(picture.convert("RGB")))
    return np.stack(frames)


@pytest.mark.parametrize("kind", ["inverse", "lift", "continuation", "transition", "expert"])
def test_every_kind_can_be_drawn_and_its_manifest_is_read_again(tmp_path, kind):
    outcome = make_pairs(asked(tmp_path, kind, synth=2, frames=5, controls=("edges",)))
    found = read_pairs(tmp_path / "out" / "pairs.jsonl")
    assert outcome.written == len(found) == {"inverse": 4, "lift": 4}.get(kind, 2) and not outcome.failed
    for pair in found:
        source, target = read(pair.source), read(pair.target)
        assert source.shape == target.shape and not np.array_equal(source, target)
        assert pair.kind == kind and pair.instructions and pair.licence.startswith("drawn")
        if pair.mask is not None:
            outside = read(pair.mask)[..., 0] == 0
            assert np.array_equal(source[outside], target[outside])
        if pair.interval is not None and kind == "transition":
            first = round(pair.interval[0] * 10)
            assert np.array_equal(source[:first], target[:first])


def test_a_call_that_is_made_again_makes_what_is_missing_with_the_same_bytes(tmp_path):
    request = asked(tmp_path, "transition", synth=2, frames=5)
    make_pairs(request)
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "000001.target.apng").unlink()
    outcome = make_pairs(request)
    assert (outcome.written, outcome.kept) == (1, 1)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before


def test_other_settings_need_to_be_confirmed_and_leave_nothing_behind(tmp_path):
    make_pairs(asked(tmp_path, "lift", synth=1, frames=5))
    with pytest.raises(OutputError, match="other settings: kind"):
        make_pairs(asked(tmp_path, "transition", synth=1, frames=5))
    make_pairs(asked(tmp_path, "transition", synth=1, frames=5, overwrite=True))
    assert not any("-path" in file.name for file in (tmp_path / "out").iterdir())


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="holds no pairs"):
        make_pairs(asked(tmp_path, "lift", synth=1))


def test_controls_are_those_that_others_compute():
    frames = clip(2)
    grey = pairs.controlled(frames, "gray")
    assert np.array_equal(grey[1], np.asarray(Image.fromarray(frames[1]).convert("L").convert("RGB")))
    blur = pairs.controlled(frames, "blur")
    assert np.array_equal(
        blur[0], np.asarray(Image.fromarray(frames[0]).filter(ImageFilter.GaussianBlur(2.0)))
    )
    small = pairs.controlled(frames, "small")
    assert np.array_equal(small[0, :4, :4], np.broadcast_to(small[0, 0, 0], (4, 4, 3)))
    assert np.abs(small[0, 0, 0].astype(int) - frames[0, :4, :4].mean((0, 1))).max() <= 1
    step = np.zeros((1, 8, 8, 3), np.uint8)
    step[:, :, 4:] = 200
    assert np.array_equal(
        pairs.controlled(step, "edges")[0, :, :, 0], np.eye(8)[[3, 4]].sum(0)[None].repeat(8, 0) * 255
    )


def test_a_path_begins_with_the_picture_and_is_the_same_for_both():
    path = pairs.affine_path(7, random.Random(3))
    picture = clip(1)[0]
    other = picture.copy()
    other[:6, :6] = 0
    first, second = pairs.moved(picture, path), pairs.moved(other, path)
    assert np.array_equal(first[0], picture) and not np.array_equal(first[-1], picture)
    changed = np.zeros_like(picture)
    changed[:6, :6] = 255
    outside = pairs.moved(changed, path).max(-1) == 0
    assert outside.mean() > 0.5 and np.array_equal(first[outside], second[outside])
    eased = [matrix[0][2] for matrix in path]
    assert eased[3] == pytest.approx(eased[-1] / 2)  # 3 q^2 - 2 q^3 is a half in the middle


def test_a_path_keeps_angles_in_a_picture_that_is_not_square():
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[18:22, 20:60] = 255  # a bar of 40 pixels
    turned = pairs.moved(picture, [[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])[0, :, 20:60, 0] > 127
    ys, xs = turned.nonzero()
    assert ys.max() - ys.min() >= 38 and 3 <= xs.max() - xs.min() + 1 <= 5  # upright, as long as it was


def test_a_transition_is_cut_or_mixed_and_its_mask_says_from_when():
    cut = pairs.transition(made(), 2, 0)
    assert np.array_equal(cut.target_FYX3[:2], cut.source_FYX3[:2])
    assert np.array_equal(cut.target_FYX3[2:], 255 - cut.source_FYX3[2:])
    assert cut.mask_FYX[:, 0, 0].tolist() == [0, 0, 255, 255, 255] and cut.interval == (0.2, 0.5)
    mixed = pairs.transition(made(), 1, 3).target_FYX3
    source = made().source_FYX3.astype(float)
    for frame, share in enumerate((0, 0.25, 0.5, 0.75, 1)):
        assert (
            np.abs(mixed[frame] - ((1 - share) * source[frame] + share * (255 - source[frame]))).max() <= 0.5
        )
    inside = np.zeros((1, 24, 32), np.uint8)
    inside[:, 3:5] = 255
    assert pairs.transition(made(mask=inside), 2, 0).mask_FYX[3].sum() == inside.sum()


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a dog running left", "make the dog run left"),
        ("the red circle moving up.", "make the red circle move up"),
        ("people are sitting on a bench", "make the people sit on a bench"),
        ("a man writing a letter", "make the man write a letter"),
        ("a king singing", "make the king sing"),
        ("a child opening a door", "make the child open a door"),
        ("a tall building", "continue with: a tall building"),
        ("snow", "continue with: snow"),
    ],
)
def test_a_caption_becomes_an_imperative(caption, expected):
    assert imperative(caption) == expected


def test_verbs_get_their_base_forms_back():
    for participle, verb in {
        "running": "run", "moving": "move", "jumping": "jump", "smiling": "smile", "falling": "fall",
        "using": "use", "dancing": "dance", "playing": "play", "freezing": "freeze", "kissing": "kiss",
        "seeing": "see", "visiting": "visit", "baking": "bake", "changing": "change", "walking": "walk",
    }.items():  # fmt: skip
        assert base_form(participle) == verb


def test_a_continuation_is_what_came_before_and_what_comes(tmp_path):
    frames = clip(10)
    write_frames(frames, [10] * 10, str(tmp_path / "a.apng"))
    (tmp_path / "list.jsonl").write_text(
        json.dumps({"clip": "a.apng", "captions": [[0, 0.5, "a cat sitting"], [0.5, 0.9, "a cat running"]]})
    )
    make_pairs(asked(tmp_path, "continuation", source=str(tmp_path / "list.jsonl")))
    (pair,) = read_pairs(tmp_path / "out" / "pairs.jsonl")
    assert pair.instructions == ("make the cat run",)
    assert np.array_equal(read(pair.source), frames[1:5]) and np.array_equal(read(pair.target), frames[5:9])


def test_lift_and_transition_take_a_manifest_and_inverse_a_folder(tmp_path):
    make_pairs(PairsRequest(kind="expert", folder=str(tmp_path / "first"), synth=1, frames=5))
    source = str(tmp_path / "first" / "pairs.jsonl")
    for kind, count in (("lift", 2), ("transition", 1)):
        assert make_pairs(asked(tmp_path / kind, kind, source=source, frames=5)).written == count
    clips = tmp_path / "clips"
    clips.mkdir()
    shutil.copy(tmp_path / "first" / "000000.source.apng", clips / "a.apng")
    (clips / "a.txt").write_text("a red star\n")
    make_pairs(asked(tmp_path, "inverse", source=str(clips), controls=("gray",)))
    there, back = read_pairs(tmp_path / "out" / "pairs.jsonl")
    assert np.array_equal(read(there.target), read(back.source)) and back.instructions[-1].endswith(
        ": a red star"
    )


EXPERT = "import sys; from PIL import Image, ImageOps, ImageSequence as s; c = Image.open(sys.argv[1])\n" + (
    "f = [ImageOps.invert(x.convert('RGB')) for x in s.Iterator(c)]\n"
    "f[0].save(sys.argv[2], save_all=True, append_images=f[1:], duration=100, format='PNG')\n"
)


def test_an_expert_is_called_with_names_and_instruction_and_said_in_the_record(tmp_path):
    clips = tmp_path / "my clips"
    clips.mkdir()
    write_frames(clip(3), [10] * 3, str(clips / "a b.apng"))
    script = tmp_path / "invert.py"
    script.write_text(EXPERT)
    command = f"{sys.executable} {script} {{input}} {{output}} {{instruction}}"
    make_pairs(
        asked(
            tmp_path,
            "expert",
            source=str(clips),
            command=command,
            expert="inverter-1",
            instructions=("invert it",),
        )
    )
    (row,) = rows(tmp_path)
    assert (
        row["expert"] == "inverter-1" and row["instruction"] == ["invert it"] and row["licence"] == "unstated"
    )
    assert np.array_equal(read(tmp_path / "out" / row["target"]), 255 - clip(3))


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("import sys; sys.exit('no model')", "ended with 1: no model"),
        ("pass", "wrote no edited"),
        ("import sys, shutil; shutil.copy(*sys.argv[1:3])", "left .* as it is"),
    ],
)
def test_an_expert_that_fails_or_does_nothing_is_left_out_with_the_reason(tmp_path, script, why):
    (tmp_path / "clips").mkdir()
    write_frames(clip(3), [10] * 3, str(tmp_path / "clips" / "a.apng"))
    (tmp_path / "tool.py").write_text(script)
    command = f"{sys.executable} {tmp_path / 'tool.py'} {{input}} {{output}}"
    outcome = make_pairs(
        asked(tmp_path, "expert", source=str(tmp_path / "clips"), command=command, instructions=("x",))
    )
    with pytest.raises(InputError, match=f"no pair could be made: a-0: .*{why}"):
        outcome.check()
    assert rows(tmp_path) == []


def test_a_clip_that_cannot_be_read_is_told_of_once(tmp_path):
    (tmp_path / "clips").mkdir()
    write_frames(clip(3), [10] * 3, str(tmp_path / "clips" / "a.apng"))
    (tmp_path / "clips" / "b.gif").write_text("nothing")
    said = []
    outcome = make_pairs(asked(tmp_path, "inverse", source=str(tmp_path / "clips")), said.append)
    assert len(said) == 1 and "b.gif" in said[0] and outcome.written == 8 and len(outcome.failed) == 8
    with pytest.raises(
        PartialFailure, match=r"8 pairs could not be made: b-edges-there and 7 more: .*b\.gif"
    ):
        outcome.check()


def test_a_file_is_not_a_folder_of_clips(tmp_path):
    write_frames(clip(3), [10] * 3, str(tmp_path / "a.apng"))
    with pytest.raises(InputError, match="it is a file") as told:
        make_pairs(asked(tmp_path, "inverse", source=str(tmp_path / "a.apng")))
    assert "folder" in told.value.next_step


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"kind": "inverse", "source": "x", "controls": ()}, "names no control"),
        ({"kind": "lfit", "synth": 1}, "no kind of pairs called 'lfit'"),
        ({"kind": "lift"}, "neither was given"),
        ({"kind": "lift", "synth": 1, "source": "x"}, "both was given"),
        ({"kind": "expert", "source": "x"}, "none is given"),
        ({"kind": "expert", "source": "x", "command": "tool {input} {output}"}, "instruction"),
        ({"kind": "expert", "source": "x", "command": "tool {input}", "instructions": ("a",)}, "no {output}"),
        ({"kind": "lift", "synth": 1, "command": "x"}, "for edit-pairs expert"),
        ({"kind": "inverse", "synth": 1, "controls": ("depth",)}, "no control 'depth'"),
        ({"kind": "transition", "synth": 1, "frames": 1}, "two frames"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, more, message):
    with pytest.raises(UsageError, match=message):
        make_pairs(PairsRequest(folder=str(tmp_path / "out"), **more))
    assert not (tmp_path / "out").exists()


WHOLE = '{"id": "a", "kind": "lift", "source": ".", "target": ".", "instruction": "x"}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "line 1"),
        (
            '{"id": "a", "kind": "lift", "source": "no.png", "target": "t.png", "instruction": "x"}',
            "source .* is not there",
        ),
        ('{"id": "a", "kind": "lift", "source": "s", "target": "t", "instruction": []}', "instruction"),
        ("", "holds no pairs"),
        ("not json", "line 1"),
        (f"{WHOLE}\n{WHOLE}", "line 2: its id 'a' is that of line 1"),
        (WHOLE.replace("}", ', "interval": [2, 1]}'), "its interval ends at 1 s and begins at 2 s"),
    ],
)
def test_a_manifest_that_is_wrong_says_where(tmp_path, line, message):
    (tmp_path / "pairs.jsonl").write_text(line)
    with pytest.raises(InputError, match=message):
        read_pairs(tmp_path / "pairs.jsonl")


def test_training_refuses_a_pair_of_other_proportions_and_takes_other_sizes(tmp_path):
    for name, size in (("a", (24, 32)), ("b", (48, 64)), ("c", (24, 24))):
        write_frames(clip(5, *size), [10] * 5, str(tmp_path / f"{name}.apng"))
    lines = [
        {"id": end, "kind": "x", "source": "a.apng", "target": f"{end}.apng", "instruction": "x"}
        for end in ("b", "c")
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = PairFiles(tmp_path / "pairs.jsonl", frames=5, size=(32, 32), multiple=16)
    assert found.pixels(0).source.shape == found.pixels(0).target.shape
    with pytest.raises(InputError, match=r"pair c: its source .* is 32x24, and its target .* 24x24"):
        found.pixels(1)


def test_training_sees_pairs_cut_to_whole_latents_of_one_size(tmp_path):
    make_pairs(asked(tmp_path, "transition", synth=1, frames=8))
    found = PairFiles(tmp_path / "out" / "pairs.jsonl", frames=9, size=None, multiple=16)
    shown = found.pixels(0)
    assert shown.source.shape == shown.target.shape == (5, 3, 64, 64) and shown.is_transition
    assert shown.mask.shape == (5, 1, 64, 64) and set(shown.mask.unique().tolist()) <= {0.0, 1.0}
    other = PairFiles(tmp_path / "out" / "pairs.jsonl", frames=5, size=(30, 20), multiple=16)
    assert other.pixels(0).source.shape == (5, 3, 32, 32) and other.fingerprint != found.fingerprint
