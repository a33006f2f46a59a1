"""Presets of kind "embedded": how a stage of the embedded models is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vedit.errors import nearest
from vedit.training.stages import STAGES

EMBEDDED_STAGES = tuple(stage.name for stage in STAGES)
WITH_BATCH = tuple(stage.name for stage in STAGES if stage.has_batch)
EMBEDDED_KEYS: dict[str, type] = {
    "rate": float, "batch": int, "steps": int, "anneal": int, "warmup": int, "ema_decay": float,
    "log_every": int, "save_every": int, "measure_every": int,
}  # fmt: skip


def mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the keys and values, and what the stage needs beside them."""
    stage = table.get("stage")
    if stage not in EMBEDDED_STAGES:
        what = "there is no stage" if stage is None else f"no stage is called {stage!r}"
        yield (
            f"top level: {what}{nearest(str(stage), EMBEDDED_STAGES) or '.'} There are"
            f" {', '.join(EMBEDDED_STAGES)}."
        )
    if "rate" not in table:
        yield "top level: there is no rate, the learning rate."
    known = ("kind", "summary", "stage", *EMBEDDED_KEYS)
    for key, value in table.items():
        if key not in known:
            yield f"top level: no key {key!r}{nearest(key, known) or '.'} There are {', '.join(known)}."
        elif key in EMBEDDED_KEYS and not _is_positive(value, EMBEDDED_KEYS[key]):
            yield (
                f"top level: {key} = {value!r} is no positive"
                f" {'whole number' if EMBEDDED_KEYS[key] is int else 'number'}."
            )
    if isinstance(table.get("ema_decay"), (int, float)) and table["ema_decay"] >= 1:
        yield f"top level: ema_decay = {table['ema_decay']} is not below 1."
    if "anneal" in table and "steps" not in table:
        yield "top level: anneal is the end of a run that has steps, and there are none."
    if stage in WITH_BATCH and "batch" not in table:
        yield "top level: there is no batch, the pictures or clips of a step."
    if stage in EMBEDDED_STAGES and stage not in WITH_BATCH and "batch" in table:
        yield f"top level: batch is for {', '.join(WITH_BATCH)}; {stage} keeps its own."


def _is_positive(value: Any, kind: type) -> bool:
    return (
        isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool) and value > 0
    )
