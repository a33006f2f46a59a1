"""Who is let in: raw requests, each with what it is answered."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.ui.served import Serving
from vedit.ui.guard import CSP, SPARE, Guard, Rules, Ticket, names_of

KEY = "{key}"
GOOD_HOST = "Host: 127.0.0.1:{port}"
ORIGIN = "Origin: http://127.0.0.1:{port}"


def get(path: str, *headers: str, host: str = GOOD_HOST) -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", *([host] if host else []), *headers, "", ""])


def post(
    path: str,
    *headers: str,
    method: str = "POST",
    kind: str = "application/json",
    body: str = "{{}}",
    length: str | None = None,
    origin: str = ORIGIN,
) -> str:
    """A request with a body; braces of the body are doubled, since the text is formatted."""
    size = len(body.format()) if length is None else length
    lines = [f"{method} {path} HTTP/1.1", GOOD_HOST, *([origin] if origin else [])]
    lines += [f"Content-Type: {kind}"] if kind else []
    lines += [f"Content-Length: {size}"] if size != "" else []
    return "\r\n".join([*lines, *headers, "", body])


TABLE: list[tuple[str, str, int | tuple[int, ...]]] = [
    # what it is, the bytes, the status
    ("the page", get("/{key}/"), 200),
    ("by the name localhost", get("/{key}/", host="Host: localhost:{port}"), 200),
    ("a link from nowhere", get("/{key}/", "Sec-Fetch-Site: none"), 200),
    ("the page's own request", get("/{key}/controls", "Sec-Fetch-Site: same-origin", ORIGIN), 200),
    ("no host", get("/{key}/", host=""), 400),
    ("another host", get("/{key}/", host="Host: evil.example"), 421),
    ("a name that leads here", get("/{key}/", host="Host: evil.example:{port}"), 421),
    ("a rebound name with its own origin", get("/{key}/", "Origin: http://evil.example:{port}", host="Host: evil.example:{port}"), 421),
    ("another port", get("/{key}/", host="Host: 127.0.0.1:1"), 421),
    ("no port", get("/{key}/", host="Host: 127.0.0.1"), 421),
    ("the name of the IPv6 loopback", get("/{key}/", host="Host: [::1]:{port}"), 421),
    ("two hosts", get("/{key}/", GOOD_HOST), (400, 421)),
    ("two hosts, one of them evil", get("/{key}/", "Host: evil.example"), (400, 421)),
    ("a forwarded host", get("/{key}/", "X-Forwarded-Host: 127.0.0.1:{port}", host="Host: evil.example"), 421),
    ("a host that is empty", get("/{key}/", host="Host: "), 421),
    ("a user in the host", get("/{key}/", host="Host: a@127.0.0.1:{port}"), 421),
    ("an address that names a host", get("http://evil.example/{key}/"), 404),
    ("an address that names our host", get("http://127.0.0.1:{port}/{key}/"), 404),
    ("no key", get("/"), 404),
    ("a wrong key", get("/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/"), 404),
    ("the beginning of the key", get("/{key:.31}/"), 404),
    ("more than the key", get("/{key}A/"), 404),
    ("the key without a slash", get("/{key}"), 404),
    ("the key further behind", get("//{key}/"), 404),
    ("the key as a question", get("/?{key}/"), 404),
    ("a start address that was never given", get("/start/AAAA"), 404),
    ("a start address that is empty", get("/start/"), 404),
    ("a part above", get("/{key}/static/../../../../etc/passwd"), 404),
    ("a part above, escaped", get("/{key}/static/%2e%2e%2f%2e%2e%2fetc%2fpasswd"), 404),
    ("a part above, escaped twice", get("/{key}/static/%252e%252e/page.py"), 404),
    ("a module of ours", get("/{key}/static/..%2fguard.py"), 404),
    ("a path for a source", get("/{key}/source/%2fetc%2fpasswd"), 404),
    ("a path for a result", get("/{key}/result/..%2f..%2fetc%2fpasswd"), 404),
    ("NUL", get("/{key}/static/page.js%00.html"), 404),
    ("NUL as it is", get("/{key}/\0"), (400, 404)),
    ("a backslash", get("/{key}/static/..\\..\\x"), 404),
    ("a preset by its path", get("/{key}/preset/%2fetc%2fpasswd"), 404),
    ("a preset above", get("/{key}/preset/..%2f..%2fx.toml"), 404),
    ("another site", get("/{key}/", "Sec-Fetch-Site: cross-site"), 403),
    ("another port of this machine", get("/{key}/", "Sec-Fetch-Site: same-site"), 403),
    ("an unknown kind of site", get("/{key}/", "Sec-Fetch-Site: x"), 403),
    ("another origin", get("/{key}/controls", "Origin: http://evil.example"), 403),
    ("HEAD", get("/{key}/").replace("GET", "HEAD"), 405),
    ("OPTIONS", get("/{key}/run", ORIGIN, "Access-Control-Request-Method: POST").replace("GET", "OPTIONS"), 405),
    ("DELETE", get("/{key}/").replace("GET", "DELETE"), 405),
    ("TRACE", get("/{key}/").replace("GET", "TRACE"), 405),
    ("CONNECT", get("127.0.0.1:22").replace("GET", "CONNECT"), 405),
    ("a method of one's own", get("/{key}/").replace("GET", "BREW"), 405),
    ("a POST to the page", post("/{key}/"), 405),
    ("a GET of a run", get("/{key}/run"), 405),
    ("cancel", post("/{key}/cancel"), 200),
    ("no origin", post("/{key}/cancel", origin=""), 403),
    ("the origin null", post("/{key}/cancel", origin="Origin: null"), 403),
    ("an evil origin", post("/{key}/cancel", origin="Origin: http://evil.example"), 403),
    ("ours under https", post("/{key}/cancel", origin="Origin: https://127.0.0.1:{port}"), 403),
    ("another port's origin", post("/{key}/cancel", origin="Origin: http://127.0.0.1:1"), 403),
    ("two origins", post("/{key}/cancel", "Origin: http://evil.example"), 403),
    ("two origins, both ours", post("/{key}/cancel", ORIGIN), 403),
    ("a wrong key and a good origin", post("/x/cancel"), 404),
    ("a form", post("/{key}/cancel", kind="application/x-www-form-urlencoded"), 415),
    ("plain text", post("/{key}/cancel", kind="text/plain"), 415),
    ("a form of parts", post("/{key}/source?name=a", kind="multipart/form-data; boundary=x", method="PUT"), 415),
    ("JSON where bytes are due", post("/{key}/source?name=a", method="PUT"), 415),
    ("no kind of body", post("/{key}/cancel", kind=""), 415),
    ("two kinds of body", post("/{key}/cancel", "Content-Type: text/plain"), 415),
    ("a packed body", post("/{key}/cancel", "Content-Encoding: gzip"), 415),
    ("JSON with a character set", post("/{key}/cancel", kind="application/json; charset=utf-8"), 200),
    ("no length", post("/{key}/cancel", length=""), 411),
    ("chunks", post("/{key}/cancel", "Transfer-Encoding: chunked", length="", body="2\r\n{{}}\r\n0\r\n\r\n"), 411),
    ("chunks and a length", post("/{key}/cancel", "Transfer-Encoding: chunked"), (400, 411)),
    ("a negative length", post("/{key}/cancel", length="-1"), 400),
    ("a length in words", post("/{key}/cancel", length="two"), 400),
    ("a length with a sign", post("/{key}/cancel", length="+2"), 400),
    ("a length in hexadecimal", post("/{key}/cancel", length="0x2"), 400),
    ("two lengths", post("/{key}/cancel", "Content-Length: 9"), 400),
    ("too much JSON", post("/{key}/cancel", length="1000001"), 413),
    ("a huge length", post("/{key}/cancel", length="9" * 19), 413),
    ("an upload without end", post("/{key}/source?name=a", length="9" * 18, method="PUT", kind="application/octet-stream"), 413),
    ("a length beyond all", post("/{key}/cancel", length="9" * 40), (400, 413)),
    ("a GET with a body", get("/{key}/", "Content-Length: 5") + "hello", 400),
    ("not JSON", post("/{key}/cancel", body="hello"), 400),
    ("not an object", post("/{key}/cancel", body="[1]"), 400),
    ("half a JSON", post("/{key}/cancel", body="{{"), 400),
    ("deep JSON", post("/{key}/cancel", body="[" * 100000), 400),
    ("JSON that is not text", post("/{key}/cancel", body="\udcff").encode("utf-8", "surrogateescape").decode("latin-1"), 400),
    ("a hundred headers", get("/{key}/", *(f"X-{n}: {n}" for n in range(100))), 200),
    ("headers without end", get("/{key}/", "X: " + "x" * 200_000), (400, 431)),
    ("a very long address", get("/{key}/" + "x" * 60_000), (404, 400)),
    ("a new line in a header", get("/{key}/", "X: a\n\tb: c"), (200, 400)),
    ("no version", "GET /{key}/\r\n\r\n", 400),
    ("an old version", "GET /{key}/ HTTP/1.0\r\n\r\n", 421),
    ("an old version with a host", "GET /{key}/ HTTP/1.0\r\n" + GOOD_HOST + "\r\n\r\n", 200),
    ("not HTTP", "\x16\x03\x01\x02", (0, 400)),
    ("a socket for the web", get("/{key}/events", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), (200, 400, 403)),
    ("frame nought", get("/{key}/frame/0123456789abcdef/0.webp"), 400),
    ("a frame of nothing", get("/{key}/frame/0123456789abcdef/1.webp"), 404),
    ("a frame of a path", get("/{key}/frame/..%2f..%2fx/1.webp"), 404),
    ("thumbs without measure", get("/{key}/thumbs/0123456789abcdef?count=99999"), 400),
]  # fmt: skip


@pytest.mark.parametrize(("what", "text", "wanted"), TABLE, ids=[row[0] for row in TABLE])
def test_a_raw_request_is_answered_as_the_rules_say(
    what: str, text: str, wanted: int | tuple[int, ...], server: Serving
) -> None:
    data = text.format(key=server.key, port=server.port).encode("latin-1")
    status = server.raw(data)
    assert status in (wanted if isinstance(wanted, tuple) else (wanted,))
    assert server.process.poll() is None


def test_the_table_is_long() -> None:
    assert len(TABLE) >= 40


def test_every_answer_keeps_other_sites_out(server: Serving) -> None:
    for answer in (server.get(""), server.get("nothing"), server.get("session"), server.ask("DELETE", "")):
        assert answer.headers["content-security-policy"] == CSP
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control") or "cookie" in name]


def test_neither_the_key_nor_a_path_stands_in_an_answer(server: Serving) -> None:
    wrong = server.post("run", source="x", chain=[["crop", {"rect": "/etc/passwd"}]])
    for answer in (server.get("nothing"), wrong, server.get("session"), server.get("controls")):
        assert server.key.encode() not in answer.body
        assert str(server.spool).encode() not in answer.body and b"Traceback" not in answer.body


def test_two_hundred_requests_at_once_leave_the_server_alive(server: Serving) -> None:
    def ask(number: int) -> int:
        path = ("session", "controls", "static/page.js", "nothing")[number % 4]
        try:
            return server.get(path).status
        except OSError:
            return 0

    with ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(ask, range(200)))
    assert set(statuses) <= {0, 200, 404, 503} and statuses.count(200) >= 5
    assert server.get("session").status == 200


def test_connections_beyond_the_limit_are_told_to_come_again(server: Serving) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    try:
        request = get("/{key}/").format(key=server.key, port=server.port).encode()
        idle[39].sendall(request)
        assert idle[39].recv(100).split()[1] == b"503"
    finally:
        for connection in idle:
            connection.close()


def rules(**changed: Any) -> Rules:
    hosts, origins = names_of(8000, ("http://localhost:9000",))
    return Rules(
        **{
            "key": "k" * 32,
            "hosts": hosts,
            "origins": origins,
            "max_upload": 100,
            "room": lambda: 10**12,
            **changed,
        }
    )


def scope(method: str, path: str, **headers: str) -> dict[str, Any]:
    named = {"host": "127.0.0.1:8000", **{name.replace("_", "-"): text for name, text in headers.items()}}
    pairs = [(name.encode(), text.encode()) for name, text in named.items()]
    return {"type": "http", "method": method, "raw_path": path.encode(), "headers": pairs}


def test_an_upload_that_the_disk_has_no_room_for_is_refused_before_a_byte_is_read() -> None:
    put = scope(
        "PUT",
        f"/{'k' * 32}/source",
        origin="http://127.0.0.1:8000",
        content_type="application/octet-stream",
        content_length="100",
    )
    assert rules(room=lambda: SPARE + 100).judge(put) is None
    refusal = rules(room=lambda: SPARE + 99).judge(put)
    assert refusal is not None and refusal.status == 507


def test_a_tunnel_that_was_named_is_let_in_and_no_other() -> None:
    there = scope("GET", f"/{'k' * 32}/", host="localhost:9000", origin="http://localhost:9000")
    assert rules().judge(there) is None
    refusal = rules().judge(scope("GET", f"/{'k' * 32}/", host="localhost:9001"))
    assert refusal is not None and refusal.status == 421


@pytest.mark.parametrize(
    "text", ["localhost:9000", "ftp://x", "http://", "http://a/b", "http://u@h", "http://a?b"]
)
def test_what_is_not_an_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        names_of(80, (text,))


def test_the_start_address_works_once_and_for_a_minute() -> None:
    ticket = Ticket("word", made_s=100)
    assert not ticket.admits(b"wort", 101) and not ticket.admits(b"", 101)
    assert ticket.admits(b"word", 101) and not ticket.admits(b"word", 102)
    assert not Ticket("word", made_s=100).admits(b"word", 161)


def answers(guard: Guard, asked: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What a guarded application sends, when it is sent these."""
    sent: list[dict[str, Any]] = []
    coming = list(messages)

    async def receive() -> dict[str, Any]:
        if not coming:
            await asyncio.sleep(60)
        return coming.pop(0)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    asyncio.run(guard(asked, receive, send))
    return sent


def test_the_start_address_leads_to_the_page() -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the page is not asked")

    own = rules()
    sent = answers(Guard(never, own, 60), scope("GET", f"/start/{own.ticket.word}"))
    assert sent[0]["status"] == 303 and (b"location", f"/{own.key}/".encode()) in sent[0]["headers"]
    assert answers(Guard(never, own, 60), scope("GET", f"/start/{own.ticket.word}"))[0]["status"] == 404


def test_a_start_address_from_another_site_is_not_used_up() -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the page is not asked")

    own = rules()
    place = f"/start/{own.ticket.word}"
    assert (
        answers(Guard(never, own, 60), scope("GET", place, sec_fetch_site="cross-site"))[0]["status"] == 403
    )
    assert answers(Guard(never, own, 60), scope("GET", place, host="evil.example"))[0]["status"] == 421
    assert answers(Guard(never, own, 60), scope("GET", place))[0]["status"] == 303


def test_a_body_that_stops_coming_ends_its_request() -> None:
    async def reads(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        raise AssertionError("the body never ends")

    post = scope(
        "POST",
        f"/{'k' * 32}/run",
        origin="http://127.0.0.1:8000",
        content_type="application/json",
        content_length="9",
    )
    sent = answers(
        Guard(reads, rules(), silence_s=0.05), post, {"type": "http.request", "body": b"{", "more_body": True}
    )
    assert sent[0]["status"] == 408
