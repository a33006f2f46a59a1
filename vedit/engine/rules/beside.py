"""Let queries see further tokens than those of the text: of a picture, or of another text in a region."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from vedit.engine.rules.rule import Call, Rule, Steps, parts
from vedit.models.sites import Select
from vedit.models.tensors import Part, Stage, Tensors

KeysOf = Callable[[str, Tensor], tuple[Tensor, Tensor]]
BEHIND = 900  # behind all that a method does with the output


@dataclass(frozen=True)
class SeeBeside(Rule):
    """Attend to tokens of one's own with the queries that are there:

        out <- out + w m Attn(q, K', V')              w: weight, m: mask (1 without one)
        out <- out + w m (Attn(q, K', V') - out)      instead

    tokens: by branch, (1, T, E). keys_of: from the path of a site and tokens to keys and values
    (1, T, N D). mask: (F or 1, 1, Y, X) of any size, where they are seen.
    Source: Ye et al. 2023 (IP-Adapter), eq. 5; with masks diffusers' IPAdapterAttnProcessor2_0.
    """

    stage: Stage = field(default="output", init=False)
    select: Select
    tokens: Mapping[str, Tensor] = field(compare=False)
    keys_of: KeysOf = field(compare=False)
    steps: Steps
    weight: float = 1.0
    mask: Tensor | None = field(default=None, compare=False)
    instead: bool = False
    name: str = "tokens beside"
    order: int | None = BEHIND

    @property
    def reads(self) -> frozenset[Part]:
        return parts(("q", "out"), self.tokens)

    @property
    def writes(self) -> frozenset[Part]:
        return parts(("out",), self.tokens)

    def acts(self, step: int) -> bool:
        """Always, where a method counts more steps than were foreseen too."""
        return self.steps[step] if step < len(self.steps) else True

    def apply(self, tensors: Tensors, call: Call) -> None:
        assert call.site is not None, "it has sites"
        share = None if self.mask is None else call.tokens(self.mask, tensors.rows("q")[0].device)
        for branch, tokens in self.tokens.items():
            query_FNQD, own = tensors["q", branch], tensors["out", branch]
            key, value = (
                part.unflatten(-1, (query_FNQD.shape[1], -1))
                .transpose(1, 2)
                .expand(len(query_FNQD), -1, -1, -1)
                for part in self.keys_of(call.site.path, tokens.to(query_FNQD))
            )
            seen = F.scaled_dot_product_attention(query_FNQD, key, value)
            added = self.weight * (seen - own if self.instead else seen)
            if share is not None:
                added = added * share.to(added)
            tensors["out", branch] = own + added
