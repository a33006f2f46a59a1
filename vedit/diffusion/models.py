"""Load a Stable Diffusion model by name, folder or Hub id: device, dtype and offload are decided here, once.

Nothing of a checkpoint is executed: components are stock classes of diffusers and transformers,
weights are safetensors, or pickles read with `weights_only`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vedit.diffusion import single_file
from vedit.diffusion.hub import BUILTIN, EMBEDDED, WEIGHED, commit_of, find_folder, first_line, hash_weights, latent_side, read_json, unused_parts, weights_in
from vedit.diffusion.schedule import Schedule, read_schedule
from vedit.diffusion.sharded import shards
from vedit.errors import ModelError, UsageError, VeditError, nearest
from vedit.models.sd.network import UNetNetwork

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

CODEC_PIXELS = 2 * 512 * 512  # that the autoencoder takes at once


@dataclass
class Model(UNetNetwork):
    """A loaded model. Latents are float32 whatever the network's dtype.

    name, folder: where it came from. revision: the commit of a Hub model, else None.
    Everything lies on `device`; with an offload, parts are moved there for their use.
    """

    name: str
    revision: str | None
    folder: Path
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    schedule: Schedule
    device: torch.device
    dtype: torch.dtype
    hashes: dict[str, str] = field(default_factory=dict)
    offload: str = "none"

    @property
    def is_embedded(self) -> bool:
        return self.folder == BUILTIN / EMBEDDED

    @property
    def scale(self) -> int:
        """Pixels per latent entry and side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def native_size(self) -> int:
        """The side in pixels that the model was trained at."""
        return latent_side(self.unet.config.sample_size) * self.scale

    @torch.inference_mode()
    def encode_prompt(self, prompt: str) -> Tensor:
        """The text embedding, (1, L, E) float32. Raises UsageError for a prompt too long."""
        limit = self.tokenizer.model_max_length
        count = len(self.tokenizer(prompt).input_ids)
        if count > limit:
            raise UsageError(
                f"the prompt has {count - 2} tokens, the model reads {limit - 2}: {prompt!r}.", "A longer prompt would be cut in silence.", "Shorten it"
            )
        ids = self.tokenizer(prompt, padding="max_length", max_length=limit, return_tensors="pt").input_ids
        with self._in_use(self.text_encoder):
            return self.text_encoder(ids.to(self.device))[0].float()

    def latent_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the latents of a picture of a width and height: a cell that it fills in part is one."""
        width, height = size
        return -(-height // self.scale), -(-width // self.scale)

    @torch.inference_mode()
    def encode_frames(self, pixels_F3YX: Tensor, chunk: int = 8) -> Tensor:
        """Latents (F, C, Y/s, X/s) of pixels in [-1, 1]: the posterior's mean, scaled.

        Sides that are not multiples of s are filled up with their last row and column.
        """
        pixels_F3YX = padded(pixels_F3YX, self.scale)
        chunk = codec_frames(chunk, pixels_F3YX.shape[-2] * pixels_F3YX.shape[-1])
        with self._in_use(self.vae):
            parts = [self.vae.encode(part.to(self.device, self.vae.dtype)).latent_dist.mean.float() for part in pixels_F3YX.split(chunk)]
        return torch.cat(parts) * self.vae.config.scaling_factor

    @torch.inference_mode()
    def decode_latents(self, latents_FCYX: Tensor, chunk: int = 8, size: tuple[int, int] | None = None) -> Tensor:
        """Pixels (F, 3, Y, X) in [-1, 1], float32, not clipped. size: width and height that `encode_frames` was given, where it filled up."""
        chunk = codec_frames(chunk, latents_FCYX.shape[-2] * latents_FCYX.shape[-1] * self.scale**2)
        with self._in_use(self.vae):
            parts = [
                self.vae.decode((part / self.vae.config.scaling_factor).to(self.device, self.vae.dtype)).sample.float() for part in latents_FCYX.split(chunk)
            ]
        pixels_F3YX = torch.cat(parts)
        return pixels_F3YX if size is None else pixels_F3YX[..., : size[1], : size[0]]

    def _in_use(self, part: Any) -> Any:
        return _OnDevice(part, self.device)

    def identity(self) -> dict[str, Any]:
        """What an inversion depends on, by content: hashes of the weights that made it."""
        if not self.hashes and self.folder.is_file():
            self.hashes = dict.fromkeys(WEIGHED, single_file.digest_of(self.folder))
        for part in WEIGHED:
            if part not in self.hashes:
                self.hashes[part] = hash_weights(self.folder / part)
        return {
            "id": self.name,
            "revision": self.revision,
            "unet_sha256": self.hashes["unet"],
            "vae_sha256": self.hashes["vae"],
            "text_sha256": self.hashes["text_encoder"],
            "inflation": "none",
        }


def padded(pixels_FCYX: Tensor, multiple: int) -> Tensor:
    """Pixels whose sides are multiples: the last row and column are repeated."""
    below, right = -pixels_FCYX.shape[-2] % multiple, -pixels_FCYX.shape[-1] % multiple
    return torch.nn.functional.pad(pixels_FCYX, (0, right, 0, below), mode="replicate") if below or right else pixels_FCYX


def codec_frames(most: int, area: int) -> int:
    """Frames that the autoencoder takes at once, `most` at most; area: pixels of a frame.

    Counted on shapes alone, a frame of 512x512 takes 0.75 GiB on its way, more than in the UNet.
    """
    return max(1, min(most, CODEC_PIXELS // area))


class _OnDevice:
    """Bring a part to the device for a while, if it is kept elsewhere."""

    def __init__(self, part: Any, device: torch.device) -> None:
        self.part = part
        self.device = device
        self.home = next(part.parameters()).device

    def __enter__(self) -> None:
        if self.home != self.device:
            self.part.to(self.device)

    def __exit__(self, *error: object) -> None:
        if self.home != self.device:
            self.part.to(self.home)


def choose_device(name: str = "auto") -> torch.device:
    """auto: cuda, then mps, then cpu. Raises ModelError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"the device {name} cannot be used: {str(error).splitlines()[0]}.", "It is one of auto, cpu, cuda, cuda:N, mps.", "See: vedit env"
        ) from None
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """auto: half precision on a GPU, float32 on a CPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    if name not in DTYPES:
        raise UsageError(f"the dtype {name!r} is not known{nearest(name, DTYPES) or '.'}", f"It is auto or one of {', '.join(DTYPES)}.")
    return DTYPES[name]


def load_model(
    name: str = EMBEDDED,
    revision: str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: str = "none",
    warn: Callable[[str], None] = lambda message: None,
) -> Model:
    """Load a model: "shapes" (embedded), a folder, a file of weights, or a Hub id with an optional revision.

    offload: "none"; "model" keeps the text encoder and the autoencoder on the CPU between their
    uses; "sequential" also streams the UNet layer by layer through the device (accelerate).
    warn: told of parts of the model that are not used.
    Raises ModelError for weights missing, gated, offline, damaged, or of another family.
    """
    _quiet_libraries()
    place, precision = choose_device(device), choose_dtype(dtype, choose_device(device))
    is_file = single_file.is_file(name)
    folder = Path(name) if is_file else find_folder(name, revision)
    # the autoencoder overflows in fp16 on some checkpoints: never below float32 or bf16
    kinds = {"unet": precision, "vae": torch.float32 if precision == torch.float16 else precision, "text_encoder": precision}
    if is_file:
        if revision is not None:
            raise UsageError(f"{name} has no revisions.", "They are versions of a model on the Hub.", "Leave out --revision")
        whole, tokenizer, scheduler = single_file.load_parts(name)
        schedule = read_schedule(scheduler)
        parts = {part: module.to(kinds[part]) for part, module in whole.items()}
    else:
        for part in unused_parts(read_json(folder / "model_index.json", name)):
            warn(f"{name}: its {part} is not used: an edit takes the UNet, the autoencoder and the text encoder")
        schedule = _schedule(name, folder)
        parts, tokenizer = _parts_of(name, folder, kinds)
    _check_fit(name, parts, tokenizer)
    places = int(parts["text_encoder"].config.max_position_embeddings)
    tokenizer.model_max_length = int(min(tokenizer.model_max_length, places))  # 1e30 where it has no limit of its own
    check_channels(name, int(parts["unet"].config.in_channels), int(parts["vae"].config.latent_channels))
    for part_name, part in parts.items():
        part.eval().requires_grad_(False)
        if offload == "none" or (offload == "model" and part_name == "unet"):
            part.to(place)
    if offload == "sequential" and place.type != "cpu":
        from accelerate import cpu_offload

        cpu_offload(parts["unet"], place)
    return Model(name, commit_of(folder), folder, **parts, tokenizer=tokenizer, schedule=schedule, device=place, dtype=precision, offload=offload)


def _parts_of(name: str, folder: Path, kinds: dict[str, torch.dtype]) -> tuple[dict[str, Any], Any]:
    """The three networks of a folder, each in its dtype, and the tokenizer."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    parts = {
        "unet": _loaded(name, folder, "unet", UNet2DConditionModel, torch_dtype=kinds["unet"]),
        "vae": _loaded(name, folder, "vae", AutoencoderKL, torch_dtype=kinds["vae"]),
        "text_encoder": _loaded(name, folder, "text_encoder", CLIPTextModel, dtype=kinds["text_encoder"]),
    }
    return parts, _tokenizer(name, folder, CLIPTokenizer)


def _schedule(name: str, folder: Path) -> Schedule:
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        schedule = read_schedule(read_json(path, name))
        if not bool(torch.isfinite(schedule.alpha_bar).all()) or len(schedule.alpha_bar) < 2:
            raise ValueError("its noise levels are not numbers from 0 to 1")
        return schedule
    except (ValueError, TypeError, RuntimeError, OverflowError, LookupError, ZeroDivisionError) as error:
        raise ModelError(f"{path}: not a noise schedule: {first_line(error)}.", "", _again(name, folder)) from None


def _again(name: str, folder: Path) -> str:
    return f"Fetch them again: vedit models fetch {name} --force" if commit_of(folder) else "Name another folder, or a Hub id: --model OWNER/NAME"


def _loaded(name: str, folder: Path, part: str, kind: Any, **options: Any) -> Any:
    """A part of the model. Raises ModelError with the name of its weights, whatever is wrong with them."""
    try:
        return _part(kind, folder / part, **options)
    except (torch.OutOfMemoryError, MemoryError, VeditError):
        raise
    except Exception as error:  # damaged files raise what their parsers raise
        weights = weights_in(folder / part)
        where = f"{part}/{weights.file if weights else ''}"
        raise ModelError(f"{name}: the weights cannot be loaded ({where}): {first_line(error)}.", "", _again(name, folder)) from None


def _tokenizer(name: str, folder: Path, kind: Any) -> Any:
    try:
        return kind.from_pretrained(str(folder / "tokenizer"), local_files_only=True)
    except Exception as error:  # as above
        raise ModelError(f"{name}: the tokenizer cannot be loaded (tokenizer/): {first_line(error)}.", "", _again(name, folder)) from None


def _check_fit(name: str, parts: dict[str, Any], tokenizer: Any) -> None:
    """Refuse parts that do not belong together: they would fail in the middle of an edit."""
    unet, vae, text = (parts[part].config for part in ("unet", "vae", "text_encoder"))
    words, known = len(tokenizer), int(text.vocab_size)
    if words > known:
        raise ModelError(f"{name}: the tokenizer has {words} tokens, and the text encoder knows {known}.", "They are not of one model.")
    widths = unet.cross_attention_dim if isinstance(unet.cross_attention_dim, (list, tuple)) else [unet.cross_attention_dim]
    if set(widths) != {text.hidden_size}:
        raise ModelError(f"{name}: the UNet reads text of width {widths[0]}, and the text encoder gives {text.hidden_size}.", "They are not of one model.")
    sides = unet.sample_size if isinstance(unet.sample_size, (list, tuple)) else [64 if unet.sample_size is None else unet.sample_size]
    if not all(type(side) is int and 0 < side <= 4096 for side in sides):
        raise ModelError(
            f"{name}: unet/config.json says {str(unet.sample_size)[:40]!a} for sample_size.", "It is the side of the latents that it was trained at."
        )
    scale = vae.scaling_factor
    if type(scale) not in (int, float) or not (math.isfinite(scale) and scale != 0):
        raise ModelError(f"{name}: vae/config.json says {str(scale)[:40]!a} for scaling_factor.", "It is a number that latents are multiplied with.")


def check_channels(name: str, taken: int, given: int) -> None:
    """Refuse a UNet that wants more than latents: inpainting and image-conditioned ones take 8 or 9 channels."""
    if taken != given:
        raise ModelError(
            f"{name}: the UNet takes {taken} channels, and latents have {given}.",
            "It is conditioned on a picture as well, as inpainting models and InstructPix2Pix are; these methods need a text-to-image model.",
            "See: vedit models list",
        )


def _quiet_libraries() -> None:
    """Loading takes under a second from disk: their bars and notices would only be noise."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.disable_progress_bar()
        logging.set_verbosity_error()


def _part(kind: Any, folder: Path, **options: Any) -> Any:
    """One component from its folder; a pickle only where there are no safetensors, half precision only where there is no full."""
    weights = weights_in(folder)
    assert weights is not None, "find_folder has seen the weights"
    if weights.file.endswith(".json"):
        shards(folder, weights.file)  # names a file that is missing, which the libraries do in other words
    part, report = kind.from_pretrained(
        str(folder), local_files_only=True, use_safetensors=weights.is_safe, variant=weights.variant, output_loading_info=True, **options
    )
    if missing := sorted(report["missing_keys"]):  # the libraries would fill them with random numbers, and say so in a log
        raise ValueError(f"{folder.name} lacks {len(missing)} tensors, such as {missing[0]}")
    return part
