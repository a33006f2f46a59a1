#!/usr/bin/env python3
"""Write man pages, completions and the tables of docs/reference.md from the command line itself.

python scripts/generate_docs.py            write them
python scripts/generate_docs.py --check    name the files that differ, and exit 1
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import man_pages
from tree import ROOT, Node, build

import completions

# Why each dependency is there: the table of docs/reference.md. One without a reason is an error here.
REASONS = {
    "click": "the command line: commands that load when they are called, options from one table per stage",
    "pillow": "GIF's LZW codec in C, resampling, median cut, the font of watermarks",
    "numpy": "pixels as arrays, where a stage computes on them",
    "imageio-ffmpeg": "an ffmpeg binary for video in and out, on every platform, without a system package",
    "tqdm": "the progress bar on a terminal",
    "pydantic": "presets of editing methods: ranges, and every wrong key in one report",
    "tomlkit": "presets are saved with their comments",
    "huggingface_hub": "models by name and revision, resumed downloads, the cache",
    "pyyaml": "lists of benchmarks; huggingface_hub brings it anyway",
    "starlette": "the page of `vedit gif serve`, which alone loads it: ranges of files, event streams",
    "uvicorn": "the HTTP server under it",
    "anywidget": "the editor in a cell of a notebook",
    "playwright": "tests of the page in a browser",
    "torch": "tensors, on a CPU, CUDA or Apple GPU",
    "torchvision": "blocks of the backbones that metrics use; open_clip needs it",
    "diffusers": "the UNet, autoencoder and schedulers of Stable Diffusion checkpoints",
    "transformers": "their text encoders and tokenizers",
    "accelerate": "offloading of weights, training on several devices",
    "peft": "LoRA adapters",
    "safetensors": "weights that are read without running code",
    "open_clip_torch": "CLIP towers for scores, and the training of the embedded scorer",
    "timm": "vision backbones of the quality metrics",
    "num2words": "numbers in words, which the processor of SmolVLM2 wants",
    "lpips": "the perceptual distance",
    "ray": "batches over several machines",
    "pytest": "the tests",
    "pytest-xdist": "the tests on two cores",
    "hypothesis": "tests of properties over many drawn inputs",
    "hatchling": "the build backend; tests look into the wheel",
    "mypy": "types, strict where data crosses modules",
    "ruff": "lint and format",
}


def generated() -> dict[Path, str]:
    """Every generated file with its text."""
    from vedit import __version__, presets

    root = build()
    shipped = [
        name for name, path in presets.paths().items() if Path(path).parent == Path(presets.shipped_folder())
    ]
    files = {ROOT / "man" / f"{node.page}.1": man_pages.page(node, root, __version__) for node in root.all()}
    files |= {
        ROOT / "completions" / "vedit.bash": completions.bash(root, shipped),
        ROOT / "completions" / "_vedit": completions.zsh(root, shipped),
        ROOT / "completions" / "vedit.fish": completions.fish(root, shipped),
    }
    reference = ROOT / "docs" / "reference.md"
    text = reference.read_text(encoding="utf-8")
    tables = {
        "commands": command_table(root),
        "methods": method_table(shipped),
        "metrics": metric_table(),
        "dependencies": dependency_table(),
        "exit codes": exit_table(),
    }
    for name, table in tables.items():
        text = replaced(text, name, table)
    return files | {reference: text}


def command_table(root: Node) -> str:
    """Every command that does something, with its summary."""
    rows = [(f"`{node.typed}`", node.summary) for node in root.all() if not node.is_group]
    return _table(("command", "what it does"), rows)


def method_table(shipped: list[str]) -> str:
    """Every editing method with its presets."""
    from vedit import methods, presets

    def of(name: str) -> str:
        with open(presets.paths()[name], "rb") as file:
            return str(tomllib.load(file).get("method"))

    made = {preset: of(preset) for preset in shipped}
    rows = []
    for name in methods.names():
        summary = methods.registry.summary(name).removesuffix(".")
        rows.append(
            (
                f"`{name}`",
                summary,
                ", ".join(f"`{preset}`" for preset, method in sorted(made.items()) if method == name),
            )
        )
    return _table(("method", "what it does", "presets"), rows)


def metric_table() -> str:
    """Every number that `vedit score` gives."""
    from vedit import metrics

    rows = []
    for name in metrics.names():
        for value in metrics.load(name).VALUES:
            better = "higher" if value.higher_is_better else "lower"
            rows.append(
                (f"`{value.key}`", value.explanation.removesuffix("."), value.unit, better, value.usual)
            )
    return _table(("number", "what it says", "unit", "better", "usual"), sorted(rows))


def dependency_table() -> str:
    """Dependencies and extras of pyproject.toml, with the reason for each."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    groups = {"base": project["dependencies"], **project["optional-dependencies"]}
    rows = []
    for group, requirements in groups.items():
        for requirement in requirements:
            name = requirement.partition("[")[0].strip()
            bare = name.split(">")[0].split("<")[0].split("=")[0].split(";")[0].strip()
            if bare != "vedit":  # an extra made of other extras
                rows.append((group, f"`{requirement}`", REASONS[bare]))
    return _table(("install", "dependency", "what it is for"), rows)


def exit_table() -> str:
    return _table(("exit code", "meaning"), [(str(code), text) for code, text in man_pages.exit_table()])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def replaced(text: str, name: str, table: str) -> str:
    """The text with what stands between the two markers of a name replaced."""
    begin, end = (
        f"<!-- {name}: begin, written by scripts/generate_docs.py -->\n\n",
        f"\n\n<!-- {name}: end -->",
    )
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    assert found and closed, f"docs/reference.md has no markers for {name}"
    return f"{before}{begin}{table}{end}{after}"


def stale(files: dict[Path, str]) -> list[Path]:
    """Files that differ from what they should be, and pages of commands that are gone."""
    differing = [
        path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    return differing + [path for path in sorted((ROOT / "man").glob("*.1")) if path not in files]


def main(arguments: list[str]) -> int:
    files = generated()
    wrong = stale(files)
    if "--check" in arguments:
        for path in wrong:
            print(f"stale: {path.relative_to(ROOT)}", file=sys.stderr)
        if wrong:
            print("Run: python scripts/generate_docs.py", file=sys.stderr)
        return 1 if wrong else 0
    for path in wrong:
        if path in files:
            path.parent.mkdir(exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        else:
            path.unlink()
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
