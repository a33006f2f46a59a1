"""GMFlow: how far each pixel moves from one frame to the next. Its network is that of `vedit.motion`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from vedit.metrics.towers.dino import MEAN, STD
from vedit.metrics.towers.features import Features
from vedit.metrics.towers.tower import Tower, empty, to_numpy
from vedit.motion.gmflow import GmflowNet, padding

if TYPE_CHECKING:
    from vedit.metrics.towers.tower import State
    from vedit.metrics.types import Floats, Video


class GmflowTower(Tower):
    half_is_safe = False  # columns and rows are matched as sums of weights

    def build(self, state: State) -> nn.Module:
        return self.ready(empty(GmflowNet), state)

    def flow(self, video: Video, backward: bool = False) -> Floats:
        """How many pixels each pixel of frame t moves on its way to frame t + 1, (P, 2, Y, X), column first.

        backward: from frame t + 1 to frame t instead; the forward flow is then kept too, since both share
        most of the work. Sides that are not multiples of 16 are padded by repeating the border, and the
        flow is cropped back.
        """
        return self.kept(lambda: self._flows(video, backward), *_what(video, backward))["flow"]

    def _flows(self, video: Video, backward: bool) -> Features:
        assert len(video) > 1
        rows, columns = video.size
        left, right, above, below = padding(rows, columns)
        net: Any = self.net
        encoded = [
            net.backbone(F.pad(frame, (left, right, above, below), mode="replicate"))
            for frame in self._frames(video)
        ]
        found: dict[bool, list[Floats]] = {direction: [] for direction in {False, backward}}
        for first, second in pairwise(encoded):
            mixed = net.mix(first, second)
            for direction, flows in found.items():
                flow_2YX = net.match(*(mixed.flip(0) if direction else mixed))
                flows.append(to_numpy(flow_2YX[:, above : above + rows, left : left + columns]))
        if backward:
            self.store.put(self.key(*_what(video, False)), {"flow": np.stack(found[False])})
        return {"flow": np.stack(found[backward])}

    def _frames(self, video: Video) -> list[Tensor]:
        return [frame for batch in self.batches(video.frames_TYX3, MEAN, STD) for frame in batch.split(1)]


def _what(video: Video, backward: bool) -> tuple[str, ...]:
    return "flow", "backward" if backward else "forward", video.digest
