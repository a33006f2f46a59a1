"""Open a picture: only the raster formats named here, told by its first bytes, whatever the file is called.

Pillow reads some forty formats, and one of them (PostScript) starts a program. So `open_picture`
is the only place that calls `Image.open`, and it names the one format that the first bytes show.
`decode` then gives what a viewer shows: upright by EXIF, 8 bits per channel, alpha where there is any.
Pillow is imported when a picture is opened, so that looking at first bytes costs nothing.
"""

from __future__ import annotations

import io
import os
import re
import stat
import warnings
from functools import lru_cache
from typing import Any

from vedit.errors import InputError, LimitError, Warn, reason_of, silent
from vedit.media.formats import LOOK
from vedit.media.limits import Limits, allow_in_pillow

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MAGICS = (
    (PNG_MAGIC, "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
READABLE = "PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF, PPM and TGA"
DEEP = 65535  # the largest value of a 16 bit channel
ORIENTATION = 0x0112  # the EXIF tag
UNREADABLE_DEPTH = ("I", "F")  # Pillow's modes of 32 bit numbers


def kind_of(start: bytes) -> str | None:
    """Pillow's name of the format that a file begins as, None when it is not one that is read here."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[4:8] == b"ftyp":
        brands = start[8 : max(8, int.from_bytes(start[:4], "big"))]
        return "AVIF" if brands[:4] in (b"avif", b"avis") or b"avif" in brands or b"avis" in brands else None
    if start[:1] == b"P" and start[1:2] in b"123456" and start[2:3] in b" \t\r\n#" and len(start) > 2:
        return "PPM"
    for magic, kind in MAGICS:
        if start.startswith(magic):
            return kind
    return "TGA" if _is_targa(start) else None


def _is_targa(start: bytes) -> bool:
    """Whether a header is a Targa's: there is no magic, so every field must be one that the format has."""
    if len(start) < 18:
        return False
    has_map, kind, depth, flags = start[1], start[2], start[16], start[17]
    return (
        has_map == (kind in (1, 9))
        and (kind, depth)
        in {
            (1, 8),
            (2, 16),
            (2, 24),
            (2, 32),
            (3, 8),
            (3, 16),
            (9, 8),
            (10, 16),
            (10, 24),
            (10, 32),
            (11, 8),
            (11, 16),
        }
        and (has_map == 1 or start[3:8] == b"\0\0\0\0\0")
        and start[12:14] != b"\0\0"
        and start[14:16] != b"\0\0"
        and flags & 0xC0 == 0
    )


def open_picture(file: Any, limits: Limits = Limits()) -> Any:
    """Open a picture from a file that can seek, without decoding it: a Pillow image file.

    Raises InputError when it is not one of the formats read here or is damaged, LimitError when it
    is larger than `limits.canvas`.
    """
    from PIL import Image

    file.seek(0)
    start = file.read(LOOK)
    kind = kind_of(start)
    if kind is None:
        raise InputError("not a picture that can be read.", f"Pictures are {READABLE}, whatever their names.")
    _prepare(limits)
    try:
        image = Image.open(file, formats=(kind,))
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        count = int(pixels[0]) if pixels else 2 * limits.canvas
        limits.check("canvas", count, f"a picture of {count} pixels")
        raise _damaged(error) from None
    except Exception as error:  # Pillow's readers raise whatever they stumble over
        raise _damaged(error) from None
    limits.check("canvas", image.width * image.height, f"a picture of {image.width}x{image.height}")
    if kind == "PNG":
        _scale_key(image, start[24])
    return image


def _prepare(limits: Limits) -> None:
    """Let the limits here be the only ones, and keep Pillow's warnings, which tell of tags, off the terminal.

    Both are settings of the process: pictures are read on several threads at once.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    allow_in_pillow(limits.canvas or None)


def _damaged(error: Exception) -> InputError | LimitError:
    if isinstance(error, MemoryError):
        return LimitError("the picture needs more memory than there is.")
    return InputError(f"not a picture that can be read: {_words(error)}.")


def _words(error: Exception) -> str:
    words = str(error) or type(error).__name__
    return "damaged" if "cannot identify image file" in words else words.splitlines()[0].rstrip(".")


def _scale_key(image: Any, depth: int) -> None:
    # Pillow scales the pixels of such a PNG to 8 bits, but leaves the "transparent" colour as the file has it
    key = image.info.get("transparency")
    if image.mode == "L" and depth in (2, 4) and isinstance(key, int):
        image.info["transparency"] = key * 255 // ((1 << depth) - 1)
    elif image.mode == "RGB" and depth == 16 and isinstance(key, tuple):
        image.info["transparency"] = tuple(part >> 8 for part in key)


# --- decoding ------------------------------------------------------------------------------------


def decode(image: Any, warn: Warn | None = None) -> Any:
    """The current image of an opened file as a viewer shows it: "RGB" or "RGBA", upright.

    warn: what a damaged image still gives is kept, and this is told; None refuses it. Raises InputError when
    nothing can be decoded, or when its numbers cannot be shown (32 bit and floating-point pixels), LimitError
    when there is not enough memory.
    """
    whole = image
    try:
        image.load()
    except Exception as error:  # as above
        if warn is None or isinstance(error, MemoryError):
            raise _damaged(error) from None
        whole = _rest_of(image, error)
        warn(f"the picture is damaged ({_words(error)}); what could be decoded is kept")
    try:
        return turned(_shown(whole), orientation(image))
    except (InputError, LimitError):
        raise
    except Exception as error:  # as above
        raise _damaged(error) from None


def _rest_of(image: Any, error: Exception) -> Any:
    """What was decoded before the error, which is raised again when that is nothing."""
    core = getattr(image, "_im", None)
    if core is None or core.size != image.size or core.getbbox() is None:
        raise _damaged(error) from None
    return image._new(core)


def _shown(image: Any) -> Any:
    """Pixels of any mode as "RGB" or "RGBA" with 8 bits per channel."""
    if image.mode.startswith("I;16") or image.mode in UNREADABLE_DEPTH:
        return _from_deep_grey(image)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _from_deep_grey(image: Any) -> Any:
    top, is_inverted = _range_of(image)
    levels = image.convert("I")
    grey = levels.point(_to_eight_bits(top, is_inverted), "L")
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return grey.convert("RGB")
    grey.putalpha(levels.point([0 if level == key else 255 for level in range(DEEP + 1)], "L"))
    return grey.convert("RGBA")


def _range_of(image: Any) -> tuple[int, bool]:
    """The value that is white, and whether it is black instead; raises InputError where neither is known."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(258, (16,))
    depth = bits[0] if isinstance(bits, tuple) and bits else bits
    if image.mode == "F" or (image.mode == "I" and tags):
        what = "floating-point numbers" if image.mode == "F" else "numbers with a sign or of 32 bits"
        raise InputError(
            f"its pixels are {what}: which of them is white, the file does not tell.",
            "",
            "Scale them to 8 or 16 bits per channel first",
        )
    return (1 << depth) - 1 if isinstance(depth, int) and 8 < depth <= 16 else DEEP, tags.get(262) == 0


@lru_cache(maxsize=4)
def _to_eight_bits(top: int, is_inverted: bool) -> list[int]:
    levels = [min(255, (value * 255 + top // 2) // top) for value in range(DEEP + 1)]
    return [255 - level for level in levels] if is_inverted else levels


# --- orientation ---------------------------------------------------------------------------------


def orientation(image: Any) -> int:
    """How a picture is to be turned, 1 to 8 as EXIF counts; 1 where it does not say or cannot be read."""
    try:
        return _checked(image.getexif().get(ORIENTATION))
    except Exception:  # damage of a tag does not cost the picture
        return 1


def orientation_of(exif: bytes) -> int:
    """As `orientation`, from the bytes of an EXIF block."""
    from PIL import Image

    block = Image.Exif()
    try:
        block.load(exif)
        return _checked(block.get(ORIENTATION))
    except Exception:  # as above
        return 1


def _checked(value: Any) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turned(picture: Any, way: int) -> Any:
    """A picture turned upright; `way` is an EXIF orientation."""
    from PIL.Image import Transpose

    ways = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return picture.transpose(ways[way]) if way in ways else picture


# --- files ---------------------------------------------------------------------------------------


def from_bytes(data: bytes, limits: Limits = Limits()) -> Any:
    """As `open_picture`, from a file in memory."""
    return open_picture(io.BytesIO(data), limits)


def read_file(path: str, limits: Limits = Limits(), warn: Warn = silent) -> Any:
    """Read the first picture of a file by its name, as `decode` gives it.

    Raises InputError, also for a pipe or a device, which would be waited for; messages do not name the file.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError("not a file.", "A picture is read from a regular file.")
        with open(path, "rb") as file:
            image = open_picture(file, limits)
            if (
                getattr(image, "is_animated", False) and image.format != "MPO"
            ):  # a photo with a depth or gain map behind it
                warn("holds more than one image: the first is taken")
            return decode(image, warn)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise InputError(f"cannot read: {reason_of(error)}.") from None
