"""vedit in Python: what the command line does, as calls and as plans.

    from vedit.api import EditRequest, edit, plan

    edit("clip.gif", "a blue circle", "blue.gif", source_prompt="a red circle")
    planned = plan(EditRequest(input="clip.gif", prompt="a blue circle", source_prompt="a red circle"))
    print(planned)
    pictures = list(planned.frames())

A verb checks what it is asked, does it and returns what came of it. `plan` takes the same as a request,
checks it, and gives what can be printed and run. Both raise VeditError, whose class says what kind of
thing went wrong. `sink` hears warnings and steps; by default nobody does. An output that exists is replaced
with `overwrite=True` alone. Importing this module loads no library; a verb loads what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

from vedit.jobs.sink import Quiet, Sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vedit.jobs.batch.run import Outcome
    from vedit.jobs.edit.plan import EditPlan, InvertPlan
    from vedit.jobs.edit.request import EditRequest, InvertRequest
    from vedit.jobs.generate.request import GeneratePlan, GenerateRequest
    from vedit.jobs.media.files import FilesPlan
    from vedit.jobs.media.gif import GifRequest
    from vedit.jobs.score.plan import ScorePlan
    from vedit.jobs.score.request import ScoreRequest
    from vedit.jobs.score.results import Results
    from vedit.media.run import Report

Record = dict[str, Any]

REQUESTS = {  # the module that defines a request, and where what plans it is
    "EditRequest": ("vedit.jobs.edit.request", "vedit.jobs.edit.plan", "plan"),
    "InvertRequest": ("vedit.jobs.edit.request", "vedit.jobs.edit.plan", "plan_inversion"),
    "ScoreRequest": ("vedit.jobs.score.request", "vedit.jobs.score.plan", "plan"),
    "GenerateRequest": ("vedit.jobs.generate.request", "vedit.jobs.generate.request", "plan"),
    "GifRequest": ("vedit.jobs.media.gif", "vedit.jobs.media.gif", "plan"),
}
__all__ = [
    "EditRequest",
    "GenerateRequest",
    "GifRequest",
    "InvertRequest",
    "Quiet",
    "ScoreRequest",
    "Sink",
    "caption",
    "edit",
    "edit_clips",
    "generate",
    "gif",
    "invert",
    "localize",
    "plan",
    "probe",
    "rewrite",
    "score",
    "suite",
]


def __getattr__(name: str) -> Any:
    """A request's class, when it is asked for: two of them load a library."""
    if name not in REQUESTS:
        raise AttributeError(f"module 'vedit.api' has no attribute {name!r}")
    return getattr(import_module(REQUESTS[name][0]), name)


@overload
def plan(request: EditRequest, sink: Sink = ...) -> EditPlan: ...
@overload
def plan(request: InvertRequest, sink: Sink = ...) -> InvertPlan: ...
@overload
def plan(request: ScoreRequest, sink: Sink = ...) -> ScorePlan: ...
@overload
def plan(request: GenerateRequest) -> GeneratePlan: ...
@overload
def plan(request: GifRequest, sink: Sink = ...) -> FilesPlan: ...


def plan(request: Any, sink: Sink = Quiet()) -> Any:
    """Check all that can be checked before a model is loaded; print the result, or call its `run`.

    That of an edit can give `frames()` instead of a file. Raises VeditError.
    """
    _, module, name = REQUESTS[type(request).__name__]
    planner = getattr(import_module(module), name)
    if type(request).__name__ == "GenerateRequest":
        return planner(request)  # which has nothing to say before it runs
    return planner(request, sink)


def edit(
    input: str,
    prompt: str,
    output: str,
    *,
    source_prompt: str = "",
    method: str = "p2p",
    sink: Sink = Quiet(),
    **options: Any,
) -> Record:
    """Change what a clip shows by text; returns the run record.

    input: a clip or a folder of pictures. source_prompt: what it shows; prompt: what it should show.
    options: further fields of `EditRequest`. Raises VeditError.
    """
    from vedit.jobs.edit.request import EditRequest

    given = {"input": input, "prompt": prompt, "output": output, "source_prompt": source_prompt}
    return plan(EditRequest.from_json({**given, "method": method, **options}, "edit"), sink).run(sink)


def edit_clips(
    inputs: Sequence[str],
    prompt: str,
    output_dir: str,
    *,
    source_prompt: str = "",
    suffix: str = "",
    overwrite: bool | None = None,
    sink: Sink = Quiet(),
    **options: Any,
) -> Outcome:
    """Make the same edit of several clips and of the clips in folders, with one model; returns how many.

    output_dir: where results lie under the names of clips, with `suffix`. The same call goes on after a break
    and tries again what failed. overwrite: of a file that is not this edit; False leaves its clip out.
    options: further fields of `EditRequest`. Raises VeditError, for clips that failed when the rest is done.
    """
    from vedit.jobs.batch.clips import plan_clips, raise_unfinished
    from vedit.jobs.edit.request import EditRequest
    from vedit.jobs.here import run_here

    given = {"input": "", "prompt": prompt, "source_prompt": source_prompt, **options}
    request = EditRequest.from_json(given, "edit_clips")
    made = plan_clips(inputs, output_dir, request, suffix=suffix, overwrite=overwrite, say=sink.warn)
    outcome = run_here(made, request.device, sink=sink)
    raise_unfinished(output_dir, outcome)
    return outcome


def invert(input: str, output: str, *, prompt: str = "", sink: Sink = Quiet(), **options: Any) -> Record:
    """Compute the noise that samples back to a clip, into a .safetensors file; returns what was measured.

    options: further fields of `InvertRequest`. Raises VeditError.
    """
    from vedit.jobs.edit.request import InvertRequest

    given = {"input": input, "output": output, "prompt": prompt}
    return plan(InvertRequest.from_json({**given, **options}, "invert"), sink).run(sink)


def score(clip: str | None = None, *, sink: Sink = Quiet(), **options: Any) -> Results:
    """Judge an edited clip, or with `edited_dir` a suite of them.

    options: further fields of `ScoreRequest`, such as source, prompt, truth, metrics, json_file.
    Raises VeditError, also for bars that were missed and clips that could not be scored.
    """
    from vedit.jobs.score.request import ScoreRequest

    scored = plan(ScoreRequest.from_json({"clip": clip, **options}, "score"), sink).run(sink)
    scored.check()
    return scored.results


def generate(prompt: str, output: str, *, sink: Sink = Quiet(), **options: Any) -> Record:
    """Make a clip from text; returns the run record.

    options: further fields of `GenerateRequest`, such as model, seed, frames, size. Raises VeditError.
    """
    from vedit.jobs.generate.request import GenerateRequest

    asked = GenerateRequest.from_json({"prompt": prompt, "output": output, **options}, "generate")
    return plan(asked).run(sink)[0]


def gif(chain: str, input: str, output: str, *, sink: Sink = Quiet(), **options: Any) -> Report:
    """Run stages over a clip: a line such as "crop:left=10%; resize:scale=50%; speed:2".

    The stages and their options are those of `vedit gif`. options: further fields of `GifRequest`, such as
    colors, loop, overwrite. Raises VeditError.
    """
    from vedit.jobs.batch.files import raise_failures
    from vedit.jobs.media.gif import GifRequest

    asked = GifRequest.from_json({"inputs": [input], "stages": chain, "output": output, **options}, "gif")
    outcomes = list(plan(asked, sink).run(sink))
    raise_failures(outcomes)
    assert outcomes[0].result is not None, "what failed was raised"
    return outcomes[0].result


def caption(*inputs: str, sink: Sink = Quiet(), **options: Any) -> list[Record]:
    """What clips show, in a sentence each: clip, caption, frames (seconds and caption) and model.

    options: further fields of `CaptionRequest`, such as model, detail, write_txt. Raises VeditError, for a
    clip that has no caption too.
    """
    from vedit.errors import VeditError
    from vedit.jobs.caption.request import CaptionRequest
    from vedit.jobs.caption.run import run

    found = []
    for _, told in run(CaptionRequest.from_json({"inputs": list(inputs), **options}, "caption"), sink):
        if isinstance(told, VeditError):
            raise told
        found.append(told)
    return found


def localize(input: str, output_dir: str, *, sink: Sink = Quiet(), **options: Any) -> list[Record]:
    """Edit a clip in several ways with one purpose, score and show them; a record per branch.

    options: further fields of `LocalizeRequest`, such as to, instruction, recipe, only. Raises VeditError,
    for branches that failed when the rest is done.
    """
    from vedit.jobs.localize.request import LocalizeRequest
    from vedit.jobs.localize.run import plan as words_of
    from vedit.jobs.localize.run import raise_failures

    given = {"input": input, "output_dir": output_dir, **options}
    results = words_of(LocalizeRequest.from_json(given, "localize"), sink).run(sink)
    raise_failures(output_dir, results)
    return [result.json() for result in results]


def probe(input: str, *, check: bool = False) -> Record:
    """What is in a clip, as `vedit probe --json` says it.

    check: decode every image of a GIF, and list damage. Raises VeditError.
    """
    from vedit.jobs.media.probe import probe as facts

    return facts(input, check=check)


def rewrite(source: str, instruction: str, *, sink: Sink = Quiet(), **options: Any) -> Record:
    """The prompt that an instruction makes of a source prompt, as `vedit rewrite --json` says it.

    options: further fields of `RewriteRequest`, such as mode, max_distance, llm, base_url. Raises VeditError.
    """
    from vedit.jobs.rewrite.request import RewriteRequest
    from vedit.jobs.rewrite.run import rewrite as run

    given = {"source": source, "instruction": instruction, **options}
    return run(RewriteRequest.from_json(given, "rewrite"), sink)


def suite(name: str, output: str, *, sink: Sink = Quiet(), **options: Any) -> dict[str, Results]:
    """Make the edits of a suite, score them and write its tables into a folder; returns the reports by run.

    name: one that ships, or a file. options: further fields of `SuiteRequest`, such as clips, index, only,
    limit, partial. What is done is not done again. Raises VeditError, when the rest is done also for what
    was left out.
    """
    from vedit.jobs.suite.request import SuiteRequest
    from vedit.jobs.suite.run import run

    done = run(SuiteRequest.from_json({"suite": name, "output": output, **options}, "suite"), sink)
    done.check()
    return done.reports
