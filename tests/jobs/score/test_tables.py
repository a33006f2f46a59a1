"""Tables against the thesis' printed numbers, and forms that other programs read."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import vedit
from tests.jobs.scores import THESIS, report, thesis
from vedit.errors import InputError, UsageError
from vedit.jobs.score.compare import (
    NOTHING_SHOWN,
    compare,
    comparison_json,
    comparison_notes,
    comparison_table,
)
from vedit.jobs.score.metrics import catalogue
from vedit.jobs.score.render import (
    Cell,
    Table,
    as_csv,
    as_html,
    as_latex,
    as_markdown,
    as_text,
    cells,
    figure,
    rendered,
    tex,
    width,
)
from vedit.jobs.score.results import Number, Results, Row, read_results, summary_csv, to_json
from vedit.jobs.score.several import compare_several, several_tables
from vedit.jobs.score.summary import remarks, report_table, suite_table
from vedit.jobs.score.tables import EXCHANGED, marked, tables
from vedit.metrics.types import Options

LABELS = {
    "pick score": "Pick Score",
    "viclip text alignment": "ViCLIP Text Alignment",
    "clip text alignment": "CLIP Text Alignment",
}


def by_id(number: str) -> dict[str, Any]:
    return next(table for table in THESIS["table"] if table["id"] == number)


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


# --- the thesis ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, place, number",
    [
        ("glp", 0, "3-1"),
        ("glp", 1, "3-2"),
        ("glp", 2, "3-3"),
        ("video-p2p", 0, "3-4"),
        ("video-p2p", 1, "3-5"),
        ("video-p2p", 2, "3-6"),
    ],
)
def test_a_method_has_the_rows_of_its_printed_table_under_the_right_headings(
    method: str, place: int, number: str
) -> None:
    table, printed = tables([thesis(method)], "thesis")[place], by_id(number)
    headings = [heading.lower() for heading in table.head[1:]]
    assert headings == printed["label"]  # the thesis' order of headings ...
    columns = [
        printed["metric"].index(heading.replace(" ", "_")) for heading in headings
    ]  # ... over the values that belong to them
    assert texts(table)[:-1] == [
        [row[0], *(f"{row[1 + place]:.4f}" for place in columns)] for row in printed["rows"]
    ]
    average = [f"{printed['recomputed'][place]:.4f}" for place in columns]
    assert texts(table)[-1] == ["Average", *average]
    assert (EXCHANGED["en"] in table.notes) == (place == 0)


def test_the_average_that_the_thesis_got_wrong_is_corrected() -> None:
    table = tables([thesis("video-p2p")], "thesis")[1]
    assert texts(table)[-1][table.head.index("CLIP Consistency")] == "0.9071"
    assert by_id("3-5")["average"][1] == 0.9065


def test_several_methods_add_table_4_1_with_the_exchange_undone() -> None:
    table = tables([thesis("glp"), thesis("video-p2p")], "thesis")[-1]
    printed = by_id("4-1")
    assert [row[1] for row in texts(table)] == printed["label"]
    for (group, heading, *found), wanted_group in zip(texts(table), printed["group"], strict=True):
        assert group in ("", wanted_group)
        wanted = printed["rows"][printed["metric"].index(heading.lower().replace(" ", "_"))]
        if heading == "CLIP Consistency":
            wanted = [wanted[0], 0.9071]
        assert [float(value) for value in found] == pytest.approx(
            wanted, abs=1.01e-4
        )  # 0.248255 is printed as 0.2482 there
    assert EXCHANGED["en"] in table.notes


def test_only_the_difference_beyond_chance_is_bold_in_table_4_1() -> None:
    table = tables([thesis("glp"), thesis("video-p2p")], "thesis")[-1]
    assert [(row[1].text, cell.text) for row in table.rows for cell in row if cell.is_best] == [
        ("CLIP Consistency", "0.9496")
    ]
    assert sum(cell.is_first for row in table.rows for cell in row) == 7


def test_chinese_headings_are_those_of_the_thesis() -> None:
    found = tables([thesis("glp"), thesis("video-p2p")], "thesis", lang="zh")
    assert [table.title for table in found[:3]] == ["glp语义一致性", "glp时序一致性", "glp视频质量"]
    assert [row[0] for row in texts(found[-1]) if row[0]] == ["语义一致性", "时序一致性", "生成质量"]
    assert texts(found[0])[-1][0] == "平均"


def test_a_parameter_heads_the_columns_of_a_sweep() -> None:
    values = {"pick_score": [21.0, 20.0, 22.0]}
    sweep = [report("p2p", values, run={"params": {"values": value}}) for value in (2, 4)]
    assert tables(sweep, "thesis", column_from="preset:values")[-1].head[2:] == ("values=2", "values=4")
    with pytest.raises(InputError, match="no run record of its videos has the parameter guidance"):
        tables(sweep, "thesis", column_from="guidance")


def printed(number: str, column: int, **facts: Any) -> Results:
    """A column of a printed table as a report of one video, each value under the metric it belongs to."""
    table = by_id(number)
    values = {key: [row[column]] for key, row in zip(table["metric"], table["rows"], strict=True)}
    return report(table["columns"][column], values, **facts)


def test_table_4_2_has_one_method_without_and_with_rewriting_and_no_videos() -> None:
    both = [printed("4-2", 0), printed("4-2", 1)]
    (table,) = tables(both, "4-2")
    assert table.head == ("Group", "Metric", "none", "llm-edit")
    wanted = {
        key.replace("_", " "): [f"{value:.4f}" for value in row]
        for key, row in zip(by_id("4-2")["metric"], by_id("4-2")["rows"], strict=True)
    }
    assert {row[1].lower(): row[2:] for row in texts(table)} == wanted
    assert [row[1] for row in texts(table)] == by_id("4-2")["label"] and EXCHANGED["en"] in table.notes
    assert tables(both, "4-2", lang="zh")[0].title == "LLM-edit编辑效果"
    with pytest.raises(UsageError, match="two reports, without and with rewritten prompts, and there are 3"):
        tables([*both, printed("4-2", 0)], "4-2")


def test_table_4_3_has_three_metrics_under_the_factors_of_the_run_records() -> None:
    words = ("origami", "Spider-Man", "railway")  # another word is scaled in every video
    sweep = [
        printed("4-3", place, run={"params": {"equalizer": {word: factor}}})
        for place, (word, factor) in enumerate(zip(words, (2.0, 4.0, 6.0), strict=True))
    ]
    sweep = [replace(one, name=f"run {place}") for place, one in enumerate(sweep)]
    (table,) = tables(sweep, "4-3")
    assert list(table.head[2:]) == by_id("4-3")["columns"]
    metrics = by_id("4-3")["metric"]
    assert {row[1]: row[2:] for row in texts(table)} == {
        label: [
            f"{value:.4f}" for value in by_id("4-3")["rows"][metrics.index(label.lower().replace(" ", "_"))]
        ]
        for label in by_id("4-3")["label"]
    }
    assert tables(sweep, "4-3", column_from="equalizer")[0].head[2:] == (
        "equalizer=2",
        "equalizer=4",
        "equalizer=6",
    )
    assert tables([printed("4-3", 0), printed("4-3", 1)], "4-3")[0].head[2:] == (
        "values=2",
        "values=4",
    )  # names
    with pytest.raises(InputError, match="none of the metrics of table 4-3"):
        tables([report("a", {"psnr": [1.0]}), report("b", {"psnr": [1.0]})], "4-3")


def test_weights_that_are_not_the_published_ones_are_named_under_every_table() -> None:
    a, b = (scored(name, "pick_score", SIX, sha="a" * 64) for name in "ab")
    other = replace(b, provenance={"weights": {"net": {"sha256": "a" * 64, "is_published": False}}})
    said = "Not the published weights in b: pick_score (net)"
    made = [
        *tables([a, other], "thesis"),  # first that of a's videos, which has the published ones
        *(tables([a, other], layout)[0] for layout in ("4-1", "4-2", "4-3", "v2vbench", "wide")),
        comparison_table(compare(a, other)),
        *several_tables(compare_several([a, other, replace(a, name="c")])),
        report_table(other),
    ]
    assert [sum(note.startswith(said) for note in table.notes) for table in made] == [
        0,
        *[1] * (len(made) - 1),
    ]
    assert not any("published" in note for note in report_table(a).notes)


def test_reports_without_the_thesis_metrics_say_which_layout_shows_them() -> None:
    with pytest.raises(InputError, match="--layout wide"):
        tables([report("p2p", {"psnr": [1.0]})], "thesis")


def test_the_comparison_alone_is_table_4_1() -> None:
    both = [thesis("glp"), thesis("video-p2p")]
    whole = tables(both, "thesis")
    assert tables(both, "thesis", only="comparison") == whole[-1:]
    assert [table.title for table in tables(both, "thesis", only="videos")] == [t.title for t in whole[:-1]]
    with pytest.raises(UsageError, match="there is one report"):
        tables(both[:1], "thesis", only="comparison")
    with pytest.raises(UsageError, match="--layout thesis"):
        tables(both, "wide", only="comparison")


def test_a_group_of_metrics_is_shown_less_those_taken_away() -> None:
    both = [thesis("glp"), thesis("video-p2p")]
    wanted = "temporal,-dino_consistency,Frames Quality"  # the survey's name of aesthetic_score
    (table,) = tables(both, "wide", metrics=wanted)
    assert {word.split()[0] for word in table.head[2:]} == {
        "aesthetic_score",
        "clip_consistency",
        "motion_alignment",
    }
    (compared,) = tables(both, "thesis", only="comparison", metrics="pick_score, dover_score")
    assert [row[1] for row in texts(compared)] == ["Pick Score", "Dover Score"]
    with pytest.raises(UsageError, match=r"no metric 'pick_scores'; did you mean pick_score\?"):
        tables(both, "wide", metrics="pick_scores")
    with pytest.raises(UsageError, match="leaves no metric"):
        tables(both, "wide", metrics="pick_score,-pick_score")


@pytest.mark.parametrize("layout", ["thesis", "v2vbench", "wide"])
def test_a_transposed_table_holds_every_number_at_the_mirrored_place(layout: str) -> None:
    both = [thesis("glp"), thesis("video-p2p")]
    for table, turned in zip(tables(both, layout), tables(both, layout, transpose=True), strict=True):
        first, above = table.left, table.left - 1
        numbers = [[row[place] for row in table.rows] for place in range(first, len(table.head))]
        assert [list(row[1:]) for row in turned.rows[above:]] == numbers  # marks stay with their numbers
        assert [row[0].text for row in turned.rows[above:]] == list(table.head[first:])
        assert list(turned.head[1:]) == [row[first - 1].text.strip() for row in table.rows]
        assert turned.notes == table.notes and turned.head[0]
        assert len({len(row) for row in turned.rows} | {len(turned.head)}) == 1


# --- the other layouts ---------------------------------------------------------------------------


def test_v2vbench_has_a_row_per_method_with_survey_names_and_three_decimals() -> None:
    (table,) = tables([thesis("glp"), thesis("video-p2p")], "v2vbench")
    assert table.head == (
        "Method", "Frames Quality", "Semantic Consistency", "Object Consistency", "Video Quality",
        "Frames Text Alignment", "Frames Pick Score", "Video Text Alignment", "Motion Alignment",
    )  # fmt: skip
    assert texts(table)[0] == [
        "glp",
        "4.974",
        "0.950",
        "0.682",
        "0.932",
        "27.458",
        "21.100",
        "0.248",
        "-2.255",
    ]


def test_v2vbench_shows_what_the_method_cost_where_that_is_known() -> None:
    (table,) = tables(
        [report("p2p", {"dover_score": [0.5], "method_seconds": [12.5], "method_peak_memory": [900.0]})],
        "v2vbench",
    )
    assert table.head[-2:] == ("Peak Memory (MiB)", "Runtime (s)")
    assert texts(table)[0][-2:] == ["900.000", "12.500"]


def test_wide_has_a_column_per_metric_of_any_report_with_intervals_below() -> None:
    (table,) = tables(
        [
            report("a", {"psnr": [1, 2, 3, 4, 5]}),
            report("b", {"warp_error": [1, 1, 1, 1, 1]}, lower=["warp_error"]),
        ],
        "wide",
    )
    assert table.head == ("method", "videos", "psnr ↑", "warp_error ↓")
    assert texts(table)[0] == ["a", "5", "3.0000", "–"]
    assert re.fullmatch(r"\[\d\.\d{4}, \d\.\d{4}\]", texts(table)[1][2])
    assert texts(table)[3][3] == "[1.0000, 1.0000]"


def test_each_tag_has_the_means_of_its_videos() -> None:
    both = [report(name, {"psnr": [1.0 + add, 2.0, 6.0, 9.0]}) for name, add in (("a", 0), ("b", 2))]
    tags = {"v0": ["cat", "day"], "v1": ["day"], "v2": ["cat"], "elsewhere": ["dog"]}
    whole, cat, day = tables(both, "wide", tags=tags)
    assert [table.title for table in (whole, cat, day)] == ["", "cat", "day"]
    assert [row[1:] for row in texts(cat)] == [["2", "3.5000"], ["2", "4.5000"]]  # (1 + 6) / 2, (3 + 6) / 2
    assert [row[1:] for row in texts(day)] == [["2", "1.5000"], ["2", "2.5000"]]
    assert texts(whole) == texts(tables(both, "wide")[0])
    with pytest.raises(UsageError, match="--layout wide"):
        tables(both, "thesis", tags=tags)


def test_two_reports_of_one_name_stay_apart() -> None:
    (table,) = tables([report("p2p", {"psnr": [1.0]}), report("p2p", {"psnr": [2.0]})], "wide")
    assert [row[0] for row in texts(table)] == ["p2p", "p2p (2)"]


def test_best_of_a_lower_is_better_metric_is_the_smallest() -> None:
    many = [
        report("a", {"warp_error": [1.0] * 6}, lower=["warp_error"]),
        report("b", {"warp_error": [2.0] * 6}, lower=["warp_error"]),
    ]
    assert [cell.is_best for cell in marked(many, "warp_error")] == [True, False]
    assert [cell.is_best or cell.is_first for cell in marked([many[0], many[0]], "warp_error")] == [
        False,
        False,
    ]


def test_bold_needs_five_videos_and_underline_does_not() -> None:
    few = [report("a", {"psnr": [3.0, 4.0]}), report("b", {"psnr": [1.0, 2.0]})]
    assert [(cell.is_best, cell.is_first) for cell in marked(few, "psnr")] == [(False, True), (False, False)]


def test_profiles_are_not_mixed_unless_forced() -> None:
    import dataclasses

    strict = dataclasses.replace(thesis("glp"), profile="strict")
    with pytest.raises(UsageError, match="--force"):
        tables([strict, thesis("video-p2p")], "v2vbench")
    assert len(tables([strict, thesis("video-p2p")], "v2vbench", force=True)) == 1


# --- comparing -----------------------------------------------------------------------------------


def test_the_thesis_methods_differ_in_clip_consistency_alone() -> None:
    found = compare(thesis("glp"), thesis("video-p2p"))
    assert {line.key: line.verdict for line in found.lines if line.verdict != NOTHING_SHOWN} == {
        "clip_consistency": "glp"
    }
    assert len(found.lines) == 8 and found.unpaired == {}
    line = next(line for line in found.lines if line.key == "clip_consistency")
    assert line.holm_p == pytest.approx(8 * line.paired.wilcoxon_p)  # the smallest of eight


def test_videos_of_one_report_only_are_named_and_left_out() -> None:
    a = report("a", {"psnr": [1.0, 2.0, 3.0]}, videos=["x", "y", "z"])
    b = report("b", {"psnr": [1.5, float("nan"), 9.0]}, videos=["x", "y", "other"])
    found = compare(a, b)
    assert found.unpaired == {"": ["other", "z"], "psnr": ["y"]}
    assert found.lines[0].paired.n == 1
    text = as_text(comparison_table(found))
    assert (
        "In one report only, left out: other, z." in text and "left out: y." in text and "n too small" in text
    )


def test_order_of_the_videos_does_not_matter() -> None:
    names = [f"v{i}" for i in range(6)]
    a, b = (
        report("a", {"psnr": [1, 5, 2, 8, 3, 9]}, videos=names),
        report("b", {"psnr": [2, 3, 1, 1, 0, 4]}, videos=names),
    )
    turned = report("a", {"psnr": [9, 3, 8, 2, 5, 1]}, videos=names[::-1])
    assert compare(a, b).lines == compare(turned, b).lines


def test_a_lower_is_better_metric_is_won_by_the_smaller_values() -> None:
    values = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    a, b = (
        report(name, {"warp_error": [value + shift for value in values]}, lower=["warp_error"])
        for name, shift in (("a", 0.0), ("b", 1.0))
    )
    (line,) = compare(a, b).lines
    assert (line.verdict, line.paired.wins, line.paired.mean) == ("a", 8, pytest.approx(-1.0))


def test_too_few_videos_for_so_many_metrics_is_said() -> None:
    def notes(videos: int, metrics: int) -> str:
        a, b = (
            report(name, {f"m{k}": [shift + t for t in range(videos)] for k in range(metrics)})
            for name, shift in (("a", 0.0), ("b", 1.0))
        )
        return " ".join(comparison_notes(compare(a, b)))

    assert "6 videos are too few for 2 metrics" in notes(6, 2)  # 2 * 2 / 2**6 = 0.0625
    assert "too few" not in notes(6, 1) and "too few" not in notes(7, 2)


def test_a_metric_of_one_report_only_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="no metric 'ssim'"):
        compare(report("a", {"psnr": [1.0], "ssim": [1.0]}), report("b", {"psnr": [1.0]}), ["ssim"])
    with pytest.raises(InputError, match="no video in common"):
        compare(report("a", {"psnr": [1.0]}, videos=["x"]), report("b", {"psnr": [1.0]}, videos=["y"]))


def test_a_comparison_as_json_holds_every_number() -> None:
    found = comparison_json(compare(thesis("glp"), thesis("video-p2p")))
    entry = next(entry for entry in THESIS["paired"] if entry["metric"] == "pick_score")
    assert found["metrics"]["pick_score"]["mean"] == pytest.approx(entry["mean_diff"], abs=1e-6)
    assert found["metrics"]["pick_score"]["verdict"] == NOTHING_SHOWN


# --- forms ---------------------------------------------------------------------------------------

SAMPLE = Table(
    "A & B_1",
    ("name", "x ↑"),
    (
        cells("50%_#{}~^\\", "-1.5000"),
        (Cell("猫"), Cell("2.0000", is_best=True)),
        (Cell("a|b"), Cell("3", is_first=True)),
    ),
    rules=(2,),
    notes=("<n>",),
)


def test_text_columns_line_up_also_under_chinese_words() -> None:
    lines = as_text(SAMPLE).splitlines()
    assert lines[0] == "A & B_1"
    assert lines[4] == "猫" + 10 * " " + "**2.0000**"
    assert width(lines[4]) == width(lines[2]) == width(lines[5])


def test_latex_escapes_what_is_special_and_balances() -> None:
    text = rendered([SAMPLE], "latex", alone=True)
    assert r"50\%\_\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{} & $-$1.5000 \\" in text
    assert r"\textbf{2.0000}" in text and r"\underline{3}" in text and r"x $\uparrow$" in text
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert re.findall(r"\\begin\{(\w+)", text) == re.findall(r"\\end\{(\w+)", text)[::-1]
    assert text.startswith(r"\documentclass[UTF8]{ctexart}")  # a Chinese name needs its class
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert all(len(re.findall(r"(?<!\\)&", line)) == 1 for line in rows) and len(rows) == 4


def test_latex_without_chinese_is_a_plain_article_with_booktabs() -> None:
    text = rendered(tables([thesis("glp")], "thesis"), "latex", alone=True)
    assert text.startswith(r"\documentclass{article}") and r"\usepackage{booktabs}" in text
    assert text.count(r"\begin{tabular}") == 3 and text.isascii()
    assert not as_latex(SAMPLE).startswith(r"\documentclass")
    assert tex("a-b [-1, 2]") == "a-b [$-$1, 2]"


def test_latex_scales_what_is_wider_than_the_page() -> None:
    narrow, wide = as_latex(SAMPLE), as_latex(Table("", ("x" * 40, "y" * 40), (cells("1", "2"),)))
    assert "resizebox" not in narrow
    assert (
        wide.index(r"\resizebox{\textwidth}{!}{%") < wide.index(r"\begin{tabular}")
        and r"\end{tabular}}" in wide
    )


def test_markdown_keeps_cells_apart() -> None:
    lines = as_markdown(SAMPLE).splitlines()
    assert lines[3] == "| :-- | --: |"
    assert lines[6] == r"| a\|b | <u>3</u> |"


def test_csv_reads_back() -> None:
    assert list(csv.reader(io.StringIO(as_csv(SAMPLE))))[1] == ["50%_#{}~^\\", "-1.5000"]


def test_csv_gives_a_spreadsheet_no_formula_and_leaves_numbers_alone() -> None:
    table = Table(
        "",
        ("method", "=1+1"),
        (cells("-2+cmd", "-0.5000"), cells("@x", "+1.2e-05"), cells("-1", "[-0.1, 2]")),
    )
    assert list(csv.reader(io.StringIO(as_csv(table)))) == [
        ["method", "'=1+1"], ["'-2+cmd", "-0.5000"], ["'@x", "+1.2e-05"], ["-1", "[-0.1, 2]"],
    ]  # fmt: skip


def test_html_escapes() -> None:
    text = as_html(Table("t", ("<a>",), (cells("<script>"),)))
    assert "<script>" not in text and "&lt;script&gt;" in text


def test_numbers_too_small_for_four_decimals_keep_three_digits() -> None:
    assert [figure(value) for value in (0.00038412, -0.00012, 0.0, 0.001, 12.3456789)] == [
        "0.000384",
        "-0.00012",
        "0.0000",
        "0.0010",
        "12.3457",
    ]
    assert [figure(value, sign=True) for value in (0.5, -0.0001)] == ["+0.5000", "-0.0001"]
    assert (figure(None), figure(float("nan"))) == ("", "undefined")


def test_what_a_metric_remarks_is_said_once_for_all_videos() -> None:
    rows = [
        Row(f"v{i}", "0", {"ff_alpha": Number(0.0, (), {"note": f"{i} pairs count 0"})}) for i in range(3)
    ]
    assert list(remarks(rows)) == ["ff_alpha (3 of 3 videos): 0 pairs count 0."]
    assert list(remarks(rows[2:])) == ["ff_alpha: 2 pairs count 0."]


# --- what may be compared ------------------------------------------------------------------------


def scored(
    name: str,
    key: str,
    values: list[float],
    *,
    options: dict[str, Any] | None = None,
    sha: str = "",
    version: int = 1,
    **facts: Any,
) -> Results:
    """A report of one real metric, with options and, where a hash is given, the weights of its network."""
    known = catalogue()[key]
    provenance = {"weights": ["net"]} if sha else {}
    rows = [
        Row(f"v{place}", "0", {key: Number(value, (), {}, provenance)}, facts=facts)
        for place, value in enumerate(values)
    ]
    weights = {"weights": {"net": {"sha256": sha}}} if sha else {}
    return Results(
        name,
        "v2vbench",
        tuple(rows),
        {key: replace(known, version=version)},
        {**asdict(Options()), **(options or {})},
        weights,
    )


SIX = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("key", "other", "said"),
    [
        ("bg_psnr", {"options": {"bg_norm": "full"}}, "--bg-norm is background in a, full in b (bg_psnr)"),
        ("bg_mae", {"options": {"mask_dilate": 3}}, "--mask-dilate is 0 in a, 3 in b"),
        ("warp_error", {"options": {"flow": "tvl1"}}, "--flow is gmflow in a, tvl1 in b"),
        ("dover_score", {"options": {"dover_antialias": True}}, "--dover-antialias is False in a, True in b"),
        ("dino_consistency", {"options": {"dino": "dino-vitb16"}}, "--dino is None in a, dino-vitb16 in b"),
        ("psnr", {"version": 2}, "its version is 1 in a, 2 in b"),
        ("pick_score", {"sha": "b" * 64}, "the hash of net is aaaaaaaaaaaa in a, bbbbbbbbbbbb in b"),
        ("pick_score", {"sha": "a" * 64, "options": {"dtype": "bf16"}}, "--dtype is fp32 in a, bf16 in b"),
    ],
)
def test_reports_that_were_made_differently_are_refused_with_what_differs(
    key: str, other: dict[str, Any], said: str
) -> None:
    sha = {"sha": "a" * 64} if key == "pick_score" else {}
    a, b = scored("a", key, SIX, **sha), scored("b", key, [value + 1 for value in SIX], **other)
    for refused in (lambda: compare(a, b), lambda: tables([a, b], "wide")):
        with pytest.raises(UsageError, match=re.escape(said)) as caught:
            refused()
        assert "--force" in caught.value.next_step
    assert said in comparison_notes(compare(a, b, force=True))[0]
    assert any(said in note for note in tables([a, b], "wide", force=True)[-1].notes)


def test_options_that_change_no_shown_number_are_let_pass() -> None:
    a = scored(
        "a",
        "psnr",
        SIX,
        options={"bg_norm": "full", "dino": "dinov2", "batch": 1, "device": "cpu", "dtype": "bf16"},
    )
    assert compare(a, scored("b", "psnr", SIX)).forced == ()
    assert tables(
        [scored("a", "bg_psnr", SIX, options={"bg_norm": "full"}), scored("b", "psnr", SIX)], "wide"
    )  # in one report only
    assert not compare(
        scored("a", "warp_error", SIX, options={"flow": "gmflow"}), scored("b", "warp_error", SIX)
    ).forced


def test_reports_without_a_common_metric_or_number_are_refused() -> None:
    with pytest.raises(InputError, match="no metric in common"):
        compare(report("a", {"psnr": SIX}), report("b", {"ssim": SIX}))
    with pytest.raises(InputError, match="no number in common"):
        compare(report("a", {"psnr": [float("nan")] * 6}), report("b", {"psnr": SIX}))


def test_a_steady_difference_below_the_rounding_gets_no_verdict() -> None:
    tiny, large = ([value + shift for value in SIX] for shift in (5e-5, 5e-3))
    (line,) = compare(scored("a", "psnr", tiny * 2), scored("b", "psnr", SIX * 2)).lines
    assert line.verdict == NOTHING_SHOWN and line.paired.ties == 12
    found = compare(scored("a", "psnr", tiny * 2), scored("b", "psnr", SIX * 2))
    assert any("own rounding" in note for note in comparison_notes(found))
    assert not any(
        cell.is_best for cell in marked([scored("a", "psnr", tiny * 2), scored("b", "psnr", SIX * 2)], "psnr")
    )
    (line,) = compare(scored("a", "psnr", large * 2), scored("b", "psnr", SIX * 2)).lines
    assert line.verdict == "a"


def test_edits_of_one_video_are_one_in_a_comparison() -> None:
    a, b = (
        scored(name, "psnr", values) for name, values in (("a", [value + 1 for value in SIX]), ("b", SIX))
    )
    a, b = (
        replace(
            one,
            rows=tuple(
                replace(row, video_id="cat", edit_id=str(place)) for place, row in enumerate(one.rows)
            ),
        )
        for one in (a, b)
    )
    (line,) = compare(a, b).lines
    assert line.verdict == NOTHING_SHOWN and (line.paired.n, line.paired.videos, line.paired.interval) == (
        6,
        1,
        None,
    )
    assert any("not independent" in note for note in comparison_notes(compare(a, b)))
    assert texts(comparison_table(compare(a, b)))[0][5] == "6 of 1 videos"


def test_videos_of_one_source_are_told() -> None:
    (said,) = [
        note for note in suite_table(scored("a", "psnr", SIX, source="cat.mp4")).notes if "one source" in note
    ]
    assert (
        said
        == "a: v0, v1, v2, v3, v4, v5 are edits of one source, cat.mp4, but count as videos of their own."
    )
    assert not any("one source" in note for note in suite_table(scored("a", "psnr", SIX)).notes)


def test_a_damaged_clip_is_in_no_mean_and_no_pair_and_is_named() -> None:
    whole = scored("a", "psnr", SIX)
    first, *rest = whole.rows
    hurt = replace(whole, rows=(replace(first, facts={"damage": "3 frames could be read"}), *rest))
    assert (hurt.summary("psnr").mean, hurt.summary("psnr").n, hurt.summary("psnr").n_failed) == (4.0, 5, 1)
    found = compare(hurt, scored("b", "psnr", SIX))
    assert found.lines[0].paired.n == 5 and "Damaged and left out of a: v0." in comparison_notes(found)
    assert (
        "Damaged and left out of a: v0." in suite_table(hurt).notes
        and "Damaged and left out of a: v0." in tables([hurt], "wide")[-1].notes
    )
    assert summary_csv(hurt).splitlines()[1] == "a,6,4.0,5"
    alone = replace(whole, rows=(replace(first, facts={"damage": "3 frames could be read"}),))
    assert alone.summary("psnr").mean == 1.0  # shown, beside its flag


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfvideo_id,edit_id,psnr\r\nv0,0,1.5\r\nv1,0,2\r\n",
        b"video_id;edit_id;psnr\nv0;0;1,5\nv1;0;2\n",
        b"video_id, psnr\nv0, 1.5\nv1, 2\n\n",
        b"\xef\xbb\xbfpsnr;video_id\r\n1,5;v0\r\n2;v1\r\n",
    ],
)
def test_csv_as_spreadsheets_write_it_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert [(row.id, row.numbers["psnr"].value) for row in read_results(str(path)).rows] == [
        (("v0", "0"), 1.5),
        (("v1", "0"), 2.0),
    ]


def test_an_edit_that_stands_twice_in_a_report_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("video_id,edit_id,psnr\nv0,1,1\nv1,0,2\nv0,1,3\n")
    with pytest.raises(InputError, match=r"edit 1 of video v0 stands in it twice"):
        read_results(str(path))
    twice = to_json(scored("a", "psnr", SIX))
    twice["videos"].append(twice["videos"][0])
    (tmp_path / "a.json").write_text(json.dumps(twice))
    with pytest.raises(InputError, match="edit 0 of video v0 stands in it twice"):
        read_results(str(tmp_path / "a.json"))


def test_a_picture_of_the_means_is_drawn_to_scale_and_names_every_method(tmp_path: Path) -> None:
    import xml.etree.ElementTree as ET

    paths = []
    for name, values in (("glp", [1, 2, 3, 4, 5]), ("<p2p> with a very long name", [5, 6, 7, 8, 9])):
        paths.append(tmp_path / f"{len(paths)}.json")
        paths[-1].write_text(json.dumps(to_json(report(name, {"psnr": values, "ssim": [0.5] * 5}))))
    out = tmp_path / "means.svg"
    line = ("score", "table", *paths, "--metrics", "psnr", "--svg", out)
    done = vedit(*line)
    assert done.code == 0, done.err
    assert "psnr" in done.text, "the tables are printed all the same"
    svg = ET.parse(out).getroot()
    texts = [one.text for one in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert "psnr ↑" in texts and "3.0000, n = 5" in texts and "7.0000, n = 5" in texts
    assert "<p2p> with a very…" in texts and not any("ssim" in str(text) for text in texts)
    paths_of = [one.attrib["d"] for one in svg.iter("{http://www.w3.org/2000/svg}path")]
    left, right = (float(d.split()[0][1:]) for d in paths_of)
    low, high = (float(text) for text in texts[texts.index("7.0000, n = 5") + 1 :][:2])
    at = [120 + 240 * (mean - low) / (high - low) for mean in (3, 7)]
    assert [left, right] == pytest.approx(at, abs=0.06)
    assert vedit(*line).code == 4 and vedit(*line, "-y").code == 0
    twice = vedit("score", "table", *paths, "--svg", out, "--html", out, "-y")
    assert twice.code == 2
