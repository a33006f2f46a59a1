"""MasaCtrl: the target asks, and the source's keys and values answer.

Source: Cao et al. 2023, eq. 4-8, defaults as in TencentARC/MasaCtrl; docs/methods.md 7.1. From a step and a
layer on the target's self-attention takes the source's keys and values and keeps its own queries, so that
the look stays while the layout may change. The unconditional target takes those of the unconditional
source. With `object_words`, tokens of the target where these words look attend to the source's tokens where
they look, and all others to the rest.

Deviations: the masked halves are one attention with a mask of queries and keys, which is the same where masks
are 0 or 1; the maps behind the masks are the sum over the steps so far, not those of the step alone.
Shape letters: F frames, T tokens, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from vedit.engine.rules import Bias, Call, Concat, Replace, Rule
from vedit.engine.sample import Stream
from vedit.engine.store import MapStore
from vedit.errors import UsageError, nearest
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import MergeParams, Share, StartParams, Words
from vedit.methods.sampled import Looks, Texts, check_start, hold_outside, sampled
from vedit.models.family import Family
from vedit.models.prompt import Prompt
from vedit.models.sites import Select

SUMMARY = "Let the new prompt move things while the look stays the clip's."
NEEDS = frozenset({"inversion"})


class Params(MergeParams, StartParams):
    start_step: int = Field(
        4,
        ge=0,
        description="first step that takes the source's keys and values; as many as steps leave it out",
    )
    start_layer: int = Field(
        10,
        ge=0,
        description="first self-attention module, in forward order, that takes them, of 16 in SD 1.5",
    )
    union: bool = Field(False, description="attend to the source's tokens and to its own")
    object_words: Words = Field(
        (), description="words of either prompt for the object: object asks object, and the rest the rest"
    )
    object_threshold: Share = Field(0.1, description="share of the range of a map that counts as the object")


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises UsageError for words that do not occur, ModelError for layers that the model does not have."""
    steps = len(request.timesteps)
    check_start(params.start_index, steps)
    source, target = (model.words(text) for text in (request.source_prompt, request.target_prompt))
    check_words(params.object_words, source, target)
    pairs = (("src", "tgt"),) if params.guidance == 1 else (("src/uncond", "tgt/uncond"), ("src", "tgt"))
    branches = ("src", "tgt") if params.guidance == 1 else ("src/uncond", "src", "tgt/uncond", "tgt")
    looks = Looks(model, request, branches, needed=("src", "tgt") if params.object_words else ())
    texts = Texts(model, request, params)
    acting = tuple(step >= params.start_step for step in range(steps))
    select = mutual_sites(model, params.start_layer)

    def streams(window: Window) -> list[Stream]:
        source, target = texts.pair(window, params.start_index)
        empty = [] if params.guidance == 1 else [replace(source, name="src/uncond", uncond=target.uncond)]
        return [*empty, source, target]

    def rules(window: Window) -> tuple[Rule, ...]:
        held = hold_outside(request, window)
        if not any(acting):
            return held
        mutual = tuple(mutual_rules(params, pairs, select, acting))
        if not params.object_words:
            return (*mutual, *held)
        masks = ObjectMasks(params, source, target, looks, request.size)
        return (
            *mutual,
            Bias(select, tuple(pair[1] for pair in pairs), masks.bias, acting, "masked attention"),
            *held,
        )

    return sampled(
        model,
        request,
        streams,
        branches,
        rules,
        start=params.start_index,
        looks=looks,
        merging=params,
    )


def mutual_sites(model: Family, first: int, key: str = "start_layer") -> Select:
    """Self-attention from a module on. key: the setting that says so. Raises UsageError behind the last."""
    layers = [site.layer for site in model.sites() if site.kind == "self"]
    if first >= len(layers):
        raise UsageError(
            f"{key} {first} is behind the last of {len(layers)} self-attention modules.",
            f"Give 0 to {len(layers) - 1}.",
        )
    return Select("self", first_layer=layers[first], expect=len(layers) - first)


def mutual_rules(
    params: Params, pairs: tuple[tuple[str, str], ...], select: Select, acting: tuple[bool, ...]
) -> Iterator[Rule]:
    """The source's keys and values for the targets: in the place of their own, or beside them."""
    for source, target in pairs:
        if params.union:
            yield Concat(select, source, (target,), acting, name=f"keys and values of {source}")
        else:
            yield Replace(select, source, (target,), acting, ("k", "v"), f"keys and values of {source}")


def check_words(words: tuple[str, ...], source: Prompt, target: Prompt) -> None:
    """Each word must occur in a prompt, and each prompt must have one of them."""
    for word in words:
        if not source.find(word) and not target.find(word):
            known = dict.fromkeys((*source.words, *target.words))
            raise UsageError(
                f"the word {word!r} does not occur in either prompt{nearest(word, known) or '.'}",
                f"Their words are {', '.join(known)}.",
            )
    for which, prompt in (("source", source), ("new", target)):
        if words and not any(prompt.find(word) for word in words):
            raise UsageError(
                f"object_words {', '.join(words)}: none of them occurs in the {which} prompt.",
                f"Its words are {', '.join(prompt.words)}.",
            )


class ObjectMasks:
    """Where the object is in source and target, from the maps so far, and what may attend to what."""

    def __init__(
        self, params: Params, source: Prompt, target: Prompt, looks: Looks, size: tuple[int, int]
    ) -> None:
        self.params, self.looks, self.size = params, looks, size
        self.tokens = {
            branch: tuple(token for word in params.object_words for token in prompt.find(word))
            for branch, prompt in (("src", source), ("tgt", target))
        }

    def bias(self, call: Call) -> Tensor:
        """0 where query and key are both of the object or both not, else -infinity: (F, 1, T, T or 2 T)."""
        assert call.store is not None
        if not call.store.sums:
            return torch.zeros(1, 1, 1, 1)  # nothing has looked yet
        source_FT1, target_FT1 = (self._object(call, branch) for branch in ("src", "tgt"))
        open_FTS = target_FT1 == source_FT1.transpose(1, 2)
        open_FTS = open_FTS | ~open_FTS.any(2, keepdim=True)  # a row without a key would be 0 / 0
        if self.params.union:  # its own tokens come first, and are all open
            open_FTS = torch.cat([torch.ones_like(open_FTS), open_FTS], 2)
        closed = torch.full((), float("-inf"), device=open_FTS.device)
        return torch.where(open_FTS, torch.zeros_like(closed), closed)[:, None]

    def _object(self, call: Call, branch: str) -> Tensor:
        assert call.store is not None
        mask_F1YX = object_mask(
            self.looks, call.store, branch, self.tokens[branch], self.params.object_threshold
        )
        return call.mask(mask_F1YX.float(), mask_F1YX.device).flatten(1)[:, :, None]


def object_mask(
    looks: Looks, store: MapStore, branch: str, tokens: tuple[int, ...], threshold: float
) -> Tensor:
    """Where tokens look at least `threshold` of their map's range: bool (F, 1, y, x); all of an even map."""
    map_F1yx = looks.words.of(store, branch, tokens)
    low, high = map_F1yx.amin((2, 3), keepdim=True), map_F1yx.amax((2, 3), keepdim=True)
    return map_F1yx - low >= threshold * (high - low)
