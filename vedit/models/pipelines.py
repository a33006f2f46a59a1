"""Any text-to-video pipeline of diffusers by folder or Hub id, called through one adapter.

The adapter reads the signature of the pipeline's call: what it takes is handed over under its own
name, what it lacks is an error when the user asked for it. The rules for frames and sides come from
the autoencoder and the patches of the network, and a value that breaks them is refused with the
nearest ones that fit. Nothing of a checkpoint is executed: the class must be one of diffusers' own.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from vedit.errors import MemoryBudgetError, ModelError, UsageError, nearest, option
from vedit.models.adapters import HUB_ID, Found, locate
from vedit.models.checked import check_index, check_part, check_parts, read_config, tensor_names
from vedit.models.hub import download_of, explained, fetch_folder, first_line, read_json, weights_of
from vedit.models.lora import merge
from vedit.models.place import choose_device, choose_dtype, quiet_libraries

INDEX = "model_index.json"
FRAMES = ("num_frames", "video_length", "frames")
RATES = ("frame_rate", "fps")
TEMPORAL = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor")
SPATIAL = (
    "vae_scale_factor_spatial",
    "vae_spatial_compression_ratio",
    "vae_spatial_scale_factor",
    "vae_scale_factor",
)
# Frames a second that a family was trained at, as its own examples export it; the call does not tell.
TRAINED_FPS = {
    "Wan": 16, "SkyReelsV2": 24, "HunyuanVideo15": 24, "HunyuanVideo": 15, "CogVideoX": 8,
    "Mochi": 30, "Allegro": 15, "EasyAnimate": 8, "SanaVideo": 16, "Kandinsky5": 24,
}  # fmt: skip
OTHER_FPS = 8


class Rules(NamedTuple):
    """What a model asks of a clip: frames = factor * k + rest, at most `longest`; sides are multiples of
    `multiple`.
    """

    factor: int = 1
    rest: int = 0
    longest: int | None = None
    multiple: int = 8

    def check_frames(self, frames: int) -> None:
        """Raise UsageError, with the counts that fit, unless this many frames do."""
        if self.longest is not None and frames > self.longest:
            raise UsageError(
                f"{frames} frames are too many.",
                f"The model's motion layers know {self.longest} places in time.",
                f"Try {option('frames', self.longest)}",
            )
        if frames % self.factor == self.rest % self.factor:
            return
        below = (frames - self.rest) // self.factor * self.factor + self.rest
        near = [count for count in (below, below + self.factor) if count > 0]
        why = f"Its autoencoder packs {self.factor} frames into one" + (
            ", the first alone" if self.rest else ""
        )
        raise UsageError(
            f"{frames} frames do not fit the model.",
            f"{why}: it makes {self.factor}k{' + 1' * self.rest}.",
            f"Try {' or '.join(option('frames', count) for count in near)}",
        )

    def check_size(self, width: int, height: int) -> None:
        """Raise UsageError, with the nearest size that fits, unless this one does."""
        if width % self.multiple == 0 == height % self.multiple and min(width, height) > 0:
            return
        near = [max(self.multiple, round(side / self.multiple) * self.multiple) for side in (width, height)]
        raise UsageError(
            f"{width}x{height} pixels do not fit the model.",
            f"Both sides are multiples of {self.multiple}: its latents and patches.",
            f"Try {option('size', f'{near[0]}x{near[1]}')}",
        )


class Order(NamedTuple):
    """What to make; None leaves a value to the pipeline. more: further arguments of its call, by name."""

    prompt: str
    seed: int = 0
    frames: int | None = None
    size: tuple[int, int] | None = None
    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    fps: float | None = None
    more: Mapping[str, Any] = {}


class TextToVideo:
    """A loaded pipeline."""

    def __init__(self, name: str, pipe: Any, device: torch.device) -> None:
        self.name, self.pipe, self.device = name, pipe, device
        self.parameters = call_parameters(type(pipe))
        self.rules = rules_of(pipe, self.parameters)

    @property
    def kind(self) -> str:
        return type(self.pipe).__name__

    def default(self, name: str) -> Any:
        """The pipeline's own value of a parameter, None when it has none."""
        value = self.parameters[name].default if name in self.parameters else None
        return None if value is inspect.Parameter.empty else value

    def rate(self, asked: float | None) -> float:
        """Frames a second: as asked, the pipeline's default, or what its family was trained at."""
        own = next((self.default(name) for name in RATES if self.default(name)), None)
        family = next((fps for family, fps in TRAINED_FPS.items() if self.kind.startswith(family)), OTHER_FPS)
        if self.kind == "WanPipeline" and self.pipe.config.get("expand_timesteps"):
            family = 24  # Wan 2.2 5B, the one with a larger autoencoder
        return float(asked or own or family)

    def arguments(self, order: Order) -> dict[str, Any]:
        """The call's arguments for an order.

        Raises UsageError for what the pipeline lacks or its rules forbid.
        """
        if order.frames is not None:
            self.rules.check_frames(order.frames)
        if order.size is not None:
            self.rules.check_size(*order.size)
        width, height = order.size or (None, None)
        asked = (  # an option, what a call may name it, and what was asked for
            ("frames", FRAMES, order.frames),
            ("size", ("width",), width),
            ("size", ("height",), height),
            ("steps", ("num_inference_steps",), order.steps),
            ("guidance", ("guidance_scale",), order.guidance),
            ("negative", ("negative_prompt",), order.negative),
        )
        found: dict[str, Any] = {
            "prompt": order.prompt,
            "generator": torch.Generator().manual_seed(order.seed),
        }
        for own, names, value in asked:
            if value is None:
                continue
            name = next((name for name in names if name in self.parameters), None)
            if name is None:
                raise UsageError(
                    f"{self.kind} has no {option(own)}.",
                    f"Its call takes: {', '.join(self.settable())}.",
                    f"Leave out {option(own)}",
                )
            found[name] = value
        if order.fps is not None:
            found.update({name: order.fps for name in RATES if name in self.parameters})
        if "output_type" in self.parameters:
            found["output_type"] = "np" if self.default("output_type") != "tensor" else "tensor"
        return {**found, **self._more(order.more, found)}

    def _more(self, more: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
        for name in more:
            if name not in self.settable():
                raise UsageError(
                    f"{self.kind} takes no {name!r}{nearest(name, self.settable())}",
                    f"Its call takes: {', '.join(self.settable())}.",
                )
            if name in taken:
                instead = f"Leave out {option('pipe', name)}"
                raise UsageError(f"{name} is set by an option of its own.", "", instead)
        return dict(more)

    def settable(self) -> list[str]:
        """Parameters that a user can set by text: no tensors, callbacks or formats."""
        own = (
            "prompt",
            "generator",
            "output_type",
            "return_dict",
            "latents",
            "attention_kwargs",
            "cross_attention_kwargs",
        )
        return [
            name
            for name in self.parameters
            if name not in own
            and "callback" not in name
            and not name.endswith(("_embeds", "_mask", "_image"))
        ]

    def make(self, order: Order, on_step: Callable[[], None] = lambda: None) -> np.ndarray:
        """The clip as uint8 (F, Y, X, 3); equal seeds give equal noise on every device.

        on_step: called after each sampling step, where the pipeline tells of them.
        Raises UsageError for what the pipeline refuses, MemoryBudgetError when it does not fit.
        """
        arguments = {**self.arguments(order), **self._callback(on_step)}
        less = f"{option('offload', 'model')}, {option('vae_tiling', True)}, or fewer {option('frames')}"
        with calling(self.name, self.pipe, self.device, less, "See: vedit generate --help"):
            result = self.pipe(**arguments)
        return to_frames(result.frames if hasattr(result, "frames") else result.images)

    def _callback(self, on_step: Callable[[], None]) -> dict[str, Any]:
        if "callback_on_step_end" in self.parameters:
            return {"callback_on_step_end": told(on_step)}
        if "callback" in self.parameters:
            return {"callback": lambda step, timestep, latents: on_step(), "callback_steps": 1}
        return {}


def told(on_step: Callable[[], None]) -> Callable[..., dict[str, Any]]:
    """A callback of diffusers' that tells of each step, and changes nothing."""

    def at_end(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        on_step()
        return {}

    return at_end


@contextmanager
def calling(name: str, pipe: Any, device: torch.device, less: str, next_step: str = "") -> Iterator[None]:
    """Within it a pipeline is called without gradients, and what it raises is said in our words.

    less: what to try where memory does not suffice. Raises UsageError for what the pipeline refuses,
    MemoryBudgetError.
    """
    try:
        with torch.inference_mode():
            yield
    except torch.OutOfMemoryError:
        raise MemoryBudgetError(f"{name} does not fit {device} with this clip.", "", f"Try {less}") from None
    except ValueError as error:  # the pipeline's own checks
        raise UsageError(f"{type(pipe).__name__} refuses this: {first_line(error)}.", "", next_step) from None


def call_parameters(kind: type) -> dict[str, inspect.Parameter]:
    """The parameters of a pipeline's call by name."""
    found = inspect.signature(kind.__call__).parameters
    return {
        name: parameter
        for name, parameter in found.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def rules_of(pipe: Any, parameters: Mapping[str, inspect.Parameter]) -> Rules:
    """Read a pipeline's rules from its autoencoder, its network and the default of its call.

    Autoencoders that keep the first frame apart have defaults of k * factor + 1; others, such as
    Allegro's, of k * factor.
    """
    factor = next((int(getattr(pipe, name)) for name in TEMPORAL if getattr(pipe, name, None)), 1)
    spatial = next((int(getattr(pipe, name)) for name in SPATIAL if getattr(pipe, name, None)), 8)
    network = getattr(pipe, "transformer", None) or getattr(pipe, "transformer_2", None)
    patch = _setting(network, "patch_size") or 1
    default = (
        next((parameters[name].default for name in FRAMES if name in parameters), None)
        or _setting(network, "sample_frames")
        or 1
    )
    motion = _setting(getattr(pipe, "motion_adapter", None), "motion_max_seq_length")
    multiple = spatial * int(patch[-1] if isinstance(patch, (list, tuple)) else patch)
    return Rules(
        factor, int(default % factor == 1), motion, max(8, multiple)
    )  # the calls themselves ask for 8 at least


def _setting(part: Any, name: str) -> Any:
    return getattr(getattr(part, "config", None), name, None)


def to_frames(result: Any) -> np.ndarray:
    """A pipeline's result as uint8 (F, Y, X, 3): the first clip of arrays or tensors in [0, 1], or of
    pictures.
    """
    clip = result.float().cpu().numpy() if isinstance(result, torch.Tensor) else result
    if isinstance(clip, list) and clip and isinstance(clip[0], (list, np.ndarray)) and np.ndim(clip[0]) != 3:
        clip = clip[0]
    clip = np.stack([np.asarray(frame) for frame in clip])
    clip = clip[0] if clip.ndim == 5 else clip
    if clip.dtype != np.uint8:
        clip = np.rint(np.nan_to_num(clip).clip(0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(clip[..., :3])


# --- loading -------------------------------------------------------------------------------------


def load_pipeline(
    name: str,
    revision: str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: str = "none",
    vae_tiling: bool = False,
    variant: str | None = None,
    motion_adapter: str | None = None,
    lora: Sequence[str] = (),
) -> TextToVideo:
    """Load a text-to-video pipeline by folder or Hub id.

    device, dtype, offload: as in `choose_place`. variant: of the weights, such as fp16. motion_adapter: makes
    a Stable Diffusion model an AnimateDiff. lora: as in `vedit.models.adapters.parse`.
    Raises ModelError for weights missing, gated, offline, damaged, or of another family.
    """
    place = choose_place(device, dtype, offload)
    kind, folder, _ = find_pipeline(name, revision, variant, motion_adapter)
    extra = _animated(str(folder), motion_adapter, place.dtype) if motion_adapter else {}
    found = locate(lora, None, name)
    pipe, _ = open_pipeline(name, kind, folder, place, lora=found, variant=variant, **extra)
    if vae_tiling:
        if not hasattr(getattr(pipe, "vae", None), "enable_tiling"):
            raise UsageError(
                f"the autoencoder of {kind.__name__} has no tiling.", "", f"Leave out {option('vae_tiling')}"
            )
        pipe.vae.enable_tiling()
    return TextToVideo(name, pipe, place.device)


class Place(NamedTuple):
    """Where a pipeline runs, in which precision, and what leaves the device between its uses."""

    device: torch.device
    dtype: torch.dtype
    offload: str


def choose_place(device: str = "auto", dtype: str = "auto", offload: str = "none") -> Place:
    """dtype: auto is bf16 on a GPU, since fp16 overflows in the large text encoders, and fp32 on a CPU.

    Raises UsageError for a device that cannot be used, and for an offload from the CPU.
    """
    found = choose_device(device)
    if offload != "none" and found.type == "cpu":
        raise UsageError(
            f"{option('offload', offload)} moves weights from a GPU to memory and back, and the device is the"
            " CPU.",
            "",
            f"Leave out {option('offload')}",
        )
    return Place(found, choose_dtype(dtype, found, half=torch.bfloat16), offload)


def open_pipeline(
    name: str,
    kind: Any,
    folder: Path,
    place: Place,
    *,
    lora: Sequence[Found] = (),
    variant: str | None = None,
    **parts: Any,
) -> tuple[Any, list[dict[str, Any]]]:
    """A pipeline of a class from a folder that has been looked through, and the LoRAs merged into it.

    parts: those that are not the folder's. Raises ModelError for weights missing or damaged.
    """
    quiet_libraries()
    own = {_dtype_name(): place.dtype, **parts}
    try:
        pipe = kind.from_pretrained(str(folder), variant=variant, local_files_only=True, **own)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # damaged files raise what their parsers raise
        raise ModelError(
            f"{name}: the pipeline cannot be loaded: {first_line(error)}.",
            "",
            f"Fetch it again: vedit models fetch {name} --force",
        ) from None
    check_whole(name, folder, pipe)
    merged = merge(name, networks_of(pipe), lora)
    pipe.set_progress_bar_config(disable=True)
    _put(pipe, place.device, place.offload)
    return pipe, merged


def networks_of(pipe: Any) -> dict[str, Any]:
    """The parts of a pipeline that LoRAs go into."""
    parts = ("unet", "transformer", "transformer_2", "text_encoder", "text_encoder_2")
    return {part: pipe.components[part] for part in parts if pipe.components.get(part) is not None}


def find_pipeline(
    name: str, revision: str | None = None, variant: str | None = None, motion_adapter: str | None = None
) -> tuple[Any, Path, dict[str, Any]]:
    """A pipeline's class, its folder, fetched where it is at the Hub, and its index, all looked through.

    Raises ModelError.
    """
    index = read_index(name, revision)
    kind = check_text_to_video(name, index, motion_adapter)
    folder = Path(name) if os.path.isdir(name) else fetch_pipeline(name, revision, variant)
    check_parts(name, folder, index)
    return kind, folder, index


def part_hashes(folder: Path, index: Mapping[str, Any], motion_adapter: str | None = None) -> dict[str, str]:
    """SHA-256 of each part of a pipeline: of the names and the contents of the files in its folder.

    A large file in the Hub's cache is not read: it lies there under its own hash, compared when it came.
    """
    places = {
        part: folder / part
        for part, entry in index.items()
        if isinstance(entry, list) and (folder / part).is_dir()
    }
    if motion_adapter is not None:
        places["motion_adapter"] = (
            Path(motion_adapter) if os.path.isdir(motion_adapter) else fetch_adapter(motion_adapter)
        )
    return {part: _hash_of(place) for part, place in sorted(places.items())}


def _hash_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        digest.update(f"{path.name} {_content_hash(path)}\n".encode())
    return digest.hexdigest()


def _content_hash(path: Path) -> str:
    blob = path.resolve()
    if blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return blob.name
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_whole(name: str, folder: Path, pipe: Any) -> None:
    """Raise ModelError when a network's file lacks tensors: the libraries would fill them with random
    numbers.

    Looks at networks of diffusers in safetensors. A file that also holds names the network does not
    know is an older spelling, which diffusers translates.
    """
    for part, network in pipe.components.items():
        files = sorted((folder / part).glob("*.safetensors"))
        if not files or type(network).__name__ != _class_in(folder / part):
            continue  # none of diffusers, or made of more than this file, such as AnimateDiff's network
        held = {tensor for file in files for tensor in tensor_names(file)}
        wanted = set(network.state_dict())
        if held < wanted:
            lacking = sorted(wanted - held)
            raise ModelError(
                f"{name}: {part} lacks {len(lacking)} tensors, such as {lacking[0]}.",
                "",
                f"Fetch it again: vedit models fetch {name} --force",
            )


def _class_in(folder: Path) -> str | None:
    """The class of diffusers that a part's config.json names."""
    try:
        return str(read_config(folder / "config.json")["_class_name"])
    except (ModelError, KeyError):
        return None


def _dtype_name() -> str:
    """What the precision is called: pipelines renamed the argument in diffusers 0.42, and warn of the old
    name.
    """
    from diffusers.utils import deprecation_utils

    return "dtype" if hasattr(deprecation_utils, "_resolve_dtype") else "torch_dtype"


def _put(pipe: Any, device: torch.device, offload: str) -> None:
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    elif offload == "group":
        pipe.enable_group_offload(
            onload_device=device, offload_type="leaf_level", use_stream=device.type == "cuda"
        )
    else:
        pipe.to(device)


def read_index(name: str, revision: str | None = None) -> dict[str, Any]:
    """The model_index.json of a folder or a Hub id. Raises ModelError when there is none."""
    if os.path.isdir(name):
        path = Path(name, INDEX)
    else:
        from huggingface_hub import errors, hf_hub_download

        with explained(name, revision):
            try:
                path = Path(hf_hub_download(name, INDEX, revision=revision))
            except errors.RemoteEntryNotFoundError:
                raise ModelError(
                    f"{name} holds no pipeline of diffusers: it has no {INDEX}.",
                    "",
                    "Look for a repository whose name ends in -Diffusers",
                ) from None
    index = read_json(path, name)
    check_index(name, index)
    return index


def check_text_to_video(name: str, index: Mapping[str, Any], motion_adapter: str | None = None) -> Any:
    """The pipeline's class.

    Raises ModelError unless it is one of diffusers that makes clips from text alone.
    """
    import diffusers

    kind_name = index.get("_class_name")
    if not isinstance(kind_name, str):
        raise ModelError(
            f"{name} brings code of its own for its pipeline.",
            "vedit runs no code from the Hub.",
            "Use a model with a pipeline of diffusers",
        )
    if motion_adapter is not None:
        if kind_name != "StableDiffusionPipeline":
            raise ModelError(
                f"{name} is a {kind_name}.",
                "A motion adapter goes into a StableDiffusionPipeline.",
                f"Leave out {option('motion_adapter')}",
            )
        return diffusers.AnimateDiffPipeline
    kind = getattr(diffusers, kind_name, None) if kind_name.isidentifier() else None
    if not (isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)):
        raise ModelError(
            f"{name} is a {kind_name}, which diffusers {diffusers.__version__} does not have.",
            "",
            "Update diffusers, or use another model",
        )
    parameters = call_parameters(kind)
    needs = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and name != "prompt"
    ]
    if "prompt" in parameters and any(frames in parameters for frames in FRAMES) and not needs:
        return kind
    if needs:
        raise ModelError(
            f"{name} is a {kind_name}: it needs {', '.join(needs)}.",
            "vedit generate makes clips from text alone.",
        )
    hint = (
        f"Add {option('motion_adapter', 'guoyww/animatediff-motion-adapter-v1-5-2')}"
        if kind_name == "StableDiffusionPipeline"
        else "See: vedit generate --help"
    )
    raise ModelError(
        f"{name} is a {kind_name}: it makes pictures, not clips.",
        "A text-to-video pipeline takes a prompt and a number of frames.",
        hint,
    )


def fetch_pipeline(
    name: str, revision: str | None = None, variant: str | None = None, *, force: bool = False
) -> Path:
    """The snapshot of a Hub pipeline, downloaded as far as it is not in the cache: only the files its class
    needs.
    """
    import logging

    from diffusers import DiffusionPipeline

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # that the cache was used offline is no news
    with explained(name, revision):
        try:
            return Path(
                DiffusionPipeline.download(name, revision=revision, variant=variant, force_download=force)
            )
        except ValueError as error:
            raise ModelError(f"{name} cannot be fetched: {first_line(error)}.") from None


def fetch_adapter(text: str) -> Path:
    """The snapshot of a motion adapter on the Hub: its configuration, and its weights in full precision if
    they are there.

    text: OWNER/NAME, with @REVISION behind it for another than the newest.
    """
    from huggingface_hub import HfApi

    found = HUB_ID.fullmatch(text)
    name, revision = (found["name"], found["revision"]) if found and not found["file"] else (text, None)
    with explained(name, revision, download_of(name, revision)):
        try:
            names = [entry.rfilename for entry in HfApi().model_info(name, revision=revision).siblings or ()]
        except OSError:  # offline: what the cache has
            names = []
        chosen = weights_of(names)
        wanted = ["config.json", chosen.file] if chosen else ["config.json", "diffusion_pytorch_model.*"]
        return fetch_folder(name, wanted, revision)


def _animated(folder: str, adapter: str, precision: torch.dtype) -> dict[str, Any]:
    """The parts that make an AnimateDiff of a Stable Diffusion: a motion adapter, by folder or Hub id,
    and the schedule that the published adapters were trained with (linear, from their model cards)."""
    from diffusers import DDIMScheduler, MotionAdapter

    place = Path(adapter) if os.path.isdir(adapter) else fetch_adapter(adapter)
    check_part(adapter, place)
    try:
        motion = MotionAdapter.from_pretrained(str(place), torch_dtype=precision, local_files_only=True)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # as for a pipeline
        raise ModelError(
            f"{adapter}: no motion adapter can be loaded: {first_line(error)}.",
            "It is a folder or a Hub id such as OWNER/NAME.",
        ) from None
    schedule = {
        "beta_schedule": "linear",
        "clip_sample": False,
        "timestep_spacing": "linspace",
        "steps_offset": 1,
    }
    return {
        "motion_adapter": motion,
        "scheduler": DDIMScheduler.from_pretrained(folder, subfolder="scheduler", **schedule),
    }
