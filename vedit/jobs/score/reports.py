"""What is made of reports that lie on disk: comparisons, and tables."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from vedit.errors import UsageError, option
from vedit.jobs.score.agree import agree, agreement_json, agreement_table, read_labels
from vedit.jobs.score.blind import differences, drawn, read_choices, sheet_of
from vedit.jobs.score.check import Finding, check
from vedit.jobs.score.compare import Comparison, compare, comparison_json, comparison_table
from vedit.jobs.score.html import forest, forests_svg, page
from vedit.jobs.score.index import read_index, read_tags
from vedit.jobs.score.merge import by_seed, merge
from vedit.jobs.score.metrics import among
from vedit.jobs.score.plots import means_svg
from vedit.jobs.score.render import Table, as_html, rendered
from vedit.jobs.score.request import (
    AgreeRequest,
    BlindRequest,
    CheckRequest,
    CompareRequest,
    MergeRequest,
    TableRequest,
)
from vedit.jobs.score.results import Results, finite, read_results, to_json
from vedit.jobs.score.several import compare_several, several_json, several_tables
from vedit.jobs.score.tables import chosen, distinct, headed, tables
from vedit.media.atomic import check_output, open_output, refuse_twice


def compare_reports(request: CompareRequest) -> str:
    """Compare reports and write the forms that are asked for; gives the tables for people.

    Raises UsageError and InputError as `compare` does, OutputError for outputs that may not be written.
    """
    if len(request.reports) < 2:
        raise UsageError("a comparison takes two reports or more.", "", "Name them: vedit score compare A B")
    request.check_outputs(request.reports)
    reports = distinct([read_results(path) for path in request.reports])
    of_two = len(reports) == 2
    found, shown, body, pairs = _of_two(request, *reports) if of_two else _of_several(request, reports)
    request.write(
        {
            "json": lambda: json.dumps(finite(found), indent=1, ensure_ascii=False) + "\n",
            "csv": lambda: rendered(shown, "csv"),
            "md": lambda: rendered(shown, "md"),
            "latex": lambda: rendered(shown, "latex", alone=request.standalone),
            "html": lambda: page(shown[0].title, body),
            "svg": lambda: forests_svg(pairs),
        }
    )
    return rendered(shown, "text")


# as JSON, as tables, as the body of a page, and its pairs
Found = tuple[dict[str, Any], list[Table], str, Sequence[Comparison]]


def _of_two(request: CompareRequest, one: Results, other: Results) -> Found:
    keys = None
    if request.metrics:
        where = "the two reports have not both this metric"
        keys = among(request.metrics, [key for key in one.keys if key in other.metrics], where)
    found = compare(one, other, keys, force=request.force, seed=request.seed)
    body = forest(found) + as_html(comparison_table(found, verdict_first=True))
    return comparison_json(found), [comparison_table(found)], body, [found]


def _of_several(request: CompareRequest, reports: Sequence[Results]) -> Found:
    found = compare_several(reports, request.metrics, force=request.force, seed=request.seed)
    shown = several_tables(found)
    parts = [as_html(shown[0]), *(forest(pair) for pair in found.pairs), as_html(shown[1])]
    return several_json(found), shown, "\n".join(parts), found.pairs


def lay_out(request: TableRequest) -> None:
    """Write reports as tables, and as a page where one is asked for.

    Raises InputError for a report that cannot be read, UsageError for what it cannot show, OutputError for
    the outputs.
    """
    outputs = [] if request.html_file == "-" and not request.output else [request.output or "-"]
    pages = [request.html_file] if request.html_file else []
    plots = [request.svg_file] if request.svg_file else []
    named = (("output", outputs), ("html_file", pages), ("svg_file", plots))
    refuse_twice([(option(name), path) for name, paths in named for path in paths])
    for path in (*outputs, *pages, *plots):
        check_output(path, request.reports, True if request.overwrite else None)
    reports = [read_results(path) for path in request.reports]
    found = tables(
        reports,
        request.layout,
        lang=request.lang,
        column_from=request.column_from,
        metrics=request.metrics,
        only=request.only,
        tags=read_tags(request.tags) if request.tags else None,
        transpose=request.transpose,
        force=request.force,
    )
    for path in outputs:
        _write(path, rendered(found, request.form, alone=request.standalone))
    if request.svg_file:
        _write(request.svg_file, means_svg(headed(chosen(reports, request.metrics), request.column_from)))
    for path in pages:
        heading = "Scores of " + ", ".join(report.name for report in distinct(reports))
        _write(path, page(heading, "\n".join(as_html(table) for table in found)))


def merge_reports(request: MergeRequest) -> None:
    """Write one report of several. Raises UsageError, InputError and OutputError."""
    output = request.output or "-"
    check_output(output, request.reports, True if request.overwrite else None)
    reports = [read_results(path) for path in request.reports]
    if request.seeds:
        reports = by_seed(reports)
    whole = merge(reports, request.name, force=request.force)
    _write(output, json.dumps(to_json(whole), indent=1, ensure_ascii=False) + "\n")


def check_reports(request: CheckRequest) -> tuple[list[Results], list[Finding]]:
    """The reports under names of their own, and what is wrong with them. Raises InputError."""
    reports = distinct([read_results(path) for path in request.reports])
    wanted = (
        [(item.video_id, item.edit_id) for item in read_index(request.index, ".")] if request.index else None
    )
    return reports, check(reports, wanted)


def agree_with(request: AgreeRequest) -> str:
    """Hold reports against people's judgement and write the forms that are asked for; gives the table.

    Raises UsageError, InputError and OutputError.
    """
    if (request.labels is None) == (not request.answers):
        raise UsageError(
            "metrics are held against labels, or against answers to a blind sheet.",
            "",
            f"Name one of {option('labels', 'FILE.csv')} and {option('answers', 'FILE.json')}",
        )
    if bool(request.answers) != (request.key is not None):
        raise UsageError(f"{option('answers')} and {option('key')} belong together.")
    request.check_outputs([*request.reports, *request.answers])
    reports = distinct([read_results(path) for path in request.reports])
    if request.labels is not None:
        judged, against = read_labels(request.labels), reports
    else:
        assert request.key is not None
        choices = read_choices(request.key, request.answers)
        apart, judged = differences({report.name: report for report in reports}, choices)
        against = [apart]
    lines = agree(against, judged, request.metrics, seed=request.seed)
    shown = [agreement_table(lines, reports, is_of_choices=bool(request.answers))]
    request.write(
        {
            "json": lambda: json.dumps(finite(agreement_json(lines)), indent=1, ensure_ascii=False) + "\n",
            "csv": lambda: rendered(shown, "csv"),
            "md": lambda: rendered(shown, "md"),
            "latex": lambda: rendered(shown, "latex", alone=request.standalone),
            "html": lambda: page(shown[0].title, as_html(shown[0])),
        }
    )
    return rendered(shown, "text")


def blind_sheet(request: BlindRequest) -> tuple[str, str, int]:
    """Write a blind sheet and its key; gives both names, and how many pairs it has.

    Raises UsageError, InputError and OutputError.
    """
    if len(request.reports) != 2:
        raise UsageError(f"a blind sheet is of two reports, and {len(request.reports)} were named.")
    key = request.key or os.path.splitext(request.output)[0] + ".key.json"
    refuse_twice([(option("output"), request.output), (option("key"), key)])
    for path in (request.output, key):
        check_output(path, request.reports, True if request.overwrite else None)
    one, other = distinct([read_results(path) for path in request.reports])
    shown = drawn(one, other, seed=request.seed, limit=request.limit)
    made, answers = sheet_of(shown)
    _write(request.output, made)
    _write(key, json.dumps(answers, indent=1, ensure_ascii=False) + "\n")
    return request.output, key, len(shown)


def _write(path: str, text: str) -> None:
    with open_output(path) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))
