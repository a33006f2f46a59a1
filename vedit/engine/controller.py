"""A plan bound to a model and a clip: which rules act at which module, and which frames go through together.

The rules of a place are applied in the order of their stages. Nothing is counted by calls of a
module: the step and the frames are told for each call of the network.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from vedit.engine.rules.rule import FRAMES, Call, Indices, Plan, Rule, Shape
from vedit.engine.store import MapSize, MapStore
from vedit.errors import ModelError, option
from vedit.models.family import Network
from vedit.models.sites import Site, select_sites
from vedit.models.tensors import Stage, Tensors


@dataclass(frozen=True)
class Pass:
    """One call of the network: its frames, whether it shows keyframes to those after it, and whether its
    frames come again.
    """

    frames: Indices
    is_key_pass: bool = False
    comes_again: bool = False


class Controller:
    """A plan bound to a model.

    branches: names in batch order; the batch of a call is branches x frames, branch by branch.
    latent_size: rows and columns of the latent. frames: of the window. text_tokens: length L.
    matched: each rule in the order of application, and its sites. shown: what rules have to show.
    Raises UsageError for a plan that contradicts itself, ModelError for sites that are not there.
    """

    def __init__(
        self,
        network: Network,
        plan: Plan,
        branches: Sequence[str],
        frames: int,
        latent_size: tuple[int, int],
        text_tokens: int,
        budget: int = 2 * 2**30,
    ) -> None:
        plan.check(branches)
        self.network, self.total = network, frames
        self.branches = {name: place for place, name in enumerate(branches)}
        self.matched: list[tuple[Rule, list[Site]]] = []
        self.sites: dict[str, Site] = {}
        self.grids: dict[str, tuple[int, int]] = {}
        self._at: dict[str, list[Rule]] = defaultdict(list)  # by path of a site; "" has none
        self._memory: dict[tuple[int | str, str], dict[Any, Any]] = {}
        sizes: list[MapSize] = []
        self.held = 0
        sites = network.sites()
        for rule in plan.ordered:
            found = [] if rule.select is None else select_sites(sites, rule.select, rule.name)
            if rule.select is not None:
                _check_tensors(network, rule, rule.select.kind)
            _check_frames(network, rule)
            self.matched.append((rule, found))
            for site in found:
                self._at[site.path].append(rule)
                self.sites[site.path], self.grids[site.path] = site, site.grid(latent_size)
            if rule.select is None:
                self._at[""].append(rule)
            for shape in self._shapes(rule, found, frames, text_tokens):
                sizes += rule.sums(shape)
                self.held += rule.bytes(shape)
        for path, rules in self._at.items():
            plan.check_writers(rules, path or "the step")
        self.store = MapStore(sizes, budget)
        self.shown: dict[str, Tensor] = {}
        self._call = Call(-1, slice(0, frames), frames)

    def _shapes(self, rule: Rule, found: Sequence[Site], frames: int, text_tokens: int) -> Iterator[Shape]:
        """The sizes of a rule's sites, those of one grid together."""
        grids = dict.fromkeys(self.grids[site.path] for site in found)
        if not found or rule.select is None:
            return
        if rule.sums(Shape(frames, 1, 1, 1, 1)):
            assert len(grids) == 1, (
                f"{rule.name}: maps of several sizes cannot be summed; one probe for each scale"
            )
        for rows, columns in grids:
            here = [site for site in found if self.grids[site.path] == (rows, columns)]
            keys = text_tokens if rule.select.kind == "cross" else rows * columns
            width = max(self.network.width(site) for site in here)
            yield Shape(frames, rows * columns, keys, width, len(here))

    @property
    def takes_all(self) -> bool:
        """Whether all frames go through in one call, in some step."""
        return any(rule.frames == "all" for rule, _ in self.matched)

    @contextmanager
    def installed(self) -> Iterator[Controller]:
        """Put processors and hooks in place; the model is itself again on any exit."""
        with self.network.attached([self.sites[path] for path in self._at if path], self):
            yield self

    def passes(self, step: int, frames_per_call: int) -> Iterator[Pass]:
        """How the frames of the window go through the network in a step: by the rule that reaches widest."""
        self._memory.clear()
        acting = [rule for rule, _ in self.matched if rule.acts(step)]
        reach = max((rule.frames for rule in acting), key=FRAMES.index, default="each")
        if reach == "all":
            yield Pass(slice(0, self.total))
            return
        groups = [rule.groups(step, self.total) for rule in acting if rule.frames == reach]
        if reach == "call" and any(groups):
            yield from (Pass(list(group)) for group in max(groups, key=len))
            return
        begin, ends = 0, all(rule.ends_keyframes for rule in acting if rule.frames == reach)
        for group in self._key_groups(groups, acting, step) if reach == "keyframes" else ():
            # a list: tensors take a tuple for several axes
            yield Pass(list(group), is_key_pass=True, comes_again=not ends)
            until = self.total if group[-1] == self._keyframes(acting, step)[-1] else group[-1] + 1
            yield from _chunks(begin, until, frames_per_call, group if ends else ())
            begin = until
        yield from _chunks(begin, self.total, frames_per_call)

    def _key_groups(
        self, groups: Sequence[Sequence[Sequence[int]]], acting: Sequence[Rule], step: int
    ) -> Sequence[Sequence[int]]:
        """The parts that the rules agree on; else all keyframes together."""
        asked = [[list(group) for group in one] for one in groups if one]
        if asked and all(one == asked[0] for one in asked):
            return asked[0]
        keys = self._keyframes(acting, step)
        return [keys] if keys else []

    def _keyframes(self, acting: Sequence[Rule], step: int) -> tuple[int, ...]:
        return tuple(
            sorted({frame for rule in acting if rule.frames == "keyframes" for frame in rule.keyframes(step)})
        )

    def call(self, step: int, frames: Indices) -> AbstractContextManager[None]:
        """Tell the processors which step and which frames the network's call inside is for."""
        return self.call_of(step, Pass(frames))

    @contextmanager
    def call_of(self, step: int, part: Pass) -> Iterator[None]:
        """The same for a pass that may show keyframes."""
        acting = [rule for rule, _ in self.matched if rule.acts(step)]
        keys = self._keyframes(acting, step)
        self._call = Call(
            step, part.frames, self.total, keys, part.is_key_pass, part.comes_again,
            store=self.store, shown=self.shown,
        )  # fmt: skip
        try:
            yield
        finally:
            self._call = Call(-1, slice(0, self.total), self.total)

    def acting(self, path: str, stage: Stage) -> list[Rule]:
        """The rules of a stage that act at a module in the current step."""
        assert self._call.step >= 0, "the network is called outside Controller.call"
        return [rule for rule in self._at.get(path, ()) if rule.stage == stage and rule.acts(self._call.step)]

    def apply(self, rules: Sequence[Rule], path: str, tensors: Tensors, frames: slice | None = None) -> None:
        """Apply rules to the tensors of a module. frames: places in the call, where only some are given."""
        for rule in rules:
            call = replace(
                self._call,
                site=self.sites.get(path),
                grid=self.grids.get(path, (0, 0)),
                memory=self._memory.setdefault((rule.kin or id(rule), path), {}),
            )
            if frames is not None:
                call = replace(call, frames=_within(call.frames, frames))
            rule.apply(tensors, call)

    def outside(
        self, stage: Stage, name: str, values: Mapping[str, Tensor], step: int, frames: Indices
    ) -> dict[str, Tensor]:
        """Tensors by branch or stream, as the rules of a stage without sites leave them."""
        rules = [rule for rule in self._at.get("", ()) if rule.stage == stage and rule.acts(step)]
        if not rules:
            return dict(values)
        tensors = Tensors({}, {key: place for place, key in enumerate(values)})
        for key, value in values.items():
            tensors[name, key] = value
        for rule in rules:
            memory = self._memory.setdefault((rule.kin or id(rule), ""), {})
            rule.apply(
                tensors, Call(step, frames, self.total, memory=memory, store=self.store, shown=self.shown)
            )
        return {key: tensors[name, key] for key in values}


def _chunks(first: int, until: int, size: int, but: Sequence[int] = ()) -> Iterator[Pass]:
    """The frames of a range some at a time; `but` are left out."""
    rest = [frame for frame in range(first, until) if frame not in but]
    for begin in range(0, len(rest), size):
        part = rest[begin : begin + size]
        is_run = part[-1] - part[0] + 1 == len(part)
        yield Pass(slice(part[0], part[-1] + 1) if is_run else part)  # a slice copies nothing


def _within(frames: Indices, part: slice) -> Indices:
    """A part of a call's frames, by their index in the window."""
    if isinstance(frames, slice):
        return slice(frames.start + part.start, frames.start + part.stop)
    return list(frames)[part]


def _check_tensors(network: Network, rule: Rule, kind: str) -> None:
    """Refuse a rule that names what sites of its kind do not have: nobody would ever apply it."""
    there = network.tensors(kind)
    missing = {tensor for tensor, _ in rule.reads | rule.writes} - there
    if missing:
        raise ModelError(
            f"{rule.name}: {kind} sites of this model have no tensor {', '.join(sorted(missing))}.",
            f"They have {', '.join(sorted(there))}.",
        )


def _check_frames(network: Network, rule: Rule) -> None:
    """Refuse a rule that says which frames go through together, where the network sees all of them anyway."""
    if network.frame_axis and rule.frames in ("call", "keyframes"):
        raise ModelError(
            f"{rule.name}: it sends a few frames at a time through the network, which here sees whole clips.",
            "Its frames see each other by themselves.",
            f"Try another method, such as {option('method', 'flowedit')}",
        )
