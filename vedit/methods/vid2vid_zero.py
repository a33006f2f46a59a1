"""Vid2Vid-Zero: Prompt-to-Prompt without tuning, whose frames see all others.

    K, V of all frames            in the first self-attention of every block
    K, V of the first, previous   in the others

Source: Wang et al. 2023 and baaivision/vid2vid-zero; docs/methods.md 7.3. The inversion sees single
frames, as published (`plain_inversion`); one step of Adam per noise level makes the null
embeddings, shared by all frames here, which guide both branches in the second half of the steps
(`null_from`; the published `null_uncond_ratio` = -0.5). All else is taken of `p2p`.
Shape letters: F frames, L text tokens, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field
from torch import Tensor

from vedit.engine.inflation import Inflation, inflation_rules
from vedit.engine.rules import Rule
from vedit.engine.sample import Step
from vedit.methods import p2p
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import Share, Words
from vedit.methods.sampled import Texts, sites_of_layers
from vedit.methods.video_p2p import NullParams
from vedit.models.family import Family, Network
from vedit.models.sites import Select

SUMMARY = "Prompt-to-Prompt without tuning, whose frames all see each other."
NEEDS = frozenset({"inversion", "source prompt", "pictures"})


class Params(NullParams):
    inner_steps: int = Field(
        1, ge=0, le=50, description="steps of Adam per noise level for the null embeddings; 0 optimises none"
    )
    null_text: Literal["both", "source", "none"] = Field(
        "both", description="branches that are guided away from the optimised null embeddings"
    )
    null_from: Share = Field(
        0.5, description="share of steps before the null embeddings take the place of the empty prompt"
    )
    dense_layers: Words = Field(
        ("*.attentions.0",),
        description="transformers whose self-attention sees all frames; * stands for any text",
    )
    sparse_layers: Literal["sparse-causal", "none"] = Field(
        "sparse-causal",
        description="what the others see: the first frame and the one before, or only their own",
    )
    plain_inversion: bool = Field(
        True, description="invert single frames, as published; else under the attention of the edit"
    )

    @property
    def joins_frames(self) -> bool:
        return True

    @property
    def inflation(self) -> Inflation:
        return "none" if self.plain_inversion else "dense"


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """The method bound to a model and a clip.

    Raises UsageError for words that do not occur and prompts that do not fit, ModelError for a layer
    that is not there.
    """
    steps = len(request.timesteps)
    prepared = p2p.prepare(
        model, request, params, lambda branches: space_time(model, params, branches, steps, request.frames)
    )
    if params.null is None or not params.null_from:
        return prepared
    texts = Texts(model, request, params)
    first = int(params.null_from * steps + 1e-9)

    def run(window: Window) -> Iterator[Step]:
        yield from prepared.run(
            replace(window, uncond=None if window.uncond is None else lambda index: chosen(window, index))
        )

    def chosen(window: Window, index: int) -> Tensor:
        assert window.uncond is not None
        return window.uncond(index) if index >= first else texts.of(params.negative_prompt)

    return replace(prepared, run=run)


def space_time(
    network: Network, params: Params, branches: Sequence[str], steps: int, frames: int
) -> tuple[Rule, ...]:
    """Attention to all frames in some layers, and to the first and the previous in the others."""
    if not params.plain_inversion:
        return inflation_rules(network, "dense", branches, steps, frames)
    dense = (
        {site.path for site in sites_of_layers(network, "self", params.dense_layers, "dense_layers")}
        if params.dense_layers
        else set()
    )
    others = {site.path for site in network.sites() if site.kind == "self"} - dense
    rules: tuple[Rule, ...] = ()
    if dense:
        rules += inflation_rules(
            network, "dense", branches, steps, frames, Select("self", tuple(sorted(dense)), expect=len(dense))
        )
    if others and params.sparse_layers != "none":
        rules += inflation_rules(
            network,
            params.sparse_layers,
            branches,
            steps,
            frames,
            Select("self", tuple(sorted(others)), expect=len(others)),
        )
    return rules
