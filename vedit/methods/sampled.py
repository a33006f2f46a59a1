"""What methods that sample are made of: texts, streams, probes, and the run under rules.

Shape letters: F frames, L text tokens, E embedding width, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from torch import Tensor

from vedit.engine.controller import Controller
from vedit.engine.noise import noise_like
from vedit.engine.rules import LatentBlend, Merging, Plan, Rule
from vedit.engine.sample import Step, Stream, branch_names, sample
from vedit.engine.solvers import solver_of
from vedit.engine.store import MapStore
from vedit.engine.words import WordMaps, published_scale
from vedit.errors import ModelError, UsageError, option
from vedit.methods.base import IMAGE, Prepared, Request, Window
from vedit.methods.params import InversionParams, MergeParams, MethodParams, SamplingParams, SolverParams
from vedit.models.family import Family, Network
from vedit.models.flow import Flow
from vedit.models.sites import Select, Site, select_sites


def sites_of_layers(network: Network, kind: str, paths: Sequence[str], what: str) -> list[Site]:
    """The sites of a layer list, each entry of which must name one at least; raises ModelError for one that
    does not.
    """
    sites = network.sites()
    for path in paths:
        select_sites(sites, Select(kind, (path,)), what)
    return [site for site in sites if Select(kind, tuple(paths)).matches(site)]


def check_flow(model: Family, method: str) -> None:
    """Refuse a model whose network does not predict the velocity of a flow. Raises ModelError."""
    if not isinstance(model.schedule, Flow):
        raise ModelError(
            f"{method} follows the flow of a model trained by flow matching, and {model.name} is not one.",
            "Models in the layouts of Wan and LTX-Video are, and the embedded video model.",
            f"Try {option('model', 'shapes-video')}, or {option('method', 'p2p')}",
        )


def check_second(model: Family, params: MethodParams) -> None:
    """Refuse a weight of guidance for a second network where there is none. Raises UsageError."""
    second = getattr(params, "guidance_2", None)
    if second is not None and not model.has_second:
        raise UsageError(
            f"guidance_2 = {second:g} is for a second transformer, and {model.name} has one network.",
            "Wan 2.2 A14B has two: one for noisy levels, one for the rest.",
            f"Leave it out, or try {option('guidance', second)}",
        )


def check_start(start_index: int, steps: int) -> None:
    """Refuse to start behind the last step."""
    if start_index >= steps:
        raise UsageError(
            f"start_index {start_index} is behind the last of {steps} steps.",
            f"Give 0 to {steps - 1}.",
            f"Try {option('set.start_index', 0)}, or more steps",
        )


class Texts:
    """The embeddings of a request's prompts, each made once, and the streams that carry them."""

    def __init__(self, model: Family, request: Request, params: MethodParams) -> None:
        self.model, self.request, self.params = model, request, params
        if isinstance(params, SolverParams) and params.solver != "euler":
            check_flow(model, f"solver = {params.solver}")
        self._made: dict[str, Tensor] = {}

    def of(self, prompt: str) -> Tensor:
        """The embedding of a prompt, (1, L, E)."""
        if prompt not in self._made:
            self._made[prompt] = self.model.encode_prompt(prompt).to(self.model.device)
        return self._made[prompt]

    def guided(self, window: Window, latents: Tensor) -> Stream:
        """The stream "tgt": the target prompt, guided away from the negative prompt or the inversion's null
        embeddings.
        """
        cond, uncond = self.of(self.request.target_prompt), self.of(self.params.negative_prompt)
        is_nulled = isinstance(self.params, InversionParams) and self.params.null_text == "both"
        guide: Any = window.uncond if window.uncond is not None and is_nulled else uncond
        made = Stream("tgt", latents.to(self.model.device), cond, guide, self.params.guidance)
        made.solver = solver_of(self.params.solver) if isinstance(self.params, SolverParams) else None
        return self.weighed(made)

    def weighed(self, stream: Stream) -> Stream:
        """The same stream, guided by another weight where a second network is asked."""
        if isinstance(self.params, SamplingParams) and self.params.guidance_2 is not None:
            stream.weights = self.weight_at
        return stream

    def weight_at(self, timestep: float) -> float:
        """The weight of guidance at a timestep."""
        second = getattr(self.params, "guidance_2", None)
        return second if second is not None and self.model.second_at(timestep) else self.params.guidance

    def replayed(self, window: Window, latents: Tensor) -> Stream:
        """The stream "src": the stored latents of each step with the prompt they were inverted with."""
        device = self.model.device
        return Stream(
            "src",
            latents.to(device),
            self.of(self.request.source_prompt),
            replay=lambda index: window.trajectory(index).to(device),
        )

    def pair(self, window: Window, start: int) -> list[Stream]:
        """Source and target, from a step of the inversion on."""
        source = self.replayed(window, window.trajectory(start))
        return [source, self.guided(window, window.at(start))]

    def noised(self, window: Window, shared: bool) -> Callable[[int], Tensor]:
        """The clip at the level before a step, by its index, with one noise; one past the last is the clip.

        shared: the noise is the same for all frames.
        """
        schedule, timesteps = self.model.schedule, self.request.timesteps
        clean = window.latents_FCYX.to(self.model.device)

        @cache
        def noise() -> Tensor:
            return noise_like(clean, self.request.seed, 0, shared=shared, first_frame=window.first_frame)

        def source(index: int) -> Tensor:
            if index == len(timesteps):
                return clean
            return schedule.mix(clean, noise(), schedule.level(timesteps[index]))

        return source


def branches_of(guidance: float, *sources: str) -> tuple[str, ...]:
    """The branches of sources and a guided target, in batch order."""
    return (*sources, *(("tgt/uncond", "tgt") if guidance != 1 else ("tgt",)))


class Looks:
    """Where the words of source and target look: probes that sum maps, and what they show at the end.

    scales: of the method's, or the published 16x16 maps. branches: those whose maps a method needs
    anyway; all conditional ones where the user wants to see them. groups: masks are to fit what words look
    at. first: the step that a run begins with.
    """

    def __init__(
        self,
        model: Family,
        request: Request,
        branches: Sequence[str],
        scales: Sequence[int] | None = None,
        needed: Sequence[str] = (),
        *,
        groups: bool = False,
        first: int = 0,
    ) -> None:
        self.model, self.request = model, request
        named = [branch for branch in ("src", "tgt") if branch in branches]
        self.named = named if request.wants_attention else [branch for branch in named if branch in needed]
        sizes = (scales or (published_scale(model, request.size),)) if self.named else ()
        is_grouped = groups and bool(self.named)
        self.words = WordMaps(model, self.named, sizes, request.size, groups=is_grouped, first=first)

    def probes(self) -> tuple[Rule, ...]:
        """What sums the maps while the network runs."""
        return self.words.probes()

    def shown(self, store: MapStore, steps: int) -> dict[str, Tensor]:
        """Where each word looked, by "BRANCH/WORD", the mean over steps (F, 1, y, x); nothing unless the user
        wants it.
        """
        if not self.request.wants_attention:
            return {}
        found = {}
        for branch in self.named:
            text = self.request.source_prompt if branch == "src" else self.request.target_prompt
            prompt = self.model.words(text)
            for word in dict.fromkeys(prompt.words):
                found[f"{branch}/{word}"] = self.words.of(store, branch, prompt.tokens_of(word)) / steps
        return found


def bound(model: Family, request: Request, plan: Plan, branches: Sequence[str], frames: int) -> Controller:
    """A plan bound to the model and the clip's size; raises for sites that are missing and maps that do not
    fit.
    """
    plan = with_image(request, plan, branches)
    return Controller(model, plan, branches, frames, request.size, model.text_tokens)


def with_image(request: Request, plan: Plan, branches: Sequence[str]) -> Plan:
    """The plan with the picture that is asked for, unless it is in there already, or nobody would see it."""
    if request.image is None or "tgt" not in branches:
        return plan
    if any(rule.name == IMAGE for rule in plan.rules):
        return plan
    steps = max([len(request.timesteps), 1, *(len(rule.steps) for rule in plan.rules)])
    return replace(plan, rules=(*plan.rules, request.image.rule(branches, (True,) * steps)))


def no_rules(window: Window) -> tuple[Rule, ...]:
    """A method that leaves the network's pass alone."""
    return ()


def sampled(
    model: Family,
    request: Request,
    streams: Callable[[Window], list[Stream]],
    branches: tuple[str, ...],
    rules: Callable[[Window], tuple[Rule, ...]] = no_rules,
    *,
    start: int = 0,
    looks: Looks | None = None,
    merging: MergeParams | None = None,
    **facts: Any,
) -> Prepared:
    """A method that samples streams from a step on, under rules.

    streams, rules: of a window; `branches` are those of the streams. looks: what is probed, when the
    method needs more than what the user wants to see. merging: settings that may merge tokens. facts: further
    fields of `Prepared`.
    """
    watched = looks or Looks(model, request, branches)
    taken = len(request.timesteps) - start

    def plan(window: Window) -> Plan:
        given = rules(window)
        merged = () if merging is None else merging_rules(model, request, merging, branches, given, window)
        return Plan((*merged, *given), watched.probes())

    def run(window: Window) -> Iterator[Step]:
        moving = streams(window)
        assert tuple(branch_names(moving)) == branches, "the branches announced are those that run"
        controller = bound(model, request, plan(window), branches, len(window.latents_FCYX))
        with controller.installed():
            for step in sample(
                model,
                request.timesteps,
                moving,
                controller,
                frames_per_call=request.frames_per_call,
                start=start,
                first_frame=window.first_frame,
            ):
                is_last = step.index + 1 == len(request.timesteps)
                yield replace(step, attention=watched.shown(controller.store, taken)) if is_last else step

    prepared = Prepared(run, branches, plan(request.blank()), taken, start, taken, **facts)
    bound(model, request, prepared.plan, branches, request.frames)
    return prepared


def merging_rules(
    model: Family,
    request: Request,
    params: MergeParams,
    branches: tuple[str, ...],
    rules: Sequence[Rule],
    window: Window,
) -> tuple[Rule, ...]:
    """The rules that merge tokens, where the settings ask for it.

    Raises UsageError beside a rule that tells the tokens of self-attention apart, ModelError where no module
    is fine enough.
    """
    if not params.merge:
        return ()
    fine = {site.scale for site in model.sites() if site.kind == "self" and site.scale <= params.merge_scale}
    for rule in rules:
        is_at_self = rule.select is not None and rule.select.kind == "self"
        if is_at_self and rule.tells_tokens_apart:
            raise UsageError(
                f"merge = {params.merge:g} joins the tokens of frames, and {rule.name} tells them apart.",
                "They do not go together.",
                f"Try {option('set.merge', 0)}",
            )
    merging = Merging(
        params.merge,
        params.merge_across,
        params.merge_frames,
        seed=request.seed,
        first_frame=window.first_frame,
    )
    select = Select("self", scales=tuple(sorted(fine)) or (params.merge_scale,))
    return merging.rules(select, branches, (True,) * len(request.timesteps))


def hold_outside(
    request: Request, window: Window, source: Callable[[int], Tensor] | None = None
) -> tuple[Rule, ...]:
    """The rule that puts the source's latents back outside the user's mask after each step; none without a
    mask.

    source(i): the source's latents before step i; the stored ones by default.
    """
    if window.mask_F1YX is None:
        return ()
    always = (True,) * len(request.timesteps)
    return (
        LatentBlend(
            "tgt", source or window.trajectory, window.mask_F1YX, always, "latents outside the edit mask"
        ),
    )
