"""Frames that wait on disk: for stages that give them in another order than they come."""

from __future__ import annotations

import zlib
from typing import IO, Any

from vedit.media.frames import Frame


class Spool:
    """Frames of any kind in a temporary file, by their place.

    file: opened for reading and writing, and left to the caller to close.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.kept: list[tuple[Frame, int, int, tuple[int, int]]] = []  # facts, and where the pixels are

    def __len__(self) -> int:
        return len(self.kept)

    def add(self, frame: Frame) -> None:
        pixels = frame.pixels
        size = (0, 0) if isinstance(pixels, bytes) else pixels.size
        data = pixels if isinstance(pixels, bytes) else zlib.compress(pixels.tobytes(), 1)
        mode = b"" if isinstance(pixels, bytes) else pixels.mode.encode()
        self.file.seek(0, 2)
        self.kept.append((frame.but(pixels=mode), self.file.tell(), len(data), size))
        self.file.write(data)

    def facts(self, place: int) -> Frame:
        """The frame without its pixels."""
        return self.kept[place][0]

    def __getitem__(self, place: int) -> Frame:
        frame, offset, length, size = self.kept[place]
        self.file.seek(offset)
        return frame.but(pixels=_pixels(frame.pixels.decode(), size, self.file.read(length)))


def _pixels(mode: str, size: tuple[int, int], data: bytes) -> Any:
    if not mode:
        return data
    if mode == "YUV":
        from vedit.media.streams.planes import Planes

        return Planes.frombytes(size, zlib.decompress(data))
    from PIL import Image

    return Image.frombytes(mode, size, zlib.decompress(data))
