"""The motion adapter of the embedded model: the denoiser of single pictures becomes one of clips.

Between the blocks of the denoiser come motion modules, transformers along time (diffusers'
UNetMotionModel and MotionAdapter). The word that says how the object moves goes to the time
embedding as well (`timestep_cond`, a vector per word).

Source: Guo et al. 2023 (AnimateDiff), motion module. Deviation: the motion words.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vedit.data import grammar, scenes
from vedit.models.shapes import parts

WORD_SCALE = 0.2  # beside a sinusoid of the timestep whose 32 values lie in -1..1
WORDS_FILE = "motion_words.safetensors"
ADAPTER: dict[str, Any] = {
    "block_out_channels": parts.UNET["block_out_channels"],
    "motion_layers_per_block": parts.UNET["layers_per_block"],
    "motion_num_attention_heads": 2,
    "motion_norm_num_groups": parts.UNET["norm_num_groups"],
    "motion_max_seq_length": scenes.FRAMES,
    "use_motion_mid_block": True,
}


class Motion(nn.Module):
    """What this stage trains: motion modules and words, shared with the clip denoiser they work in."""

    def __init__(self, unet: Any) -> None:
        from diffusers import MotionAdapter

        super().__init__()
        self.adapter = MotionAdapter(**ADAPTER)
        for mine, theirs in zip(
            [*self.adapter.down_blocks, *self.adapter.up_blocks],
            [*unet.down_blocks, *unet.up_blocks],
            strict=True,
        ):
            mine.motion_modules = theirs.motion_modules
        self.adapter.mid_block.motion_modules = unet.mid_block.motion_modules
        self.words = unet.time_embedding.cond_proj

    def save(self, folder: Path) -> None:
        """Write the adapter in half precision as diffusers reads it, and the vectors of the motion words
        beside it.
        """
        self.adapter.half().save_pretrained(folder)
        save_file({"weight": self.words.weight.detach().half().contiguous()}, folder / WORDS_FILE)


def clip_denoiser(unet: Any) -> Any:
    """Build a UNetMotionModel around a denoiser of pictures; fresh motion modules change nothing yet, and
    words little.
    """
    from diffusers import MotionAdapter

    model = _with_adapter(unet, MotionAdapter(**ADAPTER))
    for name, parameter in model.named_parameters():
        if "motion_modules" in name and ".proj_out." in name:
            nn.init.zeros_(parameter)
    nn.init.normal_(model.time_embedding.cond_proj.weight, std=WORD_SCALE)
    return model


def load_clip_denoiser(unet: Any, folder: Path) -> Any:
    """Build a UNetMotionModel from a denoiser of pictures and a stored adapter, float32."""
    from diffusers import MotionAdapter

    model = _with_adapter(unet, MotionAdapter.from_pretrained(folder, torch_dtype=torch.float32))
    model.time_embedding.cond_proj.load_state_dict(load_file(folder / WORDS_FILE))
    return model.eval()


def _with_adapter(unet: Any, adapter: Any) -> Any:
    """Join both, without the warning of diffusers that no module has to stay in float32."""
    from diffusers import UNetMotionModel
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model = UNetMotionModel.from_unet2d(unet, adapter)
    finally:
        logging.set_verbosity(before)
    model.register_to_config(time_cond_proj_dim=len(grammar.MOTIONS))
    width = model.time_embedding.linear_1.in_features
    model.time_embedding.cond_proj = nn.Linear(len(grammar.MOTIONS), width, bias=False).to(unet.device)
    return model
