"""Seams of long clips: what frames differ by at the borders of windows, over what they differ by inside them.

    python benchmarks/seams.py [--methods A,B] [--frames 64] [--window 8] [--whole] [--limit N]

A method edits windows of a long clip one after the other; where nothing ties them, the clip jumps from one
window to the next. Drawn scenes of the benchmark are drawn with more frames (the same path, walked more
slowly), edited in windows as `vedit edit --window` does, and the difference of each pair of neighbouring
frames is held against the truth's:

    inside, border   mean |(out_f+1 - out_f) - (truth_f+1 - truth_f)| x100 in [-1, 1], over pairs of one
                     window and pairs of two
    seam             border / inside; 1 is no seam

With --whole the clip is edited as one, and what would be borders are looked at all the same. Prints the means
over cases, with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import time
from statistics import fmean

import numpy as np
import torch

from vedit.data import scenes
from vedit.data.cases import Case, load_cases
from vedit.jobs.bench.scenes import interval, with_mask
from vedit.jobs.edit.plan import edit_frames
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.edit.settings import method_params
from vedit.models.family import Model
from vedit.models.load import load_model
from vedit.pixels import from_bytes, to_bytes


def errors(
    model: Model, case: Case, method: str, frames: int, window: int, *, is_whole: bool
) -> tuple[float, float]:
    """Errors of frame differences inside windows and at their borders, x100."""
    values = with_mask(method, case, method_params(method, None, {}, "shapes"))
    request = EditRequest(
        input=case.id,
        source_prompt=case.source_prompt,
        prompt=case.target_prompt,
        method=method,
        preset="",
        set=values,
        window=None if is_whole else window,
    )
    source = to_bytes(scenes.clip(case.scene, frames) * 2 - 1)
    output_F3YX = from_bytes(np.stack(list(edit_frames(model, source, request))))
    truth_F3YX = scenes.clip(case.truth, frames) * 2 - 1
    off_F = (output_F3YX.diff(dim=0) - truth_F3YX.diff(dim=0)).abs().flatten(1).mean(1) * 100
    border_F = torch.arange(1, frames) % window == 0
    return float(off_F[~border_F].mean()), float(off_F[border_F].mean())


def text(values: list[float]) -> str:
    low, high = interval(values)
    return f"{fmean(values):.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--methods", default="tokenflow,vid2vid-zero,vidtome,glp")
    parser.add_argument("--kinds", default="colour,texture,ground,pattern")
    parser.add_argument("--cases", default="drawn-scenes")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--window", type=int, default=8)
    parser.add_argument("--whole", action="store_true", help="edit the clip as one")
    parser.add_argument("--limit", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model("shapes")
    cases = [
        case
        for kind in chosen.kinds.split(",")
        for case in [case for case in load_cases(chosen.cases) if case.kind == kind][: chosen.limit]
    ]
    print("| method | inside | border | seam | CPU s per frame |\n| --- | --- | --- | --- | --- |")
    for method in chosen.methods.split(","):
        begin = time.process_time()
        found = [
            errors(model, case, method, chosen.frames, chosen.window, is_whole=chosen.whole) for case in cases
        ]
        cost = (time.process_time() - begin) / len(cases) / chosen.frames
        inside, border = (list(column) for column in zip(*found, strict=True))
        seam = [at / within for within, at in found]
        print(f"| {method} | {text(inside)} | {text(border)} | {text(seam)} | {cost:.2f} |", flush=True)


if __name__ == "__main__":
    main()
