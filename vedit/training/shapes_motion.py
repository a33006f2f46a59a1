"""Train the motion adapter: the denoiser of single pictures learns to draw clips of eight frames.

Between the blocks of the denoiser come motion modules, transformers along time
(diffusers' UNetMotionModel and MotionAdapter); the denoiser itself stays frozen. Motion modules
do not see the text, and the frozen text attention learnt from single pictures, which do not show
motion: a linear read-out of its features told left from right no better than chance, also after
1 100 steps of training a change of rank 8 of its keys and values. So the word that says how the
object moves goes to the time embedding as well (`timestep_cond`, a vector per word).

Source: Guo et al. 2023 (AnimateDiff), motion module. Deviation: the motion words.

Tensor names: B clips, F frames, N pictures (B x F), C channels, Y X rows and columns, L tokens,
M motion words.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from vedit.data import scenes, vocabulary
from vedit.models.shapes import parts
from vedit.models.shapes.motion import ADAPTER, WORD_SCALE, Motion, clip_denoiser
from vedit.models.shapes.networks import clip_prediction
from vedit.training.shapes_gates import read_right, sampled_clips, shares
from vedit.training.shapes_unet import (
    Denoiser,
    Drawing,
    LatentTask,
    stratified_timesteps,
    use_plain_attention,
)

FRAMES = scenes.FRAMES
SAYS_MOTION = 0.9
NOISE_POWER = 0.5  # timestep = 1000 u^0.5: where an object is, is decided at high noise


class MotionTask(LatentTask):
    """v-prediction of whole clips; one noise level per clip, noise drawn anew for each frame."""

    frames = drawn_frames = FRAMES
    model: Motion

    def __init__(
        self,
        codec: Any,
        base: Denoiser,
        *,
        base_name: str,
        **drawing: Unpack[Drawing],
    ) -> None:
        """base: the denoiser to build on; base_name: which one that is, for the record."""
        drawing.setdefault("batch", 4)
        super().__init__(codec, None, **drawing)
        torch.manual_seed(self.seed)
        base.requires_grad_(False)
        self.unet = clip_denoiser(base.unet).to(self.device).requires_grad_(False)
        self.text_encoder = base.text_encoder.to(self.device).eval()
        use_plain_attention(self.unet)
        self.model = Motion(self.unet).requires_grad_(True)
        adapter = {
            "adapter": ADAPTER,
            "word_scale": WORD_SCALE,
            "says_motion": SAYS_MOTION,
            "noise_power": NOISE_POWER,
            "frames": FRAMES,
        }
        self.config |= {**adapter, "base": base_name}

    def predict(self, noisy_NCYX: Tensor, timestep_B: Tensor, ids_BL: Tensor) -> Tensor:
        with torch.no_grad():
            text_BLE = self.text_encoder(ids_BL).last_hidden_state
        return clip_prediction(self.unet, noisy_NCYX, timestep_B, text_BLE, vocabulary.motion_words(ids_BL))

    def times(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.linspace(0, 1, FRAMES, device=self.device).expand(count, FRAMES)

    def timesteps(self, generator: torch.Generator) -> Tensor:
        total = len(self.signal_T)
        share_B = (stratified_timesteps(self.batch, total, generator) + 0.5) / total
        return (share_B**NOISE_POWER * total).long()

    def captions(self, batch: scenes.Scenes, seed: int) -> list[str]:
        return scenes.varied_captions(batch, seed, SAYS_MOTION)

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        with self._with_weights(model):
            records, clips = sampled_clips(
                self.unet, self.text_encoder, self.codec, parts.schedule(), 32, steps=25
            )
        return {name: row["share"] for name, row in shares(read_right(records, clips)).items()}

    @contextmanager
    def _with_weights(self, model: nn.Module) -> Iterator[None]:
        """Put the averaged weights into the clip denoiser for a moment."""
        mine = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(model.state_dict())
        try:
            yield
        finally:
            self.model.load_state_dict(mine)
