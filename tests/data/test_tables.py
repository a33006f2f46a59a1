"""Tables, MSR-VTT's annotation, and lists of editing benchmarks."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from vedit.data import msrvtt, v2vbench
from vedit.data.layout import clip_name, read_captions, read_rows, unique
from vedit.data.table import Row, group, index_clips, matched, read_table
from vedit.errors import InputError, UsageError

ANNOTATION: dict[str, Any] = {
    "videos": [
        {"video_id": "video0", "category": 9, "start time": 137.72, "end time": 149.44, "split": "train"},
        {"video_id": "video1", "category": 3, "start time": 2.0, "end time": 4.0, "split": "validate"},
    ],
    "sentences": [
        {"caption": "second  said", "video_id": "video0", "sen_id": 1},
        {"caption": "first said", "video_id": "video0", "sen_id": 0},
        {"caption": "first said", "video_id": "video0", "sen_id": 2},
    ],
}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_of_one_id_are_captions_of_one_clip(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "videoid,name,page\n7,a cat,x\n8,,y\n7,a dog,z\n7,a cat,x\n")
    assert group(read_table(table), "videoid", "name", "t.csv") == [
        Row("7", ("a cat", "a dog"), {"page": "x"}),
        Row("8", (), {"page": "y"}),
    ]


def test_json_lines_and_tabs_read_as_well(tmp_path: Path) -> None:
    lines = write(tmp_path / "t.jsonl", '{"id": 1, "caption": "ä cat"}\n\n{"id": 2, "caption": "b"}\n')
    tabs = write(tmp_path / "t.tsv", "id\tcaption\n1\tä cat\n2\tb\n")
    for path in (lines, tabs):
        assert [row[:2] for row in group(read_table(path), "id", "caption", "t")] == [
            ("1", ("ä cat",)),
            ("2", ("b",)),
        ]


@pytest.mark.parametrize(
    ("name", "text"), [("t.txt", "x"), ("t.jsonl", "{"), ("t.jsonl", "[1]"), ("none.csv", None)]
)
def test_what_is_no_table_is_an_input_error(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        write(tmp_path / name, text)
    with pytest.raises(InputError):
        list(read_table(tmp_path / name))


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "videoid,name\n7,a cat\n")
    with pytest.raises(UsageError, match=r"(?s)'video_id'.*did you mean videoid.*videoid, name"):
        group(read_table(table), "video_id", "name", "t.csv")


def test_clips_are_found_in_folders_by_their_stem_and_what_is_missing_is_told(tmp_path: Path) -> None:
    (tmp_path / "p1").mkdir()
    write(tmp_path / "p1" / "7.mp4", "x")
    write(tmp_path / "8.gif", "x")
    write(tmp_path / ".9.gif", "x")
    clips = index_clips(tmp_path)
    assert set(clips) == {"7", "8"}
    pairs, rejected = matched(
        [Row("7", ("a",), {}), Row("8.gif", ("b",), {}), Row("9", ("c",), {}), Row("8", (), {})], clips
    )
    assert [row.id for row, _ in pairs] == ["7", "8.gif"]
    assert rejected == [("9", "no clip of this name"), ("8", "no caption")]


def test_the_annotation_orders_sentences_by_their_number(tmp_path: Path) -> None:
    rows = msrvtt.read_annotation(write(tmp_path / "a.json", json.dumps(ANNOTATION)))
    assert [row.captions for row in rows] == [("first said", "second said"), ()]
    assert [row.id for row in msrvtt.of_split(rows, "val")] == ["video1"]
    with pytest.raises(UsageError, match=r"(?s)test.*train, val"):
        msrvtt.of_split(rows, "test")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"videos": [{}], "sentences": []}',
        '{"videos": 3, "sentences": []}',
        '{"videos": [], "sentences": [7]}',
    ],
)
def test_another_json_is_no_annotation(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="annotation"):
        msrvtt.read_annotation(write(tmp_path / "a.json", text))


def test_a_random_caption_is_drawn_by_clip_and_seed() -> None:
    row = Row("video3", tuple("abcdefgh"), {})
    assert msrvtt.chosen_captions(row, "random", 1) == msrvtt.chosen_captions(row, "random", 1)
    assert len({msrvtt.chosen_captions(row, "random", seed) for seed in range(20)}) > 3
    assert msrvtt.chosen_captions(row, "first", 0) == ("a",)
    assert msrvtt.chosen_captions(row, "all", 0) == tuple("abcdefgh")


def test_a_file_that_was_cut_already_is_not_cut_again() -> None:
    row = Row("video0", (), {"start time": "137.72", "end time": "149.44"})
    assert msrvtt.part_of(row, Fraction("11.72")) is None
    assert msrvtt.part_of(row, Fraction(240)) == (Fraction("137.72"), Fraction("149.44"))
    early = Row("video1", (), {"start time": "0.0", "end time": "11.0"})
    assert msrvtt.part_of(early, Fraction("11.3")) is None
    assert msrvtt.part_of(Row("x", (), {}), Fraction(9)) is None


LIST = (
    "data:\n- video_id: hike\n  prompt: a man hikes\n  edit:\n  - prompt: a superman hikes\n  - prompt: a man"
    " hikes, pixel art\n    kind: style\n"
)


def test_the_benchmarks_yaml_and_a_toml_list_say_the_same(tmp_path: Path) -> None:
    toml = (
        '[[data]]\nvideo_id = "hike"\nprompt = "a man hikes"\nedit = [{prompt = "a superman hikes"}, {prompt'
        ' = "a man hikes, pixel art", kind = "style"}]\n'
    )
    entries = v2vbench.read_list(write(tmp_path / "a.yaml", LIST))
    assert entries == v2vbench.read_list(write(tmp_path / "a.toml", toml))
    assert v2vbench.edit_rows(entries[0], "hike.gif")[1] == {
        "video": "hike.gif", "source_prompt": "a man hikes", "target_prompt": "a man hikes, pixel art", "kind": "style",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: 3\n", "no list"),
        ("data:\n- prompt: x\n", "entry 1 has no video_id"),
        ("data:\n- video_id: x\n  strid: 3\n", "strid"),
        ("data:\n- video_id: x\n  stride: fast\n", "not as it should be"),
        ("data:\n- video_id: x\n  offset: 3\n", "out of range"),
        ("data:\n- video_id: x\n  edit: [7]\n", "not as it should be"),
        ("data: [\n", "YAML"),
        ("!!python/object/apply:os.system ['true']\n", "YAML"),
    ],
)
def test_a_wrong_list_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        v2vbench.read_list(write(tmp_path / "a.yaml", text))


def test_one_edit_is_drawn_by_the_clips_name() -> None:
    edits = tuple(
        v2vbench.Edit(f"p{number}", kind) for number, kind in enumerate(("foreground", "background", "style"))
    )
    drawn = [v2vbench.drawn_edit(v2vbench.Entry(f"clip{number}", "p", edits), 0) for number in range(60)]
    assert {edit.kind for (edit,) in drawn} == {"foreground", "background", "style"}
    assert drawn == [
        v2vbench.drawn_edit(v2vbench.Entry(f"clip{number}", "p", edits), 0) for number in range(60)
    ]
    assert v2vbench.drawn_edit(v2vbench.Entry("x", "p", ()), 0) == ()


def test_folders_of_pictures_are_videos_too(tmp_path: Path) -> None:
    (tmp_path / "frames" / "hike").mkdir(parents=True)
    write(tmp_path / "frames" / "hike" / "01.png", "x")
    write(tmp_path / "wolf.mp4", "x")
    assert v2vbench.find_videos(tmp_path) == {
        "hike": str(tmp_path / "frames" / "hike"),
        "wolf": str(tmp_path / "wolf.mp4"),
    }


def test_names_of_clips_are_safe_and_never_the_same_on_any_disk() -> None:
    assert clip_name("../../etc/passwd") == "__..__etc__passwd"
    assert clip_name("a cat, running!.v2") == "a_cat_running_.v2"
    assert clip_name("...") == "clip"
    assert list(unique(["a", "A", "a", "b"])) == ["a", "A-2", "a-3", "b"]


def test_captions_are_one_a_line_without_what_is_not_shown(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "\ufeffa  cat\x07\n\n two cats \r\n")
    assert read_captions(tmp_path / "a.txt") == ("a cat", "two cats")
    assert read_captions(tmp_path / "b.txt") == ()


def test_a_torn_row_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "m.jsonl", '{"id": 1}\n{"id": 2}\n{"id": 3, "fi')
    assert read_rows(tmp_path / "m.jsonl") == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    "read", [msrvtt.read_annotation, v2vbench.read_list, lambda path: list(read_table(path))]
)
@pytest.mark.parametrize(
    ("text", "said"), [("[" * 3000, "nested more than 32 deep"), ('{"a": "\\ud800"}', "half a character")]
)
def test_what_would_break_a_parser_is_refused_with_the_name_of_the_file(
    tmp_path: Path, read: Callable[[Path], Any], text: str, said: str
) -> None:
    for name in ("a.json", "a.jsonl"):
        with pytest.raises(InputError, match=rf"a\.json.*({said}|no table is known|not YAML)"):
            read(write(tmp_path / name, text))


def test_aliases_of_a_list_and_numbers_without_end_are_refused(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [*{p}, *{p}]\n" for p, c in itertools.pairwise("abcdefghijklmnop")
    )
    with pytest.raises(InputError, match=r"list\.yaml: not a readable list: it uses an alias"):
        v2vbench.read_list(write(tmp_path / "list.yaml", bomb))
    with pytest.raises(InputError, match="out of range"):
        v2vbench.read_list(write(tmp_path / "l.json", '[{"video_id": "a", "stride": 1e300}]'))


def test_no_reader_of_tables_waits_for_a_named_pipe(tmp_path: Path) -> None:
    for name, read in (
        ("a.csv", read_table),
        ("a.json", msrvtt.read_annotation),
        ("a.yaml", v2vbench.read_list),
    ):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match=rf"{name}: not .* named pipe"):
            read(tmp_path / name)
    os.mkfifo(tmp_path / "b.txt")
    with pytest.raises(InputError, match="named pipe"):
        read_captions(tmp_path / "b.txt")


def test_a_walk_over_clips_passes_pipes_devices_and_folders_by(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gif")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "gone.gif").symlink_to("nowhere")
    (tmp_path / "folder.gif").mkdir()
    write(tmp_path / "clip.gif", "x")
    (tmp_path / "linked.gif").symlink_to("clip.gif")
    assert set(index_clips(tmp_path)) == {"clip", "linked"}


def test_empty_columns_behind_the_last_are_a_spreadsheets_own(tmp_path: Path) -> None:
    assert list(read_table(write(tmp_path / "t.csv", "a,b,,\n1,2,,\n3,4\n"))) == [
        {"a": "1", "b": "2"},
        {"a": "3", "b": "4"},
    ]
    with pytest.raises(InputError, match="line 2 has 3 cells"):
        list(read_table(write(tmp_path / "t.csv", "a,b\n1,2,3\n")))
