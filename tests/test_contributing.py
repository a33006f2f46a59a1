"""The worked example of CONTRIBUTING.md is a stage that works, and its test a test that passes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from vedit import stages
from vedit.cli import execute
from vedit.registry import Registry

TEXT = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    (code,) = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", TEXT, re.S)
    return code


@pytest.fixture
def posterise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example among the stages, as if its file lay in the folder."""
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "posterise.py").write_text(block("stage"), encoding="utf-8")
    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(tmp_path / "stages")])
    monkeypatch.setattr(stages, "registry", Registry(stages.__name__, stages.__path__, "vedit.stages", stages.registry.skip))
    yield
    sys.modules.pop("vedit.stages.posterise", None)


def test_the_example_stage_passes_the_example_test(posterise: None, tmp_path: Path) -> None:
    names: dict[str, object] = {}
    exec(compile(block("test"), "CONTRIBUTING.md", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test(tmp_path)  # type: ignore[operator]


def test_the_example_stage_has_help_a_chain_grammar_and_checked_options(posterise: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Image.new("RGB", (4, 4), (100, 140, 250)).save(tmp_path / "in.gif")
    assert execute(["gif", "posterise", "--help"]) == 0
    assert "three levels of red, of green and of blue" in capsys.readouterr().out
    assert execute(["gif", "chain", "posterise:2; rotate:90", str(tmp_path / "in.gif"), "-o", str(tmp_path / "out.gif")]) == 0
    with Image.open(tmp_path / "out.gif") as picture:
        assert picture.convert("RGB").getcolors() == [(16, (0, 255, 255))]
    assert execute(["gif", "posterise", "1", str(tmp_path / "in.gif"), "-o", str(tmp_path / "none.gif")]) == 2
    assert "expected a whole number from 2 to 256" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)]+)\)", TEXT))))
def test_what_contributing_links_to_exists(path: str) -> None:
    assert (Path(__file__).resolve().parent.parent / path).exists()
