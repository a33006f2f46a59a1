"""What a network goes by besides text: the clips of ControlNets, and the picture of an image prompt.

Names and files are checked before the model is loaded; its networks are loaded beside it when an edit or an
inversion begins, and kept with it for the next one.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vedit.errors import InputError, ModelError, UsageError, VeditError, Warn, option, silent
from vedit.jobs.clips import Pixels, blank_frames, count_in, fitted, frames_in
from vedit.jobs.edit.reference import one_picture
from vedit.jobs.masks import warn_of_shape
from vedit.media.source import opened
from vedit.models import controls as asked_controls
from vedit.models import images
from vedit.models.controls import TOOLS, Control, check_folder
from vedit.models.hub import commit_of, find_folder, layout_named
from vedit.models.layout import SD, SDXL
from vedit.models.sd import single_file

if TYPE_CHECKING:
    import numpy as np

    from vedit.methods.base import Picture
    from vedit.models.family import Model

FITTING = "ControlNets and image prompts are for models of Stable Diffusion's layouts."


def check_conditions(
    model: str,
    revision: str | None,
    control: Sequence[str],
    image_prompt: str | None = None,
    image_adapter: str | None = None,
) -> None:
    """Refuse what is wrong with conditions by their names and configurations alone. Raises VeditError."""
    if not control and image_prompt is None:
        if image_adapter is not None:
            raise UsageError(
                f"{option('image_adapter')} reads the picture of {option('image_prompt')}, which is missing.",
                "",
                f"Add {option('image_prompt', 'FILE')}",
            )
        return
    given = option("control" if control else "image_prompt")
    if not single_file.is_file(model) and layout_named(model, revision) not in (SD, SDXL):
        raise ModelError(f"{given} does not go with {model}.", FITTING, f"Leave out {given}")
    for text in control:
        asked = asked_controls.parse(text)
        asked_controls.check_clip(text, asked)
        if os.path.exists(asked.net) and not single_file.is_file(model):
            check_folder(asked.net, find_folder(model, revision), model)
    if image_prompt is not None:
        images.parse(image_prompt)
        images.check_adapter(image_adapter)


def check_clips(control: Sequence[str], pixels: Pixels) -> None:
    """Refuse condition clips of another length than the clip. Raises InputError."""
    for text in control:
        asked = asked_controls.parse(text)
        if asked.clip not in TOOLS:
            taken(asked.clip, count_in(asked.clip), pixels)


def taken(name: str, count: int, pixels: Pixels) -> list[int]:
    """The frames of a condition clip that go with those of the edit: of one as long as the clip, or as what
    is edited of it; a picture goes with all. Raises InputError for another length.
    """
    frames, (start, stride) = len(pixels.durations), pixels.selection[:2]
    if count == 1:
        return [0] * frames
    if count == frames:
        return list(range(frames))
    whole = frames_in(pixels)
    if count == whole:
        return list(range(start, count, stride))[:frames]
    lengths = f"{frames}, as are edited" + (
        f", or {whole}, as the clip has" if whole not in (None, frames) else ""
    )
    size = f"{pixels.clip.width}x{pixels.clip.height}"
    raise InputError(
        f"the condition {name} has {count} frames, and {frames} {'is' if frames == 1 else 'are'} edited.",
        f"It needs {lengths}, or is a single picture for all.",
        f"Try {option('frames', count)}"
        if count < frames
        else f"Cut it: vedit data clip {shlex.quote(name)} OUT --frames {frames} --size {size}",
    )


def conditioned(model: Model, control: Sequence[str], pixels: Pixels, warn: Warn = silent) -> Model:
    """The model with ControlNets that go by clips; the same without any. Raises VeditError."""
    if not control:
        return model
    from vedit.models.sd.control import Controlled, Controls, pictures_of
    from vedit.models.sd.model import Model as SDModel

    if not isinstance(model, SDModel):
        raise ModelError(f"{option('control')} does not go with {model.name}.", FITTING)
    if model.controls is not None:
        return model
    parts = []
    for text in control:
        asked = asked_controls.parse(text)
        net, told = _loaded(asked, model)
        frames_FYX3 = condition(asked.clip, pixels, warn)
        digest = hashlib.sha256()
        for frame in frames_FYX3:
            digest.update(frame.tobytes())
        told["clip_sha256"] = digest.hexdigest()
        parts.append(Controlled(net, asked.weight, pictures_of(frames_FYX3, model.scale), told))
    return replace(model, controls=Controls(parts))


def _loaded(asked: Control, model: Any) -> tuple[Any, dict[str, Any]]:
    """A ControlNet, loaded once for a model, and what a record tells of it."""
    from vedit.models.sd.control import load_net

    width = model.text_shape[1]
    folder = asked_controls.find(asked, width, model.name)
    kept = ("control", str(folder))
    if kept not in model.kept:
        model.kept[kept] = load_net(asked.net, folder, model)
    net = model.kept[kept]
    is_tool = asked.clip in TOOLS
    return net, {
        "net": asked_controls.PUBLISHED[asked.net][width]
        if asked.net in asked_controls.PUBLISHED
        else asked.net,
        "weight": asked.weight,
        "revision": commit_of(folder) or asked.revision,
        "clip": None if is_tool else asked.clip,
        "tool": asked.clip if is_tool else None,
        "sha256": net.sha256,
    }


def condition(clip: str, pixels: Pixels, warn: Warn = silent) -> np.ndarray:
    """The frames that a ControlNet goes by, at the size that is worked on, (F, Y, X, 3) uint8."""
    width, height = pixels.selection.shape
    made = blank_frames((len(pixels.durations), height, width, 3))
    if clip == "canny":
        from vedit.media.canny import edges

        for place, frame in enumerate(pixels.frames_FYX3):
            made[place] = edges(frame)
        return made
    places = taken(clip, count_in(clip), pixels)
    for number, frame in enumerate(_frames(clip, pixels, warn)):
        for place, wanted in enumerate(places):
            if wanted == number:
                made[place] = frame
    return made


def _frames(name: str, pixels: Pixels, warn: Warn) -> Any:
    """The frames of a condition clip, cut as the clip is."""
    import numpy as np

    try:
        with opened(name, warn=warn) as (clip, frames):
            warn_of_shape("condition", name, (clip.width, clip.height), pixels, warn)
            for frame in frames:
                yield np.asarray(fitted(frame.pixels, pixels.selection.size))
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


def shown_picture(
    model: Model, image_prompt: str | None, image_adapter: str | None, warn: Warn = silent
) -> tuple[Picture | None, dict[str, Any]]:
    """The picture that the edit's cross-attention sees, and what a record tells of it; one of weight 0 is
    not seen. Raises VeditError.
    """
    if image_prompt is None:
        return None, {}
    from vedit.methods.base import Picture
    from vedit.models.sd.image_prompt import load_adapter
    from vedit.models.sd.model import Model as SDModel

    if not isinstance(model, SDModel):
        raise ModelError(f"{option('image_prompt')} does not go with {model.name}.", FITTING)
    asked = images.parse(image_prompt)
    found = images.find(image_adapter, model.text_shape[1], model.name)
    kept = ("image", str(found.file))
    if kept not in model.kept:
        model.kept[kept] = load_adapter(found, model)
    adapter = model.kept[kept]
    told = {
        "image": asked.image,
        "weight": asked.weight,
        "adapter": found.name,
        "adapter_sha256": adapter.sha256,
        "encoder_sha256": adapter.encoder_sha256,
    }
    tokens, away = adapter.tokens(one_picture(asked.image, "image prompt", warn))
    picture = Picture(tokens.float(), away.float(), adapter.keys_of, asked.weight) if asked.weight else None
    return picture, {"image_prompt": told}
