"""Train the codec of the embedded video model, a Wan-layout one, to speak the picture model's latents.

Nine frames become five latent frames: the first picture alone, then one for every two. The codec
is taught by the picture model's: the encoder learns its latents picture by picture, the decoder
learns to draw from them. So a latent frame of the video model is a latent of the picture model,
and both denoisers can learn at once. Of every two frames the encoder takes the second (its
convolution over time starts as just that and stays so); the decoder finds the one between from
the latent frames on both sides. What moves evenly, as drawn scenes do, is lost in none.

Where a codec of diffusers has three taps over time, those here see earlier latents only at the
decoder's 16x16 level; elsewhere the taps before the last are zero, and the attention of the
middle blocks is switched off by a zero projection. So nearly all of training is two-dimensional,
several times as fast, and what is saved is read and run by stock diffusers.

Tensor names: B clips, F frames, N pictures (B x F), C channels, Y X rows and columns.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vedit.data import scenes
from vedit.models.shapes.codec import drawn
from vedit.pixels import psnr_each
from vedit.training import shapes
from vedit.training.loop import seeded
from vedit.training.shapes_codec import cropped, training_pictures

LATENT_WEIGHT = 0.25
LOGVAR_WEIGHT = 0.01
CLIP_FRAMES = 5  # in training: three latent frames
CODEC: dict[str, Any] = {
    "base_dim": 16,
    "dim_mult": [1, 2, 3],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True],
    "scale_factor_temporal": 2,
    "scale_factor_spatial": 4,
}


def video_codec(channels: int) -> Any:
    """Build the codec; it sees no time yet, and is indifferent to its attention."""
    from diffusers import AutoencoderKLWan

    codec = AutoencoderKLWan(
        **CODEC, z_dim=channels, latents_mean=[0.0] * channels, latents_std=[1.0] * channels
    )
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if parameter.ndim == 5 and "time_conv" not in name:
                parameter[:, :, :-1] = 0
            if ".attentions." in name and ".proj." in name:
                parameter.zero_()
        _take_last(codec.encoder.down_blocks[3].time_conv)
        _repeat(codec.decoder.up_blocks[0].upsamplers[0].time_conv)
    for part in (codec.encoder, codec.decoder):
        part.mid_block.attentions.requires_grad_(False)
    codec.encoder.down_blocks[3].time_conv.requires_grad_(False)
    return codec


def _take_last(convolution: Any) -> None:
    """Let a convolution over time pass on the last of its three frames."""
    convolution.weight.zero_()
    convolution.weight[:, :, -1, 0, 0] = torch.eye(convolution.out_channels)
    convolution.bias.zero_()


def _repeat(convolution: Any) -> None:
    """Let a convolution that makes two frames of one begin with the mean of this and the last frame, then
    this one.
    """
    channels = convolution.in_channels
    convolution.weight.zero_()
    convolution.weight[:channels, :, 1, 0, 0] = convolution.weight[:channels, :, 2, 0, 0] = 0.5 * torch.eye(
        channels
    )
    convolution.weight[channels:, :, 2, 0, 0] = torch.eye(channels)
    convolution.bias.zero_()


@torch.no_grad()
def inflate(codec: Any, picture: Any) -> int:
    """Start from the picture model's codec: copy each convolution of the same shape into the last tap; return
    how many.

    Norms differ (groups there, root mean square of a pixel's channels here), so it is a start, not the same
    function.
    """
    copied = 0
    for mine, theirs in _pairs(codec, picture):
        if mine.weight.shape[:2] == theirs.weight.shape[:2]:
            (mine.weight[:, :, -1] if mine.weight.ndim == 5 else mine.weight).copy_(theirs.weight)
            mine.bias.copy_(theirs.bias)
            copied += 1
    return copied


def _pairs(codec: Any, picture: Any) -> list[tuple[Any, Any]]:
    encoder, decoder, theirs = codec.encoder, codec.decoder, picture.encoder
    pairs = [
        (encoder.conv_in, theirs.conv_in),
        (encoder.conv_out, theirs.conv_out),
        (codec.quant_conv, picture.quant_conv),
    ]
    for level, block in enumerate(theirs.down_blocks):
        pairs += _of_block(encoder.down_blocks[2 * level], block.resnets[0])
        if block.downsamplers:
            pairs.append((encoder.down_blocks[2 * level + 1].resample[1], block.downsamplers[0].conv))
    for mine, block in zip(encoder.mid_block.resnets, theirs.mid_block.resnets, strict=True):
        pairs += _of_block(mine, block)
    theirs = picture.decoder
    pairs += [
        (decoder.conv_in, theirs.conv_in),
        (decoder.conv_out, theirs.conv_out),
        (codec.post_quant_conv, picture.post_quant_conv),
    ]
    for mine, block in zip(decoder.mid_block.resnets, theirs.mid_block.resnets, strict=True):
        pairs += _of_block(mine, block)
    for mine, block in zip(decoder.up_blocks, theirs.up_blocks, strict=True):
        for one, other in zip(mine.resnets, block.resnets, strict=True):
            pairs += _of_block(one, other)
    return pairs


def _of_block(mine: Any, theirs: Any) -> list[tuple[Any, Any]]:
    pairs = [(mine.conv1, theirs.conv1), (mine.conv2, theirs.conv2)]
    has_shortcuts = isinstance(mine.conv_shortcut, nn.Conv3d) and theirs.conv_shortcut is not None
    return [*pairs, (mine.conv_shortcut, theirs.conv_shortcut)] if has_shortcuts else pairs


# --- the codec without its unused taps, all frames at once --------------------------------------


def _flat(convolution: Any, x_NCYX: Tensor) -> Tensor:
    """Apply the last tap alone."""
    return functional.conv2d(
        x_NCYX, convolution.weight[:, :, -1], convolution.bias, padding=convolution.weight.shape[-1] // 2
    )


def _convolve(convolution: Any, x: Tensor) -> Tensor:
    """Apply the last tap to pictures, or every tap to clips."""
    return _flat(convolution, x) if x.ndim == 4 else convolution(x)


def _normed(norm: Any, x: Tensor) -> Tensor:
    gamma = norm.gamma.view(-1, *[1] * (x.ndim - 2))
    return functional.silu(functional.normalize(x, dim=1) * (norm.scale * gamma))


def _residual(block: Any, x: Tensor) -> Tensor:
    """Apply a residual block to pictures or clips."""
    h = _convolve(block.conv1, _normed(block.norm1, x))
    h = _convolve(block.conv2, _normed(block.norm2, h))
    return h + (x if isinstance(block.conv_shortcut, nn.Identity) else _convolve(block.conv_shortcut, x))


def encoded(codec: Any, pictures_NCYX: Tensor) -> Tensor:
    """Return mean and log variance of each picture in -1..1 as the first of a clip, or the second of a pair:
    NCYX.
    """
    encoder = codec.encoder
    x = _flat(encoder.conv_in, pictures_NCYX)
    for layer in encoder.down_blocks:
        x = layer.resample(x) if hasattr(layer, "resample") else _residual(layer, x)
    for block in encoder.mid_block.resnets:
        x = _residual(block, x)
    return _flat(codec.quant_conv, _flat(encoder.conv_out, _normed(encoder.norm_out, x)))


def decoded(codec: Any, latents_BCFYX: Tensor) -> Tensor:
    """Return the clip of these latent frames, 2 F - 1 frames, not clipped to -1..1: BCFYX."""
    decoder, frames = codec.decoder, latents_BCFYX.shape[2]
    x = latents_BCFYX if frames > 1 else latents_BCFYX[:, :, 0]
    x = _convolve(decoder.conv_in, _convolve(codec.post_quant_conv, x))
    for block in [*decoder.mid_block.resnets, *decoder.up_blocks[0].resnets]:
        x = _residual(block, x)
    if frames > 1:
        x = _doubled(decoder.up_blocks[0].upsamplers[0].time_conv, x).transpose(1, 2).flatten(0, 1)
    x = decoder.up_blocks[0].upsamplers[0].resample(x)
    for up in decoder.up_blocks[1:]:
        for block in up.resnets:
            x = _residual(block, x)
        x = up.upsamplers[0].resample(x) if up.upsamplers else x
    pictures_NCYX = _flat(decoder.conv_out, _normed(decoder.norm_out, x))
    return pictures_NCYX.unflatten(0, (len(latents_BCFYX), -1)).transpose(1, 2)


def _doubled(time_conv: Any, x_BCFYX: Tensor) -> Tensor:
    """Make two frames of every one but the first; for the first pair the frame before counts as zero, as in
    diffusers.
    """
    two_BCFYX = time_conv(x_BCFYX[:, :, 1:])
    return torch.cat([x_BCFYX[:, :, :1], two_BCFYX.unflatten(1, (2, -1)).movedim(1, 3).flatten(2, 3)], dim=2)


class VideoCodecTask:
    """L1 + 2 L2 of what is drawn, and the distance of latents.

    Crops of pictures up to step `picture_steps`; then the decoder alone, on crops of clips up to
    step `crop_steps` and on whole clips after it.
    """

    def __init__(
        self,
        picture: Any,
        *,
        seed: int,
        picture_steps: int,
        crop_steps: int,
        batch: int = 32,
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        """picture: the picture model's codec. batch: pictures; a fourth of it clips."""
        torch.manual_seed(seed)
        channels = picture.config.latent_channels
        self.model = video_codec(channels)
        inflate(self.model, picture)
        self.model.to(device)
        self.picture = picture.to(device).requires_grad_(False).eval()
        self.seed, self.batch, self.picture_steps, self.crop_steps, self.precision = (
            seed,
            batch,
            picture_steps,
            crop_steps,
            precision,
        )
        self.device = torch.device(device)
        self.config: dict[str, Any] = {
            "codec": {**CODEC, "z_dim": channels},
            "batch": batch,
            "picture_steps": picture_steps,
            "crop_steps": crop_steps,
            "latent_weight": LATENT_WEIGHT,
            "logvar_weight": LOGVAR_WEIGHT,
            "digits": shapes.DIGIT_SHARE,
            "precision": precision,
        }

    def pictures(self, step: int) -> int:
        return self.batch if step < self.picture_steps else self.batch // 4 * CLIP_FRAMES

    def losses(self, step: int) -> dict[str, Tensor]:
        generator = seeded(self.seed, 1, step, self.device)
        if step < self.picture_steps:
            clips_BCFYX = training_pictures(self.batch, generator, crop=True)[:, :, None]
        else:
            clips_BCFYX = training_clips(self.batch // 4, CLIP_FRAMES, generator, crop=step < self.crop_steps)
        keys_NCYX = 2 * clips_BCFYX[:, :, ::2].transpose(1, 2).flatten(0, 1) - 1
        with torch.no_grad(), shapes.precision(self.device, self.precision):
            taught = self.picture.encode(keys_NCYX).latent_dist
        noise = torch.randn(taught.mean.shape, generator=generator, device=self.device)
        latents_NCYX = taught.mean + taught.std * noise
        with shapes.precision(self.device, self.precision):
            drawn_BCFYX = decoded(
                self.model, latents_NCYX.unflatten(0, (len(clips_BCFYX), -1)).transpose(1, 2)
            ).float()
        error_BCFYX = 0.5 * (drawn_BCFYX + 1) - clips_BCFYX
        l1, l2 = error_BCFYX.abs().mean(), error_BCFYX.square().mean()
        losses = {"loss": l1 + 2 * l2, "l1": l1, "l2": l2}
        return self._with_latents(losses, keys_NCYX, taught) if step < self.picture_steps else losses

    def _with_latents(self, losses: dict[str, Tensor], keys_NCYX: Tensor, taught: Any) -> dict[str, Tensor]:
        with shapes.precision(self.device, self.precision):
            mean_NCYX, logvar_NCYX = encoded(self.model, keys_NCYX).float().chunk(2, dim=1)
        latent, logvar = (
            (mean_NCYX - taught.mean).square().mean(),
            (logvar_NCYX - taught.logvar).square().mean(),
        )
        return {
            **losses,
            "loss": losses["loss"] + LATENT_WEIGHT * latent + LOGVAR_WEIGHT * logvar,
            "latent": latent,
            "logvar": logvar,
        }

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        return {name: round(value, 3) for name, value in codec_psnrs(model, self.picture, 16).items()}


def training_clips(count: int, frames: int, generator: torch.Generator, *, crop: bool) -> Tensor:
    """Draw grainy clips, whole or cropped where the object is: `frames` in a row of the nine of its path,
    BCFYX in 0..1.
    """
    device = generator.device
    batch = scenes.sample(count, generator, digits=shapes.DIGIT_SHARE)
    start_B = torch.randint(0, 9 - frames + 1, (count,), generator=generator, device=device)
    time_N = ((start_B[:, None] + torch.arange(frames, device=device)) / 8).flatten()
    batch = batch[torch.arange(count, device=device).repeat_interleave(frames)]
    pictures_NCYX = scenes.draw(batch, time_N)
    noise = torch.randn(pictures_NCYX.shape, generator=generator, device=device)
    pictures_NCYX = scenes.add_grain(pictures_NCYX, batch, noise)
    if crop:
        spread_B2 = 48 * (torch.rand(count, 2, generator=generator, device=device) - 0.5)
        centre_N2 = torch.stack([batch.floats["x"], batch.floats["y"]], dim=1) + spread_B2.repeat_interleave(
            frames, dim=0
        )
        pictures_NCYX = cropped(pictures_NCYX, centre_N2)
    return pictures_NCYX.unflatten(0, (count, frames)).transpose(1, 2)


@torch.no_grad()
def codec_psnr(codec: Any, count: int, seed: int = 9_000_001) -> float:
    """Return the mean PSNR in dB of coding held-out clips of nine frames once, grain included."""
    values = []
    for record in scenes.sample_records(count, seed, held_out=True):
        clip_BCFYX = scenes.clip(record, 9)[None].transpose(1, 2).to(codec.device)
        coded = drawn(codec, codec.encode(2 * clip_BCFYX - 1).latent_dist.mean)
        values.append(psnr_each(coded.transpose(1, 2), clip_BCFYX, ceiling=math.inf)[0])
    return float(torch.stack(values).mean())


@torch.no_grad()
def codec_psnrs(codec: Any, picture: Any, count: int, seed: int = 9_000_001) -> dict[str, float]:
    """Return PSNRs in dB of held-out clips of nine frames, grain included.

    "psnr": coded and drawn by this codec; "drawn": drawn by it from the latents of the picture
    model's codec; "between": of the frames that have no latent of their own, drawn so.
    """
    device = next(codec.parameters()).device
    clips_BCFYX = (
        torch.stack([scenes.clip(record, 9) for record in scenes.sample_records(count, seed, held_out=True)])
        .transpose(1, 2)
        .to(device)
    )
    keys_NCYX = 2 * clips_BCFYX[:, :, ::2].transpose(1, 2).flatten(0, 1) - 1

    def drawn(latents_NCYX: Tensor) -> Tensor:
        return (0.5 * (decoded(codec, latents_NCYX.unflatten(0, (count, -1)).transpose(1, 2)) + 1)).clamp(
            0, 1
        )

    def psnr(got_BCFYX: Tensor, wanted_BCFYX: Tensor) -> float:
        return float(psnr_each(got_BCFYX, wanted_BCFYX, ceiling=math.inf).mean())

    own = drawn(encoded(codec, keys_NCYX).chunk(2, dim=1)[0])
    taught = drawn(picture.encode(keys_NCYX).latent_dist.mean)
    return {
        "psnr": psnr(own, clips_BCFYX),
        "drawn": psnr(taught, clips_BCFYX),
        "between": psnr(taught[:, :, 1::2], clips_BCFYX[:, :, 1::2]),
    }
