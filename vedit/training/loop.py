"""The training loop: open-ended, resumable to the bit, stoppable at any moment.

A task brings the model, the loss of step n and what is worth measuring; the loop brings the
optimizer, the learning rate, the moving average, the log and the saved state. Whatever is
random in batch n is seeded from (seed, n), so a resumed run repeats an uninterrupted one exactly
and no data position has to be saved.

A step is made of `accumulate` batches in each of `world` processes (see `place`); batch numbers
run through processes and parts of a step, so that the same steps are taken however they are
shared out. Rank 0 writes.

Learning rate: warm-up, then constant for as long as the run goes on, then, only when asked
for, a linear anneal to zero over the last `anneal` steps. So a run can be continued next week,
and a copy of it annealed at any time for weights to ship.

On disk: RUN/state/step-000012000/{model,ema,optimizer,rng}.safetensors and state.json, written
beside, synced and renamed; RUN/state/latest names the newest; RUN/log.jsonl has one line per
`log_every` steps. No pickle anywhere. A process that dies at any moment leaves the state before;
lines of the log that lie after it are dropped when the run goes on.
"""

import hashlib
import json
import math
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, NotRequired, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from typing_extensions import TypedDict

from vedit.documents import Kind, add_line, parse_json, read_json, read_text, table, validated
from vedit.errors import (
    CheckFailed,
    InputError,
    ModelError,
    OutputError,
    Stopped,
    UsageError,
    Warn,
    option,
    reason_of,
    silent,
)
from vedit.training.ema import Ema
from vedit.training.place import Place, freed_memory_kept

MAX_BAD_STEPS = 20
PACED_STEPS = 3  # after which it is said what a step takes


class Task(Protocol):
    """What is trained. `config` is stored with the state; a changed one refuses to resume.

    A task may have `groups`, lists of its weights whose gradients are clipped apart.

    A task that trains in several processes has `network` as well, and calls it instead of
    `model`: the loop puts the model there, wrapped so that gradients are averaged.
    """

    model: nn.Module
    config: dict[str, Any]

    def losses(self, step: int) -> dict[str, Tensor]:
        """Return the loss of batch `step` under "loss", and parts of it worth logging."""

    def pictures(self, step: int) -> int:
        """Return how many pictures batch `step` looks at."""

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        """Measure the averaged model; called every `measure_every` pictures."""


STATE = Kind(
    "a saved state",
    ModelError,
    "A state is whole when vedit has written it, so something else has changed it.",
    names_files=True,
)
POINTER = Kind(
    "the name of a state",
    ModelError,
    "It is the name of a folder beside it, such as step-000012000.",
    largest=256,
)


EXTRA = {"extra": "allow"}  # further keys pass


class State(TypedDict):
    """What state.json holds of a run besides its tensors; what else stands there stays."""

    __pydantic_config__ = EXTRA  # type: ignore[misc]  # read by pydantic, and no key
    step: int
    pictures: int
    measured_at: int | None
    ema_update_count: int
    bad_steps: int
    seconds: float
    device: NotRequired[str]
    scaler: NotRequired[dict[str, Any]]
    losses: NotRequired[dict[str, float | None]]
    options: dict[str, Any]
    config: dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How a task is trained. `steps` None runs until stopped; `anneal` needs `steps`.

    accumulate: batches per step and process. ema_every: steps between updates of the average.
    keep: newest states that stay, besides those at multiples of `milestone_every` (0: none).
    precision: "fp16" scales the loss; how a task computes is its own matter.
    """

    rate: float
    steps: int | None = None
    anneal: int = 0
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-3
    clip: float = 1.0
    ema_decay: float = 0.999
    ema_decay_min: float = 0.0
    ema_power: float | None = None
    ema_every: int = 1
    accumulate: int = 1
    seed: int = 0
    log_every: int = 50
    save_every: int = 500
    measure_every: int = 100_000
    keep: int = 2
    milestone_every: int = 0
    precision: str = "fp32"

    def rate_at(self, step: int) -> float:
        rate = self.rate * min(1.0, (step + 1) / max(1, self.warmup))
        if self.steps is not None and self.anneal:
            rate *= min(1.0, (self.steps - step) / self.anneal)
        return rate


# What a resumed run may change: where it ends, what it reports, and how it rounds.
FREE_OPTIONS = {
    "steps",
    "anneal",
    "log_every",
    "save_every",
    "measure_every",
    "keep",
    "milestone_every",
    "precision",
    "accumulate",
    "base",
}
DEFAULTS = {
    field.name: field.default for field in fields(Options) if field.default is not MISSING
}  # of states older than an option


@dataclass(frozen=True)
class Report:
    """One line of the log: means since the line before. seconds: of training in all, without measuring."""

    step: int
    pictures: int
    losses: dict[str, float]
    rate: float
    pictures_per_s: float
    measured: dict[str, Any]
    ema_decay: float = 0.0
    seconds: float = 0.0


def seeded(seed: int, stream: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the generator of one stream of randomness in one step."""
    key = hashlib.blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(key, "little") >> 1)


def train(
    task: Task,
    options: Options,
    folder: Path,
    should_stop: Callable[[], bool] = lambda: False,
    place: Place | None = None,
    say: Warn = silent,
    give_up: Callable[[], bool] = lambda: False,
    warn: Warn = silent,
) -> Iterator[Report]:
    """Train, or go on training, the task in `folder`; yield a report every `log_every` steps.

    say: told after a few steps what one takes, and when the last will be done. give_up: asked within
    a step of a single process, which is then given up before it changes a weight, and taken again later.
    Raises Stopped, with the state saved, after the step in which `should_stop` turns true in any
    process; CheckFailed when the gradient stays infinite; OutputError when the last state cannot be
    saved. A disk that is full on the way is told through `warn`: the next state may find room.
    """
    with freed_memory_kept():
        run = Run(task, options, folder, place, warn)
        run.resume()
        first = run.step
        while options.steps is None or run.step < options.steps:
            report = run.advance(give_up if run.place.world == 1 else lambda: False)
            if report:
                yield report
            if run.step == first + PACED_STEPS and run.place.writes:
                say(pace(run.paces, options.steps, run.step))
            if run.place.any(should_stop()):
                run.save()
                raise Stopped(
                    f"stopped at step {run.step}; the state is saved in {folder}.",
                    next_step="The same command goes on from there.",
                )
        run.save()


def pace(seconds: Sequence[float], steps: int | None, done: int, now: float | None = None) -> str:
    """What a step takes, by the last of them, and when the last one of all will be done."""
    each = sorted(seconds)[len(seconds) // 2]
    told = f"a step takes about {each:.2g} s" if each < 10 else f"a step takes about {each:.0f} s"
    if steps is None:
        return f"{told}; this run has no end: stop it when it is good enough, and call again to go on"
    left = each * (steps - done)
    end = time.strftime("%a %H:%M", time.localtime((time.time() if now is None else now) + left))
    long = (
        f"{left / 3600:.1f} hours"
        if left >= 3600
        else f"{left / 60:.0f} minutes"
        if left >= 90
        else f"{left:.0f} s"
    )
    return (
        f"{told}; {steps - done} are left: about {long}, done at {end}, samples and measurements not counted"
    )


class Run:
    """The moving parts of one training run."""

    def __init__(
        self,
        task: Task,
        options: Options,
        folder: Path,
        place: Place | None = None,
        warn: Warn = silent,
    ) -> None:
        if options.anneal and options.steps is None:
            raise UsageError("an anneal needs an end: give steps as well.")
        self.task, self.options, self.folder = task, options, folder
        self.place = place or Place()
        self.warn = warn
        self.network = self.place.wrap(task.model)
        if hasattr(task, "network"):
            task.network = self.network
        self.ema = Ema(task.model, options.ema_decay, options.ema_decay_min, options.ema_power)
        self.names = [name for name, p in task.model.named_parameters() if p.requires_grad]
        self.parameters = [p for p in task.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=options.rate,
            betas=options.betas,
            weight_decay=options.weight_decay,
            fused=True,
        )
        device = self.parameters[0].device.type
        self.scaler = torch.amp.GradScaler(device, enabled=options.precision == "fp16")
        self.step = self.pictures = self.bad_steps = 0
        self.seconds = 0.0
        self.paces: deque[float] = deque(maxlen=PACED_STEPS)
        self.measured_at = 0
        self.last_losses: dict[str, float] = {}
        self._clear()

    def _clear(self) -> None:
        self.sums: dict[str, float] = {}
        self.since = (self.step, self.pictures, self.seconds)

    # --- one step ---

    def advance(self, give_up: Callable[[], bool] = lambda: False) -> Report | None:
        """Take one optimizer step, unless `give_up` turns true before it changes a weight; return a report
        when one is due.
        """
        started = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate_at(self.step)
        pictures, sums = self.pictures, dict(self.sums)
        is_bound = give_up()  # asked before it began: every call takes one step at least
        for part in range(self.options.accumulate):
            self._add_gradient(part, lambda: not is_bound and give_up())
            if not is_bound and give_up():
                self.optimizer.zero_grad(set_to_none=True)
                self.pictures, self.sums = pictures, sums
                return None
        self.scaler.unscale_(self.optimizer)
        norm = self._clipped()
        if math.isfinite(norm.item()):
            self.scaler.step(self.optimizer)
            if (self.step + 1) % self.options.ema_every == 0:
                self.ema.update(self.task.model)
            self.bad_steps = 0
        else:
            self._count_bad_step()
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self._add_sum("norm", norm)
        self.step += 1
        self.paces.append(time.perf_counter() - started)
        self.seconds += self.paces[-1]
        return self._report()

    def _clipped(self) -> Tensor:
        """Clip the gradient, each group of weights for itself; returns its norm before."""
        groups = getattr(self.task, "groups", None) or [self.parameters]
        norms = [nn.utils.clip_grad_norm_(group, self.options.clip) for group in groups]
        return norms[0] if len(norms) == 1 else torch.stack(norms).norm()

    def _add_gradient(self, part: int, give_up: Callable[[], bool]) -> None:
        """Go back through one of the batches of this step, unless it is to be given up: the way back is the
        longer one.
        """
        place, count = self.place, self.options.accumulate
        number = (self.step * count + part) * place.world + place.rank
        with place.without_sync(self.network, keep=part == count - 1):
            losses = self.task.losses(number)
            if give_up():
                return
            self.scaler.scale(losses["loss"] / count).backward()
        for name, value in losses.items():
            self._add_sum(name, value / count)
        self.pictures += self.task.pictures(number) * place.world

    def _add_sum(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())

    def _count_bad_step(self) -> None:
        self.bad_steps += 1
        if self.bad_steps >= MAX_BAD_STEPS:
            raise CheckFailed(
                f"{MAX_BAD_STEPS} steps in a row without a finite gradient, up to step {self.step}.",
                f"The last saved state in {self.folder} is good.",
                f"Start another run with a lower rate, or with {option('precision', 'fp32')}",
            )

    def _report(self) -> Report | None:
        is_last = self.step == self.options.steps
        is_log = self.step % self.options.log_every == 0 or is_last
        is_measure = self.pictures - self.measured_at >= self.options.measure_every or is_last
        measured: dict[str, Any] = {}
        if is_measure:
            self.measured_at = self.pictures
            measured = self._measured() if self.place.writes else {}
        report = None
        if is_log or is_measure:
            step, pictures, seconds = self.since
            report = Report(
                step=self.step,
                pictures=self.pictures,
                losses=self._means(self.step - step),
                rate=self.optimizer.param_groups[0]["lr"],
                pictures_per_s=(self.pictures - pictures) / max(1e-9, self.seconds - seconds),
                measured=measured,
                ema_decay=self.ema.decay(self.ema.count),
                seconds=self.seconds,
            )
            self.last_losses = report.losses
            if self.place.writes:
                self._log(report)
            self._clear()
        if self.step % self.options.save_every == 0 and not is_last:
            self.save(is_needed=False)
        return report

    def _measured(self) -> dict[str, Any]:
        try:
            return self.task.measure(self.ema.model, self.step)
        except OutputError as error:  # the pictures that show how far it is
            self.warn(f"{error}\nThe training goes on.")
            return {}

    def _log(self, report: Report) -> None:
        try:
            append_line(self.folder / "log.jsonl", asdict(report))
        except OSError as error:
            self.warn(f"step {self.step} is missing in the log: {reason_of(error)}")

    def _means(self, steps: int) -> dict[str, float]:
        means = self.place.mean(
            torch.tensor(
                list(self.sums.values()),
                dtype=torch.float64,
                device="cpu" if self.place.world == 1 else self.place.device,
            )
        )
        return dict(zip(self.sums, (means / steps).tolist(), strict=True))

    # --- state ---

    def save(self, is_needed: bool = True) -> None:
        """Write the whole state under its step number, then point `latest` at it.

        Without room the state before stays as it is: OutputError where this one is needed, else a warning.
        """
        target = self.folder / "state" / f"step-{self.step:09d}"
        if (
            self.place.writes and latest_state(self.folder) != target
        ):  # saved in this very step: the same bits
            partial = target.with_suffix(".tmp")
            try:
                self._write(partial)
                shutil.rmtree(target, ignore_errors=True)  # `latest` does not name it
                partial.rename(target)
                sync(target.parent)
                write_atomically(self.folder / "state" / "latest", target.name + "\n")
            except OSError as error:
                shutil.rmtree(partial, ignore_errors=True)
                failed = OutputError(
                    f"{target}: the state cannot be saved: {reason_of(error)}.",
                    "The state saved before it is whole.",
                    (
                        "Make room and give the same command: it goes on from there"
                        if is_needed
                        else "Make room; the training goes on"
                    ),
                )
                if is_needed:
                    raise failed from None
                self.warn(str(failed))
            else:
                self._remove_old()
        self.place.wait()

    def _write(self, partial: Path) -> None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        tensors = {
            "model": _flat(self.task.model.state_dict()),
            "ema": _flat(self.ema.model.state_dict()),
            "optimizer": self._optimizer_tensors(),
            "rng": {"torch": torch.get_rng_state()},
        }
        for name, flat in tensors.items():
            (partial / f"{name}.safetensors").write_bytes(
                save(flat)
            )  # save_file dies of a full disk with an error of its own
        state = {
            "step": self.step,
            "pictures": self.pictures,
            "measured_at": self.measured_at,
            "ema_update_count": self.ema.count,
            "bad_steps": self.bad_steps,
            "seconds": self.seconds,
            "device": _device_name(self.parameters[0].device),
            "world": self.place.world,
            "scaler": self.scaler.state_dict(),
            "losses": self.last_losses,
            "options": asdict(self.options),
            "config": self.task.config,
        }
        (partial / "state.json").write_text(json.dumps(state, indent=1) + "\n")
        for file in partial.iterdir():
            sync(file)

    def _remove_old(self) -> None:
        states = sorted(self.folder.glob("state/step-?????????"))
        for old in states[: -self.options.keep]:
            every = self.options.milestone_every
            if not every or int(old.name.removeprefix("step-")) % every:
                shutil.rmtree(old, ignore_errors=True)

    def resume(self) -> None:
        """Load the newest state of the folder, if there is one."""
        source = latest_state(self.folder)
        if source is None:
            return
        state = state_of(source)
        self._check_unchanged(state)
        self.task.model.load_state_dict(tensors_of(source, "model"))
        self.ema.model.load_state_dict(tensors_of(source, "ema"))
        self._load_optimizer(tensors_of(source, "optimizer"))
        torch.set_rng_state(tensors_of(source, "rng")["torch"])
        self.step, self.pictures = state["step"], state["pictures"]
        self.measured_at, self.seconds = state["measured_at"], state["seconds"]
        self.ema.count, self.bad_steps = state["ema_update_count"], state["bad_steps"]
        self.last_losses = state.get("losses", {})
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        self._clear()
        if self.place.writes:
            drop_lines_after(self.folder / "log.jsonl", self.step)

    def _check_unchanged(self, state: dict[str, Any]) -> None:
        now = json.loads(json.dumps({"options": asdict(self.options), "config": self.task.config}))
        before = {"options": {**DEFAULTS, **state["options"]}, "config": state["config"]}
        before = json.loads(json.dumps(before))
        changed = [
            f"{part}.{key} was {before[part].get(key)!r}, is {now[part].get(key)!r}"
            for part in ("options", "config")
            for key in sorted({*before[part], *now[part]} - FREE_OPTIONS)
            if before[part].get(key) != now[part].get(key)
        ]
        if changed:
            raise UsageError(
                f"{self.folder}: the run was started with other settings: {'; '.join(changed)}.",
                next_step=f"Give the same settings, or another {option('folder')} folder.",
            )

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        entries = self.optimizer.state_dict()["state"]
        return _flat(
            {
                f"{self.names[index]}:{key}": value
                for index, moments in entries.items()
                for key, value in moments.items()
            }
        )

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
    if not pointer.exists():
        return None
    name = read_text(pointer, POINTER).strip()
    if not re.fullmatch(r"step-[0-9]{1,18}", name):
        raise POINTER.refusal(str(pointer), f"it holds {name[:40]!r}")
    return folder / "state" / name


def state_of(saved: Path) -> dict[str, Any]:
    """Return the plain part of a saved state: step, pictures, seconds, losses, options, config."""
    path = saved / "state.json"
    kind = STATE._replace(next_step=_older(path))
    try:
        return {**validated(table(read_json(path, kind), str(path), kind), State, str(path), kind)}
    except OverflowError:  # of an infinite count
        raise kind.refusal(str(path), "a number in it is infinite") from None


def tensors_of(saved: Path, name: str) -> dict[str, Tensor]:
    """Return the tensors of a saved state: "model", "ema", "optimizer" or "rng"."""
    path = saved / f"{name}.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path}: the saved state cannot be read: {str(error).strip().splitlines()[0]}.",
        "A state is whole when vedit has written it, so something else has changed it.",
        _older(path),
    )


def _older(path: Path) -> str:
    return f"To go on from an older one, write its name into {path.parent.parent / 'latest'}"


def drop_lines_after(path: Path, step: int) -> None:
    """Keep the lines of a log up to `step`: those after it, and a torn one, are of work that was lost."""
    if not path.exists():
        return
    lines = path.read_text().splitlines()
    kept = [line for line in lines if _step_of(line) <= step]
    if kept != lines:
        write_atomically(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return float(parse_json(line, "", Kind("a line of a log"))["step"])
    except (InputError, ValueError, KeyError, TypeError):
        return math.inf


def write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text)
    sync(partial)
    os.replace(partial, path)


def sync(path: Path) -> None:
    """Bring a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_line(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    add_line(path, record)
