"""Image prompts by file, and IP-Adapters, which read them: what is asked for, and where it lies. No torch."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vedit.errors import InputError, ModelError, UsageError, option
from vedit.models.adapters import HUB_ID
from vedit.models.checked import check_part
from vedit.models.hub import commit_of, fetch_folder, weights_in

FORM = "It is FILE with =WEIGHT behind it, such as fox.png=0.7."
ADAPTER_FORM = "It is a FILE with image_encoder beside it, a FOLDER of both, or OWNER/NAME/FILE."
LARGEST_WEIGHT = 10.0
SUFFIXES = (".safetensors", ".bin")
ENCODER = "image_encoder"
PUBLISHED: Mapping[int, str] = {  # by the width of text that the network reads
    768: "h94/IP-Adapter/models/ip-adapter_sd15.safetensors",
    2048: "h94/IP-Adapter/sdxl_models/ip-adapter_sdxl.safetensors",
}


class ImagePrompt(NamedTuple):
    """A picture that is to be seen in the result."""

    image: str
    weight: float = 1.0

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.image}={self.weight:.17g}"


class Adapter(NamedTuple):
    """The files of an IP-Adapter. name: that asks for it again. encoder: folder of its image encoder."""

    name: str
    file: Path
    encoder: Path


def parse(text: str) -> ImagePrompt:
    """FILE[=WEIGHT]. Raises UsageError, InputError."""
    image, weight = split(text)
    if not os.path.isfile(image):
        what = "is a folder, not a picture" if os.path.isdir(image) else "there is no such file"
        raise InputError(f"{option('image_prompt', text)}: {image}: {what}.", FORM, "Check the name")
    return ImagePrompt(image, _weight(text, weight) if weight else 1.0)


def split(text: str) -> tuple[str, str]:
    """The file and the weight, "" where there is none."""
    if os.path.exists(text) or "=" not in text:
        return text, ""
    image, _, weight = text.rpartition("=")
    return image, weight or "?"


def with_name(text: str, change: Callable[[str], str]) -> str:
    """The same prompt by another name of its file."""
    image, weight = split(text)
    return f"{change(image)}={weight}" if weight else change(image)


def _weight(text: str, number: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= LARGEST_WEIGHT:
        raise UsageError(
            f"{option('image_prompt', text)}: {number.removeprefix('?')!r} is not a weight.",
            f"It is a number from 0 to {LARGEST_WEIGHT:g}; 1 adds all that the adapter was trained to.",
            f"Try {option('image_prompt', f'{split(text)[0]}=1')}",
        )
    return weight


def check_adapter(text: str | None) -> None:
    """Refuse an adapter that is neither there nor could be on the Hub. Raises ModelError."""
    if text is not None and not os.path.exists(text):
        found = HUB_ID.fullmatch(text)
        if found is None or not found["file"] or text.startswith(("./", "../")):
            raise ModelError(f"there is no IP-Adapter {text!r}.", ADAPTER_FORM, "Check the name")


def find(text: str | None, width: int, model: str) -> Adapter:
    """The files of an adapter, fetched where it is on the Hub. text: None for the published one.

    width: of the text that the model's network reads. Raises ModelError.
    """
    if text is None:
        if width not in PUBLISHED:
            raise ModelError(
                f"there is no published IP-Adapter for {model}, which reads text of width {width}.",
                "They are for Stable Diffusion 1 and Stable Diffusion XL.",
                f"Name one of yours: {option('image_adapter', 'FILE')}",
            )
        text = PUBLISHED[width]
    check_adapter(text)
    if os.path.isdir(text):
        found = _one_file(text)
    elif os.path.exists(text):
        found = Path(text)
    else:
        return _fetched(text)
    if not found.name.endswith(SUFFIXES):
        raise ModelError(f"{found} is not a file of weights.", f"Its name ends in {' or '.join(SUFFIXES)}.")
    return _with_encoder(str(found), found)


def _one_file(folder: str) -> Path:
    names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIXES))
    if len(names) != 1:
        first = names[0] if names else "FILE.safetensors"
        raise ModelError(
            f"{folder} holds {len(names)} files of weights{': ' if names else ''}{', '.join(names[:10])}.",
            "An IP-Adapter is one of them.",
            f"Name it: {option('image_adapter', f'{folder}/{first}')}",
        )
    return Path(folder, names[0])


def _fetched(text: str) -> Adapter:
    match = HUB_ID.fullmatch(text)
    assert match is not None, "check_adapter has seen it"
    name, file, revision = match["name"], match["file"], match["revision"]
    encoder = os.path.join(os.path.dirname(file), ENCODER)
    wanted = [file, *(f"{encoder}/{one}" for one in ("config.json", "model.safetensors"))]
    folder = fetch_folder(name, wanted, revision)
    if not (folder / file).is_file():
        raise ModelError(f"{name} has no file {file!r}.", ADAPTER_FORM, "Check the name")
    commit = commit_of(folder)
    return _with_encoder(f"{name}/{file}{f'@{commit}' if commit else ''}", folder / file)


def _with_encoder(name: str, file: Path) -> Adapter:
    encoder = file.parent / ENCODER
    if not (encoder / "config.json").is_file() or weights_in(encoder) is None:
        raise ModelError(
            f"the IP-Adapter {name} lacks its image encoder: {encoder} has no config.json with weights.",
            "It is a CLIP vision model with projection, in a folder beside the adapter.",
            f"Put it there, or name the published adapter: {option('image_adapter', PUBLISHED[768])}",
        )
    check_part(name, encoder)
    return Adapter(name, file, encoder)


def recorded(told: Mapping[str, Any]) -> tuple[str, str]:
    """The texts that ask for the image prompt and the adapter a record tells of."""
    return str(ImagePrompt(told["image"], told["weight"])), str(told["adapter"])
