"""Protects vedit/jobs/score/index.py."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from vedit.errors import InputError
from vedit.jobs.score.index import read_folder, read_index

TOML = """
[[video]]
id = "cat"
source = "pets/cat.mp4"
source_prompt = "a cat"
[[video.edit]]
prompt = "a dog"
[[video.edit]]
id = "fox"
prompt = "a fox"
mask = "fox.png"

[[video]]
id = "boat"
[[video.edit]]
prompt = "a ship"
truth = "ship.gif"
"""
YAML = """
config: {version: 1}
data:
- video_id: cat
  prompt: a cat
  edit:
  - prompt: a dog
    extra: 3
  - prompt: a fox
- video_id: boat
  prompt: a boat
  edit:
  - prompt: a ship
"""


def touch(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "suite.toml").write_text(TOML)
    (tmp_path / "suite.yaml").write_text(YAML)
    touch(tmp_path / "out" / "cat" / "0.gif")
    touch(tmp_path / "out" / "cat" / "fox" / "1.png")
    touch(tmp_path / "out" / "boat.mp4")
    touch(tmp_path / "boat.webm")
    return tmp_path


def test_a_suite_names_sources_prompts_masks_and_clips(place: Path) -> None:
    cat, fox, boat = read_index(str(place / "suite.toml"), str(place / "out"))
    assert (cat.video_id, cat.edit_id, cat.edited) == ("cat", "0", str(place / "out/cat/0.gif"))
    assert (cat.prompt, cat.source_prompt, cat.source, cat.mask) == (
        "a dog",
        "a cat",
        str(place / "pets/cat.mp4"),
        "auto",
    )
    assert (fox.edit_id, fox.edited, fox.mask) == (
        "fox",
        str(place / "out/cat/fox"),
        str(place / "fox.png"),
    )  # a folder of frames
    assert (boat.edited, boat.source, boat.truth) == (
        str(place / "out/boat.mp4"),
        str(place / "boat.webm"),
        str(place / "ship.gif"),
    )


def test_v2vbench_yaml_is_read_with_what_else_it_carries(place: Path) -> None:
    items = read_index(str(place / "suite.yaml"), str(place / "out"), str(place))
    assert [(item.video_id, item.edit_id, item.prompt, item.source_prompt) for item in items] == [
        ("cat", "0", "a dog", "a cat"),
        ("cat", "1", "a fox", "a cat"),
        ("boat", "0", "a ship", "a boat"),
    ]
    assert items[1].edited == str(place / "out/cat/1")  # not there: it fails when it is read, with its name


@pytest.mark.parametrize(
    "text, said",
    [
        ("x = [", "not TOML"),
        ("x = 1", "no list of videos"),
        ("[[video]]\nid = 'a'", "holds no edits"),
        ("[[video]]\nid = 'a'\npromt = 'x'\n[[video.edit]]", "promt; did you mean prompt?"),
        ("[[video]]\n[[video.edit]]\nprompt = 'x'", "has no id"),
        ("[[video]]\nid = 'a'\n[[video.edit]]\n[[video]]\nid = 'a'\n[[video.edit]]", "a/0 is there twice"),
        ("[[video]]\nid = 'a'\nedit = 3", "not a list of tables"),
    ],
)
def test_what_is_wrong_with_an_index_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "suite.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_index(str(tmp_path / "suite.toml"), str(tmp_path))
    assert said in str(caught.value)


def test_yaml_runs_no_code_and_broken_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text("!!python/object/apply:os.system ['echo']")
    with pytest.raises(InputError, match="not YAML"):
        read_index(str(tmp_path / "suite.yaml"), str(tmp_path))
    with pytest.raises(InputError, match="cannot read"):
        read_index(str(tmp_path / "missing.toml"), str(tmp_path))


def test_a_folder_is_a_suite_of_its_clips(place: Path) -> None:
    folder = place / "flat"
    for name in ("10.gif", "2.gif", "notes.txt", ".hidden.gif"):
        touch(folder / name)
    touch(folder / "frames" / "1.png")
    touch(folder / "empty" / "readme.txt")
    source = touch(place / "sources" / "2.mp4")
    items = read_folder(str(folder), str(place / "sources"))
    assert [(item.video_id, item.source) for item in items] == [("2", source), ("10", None), ("frames", None)]
    touch(folder / "2.mp4")
    with pytest.raises(InputError, match="two clips are called 2"):
        read_folder(str(folder))
    with pytest.raises(InputError, match="holds no clips"):
        read_folder(str(folder / "empty"))


def test_an_index_of_aliases_of_pipes_or_of_wrong_types_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    wrong = {
        "bomb.yaml": ("a: &a [x]\ndata: *a", "it uses an alias"),
        "deep.toml": ("a = " + "[" * 3000, "nested more than 32 deep"),
        "prompt.toml": (
            "[[video]]\nid = 'a'\n[[video.edit]]\nprompt = [1]",
            "a prompt of a/0 is '[1]', which is not a text",
        ),
        "id.toml": ("[[video]]\nid = ['a']\n[[video.edit]]", "is not an id"),
        "zero.toml": (
            '[[video]]\nid = "a"\nsource = "a\\u0000b"\n[[video.edit]]',
            "is not the name of a file",
        ),
        "pipe.yaml": (None, "it is a named pipe"),
    }
    for name, (text, said) in wrong.items():
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=re.escape(said)):
            read_index(str(tmp_path / name), str(tmp_path))


def test_tags_are_read_by_video_and_an_index_without_any_is_told(tmp_path: Path) -> None:
    from vedit.jobs.score.index import read_tags

    path = tmp_path / "suite.toml"
    path.write_text(
        '[[video]]\nid = "cat"\ntags = ["animal", "day", "day"]\n[[video]]\nid = "car"\ntags = "day"\n'
    )
    assert read_tags(str(path)) == {"cat": ("animal", "day"), "car": ("day",)}
    for text, said in (
        ('[[video]]\nid = "cat"\n', "no video has tags"),
        ('[[video]]\nid = "c"\ntags = [1]\n', "not tags"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            read_tags(str(path))
