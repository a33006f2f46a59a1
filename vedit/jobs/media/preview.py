"""Look at a clip: in the terminal, as a contact sheet, or one composed frame as a picture."""

from __future__ import annotations

import base64
import io
import os
import re
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple, TextIO

from PIL import Image

from vedit.errors import InputError, UsageError, VeditError, Warn, option, silent
from vedit.jobs.request import Request
from vedit.media.frames import GIF_TIMEBASE, Clip, Frame, Frames
from vedit.media.limits import environment_limits, parse_limits
from vedit.media.options import ReadOptions
from vedit.media.source import composed, counted, source_of
from vedit.media.timing import evenly

CELL = 10, 20  # pixels of a character cell, as most terminals have them
BROWSER_TICKS = 10  # browsers play a GIF delay of 0 or 1 cs as 10
LIGHT, DARK, PAPER, INK = (235, 235, 235), (205, 205, 205), (24, 24, 24), (220, 220, 220)
GRID = 4, 3  # columns and rows of a contact sheet
GAP, LABEL = 8, 16  # pixels between the pictures of a contact sheet, and of a line of text


class PreviewFields(NamedTuple):
    """The fields of `PreviewRequest`."""

    input: str = "-"
    output: str | None = None
    grid: tuple[int, int] | None = None
    tile: int = 240
    frame: int | None = None
    style: str = "auto"
    overwrite: bool | None = None
    strict: bool = False
    limits: tuple[str, ...] = ()


class PreviewRequest(PreviewFields, Request):
    """Look at a clip.

    output: a picture; None draws it with characters. grid: columns and rows of the contact sheet that an
    output without a frame is, 4x3 by default. tile: the longer side of its pictures. frame: only this one,
    counted from 1. style: auto, blocks, kitty or sixel. overwrite: replace an output that exists; False
    leaves it, None lets the face decide. limits: KEY=N.
    """

    def check(self) -> None:
        """Refuse what does not go together. Raises UsageError."""
        if self.grid and self.frame:
            raise UsageError(
                f"{option('grid')} and {option('frame')} were given together.",
                f"A contact sheet has many frames, {option('frame')} picks one.",
                "Give one of them.",
            )
        if self.grid and self.output is None:
            columns, rows = self.grid
            raise UsageError(
                f"{option('grid')} makes a picture, and no output is named.",
                "",
                (
                    f"Add {option('output', 'sheet.png')} to: vedit gif preview {self.input}"
                    f" --grid {columns}x{rows}"
                ),
            )

    def unused(self, given: Container[str]) -> Iterator[str]:
        """What to say of options that were given, and change nothing here."""
        if "tile" in given and (self.frame or self.output is None):
            yield (
                f"{option('tile')} changes nothing: it is for contact sheets, which {option('output')} writes"
                f" without {option('frame')}"
            )
        if "style" in given and self.output is not None:
            yield (
                f"{option('style')} changes nothing: it is for the terminal, and {option('output')} writes a"
                " picture"
            )

    @property
    def read(self) -> ReadOptions:
        return ReadOptions(limits=parse_limits(self.limits, environment_limits()), strict=self.strict)


def show(
    request: PreviewRequest, out: TextIO, columns: int, rows: int, warn: Warn = silent, *, to_terminal: bool
) -> None:
    """Play in a terminal; draw one frame elsewhere, or when it is asked for. Raises VeditError."""
    style = request.style
    if style == "auto":
        style = terminal_style(os.environ) if to_terminal else "blocks"
    with opened(request.input, request.read, warn) as (_, shots):
        if request.frame is None and to_terminal:
            play(shots, out, style, columns, rows)
        else:
            text, _ = draw(pick(shots, request.frame or 1).picture, style, columns, rows)
            out.write(text)
            out.flush()


def write(request: PreviewRequest, warn: Warn = silent, *, to_terminal: bool = False) -> None:
    """One frame, or a contact sheet, as a picture.

    to_terminal: standard output is a terminal, which takes no picture. Raises VeditError.
    """
    from vedit.media.atomic import check_output, open_output

    assert request.output is not None, "what has no output is shown"
    format, number = picture_format(request.output), request.frame
    if request.output == "-" and to_terminal:
        output = option("output")
        raise UsageError(
            "a picture would go to the terminal.",
            "",
            f"Name a file with {output}, or leave out {output} to draw it",
        )
    check_output(request.output, (request.input,), request.overwrite)
    with opened(request.input, request.read, warn, is_counted=number is None) as (clip, shots):
        if number is None:
            picture = contact_sheet(clip, shots, *(request.grid or GRID), request.tile)
        else:
            picture = pick(shots, number).picture
    with open_output(request.output) as stream:
        save_picture(picture, stream, format)


class Shot(NamedTuple):
    """A composed frame to show: its number from 1, and when it starts and how long it stays in seconds."""

    number: int
    picture: Image.Image
    start_s: Fraction
    duration_s: Fraction


@contextmanager
def opened(
    name: str, read: ReadOptions = ReadOptions(), warn: Warn = silent, is_counted: bool = False
) -> Iterator[tuple[Clip, Iterator[Shot]]]:
    """The composed frames of a clip; errors name the file.

    is_counted: make sure that `frames_hint` is the very number of frames, by a first pass if need be.
    """
    try:
        with ExitStack() as stack:
            source = source_of(name, read, stack, warn)
            count = counted(source) if is_counted else None
            clip, frames = composed(source)
            clip.frames_hint = count
            yield clip, _shots(clip, frames)
    except VeditError as error:
        raise error.in_file(name) from None


def _shots(clip: Clip, frames: Frames) -> Iterator[Shot]:
    start = Fraction(0)
    for number, frame in enumerate(frames, 1):
        duration = _ticks(clip, frame) * clip.timebase
        yield Shot(number, frame.pixels, start, duration)
        start += duration


def _ticks(clip: Clip, frame: Frame) -> int:
    return BROWSER_TICKS if clip.timebase == GIF_TIMEBASE and frame.duration < 2 else frame.duration


def pick(shots: Iterator[Shot], number: int) -> Shot:
    """The frame with that number, counted from 1; raises UsageError when the clip is shorter."""
    last = 0
    for shot in shots:
        last = shot.number
        if last == number:
            return shot
    raise UsageError(
        f"there is no frame {number}: the clip has {last}.", f"Frames are counted from 1 to {last}."
    )


def contact_sheet(clip: Clip, shots: Iterator[Shot], columns: int, rows: int, tile: int) -> Image.Image:
    """A table of evenly spread frames, each with its number and time under it.

    clip: with its number of frames. tile: the longer side of each picture in pixels; smaller clips keep their
    size.
    """
    assert clip.frames_hint is not None, "the caller opens the clip counted"
    wanted = {1 + place for place in evenly(clip.frames_hint, columns * rows)}
    shown = [(shot, _shrunk(shot.picture, tile, tile)) for shot in shots if shot.number in wanted]
    if not shown:
        raise InputError("no frames to show.")
    columns = min(columns, len(shown))
    width = max(_label_width(shot) for shot, _ in shown)
    width = max(width, shown[0][1].width)
    height = shown[0][1].height + LABEL
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), PAPER)
    for place, (shot, picture) in enumerate(shown):
        x, y = GAP + place % columns * (width + GAP), GAP + place // columns * (height + GAP)
        sheet.paste(_on_checks(picture), (x + (width - picture.width) // 2, y))
        _write_label(sheet, shot, x, y + picture.height, width)
    return sheet


def _label(shot: Shot) -> str:
    return f"{shot.number}   {float(shot.start_s):.2f} s"


def _label_width(shot: Shot) -> int:
    return int(_font().getlength(_label(shot))) + 2


def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(12)


def _write_label(sheet: Image.Image, shot: Shot, x: int, y: int, width: int) -> None:
    from PIL import ImageDraw

    ImageDraw.Draw(sheet).text((x + width // 2, y + LABEL // 2 + 1), _label(shot), INK, _font(), anchor="mm")


def _on_checks(picture: Image.Image) -> Image.Image:
    """The picture on a chequered ground, as editors show transparency."""
    if picture.mode == "RGB":
        return picture
    square = Image.new("RGB", (16, 16), LIGHT)
    square.paste(DARK, (0, 0, 8, 8))
    square.paste(DARK, (8, 8, 16, 16))
    ground = Image.new("RGB", picture.size)
    for y in range(0, picture.height, 16):
        for x in range(0, picture.width, 16):
            ground.paste(square, (x, y))
    ground.paste(picture.convert("RGB"), (0, 0), picture.getchannel("A"))
    return ground


def _shrunk(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture inside that size, keeping its aspect; never enlarged."""
    share = min(Fraction(width, picture.width), Fraction(height, picture.height))
    if share >= 1:
        return picture
    size = max(1, int(picture.width * share)), max(1, int(picture.height * share))
    if picture.mode == "RGB":
        return picture.resize(size, Image.Resampling.BOX)
    return picture.convert("RGBa").resize(size, Image.Resampling.BOX).convert("RGBA")


def save_picture(picture: Image.Image, stream: BinaryIO, format: str) -> None:
    """Write a picture without loss: png or webp."""
    options: dict[str, Any] = {"lossless": True, "exact": True} if format == "webp" else {}
    picture.save(stream, format, **options)


def terminal_style(environment: Mapping[str, str]) -> str:
    """How the terminal can draw, by what it says of itself: kitty, sixel or blocks."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "").lower()
    if "TMUX" in environment or term.startswith("screen"):
        return "blocks"  # what is in between lets no graphics through
    if (
        "kitty" in term
        or "KITTY_WINDOW_ID" in environment
        or "ghostty" in term
        or program in ("ghostty", "wezterm")
    ):
        return "kitty"
    if "sixel" in term or term.split("-")[0] in ("foot", "mlterm", "contour", "yaft") or program == "mintty":
        return "sixel"
    return "blocks"


def draw(picture: Image.Image, style: str, columns: int, rows: int) -> tuple[str, int]:
    """The text that draws a picture at the cursor within so many character cells, and the rows it takes.

    The cursor is at the start of the row after the picture when the text has been written.
    """
    return {"blocks": _blocks, "kitty": _kitty, "sixel": _sixel}[style](picture, columns, rows)


def _blocks(picture: Image.Image, columns: int, rows: int) -> tuple[str, int]:
    """Half blocks in 24-bit colour, two pixels to a character; transparent pixels show the terminal."""
    pixels = _shrunk(picture, columns, 2 * rows).convert("RGBA")
    width, height = pixels.size
    if height % 2:
        taller = Image.new("RGBA", (width, height + 1))
        taller.paste(pixels, (0, 0))
        pixels = taller
    data = pixels.tobytes()
    lines = []
    for y in range(0, pixels.height, 2):
        above, below = (data[4 * width * row : 4 * width * (row + 1)] for row in (y, y + 1))
        lines.append("".join(_half_blocks(above, below)) + "\x1b[0m\n")
    return "".join(lines), len(lines)


def _half_blocks(above: bytes, below: bytes) -> Iterator[str]:
    """One row of characters; a colour is said only where it changes."""
    front = back = ""
    for i in range(0, len(above), 4):
        top = "{};{};{}".format(*above[i : i + 3]) if above[i + 3] >= 128 else ""
        bottom = "{};{};{}".format(*below[i : i + 3]) if below[i + 3] >= 128 else ""
        ink, ground, character = (
            (top, bottom, "▀") if top else (bottom, "", "▄") if bottom else (front, "", " ")
        )
        if ground != back:
            yield f"\x1b[48;2;{ground}m" if ground else "\x1b[49m"
            back = ground
        if ink != front:
            yield f"\x1b[38;2;{ink}m"
            front = ink
        yield character


def _cells(picture: Image.Image, columns: int, rows: int) -> tuple[int, int]:
    """The columns and rows that a picture takes at its own size, or as much of it as there is room for."""
    width, height = CELL
    share = min(
        Fraction(1), Fraction(columns * width, picture.width), Fraction(rows * height, picture.height)
    )
    return max(1, -int(-picture.width * share // width)), max(1, -int(-picture.height * share // height))


def _kitty(picture: Image.Image, columns: int, rows: int) -> tuple[str, int]:
    """The kitty graphics protocol: PNG in base64, in chunks of 4096, always the same image and place."""
    wide, high = _cells(picture, columns, rows)
    data = io.BytesIO()
    _shrunk(picture, columns * CELL[0], rows * CELL[1]).save(data, "png", compress_level=1)
    text = base64.b64encode(data.getvalue()).decode()
    chunks = [text[i : i + 4096] for i in range(0, len(text), 4096)]
    control = f"a=T,f=100,i=1,p=1,q=2,C=1,c={wide},r={high},"
    parts = [
        f"\x1b_G{control if i == 0 else ''}m={int(i < len(chunks) - 1)};{chunk}\x1b\\"
        for i, chunk in enumerate(chunks)
    ]
    return "\n" * high + f"\x1b[{high}A" + "".join(parts) + "\n" * high, high


def _sixel(picture: Image.Image, columns: int, rows: int) -> tuple[str, int]:
    """DEC sixel graphics: bands of six rows, one pass per colour, runs shortened."""
    picture = _shrunk(picture, columns * CELL[0], rows * CELL[1])
    indices = picture.convert("RGB").quantize(255)
    palette = indices.getpalette() or []
    data = indices.tobytes()
    if picture.mode == "RGBA":  # 255 is not in the palette: nothing is drawn
        plane = indices.point(list(range(256)), "L")
        plane.paste(255, (0, 0), picture.getchannel("A").point([255] * 128 + [0] * 128))
        data = plane.tobytes()
    width, height = picture.size
    parts = [f'\x1bP0;1;0q"1;1;{width};{height}']
    parts += (
        f"#{i};2;" + ";".join(str(round(level / 2.55)) for level in palette[3 * i : 3 * i + 3])
        for i in sorted({*data} - {255})
    )
    for top in range(0, height, 6):
        lines = [data[y * width : (y + 1) * width] for y in range(top, min(top + 6, height))]
        parts.append(
            "$".join(f"#{colour}{_band(lines, colour)}" for colour in sorted({*b"".join(lines)} - {255}))
            + "-"
        )
    return "".join(parts) + "\x1b\\\n", _cells(picture, columns, rows)[1]


def _band(lines: list[bytes], colour: int) -> str:
    """Where a colour is in a band: per column six bits, the topmost first, plus 63."""
    bits = 0
    for i, line in enumerate(lines):
        bits |= int.from_bytes(line.translate(bytes(colour) + bytes((1 << i,)) + bytes(255 - colour)), "big")
    text = bits.to_bytes(len(lines[0]), "big").translate(bytes((v + 63) & 255 for v in range(256))).decode()
    return re.sub(r"(.)\1{3,}", lambda run: f"!{len(run[0])}{run[1]}", text.rstrip("?"))


def play(
    shots: Iterator[Shot],
    out: TextIO,
    style: str,
    columns: int,
    rows: int,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Draw the frames one over another, each when it is due; those that are late are left out.

    The last one always stays. However this ends, the cursor is shown again, below the picture.
    """
    start = now()
    drawn = 0
    late: Shot | None = None
    try:
        out.write("\x1b[?25l")
        for shot in shots:
            ends = start + float(shot.start_s + shot.duration_s)
            if drawn and now() >= ends:
                late = shot
                continue
            sleep(max(0.0, start + float(shot.start_s) - now()))
            drawn, late = _draw_over(out, shot, style, columns, rows, drawn), None
        if late is not None:
            _draw_over(out, late, style, columns, rows, drawn)
        else:
            sleep(max(0.0, ends - now()))
    finally:
        out.write("\x1b[0m\x1b[?25h")
        out.flush()


def _draw_over(out: TextIO, shot: Shot, style: str, columns: int, rows: int, drawn: int) -> int:
    """Draw a frame where the one before is; gives the rows it takes."""
    text, height = draw(shot.picture, style, columns, rows)
    out.write((f"\x1b[{drawn}A\r" if drawn else "") + text)
    out.flush()
    return height


def picture_format(output: str) -> str:
    """png or webp, by the name of the output; both keep every pixel."""
    suffix = os.path.splitext(output)[1].lower()
    if output == "-" or suffix == ".png":
        return "png"
    if suffix == ".webp":
        return "webp"
    raise UsageError(
        f"{output}: previews are written as PNG or WebP.",
        "Other formats would lose pixels or transparency.",
        "Name it with .png or .webp",
    )
