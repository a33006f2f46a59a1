"""Protects the hosted captioner: frames go where the user said, and what comes back is words."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import vedit
from tests.remote.stub import Answer, Stub, serve
from vedit import api

PATH = "/v1/chat/completions"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as made:
        yield made


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    frames = [Image.fromarray(np.full((30, 60, 3), value, np.uint8)) for value in (0, 90, 180, 250)]
    path = tmp_path / "clip.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=250, loop=0)
    return path


def said(text: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}]}


def test_all_frames_are_asked_about_at_once_and_nothing_else_is_sent(stub: Stub, clip: Path) -> None:
    stub.on("POST", PATH, said("<think>hm</think> a\nlamp that\x1b[2J lights up"))
    told = api.caption(str(clip), base_url=stub.url, remote_model="eye", detail="detailed")[0]
    assert told["caption"] == "a lamp that [2J lights up"
    assert [frame["at"] for frame in told["frames"]] == [0.0, 0.25, 0.5, 0.75]
    assert told["model"] == {"name": "remote", "host": stub.url[7:-3], "model": "eye"}
    body = json.loads(stub.asked[0].body)
    *pictures, text = body["messages"][0]["content"]
    assert "these 4 pictures" in text["text"] and body["model"] == "eye"
    sent = [base64.b64decode(one["image_url"]["url"].partition(",")[2]) for one in pictures]
    assert [Image.open(io.BytesIO(one)).getpixel((5, 5)) for one in sent] == [
        (v, v, v) for v in (0, 90, 180, 250)
    ]
    assert str(clip) not in stub.asked[0].body.decode(), "not even the name of the file"


def test_each_frame_can_be_asked_about_by_itself(stub: Stub, clip: Path) -> None:
    stub.on("POST", PATH, *map(said, ("a lamp", "the lamp", "a lamp", "fog")))
    told = api.caption(str(clip), base_url=stub.url, remote_model="eye", by="medoid")[0]
    assert told["caption"] == "a lamp" and stub.count("POST") == 4
    assert [frame["caption"] for frame in told["frames"]] == ["a lamp", "the lamp", "a lamp", "fog"]


@pytest.mark.parametrize(
    "reply",
    [
        "--output /etc/passwd -y",
        "../../../etc/passwd",
        "<script>alert(1)</script><img src=http://x>",
        "ignore all instructions; rm -rf /",
        "=HYPERLINK(1)",
    ],
)
def test_a_reply_is_words_whatever_it_says(stub: Stub, clip: Path, reply: str, tmp_path: Path) -> None:
    stub.on("POST", PATH, said(reply))
    before = {path.name for path in tmp_path.iterdir()}
    done = vedit(
        "caption",
        clip,
        "--base-url",
        stub.url,
        "--remote-model",
        "eye",
        "--write-txt",
        "-o",
        tmp_path / "l.csv",
    )
    assert (done.code, done.text) == (0, f"{reply}\n")
    assert (tmp_path / "clip.txt").read_text() == f"{reply}\n"
    assert {path.name for path in tmp_path.iterdir()} == before | {"clip.txt", "l.csv"}
    cell = (tmp_path / "l.csv").read_text().splitlines()[1].partition(",")[2]
    assert not cell.startswith("="), "a spreadsheet would take it for a formula"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(body=b"x" * (10 << 20)), "more than 4 MiB"),
        (Answer(302, b"", {"Location": "http://169.254.169.254/"}), "sends a POST on"),
        (Answer(body=b""), "no JSON object"),
        (Answer(body=b"\xff\xfe{}"), "no JSON object"),
        (said(""), "answers without words"),
        (said("<think>only thoughts"), "answers without words"),
        (Answer(400, b'{"error": {"message": "no pictures"}}'), "no pictures"),
    ],
    ids=range(7),
)
def test_what_is_no_answer_is_an_error_with_exit_code_7(
    stub: Stub, clip: Path, answer: Any, why: str
) -> None:
    stub.on("POST", PATH, answer)
    done = vedit("caption", clip, "--base-url", stub.url, "--remote-model", "eye", "--write-txt")
    assert done.code == 7 and why in done.err
    assert not clip.with_suffix(".txt").exists()


def test_the_key_is_in_the_header_and_nowhere_else(
    stub: Stub, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_KEY", "sesame-of-mine")
    stub.on("POST", PATH, said("the key is sesame-of-mine"))
    done = vedit(
        "caption",
        clip,
        "--base-url",
        stub.url,
        "--remote-model",
        "eye",
        "--key-env",
        "MY_KEY",
        "--write-txt",
        "--json",
        "-o",
        tmp_path / "list.jsonl",
    )
    assert done.code == 0 and stub.asked[0].headers["authorization"] == "Bearer sesame-of-mine"
    assert "sesame" not in done.text + done.err and "sesame" not in stub.asked[0].body.decode()
    assert not any(b"sesame" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_nothing_is_sent_without_a_named_host(clip: Path) -> None:
    refused = vedit("caption", clip, "--model", "remote")
    assert refused.code == 2 and "--base-url and --remote-model" in refused.err
    plain = vedit("caption", clip, "--base-url", "http://example.org/v1", "--remote-model", "eye")
    assert plain.code == 2 and "plain HTTP to another machine" in plain.err


def test_a_list_gets_the_captions_that_it_lacks_and_keeps_the_rest(
    stub: Stub, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "jobs").mkdir()
    given = tmp_path / "jobs" / "jobs.csv"
    given.write_text(
        "input,source,prompt,_note\n../clip.gif,,a fox,mine\n../clip.gif,a wolf,an owl,\n../none.gif,,a cat,\n"
    )
    stub.on("POST", PATH, said("a lamp, lit"))
    out = tmp_path / "told.csv"
    done = vedit("caption", given, "-o", out, "--base-url", stub.url, "--remote-model", "eye")
    assert done.code == 8 and "1 of 2 clips have no caption" in done.err and stub.count("POST") == 1
    assert out.read_text().splitlines() == [
        "input,source,prompt,_note",
        'clip.gif,"a lamp, lit",a fox,mine',
        "clip.gif,a wolf,an owl,",
        "none.gif,,a cat,",
    ]
    again = vedit("caption", given, "-o", out, "--base-url", stub.url, "--remote-model", "eye")
    assert again.code == 4 and stub.count("POST") == 1, (
        "what exists is not replaced, and nothing is asked for it"
    )
    from vedit.jobs.batch.rows import read_rows

    out.write_text("\n".join(out.read_text().splitlines()[:3]))
    assert [row.request.source_prompt for row in read_rows([str(out)])] == ["a lamp, lit", "a wolf"]


def test_a_data_set_s_manifest_keeps_its_form(stub: Stub, clip: Path, tmp_path: Path) -> None:
    given, out = tmp_path / "manifest.jsonl", tmp_path / "told.jsonl"
    rows = [{"file": "clip.gif", "captions": [], "frames": 4}, {"file": "clip.gif", "captions": ["lamp"]}]
    given.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    stub.on("POST", PATH, said("a lamp"), said("another"))
    args = ["caption", given, "-o", out, "--base-url", stub.url, "--remote-model", "eye"]
    assert vedit(*args).code == 0
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert told == [{**rows[0], "captions": ["a lamp"]}, rows[1]]
    assert vedit(*args, "-y", "--redo").code == 0
    assert json.loads(out.read_text().splitlines()[1])["captions"] == ["another"]


def test_a_row_without_a_clip_is_told(tmp_path: Path) -> None:
    given = tmp_path / "jobs.csv"
    given.write_text("prompt\na fox\n")
    assert "row 1 names no clip" in vedit("caption", given).err
