"""A Wan transformer that also sees a source clip, a mask and a reference picture, its class untouched.

    sequence   [P_src(z_src) + P_msk(z_msk), P(z_t), P_ref(z_ref)]     more tokens, all of which see each
    other added      [P(z_t) + P_src(z_src) + P_msk(z_msk), P_ref(z_ref)]    the tokens of the clip alone

Each part is embedded by a convolution of its own; source and reference are clean, and told so by a timestep
of 0 for their tokens. What comes out for the noisy clip is the answer. Wan's forward takes whatever its patch
embedding gives and its rotary positions from the frames of its input, so both are exchanged, and nothing
else is.

Source: EasyV2V (arXiv 2512.16920; its code and weights are not released), and Kiwi-Edit (2603.02175) for
`added`. Deviations: Kiwi-Edit scales what it adds by the noise level; shared positions give source and target
the same places, so that a model trained on short clips finds them in longer ones.

Tensor names: B clips, C latent channels, F latent frames, Y X latent rows and columns, T tokens, E text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vedit.errors import ModelError

Way = Literal["sequence", "added"]
Places = Literal["sequential", "shared"]
Init = Literal["zero", "copy"]


class Conditions(NamedTuple):
    """What a network sees beside the noisy clip, as latents (B, C, F, Y, X).

    mask: a clip of white (may change) and black (stays), coded; None: none is told. reference: of one frame.
    """

    source: Tensor
    mask: Tensor | None = None
    reference: Tensor | None = None


class Embeddings(nn.Module):
    """The patch embedding of a transformer, and those of what it sees besides; alone it is the first."""

    def __init__(self, base: nn.Conv3d, way: Way, init: Init = "zero") -> None:
        super().__init__()
        self.base, self.way = base, way
        self.source = _like(base, init)
        self.mask = _like(base, "zero")
        self.reference = _like(base, init)
        self.given: Conditions | None = None

    def forward(self, x_BCFYX: Tensor) -> Tensor:
        if self.given is None:
            embedded: Tensor = self.base(x_BCFYX)
            return embedded
        source, mask, reference = self.given
        seen = self.source(source)
        if mask is not None:
            seen = seen + self.mask(mask)
        frames = source.shape[2]
        first = frames if self.way == "sequence" else 0
        target = self.base(x_BCFYX[:, :, first : first + frames])
        parts = [seen, target] if self.way == "sequence" else [target + seen]
        return torch.cat([*parts, *([] if reference is None else [self.reference(reference)])], dim=2)

    @contextmanager
    def seeing(self, given: Conditions) -> Iterator[None]:
        self.given = given
        try:
            yield
        finally:
            self.given = None

    def new(self) -> dict[str, Tensor]:
        """The weights that the transformer did not have, by name."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("base.")}


class Positions(nn.Module):
    """Rotary positions of frames that need not lie one behind the other."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.places: list[int] | None = None

    @contextmanager
    def at(self, places: list[int]) -> Iterator[None]:
        self.places = places
        try:
            yield
        finally:
            self.places = None

    def forward(self, x_BCFYX: Tensor) -> tuple[Tensor, Tensor]:
        if self.places is None:
            angles: tuple[Tensor, Tensor] = self.base(x_BCFYX)
            return angles
        frames = max(self.places) + 1
        # the base reads no more of its input than the shape, so frames that a place lies behind cost nothing
        every = self.base(x_BCFYX[:, :, :1].expand(-1, -1, frames, -1, -1))
        cos, sin = (part.unflatten(1, (frames, -1))[:, self.places].flatten(1, 2) for part in every)
        return cos, sin


def fit(
    transformer: Any, way: Way = "sequence", positions: Places = "sequential", init: Init = "zero"
) -> Any:
    """Exchange the patch embedding and the positions; a call without conditions gives what it gave before.

    Raises ModelError for a transformer whose patches are several frames long.
    """
    if int(transformer.config.patch_size[0]) != 1:
        raise ModelError(
            f"its patches are {transformer.config.patch_size[0]} frames long, and a source clip cannot be put"
            " beside the frames of the edit.",
            "Models of Wan's layout have patches of one frame.",
        )
    transformer.patch_embedding = Embeddings(transformer.patch_embedding, way, init).to(
        transformer.patch_embedding.weight
    )
    if positions == "shared":
        transformer.rope = Positions(transformer.rope)
    return transformer


def fitted_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a transformer by the names that they have once it is fitted."""
    head = "patch_embedding."
    return {
        f"{head}base.{name.removeprefix(head)}" if name.startswith(head) else name: value
        for name, value in weights.items()
    }


def unfit(transformer: Any) -> None:
    """Take the exchanged parts out again."""
    transformer.patch_embedding = transformer.patch_embedding.base
    if isinstance(transformer.rope, Positions):
        transformer.rope = transformer.rope.base


def predict(
    transformer: Any, noisy_BCFYX: Tensor, timestep_B: Tensor, text_BLE: Tensor, given: Conditions
) -> Tensor:
    """The output for a noisy clip, of its shape, under conditions. The transformer has been fitted."""
    embeddings: Embeddings = transformer.patch_embedding
    is_sequence, frames = embeddings.way == "sequence", noisy_BCFYX.shape[2]
    parts = [given.source, noisy_BCFYX] if is_sequence else [noisy_BCFYX]
    parts += [] if given.reference is None else [given.reference]
    places = [*range(frames)] * (1 + is_sequence) + ([] if given.reference is None else [frames])
    levels = timestep_B
    if len(parts) > 1:
        _, patch_rows, patch_columns = transformer.config.patch_size
        each = noisy_BCFYX.shape[3] // patch_rows * (noisy_BCFYX.shape[4] // patch_columns)
        levels = torch.cat(
            [
                (timestep_B if part is noisy_BCFYX else torch.zeros_like(timestep_B))[:, None].expand(
                    -1, part.shape[2] * each
                )
                for part in parts
            ],
            dim=1,
        )
    placed = transformer.rope.at(places) if isinstance(transformer.rope, Positions) else nullcontext()
    with embeddings.seeing(given), placed:
        output: Tensor = transformer(torch.cat(parts, dim=2), levels, text_BLE, return_dict=False)[0]
    first = frames if is_sequence else 0
    return output[:, :, first : first + frames]


def _like(base: nn.Conv3d, init: Init) -> nn.Conv3d:
    """A convolution of the same shape, of zeros or a copy."""
    size: Any = base.kernel_size
    made = nn.Conv3d(base.in_channels, base.out_channels, size, stride=size)
    with torch.no_grad():
        for name, value in made.named_parameters():
            value.copy_(base.get_parameter(name)) if init == "copy" else value.zero_()
    return made
