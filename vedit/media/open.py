"""Open any clip and write any clip: look at the first bytes, or at the name of the output.

Formats by name stand in `media.formats`: gif, nut, y4m, mono (y4m of grey frames), rgb24, rgba, the
containers of films, apng, png (one still, or an animation), webp, avif, folder (one picture per frame).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, NamedTuple

from vedit.errors import InputError, UsageError, Warn, nearest, option, reason_of, silent
from vedit.media.closing import ClosingFrames
from vedit.media.formats import FORMATS, LOOK, PICTURES, STREAMS, VIDEO, format_of, names_pictures
from vedit.media.frames import Clip, Frames
from vedit.media.limits import Limits
from vedit.media.options import ReadOptions, WriteOptions
from vedit.media.pictures import kind_of


def sniff(start: bytes) -> str:
    """The reader for a file that starts so: gif, nut, y4m, picture or video."""
    if start[:4] == b"GIF8":
        return "gif"
    if start.startswith(b"nut/multimedia"):
        return "nut"
    if start.startswith(b"YUV4MPEG2"):
        return "y4m"
    return "picture" if kind_of(start) else "video"


# --- reading -------------------------------------------------------------------------------------


class _Input(NamedTuple):
    """An opened input on its way to a reader. start: what has been read of it; what else is opened for it
    closes with `opened`.
    """

    name: str
    stream: BinaryIO
    start: bytes
    read: ReadOptions
    warn: Warn
    opened: ExitStack

    @property
    def manners(self) -> dict[str, Any]:
        return {"limits": self.read.limits, "warn": self.warn}


def open_clip(
    name: str,
    read: ReadOptions = ReadOptions(),
    *,
    stream: BinaryIO | None = None,
    start: bytes = b"",
    warn: Warn = silent,
) -> tuple[Clip, ClosingFrames, str]:
    """Open a clip: its facts, its frames, and their kind ("packed" for GIF, "yuv" for film when
    `read.wants_planes` asks so, else "rgba").

    name: a path, "-" for standard input, or what `names_pictures` takes. stream: the opened input, raw, of
    which `start` has been read already; without it `name` is opened. The input is closed when the frames are
    exhausted or closed, unless it was handed in.
    """
    format, limits = read.format, read.limits
    if format is not None and format not in FORMATS:
        raise UsageError(
            f"the format {format} is unknown{nearest(format, FORMATS)}",
            f"The formats are: {', '.join(FORMATS)}.",
        )
    if stream is None and (read.pictures or names_pictures(name)):
        from vedit.media.sequence import read_pictures

        clip, frames = read_pictures(name, read, warn)
        return clip, ClosingFrames(frames, lambda: None), "rgba"
    with ExitStack() as opened:
        if stream is None:
            stream = opened.enter_context(_open(name))
        if not start:
            start = _first_bytes(stream)
        kind = (
            format
            if format in STREAMS
            else sniff(start)
            if format in (None, *PICTURES, *VIDEO, "folder")
            else str(format)
        )
        clip, frames = _read(kind, _Input(name, stream, start, read, warn, opened))
        interrupt = getattr(frames, "interrupt", None)
        if kind not in ("gif", "picture"):  # those count by themselves
            if hasattr(frames, "close"):
                opened.callback(frames.close)  # a limit that is passed ends the generator around them only
            frames = _counted(frames, clip, limits)
        given = "packed" if kind == "gif" else "yuv" if clip.light else "rgba"
        return clip, ClosingFrames(frames, opened.pop_all().close, interrupt), given


def _counted(frames: Frames, clip: Clip, limits: Limits) -> Frames:
    """The frames of a film within the limits of images and of pixels in all, where those were set.

    The defaults are for pictures, which swell from a few bytes; a film of an hour may pass them and is
    streamed.
    """
    usual = Limits()
    images = 0 if limits.images == usual.images else limits.images
    total = 0 if limits.total == usual.total else limits.total
    asked = limits._replace(images=images, total=total)
    if not (asked.images or asked.total):
        return frames
    return _refused(frames, clip.width * clip.height, asked)


def _refused(frames: Frames, pixels: int, limits: Limits) -> Frames:
    for count, frame in enumerate(frames, 1):
        limits.check("images", count, f"{count} images")
        limits.check("total", count * pixels, f"{count} images of {pixels} pixels")
        yield frame


def _open(name: str) -> BinaryIO:
    if name == "-":
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    try:
        return open(name, "rb", buffering=0)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read: {reason_of(error)}.") from None


def _first_bytes(stream: BinaryIO) -> bytes:
    start = b""
    while len(start) < LOOK and (more := stream.read(LOOK - len(start))):
        start += more
    return start


def _read(kind: str, given: _Input) -> tuple[Clip, Frames]:
    """Read a format whose name is known; what ours cannot read goes to ffmpeg."""
    name, stream, start = given.name, given.stream, given.start
    if not start:
        raise InputError("empty file.")
    if kind == "gif":
        from vedit.media.gif.container import GifReader

        gif = GifReader(lambda count: stream.read(count) or b"", name, start, **given.manners)
        return gif.clip, gif.frames()
    if kind == "nut":
        from vedit.media.streams.bytesource import NotOurs
        from vedit.media.streams.nut import NutReader

        try:
            nut = NutReader(stream, name, start, **given.manners)
            return nut.clip, nut.frames()
        except NotOurs as error:
            return _read_video(given._replace(start=error.taken), "nut")
    if kind in ("y4m", "mono"):
        from vedit.media.streams.bytesource import NotOurs
        from vedit.media.streams.raw import Y4mReader

        try:
            y4m = Y4mReader(stream, name, start, **given.manners)
            return y4m.clip, y4m.frames()
        except NotOurs as error:
            return _read_video(given._replace(start=error.taken), "yuv4mpegpipe")
    if kind in ("rgb24", "rgba"):
        from vedit.media.streams.raw import RawReader

        bare = RawReader(stream, _raw_info(kind, given.read), name, start, **given.manners)
        return bare.clip, bare.frames()
    if kind == "picture":
        from vedit.media.sequence import read_picture

        return read_picture(_seekable(given), name, still_s=given.read.still_s, **given.manners)
    return _read_video(given)


def _raw_info(format: str, read: ReadOptions) -> Any:
    from vedit.documents import read_bytes
    from vedit.media.streams.raw import RAW_INFO, RawInfo

    if read.raw_info is not None:
        return RawInfo.from_json(read_bytes(read.raw_info, RAW_INFO), read.raw_info)
    if read.size is None or read.rate is None:
        unsaid = (("raw_size", "WxH", read.size), ("rate", "R", read.rate))
        missing = " and ".join(option(name, form) for name, form, value in unsaid if value is None)
        raise UsageError(
            f"raw {format} frames do not tell their size or rate.",
            f"Give {missing}, or {option('raw_info', 'FILE')} with what the writer told.",
            f"Example: vedit convert -f {format} --size 640x480 --rate 25 in.raw -o out.mp4",
        )
    return RawInfo(*read.size, read.rate, format)


def _read_video(given: _Input, container: str | None = None) -> tuple[Clip, Frames]:
    from vedit.media.video.decode import read_video
    from vedit.media.video.ffmpeg import refuse_playlist

    refuse_playlist(given.start)
    file = _seekable(given)
    return read_video(
        file, given.name, given.read, format=container, sound_path=_path_of(file, given.name), warn=given.warn
    )


def _seekable(given: _Input) -> BinaryIO:
    """The whole input as a file at its start: a pipe is copied to a temporary file first."""
    stream = given.stream
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.seek(0)
        return stream
    from vedit.media.streams.bytesource import spool

    return given.opened.enter_context(spool(stream, given.start, given.read.limits))


def _path_of(file: BinaryIO, name: str) -> str | None:
    """What opens the file a second time, with a place of its own in it."""
    if name != "-" and os.path.exists(name) and os.path.samestat(os.stat(name), os.fstat(file.fileno())):
        return name
    link = f"/proc/self/fd/{file.fileno()}"
    return link if os.path.exists(link) else None


# --- writing -------------------------------------------------------------------------------------


@contextmanager
def seekable_output(path: str) -> Iterator[BinaryIO]:
    """An output that can seek, also where the target cannot."""
    from vedit.media.atomic import is_special, open_output

    if path != "-" and not is_special(path):
        with open_output(path) as stream:
            yield stream
        return
    import shutil
    import tempfile

    with tempfile.TemporaryFile(prefix="vedit-") as spool, open_output(path) as stream:
        yield spool
        spool.seek(0)
        shutil.copyfileobj(spool, stream, 1 << 20)


def write_clip(clip: Clip, frames: Frames, output: str, write: WriteOptions = WriteOptions()) -> int:
    """Write composed frames (packed ones for GIF); returns how many. The output appears complete."""
    format = format_of(output) if write.format in (None, "video", "picture") else str(write.format)
    flush = output == "-"
    if write.background:
        from vedit.media.alpha import parse_colour

        parse_colour(write.background)  # before any work, and also where nothing is transparent
    if format in VIDEO:
        return _write_video(clip, frames, output, format, write)
    if format == "folder":
        from vedit.media.sequence import write_folder

        return write_folder(clip, frames, output, overwrite=write.overwrite, background=write.background)
    if format in PICTURES:
        return _write_picture(clip, frames, output, format, write.quality)
    from vedit.media.atomic import open_output

    with open_output(output) as stream:
        if format == "gif":
            from vedit.media.gif.container import write_gif

            return write_gif(clip, frames, stream, flush=flush)
        if format == "nut":
            from vedit.media.streams.nut import write_nut
            from vedit.media.video.decode import pcm

            with pcm(clip if write.keep_audio else clip.but(audio=None)) as sound:
                return write_nut(clip, frames, stream, sound=sound, flush=flush)
        from vedit.media.streams import raw

        if format in ("y4m", "mono"):
            return raw.write_y4m(
                clip,
                frames,
                stream,
                mono=format == "mono",
                rate=write.rate,
                background=write.background,
                flush=flush,
            )
        return raw.write_raw(
            clip,
            frames,
            stream,
            format,
            rate=write.rate,
            background=write.background,
            tell=_teller(write.raw_info),
            flush=flush,
        )


def _teller(path: str | None) -> Callable[[str], None]:
    """Where the JSON line about raw frames goes."""

    def tell(line: str) -> None:
        if path is None:
            sys.stderr.write(line + "\n")
            return
        from vedit.media.atomic import open_output

        with open_output(path) as stream:
            stream.write(line.encode() + b"\n")

    return tell


def _write_video(clip: Clip, frames: Frames, output: str, format: str, write: WriteOptions) -> int:
    from vedit.media.atomic import atomic_path, is_special
    from vedit.media.video.encode import write_video

    if output == "-" or is_special(output):
        return write_video(clip, frames, output, format, write)
    with atomic_path(output) as part:
        return write_video(clip, frames, part, format, write, shown=output)


def _write_picture(clip: Clip, frames: Frames, output: str, format: str, quality: int | None) -> int:
    from vedit.media import sequence

    with seekable_output(output) as stream:
        if format == "webp":
            return sequence.write_webp(clip, frames, stream, quality=quality)
        if format == "avif":
            from vedit.media.avif import write_avif

            return write_avif(clip, frames, stream, quality=quality)
        return sequence.write_apng(clip, frames, stream)
