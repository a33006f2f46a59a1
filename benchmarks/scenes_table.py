"""One table of journals of the drawn-scene benchmark, over the cases that every method has.

    python benchmarks/scenes_table.py JOURNAL... [--methods A,B] [--against METHOD] [--append]

`vedit bench scenes --journal FILE` keeps a score a line and can be stopped; this reads what several such runs
have, of later journals where two have one. --against adds paired differences to a method, with 95 % bootstrap
intervals over cases.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]
from vedit.jobs.bench.journal import Score  # noqa: E402
from vedit.jobs.bench.scenes import interval, summary, table_text  # noqa: E402

PAIRED = ("success", "whole", "unchanged", "edited", "flicker")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("journals", nargs="+", type=Path)
    parser.add_argument("--methods", help="rows, in this order; all by default")
    parser.add_argument("--against", help="a method that the others are compared with, case by case")
    parser.add_argument("--append", action="store_true", help="add what is printed to benchmarks/README.md")
    options = parser.parse_args()
    known = {(score.method, score.case): score for path in options.journals for score in read(path)}
    methods = (
        options.methods.split(",") if options.methods else list(dict.fromkeys(name for name, _ in known))
    )
    cases = [
        case for case in sorted({case for _, case in known}) if all((name, case) in known for name in methods)
    ]
    scores = [known[name, case] for name in methods for case in cases]
    lines = [f"\n{len(cases)} cases\n", table_text(summary(scores), markdown=True)]
    if options.against:
        lines += list(paired(known, methods, options.against, cases))
    print("\n".join(lines))
    if options.append:
        with (HERE / "README.md").open("a") as page:
            page.write("\n".join(lines) + "\n")


def read(path: Path) -> list[Score]:
    return [Score(**json.loads(line)["score"]) for line in path.read_text().splitlines()]


def paired(
    known: dict[tuple[str, str], Score], methods: list[str], against: str, cases: list[str]
) -> list[str]:
    """How far each method is from one of them, as the mean of the differences."""
    lines = [f"\nLess {against}, paired:\n", f"| method | {' | '.join(PAIRED)} |", "| --- " * 6 + "|"]
    for name in methods:
        if name == against or name in ("copy-source", "codec-of-truth"):
            continue
        cells = []
        for score in PAIRED:
            found = [
                getattr(known[name, case], score) - getattr(known[against, case], score) for case in cases
            ]
            low, high = interval(found)
            cells.append(f"{fmean(found):+.2f} [{low:+.2f}, {high:+.2f}]")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
