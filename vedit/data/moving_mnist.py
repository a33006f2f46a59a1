"""Moving MNIST: the public file, captions from tracked motion, and clips drawn by the same rule.

Source of the file and of the rule: Srivastava, Mansimov, Salakhutdinov 2015, "Unsupervised Learning
of Video Representations using LSTMs": digits of 28x28 on a 64x64 canvas start anywhere, fly straight,
a tenth of the free way a frame, and are reflected at the walls; overlaps show the brighter pixel.
The public test file holds (frames, clips, rows, columns) = (20, 10000, 64, 64) uint8 without labels.

A caption says where each digit flies at first, until it bounces. In the file that is tracked; of a
drawn clip the path is known. Deviation: `straight` keeps the digits off the walls, so that the
caption holds for the whole clip.
"""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vedit.errors import InputError, reason_of

DRAWN_INSTEAD = "To draw clips without a download: vedit data moving-mnist --synth 2000 OUT"
CANVAS, DIGIT, STEP = 64, 28, 0.1
FREE = CANVAS - DIGIT
DIRECTIONS = ("right", "up and right", "up", "up and left", "left", "down and left", "down", "down and right")
INK = 64  # a pixel from here on belongs to a digit
GAP = 1  # pixels around each stroke that belong to it: strokes of one digit have gaps
SPECK = 12  # components of fewer pixels are no digit
FARTHEST = 8.0  # pixels that a digit flies in one frame at most; the rule's own is 3.6
STILL = 0.5  # pixels a frame below which a digit stands still
NUMBERS = {1: "a", 2: "two", 3: "three"}
SHORTEST = 3  # steps that a direction is read from, at least


# --- the public file -------------------------------------------------------------------------


def open_file(path: str | Path) -> np.ndarray:
    """The clips of a public file as (frames, clips, rows, columns) uint8, mapped and not read.

    Raises InputError for a file of another kind or shape.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot read: {reason_of(error)}.", "", DRAWN_INSTEAD) from None
    except (ValueError, EOFError):
        raise InputError(
            f"{path}: not an array in NumPy's format.",
            "The public file is mnist_test_seq.npy, 819 MB.",
            DRAWN_INSTEAD,
        ) from None
    if not isinstance(array, np.ndarray) or array.ndim != 4 or array.dtype != np.uint8 or 0 in array.shape:
        found = f"{getattr(array, 'shape', '?')} {getattr(array, 'dtype', '')}".strip()
        raise InputError(
            f"{path}: holds {found}.",
            "The public file is (20, 10000, 64, 64) uint8: frames, clips, rows, columns.",
        )
    return array


# --- tracking --------------------------------------------------------------------------------


class Blob(NamedTuple):
    """A connected component: its centre in pixels (x, y) and its count of pixels."""

    x: float
    y: float
    area: int


def blobs(frame_YX: np.ndarray) -> list[Blob]:
    """The digits of a frame as connected components, largest first.

    Strokes less than 2*GAP + 1 pixels apart count as one: handwritten digits are at times broken.
    """
    ink = frame_YX >= INK
    labels = label(_grown(ink, GAP))
    found = []
    for number in range(1, labels.max(initial=0) + 1):
        rows, columns = np.nonzero(ink & (labels == number))
        if len(rows) >= SPECK:
            found.append(Blob(float(columns.mean()), float(rows.mean()), len(rows)))
    return sorted(found, key=lambda blob: -blob.area)


def _grown(mask_YX: np.ndarray, reach: int) -> np.ndarray:
    """The mask with every pixel within `reach` (in steps along an axis or a diagonal) added."""
    height, width = mask_YX.shape
    padded = np.pad(mask_YX, reach)
    rows = np.logical_or.reduce([padded[shift : shift + height] for shift in range(2 * reach + 1)])
    grown: np.ndarray = np.logical_or.reduce(
        [rows[:, shift : shift + width] for shift in range(2 * reach + 1)]
    )
    return grown


def label(mask_YX: np.ndarray) -> np.ndarray:
    """Number the 4-connected components of a mask from 1, in the order of their first pixel.

    Runs of each row are joined with the runs above that they touch (union-find).
    """
    parent: list[int] = []

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = run = parent[parent[run]]
        return run

    runs: list[tuple[int, int, int]] = []
    above: list[int] = []
    for row, line in enumerate(mask_YX):
        edges = np.flatnonzero(np.diff(line, prepend=False, append=False))
        here = []
        for start, stop in zip(edges[::2], edges[1::2]):
            run = len(runs)
            runs.append((row, int(start), int(stop)))
            parent.append(run)
            here.append(run)
            for other in above:
                if runs[other][1] < stop and start < runs[other][2]:
                    first, second = sorted((root(run), root(other)))
                    parent[second] = first
        above = here
    labels = np.zeros(mask_YX.shape, np.int32)
    numbers: dict[int, int] = {}
    for run, (row, start, stop) in enumerate(runs):
        labels[row, start:stop] = numbers.setdefault(root(run), len(numbers) + 1)
    return labels


def tracks(clip_FYX: np.ndarray, count: int) -> Iterator[list[np.ndarray]]:
    """The paths of `count` digits, one array (frames, 2) of centres (x, y) each, for every stretch of
    the clip in which that many digits are seen apart from one another: they keep their areas there.
    """
    paths: list[list[Blob]] = []
    for frame in clip_FYX:
        found = blobs(frame)
        ahead = _continued(paths, found)
        if ahead is None:
            if paths:
                yield [np.array([blob[:2] for blob in path]) for path in paths]
            paths = [[blob] for blob in found] if len(found) == count else []
        else:
            for path, blob in zip(paths, ahead):
                path.append(blob)
    if paths:
        yield [np.array([blob[:2] for blob in path]) for path in paths]


def _continued(paths: list[list[Blob]], found: list[Blob]) -> list[Blob] | None:
    """The blob that continues each path, nearest first; None unless each path has one."""
    if not paths or len(found) != len(paths):
        return None
    pairs = [
        (math.dist(path[-1][:2], blob[:2]), number, blob)
        for number, path in enumerate(paths)
        for blob in found
    ]
    chosen: dict[int, Blob] = {}
    for distance, number, blob in sorted(pairs, key=lambda pair: pair[0]):
        is_same = (
            distance <= FARTHEST and abs(blob.area - paths[number][0].area) <= 0.2 * paths[number][0].area
        )
        if is_same and number not in chosen and blob not in chosen.values():
            chosen[number] = blob
    return [chosen[number] for number in range(len(paths))] if len(chosen) == len(paths) else None


def first_flight(path_F2: np.ndarray) -> np.ndarray:
    """The steps (x, y) of a path's first stretch without a bounce that is long enough to tell a direction.

    A bounce is where a coordinate turns round. [] when every stretch is shorter than SHORTEST.
    """
    steps = np.diff(path_F2, axis=0)
    signs, start = np.zeros(2), 0
    for number, step in enumerate(steps):
        now = np.where(np.abs(step) > STILL, np.sign(step), 0)
        if np.any(now * signs < 0):
            if number - start >= SHORTEST:
                return steps[start:number]
            signs, start = np.zeros(2), number
        signs = np.where(now != 0, now, signs)
    return steps[start:] if len(steps) - start >= SHORTEST else steps[:0]


def direction(step: tuple[float, float]) -> str:
    """The nearest of eight directions of a step (x to the right, y down), "" when it stands still."""
    x, y = step
    if math.hypot(x, y) < STILL:
        return ""
    return DIRECTIONS[round(math.atan2(-y, x) / (math.pi / 4)) % 8]


def motion_words(path_F2: np.ndarray) -> str:
    """`moving left` and the like, for a path's first flight; "" when it is too short to tell."""
    steps = first_flight(path_F2)
    if not len(steps):
        return ""
    where = direction(tuple(steps.mean(axis=0)))
    return f"moving {where}" if where else "standing still"


def motion_caption(clip_FYX: np.ndarray, count: int = 2) -> str:
    """What is seen of a clip without labels, such as `a digit moving left and a digit moving up`.

    count: digits that the clip is known to hold. Read from the first stretch that tells how each of
    them flies; only `two digits moving` when there is none, since they overlap most of the time.
    """
    for paths in tracks(clip_FYX, count):
        words = sorted(motion_words(path) for path in paths)
        if all(words):
            return " and ".join(f"a digit {motion}" for motion in words)
    return f"{NUMBERS.get(count, count)} digit{'' if count == 1 else 's'} moving"


# --- clips drawn by the same rule --------------------------------------------------------------


class Flight(NamedTuple):
    """A drawn clip: frames_FYX uint8, the digit names and their exact paths, one (frames, 2) each."""

    frames_FYX: np.ndarray
    digits: list[int]
    paths: list[np.ndarray]

    @property
    def caption(self) -> str:
        """`digit 5 moving left`, for two `digit 5 moving left and digit 3 moving up`."""
        return " and ".join(
            f"digit {digit} {motion_words(path) or 'moving'}" for digit, path in zip(self.digits, self.paths)
        )


Glyphs = Callable[[np.random.Generator], tuple[int, np.ndarray]]  # draws a digit: its value, 28x28 uint8


def fly(rng: np.random.Generator, frames: int, straight: bool) -> np.ndarray:
    """Top left corners (frames, 2) in pixels (x, y) of a digit that flies by the published rule.

    straight: the way is slowed and placed so that no wall is met.
    """
    angle = rng.uniform(0, 2 * math.pi)
    velocity = STEP * np.array([math.cos(angle), -math.sin(angle)])
    place = rng.uniform(0, 1, 2)
    if straight:
        way = velocity * (frames - 1)
        longest = float(np.abs(way).max())
        if longest > 0.95:
            velocity, way = velocity * (0.95 / longest), way * (0.95 / longest)
        place = np.maximum(-way, 0) + place * (1 - np.abs(way))
    corners = np.empty((frames, 2))
    for frame in range(frames):
        corners[frame] = place
        place = place + velocity
        velocity = np.where((place < 0) | (place > 1), -velocity, velocity)
        place = place.clip(0, 1)
    return corners * FREE


def draw(
    seed: int, number: int, glyphs: Glyphs, *, frames: int = 20, count: int = 1, straight: bool = False
) -> Flight:
    """Clip `number` of a set with a seed: it depends on nothing else, so a set can be continued."""
    rng = np.random.default_rng([seed, number])
    canvas = np.zeros((frames, CANVAS, CANVAS), np.uint8)
    digits, paths = [], []
    for _ in range(count):
        digit, glyph = glyphs(rng)
        corners = fly(rng, frames, straight)
        for frame, (x, y) in zip(canvas, corners.astype(int)):
            spot = frame[y : y + DIGIT, x : x + DIGIT]
            np.maximum(spot, glyph, out=spot)
        digits.append(digit)
        paths.append(corners)
    return Flight(canvas, digits, paths)


def font_glyphs(rng: np.random.Generator) -> tuple[int, np.ndarray]:
    """A digit from the outlines of Pillow's own font, each a little turned, slanted and sized."""
    from PIL import Image, ImageDraw, ImageFont

    digit = int(rng.integers(10))
    scale, slant, turn = rng.uniform(0.85, 1.0), rng.uniform(-0.2, 0.2), rng.uniform(-8, 8)
    large = Image.new("L", (4 * DIGIT, 4 * DIGIT))
    font = ImageFont.load_default(4 * DIGIT * scale)
    ImageDraw.Draw(large).text(
        (2 * DIGIT, 2 * DIGIT), str(digit), 255, font, anchor="mm", stroke_width=float(rng.uniform(0, 3))
    )
    leaning = large.transform(
        large.size, Image.Transform.AFFINE, (1, slant, -slant * 2 * DIGIT, 0, 1, 0), Image.Resampling.BILINEAR
    )
    return digit, np.asarray(
        leaning.rotate(turn, Image.Resampling.BILINEAR).resize((DIGIT, DIGIT), Image.Resampling.BOX)
    )


def mnist_glyphs(images: str | Path) -> Glyphs:
    """Digits of MNIST: a file train-images-idx3-ubyte[.gz], with its labels file beside it."""
    pictures = read_idx(images)
    labels = read_idx(
        Path(images).with_name(Path(images).name.replace("images", "labels").replace("idx3", "idx1"))
    )
    if pictures.ndim != 3 or pictures.shape[1:] != (DIGIT, DIGIT) or labels.shape != pictures.shape[:1]:
        raise InputError(
            f"{images}: holds {pictures.shape}, its labels {labels.shape}.",
            "MNIST is (N, 28, 28) with N labels.",
        )

    def glyphs(rng: np.random.Generator) -> tuple[int, np.ndarray]:
        number = int(rng.integers(len(pictures)))
        return int(labels[number]), pictures[number]

    return glyphs


def read_idx(path: str | Path) -> np.ndarray:
    """An array of an IDX file of bytes (LeCun's format), gzip'ed or not. Raises InputError."""
    try:
        data = Path(path).read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        zero, kind, axes = struct.unpack(">HBB", data[:4])
        shape = struct.unpack(f">{axes}I", data[4 : 4 + 4 * axes])
        if (zero, kind) != (0, 8):
            raise ValueError("it is no IDX file of bytes")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise InputError(
            f"{path}: cannot be read: {error}.",
            "MNIST's own files are train-images-idx3-ubyte and train-labels-idx1-ubyte.",
        ) from None


def grey_to_rgb(frames_FYX: np.ndarray, scale: int = 1) -> np.ndarray:
    """Grey frames as RGB, each pixel `scale` pixels wide and high."""
    large = frames_FYX.repeat(scale, 1).repeat(scale, 2)
    return np.repeat(large[..., None], 3, -1)
