"""Load a Stable Diffusion model by name, folder or Hub id: device, dtype and offload are decided here, once.

Nothing of a checkpoint is executed: components are stock classes of diffusers and transformers,
weights are safetensors, or pickles read with `weights_only`.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vedit.diffusion.schedule import Schedule, read_schedule
from vedit.errors import ModelError, UsageError, nearest

EMBEDDED = "shapes"
BUILTIN = Path(__file__).resolve().parent.parent / "builtin"
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
FILES = ["model_index.json", *(f"{part}/*.{suffix}" for part in PARTS for suffix in ("json", "txt", "safetensors", "bin"))]


@dataclass
class Model:
    """A loaded model. Latents are float32 whatever the network's dtype.

    name, revision, folder: where it came from. Everything lies on `device`; with an offload,
    parts are moved there for their use.
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
        return int(self.unet.config.sample_size) * self.scale

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

    @torch.inference_mode()
    def encode_frames(self, pixels_F3YX: Tensor, chunk: int = 8) -> Tensor:
        """Latents (F, C, Y/s, X/s) of pixels in [-1, 1]: the posterior's mean, scaled."""
        with self._in_use(self.vae):
            parts = [self.vae.encode(part.to(self.device, self.vae.dtype)).latent_dist.mean.float() for part in pixels_F3YX.split(chunk)]
        return torch.cat(parts) * self.vae.config.scaling_factor

    @torch.inference_mode()
    def decode_latents(self, latents_FCYX: Tensor, chunk: int = 8) -> Tensor:
        """Pixels (F, 3, Y, X) in [-1, 1], float32, not clipped."""
        with self._in_use(self.vae):
            parts = [
                self.vae.decode((part / self.vae.config.scaling_factor).to(self.device, self.vae.dtype)).sample.float() for part in latents_FCYX.split(chunk)
            ]
        return torch.cat(parts)

    def _in_use(self, part: Any) -> Any:
        return _OnDevice(part, self.device)

    def identity(self) -> dict[str, Any]:
        """What an inversion depends on, by content: hashes of the weights that made it."""
        for part in ("unet", "vae", "text_encoder"):
            if part not in self.hashes:
                self.hashes[part] = hash_folder(self.folder / part)
        return {
            "id": self.name,
            "revision": self.revision,
            "unet_sha256": self.hashes["unet"],
            "vae_sha256": self.hashes["vae"],
            "text_sha256": self.hashes["text_encoder"],
            "inflation": "none",
        }


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


def hash_folder(folder: Path) -> str:
    """SHA-256 over the weight files of a part, in name order."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".safetensors", ".bin"):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


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
        raise UsageError(f"the dtype {name!r} is not known{nearest(name, DTYPES)}", f"It is auto or one of {', '.join(DTYPES)}.")
    return DTYPES[name]


def load_model(name: str = EMBEDDED, revision: str | None = None, *, device: str = "auto", dtype: str = "auto", offload: str = "none") -> Model:
    """Load a model: "shapes" (embedded), a folder, or a Hub id with an optional revision.

    offload: "none"; "model" keeps the text encoder and the autoencoder on the CPU between their
    uses; "sequential" also streams the UNet layer by layer through the device (accelerate).
    Raises ModelError for weights missing, gated, offline, damaged, or of another family.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    _quiet_libraries()
    folder = find_folder(name, revision)
    check_family(name, folder)
    place, precision = choose_device(device), choose_dtype(dtype, choose_device(device))
    schedule = read_schedule(_json(folder / "scheduler" / "scheduler_config.json", name))
    try:
        parts = {
            "unet": _part(UNet2DConditionModel, folder / "unet", torch_dtype=precision),
            # the autoencoder overflows in fp16 on some checkpoints: never below float32 or bf16
            "vae": _part(AutoencoderKL, folder / "vae", torch_dtype=torch.float32 if precision == torch.float16 else precision),
            "text_encoder": _part(CLIPTextModel, folder / "text_encoder", dtype=precision),
        }
        tokenizer = CLIPTokenizer.from_pretrained(str(folder / "tokenizer"))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{name}: the weights cannot be loaded: {_first_line(error)}.", "", f"Fetch them again: vedit models fetch {name}") from None
    for part_name, part in parts.items():
        part.eval().requires_grad_(False)
        if offload == "none" or (offload == "model" and part_name == "unet"):
            part.to(place)
    if offload == "sequential" and place.type != "cpu":
        from accelerate import cpu_offload

        cpu_offload(parts["unet"], place)
    return Model(name, revision, folder, **parts, tokenizer=tokenizer, schedule=schedule, device=place, dtype=precision)


def _quiet_libraries() -> None:
    """Loading takes under a second from disk: their bars and notices would only be noise."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.disable_progress_bar()
        logging.set_verbosity_error()


def _part(kind: Any, folder: Path, **options: Any) -> Any:
    """One component from its folder; a pickle only where there are no safetensors."""
    has_safe = any(folder.glob("*.safetensors"))
    return kind.from_pretrained(str(folder), local_files_only=True, use_safetensors=has_safe, **options)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{name}: {path.name} cannot be read: {_first_line(error)}.", "A model is a folder in the layout of diffusers' StableDiffusionPipeline."
        ) from None


def find_folder(name: str, revision: str | None = None) -> Path:
    """Where a model's files lie; Hub ids are looked up in the cache, and fetched when online."""
    if name == EMBEDDED:
        folder = BUILTIN / EMBEDDED
        if not (folder / "model_index.json").exists():
            raise ModelError("the embedded model is not in this installation.", "", "Reinstall vedit, or name a model: --model FOLDER or --model OWNER/NAME")
        return folder
    if os.path.isdir(name):
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"there is no model {name!r}{nearest(name, [EMBEDDED])}", f"A model is {EMBEDDED} (embedded), a folder, or a Hub id such as OWNER/NAME."
        )
    return fetch(name, revision)


def fetch(name: str, revision: str | None = None) -> Path:
    """The snapshot of a Hub model, downloaded as far as it is not in the cache."""
    from huggingface_hub import errors as hub
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=FILES))
    except hub.GatedRepoError:
        raise ModelError(
            f"{name} is gated.", f"Accept its licence at https://huggingface.co/{name}.", "Then set HF_TOKEN to a token of yours and try again"
        ) from None
    except hub.RevisionNotFoundError:
        raise ModelError(f"{name} has no revision {revision!r}.", "", "Leave out --revision, or name a branch, tag or commit") from None
    except hub.RepositoryNotFoundError:
        raise ModelError(f"{name} does not exist on the Hub, or is private.", "Check the spelling; a private model needs HF_TOKEN.") from None
    except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled):
        why = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else "the Hub cannot be reached"
        raise ModelError(f"{name} is not in the local cache, and {why}.", "", f"On a machine with network run: vedit models fetch {name}") from None
    except (hub.HfHubHTTPError, hub.HFValidationError, OSError) as error:
        raise ModelError(
            f"{name} cannot be fetched: {_first_line(error)}.", "", f"Try again, it continues where it stopped: vedit models fetch {name}"
        ) from None


def check_family(name: str, folder: Path) -> None:
    """Refuse what is not a Stable Diffusion 1.x or 2.x pipeline, saying what it is."""
    index = _json(folder / "model_index.json", name)
    if "text_encoder_2" in index or "transformer" in index or index.get("unet", [None, None])[1] != "UNet2DConditionModel":
        kind = index.get("_class_name", "another family")
        raise ModelError(
            f"{name} is a {kind}.", "These methods need the UNet and the one text encoder of Stable Diffusion 1.x or 2.x.", "See: vedit models list"
        )
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise ModelError(
            f"{name} lacks {', '.join(missing)}.",
            "A model is a folder in the layout of diffusers' StableDiffusionPipeline.",
            f"Fetch it again: vedit models fetch {name}",
        )
