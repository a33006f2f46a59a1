"""Real clips and models in the layouts of AnimateDiff, I2VGen-XL and SVD, through whole commands."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.conftest import Result, shared, vedit
from tests.engine.folder import write_folder
from tests.engine.motion import write_adapter, write_animatediff, write_i2vgen, write_svd
from tests.jobs.layouts import assert_kept

pytestmark = pytest.mark.usefixtures("own_cache")
PROMPTS = ("--source", "a big dog", "--prompt", "a red cat")
INVERTED = ("--steps", "3", "--set", "inversion_steps=3", "--set", "start_index=0", "--negative", "")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("motion")
    pictures = write_folder(root / "pictures")
    return {
        "animatediff": str(write_animatediff(root / "animatediff")),
        "adapted": f"{pictures}+{write_adapter(root / 'adapter')}",
        "i2vgen": str(write_i2vgen(root / "i2vgen")),
        "svd": str(write_svd(root / "svd")),
        "pictures": str(pictures),
    }


def edit(clip: str, model: str, output: Path, method: str, *more: str) -> Result:
    return vedit("edit", shared(f"data/clips/{clip}"), "-o", output, "--model", model, "--method", method, "--size", "64", "--frames", "6",
                 "--stride", "3", "--no-detail", *PROMPTS, *INVERTED, *more)  # fmt: skip


CASES = {
    "appearance": ("animatediff", "uniedit", ()),
    "adapter": ("adapted", "uniedit", ()),
    "motion": ("animatediff", "uniedit", ("--set", "edits=motion", "--mask", "box:25%,25%,50%,50%")),
    "by a frame of its own": (
        "i2vgen",
        "anyv2v",
        ("--set", "frame_method=sdedit", "--set", "frame_set={steps=3}"),
    ),
    "without words": ("svd", "anyv2v", ("--set", "frame_method=sdedit", "--set", "frame_set={steps=3}")),
}


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["wolf.mp4", "man-skiing.mp4"])
@pytest.mark.parametrize("case", sorted(CASES))
def test_a_real_clip_keeps_its_frames_rate_and_size(
    folders: dict[str, str], tmp_path: Path, clip: str, case: str
) -> None:
    model, method, more = CASES[case]
    if method == "anyv2v":
        more = (*more, "--set", f"frame_model={folders['pictures']}")
    done = edit(clip, folders[model], tmp_path / "out.mp4", method, *more)
    assert done.code == 0, done.err
    assert_kept(tmp_path / "out.mp4", 6, f"data/clips/{clip}", stride=3)
