"""What is asked of those that make clips from text, checked and made ready.

plan(request) -> GeneratePlan         printable; no model is looked for yet
plan.run(sink) -> one record per output
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from vedit.errors import InputError, OutputError, UsageError, option, reason_of, refuse_mistakes
from vedit.jobs.edit.before import parse_size
from vedit.jobs.extras import need
from vedit.jobs.generate import run
from vedit.jobs.generate.options import BackendOptions
from vedit.jobs.record import SUFFIX
from vedit.jobs.request import Request
from vedit.jobs.sink import Quiet, Sink
from vedit.media.atomic import check_output, refuse_twice
from vedit.media.formats import output_format
from vedit.options import mistakes

DEFAULT_MODEL = "shapes-video"
EXAMPLE = 'vedit generate "a red star moving left on a grey background" -o star.gif'


@dataclass(frozen=True)
class GenerateRequest(BackendOptions, Request):
    """One call of generate: clips for a prompt, or for each line of a file, with `count` seeds each.

    prompt, prompts (a file): one of them, or `clips`. output: one file for all, a grid when there are
    several; output_dir: a folder with a file for each. to: output format when the name does not tell.
    model: None for the embedded one, or with `provider` for the provider's own choice.
    size: "64" or "64x48". The options of those who make clips: see `app.generate.options`.
    clips, like: of a run record: rows of clips as it tells them, and the model whose weights are needed.
    """

    prompt: str | None = None
    output: str | None = None
    output_dir: str | None = None
    to: str | None = None
    model: str | None = None
    provider: str | None = None
    revision: str | None = None
    prompts: str | None = None
    negative: str | None = None
    seed: int = 0
    count: int = 1
    steps: int | None = None
    guidance: float | None = None
    frames: int | None = None
    size: str | None = None
    fps: float | None = None
    device: str = "auto"
    dtype: str = "auto"
    no_metadata: bool = False
    overwrite: bool = False
    skip_existing: bool = False
    clips: tuple[tuple[Mapping[str, Any], ...], ...] = ()
    like: Mapping[str, Any] | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any], output: str) -> Self:
        """What a run record tells of, for another output; its side files are not written again.

        Raises InputError for an option that this version does not have.
        """
        extra = run.without_extras(record["choices"]["extra"])
        unknown = sorted(set(extra) - {field.name for field in fields(BackendOptions)})
        if unknown:
            raise InputError(
                f"the record sets {', '.join(map(repr, unknown))[:200]}, which this vedit does not know.",
                "It may have been written by a later version.",
                "Update vedit",
            )
        return cls(
            **{**extra, "mask": tuple(extra.get("mask", ()))},
            output=output,
            model=record["model"]["name"],
            revision=record["model"]["revision"],
            device=record["choices"]["device"],
            dtype=record["choices"]["dtype"],
            overwrite=True,
            clips=tuple(tuple(row) for row in record["clips"]),
            like=record["model"],
        )

    @property
    def named_model(self) -> str:
        """The model as those who make clips know it."""
        if self.provider is not None:
            return f"provider:{self.provider}:{self.model or ''}"
        return self.model or DEFAULT_MODEL


@dataclass(frozen=True)
class GeneratePlan:
    """Clips that will be made."""

    request: GenerateRequest
    job: run.Job

    def __str__(self) -> str:
        count = sum(map(len, self.job.requests))
        clips = "1 clip" if count == 1 else f"{count} clips"
        return (
            f"generate {clips} with {self.job.choices.model} on {self.job.choices.device}, to"
            f" {self.job.output or self.job.folder}"
        )

    def run(self, sink: Sink = Quiet()) -> list[dict[str, Any]]:
        """Make the clips; a record per output, which lies beside it too.

        Raises as the model's backend does.
        """
        job = self.job._replace(choices=self.job.choices._replace(warn=sink.warn))
        return run.generate(job, warn=sink.warn, watch=sink.steps)


def plan(request: GenerateRequest) -> GeneratePlan:
    """Check what is asked for, and that the outputs may be written; the folder for them is made.

    Raises UsageError, InputError for a file of prompts that cannot be read, OutputError.
    """
    if not request.clips and (request.prompt is None) == (request.prompts is None):
        raise UsageError(
            f"give a prompt or {option('prompts', 'FILE')}, one of them.", "", f"Example: {EXAMPLE}"
        )
    if (request.output is None) == (request.output_dir is None):
        raise UsageError(
            f"give {option('output', 'FILE')} or {option('output_dir', 'DIR')}, one of them.",
            "",
            f"Example: {EXAMPLE}",
        )
    refuse_mistakes("the options of a backend", mistakes(request))
    model = request.named_model
    if not run.is_hosted(model):
        need("diffusion")
    rows = _rows(request)
    count = sum(map(len, rows))
    if request.save_x_start is not None and count > 1:
        raise UsageError(
            f"{option('save_x_start')} keeps the steps of one clip.",
            f"{count} are asked for.",
            f"Leave out {option('count')} and {option('prompts')}",
        )
    if request.skip_existing and request.output_dir is None:
        raise UsageError(
            f"{option('skip_existing')} is for the files of {option('output_dir')}.",
            "",
            f"Leave it out, or write into a folder with {option('output_dir', 'DIR')}",
        )
    choices = run.Choices(model, request.revision, request.device, request.dtype, request.given())
    suffix = f".{request.to or 'gif'}"
    job = run.Job(
        choices,
        rows,
        request.output,
        request.output_dir,
        suffix,
        request.to,
        not request.no_metadata,
        request.like,
    )
    _check_outputs(job, request.overwrite or request.skip_existing)
    return GeneratePlan(request, run.without_finished(job) if request.skip_existing else job)


def _rows(request: GenerateRequest) -> Sequence[Sequence[run.Take]]:
    """A row of clips per prompt."""
    if request.clips:
        return [[run.request_of(told) for told in row] for row in request.clips]
    prompts = run.read_prompts(request.prompts) if request.prompts else [request.prompt or ""]
    size = parse_size(request.size)
    shared = run.Take(
        "",
        request.negative,
        request.seed,
        request.frames,
        (size, size) if isinstance(size, int) else size,
        request.steps,
        request.guidance,
        run.rate_of(request.fps) if request.fps else None,
        request.given(),
    )
    return run.requests_for(prompts, shared, request.count)


def _check_outputs(job: run.Job, overwrite: bool) -> None:
    """Refuse outputs that exist before anything is made."""
    kept = job.choices.extra.get("save_x_start")
    if job.output is not None:
        output_format(job.output, job.to)
        record = job.output + SUFFIX if job.record and job.output != "-" else None
        refuse_twice(((option("output"), job.output), (option("save_x_start"), kept), ("the record", record)))
        check_output(job.output, (), overwrite or None)
        return
    if not job.folder:
        raise UsageError(
            f"the name behind {option('output_dir')} is empty.",
            "A variable of a script may not be set.",
            "Name a folder",
        )
    try:
        os.makedirs(job.folder, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{job.folder}: cannot make the folder: {reason_of(error)}.") from None
    paths = [
        os.path.join(job.folder, run.file_name(number, request, job))
        for number, row in enumerate(job.requests)
        for request in row
    ]
    refuse_twice([*(("a clip", path) for path in paths), (option("save_x_start"), kept)])
    for path in paths:
        output_format(path, job.to)
        check_output(path, (), overwrite or None)
