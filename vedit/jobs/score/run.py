"""Score edited videos: metrics outermost, videos innermost, so that each network is loaded once.

One video or many, the way is the same: read a clip when a metric first needs it, keep as many
decoded clips as the memory for them allows, write every number to the journal, collect rows.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vedit import metrics
from vedit.errors import ModelError, UsageError, VeditError, Warn, option, silent
from vedit.jobs.record import peak_memory_mib, versions
from vedit.jobs.score.clips import Item, Reading, load
from vedit.jobs.score.journal import Journal, journal_key
from vedit.jobs.score.metrics import Choice, catalogue
from vedit.jobs.score.results import Number, Results, Row
from vedit.jobs.watch import Watch
from vedit.metrics.base import Clip, missing, towers_of
from vedit.metrics.types import Options

if TYPE_CHECKING:
    from vedit.metrics.towers import Towers

CLIP_MEMORY = 2**29  # bytes of decoded clips that are kept for the next metric
IDENTITY = "identity"
PREPROCESSING = "pillow-bicubic-224-v1"
UNEDITED = "no_edit_guard: hardly different from the source, so consistency and motion say nothing"


@dataclass(frozen=True)
class Suite:
    """One call of `vedit score`.

    name: of the method; None takes the one that all run records agree on, else `fallback_name`. skips:
    modules left out, and why. is_suite: failures of a video are collected, not raised.
    """

    items: tuple[Item, ...]
    choice: Choice
    options: Options
    reading: Reading = field(default_factory=Reading)
    name: str | None = None
    fallback_name: str = ""
    seed: int = 0
    baseline: str | None = None
    is_suite: bool = False
    skips: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Draft:
    """A row in the making."""

    item: Item
    numbers: dict[str, Number] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def row(self, keys: Sequence[str]) -> Row:
        numbers = {key: self.numbers[key] for key in keys if key in self.numbers}
        return Row(
            self.item.video_id,
            self.item.edit_id,
            numbers,
            self.skipped,
            self.failed,
            tuple(flags_of(self)),
            {**self.facts, "tags": list(self.item.tags)} if self.item.tags else self.facts,
        )


class Clips:
    """Clips of a suite, the last ones kept decoded."""

    def __init__(self, suite: Suite, warn: Warn = silent) -> None:
        self.suite, self.warn = suite, warn
        self._kept: OrderedDict[tuple[str, str], tuple[Clip, dict[str, Any]]] = OrderedDict()
        self._failed: dict[tuple[str, str], VeditError] = {}

    def get(self, item: Item) -> tuple[Clip, dict[str, Any]]:
        """The clip of an item and its facts; a clip that could not be read is not tried again.

        Raises InputError.
        """
        key = (item.video_id, item.edit_id)
        if key in self._failed:
            raise self._failed[key]
        if key not in self._kept:
            try:
                self._kept[key] = load(item, self.suite.reading, self.warn)
            except VeditError as error:
                self._failed[key] = error
                raise
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(_bytes(clip) for clip, _ in self._kept.values()) > CLIP_MEMORY:
            self._kept.popitem(last=False)
        return self._kept[key]


def _bytes(clip: Clip) -> int:
    videos = (clip.edited, clip.source, clip.truth)
    return sum(video.frames_TYX3.nbytes for video in videos if video is not None)


def run(
    suite: Suite, towers: Towers, journal: Journal, *, clips: Clips | None = None, watch: Watch | None = None
) -> tuple[Results, str]:
    """Score every item; gives the results, and "interrupt", "terminate" or "" for how the suite ended.

    What was done before a signal is in the results. Raises ModelError before any work when weights are
    missing, UsageError when a metric that was named has not its inputs, and, for a single video, the error of
    reading or scoring it.
    """
    modules = [metrics.load(name) for name in in_tower_order(suite)]
    weights = find_weights(modules, suite, towers)
    drafts = {_id(item): Draft(item) for item in suite.items}
    same = {_id(item): Draft(item) for item in suite.items} if suite.baseline == IDENTITY else {}
    clips = clips or Clips(suite)
    tasks = [(module, item) for module in modules for item in suite.items]
    stopped_by = ""
    try:
        for module, item in watch(tasks, len(tasks), "metrics") if watch else tasks:
            work = Work(suite, module, towers, journal, clips, weights)
            work.score(drafts[_id(item)])
            if same:
                work.score(same[_id(item)], is_identity=True)
    except (KeyboardInterrupt, SystemExit) as error:
        if not suite.is_suite:
            raise
        stopped_by = "interrupt" if isinstance(error, KeyboardInterrupt) else "terminate"
        for draft in (*drafts.values(), *same.values()):
            left_over(draft, suite.choice.keys)
    finally:
        towers.free()
    if getattr(towers, "judge", None) is not None:
        weights = {**weights, "judge": dict(towers.judge.facts())}
    return results_of(suite, drafts.values(), same.values(), weights), stopped_by


def _id(item: Item) -> tuple[str, str]:
    return item.video_id, item.edit_id


def in_tower_order(suite: Suite) -> list[str]:
    """Module names so that those of one network follow each other, those without any first."""
    from vedit.metrics.towers import TOWERS

    order = list(TOWERS)

    def place(name: str) -> int:
        return max(
            (
                order.index(tower) + 1
                for tower in towers_of(metrics.load(name), suite.options)
                if tower in order
            ),
            default=0,
        )

    return sorted((name for name in suite.choice.modules() if name not in suite.skips), key=place)


def find_weights(modules: Sequence[ModuleType], suite: Suite, towers: Towers) -> dict[str, Any]:
    """Provenance of every network that will be used, fetched if need be, before any video is read.

    Raises ModelError.
    """
    names = dict.fromkeys(tower for module in modules for tower in towers_of(module, suite.options))
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = towers.provenance(name)
        except ModelError as error:
            who = next(module for module in modules if name in towers_of(module, suite.options))
            short = who.__name__.rpartition(".")[2]
            raise ModelError(
                f"{short}: {error.what}",
                error.right,
                f"{error.next_step}\nor leave it out with {option('metrics')} ...,-{short}, or use"
                f" {option('profile', 'embedded')}",
            ) from None
    for module in modules:
        if hasattr(module, "provenance"):
            found[module.__name__.rpartition(".")[2]] = module.provenance(suite.options)
    return found


class Impossible(UsageError):
    """A metric was asked for by name, and a clip has not what it needs."""


class Work:
    """One metric on one video."""

    def __init__(
        self,
        suite: Suite,
        module: ModuleType,
        towers: Towers,
        journal: Journal,
        clips: Clips,
        weights: Mapping[str, Any],
    ) -> None:
        self.suite, self.module, self.towers, self.journal, self.clips, self.weights = (
            suite,
            module,
            towers,
            journal,
            clips,
            weights,
        )
        self.name = module.__name__.rpartition(".")[2]
        own = {value.key for value in module.VALUES}
        self.keys = [key for key in suite.choice.keys if key in own]

    def score(self, draft: Draft, is_identity: bool = False) -> None:
        """Add the metric's numbers to a row, out of the journal where they are known."""
        hashes = {
            name: self.weights[name].get("sha256", "")
            for name in (*towers_of(self.module, self.suite.options), self.name)
            if name in self.weights
        }
        if "judge" in self.module.NEEDS and getattr(self.towers, "judge", None) is not None:
            hashes["judge"] = self.towers.judge.name
        kind = f"{self.name} of the source" if is_identity else self.name
        key = journal_key(
            draft.item, self.suite.reading, kind, self.module.VERSION, self.suite.options.json(), hashes
        )
        known = self.journal.numbers(key)
        if known is not None:
            facts, skipped = self.journal.facts(key)
            draft.facts.update(facts)
            self._take(draft, known, skipped)
            return
        try:
            clip, facts = self.clips.get(draft.item)
            draft.facts.update(facts)
            numbers, skipped = self._compute(
                replace(clip, edited=clip.source, record=None) if is_identity and clip.source else clip,
                is_identity,
            )
        except VeditError as error:
            if not self.suite.is_suite or isinstance(error, (Impossible, ModelError)):
                raise
            for name in self.keys:
                draft.failed[name] = " ".join(str(error).split())
            return
        self.journal.add(key, draft.item, self.name, numbers, draft.facts, skipped)
        self._take(draft, numbers, skipped)

    def _take(self, draft: Draft, numbers: Mapping[str, Number], skipped: str) -> None:
        for key in self.keys:
            if key in numbers:
                draft.numbers[key] = numbers[key]
                if not numbers[key].is_finite:
                    draft.failed[key] = str(numbers[key].extra.get("why", "not a finite number"))
            else:
                draft.skipped[key] = skipped or "it does not exist for this clip"

    def _compute(self, clip: Clip, is_identity: bool) -> tuple[dict[str, Number], str]:
        """All numbers of the module, or why it cannot be computed for this clip."""
        if is_identity and clip.source is None:
            return {}, "no source"
        reason = self._obstacle(clip)
        if reason:
            named = self.suite.choice.named & set(self.keys)
            if named and not is_identity:
                raise Impossible(
                    f"{clip.id}: {sorted(named)[0]} {reason}.",
                    "A metric that is named must be possible; those of a group are skipped.",
                )
            return {}, reason
        begin = time.perf_counter()
        scores = self.module.score(clip, self.towers, self.suite.options)
        provenance = {
            "metric": self.name,
            "version": self.module.VERSION,
            "weights": [
                name
                for name in (*towers_of(self.module, self.suite.options), self.name)
                if name in self.weights
            ],
            "seconds": round(time.perf_counter() - begin, 4),
        }
        return {
            key: Number(score.value, score.per_frame, score.extra, provenance)
            for key, score in scores.items()
        }, ""

    def _obstacle(self, clip: Clip) -> str:
        lacking = missing(self.module.NEEDS, clip, has_judge=getattr(self.towers, "judge", None) is not None)
        if lacking:
            return f"needs {' and '.join(lacking)}"
        return str(self.module.unfit(clip, self.suite.options)) if hasattr(self.module, "unfit") else ""


def left_over(draft: Draft, keys: Iterable[str]) -> None:
    """Mark what a signal left uncomputed."""
    for key in keys:
        if key not in draft.numbers and key not in draft.failed:
            draft.skipped.setdefault(key, "interrupted before it was computed")


def flags_of(draft: Draft) -> list[str]:
    """What a reader must know before believing a row."""
    damage = draft.facts.get("damage")
    return [
        *([f"damaged: {damage}"] if damage else []),
        *([UNEDITED] if is_unedited(draft) else []),
        *(draft.facts.get("looks") or []),
    ]


def is_unedited(draft: Draft) -> bool:
    """Whether the clip is an unchanged copy of its source, as far as that can be told."""
    from vedit.metrics.no_edit_guard import LEAST_CHANGE, LEAST_DIRECTION

    guard = draft.numbers.get("no_edit_guard")
    if guard is not None:
        return guard.value == 1
    change = draft.facts.get("change")
    direction = draft.numbers.get("clip_direction") or draft.numbers.get("shapes_direction")
    if change is None or change >= LEAST_CHANGE:
        return False
    return (
        direction.value < LEAST_DIRECTION
        if direction is not None and direction.is_finite
        else bool(change == 0)
    )


def results_of(
    suite: Suite, drafts: Iterable[Draft], same: Iterable[Draft], weights: Mapping[str, Any]
) -> Results:
    """Rows and facts together; a metric that no video has is left out of the columns, its reasons stay in the
    rows.
    """
    from vedit.metrics.towers import FILES

    facts = catalogue()
    rows = [draft.row(suite.choice.keys) for draft in drafts]
    skips = {
        key: suite.skips[facts[key].metric] for key in suite.choice.keys if facts[key].metric in suite.skips
    }
    rows = [replace(row, skipped={**row.skipped, **skips}) for row in rows]
    there = [
        key
        for key in suite.choice.keys
        if any(key in row.numbers or (key in row.failed and row.numbers) for row in rows)
    ]
    packages = (
        "numpy",
        "pillow",
        "torch",
        "torchvision",
        "open_clip_torch",
        "timm",
        "opencv-python-headless",
        "lpips",
    )
    provenance = {
        "versions": versions(*packages),
        "weights": dict(weights),
        "device": device_name(suite.options) if set(weights) & set(FILES) else "cpu",
        "dtype": suite.options.dtype,
        "preprocessing": PREPROCESSING,
        "peak_memory_mib": peak_memory_mib(),
    }
    baselines = (
        {IDENTITY: tuple(draft.row(suite.choice.keys) for draft in same)}
        if suite.baseline == IDENTITY
        else {}
    )
    return Results(
        name_of(suite, rows),
        suite.options.profile,
        tuple(rows),
        {key: facts[key] for key in there},
        suite.options.json(),
        provenance,
        baselines,
        suite.seed,
    )


def device_name(options: Options) -> str:
    """The device that "auto" stood for."""
    from vedit.models.place import choose_device

    return str(choose_device(options.device))


def name_of(suite: Suite, rows: Sequence[Row]) -> str:
    """What tables call the method."""
    methods = {(row.facts.get("run") or {}).get("method") for row in rows}
    method = methods.pop() if len(methods) == 1 else None
    return suite.name or str(method or suite.fallback_name)
