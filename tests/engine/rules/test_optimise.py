"""Features that agree along the motion: the losses in closed form, and what is left alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vedit.engine.rules.optimise import OptimiseFeatures, disagreement, resemblance, restyled, unlikeness
from vedit.engine.rules.rule import Call
from vedit.models.sites import Select, Site
from vedit.models.tensors import Tensors
from vedit.motion import Warps


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shifted(frames: int, rows: int = 6, columns: int = 8) -> tuple[Tensor, Warps]:
    """Features that move a cell to the right in each frame, and that motion."""
    wide = drawn(3, rows, columns + frames)
    clip = torch.stack([wide[:, :, frames - place : frames - place + columns] for place in range(frames)])
    forward = (
        torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 2, 1, 1).expand(frames - 1, 2, rows, columns)
    )
    seen = torch.ones(frames - 1, 1, rows, columns, dtype=torch.bool)
    leaves, comes = seen.clone(), seen.clone()
    leaves[..., -1], comes[..., 0] = False, False
    return clip, Warps(forward, -forward, leaves, comes)


def test_frames_that_move_as_told_do_not_disagree() -> None:
    clip, warps = shifted(4)
    assert float(disagreement(clip, warps)) < 1e-12
    assert float(disagreement(clip, Warps(-warps[0], -warps[1], warps[2], warps[3]))) > 0.5


def test_disagreement_is_the_mean_gap_where_both_are_seen() -> None:
    clip, warps = shifted(2)
    clip[1] += 0.5
    # in each direction 7 of 8 columns are seen, and the mean is over all of them
    np.testing.assert_allclose(float(disagreement(clip, warps)), 2 * 0.5 * 7 / 8, rtol=1e-12)


def test_resemblance_is_the_cosine_of_tokens() -> None:
    features = drawn(5, 2, 3)
    flat = features.flatten(1).T.numpy()
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    np.testing.assert_allclose(resemblance(features).numpy(), unit @ unit.T, rtol=0, atol=1e-12)
    assert sum(float(part) for part in unlikeness(drawn(2, 5, 2, 3), 3 * drawn(2, 5, 2, 3))) < 1e-20


def test_restyled_channels_have_the_mean_and_the_deviation_of_others() -> None:
    found, like = restyled(drawn(2, 3, 4, 5) * 7 + 2, drawn(2, 3, 4, 5, seed=1)), drawn(2, 3, 4, 5, seed=1)
    torch.testing.assert_close(found.mean((2, 3)), like.mean((2, 3)), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.std((2, 3)), like.std((2, 3)), rtol=0, atol=1e-12)


def optimised(h: Tensor, warps: Warps | None, **more: float) -> Tensor:
    rule = OptimiseFeatures(Select("up"), ("tgt",), lambda grid: warps, {}, (True,), **more)  # type: ignore[arg-type]
    tensors = Tensors({"h": h[None]}, {"tgt": 0})
    with torch.inference_mode():
        rule.apply(tensors, Call(0, slice(0, len(h)), len(h), site=Site("up", "up", -1, 1), grid=(6, 8)))
    return tensors["h", "tgt"]


def test_steps_of_adam_bring_frames_together_and_none_leave_them() -> None:
    clip, warps = shifted(3)
    noisy = clip + 0.3 * drawn(*clip.shape, seed=2)
    assert torch.equal(optimised(noisy, warps, iterations=0), noisy)
    found = optimised(noisy, warps, iterations=20, lr=0.05, weight=0.0)
    assert float(disagreement(found, warps)) < 0.6 * float(disagreement(noisy, warps))


def test_without_motion_features_that_resemble_the_source_stay() -> None:
    clip, _ = shifted(3)  # nothing was kept, so that the features are their own source
    torch.testing.assert_close(optimised(clip, None, iterations=5), clip, rtol=0, atol=1e-9)
