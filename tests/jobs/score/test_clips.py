"""Protects vedit/jobs/score/clips.py: what is read for an edited video, and how clips that differ are
matched.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import reference
from tests.conftest import gif
from vedit.errors import InputError, UsageError
from vedit.jobs.record import comment_of
from vedit.jobs.score.clips import (
    Item,
    Reading,
    complete,
    load,
    mask_frames,
    rate_check,
    read_frames,
    record_of,
    selection_of,
)


def write_gif(path: Path, frames: list[np.ndarray], **options: Any) -> str:
    """Frames of few colours, so that GIF keeps them exactly."""
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100, **options)
    return str(path)


def greys(count: int, rows: int = 12, columns: int = 16, first: int = 20) -> list[np.ndarray]:
    """Flat frames, the t-th of grey level first + 20 t."""
    return [np.full((rows, columns, 3), first + 20 * t, np.uint8) for t in range(count)]


def levels(frames: np.ndarray) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in frames]


def test_frame_folders_are_read_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 10, 9):
        Image.fromarray(np.full((5, 7, 3), number, np.uint8)).save(tmp_path / f"frame{number}.png")
    assert levels(read_frames(str(tmp_path))) == [1, 2, 9, 10]


@pytest.mark.parametrize("name", ["ok_disposal2.gif", "ok_disposal3.gif", "ok_disposal_mix.gif"])
def test_disposal_of_gifs_is_honoured(name: str) -> None:
    wanted = []
    for frame in reference.read(gif(name).read_bytes()).frames():
        alpha = frame[..., 3:].astype(float) / 255
        wanted.append(np.rint(frame[..., :3] * alpha + 255 * (1 - alpha)))
    assert read_frames(str(gif(name))) == pytest.approx(np.stack(wanted), abs=1)


def test_one_frame_is_a_clip_too(tmp_path: Path) -> None:
    Image.fromarray(greys(1)[0]).save(tmp_path / "one.png")
    assert read_frames(str(tmp_path / "one.png")).shape == (1, 12, 16, 3)


def test_what_is_not_named_comes_from_the_run_record(tmp_path: Path) -> None:
    source, edited = (
        write_gif(tmp_path / "in.gif", greys(3)),
        write_gif(tmp_path / "out.gif", greys(3, first=30)),
    )
    record = {
        "input": source,
        "target_prompt": "new",
        "source_prompt": "old",
        "method": "p2p",
        "seconds": {"total": 3},
    }
    (tmp_path / "out.gif.vedit.json").write_text(json.dumps(record))
    clip, facts = load(Item("out", "0", edited), Reading())
    assert (clip.prompt, clip.source_prompt) == ("new", "old")
    assert clip.source_TYX3 is not None and levels(clip.source_TYX3) == [20, 40, 60]
    assert facts["run"]["method"] == "p2p" and facts["change"] == pytest.approx(10)
    named, _ = load(Item("out", "0", edited, prompt="mine"), Reading())
    assert named.prompt == "mine"


def test_a_source_that_has_gone_is_no_source(tmp_path: Path) -> None:
    edited = write_gif(tmp_path / "out.gif", greys(2))
    assert complete(Item("out", "0", edited), {"input": "gone.gif"}).source is None
    write_gif(tmp_path / "moved.gif", greys(2))
    found = complete(Item("out", "0", edited), {"input": "/elsewhere/moved.gif"}).source
    assert found == str(tmp_path / "moved.gif")  # it lies beside the output now


def test_another_file_under_the_recorded_name_is_not_the_source(tmp_path: Path) -> None:
    source, edited = write_gif(tmp_path / "in.gif", greys(2)), write_gif(tmp_path / "out.gif", greys(2))
    digest = hashlib.sha256((tmp_path / "in.gif").read_bytes()).hexdigest()
    record = {"input": source, "clip": {"sha256": digest}}
    assert complete(Item("out", "0", edited), record).source == source
    write_gif(tmp_path / "in.gif", greys(2, first=90))
    assert complete(Item("out", "0", edited), record).source is None


def test_the_recipe_that_a_clip_carries_serves_where_there_is_no_sidecar(tmp_path: Path) -> None:
    source = write_gif(tmp_path / "in.gif", greys(2))
    edited = write_gif(
        tmp_path / "out.gif",
        greys(2, first=60),
        comment=comment_of({"input": source, "target_prompt": "new"}).encode(),
    )
    clip, _ = load(Item("out", "0", edited), Reading())
    assert clip.prompt == "new" and clip.source is not None


def test_a_damaged_record_is_left_out_with_a_word(tmp_path: Path) -> None:
    edited = write_gif(tmp_path / "out.gif", greys(2))
    (tmp_path / "out.gif.vedit.json").write_text("{")
    said: list[str] = []
    assert record_of(edited, said.append) is None
    assert "not a run record" in said[0]


def test_the_source_is_cut_as_the_edit_cut_it(tmp_path: Path) -> None:
    wide = [np.zeros((8, 20, 3), np.uint8) for _ in range(7)]
    for t, frame in enumerate(wide):
        frame[:, 6:14] = 30 * t
    source, edited = write_gif(tmp_path / "in.gif", wide), write_gif(tmp_path / "out.gif", greys(3, 8, 8))
    record = {"clip": {"frames": [1, 2, 3], "size": [8, 8], "crop": "centre"}}
    (tmp_path / "out.gif.vedit.json").write_text(json.dumps(record))
    clip, facts = load(Item("out", "0", edited, source), Reading())
    assert clip.source_TYX3 is not None
    assert clip.source_TYX3.shape == (3, 8, 8, 3) and levels(clip.source_TYX3) == [30, 90, 150]
    assert facts["source_read"].startswith("as in the run record: frames 1 and every 2.")
    assert selection_of({"clip": {"frames": "many"}}) is None


def test_a_longer_source_is_matched_as_asked(tmp_path: Path) -> None:
    source, edited = write_gif(tmp_path / "in.gif", greys(8)), write_gif(tmp_path / "out.gif", greys(3))
    item = Item("out", "0", edited, source)
    plain, _ = load(item, Reading())
    assert plain.source is not None and len(plain.source) == 8  # left to the metrics, which refuse it
    first, facts = load(item, Reading(align="first"))
    assert levels(first.source_TYX3) == [20, 40, 60] and facts["align"] == "first"  # type: ignore[arg-type]
    spread, facts = load(item, Reading(align="stride"))
    assert levels(spread.source_TYX3) == [20, 60, 120]  # frames 0, 2, 5  # type: ignore[arg-type]
    assert facts["source_read"] == "frames [0, 2, 5]"


def test_a_larger_source_is_brought_to_the_edited_size_when_asked(tmp_path: Path) -> None:
    source, edited = (
        write_gif(tmp_path / "in.gif", greys(2, 24, 32)),
        write_gif(tmp_path / "out.gif", greys(2)),
    )
    clip, facts = load(Item("out", "0", edited, source), Reading(resize_source=True))
    assert clip.source_TYX3 is not None and clip.source_TYX3.shape == (2, 12, 16, 3)
    assert facts["source_read"] == "resized to 16x12"


def test_masks_are_pictures_clips_or_boxes(tmp_path: Path) -> None:
    picture = np.zeros((12, 16), np.uint8)
    picture[:, 8:] = 255
    Image.fromarray(picture).save(tmp_path / "m.png")
    assert (mask_frames(str(tmp_path / "m.png"), (3, 12, 16)) == picture).all()
    box = mask_frames("2,3,5,7", (2, 12, 16))
    assert box.sum() == 2 * 255 * 3 * 4 and box[1, 3, 2] == 255
    with pytest.raises(InputError, match="16x12 pixels, the edited clip 20x10"):
        mask_frames(str(tmp_path / "m.png"), (3, 10, 20))
    write_gif(tmp_path / "m.gif", greys(2))
    with pytest.raises(InputError, match="2 frames, the edited clip 3"):
        mask_frames(str(tmp_path / "m.gif"), (3, 12, 16))
    with pytest.raises(UsageError):
        mask_frames("2,3,500,7", (2, 12, 16))


def test_the_saved_mask_of_the_run_record_is_taken_unless_refused(tmp_path: Path) -> None:
    edited = write_gif(tmp_path / "out.gif", greys(2))
    Image.fromarray(np.full((12, 16), 255, np.uint8)).save(tmp_path / "saved.png")
    (tmp_path / "out.gif.vedit.json").write_text(json.dumps({"mask": "saved.png", "edit_mask": ["1,1,2,2"]}))
    clip, facts = load(Item("out", "0", edited), Reading())
    assert clip.mask_TYX is not None and (clip.mask_TYX == 255).all() and "run record" in facts["mask"]
    assert load(Item("out", "0", edited, mask="none"), Reading())[0].mask_TYX is None
    (tmp_path / "out.gif.vedit.json").write_text(json.dumps({"mask": None, "edit_mask": ["1,1,2,2"]}))
    clip, _ = load(Item("out", "0", edited), Reading())
    assert clip.mask_TYX is not None and clip.mask_TYX.sum() == 2 * 255
    (tmp_path / "out.gif.vedit.json").write_text(
        json.dumps({"mask": None, "edit_mask": ["1,1,2,2", "5,5,6,6"]})
    )
    assert (
        load(Item("out", "0", edited), Reading())[0].mask_TYX is None
    )  # several were united: one alone would mislead


@pytest.mark.parametrize(
    ("edited", "wanted"),
    [
        ((3, 12, 16, 100), {"frames": ("4", "3"), "size": ("16x12", "16x12"), "rate": ("10", "10")}),
        ((4, 10, 16, 100), {"frames": ("4", "4"), "size": ("16x12", "16x10"), "rate": ("10", "10")}),
        ((4, 12, 16, 40), {"frames": ("4", "4"), "size": ("16x12", "16x12"), "rate": ("10", "25")}),
    ],
)
def test_frames_size_and_rate_are_checked_against_the_source(
    tmp_path: Path, edited: tuple[int, ...], wanted: dict[str, tuple[str, str]]
) -> None:
    count, rows, columns, ms = edited
    source = write_gif(tmp_path / "s.gif", greys(4))
    images = [Image.fromarray(frame) for frame in greys(count, rows, columns)]
    images[0].save(tmp_path / "e.gif", save_all=True, append_images=images[1:], duration=ms)
    clip, _ = load(Item("e", "0", str(tmp_path / "e.gif"), source), Reading())
    wanted["rate"] = tuple(f"{rate} frames/s" for rate in wanted["rate"])  # type: ignore[assignment]
    assert clip.asked == wanted


def test_a_record_says_what_was_asked_for_and_a_stride_keeps_the_speed(tmp_path: Path) -> None:
    source = write_gif(tmp_path / "s.gif", greys(8, 20, 20))
    frames = greys(4, 10, 10)
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(tmp_path / "e.gif", save_all=True, append_images=images[1:], duration=200)
    record = {
        "command": "edit",
        "input": source,
        "clip": {"frames": [0, 2, 4], "size": [10, 10], "crop": "none"},
        "sizes": {"output": [10, 10]},
    }
    (tmp_path / "e.gif.vedit.json").write_text(json.dumps(record))
    clip, _ = load(Item("e", "0", str(tmp_path / "e.gif"), source), Reading(open_all=True))
    assert clip.asked == {
        "frames": ("4", "4"),
        "size": ("10x10", "10x10"),
        "rate": ("5 frames/s", "5 frames/s"),
    }


def test_rounding_to_the_delays_of_a_gif_is_no_other_rate() -> None:
    assert rate_check((30, 1.0), (30, 0.9)) == {"rate": ("30 frames/s", "30 frames/s")}  # 3 cs a frame
    assert rate_check((10, 1.0), (10, 1.2))["rate"][1] == "8.333 frames/s"
    assert rate_check((10, None), (10, 1.0)) == rate_check((1, 1.0), (1, 2.0)) == {}
