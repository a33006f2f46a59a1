"""HTTP to a service that the user named: loopback or TLS, no silent redirects, bounded bodies, told failures.

The key travels in the header of requests to the base URL's own origin only, and appears nowhere else:
not in messages, not in records. Written on the standard library: a job protocol needs no more.
"""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import json
import os
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple

from vedit import __version__
from vedit.errors import RemoteError, UsageError

LARGEST_ANSWER = 4 << 20  # bytes of JSON
LARGEST_FILE = 1 << 30
REDIRECTS = 5
WORDS = 400  # characters of a service's own words that are shown
FIRST_PAUSE_S = 1.0  # doubled from try to try
SLOWEST_S = 30.0  # longest pause between tries that no Retry-After asks for
BROKEN = (http.client.HTTPException, OSError)


class Reply(NamedTuple):
    """An answer: its status, its headers in lower case, its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, host: str) -> dict[str, Any]:
        """The body as a JSON object. Raises RemoteError."""
        try:
            found = json.loads(self.body)
            if isinstance(found, dict):
                return found
        except (ValueError, RecursionError):
            pass
        raise RemoteError(f"{host} answers what is no JSON object: {shown(self.body)!r}.", "", "Is --base-url right? It often ends in /v1")


class Refusal(RemoteError):
    """An answer that is no success, with its HTTP status."""

    status = 0


class _Refused(Exception):
    """The connection was not made: nothing was sent."""


class _Direct(urllib.request.HTTPRedirectHandler):
    """Redirects are answers like others: who follows them looks where they lead."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


class Service:
    """A service at a base URL.

    key: its API key, "" for none. timeout_s: for one answer. deadline: `time.monotonic()` by which
    all must be done. sleep, warn: how to wait, and whom to tell why.
    """

    def __init__(
        self,
        base_url: str,
        key: str = "",
        *,
        timeout_s: float = 60,
        deadline: float = float("inf"),
        sleep: Callable[[float], None] = time.sleep,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.base = check_base_url(base_url)
        self.host = urllib.parse.urlsplit(self.base).netloc
        self.key, self.timeout_s, self.deadline, self.sleep, self.warn = key, timeout_s, deadline, sleep, warn

    def get(self, path: str) -> dict[str, Any]:
        """A JSON object; tried again on 429, 5xx and broken connections."""
        return self._kept(lambda: self._send("GET", self.base + path), lambda status: status in (None, 429) or status >= 500).json(self.host)

    def post(self, path: str, body: bytes, kind: str) -> dict[str, Any]:
        """Send once: tried again only where nothing was begun (no connection, 429, 503)."""
        return self._kept(lambda: self._send("POST", self.base + path, body, kind), lambda status: status in (429, 503)).json(self.host)

    def download(self, path: str, file: IO[bytes]) -> None:
        """Write a file of the service; tried again from the start when the connection breaks."""

        def attempt() -> Reply:
            file.seek(0)
            file.truncate()
            return self._send("GET", self.base + path, into=file)

        self._kept(attempt, lambda status: status in (None, 429) or status >= 500)

    def _kept(self, attempt: Callable[[], Reply], is_worth: Callable[[int | None], bool], tries: int = 5) -> Reply:
        """The answer of the first try that succeeds; None stands for a connection that broke."""
        for left in reversed(range(tries)):
            try:
                reply = attempt()
                if reply.status < 300:
                    return reply
                error: RemoteError = refusal(self.host, reply)
                worth, pause = is_worth(reply.status), retry_after(reply.headers)
            except _Refused as cause:
                error, worth, pause = RemoteError(f"{self.host} cannot be reached: {cause}.", "", "Is it running, and is --base-url right?"), True, None
            except BROKEN as cause:
                error = RemoteError(f"the connection to {self.host} broke: {said(cause)}.", "", "Call again: a job that was begun is gone on with")
                worth, pause = is_worth(None), None
            if not left or not worth:
                raise error
            self.pause(pause if pause is not None else min(FIRST_PAUSE_S * 2 ** (tries - 1 - left), SLOWEST_S), error)
        raise AssertionError("the last try returns or raises")

    def pause(self, seconds: float, error: RemoteError | None = None) -> None:
        """Wait; raises the error, or that time is up, when the deadline would pass."""
        if time.monotonic() + seconds > self.deadline:
            raise error or RemoteError(f"{self.host} was not done in time.", "", "Call again to go on waiting, or give a longer --timeout")
        if error is not None:
            self.warn(f"{error.what.rstrip('.')}; tried again in {seconds:g} s")
        self.sleep(seconds)

    def _send(self, method: str, url: str, body: bytes | None = None, kind: str = "", into: IO[bytes] | None = None) -> Reply:
        """One request, its redirects followed where that is safe."""
        for _ in range(REDIRECTS + 1):
            reply = self._once(method, url, body, kind, into)
            target = reply.headers.get("location")
            if reply.status not in (301, 302, 303, 307, 308) or target is None:
                return reply
            if method != "GET":
                raise RemoteError(f"{self.host} sends a {method} on to {target[:200]}.", "", "Give that address as --base-url, if it is right")
            url = self._safe(urllib.parse.urljoin(url, target))
        raise RemoteError(f"{self.host} sends from one address to another without end.")

    def _safe(self, url: str) -> str:
        """Where a redirect may lead: TLS anywhere, plain HTTP and this machine only where the service itself is."""
        parts = urllib.parse.urlsplit(url)
        is_here = is_loopback(parts.hostname or "")
        if parts.scheme == "https" and not is_here:
            return url
        if parts.scheme in ("http", "https") and is_here and is_loopback(urllib.parse.urlsplit(self.base).hostname or ""):
            return url
        raise RemoteError(f"{self.host} sends to {parts.scheme}://{parts.netloc}, which is not safe to follow.")

    def _once(self, method: str, url: str, body: bytes | None, kind: str, into: IO[bytes] | None) -> Reply:
        parts = urllib.parse.urlsplit(url)
        request = urllib.request.Request(
            url, body, {"User-Agent": f"vedit/{__version__}", "Accept": "application/json, video/*;q=0.9, */*;q=0.5"}, method=method
        )
        if kind:
            request.add_header("Content-Type", kind)
        if self.key and url.startswith(urllib.parse.urljoin(self.base, "/")):
            request.add_unredirected_header("Authorization", f"Bearer {self.key}")
        proxy = [urllib.request.ProxyHandler({})] if is_loopback(parts.hostname or "") else []
        opener = urllib.request.build_opener(_Direct, *proxy)
        try:
            answer: Any = opener.open(request, timeout=max(0.1, min(self.timeout_s, self.deadline - time.monotonic())))
        except urllib.error.HTTPError as error:
            answer = error
        except urllib.error.URLError as error:
            if isinstance(error.reason, (ConnectionRefusedError, socket.gaierror)):
                raise _Refused(said(error.reason)) from None
            raise OSError(said(error.reason) if isinstance(error.reason, BaseException) else str(error.reason)) from None
        with answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            if into is not None and answer.status < 300:
                _copy(answer, into, headers, self.deadline)
                return Reply(answer.status, headers, b"")
            data = answer.read(LARGEST_ANSWER + 1)
            if len(data) > LARGEST_ANSWER and answer.status < 300:
                raise RemoteError(f"{self.host} answers more than {LARGEST_ANSWER >> 20} MiB where a few words were asked for.")
            return Reply(answer.status, headers, data)


def _copy(answer: Any, file: IO[bytes], headers: Mapping[str, str], deadline: float) -> None:
    """The body into a file; a body that ends early is a broken connection."""
    size = 0
    while chunk := answer.read(1 << 20):
        size += len(chunk)
        if size > LARGEST_FILE:
            raise RemoteError(f"the file is larger than {LARGEST_FILE >> 20} MiB.")
        if time.monotonic() > deadline:
            raise RemoteError("the download was not done in time.", "", "Call again, or give a longer --timeout")
        file.write(chunk)
    announced = headers.get("content-length", "")
    if announced.isdigit() and size != int(announced):
        raise ConnectionError(f"{size} of {announced} bytes came")
    file.flush()


def refusal(host: str, reply: Reply) -> Refusal:
    """An answer that is no success, in the service's own words."""
    try:
        about = json.loads(reply.body)
        error = about.get("error", about.get("detail", about)) if isinstance(about, dict) else about
        code = error.get("code") or error.get("type") if isinstance(error, dict) else None
        message = error.get("message", error) if isinstance(error, dict) else error
        words = f"{code}: {message}" if code else str(message)
    except (ValueError, RecursionError):
        words = shown(reply.body)
    steps = {
        401: "Set VEDIT_REMOTE_KEY to a key of the service, or name the variable it is in with --key-env",
        402: "The account has no credit",
        403: "The key may not do this",
        404: "Is --base-url right, and is the model there? It often ends in /v1",
        429: "Too many requests: call again later",
    }
    step = steps.get(reply.status, "Call again later: a job that was begun is gone on with" if reply.status >= 500 else "")
    error = Refusal(f"{host} answers {reply.status}" + (f": {shown(words).rstrip('.')}" if words else "") + ".", "", step)
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
    except (TypeError, ValueError):
        return None


def shown(text: bytes | str) -> str:
    """A stranger's words on one line, without control characters, cut to a length."""
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    line = " ".join("".join(char if char.isprintable() else " " for char in words).split())
    return line if len(line) <= WORDS else line[:WORDS] + " ..."


def said(error: BaseException) -> str:
    """A failure of the network in words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return shown((getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()).rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_base_url(url: str) -> str:
    """The URL without a slash at its end. Raises UsageError unless it is https, or http to this machine."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urllib.parse.urlsplit("")
    if parts.scheme not in ("http", "https") or not host or any(char.isspace() or not char.isprintable() for char in url):
        raise UsageError(f"--base-url {url} is no address.", "It is https://HOST/PATH.", "Example: --base-url https://example.org/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError("--base-url holds more than an address.", "A key belongs in the environment: VEDIT_REMOTE_KEY, or --key-env NAME.")
    if parts.scheme == "http" and not is_loopback(host):
        raise UsageError(
            f"--base-url {url} is plain HTTP to another machine.", "Prompt and key could be read on the way.", f"Use https://{parts.netloc}{parts.path}"
        )
    return url.rstrip("/")


def key_from(variable: str | None) -> str:
    """The API key in an environment variable: VEDIT_REMOTE_KEY, or the one that was named. "" when it need not be."""
    key = os.environ.get(variable or "VEDIT_REMOTE_KEY", "").strip()
    if variable is not None and not key:
        raise UsageError(f"the variable {variable} is empty or not set.", "--key-env names the variable that holds the API key.")
    if any(char.isspace() or not char.isprintable() or ord(char) > 126 for char in key):
        raise UsageError(f"the key in {variable or 'VEDIT_REMOTE_KEY'} holds characters that no key has.")
    return key
