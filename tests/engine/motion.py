"""Video UNets in small: AnimateDiff and I2VGen-XL with the module names of the true ones, seeded weights.

The output convolution is scaled by 0.1, so that inversion reconstructs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.engine import tiny
from tests.engine.folder import write_folder
from vedit.models.alpha_bar import AlphaBar
from vedit.models.motion.karras import read_karras
from vedit.models.motion.network import FirstFrameNetwork, MotionNetwork, SpatioTemporalNetwork
from vedit.models.shown import Shown

MOST = 8  # frames
ADAPTER: dict[str, Any] = {
    "block_out_channels": (8, 16, 16, 16),
    "motion_layers_per_block": 2,
    "motion_num_attention_heads": 2,
    "motion_norm_num_groups": 4,
    "motion_max_seq_length": MOST,
}


def adapter(seed: int = 11) -> Any:
    from diffusers import MotionAdapter

    torch.manual_seed(seed)
    return MotionAdapter(**ADAPTER)


def sharpened(net: Any, dtype: torch.dtype) -> Any:
    """Random weights attend almost evenly; sharper maps make an edit of them visible."""
    with torch.no_grad():
        net.conv_out.weight *= 0.1
        for name, weight in net.named_parameters():
            if "attn" in name and ("to_q" in name or "to_k" in name):
                weight *= 4
    return net.to(dtype).eval().requires_grad_(False)


def animatediff(dtype: torch.dtype = torch.float64) -> Any:
    """A `UNetMotionModel` of the tiny Stable Diffusion and an adapter."""
    from diffusers import UNetMotionModel

    net = UNetMotionModel.from_unet2d(tiny.unet(torch.float32), adapter())
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "motion_modules" in name and ("to_q" in name or "to_k" in name):
                weight *= 4
    return net.to(dtype).eval().requires_grad_(False)


def i2vgen(dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    from diffusers import I2VGenXLUNet

    torch.manual_seed(seed)
    net = I2VGenXLUNet(
        sample_size=tiny.SIDE, in_channels=4, out_channels=4, block_out_channels=(8, 16, 16, 16), layers_per_block=2,
        norm_num_groups=4, cross_attention_dim=tiny.WIDTH, attention_head_dim=4,
    )  # fmt: skip
    for name, module in net.named_modules():  # its convolutions over frames begin as nothing
        if "temp_convs" in name and name.endswith("conv4.3"):
            torch.nn.init.normal_(module.weight, std=0.05)
    return sharpened(net, dtype)


@dataclass
class TinyMotion(MotionNetwork, tiny.TinyModel):
    """AnimateDiff as methods are given it, without files."""

    unet: Any = field(default_factory=animatediff)
    name: str = "tiny-motion"


@dataclass
class TinyFirstFrame(FirstFrameNetwork, tiny.TinyModel):
    """I2VGen-XL as methods are given it, without files. Pictures are latents that are twice as large."""

    unet: Any = field(default_factory=i2vgen)
    name: str = "tiny-i2v"

    def show(self, picture_3YX: Tensor, frames: int) -> tuple[Shown, Shown]:
        first = picture_3YX.new_zeros(4, *(side // 2 for side in picture_3YX.shape[-2:]))
        first[:3] = torch.nn.functional.avg_pool2d(picture_3YX, 2)
        far = torch.arange(1, frames).to(first) / max(1, frames - 1)
        behind = torch.ones_like(first)[None] * far[:, None, None, None]
        row = torch.linspace(-1, 1, tiny.WIDTH).to(first) * picture_3YX.mean()
        latents = torch.cat([first[None], behind])
        return Shown(row[None], latents), Shown(torch.zeros_like(row)[None], latents)


SVD_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "prediction_type": "v_prediction", "sigma_max": 700.0, "sigma_min": 0.002, "steps_offset": 1,
    "timestep_spacing": "leading", "timestep_type": "continuous", "use_karras_sigmas": True, "interpolation_type": "linear",
}  # fmt: skip


def svd(dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    from diffusers import UNetSpatioTemporalConditionModel

    torch.manual_seed(seed)
    net = UNetSpatioTemporalConditionModel(
        sample_size=tiny.SIDE, in_channels=8, out_channels=4, block_out_channels=(32, 32, 32, 32),
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=24, layers_per_block=2,
        cross_attention_dim=tiny.WIDTH, num_attention_heads=(2, 2, 2, 2), num_frames=MOST,
    )  # fmt: skip
    return sharpened(net, dtype)


@dataclass
class TinySpatioTemporal(SpatioTemporalNetwork, tiny.TinyModel):
    """Stable Video Diffusion as methods are given it, without files."""

    unet: Any = field(default_factory=svd)
    schedule: AlphaBar = field(default_factory=lambda: read_karras(SVD_SCHEDULER))
    name: str = "tiny-svd"

    def encode_prompt(self, prompt: str) -> Tensor:
        return torch.zeros(1, *self.text_shape, dtype=torch.float64)

    def show(self, picture_3YX: Tensor, frames: int) -> tuple[Shown, Shown]:
        first = picture_3YX.new_zeros(4, *(side // 2 for side in picture_3YX.shape[-2:]))
        first[:3] = torch.nn.functional.avg_pool2d(picture_3YX, 2)
        row = torch.linspace(-1, 1, tiny.WIDTH).to(first) * picture_3YX.mean()
        shown = Shown(row[None], first.expand(frames, -1, -1, -1))
        return shown, Shown(torch.zeros_like(row)[None], torch.zeros_like(shown.latents_FCYX))


def write_svd(path: Path) -> Path:
    """A folder in StableVideoDiffusionPipeline's layout."""
    from diffusers import AutoencoderKLTemporalDecoder
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(3)
    AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 3, block_out_channels=(32, 32, 32), layers_per_block=1
    ).save_pretrained(path / "vae")
    svd(torch.float32).save_pretrained(path / "unet")
    seeing = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, projection_dim=tiny.WIDTH, num_hidden_layers=1, num_attention_heads=2,
        image_size=224, patch_size=56,
    )  # fmt: skip
    CLIPVisionModelWithProjection(seeing).save_pretrained(path / "image_encoder")
    CLIPImageProcessor().save_pretrained(path / "feature_extractor")
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(SVD_SCHEDULER))
    index = {
        "_class_name": "StableVideoDiffusionPipeline",
        "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
        "vae": ["diffusers", "AutoencoderKLTemporalDecoder"],
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    }
    (path / "model_index.json").write_text(json.dumps(index))
    return path


def write_adapter(path: Path) -> Path:
    """A motion adapter for the model of `tests.engine.folder`."""
    adapter().save_pretrained(path)
    return path


def write_animatediff(path: Path) -> Path:
    """A folder in AnimateDiffPipeline's layout."""
    folder = write_folder(path)
    animatediff(torch.float32).save_pretrained(folder / "unet")
    adapter().save_pretrained(folder / "motion_adapter")
    return told(
        folder,
        _class_name="AnimateDiffPipeline",
        unet=["diffusers", "UNetMotionModel"],
        motion_adapter=["diffusers", "MotionAdapter"],
    )


def write_i2vgen(path: Path) -> Path:
    """A folder in I2VGenXLPipeline's layout."""
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    folder = write_folder(path)
    i2vgen(torch.float32).save_pretrained(folder / "unet")
    torch.manual_seed(4)
    seeing = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, projection_dim=tiny.WIDTH, num_hidden_layers=1, num_attention_heads=2,
        image_size=32, patch_size=8,
    )  # fmt: skip
    CLIPVisionModelWithProjection(seeing).save_pretrained(folder / "image_encoder")
    sides = {"height": 32, "width": 32}
    CLIPImageProcessor(crop_size=sides, size={"shortest_edge": 32}).save_pretrained(
        folder / "feature_extractor"
    )
    return told(
        folder,
        _class_name="I2VGenXLPipeline",
        unet=["diffusers", "I2VGenXLUNet"],
        image_encoder=["transformers", "CLIPVisionModelWithProjection"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )


def told(folder: Path, **index: Any) -> Path:
    """Write what a folder's index says besides."""
    file = folder / "model_index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **index}))
    return folder
