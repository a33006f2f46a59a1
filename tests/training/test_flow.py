"""Protects vedit/training/flow.py: the straight path, Euler's way back along it, text padded as diffusers
pads it.
"""

import pytest
import torch

from vedit.data import vocabulary
from vedit.training import flow
from vedit.training.shapes_video import scheduler

torch.set_num_threads(1)  # ten times faster for small tensors on a busy machine


def test_data_is_what_velocity_and_level_leave_of_a_mixture():
    x, noise = torch.randn(2, 3, 6, 1, 4, 4, generator=torch.Generator().manual_seed(0)).unbind(0)
    level = torch.tensor([0.0, 0.25, 1.0])
    z = flow.mixed(x, noise, level)
    assert torch.equal(z[0], x[0]) and torch.equal(z[2], noise[2])
    assert torch.allclose(z[1], 0.75 * x[1] + 0.25 * noise[1])
    assert torch.allclose(z - level.view(-1, 1, 1, 1, 1) * flow.velocity(x, noise), x, atol=1e-6)


class Towards:
    """The exact velocity when the caption allows one picture only: every value is the mean of the caption's
    state.
    """

    def __init__(self):
        self.timesteps = []

    def __call__(self, noisy, timestep, text, return_dict):
        self.timesteps.append(float(timestep[0]))
        x = text.mean(dim=(1, 2)).view(-1, 1, 1, 1, 1)
        return ((noisy - x) / (timestep.view(-1, 1, 1, 1, 1) / flow.TIMESTEPS),)


@pytest.mark.parametrize("steps", [1, 3, 25])
def test_euler_walks_a_straight_path_exactly(steps):
    text = torch.cat([torch.full((2, 3, 4), 0.5), torch.full((2, 3, 4), -1.0)])
    noise = torch.randn(2, 6, 5, 2, 2, generator=torch.Generator().manual_seed(1))
    network = Towards()
    walked = list(flow.euler(network, scheduler(), noise, text, steps, guidance=1.0))
    assert len(walked) == steps and network.timesteps[0] == pytest.approx(1000.0)
    assert torch.allclose(walked[-1], torch.full_like(noise, 0.5), atol=1e-4)


def test_guidance_goes_past_the_caption_by_as_much_as_it_says():
    text = torch.cat([torch.full((1, 3, 4), 0.5), torch.full((1, 3, 4), -1.0)])
    noise = torch.randn(1, 6, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    *_, latents = flow.euler(Towards(), scheduler(), noise, text, 4, guidance=3.0)
    assert torch.allclose(latents, torch.full_like(noise, -1.0 + 3 * 1.5), atol=1e-4)


def test_text_is_zero_after_the_first_end_mark():
    ids = vocabulary.token_ids(["a red circle", ""])
    states = flow.padded(torch.ones(2, vocabulary.TEXT_LENGTH, 4), ids, vocabulary.end_id())
    assert states.any(dim=2).sum(dim=1).tolist() == [5, 2]  # start, three words, end; start, end
    assert states[0, :5].all() and states[1, :2].all()
