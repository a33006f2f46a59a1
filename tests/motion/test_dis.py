"""OpenCV's flow, where OpenCV is installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.motion.test_tvl1 import smooth
from vedit.errors import ModelError
from vedit.methods.params import of_flow
from vedit.motion import pairs_of
from vedit.motion.dis import dis_pair


def test_dis_follows_a_moved_picture_where_opencv_is_present() -> None:
    pytest.importorskip("cv2")
    found = dis_pair(smooth(), smooth(shift=(2, 1)))
    assert np.median(found[:, 8:-8, 8:-8], axis=(1, 2)) == pytest.approx([2, 1], abs=0.3)


def test_without_opencv_it_is_refused_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    for asked in (pairs_of, of_flow):
        with pytest.raises(ModelError, match="needs OpenCV, not installed here"):
            asked("dis")
    assert of_flow("tvl1") == {}
