"""Tell the embedded instruction editor how far what it draws is from the edit that was asked for.

A single velocity is right on average over what noise hides, and a drawing made of such answers wavers. So the
editor draws its own answer, with few steps and no guidance, and hears of the squared error to the true edit's
latents, and of what the embedded judge reads in one frame; both go back through some of the steps (`reward`).
The loss of `shapes_instruct` goes on beside it. What is measured asks no judge.

Tensor names: B pairs, F latent frames of each, C latent channels, Y X rows and columns.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vedit.models.shapes import video
from vedit.models.shapes.judge import JUDGED, Judge
from vedit.models.wan.conditions import predict
from vedit.training import reward, shapes
from vedit.training.loop import seeded
from vedit.training.shapes_instruct import Block, InstructTask

STEPS, TAUGHT = 6, 2  # of a drawing, and those that hear of it
TRUTH_WEIGHT, JUDGE_WEIGHT = 1.0, 0.05


class JudgedInstructTask(InstructTask):
    """Pairs as `InstructTask` has them, and drawings of the editor's own that are compared and judged."""

    def __init__(self, codec: Any, text_encoder: Any, judge: Judge, **settings: Any) -> None:
        super().__init__(codec, text_encoder, **settings)
        self.judge = judge.to(self.device).requires_grad_(False).eval()
        self.config |= {
            "judged": JUDGE_WEIGHT,
            "compared": TRUTH_WEIGHT,
            "drawn steps": STEPS,
            "taught steps": TAUGHT,
        }

    def losses(self, step: int) -> dict[str, Tensor]:
        losses = super().losses(step)
        block, rows = self._rows(step)
        latents_BFCYX = self._drawn_by_itself(step, block, rows)
        far = (latents_BFCYX - block.latents["target"][rows]).square().mean()
        wrong = self._misread(step, block, rows, latents_BFCYX)
        loss = losses["loss"] + TRUTH_WEIGHT * far + JUDGE_WEIGHT * wrong
        return {**losses, "loss": loss, "far": far, "misread": wrong}

    def _drawn_by_itself(self, step: int, block: Block, rows: Tensor) -> Tensor:
        """Draw the edits of a step from noise, with the gradient through some steps."""
        generator = seeded(self.seed, 11, step, self.device)
        target_BFCYX = block.latents["target"][rows]
        noise = torch.randn(target_BFCYX.shape, generator=generator, device=self.device)
        taught = torch.randperm(STEPS, generator=generator, device=self.device)[:TAUGHT].tolist()
        given = self._given(block, rows, torch.ones(len(rows), dtype=torch.bool, device=self.device))
        with torch.no_grad(), shapes.precision(self.device, self.precision):
            text_BLE = self._text(block, rows.tolist(), step, [False] * len(rows))

        def velocity(latents_BFCYX: Tensor, level: float) -> Tensor:
            level_B = torch.full((len(rows),), video.TIMESTEPS * level, device=self.device)
            v_BCFYX = predict(self.model.transformer, latents_BFCYX.transpose(1, 2), level_B, text_BLE, given)
            return v_BCFYX.float().transpose(1, 2)

        with shapes.precision(self.device, self.precision):
            return reward.drawn(velocity, noise, STEPS, taught)

    def _misread(self, step: int, block: Block, rows: Tensor, latents_BFCYX: Tensor) -> Tensor:
        """The judge's cross entropy over the fields of one frame, of pairs whose edit is all of it."""
        frames = latents_BFCYX.shape[1]
        shown = int(torch.randint(frames, (), generator=seeded(self.seed, 12, step)))
        whole_B = block.whole_BF[rows, shown]
        if not whole_B.any():
            return latents_BFCYX.new_zeros(())
        with shapes.precision(self.device, self.precision):
            picture_BCYX = self.codec.decode(
                latents_BFCYX[whole_B, shown] / self.codec.config.scaling_factor
            ).sample
        says = self.judge((0.5 * (picture_BCYX.float() + 1)).clamp(0, 1))
        wanted = block.drawn.after[rows[whole_B]].fields
        return torch.stack([functional.cross_entropy(says[name], wanted[name]) for name in JUDGED]).mean()
