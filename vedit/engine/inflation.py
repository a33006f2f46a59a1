"""How frames of a clip see each other in a network made for pictures: attention to other frames, as rules.

    first-frame     K, V of the clip's first frame                          Video-P2P
    sparse-causal   K, V of the first frame and of the one before           Tune-A-Video, Edit-A-Video
    middle-frame    K, V of the frame in the middle                         FateZero
    dense           K, V of all frames                                      Vid2Vid-Zero

An inversion must be made under the rules that the edit runs under, else it does not sample back to
the clip. Layers over frames, where the network has them, take part in each of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from vedit.engine.controller import Controller
from vedit.engine.rules import Gather, Plan, Rule, Temporal
from vedit.errors import ModelError, option
from vedit.models.family import Family, Network, Tunable
from vedit.models.sites import Select

Inflation = Literal["none", "first-frame", "sparse-causal", "middle-frame", "dense"]
FIRST = -1  # before whatever a method does with keys and values


def inflation_rules(
    network: Network,
    inflation: Inflation,
    branches: Sequence[str],
    steps: int,
    frames: int,
    select: Select | None = None,
) -> tuple[Rule, ...]:
    """The rules of an inflation in every step.

    select: the self-attention that sees other frames; all of it by default.
    """
    if inflation != "none" and network.frame_axis:
        raise ModelError(
            f"{inflation} attention is for a network that sees single pictures, and this one sees clips.",
            "Its frames see each other by themselves.",
            f"Try another method, such as {option('method', 'p2p')} or {option('method', 'flowedit')}",
        )
    always, select = (True,) * steps, select or Select("self")
    rules: list[Rule] = []
    if inflation == "middle-frame":
        rules.append(
            Gather(
                select,
                tuple(branches),
                ("keyframes",),
                always,
                chosen=lambda step: (frames // 2,),
                name="middle frame",
                order=FIRST,
            )
        )
    elif inflation != "none":
        sources: Any = {"first-frame": ("first",), "sparse-causal": ("first", "previous"), "dense": ("all",)}[
            inflation
        ]
        rules.append(
            Gather(select, tuple(branches), sources, always, name=f"{inflation} attention", order=FIRST)
        )
    if inflation != "none" and any(site.kind == "temporal" for site in network.sites()):
        rules.append(Temporal(Select("temporal"), always))
    return tuple(rules)


def inflated_controller(
    network: Network, inflation: Inflation, branch: str, steps: int, frames: int, size: tuple[int, int]
) -> Controller | None:
    """Control of a single branch under an inflation alone, as tuning and inversion run it.

    None where there is nothing to control.
    """
    rules = inflation_rules(network, inflation, (branch,), steps, frames)
    return Controller(network, Plan(rules), (branch,), frames, size, network.text_tokens) if rules else None


def inflated(model: Family) -> Tunable:
    """A model with layers over frames; the same again for one that has them.

    Raises ModelError for a family that cannot be inflated.
    """
    inflate = getattr(model, "inflated", None)
    if inflate is None:
        raise ModelError(
            f"{model.name} cannot be given layers over frames.",
            "Inflation is for Stable Diffusion 1.x and 2.x.",
        )
    made: Tunable = inflate()
    return made
