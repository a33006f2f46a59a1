"""Texts are drawn when their time comes, once, and stand clear of each other."""

from __future__ import annotations

from fractions import Fraction

from PIL import Image

from vedit.media.captions import Caption
from vedit.media.frames import Rect
from vedit.media.overlay import Drawing
from vedit.media.timed import TimedTexts

CANVAS = Rect(0, 0, 100, 60)


def texts(*times: tuple[int, int | None], step: int = -1) -> tuple[TimedTexts, list[str]]:
    """Texts of 40 by 10 pixels at the lower edge, and the names of those drawn."""
    drawn: list[str] = []

    def draw(text: str) -> Drawing:
        drawn.append(text)
        return Drawing(Image.new("RGB", (40, 10)), Image.new("L", (40, 10), 255))

    captions = [
        Caption(Fraction(start), None if end is None else Fraction(end), str(number))
        for number, (start, end) in enumerate(times)
    ]
    return TimedTexts(captions, draw, lambda w, h: (30, 50), CANVAS, 255, step), drawn


def test_a_text_is_drawn_when_its_time_comes_and_once() -> None:
    timed, drawn = texts((0, 1), (2, 3), (2, 9), (5, 6))
    assert len(timed.at(Fraction(0))) == 1 and drawn == ["0"]
    assert timed.at(Fraction(1)) == [] and drawn == ["0"]
    both = timed.at(Fraction(2))
    assert len(both) == 2 and drawn == ["0", "1", "2"]
    assert timed.at(Fraction(7)) == [both[1]]
    assert drawn == ["0", "1", "2"]  # the last one was over before anybody looked


def test_texts_at_once_stand_above_each_other() -> None:
    timed, _ = texts((0, 9), (1, 9), (2, 9))
    rects = [overlay.rect for overlay in timed.at(Fraction(5))]
    assert [rect.x for rect in rects] == [30] * 3
    assert all(a.clipped(b).is_empty for a in rects for b in rects if a is not b)
    assert [rect.y for rect in rects] == sorted((rect.y for rect in rects), reverse=True)


def test_texts_of_one_place_stay_where_they_are() -> None:
    timed, _ = texts((0, 9), (1, None), step=0)
    assert [overlay.rect.y for overlay in timed.at(Fraction(5))] == [50, 50]
