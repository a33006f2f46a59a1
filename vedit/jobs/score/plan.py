"""From what is asked for to what will be scored: inputs and outputs checked, the profile chosen by the
weights that are here.

plan(request) -> ScorePlan      printable; nothing heavy is loaded, nothing written
plan.run(sink) -> Scored        the numbers; every form that was asked for is written
scored.check()                  raises what the exit code says
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vedit import metrics
from vedit.errors import (
    CheckFailed,
    Interrupted,
    PartialFailure,
    Stopped,
    UsageError,
    VeditError,
    nearest,
    option,
    refuse_mistakes,
)
from vedit.jobs.cache import answers_folder, folder
from vedit.jobs.extras import need
from vedit.jobs.score.clips import Item, Reading
from vedit.jobs.score.index import read_folder, read_index
from vedit.jobs.score.judges import judge_of
from vedit.jobs.score.metrics import Choice, catalogue, choose
from vedit.jobs.score.outputs import Makers
from vedit.jobs.score.request import ScoreRequest
from vedit.jobs.score.run import Clips, Suite, run
from vedit.jobs.sink import Quiet, Sink
from vedit.media.atomic import open_output
from vedit.metrics import own
from vedit.metrics._judging import Judge
from vedit.metrics.base import towers_of
from vedit.metrics.towers.files import WeightFinder
from vedit.metrics.types import Options
from vedit.options import declared_in, mistakes

if TYPE_CHECKING:
    from vedit.jobs.score.results import Results

SINGLE = 'vedit score edited.gif --source clip.gif --prompt "a blue circle on a grey background"'
SUITE = (
    "vedit score --index suite.toml --edited out --source-dir in --html report.html --json glp.json --resume"
)
PAGE_MEMORY_MIB = 512  # flows kept for the maps of the page
OWN_PROFILE = (
    "no weights found, so this is the embedded profile, which needs none; the eight metrics of V2VBench:"
    " vedit score weights"
)


class Threshold(NamedTuple):
    """A bar for a mean. is_floor: a lower mean misses it, else a higher one."""

    key: str
    value: float
    is_floor: bool

    def missed(self, results: Results) -> str:
        """What the mean is, where it misses the bar, else ""."""
        mean = results.summary(self.key).mean if self.key in results.metrics else None
        if mean is not None and not (mean < self.value if self.is_floor else mean > self.value):
            return ""
        return (
            f"{self.key} is {'undefined' if mean is None else f'{mean:.4f}'},"
            f" {'under' if self.is_floor else 'over'} {self.value:g}"
        )


@dataclass(frozen=True)
class ScorePlan:
    """What will be scored."""

    request: ScoreRequest
    suite: Suite
    finder: WeightFinder
    thresholds: tuple[Threshold, ...] = ()
    judge: Judge | None = None

    def __str__(self) -> str:
        clips = "1 clip" if len(self.suite.items) == 1 else f"{len(self.suite.items)} clips"
        skipped = [f"  without {name}: {why}" for name, why in self.suite.skips.items()]
        files = [f"  {form} to {path}" for form, path in self.request.files.items()]
        return "\n".join(
            [
                f"score {clips}, profile {self.suite.options.profile}: {', '.join(self.suite.choice.keys)}",
                *skipped,
                *files,
            ]
        )

    @property
    def journal(self) -> str | None:
        """The journal's file; a single clip has one only when it is named."""
        request = self.request
        return request.journal or (
            os.path.join(request.edited_dir, "vedit-score.jsonl") if request.edited_dir else None
        )

    def run(self, sink: Sink = Quiet()) -> Scored:
        """Score every clip and write what was asked for. Raises as `app.score.run.run` does."""
        from vedit.jobs.score.html import report_page
        from vedit.jobs.score.journal import Journal
        from vedit.metrics.towers import FeatureStore, Towers

        request = self.request
        if request.jobs:
            import torch

            torch.set_num_threads(request.jobs)
        features = _kept() / "features" if request.cache else None
        store = FeatureStore(features, memory_mib=PAGE_MEMORY_MIB if request.html_file else 256)
        towers = Towers(self.suite.options, self.finder, store, self.judge)
        clips = Clips(self.suite, sink.warn)
        results, stopped_by = run(
            self.suite, towers, Journal(self.journal, request.resume), clips=clips, watch=sink.steps
        )
        scored = Scored(self, results, stopped_by)
        scored.write(lambda: report_page(results, self.suite, towers, clips, link_media=request.link_media))
        return scored


@dataclass(frozen=True)
class Scored:
    """What came of it. stopped_by: the signal that ended a suite early: "interrupt", "terminate" or ""."""

    plan: ScorePlan
    results: Results
    stopped_by: str = ""

    def write(self, page: Callable[[], str]) -> None:
        """Write every form that was asked for. page: makes the HTML."""
        from vedit.jobs.score.results import summary_csv

        request = self.plan.request
        request.write(self._makers(page))
        if request.csv_file and request.csv_file != "-" and request.is_suite:
            with open_output(os.path.splitext(request.csv_file)[0] + ".summary.csv") as stream:
                stream.write(summary_csv(self.results).encode("utf-8", "backslashreplace"))

    def _makers(self, page: Callable[[], str]) -> Makers:
        import json

        from vedit.jobs.score.render import rendered
        from vedit.jobs.score.results import to_csv, to_json
        from vedit.jobs.score.summary import report_table

        table = report_table(self.results)
        return {
            "json": lambda: json.dumps(to_json(self.results), indent=1, ensure_ascii=False) + "\n",
            "csv": lambda: to_csv(self.results),
            "md": lambda: rendered([table], "md"),
            "latex": lambda: rendered([table], "latex", alone=self.plan.request.standalone),
            "html": page,
        }

    def text(self, *, explain: bool = False) -> str:
        """The table for people. explain: with what each number says."""
        from vedit.jobs.score.render import rendered
        from vedit.jobs.score.summary import explained, report_table

        words = explained(self.results.metrics[key] for key in self.results.keys) if explain else ""
        return rendered([report_table(self.results)], "text") + (f"\n{words}\n" if explain else "")

    def check(self) -> None:
        """Raise for a signal, for videos that failed, for bars that were missed, in this order."""
        error = self._stopped() or self._empty() or self._incomplete()
        if error is not None:
            raise error
        missed = [text for threshold in self.plan.thresholds if (text := threshold.missed(self.results))]
        if missed:
            raise CheckFailed("; ".join(missed) + ".")

    def _stopped(self) -> VeditError | None:
        if not self.stopped_by:
            return None
        rows = self.results.rows
        done = sum(
            1 for row in rows if not any(why.startswith("interrupted") for why in row.skipped.values())
        )
        kind = Interrupted if self.stopped_by == "interrupt" else Stopped
        return kind(
            f"interrupted; {done} of {len(rows)} videos are complete.",
            f"What is done is kept in {self.plan.journal}.",
            f"Go on with the same line and {option('resume')}",
        )

    def _empty(self) -> VeditError | None:
        if self.results.metrics or any(row.failed for row in self.results.rows):
            return None
        return UsageError("no metric could be computed.", "What each one needs stands above.")

    def _incomplete(self) -> VeditError | None:
        rows = self.results.rows
        failed = [row for row in rows if row.failed or (row.damage and len(rows) > 1)]
        if not failed:
            return None
        first = failed[0]
        what = f"{first.label}: {next(iter(first.failed.values()), f'damaged: {first.damage}')}"
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return PartialFailure(f"{len(failed)} of {len(rows)} videos were not scored completely.", what + more)


def plan(request: ScoreRequest, sink: Sink = Quiet()) -> ScorePlan:
    """Check what is asked for, and choose the profile where none is named; says which.

    Raises UsageError for what does not go together or would not be read, OutputError for outputs
    that may not be written, InputError for an index that cannot be read.
    """
    _refuse_clashes(request)
    _refuse_unread(request)
    refuse_mistakes("the options of metrics", mistakes(request))
    request.check_outputs([path for path in (request.clip, request.source, request.truth) if path])
    need("diffusion")
    finder = WeightFinder(
        Path(request.weights) if request.weights else None, _kept(), bool(os.environ.get("HF_HUB_OFFLINE"))
    )
    suite, notes = _suite(request, finder)
    floors = [_threshold("fail_under", text, suite.choice) for text in request.fail_under]
    ceilings = [_threshold("fail_over", text, suite.choice) for text in request.fail_over]
    for note in notes:
        sink.warn(note)
    judge = judge_of(
        request.judge,
        request.judge_model,
        request.judge_key_env,
        Path(answers_folder()) if request.cache else None,
        device=request.device,
        dtype=request.dtype,
    )
    return ScorePlan(request, suite, finder, (*floors, *ceilings), judge)


def _kept() -> Path:
    """Where score keeps what it fetched and computed."""
    return Path(folder()).parent / "score"


def _refuse_clashes(request: ScoreRequest) -> None:
    if request.clip is None and not request.edited_dir:
        raise UsageError(
            "no clip to score.",
            f"Name an edited clip, or a folder of them with {option('edited_dir')}.",
            f"Example: {SINGLE}",
        )
    if request.clip is not None and request.edited_dir:
        raise UsageError(
            f"CLIP and {option('edited_dir')} were both given.", "One clip, or a folder of edited clips."
        )
    if request.index and not request.edited_dir:
        raise UsageError(
            f"{option('index')} needs {option('edited_dir')}, the folder of the edited clips.",
            "",
            f"Example: {SUITE}",
        )


def _refuse_unread(request: ScoreRequest) -> None:
    """Options that this call would not read are mistakes."""
    if request.clip is None:
        single = [
            name
            for name in ("source", "prompt", "source_prompt", "truth")
            if getattr(request, name) is not None
        ]
        single += ["mask"] if request.mask not in ("auto", "none") else []
        if single:
            raise UsageError(
                f"{option(single[0])} is for one clip.",
                "In a suite the index says it for each video, or the run record.",
                "The form of an index: vedit score --help",
            )
        return
    if request.source_dir:
        raise UsageError(
            f"{option('source_dir')} is for a suite.", "", f"For one clip: {option('source', 'FILE')}"
        )
    if request.clip == "-" and request.journal:
        raise UsageError(
            f"{option('journal')} cannot tell one standard input from another.",
            "",
            f"Name a file, or leave {option('journal')} out",
        )
    if request.resume and not request.journal:
        raise UsageError(
            f"{option('resume')} has no journal to go on with.",
            "A suite has one; a single clip has one when it is named.",
            f"Add {option('journal', 'FILE')}",
        )


def _suite(request: ScoreRequest, finder: WeightFinder) -> tuple[Suite, tuple[str, ...]]:
    """What to score and how, and what the user should know of it."""
    profile, flow, skips, notes = _profile(request, finder)
    choice = choose(request.metrics, profile).with_all([own.load(path) for path in request.metric_file])
    items = _items(request)
    fallback = os.path.basename(os.path.normpath(request.edited_dir or items[0].video_id))
    suite = Suite(
        items=tuple(items),
        choice=choice,
        options=_options(request, profile, flow),
        reading=Reading(request.align, request.resize_source, request.yes),
        name=request.name,
        fallback_name=fallback,
        seed=request.seed,
        baseline=request.baseline,
        is_suite=request.is_suite,
        skips=skips,
    )
    return suite, notes


def _items(request: ScoreRequest) -> list[Item]:
    if request.edited_dir and request.index:
        items = read_index(request.index, request.edited_dir, request.source_dir)
    elif request.edited_dir:
        items = read_folder(request.edited_dir, request.source_dir)
    else:
        assert request.clip is not None
        label = (
            "stdin"
            if request.clip == "-"
            else os.path.splitext(os.path.basename(request.clip.rstrip("/")))[0]
        )
        items = [
            Item(
                label,
                "0",
                request.clip,
                request.source,
                request.prompt,
                request.source_prompt,
                request.truth,
                request.mask,
            )
        ]
    return [replace(item, mask="none") for item in items] if request.mask == "none" else items


def _options(request: ScoreRequest, profile: str, flow: str | None) -> Options:
    chosen = {key: getattr(request, key) for key in ("device", "dtype", "batch", *declared_in(request))}
    return Options(profile, **{**chosen, "flow": flow})


class Profile(NamedTuple):
    """A profile, what estimates flow in it, and the modules that are skipped, each with the reason."""

    name: str
    flow: str | None
    skips: dict[str, str]
    notes: tuple[str, ...] = ()


def _profile(request: ScoreRequest, finder: WeightFinder) -> Profile:
    """The profile, and modules that are skipped since their weights are not on this machine.

    Where none is named, nothing is downloaded unless a metric that needs weights is named: metrics of a
    group are skipped, flow is TV-L1 where GMFlow is not here, and where no weights are left to read
    the profile is the embedded one.
    """
    if request.profile:
        return Profile(request.profile, request.flow, {})
    flow = "tvl1" if request.flow is None and finder.look("gmflow") is None else request.flow
    options, facts = _options(request, "v2vbench", flow), catalogue()
    choice = choose(request.metrics, "v2vbench")
    named = {facts[key].metric for key in choice.named}
    towers = {module: towers_of(metrics.load(module), options) for module in choice.modules()}
    absent = {
        module: [name for name in names if finder.look(name) is None] for module, names in towers.items()
    }
    lacking = {module: names for module, names in absent.items() if names and module not in named}
    skips = {
        module: f"no weights on this machine; fetch them with: vedit score weights --fetch {names[0]}"
        for module, names in lacking.items()
    }
    if any(names for module, names in towers.items() if module not in lacking):
        return Profile("v2vbench", flow, skips)
    if not request.metrics:
        return Profile("embedded", flow, {}, (OWN_PROFILE,))
    return Profile("embedded", flow, skips)


def _threshold(name: str, text: str, choice: Choice) -> Threshold:
    """METRIC=VALUE of a bar, whose name the message bears."""
    example = "psnr=30"
    key, equals, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not equals or value != value:
        raise UsageError(
            f"{option(name, text)} is not a threshold.",
            f"Write METRIC=VALUE, for example {option(name, example)}.",
        )
    key = key.strip().replace("-", "_")
    if key not in choice.keys:
        raise UsageError(
            f"{option(name, text)}: {key} is not among the metrics{nearest(key, choice.keys)}",
            f"They are: {', '.join(choice.keys)}.",
        )
    return Threshold(key, value, name == "fail_under")
