"""Read a stream of known structure: exact counts, frames without a copy, bytes already sniffed."""

from __future__ import annotations

import os
import stat
import tempfile
from typing import Any, BinaryIO, cast

from vedit.errors import InputError, LimitError, option
from vedit.media.limits import Limits, short_number

CHUNK = 1 << 16
TRUSTED = 1 << 24  # bytes that are made room for because a header says so


class EndOfStream(Exception):
    """The stream ended inside something; `rest` is what there was of it."""

    def __init__(self, rest: bytes = b"") -> None:
        super().__init__("the stream ended")
        self.rest = rest


class NotOurs(Exception):
    """A stream whose reader here does not know what is in it; ffmpeg does.

    taken: every byte that was read from the raw stream, to hand on.
    """

    def __init__(self, taken: bytes) -> None:
        super().__init__("a stream for ffmpeg")
        self.taken = taken


def spool(raw: Any, start: bytes, limits: Limits) -> BinaryIO:
    """A temporary file, at its start, with `start` and all that still comes from a pipe; the caller closes
    it.

    Raises InputError for a device, which does not end, and LimitError when the pipe is longer than the limit
    or than half of what is free where temporary files go.
    """
    if stat.S_ISCHR(os.fstat(raw.fileno()).st_mode):
        raise InputError(
            "this is a device, and no clip that ends.", "A clip is a file, or comes through a pipe."
        )
    file = cast("BinaryIO", tempfile.TemporaryFile(prefix="vedit-", buffering=0))
    try:
        free = os.statvfs(file.fileno())
        most = min(limits.spool or free.f_bavail * free.f_frsize, free.f_bavail * free.f_frsize // 2)
        count, chunk = 0, start
        while chunk:
            count += len(chunk)
            if count > most:
                raise LimitError(
                    f"the pipe gave more than {short_number(most)} bytes, as many as are kept in"
                    f" {tempfile.gettempdir()}.",
                    "A part of the clip is needed again, so all of it is kept until the end.",
                    (
                        "Save it to a file first, or set TMPDIR to a larger disk and"
                        f" {option('limits', ['spool=100G'])}"
                    ),
                )
            file.write(chunk)
            chunk = raw.read(1 << 20) or b""
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


class ByteSource:
    """A raw stream with a small window in front, which starts with the bytes in `start`.

    raw: anything with `readinto`; short reads of a pipe are continued. `seen` holds every byte taken so far
    until it is set to None: with it and `unread` a reader that finds it cannot read the format hands the
    whole stream on.
    """

    __slots__ = ("pos", "raw", "seen", "window")

    def __init__(self, raw: Any, start: bytes = b"") -> None:
        self.raw = raw
        self.window = start
        self.pos = 0
        self.seen: bytearray | None = bytearray()

    @property
    def unread(self) -> bytes:
        """What was read from the raw stream and not taken."""
        return self.window[self.pos :]

    @property
    def so_far(self) -> bytes:
        """Everything read from the raw stream, while `seen` is kept."""
        return bytes(self.seen or b"") + self.unread

    def _fill(self) -> bool:
        chunk = bytearray(CHUNK)
        count = self.raw.readinto(chunk)
        self.window = self.window[self.pos :] + bytes(chunk[: count or 0])
        self.pos = 0
        return bool(count)

    def at_end(self) -> bool:
        return self.pos >= len(self.window) and not self._fill()

    def take(self, count: int) -> bytes:
        """The next `count` bytes; raises EndOfStream when there are fewer."""
        if count > CHUNK:
            return bytes(self.take_buffer(count))
        while len(self.window) - self.pos < count:
            if not self._fill():
                rest = self.unread
                self.pos = len(self.window)
                raise EndOfStream(rest)
        start = self.pos
        self.pos += count
        taken = self.window[start : self.pos]
        if self.seen is not None:
            self.seen += taken
        return taken

    def byte(self) -> int:
        if self.pos < len(self.window) and self.seen is None:
            self.pos += 1
            return self.window[self.pos - 1]
        return self.take(1)[0]

    def take_line(self, longest: int = CHUNK) -> bytes:
        """Bytes up to and including the next newline."""
        while (end := self.window.find(b"\n", self.pos)) < 0:
            if len(self.window) - self.pos > longest or not self._fill():
                raise EndOfStream(self.unread)
        return self.take(end + 1 - self.pos)

    def take_buffer(self, count: int) -> bytearray:
        """The next `count` bytes in a buffer of their own, read straight from the raw stream."""
        buffer = bytearray(min(count, TRUSTED))
        have = min(count, len(self.window) - self.pos)
        buffer[:have] = self.window[self.pos : self.pos + have]
        self.pos += have
        while have < count:
            if have >= len(buffer):  # so much has come: twice as much is no bomb
                buffer.extend(bytes(min(count, 2 * have) - len(buffer)))
            with memoryview(buffer) as view, view[have:] as rest:
                more = self.raw.readinto(rest)
            if not more:
                raise EndOfStream(bytes(buffer[:have]))
            have += more
        if self.seen is not None:
            self.seen += buffer
        return buffer

    def skip(self, count: int) -> None:
        while count > 0:
            self.take(step := min(count, CHUNK))
            count -= step
