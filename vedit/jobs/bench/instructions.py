"""How much an instruction editor makes of its source: the loss of the true edit with it, and without.

Shape letters: F frames, C channels, Y X rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vedit.data.cases import KINDS, load_cases

if TYPE_CHECKING:
    from vedit.models.family import Model

LEVELS = (0.125, 0.375, 0.625, 0.875)
GOAL = 0.6  # of the loss without the source, after which an editor has learnt to look at it


def losses_of(
    model: Model, weights: str, *, cases: str = "drawn-scenes", limit: int | None = None, frames: int = 8
) -> dict[str, Any]:
    """The mean squared error of the velocity of the true edit, at four levels of the same noise.

    A source that is left out is all zeros, as in training. The mask is the one that stands for none.
    """
    import torch

    from vedit.data import scenes
    from vedit.models.wan.weights import editor_for

    editor = editor_for(weights, model)
    chosen = [case for kind in KINDS for case in [c for c in load_cases(cases) if c.kind == kind][:limit]]
    found: dict[str, list[float]] = {"with": [], "without": []}
    with torch.inference_mode(), editor.network() as network:
        for number, case in enumerate(chosen):
            source, truth = (
                model.encode_frames(scenes.clip(scene, frames) * 2 - 1) for scene in (case.scene, case.truth)
            )
            text = editor.encode(editor.read(case.instruction)).to(model.device)
            for place, level in enumerate(LEVELS):
                noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(10 * number + place))
                noise = noise.to(truth)
                noisy = model.schedule.mix(truth, noise, level)[None]
                for name, seen in (("with", source), ("without", torch.zeros_like(source))):
                    network.given = editor.conditions(seen)
                    output = network.predict(noisy, model.schedule.train_steps * level, text)[0].float()
                    found[name].append(float((output - (noise - truth)).square().mean()))
    mean = {name: sum(values) / len(values) for name, values in found.items()}
    return {**mean, "ratio": mean["with"] / mean["without"], "cases": len(chosen)}


def losses_told(losses: Mapping[str, Any]) -> str:
    """The two losses in a line."""
    return (
        f"loss of the true edit: {losses['with']:.4f} with the source, {losses['without']:.4f} without;"
        f" ratio {losses['ratio']:.2f}, and {GOAL} or less has been learnt"
    )
