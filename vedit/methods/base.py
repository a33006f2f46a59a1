"""What a method module has, what it is given, and what it announces before it runs.

A method module holds

    SUMMARY      one line of help
    NEEDS        a frozenset; "inversion" when `EditInput.trajectory` is read, "source prompt" when the
                 inversion must have been made with this very prompt
    Params       its settings, a `MethodParams`; presets and options are checked by it
    outline      from (model, clip, params) to an `Outline`, all that --explain prints
    run          from (model, clip, params) to an iterator of `Step`; the last one's
                 `latents["tgt"]` is the result
    couples      may be left out: from params to whether frames act on each other. Without it a long
                 clip is edited window by window, and memory does not grow with its frames

`model` offers unet, schedule, encode_prompt(text), tokenizer, device and dtype.
Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from torch import Tensor

from vedit.diffusion.attention.control import Controller
from vedit.diffusion.attention.locate import Select, Site, find_sites, select_sites
from vedit.diffusion.attention.rules import LatentBlend, Plan, Rule
from vedit.diffusion.attention.words import WordMaps, published_scale
from vedit.diffusion.prompts import read_prompt
from vedit.diffusion.sample import Step, Stream, branch_names, sample
from vedit.errors import UsageError, nearest

Share = Annotated[float, Field(ge=0, le=1)]
Span = Share | tuple[Share, Share]


def one_is_a_list(value: Any) -> Any:
    """A single value where a list is wanted, as it is typed on a command line: words may be several with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return (value,) if isinstance(value, int) else value


Listed = BeforeValidator(one_is_a_list)
Words = Annotated[tuple[str, ...], Listed]
Numbers = Annotated[tuple[int, ...], Listed]


class MethodParams(BaseModel):
    """Settings of a method; unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    guidance: float = Field(
        7.5, ge=1, le=100, validation_alias=AliasChoices("guidance", "cfg", "cfg_txt"), description="weight of classifier-free guidance; 1 is none"
    )
    negative_prompt: str = Field("", validation_alias=AliasChoices("negative_prompt", "editing_negative_prompt"), description="what guidance leads away from")


class SamplingParams(MethodParams):
    """Settings of a method that samples."""

    steps: int = Field(50, ge=1, le=1000, validation_alias=AliasChoices("steps", "n_steps"), description="DDIM steps of sampling")


class InversionParams(SamplingParams):
    """Settings of a method that starts from an inverted clip."""

    inversion_steps: int | None = Field(None, ge=1, le=1000, description="DDIM steps of the inversion; without it those of sampling")
    fixed_point: int = Field(0, ge=0, le=10, description="further evaluations per inversion step, for an exact round trip")
    null_text: Literal["both", "source", "none"] = Field(
        "both", description="branches that are guided away from the null embeddings of the inversion, where it has them; source keeps the edit freer"
    )


@dataclass(frozen=True)
class EditInput:
    """A clip to edit, at latent size.

    latents_FCYX: z0, of the clip. trajectory: the stored source latents by index of `timesteps`;
    one past the last index gives z0. timesteps: of sampling, noisiest first.
    source_prompt: what the clip was inverted with. mask_F1YX: 1 inside the edit, or None.
    first_frame: the clip's number of frame 0, where only a window of it is edited.
    save: filled with the last edit mask ("mask") and, with save_attention, with where each word looks
    ("attention/BRANCH/WORD", the mean over steps), (F, 1, y, x) each; None when nobody wants them.
    uncond: optimised null embeddings (1 or F, L, E) by step index, of a null-text inversion.
    warn: told of what the user should know.
    """

    latents_FCYX: Tensor
    trajectory: Callable[[int], Tensor]
    timesteps: Sequence[int]
    source_prompt: str
    target_prompt: str
    mask_F1YX: Tensor | None = None
    seed: int = 0
    frames_per_call: int = 8
    first_frame: int = 0
    save: dict[str, Tensor] | None = None
    save_attention: bool = False
    uncond: Callable[[int], Tensor] | None = None
    warn: Callable[[str], None] = field(default=lambda message: None)

    @property
    def frames(self) -> int:
        return len(self.latents_FCYX)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the latents."""
        return int(self.latents_FCYX.shape[-2]), int(self.latents_FCYX.shape[-1])


@dataclass(frozen=True)
class Outline:
    """What a run will do, known before its first evaluation.

    branches: of each network call. plan: rules and probes. iterations: steps taken, the first of
    them with index `start`. notes: sentences for the user, such as how words correspond.
    makes_mask: whether `EditInput.save` is given a mask of the method's own. held_bytes: what the
    method keeps between calls, besides latents and attention maps.
    """

    branches: tuple[str, ...]
    plan: Plan
    iterations: int
    start: int = 0
    notes: tuple[str, ...] = ()
    makes_mask: bool = False
    held_bytes: int = 0

    @property
    def evaluations(self) -> int:
        """Network evaluations per frame, without the inversion."""
        return len(self.branches) * self.iterations


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
                yield f"no key {key!r}{nearest(key, _spellings(params)) or '.'} There are {', '.join(sorted(params.model_fields))}."
                continue
            is_list = detail["type"] in ("tuple_type", "list_type")
            what = f"""it is a list; in a shell, --set '{key}=["a", "b"]'""" if is_list else str(detail["msg"]).removeprefix("Value error, ").rstrip(".")
            yield f"{key} = {_shown(table, key)}: {what[:1].lower()}{what[1:]}." if key else f"{what}."


def read_params(params: type[MethodParams], table: Mapping[str, Any], where: str) -> Any:
    """The settings of a table; raises one UsageError that names every mistake in it.

    where: the preset or option the table comes from, for the message.
    """
    wrong = list(mistakes(params, table))
    if wrong:
        count = "1 mistake" if len(wrong) == 1 else f"{len(wrong)} mistakes"
        raise UsageError(f"{where}: {count}.\n" + "\n".join(f"  {mistake}" for mistake in wrong))
    return params.model_validate(_underscored(table))


def canonical(params: type[MethodParams], key: str) -> str:
    """A key by the name that its field has, for one of the names that published code gives it; others stay, with underscores."""
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


def sites_of_layers(unet: Any, kind: str, paths: Sequence[str], what: str) -> list[Site]:
    """The sites of a layer list, each entry of which must name one at least; raises ModelError for one that does not."""
    sites = find_sites(unet)
    for path in paths:
        select_sites(sites, Select(kind, (path,)), what)
    return [site for site in sites if Select(kind, tuple(paths)).matches(site)]


def check_start(start_index: int, steps: int) -> None:
    """Refuse to start behind the last step."""
    if start_index >= steps:
        raise UsageError(f"start_index {start_index} is behind the last of {steps} steps.", f"Give 0 to {steps - 1}.")


def guided_stream(model: Any, clip: EditInput, params: MethodParams, latents: Tensor) -> Stream:
    """The stream "tgt": the target prompt, guided away from the negative prompt or the inversion's null embeddings."""
    cond, uncond = (model.encode_prompt(text).to(model.device) for text in (clip.target_prompt, params.negative_prompt))
    if clip.uncond is not None and isinstance(params, InversionParams) and params.null_text == "both":
        uncond = clip.uncond
    return Stream("tgt", latents.to(model.device), cond, uncond, params.guidance)


def replayed_stream(model: Any, clip: EditInput, latents: Tensor) -> Stream:
    """The stream "src": the stored latents of each step with the prompt they were inverted with."""
    cond = model.encode_prompt(clip.source_prompt).to(model.device)
    return Stream("src", latents.to(model.device), cond, replay=lambda index: clip.trajectory(index).to(model.device))


def branches_of(guidance: float, *sources: str) -> tuple[str, ...]:
    """The branches of sources and a guided target, in batch order."""
    return (*sources, *(("tgt/uncond", "tgt") if guidance != 1 else ("tgt",)))


def watched_words(model: Any, clip: EditInput, branches: Sequence[str], scales: Sequence[int] | None = None) -> WordMaps:
    """Where the words of source and target look, at scales of the method's or the published 16x16 maps."""
    named = [branch for branch in ("src", "tgt") if branch in branches]
    return WordMaps(model.unet, named, scales or (published_scale(model.unet, clip.size),), clip.size)


def plan_of(model: Any, clip: EditInput, branches: Sequence[str], rules: Sequence[Rule] = ()) -> Plan:
    """Rules, and probes of the attention that the user wants to see."""
    return Plan(tuple(rules), watched_words(model, clip, branches).probes() if clip.save_attention else ())


def save_words(model: Any, clip: EditInput, controller: Controller, steps: int, words: WordMaps | None = None) -> None:
    """Put where each word looked into `clip.save`, when the user wants to see it."""
    if clip.save is None or not clip.save_attention:
        return
    words = words or watched_words(model, clip, list(controller.branches))
    for branch in words.branches:
        prompt = read_prompt(model.tokenizer, clip.source_prompt if branch == "src" else clip.target_prompt)
        for word in dict.fromkeys(prompt.words):
            clip.save[f"attention/{branch}/{word}"] = words.of(controller.store, branch, prompt.tokens_of(word)) / steps


def bind(model: Any, clip: EditInput, outline: Outline) -> Controller:
    """An outline bound to the model and the clip's size; raises for sites that are missing and maps that do not fit."""
    return Controller(model.unet, outline.plan, outline.branches, clip.frames, clip.size, model.tokenizer.model_max_length)


def control(model: Any, clip: EditInput, streams: Sequence[Stream], plan: Plan) -> Controller:
    """A plan bound to the model and the clip's size."""
    names = branch_names(streams)
    tokens = streams[0].text(names[0], 0).shape[1]
    return Controller(model.unet, plan, names, clip.frames, clip.size, tokens)


def sample_with(
    model: Any,
    clip: EditInput,
    streams: Sequence[Stream],
    controller: Controller,
    start: int = 0,
    words: WordMaps | None = None,
) -> Iterator[Step]:
    """Sample under a controller; the model is itself again whatever happens. words: what the probes of the plan sum."""
    with controller.installed():
        yield from sample(
            model.unet, model.schedule, clip.timesteps, streams, controller,
            frames_per_call=clip.frames_per_call, start=start, first_frame=clip.first_frame,
        )  # fmt: skip
    save_words(model, clip, controller, len(clip.timesteps) - start, words)


def hold_outside(clip: EditInput, source: Callable[[int], Tensor] | None = None) -> tuple[LatentBlend, ...]:
    """The rule that puts the source's latents back outside the user's mask after each step; none without a mask.

    source(i): the source's latents before step i; the stored ones by default.
    """
    if clip.mask_F1YX is None:
        return ()
    always = (True,) * len(clip.timesteps)
    return (LatentBlend("tgt", source or clip.trajectory, clip.mask_F1YX, always, "latents outside the edit mask"),)
