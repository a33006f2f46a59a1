"""Protects vedit/metrics/_flow.py: which flow is taken, and where it is kept."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.metrics.clips import noise
from tests.motion.test_tvl1 import smooth
from vedit.errors import InputError, ModelError, UsageError
from vedit.metrics import _flow as flow
from vedit.metrics.towers.features import FeatureStore
from vedit.metrics.types import Options, Video

TVL1 = Options(flow="tvl1")


def test_odd_and_tiny_sizes_work() -> None:
    for rows, columns in ((1, 1), (5, 3), (17, 33), (2, 64)):
        found = flow.flows(Video(noise(2, rows, columns)), None, TVL1)
        assert found.backward_P2YX.shape == (1, 2, rows, columns)
        assert np.isfinite(found.backward_P2YX).all()


def test_both_directions_are_computed_and_kept() -> None:
    towers = SimpleNamespace(store=FeatureStore())
    video = Video(np.stack([smooth(), smooth(shift=(2, 0))]))
    first = flow.flows(video, towers, TVL1)
    assert first.forward_P2YX is not None
    assert first.forward_P2YX[0, 0, 8:-8, 8:-8].mean() == pytest.approx(2, abs=0.1)
    assert first.backward_P2YX[0, 0, 8:-8, 8:-8].mean() == pytest.approx(-2, abs=0.1)
    assert len(towers.store._recent) == 2
    key = next(iter(towers.store._recent))
    towers.store.put(key, {"flow": first.backward_P2YX + 1})
    assert (flow.flows(video, towers, TVL1).backward_P2YX == first.backward_P2YX + 1).all()
    assert flow.flows(video, towers, TVL1, of_source=False).forward_P2YX is None


def test_a_flow_file_must_fit_the_source(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    options = Options(flow=f"file:{path}")
    video = Video(noise(3, 8, 10))
    with pytest.raises(InputError, match="cannot read flow"):
        flow.flows(video, None, options)
    np.savez(path, backward=np.zeros((1, 2, 8, 10)))
    with pytest.raises(InputError, match=r"backward has the shape \(1, 2, 8, 10\)"):
        flow.flows(video, None, options)
    np.savez(path, forward=np.zeros((2, 2, 8, 10)))
    with pytest.raises(InputError, match="no array `backward`"):
        flow.flows(video, None, options)
    np.savez(path, backward=np.full((2, 2, 8, 10), 0.5))
    found = flow.flows(video, None, options)
    assert found.forward_P2YX is None and (found.backward_P2YX == 0.5).all()
    path.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(InputError, match="cannot read flow"):
        flow.flows(video, None, options)


def test_unknown_engines_and_missing_opencv_say_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="tvl1"):
        flow.flows(Video(noise(2)), None, Options(flow="farneback"))
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ModelError, match="pip install opencv-python-headless"):
        flow.flows(Video(noise(2)), None, Options(flow="dis"))


def test_the_embedded_profile_takes_the_flow_without_weights() -> None:
    assert flow.towers_of_flow(Options(profile="embedded")) == ()
    assert flow.towers_of_flow(Options()) == ("gmflow",)
