"""Protects vedit/training/shapes_instruct.py: what a step sees, and that a resumed run has the same bits."""

import random
from itertools import chain

import pytest
import torch

from vedit.data import edits, instructions, scenes, vocabulary
from vedit.models.shapes import instruct, parts
from vedit.training import shapes_instruct
from vedit.training.loop import Options, latest_state, seeded, tensors_of, train

torch.set_num_threads(1)
CHANNELS = 6
pytestmark = pytest.mark.usefixtures("small")
OPTIONS = Options(rate=3e-3, warmup=1, log_every=1, save_every=10**9, measure_every=10**9)


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    return parts.codec(CHANNELS).eval(), parts.text_encoder().eval()


def build(base, **settings):
    task = shapes_instruct.InstructTask(*base, **{"seed": 0, "batch": 2, "block": 10, **settings})
    task.measure = lambda model, step: {}
    return task


def test_three_steps_of_four_are_pictures_and_one_in_four_of_each_has_a_reference(base):
    task = build(base, batch=10)
    kinds = [(task.is_clips(step), task.has_reference(step)) for step in range(160)]
    assert kinds.count((True, True)) == 10 and kinds.count((True, False)) == 30
    assert kinds.count((False, True)) == 30 and kinds.count((False, False)) == 90
    assert [task.count(step) for step in range(4)] == [10, 10, 10, 2] and task.pictures(3) == task.pictures(
        0
    ) == 10


def test_every_pair_of_a_block_is_seen_once_in_a_turn(base):
    task = build(base, batch=2, block=8)
    plain = [step for step in range(64) if not task.is_clips(step) and not task.has_reference(step)]
    seen = [sorted(task._rows(step)[1].tolist()) for step in plain]
    assert sorted(chain(*seen[:4])) == sorted(chain(*seen[4:8])) == list(range(8)) and seen[:4] != seen[4:8]


def test_text_states_of_words_that_captions_have_are_kept_and_new_words_begin_small(base):
    ours = instruct.text_encoder(base[1])
    name = next(name for name in ours.state_dict() if name.endswith("token_embedding.weight"))
    rows, old = ours.state_dict()[name], base[1].state_dict()[name]
    words, before = vocabulary.vocabulary(instructions.WORDS)[0], vocabulary.vocabulary()[0]
    for word in ("circle", "blue", "background"):
        assert torch.equal(rows[words[f"{word}</w>"]], old[before[f"{word}</w>"]])
    assert 0 < rows[words["replace</w>"]].abs().max() < 0.2


def test_pictures_before_and_after_differ_where_the_edit_shows_alone():
    drawn = edits.draw(40, torch.Generator().manual_seed(3), clips=True)
    path, time = torch.linspace(0, 1, 3).expand(40, 3), edits.middles(9, 40)[:, ::4]
    before, after = shapes_instruct.drawn_pair(drawn, path, time, torch.Generator().manual_seed(4))
    same = drawn.weights(time).flatten(0, 1) == 0
    assert same.any() and torch.equal(before.movedim(1, -1)[same], after.movedim(1, -1)[same])
    assert (before != after).any()


def test_masks_that_are_not_told_are_white_clips_and_the_others_are_coded(base):
    task = build(base)
    block = task._drawn((True, False), 0, 14)
    white = task.coded(torch.ones(1, 3, scenes.SIDE, scenes.SIDE))[0]
    told = block.drawn.masked_B
    assert 0 < told.sum() < 14
    assert torch.equal(block.latents["mask"][~told][0, 0], white)
    assert all(
        not torch.allclose(block.latents["mask"][row].mean(), white.mean(), atol=1e-6)
        for row in told.nonzero()[:2, 0]
    )


def test_the_loss_is_that_of_the_straight_path_weighted_where_the_edit_changes_something(base, monkeypatch):
    task, seen = build(base, mask_weight=3.0), {}

    def nothing(transformer, noisy, timestep, text, given):
        seen.update(noisy=noisy, timestep=timestep, given=given)
        return torch.zeros_like(noisy)

    monkeypatch.setattr(shapes_instruct, "predict", nothing)
    losses = task.losses(1)
    block, rows = task._rows(1)
    target = block.latents["target"][rows]
    noise = torch.randn(target.shape, generator=seeded(0, 3, 1))
    error = (noise - target).square().mean(2)
    weight = 1 + 3 * block.changed_BFYX[rows]
    assert float(losses["plain"]) == pytest.approx(float(error.mean()), rel=1e-5)
    assert float(losses["loss"]) == pytest.approx(float((weight * error).mean() / weight.mean()), rel=1e-5)
    assert seen["given"].reference is None and task.has_reference(0)


def test_instructions_are_dropped_and_sources_are_left_out_now_and_then(base, monkeypatch):
    task = build(base, batch=40, block=40)
    monkeypatch.setattr(shapes_instruct, "DROPPED_SOURCES", 0.3)
    said, given = [], []
    monkeypatch.setattr(
        shapes_instruct, "encoded", lambda encoder, texts: said.extend(texts) or torch.zeros(40, 24, 64)
    )
    monkeypatch.setattr(
        shapes_instruct,
        "predict",
        lambda network, noisy, level, text, seen: given.append(seen) or torch.zeros_like(noisy),
    )
    task.losses(1)
    assert 1 <= said.count("") <= 12
    assert 4 <= int((given[0].source.flatten(1).abs().sum(1) == 0).sum()) <= 24


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(base, tmp_path):
    for run, stops in (("whole", (6,)), ("resumed", (3, 6))):
        for steps in stops:
            list(train(build(base), Options(**{**OPTIONS.__dict__, "steps": steps}), tmp_path / run))
    for name in ("model", "ema", "optimizer"):
        whole, resumed = (tensors_of(latest_state(tmp_path / run), name) for run in ("whole", "resumed"))
        assert whole and whole.keys() == resumed.keys()
        assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_an_edit_is_a_function_of_source_instruction_and_row(base):
    task = build(base)
    source = torch.randn(2, 1, CHANNELS, 16, 16, generator=torch.Generator().manual_seed(2))

    def made(said, shown=source):
        return shapes_instruct.edited(task.model.eval(), shown, task.blank_CYX, said, steps=2, guidance=3.0)

    torch.nn.init.normal_(task.model.transformer.patch_embedding.source.weight, std=0.2)
    first = made(["make the circle blue", "stop the ring"])
    assert first.shape == source.shape and torch.equal(first, made(["make the circle blue", "stop the ring"]))
    assert not torch.allclose(first[0], made(["make the circle red", "stop the ring"])[0], atol=1e-5)
    assert not torch.allclose(first[0], made(["make the circle blue"] * 2, -source)[0], atol=1e-4)


def test_wordings_go_by_the_step(base):
    task = build(base)
    block, rows = task._rows(1)
    rng = random.Random(0 * 1_000_000_007 + 1)
    assert block.drawn.instructions(rng, rows.tolist()) == block.drawn.instructions(
        random.Random(1), rows.tolist()
    )
