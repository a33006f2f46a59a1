"""Tell the embedded video model what the judge reads in what it draws.

Squared errors of velocities say little about a shape: its outline is a few cells, decided at levels where
place, colour and ground weigh a hundred times as much. So the network draws from captions, with few steps and
no guidance, and the embedded judge names what it sees in one frame; the cross entropy to what the caption
said goes back through some of the steps (`reward`). Clips and single pictures take turns, since a picture
costs a fifth and teaches the same outlines. The loss of drawn clips goes on beside it and keeps what is drawn
among what can be drawn. Gates never ask this judge about clips: they compare with drawings.

Tensor names: B clips, F latent frames, C channels, Y X rows and columns, L text tokens, E text width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vedit.data import scenes, vocabulary
from vedit.models.shapes import video
from vedit.models.shapes.judge import JUDGED, Judge
from vedit.models.shapes.text import padded
from vedit.training import reward, shapes
from vedit.training.loop import seeded
from vedit.training.shapes_video import SAYS_MOTION, VideoTask

STEPS, TAUGHT = 8, 2  # of a drawing, and those that hear of it
PICTURES = 4  # single pictures for each clip of a batch
WEIGHT = 0.15  # at 0.2 outlines become what the judge takes for them: ragged stars, digits of one stroke
SHARES = {name: 1.0 if name == "shape" else 0.3 for name in JUDGED}  # the others must not be given up for it


class JudgedTask(VideoTask):
    """Clips as `VideoTask` has them, and drawings of the network's own that are judged."""

    def __init__(self, codec: Any, judge: Judge, picture: Any, **settings: Any) -> None:
        super().__init__(codec, judge, picture, **settings)
        assert self.judge is not None
        self.judge.requires_grad_(False).eval()
        self.config |= {"judged": WEIGHT, "drawn steps": STEPS, "taught steps": TAUGHT}

    def losses(self, step: int) -> dict[str, Tensor]:
        losses = super().losses(step)
        wrong = self._judged(step)
        told = sum(
            (SHARES[name] * value for name, value in wrong.items()), torch.zeros((), device=self.device)
        )
        return {**losses, "loss": losses["loss"] + WEIGHT * told, "told": told, "shape_told": wrong["shape"]}

    def _judged(self, step: int) -> dict[str, Tensor]:
        """Draw from captions, clips and single pictures in turn; return the cross entropy of each field."""
        assert self.judge is not None
        generator = seeded(self.seed, 11, step, self.device)
        frames, count = (self.drawn_frames, self.batch) if step % 2 else (1, PICTURES * self.batch)
        batch = scenes.sample(count, generator, digits=shapes.DIGIT_SHARE, far=frames > 1)
        ids_BL = vocabulary.token_ids(
            scenes.varied_captions(batch, step, SAYS_MOTION)
            if frames > 1
            else scenes.varied_captions(batch, step)
        ).to(self.device)
        with torch.no_grad():
            text_BLE = padded(self.text_encoder(ids_BL).last_hidden_state, ids_BL, vocabulary.end_id())
        channels = self.codec.config.latent_channels
        noise = torch.randn(
            count, channels, frames, *self.block["mean"].shape[-2:], generator=generator, device=self.device
        )
        taught = torch.randperm(STEPS, generator=generator, device=self.device)[:TAUGHT].tolist()
        shown = int(torch.randint(frames, (), generator=generator, device=self.device))

        def velocity(latents_BCFYX: Tensor, level: float) -> Tensor:
            level_B = torch.full((count,), level, device=self.device)
            return video.predict(self.model.transformer, latents_BCFYX, level_B, text_BLE).float()

        with shapes.precision(self.device, self.precision):
            latents_BCFYX = reward.drawn(velocity, noise, STEPS, taught)
            picture_BCYX = self.codec.decode(
                latents_BCFYX[:, :, shown] / self.codec.config.scaling_factor
            ).sample
        says = self.judge((0.5 * (picture_BCYX.float() + 1)).clamp(0, 1))
        return {name: functional.cross_entropy(says[name], batch.fields[name]) for name in JUDGED}
