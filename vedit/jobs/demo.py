"""The demonstration: draw a clip, edit it three ways, hold the results against the truth."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vedit.data.cases import Case
from vedit.jobs.bench.journal import Score
from vedit.jobs.bench.scenes import COPY, score, with_mask
from vedit.jobs.clips import Pixels, Selection, read_pixels
from vedit.jobs.draw_scene import scene_for, write_scene
from vedit.jobs.edit.job import Job
from vedit.jobs.edit.settings import method_params
from vedit.jobs.edit.video import edit_video
from vedit.jobs.record import SUFFIX
from vedit.jobs.watch import Watch, unwatched
from vedit.media.run import Settings
from vedit.models.hub import EMBEDDED
from vedit.pixels import from_bytes, mean_square

if TYPE_CHECKING:
    from torch import Tensor

    from vedit.models.family import Model

SOURCE = "a red circle moving left on a grey background"
TARGET = "a blue circle moving left on a grey background"
METHODS = ("p2p", "pnp", "glp")
BESIDE = "-beside-source"
OFF = (
    0.0,
    -6.0,
    -3.0,
    3.0,
    6.0,
)  # pixels: a place or a radius is right when none of these fits better than 0


@dataclass(frozen=True)
class Shown:
    """An edit's scores, and how far its object is from the true one.

    off: pixels by which it is too large, too far right, too low; each the best fit of `OFF`.
    """

    score: Score
    off: tuple[float, float, float]

    @property
    def is_right(self) -> bool:
        return self.score.success == 1 and self.off == (0, 0, 0)


def outputs_in(folder: str) -> list[str]:
    """Every file that the demonstration writes."""
    of_methods = [
        f"{method}{suffix}" for method in METHODS for suffix in (".gif", f".gif{SUFFIX}", f"{BESIDE}.gif")
    ]
    return [os.path.join(folder, name) for name in ("clip.gif", "truth.gif", *of_methods, "table.txt")]


def run_demo(
    folder: str,
    model: Model,
    *,
    say: Callable[[str], None],
    watch: Watch = unwatched,
) -> list[Shown]:
    """Write clip, truth, edits and side-by-side GIFs into a folder; returns the scores.

    Each method has the parameters that an edit with the embedded model gives it. say: told of each file as it
    is written.
    """
    os.makedirs(folder, exist_ok=True)
    scene, truth = scene_for(SOURCE, seed=0, truth=TARGET)
    assert truth is not None, "scene_for draws the truth that it is asked for"
    clip = os.path.join(folder, "clip.gif")
    for path, drawn in ((clip, scene), (os.path.join(folder, "truth.gif"), truth)):
        write_scene(drawn, path)
        say(path)
    case = Case("demo", "colour", truth.colour, scene)
    source = read_pixels(clip, Selection(size=model.native_size))
    found = [shown(COPY, case, from_bytes(source.frames_FYX3))]
    for method in METHODS:
        output = os.path.join(folder, f"{method}.gif")
        preview = os.path.join(folder, f"{method}{BESIDE}.gif")
        job = Job(
            clip,
            output,
            method,
            SOURCE,
            TARGET,
            source.selection,
            with_mask(method, case, method_params(method, None, {}, EMBEDDED)),
            preview=preview,
        )
        edit_video(job, model, Settings(), watch=watch)
        made: Pixels = read_pixels(output, source.selection)
        found.append(shown(method, case, from_bytes(made.frames_FYX3)))
        say(output)
        say(f"{preview} (source | edit)")
    return found


def shown(method: str, case: Case, output_F3YX: Tensor) -> Shown:
    """Score an output, pixels (F, 3, Y, X) in [-1, 1], and find its object."""
    return Shown(score(method, case, output_F3YX, len(output_F3YX)), off_by(case, output_F3YX))


def off_by(case: Case, output_F3YX: Tensor) -> tuple[float, float, float]:
    """The change of radius, x and y, in pixels, with which the true object fits an output best: each one of
    `OFF`. The object has the value of the changed field that fits it best, not always the true one.
    """
    from vedit.data import scenes

    def distance(scene: scenes.Scene) -> float:
        drawn = scenes.clip(replace(scene, grain=0.0), len(output_F3YX)) * 2 - 1
        return mean_square(output_F3YX, drawn)

    scene = min(case.alternatives().values(), key=distance)

    def moved(off: tuple[float, float, float]) -> scenes.Scene:
        larger, right, lower = off
        return replace(scene, size_offset=scene.size_offset + larger, x=scene.x + right, y=scene.y + lower)

    return min(itertools.product(OFF, OFF, OFF), key=lambda off: distance(moved(off)))


def scores_text(found: list[Shown]) -> str:
    """One line per method."""
    lines = [
        f"{'method':<12} {'whole dB':>9} {'unchanged dB':>13} {'edited dB':>10}  right colour, size and place"
    ]
    for entry in found:
        score = entry.score
        numbers = f"{score.whole:9.1f} {score.unchanged:13.1f} {score.edited:10.1f}"
        lines.append(f"{score.method:<12} {numbers}  {verdict(entry)}")
    return "\n".join(lines)


def verdict(entry: Shown) -> str:
    """What is right and what is not, in words."""
    if entry.is_right:
        return "yes"
    names = (("larger", "smaller"), ("too far right", "too far left"), ("too low", "too high"))
    wrong = [
        f"{abs(off):g} px {more if off > 0 else less}"
        for off, (more, less) in zip(entry.off, names, strict=True)
        if off
    ]
    return "no: " + ", ".join(([] if entry.score.success else ["another colour"]) + wrong)
