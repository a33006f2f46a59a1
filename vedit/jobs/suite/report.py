"""What a suite writes at its end: tables in every form, comparisons, a page, the check against the printed
numbers, and the lock.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit import __version__
from vedit.documents import Kind, read_toml
from vedit.errors import VeditError
from vedit.jobs.score.compare import compare, comparison_table
from vedit.jobs.score.html import forest, page
from vedit.jobs.score.render import RENDERERS, Table, as_html
from vedit.jobs.score.results import Results
from vedit.jobs.score.tables import GROUPS, Group, methods_table, v2vbench_table, videos_table
from vedit.media.atomic import open_output

if TYPE_CHECKING:
    from vedit.jobs.suite.request import SuiteRequest

FORMS = {"text": "txt", "md": "md", "latex": "tex", "csv": "csv"}
PRINTED = Path(__file__).with_name("thesis_tables.toml")
LOCK = Kind("the lock of a suite", next_step="Move it away to have it written anew")
HEAD = """# The printed tables beside ours

What may not be concluded from a difference here:

- The printed headings "Pick Score" and "ViCLIP Text Alignment" are interchanged in every table; below, each
  value stands under its own name.
- Motion alignment is a negated error: -2.6195 is worse than -1.9940.
- Prompts, seeds and library versions of the printed runs are not known, so no conclusion is drawn from
  absolute differences; what may be compared is which method is ahead.
"""


def write(
    out: str, suite: Mapping[str, Any], reports: Mapping[str, Results], clips: int, left_out: Sequence[str]
) -> list[str]:
    """Write tables, comparisons, report.html and thesis-check.md; gives the tables' names."""
    folder = os.path.join(out, "tables")
    os.makedirs(folder, exist_ok=True)
    made: dict[str, Table] = {}
    for entry in suite.get("table", []):
        made |= tables_of(entry, groups_of(suite), reports)
    made = {name: _with_n(table, reports, clips) for name, table in made.items()}
    body = []
    for name, table in made.items():
        _write_forms(os.path.join(folder, name), table)
        body.append(f'<h2 id="{name}">{name}</h2>{as_html(table)}')
    for entry in suite.get("compare", []):
        name, paired, drawn = comparison(entry["runs"], reports)
        if paired is not None:
            _write_forms(os.path.join(folder, name), paired)
            body.append(f'<h2 id="{name}">{name}</h2>{drawn}{as_html(paired)}')
            made[name] = paired
    if check := thesis_check(reports):
        _text(os.path.join(out, "thesis-check.md"), check)
    links = " ".join(f'<a href="#{name}">{name}</a>' for name in made)
    lost = "".join(f'<p class="flag">{_escaped(text)}</p>' for text in left_out)
    _text(
        os.path.join(out, "report.html"),
        page(str(suite.get("summary", "Suite")), f"<nav>{links}</nav>{lost}{''.join(body)}"),
    )
    return list(made)


def _escaped(text: str) -> str:
    import html

    return html.escape(text)


def groups_of(suite: Mapping[str, Any]) -> tuple[Group, ...]:
    """The suite's groups of columns, or the thesis'."""
    own = [
        Group(
            {"en": entry["name"], "zh": entry["name"]},
            {"en": entry["name"], "zh": entry["name"]},
            tuple((str(key), str(heading)) for key, heading in entry["columns"]),
        )
        for entry in suite.get("group", [])
    ]
    return tuple(own) or GROUPS


def tables_of(
    entry: Mapping[str, Any], groups: Sequence[Group], reports: Mapping[str, Results]
) -> dict[str, Table]:
    """The tables of an entry by their names: one by video for every run and group, or one of methods."""
    name = str(entry["id"])
    chosen = [group for group in groups if group.name["en"] in entry.get("groups", [group.name["en"]])]
    if "videos" in entry:
        found: dict[str, Table] = {}
        number = 0
        for label in entry["videos"]:
            for group in chosen:
                number += 1
                table = videos_table(reports[label], group, "en") if label in reports else None
                if table is not None:
                    found[f"{name}-{number}"] = table
        return found
    there = [reports[label] for label in entry.get("runs", []) if label in reports]
    if not there:
        return {}
    try:
        table = v2vbench_table(there) if name == "v2vbench" else methods_table(there, "en", chosen)
    except VeditError:
        return {}
    return {name: table} if table.rows else {}


def _with_n(table: Table, reports: Mapping[str, Results], clips: int) -> Table:
    """The table with the number of clips of each run."""
    counts = {label: len({row.video_id for row in report.rows}) for label, report in reports.items()}
    few = {label: count for label, count in counts.items() if label in _words(table)}
    told = ", ".join(f"{label} n = {count}" for label, count in (few or counts).items())
    return replace(table, notes=(*table.notes, f"Clips: {told} of {clips}."))


def _words(table: Table) -> str:
    return " ".join([table.title, *table.head, *(row[0].text for row in table.rows)])


def comparison(labels: Sequence[str], reports: Mapping[str, Results]) -> tuple[str, Table | None, str]:
    """Two runs paired by clip: the name, the table, and the forest plot."""
    name = "compare-" + "-".join(labels)
    if any(label not in reports for label in labels) or len(labels) != 2:
        return name, None, ""
    try:
        found = compare(reports[labels[0]], reports[labels[1]])
    except VeditError:
        return name, None, ""
    return name, comparison_table(found), forest(found)


def _write_forms(stem: str, table: Table) -> None:
    for form, ending in FORMS.items():
        _text(f"{stem}.{ending}", RENDERERS[form](table) + "\n")


# --- against the printed numbers -----------------------------------------------------------------


def thesis_check(reports: Mapping[str, Results]) -> str:
    """Our means beside those of tables 3-1 to 3-6, "" where no run has one of their numbers."""
    printed = tomllib.loads(PRINTED.read_text(encoding="utf-8"))
    lines = []
    for table in printed["table"]:
        label = table.get("method")
        if label not in reports:
            continue
        for place, key in enumerate(table["metric"]):
            if key in reports[label].metrics:
                summary = reports[label].summary(key)
                ours = "–" if summary.mean is None else f"{summary.mean:.4f}"
                theirs = table["recomputed"][place]
                lines.append(f"| {table['id']} | {label} | {key} | {theirs:.4f} | {ours} | {summary.n} |")
    if not lines:
        return ""
    head = [
        "| table | run | metric | printed mean | our mean | our n |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([HEAD, *head, *lines, ""])


# --- the lock ------------------------------------------------------------------------------------


def lock(
    out: str,
    request: SuiteRequest,
    suite: Mapping[str, Any],
    reports: Mapping[str, Results],
    prompts: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Write suite.lock.toml: models, weights, prompts; gives what differs from the one that was there."""
    path = os.path.join(out, "suite.lock.toml")
    now = facts(request, suite, reports, prompts)
    before = read_toml(path, LOCK) if os.path.exists(path) else None
    _text(path, as_toml(now))
    return [] if before is None else sorted(_differing(before, tomllib.loads(as_toml(now))))


def facts(
    request: SuiteRequest,
    suite: Mapping[str, Any],
    reports: Mapping[str, Results],
    prompts: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """What decides the numbers, in flat tables of texts."""
    found: dict[str, dict[str, Any]] = {"suite": {"name": request.suite, "vedit": __version__}}
    for label, report in reports.items():
        records = [row.facts.get("run") or {} for row in report.rows]
        models = sorted({json.dumps(record.get("model"), sort_keys=True) for record in records})
        params = sorted({json.dumps(record.get("params"), sort_keys=True) for record in records})
        found[f"run.{label}"] = {"models": models, "params": params}
        weights = report.provenance.get("weights", {})
        found["weights"] = {
            **found.get("weights", {}),
            **{name: str(about.get("sha256", "")) for name, about in weights.items()},
        }
    found["prompts"] = {f"{row['label']}/{row['video']}/{row['edit']}": row["prompt"] for row in prompts}
    return found


def as_toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Flat tables as TOML; JSON's texts and lists are TOML's too."""
    lines = ["# What decided the numbers of this suite; a later run says what differs."]
    for name, table in tables.items():
        lines += ["", "[" + ".".join(json.dumps(part) for part in name.split(".", 1)) + "]"]
        lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in sorted(table.items())]
    return "\n".join(lines) + "\n"


def _differing(before: Any, now: Any, where: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            text
            for key in sorted({*before, *now})
            for text in _differing(before.get(key), now.get(key), f"{where}.{key}" if where else key)
        ]
    if before == now:
        return []
    short = [str(value) if len(str(value)) < 80 else f"{str(value)[:77]}..." for value in (before, now)]
    return [f"{where} was {short[0]} and is {short[1]}"]


def _text(path: str, text: str) -> None:
    with open_output(path) as stream:
        stream.write(text.encode())
