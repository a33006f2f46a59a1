"""Who may ask what: every request is judged before anything else sees it.

Any web site that is open in the same browser can send requests to a server on this machine, and any name can
be made to lead here (DNS rebinding). So a request must bring the key in its address, the right Host, and, to
change anything, the right Origin. There is no cookie, which a browser would add by itself, and no CORS
header.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

METHODS = ("GET", "POST", "PUT")
BODIES = {"POST": b"application/json", "PUT": b"application/octet-stream"}
LARGEST_JSON = 10**6  # bytes
SILENCE_S = 60.0  # without a byte of a body that was announced
START_S = 60.0  # so long the address that a browser is opened with is good for
SPARE = 64 * 2**20  # bytes that stay free on the disk
CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Refusal(NamedTuple):
    """Why a request is not answered."""

    status: int
    text: str
    headers: Mapping[str, str] = {}


@dataclass
class Ticket:
    """A start address that works once: who reads it in a list of processes later gets nothing."""

    word: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    made_s: float = field(default_factory=time.monotonic)
    is_used: bool = False

    def admits(self, word: bytes, now_s: float) -> bool:
        is_right = hmac.compare_digest(self.word.encode(), word)
        if not is_right or self.is_used or now_s - self.made_s > START_S:
            return False
        self.is_used = True
        return True


@dataclass
class Rules:
    """What a request must bring.

    hosts: values of Host; origins: of Origin. room: bytes that are free for an upload.
    """

    key: str
    hosts: frozenset[str]
    origins: frozenset[str]
    max_upload: int
    room: Callable[[], int]
    ticket: Ticket = field(default_factory=Ticket)

    def judge(self, scope: Scope) -> Refusal | None:
        """Why not; None for a request that may go on."""
        headers = scope["headers"]
        return (
            self._from(headers)
            or self._method(scope["method"])
            or self._address(scope["raw_path"])
            or self._origin(scope["method"], headers)
            or self._body(scope["method"], headers)
        )

    def _from(self, headers: Any) -> Refusal | None:
        hosts = values(headers, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return Refusal(421, "this server has another name")
        if any(site not in ("none", "same-origin") for site in values(headers, b"sec-fetch-site")):
            return Refusal(403, "another site asks")
        return None

    def _method(self, method: str) -> Refusal | None:
        if method in METHODS:
            return None
        return Refusal(405, f"{method} is not a method of this server", {"allow": ", ".join(METHODS)})

    def _address(self, path: bytes) -> Refusal | None:
        empty, *parts = path.split(b"/")
        key = parts[0] if parts else b""
        if empty or len(parts) < 2 or not hmac.compare_digest(self.key.encode(), key):
            return Refusal(404, "there is nothing at this address")
        return None

    def _origin(self, method: str, headers: Any) -> Refusal | None:
        origins = values(headers, b"origin")
        if any(origin not in self.origins for origin in origins):
            return Refusal(403, "another site asks")
        if method != "GET" and len(origins) != 1:
            return Refusal(403, "the request does not say which site asks")
        return None

    def _body(self, method: str, headers: Any) -> Refusal | None:
        lengths = values(headers, b"content-length")
        if values(headers, b"transfer-encoding"):
            return Refusal(411, "the length of the body is not said")
        if method == "GET":
            return Refusal(400, "a GET has no body") if any(text != "0" for text in lengths) else None
        kinds = values(headers, b"content-type")
        kind = kinds[0].partition(";")[0].strip().lower().encode() if len(kinds) == 1 else b""
        if kind != BODIES[method] or values(headers, b"content-encoding"):
            return Refusal(415, f"the body of a {method} is {BODIES[method].decode()}")
        if not lengths:
            return Refusal(411, "the length of the body is not said")
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            return Refusal(400, "the length of the body is not a number")
        return self._length(method, int(lengths[0][:20]))

    def _length(self, method: str, length: int) -> Refusal | None:
        largest = self.max_upload if method == "PUT" else LARGEST_JSON
        if length > largest:
            return Refusal(413, f"{length} bytes are too many: at most {largest} are taken")
        if method == "PUT" and length > self.room() - SPARE:
            return Refusal(507, f"there is no room for {length} bytes on the disk")
        return None


def values(headers: Any, name: bytes) -> list[str]:
    """All values of a header, which the server has put in lower case."""
    return [value.decode("latin-1").strip() for key, value in headers if key == name]


def names_of(port: int, others: tuple[str, ...] = ()) -> tuple[frozenset[str], frozenset[str]]:
    """The values of Host and of Origin that lead to this port, with those of other origins.

    others: such as http://localhost:9000. Raises ValueError for what is not an origin.
    """
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
    if port == 80:
        hosts |= {"127.0.0.1", "localhost"}
    origins = {f"http://{host}" for host in hosts}
    for text in others:
        parts = urlsplit(text)
        is_bare = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
        if parts.scheme not in ("http", "https") or not parts.hostname or not is_bare:
            raise ValueError("expected an origin such as http://localhost:9000")
        hosts.add(parts.netloc.lower())
        origins.add(f"{parts.scheme}://{parts.netloc.lower()}")
    return frozenset(hosts), frozenset(origins)


class Silence(Exception):
    """A body stopped coming."""


class Guard:
    """The middleware that judges, and that puts the headers of every answer."""

    def __init__(self, app: App, rules: Rules, silence_s: float) -> None:
        self.app, self.rules, self.silence_s = app, rules, silence_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                kept = [pair for pair in message["headers"] if pair[0].decode().lower() not in HEADERS]
                message = {**message, "headers": [*kept, *own]}
            await send(message)

        if self._is_start(scope):
            place = f"/{self.rules.key}/"
            await answer(guarded, Refusal(303, "", {"location": place}))
        elif (refusal := self.rules.judge(scope)) is not None:
            await answer(guarded, refusal)
        else:
            await self._pass(scope, receive, guarded)

    def _is_start(self, scope: Scope) -> bool:
        """Whether this is the start address, from somebody who may use it."""
        word = scope["raw_path"].removeprefix(b"/start/")
        return (
            scope["method"] == "GET"
            and scope["raw_path"].startswith(b"/start/")
            and self.rules._from(scope["headers"]) is None
            and self.rules.ticket.admits(word, time.monotonic())
        )

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        async def heard() -> Message:
            if scope["method"] == "GET":  # waiting for its end is waiting for the page to go away
                return await receive()
            try:
                return await asyncio.wait_for(receive(), self.silence_s)
            except TimeoutError:
                raise Silence from None

        try:
            await self.app(scope, heard, noted)
        except Silence:
            if not started:
                await answer(send, Refusal(408, "the body stopped coming", {"connection": "close"}))


async def answer(send: Send, refusal: Refusal) -> None:
    """Say why not, as the page expects it."""
    error = {"text": refusal.text, "stage": None, "option": None, "code": 2}
    body = b"" if refusal.status == 303 else json.dumps({"error": error}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    await send(
        {
            "type": "http.response.start",
            "status": refusal.status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
