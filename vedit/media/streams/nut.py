"""NUT, the container that decoded frames travel in between programs: exact pixels, times, sound.

What we write is a plain NUT stream that ffmpeg reads: rgb24 or rgba video, PCM sound, a sync point before
every frame. NUT has no durations, so two facts travel in info packets with integer values, which other
readers skip by the rules of the format:

    vedit.loop     in front: how often the clip repeats, 0 forever; the text "once" for never
    vedit.end      behind the last frame: the tick at which it ends

Source: NUT Open Container Format 20080514 (nut.txt) and what libavformat 59 to 63 accepts.
Deviation: the index at the end, which is optional, is neither written nor read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple, Protocol

from vedit.errors import InputError, Warn, silent
from vedit.media.frames import Audio, Clip, Frame, Frames
from vedit.media.limits import Limits, frame_rate, frame_size
from vedit.media.streams.bytesource import ByteSource, EndOfStream, NotOurs
from vedit.media.streams.raw import pixel_bytes

MAGIC = b"nut/multimedia container\0"
MAIN, STREAM, SYNC, INFO, INDEX = (
    bytes.fromhex(code)
    for code in (
        "4e4d7a561f5f04ad",
        "4e5311405bf2f9db",
        "4e4be4adeeca4569",
        "4e49ab68b596ba78",
        "4e58dd672f23e64e",
    )
)
KEY, EOR, CODED_PTS, STREAM_ID, SIZE_MSB, CHECKSUM, RESERVED, SIDE_DATA = 1, 2, 8, 16, 32, 64, 128, 256
HEADER_IDX, MATCH_TIME, CODED, INVALID = 1024, 2048, 4096, 8192
MAX_DISTANCE = 65536
PTS_SHIFT = 7  # time stamps are written whole, so the size of the short form does not matter
PIXELS = {
    b"RGB\x18": ("RGB", "RGB"),
    b"RGBA": ("RGBA", "RGBA"),
    b"BGR\x18": ("RGB", "BGR"),
    b"BGRA": ("RGBA", "BGRA"),
}
I420 = b"I420"
PCM = b"PSD\x10"  # 16 bit little endian
LONGEST_HEADER = 1 << 20
LONGEST_START = 1 << 21  # bytes of all headers in front
LONGEST_NUMBER = 9  # bytes of a number: 63 bits
LONGEST_S = 10**9  # no clip has a time stamp behind thirty years
MOST_RATE, MOST_CHANNELS = 10**6, 64
PACKET_BYTES = 300  # of memory for a packet of sound besides its own bytes
DAMAGES = (IndexError, ValueError, ZeroDivisionError, OverflowError)  # what reading nonsense ends with
ONCE = "once"


class Sound:
    """PCM that arrives between the frames: 16 bit little endian, channels interleaved.

    The reader appends to `packets` while frames are drawn, but only when somebody has set
    `is_wanted`; who writes the clip takes them out before each frame.
    packets: (time of the first sample in seconds, bytes).
    """

    def __init__(self, rate: int, channels: int) -> None:
        self.rate, self.channels = rate, channels
        self.packets: deque[tuple[Fraction, bytes]] = deque()
        self.is_wanted = False


class SoundSource(Protocol):
    """PCM in time order, for the writer: what is to be heard before `seconds`."""

    rate: int
    channels: int

    def until(self, seconds: Fraction | None) -> Iterable[tuple[Fraction, bytes]]: ...


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        crc = value << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x104C11DB7 if crc & 0x80000000 else 0)
        table.append(crc)
    return table


_CRC = _crc_table()


def crc(data: bytes) -> int:
    """The checksum of NUT packets: polynomial 0x04C11DB7, most significant bit first, from 0."""
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _CRC[value >> 24 ^ byte]
    return value


def _v(value: int) -> bytes:
    """A number of any length, 7 bits a byte, most significant first."""
    out = [value & 127]
    while value := value >> 7:
        out.append(value & 127 | 128)
    return bytes(reversed(out))


def _s(value: int) -> bytes:
    """A signed number: 0, 1, -1, 2, ... become 0, 1, 2, 3, ..."""
    return _v(2 * value - 1 if value > 0 else -2 * value)


def _packet(code: bytes, body: bytes) -> bytes:
    size = _v(len(body) + 4)
    guard = crc(code + size).to_bytes(4, "big") if len(body) + 4 > 4096 else b""
    return code + size + guard + body + crc(body).to_bytes(4, "big")


# --- writing -------------------------------------------------------------------------------------


class NutWriter:
    """Write frames, and sound between them, as NUT.

    mode: "RGB" or "RGBA". timebase: of the frames' pts. `write_frame` and `finish` are called in order; every
    call leaves the stream at a packet's end.
    """

    def __init__(self, stream: BinaryIO, clip: Clip, mode: str, sound: SoundSource | None = None) -> None:
        self.write = stream.write
        self.mode = mode
        self.sound = sound
        self.offset = 0
        self.synced = [0, 0]  # where the last sync point with a frame of each stream is
        self.bases = [clip.timebase] + (
            [Fraction(1, sound.rate)] if sound and Fraction(1, sound.rate) != clip.timebase else []
        )
        self.timebase = clip.timebase
        self._put(MAGIC + _packet(MAIN, self._main_header()))
        code = b"RGB\x18" if mode == "RGB" else b"RGBA"
        self._put(
            _packet(
                STREAM,
                self._stream_header(0, 0, code, clip.timebase)
                + _v(clip.width)
                + _v(clip.height)
                + _v(1)
                + _v(1)
                + _v(0),
            )
        )
        if sound:
            self._put(
                _packet(
                    STREAM,
                    self._stream_header(1, 1, PCM, Fraction(1, sound.rate))
                    + _v(sound.rate)
                    + _v(1)
                    + _v(sound.channels),
                )
            )
        self._put(_packet(INFO, _info(0, {"vedit.loop": ONCE if clip.loop is None else clip.loop})))
        if clip.rate:
            self._put(
                _packet(INFO, _info(1, {"r_frame_rate": f"{clip.rate.numerator}/{clip.rate.denominator}"}))
            )

    def _put(self, data: bytes) -> None:
        self.write(data)
        self.offset += len(data)

    def _main_header(self) -> bytes:
        """One frame code that spells everything out; the few bytes are nothing beside raw pixels."""
        head = _v(3) + _v(2 if self.sound else 1) + _v(MAX_DISTANCE) + _v(len(self.bases))
        head += b"".join(_v(base.numerator) + _v(base.denominator) for base in self.bases)
        for flags, count in ((INVALID, 1), (CODED, 1), (INVALID, 253)):  # "N" is not counted
            head += _v(flags) + _v(6) + _s(0) + _v(1) + _v(0) + _v(0) + _v(0) + _v(count)
        return head + _v(0)

    def _stream_header(self, number: int, kind: int, code: bytes, timebase: Fraction) -> bytes:
        most = max(1, int(1 / timebase))
        return (
            _v(number)
            + _v(kind)
            + _v(4)
            + code
            + _v(self.bases.index(timebase))
            + _v(PTS_SHIFT)
            + _v(most)
            + _v(0)
            + _v(0)
            + _v(0)
        )

    def _frame(self, stream: int, timebase: Fraction, pts: int, size: int) -> None:
        """A sync point and the header of a frame; the caller writes its `size` bytes."""
        start = self.offset
        back = start - min(self.synced) if self.sound and all(self.synced) else 0
        self.synced[stream] = start
        self._put(_packet(SYNC, _v(pts * len(self.bases) + self.bases.index(timebase)) + _v(back >> 4)))
        flags = KEY | STREAM_ID | CODED_PTS | SIZE_MSB | CHECKSUM
        head = b"\x01" + _v(flags) + _v(stream) + _v(pts + (1 << PTS_SHIFT)) + _v(size)
        self._put(head + crc(head).to_bytes(4, "big"))
        self.offset += size

    def write_frame(self, frame: Frame) -> None:
        pixels = frame.pixels if frame.pixels.mode == self.mode else frame.pixels.convert(self.mode)
        self._write_sound(frame.pts * self.timebase)
        data = pixel_bytes(pixels)
        self._frame(0, self.timebase, frame.pts, len(data))
        self.write(data)

    def _write_sound(self, seconds: Fraction | None) -> None:
        if self.sound is None:
            return
        width = 2 * self.sound.channels
        for at, data in self.sound.until(seconds):
            self._frame(
                1,
                Fraction(1, self.sound.rate),
                max(0, round(at * self.sound.rate)),
                len(data) // width * width,
            )
            self.write(data[: len(data) // width * width])

    def finish(self, end: int) -> None:
        """Write the sound that is left, and when the last frame ends."""
        self._write_sound(None)
        self._put(_packet(INFO, _info(1, {"vedit.end": end})))


def _info(stream_plus_1: int, values: dict[str, int | str]) -> bytes:
    body = _v(stream_plus_1) + _s(0) + _v(0) + _v(0) + _v(len(values))
    for name, value in values.items():
        body += _v(len(name)) + name.encode()
        body += _s(value) if isinstance(value, int) else _s(-1) + _v(len(value.encode())) + value.encode()
    return body


def write_nut(
    clip: Clip, frames: Frames, stream: BinaryIO, *, sound: SoundSource | None = None, flush: bool = False
) -> int:
    """Write composed frames as NUT; returns how many.

    The first frame decides between rgb24 and rgba. What comes from a GIF (it carries a palette)
    is always rgba, since a later image may clear a part of an opaque canvas.
    flush: push each frame out as soon as it is complete.
    """
    writer: NutWriter | None = None
    count = end = 0
    for frame in frames:
        if writer is None:
            writer = NutWriter(
                stream, clip, "RGB" if frame.kind == "rgb" and frame.palette is None else "RGBA", sound
            )
        writer.write_frame(frame)
        end = frame.pts + frame.duration
        count += 1
        if flush:
            stream.flush()
    if writer is None:
        raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
    writer.finish(end)
    stream.flush()
    return count


# --- reading -------------------------------------------------------------------------------------


class _FrameCode(NamedTuple):
    flags: int
    pts_delta: int
    size_mul: int
    stream: int
    size_lsb: int
    reserved: int
    header_idx: int


class _Stream:
    """A stream header, and the time stamp that the next one may be told by the difference to."""

    def __init__(self, kind: int, code: bytes, timebase: Fraction, shift: int) -> None:
        self.kind, self.code, self.timebase, self.shift = kind, code, timebase, shift
        self.width = self.height = self.rate = self.channels = 0
        self.aspect = Fraction(1)
        self.last_pts = 0
        self.info: dict[str, int | str] = {}


class _Packet:
    """The inside of a packet, read field by field."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def v(self) -> int:
        value = 0
        for _ in range(LONGEST_NUMBER):
            byte = self.data[self.pos]
            self.pos += 1
            value = value << 7 | byte & 127
            if byte < 128:
                return value
        raise ValueError("a number without end")

    def s(self) -> int:
        value = self.v() + 1
        return -(value >> 1) if value & 1 else value >> 1

    def bytes(self) -> bytes:
        size = self.v()
        self.pos += size
        if self.pos > len(self.data):
            raise IndexError(size)
        return self.data[self.pos - size : self.pos]


class NutReader:
    """Read raw RGB video and PCM from NUT: ours, or `ffmpeg -c:v rawvideo -f nut`.

    raw: anything with `readinto`; start: bytes of it already taken.
    has_end_marker: the last frame only says when the one before ends, and is not given.
    has_planes: 4:2:0 frames are read too. Raises InputError for damage in front, NotOurs when it holds
    something else than raw RGB and PCM.
    """

    def __init__(
        self,
        raw: Any,
        name: str = "-",
        start: bytes = b"",
        *,
        has_end_marker: bool = False,
        has_planes: bool = False,
        limits: Limits = Limits(),
        warn: Warn = silent,
    ) -> None:
        self.source = ByteSource(raw, start)
        self.has_end_marker = has_end_marker
        self.limits, self.warn = limits, warn
        self.codes: list[_FrameCode] = []
        self.elided = [b""]
        self.bases: list[Fraction] = []
        self.streams: dict[int, _Stream] = {}
        self.info: dict[str, int | str] = {}
        try:
            self._read_headers()
        except EndOfStream:
            raise InputError("the NUT stream ends inside its headers.") from None
        except DAMAGES:
            raise InputError("the NUT stream has a damaged header.") from None
        self.video_number, self.video = self._only(0)
        if (
            self.video is None
            or not (self.video.code in PIXELS or (has_planes and self.video.code == I420))
            or self.video.aspect != 1
        ):
            raise NotOurs(self.source.so_far)
        self.sound_number, sound = self._only(1)
        if sound is not None and sound.code != PCM:
            raise NotOurs(self.source.so_far)
        self.source.seen = None
        self.sound = Sound(sound.rate, sound.channels) if sound else None
        limits.check(
            "canvas",
            self.video.width * self.video.height,
            f"a frame of {self.video.width}x{self.video.height}",
        )
        self.clip = self._clip(name, self.video)

    def _only(self, kind: int) -> tuple[int, _Stream | None]:
        return next(
            ((number, stream) for number, stream in sorted(self.streams.items()) if stream.kind == kind),
            (-1, None),
        )

    def _clip(self, name: str, video: _Stream) -> Clip:
        loop = self.info.get("vedit.loop")
        try:
            rate = frame_rate(str(video.info.get("r_frame_rate", "")))
        except ValueError:
            rate = None
        return Clip(
            video.width,
            video.height,
            name,
            timebase=video.timebase,
            rate=rate,
            loop=None if loop == ONCE else loop if isinstance(loop, int) and loop >= 0 else 0,
            audio=Audio("-", live=self.sound) if self.sound else None,
            warn=self.warn,
        )

    def _read_headers(self) -> None:
        """Everything up to the first sync point."""
        if self.source.take(len(MAGIC)) != MAGIC:
            raise InputError("not a NUT stream.")
        while (code := self.source.take(8)) != SYNC:
            if len(self.source.seen or b"") > LONGEST_START:
                raise ValueError("headers without end")
            body = self._body(code)
            if code == MAIN and not self.codes:
                self._main(_Packet(body))
            elif code == STREAM:
                self._stream(_Packet(body))
            elif code == INFO:
                self._info(_Packet(body))
        self._sync(_Packet(self._body(SYNC)))

    def _varlen(self) -> int:
        value = 0
        for _ in range(LONGEST_NUMBER):
            byte = self.source.byte()
            value = value << 7 | byte & 127
            if byte < 128:
                return value
        raise InputError("the NUT stream is damaged: a number without end.")

    def _body(self, code: bytes) -> bytes:
        """The inside of the packet whose start code was just taken, checked."""
        if code[:1] != b"N":
            raise InputError("the NUT stream is damaged: a packet does not start where it should.")
        size = self._varlen()
        if size > 4096:
            self.source.take(4)
        if size > LONGEST_HEADER or size < 4:
            raise InputError(f"the NUT stream is damaged: a header of {size} bytes.")
        data = self.source.take(size)
        if crc(data) != 0:
            raise InputError("the NUT stream is damaged: the checksum of a header is wrong.")
        return data[:-4]

    def _main(self, packet: _Packet) -> None:
        version = packet.v()
        if version not in (2, 3, 4):
            raise NotOurs(self.source.so_far)
        if version > 3:
            packet.v()
        packet.v()  # number of streams: their headers follow
        packet.v()
        self.bases = [Fraction(packet.v(), packet.v()) for _ in range(packet.v())]
        if not all(self.bases):
            raise ValueError("a timebase of nothing")
        pts = stream = header_idx = 0
        mul = 1
        while len(self.codes) < 256:
            flags, fields = packet.v(), packet.v()
            pts = packet.s() if fields > 0 else pts
            mul = packet.v() if fields > 1 else mul
            stream = packet.v() if fields > 2 else stream
            size = packet.v() if fields > 3 else 0
            reserved = packet.v() if fields > 4 else 0
            count = packet.v() if fields > 5 else mul - size
            if fields > 6:
                packet.s()
            header_idx = packet.v() if fields > 7 else header_idx
            for _ in range(fields - 8):
                packet.v()
            if not 0 < count <= 256:
                raise ValueError(count)
            for place in range(count):
                if len(self.codes) == ord("N"):
                    self.codes.append(_FrameCode(INVALID, 0, 1, 0, 0, 0, 0))
                self.codes.append(_FrameCode(flags, pts, mul, stream, size + place, reserved, header_idx))
        if packet.pos < len(packet.data):
            self.elided += [packet.bytes() for _ in range(packet.v())]

    def _stream(self, packet: _Packet) -> None:
        number, kind, code = packet.v(), packet.v(), packet.bytes()
        timebase, shift = self.bases[packet.v()], packet.v()
        packet.v(), packet.v(), packet.v()
        packet.bytes()
        stream = self.streams[number] = _Stream(kind, code, timebase, shift)
        if kind == 0:
            (stream.width, stream.height), across, down = (
                frame_size(f"{packet.v()}x{packet.v()}"),
                packet.v(),
                packet.v(),
            )
            stream.aspect = Fraction(across, down) if across and down else Fraction(1)
        elif kind == 1:
            stream.rate, stream.channels = packet.v() // packet.v(), packet.v()
            if not (0 < stream.rate <= MOST_RATE and 0 < stream.channels <= MOST_CHANNELS):
                raise ValueError("no sound has so many samples or channels")

    def _info(self, packet: _Packet) -> None:
        number, chapter = packet.v() - 1, packet.s()
        packet.v(), packet.v()
        values: dict[str, int | str] = {}
        for _ in range(packet.v()):
            name, kind = packet.bytes().decode("utf-8", "replace"), packet.s()
            if kind == -1:
                values[name] = packet.bytes().decode("utf-8", "replace")
            elif kind == -2:
                packet.bytes(), packet.bytes()
            elif kind == -3:
                values[name] = packet.s()
            elif kind == -4:
                packet.v()
            elif kind < -4:
                packet.s()
            else:
                values[name] = kind
        if chapter == 0:
            (self.streams[number].info if number in self.streams else self.info).update(values)

    def _sync(self, packet: _Packet) -> None:
        value = packet.v()
        seconds = value // len(self.bases) * self.bases[value % len(self.bases)]
        for stream in self.streams.values():
            stream.last_pts = int(seconds / stream.timebase)

    def frames(self) -> Frames:
        """Yield every video frame; its duration is the time until the next one, or the end."""
        video = self.video
        assert video is not None
        size = (video.width, video.height)
        kind, expected, picture = _layout(video.code, size)
        whole = self.clip.canvas
        held: Frame | None = None
        for index, (pts, data) in enumerate(self._video_frames()):
            if held is not None:
                yield held.but(duration=max(0, pts - held.pts))
            if len(data) != expected:
                raise InputError(
                    f"frame {index + 1} of the NUT stream has {len(data)} bytes instead of {expected}."
                )
            held = Frame(index, pts, 0, kind, whole, picture(data))
        if held is not None and not self.has_end_marker:
            yield held.but(duration=self._last_duration(held.pts))

    def _last_duration(self, pts: int) -> int:
        video = self.video
        assert video is not None
        end = video.info.get("vedit.end")
        if isinstance(end, int):
            return max(0, min(end, int(LONGEST_S / video.timebase)) - pts)
        return max(1, round(1 / self.clip.rate / video.timebase)) if self.clip.rate else self.gap or 1

    def _video_frames(self) -> Iterator[tuple[int, bytearray]]:
        """The packets of the video stream; sound is put aside on the way."""
        self.gap = waiting = 0
        before: int | None = None
        try:
            while (packet := self._checked_frame()) is not None:
                number, pts, data, flags = packet
                if number == self.video_number:
                    if flags & EOR:
                        self.streams[number].info["vedit.end"] = pts
                        continue
                    self.gap = pts - before if before is not None else 0
                    before = pts
                    yield pts, data
                elif number == self.sound_number and self.sound is not None and self.sound.is_wanted:
                    waiting = (waiting if self.sound.packets else 0) + len(data) + PACKET_BYTES
                    self.limits.check(
                        "memory", waiting, f"sound that waits for the next picture, {waiting} bytes,"
                    )
                    self.sound.packets.append((pts * self.streams[number].timebase, bytes(data)))
        except EndOfStream:
            self.warn("the stream ends inside a frame, which is left out")

    def _checked_frame(self) -> tuple[int, int, bytearray, int] | None:
        try:
            packet = self._next_frame()
        except DAMAGES:
            raise InputError("the NUT stream is damaged: a packet in it makes no sense.") from None
        if packet is not None and not 0 <= packet[1] * self.streams[packet[0]].timebase <= LONGEST_S:
            raise InputError(f"the NUT stream is damaged: a time stamp of {packet[1]} ticks.")
        return packet

    def _next_frame(self) -> tuple[int, int, bytearray, int] | None:
        """Stream number, time stamp, bytes and flags of the next frame; None at the end."""
        source = self.source
        while not source.at_end():
            first = source.byte()
            if first != ord("N"):
                return self._frame(first)
            code = b"N" + source.take(7)
            if code in (MAIN, STREAM, INDEX):
                source.skip(self._packet_size())
            elif code == INFO:
                self._info(_Packet(self._body(code)))
            elif code == SYNC:
                self._sync(_Packet(self._body(code)))
            else:
                raise InputError("the NUT stream is damaged: no packet starts where one should.")
        return None

    def _packet_size(self) -> int:
        size = self._varlen()
        if size > 4096:
            self.source.take(4)
        return size

    def _frame(self, first: int) -> tuple[int, int, bytearray, int]:
        code = self.codes[first]
        flags = code.flags
        if flags & CODED:
            flags ^= self._varlen()
        if flags & INVALID:
            raise InputError("the NUT stream is damaged: an impossible frame code.")
        number = self._varlen() if flags & STREAM_ID else code.stream
        if number not in self.streams:
            raise InputError(
                f"the NUT stream is damaged: a frame of stream {number}, which it does not have."
            )
        stream = self.streams[number]
        pts = self._pts(stream) if flags & CODED_PTS else stream.last_pts + code.pts_delta
        size = code.size_lsb + (code.size_mul * self._varlen() if flags & SIZE_MSB else 0)
        if flags & MATCH_TIME:
            self._varlen()
        header_idx = self._varlen() if flags & HEADER_IDX else code.header_idx
        reserved = self._varlen() if flags & RESERVED else code.reserved
        for _ in range(reserved):
            self._varlen()
        if flags & CHECKSUM:
            self.source.take(4)
        stream.last_pts = pts
        elided = self.elided[header_idx] if size <= 4096 else b""
        data = self._payload(number, size - len(elided))
        if flags & SIDE_DATA:
            data = _without_side_data(data)
        return number, pts, bytearray(elided) + data if elided else data, flags

    def _payload(self, number: int, size: int) -> bytearray:
        video = self.video
        assert video is not None
        if not 0 <= size <= 4 * video.width * video.height + (1 << 24):
            raise InputError(f"the NUT stream is damaged: a frame of {size} bytes.")
        return self.source.take_buffer(size)

    def _pts(self, stream: _Stream) -> int:
        """A time stamp: whole, or only its lowest bits."""
        value = self._varlen()
        whole = 1 << stream.shift
        if value >= whole:
            return value - whole
        low = stream.last_pts - (whole - 1) // 2
        return (value - low) % whole + low


def _layout(code: bytes, size: tuple[int, int]) -> tuple[str, int, Callable[[bytearray], Any]]:
    """The kind of frames of a stream, their bytes, and what makes a picture of those."""
    if code == I420:
        from vedit.media.streams.planes import Planes, byte_count

        return "yuv", byte_count(*size), lambda data: Planes.frombytes(size, data)
    mode, raw_mode = PIXELS[code]
    return mode.lower(), len(mode) * size[0] * size[1], lambda data: _image(mode, size, data, raw_mode)


def _image(mode: str, size: tuple[int, int], data: bytearray, raw_mode: str) -> Any:
    from PIL import Image

    return Image.frombuffer(mode, size, data, "raw", raw_mode, 0, 1)


def _without_side_data(data: bytearray) -> bytearray:
    """What is left of a frame behind its two lists of side data."""
    packet = _Packet(bytes(data[: 1 << 16]))
    for _ in range(2):
        for _ in range(packet.v()):
            packet.bytes()
            kind = packet.s()
            if kind == -2:
                packet.bytes()
            if kind in (-1, -2):
                packet.bytes()
            elif kind in (-3, -4):
                packet.v()
            elif kind < -4:
                packet.s()
    return data[packet.pos :]


def cut_sound(sound: Sound, start_s: Fraction, end_s: Fraction | None) -> _LiveSound:
    """The sound that arrives with a clip, from `start_s` on as time 0, up to `end_s`."""
    sound.is_wanted = True
    return _LiveSound(sound, start_s, end_s)


class _LiveSound:
    """`SoundSource` over the packets that a reader puts aside."""

    def __init__(self, sound: Sound, start_s: Fraction, end_s: Fraction | None) -> None:
        self.sound, self.start_s, self.end_s = sound, start_s, end_s
        self.rate, self.channels = sound.rate, sound.channels

    def until(self, seconds: Fraction | None) -> Iterator[tuple[Fraction, bytes]]:
        """Everything that has arrived; it came before the frame that is about to be written."""
        packets = self.sound.packets
        width = 2 * self.channels
        while packets:
            at, data = packets.popleft()
            first = max(0, -((at - self.start_s) * self.rate // 1)) if at < self.start_s else 0
            last = len(data) // width
            if self.end_s is not None:
                last = min(last, int((self.end_s - at) * self.rate))
            if first < last:
                yield at + Fraction(first, self.rate) - self.start_s, data[first * width : last * width]


__all__ = ["MAGIC", "NutReader", "NutWriter", "Sound", "SoundSource", "crc", "cut_sound", "write_nut"]
