"""What the edit itself cost, as its run record says; nothing is measured here.

Seconds are wall time without loading the model. Memory is the peak that the GPU allocated where
one was used, else the peak resident set of the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vedit.metrics.base import Clip, Score, Value
from vedit.metrics.types import Options

SUMMARY = "Seconds and memory that the method took, from the run record."
VERSION = 1
SPANS = {
    "method_seconds": "total",
    "method_invert_seconds": "invert",
    "method_edit_seconds": "edit",
    "method_decode_seconds": "decode",
}
VALUES = (
    Value(
        "method_seconds", "s", False, "", "Wall time of the edit, without loading the model.", ("runtime",)
    ),
    Value("method_invert_seconds", "s", False, "", "Of these, the inversion."),
    Value("method_edit_seconds", "s", False, "", "Of these, sampling or optimising."),
    Value("method_decode_seconds", "s", False, "", "Of these, decoding the latents."),
    Value(
        "method_peak_memory",
        "MiB",
        False,
        "",
        "Peak memory of the edit: of the GPU, or of the process on a CPU.",
        ("peak memory",),
    ),
)
NEEDS = frozenset({"record"})
GROUPS = frozenset({"method"})
TOWERS = ()


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    """The numbers that the record has; the others are absent, never 0."""
    assert clip.record is not None, "asked for by NEEDS"
    spans, peak = _table(clip.record, "seconds"), _table(clip.record, "peak_memory_mib")
    where = "device" if "device" in peak else "host"
    given = {**{key: spans.get(span) for key, span in SPANS.items()}, "method_peak_memory": peak.get(where)}
    found = {
        key: Score(float(value))
        for key, value in given.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    if "method_peak_memory" in found:
        found["method_peak_memory"] = Score(found["method_peak_memory"].value, extra={"where": where})
    return found


def _table(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}
