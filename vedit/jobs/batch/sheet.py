"""A contact sheet of a batch, for papers: a row per clip, a column per variant, the middle frame of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vedit.errors import InputError, UsageError
from vedit.jobs.batch.gallery import DONE, FAILED, Gallery, Linked
from vedit.jobs.batch.plan import Plan
from vedit.media.atomic import open_output

if TYPE_CHECKING:
    from PIL import Image

TILE, GAP, NAMES, LEAST = 160, 8, 168, 68  # pixels; a row is at least so high
SMALL, LINE = 12, 16  # of letters, and from line to line
PAPER, INK, SOFT, BAD, EDGE = "white", (27, 31, 36), (87, 96, 106), (180, 70, 0), (208, 215, 222)
WITHOUT = ("not made yet", "no picture")
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
    dimensions = facts["dimensions"][1:]
    top = GAP + LINE * max(1, len(dimensions)) + GAP
    width = NAMES + GAP + (len(columns) + 1) * (TILE + GAP)
    _check_size(len(facts["cells"]), width, top + len(rows) * (TILE + GAP))
    bands = [_Band(facts["sources"], cells) for cells in rows.values()]
    picture = Image.new("RGB", (width, top + sum(band.height + GAP for band in bands)), PAPER)
    pen, font = ImageDraw.Draw(picture), load_font(None, SMALL)
    _write(pen, font, (NAMES + GAP, GAP), "source", TILE, 1, SOFT)
    for number, place in enumerate(columns, 1):
        for line, (dimension, value) in enumerate(zip(dimensions, place)):
            words = f"{dimension['name']} {dimension['values'][value]}"
            _write(pen, font, (_left(number), GAP + line * LINE), words, TILE, 1, INK)
    y = top
    for clip, band in zip(rows, bands):
        name = facts["dimensions"][0]["values"][clip]
        _write(pen, font, (GAP, y), name, NAMES - GAP, band.height // LINE, INK)
        band.draw(picture, pen, font, y, columns)
        y += band.height + GAP
    return picture


def _check_size(count: int, width: int, height: int) -> None:
    if width * height > LARGEST:
        raise InputError(
            f"{count} edits are too many for a sheet of {width} x {height} pixels.",
            "The page has no such limit.",
        )


def _left(column: int) -> int:
    return NAMES + GAP + column * (TILE + GAP)


class _Band:
    """A row of the sheet: the pictures of a clip, as high as the highest of them."""

    def __init__(self, sources: list[dict[str, Any]], cells: dict[tuple[int, ...], dict[str, Any]]) -> None:
        self.cells = cells
        self.source = _tile(sources[next(iter(cells.values()))["c"]].get("poster"))
        self.tiles = {place: _tile(cell.get("poster")) for place, cell in cells.items()}
        heights = [tile.height for tile in (self.source, *self.tiles.values()) if tile is not None]
        self.height = max([LEAST, *heights])

    def draw(self, picture: Image.Image, pen: Any, font: Any, y: int, columns: list[tuple[int, ...]]) -> None:
        if self.source is not None:
            self._paste(picture, self.source, _left(0), y)
        for number, place in enumerate(columns, 1):
            cell, tile, x = self.cells.get(place), self.tiles.get(place), _left(number)
            if cell is None:
                continue
            if tile is not None:
                self._paste(picture, tile, x, y)
                continue
            pen.rectangle((x, y, x + TILE - 1, y + self.height - 1), outline=EDGE)
            said = f"failed: {cell.get('why', '')}" if cell["s"] == FAILED else WITHOUT[cell["s"] == DONE]
            ink = BAD if cell["s"] == FAILED else SOFT
            _write(pen, font, (x + 6, y + 4), said, TILE - 12, (self.height - 8) // LINE, ink)

    def _paste(self, picture: Image.Image, tile: Image.Image, x: int, y: int) -> None:
        picture.paste(tile, (x + (TILE - tile.width) // 2, y + (self.height - tile.height) // 2))


def _tile(poster: str | None) -> Image.Image | None:
    """A poster at its size on the sheet; small ones are enlarged by whole steps."""
    from PIL import Image

    from vedit.media.pictures import read_file

    if poster is None:
        return None
    shown: Image.Image = read_file(poster).convert("RGB")
    if max(shown.size) * 2 <= TILE:
        step = TILE // max(shown.size)
        shown = shown.resize((shown.width * step, shown.height * step), Image.Resampling.NEAREST)
    shown.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    return shown


def _write(pen: Any, font: Any, spot: tuple[int, int], text: str, width: int, most: int, ink: Any) -> None:
    """Words in a column, at most so many lines; what does not fit ends in an ellipsis."""
    lines = wrapped(text, font.getlength, width)
    if len(lines) > most:
        last = lines[most - 1]
        while last and font.getlength(f"{last}…") > width:
            last = last[:-1]
        lines = [*lines[: most - 1], f"{last}…"]
    for number, line in enumerate(lines):
        pen.text((spot[0], spot[1] + number * LINE), line, fill=ink, font=font)


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
