"""Frames that hold something open: a file, a child process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vedit.media.frames import Frame, Frames


class ClosingFrames(Iterator[Frame]):
    """Pass frames on, and give back what they hold when they end, fail, are closed or forgotten.

    A generator does so only once it has been started; a dry run never starts one.
    """

    def __init__(self, frames: Frames, release: Callable[[], object]) -> None:
        self.frames = frames
        self.release: Callable[[], object] | None = release

    def __next__(self) -> Frame:
        try:
            return next(self.frames)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        release, self.release = self.release, None
        if release is not None:
            if hasattr(self.frames, "close"):
                self.frames.close()
            release()

    def __del__(self) -> None:
        self.close()
