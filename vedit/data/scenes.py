"""Drawn scenes: one coloured shape or digit on a background, in batches of tensors on any device.

A scene is a record; `draw` turns a batch of records into pictures, `clip` one record into
frames. Edges are anti-aliased from a signed distance (coverage = clamp(0.5 - d, 0, 1)), so a
picture is the same on every device up to rounding. Everything random comes from one generator
when scenes are *drawn from their distribution* (`sample`); drawing itself is exact.

Tensor names: B scenes, F frames, C colours, Y X rows and columns.
"""

import dataclasses
import itertools
import json
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vedit.data import grammar
from vedit.errors import InputError

SIDE = 64
FRAMES = 8
MAX_GRAIN = 0.02
RADII = {"small": 9.0, "medium": 13.0, "large": 17.0}
SPAN = 8.0, 16.0  # of a path over a clip, pixels
REACH = 1.15  # the outermost point of any shape, in radii
MARGIN = 1.0
LARGEST = 2**63 - 1  # of a number in a record: what seeds a generator

OBJECT_RGB = {
    "red": (0.90, 0.12, 0.12),
    "green": (0.15, 0.75, 0.20),
    "blue": (0.15, 0.30, 0.95),
    "yellow": (0.97, 0.88, 0.12),
    "purple": (0.60, 0.15, 0.80),
    "orange": (1.00, 0.55, 0.08),
    "white": (0.97, 0.97, 0.97),
}
GROUND_RGB = {
    "grey": (0.50, 0.50, 0.50),
    "black": (0.05, 0.05, 0.05),
    "brown": (0.42, 0.26, 0.13),
    "teal": (0.05, 0.50, 0.50),
    "pink": (0.95, 0.62, 0.72),
    "navy": (0.08, 0.10, 0.32),
}
STEP_XY = {
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
    "still": (0.0, 0.0),
}


def _shift(name: str, value: Any) -> tuple[float, float, float]:
    is_right = isinstance(value, (list, tuple)) and len(value) == 3
    if not is_right or not all(type(part) in (int, float) and abs(part) <= 1 for part in value):
        raise InputError(f"not a scene record: {name} is {value!r}.", "It is three numbers from -1 to 1.")
    red, green, blue = value
    return red, green, blue


@dataclass(frozen=True)
class Scene:
    """One scene: what a caption can say, then the nuisances that it never says.

    x, y: centre in the first frame, pixels; span: path length over the clip, pixels;
    size_offset: pixels added to the radius of `size`; rotation, stripe_angle, slope_angle: radians; period,
    phase_x, phase_y: background pattern, pixels; grain: standard deviation of the film grain (pictures lie in
    0..1), fresh in every frame, drawn from `grain_seed`.
    """

    shape: str
    colour: str
    texture: str
    size: str
    ground: str
    pattern: str
    motion: str
    x: float
    y: float
    span: float
    size_offset: float
    rotation: float
    colour_shift: tuple[float, float, float]
    ground_shift: tuple[float, float, float]
    slope: float
    slope_angle: float
    period: float
    phase_x: float
    phase_y: float
    stripe_angle: float
    stripe_period: float
    grain: float
    grain_seed: int

    @property
    def fields(self) -> dict[str, str]:
        """Return what a caption can say about the scene."""
        return {name: getattr(self, name) for name in grammar.FIELDS}

    @property
    def caption(self) -> str:
        return grammar.caption(self.fields)

    @property
    def radius(self) -> float:
        return RADII[self.size] + self.size_offset

    @property
    def is_inside(self) -> bool:
        """Tell whether the whole object stays inside the picture in every frame."""
        reach = REACH * self.radius
        step_x, step_y = STEP_XY[self.motion]
        ends = [(self.x, self.y), (self.x + step_x * self.span, self.y + step_y * self.span)]
        return all(reach <= value <= SIDE - reach for end in ends for value in end)

    def edited(self, **fields: str) -> "Scene":
        """Change what a caption can say and keep every nuisance: the truth of that edit."""
        scene = dataclasses.replace(self, **fields)  # type: ignore[arg-type]
        if not scene.is_inside:
            raise InputError(
                f"the edited object ({scene.caption}) would leave the picture.",
                "A scene and its edit share one place; draw a scene with more room around it.",
            )
        return scene

    def to_json(self) -> str:
        """Write the record on one line; `Scene.from_json` gives an equal scene."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Scene":
        return cls.from_dict(json.loads(line))

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Scene":
        names = {field.name for field in dataclasses.fields(cls)}
        if wrong := sorted(names ^ set(record)):
            raise InputError(f"not a scene record: unknown or missing keys {', '.join(wrong)}.")
        for name, values in grammar.FIELDS.items():
            if record[name] not in values:
                raise InputError(
                    f"not a scene record: {name} is {record[name]!r}.", f"Known: {', '.join(values)}."
                )
        shifts = {name: _shift(name, record[name]) for name in ("colour_shift", "ground_shift")}
        for name in names - {*shifts, *grammar.FIELDS}:
            if type(record[name]) not in (int, float) or not abs(record[name]) <= LARGEST:
                raise InputError(f"not a scene record: {name} is {record[name]!r}.", "It is a number.")
        return cls(**{**record, **shifts})


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes as tensors: `fields_B` holds indices into the grammar, `floats_B` nuisances."""

    fields: dict[str, Tensor]
    floats: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.fields["shape"])

    @property
    def device(self) -> torch.device:
        return self.fields["shape"].device

    def __getitem__(self, rows: Tensor | slice) -> "Scenes":
        return Scenes(
            {name: value[rows] for name, value in self.fields.items()},
            {name: value[rows] for name, value in self.floats.items()},
        )

    def with_fields(self, **fields_B: Tensor) -> "Scenes":
        return Scenes({**self.fields, **fields_B}, self.floats)

    @property
    def radius_B(self) -> Tensor:
        return self._table(RADII.values())[self.fields["size"]] + self.floats["size_offset"]

    def _table(self, rows: Iterable[Any]) -> Tensor:
        return torch.tensor(list(rows), device=self.device)

    def words(self) -> list[dict[str, str]]:
        """Return the fields of each scene as words."""
        columns = {name: self.fields[name].tolist() for name in grammar.FIELDS}
        return [
            {name: values[columns[name][row]] for name, values in grammar.FIELDS.items()}
            for row in range(len(self))
        ]


FLOATS = tuple(
    field.name
    for field in dataclasses.fields(Scene)
    if field.name not in grammar.FIELDS and field.name != "grain_seed"
)


def stack(scenes: Sequence[Scene], device: torch.device | str = "cpu") -> Scenes:
    """Put records into one batch."""
    fields = {
        name: torch.tensor([values.index(getattr(scene, name)) for scene in scenes], device=device)
        for name, values in grammar.FIELDS.items()
    }
    floats = {
        name: torch.tensor([getattr(scene, name) for scene in scenes], device=device, dtype=torch.float32)
        for name in FLOATS
    }
    return Scenes(fields, floats)


# --- drawing scenes from their distribution ---------------------------------------------------


def sample(
    count: int,
    generator: torch.Generator,
    *,
    held_out: bool | None = False,
    digits: float = 0.0,
    far: bool = False,
) -> Scenes:
    """Draw scenes at random, on the generator's device.

    held_out: False gives training triples, True held-out ones, None both.
    digits: the share of scenes that show a digit, always plain; their texture would be wider
    than their strokes. The other scenes of a seed are the same for any share.
    far: let paths be as long as the frame has room for, and not 16 pixels at most.
    """
    device = generator.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator, device=device)

    def choice(weights: Sequence[float]) -> Tensor:
        return torch.multinomial(
            torch.tensor(weights, device=device), count, replacement=True, generator=generator
        )

    def pick(shapes: Sequence[str]) -> Tensor:
        triples = torch.tensor(_triples(held_out, shapes), device=device)
        return triples[torch.randint(len(triples), (count,), generator=generator, device=device)]

    triple = pick(grammar.SHAPES)
    fields = {
        "shape": triple[:, 0],
        "colour": triple[:, 1],
        "texture": choice((0.6, 0.2, 0.2)),
        "size": choice((1.0, 1.0, 1.0)),
        "ground": triple[:, 2],
        "pattern": choice((0.5, 0.25, 0.25)),
        "motion": choice((1.0, 1.0, 1.0, 1.0, 1.0)),
    }
    floats = {
        "span": uniform(*SPAN),
        "size_offset": uniform(-0.5, 0.5),
        "rotation": uniform(-0.25, 0.25),
        "colour_shift": uniform(-0.04, 0.04, 3),
        "ground_shift": uniform(-0.04, 0.04, 3),
        "slope": uniform(0.0, 0.12),
        "slope_angle": uniform(-math.pi, math.pi),
        "period": uniform(10.0, 16.0),
        "phase_x": uniform(0.0, 16.0),
        "phase_y": uniform(0.0, 16.0),
        "stripe_angle": uniform(-math.pi / 2, math.pi / 2),
        "stripe_period": uniform(6.0, 7.0),
        "grain": uniform(0.0, MAX_GRAIN),
    }
    place = uniform(0.0, 1.0, 2)
    if digits:
        is_digit = uniform(0.0, 1.0) < digits
        triple = torch.where(is_digit[:, None], pick(grammar.DIGITS), triple)
        fields |= {"shape": triple[:, 0], "colour": triple[:, 1], "ground": triple[:, 2]}
        fields["texture"] = fields["texture"].masked_fill(is_digit, grammar.TEXTURES.index("plain"))
    scenes = Scenes(fields, floats)
    reach_B = REACH * scenes.radius_B + MARGIN
    if far:
        share_B = (floats["span"] - SPAN[0]) / (SPAN[1] - SPAN[0])
        floats["span"] = SPAN[0] + share_B * (SIDE - 2 * reach_B - SPAN[0])
    travel_BC = step(scenes) * floats["span"][:, None]
    low_BC = reach_B[:, None] - travel_BC.clamp(max=0)
    high_BC = SIDE - reach_B[:, None] - travel_BC.clamp(min=0)
    start_BC = low_BC + (high_BC - low_BC) * place
    return Scenes(fields, {**floats, "x": start_BC[:, 0], "y": start_BC[:, 1]})


def _triples(held_out: bool | None, shapes: Sequence[str]) -> list[tuple[int, int, int]]:
    return [
        (shape, colour, ground)
        for shape in map(grammar.FIELDS["shape"].index, shapes)
        for colour in range(len(grammar.COLOURS))
        for ground in range(len(grammar.GROUNDS))
        if held_out is None or grammar.is_held_out_triple(shape, colour, ground) is held_out
    ]


def sample_records(
    count: int, seed: int, *, held_out: bool | None = False, digits: float = 0.0
) -> list[Scene]:
    """Draw records from a seed, nuisances rounded to four digits so that a record stays short."""
    generator = torch.Generator().manual_seed(seed)
    scenes = sample(count, generator, held_out=held_out, digits=digits)
    grain_seeds = torch.randint(2**31, (count,), generator=generator).tolist()
    floats = {name: scenes.floats[name].tolist() for name in FLOATS}
    records = []
    for row, words in enumerate(scenes.words()):
        fields: dict[str, Any] = {**words, **{name: _rounded(floats[name][row]) for name in FLOATS}}
        records.append(Scene(**fields, grain_seed=grain_seeds[row]))
    return records


def _rounded(value: Any) -> Any:
    return tuple(round(v, 4) for v in value) if isinstance(value, list) else round(value, 4)


def varied_captions(scenes: Scenes, seed: int, says_motion: float = 0.6) -> list[str]:
    """Write one caption per scene the way training captions vary; `says_motion`: how many tell its motion."""
    rng = random.Random(seed)
    return [grammar.varied_caption(words, rng, says_motion=says_motion) for words in scenes.words()]


# --- drawing pictures ------------------------------------------------------------------------


def clip(scene: Scene, frames: int = FRAMES) -> Tensor:
    """Draw all frames of a scene, film grain included: FCYX in 0..1."""
    batch = stack([scene] * frames)
    pictures_FCYX = draw(batch, torch.arange(frames) / max(1, frames - 1))
    noise = torch.randn(pictures_FCYX.shape, generator=torch.Generator().manual_seed(scene.grain_seed))
    return add_grain(pictures_FCYX, batch, noise)


def add_grain(pictures_BCYX: Tensor, scenes: Scenes, noise_BCYX: Tensor) -> Tensor:
    """Add each scene's film grain; `noise_BCYX` is unit Gaussian."""
    return (pictures_BCYX + scenes.floats["grain"][:, None, None, None] * noise_BCYX).clamp_(0, 1)


def draw(scenes: Scenes, time_B: Tensor) -> Tensor:
    """Draw one picture per scene at a time in 0..1 of its path, without grain: BCYX in 0..1."""
    distance_BYX, u_BYX, v_BYX = _object(scenes, time_B)
    cover_BYX = _cover(distance_BYX)
    shade_BYX = 1 - 0.5 * _texture(scenes, u_BYX, v_BYX)
    object_BC = scenes._table(OBJECT_RGB.values())[scenes.fields["colour"]] + scenes.floats["colour_shift"]
    object_BCYX = object_BC.clamp(0, 1)[:, :, None, None] * shade_BYX[:, None]
    return torch.lerp(_ground(scenes), object_BCYX, cover_BYX[:, None]).clamp_(0, 1)


def object_mask(scenes: Scenes, time_B: Tensor) -> Tensor:
    """Return how much of each pixel the object covers: BYX in 0..1."""
    return _cover(_object(scenes, time_B)[0])


def changed_pixels(before_BCYX: Tensor, after_BCYX: Tensor, grow: int = 2) -> Tensor:
    """Mark the pixels that differ between two drawings, grown by `grow` pixels: BYX, bool."""
    differs_BYX = ((before_BCYX - after_BCYX).abs() > 1e-6).any(dim=1)
    if grow == 0:
        return differs_BYX
    grown = torch.nn.functional.max_pool2d(differs_BYX[:, None].float(), 2 * grow + 1, 1, grow)
    return grown[:, 0] > 0


def _cover(distance: Tensor) -> Tensor:
    return (0.5 - distance).clamp_(0, 1)


def centre(scenes: Scenes, time: float) -> Tensor:
    """Return where each object is at a time in 0..1 of its path: B2, x and y in pixels."""
    floats = scenes.floats
    return torch.stack([floats["x"], floats["y"]], dim=1) + time * floats["span"][:, None] * step(scenes)


def step(scenes: Scenes) -> Tensor:
    return scenes._table(STEP_XY.values())[scenes.fields["motion"]]


def _grid(scenes: Scenes) -> Tensor:
    return torch.arange(SIDE, device=scenes.device, dtype=torch.float32) + 0.5


def _object(scenes: Scenes, time_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return signed distances in pixels (negative inside) and the object's own coordinates."""
    floats = scenes.floats
    travelled_B = floats["span"] * time_B.to(scenes.device)
    step_B2 = step(scenes)
    grid = _grid(scenes)
    x_BX = grid[None] - (floats["x"] + step_B2[:, 0] * travelled_B)[:, None]
    y_BY = grid[None] - (floats["y"] + step_B2[:, 1] * travelled_B)[:, None]
    cos, sin = torch.cos(floats["rotation"])[:, None], torch.sin(floats["rotation"])[:, None]
    u_BYX = (cos * x_BX)[:, None, :] + (sin * y_BY)[:, :, None]
    v_BYX = (cos * y_BY)[:, :, None] - (sin * x_BX)[:, None, :]
    radius_B11 = scenes.radius_B[:, None, None]
    distance_BYX = torch.empty_like(u_BYX)
    for index, shape in enumerate(grammar.FIELDS["shape"]):
        rows = (scenes.fields["shape"] == index).nonzero()[:, 0]
        if len(rows):
            distance_BYX[rows] = DISTANCES[shape](u_BYX[rows], v_BYX[rows], radius_B11[rows])
    return distance_BYX, u_BYX, v_BYX


def _circle(u: Tensor, v: Tensor, radius: Tensor) -> Tensor:
    return torch.hypot(u, v) - radius


def _square(u: Tensor, v: Tensor, radius: Tensor) -> Tensor:
    return _box(u, v, 0.81 * radius, 0.81 * radius)


def _box(u: Tensor, v: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
    return torch.maximum(u.abs() - half_width, v.abs() - half_height)


def _triangle(u: Tensor, v: Tensor, radius: Tensor) -> Tensor:
    # Equilateral, one corner up: the base and, by symmetry, one slanted side.
    slanted = 0.8660254 * u.abs() - 0.5 * v
    return torch.maximum(slanted, v) - 0.5 * REACH * radius


def _star(u: Tensor, v: Tensor, radius: Tensor) -> Tensor:
    # Fold the plane onto the tenth between a tip (straight up) and its notch, then take the
    # distance to the line through both.
    fold, tip, notch = math.pi / 5, REACH * radius, 0.45 * REACH * radius
    angle = torch.atan2(u, -v).abs()
    angle = (angle - 2 * fold * torch.round(angle / (2 * fold))).abs()
    r = torch.hypot(u, v)
    along, across = r * torch.cos(angle), r * torch.sin(angle)
    edge_along, edge_across = notch * math.cos(fold) - tip, notch * math.sin(fold)
    length = torch.hypot(edge_along, edge_across)
    return ((along - tip) * edge_across - across * edge_along) / length


def _cross(u: Tensor, v: Tensor, radius: Tensor) -> Tensor:
    long, short = radius, 0.34 * radius
    return torch.minimum(_box(u, v, long, short), _box(u, v, short, long))


def _ring(u: Tensor, v: Tensor, radius: Tensor) -> Tensor:
    return (torch.hypot(u, v) - 0.74 * radius).abs() - 0.26 * radius


def _arc(
    x: float, y: float, half_width: float, half_height: float, start: int, end: int
) -> list[tuple[float, float]]:
    """Return a polyline along an ellipse from one angle to another, degrees clockwise from the right."""
    steps = max(2, round(abs(end - start) / 22.5))
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return [(x + half_width * math.cos(a), y + half_height * math.sin(a)) for a in angles]


# The middle of each digit's strokes, in radii, y downwards; a digit is 1.2 wide and 2 high.
STROKE = 0.18
SIX = [_arc(0, 0.36, 0.42, 0.44, 0, 360), _arc(0.42, 0.36, 0.84, 1.16, 180, 262)]
GLYPHS: dict[str, list[list[tuple[float, float]]]] = {
    "digit 0": [_arc(0, 0, 0.42, 0.8, 0, 360)],
    "digit 1": [[(-0.3, -0.46), (0.08, -0.8), (0.08, 0.8)]],
    "digit 2": [[*_arc(0, -0.4, 0.42, 0.4, -170, 30), (-0.42, 0.8), (0.42, 0.8)]],
    "digit 3": [_arc(-0.04, -0.41, 0.42, 0.39, -150, 90), _arc(-0.04, 0.39, 0.46, 0.41, -90, 150)],
    "digit 4": [[(0.2, 0.8), (0.2, -0.8), (-0.42, 0.34), (0.44, 0.34)]],
    "digit 5": [[(0.36, -0.8), (-0.3, -0.8), (-0.36, -0.06), *_arc(-0.04, 0.3, 0.46, 0.5, -135, 140)]],
    "digit 6": SIX,
    "digit 7": [[(-0.42, -0.8), (0.42, -0.8), (-0.1, 0.8)]],
    "digit 8": [_arc(0, -0.43, 0.36, 0.37, 0, 360), _arc(0, 0.37, 0.42, 0.43, 0, 360)],
    "digit 9": [[(-x, -y) for x, y in line] for line in SIX],
}


def _glyph(digit: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    segments = [ends for line in GLYPHS[digit] for ends in itertools.pairwise(line)]

    def distance(u: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        x, y = u / radius, v / radius
        squared = torch.full_like(x, torch.inf)
        for (x0, y0), (x1, y1) in segments:
            dx, dy = x1 - x0, y1 - y0
            along = (((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy)).clamp_(0, 1)
            squared = torch.minimum(squared, (x - x0 - dx * along).square() + (y - y0 - dy * along).square())
        return (squared.sqrt() - STROKE) * radius

    return distance


DISTANCES = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    **{digit: _glyph(digit) for digit in grammar.DIGITS},
}


def _texture(scenes: Scenes, u_BYX: Tensor, v_BYX: Tensor) -> Tensor:
    """Return how dark the texture is at each pixel, 0..1; it moves and turns with the object."""
    dark_BYX = torch.zeros_like(u_BYX)
    period_B = scenes.floats["stripe_period"][:, None, None]
    for index, texture in enumerate(grammar.TEXTURES):
        rows = (scenes.fields["texture"] == index).nonzero()[:, 0]
        if texture == "plain" or not len(rows):
            continue
        u, v, period = u_BYX[rows], v_BYX[rows], period_B[rows]
        if texture == "striped":
            angle = scenes.floats["stripe_angle"][rows][:, None, None]
            along = torch.cos(angle) * u + torch.sin(angle) * v
            dark_BYX[rows] = _cover(_fold(along, period) - 0.25 * period)
        else:
            dark_BYX[rows] = _cover(torch.hypot(_fold(u, period), _fold(v, period)) - 0.3 * period)
    return dark_BYX


def _fold(value: Tensor, period: Tensor) -> Tensor:
    """Return the distance to the nearest multiple of the period."""
    return (value - period * torch.round(value / period)).abs()


def _ground(scenes: Scenes) -> Tensor:
    floats, grid = scenes.floats, _grid(scenes)
    base_BC = scenes._table(GROUND_RGB.values())[scenes.fields["ground"]] + floats["ground_shift"]
    centred = (grid - SIDE / 2) / SIDE
    slope_x, slope_y = (
        (floats["slope"] * wave(floats["slope_angle"]))[:, None] * centred[None]
        for wave in (torch.cos, torch.sin)
    )
    slope_BYX = slope_y[:, :, None] + slope_x[:, None, :]
    shift_BC = pattern_shift(base_BC)
    pattern_BYX = _pattern(scenes, grid)
    ground_BCYX = base_BC[:, :, None, None] + shift_BC[:, :, None, None] * pattern_BYX[:, None]
    return ground_BCYX + slope_BYX[:, None]


def pattern_shift(base_BC: Tensor) -> Tensor:
    """Return what a pattern adds to its ground: dark grounds get lighter squares or waves, light grounds
    darker ones.
    """
    is_light_B1 = base_BC.mean(dim=-1, keepdim=True) > 0.4
    return torch.where(is_light_B1, -0.25 * base_BC, torch.full_like(base_BC, 0.15))


def _pattern(scenes: Scenes, grid: Tensor) -> Tensor:
    """Return the background pattern, 0..1, fixed in the frame."""
    floats = scenes.floats
    marked_BYX = torch.zeros(len(scenes), SIDE, SIDE, device=scenes.device)
    x_BX, y_BY = grid[None] + floats["phase_x"][:, None], grid[None] + floats["phase_y"][:, None]
    for index, pattern in enumerate(grammar.PATTERNS):
        rows = (scenes.fields["pattern"] == index).nonzero()[:, 0]
        if pattern == "plain" or not len(rows):
            continue
        x, y, period = x_BX[rows], y_BY[rows], floats["period"][rows][:, None]
        if pattern == "checkered":
            # Two period-wide half waves multiply to squares; one pixel of slope at each border.
            half = 0.25 * period
            columns, lines = _square_wave(x, period, half), _square_wave(y, period, half)
            marked_BYX[rows] = 0.5 + 0.5 * lines[:, :, None] * columns[:, None, :]
        else:
            bend = 2.5 * torch.sin(2 * math.pi * x / (1.6 * period))
            height = _fold(y[:, :, None] + bend[:, None, :], period[:, :, None])
            marked_BYX[rows] = _cover(height - 0.25 * period[:, :, None])
    return marked_BYX


def _square_wave(value: Tensor, period: Tensor, half: Tensor) -> Tensor:
    return (2 * (half - _fold(value, period))).clamp_(-1, 1)
