"""The loss curve of a run as a picture, from its log."""

import math
from pathlib import Path
from typing import TypeGuard

from vedit.documents import Kind, whole_lines

SIZE = (900, 420)
LOG = Kind("a log of training", largest=2**30)
MARGIN = (70, 30, 20, 40)  # left, top, right, bottom
COLOURS = {"loss": (31, 90, 180), "l_pix": (220, 120, 30), "l_perc": (60, 150, 70)}


def read_log(path: Path) -> list[dict[str, float]]:
    """The losses of each line of a log, with its step; a torn last line is left out."""
    rows = []
    for record in whole_lines(path, LOG) if path.exists() else ():
        step, losses = record.get("step"), record.get("losses")
        if _is_number(step) and isinstance(losses, dict):
            rows.append(
                {"step": step, **{name: losses[name] for name in COLOURS if _is_number(losses.get(name))}}
            )
    return rows


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def draw_curve(rows: list[dict[str, float]], path: Path) -> None:
    """Draw every part of the loss over the steps, its axis logarithmic, as a PNG.

    Nothing is drawn of a log without a finite positive loss.
    """
    from PIL import Image, ImageDraw

    lines = {
        name: [(row["step"], row[name]) for row in rows if name in row and 0 < row[name] < math.inf]
        for name in COLOURS
    }
    values = [value for points in lines.values() for _, value in points]
    if not values:
        return
    picture = Image.new("RGB", SIZE, "white")
    canvas = ImageDraw.Draw(picture)
    ticks = _ticks(min(values), max(values))
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])
    last = max(row["step"] for row in rows)
    left, top, right, bottom = MARGIN
    width, height = SIZE[0] - left - right, SIZE[1] - top - bottom

    def place(step: float, value: float) -> tuple[float, float]:
        return left + width * step / last, top + height * (high - math.log10(value)) / (high - low)

    for tick in ticks:
        y = place(0, tick)[1]
        canvas.line([(left, y), (left + width, y)], fill=(225, 225, 225))
        canvas.text((8, y - 6), f"{tick:g}", fill="black")
    for share in (0, 0.25, 0.5, 0.75, 1):
        canvas.text((left + width * share - 10, SIZE[1] - bottom + 8), f"{round(last * share)}", fill="black")
    for number, (name, points) in reversed(list(enumerate(lines.items()))):  # the whole loss lies on top
        if len(points) > 1:
            canvas.line([place(*point) for point in points], fill=COLOURS[name], width=2)
        for point in points if len(points) == 1 else []:
            canvas.circle(place(*point), 2, fill=COLOURS[name])
        if points:
            canvas.text((left + 80 * number, 8), f"{name} {points[-1][1]:.4g}", fill=COLOURS[name])
    canvas.rectangle([left, top, left + width, top + height], outline="black")
    partial = path.with_suffix(".part")
    picture.save(partial, format="PNG")
    partial.replace(path)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from just below `low` to just above `high`."""
    powers = range(math.floor(math.log10(low)) - 1, math.floor(math.log10(high)) + 2)
    all_ticks = [mantissa * 10.0**power for power in powers for mantissa in (1, 2, 5)]
    first = max(index for index, tick in enumerate(all_ticks) if tick <= low)
    last = min(index for index, tick in enumerate(all_ticks) if tick >= high and index > first)
    return all_ticks[first : last + 1]
