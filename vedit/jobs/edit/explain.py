"""`--explain`: what an edit will do, before its first evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vedit.errors import Warn, silent
from vedit.jobs.edit import cost
from vedit.jobs.edit.memory import need_of, told
from vedit.jobs.edit.windows import Edit
from vedit.methods.sampled import bound

if TYPE_CHECKING:
    from vedit.jobs.clips import Pixels
    from vedit.jobs.edit.job import Job
    from vedit.models.family import Model


def sizes_told(sizes: dict[str, Any]) -> str:
    """The way of a frame through an edit."""
    source, worked, filled, output = (
        "x".join(map(str, sizes[key])) for key in ("source", "worked", "filled", "output")
    )
    steps = (
        [source]
        + ["its centre square"] * (sizes["crop"] == "square")
        + [f"worked on as {worked}"] * (worked != source)
    )
    steps += [f"filled up to {filled}"] * (filled != worked) + [f"written as {output}"] * (output != worked)
    return ", ".join(steps)


def packing(edit: Edit) -> list[str]:
    """How a codec that packs frames takes those of the clip."""
    model, pictures = edit.model, edit.window
    filled, frames = model.filled(pictures), model.frames(pictures)
    if frames == pictures:
        return []
    more = f", filled up to {filled} by repeating the last" if filled > pictures else ""
    return [f"{pictures} frames{more}: the first alone and then {(filled - 1) // (frames - 1)} in one, which"
            f" is {frames} latent frames that see each other"]  # fmt: skip


def explain(job: Job, model: Model, pixels: Pixels, warn: Warn = silent) -> str:
    """The plan in words: branches, rules with their sites and steps, evaluations, memory.

    Raises UsageError or ModelError for a plan that does not fit the prompts or the model.
    """
    edit = Edit(job, model, pixels, warn)
    prepared = edit.prepared
    seen = prepared.seen or edit.request
    controller = bound(edit.model, seen, prepared.plan, prepared.branches, seen.frames)
    lines = [
        (
            f"{job.method} on {model.name}: {edit.frames} frames, {sizes_told(edit.sizes())}, latents"
            f" {'x'.join(map(str, edit.request.shape))}"
        ),
        *packing(edit),
        *edit.model.about,
        f"branches of each call: {', '.join(prepared.branches)}",
        (
            f"steps {prepared.start + 1} to {prepared.start + prepared.iterations}, {prepared.evaluations}"
            f" evaluations per {'clip' if edit.model.frame_axis else 'frame'}, inversion not counted"
        ),
    ]
    controls = getattr(edit.model, "controls", None)
    for net in () if controls is None else controls.told:
        goes_by = net["clip"] or net["tool"]
        lines.append(f"ControlNet {net['net']}, weight {net['weight']:g}, goes by {goes_by}")
    for rule, sites in controller.matched:
        lines.append(f"{rule.name}: {f'{len(sites)} sites' if rule.select is not None else rule.stage}")
        lines += [f"    {site.path} (1/{site.scale})" for site in sites]
        if rule.steps:
            lines.append("    steps " + "".join("#" if on else "." for on in rule.steps))
    lines.append(f"attention maps kept: {controller.store.predicted_bytes() / 2**20:.2f} MiB")
    lines.append(
        "detail that the codec loses of the clip: "
        + (
            "given back where the edit leaves the clip alone"
            if edit.developer.gives_detail
            else "not given back"
        )
    )
    return "\n".join([*lines, *prepared.about, *prepared.notes, *_costs(edit)])


def costs(job: Job, model: Model, pixels: Pixels, warn: Warn = silent) -> list[str]:
    """The lines of a plan on memory and on time. Raises as `explain` does."""
    return _costs(Edit(job, model, pixels, warn))


def _costs(edit: Edit) -> list[str]:
    return [told(need_of(edit), edit), cost.told(edit)]
