"""Pictures of film as they are stored: 4:2:0 planes, so that cutting and turning costs no colour.

A film that is only cut, turned, mirrored or retimed on its way to film stays in planes: luma and
chroma samples are moved, as ffmpeg's own filters do, and never become RGB. The rule for chroma,
which has one sample for two rows and two columns:

    even offset    its samples are kept as they are
    odd offset     luma is exact; chroma is moved by half a sample, by bicubic interpolation
    odd size       the last chroma row or column stands for one row or column of luma
"""

from __future__ import annotations

from typing import Any, cast

from PIL import Image

MODE = "YUV"


def _half(side: int) -> int:
    return (side + 1) // 2


def byte_count(width: int, height: int) -> int:
    """The bytes of a picture."""
    return width * height + 2 * _half(width) * _half(height)


class Planes:
    """A 4:2:0 picture with the part of Pillow's interface that stages and writers use.

    y: luma, u, v: chroma of half the size, rounded up; Pillow images of mode "L".
    """

    __slots__ = ("u", "v", "y")
    mode = MODE

    def __init__(self, y: Any, u: Any, v: Any) -> None:
        self.y, self.u, self.v = y, u, v

    @classmethod
    def frombytes(cls, size: tuple[int, int], data: Any) -> Planes:
        """Luma, then the two chroma planes, row by row: what ffmpeg calls yuv420p."""
        (width, height), view = size, cast(Any, memoryview(data))
        whole, small = width * height, (_half(width), _half(height))
        part = small[0] * small[1]
        y = Image.frombuffer("L", size, view[:whole], "raw", "L", 0, 1)
        u, v = (
            Image.frombuffer("L", small, view[at : at + part], "raw", "L", 0, 1)
            for at in (whole, whole + part)
        )
        return cls(y, u, v)

    @property
    def size(self) -> tuple[int, int]:
        size: tuple[int, int] = self.y.size
        return size

    def tobytes(self) -> bytes:
        from vedit.media.streams.raw import pixel_bytes

        return b"".join(pixel_bytes(plane) for plane in (self.y, self.u, self.v))

    def crop(self, box: tuple[int, int, int, int]) -> Planes:
        """The part inside `box`, which lies inside the picture."""
        left, top, right, bottom = box
        size = _half(right - left), _half(bottom - top)
        return Planes(self.y.crop(box), *(_chroma(plane, left, top, size) for plane in (self.u, self.v)))

    def transpose(self, method: int) -> Planes:
        return Planes(*(plane.transpose(method) for plane in (self.y, self.u, self.v)))

    def made_even(self, size: tuple[int, int], how: str) -> Planes:
        """The picture at an even size, see `encode.WriteOptions.even`; chroma fits it already, or loses its
        last samples.
        """
        if size == self.size:
            return self
        small = size[0] // 2, size[1] // 2
        if how == "scale":
            planes = ((self.y, size), (self.u, small), (self.v, small))
            return Planes(*(plane.resize(wanted, Image.Resampling.BICUBIC) for plane, wanted in planes))
        return Planes(even(self.y, size, how), *(even(plane, small, how) for plane in (self.u, self.v)))


def _chroma(plane: Any, left: int, top: int, size: tuple[int, int]) -> Any:
    if left % 2 == 0 and top % 2 == 0:
        return plane.crop((left // 2, top // 2, left // 2 + size[0], top // 2 + size[1]))
    # Pillow leaves the outermost half sample of a transform black: repeat the border first
    width, height = plane.size
    grown = plane.resize((width + 4, height + 4), Image.Resampling.NEAREST, (0, 0, width, height))
    grown.paste(plane.crop((0, 0, 1, height)).resize((2, height)), (0, 2))
    grown.paste(plane.crop((width - 1, 0, width, height)).resize((2, height)), (width + 2, 2))
    grown.paste(plane, (2, 2))
    grown.paste(grown.crop((0, 2, width + 4, 3)).resize((width + 4, 2)), (0, 0))
    grown.paste(grown.crop((0, height + 1, width + 4, height + 2)).resize((width + 4, 2)), (0, height + 2))
    return grown.transform(
        size, Image.Transform.AFFINE, (1, 0, left / 2 + 2, 0, 1, top / 2 + 2), Image.Resampling.BICUBIC
    )


def even(picture: Any, size: tuple[int, int], how: str) -> Any:
    """The picture at an even size: last row and column repeated, left out, or all of it stretched."""
    if picture.size == size:
        return picture
    if how == "scale":
        return picture.resize(size, Image.Resampling.BICUBIC)
    width, height = picture.size
    grown = picture.crop((0, 0, *size))
    if size[0] > width:
        grown.paste(picture.crop((width - 1, 0, width, height)), (width, 0))
    if size[1] > height:
        grown.paste(grown.crop((0, height - 1, size[0], height)), (0, height))
    return grown
