"""Train the denoiser and its text encoder jointly, over latents of drawn scenes.

What makes a small model learn outlines, measured (embedded-model.md, section 4): every noise
level with the same weight in v-prediction, a loss weighted towards the object's pixels, and a
schedule that ends in almost pure noise. Text acts through cross-attention alone, so that the
editing methods have something to hold.

Drawing and coding are a fifth of a step on a CPU. So scenes are drawn and coded in blocks, and
each block is used `reuse` times, with new noise, noise levels, posterior samples and captions.

Tensor names: B pictures, C latent channels, Y X latent rows and columns, L text tokens.
"""

from typing import Any

import torch
from torch import Tensor, nn

from vedit.data import scenes
from vedit.train import shapes
from vedit.train.loop import seeded
from vedit.train.shapes_gates import judged, samples, shares
from vedit.train.shapes_judge import Judge

DROPPED_CAPTIONS = 0.1
MASK_WEIGHT = 5.0


class Denoiser(nn.Module):
    """The two parts that train together, under the names of the packed folder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.unet = shapes.unet(channels)
        self.text_encoder = shapes.text_encoder()


class UNetTask:
    """v-prediction on stratified noise levels, loss weighted 1 + 5 x object mask."""

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
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(seed)
        self.device = torch.device(device)
        self.codec = codec.to(device).requires_grad_(False).eval()
        self.judge = judge.to(device) if judge is not None else None
        self.model = Denoiser(codec.config.latent_channels).to(device)
        use_plain_attention(self.model.unet)
        self.unet = torch.compile(self.model.unet) if compiled else self.model.unet
        self.seed, self.batch, self.blocks_of, self.reuse = seed, batch, blocks_of, reuse
        self.precision = precision
        alpha_bar = shapes.scheduler().alphas_cumprod.to(device)
        self.signal_T, self.noise_T = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        self.block_index = -1
        self.config: dict[str, Any] = {
            "unet": shapes.UNET,
            "channels": codec.config.latent_channels,
            "text": shapes.TEXT,
            "scheduler": shapes.SCHEDULER,
            "batch": batch,
            "blocks_of": blocks_of,
            "reuse": reuse,
            "mask_weight": MASK_WEIGHT,
            "dropped_captions": DROPPED_CAPTIONS,
            "digits": shapes.DIGIT_SHARE,
            "precision": precision,
        }

    def pictures(self, step: int) -> int:
        return self.batch

    def losses(self, step: int) -> dict[str, Tensor]:
        generator = seeded(self.seed, 3, step, self.device)
        latents_BCYX, mask_BYX, batch = self._batch(step, generator)
        noise_BCYX = torch.randn(latents_BCYX.shape, generator=generator, device=self.device)
        timestep_B = stratified_timesteps(self.batch, len(self.signal_T), generator)
        signal, noise = (table[timestep_B][:, None, None, None] for table in (self.signal_T, self.noise_T))
        noisy_BCYX = signal * latents_BCYX + noise * noise_BCYX
        wanted_BCYX = signal * noise_BCYX - noise * latents_BCYX
        ids_BL = self._token_ids(batch, step, generator)
        with shapes.precision(self.device, self.precision):
            text_BLE = self.model.text_encoder(ids_BL).last_hidden_state
            v_BCYX = self.unet(noisy_BCYX, timestep_B, encoder_hidden_states=text_BLE).sample
        error_BYX = (v_BCYX.float() - wanted_BCYX).square().mean(dim=1)
        weight_BYX = 1 + MASK_WEIGHT * mask_BYX
        weight_BYX = weight_BYX / weight_BYX.mean()
        return {"loss": (weight_BYX * error_BYX).mean(), "plain": error_BYX.mean()}

    def _batch(self, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor, scenes.Scenes]:
        """Return posterior samples, object masks on the latent grid, and the scenes of a step."""
        steps_per_block = self.blocks_of * self.reuse
        if step // steps_per_block != self.block_index:
            self.block_index = step // steps_per_block
            self._draw_block()
        turn, place = divmod(step % steps_per_block, self.blocks_of)
        shuffle = seeded(self.seed, 4, self.block_index * self.reuse + turn)
        order = torch.randperm(self.batch * self.blocks_of, generator=shuffle)
        rows = order[place * self.batch : (place + 1) * self.batch].to(self.device)
        spread = torch.randn(self.mean[rows].shape, generator=generator, device=self.device)
        return self.mean[rows] + self.std[rows] * spread, self.mask[rows], self.scenes[rows]

    @torch.no_grad()
    def _draw_block(self) -> None:
        generator = seeded(self.seed, 5, self.block_index, self.device)
        count = self.batch * self.blocks_of
        self.scenes = scenes.sample(count, generator, digits=shapes.DIGIT_SHARE)
        time_B = torch.rand(count, generator=generator, device=self.device)
        means, stds, masks = [], [], []
        for start in range(0, count, self.batch):
            rows = slice(start, start + self.batch)
            batch, time = self.scenes[rows], time_B[rows]
            pictures_BCYX = scenes.draw(batch, time)
            noise = torch.randn(pictures_BCYX.shape, generator=generator, device=self.device)
            pictures_BCYX = scenes.add_grain(pictures_BCYX, batch, noise)
            with shapes.precision(self.device, self.precision):
                posterior = self.codec.encode(2 * pictures_BCYX - 1).latent_dist
            means.append(posterior.mean.float())
            stds.append(posterior.std.float())
            masks.append(latent_mask(scenes.object_mask(batch, time)))
        self.mean, self.std, self.mask = torch.cat(means), torch.cat(stds), torch.cat(masks)

    def _token_ids(self, batch: scenes.Scenes, step: int, generator: torch.Generator) -> Tensor:
        captions = scenes.varied_captions(batch, seed=self.seed * 1_000_000_007 + step)
        drops = torch.rand(self.batch, generator=generator, device=self.device) < DROPPED_CAPTIONS
        said = ["" if dropped else text for dropped, text in zip(drops.tolist(), captions, strict=True)]
        return shapes.token_ids(said).to(self.device)

    def measure(self, model: Any, step: int) -> dict[str, Any]:
        if self.judge is None:
            return {}
        shown: dict[str, Any] = {}
        for digits, count in ((0.0, 144), (1.0, 48)):
            records, pictures_BCYX = samples(model.unet, model.text_encoder, self.codec, shapes.scheduler(), count, steps=25, digits=digits)
            table = shares(judged(self.judge, records, pictures_BCYX))
            shown |= {"digit": table["shape"]["share"]} if digits else {name: row["share"] for name, row in table.items()}
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
