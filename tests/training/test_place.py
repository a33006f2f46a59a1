"""Protects vedit/training/place.py: while training, what is freed stays with the process."""

import ctypes
import sys
from types import SimpleNamespace

import pytest

from vedit.training.place import freed_memory_kept

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # of malloc.h


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_the_c_library_keeps_freed_memory_for_the_training_and_is_set_back_after_it(monkeypatch):
    asked: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda name, value: asked.append((name, value)))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    with pytest.raises(ZeroDivisionError), freed_memory_kept():
        assert dict(asked) == {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1}
        raise ZeroDivisionError
    assert dict(asked) == {MMAP_MAX: 65536, TRIM_THRESHOLD: 128 * 1024}  # glibc's own at its start
