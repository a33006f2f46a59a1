"""UniEdit: in a video network, a reconstruction lends layout and content, and a free branch lends motion.

    S, the clip as it is stored       spatial queries and keys into T (and M), so that the layout stays;
                                      values (with motion also keys) into T, so that the content stays
    M, the new prompt left free       queries and keys of attention over frames into T, so that it moves so
    T                                 the edit

Source: Bai et al. 2024, sections 4.2-4.4, and JianhongBai/UniEdit, whose steps and layers are the defaults;
docs/methods.md 7.6. With an edit mask S lends content outside of it alone, and M lends motion, and spatial
queries, inside. Without one there is no content to lend to a change of appearance, and all of it to one of
motion. M equal to T lends nothing that T does not have.

Deviations: S is replayed from the inversion, not sampled again; one mask stands for those of the source's
foreground and of the target's region; latents outside the mask are the source's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from pydantic import AliasChoices, Field
from torch import Tensor

from vedit.engine.rules import Replace, Rule, Steps, step_range
from vedit.engine.sample import Stream
from vedit.errors import option
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.masactrl import mutual_sites
from vedit.methods.params import Share, StartParams, Words
from vedit.methods.sampled import Texts, check_start, hold_outside, sampled, sites_of_layers
from vedit.models.family import Family
from vedit.models.sites import Select

SUMMARY = "Change the look or the motion in a video network; layout and content are the clip's."
NEEDS = frozenset({"inversion", "temporal"})
STRUCTURE, CONTENT, QUERIES = 0, 1, 2  # where two rules write one tensor, the later one stands


class Params(StartParams):
    edits: Literal["appearance", "motion"] = Field(
        "appearance", description="what the new prompt changes; motion takes a third branch"
    )
    structure_until: Share = Field(
        0.4, description="share of steps that take the source's spatial queries and keys"
    )
    structure_layers: Words = Field(("*",), description="transformers that take them; * stands for any text")
    content_from: Share = Field(0.0, description="share of steps before the source's content is taken")
    content_until: Share = Field(0.5, description="share of steps until which it is")
    content_layer: int = Field(
        0,
        ge=0,
        description="first spatial self-attention module, in forward order, that takes it, of 16 in SD 1.5",
    )
    motion_until: Share = Field(
        1.0,
        validation_alias=AliasChoices("motion_until", "temporal_until"),
        description="share of steps that take the motion branch's queries and keys over frames",
    )
    motion_layers: Words = Field(
        ("*",), description="layers over frames that take them; * stands for any text"
    )


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises ModelError for layers that the model does not have, UsageError for steps that are not there."""
    steps = len(request.timesteps)
    check_start(params.start_index, steps)
    marks = ("",) if params.guidance == 1 else ("/uncond", "")
    moves = params.edits == "motion"
    names = ("src", "mot", "tgt") if moves else ("src", "tgt")
    branches = tuple(f"{name}{mark}" for name in names for mark in marks)
    texts, made = Texts(model, request, params), Injections(model, params, steps, marks)

    def streams(window: Window) -> list[Stream]:
        source, target = texts.pair(window, params.start_index)
        empty = [] if params.guidance == 1 else [replace(source, name="src/uncond", uncond=target.uncond)]
        free = [replace(target, name="mot")] if moves else []
        return [*empty, source, *free, target]

    return sampled(
        model,
        request,
        streams,
        branches,
        lambda window: (*made.rules(window), *hold_outside(request, window)),
        start=params.start_index,
        notes=made.notes(request),
    )


class Injections:
    """What the edit takes from the other branches. marks: of the unconditional branches and of the others."""

    def __init__(self, model: Family, params: Params, steps: int, marks: tuple[str, ...]) -> None:
        self.model, self.params, self.marks = model, params, marks
        self.moves = params.edits == "motion"
        self.structure = step_range(steps, 0.0, params.structure_until)
        self.content = step_range(steps, params.content_from, params.content_until)
        self.motion = step_range(steps, 0.0, params.motion_until)

    def rules(self, window: Window) -> Iterator[Rule]:
        yield from self._structure()
        if any(self.content) and (self.moves or window.mask_F1YX is not None):
            yield from self._content(window)
        if self.moves and any(self.motion) and self.params.motion_layers:
            yield from self._motion(window)

    def notes(self, request: Request) -> tuple[str, ...]:
        if request.has_mask or self.moves or not any(self.content):
            return ()
        return (
            "content_from, content_until: there is no edit mask, so no content is taken; give one with"
            f" {option('mask')}",
        )

    def _structure(self) -> Iterator[Rule]:
        if not any(self.structure) or not self.params.structure_layers:
            return
        select = self._of_layers("self", self.params.structure_layers, "structure_layers")
        taking = ("mot", "tgt") if self.moves else ("tgt",)
        for mark in self.marks:
            yield Replace(
                select,
                f"src{mark}",
                tuple(f"{name}{mark}" for name in taking),
                self.structure,
                name=f"layout of src{mark}",
                order=STRUCTURE,
            )

    def _content(self, window: Window) -> Iterator[Rule]:
        select = mutual_sites(self.model, self.params.content_layer, "content_layer")
        parts = ("k", "v") if self.moves else ("v",)
        where = "" if window.mask_F1YX is None else " outside the mask"
        yield from self._from(
            "src", select, self.content, parts, f"content{where}", window.mask_F1YX, CONTENT
        )
        if self.moves and window.mask_F1YX is not None:
            yield from self._from(
                "mot", select, self.content, ("q",), "queries inside the mask", 1 - window.mask_F1YX, QUERIES
            )

    def _motion(self, window: Window) -> Iterator[Rule]:
        select = self._of_layers("temporal", self.params.motion_layers, "motion_layers")
        outside = None if window.mask_F1YX is None else 1 - window.mask_F1YX
        yield from self._from("mot", select, self.motion, ("q", "k"), "motion", outside)

    def _from(
        self,
        source: str,
        select: Select,
        steps: Steps,
        parts: tuple[str, ...],
        name: str,
        keep: Tensor | None,
        order: int | None = None,
    ) -> Iterator[Rule]:
        """Tensors of a branch for the edit, and those of its unconditional twin for the edit's."""
        for mark in self.marks:
            yield Replace(
                select, f"{source}{mark}", (f"tgt{mark}",), steps, parts, f"{name} of {source}{mark}", keep,
                order=order,
            )  # fmt: skip

    def _of_layers(self, kind: str, layers: tuple[str, ...], what: str) -> Select:
        found = sites_of_layers(self.model, kind, layers, what)
        return Select(kind, layers, expect=len(found))
