"""Frames that hold something open: a file, a child process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from vedit.media.frames import Frame, Frames

PATIENCE_S = 1.0  # how long closing waits for a thread that is drawing a frame


class ClosingFrames(Iterator[Frame]):
    """Pass frames on, and give back what they hold when they end, fail, are closed or forgotten.

    A generator does so only once it has been started; a dry run never starts one. Any thread may draw the
    frames while another closes them, as happens when the window of `media.window` is left by an error:
    closing calls `interrupt`, which makes a read that waits return, and gives nothing back before the frame
    in progress is drawn. A thread that goes on waiting, as for a pipe that nobody writes to, gives back what
    is held when it returns.
    """

    def __init__(
        self, frames: Frames, release: Callable[[], object], interrupt: Callable[[], object] | None = None
    ) -> None:
        self.frames = frames
        self.release: Callable[[], object] | None = release
        self._interrupt = interrupt
        self._drawing = threading.Lock()
        self._is_closing = False

    def __next__(self) -> Frame:
        with self._drawing:
            if self._is_closing or self.release is None:
                self._give_back()
                raise StopIteration
            try:
                return next(self.frames)
            except BaseException:
                self._give_back()
                raise

    def interrupt(self) -> None:
        """Make a read that waits return, from any thread; what is held stays held."""
        inner: Any = self._interrupt or getattr(self.frames, "interrupt", None)
        if inner is not None:
            inner()

    def close(self) -> None:
        self._is_closing = True
        if self.release is None:
            return
        if not self._drawing.acquire(blocking=False):
            self.interrupt()
            if not self._drawing.acquire(timeout=PATIENCE_S):
                return
        try:
            self._give_back()
        finally:
            self._drawing.release()

    def _give_back(self) -> None:
        release, self.release = self.release, None
        if release is not None:
            if hasattr(self.frames, "close"):
                self.frames.close()
            release()

    def __del__(self) -> None:
        self.close()
