"""What the editor keeps on disk, and for how long."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from vedit.ui.shelf import NAME, OWNER, Shelf, remove_leftovers


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(100, str(tmp_path))


def put(shelf: Shelf, revision: str, size: int) -> str:
    path = shelf.path_for(revision, "gif")
    Path(path).write_bytes(b"x" * size)
    shelf.keep(revision, path)
    return path


def test_the_folder_is_for_its_owner_alone_and_goes_with_it(shelf: Shelf, tmp_path: Path) -> None:
    assert stat.S_IMODE(os.stat(shelf.folder).st_mode) == 0o700
    assert Path(shelf.folder, OWNER).read_text() == f"{os.getpid()}\n"
    shelf.close()
    assert os.listdir(tmp_path) == []


def test_the_longest_unused_results_make_room(shelf: Shelf) -> None:
    first, second = put(shelf, "a", 40), put(shelf, "b", 40)
    assert shelf.find("a") == first  # which counts as used
    third = put(shelf, "c", 40)
    assert (shelf.find("a"), shelf.find("b"), shelf.find("c")) == (first, None, third)
    assert not os.path.exists(second)
    shelf.close()


def test_the_newest_result_stays_however_large(shelf: Shelf) -> None:
    put(shelf, "a", 40)
    large = put(shelf, "b", 500)
    assert (shelf.find("a"), shelf.find("b")) == (None, large)
    shelf.close()


def test_folders_of_the_dead_go_and_those_of_the_living_stay(shelf: Shelf, tmp_path: Path) -> None:
    dead = tmp_path / f"{NAME}dead"
    dead.mkdir()
    (dead / OWNER).write_text("1\n")
    for name in ("other", f"{NAME}no-owner"):
        (tmp_path / name).mkdir()
    (tmp_path / f"{NAME}link").symlink_to(tmp_path / "other")
    remove_leftovers(str(tmp_path))
    left = {NAME + "no-owner", NAME + "link", "other", os.path.basename(shelf.folder)}
    assert set(os.listdir(tmp_path)) == left
    shelf.close()


def test_an_upload_is_hashed_as_it_comes_and_goes_when_it_is_given_up(shelf: Shelf) -> None:
    upload = shelf.upload(".gif")
    upload.write(b"ab")
    upload.write(b"c")
    assert upload.finish() == hashlib.sha256(b"abc").hexdigest() and upload.bytes == 3
    assert Path(upload.path).read_bytes() == b"abc"
    upload.abandon()
    assert os.listdir(shelf.folder) == [OWNER]
    shelf.close()
