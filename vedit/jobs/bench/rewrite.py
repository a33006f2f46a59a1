"""Rewriting on frozen cases: how often a prompt passes the checks, how far it is, and whether it is right.

30 pairs in words of our own, six each of drawn scenes, swaps that are spelled out, places, seasons and times,
and instructions that only a reader understands; and the 120 drawn cases of the benchmark of methods, whose
target captions are known.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import fmean
from typing import Any

from vedit.data.cases import FOLDER, load_cases
from vedit.documents import Kind, read_json_lines
from vedit.errors import InputError, ModelError, RemoteError, UsageError
from vedit.jobs.rewrite.request import RULES, RewriteOptions, RewriteRequest
from vedit.jobs.rewrite.run import Rewriter
from vedit.jobs.sink import Quiet, Sink

PAIRS = "pairs"
SETS = (PAIRS, "drawn-scenes", "drawn-scenes-tuning")
FILE = FOLDER / "rewrite-pairs.jsonl"
LINES = Kind("the frozen pairs", InputError)


@dataclass(frozen=True)
class Pair:
    """One case. target: the prompt that a person would write, in the source's own words."""

    id: str
    kind: str
    source: str
    instruction: str
    target: str


@dataclass(frozen=True)
class Tried:
    """What came of one. is_accepted: a prompt passed the checks, of the model that was asked. is_right: it is
    the target, word for word. distance: to the source; None without a prompt. by: who made it.
    """

    id: str
    kind: str
    is_accepted: bool
    is_right: bool
    distance: float | None
    target: str
    by: str
    seconds: float
    why: str = ""


def pairs(name: str = PAIRS) -> list[Pair]:
    """A frozen set. Raises UsageError."""
    if name != PAIRS:
        return [
            Pair(case.id, case.kind, case.source_prompt, case.instruction, case.target_prompt)
            for case in load_cases(name)
        ]
    return [Pair(**row) for _, row in read_json_lines(FILE, LINES)]


def run_rewrite(
    options: RewriteOptions, *, cases: str = PAIRS, limit: int | None = None, sink: Sink = Quiet()
) -> list[Tried]:
    """Rewrite every case, asking anew. limit: cases of each kind. Raises UsageError for the options."""
    asked = replace(options, cache=False)
    rewriter = Rewriter(asked, sink)
    counts: dict[str, int] = {}
    chosen = []
    for pair in pairs(cases):
        counts[pair.kind] = counts.get(pair.kind, 0) + 1
        if limit is None or counts[pair.kind] <= limit:
            chosen.append(pair)
    return list(sink.steps(_tried(rewriter, asked, chosen), len(chosen), "prompts"))


def _tried(rewriter: Rewriter, options: RewriteOptions, chosen: Sequence[Pair]) -> Iterator[Tried]:
    own = {field.name: getattr(options, field.name) for field in fields(RewriteOptions)}
    for pair in chosen:
        began = time.perf_counter()
        request = RewriteRequest(source=pair.source, instruction=pair.instruction, **own)
        try:
            made = rewriter.made(request)
        except (UsageError, ModelError, RemoteError) as error:
            if isinstance(error, RemoteError) and getattr(error, "status", None) in (401, 403, 404):
                raise  # no further pair would fare better
            spent = round(time.perf_counter() - began, 3)
            yield Tried(pair.id, pair.kind, False, False, None, "", "", spent, error.what)
            continue
        spent = round(time.perf_counter() - began, 3)
        is_own = options.uses_rules or made["method"] != RULES
        is_right = made["target"].lower().split() == pair.target.lower().split()
        yield Tried(
            pair.id, pair.kind, is_own, is_right, made["distance"], made["target"], made["method"], spent
        )


def summary(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """A row per kind and one for all: cases, shares, mean distance and seconds."""
    kinds = list(dict.fromkeys(one.kind for one in tried))
    return [_row(kind, [one for one in tried if one.kind == kind]) for kind in kinds] + [_row("all", tried)]


def _row(kind: str, of: Sequence[Tried]) -> dict[str, Any]:
    far = [one.distance for one in of if one.distance is not None]
    return {
        "kind": kind,
        "cases": len(of),
        "accepted": round(fmean(one.is_accepted for one in of), 4) if of else None,
        "right": round(fmean(one.is_right for one in of), 4) if of else None,
        "distance": round(fmean(far), 4) if far else None,
        "seconds": round(fmean(one.seconds for one in of), 3) if of else None,
    }


def table_text(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text."""
    head = ["kind", "cases", "accepted", "right", "distance", "seconds"]
    body = [head] + [["-" if row[key] is None else str(row[key]) for key in head] for row in rows]
    widths = [max(len(line[place]) for line in body) for place in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in body
    )


def as_json(tried: Sequence[Tried]) -> dict[str, Any]:
    return {"rows": summary(tried), "cases": [asdict(one) for one in tried]}
