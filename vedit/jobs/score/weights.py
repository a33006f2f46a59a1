"""The weight files of the metrics: what there is, what is here, and what is missing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from vedit import metrics
from vedit.errors import UsageError, nearest, option
from vedit.jobs.score.metrics import catalogue, choose, ordered
from vedit.jobs.score.results import Results
from vedit.metrics.base import towers_of
from vedit.metrics.towers.files import FILES, Found, WeightFile, WeightFinder
from vedit.metrics.types import Options
from vedit.options import declared_in


@dataclass(frozen=True)
class Entry:
    """One published file of a network.

    path: where it was found, or None. place: "folder" or "cache". sha256: only when it was asked
    for. is_published: None where the published hash is not known or was not compared.
    """

    tower: str
    repo: str
    file: str
    size_mb: float
    licence: str
    metrics: tuple[str, ...]
    path: str | None = None
    place: str | None = None
    sha256: str | None = None
    is_published: bool | None = None

    def json(self) -> dict[str, Any]:
        return asdict(self)


def list_weights(finder: WeightFinder, towers: Iterable[str], *, check: bool = False) -> list[Entry]:
    """The preferred file of each network, or the one that is here; `check` hashes what is here."""
    return [_entry(finder, tower, check) for tower in towers]


def _entry(finder: WeightFinder, tower: str, check: bool) -> Entry:
    found: Found | None = finder.look(tower)
    file: WeightFile = found.file if found else FILES[tower][0]
    users = tuple(metrics_of(tower))
    if found is None:
        return Entry(tower, file.repo, file.path, file.size_mb, file.licence, users)
    digest = finder.sha256(found.path) if check else None
    published = finder.is_published(found) if check else None
    return Entry(
        tower,
        file.repo,
        file.path,
        round(found.path.stat().st_size / 1e6, 1),
        file.licence,
        users,
        str(found.path),
        found.place,
        digest,
        published,
    )


def metrics_of(tower: str) -> list[str]:
    """The numbers that read a network, under any of the options that choose networks."""
    users = [
        key
        for key, fact in catalogue().items()
        if any(tower in names for names in _choices_of_towers(metrics.load(fact.metric)))
    ]
    return ordered(users)


def _choices_of_towers(module: ModuleType) -> list[tuple[str, ...]]:
    """The networks of a metric: by default, and with each word of each option that it has."""
    words = declared_in(Options)
    changes: list[dict[str, Any]] = [
        {key: word} for key in getattr(module, "OPTIONS", ()) for word in words[key].choices
    ]
    variants = [Options(), *(Options(**change) for change in changes)]
    return [towers_of(module, options) for options in variants]


def towers_for(word: str) -> list[str]:
    """The networks behind a network's own name, a metric or a group. Raises UsageError."""
    if word in FILES:
        return [word]
    try:
        choice = choose(word, "v2vbench")
    except UsageError:
        known = [*FILES, *catalogue(), "v2vbench", "all"]
        raise UsageError(
            f"there is no network, metric or group called {word!r}{nearest(word, known)}",
            f"Networks: {', '.join(FILES)}.",
        ) from None
    return list(
        dict.fromkeys(
            tower for name in choice.modules() for tower in towers_of(metrics.load(name), Options())
        )
    )


def fetch_weights(finder: WeightFinder, tower: str) -> str:
    """Download the weights of a network unless they are here; gives their path. Raises ModelError."""
    return str(finder.find(tower).path)


def weights_text(entries: list[Entry], finder: WeightFinder) -> str:
    """The list for people: a block per network."""
    lines = []
    for entry in entries:
        lines += [
            f"{entry.tower}: {entry.size_mb:g} MB, {state(entry)}",
            f"    {entry.path or f'{entry.repo}/{entry.file}'}",
        ]
        lines += [
            f"    licence: {entry.licence}",
            *textwrap.wrap(
                f"for {', '.join(entry.metrics)}", 92, initial_indent="    ", subsequent_indent="        "
            ),
        ]
    missing = [entry for entry in entries if entry.path is None]
    if missing:
        size = sum(entry.size_mb for entry in missing) / 1000
        lines += [
            "",
            (
                f"{len(missing)} of {len(entries)} are not here, {size:.1f} GB. Fetch them with: vedit score"
                " weights --fetch METRIC (or v2vbench, all)"
            ),
        ]
    where = f"{finder.folder}/OWNER/REPO/FILE, {finder.folder}/REPO/FILE, " if finder.folder else ""
    return "\n".join(
        [
            *lines,
            (
                f"Looked for in: {where}the Hub's cache, {finder.cache}/weights. Another folder:"
                f" {option('weights', 'DIR')}"
            ),
        ]
    )


def other_weights_notes(reports: Sequence[Results]) -> list[str]:
    """The numbers that come from weights which are not the published ones, in sentences."""
    networks: dict[str, dict[str, str]] = {}
    for report in reports:
        for name, facts in report.provenance.get("weights", {}).items():
            if isinstance(facts, Mapping) and facts.get("is_published") is False:
                keys = _made_with(report, name)
                if keys:
                    networks.setdefault(report.name, {}).update(dict.fromkeys(keys, name))
    return [
        f"Not the published weights in {report}:"
        f" {', '.join(f'{key} ({network})' for key, network in of.items())}; not comparable with printed"
        " figures."
        for report, of in networks.items()
    ]


def _made_with(report: Results, network: str) -> list[str]:
    """The metrics of a report whose numbers a network made."""
    return [
        key
        for key in report.keys
        if any(
            network in row.numbers[key].provenance.get("weights", ())
            for row in report.rows
            if key in row.numbers
        )
    ]


def state(entry: Entry) -> str:
    """Whether a file is here, and whether it is the published one."""
    if entry.path is None:
        return "not here"
    if entry.sha256 is None:
        return f"here ({entry.place})"
    verdict = {
        True: "as published",
        False: "NOT the published file",
        None: "the published hash is not known",
    }[entry.is_published]
    return f"here ({entry.place}), {verdict}, sha256 {entry.sha256}"
