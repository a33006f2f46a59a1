"""What the tests share: the files, ways to run vedit, and what a result is compared with.

`shared()` is the only reader of the folder beside the repository; tests that need it skip without it.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import reference
from vedit.cli.spelling import on_command_line
from vedit.errors import speak

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would each process that a test starts to interrupt it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

speak(on_command_line)  # the messages that tests quote are those of the command line, whoever raises them

ROOT = Path(__file__).parent.parent
NASTY = Path(__file__).parent / "data" / "nasty"
SHARED = ROOT.parent / "shared"
EXPECTED: dict[str, dict[str, Any]] = json.loads((NASTY / "expected.json").read_text())
OK = sorted(path.name for path in NASTY.glob("ok_*.gif"))
WARN = sorted(path.name for path in NASTY.glob("warn_*.gif"))
LIGHT_REAL = (  # well-formed and quick: on these every operation runs
    "httpx_rich-progress.gif",
    "imagegif_alpha_gif_a.gif",
    "imagegif_anim-gr.gif",
    "imagegif_beacon.gif",
    "imagegif_beacon_xmp.gif",
    "imagegif_block-type.gif",
    "imagegif_interlaced.gif",
    "minrf_51.gif",
    "pillow_background_outside_palette.gif",
    "pillow_chi.gif",
    "pillow_different_transparency.gif",
    "pillow_dispose_bgnd.gif",
    "pillow_dispose_bgnd_transparency.gif",
    "pillow_dispose_none.gif",
    "pillow_dispose_prev_first_frame.gif",
    "pillow_duplicate_number_of_loops.gif",
    "pillow_multiple_comments.gif",
    "pillow_no_palette.gif",
    "pillow_no_palette_with_transparency.gif",
    "pillow_transparent_dispose.gif",
    "t2v_move_mnist.gif",
    "vdp_moving-mnist.gif",
)
HEAVY_REAL = (
    "fatezero_fox_512.gif",
    "fatezero_goldfish_1024.gif",
    "imagegif_gifplayer-muybridge.gif",
    "imagegif_sample_big.gif",
    "t2v_holdcam_1024.gif",
)
WELL_FORMED = [*OK, *LIGHT_REAL, *(pytest.param(name, marks=pytest.mark.slow) for name in HEAVY_REAL)]


def shared(path: str) -> Path:
    """A file or folder of ../shared; the test skips where it is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"needs ../shared/{path}")
    return found


def gif(name: str) -> Path:
    """A test GIF by its name: a nasty one, or a real one of the shared data."""
    return NASTY / name if (NASTY / name).exists() else shared(f"data/gifs/real/{name}")


@lru_cache(maxsize=64)
def parsed(path: Path) -> reference.Gif:
    """A GIF as the reference reader sees it."""
    return reference.read(path.read_bytes())


@pytest.fixture(scope="session", autouse=True)
def _own_settings() -> Iterator[None]:
    """No settings of the person who runs the tests take part."""
    kept = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("VEDIT_")] + ["CI", "NO_COLOR"]:
        os.environ.pop(name, None)
    os.environ["VEDIT_CONFIG_DIR"] = os.path.join(tempfile.gettempdir(), "vedit-tests-have-no-settings")
    yield
    os.environ.clear()
    os.environ.update(kept)


@dataclass
class Result:
    """What a command line did. The last three are known for `measured` runs only."""

    code: int
    out: bytes
    err: str
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    modules: set[str] = field(default_factory=set)

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("vedit: ")]

    @property
    def text(self) -> str:
        return self.out.decode()


def vedit(*args: str | Path, stdin: bytes | None = None) -> Result:
    """Run a command line in this process, with its streams captured."""
    from vedit.cli import execute

    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    kept = sys.stdin, sys.stdout, sys.stderr
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    with tempfile.TemporaryFile() as file:
        file.write(stdin or b"")
        file.seek(0)
        with io.TextIOWrapper(file, encoding="utf-8") as text:
            sys.stdin, sys.stdout, sys.stderr = text, out, err
            try:
                code = execute([str(arg) for arg in args])
            finally:
                sys.stdin, sys.stdout, sys.stderr = kept
                for number, handler in handlers.items():
                    signal.signal(number, handler)
    out.flush()
    return Result(code, out.buffer.getvalue(), err.getvalue())  # type: ignore[attr-defined]


def edited(name: str | Path, *args: str, ok: bool = True) -> bytes:
    """The GIF that `vedit gif ARGS` makes of a file; fails unless it says nothing and exits 0."""
    path = gif(name) if isinstance(name, str) else name
    result = vedit("gif", *args, path)
    if ok:
        assert (result.code, result.err) == (0, "")
    return result.out


# Runs one command line under limits, and says on its last line of stderr what it took. The peak is
# VmHWM: ru_maxrss would start at the size of the process that started this one.
MEASURE = r"""
import json, os, resource, sys
limits = json.loads(sys.argv.pop(1))
for name, value in limits.items():
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
before = resource.getrusage(resource.RUSAGE_SELF)
from vedit.cli import execute
code = execute(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_SELF)
try:
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
except OSError:
    peak = usage.ru_maxrss
modules = sorted({name.partition(".")[0] for name in sys.modules} | {name for name in sys.modules if name.startswith(("vedit", "PIL"))})
spent = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
sys.stderr.write("\nMEASURED " + json.dumps([spent, peak / 1024, modules]))
sys.stderr.flush()
os._exit(code)
"""


def measured(
    *args: str | Path,
    stdin: bytes | None = None,
    output: Any = subprocess.PIPE,
    limits: dict[str, int] | None = None,
    jobs: int = 1,
) -> Result:
    """Run a command line in a fresh interpreter, under resource limits such as AS and CPU."""
    command = [sys.executable, "-c", MEASURE, json.dumps(limits or {}), *map(str, args)]
    done = subprocess.run(
        command,
        input=b"" if stdin is None else stdin,
        stdout=output,
        stderr=subprocess.PIPE,
        env={**os.environ, "VEDIT_JOBS": str(jobs)},
        check=False,
        cwd=ROOT,
        timeout=120,
    )
    words, _, numbers = done.stderr.decode(errors="replace").rpartition("\nMEASURED ")
    result = Result(done.returncode, done.stdout or b"", words)
    if numbers:
        result.cpu_s, result.peak_mb, modules = json.loads(numbers)
        result.modules = set(modules)
    else:
        result.err = done.stderr.decode(errors="replace")
    return result


def start(*args: str | Path, **kwargs: Any) -> subprocess.Popen[bytes]:
    """Start a command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "vedit", *map(str, args)], cwd=kwargs.pop("cwd", ROOT), **kwargs
    )


def same_frames(
    result: bytes, source: reference.Gif, change: Callable[[np.ndarray], np.ndarray] = lambda frame: frame
) -> None:
    """Every composed frame of the result is the changed frame of the source, bit for bit."""
    found = reference.read(result)
    assert len(found.images) == len(source.images)
    for number, (frame, original) in enumerate(zip(found.frames(), source.frames(), strict=True), 1):
        wanted = change(original)
        assert frame.shape == wanted.shape, f"image {number}"
        if not np.array_equal(frame, wanted):
            rows, columns = np.nonzero((frame != wanted).any(axis=2))
            row, column = rows[0], columns[0]
            raise AssertionError(
                f"image {number}: {len(rows)} pixels differ, first {frame[row, column]} for"
                f" {wanted[row, column]} at {column}, {row}"
            )


def same_facts(result: bytes, source: reference.Gif, delays: bool = True) -> None:
    """Loop, comments, application blocks and, unless told otherwise, delays are those of the source."""
    found = reference.read(result)
    assert found.is_complete and not found.trailing
    assert (found.loop, found.comments, found.apps, found.texts) == (
        source.loop,
        source.comments,
        source.apps,
        source.texts,
    )
    assert found.background == source.background
    if delays:
        assert found.delays == source.delays


def leftovers(folder: Path) -> list[str]:
    """Unfinished files and folders that a run left behind."""
    return [name for name in os.listdir(folder) if name.endswith(".part")]
