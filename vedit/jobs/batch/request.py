"""A batch as plain data: its lists, what goes for all their rows, and how it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vedit.documents import Kind, read_text
from vedit.errors import UsageError, option
from vedit.jobs.batch.matrix import Pair, over
from vedit.jobs.batch.plan import Plan, plan, redo, verify
from vedit.jobs.batch.rows import REQUEST_KEYS, Shared, read_rows
from vedit.jobs.batch.run import Policy
from vedit.jobs.request import Request
from vedit.jobs.runners import Call
from vedit.jobs.sink import Quiet, Sink

OF_QUEUES = ("tasks", "sbatch", "template", "submit")
PARTS = "4"  # of a queue that is not told how many
SCRIPT = Kind("a script for sbatch", UsageError, largest=2**20, names_files=True)


@dataclass(frozen=True)
class BatchRequest(Request):
    """Make many edits.

    jobs: lists, folders and clips. output_dir: the folder for outputs, reports and the state. name: the
    template of outputs' names. prompts, source_from, clips, over, pair: as in
    `vedit.jobs.batch.rows.Shared`, the axes as texts KEY=V1,V2. The fields that an edit has too hold where a
    row does not say. workers: as in `vedit.jobs.runners.local.places`. shard: I/N. max_failures: N or P%.
    redo: all, older or a pattern. verify: read outputs that are done, and make again what has changed. order:
    as in `vedit.jobs.batch.plan.Plan`. timeout, grace: seconds, with recycle as in
    `vedit.jobs.batch.run.Policy`. runner: who works, a name of `vedit.jobs.runners`; the fields of OF_QUEUES
    are for a queue: tasks is N[%M], sbatch has options of its command, template is a file.
    """

    jobs: tuple[str, ...]
    output_dir: str
    name: str | None = None
    prompts: tuple[str, ...] = ()
    source_from: Literal["txt", "record", "name"] | None = None
    clips: str | None = None
    over: tuple[str, ...] = ()
    pair: Pair = "product"
    source_prompt: str | None = None
    method: str | None = None
    preset: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    revision: str | None = None
    dtype: Literal["auto", "fp32", "fp16", "bf16"] | None = None
    lora: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    image_prompt: str | None = None
    image_adapter: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    frames: int | None = None
    stride: int | None = None
    start: int | None = None
    size: str | None = None
    crop: Literal["none", "square"] | None = None
    workers: str = "auto"
    shard: str | None = None
    retries: int = 1
    max_failures: str | None = None
    fail_fast: bool = False
    retry_failed: bool = False
    redo: str | None = None
    verify: bool = False
    order: Literal["model", "given"] = "model"
    timeout: float | None = None
    recycle: int | None = None
    grace: float | None = None
    overwrite: bool = False
    dry_run: bool = False
    runner: str = "local"
    tasks: str | None = None
    sbatch: tuple[str, ...] = ()
    template: str | None = None
    submit: bool = False

    def shared(self) -> Shared:
        """What goes for all rows. Raises UsageError for an axis without values."""
        given = {key: getattr(self, key, None) for key in REQUEST_KEYS if key != "set"}
        values = {key: value for key, value in given.items() if value not in (None, ())}
        values |= {f"set.{key}": value for key, value in self.set.items()}
        axes = tuple(map(over, self.over))
        return Shared(values, self.prompts, self.source_from, self.clips, self.output_dir, axes, self.pair)

    def part(self) -> tuple[int, int] | None:
        """I and N of the shard. Raises UsageError."""
        if self.shard is None:
            return None
        part, _, count = self.shard.partition("/")
        if not (part.isdigit() and count.isdigit() and 1 <= int(part) <= int(count)):
            raise UsageError(
                f"{option('shard', self.shard)} is not a part of a whole.",
                "1/4 is the first of four, 4/4 the last.",
            )
        return int(part), int(count)

    def most_failures(self) -> float | None:
        """How many failures are too many: a number, or a share below 1. Raises UsageError."""
        if self.fail_fast or self.max_failures is None:
            return 1 if self.fail_fast else None
        number = self.max_failures.removesuffix("%")
        is_share = number != self.max_failures
        if not number.isdigit() or int(number) < 1 or (is_share and int(number) >= 100):
            raise UsageError(
                f"{option('max_failures', self.max_failures)} is not a number or a share.",
                "Write 10, or 20%.",
            )
        return int(number) / 100 if is_share else int(number)

    def parts(self) -> tuple[int, int | None]:
        """The parts of a queue, and how many at a time. Raises UsageError."""
        match = re.fullmatch(r"(\d{1,5})(?:%(\d{1,5}))?", self.tasks or PARTS, re.ASCII)
        if not match or not int(match[1]) or (match[2] and not int(match[2])):
            raise UsageError(
                f"{option('tasks', self.tasks)} is not a number of parts.",
                "Write 8, or 8%2 for two at a time.",
            )
        return int(match[1]), int(match[2]) if match[2] else None

    def check_runner(self) -> None:
        """Refuse options that the runner has no use for. Raises UsageError."""
        slurm = option("runner", "slurm")
        if self.runner == "slurm" and self.shard:
            instead = f"Use {option('tasks')} instead of {option('shard')}"
            raise UsageError(f"{slurm} makes the parts itself.", "", instead)
        unused = [option(name) for name in OF_QUEUES if getattr(self, name)]
        if self.runner != "slurm" and unused:
            raise UsageError(f"{unused[0]} is for {slurm}, and this is {option('runner', self.runner)}.")

    def call(
        self, command: Sequence[Sequence[str]], folder: str, worker: Sequence[str] = Call().worker
    ) -> Call:
        """What a runner is told. command: this call for a shell, made in a folder. worker: as in Call.

        Raises UsageError.
        """
        tasks, at_once = self.parts()
        template = None if self.template is None else read_text(self.template, SCRIPT)
        return Call(
            self.workers, command, folder, self.output_dir, tasks, at_once, self.sbatch, template, worker
        )

    def policy(self) -> Policy:
        """What happens when items fail. Raises UsageError."""
        return Policy(self.retries, self.most_failures(), self.part(), self.timeout, self.recycle, self.grace)


def plan_batch(request: BatchRequest, sink: Sink = Quiet()) -> Plan:
    """Read the rows, and compare them with what lies in the folder for outputs. Raises VeditError."""
    request.check_runner()
    request.policy()  # what is wrong with the call comes before what is wrong with a list
    made = plan(
        read_rows(request.jobs, request.shared()),
        request.output_dir,
        name=request.name,
        may_fetch=not request.dry_run,
        overwrite=request.overwrite,
    )
    made.order = request.order
    if request.verify and (changed := verify(made)):
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        sink.warn(f"not what they were, and made again: {', '.join(changed[:3])}{more}")
    if request.retry_failed:
        made.failed = {}
    if request.redo:
        redo(made, request.redo)
    return made
