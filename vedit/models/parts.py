"""The parts of a model's folder, loaded one by one, whichever family they are of.

Nothing of a checkpoint is executed: components are stock classes of diffusers and transformers,
weights are safetensors, or pickles read with `weights_only`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vedit.errors import ModelError, VeditError
from vedit.models.checked import class_in_transformers, is_stock
from vedit.models.hub import first_line, weighed_in, weights_in, whole_again
from vedit.models.layout import class_of
from vedit.models.sharded import shards


def loaded(name: str, folder: Path, part: str, kind: Any, again: str | None = None, **options: Any) -> Any:
    """A part of the model, or a network beside it.

    again: what to do about weights that are damaged, where the network is not the model's own. Raises
    ModelError with the name of the weights, whatever is wrong with them.
    """
    try:
        return _part(kind, folder / part, **options)
    except (torch.OutOfMemoryError, MemoryError, VeditError):
        raise
    except Exception as error:  # damaged files raise what their parsers raise
        weights = weights_in(folder / part)
        where = f"{part}/{weights.file if weights else ''}"
        raise ModelError(
            f"{name}: the weights cannot be loaded ({where}): {first_line(error)}.",
            "",
            whole_again(name, folder) if again is None else again,
        ) from None


def parts_of_clips(
    name: str, folder: Path, index: Mapping[str, Any], precision: torch.dtype
) -> dict[str, Any]:
    """The networks of a transformer of clips, each in its dtype: half precision with a short exponent
    overflows in such a codec, and in T5.
    """
    import diffusers
    import transformers

    parts = {}
    for part in weighed_in(folder):
        kind, own = class_of(index, part), precision
        if precision == torch.float16 and not part.startswith("transformer"):
            own = torch.float32 if part == "vae" else torch.bfloat16
        if part == "text_encoder":
            parts[part] = loaded(name, folder, part, getattr(transformers, kind), dtype=own)
        else:
            parts[part] = loaded(name, folder, part, getattr(diffusers, kind), torch_dtype=own)
    return parts


def put(parts: Mapping[str, Any], place: torch.device, offload: str, network: str = "transformer") -> None:
    """Put the parts where they lie between their uses. network: the part that is asked at every step; what
    is called like it and more is another of its kind.
    """
    for name, part in parts.items():
        part.eval().requires_grad_(False)
        if offload == "none" or (offload == "model" and name == network):
            part.to(place)
        if offload == "sequential" and place.type != "cpu" and name.startswith(network):
            from accelerate import cpu_offload

            cpu_offload(part, place)


def tokenizer_of(name: str, folder: Path, index: Mapping[str, Any]) -> Any:
    """The tokenizer, of the class that a model_index.json names. Raises ModelError."""
    kind = str(class_of(index, "tokenizer"))
    if not is_stock("transformers", kind):
        raise ModelError(
            f"{name}: its tokenizer is {kind[:80]!a}, which transformers does not have.",
            "",
            whole_again(name, folder),
        )
    return load_tokenizer(name, folder, class_in_transformers(kind))


def load_tokenizer(name: str, folder: Path, kind: Any, part: str = "tokenizer") -> Any:
    """The tokenizer. Raises ModelError."""
    try:
        return kind.from_pretrained(str(folder / part), local_files_only=True)
    except Exception as error:  # as above
        raise ModelError(
            f"{name}: the tokenizer cannot be loaded ({part}/): {first_line(error)}.",
            "",
            whole_again(name, folder),
        ) from None


def _part(kind: Any, folder: Path, **options: Any) -> Any:
    """One component from its folder; a pickle only where there are no safetensors, half precision only where
    there is no full.
    """
    weights = weights_in(folder)
    assert weights is not None, "find_folder has seen the weights"
    if weights.file.endswith(".json"):
        shards(folder, weights.file)  # names a file that is missing, which the libraries do in other words
    part, report = kind.from_pretrained(
        str(folder),
        local_files_only=True,
        use_safetensors=weights.is_safe,
        variant=weights.variant,
        output_loading_info=True,
        **options,
    )
    if missing := sorted(
        report["missing_keys"]
    ):  # the libraries would fill them with random numbers, and say so in a log
        raise ValueError(f"{folder.name} lacks {len(missing)} tensors, such as {missing[0]}")
    return part
