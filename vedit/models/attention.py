"""Attention of the branches of a call under rules, for whichever family they come from.

Branches whose maps a rule reads or writes get an explicit float32 softmax, then the rules of `maps`; all
others use fused attention; then come the rules of `output`.
Shape letters: B branches, F frames, N heads, Q query tokens, K key tokens, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vedit.models.tensors import Acting, Applier, Tensors

MAP_BYTES = 16 * 2**20  # explicit maps of one branch made at a time; at least those of a frame


def attend_together(controller: Applier, path: str, tensors: Tensors, scale: float) -> Tensor:
    """Attention in which the tokens of all frames see each other: (B, F, N, Q, D), as rules wrote q, k, v.

    There are neither maps nor a bias: those of a whole clip would not fit anywhere. Rules of `output` follow.
    """
    together, frames = Tensors({}, controller.branches), len(tensors["q", next(iter(controller.branches))])
    for part in "qkv":
        if tensors.is_ragged(part):
            for branch in controller.branches:
                together[part, branch] = tensors[part, branch].transpose(0, 1).flatten(1, 2)[None]
        else:
            together.put(part, tensors.stacked(part).transpose(1, 2).flatten(2, 3)[:, None])
    out = _fused_rows(together, [*controller.branches], controller.branches, scale)
    return _after(controller, path, tensors, out[:, 0].unflatten(2, (frames, -1)).transpose(1, 2))


def attend(controller: Applier, path: str, tensors: Tensors, scale: float) -> Tensor:
    """The attention of all branches (B, F, N, Q, D), each frame by itself, under the rules of `maps` and
    `output`.

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
    return _after(controller, path, tensors, out)


def _after(controller: Applier, path: str, tensors: Tensors, out: Tensor) -> Tensor:
    """What attention gives, as the rules of `output` leave it."""
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
    queries, keys = (tensor.to(precise).flatten(0, 1) for tensor in (q_FNQD, k_FNKD))
    logits = torch.baddbmm(queries.new_empty(()), queries, keys.transpose(1, 2), beta=0, alpha=scale)
    logits = logits.unflatten(0, q_FNQD.shape[:2])
    return torch.softmax(logits if bias is None else logits + bias.to(precise), dim=-1)
