"""Video-P2P: Prompt-to-Prompt on a network that is inflated to clips and tuned on this one.

    frame attention       Q = W_Q v_f, K = W_K v_0, V = W_V v_0
    decoupled guidance    source: e(null_i) + s (e(c) - e(null_i));   target: e(empty) + s (e(c*) - e(empty))

Source: Liu et al. 2023 and dvlab-research/Video-P2P; docs/methods.md 3. Attention within frames becomes
attention to the clip's first frame, a layer over frames stands behind every transformer block, and
W_Q and these layers are tuned on the clip. The inversion runs on that network; null embeddings
shared by all frames hold the source on it, and the target keeps the empty prompt, which edits better.
Maps are edited per frame as in `p2p`, of which all else is taken. `inner_steps` = 0 or `source_branch`
= "replay" optimise nothing: the source is read from the inversion, which is exact (the fast mode).

The published controller sees no frame attention: what its `self_replace` takes over are the maps over
frames, and so it is here (`self_over`). Deviation: norms are per frame (docs/methods.md 3.1).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import AliasChoices, BaseModel, Field, model_validator

from vedit.engine.inflation import Inflation, inflated, inflation_rules
from vedit.engine.null_text import NullText
from vedit.engine.tune import Tuning
from vedit.methods import p2p
from vedit.methods.base import Prepared, Request
from vedit.methods.params import Share, Span
from vedit.models.family import Family

SUMMARY = "Prompt-to-Prompt on a network tuned on the clip, whose frames see each other."
NEEDS = frozenset({"inversion", "source prompt", "pictures"})


class TuneFields(BaseModel):
    """Settings of tuning, for methods that tune an inflated network on the clip."""

    tune_steps: int = Field(
        500, ge=0, le=20000, description="steps of tuning on the clip; more keep it better and edit it less"
    )
    tune_lr: float = Field(
        3e-5,
        gt=0,
        le=0.1,
        validation_alias=AliasChoices("tune_lr", "learning_rate"),
        description="rate of tuning",
    )
    tune_seed: int = Field(33, description="seed of tuning's noise and noise levels")

    @property
    def tuning(self) -> Tuning:
        return Tuning(self.tune_steps, self.tune_lr, seed=self.tune_seed)


class NullParams(p2p.Params):
    """Settings of a method that optimises null embeddings, which hold a source that is sampled again."""

    inner_steps: int = Field(
        10,
        ge=0,
        le=50,
        description="steps of Adam per noise level for null embeddings that hold the source; 0"
        " optimises none",
    )
    early_stop: float = Field(
        1e-5, ge=0, description="mean squared error at which the null embedding of the first level is done"
    )
    source_branch: Literal["replay", "resample"] = Field(
        "resample",
        description="sample the source again, held by its null embeddings, or feed it from its"
        " inversion, which needs none",
    )
    null_text: Literal["both", "source", "none"] = Field(
        "source",
        description="branches that are guided away from the optimised null embeddings; source is"
        " decoupled guidance",
    )

    @model_validator(mode="after")
    def _null_embeddings_fit(self) -> Self:
        if self.null is not None and self.inversion_steps not in (None, self.steps):
            raise ValueError(
                f"inversion_steps = {self.inversion_steps} and steps = {self.steps}: null embeddings"
                f" are optimised for the steps of the inversion; "
                "leave inversion_steps out, or set inner_steps to 0"
            )
        return self

    @property
    def null(self) -> NullText | None:
        is_read = self.null_text == "both" or (
            self.null_text == "source" and self.source_branch == "resample"
        )
        if not self.inner_steps or self.guidance == 1 or not is_read:
            return None
        return NullText(self.guidance, self.inner_steps, early_stop=self.early_stop)


class Params(TuneFields, NullParams):
    cross_replace: Span | dict[str, Span] = Field(
        0.2,
        validation_alias=AliasChoices("cross_replace", "cross_replace_steps"),
        description="share of steps, or a pair of shares, that edit cross-attention; or a table of them"
        " by word, default_ for the others",
    )
    self_replace: Span = Field(
        0.5,
        validation_alias=AliasChoices("self_replace", "self_replace_steps"),
        description="share of steps, or a pair, that take over the source's self-attention",
    )
    self_over: Literal["frame", "temporal", "both"] = Field(
        "temporal", description="which self-attention is taken over: frame, temporal (over frames) or both"
    )
    start_blend: Share = Field(0.2, description="share of steps before the first blend")

    @property
    def inflation(self) -> Inflation:
        return "first-frame"

    @property
    def self_target(self) -> p2p.SelfTarget:
        return self.self_over


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """The method bound to a model and a clip.

    Raises UsageError for words that do not occur and prompts that do not fit, ModelError for a family
    that cannot be inflated.
    """
    model = inflated(model)
    steps, frames = len(request.timesteps), request.frames
    return p2p.prepare(
        model,
        request,
        params,
        lambda branches: inflation_rules(model, params.inflation, branches, steps, frames),
    )
