"""A model folder is looked through by vedit before any library sees it, whoever made it.

Refused are parts that are not classes of diffusers and transformers themselves, code and pipelines
of a folder's own, configurations that are damaged, and numbers that its weights cannot bear out:
the libraries would import the first, and build ten million layers before they miss their weights.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vedit.documents import Kind, parse_json, read_json, table
from vedit.errors import ModelError

INDEX = "model_index.json"
CONFIGS = (
    "config.json", "scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json",
    "processor_config.json", "image_processor.json", "generation_config.json", "special_tokens_map.json",
    "guider_config.json",
)  # fmt: skip
SHARDS = ".index.json"  # the end of the name of a file that says which tensor lies in which file
OWN_CODE = ("auto_map", "custom_pipelines", "custom_pipeline", "trust_remote_code")
ATTENTION = (
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
)
COUNTS = re.compile(r"(?:^|_)(?:layers?|depths?|blocks)$|layers_per_block$")
LISTS = re.compile(r"block|mults?$|layers")
MOST_TENSORS = 100_000  # of a part whose weights do not say how many they are
LARGEST_HEADER = 100 << 20  # bytes; safetensors' own limit
LARGEST_SCHEDULE = 100_000  # noise levels; models have 1000
PART = re.compile(r"[A-Za-z]\w*")

# What a part may be: classes that derive from these, under their own name in the library or a pipeline of it.
BASES = {
    "diffusers": ("ModelMixin", "SchedulerMixin", "BaseGuidance"),
    "transformers": (
        "PreTrainedModel",
        "PreTrainedTokenizerBase",
        "ProcessorMixin",
        "FeatureExtractionMixin",
        "ImageProcessingMixin",
    ),
}


def config_kind(what: str = "a configuration of a model", next_step: str = "") -> Kind:
    return Kind(what, ModelError, "It is JSON, as the library that reads it writes it.", next_step)


def read_config(path: Path) -> dict[str, Any]:
    """A configuration file of a model. Raises ModelError with the file's name."""
    return table(read_json(path, config_kind()), str(path), config_kind())


def check_index(name: str, index: Mapping[str, Any]) -> None:
    """Refuse a model_index.json that names other parts than classes of diffusers and transformers.

    Raises ModelError.
    """
    for part, entry in index.items():
        if part.startswith("_") or not isinstance(entry, list):
            continue
        if entry == [None, None]:
            continue
        if len(entry) != 2 or not all(isinstance(word, str) for word in entry) or not PART.fullmatch(part):
            raise ModelError(
                f"{name}: {INDEX} says {str(entry)[:80]!a} for its part {part[:80]!a}.",
                "A part is a library and a class of it.",
            )
        if not is_stock(*entry):
            raise ModelError(
                f"{name}: its {part} is {entry[0][:80]}.{entry[1][:80]}, which is not a part that diffusers"
                " or transformers has.",
                "vedit runs no code that comes with a model.",
                "Use a model whose parts are those of the libraries",
            )


def is_stock(library: str, name: str) -> bool:
    """Whether a class is one that the installed diffusers or transformers has for parts of a pipeline."""
    if library == "transformers":
        return _derives(class_in_transformers(name), "transformers")
    if library == "diffusers":
        return _derives(_found("diffusers", name), "diffusers")
    import diffusers.pipelines

    # parts that one family brings, such as the safety checker, are in the module of its pipelines
    is_family = (
        PART.fullmatch(library) is not None
        and (Path(diffusers.pipelines.__file__).parent / library / "__init__.py").is_file()
    )
    if not is_family:
        return False
    kind = getattr(getattr(diffusers.pipelines, library, None), name, None)
    is_own = str(getattr(kind, "__module__", "")).startswith("diffusers.")
    return is_own and (_derives(kind, "diffusers") or _derives(kind, "transformers"))


def class_in_transformers(name: str) -> Any:
    """A class of transformers by a name that it has or had; None for none."""
    return _found("transformers", name) or _found("transformers", _renamed(name))


def _found(library: str, name: str) -> Any:
    import importlib

    kind = (
        getattr(importlib.import_module(library), name, None) if re.fullmatch(r"[A-Za-z]\w*", name) else None
    )
    return kind if isinstance(kind, type) else None


def _renamed(name: str) -> str:
    """How transformers calls a class today that older pipelines name: image processors were feature
    extractors.
    """
    return (
        name.replace("FeatureExtractor", "ImageProcessor")
        if name.endswith("FeatureExtractor")
        else name.removesuffix("Fast")
    )


def _derives(kind: Any, library: str) -> bool:
    import importlib

    module = importlib.import_module(library)
    bases = [base for name in BASES[library] if isinstance(base := getattr(module, name, None), type)]
    if library == "diffusers":
        from diffusers import SchedulerMixin  # not at the top of every version
        from diffusers.configuration_utils import ConfigMixin
        from diffusers.models.modeling_utils import ModelMixin

        bases += [SchedulerMixin, ModelMixin, ConfigMixin]
    return isinstance(kind, type) and issubclass(kind, tuple(bases)) and not _is_pipeline(kind)


def _is_pipeline(kind: type) -> bool:
    from diffusers import DiffusionPipeline

    return issubclass(kind, DiffusionPipeline)


def check_parts(name: str, folder: Path, parts: Mapping[str, Any] | tuple[str, ...]) -> None:
    """Look through the configurations of a model's parts, which are folders in its folder.

    Raises ModelError.
    """
    for part in parts:
        if part.startswith("_") or (isinstance(parts, Mapping) and not _is_there(parts[part])):
            continue
        check_part(name, folder / part)


def _is_there(entry: Any) -> bool:
    return isinstance(entry, list) and entry != [None, None]


def check_part(name: str, folder: Path) -> None:
    """Look through the configurations of one part. Raises ModelError with the name of the file."""
    if not folder.is_dir():
        return
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{name}: {folder.name} is an adapter for another model (adapter_config.json).",
            "A part has its own weights.",
        )
    for path in sorted(folder.iterdir()):
        if path.name in CONFIGS:
            _check_config(name, path)
        elif path.name.endswith(SHARDS):
            _check_shards(name, path)


def _check_config(name: str, path: Path) -> None:
    config = read_config(path)
    most = MOST_TENSORS if path.name != "config.json" else tensors_in(path.parent)
    for key, value in _entries(config):
        where = f"{name}: {path.parent.name}/{path.name}"
        if key in OWN_CODE and value:
            raise ModelError(
                f"{where} asks for code of its own ({key}).", "vedit runs no code that comes with a model."
            )
        if key in ATTENTION and isinstance(value, (str, dict, list)) and "/" in str(value):
            raise ModelError(
                f"{where} asks for code of the Hub ({key} {str(value)[:80]!a}).",
                "vedit runs no code that comes with a model.",
            )
        if key == "num_train_timesteps" and not (type(value) is int and 0 < value <= LARGEST_SCHEDULE):
            raise ModelError(
                f"{where} says {str(value)[:40]!a} for {key}.",
                f"It is a number from 1 to {LARGEST_SCHEDULE}.",
            )
        if type(value) is int and COUNTS.search(key) and not -1 <= value <= most:
            raise ModelError(
                f"{where} says {key} {value}, and its weights hold {most} tensors.",
                "Its configuration is not that of its weights.",
            )
        if isinstance(value, list) and LISTS.search(key) and len(value) > most:
            raise ModelError(
                f"{where} lists {len(value)} {key}, and its weights hold {most} tensors.",
                "Its configuration is not that of its weights.",
            )


def _entries(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its value, however deep; a list's numbers under the key of the list."""
    if key:
        yield key, value
    items = (
        value.items()
        if isinstance(value, dict)
        else ((key, item) for item in value)
        if isinstance(value, list)
        else ()
    )
    for below, item in items:
        yield from _entries(item, below)


def _check_shards(name: str, path: Path) -> None:
    """The files of weights that lie in several are names, not paths that lead elsewhere."""
    places = read_config(path).get("weight_map")
    if not isinstance(places, dict) or not all(
        isinstance(file, str) and re.fullmatch(r"[\w.-]+", file) for file in places.values()
    ):
        raise ModelError(
            f"{name}: {path.parent.name}/{path.name} has no list of files in its folder.",
            "It says for each tensor which file it is in.",
        )


def tensors_in(folder: Path) -> int:
    """How many tensors a part's safetensors hold, by their headers; MOST_TENSORS where there are none.

    Raises ModelError.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return MOST_TENSORS
    return sum(len(tensor_names(file)) for file in files)


def tensor_names(file: Path) -> list[str]:
    """The names of the tensors in a file of safetensors. Raises ModelError when it is cut or damaged.

    The header alone is read: its length in eight bytes, then JSON with the place of each tensor.
    """
    kind = Kind("a header", ModelError, largest=LARGEST_HEADER, deepest=4)
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > LARGEST_HEADER:
                raise _cut(file, f"its header would be {length} bytes long")
            header = table(parse_json(stream.read(length), "", kind), "", kind)
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise kind.unreadable(str(file), error) from None
    except ModelError as error:
        raise _cut(file, error.what.removeprefix(": ").rstrip(".")) from None
    header.pop("__metadata__", None)
    ends = [entry["data_offsets"][1] for entry in header.values() if _has_place(entry)]
    if len(ends) < len(header):
        raise _cut(file, "a tensor in its header has no place")
    if 8 + length + max(ends, default=0) != size:
        raise _cut(file, f"it has {size} bytes, and its header tells of {8 + length + max(ends, default=0)}")
    return list(header)


def _cut(file: Path, why: str) -> ModelError:
    why = why.removeprefix(f"{file}: the weights cannot be loaded: ")
    return ModelError(f"{file}: the weights cannot be loaded: {why}.", "The file is cut or damaged.")


def _has_place(entry: Any) -> bool:
    place = entry.get("data_offsets") if isinstance(entry, dict) else None
    return isinstance(place, list) and len(place) == 2 and all(type(end) is int and end >= 0 for end in place)
