"""What dds and glp gain by finding the changed word themselves, as `vedit edit` does where nobody names one.

    python benchmarks/changed_words.py [--limit N] [--frames N] [--cases NAME] [--methods dds,glp]

Each method edits the same drawn scenes with and without the word as its mask, with the presets of the
embedded model; kinds of edits that have no such word (a new ground) are left out. Prints the table of
`vedit bench scenes`, and differences paired over the cases with 95 % bootstrap intervals.
"""

import argparse
from collections.abc import Iterator

import torch
from noise_sharing import paired

from vedit import methods
from vedit.data.cases import KINDS, Case, load_cases
from vedit.jobs.bench.journal import Score
from vedit.jobs.bench.scenes import SCORES, edit_scene, score, summary, table_text
from vedit.jobs.edit.settings import method_params
from vedit.jobs.edit.words import with_mask_words
from vedit.models.sd.load import load_model


def chosen_cases(name: str, limit: int | None) -> list[Case]:
    """So many cases of each kind that has a changed word."""
    kinds = [kind for kind in KINDS if kind not in ("ground", "pattern")]
    return [case for kind in kinds for case in [c for c in load_cases(name) if c.kind == kind][:limit]]


def scores(names: list[str], cases: list[Case], frames: int) -> Iterator[Score]:
    model = load_model("shapes")
    presets = {name: method_params(name, None, {}, "shapes") for name in names}
    for case in cases:
        for name, values in presets.items():
            prompts = case.source_prompt, case.target_prompt
            worded = with_mask_words(methods.load(name).Params, values, *prompts, is_drawn=True)
            assert worded != values, f"{case.id} has no changed word"
            for variant, given in ((name, values), (f"{name}, changed word", worded)):
                yield score(variant, case, edit_scene(model, case, name, given, frames), frames)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=int, default=3, help="cases of each kind")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--cases", default="drawn-scenes-tuning")
    parser.add_argument("--methods", default="dds,glp")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    names = chosen.methods.split(",")
    found = []
    for entry in scores(names, chosen_cases(chosen.cases, chosen.limit), chosen.frames):
        found.append(entry)
        print(f"{entry.case} {entry.method}: whole {entry.whole:.2f} unchanged {entry.unchanged:.2f}"
              f" success {entry.success:.0f}", flush=True)  # fmt: skip
    print("\n" + table_text(summary(found), markdown=True))
    print("\n| difference | " + " | ".join(SCORES) + " |\n" + "|---" * (len(SCORES) + 1) + "|")
    for name in names:
        print(paired(found, f"{name}, changed word", name))
