"""What `vedit score` prints: a table of one video's numbers, or of a suite's metrics."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from vedit.jobs.score.compare import damage_notes, interval_text, source_notes
from vedit.jobs.score.metrics import Fact
from vedit.jobs.score.render import Table, cells, figure
from vedit.jobs.score.results import Results, Row, summary_of, videos_of
from vedit.jobs.score.statistics import LEAST
from vedit.jobs.score.weights import other_weights_notes

DIRECTION = {True: "higher is better", False: "lower is better"}


def report_table(results: Results) -> Table:
    """The table of a report, with notes on what was skipped, flagged or failed."""
    single = len(results.rows) == 1
    table = video_table(results) if single else suite_table(results)
    return Table(
        table.title, table.head, table.rows, table.left, table.rules, (*table.notes, *notes(results))
    )


def video_table(results: Results) -> Table:
    """One video: a line per number, beside that of the unchanged source where it was asked for."""
    (row,) = results.rows
    others = list(results.baselines.items())
    head = ("metric", "value", *(name for name, _ in others), "better", "usual range", "unit")
    lines = []
    for key in results.keys:
        fact = results.metrics[key].value
        baselines = (number_text(rows[0], key) for _, rows in others)
        lines.append(
            cells(
                key,
                number_text(row, key),
                *baselines,
                "higher" if fact.higher_is_better else "lower",
                fact.usual,
                fact.unit,
            )
        )
    return Table(title(results), head, tuple(lines))


def suite_table(results: Results) -> Table:
    """A suite: a line per metric with its spread over the videos."""
    head = ("metric", "mean", "95% interval", "median", "deviation", "n", "failed", "better", "usual range")
    lines = []
    for key in results.keys:
        fact, found = results.metrics[key].value, results.summary(key)
        interval = "" if found.n == 0 else interval_text(found.interval)
        spread = [figure(value) for value in (found.mean, found.median, found.deviation)]
        counts = (str(found.n), str(found.n_failed) if found.n_failed else "")
        lines.append(
            cells(
                key,
                spread[0],
                interval,
                spread[1],
                spread[2],
                *counts,
                "higher" if fact.higher_is_better else "lower",
                fact.usual,
            )
        )
        for name, rows in results.baselines.items():
            of_it = summary_of(rows, key, results.seed)
            lines.append(
                cells(
                    f"  {name}",
                    figure(of_it.mean),
                    "",
                    figure(of_it.median),
                    figure(of_it.deviation),
                    str(of_it.n),
                    "",
                    "",
                    "",
                )
            )
    videos = len(set(videos_of(results.rows)))
    said = [f"Fewer than {LEAST} videos carry no interval."] if videos < LEAST else []
    if videos < len(results.rows):
        said.append(
            f"The {len(results.rows)} edits are of {videos} videos; intervals resample videos with all their"
            " edits."
        )
    return Table(
        title(results), head, tuple(lines), notes=(*damage_notes(results), *source_notes(results), *said)
    )


def rows_table(results: Results) -> Table:
    """One line per video, a column per metric."""
    head = ("video", *(f"{key} {results.metrics[key].arrow}" for key in results.keys))
    rows = [cells(row.label, *(number_text(row, key) for key in results.keys)) for row in results.rows]
    return Table("", head, tuple(rows))


def title(results: Results) -> str:
    if len(results.rows) > 1:
        return f"{results.name}: {len(results.rows)} edited videos, profile {results.profile}"
    facts = results.rows[0].facts
    size = f": {facts['frames']} frames of {facts['width']}x{facts['height']}" if "frames" in facts else ""
    against = f", against {facts['source']}" if facts.get("source") else ""
    return f"{facts.get('edited', results.rows[0].label)}{size}{against}, profile {results.profile}"


def number_text(row: Row, key: str) -> str:
    number = row.numbers.get(key)
    return "" if number is None else figure(number.value)


def notes(results: Results) -> list[str]:
    """What the numbers do not say: skipped metrics with their reason, flags, failures."""
    said = [*other_weights_notes([results]), *skipped_notes(results.rows), *remarks(results.rows)]
    for row in results.rows:
        said += [f"{row.label}: {flag}" for flag in row.flags]
    said += [f"{label}: not scored: {why}" for label, why in failures(results.rows)]
    return said


def skipped_notes(rows: Sequence[Row]) -> Iterable[str]:
    """One sentence per reason, with the metrics it holds for; in a suite with the number of videos."""
    reasons: dict[str, dict[str, int]] = {}
    for row in rows:
        for key, why in row.skipped.items():
            reasons.setdefault(why, {}).setdefault(key, 0)
            reasons[why][key] += 1
    for why, keys in reasons.items():
        videos = max(keys.values())
        where = f" ({videos} of {len(rows)} videos)" if len(rows) > 1 and videos < len(rows) else ""
        names = list(keys) if len(keys) <= 4 else [*list(keys)[:3], f"and {len(keys) - 3} more"]
        yield f"Skipped{where}: {', '.join(names)}: {why}."


def remarks(rows: Sequence[Row]) -> Iterable[str]:
    """What metrics say about their numbers; one sentence per metric, the first video's."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for key, number in row.numbers.items():
            for word in ("note", "warning"):
                if number.extra.get(word):
                    found.setdefault(key, []).append(str(number.extra[word]))
    for key, said in found.items():
        yield f"{key}{f' ({len(said)} of {len(rows)} videos)' if len(rows) > 1 else ''}: {said[0]}."


def failures(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Each failed video with its reason; once where all its metrics failed alike."""
    found = []
    for row in rows:
        reasons: dict[str, list[str]] = {}
        for key, why in row.failed.items():
            reasons.setdefault(why, []).append(key)
        for why, keys in reasons.items():
            found.append((row.label, why if len(keys) > 3 else f"{', '.join(keys)}: {why}"))
    return found


def explained(facts: Iterable[Fact], columns: int = 96) -> str:
    """What each number says, its direction and its usual range, in words."""
    lines = []
    for fact in facts:
        value = fact.value
        usual = f", usually {value.usual}" if value.usual else ""
        lines.append(
            f"{value.key}:"
            f" {DIRECTION[value.higher_is_better]}{usual}{f' ({value.unit})' if value.unit else ''}"
        )
        also = f" Also called: {', '.join(value.aliases)}." if value.aliases else ""
        lines += textwrap.wrap(
            value.explanation + also, columns, initial_indent="    ", subsequent_indent="    "
        )
    return "\n".join(lines)
