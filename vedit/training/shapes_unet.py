"""Train the denoiser and its text encoder jointly, over latents of drawn scenes.

What makes a small model learn outlines, measured (docs/models.md 4): every noise
level with the same weight in v-prediction, a loss weighted towards the object's pixels, and a
schedule that ends in almost pure noise. Text acts through cross-attention alone, so that the
editing methods have something to hold.

Drawing and coding are a fifth of a step on a CPU. So scenes are drawn and coded in blocks, and
each block is used `reuse` times, with new noise, noise levels, posterior samples and captions.

Tensor names: B scenes, F frames of each, N pictures (B x F), C latent channels, Y X latent rows
and columns, L text tokens.
"""

from typing import Any, Required, TypedDict, Unpack

import torch
from torch import Tensor, nn

from vedit.data import scenes, vocabulary
from vedit.models.shapes import parts
from vedit.models.shapes.judge import Judge
from vedit.training import shapes
from vedit.training.loop import seeded
from vedit.training.shapes_gates import judged, samples, shares

DROPPED_CAPTIONS = 0.1
MASK_WEIGHT = 5.0


class Denoiser(nn.Module):
    """The two parts that train together, under the names of the packed folder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.unet = parts.unet(channels)
        self.text_encoder = parts.text_encoder()


class Drawing(TypedDict, total=False):
    """How a `LatentTask` draws its batches and codes them."""

    seed: Required[int]
    batch: int
    blocks_of: int
    reuse: int
    device: str
    precision: str
    mask_weight: float


class LatentTask:
    """v-prediction over latents of drawn scenes, loss weighted 1 + mask_weight x object mask.

    The weight makes a network learn shapes early, and draws objects too large: it knows the true
    mask, so where an object may be, one counts more than none. The end of training goes without.

    What a denoiser of single pictures and one of clips share: drawing, coding, noise, loss. A
    clip's frames follow each other in a batch: N = B scenes x F frames.
    """

    frames = 1  # of a scene in a batch
    drawn_frames = 1  # of a scene in a block
    far = False  # whether paths take all the room of the frame
    model: nn.Module

    def __init__(
        self,
        codec: Any,
        judge: Judge | None,
        *,
        seed: int,
        batch: int = 32,
        blocks_of: int = 32,
        reuse: int = 4,
        device: str = "cpu",
        precision: str = "fp32",
        mask_weight: float = MASK_WEIGHT,
    ) -> None:
        self.device = torch.device(device)
        self.codec = codec.to(device).requires_grad_(False).eval()
        self.judge = judge.to(device) if judge is not None else None
        self.seed, self.batch, self.blocks_of, self.reuse = seed, batch, blocks_of, reuse
        self.precision, self.mask_weight = precision, mask_weight
        alpha_bar = parts.scheduler().alphas_cumprod.to(device)
        self.signal_T, self.noise_T = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        self.block_index = -1
        self.config: dict[str, Any] = {
            "unet": parts.UNET,
            "channels": codec.config.latent_channels,
            "text": parts.TEXT,
            "scheduler": parts.SCHEDULER,
            "batch": batch,
            "blocks_of": blocks_of,
            "reuse": reuse,
            "mask_weight": mask_weight,
            "dropped_captions": DROPPED_CAPTIONS,
            "digits": shapes.DIGIT_SHARE,
            "precision": precision,
        }

    def predict(self, noisy_NCYX: Tensor, timestep_B: Tensor, ids_BL: Tensor) -> Tensor:
        """Return v for noisy latents."""
        raise NotImplementedError

    def times(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the moments, 0..1 of its path, at which each scene is drawn: BF."""
        raise NotImplementedError

    def timesteps(self, generator: torch.Generator) -> Tensor:
        return stratified_timesteps(self.batch, len(self.signal_T), generator)

    def captions(self, batch: scenes.Scenes, seed: int) -> list[str]:
        return scenes.varied_captions(batch, seed)

    def pictures(self, step: int) -> int:
        return self.batch * self.frames

    def losses(self, step: int) -> dict[str, Tensor]:
        generator = seeded(self.seed, 3, step, self.device)
        latents_NCYX, mask_NYX, batch = self._batch(step, generator)
        noise_NCYX = torch.randn(latents_NCYX.shape, generator=generator, device=self.device)
        timestep_B = self.timesteps(generator)
        timestep_N = timestep_B.repeat_interleave(self.frames)
        signal, noise = (table[timestep_N][:, None, None, None] for table in (self.signal_T, self.noise_T))
        noisy_NCYX = signal * latents_NCYX + noise * noise_NCYX
        wanted_NCYX = signal * noise_NCYX - noise * latents_NCYX
        ids_BL = self._token_ids(batch, step, generator)
        with shapes.precision(self.device, self.precision):
            v_NCYX = self.predict(noisy_NCYX, timestep_B, ids_BL)
        return self.weighed(v_NCYX.float() - wanted_NCYX, mask_NYX)

    def weighed(self, error_NCYX: Tensor, mask_NYX: Tensor) -> dict[str, Tensor]:
        """Return the mean squared error, with the object's mask weighted and plain."""
        error_NYX = error_NCYX.square().mean(dim=1)
        weight_NYX = 1 + self.mask_weight * mask_NYX
        weight_NYX = weight_NYX / weight_NYX.mean()
        return {"loss": (weight_NYX * error_NYX).mean(), "plain": error_NYX.mean()}

    def _batch(self, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor, scenes.Scenes]:
        """Return posterior samples, object masks on the latent grid, and the scenes of a step."""
        rows = self._rows(step)
        mean_NCYX, std_NCYX, mask_NYX = (
            self.seen(step, self.block[name][rows]).flatten(0, 1) for name in ("mean", "std", "mask")
        )
        spread = torch.randn(mean_NCYX.shape, generator=generator, device=self.device)
        return mean_NCYX + std_NCYX * spread, mask_NYX, self.scenes[rows]

    def seen(self, step: int, drawn_BF: Tensor) -> Tensor:
        """Return those of a block's frames that a step sees; here all."""
        return drawn_BF

    def _rows(self, step: int) -> Tensor:
        """Return which scenes of the block a step sees; draw the block when the step is its first."""
        steps_per_block = self.blocks_of * self.reuse
        if step // steps_per_block != self.block_index:
            self.block_index = step // steps_per_block
            self._draw_block()
        turn, place = divmod(step % steps_per_block, self.blocks_of)
        shuffle = seeded(self.seed, 4, self.block_index * self.reuse + turn)
        order = torch.randperm(self.batch * self.blocks_of, generator=shuffle)
        return order[place * self.batch : (place + 1) * self.batch].to(self.device)

    @torch.no_grad()
    def _draw_block(self) -> None:
        generator = seeded(self.seed, 5, self.block_index, self.device)
        count = self.batch * self.blocks_of
        self.scenes = scenes.sample(count, generator, digits=shapes.DIGIT_SHARE, far=self.far)
        time_BF = self.times(count, generator)
        parts = []
        for start in range(0, count, self.batch):
            rows = torch.arange(start, start + self.batch, device=self.device)
            batch, time = self.scenes[rows.repeat_interleave(self.drawn_frames)], time_BF[rows].flatten()
            pictures_NCYX = scenes.draw(batch, time)
            noise = torch.randn(pictures_NCYX.shape, generator=generator, device=self.device)
            pictures_NCYX = scenes.add_grain(pictures_NCYX, batch, noise)
            parts.append({**self.coded(pictures_NCYX), "mask": latent_mask(scenes.object_mask(batch, time))})
        self.block = {
            name: torch.cat([part[name] for part in parts]).unflatten(0, (count, self.drawn_frames))
            for name in parts[0]
        }

    def coded(self, pictures_NCYX: Tensor) -> dict[str, Tensor]:
        """Return what a block keeps of its pictures: mean and std of their latents."""
        with shapes.precision(self.device, self.precision):
            posterior = self.codec.encode(2 * pictures_NCYX - 1).latent_dist
        return {"mean": posterior.mean.float(), "std": posterior.std.float()}

    def _token_ids(self, batch: scenes.Scenes, step: int, generator: torch.Generator) -> Tensor:
        captions = self.captions(batch, seed=self.seed * 1_000_000_007 + step)
        drops = torch.rand(self.batch, generator=generator, device=self.device) < DROPPED_CAPTIONS
        said = ["" if dropped else text for dropped, text in zip(drops.tolist(), captions, strict=True)]
        return vocabulary.token_ids(said).to(self.device)


class UNetTask(LatentTask):
    """The denoiser of single pictures and its text encoder, on stratified noise levels."""

    model: Denoiser

    def __init__(
        self,
        codec: Any,
        judge: Judge | None,
        *,
        compiled: bool = False,
        **drawing: Unpack[Drawing],
    ) -> None:
        super().__init__(codec, judge, **drawing)
        torch.manual_seed(self.seed)
        self.model = Denoiser(codec.config.latent_channels).to(self.device)
        use_plain_attention(self.model.unet)
        self.unet = torch.compile(self.model.unet) if compiled else self.model.unet

    def predict(self, noisy_NCYX: Tensor, timestep_B: Tensor, ids_BL: Tensor) -> Tensor:
        text_BLE = self.model.text_encoder(ids_BL).last_hidden_state
        v_NCYX: Tensor = self.unet(noisy_NCYX, timestep_B, encoder_hidden_states=text_BLE).sample
        return v_NCYX

    def times(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(count, 1, generator=generator, device=self.device)

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        if self.judge is None:
            return {}
        shown: dict[str, Any] = {}
        for digits, count in ((0.0, 144), (1.0, 48)):
            records, pictures_BCYX = samples(
                model.unet, model.text_encoder, self.codec, parts.schedule(), count, steps=25, digits=digits
            )
            table = shares(judged(self.judge, records, pictures_BCYX))
            shown |= (
                {"digit": table["shape"]["share"]}
                if digits
                else {name: row["share"] for name, row in table.items()}
            )
        return shown


def latent_mask(cover_BYX: Tensor) -> Tensor:
    """Bring an object mask to the latent grid, grown by one cell: BYX in 0..1."""
    pooled = nn.functional.max_pool2d(cover_BYX[:, None], 4)
    return nn.functional.max_pool2d(pooled, 3, 1, 1)[:, 0]


def stratified_timesteps(count: int, total: int, generator: torch.Generator) -> Tensor:
    """Draw one timestep from each of `count` equal slices of 0..total, in random order."""
    device = generator.device
    offsets = torch.rand(count, generator=generator, device=device)
    slices = torch.randperm(count, generator=generator, device=device)
    return ((slices + offsets) * (total / count)).long().clamp_(max=total - 1)


def use_plain_attention(unet: Any) -> None:
    """Train with batched matrix products: torch's fused attention is 3 times slower backwards on a CPU."""
    from diffusers.models.attention_processor import AttnProcessor

    unet.set_attn_processor(AttnProcessor())
