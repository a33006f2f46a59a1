"""Protects vedit/engine/words.py and fit.py on the embedded model: masks of words fit what they name."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor

from vedit.data import scenes
from vedit.data.cases import load_cases
from vedit.jobs.bench.scenes import with_mask
from vedit.jobs.clips import clip_of
from vedit.jobs.edit.job import Job
from vedit.jobs.edit.settings import method_params
from vedit.jobs.edit.windows import Edit
from vedit.models.sd.load import load_model
from vedit.pixels import to_bytes

FRAMES = 2


def overlap(mask: Tensor, truth: Tensor) -> float:
    a, b = mask > 0.5, truth > 0.5
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["colour-00", "texture-01"])
def test_a_shape_s_mask_covers_the_drawn_object_and_little_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path))
    model = load_model("shapes")
    case = next(case for case in load_cases("drawn-scenes-tuning") if case.id == name)
    truth = scenes.object_mask(scenes.stack([case.scene] * FRAMES), torch.arange(FRAMES) / (FRAMES - 1))
    pixels = clip_of(to_bytes(scenes.clip(case.scene, FRAMES) * 2 - 1))
    found = {}
    for fit in ("cells", "pixels"):
        values = {**method_params("p2p", None, {}, "shapes"), "steps": 10, "blend_fit": fit}
        task = Job(
            name, "-", "p2p", case.source_prompt, case.target_prompt, pixels.selection,
            with_mask("p2p", case, values), save_masks="mask.gif",
        )  # fmt: skip
        edit = Edit(task, model, pixels, lambda message: None)
        edit.run(lambda steps, total, what: iter(steps))
        assert edit.masks is not None
        found[fit] = overlap(torch.from_numpy(edit.masks / 255.0), truth)
    # the mask holds a pixel around the object, and what the target looks at in cells
    assert found["pixels"] > 0.45 and found["pixels"] > found["cells"] + 0.2, found
