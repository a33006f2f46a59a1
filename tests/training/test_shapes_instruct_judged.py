"""Protects vedit/training/shapes_instruct_judged.py: what the editor draws is compared with the true edit."""

import pytest
import torch
from torch.nn import functional

from vedit.models.shapes import parts, video
from vedit.models.shapes.judge import JUDGED, Judge
from vedit.training import shapes_instruct_judged
from vedit.training.loop import Options, train

CHANNELS = 6
pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    return parts.codec(CHANNELS).eval(), parts.text_encoder().eval(), Judge().eval()


def build(base, **settings):
    given = {"seed": 0, "batch": 2, "block": 10, "mask_weight": 0.0, **settings}
    task = shapes_instruct_judged.JudgedInstructTask(*base, **given)
    task.measure = lambda model, step: {}
    return task


def towards(target_BFCYX):
    """A network whose answers lead to these latents, from any level."""

    def velocity(network, noisy_BCFYX, timestep_B, text_BLE, given):
        level = (timestep_B / video.TIMESTEPS).view(-1, 1, 1, 1, 1)
        return (noisy_BCFYX - target_BFCYX.transpose(1, 2)) / level

    return velocity


@pytest.mark.parametrize("step", [1, 3], ids=["pictures", "clips"])
def test_an_editor_that_draws_the_true_edit_is_nowhere_off(base, step, monkeypatch):
    task = build(base, batch=10)
    block, rows = task._rows(step)
    target = block.latents["target"][rows]
    monkeypatch.setattr(shapes_instruct_judged, "predict", towards(target))
    assert float((task._drawn_by_itself(step, block, rows) - target).abs().max()) < 1e-5
    monkeypatch.setattr(shapes_instruct_judged, "predict", towards(target + 0.5))
    assert float(task.losses(step)["far"].detach()) == pytest.approx(0.25, abs=1e-5)


def test_the_judge_is_asked_about_frames_that_show_all_of_the_edit(base):
    """Of the frame that is looked at, pairs whose mask or time leaves some of the source are not read."""
    codec, _, judge = base
    task = build(base, batch=40, block=40)
    block, rows = task._rows(3)
    latents = block.latents["target"][rows]
    whole = block.whole_BF[rows]
    assert 0 < whole.sum() < whole.numel()
    found = []
    for shown in range(latents.shape[1]):
        kept = whole[:, shown]
        with torch.no_grad():
            pictures = (0.5 * (codec.decode(latents[kept, shown]).sample + 1)).clamp(0, 1)
            says, wanted = judge(pictures), block.drawn.after[rows[kept]].fields
        found.append(
            float(sum(functional.cross_entropy(says[name], wanted[name]) for name in JUDGED)) / len(JUDGED)
        )
    mine = float(task._misread(3, block, rows, latents))
    assert min(abs(mine - each) for each in found) < 1e-3


def test_drawing_the_true_edit_is_learnt(base, tmp_path):
    task = build(base, batch=4, block=4)
    options = Options(rate=5e-3, warmup=1, steps=64, log_every=16, measure_every=10**9)
    far = [report.losses["far"] for report in train(task, options, tmp_path)]
    assert far[-1] < 0.8 * far[0]
