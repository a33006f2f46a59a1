"""What a method module has, what it is asked for, and what it says before it runs.

A method module holds

    SUMMARY      one line of help
    NEEDS        a frozenset; "inversion" when `Window.trajectory` is read, "source prompt" when the
                 inversion must have been made with this very prompt, "pictures" when it is for
                 networks that see frames one by one, "flow" when it is for those of flow matching,
                 "temporal" when it is for those with layers over frames, "first frame" for those that are
                 shown the first frame of a clip, "mask" when it edits nothing without one, "instruction" when
                 its prompt is one
    Params       its settings, a `MethodParams`; presets and options are checked by it
    longest      longest(model, params) -> frames of a clip that are edited together at most, where a method
                 knows that; it need not be there
    prepare      prepare(model, request, params) -> Prepared: everything that is the same for all
                 windows of a clip, read and checked once; all that --explain prints, and `run`

`model` is a `vedit.models.family.Family`.
Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from torch import Tensor

from vedit.engine.controller import Controller
from vedit.engine.inflation import Inflation
from vedit.engine.null_text import NullText
from vedit.engine.rules import LatentBlend, Merging, Plan, Rule, SeeBeside, Steps
from vedit.engine.rules.beside import KeysOf
from vedit.engine.sample import Step, Stream, branch_names, sample
from vedit.engine.solvers import Sampler, Way, solver_of
from vedit.engine.store import MapStore
from vedit.engine.tune import Tuning
from vedit.engine.words import WordMaps, published_scale
from vedit.errors import ModelError, UsageError, Warn, option, refuse_mistakes, silent
from vedit.methods.outline import no_key
from vedit.models.family import Family, Network
from vedit.models.flow import Flow
from vedit.models.sites import Select, Site, select_sites
from vedit.motion import split_engine, weights_sha256

Share = Annotated[float, Field(ge=0, le=1)]
Span = Share | tuple[Share, Share]


def one_is_a_list(value: Any) -> Any:
    """A single value where a list is wanted, as it is typed on a command line: words may be several with
    commas.
    """
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return (value,) if isinstance(value, int) else value


Listed = BeforeValidator(one_is_a_list)
Words = Annotated[tuple[str, ...], Listed]
Numbers = Annotated[tuple[int, ...], Listed]


IMAGE = "image prompt"  # name of the rule that shows one


def checked_flow(engine: str) -> str:
    """What estimates flow, as `vedit.motion` reads it."""
    try:
        split_engine(engine)
    except UsageError as error:
        raise ValueError(f"{error.what} {error.right}") from None
    return engine


FlowBy = Annotated[str, AfterValidator(checked_flow)]


def of_flow(engine: str) -> dict[str, str]:
    """What a result depends on beside the name of what estimates flow: its weights. Raises ModelError."""
    digest = weights_sha256(engine)
    return {} if digest is None else {"flow_sha256": digest}


class MethodParams(BaseModel):
    """Settings of a method; unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    guidance: float = Field(
        7.5,
        ge=1,
        le=100,
        validation_alias=AliasChoices("guidance", "cfg", "cfg_txt"),
        description="weight of classifier-free guidance; 1 is none",
    )
    negative_prompt: str = Field(
        "",
        validation_alias=AliasChoices("negative_prompt", "editing_negative_prompt"),
        description="what guidance leads away from",
    )

    @property
    def joins_frames(self) -> bool:
        """Whether frames act on each other, so that a clip is edited as one, and memory grows with its
        frames.
        """
        return self.inflation != "none"

    @property
    def inflation(self) -> Inflation:
        """How frames see each other in the inversion and in the edit."""
        return "none"

    @property
    def tuning(self) -> Tuning | None:
        """How the network is tuned on the clip before its inversion, where it is."""
        return None

    @property
    def null(self) -> NullText | None:
        """How null embeddings are optimised behind the inversion, where they are."""
        return None


class SamplingParams(MethodParams):
    """Settings of a method that samples."""

    steps: int = Field(
        50,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("steps", "n_steps"),
        description="DDIM steps of sampling",
    )
    guidance_2: float | None = Field(
        None,
        ge=1,
        le=100,
        validation_alias=AliasChoices("guidance_2", "guidance_scale_2"),
        description="weight of guidance where a second transformer is asked; the same if not given",
    )

    @model_validator(mode="after")
    def _is_guided(self) -> Self:
        if self.guidance_2 not in (None, 1) and self.guidance == 1:
            raise ValueError(f"guidance_2 = {self.guidance_2:g} needs guidance above 1")
        return self


class SolverParams(SamplingParams):
    """Settings of a method that samples from noise of its own."""

    solver: Sampler = Field(
        "euler",
        description="how steps along a flow are taken: euler, or unipc, of second order",
    )


class InversionParams(SamplingParams):
    """Settings of a method that starts from an inverted clip."""

    inversion_steps: int | None = Field(
        None, ge=1, le=1000, description="DDIM steps of the inversion; without it those of sampling"
    )
    fixed_point: int = Field(
        0, ge=0, le=10, description="further evaluations per inversion step, for an exact round trip"
    )
    solver: Way = Field(
        "ddim",
        description=(
            "how a flow is inverted: ddim asks at the level being reached, fixed_point times more; the others"
            " are solvers of its own"
        ),
    )
    null_text: Literal["both", "source", "none"] = Field(
        "both",
        description=(
            "branches that are guided away from the null embeddings of the inversion, where it has them;"
            " source keeps the edit freer"
        ),
    )


class MergeParams(MethodParams):
    """Settings of a method whose self-attention may run over merged tokens of a few frames."""

    merge: Share = Field(
        0.0,
        validation_alias=AliasChoices("merge", "local_merge_ratio"),
        description="share of the tokens of neighbouring frames that self-attention merges; 0 merges none",
    )
    merge_across: Share = Field(
        0.0,
        validation_alias=AliasChoices("merge_across", "global_merge_ratio"),
        description="share of what is left that is merged with frames further off",
    )
    merge_frames: int = Field(
        4,
        ge=2,
        validation_alias=AliasChoices("merge_frames", "chunk_size"),
        description="neighbouring frames whose tokens are merged, and that go through the network at once",
    )
    merge_scale: int = Field(
        2, ge=1, le=8, description="coarsest modules that merge: the latent's side divided by theirs"
    )

    @property
    def joins_frames(self) -> bool:
        return self.merge > 0


@dataclass(frozen=True)
class Picture:
    """A picture as tokens (1, T, E): its own, and those that guidance leads away from.

    keys_of: from the path of a cross-attention and tokens to keys and values. weight: above 0.
    """

    tokens: Tensor
    away: Tensor
    keys_of: KeysOf
    weight: float

    def rule(self, branches: Sequence[str], steps: Steps, mask_F1YX: Tensor | None = None) -> SeeBeside:
        """What lets the target's branches see it, in a region where there is a mask."""
        given = {"tgt": self.tokens, "tgt/uncond": self.away}
        tokens = {branch: given[branch] for branch in branches if branch in given}
        return SeeBeside(Select("cross"), tokens, self.keys_of, steps, self.weight, mask_F1YX, name=IMAGE)


@dataclass(frozen=True)
class Request:
    """What is asked of a method: the same for every window of a clip.

    source_prompt: what the clip was inverted with. timesteps: of sampling, noisiest first.
    shape: channels, rows and columns of the latents. frames: of the largest window. tiles: frames of the
    clip that one of them shows, where several are laid out as one picture.
    has_mask: whether windows bring an edit mask of the user's. wants_attention: whether the last
    step is to show where each word looked. warn: told of what shows only while it runs. reference: a
    picture (3, Y, X) in [-1, 1] of what the edit should look like, at the size that is worked on. image: a
    picture that the target's cross-attention sees beside the prompt.
    """

    source_prompt: str
    target_prompt: str
    timesteps: Sequence[float]
    shape: tuple[int, int, int]
    frames: int
    has_mask: bool = False
    seed: int = 0
    frames_per_call: int = 8
    wants_attention: bool = False
    warn: Warn = silent
    tiles: int = 1
    reference: Tensor | None = None
    image: Picture | None = None

    def frames_together(self, frames_per_call: int) -> int:
        """Pictures that go through the network at once, where the clip's frames go by so many."""
        return min(self.frames, max(1, frames_per_call // self.tiles))

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the latents."""
        return self.shape[1], self.shape[2]

    def blank(self) -> Window:
        """A window as large as the largest, without contents."""
        latents = torch.zeros(1, *self.shape).expand(self.frames, -1, -1, -1)
        mask = torch.ones(1, 1, *self.size).expand(self.frames, -1, -1, -1) if self.has_mask else None
        return Window(latents, lambda index: latents, mask)


@dataclass(frozen=True)
class Window:
    """Frames that go through a method together, at latent size.

    latents_FCYX: z0, of the clip. trajectory: the stored source latents by index of the request's
    timesteps; one past the last index gives z0. mask_F1YX: 1 inside the edit, or None.
    uncond: optimised null embeddings (1 or F, L, E) by step index, of a null-text inversion.
    first_frame: index in the whole clip of this window's first frame. begin: what the target starts
    as; the source's own latents at that step when not given. pixels_F3YX: the clip itself in [-1, 1], `scale`
    times the latents' rows and columns; None where nobody knows it.
    """

    latents_FCYX: Tensor
    trajectory: Callable[[int], Tensor]
    mask_F1YX: Tensor | None = None
    uncond: Callable[[int], Tensor] | None = None
    first_frame: int = 0
    begin: Tensor | None = None
    pixels_F3YX: Tensor | None = None
    mask_pixels: Callable[[], Tensor] | None = None

    def at(self, index: int) -> Tensor:
        """What the target starts as at a step."""
        return self.trajectory(index) if self.begin is None else self.begin


@dataclass(frozen=True)
class Prepared:
    """A method made ready for a clip: what it will do, known before its first evaluation, and how to run it.

    run: from a window to its steps; the last one's `latents["tgt"]` is the result, and it shows the
    edit mask and the attention, where there are some. branches: of each network call. plan: rules and
    probes, of a window without contents. iterations: steps taken, the first of them with index
    `start`; total: steps that `run` yields, if more. notes: what the user should know.
    about: further lines of --explain, such as how words correspond. makes_mask: whether the last step
    shows a mask of the method's own. held_bytes: what is kept between calls, besides latents and maps.
    before: evaluations per frame before the first step. cost: all of them, where they are not one of each
    branch in each iteration. seen: what the network is shown, where that is not the clip's frames one by
    one. beside: further frames that it is shown beside the clip's. facts: what else the result depends on,
    for its record.
    """

    run: Callable[[Window], Iterator[Step]]
    branches: tuple[str, ...]
    plan: Plan
    iterations: int
    start: int = 0
    total: int = 0
    notes: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    makes_mask: bool = False
    held_bytes: int = 0
    before: int = 0
    cost: int | None = None
    seen: Request | None = None
    beside: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def evaluations(self) -> int:
        """Network evaluations per frame, without the inversion."""
        if self.cost is not None:
            return self.cost
        return self.before + len(self.branches) * self.iterations


def mistakes(params: type[MethodParams], table: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each wrong key or value of a table."""
    try:
        params.model_validate(_underscored(table))
    except ValidationError as error:
        seen = set()
        for detail in error.errors():
            key = str(detail["loc"][0]) if detail["loc"] else ""
            if key and key in seen:  # a union reports each of its branches
                continue
            seen.add(key)
            if detail["type"] == "extra_forbidden":
                yield no_key(key, params.model_fields, _spellings(params))
                continue
            is_list = detail["type"] in ("tuple_type", "list_type")
            what = (
                f"it is a list; in a shell, {option(f'set.{key}', ['a', 'b'])}"
                if is_list
                else str(detail["msg"]).removeprefix("Value error, ").rstrip(".")
            )
            yield f"{key} = {_shown(table, key)}: {what[:1].lower()}{what[1:]}." if key else f"{what}."


def read_params(params: type[MethodParams], table: Mapping[str, Any], where: str) -> Any:
    """The settings of a table; raises one UsageError that names every mistake in it.

    where: the preset or option the table comes from, for the message.
    """
    refuse_mistakes(where, list(mistakes(params, table)))
    return params.model_validate(_underscored(table))


def canonical(params: type[MethodParams], key: str) -> str:
    """A key by the name that its field has, for one of the names that published code gives it; others stay,
    with underscores.
    """
    key = key.replace("-", "_")
    for name, entry in params.model_fields.items():
        if isinstance(entry.validation_alias, AliasChoices) and key in entry.validation_alias.choices:
            return name
    return key


def _underscored(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in table.items()}


def _spellings(params: type[MethodParams]) -> list[str]:
    """Every spelling that a key may have."""
    found = list(params.model_fields)
    for entry in params.model_fields.values():
        if isinstance(entry.validation_alias, AliasChoices):
            found += [str(choice) for choice in entry.validation_alias.choices if choice not in found]
    return found


def _shown(table: Mapping[str, Any], key: str) -> str:
    value = repr(_underscored(table).get(key, "missing"))
    return value if len(value) <= 80 else f"{value[:77]}..."


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
            "Models of Wan's layout are, and the embedded video model.",
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
            f"start_index {start_index} is behind the last of {steps} steps.", f"Give 0 to {steps - 1}."
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
