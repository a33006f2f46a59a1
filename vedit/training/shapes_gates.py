"""Measure the embedded models: does a sample show what its caption says, does inversion return.

Every share comes with its number of trials, so that the caller can print an interval.

Tensor names: B pictures, C channels, Y X rows and columns.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vedit.data import grammar, scenes, vocabulary
from vedit.engine.sample import Stream, predict, sample
from vedit.models.alpha_bar import AlphaBar
from vedit.models.shapes.networks import ClipNetwork, PictureNetwork, with_words
from vedit.training.shapes_judge import JUDGED, Judge
from vedit.training.shapes_truth import read_clip

SAMPLE_SEED = 9_000_003
GUIDANCE = 3.0
PLACED_AT = 600  # above it a place can still be chosen, below it an object keeps its own
TRAVEL = 2.75  # latent cells, 11 pixels; drawn objects travel 8 to 16
CLIP_DIGITS = 0.2  # of the captions of clips


def interval(right: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of a share.

    Source: Wilson 1927; centre (p + z^2/2n) / (1 + z^2/n).
    """
    if trials == 0:
        return 0.0, 1.0
    share, scale = right / trials, 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def sample_latents(
    unet: Any,
    text_encoder: Any,
    schedule: AlphaBar,
    captions: list[str],
    *,
    steps: int,
    seed: int = SAMPLE_SEED,
    guidance: float = GUIDANCE,
) -> Tensor:
    """Sample one latent per caption with DDIM; noise i depends on the seed and i only."""
    noise = unit_noise(len(captions), (unet.config.in_channels, 16, 16), seed).to(unet.device)
    said, unsaid = text_states(text_encoder, captions).chunk(2)
    stream = Stream("pictures", noise, said, unsaid, guidance)
    *_, last = sample(
        PictureNetwork(unet, schedule), schedule.timesteps(steps), [stream], frames_per_call=len(captions)
    )
    return last.latents["pictures"]


def sample_clips(
    unet: Any,
    text_encoder: Any,
    schedule: AlphaBar,
    captions: list[str],
    *,
    steps: int,
    seed: int = SAMPLE_SEED,
    guidance: float = GUIDANCE,
    negative: str = "",
) -> Iterator[Tensor]:
    """Sample one clip of latents per caption with a UNetMotionModel; yield BFCYX after each step.

    Down to the timestep PLACED_AT all frames share their noise, and one place. There the clean
    clip foreseen, the mean of its frames, is moved along the path that the caption's words of
    motion name, noised again with noise of each frame's own, and sampled on: the adapter makes
    one clip of frames whose object is under way. Without such a word nothing is moved.

    Noise i depends on the seed and i only. negative: what guidance leads away from.

    Source: Khachatryan et al. 2023 (Text2Video-Zero, section 4.3.1, motion in latents). Deviation:
    the foreseen clean clip is moved, in fractions of a cell, and the frames are not tied to the
    first one by its attention, since there is a motion adapter.
    """
    network, timesteps = ClipNetwork(unet, schedule), schedule.timesteps(steps)
    words_BM = vocabulary.motion_words(vocabulary.token_ids(captions + [negative] * len(captions))).to(
        unet.device
    )
    said, unsaid = with_words(text_states(text_encoder, captions, negative), words_BM).chunk(2)
    own_BFCYX = unit_noise(len(captions), (scenes.FRAMES, unet.config.in_channels, 16, 16), seed).to(
        unet.device
    )
    streams = [
        Stream(
            str(row), own[:1].expand_as(own), said[[row]], unsaid[[row]], guidance
        )  # all frames begin with the first one's noise
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
        clean_CYX = schedule.to_x0(stream.output(outputs), stream.latents, level).mean(dim=0)
        stream.latents = schedule.mix(moved(clean_CYX[None], words_BM[[row]])[0], own_BFCYX[row], level)


def moved(latents_BCYX: Tensor, words_BM: Tensor) -> Tensor:
    """Shift latents along the path of their motion words, TRAVEL cells from first to last frame, the middle
    in place: BFCYX.

    Between cells values are interpolated; what comes in over the border repeats the border.
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


@torch.no_grad()
def text_states(text_encoder: Any, captions: list[str], negative: str = "") -> Tensor:
    """Return the text states of captions, then as many of the negative caption."""
    ids = vocabulary.token_ids(captions + [negative] * len(captions)).to(text_encoder.device)
    states: Tensor = text_encoder(ids).last_hidden_state
    return states


@torch.no_grad()
def decode(codec: Any, latents_BCYX: Tensor) -> Tensor:
    """Turn latents into pictures in 0..1."""
    latents_BCYX = latents_BCYX / codec.config.scaling_factor
    pictures = [codec.decode(part).sample for part in latents_BCYX.split(32)]
    return (0.5 * (torch.cat(pictures) + 1)).clamp(0, 1)


def samples(
    unet: Any,
    text_encoder: Any,
    codec: Any,
    schedule: AlphaBar,
    count: int,
    *,
    steps: int,
    seed: int = SAMPLE_SEED,
    guidance: float = GUIDANCE,
    held_out: bool | None = True,
    digits: float = 0.0,
) -> tuple[list[scenes.Scene], Tensor]:
    """Sample one picture for each of `count` plain captions of (held-out) scenes.

    digits: the share of scenes that show a digit.
    """
    records = scenes.sample_records(count, seed, held_out=held_out, digits=digits)
    captions = [grammar.caption(record.fields, show_motion=False) for record in records]
    parts = []
    for start in range(0, count, 48):
        part = captions[start : start + 48]
        latents = sample_latents(
            unet, text_encoder, schedule, part, steps=steps, seed=seed + start, guidance=guidance
        )
        parts.append(decode(codec, latents))
    return records, torch.cat(parts)


def judged(judge: Judge, records: list[scenes.Scene], pictures_BCYX: Tensor) -> dict[str, Tensor]:
    """Return per field whether the judge reads what the record says: bool, B."""
    wanted = scenes.stack(records, pictures_BCYX.device).fields
    said = judge.verdict(pictures_BCYX)
    return {name: said[name] == wanted[name] for name in JUDGED}


def shares(right: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Return share, interval and trials of each field."""
    table = {}
    for name, values in right.items():
        hits, trials = int(values.sum()), len(values)
        low, high = interval(hits, trials)
        table[name] = {
            "share": round(hits / trials, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "trials": trials,
        }
    return table


@torch.no_grad()
def sampled_clips(
    unet: Any,
    text_encoder: Any,
    codec: Any,
    schedule: AlphaBar,
    count: int,
    *,
    steps: int,
    seed: int = SAMPLE_SEED + 1,
    guidance: float = GUIDANCE,
) -> tuple[list[scenes.Scene], list[Tensor]]:
    """Sample a clip, FCYX in 0..1, for each of `count` captions of held-out scenes; a fifth of them name a
    digit.
    """
    records = scenes.sample_records(count, seed, held_out=True, digits=CLIP_DIGITS)
    clips = []
    for start in range(0, count, 8):
        captions = [record.caption for record in records[start : start + 8]]
        *_, latents_BFCYX = sample_clips(
            unet, text_encoder, schedule, captions, steps=steps, seed=seed + start, guidance=guidance
        )
        clips += [decode(codec, latents_FCYX).cpu() for latents_FCYX in latents_BFCYX]
    return records, clips


def read_right(records: list[scenes.Scene], clips: list[Tensor]) -> dict[str, Tensor]:
    """Return whether each clip shows the motion, shape, colour and ground of its record: bool, B."""
    read = [read_clip(clip_FCYX, record.fields) for record, clip_FCYX in zip(records, clips, strict=True)]
    return {
        name: torch.tensor(
            [said[name] == getattr(record, name) for said, record in zip(read, records, strict=True)]
        )
        for name in read[0]
    }
