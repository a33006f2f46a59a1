"""The formats that clips are read from and written to, and which of them a name asks for.

How a film is written follows its container: ffmpeg's muxer and encoders, the rates it knows and
the colours that players assume. Whoever adds a container adds one line to `CONTAINERS`.
"""

import os
import re
from fractions import Fraction
from typing import NamedTuple

from vedit.errors import UsageError, nearest, option

# --- containers ----------------------------------------------------------------------------------

MPEG_RATES = tuple(
    Fraction(n, d)
    for n, d in ((24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (50, 1), (60000, 1001), (60, 1))
)


class Container(NamedTuple):
    """How a kind of file is written: ffmpeg's muxer, encoders, and the sound it can take as it is.

    family: kinds of file with one structure, see `family_of`. has_times: whether every frame can have a
    time of its own; else the rate is constant, one of `rates` where those are given.
    matrix: the colours that players assume or that the file names. options: of the muxer.
    alpha: the encoder of a clip with transparency, and alpha_format what it gets, where there is room for it.
    """

    muxer: str
    family: str
    video: tuple[str, ...]
    audio: tuple[str, ...]
    copies: tuple[str, ...]
    has_times: bool = True
    rates: tuple[Fraction, ...] = ()
    matrix: str = "bt709"
    options: tuple[str, ...] = ()
    alpha: tuple[str, ...] = ()
    alpha_format: str = ""


_X264 = ("-c:v", "libx264", "-crf", "{crf}", "-preset", "{preset}")
_VP9 = (
    "-c:v",
    "libvpx-vp9",
    "-crf",
    "{crf}",
    "-b:v",
    "0",
    "-row-mt",
    "1",
    "-deadline",
    "good",
    "-cpu-used",
    "3",
)
_PRORES = (
    "-c:v",
    "prores_ks",
    "-profile:v",
    "4444",
    "-alpha_bits",
    "16",
    "-vendor",
    "apl0",
    "-q:v",
    "{qscale}",
)
_MPEG2 = ("-c:v", "mpeg2video", "-q:v", "{qscale}")
_WMV = ("-c:v", "wmv2", "-q:v", "{qscale}")
_THEORA = ("-c:v", "libtheora", "-q:v", "{theora}")
_AAC = ("-c:a", "aac", "-b:a", "160k")
_OPUS = ("-c:a", "libopus", "-b:a", "128k")
_MP2 = ("-c:a", "mp2", "-b:a", "192k", "-ar", "48000")
_WMA = ("-c:a", "wmav2", "-b:a", "160k")
_VORBIS = ("-c:a", "libvorbis", "-q:a", "5")
_TS_SOUND = ("aac", "mp2", "mp3", "ac3", "eac3")
CONTAINERS = {
    "mp4": Container("mp4", "mp4", _X264, _AAC, ("aac", "mp3", "ac3", "eac3", "alac", "opus")),
    "mov": Container(
        "mov",
        "mp4",
        _X264,
        _AAC,
        ("aac", "mp3", "ac3", "alac", "pcm_s16le"),
        alpha=_PRORES,
        alpha_format="yuva444p10le",
    ),
    "mkv": Container(
        "matroska", "mkv", _X264, _AAC, ("aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "pcm_s16le")
    ),
    "webm": Container("webm", "mkv", _VP9, _OPUS, ("opus", "vorbis"), alpha=_VP9, alpha_format="yuva420p"),
    "avi": Container(
        "avi", "avi", _X264, ("-c:a", "libmp3lame", "-q:a", "3"), ("mp3", "ac3"), has_times=False
    ),
    "ts": Container("mpegts", "ts", _X264, _AAC, _TS_SOUND),
    "m2ts": Container("mpegts", "ts", _X264, _AAC, _TS_SOUND, options=("-mpegts_m2ts_mode", "1")),
    "3gp": Container("3gp", "mp4", _X264, _AAC, ("aac",)),
    "flv": Container("flv", "flv", _X264, _AAC, ("aac", "mp3")),
    "wmv": Container("asf", "asf", _WMV, _WMA, ("wmav2",), matrix="smpte170m"),
    "mpg": Container("mpeg", "mpg", _MPEG2, _MP2, ("mp2",), has_times=False, rates=MPEG_RATES),
    "vob": Container("vob", "mpg", _MPEG2, _MP2, ("mp2", "ac3"), has_times=False, rates=MPEG_RATES),
    "ogv": Container(
        "ogv", "ogg", _THEORA, _VORBIS, ("vorbis", "opus", "flac"), has_times=False, matrix="smpte170m"
    ),
}
for _name, _same in (("m4v", "mp4"), ("3g2", "3gp"), ("mts", "m2ts"), ("asf", "wmv"), ("mpeg", "mpg")):
    CONTAINERS[_name] = CONTAINERS[_same]


def keeps_tags(format: str) -> bool:
    """Whether a film of this format says which colours it has, so that they may stay those of its source."""
    return format in CONTAINERS and CONTAINERS[format].video[1] in ("libx264", "libvpx-vp9")


def keeps_alpha(format: str) -> bool:
    """Whether a film of this format has room for transparency."""
    return format in CONTAINERS and bool(CONTAINERS[format].alpha)


def keeps_sound(format: str) -> bool:
    """Whether clips of this format have room for sound."""
    return format in CONTAINERS or format == "nut"


def encoder_options(container: Container, crf: int | None, preset: str, has_alpha: bool = False) -> list[str]:
    """The encoder with its quality, from H.264's scale (18 looks like the source); webm has a scale of its
    own.

    Quantiser scales of MPEG follow x264's own conversion, 0.85 * 2 ** ((crf - 12) / 6).
    """
    crf = crf if crf is not None else 24 if "libvpx-vp9" in container.video else 18
    encoder = container.alpha if has_alpha else container.video
    qscale = min(31, max(1, round(0.85 * 2 ** ((crf - 12) / 6))))
    theora = min(10, max(0, round(10 - (crf - 12) / 4)))
    return [part.format(crf=crf, preset=preset, qscale=qscale, theora=theora) for part in encoder]


def rate_for(container: Container, rate: Fraction) -> Fraction:
    """The rate to write a clip of constant `rate` at: a multiple of it, or else the next faster."""
    if not container.rates or rate in container.rates:
        return rate
    even = [known for known in container.rates if known % rate == 0]
    faster = [known for known in container.rates if known > rate]
    return (even or faster or [max(container.rates)])[0]


# --- names ---------------------------------------------------------------------------------------

VIDEO = tuple(CONTAINERS)
STREAMS = ("nut", "y4m", "mono", "rgb24", "rgba")
PICTURES = ("apng", "png", "webp", "avif")
FORMATS = ("gif", *STREAMS, *VIDEO, *PICTURES, "folder")
STILLS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".tga",
    ".avif",
)  # of folders of frames
# films that ffmpeg reads and we do not write
READ_ONLY = (
    "divx",
    "dv",
    "f4v",
    "h264",
    "hevc",
    "ivf",
    "m1v",
    "m2v",
    "mj2",
    "mjpeg",
    "mpe",
    "mxf",
    "ogm",
    "qt",
    "rm",
    "rmvb",
    "wtv",
)
CLIP_SUFFIXES = tuple(
    f".{name}" for name in ("gif", *VIDEO, "apng", "webp", "avif", "nut", "y4m", *READ_ONLY)
)
SAME = ({"y4m", "mono"}, {"png", "apng"})


def is_pattern(path: str) -> bool:
    """Whether a path names one picture per frame: a folder, or a picture's name with %d or %05d.

    `100%done.png` is no pattern: a bare %d counts only where no letter follows.
    """
    if path.endswith(("/", os.sep)) or os.path.isdir(path):
        return True
    name = os.path.basename(path).lower()
    return name.endswith(STILLS) and re.search(r"%(0?\d+d|d(?![a-z]))", name) is not None


def has_wildcard(path: str) -> bool:
    """Whether a path has a letter that stands for others."""
    return any(letter in path for letter in "*?[")


def names_pictures(path: str) -> bool:
    """Whether the name of an input stands for several pictures, one a frame: a folder, a pattern such as
    `img-%03d.png`, or `*.png` as the shell did not replace it. A file that is called so is that file.
    """
    if path == "-" or os.path.isfile(path):
        return False
    if os.path.isdir(path):
        return True
    name = os.path.basename(path).lower()
    return not os.path.exists(path) and (is_pattern(path) or (name.endswith(STILLS) and has_wildcard(path)))


def suffix_of(path: str) -> str:
    """The format that the suffix of a name stands for, or ""."""
    suffix = os.path.splitext(path)[1].lower().removeprefix(".")
    return suffix if suffix in FORMATS and suffix != "folder" else ""


def format_of(path: str) -> str:
    """The format that the name of an output asks for; "-" and unknown suffixes are errors."""
    if path != "-" and is_pattern(path):
        return "folder"
    if path == "-":
        raise UsageError(
            "standard output has no suffix to tell the format.",
            f"The formats are: {', '.join(FORMATS)}.",
            f"Add {option('to', 'FORMAT')}",
        )
    if suffix := suffix_of(path):
        return suffix
    near = nearest(os.path.splitext(path)[1].lower().removeprefix("."), FORMATS)
    raise UsageError(
        f"{path}: no format is known for this name{near}",
        f"The formats are: {', '.join(FORMATS)}.",
        f"Rename it, or add {option('to', 'FORMAT')}",
    )


def output_format(path: str, to: str | None = None) -> str:
    """The format to write: `to`, else what the name says; a GIF on standard output and in a device.

    Raises UsageError for an unknown suffix, and for a name that says another format than `to`.
    """
    named = suffix_of(path)
    if to:
        if to not in FORMATS:
            raise UsageError(
                f"{option('to', to)} is not a format{nearest(to, FORMATS)}",
                f"The formats are: {', '.join(FORMATS)}.",
            )
        if named and named != to and to != "folder" and not any({named, to} <= same for same in SAME):
            raise UsageError(
                f"{path} is named as {named}, and {option('to', to)} was given.",
                "One of them is wrong.",
                f"Name it with .{to}, or leave out {option('to')}",
            )
        return to
    if not named and (path == "-" or _is_device(path)):
        return "gif"
    return format_of(path)


def _is_device(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


# --- what is inside ------------------------------------------------------------------------------

LOOK = 64  # bytes that tell what a file is
_STARTS = (  # of files: where the bytes stand, the bytes, the family
    (0, b"GIF8", "gif"),
    (0, b"nut/multimedia", "nut"),
    (0, b"YUV4MPEG2", "y4m"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (8, b"WEBP", "webp"),
    (8, b"AVI ", "avi"),
    (0, b"\x1a\x45\xdf\xa3", "mkv"),
    (0, b"FLV", "flv"),
    (0, b"\x30\x26\xb2\x75", "asf"),
    (0, b"OggS", "ogg"),
    (0, b"\0\0\1\xba", "mpg"),
    (4, b"ftypavif", "avif"),
    (4, b"ftypavis", "avif"),
    *((4, box, "mp4") for box in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")),
    (0, b"\x47", "ts"),
    (4, b"\x47", "ts"),
)


def family_of(start: bytes) -> str:
    """The kind of file that starts so, as far as its first 16 bytes tell; "" for others."""
    return next((family for at, magic, family in _STARTS if start[at : at + len(magic)] == magic), "")


def check_own_format(path: str, start: bytes) -> None:
    """Refuse to rewrite a file whose content is of another kind than its name says. Raises UsageError."""
    named = format_of(path)
    family = (
        CONTAINERS[named].family if named in CONTAINERS else {"apng": "png", "mono": "y4m"}.get(named, named)
    )
    found = family_of(start)
    if found != family:
        what = f"holds {found}" if found else f"does not begin as {named} does"
        raise UsageError(
            f"{path} is named as {named}, but {what}.",
            "Rewritten in place it would become another kind of file.",
            f"Name the output: {option('output', 'FILE')}",
        )
