"""The demonstration: draw a clip, edit it three ways, hold the results against the truth."""

from __future__ import annotations

import os
from collections.abc import Callable
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
from vedit.pixels import from_bytes

if TYPE_CHECKING:
    from vedit.models.family import Model

SOURCE = "a red circle moving left on a grey background"
TARGET = "a blue circle moving left on a grey background"
METHODS = ("p2p", "pnp", "glp")
BESIDE = "-beside-source"


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
) -> list[Score]:
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
    scores = [score(COPY, case, from_bytes(source.frames_FYX3), len(source.frames_FYX3))]
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
        scores.append(score(method, case, from_bytes(made.frames_FYX3), len(made.frames_FYX3)))
        say(output)
        say(f"{preview} (source | edit)")
    return scores


def scores_text(scores: list[Score]) -> str:
    """One line per method."""
    lines = [f"{'method':<12} {'whole dB':>9} {'unchanged dB':>13} {'edited dB':>10}  right colour"]
    for entry in scores:
        answer = "yes" if entry.success else "no"
        lines.append(
            f"{entry.method:<12} {entry.whole:9.1f} {entry.unchanged:13.1f} {entry.edited:10.1f}  {answer}"
        )
    return "\n".join(lines)
