#!/usr/bin/env python3
"""Hash a fixed set of outputs, so that two commits can be compared: equal hashes, equal bits.

    python benchmarks/same_outputs.py before.json          in a checkout of the one
    python benchmarks/same_outputs.py after.json           in a checkout of the other
    python benchmarks/same_outputs.py --compare before.json after.json

The set: a drawn scene; GIF commands on all four paths; edits with every method on the embedded model,
with masks, attention and windows; an inversion; a generated clip; a few training steps; a score.
One thread; hashes are of decoded pixels or tensors where a file also holds names and times.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE, TARGET = (
    "a red circle moving left on a grey background",
    "a blue circle moving left on a grey background",
)
EDIT = ["edit", "scene.gif", "--source", SOURCE, "--prompt", TARGET, "-y"]
COMMANDS: dict[str, list[str]] = {
    "scene.gif": ["scene", SOURCE, "-o", "scene.gif"],
    "copy.gif": ["gif", "speed", "2", "scene.gif", "-o", "copy.gif"],
    "index.gif": ["gif", "chain", "crop:left=10%; rotate:90", "scene.gif", "-o", "index.gif"],
    "recolour.gif": ["gif", "watermark", "--text", "ab", "--font-size", "12", "scene.gif", "-o",
        "recolour.gif"],
    "full.gif": ["gif", "resize", "--scale", "150%", "scene.gif", "-o", "full.gif"],
    "film.nut": ["convert", "scene.gif", "-o", "film.nut"],
    "ddim.nut": [*EDIT, "-o", "ddim.nut", "--method", "ddim", "--preset", "ddim-shapes", "--steps", "4"],
    "sdedit.nut": [*EDIT, "-o", "sdedit.nut", "--method", "sdedit", "--preset", "sdedit-shapes", "--steps",
        "5"],
    "p2p.nut": [*EDIT, "-o", "p2p.nut", "--method", "p2p", "--preset", "p2p-shapes", "--steps", "5",
        "--set", 'blend_words=["circle"]', "--save-masks", "masks.gif"],
    "masks.gif": [],
    "windows.nut": [*EDIT, "-o", "windows.nut", "--method", "p2p", "--preset", "p2p-shapes", "--steps", "4",
        "--window", "3", "--frames-per-call", "2", "--mask", "box:10%,10%,60%,60%"],
    "pnp.nut": [*EDIT, "-o", "pnp.nut", "--method", "pnp", "--preset", "pnp-shapes", "--steps", "5",
        "--save-attention", "heat"],
    "dds.nut": [*EDIT, "-o", "dds.nut", "--method", "dds", "--preset", "dds-shapes", "--set",
        "iterations=14"],
    "glp.nut": [*EDIT, "-o", "glp.nut", "--method", "glp", "--preset", "glp-shapes", "--set",
        "iterations=14"],
    "combine.nut": [*EDIT, "-o", "combine.nut", "--method", "combine", "--preset", "combine-shapes",
        "--steps", "4", "--set", "glp={iterations = 14}", "--set", "start_index=1"],
    "inversion": ["invert", "scene.gif", "-o", "i.inv.safetensors", "--prompt", SOURCE, "--steps", "5"],
    "generated.nut": ["generate", "a yellow star moving left on a navy background", "-o", "generated.nut",
        "--steps", "6"],
    "score": ["score", "p2p.nut", "--source", "scene.gif", "--source-prompt", SOURCE, "--prompt", TARGET,
        "--json", "score.json"],
}  # fmt: skip


def run(folder: Path, words: list[str]) -> str:
    """Run a command; what it said when it failed, else nothing."""
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "VEDIT_CACHE_DIR": str(folder / "cache"),
        "VEDIT_CONFIG_DIR": str(folder),
    }
    done = subprocess.run(
        [sys.executable, "-m", "vedit", *words], cwd=folder, env=env, capture_output=True, text=True
    )
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def hashed(folder: Path, name: str) -> str:
    """The hash of an output: pixels and times of a clip, tensors of an inversion, numbers of a report."""
    if name == "inversion":
        from safetensors import safe_open

        with safe_open(folder / "i.inv.safetensors", "np") as file:
            return digest(
                b"".join(key.encode() + file.get_tensor(key).tobytes() for key in sorted(file.keys()))
            )
    if name == "score":
        report = json.loads((folder / "score.json").read_text())
        numbers = {
            key: found["value"]
            for video in report["videos"]
            for key, found in video["values"].items()
            if not key.startswith("method_")  # seconds and memory
        }
        if not numbers:
            raise SystemExit("score.json holds no numbers to compare.")
        return digest(json.dumps(numbers, sort_keys=True).encode())
    from vedit.media.open import open_clip

    clip, frames, kind = open_clip(str(folder / name))
    if kind == "packed":
        return (
            digest((folder / name).read_bytes().split(b"\x21\xfe")[0])
            if name == "scene.gif"
            else digest((folder / name).read_bytes())
        )
    parts = [f"{clip.width} {clip.height} {clip.timebase}".encode()]
    for frame in frames:
        parts += [str(frame.duration).encode(), frame.pixels.tobytes()]
    return digest(b"".join(parts))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output")
    parser.add_argument("other", nargs="?")
    parser.add_argument("--compare", action="store_true")
    given = parser.parse_args(arguments)
    if given.compare:
        one, two = (json.loads(Path(path).read_text()) for path in (given.output, given.other))
        differing = [name for name in one if one[name] != two.get(name)]
        print(
            f"{len(one) - len(differing)} of {len(one)} equal"
            + "".join(f"\n{name}: {one[name]} {two.get(name)}" for name in differing)
        )
        return 1 if differing else 0
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for output, words in COMMANDS.items():
            failed = run(folder, words) if words else ""
            found[output] = (
                failed or hashed(folder, output) if words or (folder / output).exists() else "missing"
            )
            print(output, found[output], flush=True)
    Path(given.output).write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
