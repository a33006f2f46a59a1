"""Models that say what a clip shows. A module here is one of them; they are found by listing.

A module has

    SUMMARY          one line
    FRAMES, EVERY    how many frames it looks at, and which, unless told; None spreads them over the clip
    WAYS             how it comes to a clip's caption, the best first: "clip", "medoid"
    side(w, h)       the size that frames of a size are looked at in: a side of the square that is cut from
                     the middle, or a width and a height
    DEFAULT          the checkpoint that is taken unless one is named; None where there is no choice of one,
                     "" where one must be named
    IS_QUICK         where it is: what it says takes so little time that it is not kept
    open_captioner   (Opening) -> Captioner
"""

from __future__ import annotations

import pkgutil
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from vedit.errors import UsageError, Warn, nearest, option, silent
from vedit.jobs.caption.request import By, CaptionRequest, Detail

if TYPE_CHECKING:
    import numpy as np

    from vedit.models.readers import Reader

SAY = {
    "short": "Say in one short sentence what {it} shows: who or what, what they do, and where.",
    "detailed": "Describe in two sentences what {it} shows: subject, looks, action, setting, light.",
    "more": "Describe in a paragraph what {it} shows: subject, looks, action, setting, light, camera.",
}
ALONE = " Answer with the description alone, in English."


class Told(NamedTuple):
    """What a captioner says: of the clip, and of each frame that it looked at by itself, if it did."""

    clip: str
    frames: tuple[str, ...] = ()


class Look(NamedTuple):
    """How a clip is looked at. seconds: when each frame begins; rate: frames per second, of those taken."""

    detail: Detail = "short"
    by: By = "medoid"
    seconds: Sequence[float] = ()
    rate: float = 8.0


class Opening(NamedTuple):
    """What a captioner is opened with. name: a checkpoint, None for the captioner's own."""

    name: str | None = None
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    base_url: str | None = None
    remote_model: str | None = None
    key_env: str | None = None
    timeout: float = 120
    warn: Warn = silent


class Captioner(Protocol):
    """A model that is ready."""

    def told(self, frames_FYX3: np.ndarray, look: Look) -> Told:
        """The captions of a clip's frames, uint8 RGB, and of the clip. Raises InputError for frames that it
        cannot tell of, ModelError and RemoteError where it has no answer.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """Its name and where its weights are from."""
        ...


def names() -> list[str]:
    """The captioners there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def module_of(name: str) -> Any:
    """A captioner's module, by the part of a name before its colon. Raises UsageError for one that is not."""
    own, colon, checkpoint = name.partition(":")
    if own not in names():
        raise UsageError(
            f"there is no captioner {own!r}{nearest(own, names()) or '.'}",
            f"There are: {', '.join(names())}.",
        )
    module = import_module(f"{__name__}.{own}")
    if colon and (module.DEFAULT is None or not checkpoint):
        raise UsageError(
            f"{option('model', name)}: "
            + (f"{own} has one model." if module.DEFAULT is None else "no model is named behind the colon."),
            "",
            f"Write {option('model', own)}",
        )
    if not checkpoint and module.DEFAULT == "":
        raise UsageError(
            f"{option('model', own)} names no model.",
            "A folder or a Hub id stands behind a colon.",
            f"Example: {option('model', f'{own}:OWNER/NAME')}",
        )
    return module


def opened(request: CaptionRequest, warn: Warn) -> Captioner:
    """The captioner that a request names. Raises UsageError, ModelError."""
    module = module_of(request.named_model)
    is_hosted = module.__name__.endswith(".remote")
    for name in ("base_url", "remote_model", "key_env"):
        if getattr(request, name) is not None and not is_hosted:
            raise UsageError(
                f"{option(name)} is for a hosted model, and {request.named_model} runs here.",
                "",
                f"Leave out {option('model')}",
            )
    if request.revision is not None and not module.DEFAULT and module.DEFAULT != "":
        raise UsageError(f"{request.named_model} has no revisions.", "", f"Leave out {option('revision')}")
    checkpoint = request.named_model.partition(":")[2] or None
    given = {name: getattr(request, name) for name in Opening._fields if hasattr(request, name)}
    captioner: Captioner = module.open_captioner(Opening(**{**given, "name": checkpoint, "warn": warn}))
    return captioner


def reader_of(
    opening: Opening, captioner: str, default: str | None = None, kind: str = "AutoModelForImageTextToText"
) -> Reader:
    """The network of transformers that a captioner reads with. kind: its class. Raises ModelError."""
    from vedit.models.readers import open_reader

    name = str(opening.name or default)
    return open_reader(
        name,
        opening.revision,
        device=opening.device,
        dtype=opening.dtype,
        again=f"vedit caption CLIP --model {captioner}:{name}",
        kind=kind,
    )


def question(detail: Detail, frames: int = 1) -> str:
    """What a model that is asked in words is asked. frames: pictures of the clip that it sees at once."""
    it = "this picture" if frames == 1 else f"the clip that these {frames} pictures are from, in their order,"
    return SAY[detail].format(it=it) + ALONE


def by_medoid(frames_FYX3: np.ndarray, say: Callable[[Any], str]) -> Told:
    """Each frame's caption, and for the clip the one that is most like the others. say: of a PIL picture."""
    from PIL import Image

    told = tuple(say(Image.fromarray(frame)) for frame in frames_FYX3)
    return Told(medoid(told), told)


def medoid(captions: Sequence[str]) -> str:
    """The caption with the highest mean word-F1 to the others; of several the earliest."""
    words = [Counter(caption.lower().split()) for caption in captions]

    def likeness(place: int) -> float:
        return sum(word_f1(words[place], other) for at, other in enumerate(words) if at != place)

    return captions[max(range(len(captions)), key=lambda place: (likeness(place), -place))]


def word_f1(one: Counter[str], other: Counter[str]) -> float:
    """Harmonic mean of the shares of words that two texts have in common, 0 to 1."""
    both, all_words = (one & other).total(), one.total() + other.total()
    return 2 * both / all_words if all_words else 1.0


def within(longest: int) -> Callable[[int, int], tuple[int, int]]:
    """Sizes of the same shape whose longer side is at most so many pixels; small frames stay as they are."""

    def side(width: int, height: int) -> tuple[int, int]:
        scale = min(1.0, longest / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    return side
