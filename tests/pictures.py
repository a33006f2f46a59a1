"""Pictures for the tests: one of every format that is read, made by Pillow, and PNGs written byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tests.media.clips import noise

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The file that Pillow makes of a picture."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, depth: int, colour: int) -> bytes:
    return PNG_MAGIC + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def packed(rows: Sequence[bytes]) -> bytes:
    return zlib.compress(b"".join(b"\0" + row for row in rows))


def png(width: int, height: int, depth: int, colour: int, rows: Sequence[bytes], extra: bytes = b"") -> bytes:
    """A PNG of rows that are packed already, with `extra` chunks in front of them."""
    return header(width, height, depth, colour) + extra + chunk(b"IDAT", packed(rows)) + chunk(b"IEND", b"")


def tiff(
    width: int, height: int, bits: int, photometric: int, data: bytes, *, page: int = 0, order: str = "<"
) -> bytes:
    """A TIFF of one uncompressed grey page. photometric: 0 white is zero, 1 black is zero. page:
    NewSubfileType.
    """
    tags = [
        (254, 4, page),
        (256, 3, width),
        (257, 3, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
    ]
    tags += [(273, 4, 0), (277, 3, 1), (278, 3, height), (279, 4, len(data))]
    place = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, kind, value in tags:
        content = place if tag == 273 else value
        entries += struct.pack(order + "HHI", tag, kind, 1) + struct.pack(
            order + ("H2x" if kind == 3 else "I"), content
        )
    return (
        (b"II" if order == "<" else b"MM")
        + struct.pack(order + "HIH", 42, 8, len(tags))
        + entries
        + bytes(4)
        + data
    )


def samples() -> dict[str, list[bytes]]:
    """Files of every format that is read, some of each kind that takes another way through a decoder."""
    rgb, rgba = [noise(24, 20, seed) for seed in range(4)], [noise(24, 20, seed, "RGBA") for seed in range(3)]
    grey = Image.fromarray((np.arange(480, dtype=np.uint16) * 136).reshape(20, 24))
    exif = Image.Exif()
    exif[0x0112] = 6
    moving = {"save_all": True, "duration": [40, 70, 100]}
    return {
        "png": [
            saved(rgb[0], "PNG", exif=exif),
            saved(rgba[0], "PNG"),
            saved(grey, "PNG"),
            saved(rgb[0].quantize(7), "PNG", transparency=2),
        ],
        "apng": [
            saved(rgba[0], "PNG", append_images=rgba[1:], disposal=[0, 1, 2], blend=1, **moving),
            saved(rgb[0], "PNG", append_images=rgb[1:3], default_image=False, loop=3, **moving),
        ],
        "webp": [
            saved(rgb[0], "WEBP"),
            saved(rgba[0], "WEBP", append_images=rgba[1:], **moving),
            saved(rgba[0], "WEBP", lossless=True, exif=exif),
        ],
        "avif": [
            saved(rgb[0], "AVIF", speed=10),
            saved(rgba[0], "AVIF", append_images=rgba[1:], speed=10, **moving),
        ],
        "jpg": [
            saved(rgb[0], "JPEG", exif=exif),
            saved(rgb[1].convert("CMYK"), "JPEG"),
            saved(rgb[2].convert("L"), "JPEG", progressive=True),
        ],
        "bmp": [saved(rgb[0], "BMP"), saved(rgb[0].quantize(16), "BMP"), saved(rgba[0], "BMP")],
        "tif": [
            saved(rgb[0], "TIFF", save_all=True, append_images=rgb[1:]),
            saved(grey, "TIFF", exif=exif),
            saved(rgb[0], "TIFF", compression="tiff_lzw"),
            saved(rgb[0], "TIFF", compression="jpeg"),
            tiff(24, 20, 16, 0, bytes(960)),
        ],
        "ppm": [saved(rgb[0], "PPM"), b"P5 24 20 1023\n" + bytes(960), b"P3 2 1 255\n1 2 3 4 5 6\n"],
        "tga": [saved(rgba[0], "TGA"), saved(rgb[0], "TGA", compression="tga_rle")],
    }
