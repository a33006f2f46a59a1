"""Pictures as clips: folders of frames, animated PNG and WebP, and stills.

Everything is read through Pillow one frame at a time. Animated PNG is written by us, since Pillow
keeps all frames in memory and merges equal ones; each frame is an ordinary PNG of Pillow's, its
data re-labelled, and only the part that changed. WebP is written by Pillow's encoder, which
streams in, writes at the end, and may merge equal frames (their time is kept).

Source: PNG specification, third edition (acTL, fcTL, fdAT); WebP container specification.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, BinaryIO

from PIL import Image

from vedit.errors import InputError, LimitError, OutputError, UsageError
from vedit.media.formats import STILLS
from vedit.media.frames import Clip, Frame, Frames, Rect
from vedit.media.limits import Limits
from vedit.media.timing import rounded

SUFFIXES = STILLS
MILLISECONDS = Fraction(1, 1000)
STILL_MS = 100  # how long a picture without a delay is shown
RATE = Fraction(25)  # frames per second of a folder, unless told
FIRST_NUMBER = 1
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


# --- reading -------------------------------------------------------------------------------------


@contextmanager
def _quiet_about_size() -> Iterator[None]:
    """Pillow's own size warning is not wanted: the limits here are options."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            yield
        except Image.DecompressionBombError as error:
            raise LimitError(f"the picture is too large: {error}.") from None


def _open_picture(file: Any, limits: Limits) -> Any:
    try:
        with _quiet_about_size():
            image = Image.open(file)
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise InputError(f"not a picture that can be read: {str(error) or type(error).__name__}.") from None
    limits.check("canvas", image.width * image.height, f"a picture of {image.width}x{image.height}")
    return image


def _decoded(image: Any) -> Any:
    """The picture as "RGB" or "RGBA", alpha wherever the file has it."""
    try:
        has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
        return image.convert("RGBA" if has_alpha else "RGB")
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise InputError(f"the picture is damaged: {str(error) or type(error).__name__}.") from None


def read_picture(file: BinaryIO, name: str, *, limits: Limits = Limits(), warn: Callable[[str], None] = lambda message: None) -> tuple[Clip, Frames]:
    """Read an animated PNG or WebP, or a still picture, from a file that can seek."""
    image = _open_picture(file, limits)
    count = getattr(image, "n_frames", 1)
    limits.check("images", count, f"{count} images")
    limits.check("total", count * image.width * image.height, f"{count} images of {image.width}x{image.height}")
    plays = image.info.get("loop") if count > 1 else None
    loop = None if plays in (None, 1) else plays - 1 if plays else 0
    skipped = 1 if getattr(image, "default_image", False) else 0  # shown by readers without animation only
    clip = Clip(image.width, image.height, name, timebase=MILLISECONDS, loop=loop, frames_hint=count - skipped, warn=warn)
    return clip, _animation(image, clip, skipped, count)


def _animation(image: Any, clip: Clip, first: int, count: int) -> Frames:
    pts = 0
    due = Fraction(0)  # APNG delays need not be whole milliseconds
    for index in range(first, count):
        try:
            image.seek(index)
            picture = _decoded(image)
        except (EOFError, OSError, InputError, SyntaxError) as error:
            if index == first:
                raise InputError(f"the picture is damaged: {error}.") from None
            clip.warn(f"damaged behind image {index - first}: the rest is left out")
            return
        due += Fraction(image.info.get("duration") or STILL_MS).limit_denominator(10**6)
        end = rounded(due)
        yield Frame(index - first, pts, end - pts, picture.mode.lower(), clip.canvas, picture)
        pts = end


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts frame-10 behind frame-9."""
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in re.split(r"(\d+)", name)]


def read_folder(
    folder: str, *, rate: Fraction | None = None, limits: Limits = Limits(), warn: Callable[[str], None] = lambda message: None
) -> tuple[Clip, Frames]:
    """Read a folder of equally large pictures in natural order, each shown for 1 / rate seconds."""
    try:
        names = sorted((name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES) and not name.startswith(".")), key=natural_key)
    except OSError as error:
        raise InputError(f"cannot read the folder: {(error.strerror or str(error)).lower()}.") from None
    if not names:
        raise InputError("the folder holds no pictures.", f"Looked for {' '.join(SUFFIXES)}.")
    limits.check("images", len(names), f"{len(names)} images")
    first = _picture_of(folder, names[0], limits)
    fps = rate or RATE
    clip = Clip(first.width, first.height, folder, timebase=1 / fps, rate=fps, frames_hint=len(names), warn=warn)
    return clip, _pictures(folder, names, clip, limits)


def _picture_of(folder: str, name: str, limits: Limits) -> Any:
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return _decoded(_open_picture(file, limits))
    except OSError as error:
        raise InputError(f"{name}: cannot read: {(error.strerror or str(error)).lower()}.") from None
    except InputError as error:
        raise error.in_file(name) from None


def _pictures(folder: str, names: list[str], clip: Clip, limits: Limits) -> Frames:
    for index, name in enumerate(names):
        picture = _picture_of(folder, name, limits)
        if picture.size != (clip.width, clip.height):
            raise InputError(
                f"{name} is {picture.width}x{picture.height}, but {names[0]} is {clip.width}x{clip.height}.",
                "All pictures of a clip have one size.",
                "Put those of another size into a folder of their own",
            )
        yield Frame(index, index, 1, picture.mode.lower(), clip.canvas, picture)


# --- writing -------------------------------------------------------------------------------------


def _needs_alpha(frame: Frame) -> bool:
    # a GIF (its frames carry palettes) may turn transparent later
    return frame.kind == "rgba" or frame.palette is not None


def split_pattern(path: str) -> tuple[str, str]:
    """The folder, and the name with its one %05d."""
    if path.endswith(("/", os.sep)) or os.path.isdir(path):
        return path, "%05d.png"
    folder, name = os.path.split(path)
    if len(re.findall(r"%", name)) != 1 or re.search(r"%0?\d{0,2}d", name) is None:
        raise UsageError(f"{name} is no pattern for frame names.", "It holds one %d, or %05d for five digits.", "Example: frames/%05d.png")
    if not name.lower().endswith(SUFFIXES):
        raise UsageError(f"{name} does not say which kind of picture.", f"It ends in one of {' '.join(SUFFIXES)}.", "Example: frames/%05d.png")
    return folder or ".", name


def write_folder(clip: Clip, frames: Frames, path: str, *, overwrite: bool = False) -> int:
    """Write each frame as a picture, numbered from 1; all appear together when the last is done.

    path: a folder (then %05d.png), or a pattern. Raises OutputError when a name is taken.
    """
    folder, pattern = split_pattern(path)
    try:
        os.makedirs(folder, exist_ok=True)
        spare = tempfile.mkdtemp(prefix=".vedit-", suffix=".part", dir=folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write: {(error.strerror or str(error)).lower()}.") from None
    try:
        durations = set()
        names: list[str] = []
        for number, frame in enumerate(frames, FIRST_NUMBER):
            name = pattern % number
            if not overwrite and os.path.exists(os.path.join(folder, name)):
                raise OutputError(f"{os.path.join(folder, name)} exists.", "", "Add -y to replace it, or name another folder")
            picture = frame.pixels.convert("RGB") if name.lower().endswith((".jpg", ".jpeg", ".ppm", ".pgm")) else frame.pixels
            picture.save(os.path.join(spare, name))
            names.append(name)
            durations.add(frame.duration)
        if not names:
            raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
        for name in names:
            os.replace(os.path.join(spare, name), os.path.join(folder, name))
    except OSError as error:
        raise OutputError(f"{folder}: cannot write: {(error.strerror or str(error)).lower()}.") from None
    finally:
        shutil.rmtree(spare, ignore_errors=True)
    if len(durations) > 1:
        clip.warn("a folder of pictures does not keep the delays, which vary in this clip")
    return len(names)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _plays(loop: int | None) -> int:
    """How often a clip is played in all, as PNG and WebP count it; 0 is forever."""
    return 1 if loop is None else loop + 1 if loop else 0


def _png_data(picture: Any) -> bytes:
    """The compressed pixels of a picture, out of a PNG that Pillow writes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    png, pos, data = buffer.getvalue(), 8, []
    while pos < len(png):
        (size,) = struct.unpack_from(">I", png, pos)
        if png[pos + 4 : pos + 8] == b"IDAT":
            data.append(png[pos + 8 : pos + 8 + size])
        pos += size + 12
    return b"".join(data)


def _delay(duration: int, timebase: Fraction) -> tuple[int, int]:
    """A delay as the two 16 bit numbers of a frame control chunk."""
    delay = (duration * timebase).limit_denominator(65535)
    while delay.numerator > 65535:
        delay = Fraction(min(65535, rounded(delay)))
    return delay.numerator, delay.denominator


def write_apng(clip: Clip, frames: Frames, stream: BinaryIO) -> int:
    """Write an animated PNG to a stream that can seek: the number of images stands in front."""
    count = sequence = 0
    start = stream.tell()
    mode = "RGB"
    for frame in frames:
        if count == 0:
            mode = "RGBA" if _needs_alpha(frame) else "RGB"
            header = struct.pack(">IIBBBBB", clip.width, clip.height, 8, 6 if mode == "RGBA" else 2, 0, 0, 0)
            stream.write(PNG_MAGIC + _chunk(b"IHDR", header) + _chunk(b"acTL", struct.pack(">II", 0, _plays(clip.loop))))
        rect = clip.canvas if count == 0 else frame.rect.clipped(clip.canvas)
        if rect.is_empty:
            rect = Rect(0, 0, 1, 1)
        part = frame.pixels if rect == clip.canvas else frame.pixels.crop(rect.box)
        data = _png_data(part if part.mode == mode else part.convert(mode))
        control = struct.pack(">IIIIIHHBB", sequence, rect.w, rect.h, rect.x, rect.y, *_delay(frame.duration, clip.timebase), 0, 0)
        stream.write(_chunk(b"fcTL", control))
        stream.write(_chunk(b"IDAT", data) if count == 0 else _chunk(b"fdAT", struct.pack(">I", sequence + 1) + data))
        sequence += 1 if count == 0 else 2
        count += 1
    if not count:
        raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
    stream.write(_chunk(b"IEND", b""))
    end = stream.tell()
    stream.seek(start + 8 + 25)
    stream.write(_chunk(b"acTL", struct.pack(">II", count, _plays(clip.loop))))
    stream.seek(end)
    return count


def write_webp(clip: Clip, frames: Frames, stream: BinaryIO, *, quality: int | None = None) -> int:
    """Write an animated WebP.

    quality: 0 to 100 for the lossy encoder; None is exact for what comes from a GIF, else 90.
    """
    first = next(frames, None)
    if first is None:
        raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
    is_exact = quality is None and first.palette is not None
    durations: list[int] = []  # Pillow looks each up after drawing its frame

    def timed(frame: Frame) -> Any:
        end = rounded((frame.pts + frame.duration) * clip.timebase * 1000)
        durations.append(max(0, end - sum(durations)))
        return frame.pixels

    def rest() -> Iterator[Any]:
        for frame in frames:
            yield timed(frame)

    picture = timed(first)
    options: dict[str, Any] = {"lossless": True, "exact": True, "quality": 70} if is_exact else {"quality": 90 if quality is None else quality}
    picture.save(stream, "WEBP", save_all=True, append_images=rest(), duration=durations, loop=_plays(clip.loop), **options)
    return len(durations)
