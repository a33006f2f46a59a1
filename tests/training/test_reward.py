"""Protects vedit/training/reward.py: what is drawn is Euler's, and which answers hear of it."""

import pytest
import torch

from vedit.training import reward

STEPS = 4


def test_the_gradient_is_that_of_the_taught_answers_alone_at_latents_held_fixed():
    """v = a x gives x_i = (1 - a / N)^i and, with each x_i held fixed, d x_0 / d a = - sum over taught i of x_i / N."""
    rate = torch.tensor(0.8, requires_grad=True)
    drawn = reward.drawn(lambda latents, level: rate * latents, torch.ones(()), STEPS, {1, 3})
    factor = 1 - 0.8 / STEPS
    assert float(drawn.detach()) == pytest.approx(factor**STEPS)
    drawn.backward()
    assert float(rate.grad) == pytest.approx(-(factor**1 + factor**3) / STEPS)


def test_a_straight_path_is_drawn_exactly_and_no_answer_is_kept_that_is_not_taught():
    asked = []

    def velocity(latents, level):
        asked.append((level, torch.is_grad_enabled(), latents.requires_grad))
        return (latents - 3.0) / level

    noise = torch.randn(5, generator=torch.Generator().manual_seed(0))
    drawn = reward.drawn(velocity, noise, STEPS, {2})
    assert torch.allclose(drawn, torch.full((5,), 3.0), atol=1e-6)
    assert [level for level, *_ in asked] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert [on for _, on, _ in asked] == [False, False, True, False]
    assert not any(carried for *_, carried in asked)
