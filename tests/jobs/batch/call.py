"""A call of a batch with stub workers, as a process of its own: `call.py LIST OUT WORKERS [--KEY VALUE]...`.

WORKERS is a number of processes, or ray:N for actors; keys are fields of its request.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from vedit.errors import Interrupted
from vedit.jobs.batch.request import BatchRequest, plan_batch
from vedit.jobs.batch.run import run
from vedit.jobs.runners import Call, Crew, Place
from vedit.jobs.runners.local import Local

STUB = (sys.executable, str(Path(__file__).with_name("stub.py")))


def crew_of(workers: str) -> Crew:
    if workers.startswith("ray:"):
        from vedit.jobs.runners import ray

        crew = ray.begin(Call(workers.removeprefix("ray:")))
        crew.command = STUB
        return crew
    return Local([Place(str(number), "cpu", {}) for number in range(int(workers))], STUB)


if __name__ == "__main__":
    jobs, out, workers, *rest = sys.argv[1:]
    given = {key.removeprefix("--"): value for key, value in zip(rest[::2], rest[1::2])}
    request = BatchRequest.from_json({"jobs": [jobs], "output_dir": out, **given})
    made = plan_batch(request)
    try:
        with closing(crew_of(workers)) as crew:
            outcome = run(made, crew, request.policy())
    except Interrupted:
        sys.exit(130)
    sys.exit(75 if outcome.is_stopped else 8 if outcome.failed else 0)
