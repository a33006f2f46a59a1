"""The parts of a model's folder, loaded one by one, whichever family they are of.

Nothing of a checkpoint is executed: components are stock classes of diffusers and transformers,
weights are safetensors, or pickles read with `weights_only`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from vedit.errors import ModelError, VeditError
from vedit.models.checked import class_in_transformers, is_stock
from vedit.models.hub import first_line, read_json, weighed_in, weights_in, whole_again
from vedit.models.layout import class_of
from vedit.models.sharded import shards

Schedule = TypeVar("Schedule")
WIDE = {"vae": torch.float32}  # parts that overflow in fp16, of some checkpoints, and what they are then


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


def named_classes(folder: Path, index: Mapping[str, Any]) -> dict[str, Any]:
    """The classes of a folder's networks as its model_index.json names them all, which `find_folder` has seen
    to be known ones.
    """
    import diffusers
    import transformers

    return {
        part: getattr(transformers if part.endswith("encoder") else diffusers, class_of(index, part))
        for part in weighed_in(folder)
    }


def load_parts(
    name: str,
    folder: Path,
    classes: Mapping[str, Any],
    precision: torch.dtype,
    wide: Mapping[str, torch.dtype] = WIDE,
) -> dict[str, Any]:
    """Parts of a folder, each in its dtype. wide: of those that overflow in fp16."""
    parts = {}
    for part, kind in classes.items():
        what = "dtype" if kind.__module__.startswith("transformers.") else "torch_dtype"
        parts[part] = loaded(name, folder, part, kind, **{what: dtype_of(part, precision, wide)})
    return parts


def dtype_of(part: str, precision: torch.dtype, wide: Mapping[str, torch.dtype] = WIDE) -> torch.dtype:
    return wide.get(part, precision) if precision == torch.float16 else precision


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


def clip_tokenizer(name: str, folder: Path, text_encoder: Any, part: str = "tokenizer") -> Any:
    """CLIP's tokenizer, which knows how many tokens its encoder has places for: 1e30 stands where nobody told
    it. Raises ModelError.
    """
    from transformers import CLIPTokenizer

    made = load_tokenizer(name, folder, CLIPTokenizer, part)
    places = int(text_encoder.config.max_position_embeddings)
    made.model_max_length = int(min(made.model_max_length, places))
    return made


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


def levels_of(name: str, folder: Path, read: Callable[[Mapping[str, Any]], Schedule], what: str) -> Schedule:
    """The noise levels of a folder's scheduler, as `read` makes them of its configuration. what: they should
    be. Raises ModelError.
    """
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        return read(read_json(path, name))
    except (ValueError, TypeError, RuntimeError, OverflowError, LookupError, ZeroDivisionError) as error:
        raise ModelError(f"{path}: not {what}: {first_line(error)}.", "", whole_again(name, folder)) from None


def check_tokens(name: str, tokenizer: Any, text: Any) -> None:
    """Refuse a tokenizer of another model. text: the configuration of the text encoder."""
    if len(tokenizer) > int(text.vocab_size):
        raise ModelError(
            f"{name}: the tokenizer has {len(tokenizer)} tokens, and the text encoder knows"
            f" {text.vocab_size}.",
            "They are not of one model.",
        )


def check_width(name: str, reads: str, width: Any, encoder: str, given: Any) -> None:
    """Refuse an encoder of another model. reads: who reads what it gives, such as "the UNet reads text"."""
    if width != given:
        raise ModelError(
            f"{name}: {reads} of width {width}, and the {encoder} gives {given}.",
            "They are not of one model.",
        )


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
    # the libraries would fill them with random numbers, and say so in a log
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"{folder.name} lacks {len(missing)} tensors, such as {missing[0]}")
    return part
