"""What the editor keeps on disk while it runs: uploads and results, in a folder that goes with it.

Nothing is kept decoded. Results make room for newer ones, the longest unused first.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from vedit.errors import OutputError, reason_of

NAME = "vedit-serve-"
OWNER = "owner"  # a file that is locked by the process whose folder it is


class Shelf:
    """The folder of one process. Safe to use from several threads.

    cache: bytes of results that are kept at most, but for the newest.
    """

    def __init__(self, cache: int, folder: str | None = None) -> None:
        base = folder or tempfile.gettempdir()
        remove_leftovers(base)
        try:
            self.folder = tempfile.mkdtemp(prefix=NAME, dir=base)  # 0700
        except OSError as error:
            raise OutputError(f"{base}: cannot make a folder: {reason_of(error)}.") from None
        self.owner = open(os.path.join(self.folder, OWNER), "w")
        fcntl.flock(self.owner, fcntl.LOCK_EX)
        self.owner.write(f"{os.getpid()}\n")
        self.owner.flush()
        self.cache = cache
        self.results: OrderedDict[str, tuple[str, int]] = OrderedDict()  # path and bytes, newest last
        self.lock = threading.Lock()

    def room(self) -> int:
        """Bytes that are free on this disk."""
        return shutil.disk_usage(self.folder).free

    def upload(self, suffix: str) -> Upload:
        """A file to receive. suffix: of what is known to be one, since some formats go by it."""
        return Upload(os.path.join(self.folder, f"u{secrets.token_hex(8)}{suffix}"))

    def path_for(self, revision: str, format: str) -> str:
        """Where the result of a revision goes."""
        return os.path.join(self.folder, f"{revision}.{format}")

    def keep(self, revision: str, path: str) -> None:
        """Note a result, and let the longest unused go where they are too large together."""
        with self.lock:
            self.results[revision] = path, os.path.getsize(path)
            self.results.move_to_end(revision)
            while len(self.results) > 1 and sum(size for _, size in self.results.values()) > self.cache:
                _, (old, _) = self.results.popitem(last=False)
                with suppress(OSError):
                    os.unlink(old)

    def find(self, revision: str) -> str | None:
        """The file of a result, if it is still there; it counts as used."""
        with self.lock:
            if revision not in self.results:
                return None
            self.results.move_to_end(revision)
            return self.results[revision][0]

    def close(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.owner.close()


class Upload:
    """A file on its way in: hashed as it comes, and gone unless it is whole."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.bytes = 0
        self.digest = hashlib.sha256()
        self.file: IO[Any] = open(path, "xb")

    def write(self, data: bytes) -> None:
        """Raises OSError for a full disk."""
        self.file.write(data)
        self.digest.update(data)
        self.bytes += len(data)

    def finish(self) -> str:
        """The hash of the whole file."""
        self.file.close()
        return self.digest.hexdigest()

    def abandon(self) -> None:
        with suppress(OSError):  # of what it still held
            self.file.close()
        with suppress(OSError):
            os.unlink(self.path)


def remove_leftovers(base: str) -> None:
    """Remove the folders of processes that were killed: those whose owner holds no lock."""
    for folder in _folders(base):
        with suppress(OSError):
            descriptor = os.open(os.path.join(folder, OWNER), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _folders(base: str) -> Iterator[str]:
    """The folders of this user that are called as ours are."""
    with suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            is_folder = re.fullmatch(NAME + r"\w+", entry.name) and entry.is_dir(follow_symlinks=False)
            if is_folder and entry.stat(follow_symlinks=False).st_uid == os.getuid():
                yield entry.path
