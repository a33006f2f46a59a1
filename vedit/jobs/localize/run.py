"""Make a localisation: its words, a batch of edits, generated clips, scores and the page.

OUT/words.json        captions, instruction and prompts, which a person may change
OUT/edits.jsonl       the edits as `vedit batch` takes them; their results in OUT/edits
OUT/generated         clips of branches that generate
OUT/scores            a report of `vedit score` for each branch
OUT/results.jsonl     a line for each branch
OUT/report.html       all of it, side by side

What is done is not done again. A branch that fails leaves the others as they are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from vedit.documents import Kind, read_json, whole_lines
from vedit.errors import InputError, PartialFailure, Stopped, VeditError, option
from vedit.jobs.generate.request import GenerateRequest
from vedit.jobs.lists import write_list
from vedit.jobs.localize.recipe import Branch, Recipe, recipe_of
from vedit.jobs.localize.request import LocalizeRequest
from vedit.jobs.localize.results import REPORT, SCORES, Localisation, Result
from vedit.jobs.localize.words import FILE, target_of, words_of
from vedit.jobs.sink import Quiet, Sink
from vedit.plain import digest, json_text

EDITS, LIST, RESULTS, PAGE = "edits", "edits.jsonl", "results.jsonl", "report.html"
MADE = "generated"
LINES = Kind("the results of a localisation", InputError, largest=2**24)
LARGEST_STRIDE = 2**20


class LocalizePlan(Localisation):
    """What makes a localisation."""

    def __str__(self) -> str:
        words = self.words
        lines = [
            f"shows:    {words['caption']}",
            f"in full:  {words['detailed']}",
            f"asked:    {words['instruction']}",
        ]
        for branch in self.recipe.branches:
            made = words["prompts"].get(branch.rewrite, {})
            prompt = made.get("target") or f"no prompt: {made.get('error', '')}".partition("\n")[0]
            lines += [f"{branch.name}: {branch.title}", f"    {prompt}"]
            lines += [f"    {_call(branch, self.recipe)}"]
        return "\n".join(lines)

    def run(self, sink: Sink = Quiet()) -> list[Result]:
        """Make what is not there, score it, and write the page; a result per branch.

        Raises Stopped and Interrupted for a signal; what failed stands in the results.
        """
        from vedit.jobs.localize.report import write_page

        results = [Result(branch) for branch in self.recipe.branches]
        for result in results:
            try:
                result.prompt = target_of(self.words, result.branch.rewrite)
            except VeditError as error:
                result.error = str(error)
        before = self._before()
        self._edit([one for one in results if not one.branch.generates and not one.error], sink)
        for one in results:
            if one.branch.generates and not one.error:
                self._generate(one, before.get(one.branch.name, {}), sink)
        for one in results:
            if self.request.score and one.output:
                self._score(one, before.get(one.branch.name, {}), sink)
            self._tell(results)
        write_page(os.path.join(self.out, PAGE), self, results, sink)
        return results

    # --- the branches -------------------------------------------------------------------------

    def _edit(self, results: Sequence[Result], sink: Sink) -> None:
        """The branches that edit, as one batch with one model."""
        from vedit.jobs.batch.request import BatchRequest, plan_batch
        from vedit.jobs.batch.run import Policy
        from vedit.jobs.here import run_here

        if not results:
            return
        path = os.path.join(self.out, LIST)
        write_list(path, [self._row(one) for one in results])
        folder = os.path.join(self.out, EDITS)
        made = plan_batch(BatchRequest((path,), folder, retry_failed=True, overwrite=True), sink)
        outcome = run_here(made, self.request.device, Policy(retries=0), sink=sink)
        if outcome.is_stopped:
            raise Stopped("stopped.", "", "The same call goes on")
        made.refresh()
        items = {item.row.label: item for item in made.items}
        for one in results:
            item = items[one.branch.name]
            if item.key in made.done:
                one.output = os.path.join(folder, item.output)
            else:
                told = made.failed.get(item.key, {})
                one.error = str(told.get("message") or outcome.early or "it was not made")

    def _row(self, result: Result) -> dict[str, Any]:
        """A branch as a row of the batch."""
        given, taken = dict(result.branch.given), self.recipe.input
        row = {
            "input": os.path.relpath(self.request.input, self.out),
            "source_prompt": self.words["caption"],
            "prompt": result.prompt,
            "label": result.branch.name,
            "output": f"{result.branch.name}{self._suffix()}",
            "model": self.recipe.model,
            "seed": self.request.seed,
            "stride": self.stride,
            "output_size": "worked",
            **{key: taken[key] for key in ("frames", "size", "crop") if key in taken},
        }
        return {**row, **given}

    def _suffix(self) -> str:
        is_video = self.request.input.lower().endswith((".mp4", ".mov", ".mkv", ".webm", ".avi"))
        return ".mp4" if is_video else ".gif"

    def _generate(self, result: Result, before: Mapping[str, Any], sink: Sink) -> None:
        """A branch that generates; what failed is its own."""
        from vedit.jobs.generate.request import plan

        folder = os.path.join(self.out, MADE)
        output = os.path.join(folder, f"{result.branch.name}{self._suffix()}")
        own = {"seed": self.request.seed, **result.branch.given}
        given = {"prompt": result.prompt, "output": output, "device": self.request.device, **own}
        if str(given.get("model", "")) == "shapes":
            given.pop("model")
        result.asked = digest(given)
        if before.get("asked") == result.asked and os.path.exists(output):
            result.output = output
            return
        try:
            os.makedirs(folder, exist_ok=True)
            asked = GenerateRequest.from_json({**given, "overwrite": True}, result.branch.name)
            plan(asked).run(sink)
            result.output = output
        except VeditError as error:
            if error.exit_code in (75, 130):
                raise
            result.error = str(error)
            sink.warn(f"{result.branch.name}: {error.what}")

    # --- scores and results -------------------------------------------------------------------

    def _score(self, result: Result, before: Mapping[str, Any], sink: Sink) -> None:
        """The numbers of a branch. A generated clip has no frame in common with the source, so that only what
        needs none is told of it.
        """
        from vedit.jobs.score.plan import plan
        from vedit.jobs.score.request import ScoreRequest

        path = os.path.join(self.out, SCORES, f"{result.branch.name}.json")
        with open(result.output, "rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        scored = digest([content, result.prompt, dict(self.recipe.score)])
        try:
            if before.get("scored") != scored or not os.path.exists(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                source = None if result.branch.generates else self.request.input
                given = {"clip": result.output, "source": source, "prompt": result.prompt}
                more = {"json_file": path, "overwrite": True, "device": self.request.device}
                more |= {} if source is None else {"source_prompt": self.words["caption"]}
                asked = ScoreRequest.from_json({**given, **more, **self.recipe.score}, "score")
                plan(asked, sink).run(sink)
            told = read_json(path, REPORT)
            means = {key: row.get("mean") for key, row in told["summary"].items()}
            result.means = {key: mean for key, mean in means.items() if isinstance(mean, (int, float))}
            result.scored = scored
        except VeditError as error:
            if error.exit_code in (75, 130):
                raise
            result.score_error = str(error)
            sink.warn(f"{result.branch.name} is not scored: {error.what}")

    def _before(self) -> dict[str, dict[str, Any]]:
        """What an earlier call told of each branch."""
        path = os.path.join(self.out, RESULTS)
        if not os.path.exists(path):
            return {}
        return {str(row.get("branch")): row for row in whole_lines(path, LINES)}

    def _tell(self, results: Sequence[Result]) -> None:
        from vedit.media.atomic import open_output

        with open_output(os.path.join(self.out, RESULTS)) as stream:
            for one in results:
                stream.write(f"{json_text(one.json())}\n".encode("utf-8", "surrogateescape"))


def _call(branch: Branch, recipe: Recipe) -> str:
    """What a branch will be, in the words of the face at work, with every host that is named."""
    given = dict(branch.given)
    settings = given.pop("set", {})
    asked = {"method": given.pop("method")} if "method" in given else {}
    asked |= {"model": given.pop("model", recipe.model), **given}
    asked |= {f"set.{key}": value for key, value in settings.items()}
    return " ".join(["vedit", branch.command, *(option(key, value) for key, value in asked.items())])


def plan(request: LocalizeRequest, sink: Sink = Quiet()) -> LocalizePlan:
    """Check what is asked for, and have the clip captioned and its prompts written: OUT/words.json is there.

    Raises VeditError.
    """
    from vedit.jobs.extras import need

    need("diffusion")
    recipe = recipe_of(request)
    if request.input == "-":
        raise InputError("standard input is read once, and four branches read it.", "", "Name a file")
    stride = _stride(request.input, recipe.input.get("fps"))
    return LocalizePlan(request, recipe, words_of(request, recipe, stride, sink), stride)


def _stride(name: str, rate: float | None) -> int:
    """The stride at which a clip has about so many frames per second; 1 where nothing is asked or known."""
    from vedit.media.source import opened

    try:
        with opened(name) as (clip, _):
            count, ticks = clip.frames_hint, clip.duration_hint
            own = float(count / (ticks * clip.timebase)) if count and ticks else 0.0
    except VeditError as error:
        raise error.in_file(name) from error.__cause__
    return min(LARGEST_STRIDE, max(1, round(own / rate))) if rate and own else 1


def raise_failures(out: str, results: Sequence[Result]) -> None:
    """Raise PartialFailure where a branch failed, or has no scores."""
    failed = [one.branch.name for one in results if one.error]
    unscored = [one.branch.name for one in results if one.score_error]
    if failed or unscored:
        what = f"{len(failed)} of {len(results)} branches failed: {', '.join(failed)}." if failed else ""
        also = f"Not scored: {', '.join(unscored)}." if unscored else ""
        first = next((one.error or one.score_error for one in results if one.error or one.score_error), "")
        raise PartialFailure(
            what or also,
            (f"{also} " if what and also else "") + first,
            f"{os.path.join(out, PAGE)} shows the others; the same call tries again. Words: {FILE}",
        )
