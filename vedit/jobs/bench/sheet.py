"""The contact sheet of the drawn-scene benchmark: a row per case, a column per method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from vedit.data.cases import KINDS, Case
from vedit.pixels import to_bytes

if TYPE_CHECKING:
    from torch import Tensor

SOURCE, TRUTH = "source", "truth"
TILE, GAP, MARGIN, HEAD = 96, 4, 110, 18
PER_KIND = 3  # cases of each kind on the sheet; more would be too small to look at


class Sheet:
    """Collects the middle frame of what methods made of the first cases of each kind."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Case, dict[str, Image.Image]]] = {}

    def has_room(self, case: Case) -> bool:
        """Whether a case is on the sheet, or may come on it."""
        alike = sum(seen.kind == case.kind for seen, _ in self.rows.values())
        return case.id in self.rows or alike < PER_KIND

    def add(self, method: str, case: Case, pixels_F3YX: Tensor) -> None:
        """Take a clip in [-1, 1], if there is room for its case."""
        if not self.has_room(case):
            return
        frame_YX3 = to_bytes(pixels_F3YX[len(pixels_F3YX) // 2])
        self.rows.setdefault(case.id, (case, {}))[1][method] = Image.fromarray(frame_YX3)

    def picture(self) -> Image.Image:
        """Draw the sheet, cases by kind, methods in the order in which they came."""
        columns = list(dict.fromkeys(method for _, made in self.rows.values() for method in made))
        size = (MARGIN + len(columns) * (TILE + GAP), HEAD + len(self.rows) * (TILE + GAP))
        sheet = Image.new("RGB", size, "white")
        pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
        for place, method in enumerate(columns):
            pen.text(
                (MARGIN + place * (TILE + GAP) + TILE / 2, 2), method, fill="black", font=font, anchor="ma"
            )
        by_kind = sorted(self.rows.values(), key=lambda row: KINDS.index(row[0].kind))
        for number, (case, made) in enumerate(by_kind):
            top = HEAD + number * (TILE + GAP)
            pen.multiline_text((4, top + 24), "\n".join(_label(case)), fill="black", font=font)
            for place, method in enumerate(columns):
                if method in made:
                    sheet.paste(
                        made[method].resize((TILE, TILE), Image.Resampling.NEAREST),
                        (MARGIN + place * (TILE + GAP), top),
                    )
        return sheet


def _label(case: Case) -> Sequence[str]:
    """Which field goes from what to what."""
    return case.kind, str(getattr(case.scene, case.kind)), f"to {case.value}"
