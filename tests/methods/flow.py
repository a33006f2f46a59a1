"""What the tests of methods that follow a flow share: a tiny Wan without files, a clip, a way to run one."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from tests.engine.tiny import tokenizer
from tests.engine.video_folder import ltx_transformer, wan_transformer
from vedit.methods.base import Request, Window
from vedit.models.flow import Flow
from vedit.models.ltx.network import LTXNetwork
from vedit.models.prompt import Prompt
from vedit.models.wan.network import WanNetwork
from vedit.models.words import read_prompt

TOKENS = 20


class Texts:
    """What makes a model of a network: a text embedding that is a random row for each token."""

    device, dtype, name = torch.device("cpu"), torch.float32, "tiny"

    def words(self, prompt: str) -> Prompt:
        return read_prompt(tokenizer(), prompt, TOKENS)

    def encode_prompt(self, prompt: str) -> Tensor:
        ids = self.words(prompt).ids
        table = torch.randn(len(tokenizer()), 16, generator=torch.Generator().manual_seed(5))
        text = torch.zeros(1, TOKENS, 16)
        text[0, : len(ids)] = table[list(ids)]
        return text


class TinyWan(Texts, WanNetwork):
    """A Wan of two blocks, or as many as said."""

    def __init__(self, *, whole: bool = False, blocks: int = 2) -> None:
        transformer = wan_transformer(num_layers=blocks).eval().requires_grad_(False)
        super().__init__(transformer, Flow(3.0, is_whole=whole), text_tokens=TOKENS)


class TinyLTX(Texts, LTXNetwork):
    """An LTX-Video of as many blocks."""

    def __init__(self, blocks: int = 2) -> None:
        transformer = ltx_transformer(num_layers=blocks).eval().requires_grad_(False)
        super().__init__(transformer, Flow(3.0, terminal=0.1), TOKENS)


def clean() -> Tensor:
    """Three latent frames of 8x6."""
    return torch.randn(3, 4, 8, 6, generator=torch.Generator().manual_seed(1))


def request_for(source: str, target: str, model: TinyWan, steps: int, **more: Any) -> Request:
    return Request(source, target, tuple(model.schedule.timesteps(steps)), (4, 8, 6), 3, **more)


def run(
    model: TinyWan,
    method: ModuleType,
    params: Any,
    source: str,
    target: str,
    window: Window | None = None,
    **more: Any,
) -> Tensor:
    """The latents that a method makes of the clip, or of a window."""
    window = window or Window(clean(), lambda index: clean())
    more = {"has_mask": window.mask_F1YX is not None, **more}
    prepared = method.prepare(model, request_for(source, target, model, params.steps, **more), params)
    *_, last = prepared.run(window)
    found: Tensor = last.latents["tgt"]
    return found
