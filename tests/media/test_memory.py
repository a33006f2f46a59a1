"""What frames on their way may take: threads by the room there is, and refusals before anything is allocated."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import vedit
from vedit.errors import LimitError, MemoryBudgetError
from vedit.media import memory
from vedit.media.limits import Limits

GIB = 2**30


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A GIF of three images of four million pixels."""
    frames = [Image.new("P", (2000, 2000), shade) for shade in range(3)]
    for frame in frames:
        frame.putpalette(bytes(range(9)))
    frames[0].save(tmp_path / "large.gif", save_all=True, append_images=frames[1:], duration=100)
    return tmp_path / "large.gif"


@pytest.mark.parametrize(
    ("frame_bytes", "jobs", "threads"),
    [
        (10**6, 16, 16),
        (4 * 10**8, 2, 1),
        (10**8, 64, 9),
        (2 * 10**8, 4, 4),
        (2 * 10**8, 8, 4),
        (2 * 10**9, 8, 1),
    ],
)
def test_a_window_of_two_frames_a_thread_and_two_more_keeps_to_half_of_the_memory(
    frame_bytes: int, jobs: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    assert memory.threads_for(frame_bytes, jobs, Limits(memory=4 * 10**9)) == threads
    assert threads == 1 or (2 * threads + 2) * frame_bytes <= 2 * 10**9 or threads == jobs


def test_what_is_free_counts_as_well_and_without_a_limit_all_threads_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * 10**9)
    assert memory.threads_for(10**8, 8, Limits()) == 4
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    assert memory.threads_for(10**9, 8, Limits(memory=0)) == 8


def test_frames_of_which_no_two_fit_are_refused_with_the_limit_that_admits_them(
    clip: Path, tmp_path: Path
) -> None:
    command = ("gif", "resize", "--fit", "40x40", clip, "-o", tmp_path / "out.gif", "-j", "4")
    refused = vedit(*command, "--limit", "memory=16M")
    assert refused.code == 6 and "for memory" in refused.err and "--limit memory=33M" in refused.err
    assert not (tmp_path / "out.gif").exists()
    assert vedit(*command, "--limit", "memory=33M").code == 0
    small = (tmp_path / "out.gif").read_bytes()
    assert vedit(*command, "-y").code == 0 and (tmp_path / "out.gif").read_bytes() == small


def test_a_webp_over_the_limit_is_refused_before_its_first_frame(clip: Path, tmp_path: Path) -> None:
    refused = vedit("convert", clip, "-o", tmp_path / "out.webp", "--limit", "memory=100M")
    assert refused.code == 6 and "--limit memory=200M" in refused.err
    assert os.listdir(tmp_path) == ["large.gif"]


def test_work_that_fits_the_limit_and_not_the_machine_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: GIB)
    with pytest.raises(MemoryBudgetError, match=r"it takes about 2.0 GiB, and 1.0 GiB are free"):
        memory.check_whole(2 * GIB, "it", Limits(), "Make it smaller")
    with pytest.raises(LimitError, match="limit of 1G for memory"):
        memory.check_whole(2 * GIB, "it", Limits(memory=10**9), "Make it smaller")
    memory.check_whole(GIB // 2, "it", Limits(), "Make it smaller")


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="reads /proc/meminfo")
def test_free_memory_is_at_most_what_the_machine_has() -> None:
    free = memory.free_memory()
    assert free is not None and 0 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_container_leaves_its_limit_less_what_is_used_and_cannot_be_dropped(tmp_path: Path) -> None:
    for name, text in (
        ("memory.max", "1000\n"),
        ("memory.current", "700\n"),
        ("memory.stat", "anon 5\ninactive_file 150\n"),
    ):
        (tmp_path / name).write_text(text)
    assert memory._of_group(str(tmp_path)) == 450
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._of_group(str(tmp_path)) is None
