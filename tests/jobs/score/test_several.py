"""Three methods and more: every pair, one correction over all of them, and ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.jobs.scores import report, thesis
from vedit.errors import InputError, UsageError
from vedit.jobs.score.compare import NOTHING_SHOWN, compare
from vedit.jobs.score.render import as_text
from vedit.jobs.score.results import Results
from vedit.jobs.score.several import compare_several, several_json, several_tables
from vedit.jobs.score.statistics import holm

EIGHT = [1.0, 1.3, 2.2, 0.4, 1.9, 3.1, 2.8, 0.9]


def shifted(name: str, by: float, key: str = "psnr") -> Results:
    wobble = np.random.default_rng(len(name) + int(10 * by)).normal(0, 0.05, 8)
    return report(name, {key: [value + by + w for value, w in zip(EIGHT, wobble, strict=True)]})


def test_holm_goes_over_all_pairs_and_metrics() -> None:
    a, b = thesis("glp"), thesis("video-p2p")
    c = replace(thesis("video-p2p"), name="third")
    found = compare_several([a, b, c])
    lines = [line for pair in found.pairs for line in pair.lines]
    assert len(lines) == 24 and {pair.tests for pair in found.pairs} == {24}
    assert [line.holm_p for line in lines] == pytest.approx(holm([line.paired.wilcoxon_p for line in lines]))
    alone = compare(a, b)
    assert [line.paired for line in found.pairs[0].lines] == [line.paired for line in alone.lines]
    assert found.verdict("clip_consistency", "video-p2p", "third") == NOTHING_SHOWN


def test_a_verdict_of_two_can_be_lost_among_three() -> None:
    a, b, c = shifted("a", 1.0), shifted("bb", 0.0), shifted("ccc", 0.0)
    assert compare(a, b).lines[0].holm_p == pytest.approx(2 / 2**8)
    found = compare_several([a, b, c])
    assert found.pairs[0].lines[0].holm_p == pytest.approx(3 * 2 / 2**8)
    assert found.verdict("psnr", "bb", "a") == "a"
    assert next(iter(found.ranked)).ranks[0] == 1.0


def test_only_who_beats_every_other_is_bold() -> None:
    found = compare_several([shifted("a", 2.0), shifted("bb", 1.0), shifted("ccc", 0.0)])
    ranks, pairs = several_tables(found)
    assert ranks.rows[0][1].is_best
    assert [cell.is_best or cell.is_first for cell in ranks.rows[0][1:4]] == [True, False, False]
    assert [cell.text for cell in ranks.rows[0][4:7]] == ["1.00", "2.00", "3.00"]
    assert [[cell.text for cell in row[1:3]] for row in pairs.rows] == [
        ["a", "bb"],
        ["a", "ccc"],
        ["bb", "ccc"],
    ]
    even = compare_several([shifted("a", 2.0), replace(shifted("a", 2.0), name="same"), shifted("ccc", 0.0)])
    assert not any(cell.is_best or cell.is_first for cell in several_tables(even)[0].rows[0])


def test_ranks_are_over_videos_that_all_have() -> None:
    a = report("a", {"warp_error": [1.0, 1.0, 9.0]}, videos=["x", "y", "z"], lower=["warp_error"])
    b = report("b", {"warp_error": [2.0, 2.0]}, videos=["x", "y"], lower=["warp_error"])
    c = report("c", {"warp_error": [3.0, float("nan"), 3.0]}, videos=["x", "y", "z"], lower=["warp_error"])
    (ranked,) = compare_several([a, b, c]).ranked
    assert (ranked.videos, ranked.means, ranked.ranks) == (1, (1.0, 2.0, 3.0), (1.0, 2.0, 3.0))


def test_methods_that_share_no_video_among_all_have_pairs_and_no_ranks() -> None:
    videos = (["x", "y"], ["y", "z"], ["z", "x"])
    three = [report(name, {"psnr": [1, 2]}, videos=of) for name, of in zip("abc", videos, strict=True)]
    found = compare_several(three)
    assert found.ranked[0].videos == 0 and len(found.pairs) == 3
    assert "–" in as_text(several_tables(found)[0])
    assert several_json(found)["ranks"]["psnr"]["friedman_p"] is None


def test_metrics_that_one_of_them_lacks_are_left_out_and_said() -> None:
    a, b = (report(name, {"psnr": EIGHT, "ssim": EIGHT}) for name in "ab")
    found = compare_several([a, b, report("c", {"psnr": EIGHT})])
    assert "left out: ssim" in " ".join(several_tables(found)[0].notes)
    with pytest.raises(UsageError, match="no metric 'ssim'"):
        compare_several([a, b, report("c", {"psnr": EIGHT})], "ssim")
    with pytest.raises(InputError, match="no metric in common"):
        compare_several([a, b, report("c", {"flicker_mae": EIGHT})])
