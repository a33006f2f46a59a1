"""What is made: jobs by their revisions, the runs at work on them, and what they will show.

A result is made by the plan that the command line runs, so the two are the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vedit import __version__
from vedit.errors import InputError, VeditError, reason_of
from vedit.ui.asked import Answer, Args, Missing, NotUnderstood, chain_of, page_of, problem, texts_of
from vedit.ui.controls import (
    FORMAT,
    blamed,
    checked,
    checked_output,
    checked_shape,
    output_files,
    request_fields,
)
from vedit.ui.holding import Holding
from vedit.ui.work import Aim, Event, File, Job, PageSink, Run, Superseded

KEPT_JOBS = 2000  # revisions that are known by name


class Making:
    """The jobs and runs of one editor; each page has one run at a time. emit: hears how they go."""

    def __init__(self, holding: Holding, aim: Aim, emit: Callable[[Event], None]) -> None:
        self.holding, self.shelf, self.aim, self.emit = holding, holding.shelf, aim, emit
        self.lock = threading.RLock()
        self.jobs: OrderedDict[str, Job] = OrderedDict()
        self.reports: dict[str, Answer] = {}
        self.runs: dict[str, Run] = {}
        self.page_locks: dict[str, threading.Lock] = {}
        self.threads: set[threading.Thread] = set()

    def job(self, args: Args) -> Job:
        """What a request asks to be made. Raises VeditError that names the stage and the option."""
        source = self.holding.source(args.get("source"))
        chain = chain_of(args)
        first = args.get("first") or 0
        if isinstance(first, bool) or not isinstance(first, int) or first < 0:
            raise NotUnderstood(f"first: {first!r} is not a number of images.")
        specs = checked(self.holding.with_files(chain, lambda file: file.path))
        output = self.output_of(args, lambda file: file.path)
        same = self.output_of(args, lambda file: file.digest)
        shown = self.holding.with_files(checked_shape(chain, specs), lambda file: file.digest)
        try:
            key = [source.identity, shown, same, first, __version__]
        except OSError as error:
            raise InputError(f"{source.name}: cannot read: {reason_of(error)}.") from None
        revision = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        named = self.output_of(args, lambda file: file.name)
        made = Job(revision, source, chain, specs, named, request_fields(output), first)
        with self.lock:
            self.jobs[revision] = made
            self.jobs.move_to_end(revision)
            while len(self.jobs) > KEPT_JOBS:
                self.reports.pop(self.jobs.popitem(last=False)[0], None)
        return made

    def output_of(self, args: Args, say: Callable[[File], str]) -> dict[str, str]:
        """What is asked of the result, with something else in the place of each file. Raises UsageError."""
        texts = dict(texts_of(args, "output"))
        for name in output_files() & set(texts):
            with blamed(None, name):
                texts[name] = say(self.holding.file(texts[name]))
        return checked_output(texts, self.aim.fixed)

    def run(self, args: Args) -> Answer:
        """Begin to make a result, unless it is there."""
        page = page_of(args)
        job = self.job(args)
        with self.lock:
            now = self.runs.get(page)
            report = self.reports.get(job.revision)
            if report is not None and self.shelf.find(job.revision):
                self._end_run(page)
                return {"revision": job.revision, "report": report}
            if now is not None and now.job.revision == job.revision:
                return {"revision": job.revision}
            self._end_run(page)
            run = self.runs[page] = Run(job, page)
            lock = self.page_locks.setdefault(page, threading.Lock())
        thread = threading.Thread(target=self._work, args=(run, lock), daemon=True)
        self.threads.add(thread)
        thread.start()
        return {"revision": job.revision}

    def cancel(self, args: Args) -> Answer:
        """End what runs for a page."""
        self._end_run(page_of(args))
        return {}

    def _end_run(self, page: str) -> None:
        with self.lock:
            if (run := self.runs.pop(page, None)) is not None:
                run.is_over.set()

    def _work(self, run: Run, lock: threading.Lock) -> None:
        """Make the result of a run, and tell how it ended."""
        revision = run.job.revision
        event: Event = {"revision": revision}
        with lock:  # the run before it ends first
            try:
                if run.is_over.is_set():
                    raise Superseded
                event["report"] = self._make(run)
            except Superseded:
                event["superseded"] = True
            except VeditError as error:
                event["error"] = self.told(error, run.job)
            except MemoryError:
                event["error"] = problem("out of memory.\nWork on a smaller clip, or on a part of it.", 6)
            except OSError as error:
                event["error"] = problem(f"cannot write: {reason_of(error)}.", 4)
            except Exception as error:
                event["error"] = problem(f"bug: {type(error).__name__}: {error}", 1)
        with self.lock:
            if self.runs.get(run.page) is run:
                del self.runs[run.page]
            self.threads.discard(threading.current_thread())
        self.emit(event)

    def _make(self, run: Run) -> Answer:
        from vedit.jobs.batch.files import raise_failures
        from vedit.jobs.media.gif import plan

        job = run.job
        began_s = time.monotonic()
        path = self.shelf.path_for(job.revision, job.output[FORMAT])
        sink = PageSink(run, self.holding.in_names, self.emit)
        outcomes = list(plan(job.request(path), sink).run(sink))
        raise_failures(outcomes)
        made = outcomes[0].result
        assert made is not None, "what failed was raised"
        name = self.aim.name_for(job.source.name, job.output[FORMAT])
        facts = self.holding.facts_of(path, name)
        self.shelf.keep(job.revision, path)
        report = {
            "format": job.output[FORMAT],
            "name": name,
            "path": made.path,
            "steps": made.steps,
            "size_in": list(made.size_in),
            "size_out": list(made.size_out),
            "images": made.images,
            "duration_s": made.duration_s,
            "bytes_in": made.bytes_in,
            "bytes_out": made.bytes_out,
            "took_s": round(time.monotonic() - began_s, 3),
            "warnings": run.warnings,
            "facts": facts,
            "is_part": job.first > 0,
            "setting": made.setting,
        }
        with self.lock:
            self.reports[job.revision] = report
        return report

    def plan(self, args: Args) -> Answer:
        """Check a job and name it, without making it."""
        from vedit.jobs.batch.files import raise_failures
        from vedit.jobs.media.gif import plan

        job = self.job(args)
        run = Run(job, "")
        sink = PageSink(run, self.holding.in_names, self.emit)
        request = job.request(self.shelf.path_for(job.revision, job.output[FORMAT]))
        try:
            outcomes = list(plan(request._replace(dry_run=True), sink).run(sink))
            raise_failures(outcomes)
        except VeditError as error:
            raise self.placed(error, job) from error.__cause__
        made = outcomes[0].result
        assert made is not None, "what failed was raised"
        return {
            "revision": job.revision,
            "path": made.path,
            "steps": made.steps,
            "size_in": list(made.size_in),
            "size_out": list(made.size_out),
            "warnings": run.warnings,
        }

    def measure(self, args: Args) -> Answer:
        """The canvas that a stage gets, and what it marks on it."""
        from vedit.jobs.media.gif import read_options, stages_of
        from vedit.media.run import Settings, marked

        stage = args.get("stage")
        chain = chain_of(args)
        if isinstance(stage, bool) or not isinstance(stage, int) or not 0 <= stage < len(chain):
            raise NotUnderstood(f"stage: {stage!r} is not a place in the chain.")
        job = self.job({**args, "chain": chain[: stage + 1]})
        run = Run(job, "")
        sink = PageSink(run, self.holding.in_names, self.emit)
        request = job.request(f"x.{job.output[FORMAT]}")
        build = stages_of(request)(request.output)
        settings = Settings(warn=sink.warn)
        try:
            (width, height), boxes = marked(
                job.source.path, build, stage + job.offset, settings, read_options(request)
            )
        except VeditError as error:
            raise self.placed(error, job) from error.__cause__
        return {
            "width": width,
            "height": height,
            "boxes": [[box.x, box.y, box.w, box.h] for box in boxes],
            "warnings": run.warnings,
        }

    def path_of(self, id: str) -> tuple[str, str]:
        """The file of a source or of a result, and its name. Raises Missing."""
        if id in self.holding.sources:
            return self.holding.sources[id].path, self.holding.sources[id].name
        path = self.shelf.find(id)
        if path is None:
            raise Missing("there is no such result.", "", "Run it again")
        return path, self.reports[id]["name"] if id in self.reports else os.path.basename(path)

    def key(self, id: str) -> str:
        """Another text when a revision has got its result, and when a file has changed."""
        if id in self.holding.sources:
            return f"{id} {self.holding.sources[id].identity}"
        return f"{id} {self.shelf.find(id) is not None}"

    @contextmanager
    def opened(self, id: str, is_timing: bool) -> Iterator[tuple[Any, Iterator[Any]]]:
        """A source, a result, or what a job will be before it has palettes."""
        from vedit.jobs.media.gif import read_options, stages_of
        from vedit.media.limits import environment_limits
        from vedit.media.options import ReadOptions
        from vedit.media.run import shown

        if id in self.holding.sources or self.shelf.find(id) is not None:
            path, read = self.path_of(id)[0], ReadOptions(limits=environment_limits())
            with shown(path, "x.apng", list, read=read, is_timing=is_timing) as opened:
                yield opened
            return
        job = self.jobs.get(id)
        if job is None:
            raise Missing("there is no such clip.", "", "Plan it again")
        request = job.request(f"x.{job.output[FORMAT]}")
        build, read = stages_of(request)(request.output), read_options(request)
        with shown(job.source.path, request.output, build, read=read, is_timing=is_timing) as opened:
            yield opened

    def told(self, error: VeditError, job: Job | None = None) -> Answer:
        """An error as the page gets it."""
        placed = self.holding.in_their_names(self.placed(error, job))
        return problem(str(placed), placed.exit_code, placed.stage, placed.option)

    def placed(self, error: VeditError, job: Job | None) -> VeditError:
        """The error with the place in the page's chain, of the stage that it came up at."""
        if job is not None:
            error.stage = job.place(error.stage)
        return error

    def close(self) -> None:
        """End what runs."""
        with self.lock:
            for run in self.runs.values():
                run.is_over.set()
            threads = list(self.threads)
        for thread in threads:
            thread.join(5)
