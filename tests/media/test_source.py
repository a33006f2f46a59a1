"""Where clips come from: one way to open files, pipes, folders of pictures and drawn frames."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, gif, vedit
from tests.media.clips import clip_of, noise
from vedit.errors import InputError
from vedit.jobs.clips import fitted
from vedit.media.limits import Limits
from vedit.media.options import ReadOptions
from vedit.media.run import written
from vedit.media.source import MadeSource, opened, source_of
from vedit.media.streams.bytesource import spool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "frames").mkdir()
    for number in range(3):
        noise(9, 7, number).save(tmp_path / "frames" / f"{number + 1}.png")
    return tmp_path / "frames"


def test_a_folder_and_a_gif_open_by_the_same_call_as_whole_pictures(folder: Path) -> None:
    with opened(str(folder)) as (clip, frames):
        assert [frame.pixels.convert("RGB").tobytes() for frame in frames] == [
            noise(9, 7, n).convert("RGB").tobytes() for n in range(3)
        ]
        assert (clip.width, clip.height) == (9, 7)
    with opened(str(gif("ok_plain.gif"))) as (clip, frames), Image.open(gif("ok_plain.gif")) as oracle:
        first = next(frames)
        assert (
            first.kind == "rgb" and first.pixels.convert("RGB").tobytes() == oracle.convert("RGB").tobytes()
        )


def test_the_hash_of_a_file_is_that_of_its_bytes_and_it_can_be_opened_after_it() -> None:
    with ExitStack() as stack:
        source = source_of(str(gif("ok_plain.gif")), ReadOptions(), stack)
        assert source.sha256() == hashlib.sha256(gif("ok_plain.gif").read_bytes()).hexdigest()
        assert source.kind == "packed" and len(list(source.open().frames)) > 0


def test_frames_that_are_made_are_written_like_those_of_a_file(tmp_path: Path) -> None:
    pictures = [noise(8, 6, seed).convert("RGB") for seed in range(2)]
    report = written(MadeSource("made", lambda: clip_of(pictures, [5, 7])), str(tmp_path / "a.nut"))
    assert report.images == 2 and report.size_out == (8, 6)
    with opened(str(tmp_path / "a.nut")) as (_, frames):
        assert [frame.pixels.tobytes() for frame in frames] == [picture.tobytes() for picture in pictures]


def test_gif_commands_probe_and_preview_read_a_folder_of_pictures(folder: Path, tmp_path: Path) -> None:
    done = vedit("gif", "rotate", "90", str(folder), "-o", str(tmp_path / "a.nut"), "--to", "nut")
    assert done.code == 0, done.err
    with opened(str(tmp_path / "a.nut")) as (_, frames):
        turned = [np.rot90(np.asarray(noise(9, 7, n).convert("RGB")), -1).tobytes() for n in range(3)]
        assert [frame.pixels.convert("RGB").tobytes() for frame in frames] == turned
    facts = json.loads(vedit("probe", "--json", str(folder)).out)
    assert (facts["format"], facts["images"], facts["width"], facts["height"]) == ("folder", 3, 9, 7)
    assert facts["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert vedit("gif", "preview", str(folder), "--frame", "2", "-o", str(tmp_path / "p.png")).code == 0
    with Image.open(tmp_path / "p.png") as shown:
        assert shown.convert("RGB").tobytes() == noise(9, 7, 1).convert("RGB").tobytes()


def test_a_folder_that_holds_clips_too_still_needs_a_folder_for_the_results(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "b.gif").write_bytes(gif("ok_plain.gif").read_bytes())
    done = vedit("gif", "rotate", "90", str(folder), "-o", str(tmp_path / "a.gif"))
    assert done.code == 2 and "a folder was given as input" in done.err


@pytest.mark.parametrize(("offset", "left"), [(0.0, 2), (-1.0, 0), (1.0, 5)])
def test_one_square_is_cut_and_scaled_for_edits_and_data_sets(offset: float, left: int) -> None:
    picture = noise(12, 7, 3).convert("RGB")
    square = picture.crop((left, 0, left + 7, 7)).resize((4, 4), Image.Resampling.LANCZOS)
    assert fitted(picture, 4, offset=offset).tobytes() == square.tobytes()
    assert fitted(picture, (6, 5)).tobytes() == picture.resize((6, 5), Image.Resampling.LANCZOS).tobytes()
    assert fitted(picture, None).tobytes() == picture.tobytes()


def test_standard_input_at_which_a_person_types_is_no_clip() -> None:
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "vedit", "gif", "rotate", "90", "-", "-o", "-"],
        stdin=slave,
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )
    os.close(master)
    os.close(slave)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"standard input is a terminal" in done.stderr


def test_a_device_that_does_not_end_is_not_spooled() -> None:
    master, slave = pty.openpty()
    with (
        open(slave, "rb", buffering=0) as terminal,
        open(master, "rb", buffering=0),
        open("/dev/zero", "rb", buffering=0) as zeros,
    ):
        for device in (terminal, zeros):
            with pytest.raises(InputError, match="this is a device"):
                spool(device, b"", Limits())
