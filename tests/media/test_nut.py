"""NUT carries exact pixels, times and sound between us and ffmpeg, in both directions."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import pytest

from tests.media.clips import clip_of, decoded, ffmpeg, noise, packets
from vedit.errors import InputError
from vedit.media.bytesource import NotOurs
from vedit.media.frames import Palette
from vedit.media.nut import NutReader, cut_sound, write_nut

DELAYS = [7, 3, 50, 0, 123]


def written(mode: str = "RGB", **facts: object) -> bytes:
    pictures = [noise(13, 7, seed, mode) for seed in range(len(DELAYS))]
    clip, frames = clip_of(pictures, DELAYS, **facts)
    stream = io.BytesIO()
    assert write_nut(clip, frames, stream) == len(DELAYS)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_what_we_write_we_read_bit_for_bit_with_every_delay(mode: str) -> None:
    reader = NutReader(io.BytesIO(written(mode)))
    frames = list(reader.frames())
    assert [frame.pixels.tobytes() for frame in frames] == [noise(13, 7, seed, mode).tobytes() for seed in range(5)]
    assert [frame.duration for frame in frames] == DELAYS
    assert {frame.kind for frame in frames} == {mode.lower()}
    assert reader.clip.timebase == Fraction(1, 100)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_ffmpeg_reads_the_pixels_that_we_write(mode: str) -> None:
    found = decoded(written(mode), (13, 7), mode)
    assert [picture.tobytes() for picture in found] == [noise(13, 7, seed, mode).tobytes() for seed in range(5)]


def test_ffmpeg_reads_the_times_that_we_write() -> None:
    assert [pts for pts, _ in packets(written())] == [Fraction(pts, 100) for pts in (0, 7, 10, 60, 60)]


@pytest.mark.parametrize("loop", [None, 0, 7])
def test_the_loop_count_travels(loop: int | None) -> None:
    assert NutReader(io.BytesIO(written(loop=loop))).clip.loop == loop


def test_frames_of_a_gif_are_written_with_alpha_since_a_later_one_may_clear_the_canvas() -> None:
    clip, frames = clip_of([noise(4, 4), noise(4, 4, 1)], [1, 1])
    stream = io.BytesIO()
    write_nut(clip, (frame.but(palette=Palette(b"\0\0\0")) for frame in frames), stream)
    assert {frame.kind for frame in NutReader(io.BytesIO(stream.getvalue())).frames()} == {"rgba"}


@pytest.mark.parametrize("pixels", ["rgb24", "rgba", "bgr24", "bgra"])
def test_we_read_what_ffmpeg_writes_bit_for_bit(pixels: str, tmp_path: Path) -> None:
    source = tmp_path / "source.nut"
    source.write_bytes(written("RGBA"))
    reader = NutReader(io.BytesIO(ffmpeg("-i", source, "-fps_mode", "passthrough", "-pix_fmt", pixels, "-c:v", "rawvideo", "-f", "nut", "pipe:1")))
    mode = "RGBA" if "a" in pixels else "RGB"
    wanted = [picture.tobytes() for picture in decoded(source, (13, 7), mode)]
    frames = list(reader.frames())
    assert [frame.pixels.tobytes() for frame in frames] == wanted
    assert [frame.pts * reader.clip.timebase for frame in frames][:3] == [Fraction(0), Fraction(7, 100), Fraction(10, 100)]


def test_times_of_ffmpeg_with_a_variable_rate_are_exact() -> None:
    made = "testsrc=s=16x16:r=30:d=2,select='not(mod(n,3)*mod(n,7))'"
    data = ffmpeg("-f", "lavfi", "-i", made, "-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-c:v", "rawvideo", "-f", "nut", "pipe:1")
    reader = NutReader(io.BytesIO(data))
    kept = [n for n in range(60) if not (n % 3 and n % 7)]
    assert [frame.pts * reader.clip.timebase for frame in reader.frames()] == [Fraction(n, 30) for n in kept]


def test_sound_travels_between_the_frames_bit_for_bit() -> None:
    both = ("-f", "lavfi", "-i", "testsrc=s=16x16:r=10:d=1", "-f", "lavfi", "-i", "sine=d=1:r=8000")
    data = ffmpeg(*both, "-pix_fmt", "rgb24", "-c:v", "rawvideo", "-c:a", "pcm_s16le", "-f", "nut", "pipe:1")
    reader = NutReader(io.BytesIO(data))
    assert reader.sound is not None and (reader.sound.rate, reader.sound.channels) == (8000, 1)
    stream = io.BytesIO()
    write_nut(reader.clip, reader.frames(), stream, sound=cut_sound(reader.sound, Fraction(0), None))
    pcm = ("-map", "0:a:0", "-f", "s16le", "pipe:1")
    assert ffmpeg("-i", "pipe:0", *pcm, stdin=stream.getvalue()) == ffmpeg("-i", "pipe:0", *pcm, stdin=data)


def test_sound_is_cut_to_the_sample() -> None:
    both = ("-f", "lavfi", "-i", "testsrc=s=16x16:r=10:d=1", "-f", "lavfi", "-i", "sine=d=1:r=8000")
    data = ffmpeg(*both, "-pix_fmt", "rgb24", "-c:v", "rawvideo", "-c:a", "pcm_s16le", "-f", "nut", "pipe:1")
    whole = ffmpeg("-i", "pipe:0", "-map", "0:a:0", "-f", "s16le", "pipe:1", stdin=data)
    reader = NutReader(io.BytesIO(data))
    assert reader.sound is not None
    sound = cut_sound(reader.sound, Fraction(1, 10), Fraction(3, 10))
    for _ in reader.frames():
        pass
    pieces = list(sound.until(None))
    assert pieces[0][0] == 0
    assert b"".join(piece for _, piece in pieces) == whole[2 * 800 : 2 * 2400]


def test_sound_that_nobody_wants_is_not_kept() -> None:
    both = ("-f", "lavfi", "-i", "testsrc=s=16x16:r=10:d=1", "-f", "lavfi", "-i", "sine=d=1:r=8000")
    reader = NutReader(io.BytesIO(ffmpeg(*both, "-pix_fmt", "rgb24", "-c:v", "rawvideo", "-c:a", "pcm_s16le", "-f", "nut", "pipe:1")))
    assert len(list(reader.frames())) == 10
    assert reader.sound is not None and not reader.sound.packets


class Trickle(io.RawIOBase):
    """A pipe that gives one byte at a time."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        return self.inner.readinto(memoryview(buffer)[:1])  # type: ignore[arg-type]


def test_a_slow_pipe_gives_the_same_frames() -> None:
    with Trickle(written()) as pipe:
        assert [frame.duration for frame in NutReader(pipe).frames()] == DELAYS


def test_a_stream_cut_inside_a_frame_keeps_the_whole_ones_and_warns() -> None:
    warnings: list[str] = []
    data = written()
    reader = NutReader(io.BytesIO(data[: len(data) - 150]), warn=warnings.append)
    assert len(list(reader.frames())) == 4
    assert warnings == ["the stream ends inside a frame, which is left out"]


def test_a_cut_header_is_an_input_error() -> None:
    with pytest.raises(InputError, match="ends inside its headers"):
        NutReader(io.BytesIO(written()[:60]))


def test_a_flipped_bit_in_a_header_is_an_input_error() -> None:
    data = bytearray(written())
    data[40] ^= 1
    with pytest.raises(InputError):
        NutReader(io.BytesIO(bytes(data)))


def test_compressed_video_in_nut_is_left_to_ffmpeg_with_every_byte() -> None:
    data = ffmpeg("-f", "lavfi", "-i", "testsrc=s=16x16:r=10:d=1", "-c:v", "mpeg4", "-f", "nut", "pipe:1")
    with pytest.raises(NotOurs) as raised:
        NutReader(io.BytesIO(data))
    assert raised.value.taken == data[: len(raised.value.taken)] and len(raised.value.taken) > 100


def test_corrupt_streams_end_with_an_input_error_or_a_warning() -> None:
    good = written()
    for place in range(0, len(good), 7):
        data = bytearray(good)
        data[place] ^= 0xFF
        try:
            list(NutReader(io.BytesIO(bytes(data))).frames())
        except (InputError, NotOurs):
            pass
