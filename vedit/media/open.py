"""Open any clip and write any clip: look at the first bytes, or at the name of the output.

Formats by name stand in `media.formats`: gif, nut, y4m, mono (y4m of grey frames), rgb24, rgba, the
containers of films, apng, png (one still, or an animation), webp, folder (one picture per frame).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from typing import Any, BinaryIO

from vedit.errors import InputError, UsageError, nearest, reason_of
from vedit.media.closing import ClosingFrames
from vedit.media.formats import FORMATS, LOOK, PICTURES, STREAMS, VIDEO, format_of
from vedit.media.frames import Clip, Frames
from vedit.media.limits import Limits
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


def open_clip(
    name: str,
    *,
    stream: BinaryIO | None = None,
    start: bytes = b"",
    format: str | None = None,
    rate: Fraction | None = None,
    size: tuple[int, int] | None = None,
    raw_info: str | None = None,
    limits: Limits = Limits(),
    warn: Callable[[str], None] = lambda message: None,
    **video: Any,
) -> tuple[Clip, ClosingFrames, str]:
    """Open a clip: its facts, its frames, and their kind ("packed" for GIF, "yuv" for film when `wants_planes` asks so, else "rgba").

    name: a path, "-" for standard input, or a folder of pictures. stream: the opened input, raw,
    of which `start` has been read already; without it `name` is opened.
    format: skips the look at the first bytes; needed for rgb24 and rgba, with `size` and `rate` or
    with `raw_info`, a file that `--raw-info` wrote. rate is also that of a folder.
    video: fields of `decode.ReadOptions`, which only a video file heeds.
    The input is closed when the frames are exhausted or closed, unless it was handed in.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"the format {format} is unknown{nearest(format, FORMATS)}", f"The formats are: {', '.join(FORMATS)}.")
    if stream is None and name != "-" and os.path.isdir(name):
        from vedit.media.sequence import read_folder

        clip, frames = read_folder(name, rate=rate, limits=limits, warn=warn)
        return clip, ClosingFrames(frames, lambda: None), "rgba"
    with ExitStack() as opened:
        if stream is None:
            stream = opened.enter_context(_open(name))
        if not start:
            start = _first_bytes(stream)
        kind = format if format in STREAMS else sniff(start) if format in (None, *PICTURES, *VIDEO, "folder") else str(format)
        clip, frames = _read(kind, name, stream, start, (rate, size, raw_info, format), limits, warn, video, opened)
        interrupt = getattr(frames, "interrupt", None)
        if kind not in ("gif", "picture"):  # those count by themselves
            if hasattr(frames, "close"):
                opened.callback(frames.close)  # a limit that is passed ends the generator around them only
            frames = _counted(frames, clip, limits)
        given = "packed" if kind == "gif" else "yuv" if clip.light else "rgba"
        return clip, ClosingFrames(frames, opened.pop_all().close, interrupt), given


def _counted(frames: Frames, clip: Clip, limits: Limits) -> Frames:
    """The frames of a film within the limits of images and of pixels in all, where those were set.

    The defaults are for pictures, which swell from a few bytes; a film of an hour may pass them and is streamed.
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


def _read(
    kind: str,
    name: str,
    stream: BinaryIO,
    start: bytes,
    raw: tuple[Fraction | None, tuple[int, int] | None, str | None, str | None],
    limits: Limits,
    warn: Callable[[str], None],
    video: dict[str, Any],
    opened: ExitStack,
) -> tuple[Clip, Frames]:
    """Read a format whose name is known; what ours cannot read goes to ffmpeg."""
    if not start:
        raise InputError("empty file.")
    if kind == "gif":
        from vedit.media.gif import GifReader

        gif = GifReader(lambda count: stream.read(count) or b"", name, start, limits=limits, warn=warn)
        return gif.clip, gif.frames()
    if kind == "nut":
        from vedit.media.bytesource import NotOurs
        from vedit.media.nut import NutReader

        try:
            nut = NutReader(stream, name, start, limits=limits, warn=warn)
            return nut.clip, nut.frames()
        except NotOurs as error:
            return _read_video(name, stream, error.taken, "nut", limits, warn, video, opened)
    if kind in ("y4m", "mono"):
        from vedit.media.bytesource import NotOurs
        from vedit.media.raw import Y4mReader

        try:
            y4m = Y4mReader(stream, name, start, limits=limits, warn=warn)
            return y4m.clip, y4m.frames()
        except NotOurs as error:
            return _read_video(name, stream, error.taken, "yuv4mpegpipe", limits, warn, video, opened)
    if kind in ("rgb24", "rgba"):
        from vedit.media.raw import RawReader

        bare = RawReader(stream, _raw_info(kind, *raw[:3]), name, start, limits=limits, warn=warn)
        return bare.clip, bare.frames()
    if kind == "picture":
        from vedit.media.sequence import read_picture

        file = _seekable(stream, start, opened, limits)
        return read_picture(file, name, limits=limits, warn=warn)
    return _read_video(name, stream, start, None, limits, warn, video, opened)


def _raw_info(format: str, rate: Fraction | None, size: tuple[int, int] | None, raw_info: str | None) -> Any:
    from vedit.documents import read_bytes
    from vedit.media.raw import RAW_INFO, RawInfo

    if raw_info is not None:
        return RawInfo.from_json(read_bytes(raw_info, RAW_INFO), raw_info)
    if size is None or rate is None:
        missing = " and ".join(option for option, value in (("--size WxH", size), ("--rate R", rate)) if value is None)
        raise UsageError(
            f"raw {format} frames do not tell their size or rate.",
            f"Give {missing}, or --raw-info FILE with what the writer told.",
            f"Example: vedit convert -f {format} --size 640x480 --rate 25 in.raw -o out.mp4",
        )
    return RawInfo(*size, rate, format)


def _read_video(
    name: str, stream: BinaryIO, start: bytes, format: str | None, limits: Limits, warn: Callable[[str], None], video: dict[str, Any], opened: ExitStack
) -> tuple[Clip, Frames]:
    from vedit.media.decode import ReadOptions, read_video
    from vedit.media.ffmpeg import refuse_playlist

    refuse_playlist(start)
    file = _seekable(stream, start, opened, limits)
    return read_video(file, name, ReadOptions(**video), format=format, sound_path=_path_of(file, name), limits=limits, warn=warn)


def _seekable(stream: BinaryIO, start: bytes, opened: ExitStack, limits: Limits) -> BinaryIO:
    """The whole input as a file at its start: a pipe is copied to a temporary file first."""
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.seek(0)
        return stream
    from vedit.media.bytesource import spool

    return opened.enter_context(spool(stream, start, limits))


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


def write_clip(
    clip: Clip,
    frames: Frames,
    output: str,
    *,
    format: str | None = None,
    rate: Fraction | None = None,
    background: str | None = None,
    quality: int | None = None,
    raw_info: str | None = None,
    keep_audio: bool = True,
    overwrite: bool = False,
    **video: Any,
) -> int:
    """Write composed frames (packed ones for GIF); returns how many. The output appears complete.

    format: one of FORMATS, None to go by the name. rate: of formats with a constant one.
    background: shown where the clip is transparent and the format is not: black in
    y4m and rgb24, white in video. raw_info: a file for the JSON line about raw frames, which
    otherwise goes to standard error. video: fields of `encode.WriteOptions`.
    """
    format = format_of(output) if format in (None, "video", "picture") else format
    flush = output == "-"
    if background:
        from vedit.media.raw import parse_colour

        parse_colour(background)  # before any work, and also where nothing is transparent
    if format in VIDEO:
        return _write_video(clip, frames, output, str(format), {**video, "keep_audio": keep_audio, **({"background": background} if background else {})})
    if format == "folder":
        from vedit.media.sequence import write_folder

        return write_folder(clip, frames, output, overwrite=overwrite)
    if format in PICTURES:
        return _write_picture(clip, frames, output, str(format), quality)
    from vedit.media.atomic import open_output

    with open_output(output) as stream:
        if format == "gif":
            from vedit.media.gif import write_gif

            return write_gif(clip, frames, stream, flush=flush)
        if format == "nut":
            from vedit.media.decode import pcm
            from vedit.media.nut import write_nut

            with pcm(clip if keep_audio else clip.but(audio=None)) as sound:
                return write_nut(clip, frames, stream, sound=sound, flush=flush)
        from vedit.media import raw

        if format in ("y4m", "mono"):
            return raw.write_y4m(clip, frames, stream, mono=format == "mono", rate=rate, background=background or "black", flush=flush)
        return raw.write_raw(clip, frames, stream, str(format), rate=rate, background=background or "black", tell=_teller(raw_info), flush=flush)


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


def _write_video(clip: Clip, frames: Frames, output: str, format: str, options: dict[str, Any]) -> int:
    from vedit.media.atomic import atomic_path, is_special
    from vedit.media.encode import WriteOptions, write_video

    if output == "-" or is_special(output):
        return write_video(clip, frames, output, format, WriteOptions(**options))
    with atomic_path(output) as part:
        return write_video(clip, frames, part, format, WriteOptions(**options), shown=output)


def _write_picture(clip: Clip, frames: Frames, output: str, format: str, quality: int | None) -> int:
    from vedit.media import sequence

    with seekable_output(output) as stream:
        if format == "webp":
            return sequence.write_webp(clip, frames, stream, quality=quality)
        return sequence.write_apng(clip, frames, stream)
