"""The folder list is the architecture: imports point downwards only."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Set
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAYERS = [  # a module may import from its own row and from rows below
    {"cli", "api", "ui", "notebook", "__main__"},
    {"jobs", "presets"},  # a preset is checked against the options of stages and methods
    {"methods", "metrics", "training", "remote"},
    {"engine"},
    {"models"},
    {"data", "motion"},
    {"stages"},
    {"media"},
    {
        "errors",
        "documents",
        "pixels",
        "plain",
        "secrecy",
        "config",
        "options",
        "registry",
        "",
    },  # "" is the package itself: its version
]
ALLOWED = {  # what a part may import beside itself and the plain modules; a part that is not named here follows LAYERS alone
    "ui": {"jobs", "presets", "stages", "media"},
    "cli": {
        "ui",
        "jobs",
        "presets",
        "methods",
        "metrics",
        "training",
        "data",
        "engine",
        "models",
        "stages",
        "media",
    },
    "jobs": {
        "presets",
        "methods",
        "metrics",
        "training",
        "remote",
        "data",
        "engine",
        "models",
        "stages",
        "media",
        "motion",
    },
    "presets": {"methods", "training", "stages", "media"},
    "methods": {"engine", "models", "motion"},
    "metrics": {"models", "data", "media", "motion"},
    "training": {"engine", "models", "data"},
    "remote": {"media"},
    "engine": {"models", "data", "media", "motion"},
    "models": {"data"},
    "data": set(),
    "motion": set(),
    "stages": {"media"},
    "media": set(),
}
PLAIN = LAYERS[-1]
LEVEL = {name: level for level, row in enumerate(LAYERS) for name in row}
HEAVY = {
    "torch",
    "diffusers",
    "transformers",
    "open_clip",
    "torchvision",
    "accelerate",
    "peft",
    "timm",
    "huggingface_hub",
}
MODULES = sorted((ROOT / "vedit").rglob("*.py"))


def imports(path: Path) -> list[tuple[str, bool]]:
    """The modules that a file imports, with whether that happens when the file itself is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    found: list[tuple[str, bool]] = []

    def walk(node: ast.AST, at_import: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                walk(child, at_import)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            if base == "vedit":  # `from vedit import stages` names a part of the package
                found.extend((f"vedit.{alias.name}", at_import) for alias in node.names)
            else:
                found.append((base, at_import))
        inside = at_import and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            walk(child, inside)

    walk(tree, True)
    return found


def module_of(path: Path) -> str:
    """The name that a file is imported by."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def every_import(path: Path, known: Set[str]) -> set[str]:
    """The modules of ours that a file names anywhere: at its top, inside functions, for type checking alone."""
    package = path.relative_to(ROOT).parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, (base, node.module)))
            found.update(name if (name := f"{base}.{alias.name}") in known else base for alias in node.names)
    return found & known - {module_of(path)}


def circles(graph: Mapping[str, Set[str]]) -> list[set[str]]:
    """The strongly connected components of a graph with more than one member (Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == order[node]:
            start = stack.index(node)
            found.append(set(stack[start:]))
            del stack[start:]

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return [circle for circle in found if len(circle) > 1]


def room(module: str) -> str:
    """A module, or the folder within a part that it lies in: `vedit.jobs.edit` for `vedit.jobs.edit.video`."""
    return ".".join(module.split(".")[:3])


def layer(module: str) -> str:
    """The row's member that a module of ours belongs to."""
    name = module.split(".")[1] if "." in module else ""
    return name if name in LEVEL else "" if name.startswith("__") else name


def test_the_walk_sees_imports_inside_functions_too() -> None:
    found = imports(ROOT / "vedit" / "media" / "pipeline.py")
    assert ("vedit.media.frames", True) in found
    assert any(
        name in ("vedit.media.gif.lzw", "vedit.media.gif") for name, at_import in found if not at_import
    )


def test_every_module_has_its_place() -> None:
    unknown = {layer(".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in MODULES} - set(LEVEL)
    assert not unknown


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards_only(path: Path) -> None:
    own = layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
    upward = [
        name
        for name, _ in imports(path)
        if name.split(".")[0] == "vedit" and LEVEL.get(layer(name), len(LAYERS)) < LEVEL[own]
    ]
    assert upward == []


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = {module_of(path) for path in MODULES}
    return {module_of(path): every_import(path, known) for path in MODULES}


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"e"}, "e": {"f"}, "f": {"d"}, "g": {"a", "f"}}
    assert sorted(map(sorted, circles(graph))) == [["b", "c"], ["d", "e", "f"]]


def test_imports_for_type_checking_and_inside_functions_count(graph: dict[str, set[str]]) -> None:
    assert "vedit.jobs.edit.job" in graph["vedit.jobs.edit.windows"]
    assert "vedit.media.streams.raw" in graph["vedit.media.streams.planes"]


def test_no_module_imports_itself_by_way_of_others(graph: dict[str, set[str]]) -> None:
    assert circles(graph) == []


def test_no_folder_imports_itself_by_way_of_others(graph: dict[str, set[str]]) -> None:
    rooms: dict[str, set[str]] = {room(module): set() for module in graph}
    for module, names in graph.items():
        rooms[room(module)] |= {room(name) for name in names} - {room(module)}
    assert circles(rooms) == []


def test_a_part_imports_only_what_the_matrix_allows(graph: dict[str, set[str]]) -> None:
    assert all(
        {LEVEL[other] for other in others} <= set(range(LEVEL[part], len(LAYERS)))
        for part, others in ALLOWED.items()
    )
    wrong = [
        f"{module} -> {name}"
        for module, names in graph.items()
        for name in sorted(names)
        if layer(module) in ALLOWED and layer(name) not in ALLOWED[layer(module)] | PLAIN | {layer(module)}
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in MODULES
        if path.relative_to(ROOT).parts[1]
        in (
            "cli",
            "ui",
            "jobs",
            "stages",
            "media",
            "errors.py",
            "presets",
            "config.py",
            "registry.py",
            "pixels.py",
        )
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_plain_half_never_imports_the_heavy_libraries_when_it_is_imported(path: Path) -> None:
    assert [name for name, at_import in imports(path) if at_import and name.split(".")[0] in HEAVY] == []


@pytest.mark.parametrize("folder", ["media", "stages"])
def test_media_and_stages_never_import_torch_at_all(folder: str) -> None:
    for path in (ROOT / "vedit" / folder).rglob("*.py"):
        assert [name for name, _ in imports(path) if name.split(".")[0] in HEAVY] == [], path


def test_nobody_asks_a_rule_for_its_class() -> None:
    """A rule says itself what it reads, writes, keeps and shows: a new one is one file."""
    from vedit.engine import rules

    classes = {name: kind for name, kind in vars(rules).items() if isinstance(kind, type)}
    kinds = {name for name, kind in classes.items() if issubclass(kind, rules.Rule)}
    assert len(kinds) > 10
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass")
        if {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)} & kinds
    ]
    assert asked == []
