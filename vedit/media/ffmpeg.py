"""Video files through one ffmpeg child per direction: frames in and out, exact in time and colour.

Reading: the child gets the opened file as its standard input, never a name, and may open nothing
else, so neither a strange file name nor a playlist leads it anywhere. It sends NUT, which has
exact time stamps; a copy of the last frame behind it tells when that one ends.

Writing: the child gets Matroska with raw frames, since that has a duration for every frame. Frames
are RGB; they become BT.709 video range by an explicit conversion with tags, because players
show untagged or wrongly tagged video up to 40/255 off.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import IO, Any, BinaryIO

from vedit.errors import InputError, ModelError, OutputError, UsageError
from vedit.media.closing import ClosingFrames
from vedit.media.frames import Audio, Clip, Frame, Frames
from vedit.media.limits import Limits
from vedit.media.mkv import MkvWriter
from vedit.media.nut import NutReader, SoundSource, cut_sound
from vedit.media.raw import flatten
from vedit.media.timing import at_constant_rate, playable, rounded

PIPE_BYTES = 1 << 20
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"[playlist]", b"<smil", b"<MPD")
ALPHA = re.compile(r"^(yuva|rgba|bgra|argb|abgr|gbrap|ya8|ya16|rgba64|bgra64|pal8|ayuv|vuya)")
FASTEST_TEMPO, SLOWEST_TEMPO = 100, Fraction(1, 2)  # what one atempo filter can do


# --- the child -----------------------------------------------------------------------------------


def find_ffmpeg() -> str:
    """The ffmpeg to run: VEDIT_FFMPEG, else the one that imageio-ffmpeg brings.

    Raises ModelError when there is none.
    """
    import shutil

    named = os.environ.get("VEDIT_FFMPEG")
    if named:
        found = shutil.which(named)
        if found:
            return found
        raise ModelError(f"VEDIT_FFMPEG is {named}, which cannot be run.", "It is the path of an ffmpeg of version 6.1 or later.", "To use the one that comes with vedit: unset VEDIT_FFMPEG")
    for exe in _bundled():
        if os.access(exe, os.X_OK):
            return exe
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise ModelError("ffmpeg was not found; video files need it.", "", "Install it with: pip install imageio-ffmpeg (or set VEDIT_FFMPEG to one)") from None


def _bundled() -> Iterator[str]:
    """imageio-ffmpeg's binary, found without importing it: that would start the binary to test it."""
    import glob
    from importlib.util import find_spec

    if exe := os.environ.get("IMAGEIO_FFMPEG_EXE"):
        yield exe
    spec = find_spec("imageio_ffmpeg")
    for folder in spec.submodule_search_locations or () if spec else ():
        yield from sorted(path for path in glob.glob(os.path.join(glob.escape(folder), "binaries", "ffmpeg-*")) if os.path.isfile(path))


class Child:
    """An ffmpeg process whose words are collected, and which never outlives its `with` block.

    It has its own process group, so that Ctrl-C reaches us alone and we decide what happens to it.
    """

    def __init__(self, arguments: Sequence[str], *, stdin: Any = subprocess.DEVNULL, stdout: Any = subprocess.DEVNULL, fds: Sequence[int] = ()) -> None:
        extra: dict[str, Any] = {"process_group": 0, "pass_fds": fds} if os.name == "posix" else {}
        command = [find_ffmpeg(), "-hide_banner", "-nostdin", *arguments]
        try:
            self.process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, bufsize=0, **extra)
        except OSError as error:
            raise ModelError(f"ffmpeg cannot be started: {(error.strerror or str(error)).lower()} ({command[0]}).", "", "Set VEDIT_FFMPEG to one that works") from None
        self.words: deque[str] = deque(maxlen=200)
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                _widen(pipe.fileno())

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with open(self.process.stderr.fileno(), encoding="utf-8", errors="replace", closefd=False) as words:
            for line in words:
                self.words.append(line.rstrip())

    def wait(self) -> int:
        """Wait for the end; afterwards `words` is complete."""
        status = self.process.wait()
        self.listener.join()
        return status

    def complaint(self) -> str:
        """The last line that tells something, without ffmpeg's address prefix."""
        lines = [re.sub(r"^\[[^\]]* @ 0x[0-9a-f]+\] *", "", line).strip() for line in self.words]
        # these lines only repeat that something above went wrong
        empty = ("Error opening input", "Error opening output", "Conversion failed", "Error while", "Nothing was written", "Last message repeated", "Task finished", "Terminating thread")
        telling = [line for line in lines if line and not line.startswith(empty)]
        return (telling or lines or ["it said nothing"])[-1]

    def close(self) -> None:
        """End the process if it runs, and take back everything it holds."""
        process = self.process
        try:
            if process.poll() is None:
                process.kill()
            process.wait()
        finally:
            self.listener.join()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:  # unwritten bytes for a child that is gone
                        pass

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _widen(descriptor: int) -> None:
    """Let a pipe hold a whole small frame: fewer switches between the processes."""
    try:
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        pass


# --- what is in a file ---------------------------------------------------------------------------


@dataclass(frozen=True)
class VideoFacts:
    """A video stream. width, height: as coded; `shown` is after sample aspect and rotation.

    rotation: degrees clockwise that a player turns the picture by. fps: average rate; is_constant:
    as far as the header tells. color: range, matrix/primaries/transfer as ffmpeg prints them.
    """

    codec: str
    pix_fmt: str
    width: int
    height: int
    sar: Fraction
    rotation: int
    fps: Fraction | None
    is_constant: bool
    has_alpha: bool
    color: str

    @property
    def shown(self) -> tuple[int, int]:
        width, height = max(1, rounded(self.width * self.sar)), self.height
        return (height, width) if self.rotation % 180 else (width, height)


@dataclass(frozen=True)
class AudioFacts:
    codec: str
    rate: int
    channels: str


@dataclass(frozen=True)
class MovieFacts:
    """What ffmpeg tells about a file's header."""

    format: str
    duration_s: Fraction | None
    video: VideoFacts | None
    audio: AudioFacts | None


def probe(file: BinaryIO) -> MovieFacts:
    """Ask ffmpeg what a file holds; it reads the header and a few frames.

    file: opened on a real file descriptor that can seek. Raises InputError when it is no video.
    """
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    # only the descriptor handed over may be read: playlists and references lead nowhere
    with Child(["-loglevel", "info", "-protocol_whitelist", "fd,pipe", "-i", "fd:"], stdin=file) as child:
        child.wait()
        lines = list(child.words)
        facts = parse_banner(lines)
        if facts is None:
            raise InputError(f"not a video that ffmpeg can read: {child.complaint()}.", "", "To see what it is: vedit probe FILE")
        return facts


def refuse_playlist(start: bytes) -> None:
    """Raise InputError for a file that only names other files; ffmpeg would be asked to open them."""
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(PLAYLISTS):
        raise InputError("this is a playlist, which names other files.", "A clip holds its frames itself.", "Give the files it names, one by one")


def parse_banner(lines: Sequence[str]) -> MovieFacts | None:
    """Read what `ffmpeg -i` prints; None when no input was opened."""
    head = next((place for place, line in enumerate(lines) if line.startswith("Input #0, ")), None)
    if head is None:
        return None
    matched = re.match(r"Input #0, (.+), from ", lines[head])
    duration: Fraction | None = None
    streams: list[list[str]] = []
    for line in lines[head + 1 :]:
        if clock := re.match(r"  Duration: (\d+):(\d+):(\d+\.\d+),", line):
            duration = int(clock[1]) * 3600 + int(clock[2]) * 60 + Fraction(clock[3])
        elif line.startswith("  Stream #0:"):
            streams.append([line])
        elif line.startswith("    ") and streams:
            streams[-1].append(line)
        elif streams:
            break
    video = next((stream for stream in streams if ": Video: " in stream[0] and "(attached pic)" not in stream[0]), None)
    audio = next((stream for stream in streams if ": Audio: " in stream[0]), None)
    return MovieFacts(matched[1] if matched else "", duration, _video_facts(video) if video else None, _audio_facts(audio[0]) if audio else None)


def _fields(text: str) -> list[str]:
    """Split at commas outside brackets."""
    return [field.strip() for field in re.split(r",\s*(?![^(]*\))(?![^\[]*\])", text)]


def _video_facts(lines: list[str]) -> VideoFacts | None:
    fields = _fields(lines[0].partition(": Video: ")[2])
    size = next((match for field in fields if (match := re.match(r"(\d+)x(\d+)\b", field))), None)
    if size is None:
        return None
    sar = re.search(r"\bSAR (\d+):(\d+)", lines[0])
    rotated = next((match for line in lines if (match := re.search(r"displaymatrix: rotation of (-?[\d.]+) degrees", line))), None)
    codec = fields[0].split()[0]
    format_field = fields[1] if len(fields) > 1 else ""
    pix_fmt, _, tags = format_field.partition("(")
    fps, tbr = _rate(fields, "fps"), _rate(fields, "tbr")
    has_alpha_side = codec in ("vp8", "vp9") and any(re.match(r"\s+alpha_mode\s*: 1", line) for line in lines)
    return VideoFacts(
        codec,
        pix_fmt,
        int(size[1]),
        int(size[2]),
        Fraction(int(sar[1]), int(sar[2])) if sar and int(sar[1]) and int(sar[2]) else Fraction(1),
        round(-float(rotated[1])) % 360 if rotated else 0,
        fps or tbr,
        fps is not None and fps == tbr,
        has_alpha_side or bool(ALPHA.match(pix_fmt)),
        ", ".join(tag for tag in tags.rstrip(")").split(", ") if tag and tag not in ("progressive", "unknown")),
    )


def _rate(fields: list[str], unit: str) -> Fraction | None:
    """`29.97 fps` as 30000/1001: ffmpeg prints two decimals of what is nearly always a known rate."""
    for field in fields:
        if match := re.match(rf"([\d.]+)(k?) {unit}\b", field):
            value = Fraction(match[1]) * (1000 if match[2] else 1)
            ntsc = Fraction(rounded(value) * 1000, 1001)
            return ntsc if value != rounded(value) and abs(ntsc - value) < Fraction(6, 1000) else value or None
    return None


def _audio_facts(line: str) -> AudioFacts:
    fields = _fields(line.partition(": Audio: ")[2])
    rate = next((match for field in fields if (match := re.match(r"(\d+) Hz", field))), None)
    place = fields.index(rate.string) if rate else 0
    return AudioFacts(fields[0].split()[0], int(rate[1]) if rate else 0, fields[place + 1] if len(fields) > place + 1 else "")


@dataclass(frozen=True)
class Timeline:
    """The packets of a video stream: how many, when the last ends, and whether all are equally long."""

    images: int
    duration_s: Fraction
    is_constant: bool


def measure(file: BinaryIO) -> Timeline:
    """Walk all packets of the video without decoding them."""
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    base = Fraction(1)
    times: list[int] = []
    last = 0
    with Child(["-loglevel", "error", "-protocol_whitelist", "fd,pipe", "-i", "fd:", "-map", "0:V:0", "-c", "copy", "-copyts", "-f", "framecrc", "pipe:1"], stdin=file, stdout=subprocess.PIPE) as child:
        assert child.process.stdout is not None
        for line in open(child.process.stdout.fileno(), closefd=False):
            if line.startswith("#tb 0:"):
                base = Fraction(line[6:].strip())
            elif line.startswith("0,"):
                _, _, pts, duration, *_ = line.split(",")
                times.append(int(pts))
                last = max(last, int(pts) + int(duration))
        child.wait()
    times.sort()
    gaps = [after - before for before, after in zip(times, times[1:])]
    # containers with millisecond stamps jitter by one tick
    is_constant = bool(gaps) and max(gaps) - min(gaps) <= 1
    return Timeline(len(times), (last - times[0]) * base if times else Fraction(0), is_constant)


# --- reading -------------------------------------------------------------------------------------


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
        video = replace(video, is_constant=measure(file).is_constant)
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
        raise InputError(f"the video cannot be decoded: {complaint}.", "It may be damaged, or the range may lie behind its end.", "To look at it: vedit probe FILE") from None
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
    return clip, ClosingFrames(_frames(child, reader, shift, warn), child.close)


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
        self.file = open(audio.path, "rb")
        arguments = ["-loglevel", "error", "-protocol_whitelist", "fd,pipe", *_range(audio), "-i", "fd:", "-map", "0:a:0"]
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


def _range(audio: Audio) -> list[str]:
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


# --- writing -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Container:
    """How a kind of file is written: ffmpeg's muxer, encoders, and the sound it can take as it is."""

    muxer: str
    video: tuple[str, ...]
    audio: tuple[str, ...]
    copies: tuple[str, ...]


_X264 = ("-c:v", "libx264", "-crf", "{crf}", "-preset", "{preset}")
_VP9 = ("-c:v", "libvpx-vp9", "-crf", "{crf}", "-b:v", "0", "-row-mt", "1", "-deadline", "good", "-cpu-used", "3")
_AAC = ("-c:a", "aac", "-b:a", "160k")
_OPUS = ("-c:a", "libopus", "-b:a", "128k")
CONTAINERS = {
    "mp4": Container("mp4", _X264, _AAC, ("aac", "mp3", "ac3", "eac3", "alac", "opus")),
    "mov": Container("mov", _X264, _AAC, ("aac", "mp3", "ac3", "alac", "pcm_s16le")),
    "mkv": Container("matroska", _X264, _AAC, ("aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "pcm_s16le")),
    "webm": Container("webm", _VP9, _OPUS, ("opus", "vorbis")),
    "avi": Container("avi", _X264, ("-c:a", "libmp3lame", "-q:a", "3"), ("mp3", "ac3")),
}
CONTAINERS["m4v"] = CONTAINERS["mp4"]


@dataclass(frozen=True)
class WriteOptions:
    """How to write a video.

    even: what to do with odd sizes, which 4:2:0 video cannot have: "pad" repeats the last row or
    column, "crop" leaves it out, "scale" stretches the picture to the even size above.
    background: shown where the clip is transparent. repeat: play the clip this many times.
    """

    crf: int | None = None
    preset: str = "medium"
    even: str = "pad"
    background: str = "white"
    repeat: int = 1
    keep_audio: bool = True

    def __post_init__(self) -> None:
        if self.even not in ("pad", "crop", "scale"):
            raise UsageError(f"--even {self.even} is unknown.", "It is one of: pad, crop, scale.")
        if self.repeat < 1:
            raise UsageError(f"--repeat {self.repeat} is impossible.", "A clip plays at least once.")
        if self.crf is not None and not 0 <= self.crf <= 63:
            raise UsageError(f"--crf {self.crf} is out of range.", "It is 0 (exact) to 51, for webm to 63; 18 looks like the source.")


def write_video(clip: Clip, frames: Frames, path: str, format: str, options: WriteOptions = WriteOptions(), *, shown: str | None = None) -> int:
    """Encode composed frames; returns how many images were written (once, without repeats).

    path: where to write; "-" is standard output, as a stream that needs no seeking. Callers give
    a temporary name and rename it: nothing here is atomic. shown: the name for messages.
    Raises OutputError with ffmpeg's last line when the encoder fails.
    """
    try:
        return _write_video(clip, frames, path, CONTAINERS[format], options)
    except OutputError as error:
        raise error.in_file(shown or path)


def _write_video(clip: Clip, frames: Frames, path: str, container: Container, options: WriteOptions) -> int:
    if options.repeat == 1:
        return _encode(clip, frames, path, container, options)
    import tempfile

    folder = os.path.dirname(os.path.abspath(path)) if path != "-" else None
    with tempfile.TemporaryDirectory(prefix=".vedit-", dir=folder) as spare:
        once = os.path.join(spare, "once")
        count = _encode(clip, frames, once, container, options)
        _repeat(once, path, container, options.repeat)
        return count


def _repeat(once: str, path: str, container: Container, times: int) -> None:
    with open(once, "rb") as file:
        arguments = ["-loglevel", "error", "-y", "-stream_loop", str(times - 1), "-protocol_whitelist", "fd", "-i", "fd:", "-map", "0", "-c", "copy"]
        with _standard_output(path) as stdout, Child([*arguments, *_target(path, container)], stdin=file, stdout=stdout) as child:
            if child.wait():
                raise OutputError(f"cannot write the repeats: {child.complaint()}.")


def _target(path: str, container: Container) -> list[str]:
    """Output options: the index in front for a file, fragments where seeking is impossible."""
    flags: list[str] = []
    if container.muxer in ("mp4", "mov"):
        flags = ["-movflags", "frag_keyframe+empty_moov+default_base_moof" if _is_stream(path) else "+faststart"]
    return [*flags, "-map_metadata", "-1", "-f", container.muxer, "pipe:1" if path == "-" else f"file:{os.path.abspath(path)}"]


@contextmanager
def _standard_output(path: str) -> Iterator[Any]:
    """What the child writes to: our own standard output for "-", else nothing."""
    if path != "-":
        yield subprocess.DEVNULL
        return
    sys.stdout.flush()
    try:
        sys.stdout.fileno()
    except (OSError, ValueError):  # replaced by something in memory, as tests and notebooks do
        import tempfile

        with tempfile.TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            sys.stdout.buffer.write(spool.read())
    else:
        yield sys.stdout


def _is_stream(path: str) -> bool:
    return path == "-" or (os.path.exists(path) and not os.path.isfile(path))


def _encode(clip: Clip, frames: Frames, path: str, container: Container, options: WriteOptions) -> int:
    frames = playable(clip, frames)
    if container.muxer == "avi":  # it has no time stamps
        clip, frames = at_constant_rate(clip, frames)
    audio = clip.audio if options.keep_audio else None
    # before the first frame is drawn: sound that comes with it must not be dropped
    live = cut_sound(audio.live, audio.start_s, audio.start_s + audio.duration_s if audio.duration_s is not None else None) if audio and audio.live is not None else None
    first = next(frames, None)
    if first is None:
        raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
    width, height = _even_size(clip.width, clip.height, options.even)
    sound_file = _open_sound(clip, audio) if audio and live is None else None
    try:
        arguments = _write_arguments(clip, (width, height), container, options, audio, live, sound_file)
        fds = [sound_file.fileno()] if sound_file else []
        with _standard_output(path) as stdout, Child([*arguments, *_target(path, container)], stdin=subprocess.PIPE, stdout=stdout, fds=fds) as child:
            return _feed(child, clip, first, frames, (width, height), options, live, path)
    finally:
        if sound_file:
            sound_file.close()


def _open_sound(clip: Clip, audio: Audio) -> IO[bytes] | None:
    try:
        return open(audio.path, "rb")
    except OSError as error:
        clip.warn(f"the sound of {audio.path} cannot be read and is left out ({(error.strerror or str(error)).lower()})")
        return None


def _write_arguments(clip: Clip, size: tuple[int, int], container: Container, options: WriteOptions, audio: Audio | None, live: SoundSource | None, sound_file: IO[bytes] | None) -> list[str]:
    arguments = ["-loglevel", "error", "-y", "-protocol_whitelist", "pipe", "-f", "matroska", "-i", "pipe:0"]
    sound: list[str] = []
    if sound_file is not None and audio is not None:
        arguments += [*_range(audio), "-protocol_whitelist", "fd", "-fd", str(sound_file.fileno()), "-i", "fd:"]
        sound = ["-map", "1:a:0", *_sound_options(sound_file, audio, container)]
    elif live is not None and audio is not None:
        filters = tempo_filters(audio.tempo)
        sound = ["-map", "0:a:0", *(["-af", filters] if filters else []), *container.audio]
    scale = "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_inp"
    tags = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    crf = options.crf if options.crf is not None else 18 if "libx264" in container.video else 24
    video = [part.format(crf=crf, preset=options.preset) for part in container.video]
    arguments += ["-map", "0:v:0", "-vf", f"{scale},format=yuv420p,{tags}", *video]
    arguments += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
    if clip.rate is None and container.muxer in ("mp4", "mov") or container.muxer == "avi":
        # with B-frames the durations in these containers belong to other frames than they show
        arguments += ["-bf", "0"]
    base = clip.timebase
    return [*arguments, "-fps_mode", "passthrough", "-enc_time_base", f"{base.numerator}/{base.denominator}", *sound]


def _sound_options(file: IO[bytes], audio: Audio, container: Container) -> list[str]:
    """Copy the sound when its time is unchanged and the container takes it; else encode it again."""
    if filters := tempo_filters(audio.tempo):
        return ["-af", filters, *container.audio]
    facts = probe(file)  # type: ignore[arg-type]
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return ["-c:a", "copy"] if facts.audio and facts.audio.codec in container.copies else list(container.audio)


def _feed(child: Child, clip: Clip, first: Frame, frames: Frames, size: tuple[int, int], options: WriteOptions, live: SoundSource | None, path: str) -> int:
    """Send the frames, and wait until the child has written them."""
    stdin = child.process.stdin
    assert stdin is not None
    count = 0
    try:
        writer = MkvWriter(_Whole(stdin), clip.but(width=size[0], height=size[1]), live)
        frame: Frame | None = first
        while frame is not None:
            picture = flatten(frame.pixels, options.background)
            writer.write_frame(frame.pts, frame.duration, even(picture, size, options.even))
            count += 1
            frame = next(frames, None)
        writer.finish()
        stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has given up; it says why
    if child.wait():
        complaint = child.complaint()
        if path == "-" and "Broken pipe" in complaint:
            raise BrokenPipeError
        raise OutputError(f"the encoder failed: {complaint}.")
    return count


class _Whole:
    """Write all of it: a raw pipe may take less."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def write(self, data: bytes) -> int:
        done = self.raw.write(data)
        if done < len(data):
            view = memoryview(data)
            while done < len(data):
                done += self.raw.write(view[done:])
        return done


def _even_size(width: int, height: int, even: str) -> tuple[int, int]:
    """4:2:0 video has even sides; "crop" takes a pixel away, but never the last one."""
    if even == "crop":
        return max(2, width & ~1), max(2, height & ~1)
    return width + (width & 1), height + (height & 1)


def even(picture: Any, size: tuple[int, int], how: str) -> Any:
    """The picture at an even size: last row and column repeated, left out, or all of it stretched."""
    if picture.size == size:
        return picture
    if how == "scale":
        from PIL import Image

        return picture.resize(size, Image.Resampling.BICUBIC)
    width, height = picture.size
    grown = picture.crop((0, 0, *size))
    if size[0] > width:
        grown.paste(picture.crop((width - 1, 0, width, height)), (width, 0))
    if size[1] > height:
        grown.paste(grown.crop((0, height - 1, size[0], height)), (0, height))
    return grown
