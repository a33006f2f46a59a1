"""A metric of one's own: a Python file that has what a module of this folder has, and may have less of it.

    from vedit.metrics.base import Value

    VALUES = (Value("redness", "", True, "0..255", "How red the picture is."),)

    def score(clip, towers, options):
        return {"redness": [frame[..., 0].mean() for frame in clip.edited_TYX3]}

A number may be given plainly, or frame by frame, whose mean it then is. NEEDS, GROUPS, TOWERS and VERSION are
nothing, nothing, nothing and 1 where the file does not say them. The file's hash is part of a report.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vedit import metrics
from vedit.errors import InputError, UsageError, VeditError
from vedit.metrics.base import NEEDS_OF, Clip, Score, Value, mean_score
from vedit.metrics.types import Options

RIGHT = "It has VALUES, a tuple of vedit.metrics.base.Value, and score(clip, towers, options)."
DEFAULTS: Mapping[str, Any] = {
    "SUMMARY": "A metric of one's own.",
    "VERSION": 1,
    "NEEDS": frozenset(),
    "GROUPS": frozenset(),
    "TOWERS": (),
}


def load(path: str) -> str:
    """Read a file as a metric and give its name, under which `vedit.metrics` has it from now on.

    Raises InputError for a file that is no metric, UsageError where its name or a number's is taken.
    """
    name = os.path.splitext(os.path.basename(path))[0].replace("-", "_")
    known = metrics.registry.files.get(name.replace("_", "-"))
    if known is not None and os.path.realpath(str(known.__file__)) == os.path.realpath(path):
        return name
    if metrics.has(name):
        raise UsageError(
            f"{path}: there is a metric called {name} already.", "", "Give the file another name"
        )
    module = _read(path, name)
    _check(path, module)
    module.score = partial(_scored, path, module.score)  # type: ignore[attr-defined]
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    module.provenance = lambda options: {"file": path, "sha256": digest}  # type: ignore[attr-defined]
    metrics.registry.files[name.replace("_", "-")] = module
    return name


def _read(path: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"vedit.metrics.of_file.{name}", path)
    if spec is None or spec.loader is None or not name.isidentifier():
        raise InputError(f"{path}: not a metric: its name is not that of a Python file.", RIGHT)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except VeditError:
        raise
    except Exception as error:  # whatever somebody's file does is told as its fault
        raise InputError(f"{path}: not a metric: {type(error).__name__}: {error}.", RIGHT) from None
    return module


def _check(path: str, module: ModuleType) -> None:
    for key, value in DEFAULTS.items():
        if not hasattr(module, key):
            setattr(module, key, value)
    values = getattr(module, "VALUES", ())
    if not values or not all(isinstance(value, Value) for value in values):
        raise InputError(f"{path}: not a metric: it has no VALUES.", RIGHT)
    if not callable(getattr(module, "score", None)):
        raise InputError(f"{path}: not a metric: it has no score.", RIGHT)
    if unknown := set(module.NEEDS) - set(NEEDS_OF):
        raise InputError(
            f"{path}: it needs {', '.join(sorted(unknown))}, which no clip has.",
            f"A clip may have: {', '.join(NEEDS_OF)}.",
        )
    taken = {value.key for name in metrics.names() for value in metrics.load(name).VALUES}
    for value in values:
        if value.key in taken:
            raise UsageError(f"{path}: there is a number called {value.key} already.")


def _scored(path: str, score: Any, clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    """What the file gives, as scores. Raises InputError for whatever goes wrong in it."""
    try:
        return {key: _as_score(found) for key, found in score(clip, towers, options).items()}
    except VeditError:
        raise
    except Exception as error:
        raise InputError(f"{path}: {type(error).__name__}: {error}.", RIGHT) from None


def _as_score(found: Any) -> Score:
    if isinstance(found, Score):
        return found
    return mean_score(found) if np.ndim(found) else Score(float(found))
