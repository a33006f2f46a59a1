"""Training steps and sampling of our generator against diffusers' video networks, at equal sizes.

    python benchmarks/generate.py [--frames 8] [--side 16] [--widths 16,32,64] [--batch 2] [--rounds 5]
    [--device cpu]

All networks see the same clips (batch, 3, frames, side, side), have the same width per level, two
residual blocks in each and a text condition, and take the same AdamW step on the same kind of
loss. theirs: UNet3DConditionModel (text-to-video of ModelScope) and UNetMotionModel (AnimateDiff),
both with attention over text and time in each level, sampled in diffusers' own DDIMScheduler loop.
They are no equal designs: parameter counts are printed beside. On a CPU the figure is processor
time, on a GPU wall time; rounds of all candidates are interleaved, and the median of the
per-round ratios theirs / ours is given (above 1: ours is faster).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vedit.engine.clamp import read_clip
from vedit.engine.sample import Stream, sample
from vedit.models.alpha_bar import cosine
from vedit.models.unet3d.model import UNet3DNetwork
from vedit.models.unet3d.unet3d import UNet3D

TEXT_WIDTH, TOKENS, STEPS = 64, 8, 20


def ours(widths: list[int]) -> tuple[nn.Module, Callable[[Any, Tensor, Tensor], Tensor]]:
    network = UNet3D(dim=widths[0], mults=[width // widths[0] for width in widths], text_width=TEXT_WIDTH)
    return network, lambda net, x, t: net(x, t, torch.zeros(len(x), TEXT_WIDTH, device=x.device))


def common(widths: list[int]) -> dict[str, Any]:
    down = ["CrossAttnDownBlock"] * (len(widths) - 1) + ["DownBlock"]
    up = ["UpBlock"] + ["CrossAttnUpBlock"] * (len(widths) - 1)
    return {
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": tuple(widths),
        "layers_per_block": 2,
        "norm_num_groups": 8,
        "down": down,
        "up": up,
    }


def said(x: Tensor, times: int = 1) -> Tensor:
    """Text states of each clip, repeated for each frame where a network takes frames as its batch."""
    return torch.zeros(times * len(x), TOKENS, TEXT_WIDTH, device=x.device)


def unet3d(widths: list[int]) -> tuple[nn.Module, Callable[[Any, Tensor, Tensor], Tensor]]:
    from diffusers import UNet3DConditionModel

    config = common(widths)
    down, up = (tuple(f"{kind}3D" for kind in config.pop(side)) for side in ("down", "up"))
    network = UNet3DConditionModel(
        down_block_types=down,
        up_block_types=up,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
        **config,
    )
    return network, lambda net, x, t: net(x, t, encoder_hidden_states=said(x)).sample


def motion(widths: list[int]) -> tuple[nn.Module, Callable[[Any, Tensor, Tensor], Tensor]]:
    from diffusers import UNetMotionModel

    config = common(widths)
    down, up = (tuple(f"{kind}Motion" for kind in config.pop(side)) for side in ("down", "up"))
    network = UNetMotionModel(
        down_block_types=down,
        up_block_types=up,
        cross_attention_dim=TEXT_WIDTH,
        num_attention_heads=2,
        motion_num_attention_heads=2,
        **config,
    )
    return network, lambda net, x, t: net(x, t, encoder_hidden_states=said(x, x.shape[2])).sample


CANDIDATES = {"ours": ours, "diffusers UNet3DConditionModel": unet3d, "diffusers UNetMotionModel": motion}


class Candidate:
    """A network with its optimizer, as each library trains and samples it."""

    def __init__(self, name: str, widths: list[int], device: str) -> None:
        torch.manual_seed(0)
        self.name = name
        self.network, self.call = CANDIDATES[name](widths)
        self.network.to(device)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4, fused=True)
        self.parameters = sum(parameter.numel() for parameter in self.network.parameters())

    def train_step(self, clip: Tensor, noise: Tensor, timestep: Tensor) -> None:
        self.network.train()
        (self.call(self.network, clip, timestep) - noise).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def sample(self, noise: Tensor) -> Tensor:
        self.network.eval()
        return self._sample_ours(noise) if self.name == "ours" else self._sample_theirs(noise)

    def _sample_ours(self, noise: Tensor) -> Tensor:
        schedule, text = cosine(1000, "epsilon"), torch.zeros(1, 1, TEXT_WIDTH, device=noise.device)
        stream = Stream("clip", noise[0].transpose(0, 1), text, clamp=read_clip("dynamic:0.9"))
        *_, last = sample(UNet3DNetwork(self.network, schedule), schedule.timesteps(STEPS), [stream])
        return last.latents["clip"].transpose(0, 1)[None]

    @torch.inference_mode()
    def _sample_theirs(self, noise: Tensor) -> Tensor:
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler(
            beta_schedule="squaredcos_cap_v2", clip_sample=True
        )  # its threshold takes pictures only
        scheduler.set_timesteps(STEPS)
        for timestep in scheduler.timesteps:
            noise = scheduler.step(
                self.call(self.network, noise, timestep.to(noise.device)), timestep, noise
            ).prev_sample
        return noise


def spent(work: Callable[[], Any], device: str) -> float:
    """Seconds of a piece of work: of the processor, or with a GPU of the clock."""
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    start = clock()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--widths", default="16,32,64")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    if given.device == "cpu":
        torch.set_num_threads(1)
    widths = [int(width) for width in given.widths.split(",")]
    candidates = [Candidate(name, widths, given.device) for name in CANDIDATES]
    clip, noise = torch.randn(2, given.batch, 3, given.frames, given.side, given.side, device=given.device)
    timestep = torch.full((given.batch,), 500, device=given.device)
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(given.rounds + 1):  # the first warms up
        for candidate in candidates:
            trained = spent(lambda: candidate.train_step(clip, noise, timestep), given.device)  # noqa: B023
            sampled = spent(lambda: candidate.sample(noise), given.device)  # noqa: B023
            if turn:
                times.setdefault(("train", candidate.name), []).append(trained)
                times.setdefault(("sample", candidate.name), []).append(sampled)
    print(
        f"{given.batch} clips of {given.frames} frames {given.side}x{given.side}, widths {widths}, {STEPS}"
        f" DDIM steps, {given.device}"
    )
    for candidate in candidates:
        for kind in ("train", "sample"):
            mine, own = times[kind, candidate.name], times[kind, "ours"]
            ratio = statistics.median(a / b for a, b in zip(mine, own, strict=True))
            print(
                f"{candidate.name:<32} {candidate.parameters / 1e6:6.2f} M  {kind:<6}"
                f" {1000 * statistics.median(mine):8.1f} ms  theirs / ours {ratio:5.2f}"
            )


if __name__ == "__main__":
    main()
