"""A real browser and a real `vedit gif serve`; what is absent skips the tests with the line that brings it.

Two traps: the page's policy forbids `wait_for_function("text")`, so wait with locators; and `set_content` on
about:blank is no secure context, so there is no `ImageDecoder` there.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image, ImageDraw

from tests.conftest import vedit
from tests.jobs.pages.browser import BROWSER

WIDE, NARROW = (1280, 800), (360, 740)
PATIENCE_MS = 30_000  # of what waits for a server on a busy machine


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.browser)


def executable() -> str:
    """The browser of the system; skips with the line that installs one."""
    if BROWSER is not None:
        return BROWSER
    pytest.skip("needs a browser: apt-get install chromium-headless-shell")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs: pip install 'vedit[browser]'")
    path = executable()
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def numbered(count: int = 10, size: tuple[int, int] = (240, 160), delay_cs: int = 10) -> bytes:
    """A GIF whose images say their number, from 1: as text, and as 20 in red for each in its left half."""
    images = []
    for number in range(1, count + 1):
        image = Image.new("RGB", size, (number * 20, 40, 90))
        draw = ImageDraw.Draw(image)
        draw.rectangle((size[0] // 2, 0, size[0], size[1]), fill=(250, 230, 180))
        draw.text((size[0] * 3 // 4, size[1] // 2), str(number), fill=(20, 20, 20))
        images.append(image)
    out = io.BytesIO()
    images[0].save(
        out, "GIF", save_all=True, append_images=images[1:], duration=delay_cs * 10, loop=0, disposal=1
    )
    return out.getvalue()


@dataclass
class Server:
    """A running `vedit gif serve`."""

    process: subprocess.Popen[str]
    address: str
    folder: Path

    def ended(self) -> int:
        return self.process.wait(timeout=20)


def started(folder: Path, *args: str, modules: Path | None = None) -> Server:
    """Start a server in a folder: started(folder, "cat.gif", "-o", "out.gif")."""
    settings = {"VEDIT_CONFIG_DIR": str(folder / "settings")}
    more = {"PYTHONPATH": str(modules)} if modules else {}
    process = subprocess.Popen(
        [sys.executable, "-m", "vedit", "gif", "serve", *args, "--no-browser"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default", "NO_COLOR": "1", **settings, **more},
    )
    said = ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        if found := re.search(r"http://127\.0\.0\.1:\d+/\S+", line):
            return Server(process, found[0], folder)
    raise AssertionError(f"no address in {said!r}")


def ended(server: Server) -> None:
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGINT)
    server.process.wait(timeout=20)
    for stream in (server.process.stdout, server.process.stderr):
        if stream is not None:
            stream.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server of the test's own: serve("cat.gif", "-o", "out.gif")."""
    servers: list[Server] = []

    def start(*args: str, modules: Path | None = None) -> Server:
        servers.append(started(tmp_path, *args, modules=modules))
        return servers[-1]

    yield start
    for server in servers:
        ended(server)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server of cat.gif for all tests that ask for nothing else: a page of its own is all they need."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "cat.gif").write_bytes(numbered())
    server = started(folder, "cat.gif")
    yield server
    ended(server)


@dataclass
class Editor:
    """The page, as somebody uses it."""

    page: Any
    server: Server
    is_narrow: bool = False
    said: list[str] = field(default_factory=list)  # on the console
    asked: list[str] = field(default_factory=list)  # addresses
    may_refuse: bool = False  # whether the server is asked for what it cannot do, which browsers note

    def tab(self, name: str) -> None:
        """Steps, View or Result, where the page shows one of them."""
        if self.is_narrow:
            self.page.locator(".nav").get_by_role("button", name=name).click()

    def add(self, stage: str) -> Any:
        """A new step; its card."""
        self.tab("Steps")
        self.page.get_by_role("button", name="Add a step").click()
        self.page.locator(".menu").get_by_role("menuitem").filter(
            has=self.page.get_by_text(stage, exact=True)
        ).click()
        self.tab("Steps")
        return self.page.locator(f"[data-stage={stage.lower()}]").last

    def settle(self) -> None:
        """Wait for the result of what is wished now."""
        self.page.locator("main[data-state=ready]").wait_for(timeout=PATIENCE_MS)

    def command(self) -> str:
        self.settle()
        return str(self.page.locator("footer .line").text_content())

    def chain_text(self) -> str:
        """The command line as it stands now, settled or not."""
        return str(self.page.locator("footer .line").text_content())

    def announced(self) -> str:
        return str(self.page.locator("p[role=status]").first.text_content())

    def run_command(self) -> bytes:
        """What the command line of the page makes when it is typed."""
        words = shlex.split(self.command())
        assert words[:2] == ["vedit", "gif"]
        with contextlib.chdir(self.server.folder):
            done = vedit(*words[1:], "-y")
        assert done.code == 0, done.err
        return (self.server.folder / words[words.index("-o") + 1]).read_bytes()

    def download(self) -> bytes:
        self.settle()
        self.tab("Result")
        with self.page.expect_download() as waiting:
            self.page.locator("a.download").click()
        return Path(waiting.value.path()).read_bytes()

    def chain(self) -> str:
        """The chain in the command line, "crop:rect=9x9+0+0; rotate:angle=90" also where there is one stage."""
        words = shlex.split(self.command())
        if words[2] == "chain":
            return words[3]
        given = words[3 : next(i for i, word in enumerate(words) if word.endswith(".gif"))]
        pairs = ["=".join(pair).removeprefix("--") for pair in zip(given[::2], given[1::2], strict=True)]
        return f"{words[2]}:{','.join(pairs)}"

    def drag(self, what: Any, by: tuple[int, int], steps: int = 6) -> None:
        box = what.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + by[0], y + by[1], steps=steps)
        self.page.mouse.up()

    def pixel(self, side: str = "result", at: tuple[int, int] = (5, 5)) -> list[int]:
        """A pixel of what a canvas shows."""
        found = self.page.locator(f".board .{side} canvas").evaluate(
            """(canvas, [x, y]) => {
              const one = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
              one.drawImage(canvas, x, y, 1, 1, 0, 0, 1, 1);
              return [...one.getImageData(0, 0, 1, 1).data];
            }""",
            list(at),
        )
        return [int(part) for part in found]


@pytest.fixture
def open_editor(
    request: pytest.FixtureRequest, chromium: Any, serve: Callable[..., Server], tmp_path: Path
) -> Iterator[Callable[..., Editor]]:
    """Open a page: open_editor("cat.gif", size=NARROW). The numbered GIF is cat.gif.

    At the end nothing may have been said on the console, and no other origin asked.
    """
    opened: list[tuple[Any, Editor]] = []

    def server_of(args: tuple[str, ...], modules: Path | None) -> Server:
        if args == ("cat.gif",) and modules is None:
            return cast(Server, request.getfixturevalue("shared_server"))
        (tmp_path / "cat.gif").write_bytes(numbered())
        return serve(*args, modules=modules)

    def start(*args: str, size: tuple[int, int] = WIDE, modules: Path | None = None, **more: Any) -> Editor:
        server = server_of(args, modules)
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            locale="en-GB",
            **{"reduced_motion": "reduce", **more},  # what plays costs the machine
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        editor = Editor(page, server, size == NARROW)
        page.on("console", lambda message: editor.said.append(message.text))
        page.on("pageerror", lambda error: editor.said.append(str(error)))
        page.on("request", lambda request: editor.asked.append(request.url))
        page.goto(server.address)
        page.locator("main.editor").wait_for()
        opened.append((context, editor))
        return editor

    yield start
    for context, editor in opened:
        context.close()
        origin = "/".join(editor.server.address.split("/")[:3])
        foreign = [url for url in editor.asked if not url.startswith((origin, "blob:"))]
        assert not foreign, foreign
        refused = re.compile(
            r"Failed to load resource: (the server responded with a status of 4(09|22)|net::ERR_).*"
        )
        said = [text for text in editor.said if not (editor.may_refuse and refused.fullmatch(text))]
        assert not said, said
