"""The head of the LAION aesthetic predictor V2 (sac+logos+ava1, linear MSE) on CLIP ViT-L/14 embeddings.

Source: christophschuhmann/improved-aesthetic-predictor. Five linear layers without activations between
them; the dropouts of the training code are inactive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from vedit.metrics.towers.tower import Tower, empty, to_numpy
from vedit.metrics.types import Floats, unit

if TYPE_CHECKING:
    from vedit.metrics.towers.tower import State

WIDTHS = {
    0: (768, 1024),
    2: (1024, 128),
    4: (128, 64),
    6: (64, 16),
    7: (16, 1),
}  # by index in the training code


class AestheticHead(Tower):
    is_light = True
    half_is_safe = False

    def build(self, state: State) -> nn.Module:
        net = empty(
            lambda: nn.ModuleDict(
                {
                    "layers": nn.ModuleDict(
                        {str(index): nn.Linear(*widths) for index, widths in WIDTHS.items()}
                    )
                }
            )
        )
        return self.ready(
            net, state, ignore=("vision_model.*", "visual_projection.*")
        )  # one of the files holds the CLIP tower again

    def scores(self, embeddings_TE: Floats) -> Floats:
        """The head's output by frame, (T,), of projected embeddings; their norm plays no part."""
        values = torch.from_numpy(unit(embeddings_TE).astype(np.float32)).to(self.device)
        with torch.inference_mode():
            for layer in self.net["layers"].values():
                values = layer(values)
        return to_numpy(values[:, 0])
