"""Protects vedit/jobs/runners/slurm.py: the script is read by bash, with a queue that is made up here."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, vedit
from vedit.errors import UsageError
from vedit.jobs.runners import Call, Script, slurm

CALL = str(ROOT / "tests" / "jobs" / "batch" / "call.py")
# What a task asks of SLURM is noted.
SCONTROL = '#!/bin/sh\necho "$@" >> "$QUEUE/asked"\n'


def script(folder: Path, *command: list[str], **facts: object) -> str:
    """A script whose tasks are `python ARGS` in a folder."""
    text = slurm.begin(Call(command=command or (["batch", "run"],), folder=str(folder), **facts)).text  # type: ignore[arg-type]
    return text.replace("-m vedit batch run", "", 1)


def task(text: str, number: int, queue: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Start a task of an array as SLURM does: the script as bash's input file, and numbers in variables."""
    queue.mkdir(exist_ok=True)
    (queue / "job.sh").write_bytes(text.encode("utf-8", "surrogateescape"))
    (queue / "scontrol").write_text(SCONTROL)
    (queue / "scontrol").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{queue}:{os.environ['PATH']}",
        "QUEUE": str(queue),
        "SLURM_ARRAY_JOB_ID": "77",
        "SLURM_ARRAY_TASK_ID": str(number),
        **variables,
    }
    return subprocess.Popen(["bash", str(queue / "job.sh")], env=environment, cwd="/", stderr=subprocess.PIPE)


def asked(queue: Path) -> list[str]:
    return (queue / "asked").read_text().splitlines() if (queue / "asked").exists() else []


PRINTS = "import sys, json; print(json.dumps(sys.argv[1:]), file=sys.stderr)"
ODD = [
    "a b.csv",
    "it's",
    '$HOME `x` \\ "q"',
    "line\nbreak",
    "-x",
    "ünïcode 中",
    "\udcff.gif",
    "*",
    "",
    "\x1b[31m!",
]


def test_words_reach_the_call_as_they_were_typed(tmp_path: Path) -> None:
    folder = tmp_path / "a 'folder' $x"
    folder.mkdir()
    text = script(folder, ["batch", "run", "-c", PRINTS], *([word] for word in ODD), tasks=3)
    done = task(text, 2, tmp_path / "queue")
    told = json.loads(done.communicate(timeout=30)[1].decode("utf-8", "surrogateescape"))
    assert (done.returncode, told) == (0, [*ODD, "--shard", "2/3"])
    assert "\x1b" not in text and "\udcff" not in text  # what a terminal would obey, and what no text holds


def test_the_script_is_sound_for_bash_and_shellcheck(tmp_path: Path) -> None:
    path = tmp_path / "job.sh"
    call = Call(
        command=(["batch", "run", "a b.csv"], ["--prompt", "it's $5"]),
        lines=("--gres=gpu:1",),
        tasks=8,
        at_once=2,
    )
    path.write_text(slurm.begin(call).text)
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    if shutil.which("shellcheck"):
        found = subprocess.run(["shellcheck", path], capture_output=True, text=True)
        assert (found.returncode, found.stdout) == (0, "")
    head = [line for line in path.read_text().splitlines() if line.startswith("#SBATCH")]
    assert "#SBATCH --array=1-8%2" in head and "#SBATCH --gres=gpu:1" in head
    assert "#SBATCH --signal=B:USR1@120" in head


@pytest.mark.parametrize(("code", "wants_more"), [(0, False), (8, False), (75, True), (5, False)])
def test_a_task_ends_as_its_call_and_asks_again_by_the_arrays_number(
    tmp_path: Path, code: int, wants_more: bool
) -> None:
    text = script(tmp_path, ["batch", "run", "-c", f"import sys; sys.exit({code})"], tasks=4)
    done = task(text, 3, tmp_path / "queue")
    done.communicate(timeout=30)
    assert done.returncode == code
    assert asked(tmp_path / "queue") == (["requeue 77_3"] if wants_more else [])


WAITS = """import pathlib, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *about: (time.sleep(0.3), sys.exit(75)))
pathlib.Path("ready").touch()
time.sleep(20)"""


def test_the_signal_before_the_end_of_time_reaches_the_call(tmp_path: Path) -> None:
    started = task(script(tmp_path, ["batch", "run", "-c", WAITS], tasks=2), 1, tmp_path / "queue")
    for _ in range(200):
        if (tmp_path / "ready").exists():
            break
        time.sleep(0.05)
    started.send_signal(signal.SIGUSR1)
    started.communicate(timeout=30)
    assert (started.returncode, asked(tmp_path / "queue")) == (75, ["requeue 77_1"])


def test_a_script_outside_of_an_array_says_so(tmp_path: Path) -> None:
    done = task(
        script(tmp_path, ["batch", "run", "-c", "raise SystemExit(0)"]),
        1,
        tmp_path / "queue",
        SLURM_ARRAY_TASK_ID="",
    )
    assert b"hand it to sbatch" in done.communicate(timeout=30)[1]
    assert done.returncode != 0


def test_a_template_keeps_what_was_written_around_the_call(tmp_path: Path) -> None:
    first = slurm.begin(Call(command=(["batch", "run", "a.csv"],), tasks=4)).text
    edited = first.replace(slurm.BEGIN, f"module load cuda\n{slurm.BEGIN}") + "echo behind\n"
    again = slurm.begin(Call(command=(["batch", "run", "b.csv"],), tasks=9, at_once=3, template=edited)).text
    assert "module load cuda\n" in again and again.endswith("echo behind\n")
    assert "#SBATCH --array=1-9%3\n" in again and "b.csv" in again and "a.csv" not in again
    assert again.count(slurm.BEGIN) == again.count(slurm.END) == 1
    for text, said in (
        ("#!/bin/sh\n", "no lines"),
        (first.replace("--array", "--x"), "no line #SBATCH --array"),
    ):
        with pytest.raises(UsageError, match=said):
            slurm.begin(Call(template=text))


@pytest.mark.parametrize("line", ["time=1", "--time=1\nrm x", "", "--", "-1", "; x"])
def test_lines_for_sbatch_are_options(line: str) -> None:
    with pytest.raises(UsageError, match="not an option of sbatch"):
        slurm.begin(Call(lines=(line,)))


def test_an_odd_folder_is_not_named_where_slurm_could_not_read_it(tmp_path: Path) -> None:
    assert f"#SBATCH --output={tmp_path}/out/.vedit-batch/log/slurm-%A_%a.txt\n" in script(
        tmp_path, out="out"
    )
    assert "#SBATCH --output" not in script(tmp_path, out="100% of it")


# --- from the command line -----------------------------------------------------------------------


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.csv"
    for number in range(4):
        (tmp_path / f"c{number}.gif").write_bytes(b"clip %d" % number)
    path.write_text(
        "input,prompt,seed\n" + "".join(f"c{n}.gif,fox,{seed}\n" for n in range(4) for seed in (0, 1))
    )
    return path


def test_the_parts_of_an_array_make_all_of_a_batch(jobs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call = Call(
        command=(["batch", "run", CALL, str(jobs), str(out), "1"],), folder="/", out=str(out), tasks=2
    )
    begun = slurm.begin(call)
    assert isinstance(begun, Script) and begun.submit == ("sbatch",)
    text = begun.text.replace("-m vedit batch run", "", 1)
    tasks = [task(text, number, tmp_path / f"queue{number}") for number in (1, 2)]
    for started in tasks:
        assert (started.communicate(timeout=60)[1], started.returncode) == (b"", 0)
    made = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.gif")}
    assert made == {
        f"c{n}/p2p-fox-s{seed}.gif": f"fox {seed} clip {n}".encode() for n in range(4) for seed in (0, 1)
    }
    assert vedit("batch", "collect", out).code == 0
    results = [json.loads(line)["status"] for line in (out / "results.jsonl").read_text().splitlines()]
    assert results == ["done"] * 8


def test_the_command_line_prints_the_call_without_what_parts_may_not_repeat(
    jobs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = (
        "--workers",
        "2",
        "--over",
        "seed=3,4",
        "--retry-failed",
        "--redo",
        "all",
        "-q",
        "--json",
        "--negative=-x",
    )
    done = vedit("batch", jobs, "-O", out, "--runner", "slurm", "--tasks", "5%2", *given)
    assert done.code == 0, done.err
    lines = [line.strip(" \\") for line in done.text.splitlines()]
    assert f"{sys.executable} -m vedit batch run {jobs}" in lines
    for line in (f"-O {out}", "--workers 2", "--over seed=3,4", "-q", "--negative=-x"):
        assert line in lines
    assert not [
        line for line in lines if line.startswith(("--runner", "--tasks", "--redo", "--retry", "--json"))
    ]
    assert (out / ".vedit-batch" / "log").is_dir()  # SLURM makes no folders for the words of tasks


def test_submitting_hands_the_script_to_sbatch(
    jobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin" / "sbatch"
    options = ("batch", jobs, "-O", tmp_path / "out", "--runner", "slurm", "--submit")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert vedit(*options).code == 7  # there is none
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    sbatch.write_text(f"#!/bin/sh\ncat > {tmp_path}/got\necho Submitted batch job 5\n")
    sbatch.chmod(0o755)
    done = vedit(*options)
    assert (done.code, done.text, done.err) == (0, "", "vedit: Submitted batch job 5\n")
    assert (tmp_path / "got").read_text().startswith("#!/bin/bash\n")
    sbatch.write_text("#!/bin/sh\necho no such partition >&2\nexit 1\n")
    refused = vedit(*options)
    assert refused.code == 7 and "no such partition" in refused.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--runner", "slurm", "--shard", "1/2"), "Use --tasks"),
        (("--submit",), "--submit is for --runner slurm"),
        (("--tasks", "4"), "--tasks is for --runner slurm"),
        (("--runner", "slurm", "--tasks", "0"), "not a number of parts"),
        (("--runner", "slurm", "--tasks", "4%0"), "not a number of parts"),
        (("--runner", "slurm", "--sbatch", "x"), "not an option of sbatch"),
        (("--runner", "slurm", "--template", "/none"), "/none"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    jobs: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    done = vedit("batch", jobs, "-O", tmp_path / "out", *options)
    assert done.code == 2 and said in done.err
    assert not (tmp_path / "out").exists()


def test_the_example_of_the_page_on_batches_makes_a_script_that_bash_reads(
    jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
    line = next(
        line.strip() for line in page.splitlines() if "--runner slurm" in line and line.startswith("    ")
    )
    monkeypatch.chdir(jobs.parent)
    words, _, target = line.partition(" > ")
    done = vedit(*shlex.split(words)[1:])
    assert (done.code, target) == (0, "job.sh"), done.err
    assert "#SBATCH --array=1-8%4\n" in done.text and "#SBATCH --gres=gpu:1\n" in done.text
    checked = subprocess.run(["bash", "-n"], input=done.out, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, b"")
    (jobs.parent / "job.sh").write_bytes(done.out)
    again = vedit("batch", jobs, "-O", "other", "--runner", "slurm", "--template", "job.sh")
    assert again.code == 0 and "-O other" in again.text and "#SBATCH --gres=gpu:1\n" in again.text
