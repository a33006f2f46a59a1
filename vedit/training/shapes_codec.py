"""Train the codec of the embedded models: an AutoencoderKL over drawn scenes.

First 32x32 crops around the object, where the detail is, at a quarter of the cost; then whole
pictures, because group norm sees other statistics there. At the end channels that the codec
does not use are cut out and the others brought to mean 0 and deviation 1 (`frozen`), so that
the scaling factor is 1.

Tensor names: B pictures, C channels, Y X rows and columns.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from vedit.data import scenes
from vedit.models.shapes import parts
from vedit.pixels import psnr_each
from vedit.training import shapes
from vedit.training.loop import seeded

CROP = 32
KL_WEIGHT = 1e-3


class CodecTask:
    """L1 + 2 L2 + 1e-3 KL on crops, then on whole pictures from step `crop_steps`."""

    def __init__(
        self, *, seed: int, crop_steps: int, batch: int = 64, device: str = "cpu", precision: str = "fp32"
    ) -> None:
        torch.manual_seed(seed)
        self.model = parts.codec().to(device)
        self.precision = precision
        self.seed, self.batch, self.crop_steps = seed, batch, crop_steps
        self.device = torch.device(device)
        self.config: dict[str, Any] = {
            "codec": parts.CODEC,
            "batch": batch,
            "crop_steps": crop_steps,
            "kl_weight": KL_WEIGHT,
            "digits": shapes.DIGIT_SHARE,
            "precision": precision,
        }

    def pictures(self, step: int) -> int:
        return self.batch if step < self.crop_steps else self.batch // 4

    def losses(self, step: int) -> dict[str, Tensor]:
        generator = seeded(self.seed, 1, step, self.device)
        pictures_BCYX = training_pictures(self.pictures(step), generator, crop=step < self.crop_steps)
        with shapes.precision(self.device, self.precision):
            posterior = self.model.encode(2 * pictures_BCYX - 1).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator, device=self.device)
            decoded_BCYX = self.model.decode(posterior.mean + posterior.std * noise).sample.float()
        error_BCYX = 0.5 * (decoded_BCYX + 1) - pictures_BCYX
        l1, l2 = error_BCYX.abs().mean(), error_BCYX.square().mean()
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        return {"loss": l1 + 2 * l2 + KL_WEIGHT * kl, "l1": l1, "l2": l2, "kl": kl}

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        return {"psnr": round(psnr_of_codec(model, 128), 3)}


def training_pictures(count: int, generator: torch.Generator, *, crop: bool) -> Tensor:
    """Draw grainy training pictures, whole or cropped around the object: BCYX in 0..1."""
    device = generator.device
    batch = scenes.sample(count, generator, digits=shapes.DIGIT_SHARE)
    time_B = torch.rand(count, generator=generator, device=device)
    pictures_BCYX = scenes.draw(batch, time_B)
    noise = torch.randn(pictures_BCYX.shape, generator=generator, device=device)
    pictures_BCYX = scenes.add_grain(pictures_BCYX, batch, noise)
    if not crop:
        return pictures_BCYX
    spread_B2 = 24 * (torch.rand(count, 2, generator=generator, device=device) - 0.5)
    return cropped(pictures_BCYX, torch.stack([batch.floats["x"], batch.floats["y"]], dim=1) + spread_B2)


def cropped(pictures_BCYX: Tensor, centre_B2: Tensor) -> Tensor:
    """Cut a square of CROP pixels out of each picture, around a centre as far as the border lets it."""
    corner_B2 = (centre_B2 - CROP / 2).long().clamp(0, scenes.SIDE - CROP)
    window = torch.arange(CROP, device=pictures_BCYX.device)
    rows_BY, columns_BX = corner_B2[:, 1, None] + window, corner_B2[:, 0, None] + window
    index_B = torch.arange(len(pictures_BCYX), device=pictures_BCYX.device)[:, None, None]
    cropped_BYXC = pictures_BCYX.permute(0, 2, 3, 1)[index_B, rows_BY[:, :, None], columns_BX[:, None]]
    return cropped_BYXC.permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def psnr_of_codec(model: nn.Module, count: int, seed: int = 9_000_001) -> float:
    """Return the mean PSNR in dB of coding held-out scenes once, film grain included."""
    return float(codec_psnrs(model, count, seed).mean())


@torch.no_grad()
def codec_psnrs(model: nn.Module, count: int, seed: int = 9_000_001) -> Tensor:
    """Return one PSNR per held-out picture."""
    device = next(model.parameters()).device
    records = scenes.sample_records(count, seed, held_out=True)
    values = []
    for start in range(0, count, 64):
        pictures_BCYX = torch.cat([scenes.clip(record, 1) for record in records[start : start + 64]]).to(
            device
        )
        latents = model.encode(2 * pictures_BCYX - 1).latent_dist.mean
        decoded = (0.5 * (model.decode(latents).sample + 1)).clamp(0, 1)
        values.append(psnr_each(decoded, pictures_BCYX, ceiling=math.inf))
    return torch.cat(values)


@torch.no_grad()
def frozen(model: nn.Module, *, seed: int, count: int = 2048) -> Any:
    """Return the codec to build on: unused channels gone, the others at mean 0 and deviation 1.

    The KL term switches channels off that the codec does not need: their posterior is wider
    than their mean moves. A denoiser would only learn noise there, so they are cut out; what is
    decoded stays the same up to the picture's border, where a constant meets zero padding.
    """
    device = next(model.parameters()).device
    generator = seeded(seed, 2, 0, device)
    posteriors = [
        model.encode(2 * training_pictures(64, generator, crop=False) - 1).latent_dist
        for _ in range(count // 64)
    ]
    mean_NC = torch.cat([p.mean for p in posteriors]).permute(0, 2, 3, 1).flatten(0, 2)
    noise_C = torch.cat([p.var for p in posteriors]).mean(dim=(0, 2, 3))
    is_used = mean_NC.var(dim=0) > noise_C
    if not is_used.any():  # hardly trained
        is_used[:] = True
    kept = is_used.nonzero()[:, 0]
    small = without_channels(model, kept, mean_NC.mean(dim=0))
    standardise(small, mean_NC[:, kept].mean(dim=0), (mean_NC.var(dim=0) + noise_C)[kept].sqrt())
    return small


@torch.no_grad()
def without_channels(model: nn.Module, kept: Tensor, mean_C: Tensor) -> Any:
    """Return a copy with only the `kept` latent channels; the others are held at their means.

    The 1x1 convolutions on both sides of the latents are folded into their 3x3 neighbours. A
    constant that they carried goes into the first decoder bias.
    """
    channels = len(mean_C)
    small = parts.codec(len(kept)).to(mean_C)
    weights = {
        name: value
        for name, value in model.state_dict().items()
        if not name.startswith(("encoder.conv_out", "quant_conv", "post_quant_conv", "decoder.conv_in"))
    }
    small.load_state_dict(weights, strict=False)
    rows = torch.cat([kept, kept + channels])
    into = model.quant_conv.weight[rows, :, 0, 0]
    small.encoder.conv_out.weight.copy_(torch.einsum("ij,jkyx->ikyx", into, model.encoder.conv_out.weight))
    small.encoder.conv_out.bias.copy_(into @ model.encoder.conv_out.bias + model.quant_conv.bias[rows])
    _set_identity(small.quant_conv)
    out, after = model.post_quant_conv.weight[:, :, 0, 0], model.decoder.conv_in
    small.decoder.conv_in.weight.copy_(torch.einsum("okyx,kc->ocyx", after.weight, out[:, kept]))
    is_cut = torch.ones(channels, dtype=torch.bool, device=mean_C.device)
    is_cut[kept] = False
    constant = model.post_quant_conv.bias + out[:, is_cut] @ mean_C[is_cut]
    # What the kept channels can express goes through them, and is right at the border too.
    within = torch.linalg.lstsq(out[:, kept], constant[:, None]).solution[:, 0]
    rest = constant - out[:, kept] @ within
    small.decoder.conv_in.bias.copy_(after.bias + after.weight.sum(dim=(2, 3)) @ rest)
    _set_identity(small.post_quant_conv)
    small.post_quant_conv.bias.copy_(within)
    return small.eval()


def _set_identity(convolution: Any) -> None:
    convolution.weight.copy_(torch.eye(convolution.out_channels)[:, :, None, None])
    convolution.bias.zero_()


@torch.no_grad()
def standardise(model: nn.Module, mean_C: Tensor, std_C: Tensor) -> None:
    """Bring latents of this mean and deviation to 0 and 1, without changing what is decoded."""
    into, out, channels = model.quant_conv, model.post_quant_conv, len(mean_C)
    into.weight[:channels] /= std_C[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean_C) / std_C
    into.bias[channels:] -= 2 * std_C.log()  # the other half is the log variance
    out.bias += out.weight[:, :, 0, 0] @ mean_C
    out.weight *= std_C[None, :, None, None]
