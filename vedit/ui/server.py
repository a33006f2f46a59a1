"""The editor behind a port of this machine: addresses, bodies, events. `protocol` lists them.

Nothing here is imported until `vedit gif serve` asks for it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from vedit.errors import OutputError, VeditError, reason_of
from vedit.ui.asked import InTheWay, Missing, NoRoom, NotUnderstood, problem, shown_name
from vedit.ui.controls import media_type
from vedit.ui.guard import SILENCE_S, Guard, Rules, Silence
from vedit.ui.session import Session

T = TypeVar("T")
STATIC = os.path.join(os.path.dirname(__file__), "static")
STATIC_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "json": "application/json",
}
STATUSES: tuple[tuple[type[VeditError], int], ...] = (
    (NotUnderstood, 400),
    (Missing, 404),
    (InTheWay, 409),
    (NoRoom, 507),
)
CONNECTIONS = 32
CHUNK = 1 << 20  # bytes of an upload that are written at once
HEARTBEAT_S = 15.0  # between two signs of life of the events
GONE_S = 10.0  # without a page, a server of -o FILE ends
POSTS = ("run", "plan", "cancel", "measure", "command", "preset", "save", "done", "close")


@cache
def static(name: str) -> tuple[bytes, bytes]:
    """A file of the page, as it is and packed: a tunnel may be slow."""
    with open(os.path.join(STATIC, name), "rb") as file:
        whole = file.read()
    return whole, gzip.compress(whole, 9, mtime=0)


def status_of(error: VeditError) -> int:
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 422)


def refused(status: int, text: str, error: VeditError | None = None) -> JSONResponse:
    """An answer that says why not."""
    if error is None:
        return JSONResponse({"error": problem(text, 2)}, status)
    return JSONResponse({"error": problem(str(error), error.exit_code, error.stage, error.option)}, status)


async def in_thread(work: Callable[..., T], *args: Any) -> T:
    """Work beside the server, on a thread that the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(set_it: Callable[[Any], None], value: Any) -> None:
        with suppress(RuntimeError):  # the server has ended
            loop.call_soon_threadsafe(lambda: None if future.done() else set_it(value))

    def run() -> None:
        try:
            result = work(*args)
        except BaseException as error:
            settle(future.set_exception, error)
        else:
            settle(future.set_result, result)

    threading.Thread(target=run, daemon=True).start()
    return await future


class Served:
    """The addresses of one session."""

    def __init__(self, session: Session, key: str) -> None:
        self.session, self.key = session, key
        self.static = {
            name: STATIC_TYPES[name.rpartition(".")[2]]
            for name in sorted(os.listdir(STATIC))
            if name.rpartition(".")[2] in STATIC_TYPES
        }
        self.pages = 0  # that listen now
        self.left_s = time.monotonic()  # when the last one went, or the server began
        self.seen = False  # whether there ever was one
        self.is_ending = False

    def app(self) -> Starlette:
        at = f"/{self.key}"
        routes = [
            Route(f"{at}/", self.page, methods=["GET"]),
            Route(f"{at}/static/{{name}}", self.file, methods=["GET"]),
            Route(f"{at}/events", self.events, methods=["GET"]),
            *(Route(f"{at}/{name}", self._get(name), methods=["GET"]) for name in ("controls", "session")),
            Route(f"{at}/presets", self._get("presets"), methods=["GET"]),
            Route(f"{at}/preset/{{name}}", self.preset, methods=["GET"]),
            Route(f"{at}/timeline/{{id}}", self.timeline, methods=["GET"]),
            Route(f"{at}/source/{{id}}", self.bytes_of, methods=["GET"]),
            Route(f"{at}/result/{{id}}", self.bytes_of, methods=["GET"]),
            Route(f"{at}/frame/{{id}}/{{number}}.webp", self.frame, methods=["GET"]),
            Route(f"{at}/thumbs/{{id}}", self.thumbs, methods=["GET"]),
            Route(f"{at}/source", self.take("source"), methods=["PUT"]),
            Route(f"{at}/file", self.take("file"), methods=["PUT"]),
            *(Route(f"{at}/{name}", self._post(name), methods=["POST"]) for name in POSTS),
        ]
        return Starlette(
            routes=routes,
            exception_handlers={
                HTTPException: _told_http,
                VeditError: _told,
                ClientDisconnect: _gone,
                Silence: _late,
                Exception: _bug,
            },
        )

    async def page(self, request: Request) -> Response:
        return self._own(request, "page.html")

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.static:
            raise HTTPException(404)
        return self._own(request, name)

    def _own(self, request: Request, name: str) -> Response:
        takes = [
            word.partition(";")[0].strip() for word in request.headers.get("accept-encoding", "").split(",")
        ]
        whole, packed = static(name)
        kind = self.static[name]
        if "gzip" not in takes:
            return Response(whole, media_type=kind)
        return Response(packed, media_type=kind, headers={"content-encoding": "gzip"})

    def _get(self, kind: str) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return JSONResponse(await in_thread(self.session.call, kind, {}))

        return answer

    def _post(self, kind: str) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            try:
                args = json.loads(await request.body())
            except (ValueError, RecursionError):
                raise NotUnderstood("the body is not JSON.") from None
            if not isinstance(args, dict):
                raise NotUnderstood("the body is not a JSON object.")
            return JSONResponse(await in_thread(self.session.call, kind, args))

        return answer

    async def preset(self, request: Request) -> Response:
        args = {"name": request.path_params["name"]}
        return JSONResponse(await in_thread(self.session.call, "load_preset", args))

    async def timeline(self, request: Request) -> Response:
        args = {"id": _id(request)}
        return JSONResponse(await in_thread(self.session.call, "timeline", args))

    async def bytes_of(self, request: Request) -> Response:
        path, name = self.session.making.path_of(_id(request))
        if not os.path.isfile(path):
            raise Missing(f"{os.path.basename(name)} is not there any more.")
        return FileResponse(path, media_type=media_type(name if name != path else path))

    async def frame(self, request: Request) -> Response:
        number = _whole(request.path_params["number"], 1, 10**9)
        data = await in_thread(self.session.frame, _id(request), number)
        return Response(data, media_type="image/webp")

    async def thumbs(self, request: Request) -> Response:
        asked = request.query_params
        begin = _whole(asked.get("from", "1"), 1, 10**9)
        count = _whole(asked.get("count", "20"), 1, 100)
        height = _whole(asked.get("height", "48"), 16, 240)
        data = await in_thread(self.session.thumbs, _id(request), begin, count, height)
        return Response(data, media_type="image/webp")

    def take(self, kind: str) -> Callable[[Request], Any]:
        """Receive a file straight to the disk."""

        async def answer(request: Request) -> Response:
            name = shown_name(request.query_params.get("name", "clip"))
            upload = await in_thread(self.session.holding.upload, name)
            try:
                held = bytearray()
                async for chunk in request.stream():
                    held += chunk
                    if len(held) >= CHUNK:
                        await in_thread(upload.write, bytes(held))
                        held.clear()
                await in_thread(upload.write, bytes(held))
            except OSError as error:
                upload.abandon()
                raise NoRoom(f"{name}: cannot keep it: {reason_of(error)}.") from None
            except BaseException:
                upload.abandon()
                raise
            taken = self.session.holding.take_source if kind == "source" else self.session.holding.take_file
            return JSONResponse(await in_thread(taken, name, upload))

        return answer

    async def events(self, request: Request) -> Response:
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        """What happens, until the page goes away or the server ends."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        def heard(event: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, event)

        stop = self.session.listen(heard)
        self.pages, self.seen = self.pages + 1, True
        try:
            yield ": hello\n\n"
            alive_s = time.monotonic()
            while not self.is_ending:
                try:
                    event = await asyncio.wait_for(queue.get(), 0.25)
                    yield f"data: {json.dumps(event)}\n\n"
                except TimeoutError:
                    if time.monotonic() - alive_s > HEARTBEAT_S:
                        alive_s = time.monotonic()
                        yield ": alive\n\n"
            ending = "done" if self.session.ended is not None else "stopped"
            yield f"data: {json.dumps({'ended': ending})}\n\n"
        finally:
            stop()
            self.pages -= 1
            self.left_s = time.monotonic()


def _id(request: Request) -> str:
    id = str(request.path_params["id"])
    if not re.fullmatch(r"[0-9a-f]{16}", id):
        raise HTTPException(404)
    return id


def _whole(text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise NotUnderstood(f"{text[:20]!r} is not a whole number from {low} to {high}.")
    return int(text)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, VeditError), "starlette calls this for nothing else"
    return refused(status_of(error), "", error)


async def _told_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "starlette calls this for nothing else"
    texts = {404: "there is nothing at this address", 405: "this address takes another method"}
    response = refused(error.status_code, texts.get(error.status_code, str(error.detail)))
    response.headers.update(error.headers or {})
    return response


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody hears it


async def _late(request: Request, error: Exception) -> Response:
    response = refused(408, "the body stopped coming")
    response.headers["connection"] = "close"
    return response


async def _bug(request: Request, error: Exception) -> Response:
    return refused(500, f"bug: {type(error).__name__}: {error}")


def bind(port: int) -> socket.socket:
    """A socket of this machine alone. Raises OutputError for a port that is taken."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise OutputError(
            f"port {port}: {reason_of(error)}.", "", "Leave out --port, and any free one is taken"
        ) from None
    return listening


class Patient(H11Protocol):
    """A connection that does not wait for ever for a request that stopped coming."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def _wait(self) -> None:
        """Begin to wait anew, unless a request is being answered."""
        if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(SILENCE_S, self._give_up)

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """A server that ends by itself, too: when the page is done, or when nobody is there any more.

    idle_s: so long without a page, 0 for ever. ends_alone: also a moment after the last page has gone.
    """

    def __init__(self, config: uvicorn.Config, served: Served, idle_s: float, ends_alone: bool) -> None:
        super().__init__(config)
        self.served, self.idle_s, self.ends_alone = served, idle_s, ends_alone
        self.is_idle = False
        served.session.on_end = self.end

    def end(self) -> None:
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        served = self.served
        alone_s = time.monotonic() - served.left_s if not served.pages else 0.0
        if (self.idle_s and alone_s > self.idle_s) or (self.ends_alone and served.seen and alone_s > GONE_S):
            self.is_idle = self.should_exit = True
        ends = await super().on_tick(counter)
        if ends:
            served.is_ending = True
        return ends


def serve(
    session: Session,
    rules: Rules,
    listening: socket.socket,
    *,
    idle_s: float = 0.0,
    ends_alone: bool = False,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until the page is done, nobody is there any more, or a signal comes, which is raised again.

    ready: called once requests are heard.
    """
    quiet = logging.getLogger("uvicorn")  # its words hold addresses, and so the key
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    served = Served(session, rules.key)
    config = uvicorn.Config(
        Guard(served.app(), rules, SILENCE_S),
        loop="asyncio",
        http=Patient,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
    )
    server = Server(config, served, idle_s, ends_alone)

    async def run() -> None:
        asyncio.get_running_loop().call_soon(ready)
        await server.serve([listening])

    with _hangup_of(server):
        asyncio.run(run())


@contextmanager
def _hangup_of(server: Server) -> Iterator[None]:
    """Let a hang-up end the server as the other signals do, which uvicorn hears itself."""
    number = getattr(signal, "SIGHUP", None)
    before = None if number is None else signal.getsignal(number)
    if (
        number is None
        or before is signal.SIG_IGN
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    came: list[int] = []

    def heard(number: int, frame: Any) -> None:
        came.append(number)
        server.end()

    signal.signal(number, heard)
    try:
        yield
    finally:
        signal.signal(number, before)
    if came:
        signal.raise_signal(number)
