"""Protects vedit/training/shapes_video_judged.py: what is drawn, who judges it, and that it is learnt."""

import pytest
import torch
from torch.nn import functional

from vedit.data import scenes
from vedit.models.shapes import parts, video
from vedit.models.shapes.judge import JUDGED, Judge
from vedit.training import shapes_video, shapes_video_judged
from vedit.training.shapes_unet import Denoiser

CHANNELS = 6
pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    return parts.codec(CHANNELS).eval(), Judge().eval(), Denoiser(CHANNELS).eval()


def build(base, **settings):
    given = {
        "batch": 2,
        "blocks_of": 1,
        "reuse": 2,
        "seed": 0,
        **shapes_video.VIEWS["video-judged"],
        **settings,
    }
    return shapes_video_judged.JudgedTask(*base, **given)


def test_the_judge_sees_a_frame_of_what_was_drawn_beside_what_its_caption_said(base, monkeypatch):
    """With velocities that lead to known latents, the cross entropy is the judge's on those latents, decoded."""
    codec, judge, _ = base
    task = build(base)
    task.losses(0)  # draws the block
    goal, said, drawn = torch.randn(CHANNELS, 1, 16, 16, generator=torch.Generator().manual_seed(2)), [], []
    sample = scenes.sample
    monkeypatch.setattr(
        scenes, "sample", lambda *given, **more: drawn.append(sample(*given, **more)) or drawn[-1]
    )

    def straight(network, noisy_BCFYX, level_B, text_BLE):
        said.append(noisy_BCFYX.shape)
        return (noisy_BCFYX - goal) / level_B.view(-1, 1, 1, 1, 1)

    monkeypatch.setattr(video, "predict", straight)
    with torch.no_grad():
        shown = (0.5 * (codec.decode(goal[None, :, 0]).sample + 1)).clamp(0, 1)
        says = judge(shown)
        for step, shape in ((0, (8, CHANNELS, 1, 16, 16)), (1, (2, CHANNELS, 5, 16, 16))):
            found = task._judged(step)
            assert said[-1] == shape, "single pictures, then clips"
            for name in JUDGED:
                wanted = functional.cross_entropy(
                    says[name].expand(len(drawn[-1]), -1), drawn[-1].fields[name]
                )
                assert float(found[name]) == pytest.approx(float(wanted), rel=1e-3)


def test_what_is_told_reaches_the_transformer_and_leaves_the_judge(base):
    task = build(base)
    before = {name: value.clone() for name, value in task.judge.state_dict().items()}
    task.losses(1)["told"].backward()
    moved = [
        name
        for name, each in task.model.named_parameters()
        if each.grad is not None and each.grad.abs().sum()
    ]
    assert any("proj_out" in name for name in moved) and not any(name.startswith("head") for name in moved)
    assert all(each.grad is None for each in task.judge.parameters())
    assert all(torch.equal(value, before[name]) for name, value in task.judge.state_dict().items())


def test_what_the_judge_wants_is_learnt(base):
    """Of the same captions and noise, with no other loss beside it."""
    task = build(base, batch=4)
    task.losses(0)  # draws the block
    rule, told = torch.optim.Adam(task.model.parameters(), lr=5e-3), []
    for _ in range(30):
        rule.zero_grad()
        losses = task._judged(1)
        total = sum(losses.values())
        total.backward()
        rule.step()
        told.append(float(total.detach()))
    assert told[-1] < 0.9 * told[0]
