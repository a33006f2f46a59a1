"""What training is asked for is checked before torch is loaded or anything written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vedit.errors import UsageError
from vedit.jobs.train.request import GeneratorPlan, ShapesPlan, TrainRequest, plan
from vedit.training.stages import EVERY, STAGES


def test_planning_loads_no_torch_and_writes_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from vedit.jobs.train.request import TrainRequest, plan;"
        " plan(TrainRequest(preset='shapes-all', folder='run')); plan(TrainRequest(preset='tiny',"
        " folder='run', data='clips')); print(sorted({'torch', 'diffusers', 'transformers'} &"
        " set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_the_embedded_models_names_its_stages() -> None:
    made = plan(TrainRequest(preset=EVERY, folder="RUN", device="cuda"))
    assert str(made) == "train shapes-codec, shapes-judge, shapes-scorer, shapes on cuda in RUN"
    assert isinstance(made, ShapesPlan) and made.processes == 1


def test_options_and_settings_decide_a_generator_together() -> None:
    made = plan(
        TrainRequest(
            preset="tiny",
            folder="RUN",
            data="clips",
            settings={"optim.rate": 0.5, "loss.perceptual": 0},
            rate=0.25,
            seed=7,
            launch=2,
        )
    )
    assert isinstance(made, GeneratorPlan)
    assert (made.job.params.optim.rate, made.job.params.run.seed, made.processes) == (0.25, 7, 2)
    assert str(made) == "train tiny on clips, on cpu in 2 processes, in RUN"


@pytest.mark.parametrize(
    "stage", [stage for stage in STAGES if not stage.is_video], ids=lambda stage: stage.preset
)
def test_only_the_video_model_begins_with_a_packed_one(stage: object) -> None:
    preset = stage.preset  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="shapes-video-codec, shapes-video-pictures, shapes-video"):
        plan(TrainRequest(preset=preset, folder="RUN", begin="builtin"))


@pytest.mark.parametrize(
    "stage", [stage for stage in STAGES if stage.is_video], ids=lambda stage: stage.preset
)
def test_every_stage_of_the_video_model_begins_with_a_packed_one(stage: object) -> None:
    preset = stage.preset  # type: ignore[attr-defined]
    made = plan(TrainRequest(preset=preset, folder="RUN", begin="packed"))
    assert made.settings.begin == Path("packed")  # type: ignore[union-attr]


def test_a_generator_without_clips_is_refused_with_a_line_that_has_them() -> None:
    with pytest.raises(UsageError, match="moving-mnist --data DIR"):
        plan(TrainRequest(preset="moving-mnist", folder="RUN"))
