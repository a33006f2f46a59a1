"""How clips are read, written and given palettes: plain values that travel whole from a face to a reader or
writer.

They are named tuples, whose making costs a start a quarter of what frozen dataclasses cost.
"""

from fractions import Fraction
from typing import NamedTuple

from vedit.media.light import DEFAULT_CURVE
from vedit.media.limits import Limits


class ReadOptions(NamedTuple):
    """How to read a clip, and which part of it; each kind of input heeds what concerns it.

    format: the reader, instead of a look at the first bytes; needed for rgb24 and rgba, with `size` and
    `rate` or with `raw_info`, a file that a writer of raw frames left. rate is also that of pictures, one a
    frame. pictures: the files of a clip that is a list of them. still_s: how long a single picture is shown.
    strict: damage of a GIF that leaves something whole is an error.

    Of films, frames outside `start_s` and `duration_s` may be left out; time stamps stay those of
    the source. scale: (width, height) to scale to, None in one place for the aspect. fps: a faster
    constant rate is thinned out to this one. is_quick: the fastest conversion to RGB, which does not
    interpolate colour between its samples. tonemap: one of `light.CURVES`, for HDR. wants_planes:
    give "yuv" frames where the film is stored so. deinterlace: "auto" makes whole pictures of the halves of a
    film that says it is interlaced, "on" of every film, "off" of none.
    """

    format: str | None = None
    rate: Fraction | None = None
    size: tuple[int, int] | None = None
    raw_info: str | None = None
    limits: Limits = Limits()
    strict: bool = False
    start_s: Fraction = Fraction(0)
    duration_s: Fraction | None = None
    scale: tuple[int | None, int | None] | None = None
    fps: Fraction | None = None
    is_quick: bool = False
    tonemap: str = DEFAULT_CURVE
    wants_planes: bool = False
    deinterlace: str = "auto"
    pictures: tuple[str, ...] = ()
    still_s: Fraction | None = None


class WriteOptions(NamedTuple):
    """How to write a clip; each format heeds what concerns it.

    format: one of `formats.FORMATS`, None to go by the name. rate: of formats with a constant one.
    background: shown where the clip is transparent and the format is not; None is black in y4m and
    rgb24, white in film and JPEG, and keeps transparency in films that have room for it.
    quality: of WebP and AVIF, 0 to 100; None is exact for what comes from a GIF (AVIF: nearly), else 90.
    raw_info: a file for the JSON line about raw frames, which otherwise goes to standard error.
    overwrite: replace the pictures of a folder.

    Of films: crf and preset of the encoder; even: what to do with odd sizes, which 4:2:0 cannot
    have: "pad" repeats the last row or column, "crop" leaves it out, "scale" stretches the picture
    to the even size above. repeat: play the clip this many times. comment: a tag of the file.
    """

    format: str | None = None
    rate: Fraction | None = None
    background: str | None = None
    quality: int | None = None
    raw_info: str | None = None
    keep_audio: bool = True
    overwrite: bool = False
    crf: int | None = None
    preset: str = "medium"
    even: str = "pad"
    repeat: int = 1
    comment: str | None = None


class QuantiseOptions(NamedTuple):
    """How full colour becomes palette colours.

    palette: "auto" keeps the source's colours where they are good enough, "keep" always,
    "global" makes one palette for the clip (reads it twice), "frame" makes one per frame.
    colors: most colours of a palette, 2 to 256; the transparent entry is extra up to 256.
    dither: "none", "bayer" or "fs" (Floyd-Steinberg).
    """

    palette: str = "auto"
    colors: int = 256
    dither: str = "none"
