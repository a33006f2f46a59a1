"""Make clips from text: find who makes them, ask for every prompt and seed, write, record.

A backend is a module of this package, listed in BACKENDS, that has

    SUMMARY   one line: which models it takes
    OPTIONS   keys of the options in `Choices.extra` and `Take.extra` that it reads, see
    `app.generate.options` claims    from a model's name to whether it is this backend's; cheap, loads no
    torch load      from Choices to a Maker
    weights   from Choices to the hashes in the Maker's identity, without loading it
"""

from __future__ import annotations

import importlib
import math
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from vedit.documents import Kind, read_text
from vedit.errors import InputError, ModelError, UsageError, VeditError, Warn, option, silent
from vedit.jobs.clips import even_delays, write_frames
from vedit.jobs.record import peak_memory_mib, versions, write_record
from vedit.jobs.watch import Watch, unwatched
from vedit.media.atomic import open_output, together
from vedit.media.options import WriteOptions
from vedit.media.run import Settings
from vedit.secrecy import without_values

if TYPE_CHECKING:
    import numpy as np

PROMPTS = Kind("prompts", right="They are a text file with one prompt per line.")
BACKENDS = ("shapes", "shapes_video", "remote", "provider", "checkpoint", "hub")  # asked in this order

PENDING = ".pending.json"  # behind an output's name: a job at a hosted generator that is not fetched yet


class Choices(NamedTuple):
    """What decides how a model is loaded. extra: a backend's own options that the user gave."""

    model: str
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    extra: Mapping[str, Any] = MappingProxyType({})
    warn: Warn = silent


class Take(NamedTuple):
    """One clip to make; None leaves a value to the model. size: width and height.

    pending: a file for what a second call needs to go on with work that was begun elsewhere.
    """

    prompt: str
    negative: str | None = None
    seed: int = 0
    frames: int | None = None
    size: tuple[int, int] | None = None
    steps: int | None = None
    guidance: float | None = None
    fps: Fraction | None = None
    extra: Mapping[str, Any] = MappingProxyType({})
    pending: str | None = None


class Made(NamedTuple):
    """A clip that was made. facts: the values used, for the record. file: the MP4 it came in, when it came in
    one.
    """

    frames_FYX3: np.ndarray
    fps: Fraction
    facts: dict[str, Any]
    file: bytes | None = None


class Maker(Protocol):
    """A loaded model."""

    def identity(self) -> dict[str, Any]:
        """Which weights these are, for the record."""

    def make(self, request: Take, watch: Watch) -> Made:
        """Make one clip; `watch(steps, total, what)` passes the steps on and shows progress."""


class Job(NamedTuple):
    """What to make and where to.

    requests: rows of a grid, one per prompt, each with one request per seed. output: one file for
    all (a grid when there are several), or None to write each into `folder`. to: output format. like:
    the model of a run record, whose weights must be loaded.
    """

    choices: Choices
    requests: Sequence[Sequence[Take]]
    output: str | None = None
    folder: str | None = None
    suffix: str = ".gif"
    to: str | None = None
    record: bool = True
    like: Mapping[str, Any] | None = None


def backend_of(model: str) -> Any:
    """The module that makes clips with a model. Raises ModelError when none does."""
    modules = [importlib.import_module(f"vedit.jobs.generate.{name}") for name in BACKENDS]
    for module in modules:
        if module.claims(model):
            return module
    raise ModelError(
        f"there is no generator {model!r}.",
        "It is " + "; or ".join(module.SUMMARY for module in modules) + ".",
        "See: vedit generate --help",
    )


def generate(job: Job, *, warn: Warn = silent, watch: Watch = unwatched) -> list[dict[str, Any]]:
    """Make every clip of a job; returns a record per output, which lies beside it too."""
    module = backend_of(job.choices.model)
    asked = {
        **job.choices.extra,
        **{key: value for row in job.requests for request in row for key, value in request.extra.items()},
    }
    for name in sorted(asked.keys() - module.OPTIONS):
        raise UsageError(
            f"{option(name)} has no meaning for {job.choices.model}.",
            f"Who makes these clips is {module.__name__.rpartition('.')[2]}: {module.SUMMARY}.",
        )
    if not any(job.requests):
        return []
    started = time.perf_counter()
    if job.like is not None:
        _check_weights(module.weights(job.choices), job)
    maker: Maker = module.load(job.choices)
    records = []
    grid: list[list[Made]] = []
    waiting: list[str | None] = []
    for number, row in enumerate(job.requests):
        grid.append([])
        for place, request in enumerate(row):
            path = (
                job.output
                if job.output is not None
                else os.path.join(job.folder or ".", file_name(number, request, job))
            )
            tile = f".{number}-{place}" if job.output is not None else ""
            pending = f"{path}{tile}{PENDING}" if path != "-" else None
            made = _made(maker, request._replace(pending=pending), watch)
            if job.output is None:
                records.append(
                    _finish(
                        job, path, made.frames_FYX3, made.fps, [[request]], [[made]], maker, started, warn
                    )
                )
                _drop(pending)
            else:
                grid[-1].append(made)
                waiting.append(pending)
    if job.output is not None:
        frames, fps = tiled([[made.frames_FYX3 for made in row] for row in grid]), grid[0][0].fps
        records.append(_finish(job, job.output, frames, fps, job.requests, grid, maker, started, warn))
        for pending in waiting:
            _drop(pending)
    return records


def _check_weights(weights: Mapping[str, Any], job: Job) -> None:
    """Refuse weights that are not those of a record, before anything is loaded. Raises ModelError."""
    assert job.like is not None
    known = {name: job.like[name] for name in weights if name in job.like}
    if not known:
        job.choices.warn(
            "the record holds no hashes of the model's weights: whether they are the same is not known"
        )
    if any(weights[name] != value for name, value in known.items()):
        raise ModelError(
            f"the weights of {job.choices.model} are not those of the record.",
            "Their hashes differ, so the result would too.",
            f"Name the model that was used: {option('model', 'NAME')}",
        )


def _drop(pending: str | None) -> None:
    """The clip is written: what a second call would have needed is not needed any more."""
    if pending is not None and os.path.exists(pending):
        os.unlink(pending)


def _made(maker: Maker, request: Take, watch: Watch) -> Made:
    if not request.prompt.strip():
        raise UsageError("the prompt is empty.", "Say what the clip should show.")
    return maker.make(request, watch)


def _finish(
    job: Job,
    path: str,
    frames: np.ndarray,
    fps: Fraction,
    requests: Sequence[Sequence[Take]],
    grid: Sequence[Sequence[Made]],
    maker: Maker,
    started: float,
    warn: Warn,
) -> dict[str, Any]:
    """Write one output and its record."""
    rows = [
        [
            {**_told(request), "fps": float(made.fps), **made.facts}
            for request, made in zip(*pair, strict=True)
        ]
        for pair in zip(requests, grid, strict=True)
    ]
    choices = {
        "device": job.choices.device,
        "dtype": job.choices.dtype,
        "extra": _without_secrets(job.choices.extra),
    }
    recipe = {
        "command": "generate",
        "model": _model(job, maker),
        "choices": choices,
        "clips": rows,
        "versions": versions("torch", "diffusers", "transformers", "pillow"),
    }
    carried = (
        recipe if job.record and not is_hosted(job.choices.model) else None
    )  # nobody needs a service's address in a file that is passed on
    alone = grid[0][0].file if len(grid) == len(grid[0]) == 1 else None
    record = {
        **recipe,
        "output": path,
        "shape": list(frames.shape),
        "seconds": round(time.perf_counter() - started, 3),
        "peak_memory_mib": peak_memory_mib(),
    }
    with together():
        if alone is not None and (job.to or os.path.splitext(path)[1][1:].lower()) == "mp4":
            with open_output(path) as stream:  # as it came: not encoded again, and with its sound
                stream.write(alone)
        else:
            write_frames(
                frames,
                even_delays(len(frames), fps),
                path,
                Settings(write=WriteOptions(format=job.to), warn=warn),
                recipe=carried,
            )
        if job.record and path != "-":
            write_record(path, record)
    return record


def _model(job: Job, maker: Maker) -> dict[str, Any]:
    return {"name": job.choices.model, "revision": job.choices.revision, **maker.identity()}


def is_hosted(model: str) -> bool:
    """Whether somebody else's machine makes the clips."""
    return model.startswith(("remote:", "provider:"))


def may_be_repeated(record: Mapping[str, Any]) -> None:
    """Raise InputError for the record of a clip that no weights here made."""
    model = record.get("model")
    name = str(model.get("name")) if isinstance(model, dict) else ""
    if record.get("command") == "generate" and is_hosted(name):
        raise InputError(
            f"this clip was made by {name}.",
            "A hosted generator makes another one when it is asked again.",
            "Ask it: vedit generate --help",
        )


def request_of(told: Mapping[str, Any]) -> Take:
    """A request as the record tells it, with what was chosen for it then."""
    values = {name: value for name, value in told.items() if name in Take._fields}
    size = values["size"] and tuple(values["size"])
    return Take(
        **{**values, "size": size, "fps": rate_of(values["fps"]), "extra": without_extras(values["extra"])}
    )


def without_extras(extra: Mapping[str, Any]) -> dict[str, Any]:
    """A backend's options as a record tells them, without files that were written besides."""
    from vedit.models.adapters import recorded

    kept = {name: value for name, value in extra.items() if name not in ("save_x_start", "save_every")}
    return {**kept, **({"lora": tuple(map(recorded, kept["lora"]))} if "lora" in kept else {})}


def _told(request: Take) -> dict[str, Any]:
    """A request as the record tells it."""
    told = {**request._asdict(), "extra": _without_secrets(request.extra)}
    del told["pending"]
    return told


def _without_secrets(extra: Mapping[str, Any]) -> dict[str, Any]:
    """A backend's options as the record tells them: a --field for a service that is called a key has no value
    there.
    """
    fields = (text.partition("=") for text in extra.get("field", ()))
    told = [
        f"{name}={value}"
        for name, value in without_values({name: value for name, _, value in fields}).items()
    ]
    loras = lora_facts(extra)
    return {**extra, **({"field": told} if told else {}), **({"lora": loras} if loras else {})}


def lora_facts(extra: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a record tells of the LoRAs among a backend's options."""
    from vedit.models.adapters import find, parse

    return [find(parse(text)).facts for text in extra.get("lora", ())]


def lora_hashes(choices: Choices) -> dict[str, Any]:
    """The contents of LoRAs, beside the hashes of the weights that they go into; nothing for none."""
    from vedit.models.adapters import by_content

    told = lora_facts(choices.extra)
    return {"lora_sha256": [one["sha256"] for one in by_content(told)]} if told else {}


def file_name(number: int, request: Take, job: Job) -> str:
    """`001-digit-5-moving-left-seed7.gif`: the prompt's place, its words, the seed."""
    words = "-".join(re.findall(r"[^\W_]+", request.prompt.lower()))[:60].strip("-")
    return f"{number + 1:03d}-{words or 'clip'}-seed{request.seed}{job.suffix}"


def without_finished(job: Job) -> Job:
    """A job for a folder without the clips that are there: outputs appear only when complete."""
    assert job.folder is not None
    rows = [
        [
            request
            for request in row
            if not os.path.exists(os.path.join(job.folder, file_name(number, request, job)))
        ]
        for number, row in enumerate(job.requests)
    ]
    return job._replace(requests=rows)


def tiled(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Clips as one: prompts below one another, seeds side by side, a pixel of white between; one is left as
    it is.
    """
    import numpy as np

    flat = [clip for row in rows for clip in row]
    if len(flat) == 1:
        return flat[0]
    count = max(len(clip) for clip in flat)
    height, width = (max(clip.shape[axis] for clip in flat) for axis in (1, 2))
    sheet = np.full(
        (count, len(rows) * (height + 1) - 1, max(map(len, rows)) * (width + 1) - 1, 3), 255, np.uint8
    )
    for y, row in enumerate(rows):
        for x, clip in enumerate(row):
            held = clip[np.minimum(np.arange(count), len(clip) - 1)]  # a shorter clip waits on its last frame
            top, left = y * (height + 1), x * (width + 1)
            sheet[:, top : top + clip.shape[1], left : left + clip.shape[2]] = held
    return sheet


def read_prompts(path: str) -> list[str]:
    """The prompts of a text file, one per line; empty lines and those that begin with # are left out."""
    lines = [line.strip() for line in read_text(path, PROMPTS).splitlines()]
    prompts = [line for line in lines if line and not line.startswith("#")]
    if not prompts:
        raise InputError(f"{path}: there is no prompt in it.", "It is a text file with one prompt per line.")
    return prompts


def requests_for(prompts: Iterable[str], request: Take, count: int) -> list[list[Take]]:
    """One row per prompt with `count` seeds, counted up from that of the request."""
    return [
        [request._replace(prompt=prompt, seed=request.seed + number) for number in range(count)]
        for prompt in prompts
    ]


def rate_of(fps: float | Fraction) -> Fraction:
    """Frames per second as a fraction; raises VeditError for a rate that is none."""
    if not math.isfinite(fps) or fps <= 0:
        raise VeditError(f"{fps} frames per second is no rate.", "It is a positive number.")
    return Fraction(fps).limit_denominator(1000)
