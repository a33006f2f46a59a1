"""What is made of reports that lie on disk: a comparison of two, tables of many."""

from __future__ import annotations

import json

from vedit.jobs.score.compare import compare, comparison_json, comparison_table
from vedit.jobs.score.html import forest, page
from vedit.jobs.score.render import as_html, rendered
from vedit.jobs.score.request import CompareRequest, TableRequest
from vedit.jobs.score.results import finite, read_results
from vedit.jobs.score.tables import distinct, tables
from vedit.media.atomic import check_output, open_output


def compare_reports(request: CompareRequest) -> str:
    """Compare two reports and write the forms that are asked for; gives the table for people.

    Raises UsageError and InputError as `compare` does, OutputError for outputs that may not be written.
    """
    request.check_outputs((request.a, request.b))
    one, other = distinct([read_results(request.a), read_results(request.b)])
    keys = request.metrics.split(",") if request.metrics else None
    found = compare(one, other, keys, force=request.force, seed=request.seed)
    table = comparison_table(found)
    request.write(
        {
            "json": lambda: json.dumps(finite(comparison_json(found)), indent=1, ensure_ascii=False) + "\n",
            "csv": lambda: rendered([table], "csv"),
            "md": lambda: rendered([table], "md"),
            "latex": lambda: rendered([table], "latex", alone=request.standalone),
            "html": lambda: page(
                table.title, forest(found) + as_html(comparison_table(found, verdict_first=True))
            ),
        }
    )
    return rendered([table], "text")


def lay_out(request: TableRequest) -> None:
    """Write reports as tables.

    Raises InputError for a report that cannot be read, OutputError for the output.
    """
    output = request.output or "-"
    check_output(output, request.reports, True if request.overwrite else None)
    reports = [read_results(path) for path in request.reports]
    found = tables(
        reports, request.layout, lang=request.lang, column_from=request.column_from, force=request.force
    )
    with open_output(output) as stream:
        stream.write(
            rendered(found, request.form, alone=request.standalone).encode("utf-8", "backslashreplace")
        )
