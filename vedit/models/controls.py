"""ControlNets by name: what is asked for, where it lies, and which network it was made for.

Loads no torch: a ControlNet of another family is refused before any weights are read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from vedit.errors import InputError, ModelError, UsageError, nearest, option
from vedit.models.adapters import HUB_ID
from vedit.models.checked import check_part, read_config
from vedit.models.hub import fetch_folder, read_json, weights_in

FORM = (
    "It is canny, depth or pose, a FOLDER or OWNER/NAME, with =WEIGHT and :CLIP behind it, such as"
    " depth=0.5:depth.mp4."
)
TOOLS = ("canny",)  # that make a condition of the clip itself, without weights
LARGEST_WEIGHT = 10.0
CLASS = "ControlNetModel"
FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
PUBLISHED: Mapping[str, Mapping[int, str]] = {  # by kind and by the width of text that the network reads
    "canny": {
        768: "lllyasviel/sd-controlnet-canny",
        1024: "thibaud/controlnet-sd21-canny-diffusers",
        2048: "diffusers/controlnet-canny-sdxl-1.0",
    },
    "depth": {
        768: "lllyasviel/sd-controlnet-depth",
        1024: "thibaud/controlnet-sd21-depth-diffusers",
        2048: "diffusers/controlnet-depth-sdxl-1.0",
    },
    "pose": {
        768: "lllyasviel/sd-controlnet-openpose",
        1024: "thibaud/controlnet-sd21-openpose-diffusers",
        2048: "thibaud/controlnet-openpose-sdxl-1.0",
    },
}
ALIKE = (
    "cross_attention_dim",
    "block_out_channels",
    "layers_per_block",
    "in_channels",
    "addition_embed_type",
)
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors",
           "diffusion_pytorch_model.bin")  # fmt: skip


class Control(NamedTuple):
    """A ControlNet that is asked for. net: a kind, a folder or a Hub id. clip: what it goes by: a file, a
    folder of pictures, or one of `TOOLS`.
    """

    net: str
    clip: str
    weight: float = 1.0
    revision: str | None = None

    def __str__(self) -> str:
        """As it is typed."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.net}{revision}={self.weight:.17g}:{self.clip}"


def parse(text: str) -> Control:
    """NET[=WEIGHT][:CLIP]. Raises UsageError."""
    net, weight, clip = split(text)
    found = None if net in PUBLISHED or os.path.exists(net) else HUB_ID.fullmatch(net)
    if not net:
        raise UsageError(f"{option('control', text)} names no ControlNet.", FORM)
    if net not in PUBLISHED and not os.path.exists(net) and (found is None or found["file"]):
        raise UsageError(
            f"{option('control', text)}: there is no ControlNet {net!r}{nearest(net, PUBLISHED) or '.'}", FORM
        )
    strength = _weight(text, weight) if weight else 1.0
    if not clip and net not in TOOLS:
        example = option("control", f"{net}={strength:g}:CLIP")
        raise UsageError(
            f"{option('control', text)} names no clip to go by.",
            "Only the edges of canny are made here; depth and poses come from a clip of yours.",
            f"Name it: {example}" + ("" if net in PUBLISHED else f", or {example.replace('CLIP', 'canny')}"),
        )
    name, revision = (found["name"], found["revision"]) if found else (net, None)
    return Control(name, clip or net, strength, revision)


def split(text: str) -> tuple[str, str, str]:
    """The ControlNet, the weight and the clip, "" for those that are not there."""
    for end in (len(text), *(place for place in reversed(range(len(text))) if text[place] in "=:")):
        if text[:end] in PUBLISHED or os.path.exists(text[:end]):
            net, rest = text[:end], text[end:]
            break
    else:
        places = [text.find(mark) for mark in "=:" if mark in text]
        net, rest = (text[: min(places)], text[min(places) :]) if places else (text, "")
    if rest.startswith(":"):
        return net, "", rest[1:]
    weight, _, clip = rest.removeprefix("=").partition(":")
    return net, weight or ("?" if rest.startswith("=") else ""), clip


def _weight(text: str, number: str) -> float:
    weight = _number(number)
    if not 0 <= weight <= LARGEST_WEIGHT:
        net, _, clip = split(text)
        raise UsageError(
            f"{option('control', text)}: {number.removeprefix('?')!r} is not a weight.",
            f"It is a number from 0 to {LARGEST_WEIGHT:g}; 1 adds all that the ControlNet says.",
            f"Try {option('control', f'{net}=1:{clip}' if clip else f'{net}=1')}",
        )
    return weight


def _number(text: str) -> float:
    """NaN for what is not a number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def check_clip(text: str, asked: Control) -> None:
    """Refuse a clip of conditions that is not there; a weight in its place is told. Raises InputError."""
    if asked.clip in TOOLS or os.path.exists(asked.clip):
        return
    file, _, weight = asked.clip.rpartition("=")
    moved = ""
    if 0 <= _number(asked.clip) <= LARGEST_WEIGHT and asked.net in TOOLS:
        moved = f"{asked.net}={asked.clip}"
    elif 0 <= _number(weight) <= LARGEST_WEIGHT and (file in TOOLS or os.path.exists(file)):
        moved = f"{asked.net}={weight}:{file}"
    raise InputError(
        f"{option('control', text)}: there is no clip {asked.clip!r}.",
        "A weight stands behind the ControlNet, with = before it."
        if moved
        else f"It is a file, a folder of pictures, or {' or '.join(TOOLS)}.",
        f"Try {option('control', moved)}" if moved else "Check the name",
    )


def with_names(text: str, change: Callable[[str], str]) -> str:
    """The same ControlNet by other names of its folder and its clip, those that name files."""
    net, weight, clip = split(text)
    net = net if net in PUBLISHED else change(net)
    clip = f":{clip if clip in TOOLS else change(clip)}" if clip else ""
    return f"{net}{f'={weight}' if weight else ''}{clip}"


def find(asked: Control, width: int, model: str) -> Path:
    """The folder of a ControlNet, fetched where it is on the Hub; its class is looked at before its weights.

    width: of the text that the model's network reads. Raises ModelError.
    """
    name = asked.net
    if name in PUBLISHED:
        if width not in PUBLISHED[name]:
            raise ModelError(
                f"there is no published ControlNet of {name} for {model}, which reads text of width {width}.",
                f"They are for {', '.join(FAMILIES.values())}.",
                f"Name one of yours: {option('control', f'FOLDER={asked.weight:g}:{asked.clip}')}",
            )
        name = PUBLISHED[name][width]
    folder = Path(name) if os.path.exists(name) else fetch_folder(name, ["config.json"], asked.revision)
    check_class(name, folder)
    told = read_json(folder / "config.json", name)
    check_made_for(name, told, {"cross_attention_dim": width}, model)
    for file in () if os.path.isdir(name) else WEIGHTS:
        if weights_in(folder) is None:
            folder = fetch_folder(name, ["config.json", file], asked.revision)
    if weights_in(folder) is None:
        raise ModelError(f"the ControlNet {name} lacks its weights.", f"They are called {WEIGHTS[0]}.")
    return folder


def check_class(name: str, folder: Path) -> None:
    """Refuse what is not the folder of a ControlNet that edits here can take. Raises ModelError."""
    if folder.is_file():
        raise ModelError(
            f"{name} is a file, and a ControlNet is a folder in diffusers' layout.",
            f"It holds config.json and {WEIGHTS[0]}.",
        )
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{name} is not a ControlNet: it has no config.json.",
            f"A ControlNet is a folder in diffusers' layout, of {CLASS}.",
        )
    check_part(name, folder)
    kind = read_config(folder / "config.json").get("_class_name")
    if kind != CLASS:
        raise ModelError(
            f"{name} is not a ControlNet of Stable Diffusion: its config.json says {str(kind)[:60]!a}.",
            f"Edits take those of the class {CLASS}.",
        )


def check_folder(net: str, model_folder: Path, model: str) -> None:
    """Refuse the folder of what is not a ControlNet, or of one that was made for another kind of model.

    Raises ModelError.
    """
    folder = Path(net)
    check_class(net, folder)
    unet = read_json(model_folder / "unet" / "config.json", model)
    check_made_for(net, read_json(folder / "config.json", net), unet, model)


def check_made_for(name: str, control: Mapping[str, Any], unet: Mapping[str, Any], model: str) -> None:
    """Refuse a ControlNet whose network is not one of the model's kind, by both configurations.

    Raises ModelError.
    """
    for key in ALIKE:
        theirs, ours = (_plain(table.get(key)) for table in (control, unet))
        if theirs == ours or key not in control or key not in unet:  # what is not said is as usual
            continue
        if key == "cross_attention_dim" and isinstance(theirs, int) and isinstance(ours, int):
            made, wanted = (
                f"{FAMILIES[width]} (text of width {width})"
                if width in FAMILIES
                else f"text of width {width}"
                for width in (theirs, ours)
            )
        else:
            made, wanted = f"{key} {theirs}", f"{key} {ours}"
        raise ModelError(
            f"the ControlNet {name} was made for {made}, and {model} has {wanted}.",
            "It adds to the network that it was trained with.",
            f"Name one of the model's family, such as {option('control', 'canny')}"
            if unet.get("cross_attention_dim") in FAMILIES
            else "Name one that was made for it",
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def by_content(told: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What of ControlNets decides a result: weights and clips by their contents; those of weight 0 do
    nothing.
    """
    kept = ("sha256", "weight", "clip_sha256")
    return [{key: one[key] for key in kept} for one in told if one["weight"]]


def recorded(told: Mapping[str, Any]) -> str:
    """The text that asks for the ControlNet a record tells of, in the same version."""
    clip = told["clip"] if told["tool"] is None else told["tool"]
    return str(Control(told["net"], clip, told["weight"], told["revision"]))


def at_frame(model: Any, first: int) -> AbstractContextManager[None]:
    """While inside, the network is shown frames of a window that begins at a frame of the clip."""
    controls = getattr(model, "controls", None)
    made: AbstractContextManager[None] = nullcontext() if controls is None else controls.at(first)
    return made
