"""What a metric module has, what it is given, and what it gives back.

A metric module holds

    SUMMARY      one line of help
    VERSION      a number that grows when the same input would give another value
    VALUES       a tuple of `Value`, one per key that `score` can give
    NEEDS        a frozenset out of `NEEDS_OF`: the inputs without which it cannot be computed
    GROUPS       a frozenset out of `GROUPS`
    TOWERS       names of the networks it reads; empty when it needs no weights
    OPTIONS      optional, keys of `MetricOptions` that change its numbers, beside the profile and the
    networks' dtype towers       optional, from `Options` to such a tuple, where an option chooses the network
    score        from (clip, towers, options) to a dict from key to `Score`; a key that does not
                 exist for a clip may be absent
    unfit        optional, from (clip, options) to why the metric means nothing for this clip, or ""
    provenance   optional, from `Options` to what a report says about files of its own

Importing such a module loads no torch. Shape letters: T frames, Y X rows and columns, 3 or C
channels, E embedding width, P pairs of neighbouring frames (T - 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from vedit.errors import InputError, option
from vedit.metrics.types import Floats, Options, Pixels, Video, unit

LAST = 1000  # the order of a number that has none
GROUPS = frozenset(
    {
        "v2vbench",
        "quality",
        "alignment",
        "temporal",
        "reference",
        "background",
        "method",
        "core",
        "judge",
        "small",
    }
)
ON_REQUEST = frozenset(
    {"core", "judge", "small"}
)  # groups that are not computed unless they or their numbers are named


@dataclass(frozen=True)
class Value:
    """A number that a metric gives: its key in tables, how to read it, and the names others give it.

    rounding: differences that are not larger come from rounding, batches or libraries, and are not judged.
    order: place of its column; numbers without one follow in the order of their modules.
    """

    key: str
    unit: str
    higher_is_better: bool
    usual: str
    explanation: str
    aliases: tuple[str, ...] = ()
    rounding: float = 1e-4
    order: int = LAST


@dataclass(frozen=True)
class Score:
    """One number of one clip.

    value: NaN when it does not exist for this clip; `extra["why"]` then says why.
    per_frame: what `value` is the mean of, by frame or by pair of frames, where there is such a thing.
    extra: further facts for the report: raw branches, frame indices, rules taken, warnings.
    """

    value: float
    per_frame: tuple[float, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def mean_score(per_frame: Iterable[float], **extra: Any) -> Score:
    """The plain mean over frames or pairs."""
    values = tuple(float(value) for value in per_frame)
    return Score(float(np.mean(np.asarray(values, np.float64))) if values else float("nan"), values, extra)


def cosines(first_TE: Floats, second_TE: Floats) -> Floats:
    """The cosine of each row with the row of the same number; a single row is compared with all."""
    found: Floats = (unit(first_TE) * unit(second_TE)).sum(-1)
    return found


def adjacent_cosines(features_TE: Floats) -> Floats:
    """Cosines of neighbouring frames, (P,), negative ones as 0 (as V2VBench has it)."""
    return np.maximum(cosines(features_TE[1:], features_TE[:-1]), 0)


@dataclass(frozen=True)
class Clip:
    """An edited video and what it is judged by.

    id: names it in tables and messages. mask_TYX: uint8, > 127 where the edit may change pixels.
    record: its run record as read from the sidecar. asked: what the file should be and is, by name, each in
    the words of a report; damage: what of it could not be read. questions: about the edit, each with its
    right answer, "yes" or "no".
    """

    id: str
    edited: Video
    source: Video | None = None
    truth: Video | None = None
    mask_TYX: Pixels | None = None
    prompt: str | None = None
    source_prompt: str | None = None
    record: Mapping[str, Any] | None = None
    asked: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    damage: str = ""
    questions: tuple[tuple[str, str], ...] = ()

    @property
    def edited_TYX3(self) -> Pixels:
        return self.edited.frames_TYX3

    @property
    def source_TYX3(self) -> Pixels | None:
        return None if self.source is None else self.source.frames_TYX3

    @property
    def truth_TYX3(self) -> Pixels | None:
        return None if self.truth is None else self.truth.frames_TYX3


# what a metric may need, and what it is called when it is not there
NEEDS_OF = {
    "source": "the source clip",
    "prompt": "the target prompt",
    "source_prompt": "the source prompt",
    "truth": "the ideal edit",
    "mask": "a mask",
    "pairs": "two frames or more",
    "record": "the run record beside the edited clip",
    "judge": "a judge",
    "questions": "questions about the edit, in the index",
}
OF_OPTIONS = frozenset(
    {"source", "prompt", "source_prompt", "truth", "mask", "judge"}
)  # needs that an option gives


def missing(needs: Iterable[str], clip: Clip, *, has_judge: bool = False) -> list[str]:
    """Which of a metric's needs a clip does not have, in the words of `NEEDS_OF`, with the option that gives
    it.
    """
    present = {
        "source": clip.source is not None,
        "prompt": clip.prompt is not None,
        "source_prompt": clip.source_prompt is not None,
        "truth": clip.truth is not None,
        "mask": clip.mask_TYX is not None,
        "pairs": len(clip.edited) >= 2,
        "record": clip.record is not None,
        "judge": has_judge,
        "questions": bool(clip.questions),
    }
    named = {
        need: f"{words} ({option(need)})" if need in OF_OPTIONS else words for need, words in NEEDS_OF.items()
    }
    return [named[need] for need in NEEDS_OF if need in set(needs) and not present[need]]


def source_like_edit(clip: Clip) -> Video:
    """The source of a clip, as long and as large as its edit. Raises InputError."""
    assert clip.source is not None
    if len(clip.source) != len(clip.edited):
        raise InputError(
            f"{clip.id}: the edited clip has {len(clip.edited)} frames, its source {len(clip.source)}.",
            "",
            f"Choose the frames to compare with {option('align', 'first|stride')}",
        )
    if clip.source.size != clip.edited.size:
        edited, source = (f"{video.size[1]}x{video.size[0]}" for video in (clip.edited, clip.source))
        raise InputError(
            f"{clip.id}: the edited clip has {edited} pixels, its source {source}.",
            "",
            f"Bring the source to the edited size with {option('resize_source')}",
        )
    return clip.source


def towers_of(metric: ModuleType, options: Options) -> tuple[str, ...]:
    """The networks that a metric reads under these options."""
    choose = getattr(metric, "towers", None)
    names: tuple[str, ...] = choose(options) if choose is not None else metric.TOWERS
    return names
