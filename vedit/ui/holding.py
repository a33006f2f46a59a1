"""What came in: the clips and files that a page works on, by their ids.

The page knows nothing else of the disk; what is said of a file is said in the user's name for it.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vedit.errors import OutputError, UsageError, VeditError, reason_of
from vedit.media.formats import CLIP_SUFFIXES, STILLS
from vedit.ui.asked import Answer, Missing, NoRoom, problem, shown_name
from vedit.ui.controls import Spec, blamed, file_options
from vedit.ui.shelf import Shelf, Upload
from vedit.ui.work import File, Source

UPLOAD = "upload:"  # in front of the id of a file


class Holding:
    """The sources and files of one editor. Safe to use from several threads.

    files: clips that are read in place; `given` holds their ids. max_upload: bytes.
    """

    def __init__(self, shelf: Shelf, files: Sequence[str], max_upload: int) -> None:
        self.shelf, self.max_upload = shelf, max_upload
        self.lock = threading.RLock()
        self.sources = {
            source.id: source for source in (Source(secrets.token_hex(8), name, name) for name in files)
        }
        self.given = list(self.sources)
        self.files: dict[str, File] = {}

    def upload(self, name: str) -> Upload:
        """A file to receive, which `take_source` or `take_file` then take."""
        suffix = os.path.splitext(name)[1].lower()
        return self.shelf.upload(suffix if suffix in (*CLIP_SUFFIXES, *STILLS) else "")

    def take_source(self, name: str, upload: Upload) -> Answer:
        """A clip that has come in. Raises VeditError for what no clip can be read from; it is gone then."""
        source = Source(secrets.token_hex(8), shown_name(name), upload.path, upload.finish())
        try:
            return self._with(source, self.facts_of(source.path, source.name))
        except VeditError as error:
            upload.abandon()
            raise self.in_their_names(error, {source.path: source.name}) from error.__cause__

    def _with(self, source: Source, facts: Answer) -> Answer:
        with self.lock:
            self.sources[source.id] = source
        return {"source": source.id, "name": source.name, "bytes": facts["bytes"], "facts": facts}

    def take_file(self, name: str, upload: Upload) -> Answer:
        """A file for an option that has come in."""
        return self.keep_file(File(shown_name(name), upload.path, upload.finish()))

    def keep_file(self, file: File) -> Answer:
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

    def source(self, id: Any) -> Source:
        source = self.sources.get(id) if isinstance(id, str) else None
        if source is None:
            raise Missing("there is no such source.", "", "Open the file again")
        return source

    def file(self, text: str) -> File:
        """The file that an option names: one that came in, never a path."""
        file = self.files.get(text.removeprefix(UPLOAD)) if text.startswith(UPLOAD) else None
        if file is None:
            raise UsageError("there is no such file here.", "", "Choose the file again")
        return file

    def with_files(self, chain: Sequence[Spec], say: Callable[[File], str]) -> list[Spec]:
        """The chain with something else in the place of each file. Raises UsageError at the option."""
        from vedit import stages

        found = []
        for place, (name, given) in enumerate(chain):
            with blamed(place):
                stages.load(name)
            texts = dict(given)
            for option in file_options(name) & set(given):
                with blamed(place, option):
                    texts[option] = say(self.file(given[option]))
            found.append((name, texts))
        return found

    def facts_of(self, path: str, name: str) -> Answer:
        """What `vedit probe --json` says, under the user's name for the file."""
        from vedit.jobs.media.probe import probe
        from vedit.media.limits import environment_limits

        return {**probe(path, limits=environment_limits()), "file": name}

    def stated(self, source: Source) -> Answer:
        named = {"source": source.id, "name": os.path.basename(source.name)}
        try:
            facts = self.facts_of(source.path, named["name"])
        except VeditError as error:
            placed = self.in_their_names(error)
            return {**named, "error": problem(str(placed), placed.exit_code)}
        return {**named, "bytes": facts["bytes"], "facts": facts}

    def in_their_names(self, error: VeditError, more: Mapping[str, str] = {}) -> VeditError:
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
