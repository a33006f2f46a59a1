"""Documents say what the command line does: generated files are fresh, complete, and work in real shells."""

from __future__ import annotations

import importlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import click
import pytest

from vedit import presets
from vedit.cli import COMMANDS, execute, main
from vedit.errors import VeditError

ROOT = Path(__file__).resolve().parent.parent


def script(name: str) -> ModuleType:
    """A module of scripts/, which is no package."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


generate_docs = script("generate_docs")
man_pages = script("man_pages")
TREE = script("tree").build()
NODES = list(TREE.all())
LEAVES = [node for node in NODES if not node.is_group]
PAGES = sorted((ROOT / "man").glob("*.1"))


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def each(nodes: list) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("node", nodes, ids=[node.page for node in nodes])


def test_generated_files_are_what_the_command_line_says_now() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate_docs.py", "--check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_check_names_stale_files_and_pages_of_commands_that_are_gone() -> None:
    files = generate_docs.generated()
    page = ROOT / "man" / "vedit.1"
    assert generate_docs.stale({**files, page: files[page] + "x"}) == [page]
    assert generate_docs.stale({path: text for path, text in files.items() if path != page}) == [page]


def test_the_tree_holds_every_command_that_help_lists() -> None:
    assert {node.words[1] for node in NODES if len(node.words) == 2} == set(COMMANDS)


@each(LEAVES)
def test_every_command_has_help_and_an_example_of_itself(node) -> None:
    assert node.summary and node.examples
    own = re.compile(rf"\b{re.escape(node.typed)}\b")
    assert all(own.search(line) for line, _ in node.examples)
    assert all(what for _, what in node.examples)


@each(NODES)
def test_every_option_has_help_that_is_a_sentence(node) -> None:
    for flag in node.flags:
        assert flag.help.endswith((".", ")")), f"{node.typed} {flag.names[0]}: {flag.help!r}"


@each(NODES)
def test_every_example_uses_options_that_exist(node) -> None:
    known = {name for flag in node.flags for name in flag.names}
    for line, _ in node.examples:
        for command in line.split("|"):
            if node.typed in command:
                typed = re.findall(
                    r"(?<=\s)(--[a-z][a-z-]*|-[a-zA-Z])(?=[\s=]|$)", command.partition(node.typed)[2]
                )
                assert set(typed) <= known, line


@each(NODES)
def test_every_command_has_a_man_page_with_its_sections(node) -> None:
    text = (ROOT / "man" / f"{node.page}.1").read_text(encoding="utf-8")
    wanted = {"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"}
    wanted |= ({"COMMANDS"} if node.is_group else set()) | (
        {"EXAMPLES"} if node.examples else set()
    )  # a group may do work of its own
    assert set(re.findall(r"^\.SH (.*)$", text, re.M)) == wanted
    for flag in node.flags:
        assert all(man_pages.bold(name) in text for name in flag.names)


def test_exit_status_names_the_code_of_every_error() -> None:
    classes = [VeditError]
    for cls in classes:
        classes += cls.__subclasses__()
    assert {cls.exit_code for cls in classes} <= {code for code, _ in man_pages.exit_table()}


def test_every_variable_that_the_program_reads_is_documented() -> None:
    read = set()
    for path in (ROOT / "vedit").rglob("*.py"):
        read |= set(
            re.findall(
                r"""environ(?:\.get\(|\[|\.setdefault\()\s*["']([A-Z_]+)["']""",
                path.read_text(encoding="utf-8"),
            )
        )
    # what other libraries define is theirs to document
    ours = {
        name
        for name in read
        if not re.match(r"(HF_|TORCH_|RAY_(?!ADDRESS)|CUDA_|OMP_|PYTORCH_|XLA_|MKL_|PYTHON)", name)
    }
    assert ours <= set(man_pages.ENVIRONMENT), "add it to ENVIRONMENT in scripts/man_pages.py"


@needs("mandoc")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_finds_nothing_to_warn_of(page: Path) -> None:
    done = subprocess.run(["mandoc", "-Tlint", "-W", "warning", page], capture_output=True, text=True)
    # pages carry no date on purpose: they change only with the program
    assert [line for line in (done.stdout + done.stderr).splitlines() if "missing date" not in line] == []


@needs("groff")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_groff_finds_nothing_to_warn_of(page: Path) -> None:
    done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tascii", page], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs("groff")
def test_a_page_shows_dashes_that_can_be_copied() -> None:
    done = subprocess.run(
        ["groff", "-man", "-P-cbou", "-Tutf8", ROOT / "man" / "vedit-gif-crop.1"],
        capture_output=True,
        text=True,
    )
    assert "vedit gif crop --left 10% --right 10% in.gif -o out.gif" in done.stdout


@needs("man")
def test_man_finds_the_page() -> None:
    done = subprocess.run(
        ["man", "-l", ROOT / "man" / "vedit-gif.1"],
        capture_output=True,
        text=True,
        env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "80"},
    )
    assert done.returncode == 0 and "vedit-gif - " in " ".join(done.stdout.split())


@each(NODES)
def test_completions_name_every_subcommand_and_option(node) -> None:
    bash, zsh, fish = (
        (ROOT / "completions" / name).read_text(encoding="utf-8")
        for name in ("vedit.bash", "_vedit", "vedit.fish")
    )
    names = [name for flag in node.flags for name in flag.names]
    assert f"'{node.typed}') words='{' '.join(names)}' ;;" in bash
    function = zsh.partition(f"\n_{'_'.join(node.words).replace('-', '_')}() {{")[2].partition("\n}")[0]
    lines = [line for line in fish.splitlines() if f"\\'{node.typed}\\''" in line]
    for name in names:
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", function), name
        assert any(
            re.search(
                rf" -{'l' if name.startswith('--') else 's'} {re.escape(name.lstrip('-'))}(?![\w-])", line
            )
            for line in lines
        ), name
    for child in node.children:
        assert f"'{child.words[-1]}:" in function
        assert any(f" -a {child.words[-1]} " in line for line in lines)


# A command line cut at the cursor, and what completes it: some words that must be offered.
CASES = [
    ("vedit ", {"gif", "probe", "presets"}),
    ("vedit gif cr", {"crop"}),
    ("vedit gif crop --pal", {"--palette"}),
    ("vedit gif crop --palette ", {"auto", "keep", "global", "frame"}),
    ("vedit gif crop -q --dither b", {"bayer"}),
    ("vedit gif chain --preset web", {"web-small"}),
    ("vedit gif chain --preset ow", {"own"}),
    ("vedit presets show pix", {"pixel-art"}),
    ("vedit gif crop a", {"a clip.gif"}),
    ("vedit gif crop -o a", {"a clip.gif"}),
    ("vedit gif crop -O fol", {"folder"}),
    ("vedit presets s", {"save", "show"}),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a clip and a sub-folder, an own preset, and a `vedit` and `python` that must not be
    started.
    """
    (tmp_path / "a clip.gif").touch()
    (tmp_path / "folder").mkdir()
    own = tmp_path / "config" / "presets"
    own.mkdir(parents=True)
    (own / "own.toml").touch()
    monkeypatch.setenv("VEDIT_CONFIG_DIR", str(tmp_path / "config"))
    fake = tmp_path / ".bin"
    fake.mkdir()
    for name in ("vedit", "python", "python3"):
        (fake / name).write_text(f"#!/bin/sh\necho started >> {tmp_path}/.started\n")
        (fake / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / ".started").exists()


@needs("bash")
@pytest.mark.parametrize(("line", "offered"), CASES, ids=[line for line, _ in CASES])
def test_bash_completes(place: Path, line: str, offered: set[str]) -> None:
    if "a clip.gif" in offered:
        offered = {"<files>"}  # left to readline, which the test below drives
    program = """
        source "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _vedit
        [ ${#COMPREPLY[@]} -gt 0 ] && printf '%s\\n' "${COMPREPLY[@]}" || echo '<files>'
    """
    words = [*line.split(), ""] if line.endswith(" ") else line.split()
    done = subprocess.run(
        ["bash", "-uc", program, "bash", ROOT / "completions" / "vedit.bash", *words],
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert offered <= set(done.stdout.splitlines())


@needs("fish")
@pytest.mark.parametrize(("line", "offered"), CASES, ids=[line for line, _ in CASES])
def test_fish_completes(place: Path, line: str, offered: set[str]) -> None:
    program = f"source {ROOT}/completions/vedit.fish; complete -C '{line}'"
    done = subprocess.run(["fish", "-N", "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    assert offered <= {
        row.partition("\t")[0].rstrip("/").replace("\\", "") for row in done.stdout.splitlines()
    }


# What a tab makes of a line in an interactive shell: the unique completion, typed out.
TYPED = [
    ("vedit gif cro", "gif crop"),
    ("vedit gif crop --pal\tglo", "gif crop --palette global"),
    ("vedit gif crop --output a", "gif crop --output a clip.gif"),
    ("vedit gif crop --left 10% a", "gif crop --left 10% a clip.gif"),
    ("vedit gif chain --preset ow", "gif chain --preset own"),
    ("vedit presets show pix", "presets show pixel-art"),
]
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], f"source {ROOT}/completions/vedit.bash"),
    "zsh": (
        ["-f", "-i"],
        (
            f"fpath=({ROOT}/completions $fpath); autoload -U compinit; compinit -u -D; unsetopt"
            " zle_bracketed_paste"
        ),
    ),
}


@pytest.mark.parametrize("shell", [pytest.param(name, marks=needs(name)) for name in SHELLS])
def test_a_tab_in_an_interactive_shell_completes(place: Path, shell: str) -> None:
    arguments, setup = SHELLS[shell]
    show = "vedit() { printf 'GOT<%s>\\n' \"$*\"; }"
    with Terminal([shell, *arguments]) as terminal:
        terminal.type(f"PS1=; {setup}; {show}; vedit ready\n")
        terminal.answer(r"GOT<(ready)>")
        for line, expected in TYPED:
            for pause in (0.2, 1, 4):  # a shell may take a line before it has completed it, on a busy machine
                terminal.type(f"{line}\t")
                time.sleep(pause)
                terminal.type("\n")
                got = re.sub(r"(--\w+)=", r"\1 ", terminal.answer(r"GOT<((?!%s)[^<>]*)>"))
                if got == expected:
                    break
            assert got == expected


class Terminal:
    """A shell in a pseudo-terminal."""

    def __init__(self, command: list[str]) -> None:
        self.child, self.descriptor = pty.fork()
        if self.child == 0:
            os.environ.update(TERM="dumb", INPUTRC="/dev/null")
            os.execvp(command[0], command)
        self.seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        os.kill(self.child, 9)
        os.waitpid(self.child, 0)
        os.close(self.descriptor)

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def answer(self, pattern: str, seconds: float = 20) -> str:
        """Read on until the pattern is there, and return its group."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.descriptor], [], [], max(0, end - time.monotonic()))
            assert ready, f"{pattern!r} did not come; the terminal shows: {self.seen!r}"
            self.seen += os.read(self.descriptor, 4096).decode(errors="replace")
        self.seen = self.seen[found.end() :]
        return found[1]


@needs("shellcheck")
def test_bash_completion_passes_shellcheck() -> None:
    done = subprocess.run(["shellcheck", ROOT / "completions" / "vedit.bash"], capture_output=True, text=True)
    assert done.stdout == ""


def test_completions_know_every_shipped_preset() -> None:
    for file in (ROOT / "completions").iterdir():
        text = file.read_text(encoding="utf-8")
        assert all(
            name in text
            for name, path in presets.paths().items()
            if path.startswith(presets.shipped_folder())
        )


@pytest.mark.parametrize(
    "link",
    sorted(
        set(re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", (ROOT / "README.md").read_text(encoding="utf-8")))
    ),
)
def test_what_the_readme_links_to_exists(link: tuple[str, str]) -> None:
    target = link[0] or link[1]
    assert "://" in target or (ROOT / target).exists()


def test_the_pages_and_help_name_the_same_options() -> None:
    """Every `vedit ...` line of a code block parses: its command and options exist."""
    text = "".join(
        (ROOT / page).read_text(encoding="utf-8")
        for page in ("README.md", "docs/tour.md", "docs/reference.md")
    )
    lines = [
        line.strip()
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.S)
        for line in block.splitlines()
    ]
    commands = [
        part.strip()
        for line in lines
        for part in re.split(r"\||&&|;(?=\s*vedit)", line)
        if part.strip().startswith("vedit ")
    ]
    assert commands
    for command in commands:
        words = command.split()
        node = next(
            node
            for node in sorted(NODES, key=lambda node: -len(node.words))
            if tuple(words[: len(node.words)]) == node.words
        )
        assert not node.is_group or "-" in words[-1], command
        known = {name for flag in node.flags for name in flag.names}
        assert {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)} <= known, command


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 140


def test_the_commands_of_the_tour_and_the_readme_work_in_order(tmp_path: Path) -> None:
    pictures = script("pictures")
    pictures.run_all(tmp_path)
    assert pictures.pictured()
    assert all(
        (tmp_path / name).is_file() and (ROOT / "docs" / "img" / name).is_file()
        for name in pictures.pictured()
    )


SHORTENED = {
    "--synth 2000": "--synth 8",
    "train --preset moving-mnist": "train --preset moving-mnist --steps 2",
    "--model run": "--model run --steps 2",
}


@pytest.mark.slow
@pytest.mark.parametrize("page", ["edit.md", "generate.md"])
def test_the_commands_of_a_page_work_in_order_in_a_fresh_folder(page: str, tmp_path: Path) -> None:
    """Those of its blocks, but shorter where they would take hours."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(vedit .*?)^```", text, re.S | re.M)
    assert blocks
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VEDIT_CONFIG_DIR": str(tmp_path / ".config"),
    }
    for command in "".join(blocks).replace("\\\n", " ").splitlines():
        for long, short in SHORTENED.items():
            command = command.replace(long, short)
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stderr}"


def test_the_demo_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo.py", tmp_path / "demo"],
        capture_output=True,
        text=True,
        env={**os.environ, "VEDIT_CONFIG_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The results are in" in done.stdout and (tmp_path / "demo" / "chained.gif").stat().st_size


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file that an example of help reads."""
    from PIL import Image, ImageFont

    folder = tmp_path_factory.mktemp("inputs")
    script("demo").draw(folder / "in.gif", frames=4)
    Image.new("RGBA", (20, 20), (255, 0, 0, 128)).save(folder / "logo.png")
    (folder / "DejaVuSans.ttf").write_bytes(ImageFont.load_default(10).font_bytes)
    (folder / "steps.txt").write_text("crop:left=10%\nrotate:90\n", encoding="utf-8")
    (folder / "frames").mkdir()
    with Image.open(folder / "in.gif") as clip:
        for place in range(clip.n_frames):
            clip.seek(place)
            clip.convert("RGB").save(folder / "frames" / f"{place:05d}.png")
            clip.convert("RGB").save(folder / f"img-{place:03d}.png")
    for name in ("a.png", "b.png", "c.png", "photo.jpg"):
        Image.new("RGB", (20, 20), (0, 90, 200)).save(folder / name)
    for name in ("a.gif", "b.gif", "c.gif"):
        shutil.copy(folder / "in.gif", folder / name)
    assert execute(["convert", str(folder / "in.gif"), "-o", str(folder / "in.mp4")]) == 0
    return folder


@each(
    [
        node
        for node in LEAVES
        if node.words[1] in ("gif", "probe", "presets", "env", "convert")
        and node.words[-1] != "serve"  # which waits for a person
    ]
)
def test_every_example_of_help_works(
    node, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDIT_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for place, (line, _) in enumerate(node.examples):
        folder = tmp_path / str(place)
        shutil.copytree(inputs, folder)
        if "frames/%" in line:  # writes what another example reads
            shutil.rmtree(folder / "frames")
        if "--start" in line:  # reads from the third second on, and the drawn clip ends before
            line = line.replace("--start 2", "--start 0.1")
        done = subprocess.run(
            line, shell=True, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, f"$ {line}\n{done.stderr}"


def test_help_fits_into_a_terminal_and_starts_with_its_usage() -> None:
    for node in NODES:
        text = node.command.get_help(
            click.Context(node.command, info_name=node.typed, **main.context_settings)
        )
        assert text.startswith(f"Usage: {node.typed}")


REFERENCE = re.compile(r"\b(?:docs/)?([a-z-]+)\.md\b`?(?:,? (?:section )?(\d+(?:\.\d+)*))?")
SOURCES = [
    path
    for folder in ("vedit", "tests", "scripts", "benchmarks", "presets")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".toml") and "data" not in path.relative_to(ROOT).parts[1:2]
]


def headings(page: str) -> set[str]:
    """The numbers of a page's sections: "5.4" of "### 5.4 Temporal axes"."""
    return set(
        re.findall(r"(?m)^#+ (\d+(?:\.\d+)*)\b", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    )


def test_every_page_and_section_that_the_code_cites_exists() -> None:
    cited = 0
    for path in SOURCES:
        for page, number in REFERENCE.findall(path.read_text(encoding="utf-8")):
            if not (ROOT / "docs" / f"{page}.md").exists():
                continue  # a file of a user's, in an example
            cited += 1
            assert not number or number in headings(page), f"{path}: docs/{page}.md has no section {number}"
    assert cited > 20


@pytest.mark.parametrize(
    "page", ["architecture", "embedded-model", "metrics", "generation", "newer", "style", "ui"]
)
def test_no_page_outside_the_repository_is_cited(page: str) -> None:
    assert [
        str(path)
        for path in SOURCES
        if path.name != "test_docs.py" and re.search(rf"\b{page}\.md\b", path.read_text(encoding="utf-8"))
    ] == []


def test_documents_that_the_code_cites_by_number_are_named() -> None:
    told = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    cited = {
        number for path in SOURCES for number in re.findall(r"seed (00\d)", path.read_text(encoding="utf-8"))
    }
    assert cited and all(f"| seed {number} |" in told for number in cited)


def test_links_between_pages_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert link.startswith("http") or (path.parent / link).exists(), f"{path.name}: {link}"
