"""The embedded video model: a Wan-layout transformer that predicts the velocity of a flow.

Source: conventions of diffusers' FlowMatchEulerDiscreteScheduler.

Tensor names: B clips, C latent channels, F latent frames, Y X latent rows and columns, L text
tokens, E text width.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vedit.data.vocabulary import TEXT_LENGTH
from vedit.models.flow import Flow
from vedit.models.shapes import parts
from vedit.models.wan.network import WanNetwork

TIMESTEPS = 1000
SCHEDULE = Flow(train_steps=TIMESTEPS, last=1 / TIMESTEPS)
TRANSFORMER: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 6,
    "attention_head_dim": 32,
    "text_dim": parts.TEXT["hidden_size"],
    "freq_dim": 128,
    "ffn_dim": 512,
    "num_layers": 4,
    "cross_attn_norm": True,
    "rope_max_seq_len": 64,
}


def transformer(channels: int) -> Any:
    """Build the velocity network of latents with this many channels."""
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(**TRANSFORMER, in_channels=channels, out_channels=channels)


def scheduler() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIMESTEPS)


def predict(transformer: Any, noisy_BCFYX: Tensor, level_B: Tensor, text_BLE: Tensor) -> Tensor:
    """Return the predicted velocity at these levels: one for each clip, or BT, one for each of its tokens."""
    v_BCFYX: Tensor = transformer(noisy_BCFYX, TIMESTEPS * level_B, text_BLE, return_dict=False)[0]
    return v_BCFYX


@dataclass
class VideoNetwork(WanNetwork):
    """The transformer as the engine's sampler calls it, clips of frames in one piece."""

    schedule: Flow = SCHEDULE
    text_tokens: int = TEXT_LENGTH
