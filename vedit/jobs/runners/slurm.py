"""A batch as a job array of SLURM: a script to read, each task of which is an ordinary call that can be made
again.

Tasks share nothing but the folder for outputs: task I makes part I of N. Two minutes before the end of its
time SLURM sends USR1; the items at work finish, the call ends with 75, and the task asks to be queued again
by the array's number, since its own would queue all of the array (Lightning-AI/pytorch-lightning#15022).
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from string import Template

from vedit.errors import UsageError, option
from vedit.jobs.runners import Call, Script

SUMMARY = "a script for sbatch, an array of calls with a part each"
BEGIN, END = "# --- vedit begins ---", "# --- vedit ends ---"
HEAD = Template("""#!/bin/bash
#SBATCH --job-name=vedit-batch
#SBATCH --array=$array
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
$output
$lines""")
BODY = Template("""$begin
# shellcheck disable=SC2016 # what was typed is meant as it stands
# $tasks parts of one batch. Each may be called again, and goes on where it stopped.
cd -- $folder || exit 4
# Time runs out: the items at work finish, and the call ends with 75. Give longer items a longer --signal.
call=
trap 'kill -s USR1 "$$call" 2> /dev/null' USR1
trap 'kill -s TERM "$$call" 2> /dev/null' TERM
$command \\
    --shard "$${SLURM_ARRAY_TASK_ID:?this is a task of an array: hand it to sbatch}/$tasks" &
call=$$!
while wait "$$call"; code=$$?; kill -s 0 "$$call" 2> /dev/null; do :; done
case $$code in
    75 | 138) # 138: USR1 came before the call could listen
        scontrol requeue "$${SLURM_ARRAY_JOB_ID}_$${SLURM_ARRAY_TASK_ID}" ||
            echo "not queued again: hand this script to sbatch once more, and it goes on" >&2
        ;;
esac
# When all tasks have ended: vedit batch collect $out
exit "$$code"
$end
""")


def begin(call: Call) -> Script:
    """The script of a call. Raises UsageError for a template without its marks and for odd lines."""
    body = BODY.substitute(
        begin=BEGIN,
        end=END,
        tasks=call.tasks,
        folder=quoted(call.folder),
        out=quoted(call.out),
        command=spelt(call.command),
    )
    array = f"1-{call.tasks}" + (f"%{call.at_once}" if call.at_once else "")
    if call.template is not None:
        return Script(filled(call.template, array, body), ("sbatch",))
    lines = "".join(f"#SBATCH {checked(line)}\n" for line in call.lines)
    head = HEAD.substitute(array=array, output=output(call.folder, call.out), lines=lines)
    return Script(f"{head}\n{body}", ("sbatch",))


def filled(template: str, array: str, body: str) -> str:
    """A script that was printed before and edited, with the part between the marks and the array anew."""
    before, begin, rest = template.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(
            f"the template has no lines {BEGIN!r} and {END!r}.",
            f"It is a script that {option('runner', 'slurm')} printed, with your lines outside these two.",
        )
    before, count = re.subn(r"(?m)^#SBATCH --array=.*$", f"#SBATCH --array={array}", before)
    if not count:
        raise UsageError(
            "the template has no line #SBATCH --array=.", f"It would be #SBATCH --array={array}."
        )
    return before + body.rstrip("\n") + after


def checked(line: str) -> str:
    """An option for a line of #SBATCH. Raises UsageError."""
    if not re.fullmatch(r"--?[a-zA-Z][^\x00-\x1f\x7f]*", line):
        raise UsageError(
            f"{option('sbatch', repr(line))} is not an option of sbatch.",
            f"Write it as {option('sbatch', ['--time=8:00:00'])}.",
        )
    return line


def output(folder: str, out: str) -> str:
    """Where the words of tasks go: beside the logs of items, unless SLURM could not read the name."""
    import os

    path = os.path.join(os.path.abspath(os.path.join(folder, out)), ".vedit-batch", "log")
    if re.fullmatch(r"[\w./+@:,=-]+", path, re.ASCII):
        return f"#SBATCH --output={path}/slurm-%A_%a.txt"
    return "# the words of tasks go to slurm-JOB_TASK.out where sbatch is called"


def spelt(command: Sequence[Sequence[str]]) -> str:
    """A command with an option a line, quoted for a shell, and the Python that runs now."""
    first, *rest = (" ".join(map(quoted, words)) for words in command)
    return " \\\n    ".join([f"{quoted(sys.executable)} -m vedit {first}", *rest])


def quoted(word: str) -> str:
    """A word as bash takes it; what cannot be seen is written as its bytes, for who reads the script."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
