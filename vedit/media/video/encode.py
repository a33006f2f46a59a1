"""Encode video files: exact times, the last frame's too, and colours that players show right.

The child gets Matroska with raw frames, since that has a duration for every frame. Frames are RGB;
they become BT.709 video range by an explicit conversion with tags, because players show
untagged or wrongly tagged video up to 40/255 off.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from typing import IO, Any, BinaryIO, NamedTuple

from vedit.errors import InputError, LimitError, OutputError, UsageError, option, reason_of
from vedit.media.alpha import Ground, filled, has_holes
from vedit.media.formats import CONTAINERS, Container, encoder_options, keeps_alpha, rate_for
from vedit.media.frames import Audio, Clip, Frame, Frames
from vedit.media.light import Light
from vedit.media.options import WriteOptions
from vedit.media.streams.nut import SoundSource, cut_sound
from vedit.media.streams.planes import even
from vedit.media.timing import at_constant_rate, playable
from vedit.media.video.decode import heard, microseconds, sound_filters, sound_range
from vedit.media.video.ffmpeg import Child, format_labels
from vedit.media.video.mkv import MkvWriter

MANY_SOUNDS = ("mp4", "mkv", "ts")  # families where players find a second sound track
LONG_S = 3600  # a frame of an hour; formats begin to fail at about two, by the ticks they count in
LARGEST = {
    "libx264": ("H.264", 16384),
    "libvpx-vp9": ("VP9", 65534),
    "mpeg2video": ("MPEG-2", 16382),
}  # longest side that an encoder takes


def check(options: WriteOptions) -> None:
    """Raise UsageError for options of films that are unknown or out of range."""
    if options.even not in ("pad", "crop", "scale"):
        raise UsageError(f"{option('even', options.even)} is unknown.", "It is one of: pad, crop, scale.")
    if options.repeat < 1:
        raise UsageError(f"{option('repeat', options.repeat)} is impossible.", "A clip plays at least once.")
    if options.crf is not None and not 0 <= options.crf <= 63:
        raise UsageError(
            f"{option('crf', options.crf)} is out of range.",
            "It is 0 (exact) to 51, for webm to 63; 18 looks like the source.",
        )


def write_video(
    clip: Clip,
    frames: Frames,
    path: str,
    format: str,
    options: WriteOptions = WriteOptions(),
    *,
    shown: str | None = None,
) -> int:
    """Encode composed frames; returns how many images were written (once, without repeats).

    path: where to write; "-" is standard output, as a stream that needs no seeking. Callers give
    a temporary name and rename it: nothing here is atomic. shown: the name for messages. Raises OutputError
    with ffmpeg's last line when the encoder fails.
    """
    check(options)
    try:
        return _write_video(clip, frames, path, format, options)
    except OutputError as error:
        raise error.in_file(shown or path) from None


def _write_video(clip: Clip, frames: Frames, path: str, format: str, options: WriteOptions) -> int:
    if options.repeat == 1:
        return _encode(clip, frames, path, format, options)
    import tempfile

    folder = os.path.dirname(os.path.abspath(path)) if path != "-" else None
    with tempfile.TemporaryDirectory(prefix=".vedit-", dir=folder) as spare:
        once = os.path.join(spare, "once")
        count = _encode(clip, frames, once, format, options)
        _repeat(once, path, CONTAINERS[format], options)
        return count


def _repeat(once: str, path: str, container: Container, options: WriteOptions) -> None:
    with open(once, "rb") as file:
        arguments = [
            "-loglevel",
            "error",
            "-y",
            "-stream_loop",
            str(options.repeat - 1),
            "-protocol_whitelist",
            "fd",
            "-i",
            "fd:",
        ]
        arguments += [
            "-map",
            "0:v",
            "-map",
            "0:a?",
            "-c",
            "copy",
            "-map_metadata",
            "0",
        ]  # chapters are those of the first time round
        with (
            _standard_output(path) as stdout,
            Child([*arguments, *_target(path, container)], stdin=file, stdout=stdout) as child,
        ):
            if child.wait():
                raise OutputError(f"cannot write the repeats: {child.complaint()}.")


def _target(path: str, container: Container) -> list[str]:
    """Output options: the index in front for a file, fragments where seeking is impossible."""
    flags: list[str] = []
    if container.family == "mp4":
        # delay_moov: an empty one could not say that B-frames are not a delay of the picture
        flags = [
            "-movflags",
            "frag_keyframe+delay_moov+default_base_moof" if _is_stream(path) else "+faststart",
        ]
    if container.muxer in ("matroska", "webm"):
        flags = [
            "-fflags",
            "+bitexact",
        ]  # else a random number marks the file, and equal clips give unequal bytes
    return [
        *flags,
        *container.options,
        "-f",
        container.muxer,
        "pipe:1" if path == "-" else f"file:{os.path.abspath(path)}",
    ]


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


def _encode(clip: Clip, frames: Frames, path: str, format: str, options: WriteOptions) -> int:
    container = CONTAINERS[format]
    _check_size(clip, container, options)
    frames = playable(clip, frames)
    if not container.has_times:
        clip, frames = at_constant_rate(clip, frames)
        if clip.rate and (rate := rate_for(container, clip.rate)) != clip.rate:
            clip, frames = at_constant_rate(clip, frames, rate)
    audio = heard(clip) if options.keep_audio else None
    if clip.subtitles:
        clip.warn("the subtitles are left out: films are written with pictures, sound and chapters")
    # before the first frame is drawn: sound that comes with it must not be dropped
    live = (
        cut_sound(
            audio.live,
            audio.start_s,
            audio.start_s + audio.duration_s if audio.duration_s is not None else None,
        )
        if audio and audio.live is not None
        else None
    )
    first = next(frames, None)
    if first is None:
        raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
    size = _even_size(clip.width, clip.height, options.even)
    draw = _painter(clip, first, format, size, options)
    with ExitStack() as opened:
        sound_file = (
            opened.enter_context(sound)
            if audio and live is None and (sound := _open_sound(clip, audio))
            else None
        )
        label_file = opened.enter_context(_label_file(clip, options))
        arguments = _write_arguments(
            clip, draw.has_alpha, first.pts * clip.timebase, container, options, audio, live, sound_file,
            label_file,
        )  # fmt: skip
        fds = [file.fileno() for file in (sound_file, label_file) if file]
        with (
            _standard_output(path) as stdout,
            Child(
                [*arguments, *_target(path, container)], stdin=subprocess.PIPE, stdout=stdout, fds=fds
            ) as child,
        ):
            return _feed(child, clip, first, frames, draw, live, path)


class _Painter(NamedTuple):
    """Makes the pictures that the encoder gets, of the size that it can take.

    has_alpha: they are "RGBA", since the clip is transparent somewhere and the format has room for that.
    """

    size: tuple[int, int]
    even: str
    ground: Ground
    has_alpha: bool = False

    def __call__(self, frame: Frame) -> Any:
        if frame.kind == "yuv":
            return frame.pixels.made_even(self.size, self.even)
        if self.has_alpha:
            return filled(even(frame.pixels.convert("RGBA"), self.size, self.even))
        return even(self.ground.under(frame.pixels), self.size, self.even)


def _painter(clip: Clip, first: Frame, format: str, size: tuple[int, int], options: WriteOptions) -> _Painter:
    """Keep transparency where there is room for it and no background was asked for.

    Of a clip that cannot be looked at twice the first frame decides.
    """
    is_transparent = clip.alpha if clip.alpha is not None else has_holes(first.pixels)
    keeps = keeps_alpha(format) and options.background is None and is_transparent
    return _Painter(size, options.even, Ground(clip, format, options.background), keeps)


def _check_size(clip: Clip, container: Container, options: WriteOptions) -> None:
    """Raise LimitError, before any frame is drawn, for a picture that the encoder cannot take."""
    width, height = _even_size(clip.width, clip.height, options.even)
    codec, largest = LARGEST.get(container.video[1], ("", 0))
    if max(width, height) <= largest or not largest:
        return
    side = "wide" if width > largest else "high"
    fits = Fraction(largest, max(width, height))
    less = option("width" if width >= height else "height", largest)
    wider = (
        ""
        if largest >= 65534 or max(width, height) > 65534
        else ", or write a .webm, whose VP9 has sides up to 65534"
    )
    raise LimitError(
        f"{clip.width}x{clip.height} is too {side} for {codec}.",
        f"A side has up to {largest} pixels; {max(2, int(width * fits))}x{max(2, int(height * fits))} would"
        " fit.",
        f"Add {less} to vedit convert{wider}",
    )


def _label_file(clip: Clip, options: WriteOptions) -> IO[bytes]:
    """Tags and chapters for the child, which reads them from a file."""
    import tempfile

    tags = (
        dict(clip.labels.tags)
        if options.comment is None
        else {**dict(clip.labels.tags), "comment": options.comment}
    )
    file = tempfile.TemporaryFile(prefix="vedit-")
    file.write(format_labels(clip.labels._replace(tags=tuple(tags.items()))).encode("utf-8", "replace"))
    file.flush()
    file.seek(0)
    return file


def _open_sound(clip: Clip, audio: Audio) -> BinaryIO | None:
    try:
        return open(audio.path, "rb")
    except OSError as error:
        clip.warn(f"the sound of {audio.path} cannot be read and is left out ({reason_of(error)})")
        return None


def _write_arguments(
    clip: Clip,
    has_alpha: bool,
    begin: Fraction,
    container: Container,
    options: WriteOptions,
    audio: Audio | None,
    live: SoundSource | None,
    sound_file: BinaryIO | None,
    label_file: IO[bytes],
) -> list[str]:
    """The child's command line up to its output. begin: when the first frame starts, in seconds."""
    # else ffmpeg lets every input begin at 0, and a late picture would come too early
    late = ["-copyts"] if sound_file is None else ["-itsoffset", microseconds(begin)]
    arguments = [
        "-loglevel",
        "error",
        "-y",
        *late,
        "-protocol_whitelist",
        "pipe",
        "-f",
        "matroska",
        "-i",
        "pipe:0",
    ]
    sound: list[str] = []
    if sound_file is not None and audio is not None:
        arguments += [
            *sound_range(audio),
            "-protocol_whitelist",
            "fd",
            "-fd",
            str(sound_file.fileno()),
            "-i",
            "fd:",
        ]
        sound = _sound_options(audio, container)
        if len(audio.tracks) > 1 and container.family not in MANY_SOUNDS:
            clip.warn(
                f"1 of {len(audio.tracks)} sound tracks is kept, the one that players start with: this format"
                " has room for one"
            )
    elif live is not None and audio is not None:
        sound = ["-map", "0:a:0", "-af", sound_filters(audio.tempo), *container.audio]
    labels = 1 if sound_file is None else 2
    arguments += [
        "-protocol_whitelist",
        "fd",
        "-f",
        "ffmetadata",
        "-fd",
        str(label_file.fileno()),
        "-i",
        "fd:",
    ]
    light = clip.light or Light("tv", container.matrix, container.matrix, container.matrix)
    matrix, primaries, transfer = (
        name or "unknown" for name in (light.matrix, light.primaries, light.transfer)
    )
    scale = (
        f"scale=out_color_matrix={matrix}:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_inp"
        f",format={container.alpha_format if has_alpha else 'yuv420p'},"
    )
    tags = f"setparams=range=tv:colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}"
    video = encoder_options(container, options.crf, options.preset, has_alpha)
    arguments += ["-map", "0:v:0", "-vf", f"{'' if clip.light else scale}{tags}", *video]
    arguments += [
        "-colorspace",
        matrix,
        "-color_primaries",
        primaries,
        "-color_trc",
        transfer,
        "-color_range",
        "tv",
    ]
    if (clip.rate is None and container.family == "mp4") or container.muxer == "avi":
        # with B-frames the durations in these containers belong to other frames than they show
        arguments += ["-bf", "0"]
    base = clip.timebase
    arguments += [
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        f"{base.numerator}/{base.denominator}",
        *sound,
    ]
    return [*arguments, "-map_metadata", str(labels), "-map_chapters", str(labels)]


def _sound_options(audio: Audio, container: Container) -> list[str]:
    """Copy each track when its time is unchanged and the container takes it; else encode it again."""
    options: list[str] = []
    tracks = audio.tracks if container.family in MANY_SOUNDS else (audio.main,)
    for place, track in enumerate(tracks):
        options += ["-map", f"1:a:{track.number}"]
        # AVI has no time stamps: sound that begins late must get silence in front
        if audio.tempo == 1 and track.codec in container.copies and container.muxer != "avi":
            options += [f"-c:a:{place}", "copy"]
        else:
            options += [f"-filter:a:{place}", sound_filters(audio.tempo)]
            options += _numbered(container.audio, place)
        for key, value in (("language", track.language), ("title", track.title)):
            options += [f"-metadata:s:a:{place}", f"{key}={value}"] if value else []
    return options


def _numbered(options: Sequence[str], place: int) -> list[str]:
    """Encoder options of all sound as those of one track: -c:a becomes -c:a:1."""
    return [re.sub(r"^(-\w+:a)$", rf"\1:{place}", part) for part in options]


def _feed(
    child: Child,
    clip: Clip,
    first: Frame,
    frames: Frames,
    draw: _Painter,
    live: SoundSource | None,
    path: str,
) -> int:
    """Send the frames, and wait until the child has written them."""
    stdin = child.process.stdin
    assert stdin is not None
    count = longest = 0
    try:
        width, height = draw.size
        writer = MkvWriter(_Whole(stdin), clip.but(width=width, height=height, alpha=draw.has_alpha), live)
        frame: Frame | None = first
        while frame is not None:
            writer.write_frame(frame.pts, frame.duration, draw(frame))
            count, longest = count + 1, max(longest, frame.duration)
            frame = next(frames, None)
        writer.finish()
        stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has given up; it says why
    if child.wait():
        complaint = child.complaint()
        if path == "-" and "Broken pipe" in complaint:
            raise BrokenPipeError
        raise _refusal(complaint, longest * clip.timebase)
    return count


def _refusal(complaint: str, longest_s: Fraction) -> OutputError:
    if complaint.startswith(("Error muxing", "Error encoding")) and longest_s > LONG_S:
        return OutputError(
            f"a frame is shown for {float(longest_s):,.0f} seconds, which is more than this format can say.",
            "",
            "Write a .mkv, or play it faster (vedit gif speed)",
        )
    return OutputError(f"the encoder failed: {complaint}.")


class _Whole:
    """Write all of it: a raw pipe may take less."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def write(self, data: bytes) -> int:
        done: int = self.raw.write(data)
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
