"""GLP with a method that injects attention: optimise latents, and edit or guide what they become.

Source: the GLP thesis; docs/methods.md 5.6 fixes the two forms.
sequential: GLP edits the clip; its result is inverted with the new prompt up to step `start_index`, as
finely as the clip itself (`inversion_steps`), and sampled from there while the forward method reads the
clip's own inversion. A late start keeps GLP's result and only cleans it.
choice: the forward method edits the clip by itself and behind GLP as above, and the result is kept of which
the network says by the wider margin that it shows the new prompt rather than the old
(`vedit.engine.classify`); ours.
in-loop: the rules of p2p or pnp act inside GLP's calls, at no further cost. Shares of the steps
become shares of the noise range: a rule with share tau acts at timesteps t >= (1 - tau) 1000.

Deviations: the thesis pairs GLP with P2P and PnP without saying how, and others here are ours; it inverts
nothing in between. The schedule's
timesteps are the checkpoint's own spacing ("leading" for Stable Diffusion 1.x), also those of the
inversion in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any, Literal

from pydantic import AliasChoices, Field, model_validator

from vedit.engine.classify import LEVELS, foreseen_better
from vedit.engine.inflation import Inflation, inflated_controller
from vedit.engine.invert import invert
from vedit.engine.sample import Step
from vedit.errors import ModelError, option
from vedit.methods import dds, fatezero, flatten, glp, masactrl, p2p, pnp, tokenflow
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.glp import Params as GlpParams
from vedit.methods.masactrl import check_words
from vedit.methods.params import InversionParams, MethodParams, Words, mistakes
from vedit.methods.sampled import Texts
from vedit.models.family import Family

SUMMARY = "Optimise the clip's latents with GLP, and sample or guide them with p2p, pnp or another method."
NEEDS = frozenset({"inversion", "source prompt"})
FORWARD: dict[str, ModuleType] = {
    "p2p": p2p,
    "pnp": pnp,
    "masactrl": masactrl,
    "tokenflow": tokenflow,
    "fatezero": fatezero,
    "flatten": flatten,
}
IN_LOOP = ("p2p", "pnp")  # whose rules need nothing that only sampling has
OWN = ("steps", "inversion_steps", "fixed_point", "start_index", "null_text")


class Params(InversionParams):
    forward: Literal["p2p", "pnp", "masactrl", "tokenflow", "fatezero", "flatten"] = Field(
        "pnp", description="the method that injects attention"
    )
    form: Literal["sequential", "choice", "in-loop"] = Field(
        "sequential",
        description="one after the other, the better of that and of the forward method alone by the"
        " network's own word, or the rules inside the optimisation",
    )
    choice_margin: float = Field(
        1.05,
        ge=0,
        le=1000,
        description="how many times wider the margin with glp must be, where there is a choice",
    )
    start_index: int = Field(
        0,
        ge=0,
        validation_alias=AliasChoices("start_index", "ddim_init_latents_t_idx"),
        description="sampling step that GLP's result is inverted to",
    )
    object_words: Words = Field(
        (),
        description="the thing that is edited, in words of both prompts: mask_words of glp, and after it"
        " blend_words of p2p and fatezero, and object_words of masactrl, where those name none",
    )
    glp: dict[str, Any] = Field(
        {}, description="settings of glp; guidance and negative_prompt as above unless given"
    )
    p2p: dict[str, Any] = Field({}, description="settings of p2p where it is the forward method")
    pnp: dict[str, Any] = Field({}, description="settings of pnp where it is the forward method")
    masactrl: dict[str, Any] = Field({}, description="settings of masactrl where it is the forward method")
    tokenflow: dict[str, Any] = Field({}, description="settings of tokenflow where it is the forward method")
    fatezero: dict[str, Any] = Field({}, description="settings of fatezero where it is the forward method")
    flatten: dict[str, Any] = Field({}, description="settings of flatten where it is the forward method")

    @model_validator(mode="after")
    def _tables_are_right(self) -> Params:
        wrong = [f"glp: {mistake}" for mistake in mistakes(glp.Params, self.glp)]
        for name, module in FORWARD.items():
            wrong += [f"{name}: {mistake}" for mistake in mistakes(module.Params, getattr(self, name))]
        wrong += [
            f"{name}: {key} is set for the whole, not here"
            for name in FORWARD
            for key in OWN
            if key in getattr(self, name)
        ]
        if self.form == "in-loop" and self.forward not in IN_LOOP:
            wrong.append(
                f'forward = "{self.forward}" needs sampling; form = "in-loop" has none: it takes'
                f" {' or '.join(IN_LOOP)}"
            )
        if self.tokenflow.get("base") == "sdedit":
            wrong.append('tokenflow: base = "sdedit" begins with the noised clip, not with what glp made')
        if self.form == "in-loop" and self.glp.get("reference") == "uncond":
            wrong.append(
                'glp: form = "in-loop" reads the source branch, which reference = "uncond" leaves out'
            )
        if self.form == "in-loop" and (self.p2p.get("blend_words") or self.p2p.get("subtract_words")):
            wrong.append('p2p: a local blend needs sampling; form = "in-loop" has none')
        wrong += [
            f"{name}: merge joins frames, and combine edits them one by one"
            for name in FORWARD
            if getattr(self, name).get("merge")
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def backward(self) -> GlpParams:
        """The settings that GLP runs with."""
        return GlpParams.model_validate(
            {"guidance": self.guidance, "negative_prompt": self.negative_prompt, **_plain(self.glp)}
        )

    @property
    def onward(self) -> Any:
        """The settings that the forward method runs with behind GLP."""
        return self._forward_from(self.start_index)

    @property
    def alone(self) -> Any:
        """The settings that the forward method runs with by itself."""
        return self._forward_from(0)

    def _forward_from(self, start_index: int) -> Any:
        own = {**{key: getattr(self, key) for key in OWN}, "start_index": start_index}
        table = {
            "guidance": self.guidance,
            "negative_prompt": self.negative_prompt,
            **own,
            **_plain(getattr(self, self.forward)),
        }
        return FORWARD[self.forward].Params.model_validate(table)

    @property
    def joins_frames(self) -> bool:
        """Whether frames act on each other; windows of a clip that chose for themselves would show."""
        return self.form == "choice" or self.backward.joins_frames or bool(self.onward.joins_frames)

    @property
    def inflation(self) -> Inflation:
        found: Inflation = self.onward.inflation
        return found


def levels_to(model: Family, timesteps: Sequence[float], params: Params) -> list[float]:
    """The timesteps, noisiest first, by which GLP's result is inverted to where sampling starts."""
    last = timesteps[params.start_index]
    fine = model.schedule.timesteps(params.inversion_steps or params.steps)
    return sorted({last, *(t for t in fine if t <= last)}, reverse=True)


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in table.items()}


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    check_forward(model, params)
    params = told(model, request, params)
    return {"sequential": sequential, "choice": choice, "in-loop": in_loop}[params.form](
        model, request, params
    )


def told(model: Family, request: Request, params: Params) -> Params:
    """The settings with `object_words` in the tables of both methods. Raises UsageError for words of neither
    prompt.
    """
    words = params.object_words
    if not words:
        return params
    source, target = model.words(request.source_prompt), model.words(request.target_prompt)
    check_words(words, source, target)
    masked = {"mask_words": [word for word in words if source.find(word)], **_plain(params.glp)}
    after = _plain(getattr(params, params.forward))
    if params.form != "in-loop":
        keys = FORWARD[params.forward].Params.model_fields.keys() & {"blend_words", "object_words"}
        after = {**{key: list(words) for key in keys}, **after}
    return params.model_copy(update={"glp": masked, params.forward: after})


def check_forward(model: Family, params: Params) -> None:
    """Refuse a forward method whose network sees pictures where the model sees clips. Raises ModelError."""
    if model.frame_axis and "pictures" in FORWARD[params.forward].NEEDS:
        raise ModelError(
            f"combine with forward = {params.forward} injects what a network sees of frames one by one, and"
            f" {model.name} sees clips as wholes.",
            "On such a model p2p is the forward method.",
            f"Try {option('set.forward', 'p2p')}",
        )


def in_loop(model: Family, request: Request, params: Params) -> Prepared:
    """GLP, with the forward method's rules by iteration."""
    total, backward = model.schedule.train_steps, params.backward
    iterations = range(backward.iterations)
    positions = [total - 1 - dds.timestep_of(backward, request, iteration, total) for iteration in iterations]
    settings: MethodParams = params.onward
    if isinstance(settings, pnp.Params):
        starts = {key: getattr(settings, key) for key in ("structure_from", "content_from")}
        scaled = {key: start * total // params.steps for key, start in starts.items() if start is not None}
        targets = ("tgt/uncond", "tgt") if backward.guidance != 1 else ("tgt",)
        moved = settings.model_copy(update=scaled)
        rules, notes = pnp.injections(model, moved, targets, request, positions, total)
        return glp.prepare(model, request, backward, rules, notes=notes)
    assert isinstance(settings, p2p.Params)
    source, target = (model.words(text) for text in (request.source_prompt, request.target_prompt))
    fixed = tuple(p2p.injections(model, settings, source, target, request.size, positions, total))
    about = tuple(p2p.describe(settings, source, target))
    return glp.prepare(model, request, backward, lambda window: fixed, about=about)


def sequential(model: Family, request: Request, params: Params) -> Prepared:
    """GLP, its result inverted with the new prompt, and the forward method from there."""
    first = glp.prepare(model, request, params.backward)
    then = FORWARD[params.forward].prepare(model, request, params.onward)
    levels, texts = levels_to(model, request.timesteps, params), Texts(model, request, params)

    def run(window: Window) -> Iterator[Step]:
        latents, mask = window.latents_FCYX, None
        for step in first.run(window):
            latents, mask = step.latents["tgt"], step.mask
            yield step
        for level in invert(
            model,
            levels,
            latents,
            texts.of(request.target_prompt),
            fixed_point=params.fixed_point,
            frames_per_call=request.frames_per_call,
            first_frame=window.first_frame,
            controller=inflated_controller(
                model, params.inflation, "src", len(levels), len(latents), request.size
            ),
        ):
            latents = level.latents
            yield Step(level.index, level.timestep, {"tgt": latents}, {})
        for step in then.run(replace(window, begin=latents)):
            yield step if step.mask is not None else replace(step, mask=mask)

    evaluations = f"{first.iterations} iterations of glp with {first.evaluations} evaluations per frame"
    again = len(levels) * (1 + params.fixed_point)
    return replace(
        then,
        run=run,
        total=first.total + len(levels) + then.total,
        before=first.evaluations + again,
        about=(
            f"before these steps: {evaluations}, and {again} of inversion",
            *first.about,
            *then.about,
        ),
        notes=(*first.notes, *then.notes),
        makes_mask=first.makes_mask or then.makes_mask,
        held_bytes=max(first.held_bytes, then.held_bytes),
    )


def choice(model: Family, request: Request, params: Params) -> Prepared:
    """The forward method by itself and behind GLP, and the result that shows the new prompt by the wider
    margin.
    """
    alone = FORWARD[params.forward].prepare(model, request, params.alone)
    behind = sequential(model, request, params)
    texts = Texts(model, request, params)
    prompts = texts.of(request.target_prompt), texts.of(request.source_prompt)

    def margin(step: Step) -> float:
        return foreseen_better(
            model,
            step.latents["tgt"],
            prompts,
            seed=request.seed,
            frames_per_call=request.frames_per_call,
        )

    def run(window: Window) -> Iterator[Step]:
        last: list[Step] = []
        for part in (alone, behind):
            for step in part.run(window):
                # the last one's latents may be worked on when the next method runs
                kept = step
                yield step
            last.append(replace(kept, latents={"tgt": kept.latents["tgt"].clone()}))
        first, second = map(margin, last)
        yield last[1] if second > params.choice_margin * first else last[0]

    looked = f"{2 * LEVELS} evaluations per frame and result to choose between them"
    return replace(
        behind,
        run=run,
        total=alone.total + behind.total + 1,
        before=alone.evaluations + behind.before + 4 * LEVELS,
        about=(f"and by itself: {alone.evaluations} evaluations per frame; {looked}", *behind.about),
        notes=tuple(dict.fromkeys((*alone.notes, *behind.notes))),
        makes_mask=alone.makes_mask or behind.makes_mask,
        held_bytes=max(alone.held_bytes, behind.held_bytes),
    )
