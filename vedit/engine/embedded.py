"""The embedded models, sampled: pictures, clips by the motion adapter, clips of the video model.

Tensor names: B pictures or clips, F frames, C channels, Y X rows and columns, M motion words.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vedit.data import grammar, scenes, vocabulary
from vedit.engine.sample import Stream, predict, sample
from vedit.models.shapes.networks import ClipNetwork, PictureNetwork, with_words
from vedit.models.shapes.text import padded_states, text_states
from vedit.models.shapes.video import VideoNetwork

SAMPLE_SEED = 9_000_003
GUIDANCE = 3.0
SIDE = 16  # of latents
PLACED_AT = 600  # above it a place can still be chosen, below it an object keeps its own
TRAVEL = 2.75  # latent cells, 11 pixels; drawn objects travel 8 to 16


def sample_pictures(
    network: PictureNetwork,
    text_encoder: Any,
    captions: list[str],
    *,
    steps: int,
    seed: int = SAMPLE_SEED,
    guidance: float = GUIDANCE,
) -> Tensor:
    """Sample one latent per caption with DDIM; noise i depends on the seed and i only."""
    said, unsaid = text_states(text_encoder, captions).chunk(2)
    noise = unit_noise(len(captions), (network.channels, SIDE, SIDE), seed).to(said.device)
    stream = Stream("pictures", noise, said, unsaid, guidance)
    timesteps = network.schedule.timesteps(steps)
    *_, last = sample(network, timesteps, [stream], frames_per_call=len(captions))
    return last.latents["pictures"]


def sample_clips(
    network: ClipNetwork,
    text_encoder: Any,
    captions: list[str],
    *,
    steps: int,
    seed: int = SAMPLE_SEED,
    guidance: float = GUIDANCE,
    negative: str = "",
) -> Iterator[Tensor]:
    """Sample one clip of latents per caption with the motion adapter; yield BFCYX after each step.

    Down to the timestep PLACED_AT all frames share their noise, and one place. There the clean
    clip foreseen, the mean of its frames, is moved along the path that the caption's words of
    motion name, noised again with noise of each frame's own, and sampled on: the adapter makes
    one clip of frames whose object is under way. Without such a word nothing is moved.

    Noise i depends on the seed and i only. negative: what guidance leads away from.

    Source: Khachatryan et al. 2023 (Text2Video-Zero, section 4.3.1, motion in latents). Deviation:
    the foreseen clean clip is moved, in fractions of a cell, and the frames are not tied to the
    first one by its attention, since there is a motion adapter.
    """
    timesteps, states = network.schedule.timesteps(steps), text_states(text_encoder, captions, negative)
    words_BM = vocabulary.motion_words(vocabulary.token_ids(captions + [negative] * len(captions)))
    words_BM = words_BM.to(states.device)
    said, unsaid = with_words(states, words_BM).chunk(2)
    shape = (scenes.FRAMES, network.channels, SIDE, SIDE)
    own_BFCYX = unit_noise(len(captions), shape, seed).to(states.device)
    streams = [  # all frames begin with the first one's noise
        Stream(str(row), own[:1].expand_as(own), said[[row]], unsaid[[row]], guidance)
        for row, own in enumerate(own_BFCYX)
    ]
    placed = sum(timestep > PLACED_AT for timestep in timesteps)
    for _ in itertools.islice(sample(network, timesteps, streams), placed):
        yield torch.stack([stream.latents for stream in streams])
    _place(network, streams, timesteps[placed], words_BM, own_BFCYX)
    for _ in sample(network, timesteps, streams, start=placed):
        yield torch.stack([stream.latents for stream in streams])


@torch.inference_mode()
def _place(
    network: ClipNetwork, streams: Sequence[Stream], timestep: int, words_BM: Tensor, own_BFCYX: Tensor
) -> None:
    """Move the clean clips foreseen at a timestep, and noise each of their frames anew."""
    schedule, level = network.schedule, network.schedule.level(timestep)
    outputs = predict(network, streams, timestep, 0, None, scenes.FRAMES)
    for row, stream in enumerate(streams):
        clean_CYX = schedule.to_x0(stream.output(outputs, timestep), stream.latents, level).mean(dim=0)
        stream.latents = schedule.mix(moved(clean_CYX[None], words_BM[[row]])[0], own_BFCYX[row], level)


def moved(latents_BCYX: Tensor, words_BM: Tensor) -> Tensor:
    """Shift latents along the path of their motion words, BFCYX.

    From the first to the last frame it is TRAVEL cells; the middle stays in place. Between cells
    values are interpolated; what comes in over the border repeats the border.
    """
    step_M2 = torch.tensor([scenes.STEP_XY[motion] for motion in grammar.MOTIONS], device=latents_BCYX.device)
    time_F = torch.linspace(-0.5, 0.5, scenes.FRAMES, device=latents_BCYX.device)
    shift_N2 = (TRAVEL * time_F[:, None] * (words_BM @ step_M2)[:, None]).flatten(0, 1)
    side = latents_BCYX.shape[-1]
    grid = torch.nn.functional.affine_grid(
        torch.eye(2, 3).expand(1, 2, 3), [1, 1, side, side], align_corners=False
    ).to(latents_BCYX.device)
    frames_NCYX = latents_BCYX.repeat_interleave(scenes.FRAMES, dim=0)
    shifted = torch.nn.functional.grid_sample(
        frames_NCYX, grid - (2 / side) * shift_N2[:, None, None], padding_mode="border", align_corners=False
    )
    return shifted.unflatten(0, (len(latents_BCYX), scenes.FRAMES))


def unit_noise(count: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Return unit Gaussian noise, one row per sample; row i is drawn from `seed` + i."""
    return torch.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(seed + i)) for i in range(count)]
    )


def sample_videos(
    network: VideoNetwork,
    text_encoder: Any,
    captions: list[str],
    *,
    frames: int,
    steps: int,
    seed: int,
    guidance: float = GUIDANCE,
) -> Tensor:
    """Sample one clip of latents per caption, BCFYX; noise i depends on the seed and i only."""
    said, unsaid = padded_states(text_encoder, captions).chunk(2)
    noise_BCFYX = unit_noise(len(captions), (network.channels, frames, SIDE, SIDE), seed).to(said.device)
    streams = [
        Stream(str(row), noise_CFYX.transpose(0, 1), said[[row]], unsaid[[row]], guidance)
        for row, noise_CFYX in enumerate(noise_BCFYX)
    ]
    for _ in sample(network, network.schedule.timesteps(steps), streams):
        pass
    return torch.stack([stream.latents for stream in streams]).transpose(1, 2)
