"""Edit a clip by text: read, invert, run a method, decode, write, record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit import methods
from vedit.app.clips import MadeSource, Pixels, Selection, check_size, frames_of, read_pixels
from vedit.app.gif import Settings, edit_clip
from vedit.app.invert_video import InversionSettings, Watch, cached_inversion, check_prompt, to_tensor, unwatched
from vedit.app.record import peak_memory_mib, versions, write_record
from vedit.errors import UsageError
from vedit.methods.base import EditInput, read_params

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vedit.diffusion.artefact import Artefact
    from vedit.diffusion.models import Model


class Job(NamedTuple):
    """One edit.

    method: name of a method. params: its parameters by name, validated by the method's class.
    source: what the clip shows; target: what it should show. inversion: an artefact to use.
    keep_outside: put the source's own pixels back outside the mask.
    """

    input: str
    output: str
    method: str
    source: str
    target: str
    selection: Selection
    params: dict[str, Any]
    seed: int = 0
    inversion: str | None = None
    mask: str | None = None
    keep_outside: bool = False
    frames_per_call: int = 8
    preview: str | None = None
    record: bool = True


def edit_video(job: Job, model: Model, settings: Settings, *, watch: Watch = unwatched) -> dict[str, Any]:
    """Run one edit and write its output; returns the run record.

    Everything the user typed is checked before any pixel is read. Raises VeditError.
    """
    started = time.perf_counter()
    module = methods.load(job.method)
    params = read_params(module.Params, job.params, job.method)
    for prompt in (job.source, job.target):
        check_prompt(model, prompt)
    check_size(job.selection.size, latent_multiple(model))
    pixels = read_pixels(job.input, job.selection, warn=settings.warn)
    spans = {"read": _since(started)}
    result, facts = edit_pixels(job, model, module, params, pixels, settings.warn, watch, spans)
    begin = time.perf_counter()
    report = edit_clip(MadeSource(job.input, lambda: frames_of(pixels, result), settings.warn), job.output, [], settings, False)
    if job.preview:
        pair = side_by_side(pixels.frames_FYX3, result)
        edit_clip(MadeSource(job.input, lambda: frames_of(pixels, pair), settings.warn), job.preview, [], settings, False)
    spans["write"] = _since(begin)
    record = {
        "command": "edit",
        "input": job.input,
        "output": job.output,
        "method": job.method,
        "params": params.model_dump(mode="json"),
        "source_prompt": job.source,
        "target_prompt": job.target,
        "seed": job.seed,
        "model": model.identity(),
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "clip": pixels.facts(),
        "selection": job.selection._asdict(),
        "preview": job.preview,
        "frames_per_call": job.frames_per_call,
        "mask": job.mask,
        "keep_outside": job.keep_outside,
        **facts,
        "seconds": {**spans, "total": _since(started)},
        "peak_memory_mib": peak_memory_mib(model.device),
        "images": report.images,
        "versions": versions("torch", "diffusers", "transformers", "pillow"),
    }
    if job.record and job.output != "-":
        write_record(job.output, record)
    return record


def job_of(record: dict[str, Any], output: str) -> Job:
    """The job that a run record describes, for another output."""
    selection = record["selection"]
    size = selection["size"]
    return Job(
        record["input"],
        output,
        record["method"],
        record["source_prompt"],
        record["target_prompt"],
        Selection(selection["start"], selection["stride"], selection["frames"], tuple(size) if isinstance(size, list) else size),
        record["params"],
        record["seed"],
        None,
        record["mask"],
        record["keep_outside"],
        record["frames_per_call"],
    )


def edit_pixels(
    job: Job, model: Model, module: Any, params: Any, pixels: Pixels, warn: Callable[[str], None], watch: Watch, spans: dict[str, float]
) -> tuple[np.ndarray, dict[str, Any]]:
    """The edited frames (F, Y, X, 3) uint8, and facts for the record."""
    facts: dict[str, Any] = {}
    timesteps = model.schedule.timesteps(params.steps) if hasattr(params, "steps") else []
    begin = time.perf_counter()
    if "inversion" in module.NEEDS:
        inversion = InversionSettings(job.source, params.inversion_steps or params.steps, params.fixed_point, job.frames_per_call)
        artefact, facts["inversion"] = cached_inversion(model, pixels, inversion, given=job.inversion, watch=watch)
        artefact.check_steps(timesteps)
        latents = artefact.latents(None).to(model.device)
        trajectory = stored_latents(artefact, timesteps)
    else:
        latents = model.encode_frames(to_tensor(pixels))
        trajectory = no_latents
    spans["invert"] = _since(begin)
    begin = time.perf_counter()
    mask_F1YX = read_mask(job.mask, pixels, model.scale) if job.mask else None
    clip = EditInput(
        latents_FCYX=latents,
        trajectory=trajectory,
        timesteps=timesteps,
        source_prompt=job.source,
        target_prompt=job.target,
        mask_F1YX=None if mask_F1YX is None else mask_F1YX.to(model.device),
        seed=job.seed,
        frames_per_call=job.frames_per_call,
        warn=warn,
    )
    steps = module.run(model, clip, params)
    last = None
    total = getattr(params, "iterations", None) or len(timesteps)
    for last in watch(steps, total, job.method):
        pass
    if last is None:
        raise UsageError(f"{job.method} made no step.", "Its step count must be at least 1.")
    spans["edit"] = _since(begin)
    begin = time.perf_counter()
    result = to_frames(model.decode_latents(last.latents["tgt"]))
    if job.keep_outside:
        result = kept_outside(pixels, result, job.mask)
    spans["decode"] = _since(begin)
    return result, facts


def stored_latents(artefact: Artefact, timesteps: Sequence[int]) -> Callable[[int], Tensor]:
    """The source's latents by step index; one past the last gives the clip's own."""
    return lambda index: artefact.latents(timesteps[index] if index < len(timesteps) else None)


def no_latents(index: int) -> Tensor:
    raise AssertionError("a method that reads the trajectory needs the inversion")


def latent_multiple(model: Model) -> int:
    """Sides of the picture must be multiples of this: every level of the UNet halves the latent."""
    return int(model.scale * 2 ** (len(model.unet.config.block_out_channels) - 1))


def to_frames(pixels_F3YX: Tensor) -> np.ndarray:
    """Pixels in [-1, 1] as uint8 frames (F, Y, X, 3)."""
    import torch

    shown = ((pixels_F3YX.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    array: np.ndarray = shown.permute(0, 2, 3, 1).cpu().numpy()
    return array


def read_mask(name: str, pixels: Pixels, scale: int) -> Tensor:
    """An edit mask at latent size, (F, 1, Y, X) in [0, 1]: white is edited.

    name: an image or a clip (its frames are matched one to one; one picture serves all), or a box
    `LEFT,TOP,RIGHT,BOTTOM` in pixels of the edited size.
    """
    import torch

    full = mask_pixels(name, pixels)
    tensor = torch.from_numpy(full).float()[:, None] / 255
    return torch.nn.functional.avg_pool2d(tensor, scale)


def mask_pixels(name: str, pixels: Pixels) -> np.ndarray:
    """An edit mask at pixel size, (F, Y, X) uint8."""
    import os
    import re

    import numpy as np

    count, height, width = pixels.frames_FYX3.shape[:3]
    if re.fullmatch(r"\d+,\d+,\d+,\d+", name) and not os.path.exists(name):
        left, top, right, bottom = map(int, name.split(","))
        if not (left < right <= width and top < bottom <= height):
            raise UsageError(f"the mask box {name} does not lie in the {width}x{height} frame.", "It is LEFT,TOP,RIGHT,BOTTOM in pixels of the edited size.")
        mask = np.zeros((count, height, width), np.uint8)
        mask[:, top:bottom, left:right] = 255
        return mask
    masks = read_pixels(name, pixels.selection._replace(frames=None, start=0, stride=1)).frames_FYX3[..., 0]
    if len(masks) == 1:
        return np.repeat(masks, count, 0)
    start, stride, _ = pixels.facts()["frames"]
    if len(masks) != count:
        masks = masks[start::stride][:count]
    if len(masks) != count:
        raise UsageError(f"the mask {name} has {len(masks)} frames for {count} of the clip.", "A mask has one frame for all, or one per frame.")
    return masks


def kept_outside(pixels: Pixels, result: np.ndarray, mask: str | None) -> np.ndarray:
    """The source's pixels where the mask is black, the edit's where it is white, mixed between."""
    import numpy as np

    if mask is None:
        raise UsageError("--keep-outside needs a --mask.", "It puts the source back outside the mask.")
    share = mask_pixels(mask, pixels)[..., None].astype(np.float64) / 255
    return np.rint(pixels.frames_FYX3 * (1 - share) + result * share).astype(np.uint8)


def side_by_side(source: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Source | edit, with a thin line between."""
    import numpy as np

    line = np.full((*source.shape[:2], 2, 3), 255, np.uint8)
    return np.concatenate([source, line, result], axis=2)


def _since(begin: float) -> float:
    return round(time.perf_counter() - begin, 3)
