from __future__ import annotations

import json
import os
import signal
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.conftest import NASTY, shared, start, vedit
from vedit.data.moving_mnist import draw, font_glyphs
from vedit.errors import InputError
from vedit.jobs.clips import even_delays, write_frames
from vedit.jobs.data import sets as data_sets
from vedit.jobs.data.read import Cut, choose, read_cut
from vedit.jobs.score.index import read_index


def frames_of(path: Path) -> list[np.ndarray]:
    """The frames of a GIF as Pillow shows them."""
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def make_clip(
    path: Path, shade: int, count: int = 6, side: int = 48, delays: list[int] | None = None
) -> None:
    """A clip of a bright square that moves over a ground of its own shade."""
    frames = np.full((count, side, side, 3), shade, np.uint8)
    for number in range(count):
        frames[number, 10:30, 4 * number : 4 * number + 12] = (255 - shade, 40, shade)
    write_frames(frames, delays or [10] * count, str(path))


# --- choosing frames ---------------------------------------------------------------------------


def test_even_times_fall_in_the_middle_of_equal_parts() -> None:
    ends = [Fraction(number, 10) for number in range(1, 11)]
    assert choose(ends, Cut(frames=5)) == ([1, 3, 5, 7, 9], [20] * 5)
    slow = [Fraction(1, 10), Fraction(10, 10)]  # the second frame is shown nine times as long
    assert choose(slow, Cut(frames=10)) == ([0] + [1] * 9, [10] * 10)


def test_frames_by_number_stand_for_those_that_are_skipped() -> None:
    ends = [Fraction(number, 10) for number in range(1, 11)]
    assert choose(ends, Cut(frames=3, stride=3, first=1)) == ([1, 4, 7], [30, 30, 30])
    assert choose(ends, Cut(frames=3, stride=3, fps=Fraction(8))) == ([0, 3, 6], [13, 12, 13])
    with pytest.raises(InputError, match=r"10 frames, and 11"):
        choose(ends, Cut(frames=4, stride=3, first=1))


def test_a_part_of_a_clip_keeps_its_own_times() -> None:
    ends = [Fraction(number, 10) for number in range(1, 11)]
    assert choose(ends, Cut(span_s=(Fraction("0.25"), Fraction("0.5")))) == ([2, 3, 4], [5, 10, 10])
    with pytest.raises(InputError, match="empty"):
        choose(ends, Cut(span_s=(Fraction(2), Fraction(3))))


@pytest.mark.parametrize(("count", "rate"), [(9, "8"), (30, "30"), (7, "30000/1001"), (1, "3")])
def test_delays_at_a_rate_end_where_they_should(count: int, rate: str) -> None:
    delays = even_delays(count, Fraction(rate))
    for number in range(1, count + 1):
        assert abs(sum(delays[:number]) - number * 100 / Fraction(rate)) <= Fraction(1, 2)


def test_the_square_lies_where_the_offset_says(tmp_path: Path) -> None:
    wide = np.zeros((2, 8, 24, 3), np.uint8)
    wide[:, :, :8, 0], wide[:, :, 8:16, 1], wide[:, :, 16:, 2] = 255, 255, 255
    write_frames(wide, [10, 10], str(tmp_path / "a.gif"))
    for offset, colour in ((-1, (255, 0, 0)), (0, (0, 255, 0)), (1, (0, 0, 255))):
        found = read_cut(str(tmp_path / "a.gif"), Cut(size=8, offset=offset)).frames_FYX3
        assert (found == np.array(colour, np.uint8)).all()


# --- Moving MNIST ------------------------------------------------------------------------------


def test_drawn_clips_are_what_the_rule_draws_pixel_for_pixel(tmp_path: Path) -> None:
    assert (
        vedit(
            "data", "moving-mnist", "--synth", "3", tmp_path / "set", "--scale", "2", "--seed", "5", "-q"
        ).code
        == 0
    )
    for number in range(3):
        flight = draw(5, number, font_glyphs)
        shown = frames_of(tmp_path / "set" / f"{number:05d}.gif")
        assert np.array_equal(np.stack(shown)[:, ::2, ::2, 0], flight.frames_FYX)
        assert (tmp_path / "set" / f"{number:05d}.txt").read_text() == flight.caption + "\n"
    assert vedit("data", "check", tmp_path / "set", "-q").code == 0


def test_the_public_files_layout_becomes_clips_with_tracked_captions(tmp_path: Path) -> None:
    array = np.stack([draw(3, number, font_glyphs, count=2).frames_FYX for number in range(3)], 1)
    np.save(tmp_path / "mnist_test_seq.npy", array)
    assert vedit("data", "moving-mnist", tmp_path / "mnist_test_seq.npy", tmp_path / "set", "-q").code == 0
    assert np.array_equal(np.stack(frames_of(tmp_path / "set" / "00001.gif"))[..., 0], array[:, 1])
    captions = [(tmp_path / "set" / f"0000{number}.txt").read_text() for number in range(3)]
    assert all("moving" in caption for caption in captions)
    result = vedit(
        "data",
        "moving-mnist",
        tmp_path / "mnist_test_seq.npy",
        tmp_path / "one",
        "--caption",
        "digits fly",
        "--limit",
        "2",
        "-q",
    )
    assert result.code == 0
    assert sorted(path.name for path in (tmp_path / "one").glob("*.gif")) == ["00000.gif", "00001.gif"]
    assert (tmp_path / "one" / "00001.txt").read_text() == "digits fly\n"


def test_a_larger_limit_adds_the_rest_and_a_smaller_one_takes_nothing_away(tmp_path: Path) -> None:
    for more, written, kept in (("2", 2, 0), ("5", 3, 2), ("3", 0, 3)):
        result = vedit(
            "data", "moving-mnist", "--synth", "5", tmp_path / "set", "--limit", more, "--json", "-q"
        )
        summary = json.loads(result.text)
        assert (summary["written"], summary["kept"]) == (written, kept)
    assert len((tmp_path / "set" / "manifest.jsonl").read_text().splitlines()) == 5


# --- going on where it was stopped ---------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_set_that_was_stopped_and_made_again_equals_one_that_was_not(tmp_path: Path, after: int) -> None:
    def stopping(steps, total, what):  # type: ignore[no-untyped-def]
        for number, step in enumerate(steps):
            if number == after:
                raise Stop
            yield step

    whole, parts = data_sets.Run(tmp_path / "whole"), data_sets.Run(tmp_path / "parts")
    wanted = {"seed": 1, "frames": 4, "scale": 1, "count": 1, "straight": False, "digits": None}
    data_sets.moving_mnist_drawn(6, whole, **wanted)  # type: ignore[arg-type]
    with pytest.raises(Stop):
        data_sets.moving_mnist_drawn(6, parts._replace(watch=stopping), **wanted)  # type: ignore[arg-type]
    assert not (tmp_path / "parts" / "manifest.jsonl").exists()
    with open(tmp_path / "parts" / "journal.jsonl", "ab") as journal:
        journal.write(b'{"id": "00005", "fi')  # a row torn by a kill
    summary = data_sets.moving_mnist_drawn(6, parts, **wanted)  # type: ignore[arg-type]
    assert (summary.written, summary.kept) == (6 - after, after)
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_a_set_whose_maker_was_killed_is_finished_by_the_next_call(tmp_path: Path) -> None:
    arguments = ("data", "moving-mnist", "--synth", "40", "--frames", "8", "-q", "-j", "1")
    process = start(*arguments, tmp_path / "parts")
    while len(list((tmp_path / "parts").glob("*.gif"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert vedit(*arguments, tmp_path / "parts").code == 0
    assert vedit(*arguments, tmp_path / "whole").code == 0
    kept = {
        name: data for name, data in contents(tmp_path / "parts").items() if not name.endswith(".part")
    }  # of the clip in work
    assert kept == contents(tmp_path / "whole")


def test_a_clip_that_was_removed_or_cut_is_made_again(tmp_path: Path) -> None:
    arguments = ("data", "moving-mnist", "--synth", "4", "--frames", "4", "--json", "-q", tmp_path / "set")
    vedit(*arguments)
    before = contents(tmp_path / "set")
    os.unlink(tmp_path / "set" / "00001.gif")
    os.unlink(tmp_path / "set" / "00003.txt")
    (tmp_path / "set" / "00002.gif").write_bytes(b"GIF89a")
    assert json.loads(vedit(*arguments).text)["written"] == 3
    assert contents(tmp_path / "set") == before


def test_other_settings_need_another_folder_or_the_word(tmp_path: Path) -> None:
    arguments = ("data", "moving-mnist", "--synth", "2", tmp_path / "set", "--frames", "4", "-q")
    vedit(*arguments)
    (tmp_path / "set" / "mine.gif").write_bytes(b"kept")
    result = vedit(*arguments, "--scale", "2")
    assert result.code == 4
    assert "scale was 1, now 2" in result.err
    assert vedit(*arguments, "--scale", "2", "-y").code == 0
    assert frames_of(tmp_path / "set" / "00000.gif")[0].shape == (128, 128, 3)
    assert (tmp_path / "set" / "mine.gif").read_bytes() == b"kept"


def test_settings_may_change_as_long_as_nothing_was_made(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    about = {"format": "vedit-dataset", "version": 1, "licence": "", "settings": {"kind": "folder"}}
    (tmp_path / "set" / "dataset.json").write_text(json.dumps(about))
    assert vedit("data", "moving-mnist", "--synth", "1", tmp_path / "set", "--frames", "4", "-q").code == 0
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({**about, "version": 2}))
    newer = vedit("data", "moving-mnist", "--synth", "1", tmp_path / "set", "--frames", "4", "-q")
    assert (newer.code, "not the description" in newer.err) == (4, True)


@pytest.mark.parametrize("rate", ["0", "-3", "51", "fast", "1/0"])
def test_what_is_no_rate_is_refused(tmp_path: Path, rate: str) -> None:
    make_clip(tmp_path / "a.gif", 10)
    assert (
        vedit("data", "clip", tmp_path / "a.gif", tmp_path / "b.gif", "--frames", "2", "--fps", rate).code
        == 2
    )


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = vedit("data", "moving-mnist", "--synth", "2", tmp_path)
    assert (result.code, sorted(os.listdir(tmp_path))) == (4, ["notes.txt"])


# --- a folder of clips ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["manifest.jsonl", "journal.jsonl", "dataset.json", ".inspected.jsonl"])
def test_a_folder_under_the_name_of_a_file_of_the_set_is_an_output_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "set" / name).mkdir(parents=True)
    done = vedit("data", "moving-mnist", "--synth", 2, tmp_path / "set", "--frames", 4)
    assert done.code == 4
    assert f"{name} is a folder" in done.err


def test_corrupt_clips_are_named_and_left_out_and_the_rest_is_made(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "more").mkdir(parents=True)
    make_clip(source / "red square.gif", 0)
    make_clip(source / "more" / "second.gif", 90)
    (source / "second.txt").write_text("not beside it")
    (source / "more" / "second.txt").write_text("the second clip\nthe same in other words\n")
    for name in ("warn_corrupt_lzw.gif", "err_text.gif", "warn_truncated_in_image.gif"):
        (source / name).write_bytes((NASTY / name).read_bytes())
    result = vedit(
        "data", "folder", source, tmp_path / "set", "--size", "32", "--frames", "4", "--min-side", "8"
    )
    assert result.code == 8
    for name in ("warn_corrupt_lzw.gif", "err_text.gif", "warn_truncated_in_image.gif"):
        assert name in result.err
        assert name in (tmp_path / "set" / "rejected.tsv").read_text()
    rows = [json.loads(line) for line in (tmp_path / "set" / "manifest.jsonl").read_text().splitlines()]
    assert [(row["file"], row["captions"], row["frames"], row["size"]) for row in rows] == [
        ("red_square.gif", ["red square"], 4, [32, 32]),
        ("more__second.gif", ["the second clip", "the same in other words"], 4, [32, 32]),
    ]
    assert (tmp_path / "set" / "more__second.txt").read_text() == "the second clip\nthe same in other words\n"
    again = vedit(
        "data",
        "folder",
        source,
        tmp_path / "set",
        "--size",
        "32",
        "--frames",
        "4",
        "--min-side",
        "8",
        "--json",
        "-q",
    )
    assert again.code == 8
    assert json.loads(again.text)["written"] == 0
    assert vedit("data", "check", tmp_path / "set").code == 0


def test_small_still_uneven_and_double_clips_are_left_out_with_the_reason(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    make_clip(source / "good.gif", 20)
    smaller = np.stack(
        [np.asarray(Image.fromarray(frame).resize((40, 40))) for frame in frames_of(source / "good.gif")]
    )
    write_frames(smaller, [10] * 6, str(source / "double.gif"))
    make_clip(source / "small.gif", 60, side=30)
    make_clip(source / "still.gif", 100, count=1)
    make_clip(source / "uneven.gif", 140, delays=[10, 15, 10, 15, 10, 10])
    make_clip(source / "0001.gif", 180)
    assert vedit("data", "folder", source, tmp_path / "set", "-q").code == 0
    assert sorted(path.name for path in (tmp_path / "set").glob("*.gif")) == ["good.gif"]
    reasons = dict(line.split("\t") for line in (tmp_path / "set" / "rejected.tsv").read_text().splitlines())
    assert reasons["double.gif"] == "shows the same as good.gif"
    assert "30x30" in reasons["small.gif"]
    assert "1 of at least 2" in reasons["still.gif"]
    assert "33%" in reasons["uneven.gif"]
    assert "caption" in reasons["0001.gif"]
    arguments = (
        "--keep-uneven",
        "--keep-doubles",
        "--min-side",
        "8",
        "--min-frames",
        "1",
        "--caption",
        "a square",
    )
    assert vedit("data", "folder", source, tmp_path / "all", "-q", *arguments).code == 0
    assert len(list((tmp_path / "all").glob("*.gif"))) == 6


def test_an_output_folder_inside_the_source_is_not_taken_for_clips(tmp_path: Path) -> None:
    make_clip(tmp_path / "one.gif", 20)
    for _ in range(2):
        assert vedit("data", "folder", tmp_path, tmp_path / "set", "-q").code == 0
    assert len(list((tmp_path / "set").glob("*.gif"))) == 1


def test_what_is_no_folder_is_an_input_error(tmp_path: Path) -> None:
    assert vedit("data", "folder", tmp_path / "none", tmp_path / "set").code == 3
    (tmp_path / "empty").mkdir()
    assert vedit("data", "folder", tmp_path / "empty", tmp_path / "set").code == 3


# --- tables and benchmarks -----------------------------------------------------------------------


def test_a_table_makes_clips_of_its_rows(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    make_clip(tmp_path / "videos" / "7.gif", 30)
    (tmp_path / "t.csv").write_text("videoid,name\n7,a square\n8,nothing\n")
    arguments = ("data", "table", tmp_path / "t.csv", tmp_path / "videos", tmp_path / "set", "-q")
    assert vedit(*arguments).code == 2
    assert vedit(*arguments, "--id-column", "videoid", "--caption-column", "name").code == 0
    assert (tmp_path / "set" / "7.txt").read_text() == "a square\n"
    assert (tmp_path / "set" / "rejected.tsv").read_text() == "8\tno clip of this name\n"


def test_msr_vtt_needs_the_word_that_one_may_and_records_the_licence(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    make_clip(tmp_path / "videos" / "video0.gif", 30, count=20)
    videos = [
        {"video_id": "video0", "start time": 100.0, "end time": 102.0, "split": "train", "category": 3}
    ]  # of the video on the web
    (tmp_path / "a.json").write_text(
        json.dumps(
            {"videos": videos, "sentences": [{"caption": "a square", "video_id": "video0", "sen_id": 0}]}
        )
    )
    arguments = (
        "data",
        "msrvtt",
        tmp_path / "a.json",
        tmp_path / "videos",
        tmp_path / "set",
        "--size",
        "32",
        "--frames",
        "5",
        "-q",
    )
    refused = vedit(*arguments)
    assert refused.code == 2
    assert "--i-have-rights" in refused.err
    assert vedit(*arguments, "--i-have-rights").code == 0
    assert "unstated" in json.loads((tmp_path / "set" / "dataset.json").read_text())["licence"]
    (row,) = [json.loads(line) for line in (tmp_path / "set" / "manifest.jsonl").read_text().splitlines()]
    assert (row["split"], row["frames"], row["captions"]) == ("train", 5, ["a square"])


def test_a_benchmark_of_pictures_becomes_clips_prompts_and_edits(tmp_path: Path) -> None:
    frames = tmp_path / "bench" / "frames" / "hike"
    frames.mkdir(parents=True)
    for number in range(24):
        Image.new("RGB", (60, 40), (number * 10, 0, 0)).save(frames / f"{number + 1:02d}.png")
    (tmp_path / "bench" / "V2VBench.yaml").write_text(
        "data:\n- video_id: hike\n  prompt: a man hikes\n  edit:\n  - prompt: a superman hikes\n  - prompt: a"
        " man hikes, pixel art\n- video_id: lost\n  prompt: x\n"
    )
    arguments = (
        "data",
        "v2vbench",
        tmp_path / "bench",
        tmp_path / "set",
        "--frames",
        "8",
        "--stride",
        "3",
        "--size",
        "16",
        "--fps",
        "8",
        "-q",
    )
    assert vedit(*arguments).code == 0
    shown = frames_of(tmp_path / "set" / "hike.gif")
    assert [int(frame[8, 8, 0]) for frame in shown] == [number * 30 for number in range(8)]
    assert shown[0].shape == (16, 16, 3)
    assert [
        json.loads(line)["target_prompt"]
        for line in (tmp_path / "set" / "edits.jsonl").read_text().splitlines()
    ] == [
        "a superman hikes",
        "a man hikes, pixel art",
    ]
    items = read_index(str(tmp_path / "set" / "suite.toml"), str(tmp_path / "edited"))  # as vedit score does
    assert [(item.video_id, item.prompt, item.source_prompt) for item in items] == [
        ("hike", "a superman hikes", "a man hikes"),
        ("hike", "a man hikes, pixel art", "a man hikes"),
    ]
    assert items[0].source == str(tmp_path / "set" / "hike.gif")
    assert vedit(*arguments[:3], tmp_path / "one", *arguments[4:], "--one-edit").code == 0
    assert len((tmp_path / "one" / "edits.jsonl").read_text().splitlines()) == 1


def test_the_thesis_cut_of_a_real_clip_has_8_frames_of_512(tmp_path: Path) -> None:
    wolf = shared("data/clips/wolf.mp4")
    result = vedit(
        "data",
        "clip",
        wolf,
        tmp_path / "wolf.gif",
        "--frames",
        "8",
        "--stride",
        "3",
        "--size",
        "64",
        "--fps",
        "8",
        "--caption",
        "a grey  wolf",
    )
    assert (result.code, result.err) == (0, "")
    assert len(frames_of(tmp_path / "wolf.gif")) == 8
    assert (tmp_path / "wolf.txt").read_text() == "a grey wolf\n"
    assert vedit("data", "clip", wolf, tmp_path / "wolf.gif").code == 4
    short = vedit("data", "clip", wolf, tmp_path / "b.gif", "--stride", "20", "--size", "64")
    assert short.code == 3
    assert "40 frames, and 141 are needed" in short.err


# --- check -----------------------------------------------------------------------------------------


def test_check_names_each_fault_and_exits_1(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.gif", 10)
    (tmp_path / "a.txt").write_text("a square")
    assert vedit("data", "check", tmp_path).code == 0
    (tmp_path / "b.gif").write_bytes((tmp_path / "a.gif").read_bytes())
    (tmp_path / "b.txt").write_text(" \n")
    (tmp_path / "c.gif").write_bytes(b"GIF89a")
    result = vedit("data", "check", tmp_path)
    assert result.code == 1
    for said in (
        "b.gif: is the same file as a.gif",
        "b.gif: its caption file is empty",
        "c.gif: has no caption file",
    ):
        assert said in result.text
    assert "c.gif" in result.text.replace("c.gif: has no caption file", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--synth", "3"),
        ("--synth", "3", "file.npy", "out"),
        ("file.npy",),
        ("file.npy", "out", "--straight"),
        ("--synth", "3", "out", "--caption", "x"),
    ],
)
def test_combinations_that_make_no_sense_are_usage_errors(arguments: tuple[str, ...]) -> None:
    assert vedit("data", "moving-mnist", *arguments).code == 2


def test_rows_of_wrong_types_in_a_data_set_are_not_believed_and_pipes_in_it_are_told(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    make_clip(tmp_path / "clips" / "a.gif", 40)
    make_clip(tmp_path / "clips" / "b.gif", 90)
    os.mkfifo(tmp_path / "clips" / "b.txt")
    os.mkfifo(tmp_path / "clips" / "c.gif")
    command = ("data", "folder", tmp_path / "clips", tmp_path / "out", "--caption", "a square")
    assert vedit(*command).code == 0
    assert "b.txt: not captions: it is a named pipe" in (tmp_path / "out" / "rejected.tsv").read_text()
    whole = contents(tmp_path / "out")
    wrong = [
        {"file": ["a.gif"], "id": {}, "bytes": "x", "key": []},
        {"id": "a", "file": "a.gif", "bytes": 3, "key": "k"},
        {"source": [1], "stamp": {}},
    ]
    for name in ("manifest.jsonl", data_sets.INSPECTED):
        (tmp_path / "out" / name).write_text("\n".join(map(json.dumps, wrong)))
    assert vedit("data", "check", tmp_path / "out").code == 1
    assert vedit(*command).code == 0
    del whole[data_sets.INSPECTED]  # what was seen again stands behind the wrong lines
    assert {name: data for name, data in contents(tmp_path / "out").items() if name in whole} == whole
