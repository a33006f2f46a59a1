"""Measure the embedded models: does a sample show what its caption says, does inversion return.

Every share comes with its number of trials, so that the caller can print an interval.

Tensor names: B pictures, C channels, Y X rows and columns.
"""

import math
from typing import Any

import torch
from torch import Tensor

from vedit.data import grammar, scenes
from vedit.engine.embedded import GUIDANCE, SAMPLE_SEED, sample_clips, sample_pictures
from vedit.models.alpha_bar import AlphaBar
from vedit.models.shapes.codec import decode
from vedit.models.shapes.judge import JUDGED, Judge
from vedit.models.shapes.networks import ClipNetwork, PictureNetwork
from vedit.training.shapes_truth import read_clip

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
    network, parts = PictureNetwork(unet, schedule), []
    for start in range(0, count, 48):
        part = captions[start : start + 48]
        latents = sample_pictures(
            network, text_encoder, part, steps=steps, seed=seed + start, guidance=guidance
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
    """Sample a clip, FCYX in 0..1, for each of `count` captions of held-out scenes.

    A fifth of them name a digit.
    """
    records = scenes.sample_records(count, seed, held_out=True, digits=CLIP_DIGITS)
    network, clips = ClipNetwork(unet, schedule), []
    for start in range(0, count, 8):
        captions = [record.caption for record in records[start : start + 8]]
        *_, latents_BFCYX = sample_clips(
            network, text_encoder, captions, steps=steps, seed=seed + start, guidance=guidance
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
