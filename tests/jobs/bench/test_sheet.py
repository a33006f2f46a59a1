"""The contact sheet of the drawn-scene benchmark."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
import torch

from vedit.data.cases import load_cases
from vedit.jobs.bench.sheet import GAP, HEAD, MARGIN, PER_KIND, TILE, Sheet

CASES = load_cases("drawn-scenes-tuning")


def flat(value: float) -> torch.Tensor:
    """Four frames, of which the third, the middle one, has this value everywhere."""
    clip = torch.full((4, 3, 8, 8), -1.0)
    clip[2] = value
    return clip


def test_a_sheet_has_a_row_per_case_and_a_column_per_method_with_the_middle_frame() -> None:
    sheet = Sheet()
    for number, case in enumerate(CASES[:2]):
        sheet.add("source", case, flat(1.0))
        sheet.add("p2p", case, flat(0.5 if number else -1.0))
    picture = sheet.picture()
    assert picture.size == (MARGIN + 2 * (TILE + GAP), HEAD + 2 * (TILE + GAP))

    def tile(row: int, column: int) -> tuple[int, int, int]:
        return picture.getpixel((MARGIN + column * (TILE + GAP) + 5, HEAD + row * (TILE + GAP) + 5))

    assert [tile(row, column)[0] for row in (0, 1) for column in (0, 1)] == [255, 0, 255, 191]


def test_a_sheet_takes_the_first_cases_of_each_kind() -> None:
    sheet = Sheet()
    for case in CASES:
        sheet.add("source", case, flat(0.0))
    kinds = [case.kind for case, _ in sheet.rows.values()]
    assert len(kinds) == PER_KIND * len(set(kinds)) and len(set(kinds)) == 6
