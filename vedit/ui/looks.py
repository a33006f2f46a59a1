"""Single images of sources and results: as a page shows one, small ones in a row, and how long each stays.

A few clips stay open at the image that was shown last, so that the next one costs no start.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from fractions import Fraction
from itertools import accumulate
from typing import Any, NamedTuple

from vedit.ui.asked import Answer, Missing

KEPT_FRAMES = 64 * 2**20  # bytes of encoded images in memory
KEPT_TIMELINES = 64
OPEN_CLIPS = 4
WIDEST_THUMB = 160
PATIENCE_S = 2.0  # for an image at work when all ends


class _Cursor(NamedTuple):
    """A clip that is open: its pictures, and the stack that closes it."""

    stack: ExitStack
    frames: Iterator[Any]
    at: list[int]  # the number of the last picture that was taken


Opener = Callable[[str, bool], AbstractContextManager[tuple[Any, Iterator[Any]]]]


class Looks:
    """The images of what has an id.

    opened: a clip and its whole pictures by an id, and with True only their times. key: another text whenever
    the pictures behind an id may be others. Safe to use from several threads.
    """

    def __init__(self, opened: Opener, key: Callable[[str], str]) -> None:
        self.opened, self.key = opened, key
        self.lock = threading.Lock()
        self.cursors: OrderedDict[str, _Cursor] = OrderedDict()
        self.encoded: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self.times: OrderedDict[str, Answer] = OrderedDict()

    def frame(self, id: str, number: int) -> bytes:
        """An image, counted from 1, as WebP without loss. Raises Missing behind the last one."""
        with self.lock:
            key = self.key(id), number
            if key not in self.encoded:
                picture = self._at(id, number)
                if picture is None:
                    raise Missing(f"there is no image {number}.")
                self.encoded[key] = _webp(picture, lossless=True, exact=True, quality=0, method=0)
            self.encoded.move_to_end(key)
            while len(self.encoded) > 1 and sum(map(len, self.encoded.values())) > KEPT_FRAMES:
                self.encoded.popitem(last=False)
            return self.encoded[key]

    def thumbs(self, id: str, begin: int, count: int, height: int) -> bytes:
        """Small images side by side, as WebP; those behind the last one are empty."""
        from PIL import Image

        with self.lock:
            sheet = None
            for place in range(count):
                picture = self._at(id, begin + place)
                if picture is None:
                    break
                share = height / picture.height
                size = min(WIDEST_THUMB, max(1, round(picture.width * share))), height
                if sheet is None:
                    sheet = Image.new("RGBA", (size[0] * count, height))
                sheet.paste(picture.convert("RGBA").resize(size, Image.Resampling.BOX), (size[0] * place, 0))
            if sheet is None:
                raise Missing(f"there is no image {begin}.")
            return _webp(sheet, quality=75, method=0)

    def timeline(self, id: str) -> Answer:
        """How long each image stays, in hundredths of a second."""
        with self.lock:
            key = self.key(id)
            if key not in self.times:
                with self.opened(id, True) as (clip, frames):
                    delays = [frame.duration * clip.timebase * 100 for frame in frames]
                starts = [Fraction(0), *accumulate(delays)]
                self.times[key] = {
                    "images": len(delays),
                    "delays_cs": list(map(_number, delays)),
                    "starts_cs": list(map(_number, starts[:-1])),
                    "duration_cs": _number(starts[-1]),
                }
            while len(self.times) > KEPT_TIMELINES:
                self.times.popitem(last=False)
            return self.times[key]

    def _at(self, id: str, number: int) -> Any:
        """The picture of a number, None behind the last one."""
        key = self.key(id)
        cursor = self.cursors.get(key)
        if cursor is None or cursor.at[0] >= number:
            self._drop(key)
            stack = ExitStack()
            try:
                _, frames = stack.enter_context(self.opened(id, False))
            except BaseException:
                stack.close()
                raise
            cursor = self.cursors[key] = _Cursor(stack, frames, [0])
        self.cursors.move_to_end(key)
        while len(self.cursors) > OPEN_CLIPS:
            self._drop(next(iter(self.cursors)))
        try:
            for frame in cursor.frames:
                cursor.at[0] += 1
                if cursor.at[0] == number:
                    return frame.pixels
        except BaseException:
            self._drop(key)
            raise
        self._drop(key)
        return None

    def _drop(self, key: str) -> None:
        if (cursor := self.cursors.pop(key, None)) is not None:
            if hasattr(cursor.frames, "close"):
                cursor.frames.close()
            cursor.stack.close()

    def close(self) -> None:
        if not self.lock.acquire(timeout=PATIENCE_S):
            return  # an image takes long, and nobody waits for it any more
        try:
            for key in list(self.cursors):
                self._drop(key)
        finally:
            self.lock.release()


def _webp(picture: Any, **options: Any) -> bytes:
    data = io.BytesIO()
    picture.save(data, "webp", **options)
    return data.getvalue()


def _number(value: Any) -> int | float:
    return int(value) if value == int(value) else round(float(value), 4)
