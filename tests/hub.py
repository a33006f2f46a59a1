"""A Hub on loopback that answers a downloading client as huggingface.co does.

What is copied of the real one: model info, the file tree in pages, `resolve` that redirects small
files to a path of the same host and large ones to a content-addressed address of another host
without the token, byte ranges, and the status and `X-Error-Code` of everything that is refused.
A file can be made to break off in the middle. Every request is kept in `log`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

PAGE = 5  # entries of the file tree per answer: the real Hub's pages are longer, but not endless either
LARGE = (".safetensors", ".bin")
TOKEN = "hf_of_the_one_who_may"


class Request(NamedTuple):
    """method, path without query, the Range and Authorization headers or None, the status of the answer."""

    method: str
    path: str
    range: str | None
    token: str | None
    status: int


@dataclass
class Repository:
    """A model on the Hub. access: "open", "gated" or "private"; `TOKEN` opens the last two."""

    folder: Path
    access: str = "open"

    @property
    def files(self) -> dict[str, Path]:
        return {
            path.relative_to(self.folder).as_posix(): path
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }

    @property
    def commit(self) -> str:
        return hashlib.sha1(
            "".join(f"{name} {sha256(path)}" for name, path in self.files.items()).encode()
        ).hexdigest()


def sha256(path: Path) -> str:
    return _sha256(path, path.stat().st_mtime_ns)


@cache
def _sha256(path: Path, changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass
class StubHub:
    """repositories: by OWNER/NAME. breaks: by file name, after how many bytes its next answers end; then it
    is whole.
    """

    server: ThreadingHTTPServer
    repositories: dict[str, Repository] = field(default_factory=dict)
    breaks: dict[str, list[int]] = field(default_factory=dict)
    down: int | None = None
    log: list[Request] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def add(self, name: str, folder: Path, access: str = "open") -> Repository:
        self.repositories[name] = Repository(folder, access)
        return self.repositories[name]

    def downloads(self, suffix: str = "") -> list[Request]:
        """The requests for contents of files with this end of name."""
        return [
            request
            for request in self.log
            if request.method == "GET"
            and request.path.startswith(("/cdn/", "/api/resolve-cache/"))
            and request.path.endswith(suffix)
        ]


@contextmanager
def stub_hub() -> Iterator[StubHub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    hub = StubHub(server)
    server.hub = hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> StubHub:
        return self.server.hub  # type: ignore[attr-defined, no-any-return]

    def log_message(self, *args: Any) -> None:
        """The requests are kept instead of printed."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        url = urlsplit(self.path)
        try:
            if self.hub.down is not None:
                raise _Refused(self.hub.down, "", "the Hub is under maintenance")
            parts = url.path.strip("/").split("/")
            if parts[0] == "cdn":
                self.contents(*self.stored(parts[1], parts[2]))
            elif parts[:3] == ["api", "resolve-cache", "models"]:
                repository = self.repository("/".join(parts[3:5]))
                self.contents(self.file(repository, "/".join(parts[6:])), repository)
            elif parts[:2] == ["api", "models"]:
                self.api("/".join(parts[2:4]), parts[4:], parse_qs(url.query))
            elif "resolve" in parts:
                self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
            else:
                raise _Refused(404, "", "not found")
        except _Refused as refusal:
            headers = {
                "X-Error-Message": refusal.message,
                **({"X-Error-Code": refusal.code} if refusal.code else {}),
            }
            self.reply(refusal.status, json.dumps({"error": refusal.message}).encode(), headers)

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.note(status)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def note(self, status: int) -> None:
        self.hub.log.append(
            Request(
                self.command,
                urlsplit(self.path).path,
                self.headers.get("Range"),
                self.headers.get("Authorization"),
                status,
            )
        )

    def repository(self, name: str) -> Repository:
        """What the caller may see: strangers are told nothing of what is private."""
        token = self.headers.get("Authorization")
        if token is not None and token not in (f"Bearer {TOKEN}", "Bearer hf_of_another"):
            raise _Refused(401, "", "Invalid credentials in Authorization header")
        found = self.hub.repositories.get(name)
        if found is None or (found.access == "private" and token != f"Bearer {TOKEN}"):
            if token is None:
                raise _Refused(401, "RepoNotFound", "Invalid username or password.")
            raise _Refused(404, "RepoNotFound", "Repository not found")
        return found

    def check_revision(self, repository: Repository, revision: str) -> None:
        if revision not in ("main", "v1", repository.commit):
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def api(self, name: str, rest: list[str], query: dict[str, list[str]]) -> None:
        repository = self.repository(name)
        self.check_revision(repository, rest[1] if len(rest) > 1 else "main")
        if not rest or rest[0] == "revision":
            gated = "auto" if repository.access == "gated" else False
            siblings = [{"rfilename": file} for file in repository.files]
            facts = {
                "id": name,
                "sha": repository.commit,
                "gated": gated,
                "private": repository.access == "private",
                "siblings": siblings,
                "tags": [],
            }
            self.reply(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})
            return
        begin = int(query.get("cursor", ["0"])[0])
        entries = [entry(file, path) for file, path in repository.files.items()]
        folders = [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": part}
            for part in sorted({file.split("/")[0] for file in repository.files if "/" in file})
        ]
        headers = {"Content-Type": "application/json"}
        if begin + PAGE < len(folders + entries):
            headers["Link"] = (
                f"<{self.hub.endpoint}{urlsplit(self.path).path}?recursive=true&cursor={begin + PAGE}>;"
                ' rel="next"'
            )
        self.reply(200, json.dumps((folders + entries)[begin : begin + PAGE]).encode(), headers)

    def resolve(self, name: str, revision: str, file: str) -> None:
        repository = self.repository(name)
        if repository.access == "gated" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            status = 401 if self.headers.get("Authorization") is None else 403
            raise _Refused(status, "GatedRepo", f"Access to model {name} is restricted.")
        self.check_revision(repository, revision)
        path = self.file(repository, file)
        headers = {"X-Repo-Commit": repository.commit}
        if path.suffix in LARGE:  # another origin than the endpoint: the token must not travel there
            place = f"http://localhost:{self.server.server_port}/cdn/{sha256(path)}/{path.name}"  # type: ignore[attr-defined]
            headers |= {
                "Location": place,
                "X-Linked-Etag": f'"{sha256(path)}"',
                "X-Linked-Size": str(path.stat().st_size),
            }
            self.reply(302, headers=headers)
        else:
            headers |= {
                "Location": (
                    f"/api/resolve-cache/models/{name}/{repository.commit}/{file}?etag={blob_id(path)}"
                )
            }
            self.reply(307, headers=headers)

    def file(self, repository: Repository, name: str) -> Path:
        if name not in repository.files:
            raise _Refused(404, "EntryNotFound", "Entry not found")
        return repository.files[name]

    def stored(self, digest: str, name: str) -> tuple[Path, None]:
        for repository in self.hub.repositories.values():
            for path in repository.files.values():
                if path.name == name and sha256(path) == digest:
                    return path, None
        raise _Refused(403, "", "the address has expired")

    def contents(self, path: Path, repository: Repository | None) -> None:
        """A file or the end of it; broken off where `breaks` says so."""
        size, status, first = path.stat().st_size, 200, 0
        headers = {"ETag": f'"{blob_id(path) if repository else sha256(path)}"', "Accept-Ranges": "bytes"}
        if repository is not None:
            headers["X-Repo-Commit"] = repository.commit
        if asked := self.headers.get("Range"):
            first, status = int(asked.removeprefix("bytes=").partition("-")[0]), 206
            headers["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
        self.note(status)
        self.send_response(status)
        for name, value in {"Content-Length": str(size - first), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        left = size - first
        if pending := self.hub.breaks.get(path.name):
            left, self.close_connection = min(left, pending.pop(0)), True
        with path.open("rb") as stream:
            stream.seek(first)
            while piece := stream.read(min(left, 1 << 20)):
                self.wfile.write(piece)
                left -= len(piece)


def blob_id(path: Path) -> str:
    """Git's name for a file's contents, which the Hub gives as the ETag of small files."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(name: str, path: Path) -> dict[str, Any]:
    """A file in the tree as the Hub lists it."""
    facts: dict[str, Any] = {"type": "file", "oid": blob_id(path), "size": path.stat().st_size, "path": name}
    if path.suffix in LARGE:
        facts["lfs"] = {"oid": sha256(path), "size": path.stat().st_size, "pointerSize": 135}
    return facts


@contextmanager
def stub_as_hub(patch: pytest.MonkeyPatch, cache: Path) -> Iterator[StubHub]:
    """The stub as this process's Hub, with an empty cache: what HF_ENDPOINT and HF_HOME do for a fresh one."""
    from huggingface_hub import constants, hf_api

    patch.delenv("HF_TOKEN", raising=False)
    with stub_hub() as stub:
        patch.setattr(constants, "ENDPOINT", stub.endpoint)
        patch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            stub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(hf_api.api, "endpoint", stub.endpoint)
        yield stub
