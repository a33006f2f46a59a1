"""The command lines that repeat what the page shows, for shells, files of steps, presets and folders."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vedit import stages
from vedit.config import section, user_config
from vedit.jobs.media.chain import format_chain
from vedit.presets import document_from
from vedit.stages.options import Flag, Option
from vedit.ui.controls import FORMAT, Spec, output_options

PLAIN: Spec = ("metadata", {})  # a stage that changes nothing, where no other is: a command has one
STEPS, PRESET = "steps.txt", "my-preset"
CLIPS, DONE = "clips", "done"  # folders, in the form for a folder


def forms(chain: Sequence[Spec], output: Mapping[str, str], source: str, target: str) -> dict[str, Any]:
    """The command in each form; chain and output: without defaults. source, target: file names."""
    chain = [_on_one_line(spec) for spec in chain]
    files = ([source], ["-o", target])
    steps = "\n".join(format_chain([spec]) for spec in chain or [PLAIN]) + "\n"
    preset = document_from(chain or [PLAIN]).as_string()
    gif = ["--to", "gif"] if output[FORMAT] == "gif" and not source.lower().endswith(".gif") else []
    return {
        "command": _shells(chain, output, *files),
        "file": {**_named(["-f", STEPS], output, *files), "name": STEPS, "text": steps},
        "preset": {**_named(["--preset", PRESET], output, *files), "name": PRESET, "text": preset},
        "folder": _shells(chain, output, [CLIPS], ["-O", DONE, *gif]),
    }


def one_line(chain: Sequence[Spec], output: Mapping[str, str], source: str, target: str) -> str:
    """The command for a POSIX shell."""
    return _shells([_on_one_line(spec) for spec in chain], output, [source], ["-o", target])["posix"]


def chain_text(chain: Sequence[Spec]) -> str:
    """What `vedit gif chain` takes, on one line."""
    return format_chain([_on_one_line(spec) for spec in chain or [PLAIN]])


def _shells(
    chain: Sequence[Spec], output: Mapping[str, str], inputs: Iterable[str], target: Iterable[str]
) -> dict[str, str]:
    specs = list(chain) or [PLAIN]
    options = _result_options(output, "chain" if not _is_single(specs, output) else specs[0][0])
    tail = [*options, *map(_as_file, inputs), *target]
    if _is_single(specs, output):
        name, given = specs[0]
        words = ["vedit", "gif", name, *_words(stages.load(name).OPTIONS, given), *tail]
        return {"posix": posix(words), "powershell": powershell(words)}
    head = ["vedit", "gif", "chain"]
    return {
        "posix": posix([*head, format_chain(specs), *tail]),
        "powershell": powershell([*head, format_chain(specs, "'"), *tail]),
    }


def _named(
    stages_from: list[str], output: Mapping[str, str], inputs: Iterable[str], target: Iterable[str]
) -> dict[str, str]:
    words = ["vedit", "gif", "chain", *stages_from, *_result_options(output, "chain")]
    words += [*map(_as_file, inputs), *target]
    return {"posix": posix(words), "powershell": powershell(words)}


def _is_single(specs: Sequence[Spec], output: Mapping[str, str]) -> bool:
    """Whether the command of one stage does the same: it has the options of the result that it hides not, and
    nobody set defaults of its own for it.
    """
    if len(specs) != 1:
        return False
    name = specs[0][0]
    own = {option.name for option in stages.load(name).OPTIONS}
    return not own & set(output) and not _defaults_of(name)


def _defaults_of(command: str) -> set[str]:
    """The options of a gif command that the environment or the user's settings give a default."""
    key = command.replace("-", "_")
    prefix = f"VEDIT_GIF_{key.upper()}_"
    found = {name.removeprefix(prefix).lower() for name in os.environ if name.startswith(prefix)}
    return {name.replace("_", "-") for name in {*found, *section(user_config(), "gif", key)}}


def _result_options(output: Mapping[str, str], command: str) -> list[str]:
    """The options of the result as words; those with a default of the user's own are always said."""
    own = _defaults_of(command)
    options = [option for option in output_options() if option.name != FORMAT]
    usual = {option.name: _default(option) for option in options if option.name in own}
    texts = {name: text for name, text in usual.items() if text is not None} | dict(output)
    return _words(options, texts)


def _default(option: Option) -> str | None:
    return None if option.default is None or option.is_flag else str(option.default)


def _words(options: Iterable[Option], texts: Mapping[str, str]) -> list[str]:
    """Options as the command line takes them, in the order of the table."""
    words: list[str] = []
    for option in options:
        if option.name not in texts:
            continue
        text = texts[option.name]
        if option.is_flag:
            words.append(f"--{'' if Flag()(text) else 'no-'}{option.name}")
        else:
            words += [f"--{option.name}={text}"] if text[:1] in ("-", "") else [f"--{option.name}", text]
    return words


def _on_one_line(spec: Spec) -> Spec:
    """A stage whose texts of several lines have them written as \\n, where the stage reads that."""
    name, given = spec
    lines = {option.name for option in stages.load(name).OPTIONS if option.control()["kind"] == "lines"}
    texts = {
        key: text.replace("\r\n", "\n").replace("\n", "\\n") if key in lines else text
        for key, text in given.items()
    }
    return name, texts


def _as_file(name: str) -> str:
    """A name that no option is mistaken for."""
    return f"./{name}" if name.startswith("-") and name != "-" else name


def posix(words: Iterable[str]) -> str:
    """A line for sh, bash, zsh."""
    return " ".join(shlex.quote(word) for word in words)


def powershell(words: Iterable[str]) -> str:
    """A line for PowerShell, where a quote within single quotes is doubled."""
    return " ".join(
        word if re.fullmatch(r"[\w./:+=%-]+", word) and word[0] not in "%=" else f"'{_doubled(word)}'"
        for word in words
    )


def _doubled(word: str) -> str:
    """Typographic quotes end a text of PowerShell as straight ones do."""
    return re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", word)
