"""A server of the editor in a process of its own, and ways to talk to it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JSON, BYTES = "application/json", "application/octet-stream"


@dataclass
class Answer:
    """Status, headers and body of a response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Serving:
    """A running `vedit gif serve`. spool: the folder that its own folder lies in."""

    process: subprocess.Popen[str]
    port: int
    key: str
    spool: Path
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, kind: str = JSON, **headers: str) -> Answer:
        """A request as the page sends it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {"Origin": self.origin, "Content-Type": kind} if data is not None else {}
        connection.request(method, f"/{self.key}/{path}", data, {**given, **headers})
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return answer

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, **body: Any) -> Answer:
        return self.ask("POST", path, body)

    def raw(self, data: bytes, timeout: float = 20) -> int:
        """The status that bytes are answered with; 0 where the connection is closed without one."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            try:
                connection.sendall(data)
                start = connection.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                return 0
        match = re.match(rb"HTTP/1\.\d (\d{3})", start)
        return int(match[1]) if match else 0

    def listen(self) -> None:
        """Collect events from now on."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request("GET", f"/{self.key}/events")
        response = connection.getresponse()
        response.readline()

        def collect() -> None:
            try:
                while line := response.readline():
                    if line.startswith(b"data: "):
                        self.events.append(json.loads(line[6:]))
            except (OSError, http.client.HTTPException):
                return
            finally:
                connection.close()

        threading.Thread(target=collect, daemon=True).start()

    def ending(self, revision: str, within_s: float = 60) -> dict[str, Any]:
        """The event that ends a run."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            for event in list(self.events):
                if event.get("revision") == revision and event.keys() & {"report", "error", "superseded"}:
                    return event
            time.sleep(0.02)
        raise AssertionError(f"no end of {revision} within {within_s} s: {self.events}")

    def made(self, **job: Any) -> dict[str, Any]:
        """The report of a result, made now."""
        answer = self.post("run", **job).json
        if "report" in answer:
            return {**answer["report"], "revision": answer["revision"]}
        return {**self.ending(answer["revision"])["report"], "revision": answer["revision"]}

    def folders(self) -> list[str]:
        return os.listdir(self.spool)


@contextmanager
def serving(
    spool: Path, *args: str | Path, listens: bool = True, cwd: Path | None = None, **env: str
) -> Iterator[Serving]:
    """Start a server; it is stopped, if it still runs, behind the block."""
    spool.mkdir(exist_ok=True)
    bare = [] if "BROWSER" in env else ["--no-browser"]
    command = [sys.executable, "-m", "vedit", "gif", "serve", *bare, *map(str, args)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "TMPDIR": str(spool), **env},
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]{32})/\n", line)
        assert match, line + process.stderr.read()
        served = Serving(process, int(match[1]), match[2], spool)
        if listens:
            served.listen()
        yield served
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
