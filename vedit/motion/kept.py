"""Flows kept on disk by the contents of their frames, so that a clip's motion is estimated once.

Jobs say where, for as long as they run; without a place nothing is kept. A file appears under its name
only when it is whole, and one that cannot be read is made anew.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

if TYPE_CHECKING:
    from vedit.motion.places import Floats, Pixels

VERSION = 1  # of the estimators: a change of theirs makes all that is kept another's
SUFFIX = ".flow.npz"
_places: list[str] = []  # of jobs that run, the last one counts


@contextmanager
def keeping(folder: str) -> Iterator[None]:
    """While inside, flows are kept in a folder, and taken from it."""
    _places.append(folder)
    try:
        yield
    finally:
        _places.remove(folder)


def once(engine: str, estimate: Callable[[Pixels, Pixels], Floats], a_PYX3: Pixels, b_PYX3: Pixels) -> Floats:
    """What an estimator says of pairs of frames, (P, 2, Y, X) float32: read where it is known.

    engine: its name, and what its weights are.
    """
    if not _places:
        return estimate(a_PYX3, b_PYX3)
    path = os.path.join(_places[-1], f"{key_of(engine, a_PYX3, b_PYX3)}{SUFFIX}")
    wanted = (len(a_PYX3), 2, *a_PYX3.shape[1:3])
    found = _read(path, wanted)
    if found is None:
        found = np.asarray(estimate(a_PYX3, b_PYX3), np.float32)
        _write(path, found)
    return found


def key_of(engine: str, a_PYX3: Pixels, b_PYX3: Pixels) -> str:
    """Which flow it is: of these pixels at this size, by this estimator."""
    digest = hashlib.sha256(f"{VERSION} {engine} {a_PYX3.shape}".encode())
    for frames in (a_PYX3, b_PYX3):
        for frame in frames:
            digest.update(np.ascontiguousarray(frame).data)
    return digest.hexdigest()


def _read(path: str, shape: tuple[int, ...]) -> Floats | None:
    try:
        # by a file of our own: NumPy leaves one open that it cannot read
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            found: Floats = arrays["flow"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return found if found.shape == shape and found.dtype == np.float32 else None


def _write(path: str, flow_P2YX: Floats) -> None:
    """Keep a flow; a disk that is full or closed keeps none, and the edit goes on."""
    with suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), suffix=".part", delete=False) as part:
            try:
                np.savez(part, flow=flow_P2YX)
                part.flush()
                os.fsync(part.fileno())
                os.replace(part.name, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(part.name)
                raise
