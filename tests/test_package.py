"""The package as users get it: the command, the wheel with its presets, man pages and completions, and the
papers.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.ui.served import serving
from vedit import __version__

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHARED = {
    **{f"share/man/man1/{page.name}": page for page in (ROOT / "man").iterdir()},
    "share/bash-completion/completions/vedit": ROOT / "completions" / "vedit.bash",
    "share/zsh/site-functions/_vedit": ROOT / "completions" / "_vedit",
    "share/fish/vendor_completions.d/vedit.fish": ROOT / "completions" / "vedit.fish",
}


@pytest.mark.parametrize(
    "command", [["-m", "vedit"], ["-c", "from vedit.cli import run; run()"]], ids=["python -m vedit", "vedit"]
)
def test_version_is_printed(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command, "--version"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"vedit {__version__}\n", "")


def test_the_installed_command_is_run() -> None:
    assert PROJECT["project"]["scripts"] == {"vedit": "vedit.cli:run"}


def test_the_wheel_is_told_of_presets_man_pages_and_completions() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"presets": "vedit/presets/shipped"}
    shared = wheel["shared-data"]
    assert {f"share/man/man1/{page.name}": page for page in (ROOT / "man").iterdir()} and shared[
        "man"
    ] == "share/man/man1"
    assert {target for source, target in shared.items() if source != "man"} == {
        target for target in SHARED if "man1" not in target
    }
    assert all((ROOT / source).exists() for source in shared)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked; built in this process without the network."""
    if find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    code = (
        "import sys; from hatchling.builders.wheel import WheelBuilder;"
        " print(*WheelBuilder(sys.argv[1]).build(directory=sys.argv[2], versions=['standard']))"
    )
    done = subprocess.run([sys.executable, "-c", code, ROOT, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(done.stdout.strip()) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_the_wheel_holds_man_pages_and_completions(wheel: Path) -> None:
    data = wheel / f"vedit-{__version__}.data" / "data"
    assert {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()} == set(SHARED)
    assert all((data / target).read_bytes() == source.read_bytes() for target, source in SHARED.items())


def test_presets_are_found_in_an_installed_package(wheel: Path, tmp_path: Path) -> None:
    code = (
        "from vedit import presets; print(presets.shipped_folder()); print(*presets.paths());"
        " presets.load_chain('web-small')"
    )
    environment = {**os.environ, "PYTHONPATH": str(wheel), "VEDIT_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    folder, names = done.stdout.splitlines()
    assert Path(folder) == wheel / "vedit" / "presets" / "shipped"
    assert names.split() == sorted(path.stem for path in (ROOT / "presets").glob("*.toml"))


def test_the_wheel_holds_every_module_and_the_page_and_no_test(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "vedit/*.py", "vedit/ui/static"], capture_output=True, text=True, cwd=ROOT
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    assert all((wheel / name).is_file() for name in tracked.stdout.split() if (ROOT / name).exists())
    assert not (wheel / "tests").exists()


def test_constraints_fit_the_requirements() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split())
    pins = {_plain(name): version for name, version in pins.items()}
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    for requirement in (
        requirement for group in groups for requirement in group if not requirement.startswith("vedit[")
    ):
        name, bounds = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()
        if _plain(name) not in pins:
            continue  # an extra that the suite does not install
        version = _numbers(pins[_plain(name)])
        for sign, bound in re.findall(r"(>=|<)([\d.]+)", bounds):
            width = max(len(version), len(_numbers(bound)))
            here, there = (
                [*numbers, *[0] * (width - len(numbers))] for numbers in (version, _numbers(bound))
            )
            assert here >= there if sign == ">=" else here < there, requirement


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.match(r"[\d.]+", version)[0].strip(".").split(".")]


def test_the_citation_names_this_version_and_complete_references() -> None:
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__ and cited["license"] == PROJECT["project"]["license"]
    assert all({"type", "title", "authors", "year"} <= set(entry) for entry in cited["references"])
    assert len({entry["title"] for entry in cited["references"]}) == len(cited["references"])


def test_the_changelog_has_an_entry_for_this_version() -> None:
    assert re.search(
        rf"^## \[(Unreleased|{re.escape(__version__)})\]",
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        re.M,
    )


def test_an_installed_wheel_serves_its_own_page(wheel: Path, tmp_path: Path) -> None:
    static = wheel / "vedit" / "ui" / "static"
    (static / "marker.js").write_text("// of the wheel")
    with serving(tmp_path / "spool", cwd=tmp_path, PYTHONPATH=str(wheel)) as server:
        assert server.get("static/marker.js").body == b"// of the wheel"
        assert server.get("").body == (static / "page.html").read_bytes()
        assert server.get("session").status == server.get("controls").status == 200
    (static / "marker.js").unlink()
