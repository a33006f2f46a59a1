"""GLP against a plain delta denoising score, each with noise shared by the frames and not.

    python benchmarks/noise_sharing.py [--limit N] [--frames N] [--cases NAME]

The gain of GLP may come from sharing the noise across a clip rather than from the purification:
this tells the two apart. Four variants edit the same drawn scenes, one after the other within
each case, with the presets of the embedded model. Prints the table of `vedit bench scenes`, and
differences paired over the cases with 95 % bootstrap intervals.
"""

import argparse
from collections.abc import Iterator

import torch

from vedit.data.cases import KINDS
from vedit.jobs.bench.journal import Score
from vedit.jobs.bench.scenes import (
    SCORES,
    edit_scene,
    interval,
    load_cases,
    score,
    summary,
    table_text,
    with_mask,
)
from vedit.jobs.edit.settings import method_params
from vedit.models.sd.load import load_model

VARIANTS = {
    "dds, own noise": ("dds", False),
    "dds, shared noise": ("dds", True),
    "glp, own noise": ("glp", False),
    "glp, shared noise": ("glp", True),
}
PAIRS = (
    ("glp, shared noise", "dds, shared noise"),
    ("glp, own noise", "dds, own noise"),
    ("dds, shared noise", "dds, own noise"),
    ("glp, shared noise", "glp, own noise"),
)


def scores(cases: str, limit: int | None, frames: int) -> Iterator[Score]:
    model = load_model("shapes")
    presets = {method: method_params(method, None, {}, "shapes") for method in ("dds", "glp")}
    for case in [case for kind in KINDS for case in [c for c in load_cases(cases) if c.kind == kind][:limit]]:
        for name, (method, shared) in VARIANTS.items():
            values = {**with_mask(method, case, presets[method]), "shared_noise": shared}
            yield score(name, case, edit_scene(model, case, method, values, frames), frames)


def paired(found: list[Score], first: str, second: str) -> str:
    """One line of a Markdown table: mean differences, first less second."""
    one, other = ({entry.case: entry for entry in found if entry.method == name} for name in (first, second))
    cells = []
    for name in SCORES:
        differences = [getattr(one[case], name) - getattr(other[case], name) for case in one]
        low, high = interval(differences)
        cells.append(f"{sum(differences) / len(differences):+.2f} [{low:+.2f}, {high:+.2f}]")
    return f"| {first} less {second} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=int, help="cases of each kind; all by default")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--cases", default="drawn-scenes")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    found = list(scores(chosen.cases, chosen.limit, chosen.frames))
    print(table_text(summary(found), markdown=True))
    print("\n| difference | " + " | ".join(SCORES) + " |\n" + "|---" * (len(SCORES) + 1) + "|")
    for pair in PAIRS:
        print(paired(found, *pair))
