"""The loop of the published TokenFlow, from its paper and its code: what ours is checked and timed against.

Extended attention is made explicitly, head by head, from keys and values repeated for every keyframe;
propagation goes stretch by stretch with the whole matrix of cosines. The weights of both keyframes are
those of the published code. omerbt/TokenFlow at 3d08421; Plug-and-Play as its base.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

INJECTED = {1: (1, 2), 2: (0, 1, 2), 3: (0, 1, 2)}  # decoder layers 4 to 11


class Attention:
    """The self-attention of one block on [source, uncond, cond]."""

    def __init__(self) -> None:
        self.injects, self.is_pivotal, self.stretch, self.every = False, False, 0, 8
        self.x = self.out = torch.empty(0)

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Any = None,
        attention_mask: Any = None,
        **_: Any,
    ) -> Tensor:
        if self.is_pivotal:
            self.x, self.out = hidden_states, self._extended(attn, hidden_states)
            return self.out
        return self._propagated(hidden_states)

    def _extended(self, attn: Any, x: Tensor) -> Tensor:
        n, length, heads = len(x) // 3, x.shape[1], attn.heads
        q, k, v = attn.to_q(x), attn.to_k(x), attn.to_v(x)
        if self.injects:
            for part in (q, k):
                part[n : 2 * n] = part[:n]
                part[2 * n :] = part[:n]

        def joined(part: Tensor) -> list[Tensor]:
            repeated = [
                one.reshape(1, n * length, -1).repeat(n, 1, 1) for one in (part[n : 2 * n], part[2 * n :])
            ]
            return [part[:n], *repeated]

        rows = []
        for queries, keys, values in zip(q.chunk(3), joined(k), joined(v), strict=True):
            split = [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (queries, keys, values)]
            out = [
                torch.bmm((torch.bmm(a, b.transpose(-1, -2)) * attn.scale).softmax(-1), c)
                for a, b, c in zip(*(s.unbind(1) for s in split), strict=True)
            ]
            rows.append(torch.cat(out, -1))
        projected: Tensor = attn.to_out[0](torch.cat(rows))
        return projected

    def _propagated(self, x: Tensor) -> Tensor:
        n, length, width = len(x) // 3, x.shape[1], x.shape[2]
        count = len(self.x) // 3
        near = [self.stretch] + ([self.stretch - 1] if self.stretch else [])
        source, pivots = x[:n].reshape(-1, width), self.x[:count][near].reshape(-1, width)
        cosines = (source / source.norm(dim=-1, keepdim=True)) @ (
            pivots / pivots.norm(dim=-1, keepdim=True)
        ).T
        given = self.out.view(3, count, length, width)[:, near]
        taken = [
            given[:, place]
            .gather(1, part.argmax(-1)[None, :, None].repeat(3, 1, width))
            .view(3, n, length, width)
            for place, part in enumerate(cosines.chunk(len(near), dim=1))
        ]
        if len(near) == 1:
            return taken[0].reshape(3 * n, length, width)
        frames = torch.arange(n, device=x.device) + self.stretch * self.every
        first, second = (abs(frames - (stretch * self.every + self.every // 2)).to(x) for stretch in near)
        share = torch.sigmoid(second / (first + second))[None, :, None, None].repeat(3, 1, length, width)
        return (share * taken[0] + (1 - share) * taken[1]).reshape(3 * n, length, width)


@contextmanager
def patched(unet: Any) -> Iterator[tuple[dict[str, Attention], dict[str, bool]]]:
    """Processors in all self-attention, by path, and a switch for the features of Plug-and-Play."""
    switch = {"features": False}

    def features(module: Any, inputs: Any, output: Tensor) -> Tensor:
        if switch["features"]:
            n = len(output) // 3
            output[n : 2 * n] = output[:n]
            output[2 * n :] = output[:n]
        return output

    handle = unet.up_blocks[1].resnets[1].conv2.register_forward_hook(features)
    before = {name: module.processor for name, module in unet.named_modules() if name.endswith("attn1")}
    found = {name: Attention() for name in before}
    for name, processor in found.items():
        unet.get_submodule(name).processor = processor
    try:
        yield found, switch
    finally:
        handle.remove()
        for name, processor in before.items():
            unet.get_submodule(name).processor = processor


@torch.no_grad()
def published(
    unet: Any,
    trajectory: Callable[[int], Tensor],
    timesteps: Sequence[int],
    alphas: Sequence[tuple[float, float]],
    texts: Sequence[Tensor],
    keys: Callable[[int], Sequence[int]],
    *,
    every: int = 8,
    guidance: float = 7.5,
    feature_steps: int = 40,
    attention_steps: int = 25,
) -> Tensor:
    """The edited latents.

    trajectory: the source's latents by step. texts: of source, uncond and cond, (1, L, E).

    alphas: alpha-bar before and after each step. keys: the keyframes of a step, one in each stretch.
    """
    x = trajectory(0)
    with patched(unet) as (controls, switch):
        injecting = [
            f"up_blocks.{block}.attentions.{place}.transformer_blocks.0.attn1"
            for block, places in INJECTED.items()
            for place in places
        ]

        def asked(frames: Sequence[int], step: int) -> Tensor:
            batch = torch.cat([trajectory(step)[frames], x[frames], x[frames]])
            text = torch.cat([one.expand(len(frames), -1, -1) for one in texts])
            answer: Tensor = unet(batch, timesteps[step], encoder_hidden_states=text).sample
            return answer

        for step, (a, b) in enumerate(alphas):
            switch["features"] = step < feature_steps
            for path, control in controls.items():
                control.injects, control.is_pivotal, control.every = (
                    path in injecting and step < attention_steps,
                    True,
                    every,
                )
            asked(list(keys(step)), step)
            parts = []
            for stretch, begin in enumerate(range(0, len(x), every)):
                for control in controls.values():
                    control.is_pivotal, control.stretch = False, stretch
                _, uncond, cond = asked(list(range(begin, min(begin + every, len(x)))), step).chunk(3)
                parts.append(uncond + guidance * (cond - uncond))
            eps = torch.cat(parts)
            x = b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b) ** 0.5 * eps
    return x
