"""Train an instruction editor on pairs of clips: LoRA on a frozen backbone, and new patch embeddings.

    x_s = (1 - s) z_tgt + s eps,   target eps - z_tgt,   t = 1000 s,   s = k u / (1 + (k - 1) u)

u uniform, k the shift of the backbone's levels; the loss is of the frames of the target alone. What step n
sees is a function of the seed and n, so a resumed run equals an uninterrupted one.

Source: EasyV2V (arXiv 2512.16920): what trains, half of the clips as transitions, half without a reference,
which is cropped and turned at random. Our choices, where it is silent: rate of the two groups of weights
clipped apart, since a zero in front of a norm gives large gradients; masks left out in 30 %, instructions in
10 %.

Tensor names: F pictures, f latent frames, C channels, Y X rows and columns, L text tokens, E text width.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from vedit.models.flow import Flow
from vedit.models.wan.conditions import Conditions, fit, predict
from vedit.models.wan.model import WanModel
from vedit.models.wan.weights import Recipe, add_lora, lora_of
from vedit.training import flow
from vedit.training.loop import seeded

MEASURED = 4  # pairs, at as many levels


class PairPixels(NamedTuple):
    """A pair of clips (F, 3, Y, X) in [-1, 1], alike in size and length. mask: (F, 1, Y, X) in [0, 1], 1 may
    change; reference: (3, Y, X); is_transition: it begins as the source.
    """

    source: Tensor
    target: Tensor
    mask: Tensor | None = None
    reference: Tensor | None = None
    is_transition: bool = False


class Pairs(Protocol):
    """What is trained on. fingerprint: changes with the pairs."""

    fingerprint: str

    def __len__(self) -> int: ...

    def instructions(self, index: int) -> Sequence[str]:
        """The wordings of a pair's instruction."""

    def pixels(self, index: int) -> PairPixels:
        """Read a pair."""


@dataclass(frozen=True)
class Drops:
    """How often a step is changed or goes without something, shares. ramp: frames that a transition takes at
    most. mask_weight: of tokens that the mask covers, over 1.
    """

    transition: float = 0.5
    reference: float = 0.5
    mask: float = 0.3
    text: float = 0.1
    source: float = 0.0
    ramp: int = 4
    mask_weight: float = 0.0


class Trained(nn.Module):
    """The weights that train, by the names of their files; they are the transformer's own."""

    def __init__(self, lora: Mapping[str, nn.Parameter], embeddings: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.lora = nn.ParameterDict({_spelt(name): value for name, value in lora.items()})
        self.embeddings = nn.ParameterDict({_spelt(name): value for name, value in embeddings.items()})

    def tensors(self, part: str) -> dict[str, Tensor]:
        """The weights of `lora` or `embeddings`, by their names in files."""
        return {name.replace("/", "."): value.detach() for name, value in getattr(self, part).items()}


def _spelt(name: str) -> str:
    return name.replace(".", "/")


class EasyV2VTask:
    """The velocity of the edited clip beside what it was made of."""

    def __init__(
        self, backbone: WanModel, pairs: Pairs, recipe: Recipe, drops: Drops = Drops(), *, seed: int = 0
    ) -> None:
        self.backbone, self.pairs, self.recipe, self.drops, self.seed = backbone, pairs, recipe, drops, seed
        self.texts: dict[str, Tensor] = {}
        transformer = backbone.transformer.requires_grad_(False)
        torch.manual_seed(seed)
        fit(transformer, recipe.way, recipe.positions, recipe.init)
        add_lora(transformer, recipe)
        new = {
            name: value
            for name, value in transformer.patch_embedding.named_parameters()
            if not name.startswith("base.")
        }
        lora = lora_of(transformer)
        for value in (*new.values(), *lora.values()):
            value.data = value.data.float()
            value.requires_grad_(True)
        self.model = Trained(lora, new)
        self.groups = [list(lora.values()), list(new.values())]
        self.config: dict[str, Any] = {
            **recipe.table(),
            "drops": {each.name: getattr(drops, each.name) for each in fields(drops)},
            "pairs": pairs.fingerprint,
        }

    def losses(self, step: int) -> dict[str, Tensor]:
        count = len(self.pairs)
        epoch, place = divmod(step, count)
        order = torch.randperm(count, generator=seeded(self.seed, 1, epoch))
        index, rng = int(order[place]), random.Random(f"{self.seed}/{step}")
        generator = seeded(self.seed, 3, step)
        shown = self._augmented(self.pairs.pixels(index), rng)
        said = "" if rng.random() < self.drops.text else rng.choice(list(self.pairs.instructions(index)))
        return {
            "loss": self._loss(
                shown, said, self._level(generator), generator, rng.random() >= self.drops.source
            )
        }

    def _level(self, generator: torch.Generator) -> float:
        share = float(torch.rand(1, generator=generator))
        schedule: Flow = self.backbone.schedule
        return schedule.shift * share / (1 + (schedule.shift - 1) * share)

    def _loss(
        self, shown: PairPixels, said: str, level: float, generator: torch.Generator, sees: bool = True
    ) -> Tensor:
        backbone = self.backbone
        given, target_fCYX = self.conditions(shown, sees)
        noise = torch.randn(target_fCYX.shape, generator=generator).to(target_fCYX)
        at = torch.full((1,), level, device=target_fCYX.device)
        noisy = flow.mixed(target_fCYX[None], noise[None], at)
        with torch.autocast(
            backbone.device.type, backbone.network_dtype, enabled=backbone.network_dtype != torch.float32
        ):
            output = predict(
                backbone.transformer,
                noisy.transpose(1, 2),
                backbone.schedule.train_steps * at,
                self._text(said),
                given,
            )
        error = (output.float().transpose(1, 2)[0] - flow.velocity(target_fCYX, noise)).square()
        if not self.drops.mask_weight or shown.mask is None:
            return error.mean()
        cells = nn.functional.interpolate(shown.mask, target_fCYX.shape[-2:], mode="area")
        weight = 1 + self.drops.mask_weight * backbone.packed(cells).to(error)
        return (weight / weight.mean() * error).mean()

    def conditions(self, shown: PairPixels, sees: bool = True) -> tuple[Conditions, Tensor]:
        """What the network sees of a pair, and the latents of its target."""
        source, target = (self._coded(clip) for clip in (shown.source, shown.target))
        blank = {"ones": 1.0, "zeros": 0.0}.get(self.recipe.blank_mask)
        mask = shown.mask
        if mask is None and blank is not None:
            mask = torch.full_like(shown.source[:, :1], blank)
        parts = (
            source if sees else torch.zeros_like(source),
            None if mask is None else self._coded(2 * mask.expand(-1, 3, -1, -1) - 1),
            None if shown.reference is None else self._coded(shown.reference[None])[:1],
        )
        first, second, third = (None if part is None else part.transpose(0, 1)[None] for part in parts)
        assert first is not None, "there is always a source"
        return Conditions(first, second, third), target

    def _coded(self, pixels_F3YX: Tensor) -> Tensor:
        return self.backbone.encode_frames(pixels_F3YX).clone()  # gradients need tensors of their own

    def _text(self, said: str) -> Tensor:
        if said not in self.texts:
            self.texts[said] = self.backbone.encode_prompt(said).clone().to(self.backbone.device)
        return self.texts[said]

    def _augmented(self, shown: PairPixels, rng: random.Random) -> PairPixels:
        """The pair as a transition, without its reference or mask, or with them, by chance."""
        keeps, turns = rng.random() >= self.drops.reference, rng.random()
        reference = shown.reference if shown.reference is not None and keeps else None
        if reference is not None:
            reference = moved(reference, rng)
        shown = shown._replace(reference=reference)
        if not shown.is_transition and len(shown.source) > 1 and turns < self.drops.transition:
            return transition(shown, rng.randrange(1, len(shown.source)), rng.randint(0, self.drops.ramp))
        return shown._replace(mask=None) if rng.random() < self.drops.mask else shown

    def pictures(self, step: int) -> int:
        return self.recipe.frames

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        """The loss of a few pairs with their source and without, at the same noise."""
        found = {}
        with torch.no_grad():
            for name, sees in (("with source", True), ("without", False)):
                losses = []
                for index in range(min(MEASURED, len(self.pairs))):
                    shown, said = self.pairs.pixels(index), self.pairs.instructions(index)[0]
                    generator = seeded(self.seed, 6, index)
                    losses.append(self._loss(shown, said, (index + 0.5) / MEASURED, generator, sees))
                found[name] = round(float(torch.stack(losses).mean()), 4)
        return found


def transition(shown: PairPixels, begin: int, ramp: int) -> PairPixels:
    """The source until a frame and the target from there on, mixed over `ramp` frames; the mask says when."""
    share_F = torch.tensor(
        [min(1.0, max(0.0, (frame - begin + 1) / (ramp + 1))) for frame in range(len(shown.source))]
    )
    share = share_F[:, None, None, None]
    mask = torch.ones_like(shown.source[:, :1]) if shown.mask is None else shown.mask
    return shown._replace(
        target=torch.lerp(shown.source, shown.target, share), mask=mask * (share > 0), is_transition=True
    )


def moved(picture_3YX: Tensor, rng: random.Random) -> Tensor:
    """A picture cut and turned at random: 0.8 to 1 of its sides, up to 10 degrees, its border repeated."""
    angle, size = (rng.uniform(-10, 10) * torch.pi / 180), rng.uniform(0.8, 1.0)
    free = 1 - size
    cos, sin = float(torch.cos(torch.tensor(angle))), float(torch.sin(torch.tensor(angle)))
    rows, columns = picture_3YX.shape[1:]
    aspect = columns / rows
    matrix = torch.tensor(
        [
            [size * cos, -size * sin / aspect, rng.uniform(-free, free)],
            [size * sin * aspect, size * cos, rng.uniform(-free, free)],
        ]
    )
    grid = nn.functional.affine_grid(matrix[None], [1, 3, rows, columns], align_corners=False)
    return nn.functional.grid_sample(
        picture_3YX[None], grid, padding_mode="border", align_corners=False
    )[0]  # fmt: skip
