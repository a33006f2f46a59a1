"""The run record: how an output came about, in a sidecar beside it and inside it where it can be."""

from __future__ import annotations

import json
import os
import platform
import sys
from typing import Any

from vedit import __version__
from vedit.documents import Kind, parse_json, read_json, table
from vedit.errors import InputError, VeditError, option
from vedit.jobs.recorded import RECORD, Recorded, for_comment, for_sidecar, recorded, sealed
from vedit.jobs.recorded import SUFFIX as SUFFIX
from vedit.media.atomic import open_output
from vedit.media.frames import Block, Clip
from vedit.plain import json_text

RECIPE = Kind("a recipe", largest=2**20, names_files=True)
MARK = "vedit"  # key of a recipe in the comment of a container


def versions(*packages: str) -> dict[str, str]:
    """Versions of what computed the pixels."""
    from importlib import metadata

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
    """Write the sidecar of an output; returns its path.

    Names of files in it are as seen from the folder of the sidecar. Key "mask" of an edit's record
    names the clip of the mask that the edit acted in, when --save-masks wrote one; else it is null.
    White is edited.
    """
    path = output + SUFFIX
    with open_output(path) as stream:
        stream.write((json_text(sealed(for_sidecar(record, output), output), indent=2) + "\n").encode())
    return path


def embedded(clip: Clip, recipe: dict[str, Any]) -> Clip:
    """A clip that carries a recipe in its GIF comment; one that the source carried is left out."""
    from vedit.stages.metadata import comment_block

    others = [block for block in clip.blocks if _recipe_of(_comment(block)) is None]
    return clip.but(blocks=[*others, comment_block(comment_of(recipe))])


def comment_of(recipe: dict[str, Any]) -> str:
    """A recipe as one line, for the comment of a container; equal recipes give equal lines."""
    return json.dumps({MARK: for_comment(recipe)}, sort_keys=True, separators=(",", ":"), default=str)


def read_record(output: str) -> dict[str, Any]:
    """The run record of an output, as `find_record` finds it; names of files in it are as seen from the
    working folder.
    """
    return find_record(output).record


def find_record(output: str) -> Recorded:
    """The run record of an output: its sidecar (or the sidecar itself), else the recipe that the file
    carries.

    Raises InputError where there is none, or none that can be read.
    """
    made = output.removesuffix(SUFFIX)
    path = made + SUFFIX
    found = None
    if os.path.exists(path):
        found = recorded(table(read_json(path, RECORD), path, RECORD), path, made, is_sidecar=True)
        if not found.is_stale:
            return found
    recipe = carried(made) if os.path.isfile(made) else None
    if recipe is not None:
        return recorded(recipe, made, made, is_sidecar=False)
    if found is not None:
        raise InputError(
            f"{path} describes another file than {made} now is.", "The output was replaced or changed since."
        )
    raise InputError(
        f"{output} has no run record.",
        f"It would be {path}, or in the file; {option('metadata', False)} leaves it out.",
    )


def carried(name: str) -> dict[str, Any] | None:
    """The recipe in the comment of a GIF or a video; None where there is none, or no such file."""
    from vedit.media.gif.container import GifReader
    from vedit.media.video.ffmpeg import read_comment

    try:
        with open(name, "rb", buffering=0) as stream:
            start = stream.read(4)
            stream.seek(0)
            if start != b"GIF8":
                return _recipe_of(read_comment(stream))
            reader = GifReader(lambda count: stream.read(count) or b"", name, b"")
            next(reader.frames(), None)  # what stands before the first image is known with it
            found = [
                recipe for block in reader.clip.blocks if (recipe := _recipe_of(_comment(block))) is not None
            ]
            return found[-1] if found else None
    except (OSError, VeditError):
        return None


def _comment(block: Block) -> str | None:
    return block.text if block.label == 0xFE else None


def _recipe_of(comment: str | None) -> dict[str, Any] | None:
    if not comment or not comment.lstrip().startswith("{"):
        return None
    try:
        recipe = table(parse_json(comment, "", RECIPE), "", RECIPE).get(MARK)
    except VeditError:  # the words of somebody else
        return None
    return recipe if isinstance(recipe, dict) else None
