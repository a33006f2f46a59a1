"""What a table of scores shows beyond chance: intervals, paired tests, and their correction.

Videos are the sampling unit everywhere: intervals resample videos with all their edits, and two sets of
scores are compared video by video. Several edits of one video are not independent, so tests take the
mean of a video's differences. Taken edit by edit, three edits of each of 50 videos would name a winner
where there is none four times as often as stated. Rows are taken in the order given; callers sort them
by name, so that the same seed gives the same interval whatever order the videos were scored in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 10_000
LEAST = 5  # fewer videos carry no interval
EXACT_UP_TO = 25  # the Wilcoxon distribution is counted out up to this many differences
LEVEL = 0.05
POWER = 0.8  # the chance of a verdict that `videos_needed` asks for


class Summary(NamedTuple):
    """One metric over the videos of a suite.

    n: finite values. n_failed: values that were missing or not finite. deviation: with n - 1, None for one
    value. interval: 95 % of the mean, None when there are fewer than LEAST videos. videos: that the values
    are of; with several edits of one they are fewer.
    """

    n: int
    n_failed: int
    mean: float | None
    deviation: float | None
    median: float | None
    interval: tuple[float, float] | None
    videos: int = 0


class Paired(NamedTuple):
    """Scores of A minus scores of B on the same edits.

    n: edits. wins, losses, ties: videos on which A, or B, or none is better by the metric's direction,
    mean over their edits. interval: of the mean difference, None for fewer than LEAST videos. sign_p,
    wilcoxon_p: over videos, two-sided. videos: how many there are. effect: the mean of the videos'
    differences in units of their deviation (Cohen's d of pairs), None for one video or no deviation.
    """

    n: int
    mean: float
    deviation: float | None
    interval: tuple[float, float] | None
    wins: int
    losses: int
    ties: int
    sign_p: float
    wilcoxon_p: float
    videos: int = 0
    effect: float | None = None


class Agreement(NamedTuple):
    """Two rankings of the same things. n: things. videos: that they are of. spearman, kendall (tau-b): None
    where one side is all alike. decided, same: things with a side that is not 0, and those on which both
    sides have the same sign.
    """

    n: int
    videos: int
    spearman: float | None
    spearman_interval: tuple[float, float] | None
    kendall: float | None
    kendall_interval: tuple[float, float] | None
    decided: int
    same: int


def summarise(
    values: Sequence[float | None], seed: int = 0, *, videos: Sequence[str] | None = None
) -> Summary:
    """Mean, spread and interval of the finite values; the others are only counted.

    videos: the video that each value is of; each its own by default.
    """
    import numpy as np

    kept = [place for place, value in enumerate(values) if value is not None and math.isfinite(value)]
    finite = np.array([values[place] for place in kept], dtype=float)
    n = len(finite)
    if not n:
        return Summary(0, len(values), None, None, None, None)
    deviation = float(finite.std(ddof=1)) if n > 1 else None
    of_kept = None if videos is None else [videos[place] for place in kept]
    interval = bootstrap_interval(finite, seed, videos=of_kept)
    return Summary(
        n,
        len(values) - n,
        float(finite.mean()),
        deviation,
        float(np.median(finite)),
        interval,
        n if of_kept is None else len(set(of_kept)),
    )


def by_video(values: np.ndarray, videos: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of the values of each video, in the order in which the videos first come."""
    import numpy as np

    if videos is None:
        return values, np.ones(len(values))
    number = {video: place for place, video in enumerate(dict.fromkeys(videos))}
    places = [number[video] for video in videos]
    return np.bincount(places, weights=values), np.bincount(places).astype(float)


def bootstrap_interval(
    values: Sequence[float] | np.ndarray, seed: int = 0, *, videos: Sequence[str] | None = None
) -> tuple[float, float] | None:
    """The percentile bootstrap's middle 95 % of the mean; None for fewer than LEAST videos.

    Rule: 10000 rows of `default_rng(seed).integers(0, n, (10000, n))` pick among n videos, each with all
    its values; percentiles 2.5 and 97.5, linear. Without videos each value is one.
    """
    import numpy as np

    sums, counts = by_video(np.asarray(values, dtype=float), videos)
    if len(sums) < LEAST:
        return None
    picked = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.percentile(sums[picked].sum(axis=1) / counts[picked].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def paired(
    a: Sequence[float],
    b: Sequence[float],
    *,
    higher_is_better: bool = True,
    seed: int = 0,
    videos: Sequence[str] | None = None,
    rounding: float = 0.0,
) -> Paired:
    """Compare two methods on the same edits. a, b: finite, in the same order, at least one.

    videos: the video that each edit is of; each its own by default. rounding: differences of a video that
    are not larger are ties.
    """
    import numpy as np

    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    sums, counts = by_video(differences, videos)
    means = sums / counts
    effect = effect_size(means)
    means[np.abs(means) <= rounding] = 0
    better, worse = int((means > 0).sum()), int((means < 0).sum())
    if not higher_is_better:
        better, worse = worse, better
    n = len(differences)
    return Paired(
        n,
        float(differences.mean()),
        float(differences.std(ddof=1)) if n > 1 else None,
        bootstrap_interval(differences, seed, videos=videos),
        better,
        worse,
        len(means) - better - worse,
        sign_test(better, worse),
        wilcoxon(means),
        len(means),
        effect,
    )


def effect_size(differences: Sequence[float] | np.ndarray) -> float | None:
    """Mean over deviation (n - 1) of paired differences; None where that is not defined.

    Source: Cohen 1988, d_z.
    """
    import numpy as np

    array = np.asarray(differences, dtype=float)
    spread = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    # equal differences differ by their last bits, which is no deviation
    is_spread = spread > 1e-12 * float(np.abs(array).max(initial=0.0))
    return float(array.mean()) / spread if is_spread else None


def videos_needed(effect: float | None, tests: int = 1) -> int | None:
    """Videos from which a difference of this size gets a verdict with a chance of POWER.

    effect: as `effect_size` gives it, None for differences that are all alike. tests: how many Holm's
    correction is over; the level is LEVEL / tests, which each of them reaches at the latest. None for no
    effect, which no number shows. The count for a t-test (Guenther 1981, within one of the exact one) over
    the efficiency of Wilcoxon's test against it for normal differences, 3 / pi; at least as many as the
    exact test needs to fall below the level, and as an interval takes.
    """
    level = LEVEL / max(tests, 1)
    least = max(LEAST, math.floor(math.log2(2 / level)) + 1)
    if effect is None:
        return least
    if effect == 0:
        return None
    normal = NormalDist()
    size, power = normal.inv_cdf(1 - level / 2), normal.inv_cdf(POWER)
    of_t_test = (size + power) ** 2 / effect**2 + size**2 / 2
    return max(least, math.ceil(of_t_test * math.pi / 3))


def mean_ranks(values_VM: np.ndarray, higher_is_better: bool = True) -> list[float]:
    """The mean over videos of each method's rank on a video; 1 is best, ties share their mean rank."""
    return [float(rank) for rank in _ranks(values_VM, higher_is_better).mean(axis=0)]


def _ranks(values_VM: np.ndarray, higher_is_better: bool = True) -> np.ndarray:
    import numpy as np

    signed = -values_VM if higher_is_better else values_VM
    return np.stack([double_ranks(row) for row in signed]) / 2


def friedman(values_VM: np.ndarray) -> float:
    """The p-value of Friedman's test that all methods are alike; rows are videos, columns methods.

    The chi-square approximation with its correction for ties. Source: Friedman 1937.
    """
    import numpy as np

    videos, methods = values_VM.shape
    ranks = _ranks(values_VM)
    ties = sum(
        int((count**3 - count).sum())
        for row in values_VM
        for count in [np.unique(row, return_counts=True)[1]]
    )
    shrink = 1 - ties / (videos * methods * (methods**2 - 1))
    if shrink <= 0:
        return 1.0
    spread = float((ranks.sum(axis=0) ** 2).sum())
    found = 12 / (videos * methods * (methods + 1)) * spread - 3 * videos * (methods + 1)
    return chi_square_tail(max(0.0, found / shrink), methods - 1)


def chi_square_tail(value: float, freedom: int) -> float:
    """The chance that chi-square with so many degrees of freedom exceeds a value, a finite sum."""
    half = value / 2
    total, k = (math.erfc(math.sqrt(half)), 1) if freedom % 2 else (math.exp(-half), 2)
    while k < freedom:
        total += math.exp(-half) * half ** (k / 2) / math.gamma(k / 2 + 1)
        k += 2
    return total


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p-value of wins against losses under a fair coin; ties were left out before."""
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(min(wins, losses) + 1))
    return float(min(1.0, 2 * tail / 2**n))


def wilcoxon(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test; zero differences are left out, ties get mean ranks.

    Up to EXACT_UP_TO differences every sign pattern is counted, given the ranks as they are, ties
    included; above, the normal approximation with tie and continuity correction.
    Source: Wilcoxon 1945; Pratt's treatment of zeros is not used.
    """
    import numpy as np

    array = np.asarray(differences, dtype=float)
    array = array[array != 0]
    if not len(array):
        return 1.0
    sizes = np.abs(array)
    doubled = double_ranks(np.round(sizes / sizes.max(), 12))  # 0.3 - 0.2 and 0.2 - 0.1 tie
    positive = int(doubled[array > 0].sum())
    return _exact_tail(doubled, positive) if len(array) <= EXACT_UP_TO else _normal_tail(doubled, positive)


def double_ranks(values: np.ndarray) -> np.ndarray:
    """Twice the mean rank of each value, a whole number also among ties; the smallest rank is 1."""
    import numpy as np

    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: np.ndarray = (2 * last - count + 1)[place]
    return ranks


def _exact_tail(doubled: np.ndarray, positive: int) -> float:
    total = int(doubled.sum())
    ways = [1] + [0] * total  # ways[s]: sign patterns whose positive ranks sum to s / 2
    for rank in map(int, doubled):
        for s in range(total, rank - 1, -1):
            ways[s] += ways[s - rank]
    below = sum(ways[: positive + 1])
    above = sum(ways[positive:])
    return float(min(1.0, 2 * min(below, above) / 2 ** len(doubled)))


def _normal_tail(doubled: np.ndarray, positive: int) -> float:
    ranks = doubled / 2
    distance = abs(positive / 2 - ranks.sum() / 2)
    # without ties the sum of squared ranks is n(n+1)(2n+1)/6; ties make it smaller by their correction
    deviation = math.sqrt(float((ranks**2).sum()) / 4)
    return math.erfc(max(0.0, distance - 0.5) / deviation / math.sqrt(2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given. Source: Holm 1979."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for step, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[i]))
        adjusted[i] = largest
    return adjusted


RESAMPLES_OF_RANKS = 2_000


def agreement(
    x: Sequence[float], y: Sequence[float], videos: Sequence[str] | None = None, *, seed: int = 0
) -> Agreement:
    """Rank correlations of two rows of numbers, with percentile bootstrap intervals over videos.

    A sample weighs each thing by how often its video was drawn, which gives the correlation of the rows
    repeated so often. Sources: Spearman 1904, Kendall 1945 (tau-b).
    """
    import numpy as np

    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    names = list(videos) if videos is not None else [str(place) for place in range(len(a))]
    number = {video: place for place, video in enumerate(dict.fromkeys(names))}
    of_video = np.array([number[name] for name in names])
    once = np.ones((1, len(a)))
    rho, tau = _spearman(a, b, once)[0], _kendall(a, b, once)[0]
    ranges: list[tuple[float, float] | None] = [None, None]
    if len(number) >= LEAST:
        drawn = np.random.default_rng(seed).integers(0, len(number), (RESAMPLES_OF_RANKS, len(number)))
        counts = np.stack([np.bincount(row, minlength=len(number)) for row in drawn]).astype(float)
        weights = counts[:, of_video]
        ranges = [_middle(_spearman(a, b, weights)), _middle(_kendall(a, b, weights))]
    decided = (a != 0) & (b != 0)
    return Agreement(
        len(a),
        len(number),
        float(rho) if np.isfinite(rho) else None,
        ranges[0],
        float(tau) if np.isfinite(tau) else None,
        ranges[1],
        int(decided.sum()),
        int((np.sign(a) == np.sign(b))[decided].sum()),
    )


def _middle(values: np.ndarray) -> tuple[float, float] | None:
    """The middle 95 % of what is finite."""
    import numpy as np

    there = values[np.isfinite(values)]
    if not len(there):
        return None
    low, high = np.percentile(there, [2.5, 97.5])
    return float(low), float(high)


def _spearman(a: np.ndarray, b: np.ndarray, weights_BN: np.ndarray) -> np.ndarray:
    """Spearman's rho of each row of weights, (B,)."""
    import numpy as np

    def ranks(values: np.ndarray) -> np.ndarray:
        before = (values[:, None] < values) + 0.5 * (values[:, None] == values)
        found: np.ndarray = weights_BN @ before
        return found

    total = weights_BN.sum(axis=1)
    centred = [of - ((weights_BN * of).sum(axis=1) / total)[:, None] for of in (ranks(a), ranks(b))]
    both, one, other = (
        (weights_BN * p * q).sum(axis=1)
        for p, q in ((centred[0], centred[1]), (centred[0], centred[0]), (centred[1], centred[1]))
    )
    return _ratio(both, one * other, np.abs(total) ** 6)


def _kendall(a: np.ndarray, b: np.ndarray, weights_BN: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of each row of weights, (B,)."""
    import numpy as np

    up, right = np.sign(a[:, None] - a), np.sign(b[:, None] - b)
    both, one, other = (((weights_BN @ of) * weights_BN).sum(axis=1) for of in (up * right, up**2, right**2))
    return _ratio(both, one * other, np.ones(len(weights_BN)))


def _ratio(top: np.ndarray, squared: np.ndarray, size: np.ndarray) -> np.ndarray:
    """top / sqrt(squared), NaN where that is nothing beside its size but rounding."""
    import numpy as np

    is_there = squared > 1e-12 * size
    found: np.ndarray = np.where(is_there, top / np.sqrt(np.where(is_there, squared, 1)), np.nan)
    clipped: np.ndarray = np.clip(found, -1, 1)
    return clipped


def excludes_zero(interval: tuple[float, float] | None) -> bool:
    """Whether an interval of a difference lies on one side of 0."""
    return interval is not None and (interval[0] > 0 or interval[1] < 0)
