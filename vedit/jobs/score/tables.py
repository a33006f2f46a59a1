"""Tables of one or several reports: the thesis' layout, V2VBench's, and one wide table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from vedit.errors import InputError, UsageError, option
from vedit.jobs.score.compare import check_alike, damage_notes, interval_text, pair_rows, paired_values
from vedit.jobs.score.metrics import among
from vedit.jobs.score.render import Cell, Table, cells, figure, transposed
from vedit.jobs.score.results import Results, Row
from vedit.jobs.score.statistics import excludes_zero, paired
from vedit.jobs.score.weights import other_weights_notes


class Group(NamedTuple):
    """A group of the thesis' tables, in its order: names in English and Chinese, of its own table and of
    table 4-1.
    """

    name: dict[str, str]
    in_comparison: dict[str, str]
    columns: tuple[tuple[str, str], ...]


GROUPS = (
    Group(
        {"en": "semantic consistency", "zh": "语义一致性"},
        {"en": "semantic consistency", "zh": "语义一致性"},
        (
            ("pick_score", "Pick Score"),
            ("viclip_text_alignment", "ViCLIP Text Alignment"),
            ("clip_text_alignment", "CLIP Text Alignment"),
        ),
    ),
    Group(
        {"en": "temporal consistency", "zh": "时序一致性"},
        {"en": "temporal consistency", "zh": "时序一致性"},
        (
            ("motion_alignment", "Motion Alignment"),
            ("clip_consistency", "CLIP Consistency"),
            ("dino_consistency", "DINO Consistency"),
        ),
    ),
    Group(
        {"en": "video quality", "zh": "视频质量"},
        {"en": "generation quality", "zh": "生成质量"},
        (("aesthetic_score", "Aesthetic Score"), ("dover_score", "Dover Score")),
    ),
)
WORDS = {
    "en": {
        "video": "Video",
        "average": "Average",
        "group": "Group",
        "metric": "Metric",
        "method": "Method",
        "against": "Comparison of {names}",
    },
    "zh": {
        "video": "视频",
        "average": "平均",
        "group": "类别",
        "metric": "指标",
        "method": "方法",
        "against": "{names}编辑效果对比",
    },
}
EXCHANGED = {
    "en": (
        "The printed thesis has the headings Pick Score and ViCLIP Text Alignment exchanged; here every value"
        " stands under its own name."
    ),
    "zh": (
        "论文原表中 Pick Score 与 ViCLIP Text Alignment 两个表头互换了位置;"
        "此处每个数值都列在其本来的名称之下。"
    ),
}
PRINTED = {  # titles of the tables that the thesis has for one method
    "en": {"4-2": "Effect of rewritten prompts", "4-3": "Prompt-to-Prompt under several values"},
    "zh": {"4-2": "LLM-edit编辑效果", "4-3": "P2P不同 Values对比"},
}
MARKS = {
    "en": (
        "Bold: best mean, and the 95% interval of the paired difference to the runner-up excludes 0."
        " Underlined: best mean alone."
    ),
    "zh": "粗体:均值最优,且与次优方法的配对差的 95% 区间不含 0。下划线:仅均值最优。",
}
V2VBENCH = (
    ("aesthetic_score", "Frames Quality"),
    ("clip_consistency", "Semantic Consistency"),
    ("dino_consistency", "Object Consistency"),
    ("dover_score", "Video Quality"),
    ("clip_text_alignment", "Frames Text Alignment"),
    ("pick_score", "Frames Pick Score"),
    ("viclip_text_alignment", "Video Text Alignment"),
    ("motion_alignment", "Motion Alignment"),
)
PRINTED_NUMBERS = ("4-1", "4-2", "4-3")
COST = (("method_peak_memory", "Peak Memory (MiB)"), ("method_seconds", "Runtime (s)"))


def tables(
    reports: Sequence[Results],
    layout: str,
    *,
    lang: str = "en",
    column_from: str | None = None,
    metrics: str | None = None,
    only: str | None = None,
    tags: Mapping[str, Sequence[str]] | None = None,
    transpose: bool = False,
    force: bool = False,
) -> list[Table]:
    """The tables of a layout.

    column_from: a preset key whose value heads each column instead of the method's name. metrics: a list as
    `among` reads it; all that the reports hold by default. only: "videos" or "comparison" of the thesis'
    tables. tags: of videos by their ids; a table for each tag follows that of all videos. transpose: rows
    become columns. Raises UsageError and InputError.
    """
    if only and layout != "thesis":
        raise UsageError(
            f"{option('only', only)} is for the thesis' tables.",
            f"{option('layout', layout)} has one table, of methods.",
            f"Say {option('layout', 'thesis')}, or leave it out",
        )
    if tags and layout not in ("wide", "v2vbench"):
        raise UsageError(
            f"{option('tags')} has a table of methods for each tag, and {option('layout', layout)} has not.",
            "",
            f"Say {option('layout', 'wide')} or {option('layout', 'v2vbench')}",
        )
    reports = chosen(reports, metrics)
    differing = check_alike(reports, force, _shared(reports))
    reports = headed(reports, column_from)
    notes = _said(reports, differing)
    if layout == "thesis":
        made = thesis_tables(reports, lang, only)
    elif layout in PRINTED_NUMBERS:
        made = [printed_table(reports, layout, lang, is_headed=bool(column_from))]
    else:
        of_methods = v2vbench_table if layout == "v2vbench" else wide_table
        groups = tagged(reports, tags) if tags else {}
        made = [of_methods(reports), *(_titled(of_methods(of), tag) for tag, of in groups.items())]
    made = [*made[:-1], replace(made[-1], notes=(*made[-1].notes, *notes))]
    return [transposed(table) for table in made] if transpose else made


def chosen(reports: Sequence[Results], metrics: str | None) -> list[Results]:
    """The reports with the metrics of a list alone. Raises UsageError."""
    if not metrics:
        return list(reports)
    keys = among(metrics, dict.fromkeys(key for report in reports for key in report.keys), "the reports")
    return [_with_metrics(report, keys) for report in reports]


def headed(reports: Sequence[Results], column_from: str | None) -> list[Results]:
    """The reports under the names that head their columns. Raises UsageError, InputError."""
    return distinct([renamed(report, column_from) for report in reports] if column_from else reports)


def tagged(reports: Sequence[Results], tags: Mapping[str, Sequence[str]]) -> dict[str, list[Results]]:
    """The reports with the videos of each tag alone, tags in the order of their names; those whose videos
    are not in the reports are left out. A video with several tags is in several groups.
    """
    there = {row.video_id for report in reports for row in report.rows}
    names = sorted({tag for video, own in tags.items() if video in there for tag in own})
    return {
        tag: [
            replace(report, rows=tuple(row for row in report.rows if tag in tags.get(row.video_id, ())))
            for report in reports
        ]
        for tag in names
    }


def _titled(table: Table, title: str) -> Table:
    return replace(table, title=title)


def _with_metrics(report: Results, keys: Sequence[str]) -> Results:
    return replace(report, metrics={key: fact for key, fact in report.metrics.items() if key in keys})


def _shared(reports: Sequence[Results]) -> list[str]:
    """The metrics that two reports or more have, so that their numbers stand beside each other."""
    return [
        key
        for key in dict.fromkeys(key for report in reports for key in report.keys)
        if sum(key in report.metrics for report in reports) > 1
    ]


def _said(reports: Sequence[Results], differing: Sequence[str]) -> list[str]:
    """What a table must say of its reports: what --force let pass, and damaged clips."""
    forced = (
        [f"Not computed alike, put together by {option('force')}: {'; '.join(differing)}."]
        if differing
        else []
    )
    return [*forced, *(note for report in reports for note in damage_notes(report))]


def _of_weights(reports: Sequence[Results], keys: Sequence[str]) -> list[str]:
    """What a table of these metrics must say of their weights."""
    return other_weights_notes([_with_metrics(report, keys) for report in reports])


def distinct(reports: Sequence[Results]) -> list[Results]:
    """Reports whose names differ: the second `p2p` becomes `p2p (2)`."""
    seen: dict[str, int] = {}
    found = []
    for report in reports:
        seen[report.name] = count = seen.get(report.name, 0) + 1
        found.append(report if count == 1 else _named(report, f"{report.name} ({count})"))
    return found


def _named(report: Results, name: str) -> Results:
    return replace(report, name=name)


def renamed(report: Results, column_from: str) -> Results:
    """The report under `key=value`, the value being that of a preset key in its videos' run records."""
    key = column_from.removeprefix("preset:")
    values = {_told(_parameter(row, key)) for row in report.rows}
    if values == {"None"}:
        raise InputError(
            f"{report.name}: no run record of its videos has the parameter {key}.",
            "Run records are the *.vedit.json files beside the edited clips.",
        )
    if len(values) > 1:
        raise UsageError(
            f"{report.name}: {key} has several values: {', '.join(sorted(values))}.",
            "A column stands for one value; score each setting on its own.",
        )
    return _named(report, f"{key}={values.pop()}")


def _parameter(row: Row, key: str) -> Any:
    return (row.facts.get("run") or {}).get("params", {}).get(key)


def _told(value: Any) -> str:
    """A parameter's value in words; of a table by word, such as an equalizer, the numbers without the words,
    which differ from video to video.
    """
    if isinstance(value, Mapping):
        return ", ".join(dict.fromkeys(f"{item:g}" for item in value.values())) or "none"
    return str(value)


# --- the thesis ----------------------------------------------------------------------------------


def thesis_tables(reports: Sequence[Results], lang: str = "en", only: str | None = None) -> list[Table]:
    """Tables 3-1 to 3-3 for every method, and table 4-1 when there are several.

    A group none of whose metrics a report has is left out; a heading without values too. only: "videos" or
    "comparison".
    """
    if only == "comparison" and len(reports) < 2:
        raise UsageError(
            f"{option('only', only)} compares methods, and there is one report.",
            "",
            f"Name more reports, or say {option('only', 'videos')}",
        )
    found = [
        table
        for report in reports
        for group in GROUPS
        if (table := videos_table(report, group, lang)) is not None
    ]
    if not found:
        raise InputError(
            "the reports hold none of the thesis' eight metrics.",
            "Its tables show pick_score, viclip_text_alignment and six more, which need weights.",
            f"Try {option('layout', 'wide')}",
        )
    compared = [methods_table(reports, lang)] if len(reports) > 1 and only != "videos" else []
    return compared if only == "comparison" else [*found, *compared]


def printed_table(reports: Sequence[Results], number: str, lang: str, *, is_headed: bool = False) -> Table:
    """Table 4-1, 4-2 or 4-3 of the thesis, and no others.

    4-2 sets a method beside itself with rewritten prompts. 4-3 has the three metrics of semantic consistency
    under several values by which a word's attention is scaled; its columns are headed by that value where the
    run records have it, and by the reports' names where is_headed, or where they have not.
    """
    if len(reports) < 2 or (number == "4-2" and len(reports) > 2):
        wanted = (
            "two reports, without and with rewritten prompts" if number == "4-2" else "two reports or more"
        )
        raise UsageError(f"table {number} has {wanted}, and there are {len(reports)}.")
    if number == "4-3" and not is_headed and all(_scales(report) for report in reports):
        reports = distinct([_named(report, f"values={_scales(report)}") for report in reports])
    table = methods_table(reports, lang, GROUPS[:1] if number == "4-3" else GROUPS)
    if not table.rows:
        raise InputError(
            f"the reports hold none of the metrics of table {number}.",
            "They need weights; see: vedit score weights",
            f"Try {option('layout', 'wide')}",
        )
    return replace(table, title=PRINTED[lang].get(number, table.title))


def _scales(report: Results) -> str:
    """The one factor of the equalizers in a report's run records, "" where they have none or several."""
    found = {_told(_parameter(row, "equalizer") or {}) for row in report.rows}
    told = found.pop() if len(found) == 1 else ""
    return "" if told == "none" or ", " in told else told


def _notes(keys: Sequence[str], lang: str) -> tuple[str, ...]:
    return (EXCHANGED[lang],) if {"pick_score", "viclip_text_alignment"} & set(keys) else ()


def videos_table(report: Results, group: Group, lang: str) -> Table | None:
    """One report by video, in the columns of a group; None where it has none of them."""
    columns = [(key, heading) for key, heading in group.columns if key in report.metrics]
    if not columns:
        return None
    rows = [
        cells(row.label, *(_value(row, key) for key, _ in columns))
        for row in sorted(report.rows, key=lambda row: row.id)
    ]
    keys = [key for key, _ in columns]
    average = cells(WORDS[lang]["average"], *(_mean(report, key) for key, _ in columns))
    title = f"{report.name} {group.name[lang]}" if lang == "en" else f"{report.name}{group.name[lang]}"
    head = (WORDS[lang]["video"], *(heading for _, heading in columns))
    return Table(
        title,
        head,
        (*rows, average),
        rules=(len(rows),),
        notes=(*_notes(keys, lang), *_of_weights([report], keys)),
        across=WORDS[lang]["metric"],
    )


def methods_table(reports: Sequence[Results], lang: str, groups: Sequence[Group] = GROUPS) -> Table:
    """Table 4-1: a group column, a metric column, and one column per method."""
    rows: list[tuple[Cell, ...]] = []
    rules, keys = [], []
    for group in groups:
        columns = [
            (key, heading)
            for key, heading in group.columns
            if any(key in report.metrics for report in reports)
        ]
        if columns and rows:
            rules.append(len(rows))
        for place, (key, heading) in enumerate(columns):
            keys.append(key)
            name = group.in_comparison[lang] if place == 0 else ""
            rows.append((Cell(name), Cell(heading), *marked(reports, key)))
    words = WORDS[lang]
    names = [report.name for report in reports]
    title = words["against"].format(
        names=" and ".join([", ".join(names[:-1]), names[-1]]) if lang == "en" else "与".join(names)
    )
    return Table(
        title,
        (words["group"], words["metric"], *names),
        tuple(rows),
        left=2,
        rules=tuple(rules),
        notes=(*_notes(keys, lang), MARKS[lang], *_of_weights(reports, keys)),
        across=words["method"],
    )


def _value(row: Row, key: str) -> str:
    number = row.counted(key)
    return f"{number.value:.4f}" if number is not None and number.is_finite else "–"


def _mean(report: Results, key: str, digits: int | None = 4) -> str:
    """A mean with so many decimals; None leaves that to its size."""
    mean = report.summary(key).mean if key in report.metrics else None
    return "–" if mean is None else figure(mean) if digits is None else f"{mean:.{digits}f}"


# --- best of several -----------------------------------------------------------------------------


def marked(reports: Sequence[Results], key: str, digits: int | None = 4) -> list[Cell]:
    """The mean of each method; the best one bold when it beats the runner-up beyond chance, else underlined.

    Beyond chance: the bootstrap interval of the paired difference, over videos both have, excludes 0.
    Equal best means are not marked.
    """
    means = [report.summary(key).mean if key in report.metrics else None for report in reports]
    present = [place for place, mean in enumerate(means) if mean is not None]
    best, is_beyond_chance = _best(reports, key, means, present)
    return [
        Cell(
            _mean(report, key, digits),
            is_best=place == best and is_beyond_chance,
            is_first=place == best and not is_beyond_chance,
        )
        for place, report in enumerate(reports)
    ]


def _best(
    reports: Sequence[Results], key: str, means: Sequence[float | None], present: Sequence[int]
) -> tuple[int | None, bool]:
    if len(present) < 2:
        return None, False
    sign = 1 if reports[present[0]].metrics[key].value.higher_is_better else -1
    first, second = sorted(present, key=lambda place: -sign * (means[place] or 0.0))[:2]
    if means[first] == means[second]:
        return None, False
    pairs, _ = pair_rows(reports[first].rows, reports[second].rows)
    x, y, videos, _ = paired_values(pairs, key)
    if not x:
        return first, False
    result = paired(x, y, seed=reports[first].seed, videos=videos)
    return (
        first,
        excludes_zero(result.interval) and abs(result.mean) > reports[first].metrics[key].value.rounding,
    )


# --- one row per method --------------------------------------------------------------------------


def _marks(reports: Sequence[Results]) -> list[str]:
    return [MARKS["en"]] if len(reports) > 1 else []


def v2vbench_table(reports: Sequence[Results]) -> Table:
    """V2VBench's leaderboard form: survey names, three decimals, and what the method cost where that is
    known.
    """
    columns = [
        *V2VBENCH,
        *(entry for entry in COST if any(_mean(report, entry[0]) != "–" for report in reports)),
    ]
    if not any(key in report.metrics for key, _ in V2VBENCH for report in reports):
        raise InputError(
            "the reports hold none of V2VBench's eight metrics.",
            "They need weights; see: vedit score weights",
            f"Try {option('layout', 'wide')}",
        )
    by_column = [marked(reports, key, 3) for key, _ in columns]
    rows = [
        (Cell(report.name), *(column[place] for column in by_column)) for place, report in enumerate(reports)
    ]
    return Table(
        "",
        ("Method", *(heading for _, heading in columns)),
        tuple(rows),
        notes=(*_marks(reports), *_of_weights(reports, [key for key, _ in columns])),
        across="Metric",
    )


def wide_table(reports: Sequence[Results]) -> Table:
    """One row per method, a column per metric of any report with its direction; means, then intervals in a
    row below.
    """
    keys = list(dict.fromkeys(key for report in reports for key in report.keys))
    facts = {key: fact for report in reports for key, fact in report.metrics.items()}
    by_key = {key: marked(reports, key, None) for key in keys}
    rows: list[tuple[Cell, ...]] = []
    for place, report in enumerate(reports):
        rows.append((Cell(report.name), Cell(str(len(report.rows))), *(by_key[key][place] for key in keys)))
        intervals = [report.summary(key).interval if key in report.metrics else None for key in keys]
        if any(interval is not None for interval in intervals):
            rows.append(
                cells(
                    "  95% interval",
                    "",
                    *("" if interval is None else interval_text(interval) for interval in intervals),
                )
            )
    head = ("method", "videos", *(f"{key} {facts[key].arrow}" for key in keys))
    return Table(
        "", head, tuple(rows), notes=(*_marks(reports), *_of_weights(reports, keys)), across="metric"
    )
