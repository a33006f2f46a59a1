"""The parts of the embedded models: codec, denoiser, text encoder, scheduler, scorer.

Every part is a stock class of diffusers, transformers or open_clip, so that the packed folder
opens in anybody's tool. Their tokenizer is `vedit.data.vocabulary`'s.
"""

from typing import Any

from torch import nn

from vedit.data.vocabulary import END, START, TEXT_LENGTH, vocabulary
from vedit.models.alpha_bar import AlphaBar, read_schedule

LATENT_CHANNELS = 8  # while the codec trains; those it does not use are cut out afterwards

CODEC: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [16, 32, 48],
    "layers_per_block": 1,
    "latent_channels": LATENT_CHANNELS,
    "norm_num_groups": 8,
    "sample_size": 64,
    "scaling_factor": 1.0,
    "mid_block_add_attention": False,
}
# Two attention heads; diffusers calls their number `attention_head_dim` for this class.
UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": [32, 64, 96, 96],
    "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "cross_attention_dim": 64,
    "attention_head_dim": 2,
    "norm_num_groups": 8,
}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": TEXT_LENGTH,
    "projection_dim": 64,
}
# beta_end 0.03 leaves 0.25 % of the signal at the last step. With Stable Diffusion's 0.012 a
# flat object shows through the noise, and a model that reads its place there splits objects
# when it starts from noise alone.
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.03,
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
SCORER_TEXT = {"context_length": TEXT_LENGTH, "width": 96, "heads": 4, "layers": 2}
SCORER: dict[str, Any] = {
    "embed_dim": 96,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 12},
    "text_cfg": SCORER_TEXT,
}


def codec(channels: int = LATENT_CHANNELS) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(**{**CODEC, "latent_channels": channels})


def unet(channels: int) -> Any:
    """Build a denoiser of latents with this many channels."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**UNET, in_channels=channels, out_channels=channels)


def scheduler() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(**SCHEDULER)


def schedule() -> AlphaBar:
    """The noise levels as the engine samples them."""
    return read_schedule(SCHEDULER)


def text_encoder() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    words, _ = vocabulary()
    return CLIPTextModel(
        CLIPTextConfig(
            **TEXT,
            vocab_size=len(words),
            bos_token_id=words[START],
            eos_token_id=words[END],
            pad_token_id=words[END],
            attn_implementation="eager",
        )
    )


def scorer() -> nn.Module:
    """Build the open_clip model; the end token has the highest id, as its pooling expects."""
    import open_clip

    words, _ = vocabulary()
    text = {**SCORER_TEXT, "vocab_size": len(words), "pad_id": words[END]}
    return open_clip.model.CLIP(SCORER["embed_dim"], SCORER["vision_cfg"], text)
