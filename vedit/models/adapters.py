"""LoRAs by file, folder or Hub id: what is asked for, where it lies, and which network it was made for.

Loads no torch: a LoRA of another family is refused before any weights are read.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vedit.documents import Kind, parse_json, read_json, table
from vedit.errors import ModelError, UsageError, VeditError, nearest, option
from vedit.models.checked import LARGEST_HEADER, tensor_names
from vedit.models.layout import ANIMATEDIFF, I2VGEN, LTX, SD, SDXL, WAN, Layout

FORM = "It is FILE, FOLDER or OWNER/NAME, with :SCALE behind it, such as style.safetensors:0.8."
PART = re.compile(r"(unet|transformer|transformer_2|text_encoder|text_encoder_2)=(?=.)")
HUB_ID = re.compile(
    r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*?)(?:/(?P<file>[\w./-]+))?(?:@(?P<revision>\w[\w-]*(?:[./][\w-]+)*))?",
    re.ASCII,
)
LARGEST_SCALE = 100.0
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
USUAL = ("pytorch_lora_weights", "adapter_model")  # as diffusers and peft call them
CONFIG = "adapter_config.json"  # of peft, beside its weights
METADATA = "lora_adapter_metadata"  # key in the header of what diffusers saves


class Adapter(NamedTuple):
    """A LoRA that is asked for. part: the only part of the model that it goes into, None for all.

    file, revision: of a Hub repository; None for the one that is there, and the newest.
    """

    name: str
    scale: float = 1.0
    part: str | None = None
    file: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        """As it is typed."""
        part = f"{self.part}=" if self.part else ""
        file = f"/{self.file}" if self.file else ""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{part}{self.name}{file}{revision}:{self.scale:.17g}"


class Found(NamedTuple):
    """A LoRA's file. revision: its commit on the Hub, else None."""

    asked: Adapter
    path: Path
    revision: str | None

    @property
    def facts(self) -> dict[str, Any]:
        """What a record tells of it; the hash is of the file."""
        with self.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        asked = self.asked
        told = {"name": asked.name, "scale": asked.scale, "part": asked.part, "file": asked.file}
        return {**told, "revision": self.revision, "sha256": digest}


def parse(text: str) -> Adapter:
    """[PART=]FILE|FOLDER|ID[:SCALE]; an ID is OWNER/NAME[/FILE][@REVISION]. Raises UsageError, ModelError."""
    before, name, behind = split(text)
    part, scale = before.removesuffix("=") or None, _scale(text, behind[1:]) if behind else 1.0
    if os.path.exists(name):
        return Adapter(name, scale, part)
    found = HUB_ID.fullmatch(name)
    if found is None or name.startswith(("./", "../")):
        raise ModelError(f"there is no LoRA {name!r}.", FORM, "Check the name")
    return Adapter(found["name"], scale, part, found["file"], found["revision"])


def split(text: str) -> tuple[str, str, str]:
    """What stands before the name of a file or a repository, the name, and what stands behind."""
    match = PART.match(text)
    before, rest = (match[0], text[match.end() :]) if match else ("", text)
    if os.path.exists(rest) or ":" not in rest:
        return before, rest, ""
    name, colon, number = rest.rpartition(":")
    return before, name, colon + number


def with_name(text: str, change: Callable[[str], str]) -> str:
    """The same LoRA by another name of its file."""
    before, name, behind = split(text)
    return f"{before}{change(name)}{behind}"


def _scale(text: str, number: str) -> float:
    try:
        scale = float(number)
    except ValueError:
        scale = math.nan
    if not abs(scale) <= LARGEST_SCALE:
        raise UsageError(
            f"{option('lora', text)}: {number!r} is not a scale.",
            f"It is a number from -{LARGEST_SCALE:g} to {LARGEST_SCALE:g}; 1 adds all that was trained.",
            f"Try {option('lora', f'{text.removesuffix(number)}1')}",
        )
    return scale


def recorded(told: Mapping[str, Any]) -> str:
    """The text that asks for the LoRA a record tells of, in the same version."""
    asked = Adapter(*(told[name] for name in ("name", "scale", "part", "file", "revision")))
    return str(asked)


def by_content(told: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What of LoRAs decides the weights: their contents, wherever they lie and whatever they are called."""
    return [{key: one[key] for key in ("sha256", "scale", "part")} for one in told]


def find(asked: Adapter) -> Found:
    """The file of a LoRA, fetched where it is on the Hub. Raises ModelError."""
    if os.path.isdir(asked.name):
        names = sorted(os.listdir(asked.name))
        return Found(asked, Path(asked.name, _chosen(asked.name, names)), None)
    if os.path.exists(asked.name):
        if not os.path.isfile(asked.name) or not asked.name.lower().endswith(SUFFIXES):
            raise ModelError(
                f"{asked.name} is not a file of weights.", f"Its name ends in {', '.join(SUFFIXES)}."
            )
        return Found(asked, Path(asked.name), None)
    return _fetched(asked)


def _fetched(asked: Adapter) -> Found:
    """A LoRA of the Hub: its weights alone, and peft's settings where there are some."""
    from huggingface_hub import HfApi, snapshot_download

    from vedit.models.hub import explained

    with explained(asked.name, asked.revision, f"hf download {asked.name}"):
        try:
            told = HfApi().model_info(asked.name, revision=asked.revision)
        except OSError:  # no network, or told to do without
            if (kept := _in_cache(asked)) is None:
                snapshot_download(asked.name, revision=asked.revision, local_files_only=True)  # says why not
                raise
            return kept
        names = [entry.rfilename for entry in told.siblings or ()]
        chosen = _file_of(asked, names)
        beside = os.path.join(os.path.dirname(chosen), CONFIG)
        wanted = [name for name in (chosen, beside) if name in names]
        folder = snapshot_download(asked.name, revision=told.sha, allow_patterns=wanted)
    return Found(asked, Path(folder, chosen), told.sha)


def _in_cache(asked: Adapter) -> Found | None:
    """What an earlier call has fetched of it."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=asked.name, repo_type="model"))
    named = folder / "refs" / (asked.revision or "main")
    commit = named.read_text().strip() if named.is_file() else asked.revision
    snapshot = folder / "snapshots" / (commit or "")
    if commit is None or not snapshot.is_dir():
        return None
    names = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
    return Found(asked, snapshot / _file_of(asked, names), commit)


def _file_of(asked: Adapter, names: Sequence[str]) -> str:
    """The file of a repository that is meant. Raises ModelError."""
    chosen = asked.file or _chosen(asked.name, names)
    if chosen not in names:
        near = [name for name in names if name.lower().endswith(SUFFIXES)]
        raise ModelError(
            f"{asked.name} has no file {chosen!r}{nearest(chosen, near) or '.'}",
            f"It has {', '.join(near[:10]) or 'no weights'}.",
        )
    return chosen


def _chosen(where: str, names: Sequence[str]) -> str:
    """The weights among the names of a folder: as the libraries call them, else the only ones."""
    usual = [f"{stem}{suffix}" for suffix in SUFFIXES for stem in USUAL]
    if known := [name for name in usual if name in names]:
        return known[0]
    for suffixes in (SUFFIXES[:1], SUFFIXES):
        weights = [name for name in names if name.lower().endswith(suffixes) and "/" not in name]
        if len(weights) == 1:
            return weights[0]
        if weights:
            raise ModelError(
                f"{where} holds {len(weights)} files of weights: {', '.join(weights[:10])}.",
                "A LoRA is one of them.",
                f"Name it: {option('lora', f'{where}/{weights[0]}')}",
            )
    raise ModelError(f"{where} holds no weights of a LoRA.", FORM)


def locate(texts: Iterable[str], layout: Layout | None, model: str) -> list[Found]:
    """The files of LoRAs, those of another family refused. layout: of the model, None for any.

    Raises UsageError, ModelError.
    """
    found = [find(parse(text)) for text in texts]
    for one in found:
        if layout is not None and one.path.suffix.lower() == ".safetensors":
            check_made_for(str(one.asked.name), _names(one.path), layout, model)
    return found


def check_exist(texts: Iterable[str]) -> None:
    """Refuse LoRAs that are neither files nor could be on the Hub. Raises UsageError, ModelError."""
    for text in texts:
        parse(text)


def _names(path: Path) -> list[str]:
    try:
        return tensor_names(path)
    except ModelError as error:
        raise ModelError(
            error.what.replace("the weights cannot be loaded", "not a LoRA"), error.right, "Download it again"
        ) from None


def check_made_for(name: str, tensors: Iterable[str], layout: Layout, model: str) -> None:
    """Refuse a LoRA whose names are those of another family's network. Raises ModelError."""
    made = made_for(tensors)
    if made is None or layout in made[1]:
        return
    known = " or ".join(one.title for one in made[1])
    raise ModelError(
        f"the LoRA {name} was made for {made[0]}, and {model} is a {layout.title}.",
        "It changes the weights of the network that it was trained on.",
        f"Name a model of its family ({known})" if known else "Leave it out",
    )


KINDS: tuple[tuple[str, str, tuple[Layout, ...]], ...] = (  # what names tell, the first that fits
    (r"double_blocks|single_blocks|single_transformer_blocks", "a FLUX or HunyuanVideo transformer", ()),
    (r"joint_blocks|context_block|attn\.add_q_proj", "a Stable Diffusion 3 transformer", ()),
    (r"(?:^|[._])te2_|text_encoder_2\.", "Stable Diffusion XL", (SDXL,)),
    (
        r"(?:down|up)_blocks[._]\d|mid_block[._]|(?:input|output)_blocks[._]\d|middle_block[._]",
        "Stable Diffusion's UNet",
        (SD, SDXL, ANIMATEDIFF, I2VGEN),
    ),
    (r"[._]k_img|add_k_proj", "a Wan transformer that begins with a picture", (WAN,)),
    (r"blocks[._]\d+[._](?:self_attn|cross_attn|ffn)[._]", "a Wan transformer", (WAN,)),
    (r"(?<!transformer_)(?<!vace_)blocks[._]\d+[._]attn[12][._]", "a Wan transformer", (WAN,)),
    (r"transformer_blocks[._]\d+[._]attn", "another transformer (LTX, CogVideoX or the like)", (LTX,)),
    (r"(?:^|[._])te1?_text_model|text_encoder\.", "a CLIP text encoder", (SD, SDXL, ANIMATEDIFF, I2VGEN)),
)


def made_for(tensors: Iterable[str]) -> tuple[str, tuple[Layout, ...]] | None:
    """What a LoRA's names say that it was trained on, and the layouts that have such a network."""
    names = "\n".join(tensors)
    for pattern, told, layouts in KINDS:
        if re.search(pattern, names, re.MULTILINE):
            return told, layouts
    return None


def settings_of(path: Path) -> dict[str, dict[str, Any]]:
    """Ranks and alphas that stand beside the weights: by part those that diffusers keeps in the header, those
    of peft under "".
    """
    beside = path.parent / CONFIG
    if beside.is_file():
        return {"": _fit_settings(read_json(beside, SETTINGS), str(beside))}
    if path.suffix.lower() != ".safetensors":
        return {}
    flat = _fit_settings(_metadata(path), str(path))
    found: dict[str, dict[str, Any]] = {}
    for key, value in flat.items():
        part, dot, name = key.rpartition(".")
        if dot:
            found.setdefault(part, {})[name] = value
    return found


SETTINGS = Kind("settings of a LoRA", ModelError)
NUMBERS = ("lora_alpha", "r")
PATTERNS = ("alpha_pattern", "rank_pattern")


def header_of(path: Path) -> dict[str, str]:
    """What the header of a file of safetensors tells beside its tensors; nothing for other files."""
    if path.suffix.lower() != ".safetensors":
        return {}
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        told: dict[str, str] = json.loads(stream.read(min(length, LARGEST_HEADER))).get("__metadata__", {})
    return told


def _metadata(path: Path) -> Any:
    text = header_of(path).get(METADATA)
    try:
        return {} if text is None else parse_json(text, str(path), SETTINGS)
    except VeditError:
        return {}


def _fit_settings(value: Any, where: str) -> dict[str, Any]:
    """Settings whose numbers are numbers. Raises ModelError."""
    found = table(value, where, SETTINGS)
    for key, setting in found.items():
        name = key.rpartition(".")[2]
        values = setting.values() if name in PATTERNS and isinstance(setting, dict) else [setting]
        if (name in NUMBERS or name in PATTERNS) and not all(_is_number(one) for one in values):
            raise ModelError(f"{where}: {key} is {str(setting)[:60]!a}, which is not a number.")
    return found


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
