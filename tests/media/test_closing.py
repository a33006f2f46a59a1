"""What frames hold is given back once, by whichever thread closes them, and never while a frame is drawn."""

from __future__ import annotations

import threading
import time

from tests.media.clips import clip_of, noise
from vedit.media.closing import ClosingFrames
from vedit.media.frames import Frames


def _frames(began: threading.Event, go: threading.Event) -> Frames:
    """Frames of which the second waits until it may come, as a read of a pipe does."""
    _, frames = clip_of([noise(8, 8), noise(8, 8, 1)], [5, 5])
    yield next(frames)
    began.set()
    assert go.wait(10)
    yield from frames


def _drawn_on_a_thread(frames: ClosingFrames) -> threading.Thread:
    thread = threading.Thread(target=lambda: list(frames), daemon=True)
    thread.start()
    return thread


def test_closing_interrupts_a_read_and_waits_for_the_frame_in_progress() -> None:
    began, go, given_back = threading.Event(), threading.Event(), []
    frames = ClosingFrames(_frames(began, go), lambda: given_back.append(go.is_set()), go.set)
    thread = _drawn_on_a_thread(frames)
    assert began.wait(10)
    frames.close()
    thread.join(10)
    assert given_back == [True] and not thread.is_alive()


def test_a_read_that_cannot_be_interrupted_gives_back_when_it_returns() -> None:
    began, go, given_back = threading.Event(), threading.Event(), []
    frames = ClosingFrames(_frames(began, go), lambda: given_back.append(1))
    thread = _drawn_on_a_thread(frames)
    assert began.wait(10)
    start = time.monotonic()
    frames.close()
    assert time.monotonic() - start < 5 and given_back == []
    go.set()
    thread.join(10)
    assert given_back == [1] and not thread.is_alive()


def test_frames_that_hold_closing_frames_pass_the_interrupt_on() -> None:
    began, go = threading.Event(), threading.Event()
    frames = ClosingFrames(ClosingFrames(_frames(began, go), lambda: None, go.set), lambda: None)
    thread = _drawn_on_a_thread(frames)
    assert began.wait(10)
    frames.close()
    thread.join(10)
    assert not thread.is_alive()


def test_closed_frames_are_at_their_end() -> None:
    given_back: list[int] = []
    frames = ClosingFrames(iter(()), lambda: given_back.append(1))
    frames.close()
    frames.close()
    assert list(frames) == [] and given_back == [1]
