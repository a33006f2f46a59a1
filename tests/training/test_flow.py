"""Protects vedit/training/flow.py: the straight path from data to noise."""

import torch

from vedit.training import flow

torch.set_num_threads(1)  # ten times faster for small tensors on a busy machine


def test_data_is_what_velocity_and_level_leave_of_a_mixture():
    x, noise = torch.randn(2, 3, 6, 1, 4, 4, generator=torch.Generator().manual_seed(0)).unbind(0)
    level = torch.tensor([0.0, 0.25, 1.0])
    z = flow.mixed(x, noise, level)
    assert torch.equal(z[0], x[0]) and torch.equal(z[2], noise[2])
    assert torch.allclose(z[1], 0.75 * x[1] + 0.25 * noise[1])
    assert torch.allclose(z - level.view(-1, 1, 1, 1, 1) * flow.velocity(x, noise), x, atol=1e-6)
