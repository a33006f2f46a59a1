"""The worked examples of CONTRIBUTING.md work, and their tests pass."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from vedit import methods, metrics, stages
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
    monkeypatch.setattr(
        stages, "registry", Registry(stages.__name__, stages.__path__, "vedit.stages", stages.registry.skip)
    )
    yield
    sys.modules.pop("vedit.stages.posterise", None)


def run_tests(name: str, *arguments: object) -> None:
    names: dict[str, object] = {}
    exec(compile(block(name), "CONTRIBUTING.md", "exec"), names)
    tests = [value for key, value in names.items() if key.startswith("test_")]
    assert tests
    for test in tests:
        test(*arguments)  # type: ignore[operator]


def test_the_example_stage_passes_the_example_test(posterise: None, tmp_path: Path) -> None:
    run_tests("test", tmp_path)


@pytest.mark.parametrize(
    ("kind", "package", "name"),
    [("method", methods, "mix"), ("metric", metrics, "contrast")],
    ids=["method", "metric"],
)
def test_the_example_passes_its_test(
    kind: str, package: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{name}.py").write_text(block(kind), encoding="utf-8")
    path = [*package.__path__, str(tmp_path)]
    monkeypatch.setattr(package, "__path__", path)
    monkeypatch.setattr(
        package, "registry", Registry(package.__name__, path, f"vedit.{kind}s", package.registry.skip)
    )
    assert name in package.names()
    run_tests(f"{kind} test")
    sys.modules.pop(f"{package.__name__}.{name}", None)


@pytest.mark.parametrize("kind", ["rule", "family"])
def test_the_example_of_the_engine_passes_its_test(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(f"example_{kind}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
    exec(compile(block(kind), "CONTRIBUTING.md", "exec"), module.__dict__)
    exec(compile(block(f"{kind} test"), "CONTRIBUTING.md", "exec"), module.__dict__)
    tests = [value for key, value in list(module.__dict__.items()) if key.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_the_example_stage_has_help_a_chain_grammar_and_checked_options(
    posterise: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    Image.new("RGB", (4, 4), (100, 140, 250)).save(tmp_path / "in.gif")
    assert execute(["gif", "posterise", "--help"]) == 0
    assert "three levels of red, of green and of blue" in capsys.readouterr().out
    assert (
        execute(
            [
                "gif",
                "chain",
                "posterise:2; rotate:90",
                str(tmp_path / "in.gif"),
                "-o",
                str(tmp_path / "out.gif"),
            ]
        )
        == 0
    )
    with Image.open(tmp_path / "out.gif") as picture:
        assert picture.convert("RGB").getcolors() == [(16, (0, 255, 255))]
    assert execute(["gif", "posterise", "1", str(tmp_path / "in.gif"), "-o", str(tmp_path / "none.gif")]) == 2
    assert "expected a whole number from 2 to 256" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)]+)\)", TEXT))))
def test_what_contributing_links_to_exists(path: str) -> None:
    assert (Path(__file__).resolve().parent.parent / path).exists()
