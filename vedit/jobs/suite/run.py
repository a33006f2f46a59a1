"""Run a suite: clips -> prompts -> edits -> scores -> tables. Each step skips what is done.

OUT/clips/  OUT/prompts.jsonl  OUT/edits/LABEL/VIDEO/EDIT.gif  OUT/scores/LABEL.json
OUT/tables/4-1.{txt,md,tex,csv}  OUT/report.html  OUT/thesis-check.md  OUT/suite.lock.toml
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from vedit import presets
from vedit.errors import (
    InputError,
    ModelError,
    PartialFailure,
    RemoteError,
    UsageError,
    VeditError,
    nearest,
    option,
)
from vedit.jobs.batch.request import BatchRequest, plan_batch
from vedit.jobs.bench.scenes import with_mask
from vedit.jobs.here import run_here
from vedit.jobs.rewrite.asking import check
from vedit.jobs.rewrite.request import RewriteOptions, RewriteRequest
from vedit.jobs.rewrite.run import Rewriter
from vedit.jobs.score.metrics import choose
from vedit.jobs.score.plan import Scored
from vedit.jobs.score.plan import plan as plan_score
from vedit.jobs.score.request import ScoreRequest
from vedit.jobs.score.results import Results, read_results
from vedit.jobs.sink import Quiet, Sink
from vedit.jobs.suite import report
from vedit.jobs.suite.clips import Take, takes_of, write_index
from vedit.jobs.suite.request import SuiteRequest
from vedit.media.atomic import make_folder, open_output

Tell = Callable[[Mapping[str, Any]], None]
PREFIX = "suite-"  # of the presets that ship
FEW_STEPS = 3
STEPS = ("steps", "iterations", "tune_steps")


@dataclass
class Done:
    """What came of a suite. left_out: what is missing from the tables, and why."""

    output: str
    reports: dict[str, Results]
    tables: list[str]
    left_out: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise PartialFailure where something was left out."""
        if self.left_out:
            raise PartialFailure(
                f"the suite is not complete: {self.left_out[0]}"
                + (f" (and {len(self.left_out) - 1} more)" if len(self.left_out) > 1 else ""),
                f"The tables in {self.output}/tables are of what there is, and say of how many.",
            )


def names() -> dict[str, str]:
    """The suites there are, each with its summary."""
    found = {}
    for name in presets.paths():
        if name.startswith(PREFIX):
            found[name.removeprefix(PREFIX)] = presets.load(name, "suite").summary
    return found


def definition(name: str) -> Mapping[str, Any]:
    """The table of a suite by its name or its file. Raises UsageError."""
    return presets.load(file_of(name), "suite").table


def file_of(name: str) -> str:
    """The file of a suite by its name. Raises UsageError."""
    if os.sep in name or name.endswith(presets.SUFFIX):
        return name
    name = name.removeprefix(PREFIX)
    if PREFIX + name not in presets.paths():
        known = names()
        raise UsageError(
            f"there is no suite called {name!r}{nearest(name, known) or '.'}",
            f"There are: {', '.join(known)}; or name a file ending in {presets.SUFFIX}.",
        )
    return presets.find(PREFIX + name)


def run(request: SuiteRequest, sink: Sink = Quiet(), tell: Tell | None = None) -> Done:
    """Do what is not done yet of a suite, and write its tables. Raises VeditError before any work for what
    is wrong with the call; what fails later is left out and told.
    """
    suite = definition(request.suite)
    runs = with_settings(chosen_runs(suite, request.only), request.set)
    if wanted := suite.get("score", {}).get("metrics"):
        choose(wanted, suite["score"].get("profile", "v2vbench"))  # a wrong name, before hours of edits
    out = request.output
    make_folder(out)
    clips = suite.get("clips", {})
    takes, missing = takes_of(
        clips,
        os.path.join(out, "clips"),
        source_dir=request.clips,
        index=request.index,
        limit=request.limit,
        partial=request.partial,
    )
    done = Done(out, {}, [], [f"the clip {name} is missing" for name in missing])
    write_index(os.path.join(out, "clips", "index.toml"), takes) if "cases" in clips else write_index(
        _made(out, "index.toml"), takes
    )
    prompts = prompts_of(runs, takes, done.left_out, rewriting(suite, request), sink)
    _write(os.path.join(out, "prompts.jsonl"), "".join(json.dumps(row) + "\n" for row in prompts))
    make_edits(request, suite, runs, takes, prompts, done, sink, tell)
    for one in runs:
        scored = score_run(request, suite, str(one["label"]), done, sink)
        if scored is not None:
            done.reports[str(one["label"])] = scored
    if not done.reports:
        raise _nothing(request, done)
    done.tables = report.write(out, suite, done.reports, len(takes) + len(missing), done.left_out)
    done.changed = report.lock(out, request, suite, done.reports, prompts)
    return done


def chosen_runs(suite: Mapping[str, Any], only: Sequence[str]) -> list[Mapping[str, Any]]:
    """The runs that are asked for. Raises UsageError for a label that there is not."""
    labels = [str(one["label"]) for one in suite["run"]]
    for label in only:
        if label not in labels:
            raise UsageError(
                f"the suite has no run {label!r}{nearest(label, labels) or '.'}",
                f"Its runs: {', '.join(labels)}.",
            )
    return [one for one in suite["run"] if not only or one["label"] in only]


def with_settings(runs: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The runs with the parameters that a call sets, by LABEL.KEY. Raises UsageError."""
    labels = [str(one["label"]) for one in runs]
    for key in settings:
        label, dot, rest = key.partition(".")
        if not (dot and rest and label in labels):
            raise UsageError(
                f"{option(f'set.{key}', settings[key])} names no run{nearest(label, labels) or '.'}",
                f"Write LABEL.KEY=VALUE; runs: {', '.join(labels)}.",
            )
    return [
        {
            **one,
            "set": {
                **one.get("set", {}),
                **{
                    key.partition(".")[2]: value
                    for key, value in settings.items()
                    if key.startswith(f"{one['label']}.")
                },
            },
        }
        for one in runs
    ]


# --- prompts and edits ---------------------------------------------------------------------------


def rewriting(suite: Mapping[str, Any], request: SuiteRequest) -> RewriteOptions:
    """Who rewrites: the call's choice takes the whole place of the suite's."""
    who = ("llm", "base_url", "llm_model", "key_env")
    own = {name: value for name in who if (value := getattr(request, name)) is not None}
    table = suite.get("rewrite", {})
    kept = {key: value for key, value in table.items() if not own or key not in (*who, "revision")}
    return RewriteOptions.from_json({**kept, **own, "device": request.device}, "rewrite")


def prompts_of(
    runs: Sequence[Mapping[str, Any]],
    takes: Sequence[Take],
    left_out: list[str],
    options: RewriteOptions = RewriteOptions(),
    sink: Sink = Quiet(),
) -> list[dict[str, Any]]:
    """The prompt of every run and clip; what cannot be rewritten is left out and told."""
    rows = []
    rewriter = Rewriter(options, sink)
    for one in runs:
        for take in takes:
            row = {"label": one["label"], "video": take.video, "edit": take.edit}
            kind = one.get("prompt", "full")
            if kind == "rewritten":
                try:
                    row |= _rewritten(take, rewriter, options)
                except (UsageError, ModelError, RemoteError) as error:
                    left_out.append(f"{one['label']} {take.video}: {error.what}")
                    continue
            else:
                row["prompt"] = take.short if kind == "short" else take.prompt
            rows.append({**row, "source_prompt": take.source_prompt, "kind": kind})
    return rows


def _rewritten(take: Take, rewriter: Rewriter, options: RewriteOptions) -> dict[str, str]:
    """The instruction along the source prompt, and who wrote it. Rules read instructions: where there is a
    prompt alone, it is taken as it is if it runs along the source's.
    """
    instruction = take.instruction or take.prompt
    own = {one.name: getattr(options, one.name) for one in fields(RewriteOptions)}
    asked = RewriteRequest(source=take.source_prompt, instruction=instruction, **own)
    if not take.instruction and options.uses_rules and not check(asked, take.prompt):
        return {"prompt": take.prompt, "rewritten_by": "nobody: it runs along the source prompt"}
    try:
        made = rewriter.made(asked)
    except UsageError as error:
        if take.instruction or not options.uses_rules:
            raise
        raise UsageError(
            f"rules do not bring {take.prompt!r} near {take.source_prompt!r}: {error.what}",
            f"A language model may: {option('llm', 'hub:OWNER/NAME')}; or add an instruction to the index.",
        ) from None
    return {"prompt": str(made["target"]), "rewritten_by": str(made["method"])}


def make_edits(
    request: SuiteRequest,
    suite: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    takes: Sequence[Take],
    prompts: Sequence[Mapping[str, Any]],
    done: Done,
    sink: Sink,
    tell: Tell | None,
) -> None:
    """Make the edits that are not made yet, as one batch."""
    by_take = {(take.video, take.edit): take for take in takes}
    by_label = {str(one["label"]): one for one in runs}
    rows = [
        job_of(request, suite, by_label[str(row["label"])], by_take[row["video"], row["edit"]], row)
        for row in prompts
    ]
    jobs = _made(request.output, "jobs.jsonl")
    _write(jobs, "".join(json.dumps(row) + "\n" for row in rows))
    edits = os.path.join(request.output, "edits")
    made = plan_batch(BatchRequest(jobs=(jobs,), output_dir=edits, overwrite=True, retry_failed=True), sink)
    if made.open():
        # who hears of every event shows warnings and steps by itself
        heard: dict[str, Any] = {"tell": tell} if tell else {"sink": sink}
        outcome = run_here(made, request.device, **heard)
        outcome.concluded(edits, "edit", "") if outcome.is_stopped else None
    left = {item.output for item in made.open()} | {
        item.output for item in made.items if item.key in made.failed
    }
    done.left_out += [f"{name} was not made, see {edits}/failed.csv" for name in sorted(left)]


def job_of(
    request: SuiteRequest,
    suite: Mapping[str, Any],
    one: Mapping[str, Any],
    take: Take,
    prompt: Mapping[str, Any],
) -> dict[str, Any]:
    """A row of the batch."""
    from vedit.jobs.edit.settings import keys_of

    clips = suite.get("clips", {})
    job: dict[str, Any] = {
        "input": os.path.abspath(take.source),
        "source_prompt": take.source_prompt,
        "prompt": prompt["prompt"],
        "method": one["method"],
        "label": one["label"],
        "output": f"{one['label']}/{take.video}/{take.edit}.gif",
    }
    job |= {key: clips[key] for key in ("frames", "stride", "start", "size", "model") if key in clips}
    if request.model:
        job["model"] = request.model
    if "preset" in one:
        job["preset"] = one["preset"]
    keys = set(keys_of(str(one["method"])))
    values = dict(one.get("set", {}))
    if "factor" in one and "equalizer" in keys:
        values["equalizer"] = {
            word: one["factor"] for word in new_words(take.source_prompt, str(prompt["prompt"]))
        }
    if take.case is not None:
        values = with_mask(str(one["method"]), take.case, values)
    if request.steps is not None:
        values |= {key: request.steps for key in STEPS if key in keys}
        if "mask_after" in keys and request.steps <= FEW_STEPS:  # else no step is left to the mask
            values["mask_after"] = min(1, request.steps - 1)
    return job | {f"set.{key}": value for key, value in values.items()}


def new_words(source: str, prompt: str) -> list[str]:
    """The words of a prompt that its source does not have, in their order."""
    known = set(source.split())
    return [word for word in dict.fromkeys(prompt.split()) if word not in known]


# --- scores --------------------------------------------------------------------------------------


def score_run(
    request: SuiteRequest, suite: Mapping[str, Any], label: str, done: Done, sink: Sink
) -> Results | None:
    """The report of a run, out of its file where nothing has changed; None where it has no clip, or where
    nothing can be told of its clips, as without the weights of any metric.
    """
    folder = os.path.join(request.output, "edits", label)
    if not any(name.endswith(".gif") for _, _, files in os.walk(folder) for name in files):
        return None
    target = os.path.join(request.output, "scores", f"{label}.json")
    index = _of_run(request.output, label, suite)
    asked = suite.get("score", {})
    key = _key(folder, index, asked, request.weights)
    beside = _made(request.output, f"{label}.key")
    if os.path.exists(target) and _text(beside) == key:
        return read_results(target)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        _scored(request, label, folder, index, asked, target, sink).check()
    except PartialFailure as error:
        done.left_out.append(f"{label}: {error.what} {error.right}".rstrip())
    except (UsageError, InputError, ModelError) as error:
        done.left_out.append(f"{label}: {error.what} {error.right}".rstrip())
        return None
    _write(beside, key)
    return read_results(target)


def _scored(
    request: SuiteRequest,
    label: str,
    folder: str,
    index: str,
    asked: Mapping[str, Any],
    target: str,
    sink: Sink,
) -> Scored:
    return plan_score(
        ScoreRequest(
            edited_dir=folder,
            index=index,
            metrics=asked.get("metrics"),
            profile=asked.get("profile"),
            weights=request.weights,
            device=request.device,
            name=label,
            json_file=target,
            journal=_made(request.output, f"{label}.journal.jsonl"),
            resume=True,
            overwrite=True,
        ),
        sink,
    ).run(sink)


def _nothing(request: SuiteRequest, done: Done) -> VeditError:
    """What is said where no run has a number."""
    edits = os.path.join(request.output, "edits")
    if not os.path.isdir(edits):
        return InputError("no run of the suite has a result.", "; ".join(done.left_out[:3]))
    return PartialFailure(
        f"the edits are made, and no run could be scored: {done.left_out[-1]}",
        f"They are in {edits}, and the same call goes on from there.",
        "What metrics need: vedit score weights",
    )


def _of_run(out: str, label: str, suite: Mapping[str, Any]) -> str:
    """The index of the clips that a run has, beside that of all."""
    import tomllib

    whole = (
        os.path.join(out, "clips", "index.toml")
        if "cases" in suite.get("clips", {})
        else _made(out, "index.toml")
    )
    with open(whole, "rb") as file:
        videos = tomllib.load(file)["video"]
    takes = [
        Take(
            video["id"], edit["id"], video["source"], video["source_prompt"], edit["prompt"], "", "",
            edit.get("truth"), (video.get("tags") or [None])[0],
        )
        for video in videos
        for edit in video["edit"]
        if os.path.exists(os.path.join(out, "edits", label, video["id"], f"{edit['id']}.gif"))
    ]  # fmt: skip
    path = _made(out, f"{label}.index.toml")
    write_index(path, takes)
    return path


def _key(folder: str, index: str, asked: Mapping[str, Any], weights: str | None) -> str:
    """What a report was made of: the clips by size and time, what was asked, and this vedit."""
    from vedit import __version__

    digest = hashlib.sha256(json.dumps([dict(asked), weights, __version__]).encode())
    digest.update(_text(index).encode())
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.endswith(".gif"):
                facts = os.stat(os.path.join(place, name))
                digest.update(f"{place}/{name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _made(out: str, name: str) -> str:
    """A file of the suite's own state."""
    folder = os.path.join(out, ".suite")
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, name)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    """Write a file unless it says that already, so that its time stays."""
    if _text(path) != text:
        with open_output(path) as stream:
            stream.write(text.encode())
