"""Protects vedit/training/ema.py against its closed form."""

import pytest
import torch
from diffusers.training_utils import EMAModel
from torch import nn

from vedit.training.ema import Ema


def test_decay_warms_up_from_a_copy_to_its_maximum():
    ema = Ema(nn.Linear(1, 1), decay_max=0.99)
    assert [ema.decay(0), ema.decay(10), ema.decay(10_000)] == [0.0, pytest.approx(0.55), 0.99]


def test_average_is_the_closed_form_of_its_decays():
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    ema = Ema(model.float(), decay_max=0.9)
    history = []
    for _ in range(30):
        with torch.no_grad():
            model.weight.add_(torch.randn_like(model.weight))
        history.append(model.weight.detach().clone())
        ema.update(model)
    expected = torch.zeros_like(history[0])
    for k, value in enumerate(history):
        weight = 1 - ema.decay(k)
        for j in range(k + 1, len(history)):
            weight *= ema.decay(j)
        expected += weight * value
    assert torch.allclose(ema.model.weight, expected, atol=1e-5)


def test_buffers_are_copied_and_not_averaged():
    model = nn.BatchNorm1d(2)
    ema = Ema(model)
    model.running_mean.fill_(3.0)
    ema.update(model)
    model.running_mean.fill_(5.0)
    ema.update(model)
    assert ema.model.running_mean.tolist() == [5.0, 5.0]


def test_the_decay_is_diffusers_own_one_update_later():
    ours = Ema(nn.Linear(1, 1), decay_max=0.9999, decay_min=0.9)
    theirs = EMAModel(nn.Linear(1, 1).parameters(), decay=0.9999, min_decay=0.9)
    assert theirs.get_decay(1) == ours.decay(0) == 0  # the first update copies
    assert [ours.decay(n) for n in (1, 80, 100, 990, 9989)] == [
        theirs.get_decay(n + 1) for n in (1, 80, 100, 990, 9989)
    ]
    assert (ours.decay(80), ours.decay(89_990), ours.decay(89_991)) == (0.9, pytest.approx(0.9999), 0.9999)


def test_the_decay_by_a_power_is_diffusers_own():
    ours = Ema(nn.Linear(1, 1), decay_max=0.9999, power=2 / 3)
    theirs = EMAModel(
        nn.Linear(1, 1).parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=2 / 3
    )
    assert [ours.decay(n) for n in (1, 30, 31, 1000, 10**6)] == pytest.approx(
        [theirs.get_decay(n + 1) for n in (1, 30, 31, 1000, 10**6)], abs=1e-12
    )
    assert ours.decay(30) < 0.9 < ours.decay(31)
