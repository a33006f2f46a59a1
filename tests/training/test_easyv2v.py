"""Protects vedit/training/easyv2v.py: what a step sees, what trains, and that a resumed run has the same bits."""

import random

import pytest
import torch

from tests.engine.video_folder import write_wan
from vedit.models.load import load_model
from vedit.models.wan.conditions import Conditions
from vedit.models.wan.weights import Recipe
from vedit.training import easyv2v
from vedit.training.easyv2v import Drops, EasyV2VTask, PairPixels
from vedit.training.loop import Options, latest_state, tensors_of, train

torch.set_num_threads(1)
OPTIONS = Options(rate=1e-2, warmup=1, log_every=1, save_every=10**9, measure_every=10**9)
FRAMES = 5


class Negatives:
    """Clips of one colour, and the same with the colours reversed."""

    fingerprint = "negatives"

    def __len__(self):
        return 3

    def instructions(self, index):
        return ("a red cat", "a cat")

    def pixels(self, index):
        colour = torch.rand(3, generator=torch.Generator().manual_seed(index)) * 2 - 1
        clip = colour[None, :, None, None].expand(FRAMES, 3, 16, 16).contiguous()
        mask = torch.ones(FRAMES, 1, 16, 16) if index else None
        return PairPixels(clip, -clip, mask, clip[0] if index == 2 else None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_wan(tmp_path_factory.mktemp("wan"))


def build(folder, drops=Drops(), **recipe):
    return EasyV2VTask(
        load_model(str(folder), device="cpu"),
        Negatives(),
        Recipe(str(folder), rank=2, alpha=2.0, frames=FRAMES, **recipe),
        drops,
    )


def test_lora_changes_nothing_at_the_start_and_is_named_as_peft_names_it(folder):
    plain = load_model(str(folder), device="cpu").transformer
    task = build(folder)
    noisy, text = torch.randn(1, 4, 2, 2, 2), torch.randn(1, 32, 16)
    with torch.no_grad():
        expected = plain(noisy, torch.tensor([300.0]), text, return_dict=False)[0]
        made = task.backbone.transformer(noisy, torch.tensor([300.0]), text, return_dict=False)[0]
    assert torch.equal(made, expected)
    names = set(task.model.tensors("lora"))
    assert {
        f"blocks.0.{site}.{part}.weight"
        for site in ("attn1.to_q", "attn2.to_out.0")
        for part in ("lora_A", "lora_B")
    } <= names
    assert len(names) == 2 * 4 * 2  # two attentions, four projections, A and B
    assert set(task.model.tensors("embeddings")) == {
        f"{part}.{kind}" for part in ("source", "mask", "reference") for kind in ("weight", "bias")
    }


def test_only_the_new_weights_train_and_all_of_them_do(folder):
    task = build(folder, Drops(reference=0.0, mask=0.0, transition=0.0))
    frozen = {name: value.clone() for name, value in task.backbone.transformer.state_dict().items()}
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    for step in range(6):  # lora_A moves once lora_B is no longer zero
        task.losses(step)["loss"].backward()
        optimizer.step()
    after = task.backbone.transformer.state_dict()
    moved = {name for name in frozen if not torch.equal(frozen[name], after[name])}
    assert all("lora" in name or name.split(".")[1] in ("source", "mask", "reference") for name in moved)
    assert len(moved) == len(list(task.model.parameters()))


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(folder, tmp_path):
    for run, stops in (("whole", (5,)), ("resumed", (2, 3, 5))):
        for steps in stops:
            task = build(folder)
            task.measure = lambda model, step: {}
            list(train(task, Options(**{**OPTIONS.__dict__, "steps": steps}), tmp_path / run))
    for name in ("model", "ema", "optimizer"):
        whole, resumed = (tensors_of(latest_state(tmp_path / run), name) for run in ("whole", "resumed"))
        assert whole and whole.keys() == resumed.keys()
        assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_each_group_of_weights_is_clipped_for_itself(folder, tmp_path):
    from vedit.training.loop import Run

    task = build(folder)
    run = Run(task, OPTIONS, tmp_path)
    for group, size in zip(task.groups, (3.0, 400.0), strict=True):
        for value in group:
            value.grad = torch.full_like(value, size)
    run._clipped()
    for group in task.groups:
        assert float(torch.stack([value.grad.norm() for value in group]).norm()) == pytest.approx(
            1.0, rel=1e-3
        )


def test_levels_are_shifted_as_the_backbone_s_scheduler_does(folder):
    task = build(folder)
    assert task.backbone.schedule.shift == 5.0
    seen = [task._level(torch.Generator().manual_seed(seed)) for seed in range(200)]
    uniform = [float(torch.rand(1, generator=torch.Generator().manual_seed(seed))) for seed in range(200)]
    assert seen == pytest.approx([5 * u / (1 + 4 * u) for u in uniform])


def test_the_loss_is_that_of_the_target_beside_the_source_alone(folder, monkeypatch):
    task, seen = build(folder), {}

    def nothing(transformer, noisy, timestep, text, given):
        seen.update(noisy=noisy, timestep=timestep, given=given)
        return torch.zeros_like(noisy)

    monkeypatch.setattr(easyv2v, "predict", nothing)
    shown = Negatives().pixels(1)
    loss = float(task._loss(shown, "a cat", 0.25, torch.Generator().manual_seed(3)))
    target = task.backbone.encode_frames(shown.target)
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(3))
    assert loss == pytest.approx(float((noise - target).square().mean()), rel=1e-5)
    assert torch.allclose(seen["noisy"][0].transpose(0, 1), 0.75 * target + 0.25 * noise, atol=1e-6)
    assert seen["timestep"].tolist() == [250.0]
    assert torch.equal(seen["given"].source[0].transpose(0, 1), task.backbone.encode_frames(shown.source))


def test_no_mask_is_a_white_one_unless_the_recipe_says_otherwise(folder):
    shown = Negatives().pixels(0)
    white = build(folder).conditions(shown)[0].mask
    expected = load_model(str(folder), device="cpu").encode_frames(torch.ones(FRAMES, 3, 16, 16))
    assert torch.allclose(white[0].transpose(0, 1), expected)
    assert build(folder, blank_mask="skip").conditions(shown)[0].mask is None


def test_a_transition_is_the_source_and_then_the_target_and_its_mask_says_so():
    shown = Negatives().pixels(1)
    hard = easyv2v.transition(shown, 2, 0)
    assert torch.equal(hard.target[:2], shown.source[:2]) and torch.equal(hard.target[2:], shown.target[2:])
    assert hard.mask[:, 0, 0, 0].tolist() == [0, 0, 1, 1, 1] and hard.is_transition
    soft = easyv2v.transition(shown, 1, 3)
    shares = (soft.target - shown.source)[:, 0, 0, 0] / (shown.target - shown.source)[:, 0, 0, 0]
    assert shares.tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])


def test_chance_leaves_out_references_and_masks_as_often_as_it_is_told(folder):
    task = build(folder, Drops(transition=0.5, reference=0.5, mask=0.3))
    seen = [task._augmented(Negatives().pixels(2), random.Random(seed)) for seed in range(400)]
    assert 0.42 < sum(shown.reference is not None for shown in seen) / 400 < 0.58
    assert 0.42 < sum(shown.is_transition for shown in seen) / 400 < 0.58
    rest = [shown for shown in seen if not shown.is_transition]
    assert 0.2 < sum(shown.mask is None for shown in rest) / len(rest) < 0.4


def test_a_reference_is_cut_and_turned_about_its_middle():
    picture = torch.zeros(3, 33, 33)
    picture[:, 16, 16] = 1.0
    turned = easyv2v.moved(picture, random.Random(4))
    assert turned.shape == picture.shape and not torch.equal(turned, picture)

    class Still(random.Random):
        def uniform(self, low, high):
            return high if (low, high) == (0.8, 1.0) else 0.0

    assert torch.allclose(easyv2v.moved(picture, Still()), picture, atol=1e-5)


def test_what_is_asked_is_learnt(folder, tmp_path):
    task = build(folder, Drops(transition=0.0, text=0.0), way="added")
    task.measure = lambda model, step: {}
    options = Options(rate=2e-2, warmup=1, steps=60, log_every=20, save_every=10**9, measure_every=10**9)
    losses = [report.losses["loss"] for report in train(task, options, tmp_path)]
    assert losses[-1] < 0.8 * losses[0]


def test_conditions_of_a_source_that_is_left_out_are_zero(folder):
    given, _ = build(folder).conditions(Negatives().pixels(1), sees=False)
    assert isinstance(given, Conditions) and not given.source.any() and given.mask.any()
