from __future__ import annotations

import email.utils
import io
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.odd_json import mutated
from tests.remote.stub import Answer, Stub, serve
from vedit.errors import RemoteError, UsageError
from vedit.remote import http, jobs, videos
from vedit.remote.http import Service, check_base_url, is_loopback, key_from, retry_after


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as server:
        yield server


def service(stub: Stub, key: str = "", **options: object) -> tuple[Service, list[float]]:
    """A service whose pauses are noted and not waited for."""
    pauses: list[float] = []
    return Service(stub.url, key, sleep=pauses.append, **options), pauses  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/v1",
        "https://example.org:8443",
        "http://127.0.0.1:8000/v1/",
        "http://localhost",
        "http://[::1]:5",
    ],
)
def test_addresses_with_tls_or_of_this_machine_are_taken(url: str) -> None:
    assert check_base_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    ["http://example.org", "http://192.168.0.4:8000", "http://127.0.0.1.example.org", "ftp://127.0.0.1", "127.0.0.1:8000", "https://", "https://user:key@example.org", "https://example.org/v1?key=1", "https://exa mple.org", "http://[::1", "https://example.org:port"],
)  # fmt: skip
def test_other_addresses_are_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(UsageError):
        check_base_url(url)


def test_loopback_is_told_by_the_address() -> None:
    assert all(map(is_loopback, ("localhost", "127.8.9.1", "::1")))
    assert not any(map(is_loopback, ("10.0.0.1", "example.org", "localhost.example.org", "")))


def test_a_get_is_tried_again_on_429_5xx_and_a_dead_line(stub: Stub) -> None:
    stub.on(
        "GET",
        "/v1/x",
        Answer(429, headers={"Retry-After": "7"}),
        Answer(500),
        Answer(is_deaf=True),
        {"ok": 1},
    )
    talk, pauses = service(stub)
    assert talk.get("/x") == {"ok": 1}
    assert pauses == [7, 2, 4]


def test_a_get_is_given_up_after_five_tries(stub: Stub) -> None:
    stub.on("GET", "/v1/x", Answer(503, b"<html>busy</html>"))
    talk, pauses = service(stub)
    with pytest.raises(RemoteError, match=r"answers 503: <html>busy"):
        talk.get("/x")
    assert (stub.count("GET"), len(pauses)) == (5, 4)


@pytest.mark.parametrize(("status", "tries"), [(500, 1), (502, 1), (400, 1), (429, 5), (503, 5)])
def test_a_post_is_tried_again_only_where_nothing_was_begun(stub: Stub, status: int, tries: int) -> None:
    stub.on("POST", "/v1/x", Answer(status))
    with pytest.raises(RemoteError, match=str(status)):
        service(stub)[0].post("/x", b"", "text/plain")
    assert stub.count("POST") == tries


def test_a_post_whose_answer_is_lost_is_not_sent_twice(stub: Stub) -> None:
    stub.on("POST", "/v1/x", Answer(is_deaf=True))
    with pytest.raises(RemoteError, match="broke"):
        service(stub)[0].post("/x", b"", "text/plain")
    assert stub.count("POST") == 1


def test_a_post_that_finds_nobody_is_tried_again() -> None:
    with serve() as gone:
        pass
    talk, pauses = service(gone)
    with pytest.raises(RemoteError, match="cannot be reached"):
        talk.post("/x", b"", "text/plain")
    assert pauses == [1, 2, 4, 8]


def test_an_answer_that_does_not_come_is_a_dead_line(stub: Stub) -> None:
    stub.on("GET", "/v1/x", Answer(wait=1.0), {"ok": 1})
    talk, _ = service(stub, timeout_s=0.2)
    assert talk.get("/x") == {"ok": 1}


def test_the_deadline_ends_the_tries_with_the_last_error(stub: Stub) -> None:
    stub.on("GET", "/v1/x", Answer(429, headers={"Retry-After": "3600"}))
    talk, pauses = service(stub, deadline=time.monotonic() + 5)
    with pytest.raises(RemoteError, match="429"):
        talk.get("/x")
    assert pauses == []


@pytest.mark.parametrize("body", [b"", b"hello", b"[1]", b"\xff\xfe", b"[" * 100000, b'"x"'])
def test_rubbish_for_json_is_told_with_its_beginning(stub: Stub, body: bytes) -> None:
    stub.on("GET", "/v1/x", Answer(body=body))
    with pytest.raises(RemoteError, match="no JSON object") as caught:
        service(stub)[0].get("/x")
    assert len(str(caught.value)) < 700


def test_a_huge_answer_is_not_read_to_its_end(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_ANSWER", 1000)
    stub.on("GET", "/v1/x", Answer(body=b"x" * 5000))
    with pytest.raises(RemoteError, match="more than"):
        service(stub)[0].get("/x")


def test_the_services_own_words_are_shown_without_control_characters(stub: Stub) -> None:
    stub.on(
        "POST",
        "/v1/x",
        Answer(400, b'{"error": {"code": "moderation_blocked", "message": "No \\u001b[31mred\\n words"}}'),
    )
    with pytest.raises(RemoteError, match=r"answers 400: moderation_blocked: No  ?\[31mred words\."):
        service(stub)[0].post("/x", b"", "text/plain")


def test_a_download_that_ends_early_begins_anew(stub: Stub) -> None:
    stub.on("GET", "/v1/f", Answer(body=b"0123456789", cut=4), Answer(body=b"0123456789"))
    file = io.BytesIO()
    service(stub)[0].download("/f", file)
    assert file.getvalue() == b"0123456789"


def test_a_file_that_is_too_large_is_refused(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_FILE", 5)
    stub.on("GET", "/v1/f", Answer(body=b"0123456789"))
    with pytest.raises(RemoteError, match="larger"):
        service(stub)[0].download("/f", io.BytesIO())


def test_the_key_goes_to_the_service_alone(stub: Stub) -> None:
    with serve() as other:
        other.on("GET", "/file", Answer(body=b"clip"))
        stub.on("GET", "/v1/f", Answer(302, headers={"Location": other.url.removesuffix("/v1") + "/file"}))
        file = io.BytesIO()
        service(stub, "secret-key")[0].download("/f", file)
        assert file.getvalue() == b"clip"
        assert stub.asked[0].headers["authorization"] == "Bearer secret-key"
        assert "authorization" not in other.asked[0].headers


@pytest.mark.parametrize("target", ["http://example.org/f", "file:///etc/passwd", "ftp://127.0.0.1/f"])
def test_a_redirect_to_an_unsafe_place_is_not_followed(stub: Stub, target: str) -> None:
    stub.on("GET", "/v1/f", Answer(302, headers={"Location": target}))
    with pytest.raises(RemoteError, match="not safe"):
        service(stub)[0].get("/f")


def test_a_distant_service_may_not_send_to_this_machine() -> None:
    with pytest.raises(RemoteError, match="not safe"):
        Service("https://example.org/v1")._safe(
            "https://example.org/v1/x", "http://127.0.0.1:631/admin", is_file=True
        )
    for place in ("localhost", "192.168.0.1", "10.1.2.3", "169.254.169.254", "[fd00::1]", "0.0.0.0"):
        with pytest.raises(RemoteError, match="not safe"):
            Service("https://example.org/v1")._safe(
                "https://example.org/v1/x", f"https://{place}/admin", is_file=True
            )


def test_words_come_from_the_service_itself_and_files_from_anywhere_over_tls() -> None:
    talk = Service("https://example.org/v1")
    assert talk._safe("https://example.org/v1/x", "/v2/é") == "https://example.org/v2/%C3%A9".replace(
        "%C3%A9", "%E9"
    )
    assert (
        talk._safe("https://example.org/v1/x", "https://cdn.example.net/f?a=b%20c", is_file=True)
        == "https://cdn.example.net/f?a=b%20c"
    )
    for target in (
        "https://cdn.example.net/f",
        "https://example.org:444/f",
        "https://user:word@example.org/f",
    ):
        with pytest.raises(RemoteError, match="not safe"):
            talk._safe("https://example.org/v1/x", target)


def test_redirects_without_end_and_of_a_post_are_refused(stub: Stub) -> None:
    stub.on("GET", "/v1/f", Answer(302, headers={"Location": "/v1/f"}))
    stub.on("POST", "/v1/f", Answer(307, headers={"Location": "/v1/g"}))
    with pytest.raises(RemoteError, match="without end"):
        service(stub)[0].get("/f")
    with pytest.raises(RemoteError, match="sends a POST on"):
        service(stub)[0].post("/f", b"", "text/plain")
    assert stub.count("POST") == 1


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after": "-4"}) == 0
    assert retry_after({"retry-after": email.utils.formatdate(time.time() + 60)}) == pytest.approx(60, abs=2)
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


def test_the_key_is_read_from_the_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VEDIT_REMOTE_KEY", raising=False)
    assert key_from(None) == ""
    monkeypatch.setenv("VEDIT_REMOTE_KEY", " k1 ")
    assert key_from(None) == "k1"
    with pytest.raises(UsageError, match="MY_KEY"):
        key_from("MY_KEY")
    monkeypatch.setenv("MY_KEY", "a\nInjected: header")
    with pytest.raises(UsageError, match="no key has"):
        key_from("MY_KEY")


@pytest.mark.parametrize(
    "target",
    [
        "http://[::1",
        "http://127.0.0.1:port/f",
        "http://127.0.0.1:99999999/f",
        "http://é.example/f",
        "//",
        "http:///f",
        "http://a..b/f",
        f"http://{'a' * 300}/f",
    ],
)
def test_a_redirect_to_what_is_no_address_is_told(stub: Stub, target: str) -> None:
    stub.on("GET", "/v1/f", Answer(302, headers={"Location": target}))
    for attempt in (lambda talk: talk.get("/f"), lambda talk: talk.download("/f", io.BytesIO())):
        with pytest.raises(RemoteError):
            attempt(service(stub)[0])


@pytest.mark.parametrize("key", ["secret-key", "sk-'quoted'"])
def test_a_key_that_the_service_repeats_is_not_shown(stub: Stub, key: str) -> None:
    escaped = "".join(f"\\u{ord(char):04x}" for char in key)
    bodies = [
        f'{{"error": {{"message": "bad key {key}"}}}}',
        f'{{"error": "{escaped}"}}',
        f"<html>{key}</html>",
        f'{{"{escaped}": [{{"a": "{escaped}"}}]}}',
    ]
    for status in (400, 200):
        for body in bodies:
            stub.on("GET", "/v1/x", Answer(status, body.encode()))
            try:
                words = str(service(stub, key)[0].get("/x"))
            except RemoteError as error:
                words = str(error)
            assert key not in words and "***" in words
    stub.on("POST", "/v1/x", Answer(307, headers={"Location": f"/{key}"}))
    with pytest.raises(RemoteError) as caught:
        service(stub, key)[0].post("/x", b"", "text/plain")
    assert key not in str(caught.value)


DRIPS = {
    "head": [b"HTTP/1.1 200 OK\r\nX: ", *[b"a"] * 400],
    "headers": [b"HTTP/1.1 200 OK\r\n", *[b"X: 1\r\n"] * 90],
    "continue": [b"HTTP/1.1 100 Continue\r\n\r\n"] * 400,
    "words": [b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", *[b" "] * 400],
    "chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\n \r\n"] * 400],
    "refusal": [b"HTTP/1.1 400 No\r\nContent-Length: 900\r\n\r\n", *[b" "] * 400],
}


@pytest.mark.parametrize("name", DRIPS)
@pytest.mark.parametrize("is_file", [False, True])
def test_a_server_that_drips_is_left_at_the_deadline(name: str, is_file: bool) -> None:
    with raw_server(lambda: DRIPS[name], pause_s=0.02) as url:
        talk = Service(url, sleep=lambda seconds: None, deadline=time.monotonic() + 0.2)
        began = time.monotonic()
        with pytest.raises(RemoteError):
            talk.download("/x", io.BytesIO()) if is_file else talk.get("/x")
        assert time.monotonic() - began < 2


def test_one_answer_may_not_take_longer_than_its_own_time() -> None:
    with raw_server(lambda: DRIPS["words"], pause_s=0.02) as url:
        began = time.monotonic()
        with pytest.raises(RemoteError, match="no answer in time"):
            Service(url, sleep=lambda seconds: None, timeout_s=0.2).post("/x", b"", "text/plain")
        assert time.monotonic() - began < 2


def test_two_hundred_damaged_answers_are_told_or_understood() -> None:
    """Every reply of a job's life, changed at random: a RemoteError or a result, nothing else."""
    rng = random.Random(7)
    clip = b"0123456789" * 20
    outcomes = {"told": 0, "done": 0}
    replies: list[bytes] = []
    with raw_server(lambda: [replies.pop(0) if replies else b""]) as url:
        for _ in range(200):
            job = {
                "id": "video_1",
                "status": "completed",
                "progress": 100,
                "error": {"code": "a", "message": "b"},
            }
            lives = [
                reply(json.dumps(mutated(job, rng) if rng.random() < 0.4 else job).encode(), rng)
                for _ in range(2)
            ] + [reply(clip, rng)]
            replies[:] = [damaged(life, rng) if rng.random() < 0.2 else life for life in lives]
            talk = Service(
                url, "sk-key", sleep=lambda seconds: None, timeout_s=1, deadline=time.monotonic() + 2
            )
            try:
                id = jobs.begin(videos, talk, {"fields": {}}, jobs.Note(None, {}))
                for _state in jobs.wait(videos, talk, id, jobs.Note(None, {})):
                    pass
                videos.fetch(talk, id, io.BytesIO())
                outcomes["done"] += 1
            except RemoteError as error:
                assert len(str(error)) < 3000 and str(error).replace("\n", "").isprintable()
                outcomes["told"] += 1
    assert outcomes["told"] > 50 and outcomes["done"] > 5, outcomes


def reply(body: bytes, rng: random.Random) -> bytes:
    status = rng.choice(["200 OK"] * 20 + ["302 Found", "500 No", "404 No", "999 \xff", "-1", "200"])
    extra = rng.choice(
        [""] * 16
        + [
            "Location: http://[::1\r\n",
            "Location: /\xe9\r\n",
            "Retry-After: 1e999\r\n",
            "Retry-After: nan\r\n",
            "Content-Encoding: gzip\r\n",
        ]
    )
    length = rng.choice([str(len(body))] * 20 + ["-1", "\xb2", "9" * 30, "0", "x"])
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{extra}\r\n".encode("latin-1") + body


def damaged(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed[: rng.randint(1, len(changed))]) if rng.random() < 0.3 else bytes(changed)


@contextmanager
def raw_server(pieces: Callable[[], list[bytes]], pause_s: float = 0.0) -> Iterator[str]:
    """A server that reads one request per connection and sends pieces of bytes, whatever they are."""
    server = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            with line:
                try:
                    line.settimeout(2)
                    asked = line.recv(1 << 16)
                    while b"\r\n\r\n" not in asked:
                        asked += line.recv(1 << 16)
                    for piece in pieces():
                        line.sendall(piece)
                        time.sleep(pause_s)
                except OSError:  # who asked has gone
                    pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)
