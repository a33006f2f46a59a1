"""Protects vedit/jobs/caption and `vedit caption`: drawn scenes in their own words, and nothing made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from PIL import Image

from tests.conftest import shared, vedit
from vedit import api
from vedit.data import grammar, scenes
from vedit.errors import InputError, UsageError
from vedit.jobs.caption.captioners import Opening, module_of, names
from vedit.jobs.caption.captioners.shapes import detailed, open_captioner
from vedit.pixels import to_bytes

CAPTION = "a large green star moving right on a checkered navy background"


def drawn(path: Path, caption: str = CAPTION) -> Path:
    assert vedit("scene", caption, "-o", path).code == 0
    return path


def test_at_least_95_of_100_fresh_scenes_are_named_in_every_field() -> None:
    reader = open_captioner(Opening(device="cpu"))
    records = scenes.sample_records(100, 424_242, held_out=None)
    told = [reader.told(to_bytes(scenes.clip(record, 4) * 2 - 1)) for record in records]
    assert sum(said.clip == record.caption for said, record in zip(told, records, strict=True)) >= 95
    assert all(len(said.frames) == 4 for said in told)


def test_a_detailed_caption_has_a_word_for_every_field_and_means_the_same() -> None:
    for record in scenes.sample_records(20, 7):
        fields = {**record.fields, "motion": record.motion}
        assert grammar.parse_caption(detailed(fields)) == fields


def test_a_clip_has_its_caption_and_each_frame_its_own(tmp_path: Path) -> None:
    clip = drawn(tmp_path / "clip.gif")
    assert vedit("caption", clip).text == f"{CAPTION}\n"
    told = json.loads(vedit("caption", clip, "--json", "--every", "2").text)
    assert told["caption"] == CAPTION and told["model"]["name"] == "shapes"
    assert [frame["at"] for frame in told["frames"]] == [0.0, 0.2, 0.4, 0.6]
    assert {frame["caption"] for frame in told["frames"]} == {CAPTION.replace(" moving right", "")}
    assert api.caption(str(clip), every=2) == [told]


def test_a_caption_file_is_written_beside_the_clip_and_not_over_another(tmp_path: Path) -> None:
    clip, text = drawn(tmp_path / "clip.gif"), tmp_path / "clip.txt"
    assert vedit("caption", clip, "--write-txt").code == 0 and text.read_text() == f"{CAPTION}\n"
    assert vedit("caption", clip, "--write-txt").code == 0, "the same words may be written again"
    text.write_text("mine\n")
    refused = vedit("caption", clip, "--write-txt")
    assert refused.code == 4 and "clip.txt exists" in refused.err and text.read_text() == "mine\n"
    assert vedit("caption", clip, "--write-txt", "-y").code == 0 and text.read_text() == f"{CAPTION}\n"


def test_what_is_not_a_drawn_scene_is_refused_and_others_go_on(tmp_path: Path) -> None:
    noise = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(noise)
    done = vedit("caption", drawn(tmp_path / "clip.gif"), noise)
    assert done.code == 8 and done.text == f"{tmp_path}/clip.gif: {CAPTION}\n"
    assert "noise.png: it does not look like a drawn scene" in done.err
    with pytest.raises(InputError, match="does not look like a drawn scene"):
        api.caption(str(noise))


@pytest.mark.parametrize("clip", ["ballet", "kitten", "wolf"])
def test_a_real_clip_is_not_a_drawn_scene(clip: str) -> None:
    with pytest.raises(InputError, match="does not look like a drawn scene"):
        api.caption(str(shared(f"data/clips/{clip}.mp4")), every=4, frames=4)


def test_captioners_are_found_by_listing_and_a_wrong_name_has_a_neighbour() -> None:
    assert "shapes" in names()
    with pytest.raises(UsageError, match="no captioner 'shape'"):
        module_of("shape")


def test_two_clips_that_would_share_a_caption_file_are_refused(tmp_path: Path) -> None:
    first, second = (drawn(tmp_path / f"clip.{kind}") for kind in ("gif", "mp4"))
    assert vedit("caption", first, second, "--write-txt").code == 2


def test_a_folder_of_clips_is_all_of_them_and_a_list_that_is_done_says_so(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for number in (10, 9):
        drawn(tmp_path / "clips" / f"c{number}.gif")
    (tmp_path / "clips" / "notes.md").write_text("mine")
    told = tmp_path / "told.csv"
    done = vedit("caption", tmp_path / "clips", "-o", told)
    assert done.code == 0, done.err
    assert [line.partition(":")[0].rpartition("/")[2] for line in done.text.splitlines()] == [
        "c9.gif",
        "c10.gif",
    ]
    again = vedit("caption", told)
    assert (again.code, again.text) == (0, "") and "all 2 rows have a caption; --redo" in again.err
    assert vedit("caption", told, "--redo").text == done.text
