"""Gradient-latent purification (GLP): the algebra of stable directions, without a model.

Source: the GLP thesis; no public code is known, so docs/methods.md 5 fixes what its text leaves
open (the choices are named there, each with the switch for the other reading). Rows are vectors of
one frame at several iterations. The uncentred covariance's axes come from the Gram matrix of the
rows, so nothing of size D x D exists.
Shape letters: F frames, R rows of a window, K axes, D entries of a frame's latent (C x Y x X).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

RANK = 1e-6
CLUSTER = 1e-3


@dataclass(frozen=True)
class Axes:
    """Orthonormal directions of one frame's window, strongest first.

    axes_KD: float64. values_K: their eigenvalues. all_values: an eigenvalue for every row, before
    anything was cut: zeros of rows that say nothing new are among them.
    """

    axes_KD: Tensor
    values_K: Tensor
    all_values: Tensor


def dds_gradient(target_FCYX: Tensor, source_FCYX: Tensor | None) -> Tensor:
    """The delta denoising score: the target's noise prediction minus the source's; weighting 1 in t."""
    return target_FCYX if source_FCYX is None else target_FCYX - source_FCYX


def structure_gradient(latents_FCYX: Tensor, source_FCYX: Tensor, mask_F1YX: Tensor | None) -> Tensor:
    """(1 - m) (z - z_src): pulls what is outside the edit mask back; without a mask nothing."""
    if mask_F1YX is None:
        return torch.zeros_like(latents_FCYX)
    return (1 - mask_F1YX.to(latents_FCYX)) * (latents_FCYX - source_FCYX)


def update(
    latents_FCYX: Tensor, semantic_FCYX: Tensor, structure_FCYX: Tensor, lr: float, w1: float, w2: float
) -> Tensor:
    """z - lr (w1 semantic + w2 structure): a plain gradient step. Adam would undo the purification."""
    return latents_FCYX - lr * (w1 * semantic_FCYX + w2 * structure_FCYX)


def clip_rms(gradient_FCYX: Tensor, limit: float | None) -> Tensor:
    """Scale a frame's gradient down to a root mean square; None leaves it."""
    if limit is None:
        return gradient_FCYX
    rms = gradient_FCYX.pow(2).mean((1, 2, 3), keepdim=True).sqrt()
    return gradient_FCYX * (limit / rms.clamp(min=torch.finfo(rms.dtype).tiny)).clamp(max=1)


class Window:
    """The last `size` gradients or latents of every frame, newest last, kept in float32 at least."""

    def __init__(self, size: int) -> None:
        self.rows: deque[Tensor] = deque(maxlen=size)

    def add(self, values_FCYX: Tensor) -> None:
        self.rows.append(values_FCYX.to(torch.promote_types(values_FCYX.dtype, torch.float32)).flatten(1))

    def __len__(self) -> int:
        return len(self.rows)

    def stack(self) -> Tensor:
        """(F, R, D), oldest first."""
        return torch.stack(list(self.rows), 1)


def neighbour_rows(rows_FRD: Tensor, omega: Sequence[float]) -> list[Tensor]:
    """For each frame the rows of it and its neighbours, (up to 3R, D), scaled by the root of their weight.

    omega: weights of frame f-1, f, f+1. Missing neighbours, and those of weight 0, are left out, and
    the others weigh more for it: else the first and last frame of a still clip would have smaller
    eigenvalues, and the last purification would make them different. Rows that are not finite are dropped.
    """
    frames = []
    for frame in range(len(rows_FRD)):
        near = [
            (frame + step, weight)
            for step, weight in zip((-1, 0, 1), omega, strict=True)
            if 0 <= frame + step < len(rows_FRD) and weight > 0
        ]
        scale = sum(omega) / sum(weight for _, weight in near)
        rows_RD = torch.cat([rows_FRD[place] * (weight * scale) ** 0.5 for place, weight in near])
        frames.append(rows_RD[rows_RD.isfinite().all(1)])
    return frames


def window_axes(rows_RD: Tensor, energy: float = 0.9, kmax: int | None = None) -> Axes:
    """The leading eigenvectors of rows^T rows, by the Gram matrix: K = G G^T = V L V^T, u = G^T v / sqrt(l).

    energy: the fewest axes that hold this share of the eigenvalues' sum. kmax: then at most so many;
    a cluster of equal eigenvalues is kept whole. Axes below 1e-6 of the largest eigenvalue are noise
    of rounding and are never kept. Signs make the sum of the rows point along each axis; where
    that is undecided, the entry of largest magnitude is positive.
    """
    rows = _precise(rows_RD)
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    values, vectors = values.flip(0), vectors.flip(1)
    whole = values.clamp(min=0)
    if len(values) == 0 or float(values[0]) <= 0:
        return Axes(rows.new_zeros(0, rows.shape[1]), values.new_zeros(0), whole)
    rank = int((values > RANK * values[0]).sum())
    values, vectors = values[:rank], vectors[:, :rank]
    kept = _count(values, energy, kmax)
    axes = (vectors[:, :kept].T @ rows) / values[:kept].sqrt().unsqueeze(1)
    return Axes(axes * _signs(axes, rows.sum(0)).unsqueeze(1), values[:kept], whole)


def _precise(tensor: Tensor) -> Tensor:
    """In float64, on the CPU where the device has none (mps)."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def _count(values: Tensor, energy: float, kmax: int | None) -> int:
    """How many axes to keep."""
    share = values.cumsum(0) / values.sum()
    count = min(int((share < energy - 1e-12).sum()) + 1, len(values))
    if kmax is None or count <= kmax:
        return count
    count = kmax
    while count < len(values) and float(values[count - 1] - values[count]) < CLUSTER * float(
        values[count - 1]
    ):
        count += 1
    return count


def _signs(axes_KD: Tensor, total_D: Tensor) -> Tensor:
    along = axes_KD @ total_D
    undecided = along.abs() <= 1e-12 * total_D.norm()
    largest = axes_KD.gather(1, axes_KD.abs().argmax(1, keepdim=True)).squeeze(1)
    return torch.where(torch.where(undecided, largest, along) < 0, -1.0, 1.0)


def frame_axes(
    rows_FRD: Tensor, energy: float, kmax: int | None, omega: Sequence[float], temporal: str = "joined"
) -> list[Axes]:
    """The axes of every frame, with those of its neighbours.

    temporal: "joined" cuts the axes of the three frames' rows together, so that a frame much weaker
    than its neighbours may lose its own direction; "union" cuts each frame's axes first and joins
    their spans (docs/methods.md 5.4). energy and kmax cut there, so that a union has more axes.
    """
    joined = [_precise(rows_RD) for rows_RD in neighbour_rows(rows_FRD, omega)]
    if temporal == "joined":
        return [window_axes(rows_RD, energy, kmax) for rows_RD in joined]
    own = [window_axes(rows_RD[rows_RD.isfinite().all(1)], energy, kmax).axes_KD for rows_RD in rows_FRD]
    found = []
    for frame, rows_RD in enumerate(joined):
        near = [
            place
            for place, weight in zip((frame - 1, frame, frame + 1), omega, strict=True)
            if 0 <= place < len(own) and weight > 0
        ]
        found.append(_within(torch.cat([own[place] for place in near]), rows_RD))
    return found


def _within(spanning_KD: Tensor, rows_RD: Tensor) -> Axes:
    """The axes of rows inside the span of given directions."""
    basis_KD = window_axes(spanning_KD, 1.0).axes_KD
    values, vectors = torch.linalg.eigh((basis_KD @ rows_RD.T) @ (rows_RD @ basis_KD.T))
    axes_KD = vectors.flip(1).T @ basis_KD
    whole = torch.linalg.eigvalsh(rows_RD @ rows_RD.T).flip(0).clamp(min=0)
    return Axes(
        axes_KD * _signs(axes_KD, rows_RD.sum(0)).unsqueeze(1),
        values.flip(0).clamp(min=torch.finfo(values.dtype).tiny),
        whole,
    )


def moments(values_D: Tensor) -> tuple[Tensor, Tensor]:
    """Skewness and kurtosis (3 for a Gaussian), with the population's standard deviation."""
    centred = values_D - values_D.mean()
    scaled = centred / centred.pow(2).mean().sqrt()
    return scaled.pow(3).mean(), scaled.pow(4).mean()


def moment_loss(coefficients_K: Tensor, axes_KD: Tensor) -> Tensor:
    """L(a) = skewness^2 + (kurtosis - 3)^2 of sum a_k u_k."""
    skewness, kurtosis = moments(coefficients_K @ axes_KD)
    return skewness**2 + (kurtosis - 3) ** 2


def moment_gradient(coefficients_K: Tensor, axes_KD: Tensor) -> Tensor:
    """The derivative of `moment_loss` in the coefficients, written out: a tenth of the time of autograd on
    vectors this short.
    """
    centred_KD = axes_KD - axes_KD.mean(1, keepdim=True)
    values_D = coefficients_K @ centred_KD
    squares_D = values_D**2
    second, third, fourth = squares_D.mean(), (squares_D * values_D).mean(), (squares_D**2).mean()
    by_second, by_third, by_fourth = (
        centred_KD @ torch.stack([2 * values_D, 3 * squares_D, 4 * squares_D * values_D], 1) / len(values_D)
    ).unbind(1)
    skewness, kurtosis = third / second**1.5, fourth / second**2
    by_skewness = by_third / second**1.5 - 1.5 * skewness / second * by_second
    by_kurtosis = by_fourth / second**2 - 2 * kurtosis / second * by_second
    return 2 * skewness * by_skewness + 2 * (kurtosis - 3) * by_kurtosis


def regularise(
    coefficients_K: Tensor,
    axes_KD: Tensor,
    gamma: float = 0.01,
    inside_D: Tensor | None = None,
    steps: int = 10,
    lr: float = 0.02,
    radius: float = 0.25,
) -> Tensor:
    """Turn coefficients a little towards a Gaussian gradient; their norm stays.

    Minimises |b - b0|^2 / 2 + gamma L(b) over b = a / |a0| in a ball around b0, by so many steps of
    Adam. The ball bounds the turn: a local edit has a high kurtosis by nature. inside_D: bool,
    entries that the moments are taken over.
    """
    norm = coefficients_K.norm()
    seen_KD = axes_KD if inside_D is None else axes_KD[:, inside_D]
    if (
        len(coefficients_K) <= 1
        or gamma == 0
        or seen_KD.shape[1] < 2
        or float((coefficients_K @ seen_KD).std(correction=0)) < 1e-12
    ):
        return coefficients_K
    start = coefficients_K / norm
    turned, first, second = start, torch.zeros_like(start), torch.zeros_like(start)
    for step in range(1, steps + 1):
        gradient = turned - start + gamma * moment_gradient(turned, seen_KD)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        turned = turned - lr * first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        away = turned - start
        turned = start + away * (radius / away.norm().clamp(min=1e-30)).clamp(max=1)
    return turned * norm / turned.norm()


def purify(
    rows_FRD: Tensor,
    axes: Sequence[Axes],
    gamma: float = 0.01,
    target: str = "mean",
    inside_FD: Tensor | None = None,
) -> Tensor:
    """Gradients (F, D) rebuilt from the stable axes of their windows, in the rows' dtype.

    target: "mean" projects the mean of a frame's own rows, "latest" its newest row. A frame without
    axes (all gradients zero) gets zero.
    """
    purified = []
    for frame, (rows_RD, found) in enumerate(zip(rows_FRD, axes, strict=True)):
        finite = _precise(rows_RD[rows_RD.isfinite().all(1)])
        if len(found.axes_KD) == 0 or len(finite) == 0:
            purified.append(torch.zeros_like(rows_RD[0]))
            continue
        if (
            len(finite) == 1 and len(found.all_values) == 1
        ):  # its own axis holds it whole: no rounding on the way
            purified.append(finite[0].to(rows_RD))
            continue
        wanted = finite.mean(0) if target == "mean" else finite[-1]
        inside = None if inside_FD is None else inside_FD[frame].to(wanted.device)
        coefficients = regularise(found.axes_KD @ wanted, found.axes_KD, gamma, inside)
        purified.append((coefficients @ found.axes_KD).to(rows_RD))
    return torch.stack(purified)


def purify_latents(
    latents_FRD: Tensor, source_FD: Tensor, omega: Sequence[float], *, energy: float = 0.99,
    kmax: int | None = None, noise: float | None = None,
    average_frames: bool = False, space: str = "displacement", temporal: str = "joined",
) -> Tensor:  # fmt: skip
    """The final latent (F, D): the mean displacement of the last iterations, its unstable axes weakened.

        z_src + sum_k <mean displacement, u_k> u_k / (1 + nu / lambda_k)

    a Wiener weight with nu the median of all eigenvalues of the stack, zeros included (`noise` sets
    it; 0 and energy 1 give the mean latent). Over the kept axes alone nu would be the edit's own
    power once the latents have settled, and half of the edit would be taken away. From fewer than
    three latents no noise can be told from the edit, and nu is 0. average_frames: also mean
    displacements over neighbours, 1/4 1/2 1/4. space: "latent" decomposes latents themselves, which
    is the thesis read literally. temporal: as `frame_axes` has it.
    """
    origin_FD = source_FD if space == "displacement" else torch.zeros_like(source_FD)
    rows_FRD = latents_FRD - origin_FD.unsqueeze(1)
    mean_FD = _precise(rows_FRD).mean(1)
    if average_frames:
        padded = torch.cat([mean_FD[:1], mean_FD, mean_FD[-1:]])
        mean_FD = (padded[:-2] + 2 * mean_FD + padded[2:]) / 4
    found = frame_axes(rows_FRD, energy, kmax, omega, temporal)
    nu = noise_level(found, rows_FRD.shape[1]) if noise is None else noise
    kept = [
        ((axes.axes_KD @ mean) / (1 + nu / axes.values_K)) @ axes.axes_KD
        for axes, mean in zip(found, mean_FD, strict=True)
    ]
    return (_precise(origin_FD) + torch.stack(kept)).to(source_FD)


def noise_level(found: Sequence[Axes], latents: int) -> float:
    """The power that an axis of noise has: the median over all rows of all frames; 0 from fewer than three
    latents a frame.
    """
    values = [float(value) for axes in found for value in axes.all_values]
    return median(values) if values and latents >= 3 else 0.0
