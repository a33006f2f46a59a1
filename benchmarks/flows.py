"""What an edit by a model of clips costs beside the bare calls of its network, in seconds of the CPU.

    OMP_NUM_THREADS=1 python benchmarks/flows.py [--rounds 5] [METHOD ...]

A random transformer of Wan's layout, as wide as the embedded video model's, edits 9 frames of 64x64. Each
call of its network is kept and made again alone with diffusers' own attention; edit and calls take turns, and
the ratio is of the least of each. Seconds of the CPU, not of the clock: other work on the machine counts
less.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from vedit import methods
from vedit.methods.base import Request, Window
from vedit.methods.params import read_params
from vedit.models.flow import Flow
from vedit.models.prompt import Prompt
from vedit.models.wan.network import WanNetwork

MOST = 1.15
FRAMES, CHANNELS, SIDE, TOKENS, WIDTH = 5, 4, 16, 32, 64
SETTINGS: dict[str, dict[str, Any]] = {
    "flowedit": {"steps": 10, "n_max": 7},
    "unedit": {"steps": 10},
    "sdedit": {"steps": 10, "strength": 0.7},
    "kvlock": {"steps": 10, "strength": 0.7},
    "p2p": {"steps": 10},
}


class RandomModel(WanNetwork):
    """A network and random text, without a codec; its calls are kept while `calls` is a list."""

    def __init__(self) -> None:
        from diffusers import WanTransformer3DModel

        torch.manual_seed(0)
        transformer = WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=6,
            attention_head_dim=32,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            text_dim=WIDTH,
            freq_dim=64,
            ffn_dim=768,
            num_layers=4,
            rope_max_seq_len=32,
        )
        super().__init__(transformer.eval().requires_grad_(False), Flow(3.0), text_tokens=TOKENS)
        self.device, self.dtype, self.name = torch.device("cpu"), torch.float32, "random"
        self.calls: list[tuple[Any, ...]] | None = None

    def words(self, prompt: str) -> Prompt:
        words = tuple(prompt.split())
        places = tuple(range(len(words)))
        return Prompt(prompt, words, places, tuple((place,) for place in places), TOKENS)

    def encode_prompt(self, prompt: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(len(prompt))
        return torch.randn(1, TOKENS, WIDTH, generator=generator)

    def predict(self, latents_BFCYX: torch.Tensor, timestep: float, text_BLE: torch.Tensor) -> torch.Tensor:
        if self.calls is not None:
            self.calls.append((latents_BFCYX.clone(), timestep, text_BLE.clone()))
        return super().predict(latents_BFCYX, timestep, text_BLE)


@torch.inference_mode()
def edit(model: RandomModel, method: str) -> None:
    module = methods.load(method)
    params = read_params(module.Params, SETTINGS[method], method)
    clean = torch.randn(FRAMES, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(FRAMES, 1, SIDE, SIDE)
    mask[..., :8] = 1
    request = Request(
        "a red cat",
        "a blue cat",
        tuple(model.schedule.timesteps(params.steps)),
        (CHANNELS, SIDE, SIDE),
        FRAMES,
        has_mask=method == "kvlock",
    )
    window = Window(clean, lambda index: clean, mask if method == "kvlock" else None)
    for _ in module.prepare(model, request, params).run(window):
        pass


@torch.inference_mode()
def bare(model: RandomModel, calls: list[tuple[Any, ...]]) -> None:
    for call in calls:
        WanNetwork.predict(model, *call)


def seconds(work: Any, *arguments: Any) -> float:
    began = time.process_time()
    work(*arguments)
    return time.process_time() - began


def report(rounds: int, names: list[str]) -> None:
    model = RandomModel()
    for method in names:
        calls: list[tuple[Any, ...]] = []
        model.calls = calls
        edit(model, method)
        model.calls = None
        pairs = [(seconds(edit, model, method), seconds(bare, model, calls)) for _ in range(rounds)]
        ours, alone = (min(column) for column in zip(*pairs, strict=True))
        rows = sum(len(call[0]) for call in calls)
        verdict = "met" if ours / alone <= MOST else "missed"
        print(
            f"{method:10} {ours:7.3f} s, bare {alone:7.3f} s, ratio {ours / alone:.3f}"
            f" (at most {MOST}: {verdict}); {len(calls)} calls, {rows} evaluations"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--rounds", type=int, default=5, help="times that edit and calls take turns")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    report(asked.rounds, asked.methods or list(SETTINGS))


if __name__ == "__main__":
    main()
