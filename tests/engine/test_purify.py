"""Purification: against D x D eigenvectors and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vedit.engine.purify import (
    Axes,
    Window,
    clip_rms,
    dds_gradient,
    frame_axes,
    moment_gradient,
    moment_loss,
    moments,
    purify,
    purify_latents,
    regularise,
    structure_gradient,
    update,
    window_axes,
)

ALONE, NEAR = (0.0, 1.0, 0.0), (0.5, 1.0, 0.5)


def rows(*shape: int, seed: int = 0) -> Tensor:
    """Random rows around a common direction, of falling strength."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return noise + 0.5 * torch.randn(shape[-1], generator=generator, dtype=torch.float64)


def projector(axes_KD: Tensor) -> Tensor:
    return axes_KD.T @ axes_KD


def test_gram_axes_span_the_same_space_as_the_covariance() -> None:
    window = rows(6, 500)
    window[:3] *= 5
    found = window_axes(window, energy=1.0, kmax=3)
    values, vectors = torch.linalg.eigh(window.T @ window)
    torch.testing.assert_close(found.values_K, values.flip(0)[:3])
    torch.testing.assert_close(
        projector(found.axes_KD), projector(vectors.flip(1)[:, :3].T), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(
        found.axes_KD @ found.axes_KD.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_the_covariance_is_not_centred() -> None:
    common = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = window_axes(common + 1e-3 * rows(4, 50))
    assert float((found.axes_KD[0] @ common).abs() / common.norm()) > 0.999


def test_energy_keeps_the_fewest_axes_that_hold_it() -> None:
    window = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)) @ torch.eye(
        3, 9, dtype=torch.float64
    )  # eigenvalues 9, 4, 1
    assert [
        len(window_axes(window, energy).axes_KD) for energy in (0.6, 9 / 14, 0.65, 13 / 14, 0.95, 1.0)
    ] == [1, 1, 2, 2, 3, 3]
    assert (
        len(window_axes(window, 1.0, kmax=2).axes_KD) == 2
        and len(window_axes(window, 1.0, kmax=2).all_values) == 3
    )


def test_a_cluster_of_equal_eigenvalues_is_not_cut() -> None:
    window = torch.diag(torch.tensor([3.0, 2.0, 2.0, 1.0], dtype=torch.float64)) @ torch.eye(
        4, 9, dtype=torch.float64
    )
    assert [len(window_axes(window, 1.0, kmax).axes_KD) for kmax in (1, 2, 3, 4)] == [1, 3, 3, 4]


def test_rank_leaves_out_what_is_rounding() -> None:
    window = rows(2, 40)
    doubled = torch.cat([window, window, window[:1] + window[1:]])
    assert len(window_axes(doubled, 1.0).axes_KD) == 2


def test_signs_point_along_the_rows_and_otherwise_make_the_largest_entry_positive() -> None:
    window = rows(5, 30)
    found = window_axes(window, 1.0)
    assert bool((found.axes_KD @ window.sum(0) >= 0).all())
    opposite = torch.tensor([[0.0, -3.0, 1.0], [0.0, 3.0, -1.0]], dtype=torch.float64)
    assert float(window_axes(opposite).axes_KD[0, 1]) > 0


def test_zero_gradients_give_a_zero_update_and_no_axes() -> None:
    window = torch.zeros(2, 3, 8)
    found = frame_axes(window, 0.9, None, NEAR)
    assert [len(axes.axes_KD) for axes in found] == [0, 0]
    assert torch.equal(purify(window, found), torch.zeros(2, 8))


def test_a_row_that_is_not_finite_is_dropped() -> None:
    window = rows(1, 4, 20)
    spoilt = torch.cat([window, torch.full((1, 1, 20), float("nan"), dtype=torch.float64)], 1)
    found = purify(spoilt, frame_axes(spoilt, 1.0, None, ALONE), gamma=0)
    torch.testing.assert_close(found, window.mean(1), rtol=0, atol=1e-10)


@pytest.mark.parametrize("omega", [ALONE, NEAR, (1.0, 0.25, 0.0)])
def test_all_axes_without_regulariser_give_the_windows_mean(omega: tuple[float, float, float]) -> None:
    window = rows(3, 5, 60)
    found = purify(window, frame_axes(window, 1.0, None, omega), gamma=0)
    torch.testing.assert_close(found, window.mean(1), rtol=0, atol=1e-10)
    latest = purify(window, frame_axes(window, 1.0, None, omega), gamma=0, target="latest")
    torch.testing.assert_close(latest, window[:, -1], rtol=0, atol=1e-10)


def test_identical_gradients_stay() -> None:
    window = rows(2, 1, 60).expand(-1, 6, -1)
    torch.testing.assert_close(
        purify(window, frame_axes(window, 0.9, None, ALONE)), window[:, 0], rtol=0, atol=1e-10
    )


def test_a_single_row_is_returned_bit_for_bit() -> None:
    window = rows(2, 1, 60).float()
    assert torch.equal(purify(window, frame_axes(window, 0.9, None, ALONE)), window[:, 0])


def test_temporal_axes_are_those_of_the_weighted_sum_of_covariances() -> None:
    window = rows(3, 2, 40)
    found = frame_axes(window, 1.0, 2, NEAR)[1]
    covariance = sum(weight * part.T @ part for weight, part in zip(NEAR, window, strict=True))
    values, vectors = torch.linalg.eigh(covariance)
    torch.testing.assert_close(found.values_K, values.flip(0)[:2])
    torch.testing.assert_close(
        projector(found.axes_KD), projector(vectors.flip(1)[:, :2].T), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("omega", [ALONE, NEAR])
def test_scale_and_time_reversal(omega: tuple[float, float, float]) -> None:
    window = rows(4, 5, 60)
    base = purify(window, frame_axes(window, 0.8, None, omega))
    scaled = purify(37 * window, frame_axes(37 * window, 0.8, None, omega))
    torch.testing.assert_close(scaled, 37 * base, rtol=1e-8, atol=1e-8)
    backwards = purify(window.flip(0), frame_axes(window.flip(0), 0.8, None, omega))
    torch.testing.assert_close(backwards, base.flip(0), rtol=0, atol=1e-8)


def test_half_precision_gives_the_same_axes() -> None:
    exact = rows(5, 200)
    window = Window(5)
    for row in exact:
        window.add(row.half().reshape(1, 2, 10, 10))
    assert window.stack().dtype == torch.float32
    close = window_axes(window.stack()[0], 1.0).axes_KD
    torch.testing.assert_close(
        projector(close), projector(window_axes(exact, 1.0).axes_KD), rtol=0, atol=1e-3
    )


def test_a_window_keeps_the_last_rows_in_order() -> None:
    window = Window(2)
    for value in (1.0, 2.0, 3.0):
        window.add(torch.full((2, 1, 1, 3), value))
    assert len(window) == 2 and window.stack()[:, :, 0].tolist() == [[2, 3], [2, 3]]


def test_moments_are_those_of_scipys_definition() -> None:
    skewness, kurtosis = moments(torch.tensor([0.0, 0, 0, 1], dtype=torch.float64))
    assert float(skewness) == pytest.approx(2 / 3**0.5) and float(kurtosis) == pytest.approx(7 / 3)
    gaussian = moments(torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert float(gaussian[0]) == pytest.approx(0, abs=0.03) and float(gaussian[1]) == pytest.approx(
        3, abs=0.06
    )


def test_the_derivative_of_the_moment_loss_is_autograds() -> None:
    axes, at = (
        window_axes(rows(4, 50) ** 3, 1.0).axes_KD,
        torch.tensor([0.5, -1.0, 2.0, 0.3], dtype=torch.float64, requires_grad=True),
    )
    (expected,) = torch.autograd.grad(moment_loss(at, axes), at)
    torch.testing.assert_close(moment_gradient(at.detach(), axes), expected, rtol=1e-9, atol=1e-12)


def test_the_regulariser_takes_the_steps_of_torchs_adam() -> None:
    window = rows(4, 60) ** 3
    axes = window_axes(window, 1.0).axes_KD
    start = axes @ window.mean(0)
    turned = (start / start.norm()).clone().requires_grad_(True)
    optimiser = torch.optim.Adam([turned], lr=0.02)
    for _ in range(3):
        loss = (turned - start / start.norm()).pow(2).sum() / 2 + 0.01 * moment_loss(turned, axes)
        (turned.grad,) = torch.autograd.grad(loss, turned)
        optimiser.step()
    expected = turned.detach() * start.norm() / turned.detach().norm()
    torch.testing.assert_close(regularise(start, axes, steps=3, radius=9.0), expected, rtol=1e-9, atol=1e-12)


def test_the_regulariser_lowers_the_loss_and_keeps_norm_and_direction() -> None:
    generator = torch.Generator().manual_seed(3)
    window = torch.randn(8, 400, generator=generator, dtype=torch.float64)
    window[:, :20] += 3  # a local edit: kurtosis far above 3
    axes = window_axes(window, 1.0).axes_KD
    start = axes @ window.mean(0)
    turned = regularise(start, axes)
    assert float(moment_loss(turned, axes)) < 0.9 * float(moment_loss(start, axes))
    assert float(turned.norm()) == pytest.approx(float(start.norm()), rel=1e-12)
    assert float(turned @ start / start.norm() ** 2) > 0.95  # the ball of radius 0.25 allows cos 0.968
    assert torch.equal(regularise(start, axes), turned)  # and it is deterministic
    with torch.inference_mode():
        torch.testing.assert_close(regularise(start, axes), turned)


def test_the_regulariser_is_skipped_where_it_has_nothing_to_say() -> None:
    axes = window_axes(rows(3, 20), 1.0).axes_KD
    start = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert regularise(start, axes, gamma=0) is start
    assert regularise(start[:1], axes[:1]) is not None and torch.equal(
        regularise(start[:1], axes[:1]), start[:1]
    )
    flat = torch.ones(2, 20, dtype=torch.float64) / 20**0.5
    assert torch.equal(regularise(start[:2], flat), start[:2])  # no spread, no moments


def test_inside_a_mask_the_moments_are_those_of_the_mask() -> None:
    window = rows(4, 100)
    axes = window_axes(window, 1.0).axes_KD
    start, inside = axes @ window.mean(0), torch.arange(100) < 50
    turned = regularise(start, axes, inside_D=inside)
    assert float(moment_loss(turned, axes[:, inside])) < float(moment_loss(start, axes[:, inside]))
    assert not torch.equal(turned, regularise(start, axes))


def test_final_purification_with_all_axes_and_no_noise_gives_the_mean_latent() -> None:
    latents, source = rows(3, 6, 80), rows(3, 80, seed=9)
    found = purify_latents(latents, source, NEAR, energy=1.0, noise=0.0)
    torch.testing.assert_close(found, latents.mean(1), rtol=0, atol=1e-10)


def test_final_purification_of_no_edit_is_the_source_exactly() -> None:
    source = rows(3, 80)
    assert torch.equal(purify_latents(source.unsqueeze(1).expand(-1, 6, -1), source, NEAR), source)


def test_final_purification_weakens_axes_by_the_wiener_weight() -> None:
    source = torch.zeros(1, 5, dtype=torch.float64)
    latents = torch.diag(torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64))[None] @ torch.eye(
        3, 5, dtype=torch.float64
    )  # eigenvalues 16, 4, 1
    found = purify_latents(latents, source, ALONE, energy=1.0)  # nu is their median, 4
    torch.testing.assert_close(
        found, torch.tensor([[4 / 3 / 1.25, 2 / 3 / 2, 1 / 3 / 5, 0, 0]], dtype=torch.float64)
    )


def test_final_purification_can_average_neighbour_frames() -> None:
    source = torch.zeros(3, 4, dtype=torch.float64)
    latents = torch.zeros(3, 2, 4, dtype=torch.float64)
    latents[1, :, 0] = 4.0
    found = purify_latents(latents, source, (1.0, 1.0, 1.0), energy=1.0, noise=0.0, average_frames=True)
    assert found[:, 0].tolist() == pytest.approx([1.0, 2.0, 1.0])


def test_the_literal_reading_throws_the_picture_away() -> None:
    """The thesis read word by word: latents decomposed, here with the axes of other rows, keep next to
    nothing.
    """
    latents, source = rows(1, 6, 500), rows(1, 500, seed=4)
    kept = purify_latents(latents, source, ALONE, energy=1.0, noise=0.0, space="latent")
    torch.testing.assert_close(kept, latents.mean(1), rtol=0, atol=1e-9)  # its own axes do hold the mean
    gradients = window_axes(rows(6, 500, seed=8), 1.0).axes_KD
    projected = (gradients @ source[0]) @ gradients
    assert float(projected.norm() ** 2 / source.norm() ** 2) < 0.2


def test_gradients_and_update() -> None:
    target, source = torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), 1.0)
    assert torch.equal(dds_gradient(target, source), torch.full((1, 1, 2, 2), 2.0))
    assert dds_gradient(target, None) is target
    mask = torch.tensor([[[[1.0, 0.0], [0.5, 0.0]]]])
    assert structure_gradient(target, source, mask).flatten().tolist() == [0, 2, 1, 2]
    assert torch.equal(structure_gradient(target, source, None), torch.zeros_like(target))
    assert update(
        target, torch.ones_like(target), 2 * torch.ones_like(target), 0.1, 2.0, 3.0
    ).flatten().tolist() == pytest.approx([2.2] * 4)


def test_the_structure_term_alone_decays_geometrically_outside_the_mask() -> None:
    source, mask = torch.zeros(1, 1, 1, 2, dtype=torch.float64), torch.tensor([[[[1.0, 0.0]]]])
    latents = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    for _ in range(7):
        latents = update(
            latents, torch.zeros_like(latents), structure_gradient(latents, source, mask), 0.07, 2.0, 2.0
        )
    assert latents.flatten().tolist() == pytest.approx([1.0, (1 - 0.07 * 2) ** 7])


def test_rms_is_limited_frame_by_frame() -> None:
    gradient = torch.stack([torch.full((1, 2, 2), 4.0), torch.full((1, 2, 2), 0.5), torch.zeros(1, 2, 2)])
    assert clip_rms(gradient, 1.0)[:, 0, 0, 0].tolist() == [1.0, 0.5, 0.0]
    assert clip_rms(gradient, None) is gradient


def test_an_empty_window_has_no_axes() -> None:
    found = window_axes(torch.zeros(0, 7))
    assert isinstance(found, Axes) and found.axes_KD.shape == (0, 7)


@pytest.mark.parametrize("temporal", ["joined", "union"])
@pytest.mark.parametrize(
    ("latents", "omega"), [(10, NEAR), (10, ALONE), (1, NEAR), (2, NEAR), (3, ALONE), (7, (1.0, 1.0, 0.0))]
)
def test_latents_that_have_settled_come_out_unchanged(
    temporal: str, latents: int, omega: tuple[float, float, float]
) -> None:
    settled, source = rows(4, 90), rows(4, 90, seed=5)
    found = purify_latents(settled.unsqueeze(1).expand(-1, latents, -1), source, omega, temporal=temporal)
    torch.testing.assert_close(found, settled, rtol=0, atol=1e-7)


def test_the_noise_level_is_the_median_of_all_rows_eigenvalues_with_the_zeros() -> None:
    latents, source = rows(3, 6, 80), torch.zeros(3, 80, dtype=torch.float64)
    latents[:, 3:] = latents[:, :1]  # four equal rows a frame
    spectra = []
    for frame, near in enumerate(((0, 1), (0, 1, 2), (1, 2))):
        weights = [1.0 if place == frame else 0.5 for place in near]
        stack = np.concatenate(
            [
                latents[place].numpy() * (weight * 2 / sum(weights)) ** 0.5
                for place, weight in zip(near, weights, strict=True)
            ]
        )
        spectra.append(np.clip(np.linalg.eigvalsh(stack @ stack.T)[::-1], 0, None))
    nu, expected = float(np.median(np.concatenate(spectra))), np.zeros((3, 80))
    assert sum(len(values) for values in spectra) == 12 + 18 + 12 and nu < min(
        values[0] for values in spectra
    )
    found = purify_latents(latents, source, NEAR, energy=1.0)
    axes = frame_axes(latents, 1.0, None, NEAR)
    for frame, part in enumerate(axes):
        mean, u, values = latents[frame].mean(0).numpy(), part.axes_KD.numpy(), part.values_K.numpy()
        expected[frame] = ((u @ mean) / (1 + nu / values)) @ u
    assert np.allclose(found.numpy(), expected, atol=1e-10)


def test_a_weak_frame_keeps_its_own_direction_in_a_union_only() -> None:
    """docs/methods.md 5.4: at 0.3 of its neighbours' size in another direction, joined rows keep next to
    nothing.
    """
    strong, weak = torch.eye(2, 40, dtype=torch.float64)
    window = torch.stack([strong, 0.3 * weak, strong]).unsqueeze(1).expand(-1, 8, -1)
    kept = {
        temporal: purify(window, frame_axes(window, 0.9, None, NEAR, temporal), gamma=0)[1]
        for temporal in ("joined", "union")
    }
    assert float(kept["joined"].norm()) < 0.1 * 0.3
    torch.testing.assert_close(kept["union"], 0.3 * weak, rtol=0, atol=1e-12)


@pytest.mark.parametrize("omega", [ALONE, NEAR, (0.0, 1.0, 2.0)])
def test_a_union_spans_the_axes_of_each_frame_and_its_neighbours(omega: tuple[float, float, float]) -> None:
    window = rows(4, 5, 60)
    own = [window_axes(part, 0.7).axes_KD for part in window]
    for frame, found in enumerate(frame_axes(window, 0.7, None, omega, "union")):
        near = [
            own[frame + step]
            for step, weight in zip((-1, 0, 1), omega, strict=True)
            if weight > 0 and 0 <= frame + step < 4
        ]
        left, _, _ = torch.linalg.svd(torch.cat(near).T, full_matrices=False)
        torch.testing.assert_close(projector(found.axes_KD), left @ left.T, rtol=0, atol=1e-9)
        torch.testing.assert_close(
            found.axes_KD @ found.axes_KD.T,
            torch.eye(len(found.axes_KD), dtype=torch.float64),
            rtol=0,
            atol=1e-10,
        )
        assert bool((found.values_K.diff() <= 0).all())


def test_a_union_of_all_axes_without_regulariser_is_the_windows_mean() -> None:
    window = rows(3, 5, 60)
    torch.testing.assert_close(
        purify(window, frame_axes(window, 1.0, None, NEAR, "union"), gamma=0),
        window.mean(1),
        rtol=0,
        atol=1e-10,
    )
    zero = torch.zeros(2, 3, 8)
    assert torch.equal(purify(zero, frame_axes(zero, 0.9, None, NEAR, "union")), torch.zeros(2, 8))
    spoilt = torch.cat([window, torch.full((3, 1, 60), float("nan"), dtype=torch.float64)], 1)
    torch.testing.assert_close(
        purify(spoilt, frame_axes(spoilt, 1.0, None, NEAR, "union"), gamma=0),
        window.mean(1),
        rtol=0,
        atol=1e-10,
    )
