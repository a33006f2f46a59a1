"""Decode video files: frames as a player shows them, with exact times, and their sound as PCM.

The child sends NUT, which has exact time stamps; a copy of the last frame behind it tells when
that one ends.
"""

from __future__ import annotations

import math
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from queue import SimpleQueue
from typing import BinaryIO

from vedit.errors import InputError, Warn, option, silent
from vedit.media.closing import ClosingFrames
from vedit.media.frames import Audio, Clip, Frames, SoundTrack
from vedit.media.light import HDR, PEAK_NITS, Light, matrix_of, parse_light, to_sdr
from vedit.media.limits import Limits
from vedit.media.options import ReadOptions
from vedit.media.streams.nut import NutReader, SoundSource, cut_sound
from vedit.media.timing import rounded
from vedit.media.video.ffmpeg import Child, MovieFacts, VideoFacts, measure, probe, reordering_s

FASTEST_TEMPO, SLOWEST_TEMPO = 2, Fraction(1, 2)  # one atempo filter that is faster skips sound
NOTHING_HEARD = "none"  # ffmpeg's name of a codec that it does not know


def read_video(
    file: BinaryIO,
    name: str,
    options: ReadOptions = ReadOptions(),
    *,
    format: str | None = None,
    sound_path: str | None = None,
    warn: Warn = silent,
) -> tuple[Clip, Frames]:
    """Decode a video: rotated and scaled to square pixels as a player shows it, "rgb" or "rgba".

    file: opened on a file that can seek; its descriptor becomes the child's standard input.
    format: ffmpeg's name of the container, None to let it look.
    sound_path: what to open to copy the sound from; None when there is no such file. The child runs from the
    call on; closing or exhausting the frames ends it. Raises InputError when ffmpeg cannot read the file,
    LimitError when frames are too large.
    """
    facts = probe(file)
    video = facts.video
    if video is None:
        raise InputError("the file holds no video stream.", "", "To see what it holds: vedit probe FILE")
    tick_s = Fraction(0)
    if video.is_constant and not facts.format.startswith("mov,"):  # others tell no true average in front
        timeline = measure(file, video.fps)
        rate, tick_s = timeline.rate, timeline.tick_s
        video = replace(video, is_constant=rate is not None, fps=rate or video.fps)
    length_s = facts.length_s
    if length_s is not None and 0 < length_s <= options.start_s:
        raise InputError(
            f"the part begins at {float(options.start_s):g} s, behind the end at {float(length_s):g} s."
        )
    width, height = _fit(video.shown, options.scale)
    limits = options.limits
    limits.check("canvas", video.width * video.height, f"a frame of {video.width}x{video.height}")
    limits.check("canvas", width * height, f"a frame of {width}x{height}")
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    early_s = Fraction(0)
    if facts.format == "avi":
        early_s = reordering_s(file, facts)
        options = _begun_earlier(options, options.start_s % (tick_s or 1 / (video.fps or Fraction(1))))
    if facts.start_s < 0:  # ffmpeg finds no key frame in front of 0
        options = _begun_earlier(options, options.start_s)
    late_s = facts.late_s(video, options.start_s)
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    child = Child(
        _read_arguments(video, options, format, width, height, late_s, early_s),
        stdin=file,
        stdout=subprocess.PIPE,
    )
    try:
        reader = NutReader(
            child.process.stdout,
            name,
            has_end_marker=True,
            has_planes=True,
            limits=Limits(0, 0, 0, 0, 0, 0),
            warn=warn,
        )
    except InputError:
        child.wait()
        complaint = child.complaint()
        child.close()
        raise InputError(
            f"the video cannot be decoded: {complaint}.",
            "It may be damaged, or the range may lie behind its end.",
            "To look at it: vedit probe FILE",
        ) from None
    except BaseException:
        child.close()
        raise
    clip = reader.clip
    clip.rate = min(options.fps or video.fps, video.fps) if video.fps and video.is_constant else None
    span = options.duration_s
    if length_s is not None:
        span = min(max(Fraction(0), length_s - options.start_s), span if span is not None else length_s)
    clip.frames_hint = rounded(span * (clip.rate or video.fps or 0)) or None if span is not None else None
    if more := facts.others.count("Video"):
        warn(f"1 of {more + 1} picture tracks is kept, the first: a clip has one")
    if video.field_order and options.deinterlace == "off":
        warn(
            f"the film is interlaced ({video.field_order}): both halves of a picture are kept in it as they"
            " are, and what is written is marked as progressive"
        )
    _tell_tonemap(parse_light(video.color, video.peak_nits), options, warn)
    if gives_planes(video, options):
        clip.light = _light_of_planes(video, options)
    clip.loop = 0  # a film cannot say
    clip.alpha = alpha_of(video)
    tags = (
        tag
        for tag in facts.labels.tags
        if not (tag[0].lower() == "comment" and tag[1].startswith('{"vedit"'))
    )
    clip.labels = facts.labels._replace(
        tags=tuple(tags)
    )  # a recipe describes that film, not what is made of it
    clip.subtitles = facts.others.count("Subtitle")
    if facts.audio is not None and sound_path is not None:
        clip.audio = _sound_of(facts, sound_path, warn)
    shift = rounded(options.start_s / clip.timebase)
    frames = _frames(child, reader, shift, warn)
    if tick_s and clip.rate and clip.rate == video.fps and (1 / clip.rate / tick_s).denominator > 1:
        clip, frames = evenly(clip, frames, tick_s)
    return clip, ClosingFrames(frames, child.close, child.process.kill)


def _begun_earlier(options: ReadOptions, more_s: Fraction) -> ReadOptions:
    """The same part and what is in front of it, which callers leave out.

    For AVI it begins with a tick: ffmpeg shifts times by a start that it has rounded to the film's own ticks.
    """
    longer_s = None if options.duration_s is None else options.duration_s + more_s
    return options._replace(start_s=options.start_s - more_s, duration_s=longer_s)


def evenly(clip: Clip, frames: Frames, tick_s: Fraction) -> tuple[Clip, Frames]:
    """The frames at the times that their rate gives, where the container had to round them to its ticks.

    A stamp that is further than two ticks from its place is not rounded, and is kept: the end of a frame is
    that of its begin and its duration, each of them rounded.
    """
    assert clip.rate is not None
    step = 1 / clip.rate
    base = Fraction(1, math.lcm(step.denominator, clip.timebase.denominator))
    scale, each, tick = (rounded(seconds / base) for seconds in (clip.timebase, step, tick_s))

    def placed() -> Frames:
        first: int | None = None
        for frame in frames:
            begin, end = frame.pts * scale, (frame.pts + frame.duration) * scale
            first = begin if first is None else first
            begin, end = (_on_grid(time, first, each, 2 * tick) for time in (begin, end))
            yield frame.but(pts=begin, duration=end - begin)

    return clip.but(timebase=base), placed()


def _on_grid(time: int, first: int, step: int, slack: int) -> int:
    place = first + step * rounded(Fraction(time - first, step))
    return place if abs(place - time) <= slack else time


def alpha_of(video: VideoFacts) -> bool | None:
    """As `Clip.alpha`: the fourth channel of RGB, which screen recorders write too, may hold nothing."""
    return None if video.has_alpha and not video.has_alpha_plane else video.has_alpha


def gives_planes(video: VideoFacts, options: ReadOptions) -> bool:
    return options.wants_planes and video.pix_fmt.startswith("yuv") and not video.has_alpha


def _light_of_planes(video: VideoFacts, options: ReadOptions) -> Light:
    """The colours of the planes that the child sends: the film's, named in full where it says nothing."""
    light = parse_light(video.color, video.peak_nits)
    if to_sdr(light, options.tonemap):
        return Light("tv", "bt709", "bt709", "bt709")
    matrix = matrix_of(light, video.width, video.height)
    if not light.matrix and not light.primaries and not light.transfer:
        return Light("tv", matrix, matrix, matrix)
    return Light("tv", matrix, light.primaries, light.transfer)


def _tell_tonemap(light: Light, options: ReadOptions, warn: Warn) -> None:
    if light.is_hdr and options.tonemap == "none":
        warn(f"HDR ({HDR[light.transfer]}) is not tone-mapped: it will look flat and grey")
    elif light.is_hdr:
        warn(
            f"HDR ({HDR[light.transfer]}, {light.peak_nits or PEAK_NITS} nits) is tone-mapped to SDR by"
            f" {options.tonemap}; see {option('tonemap')}"
        )


def _sound_of(facts: MovieFacts, path: str, warn: Warn) -> Audio | None:
    tracks = tuple(
        SoundTrack(
            number,
            sound.codec,
            sound.is_default,
            sound.language,
            sound.title,
            facts.late_s(sound, Fraction(0)),
        )
        for number, sound in enumerate(facts.sounds)
    )
    known = tuple(track for track in tracks if track.codec != NOTHING_HEARD)
    if len(known) < len(tracks):
        warn(
            f"{len(tracks) - len(known)} of {len(tracks)} sound tracks are in a format that ffmpeg does not"
            " know and are left out"
        )
    return Audio(path, tracks=known) if known else None


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


def _read_arguments(
    video: VideoFacts,
    options: ReadOptions,
    format: str | None,
    width: int,
    height: int,
    late_s: Fraction,
    early_s: Fraction = Fraction(0),
) -> list[str]:
    """The child's command line. late_s is added to its times, and early_s (see `reordering_s`) taken off."""
    if early_s and options.start_s:
        options = options._replace(start_s=options.start_s + early_s)
    arguments = ["-loglevel", "error", "-protocol_whitelist", "fd,pipe"]
    if video.has_alpha and video.codec in ("vp8", "vp9"):
        arguments += [
            "-c:v",
            "libvpx-vp9" if video.codec == "vp9" else "libvpx",
        ]  # ffmpeg's own decoders drop alpha
    if options.start_s:
        arguments += ["-ss", microseconds(options.start_s)]
    if options.duration_s is not None:
        arguments += ["-t", microseconds(options.duration_s)]
    if late_s:
        arguments += ["-itsoffset", microseconds(late_s)]
    if format:
        arguments += ["-f", format]
    is_scaled = (width, height) != (video.shown)
    flags = "bicubic" if options.is_quick and not is_scaled else "bicubic+accurate_rnd+full_chroma_int"
    # rotation comes first, by ffmpeg itself; the marker behind the last frame tells its duration
    light = parse_light(video.color, video.peak_nits)
    mapped = to_sdr(light, options.tonemap)
    # what is made smaller is mapped behind that, where it costs less
    scale = f"scale={width}:{height}:flags={flags}"
    if mapped:
        scale = f"{scale},format=yuv444p12le,{mapped}" if is_scaled else f"{mapped},{scale}"
    elif not light.matrix and video.pix_fmt.startswith("yuv") and not gives_planes(video, options):
        scale += f":in_color_matrix={matrix_of(light, video.width, video.height)}"
    form = "rgba" if video.has_alpha else "rgb24"
    if gives_planes(video, options):
        form = "yuv420p"
        scale += (",scale=" if mapped else ":") + (
            "out_range=tv:out_color_matrix=bt709" if mapped else "out_range=tv"
        )
    filters = f"{scale},setsar=1,format={form}"
    if options.fps and video.is_constant and video.fps and video.fps > options.fps:
        filters = f"fps={options.fps}," + filters
    if options.deinterlace == "on" or (options.deinterlace == "auto" and video.field_order):
        filters = "bwdif=mode=send_frame:deint=all," + filters
    if early_s and not options.start_s:
        filters = f"setpts=PTS-({early_s})/TB," + filters
    filters += ",tpad=stop=1:stop_mode=clone"
    arguments += [
        "-i",
        "fd:",
        "-map",
        "0:V:0",
        "-vf",
        filters,
        "-c:v",
        "rawvideo",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "demux",
    ]
    return [*arguments, "-map_metadata", "-1", "-write_index", "0", "-f", "nut", "pipe:1"]


def microseconds(value: Fraction) -> str:
    """A time for ffmpeg, which keeps no more than microseconds."""
    return f"{rounded(value * 10**6)}us"


def _frames(child: Child, reader: NutReader, shift: int, warn: Warn) -> Frames:
    count = 0
    for frame in reader.frames():
        count += 1
        yield frame.but(pts=frame.pts + shift) if shift else frame
    status = child.wait()
    if not count:
        raise InputError(
            f"the video holds no frame that can be decoded: {child.complaint()}.",
            "It may be damaged, or the range may lie behind its end.",
        )
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


def sound_filters(tempo: Fraction) -> str:
    """Filters that make sound begin at time 0 and have no gaps, so that it stays in step, and change its
    tempo.
    """
    even = "aresample=async=1:first_pts=0"
    return f"{even},{tempo_filters(tempo)}" if tempo != 1 else even


class _FileSound:
    """PCM of a file's sound, decoded by a child as far as the frames have come."""

    def __init__(self, audio: Audio) -> None:
        self.rate, self.channels = 48000, 2
        self.done = 0
        self.file = open(audio.path, "rb")  # closed by close()
        arguments = [
            "-loglevel",
            "error",
            "-protocol_whitelist",
            "fd,pipe",
            *sound_range(audio._replace(tracks=(audio.main,))),
            "-i",
            "fd:",
            "-map",
            f"0:a:{audio.main.number}",
        ]
        arguments += [
            "-af",
            sound_filters(audio.tempo),
            "-c:a",
            "pcm_s16le",
            "-ar",
            "48000",
            "-ac",
            "2",
            "-f",
            "s16le",
            "pipe:1",
        ]
        self.child = Child(arguments, stdin=self.file, stdout=subprocess.PIPE)

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
    """Input options that take a part of the sound, at the times it has beside the picture."""
    late_s = min(track.late_s for track in audio.tracks) - audio.start_s
    options = ["-ss", microseconds(audio.start_s)] if audio.start_s else []
    options += ["-itsoffset", microseconds(late_s)] if late_s > 0 else []
    return options + (["-t", microseconds(audio.duration_s)] if audio.duration_s is not None else [])


class _TempoSound:
    """Sound that arrives with the frames, played faster or slower by a child."""

    def __init__(self, source: SoundSource, tempo: Fraction) -> None:
        self.source = source
        self.rate, self.channels = source.rate, source.channels
        self.tempo = tempo
        self.given = self.done = 0
        self.rest = b""
        shape = ["-f", "s16le", "-ar", str(self.rate), "-ac", str(self.channels)]
        arguments = [
            "-loglevel",
            "error",
            *shape,
            "-i",
            "pipe:0",
            "-af",
            tempo_filters(tempo),
            *shape,
            "pipe:1",
        ]
        self.child = Child(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.waiting: SimpleQueue[bytes | None] = SimpleQueue()
        self.heard: SimpleQueue[bytes | None] = SimpleQueue()
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._listen)]
        for thread in self.threads:
            thread.start()

    def _send(self) -> None:
        stdin = self.child.process.stdin
        assert stdin is not None
        try:
            while (data := self.waiting.get()) is not None:
                while data:
                    data = data[stdin.write(data) :]
            stdin.close()
        except (OSError, ValueError):  # the child has been ended
            pass

    def _listen(self) -> None:
        stdout = self.child.process.stdout
        assert stdout is not None
        try:
            while data := stdout.read(1 << 16):
                self.heard.put(data)
        except (OSError, ValueError):
            pass
        self.heard.put(None)

    def until(self, seconds: Fraction | None) -> Iterator[tuple[Fraction, bytes]]:
        """What has come out of the child so far; behind the last frame all of it."""
        for at, data in self.source.until(None if seconds is None else seconds * self.tempo):
            self._give(rounded(at * self.rate), data)
        if seconds is None:
            self.waiting.put(None)
        width = 2 * self.channels
        while (seconds is None or not self.heard.empty()) and (came := self.heard.get()) is not None:
            self.rest += came
            whole = len(self.rest) // width
            yield Fraction(self.done, self.rate), self.rest[: whole * width]
            self.done, self.rest = self.done + whole, self.rest[whole * width :]

    def _give(self, begin: int, data: bytes) -> None:
        """Put silence where the sound pauses, and leave out what would overlap: the child knows no times."""
        width = 2 * self.channels
        if begin > self.given:
            for first in range(self.given, begin, self.rate):
                self.waiting.put(bytes((min(begin, first + self.rate) - first) * width))
        else:
            data = data[(self.given - begin) * width :]
        self.waiting.put(data)
        self.given = max(self.given, begin) + len(data) // width

    def close(self) -> None:
        self.waiting.put(None)
        self.child.close()
        for thread in self.threads:
            thread.join()


@contextmanager
def pcm(clip: Clip) -> Iterator[SoundSource | None]:
    """The sound of a clip as PCM, wherever it comes from; None when it has none."""
    audio = heard(clip)
    if audio is None:
        yield None
        return
    if audio.live is not None:
        live = cut_sound(
            audio.live,
            audio.start_s,
            audio.start_s + audio.duration_s if audio.duration_s is not None else None,
        )
        if audio.tempo == 1:
            yield live
            return
        sound: _FileSound | _TempoSound = _TempoSound(live, audio.tempo)
    else:
        if len(audio.tracks) > 1:
            clip.warn(
                f"1 of {len(audio.tracks)} sound tracks is kept, the one that players start with: this format"
                " has room for one"
            )
        sound = _FileSound(audio)
    try:
        yield sound
    finally:
        sound.close()


def heard(clip: Clip) -> Audio | None:
    """The sound that a writer is to write; says so when a stage had to leave it out."""
    if clip.audio is not None and clip.audio.lost:
        clip.warn(f"the sound is left out: {clip.audio.lost}")
        return None
    return clip.audio
