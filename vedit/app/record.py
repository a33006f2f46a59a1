"""The run record: how an output came about, in a sidecar beside it and inside it where it can be."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from typing import Any

from vedit import __version__
from vedit.errors import InputError
from vedit.media.atomic import open_output

SUFFIX = ".vedit.json"


def versions(*packages: str) -> dict[str, str]:
    """Versions of what computed the pixels."""
    found = {"vedit": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_mib(device: Any = None) -> dict[str, float]:
    """Peak memory of this process so far, and of the GPU it used, in MiB."""
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = {"host": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)}
    if device is not None and device.type == "cuda":
        import torch

        peak["device"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return peak


def write_record(output: str, record: dict[str, Any]) -> str:
    """Write the sidecar of an output; returns its path."""
    path = output + SUFFIX
    with open_output(path) as stream:
        stream.write((json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n").encode())
    return path


def read_record(output: str) -> dict[str, Any]:
    """The sidecar of an output (or the sidecar itself)."""
    path = output if output.endswith(SUFFIX) else output + SUFFIX
    try:
        with open(path, encoding="utf-8") as stream:
            record: dict[str, Any] = json.load(stream)
    except FileNotFoundError:
        raise InputError(f"{output} has no run record.", f"It would be {path}; --no-metadata leaves it out.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a run record: {error}.") from None
    return record
