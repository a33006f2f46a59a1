"""HTTP to a service that the user named: loopback or TLS, no silent redirects, bounded bodies, told failures.

The key travels in the header of requests to the base URL's own origin only, and appears nowhere else:
not in messages, not in records, also where a service repeats it. Written on the standard library: a job
protocol needs no more.
"""

from __future__ import annotations

import email.utils
import http.client
import io
import ipaddress
import os
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any, NamedTuple

from vedit import __version__
from vedit.documents import Kind, parse_json, table
from vedit.errors import RemoteError, UsageError, Warn, option, silent
from vedit.plain import one_line
from vedit.secrecy import without

LARGEST_ANSWER = 4 << 20  # bytes of JSON
LARGEST_FILE = 1 << 30
REDIRECTS = 5
WORDS = 400  # characters of a service's own words that are shown
FIRST_PAUSE_S = 1.0  # doubled from try to try
SLOWEST_S = 30.0  # longest pause between tries that no Retry-After asks for
BROKEN = (http.client.HTTPException, OSError)
ANSWER = Kind("an answer", RemoteError, largest=LARGEST_ANSWER)
IN_ADDRESSES = "!#$%&'()*+,/:;=?@[]~-._"  # characters of a redirect that are left as they came


class Reply(NamedTuple):
    """An answer: its status, its headers in lower case, its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, host: str, key: str = "") -> dict[str, Any]:
        """The body as a JSON object in which the key, when the service repeats it, is hidden.

        Raises RemoteError.
        """
        try:
            found: dict[str, Any] = without(table(parse_json(self.body, host, ANSWER), host, ANSWER), key)
            return found
        except RemoteError:
            words = quoted(without(quoted(self.body), key))
        raise RemoteError(
            f"{host} answers what is no JSON object: {words!r}.",
            "",
            f"Is {option('base_url')} right? It often ends in /v1",
        )


class Refusal(RemoteError):
    """An answer that is no success, with its HTTP status."""

    status = 0


class _Refused(Exception):
    """The connection was not made: nothing was sent."""


class _Direct(urllib.request.HTTPRedirectHandler):
    """Redirects are answers like others: who follows them looks where they lead."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


class _Timed(io.RawIOBase):
    """What a connection receives, each read with no more time than is left for the whole.

    A timeout of a socket begins anew with every byte, and a server that drips would hold a call for ever.
    """

    def __init__(self, raw: Any, connection: socket.socket, until: float) -> None:
        self.raw, self.connection, self.until, self.each = raw, connection, until, connection.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.connection.settimeout(left if self.each is None else min(left, self.each))
        return self.raw.readinto(buffer)  # type: ignore[no-any-return]

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose head and body come by a time on the clock of `time.monotonic`."""

    def __init__(self, connection: socket.socket, *arguments: Any, until: float, **named: Any) -> None:
        super().__init__(connection, *arguments, **named)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), connection, until))


def _connection(kind: Any, until: float, host: str, **options: Any) -> Any:
    made = kind(host, **options)
    made.response_class = partial(_Answer, until=until)
    return made


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, until: float) -> None:
        super().__init__()
        self.until = until

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(partial(_connection, http.client.HTTPConnection, self.until), request)


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, until: float) -> None:
        super().__init__()
        self.until = until

    def https_open(self, request: urllib.request.Request) -> Any:
        made = partial(_connection, http.client.HTTPSConnection, self.until)
        return self.do_open(made, request, context=ssl.create_default_context())


class Service:
    """A service at a base URL.

    key: its API key, "" for none. timeout_s: for one answer, as a whole; for a file, for each read of it.
    deadline: `time.monotonic()` by which all must be done. sleep, warn: how to wait, and whom to tell why.
    """

    def __init__(
        self,
        base_url: str,
        key: str = "",
        *,
        timeout_s: float = 60,
        deadline: float = float("inf"),
        sleep: Callable[[float], None] = time.sleep,
        warn: Warn = silent,
    ) -> None:
        self.base = check_base_url(base_url)
        self.host = urllib.parse.urlsplit(self.base).netloc
        self.key, self.timeout_s, self.deadline, self.sleep, self.warn = key, timeout_s, deadline, sleep, warn

    def get(self, path: str) -> dict[str, Any]:
        """A JSON object; tried again on 429, 5xx and broken connections."""
        return self._kept(
            lambda: self._send("GET", self.base + path), lambda status: status in (None, 429) or status >= 500
        ).json(self.host, self.key)

    def post(self, path: str, body: bytes, kind: str) -> dict[str, Any]:
        """Send once: tried again only where nothing was begun (no connection, 429, 503)."""
        return self._kept(
            lambda: self._send("POST", self.base + path, body, kind), lambda status: status in (429, 503)
        ).json(self.host, self.key)

    def download(self, path: str, file: IO[bytes]) -> None:
        """Write a file of the service; tried again from the start when the connection breaks."""

        def attempt() -> Reply:
            file.seek(0)
            file.truncate()
            return self._send("GET", self.base + path, into=file)

        self._kept(attempt, lambda status: status in (None, 429) or status >= 500)

    def _kept(
        self, attempt: Callable[[], Reply], is_worth: Callable[[int | None], bool], tries: int = 5
    ) -> Reply:
        """The answer of the first try that succeeds; None stands for a connection that broke."""
        for left in reversed(range(tries)):
            try:
                reply = attempt()
                if reply.status < 300:
                    return reply
                error: RemoteError = refusal(self.host, reply, self.key)
                worth, pause = is_worth(reply.status), retry_after(reply.headers)
            except _Refused as cause:
                error, worth, pause = (
                    RemoteError(
                        f"{self.host} cannot be reached: {cause}.",
                        "",
                        f"Is it running, and is {option('base_url')} right?",
                    ),
                    True,
                    None,
                )
            except BROKEN as cause:
                error = RemoteError(
                    f"the connection to {self.host} broke: {said(cause)}.",
                    "",
                    "Call again: a job that was begun is gone on with",
                )
                worth, pause = is_worth(None), None
            if not left or not worth:
                raise error
            self.pause(
                pause if pause is not None else min(FIRST_PAUSE_S * 2 ** (tries - 1 - left), SLOWEST_S), error
            )
        raise AssertionError("the last try returns or raises")

    def pause(self, seconds: float, error: RemoteError | None = None) -> None:
        """Wait; raises the error, or that time is up, when the deadline would pass."""
        if time.monotonic() + seconds > self.deadline:
            raise error or RemoteError(
                f"{self.host} was not done in time.",
                "",
                f"Call again to go on waiting, or give a longer {option('timeout')}",
            )
        if error is not None:
            self.warn(f"{error.what.rstrip('.')}; tried again in {seconds:g} s")
        self.sleep(seconds)

    def _send(
        self, method: str, url: str, body: bytes | None = None, kind: str = "", into: IO[bytes] | None = None
    ) -> Reply:
        """One request, its redirects followed where that is safe."""
        for _ in range(REDIRECTS + 1):
            reply = self._once(method, url, body, kind, into)
            target = reply.headers.get("location")
            if reply.status not in (301, 302, 303, 307, 308) or target is None:
                return reply
            if method != "GET":
                words = quoted(without(target[:WORDS], self.key))
                raise RemoteError(
                    f"{self.host} sends a {method} on to {words}.",
                    "",
                    f"Give that address as {option('base_url')}, if it is right",
                )
            url = self._safe(url, target, is_file=into is not None)
        raise RemoteError(f"{self.host} sends from one address to another without end.")

    def _safe(self, url: str, target: str, is_file: bool = False) -> str:
        """Where a redirect leads, when it may lead there.

        Words come from the service itself, files over TLS from anywhere; plain HTTP, this machine and
        a private network only where the service itself is. Raises RemoteError.
        """
        try:
            # headers are Latin-1, addresses are ASCII: what is not goes as its bytes, as browsers send it
            escaped = urllib.parse.quote(target.encode("latin-1"), safe=IN_ADDRESSES)
            found = urllib.parse.urljoin(url, escaped)
            parts = urllib.parse.urlsplit(found)
            host, _ = parts.hostname or "", parts.port
            home = urllib.parse.urlsplit(self.base).hostname or ""
            is_here, is_same = is_loopback(host), same_origin(found, self.base)
        except ValueError:
            words = quoted(without(target[:WORDS], self.key))
            raise RemoteError(
                f"{self.host} sends to {words!r}, which is no address.",
                "",
                "Call again: a job that was begun is gone on with",
            ) from None
        may = is_same or (is_file and parts.scheme == "https" and not is_private(host))
        may = may or (is_file and parts.scheme in ("http", "https") and is_here and is_loopback(home))
        if host and may and not parts.username and not parts.password:
            return found
        where = quoted(without(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", self.key))
        raise RemoteError(f"{self.host} sends to {where}, which is not safe to follow.")

    def _once(self, method: str, url: str, body: bytes | None, kind: str, into: IO[bytes] | None) -> Reply:
        parts = urllib.parse.urlsplit(url)
        request = urllib.request.Request(
            url,
            body,
            {"User-Agent": f"vedit/{__version__}", "Accept": "application/json, video/*;q=0.9, */*;q=0.5"},
            method=method,
        )
        if kind:
            request.add_header("Content-Type", kind)
        if self.key and same_origin(url, self.base):
            request.add_unredirected_header("Authorization", f"Bearer {self.key}")
        now = time.monotonic()
        until = self.deadline if into is not None else min(now + self.timeout_s, self.deadline)
        proxy = [urllib.request.ProxyHandler({})] if is_loopback(parts.hostname or "") else []
        opener = urllib.request.build_opener(_Direct, _Plain(until), _Secure(until), *proxy)
        try:
            answer: Any = opener.open(request, timeout=max(0.1, min(self.timeout_s, self.deadline - now)))
        except urllib.error.HTTPError as error:
            answer = error
        except urllib.error.URLError as error:
            if isinstance(error.reason, (ConnectionRefusedError, socket.gaierror)):
                raise _Refused(said(error.reason)) from None
            raise OSError(
                said(error.reason) if isinstance(error.reason, BaseException) else str(error.reason)
            ) from None
        except ValueError as error:  # a host that is no host: too long a part, a dot too many
            raise _Refused(said(error)) from None
        with answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            if into is not None and answer.status < 300:
                _copy(answer, into, headers, self.deadline)
                return Reply(answer.status, headers, b"")
            data = answer.read(LARGEST_ANSWER + 1)
            if len(data) > LARGEST_ANSWER and answer.status < 300:
                raise RemoteError(
                    f"{self.host} answers more than {LARGEST_ANSWER >> 20} MiB where a few words were asked"
                    " for."
                )
            return Reply(answer.status, headers, data)


def _copy(answer: Any, file: IO[bytes], headers: Mapping[str, str], deadline: float) -> None:
    """The body into a file; a body that ends early is a broken connection."""
    size = 0
    while chunk := answer.read(1 << 20):
        size += len(chunk)
        if size > LARGEST_FILE:
            raise RemoteError(f"the file is larger than {LARGEST_FILE >> 20} MiB.")
        if time.monotonic() > deadline:
            raise RemoteError(
                "the download was not done in time.", "", f"Call again, or give a longer {option('timeout')}"
            )
        file.write(chunk)
    announced = headers.get("content-length", "")
    if announced.isdecimal() and announced.isascii() and len(announced) < 20 and size != int(announced):
        raise ConnectionError(f"{size} of {announced} bytes came")
    file.flush()


def refusal(host: str, reply: Reply, key: str = "") -> Refusal:
    """An answer that is no success, in the service's own words, without the key."""
    try:
        about = parse_json(reply.body, host, ANSWER)
        error = about.get("error", about.get("detail", about)) if isinstance(about, dict) else about
        code = error.get("code") or error.get("type") if isinstance(error, dict) else None
        message = error.get("message", error) if isinstance(error, dict) else error
        words = f"{code}: {message}" if code else str(message)
    except RemoteError:
        words = quoted(reply.body)
    words = without(words, key)
    steps = {
        401: (
            "Set VEDIT_REMOTE_KEY to a key of the service, or name the variable it is in with"
            f" {option('key_env')}"
        ),
        402: "The account has no credit",
        403: "The key may not do this",
        404: f"Is {option('base_url')} right, and is the model there? It often ends in /v1",
        429: "Too many requests: call again later",
    }
    step = steps.get(
        reply.status, "Call again later: a job that was begun is gone on with" if reply.status >= 500 else ""
    )
    error = Refusal(
        f"{host} answers {reply.status}" + (f": {quoted(words).rstrip('.')}" if words else "") + ".", "", step
    )
    error.status = reply.status
    return error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for, as a number or a date; None without it."""
    text = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def quoted(text: bytes | str) -> str:
    """A stranger's words on one line, without control characters, cut to a length."""
    line = one_line(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text))
    return line if len(line) <= WORDS else line[:WORDS] + " ..."


def said(error: BaseException) -> str:
    """A failure of the network in words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return quoted((getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()).rstrip(
        "."
    )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private(host: str) -> bool:
    """Whether a host is this machine, or an address that is not of the open network."""
    if is_loopback(host):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def same_origin(url: str, other: str) -> bool:
    """Whether two addresses have the same scheme, host and port. Raises ValueError for what is no address."""
    a, b = urllib.parse.urlsplit(url), urllib.parse.urlsplit(other)
    return (a.scheme, a.hostname, a.port) == (b.scheme, b.hostname, b.port)


def check_base_url(url: str) -> str:
    """The URL without a slash at its end. Raises UsageError unless it is https, or http to this machine."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urllib.parse.urlsplit("")
    if (
        parts.scheme not in ("http", "https")
        or not host
        or any(char.isspace() or not char.isprintable() for char in url)
    ):
        raise UsageError(
            f"{option('base_url', url)} is no address.",
            "It is https://HOST/PATH.",
            f"Example: {option('base_url', 'https://example.org/v1')}",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"{option('base_url')} holds more than an address.",
            f"A key belongs in the environment: VEDIT_REMOTE_KEY, or {option('key_env', 'NAME')}.",
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise UsageError(
            f"{option('base_url', url)} is plain HTTP to another machine.",
            "Prompt and key could be read on the way.",
            f"Use https://{parts.netloc}{parts.path}",
        )
    return url.rstrip("/")


def key_from(variable: str | None) -> str:
    """The API key in an environment variable: VEDIT_REMOTE_KEY, or the one that was named. "" when it need
    not be.
    """
    key = os.environ.get(variable or "VEDIT_REMOTE_KEY", "").strip()
    if variable is not None and not key:
        raise UsageError(
            f"the variable {variable} is empty or not set.",
            f"{option('key_env')} names the variable that holds the API key.",
        )
    if any(char.isspace() or not char.isprintable() or ord(char) > 126 for char in key):
        raise UsageError(f"the key in {variable or 'VEDIT_REMOTE_KEY'} holds characters that no key has.")
    return key
