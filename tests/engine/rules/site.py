"""One attention module in plain tensors, and what a rule makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tests.engine.tiny import SIDE, TinyModel, latents
from vedit.engine.controller import Controller
from vedit.engine.rules import Call, Plan, Rule, Tensors
from vedit.engine.sample import Stream, branch_names, predict
from vedit.models.sites import Select

ALWAYS = (True,) * 4
BRANCHES = {"src": 0, "tgt": 1}
FRAMES, HEADS, TOKENS, WIDTH = 3, 2, 4, 5
GRID = (2, 2)
TIMESTEP = 501


def tensors(seed: int = 0) -> Tensors:
    """q, k, v and the input x of two branches: 3 frames, 2 heads, 2x2 tokens, 5 wide."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(2, FRAMES, *shape, generator=generator, dtype=torch.float64)

    return Tensors(
        {**{name: drawn(HEADS, TOKENS, WIDTH) for name in "qkv"}, "x": drawn(TOKENS, HEADS * WIDTH)}, BRANCHES
    )


def call(**changes: Any) -> Call:
    return replace(Call(0, slice(0, FRAMES), FRAMES, grid=GRID), **changes)


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    logits = q @ k.transpose(-1, -2)
    return torch.softmax(logits if bias is None else logits + bias, -1) @ v


def two(model: TinyModel, frames: int = FRAMES) -> list[Stream]:
    return [
        Stream("src", latents(frames, 1), model.encode_prompt("a cat")),
        Stream("tgt", latents(frames, 2), model.encode_prompt("a red dog")),
    ]


def predicted(
    model: TinyModel, *rules: Rule, frames: int = FRAMES, frames_per_call: int = 8, step: int = 0
) -> dict[str, Tensor]:
    """The network's output for both branches under some rules."""
    streams = two(model, frames)
    controller = Controller(model, Plan(rules), branch_names(streams), frames, (SIDE, SIDE), 20)
    with torch.inference_mode(), controller.installed():
        return predict(model, streams, TIMESTEP, step, controller, frames_per_call)


FINEST = Select("self", ("up_blocks.3.attentions.2",), expect=1)
