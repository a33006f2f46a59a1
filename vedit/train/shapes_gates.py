"""Measure the embedded models: does a sample show what its caption says, does inversion return.

Every share comes with its number of trials, so that the caller can print an interval.

Tensor names: B pictures, C channels, Y X rows and columns.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from vedit.data import grammar, scenes, vocabulary
from vedit.train.shapes_judge import JUDGED, Judge
from vedit.train.shapes_truth import read_clip

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


@torch.no_grad()
def sample_latents(
    unet: Any,
    text_encoder: Any,
    scheduler: Any,
    captions: list[str],
    *,
    steps: int,
    seed: int = SAMPLE_SEED,
    guidance: float = GUIDANCE,
) -> Tensor:
    """Sample one latent per caption with DDIM; noise i depends on the seed and i only."""

    def predict(latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        v: Tensor = unet(latents, timestep, encoder_hidden_states=text).sample
        return v

    noise = unit_noise(len(captions), (unet.config.in_channels, 16, 16), seed).to(unet.device)
    *_, latents = guided(predict, scheduler, noise, text_states(text_encoder, captions), steps, guidance)
    return latents


def sample_clips(
    unet: Any,
    text_encoder: Any,
    scheduler: Any,
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
    words_BM = vocabulary.motion_words(vocabulary.token_ids(captions + [negative] * len(captions))).to(unet.device)
    text = text_states(text_encoder, captions, negative)
    shape = (scenes.FRAMES, unet.config.in_channels, 16, 16)

    @torch.no_grad()
    def predict(latents: Tensor, timestep: Tensor) -> Tensor:
        both = clip_prediction(unet, torch.cat([latents, latents]), timestep, text, words_BM)
        return guide(both, guidance)

    own_NCYX = unit_noise(len(captions), shape, seed).to(unet.device).flatten(0, 1)
    latents_NCYX = own_NCYX[:: scenes.FRAMES].repeat_interleave(scenes.FRAMES, dim=0)
    scheduler.set_timesteps(steps, device=unet.device)
    is_placed = False
    for timestep in scheduler.timesteps:
        v_NCYX = predict(latents_NCYX, timestep)
        if not is_placed and timestep <= PLACED_AT:
            signal, noise = scheduler.alphas_cumprod[timestep].sqrt(), (1 - scheduler.alphas_cumprod[timestep]).sqrt()
            clean_BCYX = (signal * latents_NCYX - noise * v_NCYX).unflatten(0, (len(captions), -1)).mean(dim=1)
            latents_NCYX = signal * moved(clean_BCYX, words_BM[: len(captions)]).flatten(0, 1) + noise * own_NCYX
            v_NCYX = predict(latents_NCYX, timestep)
            is_placed = True
        latents_NCYX = scheduler.step(v_NCYX, timestep, latents_NCYX).prev_sample
        yield latents_NCYX.unflatten(0, (len(captions), scenes.FRAMES))


def moved(latents_BCYX: Tensor, words_BM: Tensor) -> Tensor:
    """Shift latents along the path of their motion words, TRAVEL cells from first to last frame, the middle in place: BFCYX.

    Between cells values are interpolated; what comes in over the border repeats the border.
    """
    step_M2 = torch.tensor([scenes.STEP_XY[motion] for motion in grammar.MOTIONS], device=latents_BCYX.device)
    time_F = torch.linspace(-0.5, 0.5, scenes.FRAMES, device=latents_BCYX.device)
    shift_N2 = (TRAVEL * time_F[:, None] * (words_BM @ step_M2)[:, None]).flatten(0, 1)
    side = latents_BCYX.shape[-1]
    grid = torch.nn.functional.affine_grid(torch.eye(2, 3).expand(1, 2, 3), [1, 1, side, side], align_corners=False).to(latents_BCYX.device)
    frames_NCYX = latents_BCYX.repeat_interleave(scenes.FRAMES, dim=0)
    shifted = torch.nn.functional.grid_sample(frames_NCYX, grid - (2 / side) * shift_N2[:, None, None], padding_mode="border", align_corners=False)
    return shifted.unflatten(0, (len(latents_BCYX), scenes.FRAMES))


def clip_prediction(unet: Any, noisy_NCYX: Tensor, timestep: Tensor, text_BLE: Tensor, words_BM: Tensor) -> Tensor:
    """Predict v for clips whose frames follow each other in the batch; text and motion words are given once per clip."""
    noisy_BCFYX = noisy_NCYX.unflatten(0, (len(text_BLE), -1)).transpose(1, 2)
    text_NLE = text_BLE.repeat_interleave(noisy_BCFYX.shape[2], dim=0)
    v_BCFYX: Tensor = unet(noisy_BCFYX, timestep, encoder_hidden_states=text_NLE, timestep_cond=words_BM).sample
    return v_BCFYX.transpose(1, 2).flatten(0, 1)


def unit_noise(count: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Return unit Gaussian noise, one row per sample; row i is drawn from `seed` + i."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed + i)) for i in range(count)])


@torch.no_grad()
def text_states(text_encoder: Any, captions: list[str], negative: str = "") -> Tensor:
    """Return the text states of captions, then as many of the negative caption."""
    ids = vocabulary.token_ids(captions + [negative] * len(captions)).to(text_encoder.device)
    states: Tensor = text_encoder(ids).last_hidden_state
    return states


def guided(predict: Callable[[Tensor, Tensor, Tensor], Tensor], scheduler: Any, latents: Tensor, text: Tensor, steps: int, guidance: float) -> Iterator[Tensor]:
    """Walk from noise to clean latents with DDIM and classifier-free guidance, both halves in one batch; yield each step."""
    scheduler.set_timesteps(steps, device=latents.device)
    for timestep in scheduler.timesteps:
        v = guide(predict(torch.cat([latents, latents]), timestep, text), guidance)
        latents = scheduler.step(v, timestep, latents).prev_sample
        yield latents


def guide(both: Tensor, guidance: float) -> Tensor:
    """Return the guided prediction from those with and without the caption, one after the other."""
    said, unsaid = both.chunk(2)
    return unsaid + guidance * (said - unsaid)


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
    scheduler: Any,
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
        latents = sample_latents(unet, text_encoder, scheduler, part, steps=steps, seed=seed + start, guidance=guidance)
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
    unet: Any, text_encoder: Any, codec: Any, scheduler: Any, count: int, *, steps: int, seed: int = SAMPLE_SEED + 1, guidance: float = GUIDANCE
) -> tuple[list[scenes.Scene], list[Tensor]]:
    """Sample a clip, FCYX in 0..1, for each of `count` captions of held-out scenes; a fifth of them name a digit."""
    records = scenes.sample_records(count, seed, held_out=True, digits=CLIP_DIGITS)
    clips = []
    for start in range(0, count, 8):
        captions = [record.caption for record in records[start : start + 8]]
        *_, latents_BFCYX = sample_clips(unet, text_encoder, scheduler, captions, steps=steps, seed=seed + start, guidance=guidance)
        clips += [decode(codec, latents_FCYX).cpu() for latents_FCYX in latents_BFCYX]
    return records, clips


def read_right(records: list[scenes.Scene], clips: list[Tensor]) -> dict[str, Tensor]:
    """Return whether each clip shows the motion, shape, colour and ground of its record: bool, B."""
    read = [read_clip(clip_FCYX, record.fields) for record, clip_FCYX in zip(records, clips, strict=True)]
    return {name: torch.tensor([said[name] == getattr(record, name) for said, record in zip(read, records, strict=True)]) for name in read[0]}


# --- inversion -------------------------------------------------------------------------------


@torch.no_grad()
def invert(predict: Callable[[Tensor, int], Tensor], scheduler: Any, latents: Tensor, passes: int) -> Iterator[Tensor]:
    """Walk DDIM backwards from clean latents to noise; yield the latents after each step.

    predict(latents, timestep) returns v. Each step solves x_t = a x_s + b eps(x_t, t) by
    `passes` fixed-point iterations after the first guess eps(x_s, t), so that the forward step
    from x_t, which evaluates the network at (x_t, t), returns to x_s.
    """
    alpha_bar = scheduler.alphas_cumprod.to(latents)
    stride = scheduler.config.num_train_timesteps // len(scheduler.timesteps)
    for timestep in scheduler.timesteps.flip(0).tolist():
        before = alpha_bar[timestep - stride] if timestep >= stride else scheduler.final_alpha_cumprod
        after, start = alpha_bar[timestep], latents
        for _ in range(passes + 1):
            v = predict(latents, timestep)
            eps = after.sqrt() * v + (1 - after).sqrt() * latents
            scale = (after / before).sqrt()
            latents = scale * start + ((1 - after).sqrt() - scale * (1 - before).sqrt()) * eps
        yield latents


@torch.no_grad()
def reconstruct(predict: Callable[[Tensor, int], Tensor], scheduler: Any, latents: Tensor) -> Tensor:
    """Walk DDIM forwards from inverted noise back to clean latents."""
    for timestep in scheduler.timesteps:
        latents = scheduler.step(predict(latents, int(timestep)), timestep, latents).prev_sample
    return latents
