"""Prompt-to-Prompt: edit the cross-attention maps of the target with those of the source.

    M_tgt <- alpha_i(w) c_w R(M_src, M_tgt) + (1 - alpha_i(w)) M_tgt        for each token w

Source: Hertz et al. 2022 and google/prompt-to-prompt; docs/methods.md 2. R is a word swap (M_src A), a
refinement (the aligned columns of M_src), or M_src itself; c re-weights words and rows are not
normalised again. Only the target's conditional branch is edited; its values stay its own.
Self-attention of the source is taken over whole, by its queries and keys.

Deviations: the source branch is replayed from the inversion (exact at any guidance; the paper
samples it again: source_branch = "resample"); words behind a swap of different length stay with
their own maps (the reference's positions drift: compat = true); maxima of the blend are per frame.
Shares of cross-attention count the N steps, floor(share N); the published code counts N + 1 for them
(and N for self-attention), so that its 0.4 of 24 steps are 10 and ours 9. At 50 steps and shares of
one decimal both give the same.
Shape letters: F frames, N heads, Q query tokens, T text tokens, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import AliasChoices, Field
from torch import Tensor

from vedit.engine.blend import MaskWatch, cell_mask, grow, threshold_map, widened
from vedit.engine.prompts import alignment, as_pair, column_schedule, equalizer, replacement_map
from vedit.engine.rules import Call, LatentBlend, MapColumns, Replace, Rule, step_range
from vedit.engine.sample import Stream
from vedit.engine.store import MapStore
from vedit.engine.words import WordMaps
from vedit.errors import UsageError, nearest
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import MergeParams, Numbers, Share, Span, StartParams, Words
from vedit.methods.sampled import Looks, Texts, branches_of, check_start, hold_outside, sampled
from vedit.models.family import Family, Network
from vedit.models.prompt import Prompt
from vedit.models.sites import Select

SUMMARY = "Swap, add or re-weight words of the prompt; everything else keeps its place."
NEEDS = frozenset({"inversion", "source prompt"})
Mode = Literal["auto", "swap", "refine", "reweight"]
SelfTarget = Literal["frame", "temporal", "both", "none"]


class Params(MergeParams, StartParams):
    mode: Mode = Field(
        "auto",
        validation_alias=AliasChoices("mode", "edit"),
        description="auto swaps words if the prompts have equally many, else refines",
    )
    cross_replace: Span | dict[str, Span] = Field(
        0.8,
        validation_alias=AliasChoices("cross_replace", "cross_replace_steps"),
        description=(
            "share of steps, or a pair of shares, that edit cross-attention; or a table of them by word,"
            " default_ for the others"
        ),
    )
    self_replace: Span = Field(
        0.4,
        validation_alias=AliasChoices("self_replace", "self_replace_steps"),
        description="share of steps, or a pair, that take over the source's self-attention",
    )
    self_max_tokens: int = Field(
        1024,
        ge=1,
        description=(
            "self-attention is taken over at modules of so many tokens at most, in the square on the shorter"
            " side; 1024 is half of Stable Diffusion's side"
        ),
    )
    equalizer: dict[str, Annotated[float, Field(ge=-10, le=20)]] = Field(
        {}, description="factors of words of the new prompt, such as origami = 4"
    )
    compat: bool = Field(
        False, description="let positions drift behind a word of another length, as the published code does"
    )
    source_branch: Literal["replay", "resample"] = Field(
        "replay", description="feed the source from its inversion, or sample it again"
    )
    blend_words: Words = Field(
        (), description="change the picture only where these words of either prompt look"
    )
    subtract_words: Words = Field(
        (),
        validation_alias=AliasChoices("subtract_words", "substruct_words"),
        description="and not where these words look",
    )
    blend_threshold: Share | tuple[Share, Share] = Field(
        0.3, description="share of a map's maximum that counts; the second for subtract_words"
    )
    start_blend: Share = Field(0.2, description="share of steps before the first blend")
    blend_scales: Numbers = Field(
        (4,),
        min_length=1,
        description="map sizes that the mask is made of: the latent's side divided by these",
    )
    blend_stretch: bool = Field(False, description="subtract a map's minimum too before the threshold")
    blend_fit: Literal["pixels", "cells"] = Field(
        "pixels",
        description="a mask with the extent of what the words look at, and the picture's edges; or cells of"
        " the map, as published, which they also are where frames see each other or tokens merge",
    )
    blend_salient: bool = Field(
        False, description="weigh a word's map by where the prompt's start token does not look; with pixels"
    )
    blend_grow: int = Field(
        0,
        ge=-16,
        le=16,
        description="widen the mask by so many latent cells; a negative number makes it narrower",
    )
    blend_invert: bool = Field(
        False, description="change the picture where the words do not look, for a new background"
    )

    @property
    def self_target(self) -> SelfTarget:
        """Which self-attention is taken over: that within frames, that over frames, both, or none."""
        return "frame"

    @property
    def blends(self) -> bool:
        """Whether words say where the picture may change."""
        return bool(self.blend_words or self.subtract_words)

    @property
    def thresholds(self) -> tuple[float, float]:
        """Of the words that are added and of those subtracted."""
        return (
            self.blend_threshold
            if isinstance(self.blend_threshold, tuple)
            else (self.blend_threshold, self.blend_threshold)
        )


@dataclass(frozen=True)
class ColumnEdit:
    """R, c and alpha as one function of two sets of maps.

    map_ST: of a swap. m_T, beta_T: of a refinement. Neither: R is the source's maps.
    """

    c_T: Tensor
    alpha_NT: Tensor
    map_ST: Tensor | None = None
    m_T: Tensor | None = None
    beta_T: Tensor | None = None

    def __call__(self, source_FNQT: Tensor, target_FNQT: Tensor, step: int) -> Tensor:
        replaced = source_FNQT
        if self.map_ST is not None:
            replaced = source_FNQT @ self.map_ST.to(source_FNQT)
        elif self.m_T is not None and self.beta_T is not None:
            # -1 would gather the last column: it is masked, never used
            gathered = source_FNQT[..., self.m_T.clamp(min=0).to(source_FNQT.device)]
            replaced = torch.where(self.beta_T.to(source_FNQT.device) > 0, gathered, target_FNQT)
        alpha_T = self.alpha_NT[step].to(source_FNQT.device)
        return torch.where(alpha_T > 0, replaced * self.c_T.to(source_FNQT), target_FNQT)


def choose_mode(params: Params, source: Prompt, target: Prompt) -> Mode:
    """What "auto" means for these prompts."""
    if params.mode != "auto":
        return params.mode
    return "swap" if len(source.words) == len(target.words) else "refine"


def column_edit(params: Params, source: Prompt, target: Prompt, steps: int) -> ColumnEdit:
    """The edit of cross-attention maps that two prompts and the settings ask for."""
    c_T, alpha_NT = equalizer(target, params.equalizer), column_schedule(target, steps, params.cross_replace)
    mode = choose_mode(params, source, target)
    if mode == "swap":
        return ColumnEdit(c_T, alpha_NT, map_ST=replacement_map(source, target, compat=params.compat))
    if mode == "refine":
        m_T, beta_T = alignment(source, target)
        return ColumnEdit(c_T, alpha_NT, m_T=m_T, beta_T=beta_T)
    return ColumnEdit(c_T, alpha_NT)


def prepare(
    model: Family,
    request: Request,
    params: Params,
    more: Callable[[tuple[str, ...]], tuple[Rule, ...]] = lambda branches: (),
) -> Prepared:
    """Raises UsageError for words that do not occur and prompts that do not fit.

    more: further rules, from the branches of the call.
    """
    steps = len(request.timesteps)
    check_start(params.start_index, steps)
    source, target = (model.words(text) for text in (request.source_prompt, request.target_prompt))
    check_words(params, source, target)
    is_single = params.source_branch == "replay" or params.guidance == 1
    branches = branches_of(params.guidance, *(("src",) if is_single else ("src/uncond", "src")))
    injected = (
        *more(branches),
        *injections(model, params, source, target, request.size, range(steps), steps),
    )
    needed = ("src", "tgt") if params.blends else ()
    fits = params.blend_fit == "pixels" and not (
        params.inflation != "none" or params.merge or model.frame_axis or more(branches)
    )
    scales, first = params.blend_scales, params.start_index
    looks = Looks(model, request, branches, scales, needed, groups=fits, first=first)
    texts = Texts(model, request, params)

    def streams(window: Window) -> list[Stream]:
        return [_source_stream(texts, window, params), texts.guided(window, window.at(params.start_index))]

    def rules(window: Window) -> tuple[Rule, ...]:
        if not params.blends:
            return (*injected, *hold_outside(request, window))
        return (*injected, LocalBlend(params, source, target, request, window, looks.words).rule())

    return sampled(
        model,
        request,
        streams,
        branches,
        rules,
        start=params.start_index,
        looks=looks,
        about=tuple(describe(params, source, target)),
        makes_mask=params.blends,
        merging=params,
    )


def injections(
    network: Network,
    params: Params,
    source: Prompt,
    target: Prompt,
    size: tuple[int, int],
    positions: Sequence[int],
    steps: int,
) -> Iterator[MapColumns | Replace]:
    """Cross maps edited in the branch "tgt", and self-attention taken over from "src".

    positions: where in the schedule of `steps` steps each call lies; range(steps) when sampling.
    """
    edit = column_edit(params, source, target, steps)
    edit = ColumnEdit(edit.c_T, edit.alpha_NT[list(positions)], edit.map_ST, edit.m_T, edit.beta_T)
    crossing = tuple(bool(row.any()) for row in edit.alpha_NT)
    if any(crossing):
        yield MapColumns(
            Select("cross"),
            "src",
            "tgt",
            edit,
            crossing,
            f"cross-attention ({choose_mode(params, source, target)})",
        )
    table = step_range(steps, *as_pair(params.self_replace))
    injecting = tuple(table[position] for position in positions)
    if any(injecting):
        if params.self_target in ("frame", "both"):
            yield Replace(
                self_sites(network, params.self_max_tokens, size),
                "src",
                ("tgt",),
                injecting,
                name="self-attention",
            )
        if params.self_target in ("temporal", "both"):
            yield Replace(
                Select("temporal"), "src", ("tgt",), injecting, name="attention over frames taken over"
            )


def self_sites(network: Network, max_tokens: int, size: tuple[int, int]) -> Select:
    """Self-attention modules with at most so many tokens; of a picture that is not square, in the square on
    its shorter side.

    The limit stands for a level of the network, which is the same for a wide picture and for its centre.
    """
    sites = [site for site in network.sites() if site.kind == "self"]
    tokens = {site.scale: min(site.grid(size)) ** 2 for site in sites}
    scales = tuple(sorted(scale for scale, count in tokens.items() if count <= max_tokens))
    if not scales:
        raise UsageError(
            f"self_max_tokens = {max_tokens} leaves no self-attention module: this clip has"
            f" {', '.join(map(str, sorted(tokens.values())))} tokens.",
            "Raise it, or set self_replace to 0.",
        )
    return Select("self", scales=scales, expect=sum(site.scale in scales for site in sites))


def check_words(params: Params, source: Prompt, target: Prompt) -> None:
    """Every word of the blend must occur in a prompt."""
    for word in (*params.blend_words, *params.subtract_words):
        if not source.find(word) and not target.find(word):
            known = dict.fromkeys((*source.words, *target.words))
            raise UsageError(
                f"the word {word!r} does not occur in either prompt{nearest(word, known) or '.'}",
                f"Their words are {', '.join(known)}.",
            )


def describe(params: Params, source: Prompt, target: Prompt) -> Iterator[str]:
    """How the words correspond, for people."""
    mode = choose_mode(params, source, target)
    if mode == "swap":
        pairs = [f"{old} -> {new}" for old, new in zip(source.words, target.words, strict=True) if old != new]
        yield f"swap: {', '.join(pairs)}" if pairs else "swap: the prompts are equal"
    elif mode == "refine":
        kept = set(alignment(source, target)[0].tolist())
        m_T = alignment(source, target)[0]
        added = [
            word
            for word, places in zip(target.words, target.places, strict=True)
            if any(m_T[place] < 0 for place in places)
        ]
        dropped = [
            word
            for word, places in zip(source.words, source.places, strict=True)
            if not kept.intersection(places)
        ]
        yield f"refine: new {', '.join(added) or 'none'}; dropped {', '.join(dropped) or 'none'}"
    for word, factor in params.equalizer.items():
        yield f"re-weight: {word} x {factor:g}"
    if params.compat and mode == "swap" and len(source.ids) != len(target.ids):
        yield "compat: words behind the swap take the maps of their position, not of their word"


class LocalBlend:
    """Put the source's latents back where the words do not look, after each step from `start_blend` on."""

    def __init__(
        self,
        params: Params,
        source: Prompt,
        target: Prompt,
        request: Request,
        window: Window,
        words: WordMaps,
    ) -> None:
        self.params, self.request, self.window, self.words = params, request, window, words
        self.prompts = {"src": source, "tgt": target}
        advice = "Try another blend_threshold, or other blend_words."
        self.watch = MaskWatch(len(request.timesteps), request.warn, advice, window.first_frame)

    def rule(self) -> LatentBlend:
        """The rule that blends."""
        steps = step_range(len(self.request.timesteps), self.params.start_blend)
        return LatentBlend("tgt", "src", self.mask_at, steps, "local blend")

    def mask_at(self, call: Call) -> Tensor:
        """The mask of a step."""
        assert call.store is not None
        if self.words.groups and self.window.pixels_F3YX is not None:
            call.shown["fine"] = fine = self.fine_of(call.store, self.window.pixels_F3YX)
            mask = self.held(cell_mask(fine, self.request.size))
        else:
            mask = self.held(self.mask_of(call.store))
        self.watch.see(mask)
        return mask

    def mask_of(self, store: MapStore) -> Tensor:
        """1 where the picture may change: bool (F, 1, Y, X)."""
        mask = self._union(store, self.params.blend_words, self.params.thresholds[0], pool=True)
        if self.params.subtract_words:
            mask = mask & ~self._union(
                store, self.params.subtract_words, self.params.thresholds[1], pool=False
            )
        if self.params.blend_invert:
            mask = ~mask
        return grow(mask, self.params.blend_grow)

    def held(self, mask_F1YX: Tensor) -> Tensor:
        """The mask inside that of the user."""
        own = self.window.mask_F1YX
        if own is None:
            return mask_F1YX
        inside = own.to(mask_F1YX.device) > 0.5
        return mask_F1YX & inside if mask_F1YX.dtype == torch.bool else mask_F1YX * inside

    def fine_of(self, store: MapStore, pixels_F3YX: Tensor) -> Tensor:
        """1 where the picture may change, (F, 1, Y, X) in [0, 1] at the pixels' size."""
        params, size = self.params, self.request.size
        found = self._fitted(store, params.blend_words, params.thresholds[0], pixels_F3YX)
        mask = torch.ones_like(pixels_F3YX[:, :1]) if found is None else found
        taken = self._fitted(store, params.subtract_words, params.thresholds[1], pixels_F3YX)
        if taken is not None:
            mask = mask * (1 - taken)
        if params.blend_invert:
            mask = 1 - mask
        return widened(mask, size, params.blend_grow)

    def _fitted(
        self, store: MapStore, words: tuple[str, ...], threshold: float, pixels_F3YX: Tensor
    ) -> Tensor | None:
        """Where any word looks in either branch; None where neither prompt has one.

        What the target looks at is not in the clip's pixels: its mask has the edges of its map.
        """
        mask = None
        for branch, prompt in self.prompts.items():
            tokens = tuple(token for word in words for token in prompt.find(word))
            if not tokens:
                continue
            guide: Any = pixels_F3YX if branch == "src" else tuple(pixels_F3YX.shape[-2:])
            found = self.words.fitted(
                store, branch, tokens, guide, threshold, salient=self.params.blend_salient
            )
            mask = found if mask is None else torch.maximum(mask, found)
        return mask

    def _union(self, store: MapStore, words: tuple[str, ...], threshold: float, pool: bool) -> Tensor:
        """Where any word looks in either branch; the words of one prompt are summed first, as published."""
        mask = None
        for branch, prompt in self.prompts.items():
            tokens = tuple(token for word in words for token in prompt.find(word))
            if tokens:
                found = threshold_map(
                    self.words.of(store, branch, tokens),
                    self.request.size,
                    threshold,
                    pool=pool,
                    stretch=self.params.blend_stretch,
                )
                mask = found if mask is None else mask | found
        if mask is not None:
            return mask
        like = next(iter(store.sums.values()))  # only subtract_words were given: everywhere but there
        return torch.ones(
            len(self.window.latents_FCYX), 1, *self.request.size, dtype=torch.bool, device=like.device
        )


def _source_stream(texts: Texts, window: Window, params: Params) -> Stream:
    start = window.trajectory(params.start_index)
    if params.source_branch == "replay":
        return texts.replayed(window, start)
    cond, uncond = texts.of(texts.request.source_prompt), texts.of(params.negative_prompt)
    guide: Any = window.uncond if window.uncond is not None and params.null_text != "none" else uncond
    return texts.weighed(Stream("src", start.to(texts.model.device), cond, guide, params.guidance))
