"""Protects vedit/errors.py and vedit/cli/spelling.py: messages name options as their reader types them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from vedit.cli.spelling import on_command_line
from vedit.errors import UsageError, in_python, is_typed, listen, option, speak

SPELT = [  # name, value, on the command line, in Python
    ("dtype", "bf16", "--dtype bf16", 'dtype="bf16"'),
    ("frames_per_call", 4, "--frames-per-call 4", "frames_per_call=4"),
    ("frames-per-call", None, "--frames-per-call", "frames_per_call"),
    ("guidance", 7.0, "--guidance 7", "guidance=7"),
    ("set.blend_words", ["WORD"], "--set 'blend_words=[\"WORD\"]'", 'set={"blend_words": ["WORD"]}'),
    ("set.guidance", 4.0, "--set guidance=4", 'set={"guidance": 4}'),
    ("set.negative_prompt", "", "--set negative_prompt=", 'set={"negative_prompt": ""}'),
    ("source_prompt", '"..."', '--source-prompt "..."', 'source_prompt="..."'),
    ("ablate", True, "--ablate", "ablate=True"),
    ("mask", "", "--mask ''", 'mask=""'),
    ("metadata", False, "--no-metadata", "metadata=False"),
    ("output", "FILE", "-o FILE", 'output="FILE"'),
    ("overwrite", True, "-y", "overwrite=True"),
]
# below the command line, texts name options by `option` alone
BELOW = sorted(
    {
        path
        for path in (ROOT / "vedit").rglob("*.py")
        if path.relative_to(ROOT / "vedit").parts[0] not in ("cli", "ui", "__main__.py")
    }
)
FLAG = re.compile(r"(?<![\w-])(?:--(?!shown\b)[a-z{](?!\}(?:--)?\r\n)|-[oOyn](?![\w=]))")
COMMAND = re.compile(
    r"\bvedit [a-z]"
)  # a line for a shell ("vedit models fetch NAME --force") is one in any face
OF_OTHERS = re.compile(r"#SBATCH --|\bray start --|\bhf download ")
NO_FLAGS = {  # words of other programs, of style sheets, and of manifests that are written already
    "--porcelain",
    '"mytool --in {input} --out {output} --text {instruction}"',
    "--",
    "-y",
    "moving-mnist --synth",
    "--time=8:00:00",
}


@pytest.mark.parametrize(("name", "value", "typed", "_python"), SPELT)
def test_the_command_line_spells_an_option_as_it_is_typed(
    name: str, value: object, typed: str, _python: str
) -> None:
    assert on_command_line(name, value) == typed


@pytest.mark.parametrize(("name", "value", "_typed", "python"), SPELT)
def test_python_spells_an_option_as_an_argument(name: str, value: object, _typed: str, python: str) -> None:
    assert in_python(name, value) == python
    if value is not None:
        eval(f"dict({python})")  # it is an argument that Python takes


def test_a_message_names_options_as_the_face_at_work_spells_them() -> None:
    def refused() -> str:
        return str(
            UsageError("the sampler gave a value that is not a number.", "", f"Try {option('dtype', 'bf16')}")
        )

    assert refused().endswith("Try --dtype bf16")
    speak(in_python)
    try:
        assert refused().endswith('Try dtype="bf16"')
    finally:
        speak(on_command_line)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a file but its docstrings, those of an f-string as one with {} for its values."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    skipped = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def test_texts_below_the_command_line_name_no_flags() -> None:
    assert len(BELOW) > 300
    named = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in BELOW
        for line, text in texts(path)
        if FLAG.search(text)
        and not COMMAND.search(text)
        and text not in NO_FLAGS
        and not OF_OTHERS.search(text)
    ]
    assert named == []


def test_no_layer_below_the_command_line_looks_for_a_terminal() -> None:
    """Whether somebody types, and what may be shown, is the face's to say."""
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in BELOW
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("isatty", "ttyname", "ctermid")
    ]
    assert asked == []


def test_a_face_says_whether_a_person_types_at_standard_input() -> None:
    from vedit.errors import _hearing as before

    assert not is_typed()  # nobody does where no face says so, as in a notebook
    listen(lambda: True)
    try:
        assert is_typed()
    finally:
        listen(before)


def test_an_option_of_several_values_is_spelt_once_for_each() -> None:
    limits = option("limits", ["canvas=200M", "spool=0"])
    assert limits == "--limit canvas=200M --limit spool=0"
    assert in_python("limits", ["canvas=200M"]) == 'limits=["canvas=200M"]'
    assert option("sbatch", ["--time=8:00:00"]) == "--sbatch=--time=8:00:00"
    assert (option("overwrite", False), option("json_file", "r.json")) == ("-n", "--json r.json")
