"""The judge of the embedded models: a small classifier that reads the fields of a drawn picture.

It shares nothing with the models it judges: no codec, no text, its own weights and its own scenes.

Tensor names: B pictures, C channels, Y X rows and columns.
"""

import itertools

import torch
from torch import Tensor, nn

from vedit.data import grammar

# What one frame shows; motion takes two.
JUDGED = ("shape", "colour", "texture", "size", "ground", "pattern")


class Judge(nn.Module):
    """Five strided convolutions and one linear read-out per field."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 3 * width, 4 * width]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 4 if before > 3 else 5, stride=2, padding=1 if before > 3 else 2),
                nn.GroupNorm(8, after),
                nn.SiLU(),
            ]
        layers += [nn.Conv2d(widths[-1], widths[-1], 3, padding=1), nn.GroupNorm(8, widths[-1]), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        features = widths[-1] * 2
        self.heads = nn.ModuleDict({name: nn.Linear(features, len(grammar.FIELDS[name])) for name in JUDGED})

    def forward(self, pictures_BCYX: Tensor) -> dict[str, Tensor]:
        """Return the logits of each field for pictures in 0..1."""
        maps = self.body(2 * pictures_BCYX - 1).flatten(2)
        features = torch.cat([maps.amax(dim=2), maps.mean(dim=2)], dim=1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def verdict(self, pictures_BCYX: Tensor) -> dict[str, Tensor]:
        """Return the index of each field's value."""
        return {name: logits.argmax(dim=1) for name, logits in self(pictures_BCYX).items()}
