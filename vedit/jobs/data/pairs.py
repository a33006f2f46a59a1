"""Make pairs of clips, before and after an edit, for training an instruction editor.

A folder holds pairs.jsonl (`vedit.data.pairs`) and the files it names. A run that was stopped goes on where
it was: pairs that are in the journal are not made again. Everything drawn by chance is a function of the
seed and the pair's number.

Source of the recipes: EasyV2V (arXiv 2512.16920). inverse: a control signal of a clip, both ways. lift: a
pair of pictures as one frame each, and as two clips along one smooth affine path. continuation: a clip with
captions in time, what was before and what comes, the caption as an instruction. transition: the source until
a time, the target from there on. expert: what an editor of the user's makes of a clip.
Shape letters: F frames, Y X rows and columns.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit.data.layout import JOURNAL, SETTINGS, as_lines, clip_name, read_rows
from vedit.data.pairs import PAIRS, Pair, record_of
from vedit.documents import Kind, read_json, table
from vedit.errors import (
    InputError,
    OutputError,
    PartialFailure,
    UsageError,
    VeditError,
    Warn,
    option,
    reason_of,
    silent,
)
from vedit.jobs.clips import write_frames
from vedit.jobs.data.build import open_journal
from vedit.jobs.watch import Watch, unwatched
from vedit.media.atomic import open_output
from vedit.plain import json_text

if TYPE_CHECKING:
    import numpy as np

FORMAT = "vedit-pairs"
DRAWN_LICENCE = "drawn by vedit; no rights reserved"
DESCRIPTION = Kind("the description of pairs", OutputError, "", "Name another folder", names_files=True)


class Made(NamedTuple):
    """A pair in memory: source and target (F, Y, X, 3) uint8, a mask (F or 1, Y, X) uint8 of which white may
    change, a reference (Y, X, 3). delays_cs: of each frame. interval: seconds in which the edit shows.
    """

    source_FYX3: np.ndarray
    target_FYX3: np.ndarray
    delays_cs: Sequence[int]
    instructions: tuple[str, ...]
    mask_FYX: np.ndarray | None = None
    reference_YX3: np.ndarray | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Item:
    """A pair that is to be. make: raises VeditError where it cannot be; None where it is not worth keeping,
    with the reason in `why`.
    """

    id: str
    kind: str
    expert: str
    licence: str
    make: Callable[[], Made]


class Outcome(NamedTuple):
    """What came of it: pairs written now, pairs that were there, and those that failed with the reasons."""

    folder: str
    written: int
    kept: int
    failed: tuple[tuple[str, str], ...]

    @property
    def line(self) -> str:
        parts = [
            f"{self.written} pair{'' if self.written == 1 else 's'} written",
            f"{self.kept} were there" * bool(self.kept),
        ]
        parts.append(f"{len(self.failed)} left out" * bool(self.failed))
        return f"{os.path.join(self.folder, PAIRS)}: {', '.join(filter(None, parts))}"

    def check(self) -> None:
        """Raise PartialFailure when some could not be made, InputError when none could."""
        if not self.failed:
            return
        whys = dict[str, list[str]]()
        for name, why in self.failed:
            whys.setdefault(why, []).append(name)
        told = [
            f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {why}"
            for why, names in whys.items()
        ]
        some = f"{'; '.join(told[:3])}{' ...' if told[3:] else ''}."
        if not self.written and not self.kept:
            raise InputError(f"no pair could be made: {some}", "", "Mend what it names, and call again")
        count = f"{len(self.failed)} pair{'s' if self.failed[1:] else ''}"
        raise PartialFailure(
            f"{count} could not be made: {some}",
            "The others are written.",
            "Call again to try those once more",
        )


def write_pairs(
    items: Sequence[Item],
    folder: Path,
    settings: dict[str, Any],
    *,
    to: str = "apng",
    overwrite: bool = False,
    warn: Warn = silent,
    watch: Watch = unwatched,
) -> Outcome:
    """Make the pairs, or the rest of them. settings: what they depend on besides; others need `overwrite`.

    Raises OutputError for a folder that holds something else.
    """
    _open_folder(folder, {**settings, "to": to}, overwrite)
    rows = {
        row["id"]: row
        for name in (PAIRS, JOURNAL)
        for row in read_rows(folder / name)
        if _is_whole(folder, row)
    }
    kept, written, failed = 0, 0, list[tuple[str, str]]()
    with open_journal(folder / JOURNAL) as journal:
        for item in watch(items, len(items), "pairs"):
            if item.id in rows:
                kept += 1
                continue
            try:
                row = _written(item, folder, to)
            except OutputError:
                raise
            except VeditError as error:
                why = error.what.rstrip(".")
                if why not in (said for _, said in failed):  # of a clip that cannot be read once is enough
                    warn(f"{item.id}: {why}: left out")
                failed.append((item.id, why))
                continue
            journal.write(as_lines([row]))
            journal.flush()
            rows[item.id], written = row, written + 1
    with open_output(str(folder / PAIRS)) as file:
        file.write(as_lines([rows[item.id] for item in items if item.id in rows]))
    (folder / JOURNAL).unlink(missing_ok=True)
    return Outcome(str(folder), written, kept, tuple(failed))


def _open_folder(folder: Path, settings: dict[str, Any], overwrite: bool) -> None:
    """Make the folder, or check that it holds these pairs; with other settings they are removed."""
    settings = json.loads(json.dumps(settings))
    path = folder / SETTINGS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError as error:
        raise OutputError(f"{folder}: cannot make the folder: {reason_of(error)}.") from None
    if names and not path.exists():
        raise OutputError(f"{folder} is not empty, and holds no pairs.", "", "Name a new folder")
    if path.exists():
        about = table(read_json(path, DESCRIPTION), str(path), DESCRIPTION)
        if about.get("format") != FORMAT:
            raise DESCRIPTION.refusal(str(path), f"its format is {about.get('format')!r}")
        before = table(about.get("settings"), str(path), DESCRIPTION)
        if before == settings:
            return
        if not overwrite:
            changed = ", ".join(
                key for key in sorted({*before, *settings}) if before.get(key) != settings.get(key)
            )
            raise OutputError(
                f"{folder} holds pairs with other settings: {changed}.",
                "",
                f"Name another folder, or add {option('overwrite')} to make them anew",
            )
        _clear(folder)
    with open_output(str(path)) as file:
        file.write(
            (json_text({"format": FORMAT, "version": 1, "settings": settings}, indent=2) + "\n").encode()
        )


FILES = ("source", "target", "mask", "reference")


def _files_of(folder: Path, row: dict[str, Any]) -> list[Path]:
    return [folder / os.path.basename(str(row[name])) for name in FILES if isinstance(row.get(name), str)]


def _is_whole(folder: Path, row: dict[str, Any]) -> bool:
    return isinstance(row.get("id"), str) and all(file.is_file() for file in _files_of(folder, row))


def _clear(folder: Path) -> None:
    """Remove what the rows name, and the rows."""
    for name in (PAIRS, JOURNAL):
        for row in read_rows(folder / name):
            for file in _files_of(folder, row):
                file.unlink(missing_ok=True)
        (folder / name).unlink(missing_ok=True)


def _written(item: Item, folder: Path, to: str) -> dict[str, Any]:
    """Make a pair and write its files; returns its record."""
    import numpy as np

    made = item.make()

    def wrote(name: str, frames_FYX3: np.ndarray) -> str:
        ending = "png" if len(frames_FYX3) == 1 else to
        path = str(folder / f"{item.id}.{name}.{ending}")
        write_frames(frames_FYX3, list(made.delays_cs)[: len(frames_FYX3)], path, name=item.id)
        return path

    def grey(mask_FYX: np.ndarray) -> np.ndarray:
        return np.repeat(mask_FYX[..., None], 3, axis=-1)

    pair = Pair(
        item.id,
        item.kind,
        wrote("source", made.source_FYX3),
        wrote("target", made.target_FYX3),
        made.instructions,
        None if made.mask_FYX is None else wrote("mask", grey(made.mask_FYX)),
        None if made.reference_YX3 is None else wrote("reference", made.reference_YX3[None]),
        made.interval,
        item.expert,
        item.licence,
    )
    return record_of(pair, folder)


# --- transitions and masks -------------------------------------------------------------------------


def transition(made: Made, begin: int, ramp: int) -> Made:
    """The source until frame `begin` and the target from there on, mixed over `ramp` frames; the mask is
    active from there.
    """
    import numpy as np

    frames = len(made.source_FYX3)
    share_F = np.clip((np.arange(frames) - begin + 1) / (ramp + 1), 0, 1)
    share = share_F[:, None, None, None]
    target = np.rint((1 - share) * made.source_FYX3 + share * made.target_FYX3).astype(np.uint8)
    whole = np.full(made.source_FYX3.shape[:3], 255, np.uint8) if made.mask_FYX is None else made.mask_FYX
    mask = np.broadcast_to(whole, made.source_FYX3.shape[:3]) * (share_F > 0)[:, None, None].astype(np.uint8)
    ends = np.cumsum([0, *made.delays_cs]) / 100
    return made._replace(target_FYX3=target, mask_FYX=mask, interval=(float(ends[begin]), float(ends[-1])))


def transition_drawn(made: Made, ramp: int, rng: random.Random) -> Made:
    """A transition at a time drawn by chance. Raises UsageError for a single frame."""
    frames = len(made.source_FYX3)
    if frames < 2:
        raise UsageError("a transition needs two frames at least.")
    return transition(made, rng.randrange(1, frames), rng.randint(0, ramp))


# --- controls of a clip and back -------------------------------------------------------------------

TO_CONTROL = {
    "edges": ("turn the video into its edges", "show only the edges", "draw the outlines of this video"),
    "gray": ("make the video black and white", "remove the colours", "turn the video grey"),
    "blur": ("blur the video", "make the video soft and out of focus"),
    "small": ("make the video coarse", "lower the resolution of the video", "pixelate the video"),
}
FROM_CONTROL = {
    "edges": ("turn the edges into a real video", "make a video of these outlines"),
    "gray": ("colour the video", "add colours to this black and white video"),
    "blur": ("sharpen the video", "remove the blur", "bring the video into focus"),
    "small": ("raise the resolution of the video", "add detail to the video"),
}


def controlled(frames_FYX3: np.ndarray, control: str) -> np.ndarray:
    """A control signal of a clip, as a clip of its size.

    edges: the Sobel gradient of the brightness, its largest value white. small: a quarter of the size and
    back.
    """
    import numpy as np
    from PIL import Image, ImageFilter

    if control == "edges":
        return _edges(frames_FYX3)
    height, width = frames_FYX3.shape[1:3]
    radius = max(2.0, min(width, height) / 24)
    made = []
    for frame in map(Image.fromarray, frames_FYX3):
        if control == "gray":
            shown = frame.convert("L").convert("RGB")
        elif control == "blur":
            shown = frame.filter(ImageFilter.GaussianBlur(radius))
        else:
            coarse = frame.resize((max(1, width // 4), max(1, height // 4)), Image.Resampling.BOX)
            shown = coarse.resize((width, height), Image.Resampling.NEAREST)
        made.append(np.asarray(shown))
    return np.stack(made)


def _edges(frames_FYX3: np.ndarray) -> np.ndarray:
    import numpy as np

    grey = frames_FYX3.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    wide = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = wide[:, 2:] - wide[:, :-2]
    across = wide[:, :, 2:] - wide[:, :, :-2]
    y = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    x = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    size = np.hypot(x, y)
    shown = np.rint(255 * size / max(1.0, float(size.max()))).astype(np.uint8)
    return np.repeat(shown[..., None], 3, axis=-1)


def inverse(
    frames_FYX3: np.ndarray, delays_cs: Sequence[int], control: str, *, back: bool, caption: str = ""
) -> Made:
    """A clip and one of its control signals; back: from the signal to the clip, which a caption may
    describe.
    """
    shown = controlled(frames_FYX3, control)
    if not back:
        return Made(frames_FYX3, shown, delays_cs, TO_CONTROL[control])
    said = FROM_CONTROL[control]
    said = (*said, f"{said[0]}: {caption}") if caption else said
    return Made(shown, frames_FYX3, delays_cs, said)


# --- pictures that move ----------------------------------------------------------------------------


def affine_path(frames: int, rng: random.Random) -> list[list[list[float]]]:
    """The matrices of a smooth path: turn up to 5 degrees, size .9 to 1.15, shift up to 4 % of a side; the
    first leaves the picture as it is.
    """
    from math import cos, pi, sin

    turn, size = rng.uniform(-5, 5) * pi / 180, rng.uniform(0.9, 1.15)
    right, down = rng.uniform(-0.04, 0.04), rng.uniform(-0.04, 0.04)
    path = []
    for frame in range(frames):
        share = frame / max(1, frames - 1)
        eased = 3 * share**2 - 2 * share**3
        angle, scale = eased * turn, 1 + eased * (size - 1)
        path.append(
            [
                [cos(angle) / scale, -sin(angle) / scale, -2 * eased * right],
                [sin(angle) / scale, cos(angle) / scale, -2 * eased * down],
            ]
        )
    return path


def moved(picture_YX3: np.ndarray, path: Sequence[Any]) -> np.ndarray:
    """A picture along a path of matrices: bilinear, reflected at its border. The first frame is the
    picture.
    """
    import torch

    picture = torch.from_numpy(picture_YX3.copy()).movedim(-1, 0).double()[None]
    frames, (rows, columns) = len(path), picture_YX3.shape[:2]
    matrices = torch.tensor(path, dtype=torch.float64)
    aspect = columns / rows  # angles are those of the picture, not of a square
    matrices[:, 0, 1] /= aspect
    matrices[:, 1, 0] *= aspect
    grid = torch.nn.functional.affine_grid(matrices, [frames, 3, rows, columns], align_corners=False)
    made = torch.nn.functional.grid_sample(
        picture.expand(frames, -1, -1, -1),
        grid,
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )
    array: np.ndarray = made.round().clamp(0, 255).byte().movedim(1, -1).numpy()
    return array


def lifted(made: Made, frames: int, rng: random.Random) -> Made:
    """The first frames of a pair, with its mask, along one path."""
    path = affine_path(frames, rng)
    mask = None
    if made.mask_FYX is not None:
        import numpy as np

        mask = moved(np.repeat(made.mask_FYX[0][..., None], 3, axis=-1), path)[..., 0]
        mask = ((mask > 127) * np.uint8(255)).astype(np.uint8)
    return made._replace(
        source_FYX3=moved(made.source_FYX3[0], path),
        target_FYX3=moved(made.target_FYX3[0], path),
        delays_cs=[10] * frames,
        mask_FYX=mask,
        interval=None,
    )


def single(made: Made) -> Made:
    """The first frames of a pair alone."""
    return made._replace(
        source_FYX3=made.source_FYX3[:1],
        target_FYX3=made.target_FYX3[:1],
        delays_cs=list(made.delays_cs)[:1],
        mask_FYX=None if made.mask_FYX is None else made.mask_FYX[:1],
        interval=None,
    )


def named(number: int, *more: str) -> str:
    """The id of a pair."""
    return clip_name("-".join([f"{number:06d}", *more]))


def each(items: Iterator[Item], limit: int | None) -> list[Item]:
    """At most so many of them."""
    from itertools import islice

    return list(islice(items, limit))
