"""What the editor can do, without a server: sources, results, frames, commands, presets.

`protocol` says what goes in and out. A result is made by the plan that the command line runs, so the two are
the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from vedit import __version__
from vedit.errors import InputError, OutputError, UsageError, VeditError, reason_of
from vedit.media.formats import CLIP_SUFFIXES, STILLS
from vedit.ui.asked import (
    Answer,
    Args,
    InTheWay,
    Missing,
    NoRoom,
    NotUnderstood,
    chain_of,
    page_of,
    problem,
    shown_name,
    text_of,
    texts_of,
)
from vedit.ui.controls import (
    FORMAT,
    FORMATS,
    Spec,
    blamed,
    checked,
    checked_output,
    controls,
    file_options,
    output_files,
    request_fields,
)
from vedit.ui.looks import Looks
from vedit.ui.shelf import Shelf, Upload
from vedit.ui.work import Event, File, Job, PageSink, Run, Source, Superseded

Listener = Callable[[Event], None]

UPLOAD = "upload:"  # in front of the id of a file
KEPT_JOBS = 2000  # revisions that are known by name


class Session:
    """One editor.

    files: clips that are read in place. mode: "file" where the result is to be written to `target`, "folder"
    where results may be saved into it, else "". preset: whose stages the page begins with. max_upload: bytes.
    """

    def __init__(
        self,
        shelf: Shelf,
        files: Sequence[str] = (),
        *,
        mode: str = "",
        target: str = "",
        preset: str | None = None,
        max_upload: int = 2 * 2**30,
    ) -> None:
        self.shelf, self.mode, self.target = shelf, mode, target
        self.max_upload = max_upload
        self.lock = threading.RLock()
        self.sources = {
            source.id: source for source in (Source(secrets.token_hex(8), name, name) for name in files)
        }
        self.given = list(self.sources)
        self.files: dict[str, File] = {}
        self.jobs: OrderedDict[str, Job] = OrderedDict()
        self.reports: dict[str, Answer] = {}
        self.runs: dict[str, Run] = {}
        self.page_locks: dict[str, threading.Lock] = {}
        self.threads: set[threading.Thread] = set()
        self.listeners: list[Listener] = []
        self.looks = Looks(self._opened, self._key)
        self.ended: Answer | None = None  # what the command prints, once the page is done
        self.on_end: Callable[[], None] = lambda: None
        self.chain = self._of_preset(preset) if preset else []
        self.fixed = _format_of(target) if mode == "file" else ""
        self.calls: dict[str, Callable[[Args], Any]] = {
            "controls": lambda args: {"version": __version__, **controls()},
            "session": lambda args: self.state(),
            "presets": lambda args: presets(),
            "load_preset": self.load_preset,
            "run": self.run,
            "plan": self.plan,
            "cancel": self.cancel,
            "measure": self.measure,
            "timeline": lambda args: self.looks.timeline(text_of(args, "id")),
            "command": self.command,
            "preset": self.save_preset,
            "save": self.save,
            "done": self.done,
            "close": self.end,
        }

    def call(self, kind: str, args: Args) -> Any:
        """Answer a request by its name. Raises VeditError."""
        if kind not in self.calls:
            raise Missing(f"there is no request called {kind!r}.")
        try:
            return self.calls[kind](args)
        except VeditError as error:
            raise self._in_names(error) from error.__cause__

    # --- what comes in -----------------------------------------------------------------------------

    def upload(self, name: str) -> Upload:
        """A file to receive, which `take_source` or `take_file` then take."""
        suffix = os.path.splitext(name)[1].lower()
        return self.shelf.upload(suffix if suffix in (*CLIP_SUFFIXES, *STILLS) else "")

    def take_source(self, name: str, upload: Upload) -> Answer:
        """A clip that has come in. Raises VeditError for what no clip can be read from; it is gone then."""
        source = Source(secrets.token_hex(8), shown_name(name), upload.path, upload.finish())
        try:
            return self._with(source, self._facts(source.path, source.name))
        except VeditError as error:
            upload.abandon()
            raise self._in_names(error, {source.path: source.name}) from error.__cause__

    def _with(self, source: Source, facts: Answer) -> Answer:
        with self.lock:
            self.sources[source.id] = source
        return {"source": source.id, "name": source.name, "bytes": facts["bytes"], "facts": facts}

    def take_file(self, name: str, upload: Upload) -> Answer:
        """A file for an option that has come in."""
        return self._add_file(File(shown_name(name), upload.path, upload.finish()))

    def _add_file(self, file: File) -> Answer:
        id = secrets.token_hex(8)
        with self.lock:
            self.files[id] = file
        return {"file": f"{UPLOAD}{id}", "name": file.name, "bytes": os.path.getsize(file.path)}

    def add_source(self, name: str, chunks: Iterable[bytes]) -> Answer:
        """A clip from its bytes. Raises VeditError."""
        return self.take_source(name, self._received(name, chunks))

    def add_file(self, name: str, chunks: Iterable[bytes]) -> Answer:
        """A file for an option from its bytes. Raises VeditError."""
        return self.take_file(name, self._received(name, chunks))

    def _received(self, name: str, chunks: Iterable[bytes]) -> Upload:
        upload = self.upload(name)
        try:
            for chunk in chunks:
                upload.write(chunk)
                if upload.bytes > self.max_upload:
                    raise OutputError(f"{name} is too large: at most {self.max_upload} bytes are taken.")
            return upload
        except OSError as error:
            upload.abandon()
            raise NoRoom(f"{name}: cannot keep it: {reason_of(error)}.") from None
        except BaseException:
            upload.abandon()
            raise

    def _facts(self, path: str, name: str) -> Answer:
        """What `vedit probe --json` says, under the user's name for the file."""
        from vedit.jobs.media.probe import probe
        from vedit.media.limits import environment_limits

        return {**probe(path, limits=environment_limits()), "file": name}

    def state(self) -> Answer:
        """Where a page begins."""
        return {
            "version": __version__,
            "mode": self.mode,
            "sources": [self._given(self.sources[id]) for id in self.given],
            "chain": [list(spec) for spec in self.chain],
            "output": {FORMAT: self.fixed} if self.fixed else {},
            "output_name": os.path.basename(self.target) if self.mode == "file" else "",
            "max_upload": self.max_upload,
            "presets": presets(),
        }

    def _given(self, source: Source) -> Answer:
        named = {"source": source.id, "name": os.path.basename(source.name)}
        try:
            facts = self._facts(source.path, named["name"])
        except VeditError as error:
            return {**named, "error": self.told(error)}
        return {**named, "bytes": facts["bytes"], "facts": facts}

    # --- making results ----------------------------------------------------------------------------

    def job(self, args: Args) -> Job:
        """What a request asks to be made. Raises VeditError that names the stage and the option."""
        source = self._source(args.get("source"))
        chain = chain_of(args)
        first = args.get("first") or 0
        if isinstance(first, bool) or not isinstance(first, int) or first < 0:
            raise NotUnderstood(f"first: {first!r} is not a number of images.")
        specs = checked(self._with_files(chain, lambda file: file.path))
        output = self._output_of(args, lambda file: file.path)
        same = self._output_of(args, lambda file: file.digest)
        shown = self._with_files(checked_shape(chain, specs), lambda file: file.digest)
        try:
            key = [source.identity, shown, same, first, __version__]
        except OSError as error:
            raise InputError(f"{source.name}: cannot read: {reason_of(error)}.") from None
        revision = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        named = self._output_of(args, lambda file: file.name)
        made = Job(revision, source, chain, specs, named, request_fields(output), first)
        with self.lock:
            self.jobs[revision] = made
            self.jobs.move_to_end(revision)
            while len(self.jobs) > KEPT_JOBS:
                self.reports.pop(self.jobs.popitem(last=False)[0], None)
        return made

    def _source(self, id: Any) -> Source:
        source = self.sources.get(id) if isinstance(id, str) else None
        if source is None:
            raise Missing("there is no such source.", "", "Open the file again")
        return source

    def _file(self, text: str) -> File:
        """The file that an option names: one that came in, never a path."""
        file = self.files.get(text.removeprefix(UPLOAD)) if text.startswith(UPLOAD) else None
        if file is None:
            raise UsageError("there is no such file here.", "", "Choose the file again")
        return file

    def _with_files(self, chain: Sequence[Spec], say: Callable[[File], str]) -> list[Spec]:
        """The chain with something else in the place of each file. Raises UsageError at the option."""
        from vedit import stages

        found = []
        for place, (name, given) in enumerate(chain):
            with blamed(place):
                stages.load(name)
            texts = dict(given)
            for option in file_options(name) & set(given):
                with blamed(place, option):
                    texts[option] = say(self._file(given[option]))
            found.append((name, texts))
        return found

    def _output_of(self, args: Args, say: Callable[[File], str]) -> dict[str, str]:
        """What is asked of the result, with something else in the place of each file. Raises UsageError."""
        texts = dict(texts_of(args, "output"))
        for name in output_files() & set(texts):
            with blamed(None, name):
                texts[name] = say(self._file(texts[name]))
        return checked_output(texts, self.fixed)

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
        sink = PageSink(run, self.in_names, self.emit)
        outcomes = list(plan(job.request(path), sink).run(sink))
        raise_failures(outcomes)
        made = outcomes[0].result
        assert made is not None, "what failed was raised"
        name = self.name_for(job)
        facts = self._facts(path, name)
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

    def name_for(self, job: Job) -> str:
        """What a result is saved as."""
        return self._target_name(job.source.name, job.output[FORMAT])

    def _target_name(self, source: str, format: str) -> str:
        if self.mode == "file":
            return os.path.basename(self.target)
        return f"{os.path.splitext(os.path.basename(source))[0]}-edited.{format}"

    def plan(self, args: Args) -> Answer:
        """Check a job and name it, without making it."""
        from vedit.jobs.batch.files import raise_failures
        from vedit.jobs.media.gif import plan

        job = self.job(args)
        run = Run(job, "")
        sink = PageSink(run, self.in_names, self.emit)
        request = job.request(self.shelf.path_for(job.revision, job.output[FORMAT]))
        try:
            outcomes = list(plan(request._replace(dry_run=True), sink).run(sink))
            raise_failures(outcomes)
        except VeditError as error:
            raise self._placed(error, job) from error.__cause__
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
        sink = PageSink(run, self.in_names, self.emit)
        request = job.request(f"x.{job.output[FORMAT]}")
        build = stages_of(request)(request.output)
        settings = Settings(warn=sink.warn)
        try:
            (width, height), boxes = marked(
                job.source.path, build, stage + job.offset, settings, read_options(request)
            )
        except VeditError as error:
            raise self._placed(error, job) from error.__cause__
        return {
            "width": width,
            "height": height,
            "boxes": [[box.x, box.y, box.w, box.h] for box in boxes],
            "warnings": run.warnings,
        }

    # --- what is looked at -------------------------------------------------------------------------

    def path_of(self, id: str) -> tuple[str, str]:
        """The file of a source or of a result, and its name. Raises Missing."""
        if id in self.sources:
            return self.sources[id].path, self.sources[id].name
        path = self.shelf.find(id)
        if path is None:
            raise Missing("there is no such result.", "", "Run it again")
        return path, self.reports[id]["name"] if id in self.reports else os.path.basename(path)

    def frame(self, id: str, number: int) -> bytes:
        """An image, counted from 1, as WebP without loss. Raises Missing behind the last one."""
        try:
            return self.looks.frame(id, number)
        except VeditError as error:
            raise self._in_names(self._placed(error, self.jobs.get(id))) from error.__cause__

    def thumbs(self, id: str, begin: int, count: int, height: int) -> bytes:
        """Small images side by side, as WebP."""
        try:
            return self.looks.thumbs(id, begin, count, height)
        except VeditError as error:
            raise self._in_names(self._placed(error, self.jobs.get(id))) from error.__cause__

    def _key(self, id: str) -> str:
        """Another text when a revision has got its result, and when a file has changed."""
        if id in self.sources:
            return f"{id} {self.sources[id].identity}"
        return f"{id} {self.shelf.find(id) is not None}"

    @contextmanager
    def _opened(self, id: str, is_timing: bool) -> Iterator[tuple[Any, Iterator[Any]]]:
        """A source, a result, or what a job will be before it has palettes."""
        from vedit.jobs.media.gif import read_options, stages_of
        from vedit.media.limits import environment_limits
        from vedit.media.options import ReadOptions
        from vedit.media.run import shown

        if id in self.sources or self.shelf.find(id) is not None:
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

    # --- what is done with results -----------------------------------------------------------------

    def command(self, args: Args) -> Answer:
        """The command lines that make the same."""
        from vedit.ui.commands import chain_text, forms

        chain, output, source = self._shown(args)
        asked = args.get("name")
        target = self.target if self.mode == "file" else None
        if isinstance(asked, str) and asked:
            target = target or shown_name(asked)
        target = target or self._target_name(source, output[FORMAT])
        used = [
            self._file(given[option]).name
            for name, given in chain_of(args)
            for option in sorted(file_options(name) & set(given))
        ]
        asked_of = texts_of(args, "output")
        used += [self._file(asked_of[option]).name for option in sorted(output_files() & set(asked_of))]
        return {
            "chain": chain_text(chain),
            "output": target,
            "notes": [f"{name} is the file that you chose here." for name in dict.fromkeys(used)],
            "forms": forms(chain, output, source, target),
        }

    def _shown(self, args: Args) -> tuple[list[Spec], dict[str, str], str]:
        """The chain and the output as a command has them, and the name of the source."""
        given = args.get("source")
        source = "in.gif" if given is None else self._source(given).name
        chain = chain_of(args)
        specs = checked(self._with_files(chain, lambda file: file.path))
        shown = self._with_files(checked_shape(chain, specs), lambda file: file.name)
        return shown, self._output_of(args, lambda file: file.name), source

    def save_preset(self, args: Args) -> Answer:
        """Keep a chain among the user's presets."""
        from vedit.presets import SUFFIX, document_from, save, user_folder

        name = text_of(args, "name")
        chain, _, _ = self._shown({"chain": args.get("chain")})
        overwrite = args.get("overwrite") is True
        if (
            os.sep not in name
            and not overwrite
            and os.path.exists(os.path.join(user_folder(), name + SUFFIX))
        ):
            raise InTheWay(f"there is a preset called {name} already.", "", "Choose another name")
        save(name, document_from(chain), True)
        return {"name": name}

    def load_preset(self, args: Args) -> Answer:
        """The chain of a preset, by its name."""
        from vedit import presets as own

        name = text_of(args, "name")
        if name not in own.paths():
            raise Missing(f"there is no preset called {name!r}.")
        return {"name": name, "chain": [list(spec) for spec in self._of_preset(name)]}

    def _of_preset(self, name: str) -> list[Spec]:
        """A preset's chain as the page has it; files that it names are taken in."""
        from vedit import stages
        from vedit.presets import load_chain

        chain = []
        for stage, given in load_chain(name):
            names = {option.key: option.name for option in stages.load(stage).OPTIONS}
            texts = {names.get(key, key): text for key, text in given.items()}
            for option in file_options(stage) & set(texts):
                path = texts[option]
                if not os.path.isfile(path):
                    raise InputError(f"{path}: the preset {name} names this file, and it is not there.")
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                texts[option] = self._add_file(File(path, path, digest))["file"]
            chain.append((stage, texts))
        return chain

    def _result(self, args: Args) -> tuple[str, str]:
        revision = text_of(args, "revision")
        path = self.shelf.find(revision)
        if path is None or revision not in self.reports:
            raise InTheWay("there is no result of this yet.", "", "Wait until it is made")
        return revision, path

    def save(self, args: Args) -> Answer:
        """Write a result under -O DIR."""
        from vedit.media.atomic import check_output

        if self.mode != "folder":
            raise Missing("results are saved with -O DIR alone.", "", "Download it instead")
        revision, path = self._result(args)
        name = text_of(args, "name")
        ending = os.path.splitext(path)[1]
        if shown_name(name) != name or name.startswith(".") or not name.lower().endswith(ending):
            raise UsageError(
                f"{name!r} is not a name for this result.", f"A name has no folder, and ends in {ending}."
            )
        target = os.path.join(self.target, name)
        if os.path.lexists(target) and args.get("overwrite") is not True:
            raise InTheWay(f"{name} exists.", "", "Choose another name, or replace it")
        check_output(target, (self.jobs[revision].source.path,), args.get("overwrite") is True)
        self._copy(path, target)
        return {"name": name, "bytes": os.path.getsize(target)}

    def done(self, args: Args) -> Answer:
        """Write the file behind -o, and end."""
        if self.mode != "file":
            self._ended({"output": None})
            return {}
        from vedit.media.atomic import check_output, stands_in_the_way
        from vedit.ui.commands import chain_text, one_line

        revision, path = self._result(args)
        job = self.jobs[revision]
        if job.first:
            raise InTheWay("this result is of a part of the clip alone.", "", "Make the whole of it first")
        if args.get("overwrite") is True:
            check_output(self.target, (), True)
        elif stands_in_the_way(self.target):
            raise InTheWay(f"{self.target} has come up meanwhile.", "", "Replace it, or move it away")
        self._copy(path, self.target)
        shown = self._with_files(checked_shape(job.chain, job.specs), lambda file: file.name)
        command = one_line(shown, job.output, job.source.name, self.target)
        self._ended({"output": self.target, "command": command, "chain": chain_text(shown)})
        return {"name": os.path.basename(self.target), "bytes": os.path.getsize(path), "command": command}

    def _copy(self, path: str, target: str) -> None:
        from vedit.media.atomic import open_output

        with open(path, "rb") as whole, open_output(target) as stream:
            shutil.copyfileobj(whole, stream, 1 << 20)

    def end(self, args: Args) -> Answer:
        """End without a result."""
        self.on_end()
        return {}

    def _ended(self, answer: Answer) -> None:
        self.ended = answer
        self.on_end()

    # --- telling -----------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear events, from any thread; the answer ends it."""
        with self.lock:
            self.listeners.append(listener)

        def stop() -> None:
            with self.lock:
                if listener in self.listeners:
                    self.listeners.remove(listener)

        return stop

    def emit(self, event: Event) -> None:
        with self.lock:
            listeners = list(self.listeners)
        for listener in listeners:
            listener(event)

    def told(self, error: VeditError, job: Job | None = None) -> Answer:
        """An error as the page gets it."""
        placed = self._in_names(self._placed(error, job))
        return problem(str(placed), placed.exit_code, placed.stage, placed.option)

    def _placed(self, error: VeditError, job: Job | None) -> VeditError:
        """The error with the place in the page's chain, of the stage that it came up at."""
        if job is not None:
            error.stage = job.place(error.stage)
        return error

    def _in_names(self, error: VeditError, more: Mapping[str, str] = {}) -> VeditError:
        """The error with the user's names for files, not those that they have here."""
        error.what, error.right, error.next_step = (
            self.in_names(text, more) for text in (error.what, error.right, error.next_step)
        )
        return error

    def in_names(self, text: str, more: Mapping[str, str] = {}) -> str:
        names = {source.path: os.path.basename(source.name) for source in self.sources.values()}
        names |= {file.path: os.path.basename(file.name) for file in self.files.values()} | dict(more)
        for path, name in names.items():
            if path.startswith(self.shelf.folder):
                text = text.replace(path, name)
        return text.replace(self.shelf.folder + os.sep, "")

    def close(self) -> None:
        """End what runs, and remove what was kept."""
        with self.lock:
            for run in self.runs.values():
                run.is_over.set()
            threads = list(self.threads)
        for thread in threads:
            thread.join(5)
        self.looks.close()
        self.shelf.close()


def _format_of(target: str) -> str:
    """The format that the name behind -o asks for. Raises UsageError for one that the page cannot make."""
    from vedit.media.formats import output_format

    format = output_format(target)
    format = {"png": "apng"}.get(format, format)
    if format not in FORMATS:
        raise UsageError(f"{target}: the page makes {', '.join(FORMATS)}.")
    return format


def presets() -> list[Answer]:
    """The chain presets there are."""
    from vedit.presets import load, paths

    found = []
    for name in paths():
        try:
            preset = load(name)
        except VeditError:
            continue
        if preset.kind == "chain":
            found.append({"name": name, "summary": preset.summary, "is_own": not preset.is_shipped})
    return found


def checked_shape(chain: Sequence[Spec], specs: Sequence[Spec]) -> list[Spec]:
    """The chain as the page has it, with the options alone that `checked` left, in its order."""
    return [
        (name, {key: given.get(key, texts[key]) for key in texts})
        for (name, given), (_, texts) in zip(chain, specs, strict=True)
    ]
