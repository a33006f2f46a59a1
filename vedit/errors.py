"""The errors that reach a user, each with its exit code.

    VeditError                1   a bug, if it reaches the user unclassified
      CheckFailed             1   ran, but the answer is no (damage found, score below the bar)
      UsageError              2   wrong option or preset value, impossible geometry
      InputError              3   cannot read or understand the media
      OutputError             4   cannot write, or would overwrite
      ModelError              5   weights or an extra missing, gated, offline, wrong family
      LimitError              6   over a limit: decompression bomb
        MemoryBudgetError     6   does not fit the device
      RemoteError             7   hosted service refused or timed out
      PartialFailure          8   a batch finished, some items failed
    Stopped                  75   stopped by a signal with its state saved: call again
    Interrupted             130   stopped by Ctrl-C

A message has up to three parts, each given only where it helps: what happened (with the value), what would be
right, and what to type next. `VeditError("what", "right", "next")` prints them as lines after `vedit: `. An
option in a message is written `option("dtype", "bf16")`, which each face spells its own way.
"""

from collections.abc import Callable, Iterable, Sequence

LONGEST_WORD = 100  # what is longer is no misspelt name, and looking for one would take long


class VeditError(Exception):
    """Anything vedit reports to the user instead of a traceback.

    stage: the place in a chain, from 0, of the stage that this happened in; option: the name of its option.
    None where that is not known, or where no stage is to blame.
    """

    exit_code = 1
    stage: int | None = None
    option: str | None = None

    def __init__(self, what: str, right: str = "", next_step: str = "") -> None:
        super().__init__(what, right, next_step)
        self.what = what
        self.right = right
        self.next_step = next_step

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.right, self.next_step) if part)

    def in_file(self, name: str) -> "VeditError":
        """Name the file this happened in, where the loop over files is; once is enough."""
        if not self.what.startswith(f"{name}: "):
            self.what = f"{name}: {self.what}"
        return self


class CheckFailed(VeditError):
    """The command ran, and the answer to the question asked is no."""


class UsageError(VeditError):
    """An option, a preset value or a combination of them is wrong."""

    exit_code = 2


class InputError(VeditError):
    """The input is missing, unreadable, or damaged beyond use."""

    exit_code = 3


class OutputError(VeditError):
    """The output exists and may not be replaced, or cannot be written."""

    exit_code = 4


class ModelError(VeditError):
    """Weights or an optional dependency are missing, or do not fit together."""

    exit_code = 5


class LimitError(VeditError):
    """The input asks for more than a limit allows; the limits are options."""

    exit_code = 6


class MemoryBudgetError(LimitError):
    """The job does not fit the device's memory."""


class RemoteError(VeditError):
    """A hosted service refused, failed or timed out."""

    exit_code = 7


class PartialFailure(VeditError):
    """A batch finished, and some of its items failed."""

    exit_code = 8


class Stopped(VeditError):
    """A signal arrived, the state is saved, and the same call continues."""

    exit_code = 75


class Interrupted(VeditError):
    """The user pressed Ctrl-C."""

    exit_code = 130


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` when something known is spelt like the word, else nothing."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1) if len(word) <= LONGEST_WORD else []
    return f"; did you mean {close[0]}?" if close else ""


def reason_of(error: BaseException) -> str:
    """What the system says of an error, as a message goes on with it: "no such file or directory"."""
    return (getattr(error, "strerror", None) or str(error)).lower()


def read_fault(error: BaseException) -> str:
    """What a library says of a file of weights that it cannot read. torch goes on with how to run the code
    that a pickle may hold, which helps nobody.
    """
    said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return "it is damaged, or holds more than tensors" if "weights_only" in said else said


def refuse_mistakes(where: str, mistakes: Sequence[str], next_step: str = "") -> None:
    """Raise one UsageError that names every mistake in a preset or in the settings given; nothing where there
    is none.
    """
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise UsageError(
            f"{where}: {count}.\n" + "\n".join(f"  {mistake}" for mistake in mistakes), "", next_step
        )


Spelling = Callable[[str, object], str]


def in_python(name: str, value: object = None) -> str:
    """An option as a caller in Python gives it: `dtype="bf16"`, `set={"blend_words": ["WORD"]}`, or its bare
    name without a value.
    """
    word = name.replace("-", "_")
    if value is None:
        return word
    kind, dot, key = word.partition(".")
    return f'{kind}={{"{key}": {_literal(value)}}}' if dot else f"{word}={_literal(value)}"


def _literal(value: object) -> str:
    """A value as Python writes it; a text that brings its quotes keeps them."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return value if value.startswith(('"', "'")) else f'"{value}"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)


_spelling: Spelling = in_python


def speak(spelling: Spelling) -> None:
    """Spell options in messages so from now on, in all threads: a face says this once, at its start."""
    global _spelling
    _spelling = spelling


def option(name: str, value: object = None) -> str:
    """An option, for a message below the faces, as the face at work spells it.

    `option("dtype", "bf16")` is `--dtype bf16` on the command line and `dtype="bf16"` in Python;
    `option("set.guidance", 4)` a parameter of a method; True and False are options switched on and
    off. Call it where the message is made, not when a module is imported: the face is known then.
    """
    return _spelling(name, value)


Warn = Callable[[str], None]


def silent(message: str) -> None:
    """Nobody is told."""


Decision = Callable[[str], bool]


def _keeps(path: str) -> bool:
    """Nothing is replaced that nobody said may be."""
    return False


_decision: Decision = _keeps


def answer(decision: Decision) -> None:
    """Let this decide from now on, in all threads, whether an output that exists may be replaced: a face says
    this once, at its start.
    """
    global _decision
    _decision = decision


def may_replace(path: str) -> bool:
    """Whether an output that exists may be replaced, where the job did not say: the face at work decides, and
    without one it is kept.
    """
    return _decision(path)


Hearing = Callable[[], bool]


def _hears_nobody() -> bool:
    """Standard input is what another program gives."""
    return False


_hearing: Hearing = _hears_nobody


def listen(hearing: Hearing) -> None:
    """Let this tell from now on, in all threads, whether a person types at standard input, who gives no clip:
    a face says this once, at its start.
    """
    global _hearing
    _hearing = hearing


def is_typed() -> bool:
    """Whether a person types at standard input, as the face at work knows it."""
    return _hearing()
