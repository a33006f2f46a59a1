"""Where clips come from: files and standard input, folders of pictures, frames that we make ourselves.

Every command opens its input here, so that all read the same. `opened` gives the whole pictures
of a clip; `media.run` takes a `Source` through a chain of stages.
"""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, NamedTuple, Protocol

from vedit.errors import InputError, UsageError, Warn, is_typed, reason_of, silent
from vedit.media.closing import ClosingFrames
from vedit.media.formats import LOOK, names_pictures
from vedit.media.frames import Clip, Frames
from vedit.media.gif import container as gif
from vedit.media.limits import Limits
from vedit.media.options import ReadOptions
from vedit.media.pipeline import connect, converters, plan


class Opened(NamedTuple):
    """A clip, its frames, their kind, and what to call about damage found on the way."""

    clip: Clip
    frames: Frames
    kind: str
    hurt: Warn


class Source(Protocol):
    """An input that can be opened more than once when a stage needs a look ahead.

    size: bytes, where they are known. kind: of the frames it gives, "packed" or "rgba"; film that is
    asked for planes may give "yuv" instead.
    """

    name: str
    read: ReadOptions

    @property
    def size(self) -> int | None: ...

    @property
    def kind(self) -> str: ...

    @property
    def is_cheap(self) -> bool:
        """Whether all pictures can be decoded twice at little cost: a film says what it has."""
        ...

    def spool(self) -> None:
        """Make sure that it can be opened again."""

    def scan(self, touches_pixels: bool) -> None:
        """Check limits before any pixel is decoded, and gather facts for what follows. Raises LimitError."""

    def open(self, quiet: bool = False, wants_planes: bool = False) -> Opened:
        """Open it. quiet: say nothing of damage. wants_planes: give the frames of a film as it stores them,
        if it can.
        """
        ...


@contextmanager
def opened(
    name: str, read: ReadOptions = ReadOptions(), warn: Warn = silent
) -> Iterator[tuple[Clip, Frames]]:
    """A clip and its frames as whole pictures, "rgb" or "rgba".

    name: a path, "-" for standard input, or a folder of pictures.
    """
    with ExitStack() as stack:
        source = source_of(name, read, stack, warn)
        source.spool()
        yield composed(source)


def composed(source: Source) -> tuple[Clip, Frames]:
    """The clip of a source and its frames as whole pictures, within the limits that it was opened with."""
    source.scan(touches_pixels=True)
    clip, frames, kind, hurt = source.open()
    return connect(clip, frames, plan((), kind, "rgba"), converters(source.read.limits, hurt))


def source_of(
    name: str, read: ReadOptions, stack: ExitStack, warn: Warn = silent
) -> "FileSource | FolderSource":
    """The source that a name, or a list of pictures, stands for; what it opens is closed with the stack."""
    if read.pictures or names_pictures(name):
        return FolderSource(name, read, stack, warn)
    return FileSource(name, read, stack, warn)


def counted(source: "FileSource | FolderSource") -> int:
    """The number of frames, by a pass over them where no walk over a GIF's blocks tells.

    Of a film a hint is a guess, by its length and its average rate.
    """
    source.spool()
    source.scan(touches_pixels=True)
    facts = source.facts if isinstance(source, FileSource) else None
    return facts.images if facts else sum(1 for _ in source.open(quiet=True).frames)


class FileSource:
    """A file, or standard input.

    A pipe is read once, unless `spool` copies it to a temporary file first.
    """

    def __init__(self, name: str, read: ReadOptions, stack: ExitStack, warn: Warn = silent) -> None:
        self.name, self.read, self.warn = name, read, warn
        self.stack = stack
        self.stream = self._open()
        self.is_file = stat.S_ISREG(os.fstat(self.stream.fileno()).st_mode)
        self.size = os.fstat(self.stream.fileno()).st_size if self.is_file else None
        self.facts: gif.GifFacts | None = None
        self.start = self._peek()

    def _open(self) -> BinaryIO:
        if self.name == "-":
            if is_typed():
                raise UsageError(
                    "no input: standard input is a terminal.", "", "Name a file, or pipe a clip in"
                )
            return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
        try:
            return self.stack.enter_context(open(self.name, "rb", buffering=0))
        except OSError as error:
            raise InputError(f"cannot read: {reason_of(error)}.") from None
        except ValueError as error:  # a NUL byte in the name
            raise InputError(f"cannot read: {error}.") from None

    def _peek(self) -> bytes:
        start = self.take(LOOK)
        while 0 < len(start) < LOOK and (more := self.take(LOOK - len(start))):
            start += more
        return start

    def take(self, count: int) -> bytes:
        """The next bytes of the stream."""
        try:
            return self.stream.read(count) or b""
        except OSError as error:
            raise InputError(f"cannot read: {reason_of(error)}.") from None

    def rewind(self) -> None:
        """Go back to the first byte of a file."""
        self.stream.seek(0)

    def spool(self) -> None:
        """Make a pipe readable again by copying it to a temporary file."""
        if self.is_file:
            return
        from vedit.media.streams.bytesource import spool

        copy = self.stack.enter_context(spool(self.stream, self.start, self.read.limits))
        self.stream, self.is_file, self.size = copy, True, os.fstat(copy.fileno()).st_size
        self.start = self._peek()

    @property
    def is_gif(self) -> bool:
        return self.start[:4] == b"GIF8" and not self.is_named

    @property
    def is_text(self) -> bool:
        """Empty, or words where a clip should be: the GIF reader says so best."""
        return not self.is_named and (not self.start or self.start.lstrip()[:1] in (b"<", b"{"))

    @property
    def is_named(self) -> bool:
        """Whether the format was named, so that the first bytes are not looked at: raw frames are any."""
        return self.read.format not in (None, "gif")

    @property
    def kind(self) -> str:
        return "packed" if self.is_gif or self.is_text else "rgba"

    @property
    def is_cheap(self) -> bool:
        from vedit.media.pictures import kind_of

        return self.is_gif or (not self.is_named and kind_of(self.start) is not None)

    def scan(self, touches_pixels: bool) -> None:
        """Walk a GIF file's blocks: limits before any pixel is decoded, and facts for what follows."""
        if not (self.is_file and self.is_gif) or self.facts is not None:
            return
        limits = self.read.limits if touches_pixels else without_pixels(self.read.limits)
        self.rewind()
        self.facts = gif.scan_gif(self.take, limits=limits)

    def open(self, quiet: bool = False, wants_planes: bool = False) -> Opened:
        warn = silent if quiet else self.warn
        if self.kind == "packed":
            return self._open_gif(quiet, warn)
        from vedit.media.open import open_clip

        if self.is_file:  # opened a second time: behind what was looked at
            self.stream.seek(len(self.start))
        read = self.read._replace(wants_planes=wants_planes)
        clip, frames, kind = open_clip(self.name, read, stream=self.stream, start=self.start, warn=warn)
        self.stack.callback(frames.close)  # a decoder must not outlive a failure, whatever still refers to it
        return Opened(clip, frames, kind, warn)

    def _open_gif(self, quiet: bool, warn: Warn) -> Opened:
        start = self.start
        if self.is_file:
            self.rewind()
            start = b""
        reader = gif.GifReader(
            self.take,
            self.name,
            start,
            limits=self.read.limits,
            strict=self.read.strict and not quiet,
            warn=warn,
        )
        clip = reader.clip
        if self.facts is not None:
            clip = clip.but(
                loop=self.facts.loop,
                frames_hint=self.facts.images,
                duration_hint=self.facts.duration_cs,
                tail=clip.tail,
            )
            reader.clip = clip
        frames = ClosingFrames(reader.frames(), lambda: None)
        self.stack.callback(frames.close)
        return Opened(clip, frames, "packed", reader.hurt)

    def sha256(self) -> str:
        """The hash of its bytes."""
        import hashlib

        self.spool()
        digest = hashlib.sha256()
        self.rewind()
        while chunk := self.take(1 << 20):
            digest.update(chunk)
        self.rewind()
        return digest.hexdigest()


def without_pixels(limits: Limits) -> Limits:
    """What of the limits holds where no pixel is decoded."""
    return Limits(0, 0, 0, *limits[3:5], 0)


class FolderSource:
    """Pictures, one a frame: a folder or a pattern in natural order, or a list of files."""

    size: int | None = None
    kind = "rgba"
    is_cheap = True

    def __init__(self, name: str, read: ReadOptions, stack: ExitStack, warn: Warn = silent) -> None:
        self.name, self.read, self.warn = name, read, warn
        self.stack = stack

    def spool(self) -> None:
        """A folder can be read again as it is."""

    def scan(self, touches_pixels: bool) -> None:
        """Limits are checked when it is opened."""

    def open(self, quiet: bool = False, wants_planes: bool = False) -> Opened:
        from vedit.media.open import open_clip

        warn = silent if quiet else self.warn
        clip, frames, kind = open_clip(self.name, self.read, warn=warn)
        self.stack.callback(frames.close)
        return Opened(clip, frames, kind, warn)

    def sha256(self) -> str:
        """The hash of the names and bytes of all pictures."""
        import hashlib

        from vedit.media.sequence import listed

        digest = hashlib.sha256()
        for file in listed(self.name, self.read):
            digest.update(os.fsencode(os.path.basename(file)) + b"\0")
            with open(file, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()


class MadeSource:
    """Computed frames as an input.

    build: gives the clip and its frames as whole pictures, each time anew.
    """

    size: int | None = None
    kind = "rgba"
    is_cheap = False
    read = ReadOptions()

    def __init__(self, name: str, build: Callable[[], tuple[Clip, Frames]], warn: Warn = silent) -> None:
        self.name, self.build, self.warn = name, build, warn

    def spool(self) -> None:
        """The pixels are in memory."""

    def scan(self, touches_pixels: bool) -> None:
        """Nothing to check: the size was chosen by us."""

    def open(self, quiet: bool = False, wants_planes: bool = False) -> Opened:
        clip, frames = self.build()
        return Opened(clip, frames, "rgba", self.warn)
