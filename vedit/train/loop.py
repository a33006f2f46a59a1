"""The training loop: open-ended, resumable to the bit, stoppable at any moment.

A task brings the model, the loss of step n and what is worth measuring; the loop brings the
optimizer, the learning rate, the moving average, the log and the saved state. Whatever is
random in step n is seeded from (seed, n), so a resumed run repeats an uninterrupted one exactly
and no data position has to be saved.

Learning rate: warm-up, then constant for as long as the run goes on, then, only when asked
for, a linear anneal to zero over the last `anneal` steps. A run can so be continued next week,
and a copy of it annealed at any time for weights to ship.

On disk: RUN/state/step-000012000/{model,ema,optimizer,rng}.safetensors and state.json, written
beside, synced and renamed; RUN/state/latest names the newest; RUN/log.jsonl has one line per
`log_every` steps. No pickle anywhere.
"""

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vedit.errors import Stopped, UsageError
from vedit.train.ema import Ema

MAX_BAD_STEPS = 20


class Task(Protocol):
    """What is trained. `config` is stored with the state; a changed one refuses to resume."""

    model: nn.Module
    config: dict[str, Any]

    def losses(self, step: int) -> dict[str, Tensor]:
        """Return the loss of a step under "loss", and parts of it worth logging."""

    def pictures(self, step: int) -> int:
        """Return how many pictures step `step` looks at."""

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        """Measure the averaged model; called every `measure_every` pictures."""


@dataclass(frozen=True)
class Options:
    """How a task is trained. `steps` None runs until stopped; `anneal` needs `steps`."""

    rate: float
    steps: int | None = None
    anneal: int = 0
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-3
    clip: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    log_every: int = 50
    save_every: int = 500
    measure_every: int = 100_000
    keep: int = 2

    def rate_at(self, step: int) -> float:
        rate = self.rate * min(1.0, (step + 1) / max(1, self.warmup))
        if self.steps is not None and self.anneal:
            rate *= min(1.0, (self.steps - step) / self.anneal)
        return rate


# What a resumed run may change: where it ends, what it reports, and how it rounds.
FREE_OPTIONS = {"steps", "anneal", "log_every", "save_every", "measure_every", "keep", "precision"}


@dataclass(frozen=True)
class Report:
    """One line of the log: means since the line before."""

    step: int
    pictures: int
    losses: dict[str, float]
    rate: float
    pictures_per_s: float
    measured: dict[str, Any]


def seeded(seed: int, stream: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the generator of one stream of randomness in one step."""
    key = hashlib.blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(key, "little") >> 1)


def train(task: Task, options: Options, folder: Path, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Report]:
    """Train, or go on training, the task in `folder`; yield a report every `log_every` steps.

    Raises Stopped, with the state saved, after the step in which `should_stop` turns true.
    """
    run = Run(task, options, folder)
    run.resume()
    while options.steps is None or run.step < options.steps:
        report = run.advance()
        if report:
            yield report
        if should_stop():
            run.save()
            raise Stopped(
                f"stopped at step {run.step}; the state is saved in {folder}.",
                next_step="The same command goes on from there.",
            )
    run.save()


class Run:
    """The moving parts of one training run."""

    def __init__(self, task: Task, options: Options, folder: Path) -> None:
        if options.anneal and options.steps is None:
            raise UsageError("an anneal needs an end: give steps as well.")
        self.task, self.options, self.folder = task, options, folder
        self.ema = Ema(task.model, options.ema_decay)
        self.names = [name for name, p in task.model.named_parameters() if p.requires_grad]
        self.parameters = [p for p in task.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=options.rate,
            betas=options.betas,
            weight_decay=options.weight_decay,
            fused=True,
        )
        self.step = self.pictures = self.bad_steps = 0
        self.seconds = 0.0
        self.measured_at = 0
        self._clear()

    def _clear(self) -> None:
        self.sums: dict[str, float] = {}
        self.since = (self.step, self.pictures, self.seconds)

    # --- one step ---

    def advance(self) -> Report | None:
        """Take one optimizer step; return a report when one is due."""
        started = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate_at(self.step)
        losses = self.task.losses(self.step)
        losses["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.options.clip)
        if math.isfinite(norm.item()):
            self.optimizer.step()
            self.ema.update(self.task.model)
            self.bad_steps = 0
        else:
            self._count_bad_step()
        self.optimizer.zero_grad(set_to_none=True)
        for name, value in {**losses, "norm": norm}.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
        self.pictures += self.task.pictures(self.step)
        self.step += 1
        self.seconds += time.perf_counter() - started
        return self._report()

    def _count_bad_step(self) -> None:
        self.bad_steps += 1
        if self.bad_steps >= MAX_BAD_STEPS:
            raise FloatingPointError(f"{MAX_BAD_STEPS} steps in a row without a finite gradient, up to step {self.step}; the last saved state is good")

    def _report(self) -> Report | None:
        is_last = self.step == self.options.steps
        is_log = self.step % self.options.log_every == 0 or is_last
        is_measure = self.pictures - self.measured_at >= self.options.measure_every or is_last
        measured: dict[str, Any] = {}
        if is_measure:
            self.measured_at = self.pictures
            measured = self.task.measure(self.ema.model, self.step)
        report = None
        if is_log or is_measure:
            step, pictures, seconds = self.since
            report = Report(
                step=self.step,
                pictures=self.pictures,
                losses={name: total / (self.step - step) for name, total in self.sums.items()},
                rate=self.optimizer.param_groups[0]["lr"],
                pictures_per_s=(self.pictures - pictures) / max(1e-9, self.seconds - seconds),
                measured=measured,
            )
            append_line(self.folder / "log.jsonl", asdict(report))
            self._clear()
        if self.step % self.options.save_every == 0 and not is_last:
            self.save()
        return report

    # --- state ---

    def save(self) -> None:
        """Write the whole state under its step number, then point `latest` at it."""
        target = self.folder / "state" / f"step-{self.step:09d}"
        partial = target.with_suffix(".tmp")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_flat(self.task.model.state_dict()), partial / "model.safetensors")
        save_file(_flat(self.ema.model.state_dict()), partial / "ema.safetensors")
        save_file(self._optimizer_tensors(), partial / "optimizer.safetensors")
        save_file({"torch": torch.get_rng_state()}, partial / "rng.safetensors")
        state = {
            "step": self.step,
            "pictures": self.pictures,
            "measured_at": self.measured_at,
            "ema_update_count": self.ema.count,
            "bad_steps": self.bad_steps,
            "seconds": self.seconds,
            "device": _device_name(self.parameters[0].device),
            "options": asdict(self.options),
            "config": self.task.config,
        }
        (partial / "state.json").write_text(json.dumps(state, indent=1) + "\n")
        for file in partial.iterdir():
            sync(file)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        write_atomically(self.folder / "state" / "latest", target.name + "\n")
        states = sorted(self.folder.glob("state/step-?????????"))
        for old in states[: -self.options.keep]:
            shutil.rmtree(old)

    def resume(self) -> None:
        """Load the newest state of the folder, if there is one."""
        source = latest_state(self.folder)
        if source is None:
            return
        state = state_of(source)
        self._check_unchanged(state)
        self.task.model.load_state_dict(load_file(source / "model.safetensors"))
        self.ema.model.load_state_dict(load_file(source / "ema.safetensors"))
        self._load_optimizer(load_file(source / "optimizer.safetensors"))
        torch.set_rng_state(load_file(source / "rng.safetensors")["torch"])
        self.step, self.pictures = state["step"], state["pictures"]
        self.measured_at, self.seconds = state["measured_at"], state["seconds"]
        self.ema.count, self.bad_steps = state["ema_update_count"], state["bad_steps"]
        self._clear()

    def _check_unchanged(self, state: dict[str, Any]) -> None:
        now = json.loads(json.dumps({"options": asdict(self.options), "config": self.task.config}))
        changed = [
            f"{part}.{key} was {state[part].get(key)!r}, is {now[part].get(key)!r}"
            for part in ("options", "config")
            for key in sorted({*state[part], *now[part]} - FREE_OPTIONS)
            if state[part].get(key) != now[part].get(key)
        ]
        if changed:
            raise UsageError(
                f"{self.folder}: the run was started with other settings: {'; '.join(changed)}.",
                next_step="Give the same settings, or another --out folder.",
            )

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        entries = self.optimizer.state_dict()["state"]
        return _flat({f"{self.names[index]}:{key}": value for index, moments in entries.items() for key, value in moments.items()})

    def _load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            name, moment = key.rsplit(":", 1)
            state.setdefault(self.names.index(name), {})[moment] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_features().get('cpu_name', 'cpu')}, {torch.get_num_threads()} threads"


def cpu_features() -> dict[str, Any]:
    """Return what torch knows of the processor; nothing with an older torch."""
    features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return features


def _flat(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def latest_state(folder: Path) -> Path | None:
    """Return the newest complete state of a run folder."""
    pointer = folder / "state" / "latest"
    return folder / "state" / pointer.read_text().strip() if pointer.exists() else None


def state_of(saved: Path) -> dict[str, Any]:
    """Return the plain part of a saved state: step, pictures, seconds, options, config."""
    state: dict[str, Any] = json.loads((saved / "state.json").read_text())
    return state


def write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text)
    sync(partial)
    os.replace(partial, path)


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def append_line(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as log:
        log.write(json.dumps(record) + "\n")
