"""Clips from a generator of `vedit train`: a run, a packed folder, or a packed folder on the Hub.

`x0` is the clip that a step foresees. It can be written while sampling, and a stored or changed one
can be noised again and sampled on from any step, inside a mask or everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit.errors import InputError, ModelError, UsageError, VeditError, Warn, option, silent
from vedit.jobs.clips import Pixels, Selection, even_delays, made_clip, read_pixels, write_frames
from vedit.jobs.generate.options import CHECKPOINT, read_by
from vedit.jobs.generate.run import Choices, Made, Take, rate_of
from vedit.jobs.watch import Watch
from vedit.models.checked import read_config
from vedit.models.hub import checked_downloads, first_line, hub_or_cache
from vedit.pixels import from_bytes, to_bytes

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from vedit.engine.sample import Hold
    from vedit.models.unet3d.model import Generator

SUMMARY = "a run of vedit train, or a generator packed from one (folder or Hub id)"
OPTIONS = read_by(CHECKPOINT)
CONFIG = "config.json"


def claims(model: str) -> bool:
    """A folder of ours; or a Hub id whose config.json in the cache, or at the Hub, is ours."""
    from vedit.models.unet3d.checkpoint import FORMAT
    from vedit.training.checkpoint import is_generator

    if os.path.isdir(model):
        return is_generator(Path(model))
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        return False
    try:
        from huggingface_hub import hf_hub_download

        with hub_or_cache(), checked_downloads(model):
            return bool(read_config(Path(hf_hub_download(model, CONFIG))).get("format") == FORMAT)
    except Exception:  # gated, offline, missing, another kind of repository: then it is not known to be ours
        return False


def load(choices: Choices) -> CheckpointMaker:
    """Load the generator. Raises ModelError."""
    from vedit.models.place import choose_device, choose_dtype
    from vedit.models.unet3d.checkpoint import load as load_generator
    from vedit.training.checkpoint import find

    device = choose_device(choices.device)
    folder = (
        Path(choices.model) if os.path.isdir(choices.model) else _fetched(choices.model, choices.revision)
    )
    weights = choices.extra.get("weights", "ema")
    generator = load_generator(*find(folder, weights), weights, device=str(device))
    generator.precision = choose_dtype(choices.dtype, device)
    return CheckpointMaker(generator, choices.warn)


def weights(choices: Choices) -> dict[str, Any]:
    """The hash of the weights that would be loaded. Raises ModelError."""
    from vedit.jobs.recorded import sha256_of
    from vedit.training.checkpoint import find

    folder = (
        Path(choices.model) if os.path.isdir(choices.model) else _fetched(choices.model, choices.revision)
    )
    return {"sha256": sha256_of(str(find(folder, choices.extra.get("weights", "ema"))[1]))}


def _fetched(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        with hub_or_cache(), checked_downloads(name):
            return Path(snapshot_download(name, revision=revision, allow_patterns=[CONFIG, "*.safetensors"]))
    except VeditError:
        raise
    except Exception as error:  # the Hub has many errors, and all mean that it is not here
        raise ModelError(
            f"{name} cannot be fetched: {first_line(error)}", "", "Try again where there is network"
        ) from None


class CheckpointMaker:
    """Samples a generator by DDIM."""

    def __init__(self, generator: Generator, warn: Warn = silent) -> None:
        self.generator, self.warn = generator, warn

    def identity(self) -> dict[str, Any]:
        return self.generator.facts

    def make(self, request: Take, watch: Watch) -> Made:
        """Sample one clip. Raises UsageError for steps, sizes and options that do not fit the model."""
        import dataclasses

        from vedit.engine.clamp import read_clip
        from vedit.engine.sample import Stream, sample

        generator, table, extra = self.generator, self.generator.params.sample, request.extra
        steps = request.steps or table.steps
        guidance = table.guidance if request.guidance is None else request.guidance
        eta = extra.get("eta", table.eta)
        clip = extra.get("clip", table.clip)
        spacing = extra.get("spacing", table.spacing)
        schedule = dataclasses.replace(generator.schedule, spacing=spacing)
        timesteps = schedule.timesteps(steps)
        shape = self._shape(request)
        noise = noise_from(request.seed, shape, generator.device)
        start, x, hold = self._begin(request, shape, schedule, timesteps, noise)
        text = generator.encode_prompt(request.prompt)
        negative = generator.encode_prompt(request.negative) if request.negative else generator.empty
        if request.negative and guidance == 1:
            raise UsageError(
                "a negative prompt has no meaning with guidance 1.",
                "Guidance leads away from it.",
                f"Try {option('guidance', '2')}",
            )
        stream = Stream(
            "clip", x, text, negative, guidance, clamp=read_clip(clip), eta=eta, hold=hold, noise=noise
        )
        fps = request.fps or rate_of(generator.fps)
        keeper = Keeper(extra.get("save_x_start"), extra.get("save_every", 1), fps)
        with keeper:
            generator = dataclasses.replace(generator, schedule=schedule)
            for done in watch(
                sample(generator, timesteps, [stream], start=start), len(timesteps) - start, "sample"
            ):
                keeper.see(done.index, _whole(done.x0["clip"]))
        facts = {
            "steps": steps,
            "guidance": guidance,
            "eta": eta,
            "clip": clip,
            "spacing": spacing,
            "frames": shape[0],
            "size": [shape[3], shape[2]],
        }
        return Made(_frames(_whole(stream.latents)), fps, facts)

    def _shape(self, request: Take) -> tuple[int, ...]:
        params = self.generator.params
        width, height = request.size or params.data.shape
        frames = request.frames or params.data.frames
        for side in (width, height):
            if side % params.model.multiple:
                near = max(params.model.multiple, round(side / params.model.multiple) * params.model.multiple)
                raise UsageError(
                    f"a side of {side} pixels does not fit the model.",
                    f"Sides are multiples of {params.model.multiple}.",
                    f"Try {option('size', near)}",
                )
        if (width, height) != params.data.shape or frames != params.data.frames:
            trained = "x".join(map(str, params.data.shape))
            self.warn(f"the model was trained on {params.data.frames} frames of {trained}; others are a try.")
        return (frames, 3, height, width)

    def _begin(
        self,
        request: Take,
        shape: tuple[int, ...],
        schedule: Any,
        timesteps: list[int],
        noise: Callable[[], Tensor],
    ) -> tuple[int, Tensor, Hold | None]:
        """The first step, what it starts from, and what is held: pure noise, or an x0 noised again."""
        from vedit.engine.sample import Hold

        extra = request.extra
        source, mask = extra.get("from_x_start"), extra.get("mask", ())
        if source is None:
            for name in ("from_step", "mask"):
                if extra.get(name):
                    raise UsageError(
                        f"{option(name)} needs {option('from_x_start')}.",
                        "It says where to go on from a stored clip.",
                    )
            return 0, noise(), None
        start = extra.get("from_step", 0)
        if not 0 <= start < len(timesteps):
            raise UsageError(
                f"{option('from_step', start)} is not one of {len(timesteps)} steps.",
                f"Give 0 to {len(timesteps) - 1}; 0 makes everything anew.",
            )
        frames, channels, height, width = shape
        pixels, whole = read_x_start(
            source, (1, channels, frames, height, width), rate_of(self.generator.fps)
        )
        x0 = whole[0].transpose(0, 1).to(self.generator.device)
        x = schedule.mix(x0, noise(), schedule.level(timesteps[start]))
        return start, x, Hold(x0, read_mask(mask, pixels).to(x0.device)) if mask else None


def noise_from(seed: int, shape: tuple[int, ...], device: torch.device) -> Callable[[], Tensor]:
    """Noise (F, C, Y, X) of a seed, drawn channel by channel on the CPU so that it is the same on every
    device.
    """
    import torch

    generator, (frames, channels, *size) = torch.Generator().manual_seed(seed), shape
    return lambda: torch.randn((channels, frames, *size), generator=generator).transpose(0, 1).to(device)


def _whole(clip_F3YX: Tensor) -> Tensor:
    """A clip as (1, 3, F, Y, X)."""
    return clip_F3YX.transpose(0, 1)[None]


def _frames(clip_13FYX: Tensor) -> np.ndarray:
    """A clip in [-1, 1] as uint8 frames (F, Y, X, 3)."""
    return to_bytes(clip_13FYX[0].transpose(0, 1))


class Keeper:
    """Writes the x0 of every `every`-th step: a folder (exact tensors and GIFs), one PNG strip (a row per
    step), or one clip (step after step).
    """

    def __init__(self, target: str | None, every: int, fps: Any) -> None:
        self.target, self.every, self.fps = target, every, fps
        self.kept: list[tuple[int, Tensor]] = []

    @property
    def is_folder(self) -> bool:
        assert self.target is not None
        return os.path.isdir(self.target) or not os.path.splitext(self.target)[1]

    def __enter__(self) -> Keeper:
        if self.target is not None and self.is_folder:
            os.makedirs(self.target, exist_ok=True)
        return self

    def see(self, step: int, x0: Tensor) -> None:
        if self.target is None or step % self.every:
            return
        if self.is_folder:
            self._write(os.path.join(self.target, f"step-{step:03d}"), x0)
        else:
            self.kept.append((step, x0))

    def _write(self, path: str, x0: Tensor) -> None:
        from safetensors.torch import save

        from vedit.media.atomic import open_output

        with open_output(f"{path}.safetensors") as stream:
            stream.write(save({"x0": x0[0].float().cpu().contiguous()}))
        frames = _frames(x0)
        write_frames(frames, even_delays(len(frames), self.fps), f"{path}.gif")

    def __exit__(self, kind: Any, *error: object) -> None:
        if not self.kept or kind is not None:
            return
        import numpy as np

        assert self.target is not None
        if self.target.lower().endswith(".png"):
            import torch

            from vedit.training.video import write_strip

            write_strip(torch.cat([x0 for _, x0 in self.kept]), Path(self.target))
            return
        frames = np.concatenate([_frames(x0) for _, x0 in self.kept])
        write_frames(frames, even_delays(len(frames), self.fps), self.target)


def read_x_start(name: str, shape: tuple[int, ...], fps: Any) -> tuple[Pixels, Tensor]:
    """A stored x0, (1, 3, F, Y, X): exact from safetensors, else the frames of a clip.

    Raises InputError when its frames or size are not those to be made.
    """
    frames, height, width = shape[2:]
    if not name.endswith(".safetensors"):
        pixels = read_pixels(name, Selection(frames=None, size=(width, height)))
        x0 = from_bytes(pixels.frames_FYX3).transpose(0, 1)[None]
    else:
        x0 = _stored(name)
        made = _frames(x0)
        delays = even_delays(len(made), fps)
        clip, _ = made_clip(made, delays, name)
        pixels = Pixels(
            made, delays, 0, clip, Selection(0, 1, len(made), (made.shape[2], made.shape[1])), "", ""
        )
    if tuple(x0.shape) != shape:
        found = f"{x0.shape[2]} frames of {x0.shape[4]}x{x0.shape[3]}"
        raise InputError(
            f"{name}: it has {found}, and {frames} frames of {width}x{height} are to be made.",
            "",
            f"Give {option('frames')} and {option('size')} to match, or cut the clip",
        )
    return pixels, x0


def _stored(name: str) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(name)["x0"][None]
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file.") from None
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(f"{name}: not an x0 of {option('save_x_start')}: {error}.") from None


def read_mask(specs: tuple[str, ...], pixels: Pixels) -> Tensor:
    """Where to make anew, (F, 1, Y, X) in [0, 1]."""
    import torch

    from vedit.jobs.masks import EditMask

    mask = EditMask(specs, pixels).pixels(slice(None))
    return torch.from_numpy(mask).float()[:, None] / 255
