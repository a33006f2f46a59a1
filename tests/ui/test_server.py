"""The server as its page and its user see it: files in and out, events, endings, what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from tests.conftest import NASTY, ROOT, vedit
from tests.ui.served import BYTES, Serving, serving
from vedit.ui.server import GONE_S, Served, Server

PLAIN = NASTY / "ok_plain.gif"


def source(server: Serving) -> str:
    return str(server.get("session").json["sources"][0]["source"])


def slow_gif(path: Path, frames: int = 120) -> Path:
    """Noise that takes a few seconds to resize."""
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (240, 320), np.uint8)) for _ in range(8)]
    pictures[0].save(path, save_all=True, append_images=(pictures * (frames // 8))[1:], duration=50)
    return path


SLOW: list[Any] = [["resize", {"width": "600"}]]


def test_the_page_and_its_modules_are_served(server: Serving) -> None:
    page = server.get("")
    assert page.status == 200 and page.headers["content-type"].startswith("text/html")
    names = [name for name in os.listdir(ROOT / "vedit" / "ui" / "static") if name.endswith((".js", ".css"))]
    assert names
    for name in names:
        answer = server.get(f"static/{name}")
        assert answer.body == (ROOT / "vedit" / "ui" / "static" / name).read_bytes()
        assert answer.headers["content-type"].startswith("text/")
    assert server.get("static/page.py").status == 404


def test_the_whole_page_travels_in_less_than_80_kb(server: Serving) -> None:
    names = sorted(os.listdir(ROOT / "vedit" / "ui" / "static"))
    sent = {
        name: server.ask("GET", f"static/{name}", **{"Accept-Encoding": "br, gzip;q=0.9"}) for name in names
    }
    assert {answer.headers["content-encoding"] for answer in sent.values()} == {"gzip"}
    for name, answer in sent.items():
        assert gzip.decompress(answer.body) == (ROOT / "vedit" / "ui" / "static" / name).read_bytes()
    assert sum(len(answer.body) for answer in sent.values()) < 80_000


def test_a_session_begins_with_the_files_that_were_named(server: Serving) -> None:
    session = server.get("session").json
    facts = session["sources"][0]["facts"]
    assert (session["mode"], session["chain"]) == ("", [])
    assert (facts["file"], facts["images"], facts["width"], facts["delays_cs"]) == (
        "ok_plain.gif",
        6,
        64,
        [10] * 6,
    )


def test_a_result_is_what_its_report_says(server: Serving) -> None:
    job = {
        "source": source(server),
        "chain": [["rotate", {"angle": "90"}], ["speed", {"factor": "2"}]],
        "output": {},
    }
    report = server.made(**job)
    result = server.get(f"result/{report['revision']}")
    assert result.headers["content-type"] == "image/gif" and len(result.body) == report["bytes_out"]
    assert (report["size_out"], report["images"], report["path"]) == ([48, 64], 6, "index")
    assert report["facts"]["delays_cs"] == [5] * 6 and report["name"] == "ok_plain-edited.gif"
    again = server.post("run", **job).json
    assert again == {
        "revision": report["revision"],
        "report": {k: v for k, v in report.items() if k != "revision"},
    }


def test_a_part_of_a_file_comes_when_a_range_is_asked_for(server: Serving) -> None:
    whole = server.get(f"source/{source(server)}").body
    assert whole == PLAIN.read_bytes()
    part = server.ask("GET", f"source/{source(server)}", Range="bytes=10-19")
    assert (part.status, part.body) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    assert server.ask("GET", f"source/{source(server)}", Range="bytes=99999-").status == 416


def test_an_upload_is_a_source_and_its_name_is_only_a_name(server: Serving) -> None:
    taken = server.ask("PUT", "source?name=..%2F..%2Fmy%20cat%00.gif", PLAIN.read_bytes(), BYTES).json
    assert (taken["name"], taken["bytes"]) == ("my cat.gif", PLAIN.stat().st_size)
    assert taken["facts"]["file"] == "my cat.gif"
    assert server.get(f"source/{taken['source']}").body == PLAIN.read_bytes()


@pytest.mark.parametrize("place", ["source", "file"])
def test_an_upload_that_is_broken_off_leaves_nothing(place: str, tmp_path: Path) -> None:
    with serving(tmp_path / "spool") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = (
                f"PUT /{server.key}/{place}?name=a.gif HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nOrigin:"
                f" {server.origin}\r\nContent-Type: {BYTES}\r\nContent-Length: 5000000\r\n\r\n"
            )
            connection.sendall(head.encode() + b"x" * 2_000_000)
            time.sleep(0.3)
            assert len(os.listdir(tmp_path / "spool" / server.folders()[0])) == 2
        assert_soon(lambda: os.listdir(tmp_path / "spool" / server.folders()[0]) == ["owner"])
        assert server.get("session").status == 200


def assert_soon(is_so: Any, within_s: float = 10) -> None:
    until = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_is_not_a_clip_is_refused_in_the_words_of_the_command_line(tmp_path: Path) -> None:
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    told = vedit("probe", playlist)
    assert told.code == 3
    with serving(tmp_path / "spool", playlist) as server:
        taken = server.ask("PUT", "source?name=list.mp4", playlist.read_bytes(), BYTES).json["error"]
        assert f"vedit: {taken['text']}\n" == told.err.replace(str(playlist), "list.mp4")
        named = server.get("session").json["sources"][0]["error"]
        assert f"vedit: {named['text']}\n" == told.err and taken["code"] == named["code"] == 3
        assert os.listdir(tmp_path / "spool" / server.folders()[0]) == ["owner"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """A process may be held to a size of file, which a write that goes beyond meets as a disk that is full."""
    spool = tmp_path / "spool"
    spool.mkdir()
    line = f"ulimit -f 1000; exec {sys.executable} -m vedit gif serve --no-browser"
    process = subprocess.Popen(
        ["bash", "-c", line], stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(spool)}
    )
    assert process.stderr is not None
    address = process.stderr.readline().split("/")
    server = Serving(process, int(address[2].rpartition(":")[2]), address[3], spool)
    try:
        answer = server.ask("PUT", "source?name=big.gif", b"x" * 3_000_000, BYTES)
        assert answer.status == 507 and "file too large" in answer.json["error"]["text"]
        assert os.listdir(spool / server.folders()[0]) == ["owner"]
        small = server.ask("PUT", "source?name=a.gif", PLAIN.read_bytes(), BYTES).json["source"]
        server.listen()
        job = {
            "source": small,
            "chain": [["resize", {"scale": "4000%", "filter": "nearest"}]],
            "output": {"format": "apng"},
        }
        assert server.post("run", **job).status == 200
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        process.stderr.close()
    assert os.listdir(spool) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_in_the_middle_of_work_ends_it_and_leaves_nothing(
    number: int, code: int, tmp_path: Path
) -> None:
    clip = slow_gif(tmp_path / "slow.gif")
    with serving(tmp_path / "spool", clip) as server:
        server.post("run", source=source(server), chain=SLOW, output={})
        assert_soon(lambda: any("image" in event for event in server.events), 30)
        server.process.send_signal(number)
        assert server.process.wait(30) == code
        assert server.folders() == []
        assert server.events[-1] == {"ended": "stopped"}
    assert sorted(os.listdir(tmp_path)) == ["slow.gif", "spool"]


def test_what_a_killed_server_leaves_the_next_one_removes(tmp_path: Path) -> None:
    with serving(tmp_path / "spool", PLAIN) as server:
        server.process.kill()
        server.process.wait()
        assert len(server.folders()) == 1
    with serving(tmp_path / "spool", PLAIN) as first:
        mine = first.folders()
        assert len(mine) == 1
        with serving(tmp_path / "spool", PLAIN) as second:
            assert len(second.folders()) == 2  # one that lives is left alone


def test_a_newer_run_of_a_page_takes_the_place_of_the_one_at_work(tmp_path: Path) -> None:
    clip = slow_gif(tmp_path / "slow.gif")
    with serving(tmp_path / "spool", clip) as server:
        begun = time.monotonic()
        old = server.post("run", source=source(server), chain=SLOW, output={}, page="a").json["revision"]
        other = server.post(
            "run", source=source(server), chain=[["speed", {"factor": "2"}]], output={}, page="b"
        ).json
        new = server.post(
            "run", source=source(server), chain=[["rotate", {"angle": "90"}]], output={}, page="a"
        ).json
        assert server.ending(old) == {"revision": old, "superseded": True}
        assert time.monotonic() - begun < 30
        assert "report" in server.ending(new["revision"]) and "report" in server.ending(other["revision"])
        assert server.get(f"result/{old}").status == 404
        names = os.listdir(tmp_path / "spool" / server.folders()[0])
        assert not [name for name in names if name.endswith(".part")]


def test_thirty_moves_of_a_slider_make_few_runs(tmp_path: Path) -> None:
    clip = slow_gif(tmp_path / "slow.gif", 64)
    with serving(tmp_path / "spool", clip) as server:
        id = source(server)
        revisions = []
        for width in range(300, 330):
            chain = [["resize", {"width": str(width)}]]
            revisions.append(server.post("run", source=id, chain=chain, output={}, page="a").json["revision"])
        assert "report" in server.ending(revisions[-1])
        ends = [server.ending(revision) for revision in revisions]
        assert sum("report" in end for end in ends) <= 5


def test_a_run_can_be_called_off(tmp_path: Path) -> None:
    with serving(tmp_path / "spool", slow_gif(tmp_path / "slow.gif")) as server:
        revision = server.post("run", source=source(server), chain=SLOW, output={}).json["revision"]
        assert server.post("cancel").json == {}
        assert server.ending(revision) == {"revision": revision, "superseded": True}


def test_done_writes_the_file_and_ends_with_its_command(tmp_path: Path) -> None:
    target = tmp_path / "small.gif"
    with serving(tmp_path / "spool", PLAIN, "-o", target, "--json") as server:
        session = server.get("session").json
        assert (session["mode"], session["output_name"], session["output"]) == (
            "file",
            "small.gif",
            {"format": "gif"},
        )
        assert server.post("done", revision="0123456789abcdef").status == 409
        report = server.made(
            source=source(server), chain=[["rotate", {"angle": "90"}]], output={"format": "mp4"}
        )
        assert report["format"] == "gif"  # as the name says
        wanted = server.get(f"result/{report['revision']}").body
        done = server.post("done", revision=report["revision"]).json
        assert server.process.wait(20) == 0
        printed = json.loads(server.process.stdout.read())  # type: ignore[union-attr]
        assert_soon(lambda: server.events[-1] == {"ended": "done"})
    assert target.read_bytes() == wanted
    assert printed == {"output": str(target), "command": done["command"], "chain": "rotate:angle=90"}
    assert printed["command"] == f"vedit gif rotate --angle 90 {PLAIN} -o {target}"


def test_closing_without_done_is_no(tmp_path: Path) -> None:
    with serving(tmp_path / "spool", PLAIN, "-o", tmp_path / "a.gif") as server:
        server.post("close")
        assert server.process.wait(20) == 1
        assert "without Done" in server.process.stderr.read()  # type: ignore[union-attr]
    assert os.listdir(tmp_path) == ["spool"] and os.listdir(tmp_path / "spool") == []


def test_an_output_that_exists_is_in_the_way_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"mine")
    told = vedit("gif", "serve", PLAIN, "--no-browser", "-o", tmp_path / "a.gif")
    assert told.code == 4 and "exists" in told.err
    with serving(tmp_path / "spool", PLAIN, "-o", tmp_path / "a.gif", "-y") as server:
        report = server.made(source=source(server), chain=[], output={})
        assert server.post("done", revision=report["revision"]).status == 200
        assert server.process.wait(20) == 0
    assert (tmp_path / "a.gif").read_bytes()[:4] == b"GIF8"


def test_results_are_saved_into_the_folder_and_nowhere_else(tmp_path: Path) -> None:
    with serving(tmp_path / "spool", PLAIN, "-O", tmp_path / "done") as server:
        revision = server.made(source=source(server), chain=[["rotate", {"angle": "90"}]], output={})[
            "revision"
        ]
        assert server.post("save", revision=revision, name="a.gif").json["name"] == "a.gif"
        assert server.post("save", revision=revision, name="a.gif").status == 409
        assert server.post("save", revision=revision, name="a.gif", overwrite=True).status == 200
        for name in ("../b.gif", "/tmp/b.gif", "b\0.gif", ".b.gif", "b.mp4", "", "..", "b.gif/", "a\\b.gif"):
            assert server.post("save", revision=revision, name=name).status == 422, name
        assert (tmp_path / "done" / "a.gif").read_bytes() == server.get(f"result/{revision}").body
    assert os.listdir(tmp_path / "done") == ["a.gif"] and sorted(os.listdir(tmp_path)) == ["done", "spool"]


def test_without_a_folder_nothing_is_saved(server: Serving) -> None:
    assert server.post("save", revision="0123456789abcdef", name="a.gif").status == 404


def test_a_server_that_nobody_looks_at_ends(tmp_path: Path) -> None:
    with serving(tmp_path / "spool", "--idle", "0.005", listens=False) as server:
        assert server.process.wait(20) == 0
        assert server.folders() == []


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = vedit("gif", "serve", "--no-browser", "--port", str(taken.getsockname()[1]))
    assert told.code == 4 and "in use" in told.err


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["-o", "a.gif", "-O", "b"], 2, "together"),
        (["nothing.gif"], 3, "no such file"),
        (["-"], 2, "standard input"),
        ([str(NASTY)], 2, "is a folder"),
        (["--origin", "example.org"], 2, "http://localhost:9000"),
        (["--max-upload", "lots"], 2, "500M"),
        (["--preset", "webb-small"], 2, "did you mean web-small"),
        (["-o", "a.xyz"], 2, "format"),
        (["-o", "-", "--json"], 2, "standard output"),
        (["-o", "nowhere/a.gif"], 4, "no folder"),
    ],
)
def test_what_cannot_begin_is_said_before_anything_is_made(
    args: list[str], code: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = vedit("gif", "serve", "--no-browser", *args)
    assert told.code == code and text in told.err and "bug" not in told.err
    assert os.listdir(tmp_path) == []


def test_a_server_starts_fast_and_loads_nothing_that_no_stage_asked_for(tmp_path: Path) -> None:
    """Within a second on an idle machine: measured against what starting Python and starlette takes here."""
    code = (
        "import sys, threading, os, signal, time\n"
        "from vedit.cli import execute\n"
        "def stop():\n"
        "    time.sleep(0.5)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "import vedit.ui.server as s\n"
        "serve = s.serve\n"
        "def timed(*args, ready, **more):\n"
        "    serve(*args, ready=lambda: (ready(), threading.Thread(target=stop).start()), **more)\n"
        "s.serve = timed\n"
        f"code = execute(['gif', 'serve', '--no-browser', {str(PLAIN)!r}])\n"
        "print(code, *[name for name in ('torch', 'numpy', 'huggingface_hub', 'pydantic', 'PIL.Image') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.split() == ["130"], done.stdout + done.stderr


def test_only_this_command_loads_the_server() -> None:
    code = (
        "import sys; from vedit.cli import execute; execute(['gif', '--help']);"
        f" execute(['gif', 'rotate', '90', {str(PLAIN)!r}, '-o', '-'][:0] + ['probe', {str(PLAIN)!r}]);"
        " print([n for n in sys.modules if n.split('.')[0] in ('starlette', 'uvicorn', 'anyio', 'h11')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr.strip() == "[]"


@pytest.mark.slow
def test_half_a_gigabyte_comes_in_without_being_held(tmp_path: Path) -> None:
    with serving(tmp_path / "spool") as server:
        server.get("controls")
        before = resident_mb(server)
        size = 500 * 2**20
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = (
                f"PUT /{server.key}/file?name=a.bin HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nOrigin:"
                f" {server.origin}\r\nContent-Type: {BYTES}\r\nContent-Length: {size}\r\n\r\n"
            )
            connection.sendall(head.encode())
            chunk, peak = b"\1" * 2**20, 0.0
            for place in range(500):
                connection.sendall(chunk)
                if place % 25 == 0:
                    peak = max(peak, resident_mb(server))
            assert b"200" in connection.recv(1000).split(b"\r\n")[0]
        assert max(peak, resident_mb(server)) - before < 64


def resident_mb(server: Serving) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def test_a_request_that_stops_coming_is_given_up(tmp_path: Path) -> None:
    """The server of this test waits a second instead of a minute."""
    code = "import vedit.ui.guard as g; g.SILENCE_S = 1.0; from vedit.cli import run; run()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "gif", "serve", "--no-browser"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stderr is not None
    address = process.stderr.readline().split("/")
    server = Serving(process, int(address[2].rpartition(":")[2]), address[3], tmp_path)
    try:
        for start in (b"", b"G", b"GET / HTTP/1.1\r\nHost: x"):
            begun = time.monotonic()
            assert server.raw(start) == 0  # closed without an answer
            assert 0.9 < time.monotonic() - begun < 15
        put = f"PUT /{server.key}/source?name=a HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nOrigin: {server.origin}\r\n"
        assert server.raw(f"{put}Content-Type: {BYTES}\r\nContent-Length: 9\r\n\r\nabc".encode()) == 408
        assert os.listdir(tmp_path / server.folders()[0]) == ["owner"]
        assert server.get("session").status == 200
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        process.stderr.close()


def test_the_end_does_not_wait_for_an_image_that_takes_long(tmp_path: Path) -> None:
    clip = slow_gif(tmp_path / "slow.gif")
    with serving(tmp_path / "spool", clip) as server:
        chain = [["resize", {"width": "3000"}]]
        planned = server.post("plan", source=source(server), chain=chain, output={"format": "apng"}).json
        threading.Thread(
            target=lambda: quietly(server, f"frame/{planned['revision']}/120.webp"), daemon=True
        ).start()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(40) == 130  # the image would take minutes on a busy machine
        assert server.folders() == []


def quietly(server: Serving, path: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        server.get(path)


def ticked(
    alone_s: float, pages: int = 0, seen: bool = True, idle_s: float = 0, ends_alone: bool = False
) -> bool:
    """Whether a server ends that has been alone for so long."""
    session: Any = SimpleNamespace(on_end=None)
    served = Served(session, "key")
    served.pages, served.seen, served.left_s = pages, seen, time.monotonic() - alone_s
    server = Server(uvicorn.Config(served.app(), log_config=None), served, idle_s, ends_alone)
    return asyncio.run(server.on_tick(1))


def test_a_server_of_one_file_ends_a_moment_after_its_page() -> None:
    assert ticked(GONE_S + 1, ends_alone=True) and not ticked(GONE_S - 1, ends_alone=True)
    assert not ticked(GONE_S + 1, ends_alone=True, pages=1) and not ticked(
        GONE_S + 1, ends_alone=True, seen=False
    )
    assert not ticked(GONE_S + 1)  # without -o it stays


def test_an_idle_server_ends_when_it_was_told_to() -> None:
    assert ticked(61, idle_s=60) and ticked(61, idle_s=60, seen=False)
    assert not ticked(59, idle_s=60) and not ticked(61, idle_s=60, pages=1) and not ticked(10**6)


def test_a_browser_is_opened_with_an_address_that_works_once(tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened.part && mv {tmp_path}/opened.part {tmp_path}/opened\n'
    )
    browser.chmod(0o755)
    with serving(tmp_path / "spool", BROWSER=str(browser)) as server:
        assert_soon((tmp_path / "opened").exists)
        address = (tmp_path / "opened").read_text()
        assert address.startswith(f"{server.origin}/start/") and server.key not in address
        assert started(server, address) == (303, f"/{server.key}/")
        assert started(server, address) == (404, None)


def started(server: Serving, address: str) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", address.removeprefix(server.origin))
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status, response.getheader("location")


def test_without_a_screen_the_address_is_all_there_is(tmp_path: Path) -> None:
    bare = {
        name: text
        for name, text in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "vedit", "gif", "serve"],
        stderr=subprocess.PIPE,
        text=True,
        env={**bare, "TMPDIR": str(tmp_path)},
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("http://127.0.0.1:")
    assert "no browser could be opened" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.stderr.close()


def test_several_files_and_a_preset_are_there_when_the_page_opens(tmp_path: Path) -> None:
    other = NASTY / "ok_first_smaller.gif"
    with serving(
        tmp_path / "spool", PLAIN, other, "--preset", "web-small", VEDIT_CONFIG_DIR=str(tmp_path)
    ) as server:
        session = server.get("session").json
        assert [entry["name"] for entry in session["sources"]] == [PLAIN.name, other.name]
        assert session["chain"][0] == ["resize", {"width": "480", "only-shrink": "true"}]
        assert server.made(source=session["sources"][1]["source"], chain=session["chain"], output={})[
            "images"
        ]


def test_a_tunnels_origin_is_let_in(tmp_path: Path) -> None:
    with serving(tmp_path / "spool", "--origin", "https://gifs.example") as server:
        there = {"Host": "gifs.example", "Origin": "https://gifs.example"}
        assert server.ask("POST", "cancel", {}, **there).status == 200
        assert (
            server.ask("POST", "cancel", {}, Host="gifs.example", Origin="http://gifs.example").status == 403
        )


def test_the_name_behind_o_says_the_format(tmp_path: Path) -> None:
    with serving(tmp_path / "spool", PLAIN, "-o", tmp_path / "a.webm") as server:
        report = server.made(source=source(server), chain=[], output={"format": "gif"})
        assert (report["format"], report["facts"]["video"]["codec"]) == ("webm", "vp9")
