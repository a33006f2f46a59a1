"""Measure the embedded models: does a sample show what its caption says, does inversion return.

Every share comes with its number of trials, so that the caller can print an interval.

Tensor names: B pictures, C channels, Y X rows and columns.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from vedit.data import grammar, scenes
from vedit.train import shapes
from vedit.train.shapes_judge import JUDGED, Judge

SAMPLE_SEED = 9_000_003
GUIDANCE = 3.0


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
    device = next(unet.parameters()).device
    noise = [torch.randn(unet.config.in_channels, 16, 16, generator=torch.Generator().manual_seed(seed + i)) for i in range(len(captions))]
    latents = torch.stack(noise).to(device)
    ids = shapes.token_ids(captions + [""] * len(captions)).to(device)
    text = text_encoder(ids).last_hidden_state
    scheduler.set_timesteps(steps, device=device)
    for timestep in scheduler.timesteps:
        both = unet(torch.cat([latents, latents]), timestep, encoder_hidden_states=text).sample
        said, unsaid = both.chunk(2)
        latents = scheduler.step(unsaid + guidance * (said - unsaid), timestep, latents).prev_sample
    return latents


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


def psnr(a_BCYX: Tensor, b_BCYX: Tensor) -> Tensor:
    """Return one PSNR in dB per picture in 0..1."""
    return -10 * (a_BCYX - b_BCYX).square().flatten(1).mean(dim=1).clamp_min(1e-12).log10()
