from __future__ import annotations

import email.utils
import io
import time
from collections.abc import Iterator

import pytest

from tests.remote.stub import Answer, Stub, serve
from vedit.errors import RemoteError, UsageError
from vedit.remote import http
from vedit.remote.http import Service, check_base_url, is_loopback, key_from, retry_after


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as server:
        yield server


def service(stub: Stub, key: str = "", **options: object) -> tuple[Service, list[float]]:
    """A service whose pauses are noted and not waited for."""
    pauses: list[float] = []
    return Service(stub.url, key, sleep=pauses.append, **options), pauses  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["https://example.org/v1", "https://example.org:8443", "http://127.0.0.1:8000/v1/", "http://localhost", "http://[::1]:5"])
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
    stub.on("GET", "/v1/x", Answer(429, headers={"Retry-After": "7"}), Answer(500), Answer(is_deaf=True), {"ok": 1})
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
    stub.on("POST", "/v1/x", Answer(400, b'{"error": {"code": "moderation_blocked", "message": "No \\u001b[31mred\\n words"}}'))
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
        Service("https://example.org/v1")._safe("http://127.0.0.1:631/admin")
    with pytest.raises(RemoteError, match="not safe"):
        Service("https://example.org/v1")._safe("https://localhost/admin")


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
