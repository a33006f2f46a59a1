"""What is asked of those that make clips is checked before any model is looked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vedit.errors import OutputError, UsageError
from vedit.jobs.generate.request import GenerateRequest, plan

TOLD = {
    "prompt": "a red star", "negative": None, "seed": 7, "frames": 8, "size": [64, 64], "steps": 5, "guidance": 3.0, "fps": 10.0, "extra": {},
}  # fmt: skip
RECORD = {
    "command": "generate",
    "model": {"name": "shapes", "revision": None, "unet_sha256": "0" * 64},
    "choices": {"device": "cpu", "dtype": "fp32", "extra": {"save_x_start": "x0", "eta": 0.5}},
    "clips": [[TOLD, {**TOLD, "seed": 8}]],
    "versions": {},
}


def test_planning_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from vedit.jobs.generate.request import GenerateRequest, plan;"
        " plan(GenerateRequest(prompt='x', output='a.gif')); print(sorted({'torch', 'diffusers',"
        " 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )


def test_a_plan_counts_prompts_times_seeds(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red star\n\na blue circle\n")
    made = plan(GenerateRequest(prompts=str(prompts), count=3, seed=5, output=str(tmp_path / "a.gif")))
    assert str(made) == f"generate 6 clips with shapes-video on auto, to {tmp_path}/a.gif"
    assert [[clip.seed for clip in row] for row in made.job.requests] == [[5, 6, 7]] * 2


def test_a_record_becomes_a_request_that_json_carries(tmp_path: Path) -> None:
    asked = GenerateRequest.from_record(RECORD, str(tmp_path / "again.gif"))
    assert GenerateRequest.from_json(json.loads(json.dumps(asked.json()))) == asked
    job = plan(asked).job
    assert [clip.seed for clip in job.requests[0]] == [7, 8] and job.requests[0][0].size == (64, 64)
    assert job.choices.extra == {"eta": 0.5}  # what was written besides is not written again
    assert job.like == RECORD["model"]


def test_a_provider_without_a_model_chooses_its_own() -> None:
    assert GenerateRequest(prompt="x", provider="fal-ai").named_model == "provider:fal-ai:"
    assert (
        GenerateRequest(prompt="x", provider="fal-ai", model="shapes").named_model == "provider:fal-ai:shapes"
    )
    assert GenerateRequest(prompt="x").named_model == "shapes-video"


def test_steps_are_kept_of_one_clip_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="4 are asked for"):
        plan(GenerateRequest(prompt="x", count=4, output=str(tmp_path / "a.gif"), save_x_start="x0"))


def test_a_value_that_no_backend_takes_is_refused_in_a_row_of_a_batch_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"eta: 2 is not from 0 to 1\."):
        plan(GenerateRequest(prompt="x", output=str(tmp_path / "a.gif"), eta=2))


def test_outputs_that_exist_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "001-x-seed0.gif").write_bytes(b"")
    with pytest.raises(OutputError, match="exists"):
        plan(GenerateRequest(prompt="x", output_dir=str(tmp_path)))
    assert plan(GenerateRequest(prompt="x", output_dir=str(tmp_path), skip_existing=True)).job.requests == [
        []
    ]
