"""vedit as a process: pipes that stream, readers that leave, signals, and a kill in the middle of writing."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import reference
from tests.conftest import ROOT, edited, gif, leftovers, start
from tests.random_gifs import nasty

PATIENCE_S = 40  # generous: the machine may be busy


def images(count: int, side: int = 120) -> list[bytes]:
    """Complete image blocks, all different."""
    return [
        nasty.gce(5, 1) + nasty.image(side, side, nasty.checks(side, side, 4, 3, k)) for k in range(count)
    ]


HEAD = nasty.header(120, 120, nasty.FOUR) + nasty.netscape(0)


def slow_clip(tmp_path: Path, side: int = 1000, count: int = 60) -> Path:
    """A clip that takes a while: noise, which compresses badly."""
    rng = nasty.Rng(5)
    noise = bytes(rng(256) for _ in range(side * 40)) * (side // 40)
    colours = [(i, 255 - i, i // 2) for i in range(256)]
    from PIL import Image

    from vedit.media.gif.lzw import encode

    block = nasty.gce(5, 1) + nasty.image(
        side, side, b"", 8, data=encode(Image.frombytes("L", (side, side), noise), 8)
    )
    path = tmp_path / "slow.gif"
    path.write_bytes(nasty.header(side, side, colours, 8) + block * count + nasty.END)
    return path


def read_some(process: subprocess.Popen[bytes]) -> bytes:
    """What has left a process so far; fails when nothing does although it is waited for."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], PATIENCE_S)[0]:
        process.kill()
        process.communicate()
        raise AssertionError("nothing has left the process")
    return os.read(process.stdout.fileno(), 65536)


def wait_for_part(folder: Path, process: subprocess.Popen[bytes], least: int = 1) -> str:
    """Wait until the part file of a run has some bytes."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        for name in leftovers(folder):
            if (folder / name).stat().st_size >= least:
                return name
        time.sleep(0.005)
    raise AssertionError("no part file was seen while writing")


@pytest.mark.parametrize(
    "command",
    [("speed", "0.5"), ("rotate", "90"), ("crop", "--left", "10%"), ("rotate", "90", "-j", "8")],
    ids=" ".join,
)
def test_the_first_image_leaves_before_the_last_has_arrived(command: tuple[str, ...]) -> None:
    blocks = images(6)
    process = start("gif", *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    process.stdin.write(HEAD + blocks[0])
    process.stdin.flush()
    got = b""
    for block in blocks[1:4]:  # one or two images behind is streaming; waiting for the end is not
        process.stdin.write(block)
        process.stdin.flush()
    while b"\x2c" not in got[60:]:
        got += read_some(process)
    assert process.poll() is None
    rest, _ = process.communicate(b"".join(blocks[4:]) + nasty.END, timeout=PATIENCE_S)
    assert process.returncode == 0
    assert len(reference.read(got + rest).images) == 6


def test_pipes_between_vedit_processes_stream_too() -> None:
    shell = f'"{sys.executable}" -m vedit gif crop --left 10% | "{sys.executable}" -m vedit gif speed 0.5'
    process = subprocess.Popen(["sh", "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdin and process.stdout
    blocks = images(12)
    process.stdin.write(HEAD + b"".join(blocks[:10]))
    process.stdin.flush()
    first = read_some(process)
    assert first.startswith(b"GIF89a") and process.poll() is None
    rest, _ = process.communicate(b"".join(blocks[10:]) + nasty.END, timeout=PATIENCE_S)
    assert len(reference.read(first + rest).images) == 12


@pytest.mark.parametrize("command", ["speed 0.5", "rotate 90", "resize --width 500"])
def test_a_reader_that_leaves_ends_the_run_quietly(command: str, tmp_path: Path) -> None:
    path = slow_clip(tmp_path, count=12)
    shell = f'"{sys.executable}" -m vedit gif {command} "{path}" | head -c 100'
    done = subprocess.run(
        ["sh", "-c", shell], capture_output=True, timeout=PATIENCE_S * 2, cwd=ROOT, check=False
    )
    assert len(done.stdout) == 100 and done.stderr == b""


def test_a_closed_pipe_exits_141(tmp_path: Path) -> None:
    process = start(
        "gif", "speed", "0.5", slow_clip(tmp_path, count=12), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    os.read(process.stdout.fileno(), 100)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(PATIENCE_S) == 141
    process.stderr.close()


def test_a_closed_pipe_behind_probe_is_quiet_too() -> None:
    shell = (
        f'"{sys.executable}" -m vedit probe --json {" ".join([str(gif("ok_delays.gif"))] * 200)} | head -c 10'
    )
    done = subprocess.run(["sh", "-c", shell], capture_output=True, timeout=PATIENCE_S, cwd=ROOT, check=False)
    assert done.stderr == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_signal_removes_the_part_file_and_keeps_the_old_one(
    number: int, code: int, jobs: str, tmp_path: Path
) -> None:
    path, out = slow_clip(tmp_path), tmp_path / "out.gif"
    out.write_bytes(b"old")
    process = start("gif", "rotate", "90", path, "-o", out, "-y", "-j", jobs, stderr=subprocess.PIPE)
    wait_for_part(tmp_path, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code
    assert b"Traceback" not in err
    assert out.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["out.gif", "slow.gif"]


def test_a_signal_in_a_batch_leaves_no_part_file(tmp_path: Path) -> None:
    path = slow_clip(tmp_path)
    others = [tmp_path / f"{n}.gif" for n in range(3)]
    for other in others:
        shutil.copy(path, other)
    (tmp_path / "out").mkdir()
    process = start(
        "gif", "rotate", "90", path, *others, "-O", tmp_path / "out", "-j", "2", stderr=subprocess.PIPE
    )
    wait_for_part(tmp_path / "out", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130 and b"Traceback" not in err
    assert leftovers(tmp_path / "out") == []


def test_kill_in_the_middle_of_writing_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path, out = slow_clip(tmp_path), tmp_path / "out.gif"
    shutil.copy(gif("ok_plain.gif"), out)
    for least in (1, 300_000, 3_000_000):
        process = start("gif", "rotate", "90", path, "-o", out, "-y", "-j", "1")
        name = wait_for_part(tmp_path, process, least)
        process.kill()
        process.wait(PATIENCE_S)
        assert out.read_bytes() == gif("ok_plain.gif").read_bytes()
        assert name.startswith(".out.gif.") and name.endswith(".part")  # hidden, and never the final name
        for left in leftovers(tmp_path):
            (tmp_path / left).unlink()


def test_no_name_is_taken_before_the_output_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "out.gif"
    process = start("gif", "rotate", "90", slow_clip(tmp_path, count=20), "-o", out)
    wait_for_part(tmp_path, process)
    assert not out.exists()
    assert process.wait(PATIENCE_S) == 0
    assert len(reference.read(out.read_bytes()).images) == 20 and leftovers(tmp_path) == []


def test_a_run_started_with_interrupts_ignored_is_not_disturbed_by_them(tmp_path: Path) -> None:
    """`nohup` and background jobs of a script: the shell has set SIGINT to be ignored."""
    out = tmp_path / "out.gif"
    shell = (
        f'trap \'\' INT; exec "{sys.executable}" -m vedit gif rotate 90 "{slow_clip(tmp_path, count=20)}" -o'
        f' "{out}"'
    )
    process = subprocess.Popen(["sh", "-c", shell], cwd=ROOT)
    wait_for_part(tmp_path, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert out.exists()


@pytest.mark.parametrize(
    "command",
    [("gif", "rotate", "90"), ("gif", "speed", "0.5"), ("probe",), ("probe", "--json")],
    ids=" ".join,
)
def test_a_full_disk_behind_standard_output_is_an_output_error(command: tuple[str, ...]) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vedit", *command, str(gif("ok_plain.gif"))],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 4
    assert (
        b"no space left" in done.stderr.lower()
        and b"Traceback" not in done.stderr
        and b"bug" not in done.stderr
    )


def test_the_module_and_the_installed_command_are_the_same() -> None:
    script = Path(sys.executable).parent / "vedit"
    if not script.exists():
        pytest.skip("vedit is not installed beside this interpreter")
    done = subprocess.run(
        [script, "gif", "rotate", "90"],
        input=gif("ok_plain.gif").read_bytes(),
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stdout == edited("ok_plain.gif", "rotate", "90")


@pytest.mark.parametrize(
    ("command", "closed", "code", "words"),
    [
        ("gif rotate 90 IN -o OUT -y", ">&-", 0, ""),
        ("gif rotate 90 IN -o OUT -y", "2>&-", 0, ""),
        ("gif rotate 90 IN -o OUT -y", "<&- >&- 2>&-", 0, ""),
        ("gif rotate 90 -o OUT -y", "<&-", 3, "cannot read"),
        ("gif rotate 90 IN", ">&-", 4, "cannot write"),
        ("probe IN", ">&-", 4, "cannot write"),
        ("probe --json IN", ">&- 2>&-", 4, ""),
        ("gif --help", ">&-", 4, "cannot write"),
    ],
)
def test_a_standard_stream_that_is_closed_is_missed_only_where_it_is_needed(
    command: str, closed: str, code: int, words: str, tmp_path: Path
) -> None:
    line = command.replace("IN", f"'{gif('ok_plain.gif')}'").replace("OUT", f"'{tmp_path}/out.gif'")
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m vedit {line} {closed}'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        done.returncode == code
        and words in done.stderr
        and "bug" not in done.stderr
        and bool(words) == bool(done.stderr)
    )
    assert (tmp_path / "out.gif").exists() == (code == 0)


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict", "latin-1"])
@pytest.mark.parametrize(
    "command",
    [("probe",), ("probe", "--json"), ("gif", "rotate", "90", "--dry-run", "-o", "o.gif")],
    ids=" ".join,
)
def test_a_name_that_is_not_utf8_is_printed_in_any_encoding(
    encoding: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.gif"
    with open(name, "wb") as file:
        file.write(gif("ok_plain.gif").read_bytes())
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-m", "vedit", *command, name],
        cwd=ROOT,
        capture_output=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    if "--json" in command:
        assert os.fsencode(json.loads(done.stdout)["file"]) == name
    else:
        assert rb"caf\xe9.gif" in done.stdout


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film that takes about a second to become a GIF."""
    from tests.media.clips import ffmpeg

    path = tmp_path_factory.mktemp("film") / "film.mp4"
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=320x240:r=25:d=6",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
        path,
    )
    return path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_a_film_becomes_a_gif_is_no_bug(
    number: int, code: int, film: Path, tmp_path: Path
) -> None:
    process = start("convert", film, "-j", "2", "-o", tmp_path / "out.gif", stderr=subprocess.PIPE)
    wait_for_part(tmp_path, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code and b"bug" not in err
    assert os.listdir(tmp_path) == []


def test_a_full_disk_or_a_reader_that_leaves_ends_a_film_in_its_own_code(film: Path) -> None:
    if os.path.exists("/dev/full"):
        full = start("convert", film, "-j", "2", "--to", "gif", "-o", "/dev/full", stderr=subprocess.PIPE)
        assert b"no space left" in full.communicate(timeout=PATIENCE_S)[1] and full.returncode == 4
    process = start("convert", film, "-j", "2", "--to", "gif", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    read_some(process)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(PATIENCE_S) == 141
    process.stderr.close()


def test_a_terminal_that_closes_leaves_no_part_file(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run under nohup, which children inherit
    process = start(
        "convert",
        "-f",
        "rgb24",
        "--size",
        "64x64",
        "--rate",
        "5",
        "-",
        "-o",
        tmp_path / "o.webm",
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    signal.signal(signal.SIGHUP, before)
    assert process.stdin
    process.stdin.write(bytes(64 * 64 * 3 * 20))
    process.stdin.flush()
    wait_for_part(tmp_path, process, least=0)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 129 and err == b"" and os.listdir(tmp_path) == []


def test_a_run_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    out = tmp_path / "out.gif"
    shell = (
        f'trap \'\' HUP; exec "{sys.executable}" -m vedit gif rotate 90 "{slow_clip(tmp_path, count=20)}" -o'
        f' "{out}"'
    )
    process = subprocess.Popen(["sh", "-c", shell], cwd=ROOT)
    wait_for_part(tmp_path, process)
    process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE_S) == 0 and out.exists()


def test_a_signal_while_an_output_takes_its_name_changes_nothing(tmp_path: Path) -> None:
    """Whole with exit 0, never whole with the exit of an interrupt."""
    script = (
        "import os, signal, sys; from vedit.media import atomic\n"
        "link = os.link\n"
        "def slow(*paths):\n"
        "    os.kill(os.getpid(), signal.SIGTERM); link(*paths); os.kill(os.getpid(), signal.SIGINT)\n"
        "os.link = slow\n"
        "from vedit.cli import run; run()\n"
    )
    out = tmp_path / "out.gif"
    done = subprocess.run(
        [sys.executable, "-c", script, "gif", "rotate", "90", str(gif("ok_plain.gif")), "-o", str(out)],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"") and out.exists() and leftovers(tmp_path) == []
