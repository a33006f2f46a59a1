"""Protects vedit/jobs/caption/kept.py: a call that was stopped goes on, and what is kept is anybody's file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from tests.conftest import vedit
from tests.remote.stub import Answer, Stub, serve

PATH = "/v1/chat/completions"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as made:
        yield made


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((20, 20, 3), 40 * number, np.uint8)).save(path)
    return paths


def said(text: str) -> dict[str, object]:
    return {"choices": [{"message": {"content": text}}]}


def asked(stub: Stub) -> list[str]:
    return ["caption", "--base-url", stub.url, "--remote-model", "eye"]


def test_a_run_over_many_clips_that_is_cut_off_asks_for_the_rest_alone(
    clips: list[Path], stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.on("POST", PATH, *(said(f"lamp {number}") for number in range(4)), Answer(401, b"{}"))
    out = tmp_path / "told.csv"
    first = vedit(*asked(stub), *clips, "-o", out)
    assert first.code == 8 and stub.count("POST") == 6
    out.unlink()  # as after a kill: a list appears when it is complete
    stub.on("POST", PATH, said("lamp 4"), said("lamp 5"))
    done = vedit(*asked(stub), *clips, "-o", out, "--write-txt")
    assert done.code == 0 and stub.count("POST") == 8, "four of six were kept"
    assert [line.partition(",")[2] for line in out.read_text().splitlines()[1:]] == [
        f"lamp {number}" for number in range(6)
    ]
    assert clips[0].with_suffix(".txt").read_text() == "lamp 0\n"


def test_another_question_is_not_answered_from_what_is_kept(clips: list[Path], stub: Stub) -> None:
    stub.on("POST", PATH, said("a lamp"))
    for count, args in enumerate(
        ([], ["--detail", "detailed"], ["--by", "medoid"], ["--remote-model", "ear"]), 1
    ):
        assert vedit(*asked(stub), clips[0], *args).code == 0
        assert vedit(*asked(stub), clips[0], *args).code == 0
        assert stub.count("POST") == count
    clips[0].write_bytes(clips[1].read_bytes())
    assert vedit(*asked(stub), clips[0]).code == 0 and stub.count("POST") == 5, "another picture"
    assert vedit(*asked(stub), clips[0], "--redo").code == 0 and stub.count("POST") == 6


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"clip": 3, "frames": []}',
        b'{"clip": "", "frames": []}',
        b'{"clip": "a\\nb", "frames": []}',
        b'{"clip": "a", "frames": "b"}',
        b'{"clip": "a", "frames": [null]}',
    ],
)
def test_a_kept_file_that_is_none_is_asked_for_again(
    content: bytes, clips: list[Path], stub: Stub, _own_cache: Path
) -> None:
    stub.on("POST", PATH, said("a lamp"), said("a lantern"))
    assert vedit(*asked(stub), clips[0]).text == "a lamp\n"
    (kept,) = (_own_cache / "caption").iterdir()
    kept.write_bytes(content)
    assert vedit(*asked(stub), clips[0]).text == "a lantern\n" and stub.count("POST") == 2
    assert json.loads(kept.read_text())["clip"] == "a lantern"


def test_what_is_kept_is_listed_and_cleared(clips: list[Path], stub: Stub, _own_cache: Path) -> None:
    stub.on("POST", PATH, said("a lamp"))
    vedit(*asked(stub), clips[0], clips[1])
    (_own_cache / "score" / "judge").mkdir(parents=True)
    (_own_cache / "score" / "judge" / "x.txt").write_text("yes")
    listed = vedit("cache", "list").text
    assert "captions of vedit caption       0.0 MiB  in 2 files" in listed
    assert "answers of judges       0.0 MiB  in 1 files" in listed
    assert "3 prompts, captions and answers" in vedit("cache", "clear").text
    assert not any(path.is_file() for path in _own_cache.rglob("*"))


def test_drawn_scenes_are_read_and_nothing_is_kept(tmp_path: Path, _own_cache: Path) -> None:
    clip = tmp_path / "star.gif"
    vedit("scene", "a green star on a grey background", "-o", clip, "--frames", "2")
    assert vedit("caption", clip).code == 0
    assert not (_own_cache / "caption").exists()
