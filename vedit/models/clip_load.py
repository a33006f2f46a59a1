"""Load a model of clips from its folder, whichever transformer it has: a family says what is its own.

Nothing of a checkpoint is executed: components are stock classes of diffusers and transformers,
weights are safetensors, or pickles read with `weights_only`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from vedit.errors import ModelError, Warn, silent
from vedit.models.adapters import Found
from vedit.models.clips import ClipModel
from vedit.models.hub import commit_of, read_json, warn_of_unused
from vedit.models.lora import merge
from vedit.models.parts import check_tokens, check_width, load_parts, named_classes, put, tokenizer_of
from vedit.models.place import choose_device, choose_dtype, quiet_libraries

# half precision with a short exponent overflows in such a codec, and in T5
WIDE = {"vae": torch.float32, "text_encoder": torch.bfloat16}
Made = TypeVar("Made", bound=ClipModel)


@dataclass(frozen=True)
class Read:
    """What has been read of a model's folder. index: its model_index.json. parts: its networks by name."""

    name: str
    folder: Path
    index: Mapping[str, Any]
    parts: Mapping[str, Any]
    tokenizer: Any

    @property
    def transformers(self) -> dict[str, Any]:
        """Its transformers, one or two, by name."""
        return {name: part for name, part in self.parts.items() if name.startswith("transformer")}


def load_clips(
    kind: type[Made],
    own: Callable[[Read], Mapping[str, Any]],
    name: str,
    folder: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: str = "none",
    lora: Sequence[Found] = (),
    warn: Warn = silent,
) -> Made:
    """Load a folder that `find_folder` has looked through.

    own: the fields that only models of this kind have, and their levels; raises ModelError for parts that do
    not fit. dtype: auto is bf16 on a GPU, as these models were trained, and fp32 on a CPU. offload: "none";
    "model" keeps on the CPU what is not in use, of two transformers one; "sequential" also streams them layer
    by layer through the device. lora: what is merged into its parts. warn: told of parts that are not used.
    Raises ModelError for weights missing or damaged, and for parts of different models.
    """
    quiet_libraries()
    place = choose_device(device)
    precision = choose_dtype(dtype, place, half=torch.bfloat16)
    index = read_json(folder / "model_index.json", name)
    warn_of_unused(name, index, warn)
    parts = load_parts(name, folder, named_classes(folder, index), precision, WIDE)
    read = Read(name, folder, index, parts, tokenizer_of(name, folder, index))
    _check_fit(kind, read)
    fields = own(read)
    merged = merge(name, read.parts, lora)
    put(read.parts, place, offload)
    return kind(
        name=name,
        revision=commit_of(folder),
        folder=folder,
        **read.parts,
        tokenizer=read.tokenizer,
        device=place,
        dtype=precision,
        offload=offload,
        lora=merged,
        **fields,
    )


def _check_fit(kind: type[ClipModel], read: Read) -> None:
    """Refuse parts that do not belong together: they would fail in the middle of an edit."""
    name, text = read.name, read.parts["text_encoder"].config
    channels = int(read.parts["vae"].config[kind.layout.latents])
    check_tokens(name, read.tokenizer, text)
    for part, transformer in read.transformers.items():
        config = transformer.config
        check_width(name, f"the {part} reads text", config[kind.text_width], "text encoder", text.hidden_size)
        takes = int(config.in_channels)
        gives = int(config.out_channels or takes)
        if not takes == gives == channels:
            raise ModelError(
                f"{name}: the {part} takes {takes} channels and gives {gives}, and latents have {channels}.",
                "A transformer that takes more than it gives is conditioned on a picture as well; these"
                " methods need a text-to-video model.",
                "See: vedit models list",
            )
