"""The drawn-scene benchmark: methods against the true edited clip, with no learned judge.

Scores per case (docs/models.md 6), PSNR in dB:

    whole      output against the true edited clip
    unchanged  output against the source, where the true edit touches nothing (grown by 2 pixels)
    edited     output against the truth, everywhere else
    success    1 when, of the scene drawn with each value of the changed field, the wanted one is nearest
    flicker    mean absolute error of frame differences against the true ones, x100 in [-1, 1]
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit.data.cases import KINDS, Case, load_cases
from vedit.jobs import cache
from vedit.jobs.bench.journal import Journal, Score, score_key
from vedit.jobs.bench.sheet import SOURCE, TRUTH, Sheet
from vedit.jobs.edit.before import follows_instructions
from vedit.jobs.edit.plan import edit_frames
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.edit.settings import keys_of, needs_of
from vedit.jobs.edit.words import fit_for
from vedit.jobs.watch import Watch, unwatched
from vedit.metrics.psnr import CEILING
from vedit.pixels import from_bytes, mean_square, psnr, to_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from vedit.models.family import Model

SCORES = ("whole", "unchanged", "edited", "success", "flicker")
COPY, CODEC = "copy-source", "codec-of-truth"
RESAMPLES = 2000
MARGIN = 2  # pixels that a drawn box leaves around the object


def score(method: str, case: Case, output_F3YX: Tensor, frames: int) -> Score:
    """Hold a method's output against the truth; pixels in [-1, 1]."""
    import torch

    from vedit.data import scenes

    def drawn(scene: Any) -> Tensor:
        return scenes.clip(scene, frames) * 2 - 1

    source, truth = drawn(case.scene), drawn(case.truth)
    changed = scenes.changed_pixels(source, truth).float().reshape(frames, 1, *source.shape[-2:])
    distance = {
        value: float(torch.mean((output_F3YX - drawn(scene)) ** 2))
        for value, scene in case.alternatives().items()
    }
    flicker = float(torch.mean(torch.abs(output_F3YX.diff(dim=0) - truth.diff(dim=0)))) * 100
    return Score(
        method,
        case.id,
        case.kind,
        psnr(mean_square(output_F3YX, truth), ceiling=CEILING),
        psnr(mean_square(output_F3YX, source, 1 - changed), ceiling=CEILING),
        psnr(mean_square(output_F3YX, truth, changed), ceiling=CEILING),
        float(min(distance, key=lambda value: distance[value]) == case.value),
        flicker,
    )


def edit_scene(model: Model, case: Case, method: str, values: dict[str, Any], frames: int) -> Tensor:
    """One method on one case, as users get it: pixels (F, 3, Y, X) in [-1, 1]. values: parameters of the
    method.
    """
    import numpy as np

    from vedit.data import scenes

    source = to_bytes(scenes.clip(case.scene, frames) * 2 - 1)
    told = follows_instructions(method)
    with TemporaryDirectory() as folder:
        request = EditRequest(
            input=case.id,
            source_prompt="" if told else case.source_prompt,
            prompt=case.instruction if told else case.target_prompt,
            method=method,
            preset="",
            set=values,
            mask=mask_drawn(case, folder) if "mask" in needs_of(method) else (),
        )
        return from_bytes(np.stack(list(edit_frames(model, source, request))))


def with_mask(method: str, case: Case, values: dict[str, Any]) -> dict[str, Any]:
    """Methods that mask by words are told the object's, as a user would. A new background has no such word.

    The masks of dds and glp read the source branch alone, so theirs is a word of the source, and so is
    the place whose own shape fatezero and edit-a-video let go.
    """
    if case.kind in ("ground", "pattern"):
        return values
    source, both = [case.scene.shape], list(dict.fromkeys((case.scene.shape, case.truth.shape)))
    told: dict[str, Any] = {"mask_words": source, "blend_words": both, "object_words": both}
    told["mask_fit"] = fit_for(case.source_prompt, case.target_prompt, is_drawn=True)
    if case.kind in ("shape", "size"):
        told["shape_words"] = source
    keys = set(keys_of(method))
    if "glp" in keys:  # a table of its settings
        values = {**values, "glp": {"mask_fit": told["mask_fit"], **values.get("glp", {})}}
    return {**{key: words for key, words in told.items() if key in keys}, **values}


def mask_drawn(case: Case, folder: str) -> tuple[str]:
    """The mask that a method cannot do without, drawn in the first frame as a user would: a box around the
    object as it is and as it shall be, that follows it; for a new background all but the object.

    folder: where a painted one is put.
    """
    import torch
    from PIL import Image

    from vedit.data import scenes

    pair = scenes.stack([case.scene, case.truth])
    covered_YX = (scenes.object_mask(pair, torch.zeros(2)).amax(dim=0) > 0).numpy()
    if case.kind in ("ground", "pattern"):
        Image.fromarray(covered_YX.astype("uint8") * 255).save(painted := os.path.join(folder, "object.png"))
        return (f"not:track:{painted}",)
    (top, bottom), (left, right) = (
        (max(0, int(places.min()) - MARGIN), min(len(covered_YX), int(places.max()) + 1 + MARGIN))
        for places in covered_YX.nonzero()
    )
    return (f"track:{left},{top},{right - left},{bottom - top}",)


class Contender(NamedTuple):
    """What stands in a row: a method with parameters, under its own name or under that of a preset."""

    method: str
    values: dict[str, Any]


Make = Callable[[], "Tensor"]


def rows_of(
    model: Model, case: Case, contenders: dict[str, Contender], frames: int
) -> Iterator[tuple[str, dict[str, Any], Make]]:
    """The rows of a case: a name, its parameters, and what makes its pixels (F, 3, Y, X) in [-1, 1]."""
    from vedit.data import scenes

    def drawn(scene: Any) -> Tensor:
        return scenes.clip(scene, frames) * 2 - 1

    def coded() -> Tensor:
        return model.decode_latents(model.encode_frames(drawn(case.truth)))[:frames].clamp(-1, 1)

    yield COPY, {}, lambda: drawn(case.scene)
    yield CODEC, {}, coded
    for name, (method, preset) in contenders.items():
        values = with_mask(method, case, preset)
        yield name, values, partial(edit_scene, model, case, method, values, frames)


def run_scenes(
    model: Model,
    contenders: dict[str, Contender],
    *,
    cases: str = "drawn-scenes",
    limit: int | None = None,
    frames: int = 8,
    watch: Watch = unwatched,
    sheet: Sheet | None = None,
    journal: Journal | None = None,
) -> list[Score]:
    """Score methods on the frozen cases, with the two rows every table needs.

    contenders: by the names of their rows. limit: cases of each kind, None for all. sheet: is shown what
    was made, after source and truth. journal: what it knows is not made again, unless the sheet shows it.
    """
    from vedit.data import scenes

    kept, identity = journal or Journal(None), model.identity()
    if "easyv2v" in contenders:
        from vedit.models.wan.weights import editor_for

        weights = str(contenders["easyv2v"].values.get("weights", ""))
        identity["weights_sha256"] = editor_for(weights, model).sha256
    of_kind = [[case for case in load_cases(cases) if case.kind == kind][:limit] for kind in KINDS]
    # one of each kind in turn: what a stopped run leaves in the journal stands for all kinds
    chosen = [case for turn in zip_longest(*of_kind) for case in turn if case is not None]
    keys: list[str] = []
    missing: dict[Case, list[tuple[str, str, Make]]] = {}
    for case in chosen:
        for name, values, make in rows_of(model, case, contenders, frames):
            keys.append(score_key(case, name, values, frames, identity))
            if keys[-1] not in kept.known or (sheet is not None and sheet.has_room(case)):
                missing.setdefault(case, []).append((keys[-1], name, make))
        if sheet is not None and sheet.has_room(case):
            for name, scene in ((SOURCE, case.scene), (TRUTH, case.truth)):
                sheet.add(name, case, scenes.clip(scene, frames) * 2 - 1)

    def work() -> Iterator[Score]:
        for case, rows in missing.items():
            with cache.passing():  # the methods share the inversions of a case
                for key, name, make in rows:
                    pixels = make()
                    if sheet is not None and name not in (COPY, CODEC):
                        sheet.add(name, case, pixels)
                    kept.add(key, found := score(name, case, pixels, frames))
                    yield found

    for _ in watch(work(), sum(map(len, missing.values())), "cases"):
        pass
    return [kept.known[key] for key in keys]


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The middle 95 % of bootstrap means over cases."""
    rng = random.Random(seed)
    means = sorted(fmean(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES) - 1]


def summary(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """A row per method: mean and interval of each score, and success by kind."""
    rows: dict[str, list[Score]] = {}
    for entry in scores:
        rows.setdefault(entry.method, []).append(entry)
    table = []
    for method, entries in rows.items():
        row: dict[str, Any] = {"method": method, "cases": len(entries)}
        for name in SCORES:
            values = [getattr(entry, name) for entry in entries]
            low, high = interval(values)
            row[name] = {"mean": fmean(values), "low": low, "high": high}
        row["by_kind"] = {
            kind: fmean(of)
            for kind in KINDS
            if (of := [entry.success for entry in entries if entry.kind == kind])
        }
        table.append(row)
    return table


def table_text(rows: Sequence[dict[str, Any]], markdown: bool = False) -> str:
    """The table as text or Markdown; each score with its interval."""
    kinds = list(rows[0]["by_kind"])
    head = ["method", "whole dB", "unchanged dB", "edited dB", "success", "flicker", *kinds]
    body = []
    for row in rows:
        cells = [row["method"]]
        for name, digits in zip(SCORES, (1, 1, 1, 2, 2), strict=True):
            value = row[name]
            cells.append(
                f"{value['mean']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"
            )
        body.append([*cells, *(f"{row['by_kind'][kind]:.2f}" for kind in kinds)])
    if markdown:
        return "\n".join(["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body)])
    widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *body)
    )
