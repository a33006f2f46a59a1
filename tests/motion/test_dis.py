"""OpenCV's flow, where OpenCV is installed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.motion.test_tvl1 import smooth
from vedit.motion.dis import dis_pair


def test_dis_follows_a_moved_picture_where_opencv_is_present() -> None:
    pytest.importorskip("cv2")
    found = dis_pair(smooth(), smooth(shift=(2, 1)))
    assert np.median(found[:, 8:-8, 8:-8], axis=(1, 2)) == pytest.approx([2, 1], abs=0.3)
