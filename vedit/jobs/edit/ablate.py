"""A method with its parts switched off, one after another: the same edit side by side, with a table.

Columns, in levels of 8 bits or dB: `change` from the clip (root mean square); `shimmer`, how much
that change itself changes from frame to frame (mean absolute); `sharpness`, the mean gradient over
the clip's. With a mask also `outside`, PSNR to the clip where it is black. With the true edited
clip `whole`, `unchanged` and `edited` as in `vedit bench scenes`.
Shape letters: F frames, Y X rows and columns.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from vedit import methods
from vedit.errors import UsageError, option
from vedit.jobs.clips import Pixels, read_pixels
from vedit.jobs.edit.first_frame import Whole
from vedit.jobs.edit.job import Job
from vedit.jobs.edit.memory import check_memory
from vedit.jobs.edit.video import check_job, in_a_row, write_result
from vedit.jobs.edit.windows import Edit, since
from vedit.jobs.record import peak_memory_mib, write_record
from vedit.jobs.watch import Watch, unwatched
from vedit.media.run import Settings
from vedit.metrics.psnr import CEILING
from vedit.pixels import from_bytes, mean_square, psnr

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vedit.models.family import Model

SOURCE = "source"
PALETTE = 16  # levels that a palette or a codec may move a pixel by


def ablations(method: str) -> dict[str, dict[str, Any]]:
    """The variants of a method, by name; raises UsageError for a method without."""
    found: dict[str, dict[str, Any]] | None = getattr(methods.load(method), "ABLATIONS", None)
    if found is None:
        able = [name for name in methods.names() if hasattr(methods.load(name), "ABLATIONS")]
        raise UsageError(
            f"{method} has no parts to switch off.",
            f"{option('ablate')} is for {', '.join(able)}.",
            f"Try {option('method', able[0])}",
        )
    return found


def ablate(
    job: Job,
    model: Model,
    settings: Settings,
    *,
    truth: str | None = None,
    pixels: Pixels | None = None,
    watch: Watch = unwatched,
    whole: Whole | None = None,
) -> dict[str, Any]:
    """Run every variant, write them side by side (source first, the truth last), return the record with the
    table.

    truth: the true edited clip, where it is known; it is taken by the same selection. pixels: the job's
    frames, where they are read already. whole: as for `Edit`.
    """
    started = time.perf_counter()
    # how well a variant keeps the clip by itself is what is asked
    job = job._replace(keep_outside=bool(job.keep_outside), detail=bool(job.detail))
    variants = ablations(job.method)
    check_job(job, model)
    pixels = pixels or read_pixels(job.input, job.selection, warn=settings.warn)
    wanted = read_truth(truth, pixels) if truth else None
    rows, clips = [measured(SOURCE, pixels, pixels.shown_FYX3, wanted, None)], [pixels.shown_FYX3]
    edits: list[Edit] = []
    for name, changes in variants.items():
        edit = Edit(job._replace(params={**job.params, **changes}), model, pixels, settings.warn, whole)
        check_memory(edit, job.memory_mib)
        edit.run(watch)
        mask = edit.mask.pixels(slice(None)) if edit.mask else None
        rows.append(
            {
                **measured(name, pixels, edit.result, wanted, mask),
                "seconds": round(sum(edit.spans.values()), 3),
            }
        )
        clips.append(edit.result)
        edits.append(edit)
    row = in_a_row([*clips, *([wanted.shown_FYX3] if wanted else [])])
    recipe = {**edit.recipe(), "command": "ablate", "truth": truth, "params": job.params}
    report = write_result(job, pixels, row, recipe, settings)
    record = {
        **recipe,
        "output": job.output,
        "rows": rows,
        "seconds": {"total": since(started)},
        "peak_memory_mib": peak_memory_mib(model.device),
        "images": report.images,
    }
    if job.record and job.output != "-":
        write_record(job.output, record)
    for edit in edits:
        edit.finish()
    return record


def read_truth(name: str, pixels: Pixels) -> Pixels:
    """The true edited clip, by the selection of the source."""
    truth = read_pixels(name, pixels.selection)
    if len(truth.durations) != len(pixels.durations):
        raise UsageError(
            f"{option('truth', name)} has {len(truth.durations)} frames of the selection, the clip"
            f" {len(pixels.durations)}.",
            "They must match.",
        )
    return truth


def measured(
    name: str, pixels: Pixels, result_FYX3: np.ndarray, truth: Pixels | None, mask_FYX: np.ndarray | None
) -> dict[str, Any]:
    """A row of the table."""
    import numpy as np
    import torch

    source, result = (frames.astype(np.float32) for frames in (pixels.shown_FYX3, result_FYX3))
    change = result - source
    row: dict[str, Any] = {
        "variant": name,
        "change": float(np.sqrt(np.mean(change**2))),
        "shimmer": float(np.abs(np.diff(change, axis=0)).mean()) if len(change) > 1 else 0.0,
        "sharpness": _gradient(result) / max(_gradient(source), 1e-9),
    }
    shown, own = from_bytes(result_FYX3), from_bytes(pixels.shown_FYX3)
    if mask_FYX is not None:
        row["outside"] = _psnr(shown, own, torch.from_numpy(mask_FYX == 0)[:, None])
    if truth is not None:
        right = from_bytes(truth.shown_FYX3)
        changed = _changed(own, right)
        row.update(
            whole=_psnr(shown, right),
            unchanged=_psnr(shown, own, 1 - changed),
            edited=_psnr(shown, right, changed),
        )
    return row


def _psnr(a: Tensor, b: Tensor, mask: Tensor | None = None) -> float:
    return psnr(mean_square(a, b, mask), ceiling=CEILING)


def _changed(source_F3YX: Tensor, truth_F3YX: Tensor) -> Tensor:
    """Where the true edit changes the clip, (F, 1, Y, X), grown by 2 pixels; palettes and codecs differ by
    less.
    """
    import torch

    differs = ((source_F3YX - truth_F3YX).abs().amax(1, keepdim=True) * 127.5 > PALETTE).float()
    return torch.nn.functional.max_pool2d(differs, 5, 1, 2)


def _gradient(frames_FYX3: np.ndarray) -> float:
    import numpy as np

    return float(np.abs(np.diff(frames_FYX3, axis=1)).mean() + np.abs(np.diff(frames_FYX3, axis=2)).mean())


def table_text(rows: list[dict[str, Any]]) -> str:
    """The rows as text; what could not be measured has no column."""
    units = {"outside": " dB", "whole": " dB", "unchanged": " dB", "edited": " dB", "seconds": " s"}
    columns = [key for key in rows[-1] if key != "variant"]
    head = f"{'':<10}" + "".join(f"{key + units.get(key, ''):>14}" for key in columns)
    body = [
        f"{row['variant']:<10}"
        + "".join(f"{row[key]:14.2f}" if key in row else f"{'':>14}" for key in columns)
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in [head, *body])
