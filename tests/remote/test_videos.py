"""`vedit generate --model remote:videos` against a loopback server that also fails, delays and sends rubbish."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from email.parser import BytesParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.conftest import leftovers, start, vedit
from tests.remote.stub import Answer, Stub, serve
from vedit import remote
from vedit.jobs.clips import write_frames
from vedit.remote import http, jobs
from vedit.remote.videos import multipart

SHADES = (20, 90, 160, 230)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Four grey frames of 32x32 as MP4, ten a second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_frames(np.stack([np.full((32, 32, 3), shade, np.uint8) for shade in SHADES]), [10] * 4, str(path))
    return path.read_bytes()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setattr(jobs, "FIRST_S", 0.01)
    monkeypatch.setattr(jobs, "LONGEST_S", 0.02)
    monkeypatch.setattr(http, "FIRST_PAUSE_S", 0.01)
    monkeypatch.delenv("VEDIT_REMOTE_KEY", raising=False)
    with serve() as server:
        server.on("POST", "/v1/videos", {"id": "video_1", "status": "queued"})
        yield server


def finished(stub: Stub, clip: bytes) -> None:
    stub.on(
        "GET",
        "/v1/videos/video_1",
        {"id": "video_1", "status": "queued"},
        {"status": "in_progress", "progress": 40},
        {"status": "completed", "progress": 100},
    )
    stub.on("GET", "/v1/videos/video_1/content", Answer(body=clip, headers={"Content-Type": "video/mp4"}))


def command(stub: Stub, output: Path, *more: str) -> tuple[str, ...]:
    return (
        "generate",
        "a cat on a beach",
        "--model",
        "remote:videos",
        "--base-url",
        stub.url,
        "--remote-model",
        "wan",
        "-o",
        str(output),
        *more,
    )


def pending(output: Path) -> Path:
    return output.with_name(f"{output.name}.0-0.pending.json")


def test_a_job_is_begun_waited_for_and_fetched(
    stub: Stub, clip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(stub, clip)
    monkeypatch.setenv("VEDIT_REMOTE_KEY", "secret-key")
    output = tmp_path / "cat.gif"
    result = vedit(
        *command(stub, output, "--frames", "4", "--size", "32", "--field", "seconds=4", "--field", "seed=")
    )
    assert result.code == 0, result.err
    with Image.open(output) as image:
        shown = [int(np.asarray(frame.convert("L"))[16, 16]) for frame in ImageSequence.Iterator(image)]
    assert shown == pytest.approx(SHADES, abs=4)
    post = stub.asked[0]
    form = BytesParser().parsebytes(
        b"Content-Type: " + post.headers["content-type"].encode() + b"\r\n\r\n" + post.body
    )
    fields = {
        part.get_param("name", header="content-disposition"): part.get_payload()
        for part in form.get_payload()
    }  # type: ignore[union-attr]
    assert fields == {
        "model": "wan",
        "prompt": "a cat on a beach",
        "size": "32x32",
        "num_frames": "4",
        "seconds": "4",
    }
    assert all(asked.headers["authorization"] == "Bearer secret-key" for asked in stub.asked)
    record = (tmp_path / "cat.gif.vedit.json").read_text()
    assert json.loads(record)["clips"][0][0]["job"] == "video_1"
    assert "secret-key" not in record + result.err
    assert sorted(os.listdir(tmp_path)) == ["cat.gif", "cat.gif.vedit.json"]


def test_fields_can_go_as_json(stub: Stub, clip: bytes, tmp_path: Path) -> None:
    finished(stub, clip)
    assert vedit(*command(stub, tmp_path / "a.gif", "--form", "json", "--seed", "7", "-q")).code == 0
    assert json.loads(stub.asked[0].body) == {"model": "wan", "prompt": "a cat on a beach", "seed": 7}
    assert "authorization" not in stub.asked[0].headers


def test_an_mp4_stays_the_file_that_was_sent(stub: Stub, clip: bytes, tmp_path: Path) -> None:
    finished(stub, clip)
    assert vedit(*command(stub, tmp_path / "a.mp4", "-q")).code == 0
    assert (tmp_path / "a.mp4").read_bytes() == clip
    finished(stub, clip)
    assert (
        vedit(*command(stub, tmp_path / "two.mp4", "-q", "--count", "2")).code == 0
    )  # a grid is made of frames
    assert (tmp_path / "two.mp4").read_bytes() != clip


def test_delays_and_failures_on_the_way_are_waited_out(stub: Stub, clip: bytes, tmp_path: Path) -> None:
    soon = {"Retry-After": "0.01"}
    stub.on(
        "POST",
        "/v1/videos",
        Answer(429, headers=soon),
        Answer(503, headers=soon),
        {"id": "video_1", "status": "queued"},
    )
    stub.on(
        "GET",
        "/v1/videos/video_1",
        Answer(500),
        {"status": "queued"},
        Answer(is_deaf=True),
        Answer(429, headers=soon),
        {"status": "completed"},
    )
    stub.on("GET", "/v1/videos/video_1/content", Answer(502), Answer(body=clip, cut=100), Answer(body=clip))
    result = vedit(*command(stub, tmp_path / "a.gif"))
    assert result.code == 0, result.err
    assert stub.count("POST") == 3
    assert "tried again" in result.err


def test_a_failed_job_is_told_in_the_vendors_words_and_not_gone_on_with(stub: Stub, tmp_path: Path) -> None:
    error = {"code": "moderation_blocked", "message": "The prompt was refused."}
    stub.on("GET", "/v1/videos/video_1", {"status": "failed", "error": error})
    for calls in (1, 2):
        result = vedit(*command(stub, tmp_path / "a.gif"))
        assert result.code == 7
        assert "moderation_blocked: The prompt was refused." in result.err
        assert stub.count("POST") == calls
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("state", ["cancelled", "expired"])
def test_other_ends_of_a_job_are_told(stub: Stub, tmp_path: Path, state: str) -> None:
    stub.on("GET", "/v1/videos/video_1", {"status": state})
    result = vedit(*command(stub, tmp_path / "a.gif"))
    assert (result.code, state in result.err, os.listdir(tmp_path)) == (7, True, [])


@pytest.mark.parametrize(
    "answer",
    [{"status": "sleeping"}, {"progress": 7}, Answer(body=b"<html>"), Answer(400, b"no"), Answer(500)],
)
def test_what_is_not_understood_ends_with_the_job_kept(
    stub: Stub, clip: bytes, tmp_path: Path, answer: Answer | dict[str, object]
) -> None:
    stub.on("GET", "/v1/videos/video_1", answer)
    output = tmp_path / "a.gif"
    result = vedit(*command(stub, output))
    assert result.code == 7, result.err
    assert "Traceback" not in result.err
    assert json.loads(pending(output).read_text())["id"] == "video_1"
    finished(stub, clip)
    again = vedit(*command(stub, output))
    assert again.code == 0, again.err
    assert "going on with job video_1" in again.err
    assert stub.count("POST") == 1
    assert not pending(output).exists()


@pytest.mark.parametrize("content", [b"", b"<html>not yet</html>", b"\0" * 5000])
def test_rubbish_for_a_clip_is_refused_and_fetched_again_without_paying(
    stub: Stub, clip: bytes, tmp_path: Path, content: bytes
) -> None:
    finished(stub, clip)
    stub.on("GET", "/v1/videos/video_1/content", Answer(body=content))
    output = tmp_path / "a.gif"
    result = vedit(*command(stub, output))
    assert result.code == 7
    assert "is no clip" in result.err
    assert "/tmp" not in result.err
    assert not output.exists()
    finished(stub, clip)
    assert vedit(*command(stub, output)).code == 0
    assert stub.count("POST") == 1


def test_half_a_clip_is_refused_too(stub: Stub, clip: bytes, tmp_path: Path) -> None:
    finished(stub, clip)
    stub.on("GET", "/v1/videos/video_1/content", Answer(body=clip[: len(clip) * 2 // 3]))
    assert vedit(*command(stub, tmp_path / "a.gif")).code == 7


def test_a_wait_that_is_too_long_ends_and_the_next_call_goes_on(
    stub: Stub, clip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.on("GET", "/v1/videos/video_1", {"status": "queued"})
    monkeypatch.setattr(jobs, "FIRST_S", 0.6)
    monkeypatch.setattr(jobs, "LONGEST_S", 0.6)
    result = vedit(*command(stub, tmp_path / "a.gif", "--timeout", "1"))
    assert result.code == 7
    assert "not done in time" in result.err
    finished(stub, clip)
    assert vedit(*command(stub, tmp_path / "a.gif")).code == 0
    assert stub.count("POST") == 1


def test_a_call_that_is_killed_while_it_waits_is_gone_on_with(
    stub: Stub, clip: bytes, tmp_path: Path
) -> None:
    stub.on("GET", "/v1/videos/video_1", {"status": "in_progress", "progress": 10})
    output = tmp_path / "a.gif"
    process = start(*command(stub, output, "-q"))
    while stub.count("GET") == 0 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads(pending(output).read_text())["id"] == "video_1"
    finished(stub, clip)
    assert vedit(*command(stub, output, "-q")).code == 0
    assert (stub.count("POST"), leftovers(tmp_path)) == (1, [])


def test_another_prompt_begins_another_job(stub: Stub, clip: bytes, tmp_path: Path) -> None:
    stub.on("GET", "/v1/videos/video_1", Answer(500))
    output = tmp_path / "a.gif"
    assert vedit(*command(stub, output)).code == 7
    finished(stub, clip)
    changed = [argument if argument != "a cat on a beach" else "a dog" for argument in command(stub, output)]
    assert vedit(*changed).code == 0
    assert stub.count("POST") == 2


def test_a_job_that_the_service_forgot_is_begun_anew(stub: Stub, clip: bytes, tmp_path: Path) -> None:
    stub.on("GET", "/v1/videos/video_1", Answer(500))
    output = tmp_path / "a.gif"
    assert vedit(*command(stub, output)).code == 7
    stub.on("GET", "/v1/videos/video_1", Answer(404))
    result = vedit(*command(stub, output))
    assert (result.code, "knows no job video_1" in result.err, pending(output).exists()) == (7, True, False)
    finished(stub, clip)
    assert vedit(*command(stub, output)).code == 0
    assert stub.count("POST") == 2


@pytest.mark.parametrize(
    "id", [None, 7, "", "../admin", "a/b", "..", "x" * 300, "a b", "a?b", "jöb", "١٢", "a\n"]
)
def test_an_id_that_could_lead_elsewhere_is_refused(stub: Stub, tmp_path: Path, id: object) -> None:
    stub.on("POST", "/v1/videos", {"id": id, "status": "queued"})
    result = vedit(*command(stub, tmp_path / "a.gif"))
    assert (result.code, "usable id" in result.err, stub.count("GET")) == (7, True, 0)


def test_a_refused_key_says_where_a_key_belongs(stub: Stub, tmp_path: Path) -> None:
    stub.on("POST", "/v1/videos", Answer(401, b'{"error": {"message": "bad key"}}'))
    result = vedit(*command(stub, tmp_path / "a.gif"))
    assert result.code == 7
    assert "VEDIT_REMOTE_KEY" in result.err


def two_prompts(stub: Stub, folder: Path) -> tuple[str | Path, ...]:
    """The words of a call that makes two clips."""
    (folder / "prompts.txt").write_text("a cat\na dog\n")
    return (
        *("generate", "--prompts", folder / "prompts.txt", "--model", "remote:videos"),
        *("--base-url", stub.url, "-O", folder / "out", "-q"),
    )


def test_several_prompts_are_jobs_of_their_own(stub: Stub, clip: bytes, tmp_path: Path) -> None:
    stub.on("POST", "/v1/videos", {"id": "video_1"}, {"id": "video_2"})
    for number in (1, 2):
        stub.on("GET", f"/v1/videos/video_{number}", {"status": "completed"})
        stub.on("GET", f"/v1/videos/video_{number}/content", Answer(body=clip))
    arguments = two_prompts(stub, tmp_path)
    assert vedit(*arguments).code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "001-a-cat-seed0.gif", "001-a-cat-seed0.gif.vedit.json", "002-a-dog-seed0.gif", "002-a-dog-seed0.gif.vedit.json",
    ]  # fmt: skip


def test_a_batch_that_broke_off_makes_only_the_rest(stub: Stub, clip: bytes, tmp_path: Path) -> None:
    stub.on("POST", "/v1/videos", {"id": "video_1"}, {"id": "video_2"})
    finished(stub, clip)
    stub.on("GET", "/v1/videos/video_2", Answer(500))
    arguments = two_prompts(stub, tmp_path)
    assert vedit(*arguments).code == 7
    assert vedit(*arguments).code == 4
    stub.on("GET", "/v1/videos/video_2", {"status": "completed"})
    stub.on("GET", "/v1/videos/video_2/content", Answer(body=clip))
    for _ in range(2):
        assert vedit(*arguments, "--skip-existing").code == 0
    assert stub.count("POST") == 2
    assert sorted(path.name for path in (tmp_path / "out").glob("*.gif")) == [
        "001-a-cat-seed0.gif",
        "002-a-dog-seed0.gif",
    ]
    assert vedit(*arguments[:-3], "-o", tmp_path / "a.gif", "--skip-existing").code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "remote:vidoes", "--base-url", "http://127.0.0.1:1"), "did you mean videos"),
        (("--model", "remote:videos"), "--base-url"),
        (("--model", "remote:videos", "--base-url", "http://example.org"), "plain HTTP"),
        (("--model", "remote:videos", "--base-url", "http://127.0.0.1:1", "--field", "seconds"), "no value"),
        (
            ("--model", "remote:videos", "--base-url", "http://127.0.0.1:1", "--key-env", "NO_SUCH_KEY"),
            "NO_SUCH_KEY",
        ),
        (
            ("--model", "remote:videos", "--base-url", "http://127.0.0.1:1", "--eta", "1"),
            "--eta has no meaning",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = vedit("generate", "a cat", "-o", tmp_path / "a.gif", *arguments)
    assert result.code == 2
    assert said in result.err


def test_protocols_are_found_by_listing_the_folder() -> None:
    assert remote.names() == ["videos"]
    assert "videos" in remote.summary("videos")


def test_a_form_cannot_be_broken_out_of() -> None:
    body, kind = multipart(
        {"prompt": 'a "cat"\r\n--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nother', 'na"me': 1}
    )
    form = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    assert len(form.get_payload()) == 2


def test_a_field_that_is_a_key_stands_in_no_file(stub: Stub, clip: bytes, tmp_path: Path) -> None:
    stub.on("GET", "/v1/videos/video_1", Answer(400, b"no"))
    output, secret = tmp_path / "a.gif", ("--field", "api_key=SECRET-1", "--field", "seconds=4")
    assert vedit(*command(stub, output, *secret)).code == 7
    assert b"SECRET-1" in stub.asked[0].body
    note = pending(output).read_text()
    finished(stub, clip)
    assert vedit(*command(stub, output, *secret)).code == 0
    record = (tmp_path / "a.gif.vedit.json").read_text()
    assert "SECRET" not in note + record and '"seconds": "4"' in note and "seconds=4" in record
    assert stub.count("POST") == 1


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "[1]",
        "null",
        "[" * 100000,
        '{"format": "vedit-remote-job", "key": 1}',
        "\xff",
        '{"format": "vedit-remote-job"}',
    ],
)
def test_a_damaged_note_of_a_job_begins_another(stub: Stub, clip: bytes, tmp_path: Path, kept: str) -> None:
    finished(stub, clip)
    pending(tmp_path / "a.gif").write_text(kept, encoding="latin-1")
    assert vedit(*command(stub, tmp_path / "a.gif", "-q")).code == 0
    assert stub.count("POST") == 1 and not pending(tmp_path / "a.gif").exists()
