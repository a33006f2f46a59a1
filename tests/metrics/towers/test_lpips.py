"""vedit/metrics/towers/lpips.py: the published formula over torchvision's layers, with heads from a package
that is only looked at.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.metrics.seeded import moving_video, towers_at, write_weights
from vedit import metrics
from vedit.errors import ModelError
from vedit.metrics.base import Clip
from vedit.metrics.types import Options, Video

OPTIONS = Options(device="cpu", lpips_net="squeeze")
CHANNELS = (64, 128, 256, 384, 384, 512, 512)


@pytest.fixture
def heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """A package lpips that would fail when imported, with heads in the published layout."""
    folder = tmp_path / "packages" / "lpips" / "weights" / "v0.1"
    folder.mkdir(parents=True)
    (tmp_path / "packages" / "lpips" / "__init__.py").write_text("raise ImportError('scipy is not there')")
    generator = torch.Generator().manual_seed(3)
    state = {
        f"lin{index}.model.1.weight": torch.rand(1, width, 1, 1, generator=generator)
        for index, width in enumerate(CHANNELS)
    }
    torch.save(state, folder / "squeeze.pth")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    return state


@pytest.fixture
def trunk(tmp_path: Path) -> Any:
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    model = squeezenet1_1(weights=None).eval()
    write_weights(tmp_path, "lpips_squeeze", model.state_dict())
    return model.features


@torch.no_grad()
def expected(first: Video, second: Video, trunk: Any, heads: dict[str, torch.Tensor]) -> list[float]:
    """Zhang et al. 2018, equation 1, with the slices of the published code."""
    shift, scale = (
        torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1),
        torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1),
    )
    maps = [
        ((torch.tensor(video.frames_TYX3).permute(0, 3, 1, 2) / 127.5 - 1) - shift) / scale
        for video in (first, second)
    ]
    total, begin = torch.zeros(len(first)), 0
    for index, end in enumerate((2, 5, 8, 10, 11, 12, 13)):
        maps = [trunk[begin:end](x) for x in maps]
        a, b = (x / x.norm(dim=1, keepdim=True).clamp(min=1e-10) for x in maps)
        total, begin = total + ((a - b) ** 2 * heads[f"lin{index}.model.1.weight"]).sum(1).mean((1, 2)), end
    return total.tolist()


def test_distances_equal_the_formula(tmp_path: Path, trunk: Any, heads: dict[str, torch.Tensor]) -> None:
    clip = Clip("c", moving_video(2, 40, 50), truth=moving_video(2, 40, 50, seed=1))
    found = metrics.load("lpips").score(clip, towers_at(tmp_path, OPTIONS), OPTIONS)["lpips"]
    assert found.per_frame == pytest.approx(expected(clip.edited, clip.truth, trunk, heads), rel=1e-4)
    assert found.value > 0.01


def test_equal_frames_have_no_distance_and_the_mask_hides_what_changed(
    tmp_path: Path, trunk: Any, heads: dict[str, torch.Tensor]
) -> None:
    source = moving_video(2, 40, 50)
    edited = Video(source.frames_TYX3.copy())
    edited.frames_TYX3[:, 10:20, 10:30] = 255
    mask = np.zeros((2, 40, 50), np.uint8)
    clip = Clip("c", edited, source=source, truth=source, mask_TYX=mask)
    towers, lpips, background = towers_at(tmp_path, OPTIONS), metrics.load("lpips"), metrics.load("bg_lpips")
    whole = lpips.score(clip, towers, OPTIONS)["lpips"].value
    assert background.score(clip, towers, OPTIONS)["bg_lpips"].value == pytest.approx(whole)
    mask[:, 10:20, 10:30] = 255
    assert background.score(clip, towers, OPTIONS)["bg_lpips"].value == 0
    smaller = np.zeros_like(mask)
    smaller[:, 12:18, 12:28] = 255  # two pixels less on each side
    assert (
        background.score(replace(clip, mask_TYX=smaller), towers, replace(OPTIONS, mask_dilate=2))[
            "bg_lpips"
        ].value
        == 0
    )
    assert background.score(replace(clip, mask_TYX=smaller), towers, OPTIONS)["bg_lpips"].value > 0


def test_frames_too_small_for_the_network_have_no_value_and_say_why(tmp_path: Path) -> None:
    clip = Clip("c", moving_video(2, 20, 50), truth=moving_video(2, 20, 50))
    found = metrics.load("lpips").score(clip, towers_at(tmp_path, OPTIONS), OPTIONS)["lpips"]
    assert np.isnan(found.value)
    assert "50x20" in found.extra["why"]


def test_without_the_package_the_error_says_what_to_install(
    tmp_path: Path, trunk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedit.metrics.towers.lpips.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'pip install "vedit\[lpips\]"'):
        towers_at(tmp_path, OPTIONS).get("lpips_squeeze").distances(moving_video(1), moving_video(1))
