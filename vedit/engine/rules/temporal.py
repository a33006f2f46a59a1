"""Let a network's layers over frames take part."""

from __future__ import annotations

from dataclasses import dataclass, field

from vedit.engine.rules.rule import Call, Rule, Steps
from vedit.models.sites import Select
from vedit.models.tensors import Frames, Stage, Tensors


@dataclass(frozen=True)
class Temporal(Rule):
    """Switch on the layers over frames that an inflated network has.

    All frames then go through in one call.
    """

    stage: Stage = field(default="qkv", init=False)
    frames: Frames = field(default="all", init=False)
    select: Select
    steps: Steps
    name: str = "attention over frames"
    order: int | None = None

    def apply(self, tensors: Tensors, call: Call) -> None:
        """Its presence is what the network looks for."""
