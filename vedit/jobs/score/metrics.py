"""The metrics there are: every number's facts, names that others use, groups, and lists such as
`v2vbench,psnr,-dover_score`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType

from vedit import metrics
from vedit.errors import UsageError, nearest, option
from vedit.metrics.base import GROUPS, LAST, ON_REQUEST, Value, towers_of
from vedit.metrics.types import Options

EMBEDDED = "embedded"  # the metrics that need no weights from outside
SMALL = "small"  # and a small network for free prompts


USUAL = {EMBEDDED: EMBEDDED, SMALL: f"{EMBEDDED},{SMALL}"}  # lists without one


@dataclass(frozen=True)
class Fact:
    """What is known about a number before it is computed. metric: the module that gives it."""

    value: Value
    metric: str
    version: int

    @property
    def key(self) -> str:
        return self.value.key

    @property
    def arrow(self) -> str:
        return "↑" if self.value.higher_is_better else "↓"


@dataclass(frozen=True)
class Choice:
    """Which metrics to compute. named: keys or modules that were asked for by name, so that missing inputs
    are errors.
    """

    keys: tuple[str, ...]
    named: frozenset[str] = frozenset()

    def with_all(self, modules: Iterable[str]) -> Choice:
        """This choice and all numbers of some modules, which count as named."""
        added = [value.key for name in modules for value in metrics.load(name).VALUES]
        return Choice(tuple(ordered({*self.keys, *added})), self.named | set(added)) if added else self

    def modules(self) -> list[str]:
        """The modules that give the chosen numbers, in the order of the columns."""
        facts = catalogue()
        return list(dict.fromkeys(facts[key].metric for key in self.keys))


def catalogue() -> dict[str, Fact]:
    """Every number by its key, in column order; loads no torch."""
    found = [
        Fact(value, name.replace("-", "_"), module.VERSION)
        for name in metrics.names()
        for module in [metrics.load(name)]
        for value in module.VALUES
    ]
    return {fact.key: fact for fact in sorted(found, key=lambda fact: fact.value.order)}


def ordered(keys: Iterable[str]) -> list[str]:
    """Keys in column order; those of no metric that is here come last."""
    facts = catalogue()
    return sorted(keys, key=lambda key: facts[key].value.order if key in facts else LAST)


def choose(text: str | None, profile: str) -> Choice:
    """Read a comma list of metrics and groups; `-name` takes away what stands before it.

    Without a list: the group `v2vbench`, or with the embedded and the small profile everything that
    needs no weights or small ones. Raises UsageError for unknown names.
    """
    facts = catalogue()
    parts = [part.strip() for part in (text or USUAL.get(profile, "v2vbench")).split(",") if part.strip()]
    keys: list[str] = list(facts) if parts and all(part.startswith("-") for part in parts) else []
    named: set[str] = set()
    for part in parts:
        meant = _meaning(part.removeprefix("-"), facts)
        if part.startswith("-"):
            keys = [key for key in keys if key not in meant]
            named -= set(meant)
        else:
            keys += [key for key in meant if key not in keys]
            if part not in {*GROUPS, EMBEDDED, "all"}:
                named |= set(meant)
    if not keys:
        raise UsageError(
            f"{option('metrics', text)} leaves no metric.", "", f"Groups: {', '.join(group_names())}"
        )
    return Choice(tuple(ordered(keys)), frozenset(named))


def group_names() -> list[str]:
    return [*sorted(GROUPS), EMBEDDED, "all"]


def _meaning(word: str, facts: dict[str, Fact]) -> list[str]:
    """The keys that a group, a module, a key or another project's name stands for."""
    name = word.replace("-", "_").lower()
    if name == "all":
        return list(facts)
    if name == EMBEDDED:
        modules = {key: metrics.load(fact.metric) for key, fact in facts.items()}
        return [
            key
            for key, module in modules.items()
            if needs_no_weights(module) and not module.GROUPS & ON_REQUEST
        ]
    if name in GROUPS:
        return [key for key, fact in facts.items() if name in metrics.load(fact.metric).GROUPS]
    if name in facts:
        return [name]
    of_module = [key for key, fact in facts.items() if fact.metric == name]
    if of_module:
        return of_module
    plain = name.replace("_", " ")
    for key, fact in facts.items():
        if plain in (alias.lower().replace("_", " ") for alias in fact.value.aliases):
            return [key]
    known = [*facts, *group_names()]
    raise UsageError(
        f"there is no metric or group called {word!r}{nearest(name, known)}",
        f"Groups: {', '.join(group_names())}.",
        "List them with: vedit score --explain",
    )


def options_of(metric: str) -> tuple[str, ...]:
    """The options that a metric's numbers depend on, beside the profile and the networks' dtype; none for one
    that is not here.
    """
    return tuple(getattr(metrics.load(metric), "OPTIONS", ())) if metrics.has(metric) else ()


def needs_no_weights(module: ModuleType) -> bool:
    """Whether a metric reads no network from outside the package, with the embedded profile's flow."""
    return not towers_of(module, Options(profile=EMBEDDED))


def among(text: str, held: Iterable[str], where: str) -> list[str]:
    """The metrics of a list such as `temporal,-flicker_mae` that reports hold, in column order.

    Raises UsageError for a word that stands for none of them, and where none is left.
    """
    there = list(held)
    keys: list[str] = []
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if parts and all(part.startswith("-") for part in parts):
        keys = list(there)
    for part in parts:
        word = part.removeprefix("-")
        meant = [word] if word in there else [key for key in _known_meaning(word) if key in there]
        if not meant:
            check_keys([word], there, where)
        keys = [key for key in keys if key not in meant] if part.startswith("-") else [*keys, *meant]
    if not keys:
        raise UsageError(
            f"{option('metrics', text)} leaves no metric.", f"The reports hold: {', '.join(there)}."
        )
    return ordered(dict.fromkeys(keys))


def _known_meaning(word: str) -> list[str]:
    """What a word stands for, nothing for a word that is unknown."""
    try:
        return _meaning(word, catalogue())
    except UsageError:
        return []


def check_keys(keys: Sequence[str], known: Iterable[str], where: str) -> None:
    """Raise UsageError unless every key is among the known ones."""
    there = list(known)
    for key in keys:
        if key not in there:
            raise UsageError(
                f"{where}: there is no metric {key!r}{nearest(key, there)}", f"There are: {', '.join(there)}."
            )
