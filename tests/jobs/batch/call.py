"""A call of a batch with stub workers, as a process of its own: `python call.py LIST OUT WORKERS`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from vedit.errors import Interrupted
from vedit.jobs.batch.plan import plan
from vedit.jobs.batch.rows import read_rows
from vedit.jobs.batch.run import run
from vedit.jobs.runners.local import Local, Place

if __name__ == "__main__":
    stub = Path(__file__).with_name("stub.py")
    places = [Place(str(number), "cpu", {}) for number in range(int(sys.argv[3]))]
    made = plan(read_rows([sys.argv[1]]), sys.argv[2])
    try:
        outcome = run(made, Local(places, (sys.executable, str(stub))))
    except Interrupted:
        sys.exit(130)
    sys.exit(75 if outcome.is_stopped else 8 if outcome.failed else 0)
