"""How long an edit will take and what it writes, for --explain.

One evaluation of the network, of one frame, is measured once per machine, model and size, and kept
in the cache; batches of frames may go a little faster than that.
"""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit.documents import Kind, read_json, table
from vedit.errors import InputError
from vedit.jobs import cache
from vedit.jobs.edit.memory import amount
from vedit.jobs.edit.unfinished import name_of

if TYPE_CHECKING:
    from vedit.jobs.edit.windows import Edit
    from vedit.models.family import Family

GRADIENT = 4  # evaluations of a pass forwards, and again on the way back, and the way back as two


def told(edit: Edit) -> str:
    """A line for --explain."""
    each, sampled = evaluation_s(edit), edit.prepared.evaluations
    tuned, inverted, nulled = tuning_evaluations(edit), inversion_evaluations(edit), null_evaluations(edit)
    is_clip = edit.model.frame_axis
    count = -(-edit.frames // edit.window) if is_clip else edit.frames
    seconds = each * (tuned + inverted + nulled + sampled) * count
    unit = "clip" if is_clip else "frame"
    long = (
        f"{seconds / 3600:.1f} hours"
        if seconds >= 3600
        else f"{seconds / 60:.0f} minutes"
        if seconds >= 90
        else f"{seconds:.1f} s"
    )
    first = [f"{tuned} for tuning"] if tuned else []
    first += [f"{inverted} for the inversion"] + ([f"{nulled} at most for null embeddings"] if nulled else [])
    kept = "unless they are kept" if len(first) > 1 else "unless it is kept"
    parts = (
        f"an evaluation of a {unit} takes {each:.2g} s here; a {unit} takes {', '.join(first)}, {kept}, and"
        f" {sampled} for the edit"
    )
    return f"time: about {long} ({parts}); disk: {amount(disk_bytes(edit))} while it runs"


def inversion_evaluations(edit: Edit) -> int:
    """Evaluations per frame of the inversion that the method reads."""
    params: Any = edit.params
    return inverting(params) if "inversion" in edit.module.NEEDS else 0


def inverting(params: Any) -> int:
    """Evaluations per frame of an inversion with these settings."""
    from vedit.engine.solvers import evaluations

    steps: int = params.inversion_steps or params.steps
    return steps * (1 + params.fixed_point) if params.solver == "ddim" else evaluations(params.solver, steps)


def tuning_evaluations(edit: Edit) -> int:
    """What tuning on the clip takes, in evaluations per frame."""
    tuning = edit.params.tuning
    return 0 if tuning is None else GRADIENT * tuning.steps


def null_evaluations(edit: Edit) -> int:
    """What null embeddings take at most, in evaluations per frame: where the error is small they are done
    sooner.
    """
    null = edit.params.null
    if null is None:
        return 0
    return int((edit.params.inversion_steps or edit.params.steps) * (2 + GRADIENT * null.inner_steps))


def disk_bytes(edit: Edit) -> int:
    """Frames in temporary files, and the latents of the inversion's levels that are kept."""
    pixels = edit.pixels
    frames = (
        sum(array.size for array in (pixels.frames_FYX3, pixels.full_FYX3) if array is not None)
        + pixels.shown_FYX3.size
    )
    rows, columns = edit.model.latent_size(pixels.selection.shape)
    level = 4 * edit.model.channels * rows * columns * edit.model.frames(edit.frames)
    return int(frames) + (level * (len(edit.timesteps) + 1) if "inversion" in edit.module.NEEDS else 0)


def evaluation_s(edit: Edit) -> float:
    """Seconds of one evaluation on this machine, from the cache or measured now: of one frame, or of a window
    whose frames the network sees all at once.
    """
    import torch

    model, path = edit.model, Path(cache.base()) / "speed.json"
    size = model.latent_size(edit.pixels.selection.shape)
    frames = edit.request.frames if model.frame_axis else 1
    threads = torch.get_num_threads() if model.device.type == "cpu" else 0
    key = name_of(
        platform.node(),
        platform.machine(),
        threads,
        str(model.device),
        str(model.dtype),
        model.offload,
        {key: value for key, value in model.identity().items() if key.endswith("_sha256")},
        size,
        frames,
    )
    known = _known(path)
    if key not in known:
        known[key] = _measured(model, size, frames)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.new")
        partial.write_text(json.dumps(known))
        os.replace(partial, path)
    return known[key]


def _known(path: Path) -> dict[str, float]:
    try:
        kind = Kind("times of evaluations")
        return {key: float(value) for key, value in table(read_json(path, kind), str(path), kind).items()}
    except (InputError, ValueError, TypeError):
        return {}


def _measured(model: Family, size: tuple[int, int], frames: int = 1) -> float:
    """The shorter of two evaluations: the first also loads what the second does not."""
    import torch

    from vedit.engine.sample import Stream, predict

    text = torch.zeros(1, *model.text_shape, device=model.device)
    latents = torch.zeros(frames, model.channels, *size, device=model.device)
    spans = []
    for _ in range(2):
        begin = time.perf_counter()
        with torch.inference_mode():
            float(
                predict(model, [Stream("src", latents, text)], 1, 0, None, 1)["src"].sum()
            )  # the sum waits for the device
        spans.append(time.perf_counter() - begin)
    return min(spans)
