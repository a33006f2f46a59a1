"""TokenFlow: a few keyframes are edited together, and every frame takes its features from them.

    h_f[p] = alpha h_k-[nn(p, k-)] + (1 - alpha) h_k+[nn(p, k+)]        alpha = d+ / (d- + d+)

Source: Geyer et al. 2023, eq. 3-6; docs/methods.md 6. Each step draws one keyframe in every stretch of
`key_every` frames. They go through first, and their targets attend to each other's tokens. In all other
calls self-attention is not computed: each token takes the outputs of the nearest tokens, by the cosine of
the source's inputs of the module, in the keyframes before and after it. A keyframe keeps its own output,
so that it needs no second pass.

Deviations: a frame between two keyframes blends both by true distance, and a keyframe keeps its own
output; the published code takes the keyframes of its own stretch and of the one before, by the distance
to the middle of each (blend = "reference"). More than `max_keyframes` go through in parts, which attend
to the first keyframe and to the newest before them: memory does not grow with the clip.
Shape letters: B branches, F frames, N heads, T tokens, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import torch
from pydantic import AliasChoices, Field
from torch import Tensor

from vedit.engine.noise import substream
from vedit.engine.rules import Call, Rule, Shape, Steps, Tensors, parts
from vedit.engine.sample import Stream
from vedit.methods import pnp
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import Share
from vedit.methods.sampled import Texts, branches_of, check_start, hold_outside, sampled
from vedit.models.family import Family
from vedit.models.sites import Select
from vedit.models.tensors import Frames, Part, Stage

SUMMARY = "Edit keyframes together and let all frames take their features from them."
NEEDS = frozenset({"inversion", "pictures"})
EVERY_SELF = Select("self")
KIN = "tokenflow"
DRAW = 7  # the substream of the keyframes
TILE_BYTES = 16 * 2**20  # of cosines made at a time
NEAR = 4  # keyframes of a part whose features stay on the device; the others wait in memory


class Params(pnp.Params):
    key_every: int = Field(
        8,
        ge=1,
        validation_alias=AliasChoices("key_every", "batch_size"),
        description="frames for each of which one is a keyframe",
    )
    max_keyframes: int = Field(
        16, ge=2, description="keyframes that attend to each other at most: the newest, and the first"
    )
    blend: Literal["paper", "reference"] = Field(
        "paper",
        description=(
            "paper takes the keyframes on both sides by distance; reference those of this stretch and the one"
            " before, as the published code"
        ),
    )
    base: Literal["pnp", "sdedit"] = Field(
        "pnp", description="what edits the keyframes: Plug-and-Play, or sampling from a noised clip"
    )
    strength: Share = Field(
        0.9,
        validation_alias=AliasChoices("strength", "start"),
        description="share of the steps that base = sdedit takes",
    )

    @property
    def joins_frames(self) -> bool:
        return True


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises ModelError for a layer that the model does not have."""
    steps = len(request.timesteps)
    start = (
        params.start_index if params.base == "pnp" else steps - max(1, int(params.strength * steps + 1e-9))
    )
    check_start(start, steps)
    branches, texts = branches_of(params.guidance, "src"), Texts(model, request, params)
    injected = pnp.injections(model, params, branches[1:], request, range(steps), steps)
    is_pnp = params.base == "pnp"

    def streams(window: Window) -> list[Stream]:
        begin = window.at(start) if is_pnp else noised(model, request, window, start)
        return [texts.replayed(window, window.trajectory(start)), texts.guided(window, begin)]

    def rules(window: Window) -> tuple[Rule, ...]:
        keys = KeyFrames(
            len(window.latents_FCYX), params.key_every, params.max_keyframes, request.seed, window.first_frame
        )
        own = injected.rules(window) if is_pnp else ()
        return (
            *own,
            *propagation(keys, branches, (True,) * steps, params.blend),
            *hold_outside(request, window),
        )

    notes = injected.notes if is_pnp else ()
    return sampled(model, request, streams, branches, rules, start=start, merging=params, notes=notes)


def noised(model: Family, request: Request, window: Window, start: int) -> Tensor:
    """The clip at the noise level of a step, with the noise that its inversion ends in."""
    levels, clean = model.schedule, window.latents_FCYX
    noisiest, (a, b) = window.trajectory(0).to(clean), levels.shares(levels.level(request.timesteps[0]))
    return levels.mix(clean, (noisiest - a * clean) / b, levels.level(request.timesteps[start]))


@dataclass(frozen=True)
class KeyFrames:
    """Which frames are keyframes, and which of them a frame takes its features from.

    total: frames of the window. every: frames of a stretch; the last may be shorter. most: that attend
    to each other. first_frame: of the window in its clip.
    """

    total: int
    every: int
    most: int
    seed: int = 0
    first_frame: int = 0

    def chosen(self, step: int) -> tuple[int, ...]:
        """One frame of every stretch, drawn anew in each step."""
        return drawn(self, step)

    def groups(self, step: int) -> list[tuple[int, ...]]:
        """The keyframes that go through together: all, or parts, the later with room for those before."""
        keys, size = self.chosen(step), max(1, self.most // 2)
        rest = range(self.most, len(keys), size)
        return [keys[: self.most], *(keys[begin : begin + size] for begin in rest)]

    def neighbours(self, frame: int, step: int) -> tuple[tuple[int, float], ...]:
        """The keyframes on both sides and their weights; one alone for a keyframe and at the ends."""
        keys = self.chosen(step)
        before, after = (
            max((key for key in keys if key <= frame), default=None),
            min((key for key in keys if key >= frame), default=None),
        )
        if before is None or after is None or before == after:
            return ((before if before is not None else keys[0] if after is None else after, 1.0),)
        share = (after - frame) / (after - before)
        return ((before, share), (after, 1 - share))

    def published(self, frame: int, step: int) -> tuple[tuple[int, float], ...]:
        """The keyframes of the frame's stretch and of the one before, by distance to the middles of both."""
        keys, place = self.chosen(step), frame // self.every
        if place == 0:
            return ((keys[0], 1.0),)
        middle = place * self.every + self.every // 2
        near, far = abs(frame - middle), abs(frame - middle + self.every)
        share = 1 / (1 + math.exp(-far / (near + far)))
        return ((keys[place], share), (keys[place - 1], 1 - share))


@lru_cache(maxsize=16)  # every module asks again
def drawn(keys: KeyFrames, step: int) -> tuple[int, ...]:
    """One frame of every stretch; that of a stretch does not depend on how long the clip is."""
    found = []
    for begin in range(0, keys.total, keys.every):
        generator = substream(keys.seed, DRAW, step, keys.first_frame + begin)
        found.append(begin + int(torch.randint(min(keys.every, keys.total - begin), (), generator=generator)))
    return tuple(found)


def propagation(keys: KeyFrames, branches: tuple[str, ...], steps: Steps, blend: str) -> tuple[Rule, ...]:
    """What makes the keyframes attend to each other, keeps their features, and hands them to all frames."""
    return (
        Extended(keys, branches[1:], steps, blend),
        Remembered(keys, branches, steps, blend),
        Propagated(keys, branches, steps, blend),
    )


@dataclass(frozen=True)
class _KeyRule(Rule):
    """What the three rules share: all self-attention, the keyframes first, and one memory."""

    keys: KeyFrames
    branches: tuple[str, ...]
    steps: Steps
    blend: str = "paper"
    select: Select = field(default=EVERY_SELF, init=False)
    frames: Frames = field(default="keyframes", init=False)
    kin: str = field(default=KIN, init=False)

    @property
    def ends_keyframes(self) -> bool:
        return self.blend == "paper"  # a keyframe keeps its own output

    def keyframes(self, step: int) -> Sequence[int]:
        return self.keys.chosen(step)

    def groups(self, step: int, total: int) -> Sequence[Sequence[int]]:
        return self.keys.groups(step)

    @property
    def is_parted(self) -> bool:
        """Whether keyframes go through in several parts."""
        return -(-self.keys.total // self.keys.every) > self.keys.most


@dataclass(frozen=True)
class Extended(_KeyRule):
    """Let the keyframes' targets attend to the tokens of all keyframes, or of the first and the newest."""

    stage: Stage = field(default="qkv", init=False)
    name: str = field(default="extended attention", init=False)
    order: int = field(default=1, init=False)  # behind what the base injects

    @property
    def writes(self) -> frozenset[Part]:
        return parts("kv", self.branches)

    def bytes(self, shape: Shape) -> int:
        """Keys and values that later parts attend to."""
        held = self.keys.most if self.is_parted else 0
        return held * len(self.writes) * shape.sites * shape.queries * shape.width * 4

    def apply(self, tensors: Tensors, call: Call) -> None:
        room = self.keys.most - len(call.numbers)
        for part in self.writes:
            own_KNTD = tensors[part]
            seen = call.memory.get(part, [])
            earlier = [*seen[:1], *seen[1:][1 - room :]] if room > 1 else seen[:room]
            joined = (
                torch.cat([*(one.to(own_KNTD) for one in earlier), own_KNTD]).transpose(0, 1).flatten(1, 2)
            )
            tensors[part] = joined.expand(len(own_KNTD), -1, -1, -1)
            if self.is_parted:
                call.memory[part] = [*earlier, *(waiting(one) for one in own_KNTD.split(1))]


@dataclass(frozen=True)
class Remembered(_KeyRule):
    """Keep the keyframes' outputs, and the source's inputs by which tokens find them, until the step ends."""

    stage: Stage = field(default="exit", init=False)
    name: str = field(default="keyframe features", init=False)
    order: int = field(default=1, init=False)

    @property
    def reads(self) -> frozenset[Part]:
        return frozenset({("x", "src"), *(("y", branch) for branch in self.branches)})

    def bytes(self, shape: Shape) -> int:
        """Of the keyframes of a part and the last two before it: an input, and an output of each branch."""
        count = min(-(-self.keys.total // self.keys.every), self.keys.most + 2)
        return count * (1 + len(self.branches)) * shape.sites * shape.queries * shape.width * 4

    def apply(self, tensors: Tensors, call: Call) -> None:
        if not call.is_key_pass:
            return
        x_KTC = tensors["x", "src"]
        # a token's outputs of all branches lie together: they are taken together
        y_KTBC = torch.stack([tensors["y", branch] for branch in self.branches], 2)
        shown = call.memory.get("shown", {})
        kept = {
            key: shown[key] for key in sorted(shown)[-2:]
        }  # frames between this part and the one before need them
        for place, key in enumerate(call.numbers):
            features = (direction(x_KTC[place]), y_KTBC[place])
            kept[key] = features if place < NEAR else (waiting(features[0]), waiting(features[1]))
        call.memory["shown"] = kept


@dataclass(frozen=True)
class Propagated(_KeyRule):
    """Give every frame the outputs of its keyframes' nearest tokens, in the place of self-attention.

    tile: bytes of cosines that are made at a time; the first of equally near tokens is taken.
    """

    tile: int = TILE_BYTES
    stage: Stage = field(default="enter", init=False)
    name: str = field(default="propagation", init=False)

    @property
    def reads(self) -> frozenset[Part]:
        return frozenset({("x", "src")})

    @property
    def writes(self) -> frozenset[Part]:
        return parts("y", self.branches)

    def apply(self, tensors: Tensors, call: Call) -> None:
        if call.is_key_pass:
            return
        x_FTC, shown = tensors["x", "src"], call.memory["shown"]
        y_FTBC = x_FTC.new_zeros(*x_FTC.shape[:2], len(self.branches), x_FTC.shape[2])
        for key, taking in self._takers(call).items():
            unit_TC, given_TBC = (part.to(x_FTC.device) for part in shown[key])
            places = [place for place, _ in taking]
            nearest_NT = nearest_tokens(x_FTC[places].flatten(0, 1), unit_TC, self.tile).unflatten(
                0, (len(places), -1)
            )
            for (place, share), nearest_T in zip(taking, nearest_NT, strict=True):
                y_FTBC[place].add_(given_TBC[nearest_T], alpha=share)
        for branch, y_FTC in zip(self.branches, y_FTBC.unbind(2), strict=True):
            tensors["y", branch] = y_FTC

    def _takers(self, call: Call) -> dict[int, list[tuple[int, float]]]:
        """By keyframe: the places in the call of the frames that take from it, and their shares."""
        neighbours = self.keys.neighbours if self.blend == "paper" else self.keys.published
        found: dict[int, list[tuple[int, float]]] = {}
        for place, frame in enumerate(call.numbers):
            for key, share in neighbours(frame, call.step):
                found.setdefault(key, []).append((place, share))
        return found


def direction(x: Tensor) -> Tensor:
    """Tokens (..., T, C) of unit length, in float32 at least: half precision would make ties."""
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    return torch.nn.functional.normalize(precise, dim=-1)


def nearest_tokens(x_TC: Tensor, unit_SC: Tensor, tile: int = TILE_BYTES) -> Tensor:
    """For each token the one of another frame with the largest cosine, the first of several: (T,).

    unit_SC: of unit length. The lengths of x_TC do not matter. tile: bytes of cosines made at a time.
    """
    rows = max(1, tile // (len(unit_SC) * unit_SC.element_size()))
    return torch.cat([(part.to(unit_SC) @ unit_SC.T).argmax(-1) for part in x_TC.split(rows)])


def waiting(tensor: Tensor) -> Tensor:
    """A tensor that is not needed soon, in the host's memory; on a CPU it is there already."""
    return tensor.cpu() if tensor.device.type in ("cuda", "mps") else tensor
