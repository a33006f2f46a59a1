"""The branches of a localisation, from a preset and what the call puts in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vedit import methods, presets
from vedit.errors import UsageError, nearest, option
from vedit.jobs.localize.request import LocalizeRequest
from vedit.models.hub import OURS

ENDED = (
    "the generator of the thesis, Sora, was a hosted service that ended on 24 September 2026;"
    " this branch stands for it"
)


@dataclass(frozen=True)
class Branch:
    """One way. rewrite: the mode of its prompt. given: what its command is told, by key."""

    name: str
    title: str
    command: str
    rewrite: str
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def generates(self) -> bool:
        return self.command == "generate"


@dataclass(frozen=True)
class Recipe:
    """Tables of the preset, and its branches. model: of those that edit."""

    name: str
    model: str
    branches: tuple[Branch, ...]
    input: Mapping[str, Any]
    caption: Mapping[str, Any]
    rewrite: Mapping[str, Any]
    score: Mapping[str, Any]


def recipe_of(request: LocalizeRequest) -> Recipe:
    """The recipe that a request names, with what it puts in its place. Raises UsageError."""
    name = request.recipe or ("localize" if (request.model or "shapes") not in OURS else "localize-shapes")
    table = presets.load(name, "localize").table
    chosen = [_branch(row, request) for row in table["branch"] if _is_wanted(row["name"], request)]
    known = [row["name"] for row in table["branch"]]
    for asked in request.only:
        if asked not in known:
            raise UsageError(
                f"{option('only', asked)}: {name} has no such branch{nearest(asked, known) or '.'}",
                f"It has {', '.join(known)}.",
            )
    for branch in chosen:
        if not branch.generates:
            methods.load(branch.given["method"])  # raises, naming those there are
    return Recipe(
        name,
        request.model or table.get("model", "shapes"),
        tuple(_with_settings(branch, request.set) for branch in _checked(chosen, request.set, known)),
        {**table.get("input", {}), **_given(request, "frames", "size")},
        {**table.get("caption", {}), **({"model": request.captioner} if request.captioner else {})},
        _rewriting(table.get("rewrite", {}), request),
        table.get("score", {}),
    )


def _is_wanted(name: str, request: LocalizeRequest) -> bool:
    return not request.only or name in request.only


def _given(request: LocalizeRequest, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(request, name)) is not None}


def _rewriting(table: Mapping[str, Any], request: LocalizeRequest) -> dict[str, Any]:
    """Who rewrites: the call's choice takes the whole place of the recipe's."""
    own = _given(request, "llm", "base_url", "llm_model", "key_env")
    who = ("llm", "base_url", "llm_model", "key_env", "revision")
    return {**{key: value for key, value in table.items() if not own or key not in who}, **own}


def _branch(row: Mapping[str, Any], request: LocalizeRequest) -> Branch:
    command = row.get("command", "edit")
    own = {key: value for key, value in row.items() if key not in ("name", "title", "command", "rewrite")}
    if command == "generate" and request.generator:
        own = {**own, "model": request.generator}
    return Branch(row["name"], row.get("title", row["name"]), command, row.get("rewrite", "align"), own)


def _checked(branches: list[Branch], settings: Mapping[str, Any], known: list[str]) -> list[Branch]:
    for key in settings:
        name, dot, rest = key.partition(".")
        if not (dot and rest and name in known):
            raise UsageError(
                f"{option(f'set.{key}', settings[key])} names no branch{nearest(name, known) or '.'}",
                f"Write BRANCH.KEY=VALUE; branches: {', '.join(known)}.",
            )
    return branches


def _with_settings(branch: Branch, settings: Mapping[str, Any]) -> Branch:
    """A branch with the values that a call sets: of a method's parameters, or of a generator's request."""
    own = {
        key.partition(".")[2]: value for key, value in settings.items() if key.startswith(f"{branch.name}.")
    }
    if not own:
        return branch
    given = dict(branch.given)
    if branch.generates:
        given |= own
    else:
        given["set"] = {**given.get("set", {}), **own}
    return Branch(branch.name, branch.title, branch.command, branch.rewrite, given)
