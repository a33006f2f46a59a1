"""Clips from any text-to-video pipeline of diffusers, by folder or Hub id."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit.jobs.generate.options import HUB, read_by
from vedit.jobs.generate.run import Choices, Made, Take, lora_hashes, rate_of
from vedit.jobs.watch import Watch
from vedit.models.shapes.folder import is_packed_video

if TYPE_CHECKING:
    from vedit.models.pipelines import TextToVideo

SUMMARY = "a text-to-video pipeline of diffusers (folder or Hub id)"
OPTIONS = read_by(HUB)


def claims(model: str) -> bool:
    """A folder with a model_index.json, but for one of ours, or anything spelt like a Hub id."""
    if os.path.isdir(model):
        return Path(model, "model_index.json").exists() and not is_packed_video(Path(model))
    return model.count("/") == 1 and not model.startswith((".", "/", "~"))


def load(choices: Choices) -> PipelineMaker:
    """Load the pipeline. Raises ModelError."""
    from vedit.models.pipelines import load_pipeline

    kept = {name: value for name, value in choices.extra.items() if name in OPTIONS - {"pipe"}}
    return PipelineMaker(
        load_pipeline(choices.model, choices.revision, device=choices.device, dtype=choices.dtype, **kept),
        choices,
    )


def weights(choices: Choices) -> dict[str, Any]:
    """The hashes of a pipeline's parts, which are fetched for it and not loaded. Raises ModelError."""
    from vedit.models.pipelines import find_pipeline, part_hashes

    _, folder, index = find_pipeline(
        choices.model, choices.revision, choices.extra.get("variant"), choices.extra.get("motion_adapter")
    )
    return {
        "parts_sha256": part_hashes(folder, index, choices.extra.get("motion_adapter")),
        **lora_hashes(choices),
    }


class PipelineMaker:
    """Calls a loaded pipeline."""

    def __init__(self, model: TextToVideo, choices: Choices) -> None:
        self.model, self.choices = model, choices

    def identity(self) -> dict[str, Any]:
        from vedit.models.hub import commit_of

        folder = Path(self.model.pipe.config._name_or_path)
        facts = {
            "pipeline": self.model.kind,
            "commit": commit_of(folder),
            "device": str(self.model.device),
            **weights(self.choices),
        }
        own = {name: value for name, value in self.choices.extra.items() if name not in ("pipe", "lora")}
        return {**facts, **own}

    def make(self, request: Take, watch: Watch) -> Made:
        """Make one clip. Raises UsageError for what the pipeline or its rules refuse."""
        from vedit.models.pipelines import Order

        more = dict(request.extra.get("pipe", {}))
        fps = None if request.fps is None else float(request.fps)
        order = Order(
            request.prompt,
            request.seed,
            request.frames,
            request.size,
            request.steps,
            request.guidance,
            request.negative,
            fps,
            more,
        )
        total = request.steps or self.model.default("num_inference_steps") or 0
        passed = iter(watch(iter(range(total)), total, "sample"))
        frames = self.model.make(order, lambda: next(passed, None))
        for _ in passed:  # a pipeline that tells of no steps, or of fewer: the progress ends here
            pass
        facts = {
            "frames": len(frames),
            "size": [frames.shape[2], frames.shape[1]],
            "steps": total or None,
            "arguments": more,
        }
        return Made(frames, rate_of(self.model.rate(fps)), facts)
