"""What the score commands are asked: to judge clips, to compare two reports, to lay reports out as tables."""

from __future__ import annotations

from dataclasses import dataclass

from vedit.jobs.request import Request
from vedit.jobs.score.outputs import Outputs
from vedit.metrics._options import MetricOptions


@dataclass(frozen=True)
class ScoreRequest(MetricOptions, Outputs):
    """One call of score: a clip, or a suite of them in `edited_dir`.

    mask: a file, a box, "auto" for what the run record has, or "none". index: the list of a suite.
    align, resize_source, yes (`open_all`): as `app.score.clips.Reading` has them. metrics: a list as
    `app.score.metrics.choose` reads it. profile: None chooses by the weights that are here.
    judge: who answers questions, "truth", local:FOLDER, hub:ID or a base URL; judge_model, judge_key_env: of
    a hosted one.
    metric_file: Python files of metrics of one's own, all of whose numbers are computed.
    weights: a folder to look for weights in first. device, dtype, batch, and the options of metrics:
    as `vedit.metrics.types.Options` has them. jobs: threads of the networks.
    cache: keep on disk what networks computed. name: of the method in tables. fail_under, fail_over:
    METRIC=VALUE, a mean below or above which is a failure.
    journal: of a suite; None for the usual place. resume: take from it what has not changed.
    """

    clip: str | None = None
    source: str | None = None
    prompt: str | None = None
    source_prompt: str | None = None
    truth: str | None = None
    mask: str = "auto"
    index: str | None = None
    edited_dir: str | None = None
    source_dir: str | None = None
    align: str | None = None
    resize_source: bool = False
    yes: bool = False
    metrics: str | None = None
    metric_file: tuple[str, ...] = ()
    judge: str | None = None
    judge_model: str | None = None
    judge_key_env: str | None = None
    profile: str | None = None
    weights: str | None = None
    device: str = "auto"
    dtype: str = "fp32"
    batch: int = 16
    jobs: int | None = None
    cache: bool = False
    link_media: bool = False
    name: str | None = None
    seed: int = 0
    baseline: str | None = None
    fail_under: tuple[str, ...] = ()
    fail_over: tuple[str, ...] = ()
    journal: str | None = None
    resume: bool = False

    @property
    def is_suite(self) -> bool:
        return bool(self.edited_dir)


@dataclass(frozen=True)
class CompareRequest(Outputs):
    """Two reports or more to compare, video by video.

    metrics: a list as `jobs.score.metrics.among` reads it, None for all that they hold. force:
    compare what was computed differently. seed: of the bootstrap. svg_file: of the plots.
    """

    reports: tuple[str, ...]
    metrics: str | None = None
    svg_file: str | None = None
    force: bool = False
    seed: int = 0


@dataclass(frozen=True)
class AgreeRequest(Outputs):
    """Reports to hold against people's labels, a CSV, or against the answers to a blind sheet and its key.

    metrics: as `CompareRequest`. seed: of the bootstrap.
    """

    reports: tuple[str, ...]
    labels: str | None = None
    answers: tuple[str, ...] = ()
    key: str | None = None
    metrics: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class BlindRequest(Request):
    """A blind sheet of two reports. key: where its key goes; beside it by default. limit: of pairs."""

    reports: tuple[str, ...]
    output: str
    key: str | None = None
    limit: int | None = None
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class MergeRequest(Request):
    """Reports of one method to make one of. name: of the method. seeds: each is of another seed. output: a
    file, None for standard output.
    """

    reports: tuple[str, ...]
    name: str | None = None
    seeds: bool = False
    force: bool = False
    output: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class CheckRequest(Request):
    """Reports to look for faults in. index: the suite whose edits they should hold."""

    reports: tuple[str, ...]
    index: str | None = None


@dataclass(frozen=True)
class TableRequest(Request):
    """Reports to lay out. output: a file, None for standard output; html_file: of the page beside it,
    svg_file: of the plot. tags: the index that has them. See `jobs.score.tables.tables`.
    """

    reports: tuple[str, ...]
    layout: str = "wide"
    form: str = "text"
    lang: str = "en"
    column_from: str | None = None
    metrics: str | None = None
    only: str | None = None
    tags: str | None = None
    transpose: bool = False
    html_file: str | None = None
    svg_file: str | None = None
    standalone: bool = False
    force: bool = False
    output: str | None = None
    overwrite: bool = False
