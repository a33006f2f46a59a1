"""Decode video files: frames as a player shows them, with exact times, and their sound as PCM.

The child sends NUT, which has exact time stamps; a copy of the last frame behind it tells when
that one ends.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO

from vedit.errors import InputError
from vedit.media.closing import ClosingFrames
from vedit.media.ffmpeg import Child, VideoFacts, measure, probe
from vedit.media.frames import Audio, Clip, Frames
from vedit.media.limits import Limits
from vedit.media.nut import NutReader, SoundSource, cut_sound
from vedit.media.timing import rounded

FASTEST_TEMPO, SLOWEST_TEMPO = 100, Fraction(1, 2)  # what one atempo filter can do


@dataclass(frozen=True)
class ReadOptions:
    """What to read of a video; frames outside `start_s` and `duration_s` may be left out.

    Time stamps stay those of the source. scale: (width, height) to scale to, None in one place for the
    aspect. fps: a faster constant rate is thinned out to this one. is_quick: the
    fastest conversion to RGB, which does not interpolate colour between its samples.
    """

    start_s: Fraction = Fraction(0)
    duration_s: Fraction | None = None
    scale: tuple[int | None, int | None] | None = None
    fps: Fraction | None = None
    is_quick: bool = False


def read_video(
    file: BinaryIO,
    name: str,
    options: ReadOptions = ReadOptions(),
    *,
    format: str | None = None,
    sound_path: str | None = None,
    limits: Limits = Limits(),
    warn: Callable[[str], None] = lambda message: None,
) -> tuple[Clip, Frames]:
    """Decode a video: rotated and scaled to square pixels as a player shows it, "rgb" or "rgba".

    file: opened on a file that can seek; its descriptor becomes the child's standard input.
    format: ffmpeg's name of the container, None to let it look.
    sound_path: what to open to copy the sound from; None when there is no such file.
    The child runs from the call on; closing or exhausting the frames ends it.
    Raises InputError when ffmpeg cannot read the file, LimitError when frames are too large.
    """
    facts = probe(file)
    video = facts.video
    if video is None:
        raise InputError("the file holds no video stream.", "", "To see what it holds: vedit probe FILE")
    if video.is_constant and not facts.format.startswith("mov,"):  # others tell no true average in front
        rate = measure(file).rate
        video = replace(video, is_constant=rate is not None, fps=rate or video.fps)
    if facts.duration_s is not None and 0 < facts.duration_s <= options.start_s:
        raise InputError(f"the part begins at {float(options.start_s):g} s, behind the end at {float(facts.duration_s):g} s.")
    width, height = _fit(video.shown, options.scale)
    limits.check("canvas", video.width * video.height, f"a frame of {video.width}x{video.height}")
    limits.check("canvas", width * height, f"a frame of {width}x{height}")
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    child = Child(_read_arguments(video, options, format, width, height), stdin=file, stdout=subprocess.PIPE)
    try:
        reader = NutReader(child.process.stdout, name, has_end_marker=True, limits=Limits(0, 0, 0, 0, 0, 0), warn=warn)
    except InputError:
        child.wait()
        complaint = child.complaint()
        child.close()
        raise InputError(
            f"the video cannot be decoded: {complaint}.", "It may be damaged, or the range may lie behind its end.", "To look at it: vedit probe FILE"
        ) from None
    except BaseException:
        child.close()
        raise
    clip = reader.clip
    clip.rate = min(options.fps or video.fps, video.fps) if video.fps and video.is_constant else None
    span = options.duration_s
    if facts.duration_s is not None:
        span = min(max(Fraction(0), facts.duration_s - options.start_s), span if span is not None else facts.duration_s)
    clip.frames_hint = rounded(span * (clip.rate or video.fps or 0)) or None if span is not None else None
    if facts.audio is not None and sound_path is not None:
        clip.audio = Audio(sound_path)
    shift = rounded(options.start_s / clip.timebase)
    return clip, ClosingFrames(_frames(child, reader, shift, warn), child.close, child.process.kill)


def _fit(shown: tuple[int, int], size: tuple[int | None, int | None] | None) -> tuple[int, int]:
    if size is None:
        return shown
    width, height = size
    if width is None and height is None:
        return shown
    return (
        width if width is not None else max(1, rounded(Fraction(shown[0] * height, shown[1]))),  # type: ignore[operator]
        height if height is not None else max(1, rounded(Fraction(shown[1] * width, shown[0]))),  # type: ignore[operator]
    )


def _read_arguments(video: VideoFacts, options: ReadOptions, format: str | None, width: int, height: int) -> list[str]:
    arguments = ["-loglevel", "error", "-protocol_whitelist", "fd,pipe"]
    if video.has_alpha and video.codec in ("vp8", "vp9"):
        arguments += ["-c:v", "libvpx-vp9" if video.codec == "vp9" else "libvpx"]  # ffmpeg's own decoders drop alpha
    if options.start_s:
        arguments += ["-ss", _seconds(options.start_s)]
    if options.duration_s is not None:
        arguments += ["-t", _seconds(options.duration_s)]
    if format:
        arguments += ["-f", format]
    is_scaled = (width, height) != (video.shown)
    flags = "bicubic" if options.is_quick and not is_scaled else "bicubic+accurate_rnd+full_chroma_int"
    # rotation comes first, by ffmpeg itself; the marker behind the last frame tells its duration
    filters = f"scale={width}:{height}:flags={flags},setsar=1,format={'rgba' if video.has_alpha else 'rgb24'}"
    if options.fps and video.is_constant and video.fps and video.fps > options.fps:
        filters = f"fps={options.fps}," + filters
    filters += ",tpad=stop=1:stop_mode=clone"
    arguments += ["-i", "fd:", "-map", "0:V:0", "-vf", filters, "-c:v", "rawvideo", "-fps_mode", "passthrough", "-enc_time_base", "demux"]
    return [*arguments, "-map_metadata", "-1", "-write_index", "0", "-f", "nut", "pipe:1"]


def _seconds(value: Fraction) -> str:
    """Microseconds, which is what ffmpeg keeps."""
    return f"{rounded(value * 10**6)}us"


def _frames(child: Child, reader: NutReader, shift: int, warn: Callable[[str], None]) -> Frames:
    count = 0
    for frame in reader.frames():
        count += 1
        yield frame.but(pts=frame.pts + shift) if shift else frame
    status = child.wait()
    if not count:
        raise InputError(f"the video holds no frame that can be decoded: {child.complaint()}.", "It may be damaged, or the range may lie behind its end.")
    if status or child.words:
        warn(f"the video is damaged; what could be decoded is kept ({child.complaint()})")


# --- sound ---------------------------------------------------------------------------------------


def tempo_filters(tempo: Fraction) -> str:
    """The `atempo` filters that play `tempo` times as fast at the same pitch."""
    steps: list[Fraction] = []
    while tempo < SLOWEST_TEMPO:
        steps.append(SLOWEST_TEMPO)
        tempo /= SLOWEST_TEMPO
    while tempo > FASTEST_TEMPO:
        steps.append(Fraction(FASTEST_TEMPO))
        tempo /= FASTEST_TEMPO
    if tempo != 1:
        steps.append(tempo)
    return ",".join(f"atempo={float(step):.9g}" for step in steps)


class _FileSound:
    """PCM of a file's sound, decoded by a child as far as the frames have come."""

    def __init__(self, audio: Audio) -> None:
        self.rate, self.channels = 48000, 2
        self.done = 0
        self.file = open(audio.path, "rb")  # closed by close()
        arguments = ["-loglevel", "error", "-protocol_whitelist", "fd,pipe", *sound_range(audio), "-i", "fd:", "-map", "0:a:0"]
        if filters := tempo_filters(audio.tempo):
            arguments += ["-af", filters]
        self.child = Child([*arguments, "-c:a", "pcm_s16le", "-ar", "48000", "-ac", "2", "-f", "s16le", "pipe:1"], stdin=self.file, stdout=subprocess.PIPE)

    def until(self, seconds: Fraction | None) -> Iterator[tuple[Fraction, bytes]]:
        """What is to be heard before `seconds`, plus a little: players want sound early."""
        stdout = self.child.process.stdout
        assert stdout is not None
        goal = None if seconds is None else rounded((seconds + Fraction(1, 4)) * self.rate)
        while goal is None or self.done < goal:
            want = 4 * (4096 if goal is None else min(4096, goal - self.done))
            data = b""
            while len(data) < want and (more := stdout.read(want - len(data))):
                data += more
            if not data:
                return
            yield Fraction(self.done, self.rate), data
            self.done += len(data) // 4

    def close(self) -> None:
        self.child.close()
        self.file.close()


def sound_range(audio: Audio) -> list[str]:
    options = ["-ss", _seconds(audio.start_s)] if audio.start_s else []
    return options + (["-t", _seconds(audio.duration_s)] if audio.duration_s is not None else [])


@contextmanager
def pcm(clip: Clip) -> Iterator[SoundSource | None]:
    """The sound of a clip as PCM, wherever it comes from; None when it has none."""
    audio = clip.audio
    if audio is None:
        yield None
    elif audio.live is not None:
        if audio.tempo != 1:
            clip.warn("the sound that came through a pipe cannot change its tempo and is left out")
            yield None
        else:
            yield cut_sound(audio.live, audio.start_s, audio.start_s + audio.duration_s if audio.duration_s is not None else None)
    else:
        sound = _FileSound(audio)
        try:
            yield sound
        finally:
            sound.close()
