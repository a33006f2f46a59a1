"""A contact sheet of a batch, for papers: a row per clip, a column per variant, the middle frame of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vedit.errors import InputError, UsageError
from vedit.jobs.batch.gallery import DONE, FAILED, Gallery, Linked
from vedit.jobs.batch.plan import Plan
from vedit.media.atomic import open_output

if TYPE_CHECKING:
    from PIL import Image

TILE, GAP, HEAD, NAMES = 160, 8, 40, 168  # pixels
SMALL = 12  # of letters
PAPER, INK, SOFT, BAD = "white", (27, 31, 36), (87, 96, 106), (180, 70, 0)
LARGEST = 60_000_000  # pixels of a sheet


class _Files(Linked):
    """Pictures by their own paths."""

    def picture(self, path: str) -> str | None:
        return path


def write_sheet(plan: Plan, path: str) -> None:
    """Write the sheet as PNG.

    Raises UsageError for another name, InputError for too many edits, OutputError.
    """
    if not path.lower().endswith(".png"):
        raise UsageError(f"{path}: a contact sheet is a PNG.", "", "Name it with .png")
    gallery = Gallery(plan)
    gallery.make_thumbs()
    picture = sheet(gallery.facts(_Files(gallery.base)))
    with open_output(path) as stream:
        picture.save(stream, "PNG", optimize=False)


def sheet(facts: dict[str, Any]) -> Image.Image:
    """The sheet of what a gallery tells, see `vedit.jobs.batch.gallery`."""
    from PIL import Image, ImageDraw

    from vedit.media.overlay import load_font

    rows: dict[int, dict[tuple[int, ...], dict[str, Any]]] = {}
    for cell in facts["cells"]:
        rows.setdefault(cell["v"][0], {})[tuple(cell["v"][1:])] = cell
    columns = sorted({place for row in rows.values() for place in row})
    width = NAMES + GAP + (len(columns) + 1) * (TILE + GAP)
    height = HEAD * max(1, len(facts["dimensions"]) - 1) // 2 + GAP + len(rows) * (TILE + GAP)
    if width * height > LARGEST:
        raise InputError(
            f"{len(facts['cells'])} edits are too many for a sheet of {width} x {height} pixels.",
            "The page has no such limit: vedit batch gallery DIR.",
        )
    picture = Image.new("RGB", (width, height), PAPER)
    pen, font = ImageDraw.Draw(picture), load_font(None, SMALL)
    top = HEAD * max(1, len(facts["dimensions"]) - 1) // 2
    _write(pen, font, (NAMES + GAP, 4), "source", TILE, 1, SOFT)
    for number, place in enumerate(columns, 1):
        words = [
            f"{dimension['name']} {dimension['values'][value]}"
            for dimension, value in zip(facts["dimensions"][1:], place)
        ]
        for line, text in enumerate(words):
            _write(pen, font, (NAMES + GAP + number * (TILE + GAP), 4 + line * 18), text, TILE, 1, INK)
    for row, (clip, cells) in enumerate(rows.items()):
        y = top + GAP + row * (TILE + GAP)
        _write(pen, font, (GAP, y), facts["dimensions"][0]["values"][clip], NAMES - GAP, 8, INK)
        source = facts["sources"][next(iter(cells.values()))["c"]]
        _paste(picture, source.get("poster"), (NAMES + GAP, y))
        for number, place in enumerate(columns, 1):
            spot = NAMES + GAP + number * (TILE + GAP), y
            cell = cells.get(place)
            if cell is None:
                continue
            if cell["s"] == DONE and cell.get("poster"):
                _paste(picture, cell["poster"], spot)
                continue
            pen.rectangle((*spot, spot[0] + TILE - 1, spot[1] + TILE - 1), outline=(208, 215, 222))
            said = f"failed: {cell.get('why', '')}" if cell["s"] == FAILED else "no picture"
            inner = spot[0] + 6, spot[1] + 6
            _write(pen, font, inner, said, TILE - 12, 9, BAD if cell["s"] == FAILED else SOFT)
    return picture


def _paste(picture: Image.Image, poster: str | None, spot: tuple[int, int]) -> None:
    """Put a poster into the middle of its square; small ones are enlarged by whole steps."""
    from PIL import Image

    if poster is None:
        return
    with Image.open(poster) as opened:
        shown = opened.convert("RGB")
    if max(shown.size) * 2 <= TILE:
        step = TILE // max(shown.size)
        shown = shown.resize((shown.width * step, shown.height * step), Image.Resampling.NEAREST)
    shown.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    picture.paste(shown, (spot[0] + (TILE - shown.width) // 2, spot[1] + (TILE - shown.height) // 2))


def _write(pen: Any, font: Any, spot: tuple[int, int], text: str, width: int, most: int, ink: Any) -> None:
    """Words in a column, at most so many lines; what does not fit ends in an ellipsis."""
    lines = wrapped(text, font.getlength, width)
    if len(lines) > most:
        last = lines[most - 1]
        while last and font.getlength(f"{last}…") > width:
            last = last[:-1]
        lines = [*lines[: most - 1], f"{last}…"]
    for number, line in enumerate(lines):
        pen.text((spot[0], spot[1] + number * (SMALL + 4)), line, fill=ink, font=font)


def wrapped(text: str, length: Any, width: float) -> list[str]:
    """A text in lines of a width; a word that is longer is broken."""
    lines, line = [], ""
    for word in " ".join(text.split()).split(" "):
        while length(word) > width:
            fits = next(
                count for count in range(len(word) - 1, 0, -1) if count == 1 or length(word[:count]) <= width
            )
            if line:
                lines.append(line)
                line = ""
            lines.append(word[:fits])
            word = word[fits:]
        longer = f"{line} {word}".strip()
        if length(longer) <= width:
            line = longer
        else:
            lines.append(line)
            line = word
    return [*lines, line] if line else lines
