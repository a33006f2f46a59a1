"""Train the text-to-video generator on clips with captions.

Everything drawn for a clip (its place in the epoch, caption, timestep, noise) depends on the seed
and on how many clips were used before it, and on nothing else. So the same clips make the same
step whether they come as one batch, as several in turn, or in several processes.

Source: seed 004, section 2, on the public code that it improves. Shape letters: B clips, C
channels, F frames, Y X rows and columns, E embedding width, K frames seen by VGG.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vedit.engine.clamp import read_clip
from vedit.engine.sample import Stream, sample
from vedit.errors import UsageError
from vedit.models.unet3d.checkpoint import build_schedule
from vedit.models.unet3d.model import UNet3DNetwork
from vedit.models.unet3d.text import TextEncoder
from vedit.models.unet3d.unet3d import UNet3D
from vedit.pixels import from_bytes, to_bytes
from vedit.training.clips import Clips, Order
from vedit.training.loop import Options, seeded
from vedit.training.losses import HybridLoss
from vedit.training.params import GeneratorParams
from vedit.training.place import DTYPES, Place
from vedit.training.vgg import load_vgg

STRIP_CLIPS = 4


def build_unet(params: GeneratorParams, text_width: int) -> UNet3D:
    """The network that the settings describe, with weights drawn from their seed."""
    torch.manual_seed(params.run.seed)
    return UNet3D(text_width=text_width, **params.model.model_dump())


def build_options(params: GeneratorParams, world: int) -> Options:
    """How the loop trains it; the loop counts clips where the settings count steps."""
    run, optim, ema = params.run, params.optim, params.ema
    return Options(
        rate=optim.rate,
        steps=run.steps,
        anneal=optim.anneal,
        warmup=optim.warmup,
        betas=optim.betas,
        weight_decay=optim.weight_decay,
        clip=optim.clip,
        ema_decay=ema.decay_max,
        ema_decay_min=ema.decay_min,
        ema_power=ema.power,
        ema_every=ema.update_every,
        accumulate=optim.accumulate,
        seed=run.seed,
        log_every=run.log_every,
        save_every=run.save_every,
        measure_every=run.sample_every * optim.batch * optim.accumulate * world,
        keep=run.keep,
        milestone_every=run.milestone_every,
        precision=run.precision,
    )


class Draw(NamedTuple):
    """What one use of a clip takes from chance."""

    clip: int
    caption: str
    timestep: int
    noise_CFYX: Tensor
    is_dropped: bool
    is_present: bool
    frames_K: Tensor


class VideoTask:
    """The generator as the loop trains it.

    vgg_weights: see `load_vgg`; read when the loss has a perceptual part, before the first step.
    strips: folder for sample strips.
    """

    def __init__(
        self,
        params: GeneratorParams,
        clips: Clips,
        *,
        place: Place | None = None,
        vgg_weights: str | None = None,
        strips: Path | None = None,
    ) -> None:
        self.params, self.clips, self.strips = params, clips, strips
        self.place = place or Place()
        self.device = self.place.device
        self.seed = params.run.seed
        self.schedule = build_schedule(params)
        self.loss = self._build_loss(vgg_weights)
        self.text_of, width = self._encode_captions()
        self.model = build_unet(params, width).to(self.device)
        self.network: nn.Module = self.model
        self.order = Order(len(clips), self.seed)
        self.config = self._config(width, vgg_weights)

    def _build_loss(self, vgg_weights: str | None) -> HybridLoss:
        table = self.params.loss
        vgg = load_vgg(table.layer_numbers, vgg_weights).to(self.device) if table.perceptual else None
        if vgg is not None and min(self.params.data.shape) < vgg.smallest_side:
            raise UsageError(
                f"layer {vgg.layers[-1]} of VGG needs pictures of {vgg.smallest_side} pixels, data.size is"
                f" {self.params.data.size}.",
                "",
                "Leave the last of loss.layers out",
            )
        return HybridLoss(
            self.schedule,
            table.pixel,
            table.perceptual,
            table.mode,
            table.timesteps,
            table.cut_below,
            table.layer_weights,
            vgg,
        )

    def _encode_captions(self) -> tuple[dict[str, Tensor], int]:
        encoder = TextEncoder(self.params.text.encoder, self.params.text.model, device=str(self.device))
        texts = sorted({text for captions in self.clips.captions for text in captions})
        return dict(zip(texts, encoder(texts), strict=True)), encoder.width

    def _config(self, text_width: int, vgg_weights: str | None) -> dict[str, Any]:
        """What a resumed run may not change; the tables of `optim`, `ema` and `run` are the loop's."""
        tables = self.params.model_dump(mode="json")
        optim = self.params.optim
        return {
            **{name: tables[name] for name in ("model", "diffusion", "loss", "data")},
            "text": {**tables["text"], "width": text_width},
            "sample": {key: value for key, value in tables["sample"].items()},
            "vgg": vgg_weights or "timm/vgg16_bn.tv_in1k" if self.params.loss.perceptual else None,
            "clips": {"count": len(self.clips), "fps": self.clips.fps, "fingerprint": self.clips.fingerprint},
            "effective_batch": optim.batch * optim.accumulate * self.place.world,
        }

    def pictures(self, number: int) -> int:
        return self.params.optim.batch

    # --- one batch ---

    def draw(self, use: int) -> Draw:
        """What is drawn for the `use`-th clip of the whole training."""
        clip = self.order[use]
        generator = seeded(self.seed, 7, use)
        frames, height, width = self.clips.pixels_NFYX3.shape[1:4]
        timestep = int(torch.randint(self.schedule.train_steps, (), generator=generator))
        noise = torch.randn(3, frames, height, width, generator=generator)
        dropped, present, choice = torch.rand(3, generator=generator).tolist()
        captions = self.clips.captions[clip]
        seen = torch.randperm(frames, generator=generator)[: self.params.loss.frames]
        return Draw(
            clip,
            captions[int(choice * len(captions))],
            timestep,
            noise,
            dropped < self.params.text.drop,
            present < self.params.diffusion.focus_present,
            seen,
        )

    def losses(self, number: int) -> dict[str, Tensor]:
        batch = self.params.optim.batch
        draws = [self.draw(number * batch + place) for place in range(batch)]
        x0 = self.pixels([draw.clip for draw in draws])
        noise = torch.stack([draw.noise_CFYX for draw in draws]).to(self.device)
        timestep_B = torch.tensor([draw.timestep for draw in draws], device=self.device)
        level = self.schedule.alpha_bar.float().to(self.device)[timestep_B][:, None, None, None, None]
        noisy = self.schedule.mix(x0, noise, level)
        text_BE = torch.stack([self.text_of[draw.caption] for draw in draws]).to(self.device)
        drop_B = torch.tensor([draw.is_dropped for draw in draws], device=self.device)
        present_B = (
            torch.tensor([draw.is_present for draw in draws], device=self.device)
            if self.params.diffusion.focus_present
            else None
        )
        with self.autocast():
            output = self.network(noisy, timestep_B, text_BE, drop_B=drop_B, present_B=present_B)
        frames_BK = torch.stack([draw.frames_K for draw in draws]).to(self.device)
        return self.loss(output.float(), noisy, x0, noise, timestep_B, frames_BK)

    def pixels(self, clips: list[int]) -> Tensor:
        """Clips as (B, 3, F, Y, X) in [-1, 1]."""
        array = np.stack([self.clips.pixels_NFYX3[clip] for clip in clips])
        return from_bytes(array, self.device).transpose(1, 2).contiguous()

    def autocast(self) -> torch.autocast:
        name = self.params.run.precision
        return torch.autocast(
            self.device.type, DTYPES[name] if name != "fp32" else None, enabled=name != "fp32"
        )

    # --- sample strips ---

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        """Sample a few captions, always the same from the same noise, as one row of frames each."""
        if self.strips is None:
            return {}
        captions = list(dict.fromkeys(texts[0] for texts in self.clips.captions))[:STRIP_CLIPS]
        text_BE = torch.stack([self.text_of[caption] for caption in captions]).to(self.device)
        clips = sampled(model, self.params, text_BE, seed=self.seed)
        path = self.strips / f"step-{step:09d}.png"
        write_strip(clips, path)
        return {"samples": str(path)}


def sampled(model: UNet3D, params: GeneratorParams, text_BE: Tensor, seed: int) -> Tensor:
    """Clips of texts by the settings of [sample], (B, 3, F, Y, X); clip b depends on the seed and b alone."""
    table, schedule = params.sample, build_schedule(params)
    network = UNet3DNetwork(model, schedule)
    streams = [
        _stream(network, params, text_E, row, seeded(seed, 8, row)) for row, text_E in enumerate(text_BE)
    ]
    for _ in sample(network, schedule.timesteps(table.steps), streams):
        pass
    return torch.stack([stream.latents.transpose(0, 1) for stream in streams])


def _stream(
    network: UNet3DNetwork, params: GeneratorParams, text_E: Tensor, row: int, generator: torch.Generator
) -> Stream:
    table, (width, height) = params.sample, params.data.shape

    def noise() -> Tensor:
        drawn_CFYX = torch.randn(network.channels, params.data.frames, height, width, generator=generator)
        return drawn_CFYX.transpose(0, 1).to(text_E.device)

    return Stream(
        str(row),
        noise(),
        text_E[None, None],
        network.empty,
        table.guidance,
        clamp=read_clip(table.clip),
        eta=table.eta,
        noise=noise,
    )


def write_strip(clips_BCFYX: Tensor, path: Path) -> None:
    """One PNG: a row of frames for each clip, magnified until it can be looked at."""
    from PIL import Image

    batch, _, frames, height, width = clips_BCFYX.shape
    array = (
        to_bytes(clips_BCFYX.transpose(1, 2))
        .transpose(0, 2, 1, 3, 4)
        .reshape(batch * height, frames * width, 3)
    )
    scale = max(1, 64 // height)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array).resize(
        (array.shape[1] * scale, array.shape[0] * scale), Image.Resampling.NEAREST
    )
    partial = path.with_suffix(".part")
    picture.save(partial, format="PNG")
    partial.replace(path)
