"""GLP with Prompt-to-Prompt or Plug-and-Play: optimise latents, and inject attention.

Source: the GLP thesis; docs/methods.md 5.6 fixes the two forms.
sequential: GLP edits the clip; its result is inverted with the new prompt up to step `start_index`, as
finely as the clip itself (`inversion_steps`), and sampled from there while the forward method reads the
clip's own inversion. A late start keeps GLP's result and only cleans it.
in-loop: the forward method's rules act inside GLP's calls, at no further cost. Shares of the steps
become shares of the noise range: a rule with share tau acts at timesteps t >= (1 - tau) 1000.

Deviations: the thesis pairs the two without saying how; it inverts nothing in between. The schedule's
timesteps are the checkpoint's own spacing ("leading" for Stable Diffusion 1.x), also those of the
inversion in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, Literal

from pydantic import AliasChoices, Field, model_validator

from vedit.diffusion.attention.rules import Plan
from vedit.diffusion.invert import invert
from vedit.diffusion.prompts import read_prompt
from vedit.diffusion.sample import Step
from vedit.methods import dds, glp, p2p, pnp
from vedit.methods.base import EditInput, InversionParams, MethodParams, Outline, mistakes
from vedit.methods.glp import Params as GlpParams

SUMMARY = "Optimise the clip's latents with GLP, and sample or guide them with p2p or pnp."
NEEDS = frozenset({"inversion", "source prompt"})
FORWARD: dict[str, ModuleType] = {"p2p": p2p, "pnp": pnp}
OWN = ("steps", "inversion_steps", "fixed_point", "start_index", "null_text")


class Params(InversionParams):
    forward: Literal["p2p", "pnp"] = Field("pnp", description="the method that injects attention")
    form: Literal["sequential", "in-loop"] = Field("sequential", description="one after the other, or the rules inside the optimisation")
    start_index: int = Field(
        0, ge=0, validation_alias=AliasChoices("start_index", "ddim_init_latents_t_idx"), description="sampling step that GLP's result is inverted to"
    )
    glp: dict[str, Any] = Field({}, description="settings of glp; guidance and negative_prompt as above unless given")
    p2p: dict[str, Any] = Field({}, description="settings of p2p where it is the forward method")
    pnp: dict[str, Any] = Field({}, description="settings of pnp where it is the forward method")

    @model_validator(mode="after")
    def _tables_are_right(self) -> Params:
        wrong = [f"glp: {mistake}" for mistake in mistakes(glp.Params, self.glp)]
        wrong += [f"p2p: {mistake}" for mistake in mistakes(p2p.Params, self.p2p)]
        wrong += [f"pnp: {mistake}" for mistake in mistakes(pnp.Params, self.pnp)]
        wrong += [f"{name}: {key} is set for the whole, not here" for name in FORWARD for key in OWN if key in getattr(self, name)]
        if self.form == "in-loop" and self.glp.get("reference") == "uncond":
            wrong.append('glp: form = "in-loop" reads the source branch, which reference = "uncond" leaves out')
        if self.form == "in-loop" and (self.p2p.get("blend_words") or self.p2p.get("subtract_words")):
            wrong.append('p2p: a local blend needs sampling; form = "in-loop" has none')
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def backward(self) -> GlpParams:
        """The settings that GLP runs with."""
        return GlpParams.model_validate({"guidance": self.guidance, "negative_prompt": self.negative_prompt, **_plain(self.glp)})

    @property
    def onward(self) -> Any:
        """The settings that the forward method runs with."""
        own = {key: getattr(self, key) for key in OWN}
        table = {"guidance": self.guidance, "negative_prompt": self.negative_prompt, **own, **_plain(getattr(self, self.forward))}
        return FORWARD[self.forward].Params.model_validate(table)

    @property
    def iterations(self) -> int:
        """Steps that are yielded; near enough for a progress bar where the step counts do not divide."""
        if self.form == "in-loop":
            return self.backward.iterations
        inverted = (self.inversion_steps or self.steps) * (self.steps - 1 - self.start_index) // self.steps + 1
        return self.backward.iterations + inverted + self.steps - self.start_index


def levels_to(model: Any, timesteps: Sequence[int], params: Params) -> list[int]:
    """The timesteps, noisiest first, by which GLP's result is inverted to the level that sampling starts at."""
    last = timesteps[params.start_index]
    fine = model.schedule.timesteps(params.inversion_steps or params.steps)
    return sorted({last, *(t for t in fine if t <= last)}, reverse=True)


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in table.items()}


def outline(model: Any, clip: EditInput, params: Params) -> Outline:
    first = glp.outline(model, clip, params.backward)
    if params.form == "in-loop":
        plan, notes = in_loop_plan(model, clip, params)
        return Outline(first.branches, plan, first.iterations, 0, (*first.notes, *notes), first.makes_mask, first.held_bytes)
    then = FORWARD[params.forward].outline(model, clip, params.onward)
    inverted = len(levels_to(model, clip.timesteps, params))
    note = f"before these steps: {first.iterations} iterations of glp with {first.evaluations} evaluations per frame, and {inverted} of inversion"
    return Outline(
        then.branches, then.plan, then.iterations, then.start, (note, *first.notes, *then.notes), first.makes_mask or then.makes_mask, first.held_bytes
    )


def couples(params: Params) -> bool:
    """Whether frames act on each other."""
    return glp.couples(params.backward)


def in_loop_plan(model: Any, clip: EditInput, params: Params) -> tuple[Plan, list[str]]:
    """The forward method's rules, by iteration of GLP; and what the user should know."""
    total, notes = model.schedule.train_steps, list[str]()
    positions = [total - 1 - dds.timestep_of(params.backward, clip, iteration, total) for iteration in range(params.backward.iterations)]
    settings: MethodParams = params.onward
    probes = glp.outline(model, clip, params.backward).plan.probes
    if isinstance(settings, pnp.Params):
        scaled = {key: getattr(settings, key) * total // params.steps for key in ("structure_from", "content_from") if getattr(settings, key) is not None}
        targets = ("tgt/uncond", "tgt") if params.backward.guidance != 1 else ("tgt",)
        rules: list[Any] = list(pnp.injections(model.unet, settings.model_copy(update=scaled), targets, clip, notes, positions, total))
        return Plan(tuple(rules), probes), notes
    assert isinstance(settings, p2p.Params)
    source, target = read_prompt(model.tokenizer, clip.source_prompt), read_prompt(model.tokenizer, clip.target_prompt)
    notes += p2p.describe(settings, source, target)
    return Plan(tuple(p2p.injections(model.unet, settings, source, target, clip.size, positions, total)), probes), notes


def run(model: Any, clip: EditInput, params: Params) -> Iterator[Step]:
    if params.form == "in-loop":
        plan, _ = in_loop_plan(model, clip, params)
        yield from glp.run(model, clip, params.backward, plan)
        return
    forward, settings = FORWARD[params.forward], params.onward
    forward.outline(model, clip, settings)  # a mistake there shows before the optimisation, not after
    latents = clip.latents_FCYX
    for step in glp.run(model, clip, params.backward):
        latents = step.latents["tgt"]
        yield step
    text = model.encode_prompt(clip.target_prompt).to(model.device)
    levels = levels_to(model, clip.timesteps, params)
    for level in invert(model.unet, model.schedule, levels, latents, text, fixed_point=params.fixed_point, frames_per_call=clip.frames_per_call):
        latents = level.latents
        yield Step(level.index, level.timestep, {"tgt": latents}, {})
    yield from forward.run(model, clip, settings, latents)
