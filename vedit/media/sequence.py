"""Pictures as clips: folders of frames, animated PNG, WebP and AVIF, and stills.

Everything is read one frame at a time, see `pictures` and `apng`. Animated PNG is written by us, since Pillow
keeps all frames in memory and merges equal ones; each frame is an ordinary PNG of Pillow's, its
data re-labelled, and only the part that changed. WebP is written by Pillow's encoder, which
streams in, writes at the end, and may merge equal frames (their time is kept).

Source: PNG specification, third edition (acTL, fcTL, fdAT); WebP container specification.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from math import lcm
from typing import Any, BinaryIO

from vedit.errors import InputError, LimitError, OutputError, UsageError, Warn, option, reason_of, silent
from vedit.media import apng
from vedit.media.alpha import Ground
from vedit.media.apng import MILLISECONDS, STILL_MS, chunk
from vedit.media.atomic import atomic_path, make_folder
from vedit.media.formats import STILLS, has_wildcard, is_pattern
from vedit.media.frames import Clip, Frame, Frames, Rect
from vedit.media.limits import Limits
from vedit.media.memory import check_whole
from vedit.media.options import ReadOptions
from vedit.media.pictures import PNG_MAGIC, decode, open_picture, read_file
from vedit.media.timing import rounded

SUFFIXES = STILLS
OPAQUE_STILLS = (".jpg", ".jpeg", ".ppm", ".pgm")
RATE = Fraction(25)  # frames per second of a folder, unless told
FIRST_NUMBER = 1
DIGITS = 18  # of a number in the name of a picture
WEBP_BYTES = (
    50  # of memory per pixel: measured at 4 million pixels, lossy 34, lossless up to 49 (frames of noise)
)


# --- reading -------------------------------------------------------------------------------------


def read_picture(
    file: BinaryIO,
    name: str,
    *,
    limits: Limits = Limits(),
    warn: Warn = silent,
    still_s: Fraction | None = None,
) -> tuple[Clip, Frames]:
    """Read an animated PNG, WebP or AVIF, a TIFF's pages, or a still picture, from a file that can seek.

    still_s: how long a still picture is shown, a tenth of a second by default.
    """
    if (layout := apng.layout_of(file)) is not None:
        return apng.read_apng(file, layout, name, limits=limits, warn=warn)
    size = file.seek(0, 2)
    image = open_picture(file, limits)
    images = _images_of(image, warn)
    count = len(images)
    limits.check("images", count, f"{count} images")
    limits.check(
        "total", count * image.width * image.height, f"{count} images of {image.width}x{image.height}"
    )
    limits.check_expansion(count * image.width * image.height, size)
    image.seek(images[0])
    first = decode(image, warn)
    loop = _loop_of(image, file) if count > 1 else None
    clip = Clip(
        first.width, first.height, name, timebase=MILLISECONDS, loop=loop, frames_hint=count, warn=warn
    )
    if count == 1 and still_s:
        clip.timebase = _base_of(still_s)
        return clip, iter((_still(clip, first, rounded(still_s / clip.timebase)),))
    return clip, _animation(image, clip, images, first)


def _images_of(image: Any, warn: Warn) -> list[int]:
    """Which images of an opened file are frames: of a photo with a depth or gain map behind it, only the
    first.
    """
    if image.format not in ("WEBP", "AVIF", "TIFF"):
        return [0]
    if image.format != "TIFF":
        return list(range(image.n_frames))
    pages, number = [], 0
    try:
        while True:
            image.seek(number)
            if not _is_beside(image):
                pages.append(number)
            number += 1
    except EOFError:
        return pages or [0]
    except Exception as error:  # Pillow's reader raises whatever it stumbles over
        warn(f"damaged behind image {number} ({str(error) or type(error).__name__}): the rest is left out")
        return pages or [0]


def _is_beside(image: Any) -> bool:
    """Whether a TIFF page is a small version or a mask of another page."""
    kind = image.tag_v2.get(254)
    return isinstance(kind, int) and bool(kind & 0b101)


def _loop_of(image: Any, file: BinaryIO) -> int | None:
    """How often an animation repeats, as `Clip.loop` counts."""
    if image.format == "AVIF":
        from vedit.media.avif import avif_loop

        return avif_loop(file)
    plays = image.info.get("loop", 0)  # pages of a TIFF cannot say
    return None if plays == 1 else plays - 1 if plays else 0


def _animation(image: Any, clip: Clip, images: list[int], first: Any) -> Frames:
    pts = 0
    for index, number in enumerate(images):
        try:
            if index:
                image.seek(number)
            picture = decode(image) if index else first
        except (InputError, LimitError):
            clip.warn(f"damaged behind image {index}: the rest is left out")
            return
        except Exception as error:  # as in `_images_of`
            clip.warn(
                f"damaged behind image {index} ({str(error) or type(error).__name__}): the rest is left out"
            )
            return
        if picture.size != (clip.width, clip.height):
            raise InputError(
                f"image {index + 1} is {picture.width}x{picture.height}, but the first is"
                f" {clip.width}x{clip.height}.",
                "All images of a clip have one size.",
            )
        end = _end_of(image, pts) if len(images) > 1 else STILL_MS
        yield Frame(index, pts, end - pts, picture.mode.lower(), clip.canvas, picture)
        pts = end


def _end_of(image: Any, pts: int) -> int:
    """When the image that was decoded last ends: rounded in the file's time, so that errors do not add up."""
    start, lasts = image.info.get("timestamp", pts), image.info.get("duration") or STILL_MS
    is_timed = isinstance(start, int) and isinstance(lasts, int) and lasts > 0
    return max(pts, start) + lasts if is_timed else pts + STILL_MS


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts frame-10 behind frame-9."""
    parts = enumerate(
        re.split(r"([0-9]+)", name)
    )  # words and numbers by turns; a number of any length by its digits
    return [
        (len(part.lstrip("0")), part.lstrip("0")) if place % 2 else (-1, part.lower())
        for place, part in parts
    ]


def listed(name: str, read: ReadOptions = ReadOptions(), warn: Warn = silent) -> list[str]:
    """The files of the pictures that an input stands for, in their order; raises InputError for none.

    warn: told of numbers that a pattern leaves out.
    """
    if read.pictures:
        return list(read.pictures)
    if os.path.isdir(name):
        found = _folder_pictures(name)
    elif has_wildcard(name) and not is_pattern(name):
        found = _globbed(name)
    else:
        found = _numbered(name, warn)
    return found


def _folder_pictures(folder: str) -> list[str]:
    names = [entry for entry in _entries(folder) if entry.lower().endswith(SUFFIXES)]
    if not names:
        raise InputError("the folder holds no pictures.", f"Looked for {' '.join(SUFFIXES)}.")
    return [os.path.join(folder, entry) for entry in sorted(names, key=natural_key)]


def _entries(folder: str) -> list[str]:
    """The names in a folder, less hidden ones."""
    try:
        return [entry for entry in os.listdir(folder) if not entry.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot read the folder: {reason_of(error)}.") from None


def _globbed(pattern: str) -> list[str]:
    import glob

    found = sorted((path for path in glob.glob(pattern) if os.path.isfile(path)), key=natural_key)
    if not found:
        raise InputError(f"no picture is named {pattern}.")
    return found


def _numbered(pattern: str, warn: Warn) -> list[str]:
    """The files of a pattern such as img-%03d.png, from the lowest number on."""
    folder, name = split_pattern(pattern)
    before, digits, behind = re.split(r"%(0?\d*)d", name)
    width = int(digits or 0)
    counts = {}
    for entry in _entries(folder):
        middle = entry[len(before) : len(entry) - len(behind)]
        is_named = entry.startswith(before) and entry.endswith(behind) and middle.isdecimal()
        if is_named and middle.isascii() and len(middle) <= DIGITS and f"{int(middle):0{width}}" == middle:
            counts[int(middle)] = entry
    if not counts:
        example = name.replace(f"%{digits}d", f"{FIRST_NUMBER:0{width}}")
        raise InputError(
            f"no picture is named {pattern}.", f"The first would be {example}, or have any number."
        )
    numbers = sorted(counts)
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing:
        gap = next(number for number in numbers if number + 1 not in counts) + 1
        warn(
            f"{missing} number{'s have' if missing > 1 else ' has'} no picture between {numbers[0]} and"
            f" {numbers[-1]}, the first being {gap}:"
            " those on both sides follow one another"
        )
    return [os.path.join(folder, counts[number]) for number in numbers]


def read_pictures(name: str, read: ReadOptions = ReadOptions(), warn: Warn = silent) -> tuple[Clip, Frames]:
    """Read equally large pictures, each shown for 1 / `read.rate` seconds, a single one for `read.still_s`.

    name: see `listed`.
    """
    files = listed(name, read, warn)
    read.limits.check("images", len(files), f"{len(files)} images")
    first = _picture_of(files[0], read.limits, warn)
    fps = read.rate or RATE
    clip = Clip(
        first.width,
        first.height,
        name,
        timebase=1 / fps,
        rate=fps,
        loop=0,
        frames_hint=len(files),
        warn=warn,
    )
    if len(files) == 1 and read.still_s:
        base = _base_of(read.still_s)
        clip.timebase, clip.rate, clip.frames_hint = base, None, 1
        return clip, iter((_still(clip, first, rounded(read.still_s / base)),))
    return clip, _pictures(files, clip, read.limits)


def _base_of(length_s: Fraction) -> Fraction:
    """Ticks that a still picture's time is a whole number of."""
    return Fraction(1, lcm(MILLISECONDS.denominator, length_s.denominator))


def _still(clip: Clip, picture: Any, duration: int) -> Frame:
    return Frame(0, 0, duration, picture.mode.lower(), clip.canvas, picture)


def _picture_of(file: str, limits: Limits, warn: Warn) -> Any:
    name = os.path.basename(file)
    try:
        return read_file(file, limits, lambda message: warn(f"{name}: {message}"))
    except (InputError, LimitError) as error:
        raise error.in_file(name) from None


def _pictures(files: list[str], clip: Clip, limits: Limits) -> Frames:
    for index, file in enumerate(files):
        picture = _picture_of(file, limits, clip.warn if index else silent)  # the first has been told of
        if picture.size != (clip.width, clip.height):
            raise InputError(
                f"{os.path.basename(file)} is {picture.width}x{picture.height}, but"
                f" {os.path.basename(files[0])} is {clip.width}x{clip.height}.",
                "All pictures of a clip have one size.",
                "Scale them to one size first, or name those of another size in a call of their own",
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
        raise UsageError(
            f"{name} is no pattern for frame names.",
            "It holds one %d, or %05d for five digits.",
            "Example: frames/%05d.png",
        )
    if not name.lower().endswith(SUFFIXES):
        raise UsageError(
            f"{name} does not say which kind of picture.",
            f"It ends in one of {' '.join(SUFFIXES)}.",
            "Example: frames/%05d.png",
        )
    return folder or ".", name


def write_folder(
    clip: Clip, frames: Frames, path: str, *, overwrite: bool = False, background: str | None = None
) -> int:
    """Write each frame as a picture, numbered from 1; all appear together when the last is done.

    path: a folder (then %05d.png), or a pattern. background: under what is transparent, in pictures that have
    no room for that. Raises OutputError when a name is taken.
    """
    folder, pattern = split_pattern(path)
    suffix = os.path.splitext(pattern)[1].lower()
    ground = Ground(clip, suffix.removeprefix("."), background)
    lays_flat = suffix in OPAQUE_STILLS or background is not None
    make_folder(os.path.dirname(os.path.realpath(folder)))
    durations = set()
    names: list[str] = []
    with atomic_path(folder, is_folder=True) as spare:
        for number, frame in enumerate(frames, FIRST_NUMBER):
            name = pattern % number
            if not overwrite and os.path.exists(os.path.join(folder, name)):
                raise OutputError(
                    f"{os.path.join(folder, name)} exists.",
                    "",
                    f"Add {option('overwrite', True)} to replace it, or name another folder",
                )
            picture = ground.under(frame.pixels) if lays_flat else frame.pixels
            picture.save(os.path.join(spare, name))
            names.append(name)
            durations.add(frame.duration)
        if not names:
            raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
    if len(durations) > 1:
        clip.warn("a folder of pictures does not keep the delays, which vary in this clip")
    return len(names)


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
    mode, is_told = "RGB", False
    for frame in frames:
        if count == 0:
            mode = "RGBA" if _needs_alpha(frame) else "RGB"
            header = struct.pack(">IIBBBBB", clip.width, clip.height, 8, 6 if mode == "RGBA" else 2, 0, 0, 0)
            stream.write(
                PNG_MAGIC + chunk(b"IHDR", header) + chunk(b"acTL", struct.pack(">II", 0, _plays(clip.loop)))
            )
        rect = clip.canvas if count == 0 else frame.rect.clipped(clip.canvas)
        if rect.is_empty:
            rect = Rect(0, 0, 1, 1)
        part = frame.pixels if rect == clip.canvas else frame.pixels.crop(rect.box)
        if (
            part.mode == "RGBA"
            and mode == "RGB"
            and not is_told
            and part.getchannel("A").getextrema()[0] < 255
        ):
            clip.warn(
                f"image {count + 1} is transparent in part, and the first has no transparency: it is not kept"
            )
            is_told = True
        data = _png_data(part if part.mode == mode else part.convert(mode))
        control = struct.pack(
            ">IIIIIHHBB",
            sequence,
            rect.w,
            rect.h,
            rect.x,
            rect.y,
            *_delay(frame.duration, clip.timebase),
            0,
            0,
        )
        stream.write(chunk(b"fcTL", control))
        stream.write(
            chunk(b"IDAT", data) if count == 0 else chunk(b"fdAT", struct.pack(">I", sequence + 1) + data)
        )
        sequence += 1 if count == 0 else 2
        count += 1
    if not count:
        raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
    stream.write(chunk(b"IEND", b""))
    end = stream.tell()
    stream.seek(start + 8 + 25)
    stream.write(chunk(b"acTL", struct.pack(">II", count, _plays(clip.loop))))
    stream.seek(end)
    return count


def write_webp(clip: Clip, frames: Frames, stream: BinaryIO, *, quality: int | None = None) -> int:
    """Write an animated WebP.

    quality: 0 to 100 for the lossy encoder; None is exact for what comes from a GIF, else 90.
    """
    needed, what = clip.width * clip.height * WEBP_BYTES, f"writing a WebP of {clip.width}x{clip.height}"
    instead = f"Make it smaller ({option('width')}), or write an animated PNG (.apng)"
    check_whole(needed, what, clip.limits, instead)
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
    plays = min(_plays(clip.loop), 65535)  # the field has 16 bits
    options: dict[str, Any] = (
        {"lossless": True, "exact": True, "quality": 70}
        if is_exact
        else {"quality": 90 if quality is None else quality}
    )
    picture.save(
        stream, "WEBP", save_all=True, append_images=rest(), duration=durations, loop=plays, **options
    )
    return len(durations)
