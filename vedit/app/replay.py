"""Repeat an edit or a generated clip from its run record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vedit.app.edit.ablate import ablate
from vedit.app.edit.video import edit_video, job_of
from vedit.app.generate.run import generate, job_from, may_be_repeated
from vedit.app.media.gif import Settings
from vedit.app.record import versions
from vedit.app.watch import Watch, unwatched
from vedit.diffusion.models import load_model
from vedit.errors import InputError, ModelError
from vedit.media.window import usable_cores


def replay(record: dict[str, Any], output: str, *, warn: Callable[[str], None] = lambda message: None, watch: Watch = unwatched) -> dict[str, Any]:
    """Run what was recorded again, into `output`; returns the new record.

    Raises InputError for a record of another command or an older layout, ModelError when the
    model's weights are not those recorded.
    """
    if record.get("command") == "generate" and "choices" in record:
        may_be_repeated(record)
        _warn_of_versions(record, warn)
        return generate(job_from(record, output, warn), warn=warn, watch=watch)[0]
    if record.get("command") not in ("edit", "ablate") or "edit_mask" not in record:
        raise InputError("this run record is of nothing that can be repeated.", "Outputs of vedit edit and vedit generate can.")
    model = load_model(record["model"]["id"], record["model"]["revision"], device=record["device"], dtype=_short(record["dtype"]))
    if model.identity() != record["model"]:
        raise ModelError(
            f"the weights of {model.name} are not those of the record.", "Their hashes differ, so the result would too.", "Name the revision that was used"
        )
    _warn_of_versions(record, warn)
    if record["command"] == "ablate":
        return ablate(job_of(record, output), model, Settings(jobs=usable_cores(), warn=warn), truth=record["truth"], watch=watch)
    return edit_video(job_of(record, output), model, Settings(jobs=usable_cores(), warn=warn), watch=watch)


def _warn_of_versions(record: dict[str, Any], warn: Callable[[str], None]) -> None:
    ours = versions(*record["versions"])
    changed = [f"{name} {ours.get(name, 'none')} (was {old})" for name, old in record["versions"].items() if ours.get(name) != old]
    if changed:
        warn(f"other versions may change the last bits: {', '.join(changed)}")


def _short(dtype: str) -> str:
    return {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[dtype]
