"""Plan a chain of stages: pick the cheapest exact kind of frame for each, and convert between.

A stage names the kinds of frame it accepts. Between two stages that want different kinds the
planner inserts a conversion:

    packed --unpack--> index --compose--> rgba --quantise--> index --pack--> packed

Two full-colour stages in a row stay in full colour, so a chain quantises once. Anything else
runs on the cheapest kind it accepts, which makes a chain give the same composed frames as its
stages run one after another through a pipe.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from vedit.errors import VeditError
from vedit.media.frames import Clip, Frame, Frames
from vedit.media.limits import Limits
from vedit.media.options import QuantiseOptions

# What one image costs, in units of unpacking one; measured in benchmarks/, only the order matters.
CONVERSIONS = {
    ("packed", "index"): 10,
    ("index", "rgba"): 30,
    ("rgba", "index"): 300,
    ("index", "packed"): 15,
}
STAGE_COST = {"packed": 0, "index": 2, "yuv": 3, "rgba": 5}


class Stage(Protocol):
    """One transform of a stream of frames.

    accepts: kinds of frame it can work on; it gives the kind that it gets. "rgba" includes "rgb";
        "yuv" is what film is stored as, which a chain of stages that all accept it keeps.
    prepass: the kind of frames that it must see once before it opens, through
        `observe(clip, frames)`, as what a border common to all frames is; None for most.

    A stage that has a place on the canvas may say which once it is open: `marked`, rectangles of its input,
    for a page that draws them.
    """

    name: str
    accepts: tuple[str, ...]
    prepass: str | None

    def open(self, clip: Clip) -> Clip:
        """The facts of the clip behind this stage; called once, before any frame."""
        ...

    def run(self, frames: Frames) -> Frames:
        """Transform the frames, keeping only those still needed."""
        ...


class Step(NamedTuple):
    """One edge or node of a plan: a stage on frames of `kind`, or a conversion to `kind`."""

    name: str
    kind: str
    stage: Stage | None = None


def plan(stages: Sequence[Stage], source: str, sink: str) -> list[Step]:
    """The cheapest sequence of conversions and stages from the source's kind to the sink's."""
    best: dict[str, tuple[int, list[Step]]] = _spread({source: (0, [])})
    for stage in stages:
        reached = {}
        for kind, (cost, steps) in best.items():
            if kind in stage.accepts:
                reached[kind] = (cost + STAGE_COST[kind], [*steps, Step(stage.name, kind, stage)])
        best = _spread(reached)
    return best[sink][1]


def _spread(best: dict[str, tuple[int, list[Step]]]) -> dict[str, tuple[int, list[Step]]]:
    """Add the kinds that conversions reach from those already reached, at their cost."""
    names = {
        ("packed", "index"): "unpack",
        ("index", "rgba"): "compose",
        ("rgba", "index"): "quantise",
        ("index", "packed"): "pack",
    }
    changed = True
    while changed:
        changed = False
        for (start, end), cost in CONVERSIONS.items():
            if start in best and (end not in best or best[end][0] > best[start][0] + cost):
                best[end] = (best[start][0] + cost, [*best[start][1], Step(names[start, end], end)])
                changed = True
    return best


def path_name(steps: Iterable[Step]) -> str:
    """The word `--info` prints: copy, index, recolour (index with new colours in palettes), planes (film to
    film) or full.
    """
    steps = list(steps)
    kinds = {step.kind for step in steps}
    if "yuv" in kinds:
        return "planes"
    if "rgba" in kinds:
        return "full"
    recolours = any(getattr(step.stage, "recolours", False) and step.kind == "index" for step in steps)
    decodes = any(getattr(step.stage, "decodes", False) for step in steps)
    return "recolour" if recolours else "index" if decodes or "index" in kinds else "copy"


_local = threading.local()


@contextmanager
def at_stage(place: int) -> Iterator[None]:
    """Let errors and warnings say at which stage of a chain, from 0, they came up."""
    _local.place = place
    try:
        yield
    except VeditError as error:
        error.stage = place
        raise
    finally:
        _local.place = None


def stage_at_work() -> int | None:
    """The place of the stage that this thread is opening; None for none."""
    return getattr(_local, "place", None)


Converter = Callable[[Clip, Frames], Frames]


def connect(
    clip: Clip, frames: Frames, steps: Sequence[Step], converters: dict[str, Converter]
) -> tuple[Clip, Frames]:
    """Build the generator chain of a plan; nothing runs until frames are drawn from it."""
    place = 0
    for step in steps:
        if step.stage is not None:
            with at_stage(place):
                clip = _opened(step.stage, clip)
                frames = step.stage.run(frames)
            place += 1
        else:
            frames = converters[step.name](clip, frames)
    return clip, frames


def _opened(stage: Stage, clip: Clip) -> Clip:
    """The clip behind a stage, which may make a canvas larger, but no larger than may be read."""
    made = stage.open(clip)
    if made.width * made.height > clip.width * clip.height:
        check_canvas((made.width, made.height), stage.name, made.limits)
    return made


def check_canvas(size: tuple[int, int], maker: str, limits: Limits) -> None:
    """Refuse a canvas over the limit before any frame of it is made. Raises LimitError."""
    width, height = size
    what = f"a canvas of {width}x{height}, which {maker} makes,"
    limits.check("canvas", width * height, what, "Every frame on its way takes that much.")


def converters(
    limits: Limits, hurt: Callable[[str], None], jobs: int = 1, colours: QuantiseOptions = QuantiseOptions()
) -> dict[str, Converter]:
    """The conversions between kinds of frame; each imports what it needs when a plan holds it.

    hurt: told of damaged pixels. jobs: threads for the frames of the clip.
    """

    def unpack(clip: Clip, frames: Frames) -> Frames:
        from vedit.media.gif import lzw

        return lzw.unpack(clip, frames, limits=limits, hurt=hurt, jobs=jobs)

    def pack(clip: Clip, frames: Frames) -> Frames:
        from vedit.media.gif import lzw

        return lzw.pack(clip, frames, jobs=jobs)

    def compose(clip: Clip, frames: Frames) -> Frames:
        from vedit.media.gif import compose

        return compose.compose(clip, frames)

    def quantise(clip: Clip, frames: Frames) -> Frames:
        from vedit.media.gif.quantise import quantise

        return _primed(quantise(clip, frames, colours, jobs))

    return {"unpack": unpack, "pack": pack, "compose": compose, "quantise": quantise}


def _primed(frames: Frames) -> Frames:
    """Draw the first frame now: the quantiser then has set the clip's palette for who comes next."""
    first = next(frames, None)
    return iter(()) if first is None else _behind(first, frames)


def _behind(first: Frame, frames: Frames) -> Frames:
    """A generator, unlike `itertools.chain`: closing it closes the frames."""
    yield first
    yield from frames
