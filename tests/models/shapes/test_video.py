"""Protects vedit/models/shapes/video.py: the video model's way from noise to data, by the engine's sampler."""

import pytest
import torch

from vedit.engine.sample import Stream, sample
from vedit.models.shapes.video import SCHEDULE, TIMESTEPS, VideoNetwork, scheduler

torch.set_num_threads(1)  # ten times faster for small tensors on a busy machine


class Towards:
    """The exact velocity when the caption allows one picture only: the mean of the caption's state."""

    dtype = torch.float32

    def __init__(self):
        self.timesteps = []

    def __call__(self, noisy, timestep, text, return_dict):
        self.timesteps.append(float(timestep[0]))
        x = text.mean(dim=(1, 2)).view(-1, 1, 1, 1, 1)
        return ((noisy - x) / (timestep.view(-1, 1, 1, 1, 1) / TIMESTEPS),)


class Bent:
    """A velocity that depends on place, level and text, so that every step counts."""

    dtype = torch.float32

    def __call__(self, noisy, timestep, text, return_dict):
        level = timestep.view(-1, 1, 1, 1, 1) / TIMESTEPS
        return (torch.sin(3 * noisy) + level * text.mean(dim=(1, 2)).view(-1, 1, 1, 1, 1),)


def walked(transformer, frames, steps, guidance):
    """The noise (F, C, Y, X), and the latents after every step."""
    noise = torch.randn(frames, 6, 2, 2, generator=torch.Generator().manual_seed(1))
    said, unsaid = torch.full((1, 3, 4), 0.5), torch.full((1, 3, 4), -1.0)
    stream = Stream("clip", noise, said, unsaid, guidance)
    steps_done = sample(VideoNetwork(transformer), SCHEDULE.timesteps(steps), [stream])
    return noise, [step.latents["clip"] for step in steps_done]


@pytest.mark.parametrize("steps", [1, 3, 25])
def test_a_straight_path_is_walked_exactly(steps):
    network = Towards()
    _, latents = walked(network, 5, steps, guidance=1.0)
    assert len(latents) == steps and network.timesteps[0] == pytest.approx(1000.0)
    assert torch.allclose(latents[-1], torch.full_like(latents[-1], 0.5), atol=1e-4)


def test_guidance_goes_past_the_caption_by_as_much_as_it_says():
    _, latents = walked(Towards(), 1, 4, guidance=3.0)
    assert torch.allclose(latents[-1], torch.full_like(latents[-1], -1.0 + 3 * 1.5), atol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 25])
def test_every_step_is_that_of_the_scheduler_that_the_packed_model_names(steps):
    noise, latents = walked(Bent(), 5, steps, guidance=3.0)
    theirs = scheduler()
    theirs.set_timesteps(steps)
    x = noise.transpose(0, 1)[None]
    for timestep, found in zip(theirs.timesteps, latents, strict=True):
        said, unsaid = (
            Bent()(x, timestep[None], torch.full((1, 3, 4), value), False)[0] for value in (0.5, -1.0)
        )
        x = theirs.step(unsaid + 3.0 * (said - unsaid), timestep, x).prev_sample
        assert torch.allclose(found, x[0].transpose(0, 1), atol=1e-5)
