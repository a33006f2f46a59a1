"""Write raw frames as Matroska, the one stream ffmpeg reads that has a duration for every frame.

This is how frames travel to the encoder; between vedit processes it is NUT. Time stamps are in the clip's own
ticks where those are whole nanoseconds, else in nanoseconds.

Source: RFC 9559 (Matroska), RFC 8794 (EBML).
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

from vedit.media.frames import Clip
from vedit.media.streams.nut import SoundSource
from vedit.media.streams.planes import Planes
from vedit.media.streams.raw import pixel_bytes
from vedit.media.timing import rounded

SECOND = 10**9
UNKNOWN_SIZE = b"\x01\xff\xff\xff\xff\xff\xff\xff"


def _number(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def _size(value: int) -> bytes:
    """A length in eight bytes: always valid, and nothing beside raw pixels."""
    return (1 << 56 | value).to_bytes(8, "big")


def _element(name: str, *parts: bytes | int | str) -> bytes:
    body = b"".join(
        part if isinstance(part, bytes) else part.encode() if isinstance(part, str) else _number(part)
        for part in parts
    )
    return bytes.fromhex(name) + _size(len(body)) + body


class MkvWriter:
    """Write one rgb24 track, of rgba where the clip has alpha, of 4:2:0 planes where it has `light`, and PCM
    sound beside it, to a stream that need not seek.
    """

    def __init__(self, stream: Any, clip: Clip, sound: SoundSource | None = None) -> None:
        self.write = stream.write
        self.timebase = clip.timebase
        self.sound = sound
        whole = clip.timebase * SECOND
        self.scale = whole.numerator if whole.denominator == 1 else 1
        self.write(self._header(clip))

    def _header(self, clip: Clip) -> bytes:
        head = _element(
            "1a45dfa3",
            _element("4286", 1),
            _element("42f7", 1),
            _element("42f2", 4),
            _element("42f3", 8),
            _element("4282", "matroska"),
            _element("4287", 4),
            _element("4285", 2),
        )
        info = _element(
            "1549a966", _element("2ad7b1", self.scale), _element("4d80", "vedit"), _element("5741", "vedit")
        )
        video = _element(
            "e0",
            _element("b0", clip.width),
            _element("ba", clip.height),
            _element("2eb524", b"I420" if clip.light else b"RGBA" if clip.alpha else b"RGB\x18"),
        )
        length = _element("23e383", rounded(SECOND / clip.rate)) if clip.rate else b""
        tracks = _element(
            "ae",
            _element("d7", 1),
            _element("73c5", 1),
            _element("83", 1),
            _element("9c", 0),
            length,
            _element("86", "V_UNCOMPRESSED"),
            video,
        )
        if self.sound:
            pcm = _element(
                "e1",
                _element("b5", struct.pack(">d", self.sound.rate)),
                _element("9f", self.sound.channels),
                _element("6264", 16),
            )
            tracks += _element(
                "ae",
                _element("d7", 2),
                _element("73c5", 2),
                _element("83", 2),
                _element("9c", 0),
                _element("86", "A_PCM/INT/LIT"),
                pcm,
            )
        return head + bytes.fromhex("18538067") + UNKNOWN_SIZE + info + _element("1654ae6b", tracks)

    def _stamp(self, seconds: Fraction) -> int:
        return rounded(seconds * SECOND / self.scale)

    def write_frame(self, pts: int, duration: int, picture: Any) -> None:
        """pts, duration: in ticks of the clip."""
        self._write_sound(pts * self.timebase)
        data = picture.tobytes() if isinstance(picture, Planes) else pixel_bytes(picture)
        begin, end = self._stamp(pts * self.timebase), self._stamp((pts + duration) * self.timebase)
        self._block(1, begin, data, _element("9b", end - begin))

    def _block(self, track: int, stamp: int, data: bytes, behind: bytes) -> None:
        """A cluster of one block: its time is then free of the 16 bit limit inside clusters."""
        head = bytes((0x80 | track, 0, 0, 0))
        block = bytes.fromhex("a1") + _size(len(head) + len(data)) + head
        group = bytes.fromhex("a0") + _size(len(block) + len(data) + len(behind)) + block
        time = _element("e7", stamp)
        self.write(
            bytes.fromhex("1f43b675") + _size(len(time) + len(group) + len(data) + len(behind)) + time + group
        )
        self.write(data)
        if behind:
            self.write(behind)

    def _write_sound(self, seconds: Fraction | None) -> None:
        if self.sound:
            for at, data in self.sound.until(seconds):
                self._block(2, self._stamp(at), data, b"")

    def finish(self) -> None:
        self._write_sound(None)
