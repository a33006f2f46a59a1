"""What sharing, keeping and bfloat16 save in `vedit score`: CPU time on one thread, variants interleaved.

    python benchmarks/score.py --weights FOLDER            # seeded weights at real size are written there
    when absent python benchmarks/score.py --weights FOLDER --only bf16 --frames 2 --rounds 3

Weights are random: they cost what trained ones cost. Loading is left out of every figure but "cache", whose
cold side and warm side are both timed from nothing, as a second call of the command would be.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from vedit import metrics
from vedit.metrics.base import Clip
from vedit.metrics.towers import (
    FILES,
    FeatureStore,
    Towers,
    WeightFinder,
    aesthetic,
    clip,
    dino,
    dover,
    gmflow,
    viclip,
)
from vedit.metrics.towers.tower import Layout, empty, same_names
from vedit.metrics.types import Options, Video

GROUP = ("aesthetic_score", "clip_consistency", "clip_text_alignment")
EIGHT = (*GROUP, "pick_score", "viclip_text_alignment", "dino_consistency", "dover_score", "motion_alignment")
GOALS = {"group": 2.7, "motion": 1.8, "cache": 20.0, "bf16 clip_l": 1.9, "bf16 dinov2": 1.9}
OPTIONS = Options(device="cpu")
PROMPT = "a silver jeep drives down a winding road"


def write_seeded(folder: Path, tower: str) -> None:
    """A file of random weights in the published layout, unless it is there."""
    file = FILES[tower][0]
    path = folder / file.repo / file.path
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [layout(name, shape) for name, shape, layout in shapes_of(tower)]
    shapes = {name: part.shape for part in parts for name in part.names}
    generator = torch.Generator().manual_seed(0)
    if path.suffix == ".safetensors":
        stream_safetensors(path, shapes, generator)
    else:
        torch.save({name: random_weight(name, shape, generator) for name, shape in shapes.items()}, path)


def stream_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], generator: torch.Generator) -> None:
    """Tensor by tensor: the largest file would not fit in memory twice."""
    ends = np.cumsum([4 * int(np.prod(shape)) for shape in shapes.values()]).tolist()
    header = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": span}
        for (name, shape), span in zip(shapes.items(), pairwise([0, *ends]))
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            stream.write(random_weight(name, shape, generator).numpy().tobytes())


def random_weight(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Scaled by the inputs of a row, so that signals neither vanish nor explode; norms near one."""
    values = torch.randn(shape, generator=generator) * (
        0.02 if len(shape) < 2 else int(np.prod(shape[1:])) ** -0.5
    )
    return 1 + values if "norm" in name and name.endswith("weight") else values


def shapes_of(tower: str) -> list[tuple[str, tuple[int, ...], Layout]]:
    """A tower's own keys and shapes, with the layout of its first published file."""
    from timm.models.vision_transformer import VisionTransformer

    head = {
        f"layers.{index}.{kind}": widths[::-1] if kind == "weight" else widths[1:]
        for index, widths in aesthetic.WIDTHS.items()
        for kind in ("weight", "bias")
    }
    if tower == "aesthetic":
        return [(name, shape, same_names) for name, shape in head.items()]
    makers: dict[str, tuple[Callable[[], torch.nn.Module], Layout]] = {
        "clip_l": (lambda: clip.ClipNet(clip.CONFIGS["clip_l"]), clip.hf_layout),
        "clip_h": (lambda: clip.ClipNet(clip.CONFIGS["clip_h"]), clip.hf_layout),
        "dinov2": (
            lambda: VisionTransformer(
                img_size=518, patch_size=14, num_classes=0, init_values=1e-5, weight_init="skip"
            ),
            dino.dinov2_layout,
        ),
        "viclip": (lambda: viclip.ViclipNet(viclip.CONFIG), viclip.layout),
        "dover": (lambda: dover.DoverNet(dover.CONFIG), dover.layout),
        "gmflow": (gmflow.GmflowNet, same_names),
    }
    make, layout = makers[tower]
    return [(name, tuple(value.shape), layout) for name, value in empty(make).state_dict().items()]


def drifting(frames: int, side: int, seed: int) -> Video:
    """A smooth random picture that moves two pixels a frame."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (3, side // 32 + 2, side // 32 + 2))
    large = (
        torch.nn.functional.interpolate(torch.tensor(coarse)[None], size=side + 2 * frames, mode="bicubic")[0]
        .clamp(0, 255)
        .numpy()
        .astype(np.uint8)
    )
    return Video(np.stack([large[:, :side, 2 * t : 2 * t + side].transpose(1, 2, 0) for t in range(frames)]))


def cpu(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def compare(rounds: int, slow: Callable[[], object], fast: Callable[[], object]) -> tuple[float, float]:
    """The least CPU seconds of both, taken in turn."""
    pairs = [(cpu(slow), cpu(fast)) for _ in range(rounds)]
    return min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)


def score_all(names: tuple[str, ...], clip_: Clip, towers: Towers) -> None:
    for name in names:
        metrics.load(name).score(clip_, towers, OPTIONS)


def without_features(towers: Towers) -> None:
    """Forget what was computed; the networks stay."""
    for tower in towers._towers.values():
        tower.store = FeatureStore()


def group(args: argparse.Namespace, finder: WeightFinder) -> tuple[float, float]:
    """Three metrics on CLIP-L: an image pass for each, as separate tools make, against one for all."""
    towers, one = Towers(OPTIONS, finder), Clip("c", drifting(args.frames, args.side, 0), prompt=PROMPT)
    score_all(GROUP, one, towers)

    def apart() -> None:
        for name in GROUP:
            without_features(towers)
            metrics.load(name).score(one, towers, OPTIONS)

    def together() -> None:
        store = FeatureStore()
        for tower in towers._towers.values():
            tower.store = store
        score_all(GROUP, one, towers)

    return compare(args.rounds, apart, together)


def motion(args: argparse.Namespace, finder: WeightFinder) -> tuple[float, float]:
    """`motion_alignment` of a first and of a second edit of one source."""
    towers = Towers(OPTIONS, finder)
    source, first, second = (drifting(args.frames, args.side, seed) for seed in range(3))
    metrics.load("motion_alignment").score(Clip("w", first, source=source), towers, OPTIONS)
    found = []
    for _ in range(args.rounds):
        without_features(towers)
        found.append(
            [
                cpu(
                    lambda edit=edit: score_all(("motion_alignment",), Clip("c", edit, source=source), towers)
                )
                for edit in (first, second)
            ]
        )
    return min(times[0] for times in found), min(times[1] for times in found)


def cache(args: argparse.Namespace, finder: WeightFinder) -> tuple[float, float]:
    """A second call on the same clip with features kept on disk; both calls load what they need."""
    names = (*GROUP, "dino_consistency", "motion_alignment")
    pixels = [drifting(args.frames, args.side, seed).frames_TYX3 for seed in range(2)]
    for tower in ("clip_l", "dinov2", "gmflow", "aesthetic"):
        finder.sha256(finder.find(tower).path)
    found = []
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:

            def call(folder: str = folder) -> None:
                clip_ = Clip("c", Video(pixels[0]), source=Video(pixels[1]), prompt=PROMPT)
                score_all(names, clip_, Towers(OPTIONS, finder, FeatureStore(Path(folder))))

            found.append((cpu(call), cpu(call)))
    return min(pair[0] for pair in found), min(pair[1] for pair in found)


def bf16(args: argparse.Namespace, finder: WeightFinder, name: str) -> tuple[float, float]:
    """A tower's image pass in float32 and in bfloat16."""
    video = drifting(args.frames, args.side, 0)
    full, half = (Towers(replace(OPTIONS, dtype=dtype), finder).get(name) for dtype in ("fp32", "bf16"))

    def images(tower: object) -> object:
        tower.store = FeatureStore()  # type: ignore[attr-defined]
        return tower.images(video) if name == "clip_l" else tower.cropped(video)  # type: ignore[attr-defined]

    images(full), images(half)
    return compare(args.rounds, lambda: images(full), lambda: images(half))


def peak(args: argparse.Namespace, finder: WeightFinder, name: str) -> None:
    """Print the peak resident set of this process after scoring one metric: to be called in a process of its
    own.
    """
    clip_ = Clip(
        "c", drifting(args.frames, args.side, 0), source=drifting(args.frames, args.side, 1), prompt=PROMPT
    )
    score_all((name,), clip_, Towers(OPTIONS, finder))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def peaks(args: argparse.Namespace, finder: WeightFinder) -> None:
    for name in args.peaks.split(","):
        tower = metrics.load(name).TOWERS[0]
        write_seeded(args.weights, tower)
        command = [
            sys.executable,
            __file__,
            "--weights",
            str(args.weights),
            "--frames",
            str(args.frames),
            "--side",
            str(args.side),
            "--peak-of",
            name,
        ]
        found = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        weights = finder.find(tower).path.stat().st_size / 2**20
        print(
            f"{name:24} peak {found:7.0f} MiB, weights {weights:6.0f} MiB,"
            f" {'met' if found <= weights + 1024 else 'MISSED'} (weights + 1024)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        help="folder of weights; seeded ones are written where they are absent",
    )
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--side", type=int, default=512, help="pixels of each side of a frame")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--peaks", default="", help="metrics whose peak memory to measure instead")
    parser.add_argument("--peak-of", default="", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    finder = WeightFinder(args.weights, args.weights / "cache", offline=True)
    if args.peak_of:
        return peak(args, finder, args.peak_of)
    if args.peaks:
        return peaks(args, finder)
    for tower in ("clip_l", "aesthetic", "dinov2", "gmflow"):
        write_seeded(args.weights, tower)
    cases: dict[str, Callable[[], tuple[float, float]]] = {
        "group": lambda: group(args, finder),
        "motion": lambda: motion(args, finder),
        "cache": lambda: cache(args, finder),
        "bf16 clip_l": lambda: bf16(args, finder, "clip_l"),
        "bf16 dinov2": lambda: bf16(args, finder, "dinov2"),
    }
    results = {}
    for name, case in cases.items():
        if args.only in name:
            slow, fast = case()
            results[name] = {
                "slow_s": round(slow, 3),
                "fast_s": round(fast, 3),
                "ratio": round(slow / fast, 2),
                "goal": GOALS[name],
            }
            verdict = "met" if slow / fast >= GOALS[name] else "MISSED"
            print(
                f"{name:12} {slow:8.2f} s {fast:8.3f} s  {slow / fast:7.2f}x  goal {GOALS[name]}x {verdict}",
                file=sys.stderr if args.json else sys.stdout,
                flush=True,
            )
    if args.json:
        print(
            json.dumps(
                {
                    "frames": args.frames,
                    "side": args.side,
                    "rounds": args.rounds,
                    "load": os.getloadavg()[0],
                    "cases": results,
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
