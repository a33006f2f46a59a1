"""Frame streams without a container to speak of: YUV4MPEG2 (y4m), and bare rgb24 or rgba.

Both have a constant rate. Frames of a clip with varying durations are therefore repeated or left
out on writing: output frame k is what the clip shows at time k / rate.

y4m holds Y'CbCr. We write C444 (BT.601, full range as `XCOLORRANGE=FULL` says; luma alone as Cmono) and read
C444, C444alpha's opaque part, and Cmono ourselves; subsampled ones are left to ffmpeg. Alpha is composed over
a background, since y4m readers do not show it.
"""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

from vedit.documents import Kind, parse_json, table
from vedit.errors import InputError, UsageError, Warn, silent
from vedit.media.alpha import Ground
from vedit.media.frames import Clip, Frame, Frames
from vedit.media.limits import Limits, frame_rate, frame_size
from vedit.media.streams.bytesource import ByteSource, EndOfStream, NotOurs
from vedit.media.timing import constant_rate

RAW_INFO = Kind(
    "raw info",
    right='It is one line like {"format": "rgb24", "size": "640x480", "rate": "25"}.',
    largest=2**16,
)
MODES = {"rgb24": ("RGB", 3), "rgba": ("RGBA", 4)}
"""Of each raw format: Pillow's mode, and bytes per pixel."""


class RawInfo(NamedTuple):
    """What a raw stream does not say itself: told as one JSON line, or by --size and --rate."""

    width: int
    height: int
    rate: Fraction
    format: str

    def to_json(self) -> str:
        return json.dumps(
            {"format": self.format, "size": f"{self.width}x{self.height}", "rate": str(self.rate)}
        )

    @staticmethod
    def from_json(text: str | bytes, name: str = "-") -> RawInfo:
        """Read what `--raw-info` wrote; raises InputError when it is something else."""
        facts = table(parse_json(text, name, RAW_INFO), name, RAW_INFO)
        try:
            width, height = frame_size(str(facts["size"]))
            return RawInfo(width, height, frame_rate(str(facts["rate"])), str(facts["format"]))
        except KeyError as error:
            raise RAW_INFO.refusal(name, f"it has no {error}") from None
        except ValueError as error:
            raise RAW_INFO.refusal(name, str(error)) from None


# --- y4m -----------------------------------------------------------------------------------------


class Y4mReader:
    """Read y4m with full or no chroma.

    Raises InputError for damage in front, NotOurs for a chroma layout that ffmpeg has to read.
    """

    def __init__(
        self,
        raw: Any,
        name: str = "-",
        start: bytes = b"",
        *,
        limits: Limits = Limits(),
        warn: Warn = silent,
    ) -> None:
        self.source = ByteSource(raw, start)
        self.warn = warn
        try:
            header = self.source.take_line(4096).decode("ascii", "replace").split()
        except EndOfStream:
            raise InputError("the y4m stream ends inside its header.") from None
        if not header or header[0] != "YUV4MPEG2":
            raise InputError("not a y4m stream.")
        facts = {field[0]: field[1:] for field in header[1:] if field[0] != "X"}
        extra = [field for field in header[1:] if field[0] == "X"]
        self.chroma = facts.get("C", "420jpeg")
        self.is_full = "XCOLORRANGE=FULL" in extra
        width, height, rate, aspect = self._facts(facts)
        if self.chroma not in ("444", "mono") or aspect != 1 or facts.get("I", "p") not in ("p", "?"):
            raise NotOurs(self.source.so_far)
        self.source.seen = None
        limits.check("canvas", width * height, f"a frame of {width}x{height}")
        self.clip = Clip(width, height, name, timebase=1 / rate, rate=rate, loop=0, alpha=False, warn=warn)

    @staticmethod
    def _facts(facts: dict[str, str]) -> tuple[int, int, Fraction, Fraction]:
        try:
            width, height = frame_size(f"{facts['W']}x{facts['H']}")
            rate = frame_rate(facts.get("F", "25:1").replace(":", "/"))
            aspect = facts.get("A", "1:1")
            if not re.fullmatch(r"[0-9]{1,9}:[0-9]{1,9}", aspect):
                raise ValueError(f"{aspect[:40]} is not an aspect")
        except (KeyError, ValueError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"the header of the y4m stream is not understood: {why}.") from None
        across, down = map(int, aspect.split(":"))
        return width, height, rate, Fraction(across, down) if across and down else Fraction(1)

    def frames(self) -> Frames:
        clip, source = self.clip, self.source
        planes = 1 if self.chroma == "mono" else 3
        size = clip.width * clip.height
        index = 0
        while not source.at_end():
            try:
                if not source.take_line(4096).startswith(b"FRAME"):
                    raise InputError(f"the y4m stream is damaged behind frame {index}.")
                data = source.take_buffer(planes * size)
            except EndOfStream:
                self.warn(f"the stream ends inside frame {index + 1}, which is left out")
                return
            yield Frame(
                index,
                index,
                1,
                "rgb",
                clip.canvas,
                _from_planes(data, (clip.width, clip.height), planes, self.is_full),
            )
            index += 1


_TO_FULL = [min(255, max(0, round((value - 16) * 255 / 219))) for value in range(256)]
_CHROMA_TO_FULL = [min(255, max(0, round((value - 128) * 255 / 224 + 128))) for value in range(256)]


def _from_planes(data: bytearray, size: tuple[int, int], planes: int, is_full: bool) -> Any:
    from PIL import Image

    area = size[0] * size[1]
    bands = [
        Image.frombuffer("L", size, data[plane * area : (plane + 1) * area], "raw", "L", 0, 1)
        for plane in range(planes)
    ]
    if not is_full:
        bands = [band.point(_TO_FULL if place == 0 else _CHROMA_TO_FULL) for place, band in enumerate(bands)]
    if planes == 1:
        return bands[0].convert("RGB")
    return Image.merge("YCbCr", bands).convert("RGB")


def write_y4m(
    clip: Clip,
    frames: Frames,
    stream: BinaryIO,
    *,
    mono: bool = False,
    rate: Fraction | None = None,
    background: str | None = None,
    flush: bool = False,
) -> int:
    """Write composed frames as y4m, C444 or Cmono; returns how many.

    rate: frames per second, by default the clip's, else chosen from its first delays. background: under what
    is transparent, black by default.
    """
    ground = Ground(clip, "y4m", background, "black")
    count = 0
    write = stream.write
    for frame, fps in constant_rate(clip, frames, rate):
        if count == 0:
            kind = "mono" if mono else "444"
            write(
                f"YUV4MPEG2 W{clip.width} H{clip.height} F{fps.numerator}:{fps.denominator} Ip A1:1 C{kind}"
                " XCOLORRANGE=FULL\n".encode()
            )
        picture = ground.under(frame.pixels)
        write(b"FRAME\n")
        if mono:
            write(pixel_bytes(picture.convert("L")))
        else:
            for band in picture.convert("YCbCr").split():
                write(pixel_bytes(band))
        count += 1
        if flush:
            stream.flush()
    if not count:
        raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
    stream.flush()
    return count


def pixel_bytes(picture: Any) -> bytes:
    """`picture.tobytes()` in one piece: Pillow makes pieces of 64 KiB and joins them, 6 times slower."""
    from PIL import Image

    size = len(picture.getbands()) * picture.width * picture.height
    make = getattr(Image, "_getencoder", None)
    if make is None or size < 1 << 16:
        return picture.tobytes()  # type: ignore[no-any-return]
    picture.load()
    encoder = make(picture.mode, "raw", picture.mode)
    try:
        encoder.setimage(picture.im, (0, 0, *picture.size))
        _, _, data = encoder.encode(size)
    finally:
        encoder.cleanup()
    return data if len(data) == size else picture.tobytes()  # type: ignore[no-any-return]


# --- rgb24, rgba ---------------------------------------------------------------------------------


class RawReader:
    """Read frames that follow one another without any header."""

    def __init__(
        self,
        raw: Any,
        info: RawInfo,
        name: str = "-",
        start: bytes = b"",
        *,
        limits: Limits = Limits(),
        warn: Warn = silent,
    ) -> None:
        if info.format not in MODES:
            raise UsageError(
                f"the raw format {info.format} is unknown.", f"It is one of: {', '.join(MODES)}."
            )
        limits.check("canvas", info.width * info.height, f"a frame of {info.width}x{info.height}")
        self.source = ByteSource(raw, start)
        self.source.seen = None
        self.mode, self.depth = MODES[info.format]
        self.warn = warn
        self.clip = Clip(
            info.width, info.height, name, timebase=1 / info.rate, rate=info.rate, loop=0, warn=warn
        )

    def frames(self) -> Frames:
        from PIL import Image

        clip = self.clip
        size = (clip.width, clip.height)
        index = 0
        while not self.source.at_end():
            try:
                data = self.source.take_buffer(self.depth * clip.width * clip.height)
            except EndOfStream as end:
                self.warn(
                    f"{len(end.rest)} bytes behind frame {index} are not a whole frame; is the size right?"
                )
                break
            image = Image.frombuffer(self.mode, size, data, "raw", self.mode, 0, 1)
            yield Frame(index, index, 1, self.mode.lower(), clip.canvas, image)
            index += 1
        if not index:
            raise InputError(
                "the raw stream holds no whole frame.",
                f"One frame is {self.depth * clip.width * clip.height} bytes.",
            )


def write_raw(
    clip: Clip,
    frames: Frames,
    stream: BinaryIO,
    format: str,
    *,
    rate: Fraction | None = None,
    background: str | None = None,
    tell: Warn = silent,
    flush: bool = False,
) -> int:
    """Write composed frames as bare pixels; returns how many.

    tell: gets the JSON line that says what the stream cannot, before the first frame is written. background:
    as `write_y4m` has it.
    """
    ground = Ground(clip, format, background, "black")
    mode, _ = MODES[format]
    count = 0
    for frame, fps in constant_rate(clip, frames, rate):
        if count == 0:
            tell(RawInfo(clip.width, clip.height, fps, format).to_json())
        pixels = frame.pixels.convert("RGBA") if mode == "RGBA" else ground.under(frame.pixels)
        stream.write(pixel_bytes(pixels))
        count += 1
        if flush:
            stream.flush()
    if not count:
        raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
    stream.flush()
    return count
