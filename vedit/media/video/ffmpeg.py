"""Run ffmpeg as a child, and ask it what a video file holds.

A child that reads gets the opened file as its standard input, never a name, and may open nothing
else, so neither a strange file name nor a playlist leads it anywhere. imageio-ffmpeg ships no
ffprobe, so facts are read from what ffmpeg prints about an input; a walk over the packets
(`measure`) gives what a header does not know.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, BinaryIO
from weakref import WeakSet

from vedit.errors import InputError, ModelError, reason_of
from vedit.media.frames import NO_LABELS, Chapter, Labels
from vedit.media.timing import rounded

PIPE_BYTES = 1 << 20
JUMPING = ("mpegts", "mpeg", "ogg")  # formats with AVFMT_TS_DISCONT
DISCARD = 4  # AV_PKT_FLAG_DISCARD
NO_TIME = -(2**63)  # AV_NOPTS_VALUE
BANNER_LINES = 100_000  # a film with many chapters or streams has some lines for each
FORMAT_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
APPLE_TAGS = {
    "com.apple.quicktime.location.ISO6709": "location",
    "com.apple.quicktime.creationdate": "date",
    "com.apple.quicktime.title": "title",
    "com.apple.quicktime.description": "description",
    "com.apple.quicktime.comment": "comment",
    "com.apple.quicktime.artist": "artist",
    "com.apple.quicktime.make": "make",
    "com.apple.quicktime.model": "model",
}
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"[playlist]", b"<smil", b"<MPD")
FIELD_ORDER = re.compile(r"(top|bottom) (coded )?first")
ALPHA_PLANES = ("yuva", "gbrap", "ya8", "ya16", "ayuv", "vuya")
ALPHA = re.compile(r"^(yuva|rgba|bgra|argb|abgr|gbrap|ya8|ya16|rgba64|bgra64|pal8|ayuv|vuya)")


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
        raise ModelError(
            f"VEDIT_FFMPEG is {named}, which cannot be run.",
            "It is the path of an ffmpeg of version 6.1 or later.",
            "To use the one that comes with vedit: unset VEDIT_FFMPEG",
        )
    for exe in _bundled():
        if os.access(exe, os.X_OK):
            return exe
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise ModelError(
            "ffmpeg was not found; video files need it.",
            "",
            "Install it with: pip install imageio-ffmpeg (or set VEDIT_FFMPEG to one)",
        ) from None


def _bundled() -> Iterator[str]:
    """imageio-ffmpeg's binary, found without importing it: that would start the binary to test it."""
    import glob
    from importlib.util import find_spec

    if exe := os.environ.get("IMAGEIO_FFMPEG_EXE"):
        yield exe
    spec = find_spec("imageio_ffmpeg")
    for folder in spec.submodule_search_locations or () if spec else ():
        yield from sorted(
            path
            for path in glob.glob(os.path.join(glob.escape(folder), "binaries", "ffmpeg-*"))
            if os.path.isfile(path)
        )


_running: WeakSet[subprocess.Popen[bytes]] = WeakSet()


def end_children() -> None:
    """End every ffmpeg of ours that still runs: the process leaves, and nobody waits for what they make."""
    for process in list(_running):
        if process.poll() is None:
            process.kill()


class Child:
    """An ffmpeg process whose words are collected, and which never outlives its `with` block.

    It has its own process group, so that Ctrl-C reaches us alone and we decide what happens to it.
    lines: how many of its words are kept, the latest.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        stdin: Any = subprocess.DEVNULL,
        stdout: Any = subprocess.DEVNULL,
        fds: Sequence[int] = (),
        lines: int = 200,
    ) -> None:
        extra: dict[str, Any] = {"process_group": 0, "pass_fds": fds} if os.name == "posix" else {}
        command = [find_ffmpeg(), "-hide_banner", "-nostdin", *arguments]
        try:
            self.process = subprocess.Popen(
                command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, bufsize=0, **extra
            )
        except OSError as error:
            raise ModelError(
                f"ffmpeg cannot be started: {reason_of(error)} ({command[0]}).",
                "",
                "Set VEDIT_FFMPEG to one that works",
            ) from None
        _running.add(self.process)
        self.words: deque[str] = deque(maxlen=lines)
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
        lines = [re.sub(r"^(\[[^\]]* @ 0x[0-9a-f]+\] *)+", "", line).strip() for line in self.words]
        # these lines only repeat that something above went wrong
        empty = (
            "Error opening input",
            "Error opening output",
            "Conversion failed",
            "Error while",
            "Nothing was written",
            "Last message repeated",
            "Task finished",
            "Terminating thread",
        )
        telling = [line for line in lines if line and not line.startswith(empty)]
        return (telling or lines or ["ffmpeg gives no reason"])[-1]

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
    start_s: time stamp of its begin; so has AudioFacts.
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
    start_s: Fraction = Fraction(0)
    peak_nits: int = 0

    @property
    def has_alpha_plane(self) -> bool:
        """Whether the film was made to be transparent: alpha is stored beside its picture."""
        return self.has_alpha and (self.codec in ("vp8", "vp9") or self.pix_fmt.startswith(ALPHA_PLANES))

    @property
    def field_order(self) -> str:
        """Which half of the rows of an interlaced film is older, as ffmpeg says it, "" for others."""
        return next((word for word in self.color.split(", ") if FIELD_ORDER.match(word)), "")

    @property
    def shown(self) -> tuple[int, int]:
        width, height = max(1, rounded(self.width * self.sar)), self.height
        return (height, width) if self.rotation % 180 else (width, height)


@dataclass(frozen=True)
class AudioFacts:
    """A sound stream. is_default: a player starts with it. language: three letters, or ""."""

    codec: str
    rate: int
    channels: str
    is_default: bool = False
    language: str = ""
    title: str = ""
    start_s: Fraction = Fraction(0)


@dataclass(frozen=True)
class MovieFacts:
    """What ffmpeg tells about a file's header.

    video: the first picture stream that is not a cover. audio: the sound that a player starts with,
    one of `sounds`. others: kinds of further streams: "Subtitle", and "Video" for what is not a cover.
    """

    format: str
    duration_s: Fraction | None
    video: VideoFacts | None
    audio: AudioFacts | None
    sounds: tuple[AudioFacts, ...] = ()
    others: tuple[str, ...] = ()
    labels: Labels = NO_LABELS
    start_s: Fraction = Fraction(0)

    @property
    def length_s(self) -> Fraction | None:
        """How long the film is: what begins before 0 is not counted in `duration_s`."""
        return None if self.duration_s is None else self.duration_s - min(Fraction(0), self.start_s)

    def late_s(self, stream: VideoFacts | AudioFacts, start_s: Fraction) -> Fraction:
        """What a child that reads one stream from `start_s` on must add to its times.

        ffmpeg lets a file begin at 0, and where time stamps may jump it counts from the first
        stream that is used: whether sound or picture begins late would be lost.
        """
        return (
            max(Fraction(0), stream.start_s - self.start_s - start_s)
            if self.format in JUMPING
            else Fraction(0)
        )


def probe(file: BinaryIO) -> MovieFacts:
    """Ask ffmpeg what a file holds; it reads the header and a few frames.

    file: opened on a real file descriptor that can seek. Raises InputError when it is no video.
    """
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    # only the descriptor handed over may be read: playlists and references lead nowhere
    arguments = [
        "-loglevel",
        "info",
        "-protocol_whitelist",
        "fd,pipe",
        "-i",
        "fd:",
        "-f",
        "ffmetadata",
        "pipe:1",
    ]
    with Child(arguments, stdin=file, stdout=subprocess.PIPE, lines=BANNER_LINES) as child:
        assert child.process.stdout is not None
        text = child.process.stdout.read().decode("utf-8", "replace")
        child.wait()
        facts = parse_banner(list(child.words))
        if facts is None:
            raise InputError(
                f"not a video that ffmpeg can read: {child.complaint()}.",
                "",
                "To see what it is: vedit probe FILE",
            )
        return replace(facts, labels=parse_labels(text))


def read_comment(file: BinaryIO) -> str | None:
    """The comment tag of a video file; None for a file without, or that ffmpeg cannot read."""
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    arguments = [
        "-loglevel",
        "error",
        "-protocol_whitelist",
        "fd,pipe",
        "-i",
        "fd:",
        "-f",
        "ffmetadata",
        "pipe:1",
    ]
    with Child(arguments, stdin=file, stdout=subprocess.PIPE) as child:
        assert child.process.stdout is not None
        text = child.process.stdout.read().decode("utf-8", "replace")
        child.wait()
    return next((value for key, value in parse_labels(text).tags if key.lower() == "comment"), None)


def parse_labels(text: str) -> Labels:
    """Read tags and chapters from ffmpeg's `ffmetadata` format; a tag that tells of the file's format is left
    out.
    """
    sections: list[tuple[str, dict[str, str]]] = [("", {})]
    # a line break inside a value is written as a backslash and the break, as are = ; # and \\
    for line in re.findall(r"((?:[^\\\n]|\\.)+)(?:\n|\Z)", text, re.DOTALL):
        if line in ("[CHAPTER]", "[STREAM]"):
            sections.append((line, {}))
        elif pair := re.fullmatch(r"((?:[^\\=;#]|\\.)+)=(.*)", line, re.DOTALL):
            key, value = (re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in pair.groups())
            sections[-1][1].setdefault(key, value)
    chapters = (_chapter(values) for name, values in sections if name == "[CHAPTER]")
    return Labels(_kept_tags(sections[0][1]), tuple(chapter for chapter in chapters if chapter is not None))


def _chapter(values: dict[str, str]) -> Chapter | None:
    try:
        base = Fraction(values.get("TIMEBASE", "1/1000000000"))
        begin, end = int(values["START"]) * base, int(values["END"]) * base
    except (KeyError, ValueError, ZeroDivisionError):
        return None
    title = next((value for key, value in values.items() if key.lower() == "title"), "")
    return Chapter(max(Fraction(0), begin), end, title) if begin < end and end > 0 else None


def _kept_tags(tags: dict[str, str]) -> tuple[tuple[str, str], ...]:
    named = {
        APPLE_TAGS.get(key, key): value
        for key, value in tags.items()
        if key in APPLE_TAGS and APPLE_TAGS[key] not in tags
    }
    kept = {**{key: value for key, value in tags.items() if key not in APPLE_TAGS}, **named}
    # mov gives a text once more under its language
    return tuple(
        (key, value)
        for key, value in kept.items()
        if key.lower() not in FORMAT_TAGS and not (key[-4:-3] == "-" and key[:-4] in kept)
    )


def format_labels(labels: Labels) -> str:
    """Tags and chapters as `ffmetadata`; times in nanoseconds."""

    def pair(key: str, value: str) -> str:
        return (
            "=".join(re.sub(r"[=;#\\\n]", r"\\\g<0>", part.replace("\0", "")) for part in (key, value)) + "\n"
        )

    text = ";FFMETADATA1\n" + "".join(pair(key, value) for key, value in labels.tags)
    for begin, end, title in labels.chapters:
        text += (
            f"[CHAPTER]\nTIMEBASE=1/1000000000\nSTART={rounded(begin * 10**9)}\nEND={rounded(end * 10**9)}\n"
            + pair("title", title)
        )
    return text


def refuse_playlist(start: bytes) -> None:
    """Raise InputError for a file that only names other files; ffmpeg would be asked to open them."""
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(PLAYLISTS):
        raise InputError(
            "this is a playlist, which names other files.",
            "A clip holds its frames itself.",
            "Give the files it names, one by one",
        )


def parse_banner(lines: Sequence[str]) -> MovieFacts | None:
    """Read what `ffmpeg -i` prints; None when no input was opened."""
    head = next((place for place, line in enumerate(lines) if line.startswith("Input #0, ")), None)
    if head is None:
        return None
    matched = re.match(r"Input #0, (.+), from ", lines[head])
    duration: Fraction | None = None
    start = Fraction(0)
    streams: list[list[str]] = []
    for line in lines[head + 1 :]:
        if clock := re.match(r"  Duration: (\d+):(\d+):(\d+\.\d+),", line):
            duration = int(clock[1]) * 3600 + int(clock[2]) * 60 + Fraction(clock[3])
            start = _start([line[2:]], "start:")
        elif line.startswith("  Stream #0:"):
            streams.append([line])
        elif line.startswith("    ") and streams:
            streams[-1].append(line)
        elif streams:
            break
    pictures = [
        stream for stream in streams if ": Video: " in stream[0] and "(attached pic)" not in stream[0]
    ]
    video = pictures[0] if pictures else None
    sounds = tuple(_audio_facts(stream) for stream in streams if ": Audio: " in stream[0])
    audio = next((sound for sound in sounds if sound.is_default), sounds[0] if sounds else None)
    kinds = (re.search(r": (Subtitle): ", stream[0]) for stream in streams)
    others = tuple(kind[1] for kind in kinds if kind) + ("Video",) * (len(pictures) - 1)
    return MovieFacts(
        matched[1] if matched else "",
        duration,
        _video_facts(video) if video else None,
        audio,
        sounds,
        others,
        start_s=start,
    )


def _fields(text: str) -> list[str]:
    """Split at commas outside brackets."""
    return [field.strip() for field in re.split(r",\s*(?![^(]*\))(?![^\[]*\])", text)]


def _video_facts(lines: list[str]) -> VideoFacts | None:
    # "(tv, bt709, top coded first (swapped))": brackets in brackets would not be told apart
    fields = _fields(lines[0].partition(": Video: ")[2].replace(" (swapped)", ""))
    size = next((match for field in fields if (match := re.match(r"(\d+)x(\d+)\b", field))), None)
    if size is None:
        return None
    sar = re.search(r"\bSAR (\d+):(\d+)", lines[0])
    rotated = next(
        (
            match
            for line in lines
            if (match := re.search(r"(?i)display ?matrix: rotation of (-?[\d.]+) degrees", line))
        ),
        None,
    )
    codec = fields[0].split()[0]
    format_field = fields[1] if len(fields) > 1 else ""
    pix_fmt, _, tags = format_field.partition("(")
    fps, tbr = _rate(fields, "fps"), _rate(fields, "tbr")
    has_alpha_side = codec in ("vp8", "vp9") and any(
        re.match(r"(?i)\s+alpha_mode\s*: 1", line) for line in lines
    )
    return VideoFacts(
        codec,
        pix_fmt,
        int(size[1]),
        int(size[2]),
        Fraction(int(sar[1]), int(sar[2])) if sar and int(sar[1]) and int(sar[2]) else Fraction(1),
        round(-float(rotated[1])) % 360 if rotated else 0,
        fps or tbr,
        fps is not None and tbr is not None and abs(fps - tbr) * 100 <= tbr,
        has_alpha_side or bool(ALPHA.match(pix_fmt)),
        ", ".join(
            tag for tag in tags.rstrip(")").split(", ") if tag and tag not in ("progressive", "unknown")
        ),
        _start(fields),
        _peak_nits(lines),
    )


def _peak_nits(lines: Sequence[str]) -> int:
    """The brightest point of an HDR film, or of the screen it was made on; 0 when not told."""
    for pattern in (r"\bMaxCLL=(\d+)", r"\bmax_luminance=(\d+)"):
        if found := next((match for line in lines if (match := re.search(pattern, line))), None):
            return int(found[1])
    return 0


def _start(fields: Sequence[str], word: str = "start") -> Fraction:
    """When something begins, if ffmpeg prints it, which it does where that is not 0."""
    found = next(
        (match for field in fields if (match := re.search(rf"\b{word} (-?\d+(\.\d+)?)", field))), None
    )
    return Fraction(found[1]) if found else Fraction(0)


def _rate(fields: list[str], unit: str) -> Fraction | None:
    """`29.97 fps` as 30000/1001: ffmpeg prints two decimals of what is nearly always a known rate."""
    for field in fields:
        if match := re.match(rf"([\d.]+)(k?) {unit}\b", field):
            value = Fraction(match[1]) * (1000 if match[2] else 1)
            ntsc = Fraction(rounded(value) * 1000, 1001)
            return (
                ntsc if value != rounded(value) and abs(ntsc - value) < Fraction(6, 1000) else value or None
            )
    return None


def _audio_facts(lines: list[str]) -> AudioFacts:
    head, _, rest = lines[0].partition(": Audio: ")
    fields = _fields(rest)
    rate = next((match for field in fields if (match := re.match(r"(\d+) Hz", field))), None)
    place = fields.index(rate.string) if rate else 0
    language = re.search(r"\((\w+)\)$", head)
    title = next(
        (match[1] for line in lines[1:] if (match := re.match(r"      title           : (.*)", line))), ""
    )
    return AudioFacts(
        fields[0].split()[0],
        int(rate[1]) if rate else 0,
        fields[place + 1] if len(fields) > place + 1 else "",
        "(default)" in fields[-1],
        language[1] if language and language[1] != "und" else "",
        title,
        _start(fields),
    )


@dataclass(frozen=True)
class Timeline:
    """The packets of a video stream: how many, how long together, and their rate when it is constant.

    tick_s: what the container counts time in.
    """

    images: int
    duration_s: Fraction
    rate: Fraction | None
    tick_s: Fraction


def reordering_s(file: BinaryIO, facts: MovieFacts) -> Fraction:
    """How much too late the pictures of an AVI come out of ffmpeg.

    AVI says in which order pictures are decoded, and not when they are shown: with B-frames ffmpeg gives the
    first one the time of the packet that the decoder had come to.
    """
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    arguments = ["-loglevel", "error", "-protocol_whitelist", "fd,pipe", "-i", "fd:", "-map", "0:V:0"]
    arguments += ["-frames:v", "1", "-vf", "scale=16:16", "-fps_mode", "passthrough"]
    arguments += ["-enc_time_base", "demux", "-f", "framecrc", "pipe:1"]
    with Child(arguments, stdin=file, stdout=subprocess.PIPE) as child:
        assert child.process.stdout is not None
        text = child.process.stdout.read().decode("ascii", "replace")
        child.wait()
    base = re.search(r"^#tb 0: (\d+/[1-9]\d*)", text, re.MULTILINE)
    first = re.search(r"^0, *-?\d+, *(-?\d+),", text, re.MULTILINE)
    if base is None or first is None or facts.video is None:  # reading it will tell
        return Fraction(0)
    return max(Fraction(0), int(first[1]) * Fraction(base[1]) - (facts.video.start_s - facts.start_s))


def measure(file: BinaryIO, told: Fraction | None = None) -> Timeline:
    """Walk all packets of the video that are shown, without decoding them.

    told: the rate in the header, which is taken where the rounded time stamps fit it.
    """
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    base = Fraction(1)
    packets: list[tuple[int, int, int]] = []
    with Child(
        [
            "-loglevel",
            "error",
            "-protocol_whitelist",
            "fd,pipe",
            "-i",
            "fd:",
            "-map",
            "0:V:0",
            "-c",
            "copy",
            "-copyts",
            "-f",
            "framecrc",
            "pipe:1",
        ],
        stdin=file,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.process.stdout is not None
        with open(child.process.stdout.fileno(), closefd=False) as lines:
            for line in lines:
                if line.startswith("#tb 0:"):
                    base = Fraction(line[6:].strip())
                elif line.startswith("0,"):
                    _, dts, pts, length, _, _, *flags = line.split(",")
                    if any(
                        int(flag.strip()[2:], 16) & DISCARD for flag in flags if flag.strip().startswith("F=")
                    ):
                        continue  # an edit list leaves it out
                    packets.append((int(dts), int(pts), int(length)))
        child.wait()
    times, last = _shown(packets)
    gaps = [after - before for before, after in pairwise(times)]
    # containers with millisecond stamps jitter by one tick
    is_constant = bool(gaps) and max(gaps) - min(gaps) <= 1 and times[-1] > times[0]
    rate = _rate_of(len(gaps), (times[-1] - times[0]) * base, base, told) if is_constant else None
    duration = (last - times[0]) * base if times else Fraction(0)
    if rate and abs(len(times) / rate - duration) <= 2 * base:  # its stamps are rounded, the rate is not
        duration = len(times) / rate
    return Timeline(len(packets), duration, rate, base)


def _shown(packets: list[tuple[int, int, int]]) -> tuple[list[int], int]:
    """When packets are shown, sorted, and when the last one ends, from their times of decoding and showing
    and their durations.

    MPEG program streams tell the second time of some packets only; packets are shown in the steps in which
    they are decoded.
    """
    if any(pts == NO_TIME for _, pts, _ in packets):
        delay = next((pts - dts for dts, pts, _ in packets if NO_TIME not in (dts, pts)), 0)
        packets = [(dts, dts + delay, duration) for dts, _, duration in packets if dts != NO_TIME]
    return sorted(pts for _, pts, _ in packets), max(
        (pts + duration for _, pts, duration in packets), default=0
    )


def _rate_of(gaps: int, seconds: Fraction, tick_s: Fraction, told: Fraction | None) -> Fraction:
    if told and abs(gaps / told - seconds) <= 2 * tick_s:
        return told
    return _known_rate(gaps / seconds)


def _known_rate(rate: Fraction) -> Fraction:
    """The whole or NTSC rate that rounded time stamps stand for, else the rate as it is."""
    whole = Fraction(rounded(rate))
    known = next(
        (known for known in (whole, whole * Fraction(1000, 1001)) if abs(known - rate) * 2000 < rate), None
    )
    return known or rate.limit_denominator(1001)
