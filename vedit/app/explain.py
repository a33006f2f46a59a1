"""`--explain`: what an edit will do, before its first evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vedit import methods
from vedit.methods.base import EditInput, Outline, read_params

if TYPE_CHECKING:
    from vedit.diffusion.models import Model


def explain(model: Model, method: str, values: dict[str, Any], source: str, target: str, frames: int, size: tuple[int, int]) -> str:
    """The plan in words: branches, rules with their sites and steps, evaluations, memory of maps.

    frames, size: of the clip that would be edited, in pixels (width, height).
    Raises UsageError or ModelError for a plan that does not fit the prompts or the model.
    """
    import torch

    from vedit.diffusion.attention.control import Controller

    module = methods.load(method)
    params = read_params(module.Params, values, method)
    timesteps = model.schedule.timesteps(params.steps) if hasattr(params, "steps") else []
    shape = (frames, int(model.unet.config.in_channels), size[1] // model.scale, size[0] // model.scale)
    latents = torch.zeros(shape)
    clip = EditInput(latents, lambda index: latents, timesteps, source, target)
    outline: Outline = module.outline(model, clip, params)
    controller = Controller(model.unet, outline.plan, outline.branches, frames, shape[2:], model.tokenizer.model_max_length)
    lines = [
        f"{method} on {model.name}: {frames} frames of {size[0]}x{size[1]}, latents {shape[1]}x{shape[2]}x{shape[3]}",
        f"branches of each call: {', '.join(outline.branches)}",
        f"steps {outline.start + 1} to {outline.start + outline.iterations}, {outline.evaluations} evaluations per frame, inversion not counted",
    ]
    for rule, (name, sites) in zip([*outline.plan.rules, *outline.plan.probes], controller.matched, strict=True):
        lines.append(f"{name}: {len(sites)} sites")
        lines += [f"    {site.path} (1/{site.scale})" for site in sites]
        if hasattr(rule, "steps"):
            lines.append("    steps " + "".join("#" if on else "." for on in rule.steps))
    lines.append(f"attention maps kept: {controller.store.predicted_bytes() / 2**20:.2f} MiB")
    return "\n".join([*lines, *outline.notes])
