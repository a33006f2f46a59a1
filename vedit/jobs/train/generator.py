"""Train the text-to-video generator on a folder of clips, or go on training it.

RUN/state holds the saved states, RUN/log.jsonl and RUN/loss.png the losses, RUN/samples strips of
sampled clips, RUN/data the decoded clips, RUN/tensorboard events where tensorboard is installed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit.errors import OutputError, Stopped, VeditError, Warn, option, silent
from vedit.media.window import usable_cores
from vedit.training.run_folder import run_lock

if TYPE_CHECKING:
    from vedit.training.loop import Report
    from vedit.training.params import GeneratorParams
    from vedit.training.place import Place

OWN_FILES = ("state", "data", "samples", "tensorboard", "log.jsonl", "loss.png")


class Job(NamedTuple):
    """One training.

    data: folder of clips with captions. folder: the run. device: cpu, cuda, cuda:1, mps.
    vgg_weights: where the perceptual loss has its network from, see `train.vgg.load_vgg`.
    """

    params: GeneratorParams
    data: Path
    folder: Path
    device: str = "cpu"
    threads: int | None = None
    vgg_weights: str | None = None


def train_generator(
    job: Job,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    warn: Warn = silent,
    say: Warn = silent,
) -> Iterator[Report]:
    """Train up to the last step; yields a report per line of the log, in the first process only.

    say: told after a few steps what one takes. Raises Stopped, with the state saved, soon after `should_stop`
    turns true.
    """
    import torch

    from vedit.training.place import join

    if job.threads:
        torch.set_num_threads(job.threads)
    place = join(job.device)
    with run_lock(job.folder) if place.writes else nullcontext():
        yield from _train(job, place, should_stop, warn, say)


def _train(
    job: Job,
    place: Place,
    should_stop: Callable[[], bool],
    warn: Warn,
    say: Callable[[str], None],
) -> Iterator[Report]:
    from vedit.jobs.train.clip_folder import read_folder
    from vedit.training.loop import train
    from vedit.training.place import leave
    from vedit.training.video import VideoTask, build_options

    for turn in (True, False):  # the first process decodes the clips, the others find them done
        if place.writes is turn:
            clips = read_folder(
                job.data,
                job.params.data,
                job.folder / "data",
                warn=warn if place.writes else silent,
            )
        place.wait()
    task = VideoTask(
        job.params, clips, place=place, vgg_weights=job.vgg_weights, strips=job.folder / "samples"
    )
    board = open_board(job.folder / "tensorboard") if place.writes else None
    try:
        for report in train(
            task,
            build_options(job.params, place.world),
            job.folder,
            should_stop,
            place,
            say,
            should_stop,
            warn,
        ):
            if place.writes:
                try:
                    _show(report, job.folder, board)
                except (
                    OutputError,
                    OSError,
                ) as error:  # pictures and curves of a full disk; the training goes on
                    warn(f"step {report.step} is not drawn: {error}")
                yield report
    except BaseException:
        if place.writes:
            _draw(job.folder)
        raise
    finally:
        if board is not None:
            board.close()
        leave()
    _draw(job.folder)


def _show(report: Report, folder: Path, board: Any) -> None:
    if report.measured:
        _draw(folder)
    if board is not None:
        for name, value in {**report.losses, "rate": report.rate, "ema_decay": report.ema_decay}.items():
            board.add_scalar(name, value, report.step)


def _draw(folder: Path) -> None:
    from vedit.training.curve import draw_curve, read_log

    draw_curve(read_log(folder / "log.jsonl"), folder / "loss.png")


def open_board(folder: Path) -> Any:
    """A tensorboard writer, or None where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def start_afresh(folder: Path, confirmed: bool) -> None:
    """Remove what an earlier run left in a folder; refuses unless confirmed, when there is something."""
    there = [name for name in OWN_FILES if (folder / name).exists()]
    if there:
        with run_lock(folder):
            _remove(folder, there, confirmed)


def _remove(folder: Path, there: list[str], confirmed: bool) -> None:
    if there and not confirmed:
        raise OutputError(
            f"{folder} holds a run: {', '.join(there)}.",
            f"{option('fresh')} would remove it.",
            f"Add {option('overwrite')} to remove it, or name another folder with {option('folder')}",
        )
    for name in there:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def settings_of(tables: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> GeneratorParams:
    """The settings of a preset with what options changed; every mistake in one UsageError."""
    from vedit.training.params import changed, read_params

    return read_params(changed(tables, changes), where)


# --- several processes on one machine ---


def launch(command: Sequence[str], count: int) -> None:
    """Run a command line in `count` processes that train together; signals are passed on to all.

    They find one another by the variables that `accelerate launch` and torchrun set as well, which
    are the way for several machines. Raises Stopped when they saved and stopped, VeditError when
    one of them failed; the others are stopped then.
    """
    import signal

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # without it accelerate chooses a number of threads over --threads, and warns of that
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, usable_cores() // count))),
    }
    children = [
        subprocess.Popen(
            command,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            start_new_session=True,
        )
        for rank in range(count)
    ]

    def pass_on(number: int, frame: Any) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {
        number: signal.signal(number, pass_on)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        codes = _wait(children)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()
    if Stopped.exit_code in codes:
        raise Stopped(
            "stopped in all processes; the state is saved.", next_step="The same command goes on from there."
        )
    if any(codes):
        rank = next(rank for rank, code in enumerate(codes) if code)
        error = VeditError(f"process {rank} of {count} ended with {codes[rank]}; its message is above.")
        error.exit_code = codes[rank] if codes[rank] > 0 else 1
        raise error


def _wait(children: Sequence[subprocess.Popen[bytes]], grace_s: float = 20.0) -> list[int]:
    """The exit codes, once all have ended; when one fails the others are asked to, and get `grace_s`."""
    deadline = None
    while any(child.poll() is None for child in children):
        codes = [child.poll() for child in children]
        if deadline is None and any(code for code in codes if code is not None):
            deadline = time.monotonic() + grace_s
        if deadline is not None and time.monotonic() > deadline:
            for child in children:
                if child.poll() is None:
                    child.kill()
        time.sleep(0.05)
    return [child.returncode for child in children]


def world_is_set() -> bool:
    """Whether a launcher has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1
