"""Ctrl-C and the signals that end a process: each raised where nothing is lost, or held back while outputs
take their names.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")

_waiting: list[int] = []  # signals that came while they were held
_depth = 0
_is_whole = False


def begin() -> None:
    """A job begins, which signals end, whatever was finished in this process before."""
    global _is_whole
    _is_whole = False


def install() -> None:
    """Turn the signals into KeyboardInterrupt and SystemExit(128 + number); those set to be ignored, as by
    nohup, stay so.
    """
    begin()
    if threading.current_thread() is threading.main_thread():
        for number in _numbers():
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _arrived)


def ignore() -> None:
    """Let the end of the process run undisturbed: what it leaves behind and its exit code are settled."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)


def _numbers() -> list[int]:
    return [number for name in NAMES if (number := getattr(signal, name, None)) is not None]


def interrupt(number: int) -> None:
    """Do what a signal does, for a job that counts signals itself first."""
    _arrived(number, None)


def _arrived(number: int, frame: Any) -> None:
    if _is_whole:
        return
    if _depth:
        _waiting.append(number)
        return
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def held() -> Iterator[None]:
    """Hold signals back until the block is done; they only ever interrupt the main thread."""
    global _depth
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth and _waiting:
            number = _waiting[0]
            _waiting.clear()
            _arrived(number, None)


def finish() -> None:
    """The job is whole, its outputs have their names: a signal from now on, and one that is held, changes
    nothing.
    """
    global _is_whole
    _is_whole = True
    _waiting.clear()
