"""Run rules inside a stock diffusers UNet: attention processors and forward hooks, all put back.

Order inside one attention module: rules of `enter`; project q, k, v; rules of `qkv`; branches whose maps a
rule reads or writes get an explicit float32 softmax, then the rules of `maps`; all others use fused
attention; then rules of `output`, and the output projection.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vedit.models.sd.inflate import OverFrames
from vedit.models.sites import Site
from vedit.models.tensors import Acting, Applier, Tensors

MAP_BYTES = 16 * 2**20  # explicit maps of one branch made at a time; at least those of a frame


@contextmanager
def attached(unet: Any, sites: Sequence[Site], controller: Applier) -> Iterator[None]:
    """Put processors and hooks in place at these sites; the network is itself again on any exit."""
    before: dict[str, Any] = {}
    hooks = []
    try:
        for site in sites:
            module = unet.get_submodule(site.path)
            if site.kind == "conv":
                hooks.append(module.register_forward_hook(_FeatureHook(controller, site.path)))
            else:
                if site.kind == "temporal":
                    hooks.append(_over_frames(unet, site.path, controller))
                before[site.path] = module.processor
                module.set_processor(_Processor(controller, site.path))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for path, processor in before.items():
            # set_processor would drop a processor that is itself a module
            unet.get_submodule(path).processor = processor


def _over_frames(unet: Any, path: str, controller: Applier) -> Any:
    """The layer over frames acts in steps in which some rule does at its site."""
    hook = OverFrames(len(controller.branches), lambda: bool(controller.acting(path, "qkv")))
    return unet.get_submodule(path.rpartition(".")[0]).register_forward_hook(hook)


class _FeatureHook:
    """Apply rules to the output of a convolution."""

    def __init__(self, controller: Applier, path: str) -> None:
        self.controller, self.path = controller, path

    def __call__(self, module: Any, inputs: Any, output: Tensor) -> Tensor | None:
        rules = self.controller.acting(self.path, "output")
        if not rules:
            return None
        branches = self.controller.branches
        tensors = Tensors({"h": output.unflatten(0, (len(branches), -1))}, branches)
        self.controller.apply(rules, self.path, tensors)
        return tensors.stacked("h").flatten(0, 1)


class _Processor:
    """The attention of one module under control; equals diffusers' own when no rule acts."""

    def __init__(self, controller: Applier, path: str) -> None:
        self.controller, self.path = controller, path

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        assert hidden_states.ndim == 3 and attention_mask is None, "a transformer block of Stable Diffusion"
        count = len(self.controller.branches)
        entering = self.controller.acting(self.path, "enter")
        if entering:
            given = Tensors({"x": hidden_states.unflatten(0, (count, -1))}, self.controller.branches)
            self.controller.apply(entering, self.path, given)
            if all(given.get("out", branch) is not None for branch in self.controller.branches):
                return _projected(attn, given.stacked("out"))
            hidden_states = given.stacked("x").flatten(0, 1)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states

        def heads(tensor: Tensor) -> Tensor:  # (B*F, T, N*D) -> (B, F, N, T, D)
            return tensor.unflatten(-1, (attn.heads, -1)).transpose(1, 2).unflatten(0, (count, -1))

        parts = {
            "q": heads(attn.to_q(hidden_states)),
            "k": heads(attn.to_k(context)),
            "v": heads(attn.to_v(context)),
        }
        tensors = Tensors({**parts, "x": hidden_states.unflatten(0, (count, -1))}, self.controller.branches)
        self.controller.apply(self.controller.acting(self.path, "qkv"), self.path, tensors)
        return _projected(attn, attend(self.controller, self.path, tensors, attn.scale))


def _projected(attn: Any, out_BFNQD: Tensor) -> Tensor:
    hidden_states = out_BFNQD.flatten(0, 1).transpose(1, 2).flatten(2)
    projected: Tensor = attn.to_out[1](attn.to_out[0](hidden_states)) / attn.rescale_output_factor
    return projected


def attend(controller: Applier, path: str, tensors: Tensors, scale: float) -> Tensor:
    """The attention of all branches (B, F, N, Q, D) under the rules of `maps` and `output`.

    tensors: q, k, v of every branch, and bias of some. Explicit maps are made only for branches that
    a rule reads or writes.
    """
    looking = controller.acting(path, "maps")
    wanted = {branch for rule in looking for _, branch in rule.reads | rule.writes}
    written = {branch for rule in looking for _, branch in rule.writes}
    # what is only read keeps the fused result, bit for bit
    out = _fused_rows(
        tensors, [name for name in controller.branches if name not in written], controller.branches, scale
    )
    if wanted:
        _explicit(controller, path, tensors, out, looking, sorted(wanted), written, scale)
    after = controller.acting(path, "output")
    if not after:
        return out
    tensors.put("out", out)
    controller.apply(after, path, tensors)
    return tensors.stacked("out")


def _explicit(
    controller: Applier,
    path: str,
    tensors: Tensors,
    out_BFNQD: Tensor,
    rules: Sequence[Acting],
    wanted: Sequence[str],
    written: set[str],
    scale: float,
) -> None:
    """Make the maps of some branches, let rules read and write them, and fill their part of the output."""
    for frames in _groups(tensors, wanted, any(rule.frames != "each" for rule in rules)):
        maps = Tensors({}, controller.branches)
        for name in wanted:
            bias = tensors.get("bias", name)
            part = None if bias is None else bias if len(bias) == 1 else bias[frames]
            maps["maps", name] = _softmax(tensors["q", name][frames], tensors["k", name][frames], scale, part)
        controller.apply(rules, path, maps, frames)
        for name in written:
            values = tensors["v", name][frames]
            given = maps["maps", name]
            out_BFNQD[controller.branches[name], frames] = (given @ values.to(given)).to(values)


def _groups(tensors: Tensors, wanted: Sequence[str], is_whole: bool) -> Iterator[slice]:
    """Frames whose maps are made together: where edits act within a frame, memory need not grow with their
    number.
    """
    frames = len(tensors["q", wanted[0]])
    one = max(
        4 * q.shape[1] * q.shape[2] * k.shape[2]
        for q, k in ((tensors["q", name], tensors["k", name]) for name in wanted)
    )
    size = frames if is_whole else max(1, MAP_BYTES // one)
    for first in range(0, frames, size):
        yield slice(first, min(first + size, frames))


def _fused_rows(tensors: Tensors, names: Sequence[str], branches: dict[str, int], scale: float) -> Tensor:
    """Fused attention of some branches, in an output (B, F, N, Q, D) whose other rows are left empty."""
    is_plain = not any(tensors.is_ragged(name) for name in "qkv") and not any(
        tensors.get("bias", name) is not None for name in names
    )
    if is_plain and len(names) == len(branches):
        return _fused(tensors.stacked("q"), tensors.stacked("k"), tensors.stacked("v"), scale)
    queries = tensors.stacked("q")
    out = torch.empty_like(queries)
    if is_plain:
        places = [branches[name] for name in names]
        if places:
            out[places] = _fused(
                queries[places], tensors.stacked("k")[places], tensors.stacked("v")[places], scale
            )
        return out
    for name in names:  # rows of different token counts, or with biases of their own
        out[branches[name]] = F.scaled_dot_product_attention(
            tensors["q", name],
            tensors["k", name],
            tensors["v", name],
            attn_mask=tensors.get("bias", name),
            scale=scale,
        )
    return out


def _fused(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    # the kernel's own 1 / sqrt(D) and a rounded D ** -0.5 differ in the last bit
    own = None if math.isclose(scale, q.shape[-1] ** -0.5, rel_tol=1e-12) else scale
    return F.scaled_dot_product_attention(
        q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), scale=own
    ).unflatten(0, q.shape[:2])


def _softmax(q_FNQD: Tensor, k_FNKD: Tensor, scale: float, bias: Tensor | None) -> Tensor:
    """Attention maps in float32 at least, each row with its own maximum taken off (half precision gives NaN
    otherwise).
    """
    precise = torch.promote_types(q_FNQD.dtype, torch.float32)
    logits = (q_FNQD.to(precise) @ k_FNKD.to(precise).transpose(-1, -2)) * scale
    return torch.softmax(logits if bias is None else logits + bias.to(precise), dim=-1)
