"""Invert a clip: from its pixels to the noise that samples back to it, kept for edits to come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit.app.clips import Pixels
from vedit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from vedit.diffusion.artefact import Artefact
    from vedit.diffusion.models import Model

Watch = Callable[[Iterable[Any], int, str], Iterator[Any]]


def unwatched(steps: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """Progress that shows nothing."""
    return iter(steps)


class InversionSettings(NamedTuple):
    """How to invert. steps: levels computed. fixed_point: further passes per step."""

    prompt: str
    steps: int = 50
    fixed_point: int = 1
    frames_per_call: int = 8


def inversion_facts(model: Model, pixels: Pixels, settings: InversionSettings) -> dict[str, Any]:
    """The identity of an inversion: everything its latents depend on."""
    return {
        "kind": "ddim",
        "fixed_point": settings.fixed_point,
        "model": model.identity(),
        "source": pixels.facts(),
        "prompt": settings.prompt,
        "negative": "",
        "steps": settings.steps,
        "saved": model.schedule.timesteps(settings.steps),
        "cfg": 1.0,
        "scheduler": dict(model.schedule.identity),
        "null": None,
        "dtype": str(model.dtype).removeprefix("torch."),
        "latent_dtype": "float32",
    }


def check_prompt(model: Model, prompt: str) -> None:
    """Refuse words that the embedded model has never seen, before it makes a smear of them."""
    if model.is_embedded and prompt:
        from vedit.data.grammar import check_words

        check_words(prompt)


def to_tensor(pixels: Pixels) -> Tensor:
    """Pixels as the autoencoder wants them: (F, 3, Y, X) in [-1, 1]."""
    import torch

    return torch.from_numpy(pixels.frames_FYX3).permute(0, 3, 1, 2).float() / 127.5 - 1


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pixels in [-1, 1], as 8-bit pictures show them."""
    import torch

    def shown(x: Tensor) -> Tensor:
        return ((x.clamp(-1, 1) + 1) * 127.5).round()

    error = float(torch.mean((shown(a) - shown(b)).double() ** 2))
    return float("inf") if error == 0 else 10 * float(torch.log10(torch.tensor(255.0**2 / error, dtype=torch.float64)))


def invert_video(model: Model, pixels: Pixels, path: str, settings: InversionSettings, *, watch: Watch = unwatched) -> dict[str, Any]:
    """Invert and write the artefact at `path`; returns what was measured.

    watch: wraps the steps to show progress. Each level is written as it is computed, so memory does
    not grow with the steps.
    """
    from vedit.diffusion.artefact import identity_key, writing
    from vedit.diffusion.invert import invert

    started = time.perf_counter()
    check_prompt(model, settings.prompt)
    facts = inversion_facts(model, pixels, settings)
    z0 = model.encode_frames(to_tensor(pixels))
    text = model.encode_prompt(settings.prompt)
    timesteps = model.schedule.timesteps(settings.steps)
    shapes: dict[str, tuple[int, ...]] = {"z0": tuple(z0.shape), "text/source": tuple(text.shape)}
    # cleanest level first: the order in which inversion makes them, so each is written as computed
    shapes.update({f"latents/{t:04d}": tuple(z0.shape) for t in reversed(timesteps)})
    with writing(path, shapes, facts) as writer:
        writer.append("z0", z0)
        writer.append("text/source", text)
        steps = invert(model.unet, model.schedule, timesteps, z0, text, fixed_point=settings.fixed_point, frames_per_call=settings.frames_per_call)
        for step in watch(steps, len(timesteps), "invert"):
            writer.append(f"latents/{step.timestep:04d}", step.latents)
    return {"key": identity_key(facts), "path": path, "seconds": round(time.perf_counter() - started, 3), "noise_std": round(float(step.latents.std()), 4)}


def reconstruct(model: Model, artefact: Artefact, steps: int, frames_per_call: int = 8) -> Tensor:
    """Sample an inversion back at guidance 1: the latents that should equal z0."""
    from vedit.diffusion.sample import Stream, sample

    timesteps = model.schedule.timesteps(steps)
    artefact.check_steps(timesteps)
    stream = Stream("src", artefact.latents(timesteps[0]).to(model.device), artefact.text().to(model.device))
    for _ in sample(model.unet, model.schedule, timesteps, [stream], frames_per_call=frames_per_call):
        pass
    return stream.latents


def measure(model: Model, pixels: Pixels, path: str, settings: InversionSettings) -> dict[str, float]:
    """How well an inversion samples back, in dB: to the clip, and to the autoencoder's own round trip."""
    from vedit.diffusion.artefact import Artefact

    artefact = Artefact(path)
    result = model.decode_latents(reconstruct(model, artefact, settings.steps, settings.frames_per_call))
    codec = model.decode_latents(artefact.latents(None))
    return {"psnr": round(psnr(result.cpu(), to_tensor(pixels)), 2), "psnr_vae": round(psnr(result, codec), 2)}


def cached_inversion(
    model: Model, pixels: Pixels, settings: InversionSettings, *, given: str | None = None, watch: Watch = unwatched
) -> tuple[Artefact, dict[str, Any]]:
    """The inversion to edit from: the file given, else the cache's, else a new one put there."""
    from vedit.app import cache
    from vedit.diffusion.artefact import Artefact, identity_key

    facts = inversion_facts(model, pixels, settings)
    if given is not None:
        artefact = Artefact(given)
        artefact.check_against(facts, same_prompt=True)
        return artefact, {"key": artefact.key, "path": given, "seconds": 0.0}
    key = identity_key(facts)
    path = os.path.join(cache.folder(), f"{key}.inv.safetensors")
    if os.path.exists(path):
        return Artefact(path), {"key": key, "path": path, "seconds": 0.0, "cached": True}
    try:
        os.makedirs(cache.folder(), exist_ok=True)
    except OSError as error:
        raise UsageError(f"the cache folder {cache.folder()} cannot be made: {error.strerror}.", "", "Set VEDIT_CACHE_DIR to a folder of yours") from None
    report = invert_video(model, pixels, path, settings, watch=watch)
    return Artefact(path), report
