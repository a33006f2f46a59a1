"""Read a folder of NAME.gif with NAME.txt, decoded once for all runs of one training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from annotated_types import MinLen
from typing_extensions import TypedDict

from vedit.data.layout import CAPTIONS
from vedit.documents import Kind, read_json, read_text, validated
from vedit.errors import InputError, OutputError, VeditError, Warn, option, reason_of, silent
from vedit.jobs.clips import Pixels, Selection, read_pixels
from vedit.media.formats import PICTURES, VIDEO

if TYPE_CHECKING:
    from vedit.models.unet3d.params import DataTable
    from vedit.training.clips import Clips

SUFFIXES = {".gif", *(f".{suffix}" for suffix in (*VIDEO, *PICTURES))}


class Pair(NamedTuple):
    """A clip and its captions, one per line of its text file."""

    path: Path
    captions: list[str]


def read_folder(folder: Path, data: DataTable, cache: Path, *, warn: Warn = silent) -> Clips:
    """Every clip of a folder that has a caption, as uint8 frames of the settings' size.

    cache: a folder for the decoded clips; used again as long as files and settings stay the same.
    A clip that cannot be used is named through `warn` and left out. Raises InputError when none can.
    """
    import numpy as np

    from vedit.training.clips import Clips

    pairs, reasons = find_pairs(folder)
    fingerprint = _fingerprint(pairs, data)
    facts = _cached(cache, fingerprint, data)
    if facts is None:
        facts = {**_decode(pairs, data, cache, fingerprint, reasons), "skipped": reasons}
        _write(cache / "clips.json", json.dumps(facts, indent=1, ensure_ascii=False).encode())
    for reason in facts["skipped"]:
        warn(f"left out: {reason}")
    if not facts["captions"]:
        raise InputError(
            f"{folder}: no clip of the folder can be used.",
            "A clip is NAME.gif beside NAME.txt, which holds its caption.",
            "Make some without a download: vedit data moving-mnist --synth 100 -O DIR",
        )
    width, height = data.shape
    shape = (len(facts["captions"]), data.frames, height, width, 3)
    return Clips(
        np.memmap(cache / "clips.u8", np.uint8, "r", shape=shape),
        facts["captions"],
        facts["fps"],
        fingerprint,
    )


def find_pairs(folder: Path) -> tuple[list[Pair], list[str]]:
    """The clips of a folder with their captions, by name, and why others have none."""
    if not folder.is_dir():
        raise InputError(
            f"{folder}: there is no such folder.",
            "It would hold NAME.gif beside NAME.txt.",
            f"Name it with: {option('data', 'DIR')}",
        )
    pairs, reasons = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        said = path.with_suffix(".txt")
        if not said.exists():
            reasons.append(f"{path.name}: it has no {path.stem}.txt with its caption.")
            continue
        try:
            lines = read_text(said, CAPTIONS).splitlines()
        except InputError as error:
            reasons.append(error.what.replace(str(said), said.name, 1))
            continue
        captions = [line.strip() for line in lines if line.strip()]
        if captions:
            pairs.append(Pair(path, captions))
        else:
            reasons.append(f"{path.stem}.txt: it is empty.")
    return pairs, reasons


def _fingerprint(pairs: list[Pair], data: DataTable) -> str:
    digest = hashlib.sha256(data.model_dump_json().encode())
    for pair in pairs:
        digest.update(json.dumps([pair.path.name, pair.captions]).encode())
        with pair.path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class Facts(TypedDict):
    """Of decoded clips: the hash of what they were made from, their captions, frames a second, what was left
    out.
    """

    fingerprint: str
    captions: list[Annotated[list[str], MinLen(1)]]
    fps: float
    skipped: list[str]


CACHED = Kind("facts of decoded clips", largest=2**28)


def _cached(cache: Path, fingerprint: str, data: DataTable) -> dict[str, Any] | None:
    """What clips.json says of the decoded clips, unless it is damaged or does not fit them."""
    path = str(cache / "clips.json")
    try:
        facts = validated(read_json(path, CACHED), Facts, path, CACHED)
        size = (cache / "clips.u8").stat().st_size
    except (VeditError, OSError):
        return None
    width, height = data.shape
    fits = size == len(facts["captions"]) * data.frames * height * width * 3
    return {**facts} if fits and facts["fingerprint"] == fingerprint else None


def _decode(
    pairs: list[Pair], data: DataTable, cache: Path, fingerprint: str, reasons: list[str]
) -> dict[str, Any]:
    """Write the frames of every usable clip, and tell what the file holds; adds to `reasons` why others are
    not in it.
    """
    import numpy as np

    captions, rates = [], []
    partial = cache / "clips.u8.tmp"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for pair in pairs:
                try:
                    frames, rate = _frames(pair.path, data)
                except VeditError as error:
                    reasons.append(error.in_file(pair.path.name).what)
                    continue
                file.write(frames.tobytes())
                captions.append(pair.captions)
                rates.append(rate)
        (cache / "clips.json").unlink(missing_ok=True)  # it describes the file that is replaced now
        partial.replace(cache / "clips.u8")
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{cache}: the decoded clips cannot be written: {reason_of(error)}.") from None
    return {
        "fingerprint": fingerprint,
        "captions": captions,
        "fps": round(float(np.median(rates)), 3) if rates else 0.0,
    }


def _frames(path: Path, data: DataTable) -> tuple[Any, float]:
    """The frames that training sees of one clip, and how many of them make a second."""
    from vedit.training.clips import chosen_frames

    pixels: Pixels = read_pixels(str(path), Selection(size=data.size))
    chosen = chosen_frames(pixels.durations, data.frames, data.extend)
    seconds = float(sum(pixels.durations) * pixels.clip.timebase)
    shown = max(1, min(data.frames, len(pixels.durations)))
    return pixels.frames_FYX3[chosen], shown / seconds if seconds else 10.0


def _write(path: Path, content: bytes) -> None:
    from vedit.media.atomic import open_output

    with open_output(str(path)) as stream:
        stream.write(content)
