"""Let frames attend to the tokens of other frames, and hand outputs from token to token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from vedit.engine.rules.rule import Call, Rule, Shape, Steps, parts
from vedit.models.sites import Select
from vedit.models.tensors import Frames, Part, Stage, Tensors

Source = Literal["own", "first", "previous", "all", "keyframes"]


@dataclass(frozen=True)
class Gather(Rule):
    """Compute the attention of `branches` with keys and values of other frames, joined in the order given.

    sources: "own", "first" (frame 0 of the window), "previous" (the frame before; frame 0 has itself),
    "all", "keyframes"; or an index tensor (F, n) of frames in the window, -1 for the frame itself.
    chosen: the keyframes of a step, by step index, where "keyframes" is among the sources.
    Frames that are not in the call are reached by a pass of their own ("first", "keyframes"), or by
    taking all frames in one call ("previous", "all", an index tensor).
    """

    stage: Stage = field(default="qkv", init=False)
    select: Select
    branches: tuple[str, ...]
    sources: tuple[Source, ...] | Tensor = field(compare=False)
    steps: Steps
    tensors: tuple[str, ...] = ("k", "v")
    chosen: Callable[[int], Sequence[int]] | None = field(default=None, compare=False)
    name: str = "gather"
    order: int | None = None

    @property
    def frames(self) -> Frames:  # type: ignore[override]
        if isinstance(self.sources, Tensor) or {"previous", "all"}.intersection(self.sources):
            return "all"
        return "keyframes" if {"first", "keyframes"}.intersection(self.sources) else "each"

    @property
    def ends_keyframes(self) -> bool:
        return True  # they see themselves and each other, as all others do behind them

    def keyframes(self, step: int) -> Sequence[int]:
        first = (0,) if "first" in self._names else ()
        return (*first, *(self.chosen(step) if self.chosen is not None else ()))

    @property
    def _names(self) -> tuple[str, ...]:
        return () if isinstance(self.sources, Tensor) else self.sources

    @property
    def writes(self) -> frozenset[Part]:
        return parts(self.tensors, self.branches)

    def bytes(self, shape: Shape) -> int:
        """Key frames' keys and values, of which as many are held as `chosen` names in its largest step."""
        if self.frames != "keyframes":
            return 0
        most = max((len(self.keyframes(step)) for step, acts in enumerate(self.steps) if acts), default=0)
        return most * len(self.writes) * shape.sites * shape.queries * shape.width * 4

    def apply(self, tensors: Tensors, call: Call) -> None:
        if call.total == 1 and len(self._names) == 1:
            return  # a clip of one frame has only itself: not even the layout of its tensors changes
        own = {part: tensors[part] for part in self.writes}
        if call.is_key_pass:
            call.memory.update(own)
        is_shown = bool(call.memory)  # else the frames that are asked for are in this call
        places = {frame: place for place, frame in enumerate(call.keyframes if is_shown else call.numbers)}
        for part, tensor_FNTD in own.items():
            tensors[part] = self._joined(tensor_FNTD, call.memory.get(part, tensor_FNTD), places, call.step)

    def _joined(self, own_FNTD: Tensor, shown_FNTD: Tensor, places: dict[int, int], step: int) -> Tensor:
        """shown: of the pass before, or of all frames of the window where they are in the call."""
        if isinstance(self.sources, Tensor):
            index_Fn = self.sources.to(own_FNTD.device)
            itself = torch.arange(len(own_FNTD), device=own_FNTD.device).unsqueeze(1)
            return _beside(own_FNTD[torch.where(index_Fn < 0, itself, index_Fn)])
        parts = [self._part(source, own_FNTD, shown_FNTD, places, step) for source in self.sources]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def _part(self, source: Source, own: Tensor, shown: Tensor, places: dict[int, int], step: int) -> Tensor:
        if source == "own":
            return own
        if source == "previous":
            return torch.cat([own[:1], own[:-1]])
        if source == "all":
            chosen = shown
        elif source == "first":
            chosen = shown[places[0] : places[0] + 1]
        else:
            assert self.chosen is not None, f"{self.name}: nothing says which frames are keyframes"
            chosen = shown[[places[frame] for frame in self.chosen(step)]]
        return _beside(chosen.unsqueeze(0)).expand(len(own), -1, -1, -1)


def _beside(frames_FnNTD: Tensor) -> Tensor:
    """The tokens of n frames as those of one: (F, n, N, T, D) to (F, N, n T, D)."""
    return frames_FnNTD.transpose(1, 2).flatten(2, 3)


@dataclass(frozen=True)
class Scatter(Rule):
    """Give each query token the output of another token, of any frame of the window.

    index: by the module's grid, (F, Q, 2): the frame in the window and the token that each takes its
    output from. Merged tokens are so handed back to all that were merged into them.
    """

    stage: Stage = field(default="output", init=False)
    frames: Frames = field(default="all", init=False)
    select: Select
    branches: tuple[str, ...]
    index: Callable[[tuple[int, int]], Tensor] = field(compare=False)
    steps: Steps
    name: str = "scatter"
    order: int | None = None

    @property
    def writes(self) -> frozenset[Part]:
        return parts(("out",), self.branches)

    def apply(self, tensors: Tensors, call: Call) -> None:
        for branch in self.branches:
            out_FQND = tensors["out", branch].transpose(1, 2)
            index_FQ2 = self.index(call.grid).to(out_FQND.device)
            tensors["out", branch] = out_FQND[index_FQ2[..., 0], index_FQ2[..., 1]].transpose(1, 2)
