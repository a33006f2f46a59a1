"""Statistics against enumeration, published tables, and the thesis' rows."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from tests.jobs.scores import THESIS, column
from vedit.jobs.score.statistics import (
    bootstrap_interval,
    chi_square_tail,
    double_ranks,
    effect_size,
    excludes_zero,
    friedman,
    holm,
    mean_ranks,
    paired,
    sign_test,
    summarise,
    videos_needed,
    wilcoxon,
)


@pytest.mark.parametrize("entry", THESIS["paired"], ids=lambda entry: entry["metric"])
def test_the_paired_comparison_of_the_thesis_comes_out(entry: dict[str, Any]) -> None:
    found = paired(column("glp", entry["metric"]), column("video-p2p", entry["metric"]))
    assert found.mean == pytest.approx(entry["mean_diff"], abs=1e-6)
    assert found.deviation == pytest.approx(entry["sd_diff"], abs=1e-6)
    assert found.interval == pytest.approx(entry["ci95"], abs=1e-6)
    assert (found.wins, found.losses, found.ties) == (entry["wins"], entry["losses"], entry["ties"])
    assert found.sign_p == pytest.approx(entry["sign_p"], abs=1e-6)


def test_only_clip_consistency_differs_between_the_thesis_methods() -> None:
    found = {
        e["metric"]: paired(column("glp", e["metric"]), column("video-p2p", e["metric"]))
        for e in THESIS["paired"]
    }
    assert [metric for metric, result in found.items() if excludes_zero(result.interval)] == [
        "clip_consistency"
    ]


def test_the_averages_of_the_thesis_rows_are_those_recomputed_for_it() -> None:
    for table in THESIS["table"][:6]:
        for metric, mean in zip(table["metric"], table["recomputed"], strict=True):
            assert summarise(column(table["method"], metric)).mean == pytest.approx(mean, abs=1e-6)


def test_the_interval_is_the_one_of_explicit_resampling() -> None:
    values = [0.3, 1.9, -2.0, 0.7, 0.1, 5.0]
    picks = np.random.default_rng(3).integers(0, 6, (10000, 6))
    means = sorted(sum(values[k] for k in row) / 6 for row in picks)
    low_place, high_place = 0.025 * 9999, 0.975 * 9999

    def between(place: float) -> float:
        below = math.floor(place)
        return means[below] + (place - below) * (means[below + 1] - means[below])

    assert bootstrap_interval(values, seed=3) == pytest.approx(
        (between(low_place), between(high_place)), rel=1e-12
    )


def test_fewer_than_five_videos_have_no_interval() -> None:
    assert bootstrap_interval([1.0, 2.0, 3.0, 4.0]) is None
    assert bootstrap_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is not None
    assert not excludes_zero(None)


def test_values_that_are_not_finite_are_counted_and_left_out() -> None:
    found = summarise([1.0, math.nan, 3.0, None, math.inf])
    assert (found.n, found.n_failed, found.mean, found.median) == (2, 3, 2.0, 2.0)
    assert found.deviation == pytest.approx(math.sqrt(2))
    nothing = summarise([math.nan])
    assert (nothing.n, nothing.n_failed, nothing.mean, nothing.interval) == (0, 1, None, None)


@pytest.mark.parametrize("wins, losses", [(0, 0), (5, 0), (0, 5), (3, 4), (16, 4), (6, 6)])
def test_the_sign_test_counts_every_outcome_of_a_fair_coin(wins: int, losses: int) -> None:
    n = wins + losses
    if n > 12:  # 1 - cdf by the binomial theorem instead of 2**20 outcomes
        tail = sum(math.comb(n, k) for k in range(max(wins, losses), n + 1)) / 2**n
    else:
        tail = sum(sum(flips) >= max(wins, losses) for flips in itertools.product((0, 1), repeat=n)) / 2**n
    assert sign_test(wins, losses) == pytest.approx(min(1.0, 2 * tail))


def enumerated(differences: list[float]) -> float:
    """Wilcoxon's p-value by trying every pattern of signs."""
    sizes = [abs(d) for d in differences if d]
    ranks = [
        sum(other < size for other in sizes) + (1 + sum(other == size for other in sizes)) / 2
        for size in sizes
    ]
    seen = sum(rank for rank, d in zip(ranks, [d for d in differences if d], strict=True) if d > 0)
    sums = [
        sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    return min(1.0, 2 * min(sum(s <= seen for s in sums), sum(s >= seen for s in sums)) / len(sums))


@pytest.mark.parametrize(
    "differences",
    [
        [1.0, 2.0, 3.0, 4.0, 5.0],
        [1.0, -2.0, 3.0, -4.0, 5.0, 6.5],
        [2.0, 2.0, -2.0, 1.0, 3.0, 0.0, -5.0],
        [0.5, 0.5, 0.5, -0.5, 0.5, 0.5, 0.5, 2.0, -3.0],
    ],
)
def test_wilcoxon_counts_every_pattern_of_signs(differences: list[float]) -> None:
    assert wilcoxon(differences) == pytest.approx(enumerated(differences))


def test_wilcoxon_of_five_equal_signs_is_a_sixteenth() -> None:
    assert wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(
        0.0625
    )  # 2 / 2**5: why five pairs never reach 0.05
    assert wilcoxon([0.0, 0.0]) == 1.0


def test_above_25_differences_wilcoxon_is_close_to_the_exact_value() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(0.3, 1, 26)
    exact = wilcoxon_exact_by_counting(differences)
    assert wilcoxon(differences) == pytest.approx(exact, abs=0.01)
    assert wilcoxon(differences) != exact


def wilcoxon_exact_by_counting(differences: np.ndarray) -> float:
    """Ways to reach each sum of untied ranks 1..n, by a polynomial product."""
    ranks = np.abs(differences).argsort().argsort() + 1
    ways = np.array([1.0])
    for rank in range(1, len(ranks) + 1):
        factor = np.zeros(rank + 1)
        factor[[0, rank]] = 0.5
        ways = np.convolve(ways, factor)
    seen = int(ranks[differences > 0].sum())
    return min(1.0, 2 * min(ways[: seen + 1].sum(), ways[seen:].sum()))


def test_differences_equal_up_to_rounding_share_a_rank() -> None:
    assert 0.3 - 0.2 != 0.2 - 0.1
    assert wilcoxon([0.3 - 0.2, 0.2 - 0.1, -0.5]) == pytest.approx(enumerated([1.0, 1.0, -5.0]))
    assert double_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [7, 2, 7, 4]


def test_holm_adjusts_as_in_the_published_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_for_a_lower_is_better_metric_the_smaller_value_wins() -> None:
    found = paired([1.0, 1.0, 5.0], [2.0, 3.0, 5.0], higher_is_better=False)
    assert (found.wins, found.losses, found.ties) == (2, 0, 1)
    assert found.mean == pytest.approx(-1.0)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = [0.1, 0.51, 0.93, 0.2, 0.74, 0.381]
    assert bootstrap_interval(values, 1) == bootstrap_interval(values, 1)
    assert bootstrap_interval(values, 1) != bootstrap_interval(values, 2)


def test_the_interval_of_several_edits_resamples_videos_with_all_of_them() -> None:
    values, videos = [1.0, 2.0, 6.0, 0.5, 9.0, 4.0, 4.5, 3.0], ["a", "a", "b", "c", "c", "c", "d", "e"]
    groups = {
        video: [value for value, of in zip(values, videos, strict=True) if of == video] for video in "abcde"
    }
    means = []
    for row in np.random.default_rng(2).integers(0, 5, (10000, 5)):
        picked = [value for k in row for value in groups["abcde"[k]]]
        means.append(sum(picked) / len(picked))
    assert bootstrap_interval(values, 2, videos=videos) == pytest.approx(
        tuple(np.percentile(means, [2.5, 97.5])), rel=1e-12
    )
    assert (
        bootstrap_interval(values, 2, videos=["a", "a", "b", "c", "c", "c", "d", "d"]) is None
    )  # eight edits, four videos


def test_repeating_each_edit_narrows_no_interval_and_lowers_no_p_value() -> None:
    x, y = np.random.default_rng(5).normal(size=(2, 9))
    once, thrice = (
        paired(x, y),
        paired(np.repeat(x, 3), np.repeat(y, 3), videos=[f"v{k // 3}" for k in range(27)]),
    )
    assert thrice.interval == pytest.approx(once.interval) and (thrice.n, thrice.videos) == (27, 9)
    assert (thrice.sign_p, thrice.wilcoxon_p, thrice.wins) == (once.sign_p, once.wilcoxon_p, once.wins)
    assert summarise(
        np.repeat(x, 3).tolist(), videos=[f"v{k // 3}" for k in range(27)]
    ).interval == pytest.approx(summarise(x.tolist()).interval)


def test_differences_within_the_rounding_are_ties() -> None:
    found = paired([1.00005, 2.0, 3.0, 4.2], [1.0, 2.0001, 3.001, 4.0], rounding=1.5e-4)
    assert (found.wins, found.losses, found.ties) == (1, 1, 2)


def verdicts(edits: int, spread: float, runs: int, clustered: bool = True) -> float:
    """The share of suites of 50 videos, without a true difference, in which the two criteria of a verdict are
    met.
    """
    random, named = np.random.default_rng(11), 0
    videos = [f"v{k // edits}" for k in range(50 * edits)]
    for _ in range(runs):
        difference = np.repeat(random.normal(0, spread, 50), edits) + random.normal(0, 1, 50 * edits)
        found = paired(difference, np.zeros(50 * edits), videos=videos if clustered else None)
        named += excludes_zero(found.interval) and found.wilcoxon_p < 0.05
    return named / runs


@pytest.mark.parametrize(("edits", "spread"), [(3, 1.0), (3, 3.0), (3, 0.0), (1, 1.0)])
def test_without_a_true_difference_at_most_7_percent_of_suites_get_a_verdict(
    monkeypatch: pytest.MonkeyPatch, edits: int, spread: float
) -> None:
    monkeypatch.setattr("vedit.jobs.score.statistics.RESAMPLES", 600)
    assert verdicts(edits, spread, 400) <= 0.07


def test_taken_edit_by_edit_far_too_many_suites_would_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedit.jobs.score.statistics.RESAMPLES", 300)
    assert verdicts(3, 3.0, 100, clustered=False) > 0.15


# --- effect size, sample size, several methods --------------------------------------------------


def test_the_effect_of_the_thesis_rows_is_their_mean_over_their_deviation() -> None:
    for entry in THESIS["paired"]:
        found = paired(column("glp", entry["metric"]), column("video-p2p", entry["metric"]))
        assert found.effect == pytest.approx(entry["mean_diff"] / entry["sd_diff"], abs=2e-5)


def test_differences_all_alike_have_no_effect_size() -> None:
    assert effect_size([0.3 - 0.2, 0.2 - 0.1, 0.1]) is None
    assert effect_size([2.0]) is None and effect_size([]) is None
    assert effect_size([1.0, 3.0]) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(
    "effect, tests, of_t_test",  # statsmodels 0.15 TTestPower().solve_power(effect, alpha=0.05 / tests, power=0.8)
    [
        (0.95, 1, 10.773265),
        (0.5, 1, 33.367131),
        (0.2, 1, 198.150820),
        (-0.5, 8, 54.912943),
        (0.3, 24, 175.452023),
    ],
)
def test_the_videos_needed_are_those_of_the_exact_t_test_over_wilcoxons_efficiency(
    effect: float, tests: int, of_t_test: float
) -> None:
    assert abs((videos_needed(effect, tests) or 0) - of_t_test * math.pi / 3) <= 1.1


def test_so_many_videos_get_a_verdict_about_as_often_as_promised() -> None:
    needed = videos_needed(0.9)
    assert needed is not None
    drawn = np.random.default_rng(4).normal(0.9, 1, (600, needed))
    share = sum(wilcoxon(row) < 0.05 for row in drawn) / len(drawn)
    assert 0.75 < share < 0.88


def test_no_effect_is_shown_by_no_number_of_videos_and_a_steady_one_by_the_fewest() -> None:
    assert videos_needed(0.0) is None
    assert videos_needed(None) == videos_needed(50.0) == 6  # 2 / 2**6 < 0.05 <= 2 / 2**5
    assert videos_needed(None, 8) == 9  # 2 / 2**9 < 0.05 / 8 <= 2 / 2**8


@pytest.mark.parametrize(
    "value, freedom, tail",  # scipy.stats.chi2.sf of SciPy 1.17
    [
        (3.0, 1, 0.08326451666355042),
        (5.0, 2, 0.0820849986238988),
        (7.5, 3, 0.0575584519726364),
        (12.3, 4, 0.015254394655769615),
        (9.9, 5, 0.07811879766027666),
        (0.5, 6, 0.9978385033102375),
    ],
)
def test_the_tail_of_chi_square_is_scipys(value: float, freedom: int, tail: float) -> None:
    assert chi_square_tail(value, freedom) == pytest.approx(tail, abs=1e-12)


FOUR = [
    [7.0, 9.9, 8.5, 5.1, 10.3],
    [5.3, 5.7, 4.7, 3.5, 7.7],
    [4.9, 7.6, 5.5, 2.8, 8.4],
    [8.8, 8.9, 8.1, 3.3, 9.1],
]
TIED = [[1, 2, 2, 3, 4, 4], [2, 2, 1, 3, 5, 4], [3, 1, 2, 4, 4, 4]]


@pytest.mark.parametrize("methods, p", [(FOUR, 0.0135882729582177), (TIED, 0.7788007830714077)])
def test_friedmans_test_is_scipys_also_with_ties(methods: list[list[float]], p: float) -> None:
    values_VM = np.array(methods, dtype=float).T
    assert friedman(values_VM) == pytest.approx(p, abs=1e-12)
    assert friedman(-values_VM[:, ::-1]) == pytest.approx(p, abs=1e-12)
    assert friedman(np.ones((4, 3))) == 1.0


def test_ranks_are_shared_by_ties_and_turn_with_the_direction() -> None:
    values_VM = np.array([[3.0, 2.0, 1.0], [5.0, 5.0, 1.0]])
    assert mean_ranks(values_VM) == [1.25, 1.75, 3.0]
    assert mean_ranks(values_VM, higher_is_better=False) == [2.75, 2.25, 1.0]
