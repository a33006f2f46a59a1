"""What giving back the codec's loss does for clips with grain: edits with `--no-detail` and without.

    python benchmarks/detail.py [--methods p2p,pnp] [--grain 0.04] [--limit 2] [--frames 4]

Drawn cases of the tuning set get film grain of the given deviation (pictures in 0..1), the truth the same. A
codec of latents smooths grain away; the detail step gives it back where an edit left the clip alone. Prints
means over cases, and the paired differences with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parent.parent)]
from vedit.data import scenes  # noqa: E402
from vedit.data.cases import Case, load_cases  # noqa: E402
from vedit.jobs.bench.journal import Score  # noqa: E402
from vedit.jobs.bench.scenes import interval, score, with_mask  # noqa: E402
from vedit.jobs.edit.plan import edit_frames  # noqa: E402
from vedit.jobs.edit.request import EditRequest  # noqa: E402
from vedit.jobs.edit.settings import method_params  # noqa: E402
from vedit.models.family import Model  # noqa: E402
from vedit.models.load import load_model  # noqa: E402
from vedit.pixels import from_bytes, to_bytes  # noqa: E402

SHOWN = ("whole", "unchanged", "edited", "flicker", "success")


def edited(model: Model, case: Case, method: str, frames: int, detail: bool) -> Score:
    """The score of one edit."""
    request = EditRequest(
        input=case.id,
        source_prompt=case.source_prompt,
        prompt=case.target_prompt,
        method=method,
        preset="",
        set=with_mask(method, case, method_params(method, None, {}, "shapes")),
        detail=detail,
    )
    source = to_bytes(scenes.clip(case.scene, frames) * 2 - 1)
    return score(method, case, from_bytes(np.stack(list(edit_frames(model, source, request)))), frames)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", default="p2p,pnp")
    parser.add_argument("--grain", type=float, default=0.04)
    parser.add_argument("--limit", type=int, default=2, help="cases of each kind")
    parser.add_argument("--frames", type=int, default=4)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model, kinds = load_model("shapes", device="cpu"), dict[str, list[Case]]()
    for case in load_cases("drawn-scenes-tuning"):
        grainy = replace(case, scene=replace(case.scene, grain=asked.grain))
        kinds.setdefault(case.kind, []).append(grainy)
    cases = [case for of_kind in kinds.values() for case in of_kind[: asked.limit]]
    print(f"{len(cases)} cases, {asked.frames} frames, grain {asked.grain:g}\n")
    print(f"| method | {' | '.join(SHOWN)} |\n{'| --- ' * (len(SHOWN) + 1)}|")
    for method in asked.methods.split(","):
        pairs = [
            tuple(edited(model, case, method, asked.frames, detail) for detail in (False, True))
            for case in cases
        ]
        for place, name in enumerate((f"{method}, no detail", method)):
            means = (fmean(getattr(pair[place], key) for pair in pairs) for key in SHOWN)
            print(f"| {name} | {' | '.join(f'{mean:.2f}' for mean in means)} |")
        print(f"| difference | {' | '.join(difference(pairs, key) for key in SHOWN)} |", flush=True)


def difference(pairs: list[tuple[Score, ...]], key: str) -> str:
    gains = [getattr(after, key) - getattr(before, key) for before, after in pairs]
    low, high = interval(gains)
    return f"{fmean(gains):+.2f} [{low:+.2f}, {high:+.2f}]"


if __name__ == "__main__":
    main()
