"""Drawn scenes before and after an edit, in batches: the pairs that an instruction editor learns from.

An edit changes one field of a scene, or two, and keeps every nuisance, so the right answer can be drawn. It
may hold for a part of the clip only, in time (the instruction says when, or the mask), or in space (the
mask); what lies outside is the source. A reference picture shows another scene with what the edit makes.

Tensor names: B pairs, F frames, N pictures (B x F), C colours, Y X rows and columns.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vedit.data import grammar, instructions, scenes
from vedit.data.instructions import KINDS, LIKE, WHEN, Span

# Shapes are the slowest to learn. A scene that does not fit an edit gets another pattern instead.
SHARES = {
    "colour": 3.0,
    "shape": 5.0,
    "texture": 2.5,
    "size": 4.0,
    "ground": 2.0,
    "pattern": 1.0,
    "motion": 3.0,
}
TWO_AT_ONCE = 0.12
SPOKEN_TIMES = 0.25  # of the clips, say when
MASKED = 0.3
SPANS = tuple(WHEN)


@dataclass(frozen=True)
class DrawnEdits:
    """A batch of edits. kinds, values: what each changes first; more: a second change or None; likes: of
    LIKE, for those that the reference picture shows; when: None for all of the clip.

    boxes_B4: left, top, right, bottom of a mask in shares of the frame, and spans_B2 its time; where
    masked_B is false no mask is told, and they are the whole.
    """

    before: scenes.Scenes
    after: scenes.Scenes
    kinds: list[str]
    values: list[str]
    more: list[tuple[str, str] | None]
    likes: list[str | None]
    when: list[Span | None]
    masked_B: Tensor
    boxes_B4: Tensor
    spans_B2: Tensor

    def __len__(self) -> int:
        return len(self.kinds)

    def instructions(self, rng: random.Random, rows: Sequence[int] | None = None) -> list[str]:
        """What to type for each, or for some rows, in a wording drawn by `rng`."""
        words = self.before.words()
        return [self._said(words[row], row, rng) for row in (range(len(self)) if rows is None else rows)]

    def _said(self, before: dict[str, str], row: int, rng: random.Random) -> str:
        like, more, when = self.likes[row], self.more[row], self.when[row]
        kind, value = (self.kinds[row], self.values[row]) if like is None else (like, "")
        if more is None or like is not None:
            return instructions.instruction(before, kind, value, rng, when)
        first = instructions.instruction(before, kind, value, rng)
        second = instructions.instruction(before, *more, rng)
        return f"{first} and {second}" if rng.random() < 0.5 else f"{second} and {first}"

    def weights(self, time_BF: Tensor, side: int = scenes.SIDE) -> Tensor:
        """Where and when the edit shows, of each frame at a time in 0..1: BFYX, 0 or 1."""
        return self.mask(time_BF, side) * self._spoken(time_BF)[:, :, None, None]

    def mask(self, time_BF: Tensor, side: int = scenes.SIDE) -> Tensor:
        """The mask that is told, BFYX: 1 may change; all ones where none is."""
        grid = (torch.arange(side, device=time_BF.device) + 0.5) / side
        left, top, right, bottom = self.boxes_B4.unbind(1)
        x_BX = (grid >= left[:, None]) & (grid < right[:, None])
        y_BY = (grid >= top[:, None]) & (grid < bottom[:, None])
        begin, end = self.spans_B2.unbind(1)
        time = (time_BF >= begin[:, None]) & (time_BF < end[:, None])
        return (y_BY[:, None, :, None] & x_BX[:, None, None, :] & time[:, :, None, None]).float()

    def _spoken(self, time_BF: Tensor) -> Tensor:
        spans = torch.tensor(
            [[0.0, 2.0] if when is None else [float(when[0]), float(when[1])] for when in self.when],
            device=time_BF.device,
        )
        begin, end = spans[:, :1], spans[:, 1:]
        return ((time_BF >= begin) & ((time_BF < end) | (end >= 1))).float()


def middles(frames: int, count: int) -> Tensor:
    """The times, 0..1, of the middle of each of a clip's frames, for `count` clips: BF."""
    return ((torch.arange(frames) + 0.5) / frames).expand(count, frames)


def draw(
    count: int, generator: torch.Generator, *, clips: bool, like: bool = False, digits: float = 0.1
) -> DrawnEdits:
    """Draw edits of scenes whose compositions are not held out, before and after.

    clips: also edits of the motion, and in time. like: half of them are told by a reference picture alone.
    """
    device = generator.device
    before = scenes.sample(count, generator, digits=digits)
    is_digit = before.fields["shape"] >= len(grammar.SHAPES)
    shares = torch.tensor(
        [SHARES[kind] if clips or kind != "motion" else 0.0 for kind in KINDS], device=device
    )
    kind_B = torch.multinomial(shares, count, replacement=True, generator=generator)
    after = before
    for kind in KINDS:
        changed = _changed(before, kind, is_digit, generator)
        after = after.with_fields(
            **{kind: torch.where(kind_B == KINDS.index(kind), changed, after.fields[kind])}
        )
    after, kind_B, _ = _kept(before, after, kind_B, is_digit, generator)
    more: list[tuple[str, str] | None] = [None] * count
    twice = (torch.rand(count, generator=generator, device=device) < TWO_AT_ONCE).tolist()
    second = _changed(before, "ground", is_digit, generator)
    two = after.with_fields(ground=second)
    fits = (~_unfit(two, is_digit)).tolist()
    likes: list[str | None] = _likes(count, generator) if like else [None] * count
    kinds = [KINDS[index] for index in kind_B.tolist()]
    for row, kind in enumerate(kinds):
        if twice[row] and fits[row] and kind in ("colour", "shape", "texture", "size") and likes[row] is None:
            after.fields["ground"][row] = second[row]
            more[row] = ("ground", grammar.GROUNDS[int(second[row])])
    if like:
        asked = list(likes)
        after = _as_another(before, after, likes, is_digit, generator)
        kinds = ["pattern" if likes[row] != asked[row] else kind for row, kind in enumerate(kinds)]
    words = after.words()
    when = _when(count, generator) if clips else [None] * count
    when = [None if more[row] is not None else span for row, span in enumerate(when)]
    masked, boxes, spans = _masks(before, after, generator, clips)
    return DrawnEdits(
        before, after, kinds, [words[row][kind] for row, kind in enumerate(kinds)], more, likes, when, masked,
        boxes, spans,
    )  # fmt: skip


def references(edits: DrawnEdits, generator: torch.Generator) -> scenes.Scenes:
    """Other scenes, elsewhere and turned, that show what each edit makes."""
    other = scenes.sample(len(edits), generator, held_out=None)
    look = edits.after
    reach_B = scenes.REACH * (other._table(scenes.RADII.values())[look.fields["size"]] + 0.5) + scenes.MARGIN
    place = {
        name: torch.minimum(torch.maximum(other.floats[name], reach_B), scenes.SIDE - reach_B)
        for name in "xy"
    }
    return scenes.Scenes(look.fields, {**other.floats, **place})


def _changed(before: scenes.Scenes, kind: str, is_digit_B: Tensor, generator: torch.Generator) -> Tensor:
    """Another value of a field for each scene; a digit becomes another digit."""
    old, count, device = before.fields[kind], len(before), generator.device
    if kind != "shape":
        values = len(grammar.FIELDS[kind])
        return (old + torch.randint(1, values, (count,), generator=generator, device=device)) % values
    shapes, digits = len(grammar.SHAPES), len(grammar.DIGITS)
    shape = (old + torch.randint(1, shapes, (count,), generator=generator, device=device)) % shapes
    step = torch.randint(1, digits, (count,), generator=generator, device=device)
    return torch.where(is_digit_B, shapes + (old - shapes + step) % digits, shape)


def _unfit(after: scenes.Scenes, is_digit_B: Tensor) -> Tensor:
    """Which scenes cannot be: outside the picture, held out of training, or a digit with a texture."""
    fields, floats = after.fields, after.floats
    reach_B = scenes.REACH * after.radius_B
    travel_B2 = scenes.step(after) * floats["span"][:, None]
    ends = [
        floats[name] + shift for name, moved in zip("xy", travel_B2.T, strict=True) for shift in (0, moved)
    ]
    outside = torch.stack([(end < reach_B) | (end > scenes.SIDE - reach_B) for end in ends]).any(dim=0)
    held = (7 * fields["shape"] + 3 * fields["colour"] + 5 * fields["ground"]) % 11 == 0
    textured = is_digit_B & (fields["texture"] != 0)
    return outside | held | textured


def _kept(
    before: scenes.Scenes,
    after: scenes.Scenes,
    kind_B: Tensor,
    is_digit_B: Tensor,
    generator: torch.Generator,
) -> tuple[scenes.Scenes, Tensor, Tensor]:
    """The edits that can be; the others change the pattern of the background."""
    wrong = _unfit(after, is_digit_B)
    pattern = _changed(before, "pattern", is_digit_B, generator)
    fields = {name: torch.where(wrong, before.fields[name], after.fields[name]) for name in grammar.FIELDS}
    fields["pattern"] = torch.where(wrong, pattern, fields["pattern"])
    return scenes.Scenes(fields, after.floats), kind_B.masked_fill(wrong, KINDS.index("pattern")), wrong


def _likes(count: int, generator: torch.Generator) -> list[str | None]:
    turn = torch.rand(count, generator=generator, device=generator.device).tolist()
    return [LIKE[0] if each < 0.4 else LIKE[1] if each < 0.55 else None for each in turn]


def _as_another(
    before: scenes.Scenes, after: scenes.Scenes, likes: list[str | None], is_digit_B: Tensor,
    generator: torch.Generator,
) -> scenes.Scenes:  # fmt: skip
    """Edits that are told by a picture: the object, or the background, of another scene."""
    other, device = scenes.sample(len(before), generator), generator.device
    chosen = {name: torch.tensor([like == name for like in likes], device=device) for name in LIKE}
    fields = dict(after.fields)
    told = torch.stack([*chosen.values()]).any(dim=0)
    for name in grammar.FIELDS:
        fields[name] = torch.where(told, before.fields[name], fields[name])
    for like, names in (("object", ("shape", "colour", "texture")), ("scenery", ("ground", "pattern"))):
        tried = {**fields, **{name: other.fields[name] for name in names}}
        good = chosen[like] & ~_unfit(scenes.Scenes(tried, after.floats), torch.zeros_like(is_digit_B))
        for name in names:
            fields[name] = torch.where(good, tried[name], fields[name])
        for row in (chosen[like] & ~good).nonzero()[:, 0].tolist():
            likes[row] = None
            fields["pattern"][row] = (before.fields["pattern"][row] + 1) % len(grammar.PATTERNS)
    return scenes.Scenes(fields, after.floats)


def _when(count: int, generator: torch.Generator) -> list[Span | None]:
    device = generator.device
    said = torch.rand(count, generator=generator, device=device) < SPOKEN_TIMES
    which = torch.randint(len(SPANS), (count,), generator=generator, device=device)
    return [
        SPANS[index] if is_said else None
        for index, is_said in zip(which.tolist(), said.tolist(), strict=True)
    ]


def _masks(
    before: scenes.Scenes, after: scenes.Scenes, generator: torch.Generator, clips: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Masks: half a box about the object's path, a third any box, and of clips half in a range of time."""
    count, device = len(before), generator.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator, device=device)

    masked = uniform() < MASKED
    low, high = uniform(2) * 0.6, uniform(2)
    size = 0.25 + 0.75 * high
    anywhere = torch.cat([low, (low + size).clamp(max=1.0)], dim=1)
    around = _around(before, after) / scenes.SIDE
    turn = uniform()
    boxes = torch.where((turn < 0.5)[:, None], around, anywhere)
    is_time = uniform() < (0.5 if clips else 0.0)
    boxes = torch.where((is_time & (turn > 0.8))[:, None], boxes.new_tensor([0.0, 0.0, 1.0, 1.0]), boxes)
    begin = uniform() * 0.7
    end = torch.where(uniform() < 0.6, torch.full_like(begin, 2.0), begin + 0.3 + 0.4 * uniform())
    whole = boxes.new_tensor([0.0, 2.0]).expand(count, 2)
    spans = torch.where(is_time[:, None], torch.stack([begin, end], dim=1), whole)
    boxes = torch.where(masked[:, None], boxes, boxes.new_tensor([0.0, 0.0, 1.0, 1.0]))
    return masked, boxes, torch.where(masked[:, None], spans, whole)


def _around(before: scenes.Scenes, after: scenes.Scenes) -> Tensor:
    """The box that both objects stay in all of the time, with a margin: pixels, B4."""
    corners = []
    for scene in (before, after):
        reach = (scenes.REACH * scene.radius_B + 2)[:, None]
        start, end = scenes.centre(scene, 0.0), scenes.centre(scene, 1.0)
        corners += [start - reach, start + reach, end - reach, end + reach]
    stacked = torch.stack(corners)
    return torch.cat([stacked.amin(dim=0), stacked.amax(dim=0)], dim=1).clamp(0, scenes.SIDE)
