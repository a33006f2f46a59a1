"""Carry out a plan on a stock diffusers UNet: attention processors and forward hooks, all put back.

Order inside one attention module: project q, k, v; `Replace` writes them; branches that a rule or
a probe wants maps of get an explicit float32 softmax, then `MapColumns`, then probes; all others
use fused attention. Nothing is counted by calls: the step and the frames are told for each call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vedit.diffusion.attention.locate import Site, find_sites, select_sites
from vedit.diffusion.attention.rules import MapColumns, Plan, Probe, Replace
from vedit.diffusion.attention.store import MapSize, MapStore
from vedit.diffusion.blend import resize_mask

MAP_BYTES = 16 * 2**20  # explicit maps of one branch made at a time; at least those of a frame


class Controller:
    """A plan bound to a model: which rules act at which module.

    branches: names in batch order; the batch of a call is branches x frames, branch by branch.
    latent_size: rows and columns of the latent. frames: of the clip. text_tokens: length L.
    """

    def __init__(
        self, unet: Any, plan: Plan, branches: Sequence[str], frames: int, latent_size: tuple[int, int], text_tokens: int, budget: int = 2 * 2**30
    ) -> None:
        plan.check_branches(branches)
        self.unet = unet
        self.branches = {name: place for place, name in enumerate(branches)}
        self.rules: dict[str, list[Replace | MapColumns]] = defaultdict(list)
        self.probes: dict[str, list[Probe]] = defaultdict(list)
        self.shares: dict[str, float] = {}
        self.grids: dict[str, tuple[int, int]] = {}
        sites = find_sites(unet)
        self.matched: list[tuple[str, list[Site]]] = []
        for rule in plan.rules:
            found = select_sites(sites, rule.select, rule.name)
            self.matched.append((rule.name, found))
            for site in found:
                self.rules[site.path].append(rule)
                self.grids[site.path] = site.grid(latent_size)
        sizes = []
        for probe in plan.probes:
            found = select_sites(sites, probe.select, probe.name)
            self.matched.append((probe.name, found))
            assert len({site.scale for site in found}) == 1, f"{probe.name}: maps of several sizes cannot be summed; one probe for each scale"
            self.shares[probe.key] = 1 / len(found)
            rows, columns = found[0].grid(latent_size)
            sizes.append(MapSize(probe.key, frames, rows * columns, text_tokens if probe.select.kind == "cross" else rows * columns))
            for site in found:
                self.probes[site.path].append(probe)
        self.store = MapStore(sizes, budget)
        self.step = -1
        self.frames = slice(0, frames)

    @contextmanager
    def installed(self) -> Iterator[Controller]:
        """Put processors and hooks in place; the model is itself again on any exit."""
        before: dict[str, Any] = {}
        hooks = []
        try:
            for path in {*self.rules, *self.probes}:
                module = self.unet.get_submodule(path)
                if path.endswith("conv2"):
                    hooks.append(module.register_forward_hook(_FeatureHook(self, path)))
                else:
                    before[path] = module.processor
                    module.set_processor(_Processor(self, path))
            yield self
        finally:
            for hook in hooks:
                hook.remove()
            for path, processor in before.items():
                # set_processor would drop a processor that is itself a module
                self.unet.get_submodule(path).processor = processor

    @contextmanager
    def call(self, step: int, frames: slice) -> Iterator[None]:
        """Tell the processors which step and which frames the UNet call inside is for."""
        self.step, self.frames = step, frames
        try:
            yield
        finally:
            self.step = -1

    def keep(self, rule: Replace, path: str, device: torch.device) -> Tensor:
        """A rule's mask for the frames of this call at a module's grid, bool (F, 1, y, x)."""
        assert rule.keep is not None
        return resize_mask(rule.keep[self.frames] > 0.5, self.grids[path]).to(device)

    def active(self, path: str) -> list[Replace | MapColumns]:
        """The rules that act at a module in the current step."""
        assert self.step >= 0, "the UNet is called outside Controller.call"
        return [rule for rule in self.rules.get(path, ()) if rule.steps[self.step]]


class _FeatureHook:
    """Give target branches the source's output of a convolution."""

    def __init__(self, controller: Controller, path: str) -> None:
        self.controller = controller
        self.path = path

    def __call__(self, module: Any, inputs: Any, output: Tensor) -> Tensor | None:
        rules = self.controller.active(self.path)
        if not rules:
            return None
        out = output.unflatten(0, (len(self.controller.branches), -1)).clone()
        for rule in rules:
            assert isinstance(rule, Replace), "only Replace acts on features"
            for target in rule.targets:
                place, given = self.controller.branches[target], out[self.controller.branches[rule.source]]
                out[place] = given if rule.keep is None else torch.where(self.controller.keep(rule, self.path, out.device), out[place], given)
        return out.flatten(0, 1)


class _Processor:
    """The attention of one module under control; equals diffusers' own when no rule acts."""

    def __init__(self, controller: Controller, path: str) -> None:
        self.controller = controller
        self.path = path

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
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        branches = len(self.controller.branches)

        def heads(tensor: Tensor) -> Tensor:  # (B*F, T, N*D) -> (B, F, N, T, D)
            return tensor.unflatten(-1, (attn.heads, -1)).transpose(1, 2).unflatten(0, (branches, -1))

        parts = {"q": heads(attn.to_q(hidden_states)), "k": heads(attn.to_k(context)), "v": heads(attn.to_v(context))}
        rules = self.controller.active(self.path)
        for rule in rules:
            if isinstance(rule, Replace):
                self._replace(parts, rule)
        maps = [rule for rule in rules if isinstance(rule, MapColumns)]
        out_BFNQD = self._attend(attn, parts["q"], parts["k"], parts["v"], maps)
        hidden_states = out_BFNQD.flatten(0, 1).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](hidden_states)) / attn.rescale_output_factor

    def _replace(self, parts: dict[str, Tensor], rule: Replace) -> None:
        place = self.controller.branches
        for name in rule.tensors:
            rows = list(parts[name].unbind(0))
            for target in rule.targets:
                given = rows[place[rule.source]]
                if rule.keep is not None:  # rows are (F, N, T, D), the mask (F, 1, Y, X)
                    given = torch.where(self.controller.keep(rule, self.path, given.device).flatten(1)[:, None, :, None], rows[place[target]], given)
                rows[place[target]] = given
            parts[name] = torch.stack(rows)

    def _attend(self, attn: Any, q: Tensor, k: Tensor, v: Tensor, rules: list[MapColumns]) -> Tensor:
        """Fused attention, but explicit maps for the branches that are read or edited."""
        place, probes = self.controller.branches, self.controller.probes.get(self.path, [])
        wanted = {rule.source for rule in rules} | {rule.target for rule in rules} | {probe.branch for probe in probes}
        if not wanted:
            return _fused(q, k, v, attn.scale)
        out = torch.empty_like(q)
        written = {rule.target for rule in rules}  # what is only read keeps the fused result, bit for bit
        fused = [place[name] for name in place if name not in written]
        if fused:
            out[fused] = _fused(q[fused], k[fused], v[fused], attn.scale)
        for frames in self._groups(q, k):
            maps = {name: _softmax(q[place[name], frames], k[place[name], frames], attn.scale) for name in wanted}
            for rule in rules:
                maps[rule.target] = rule.edit(maps[rule.source], maps[rule.target], self.controller.step)
            for probe in probes:
                first = self.controller.frames.start
                seen = slice(first + frames.start, first + frames.stop)
                self.controller.store.add(probe.key, seen, maps[probe.branch].mean(1) * self.controller.shares[probe.key])
            for name in written:
                out[place[name], frames] = (maps[name] @ v[place[name], frames].to(maps[name])).to(v)
        return out

    def _groups(self, q_BFNQD: Tensor, k_BFNKD: Tensor) -> Iterator[slice]:
        """Frames whose maps are made together: edits act within a frame, so memory need not grow with their number."""
        frames, one = q_BFNQD.shape[1], 4 * q_BFNQD.shape[2] * q_BFNQD.shape[3] * k_BFNKD.shape[3]
        size = max(1, MAP_BYTES // one)
        for first in range(0, frames, size):
            yield slice(first, min(first + size, frames))


def _fused(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    return F.scaled_dot_product_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), scale=scale).unflatten(0, q.shape[:2])


def _softmax(q_FNQD: Tensor, k_FNKD: Tensor, scale: float) -> Tensor:
    """Attention maps in float32 at least, each row with its own maximum taken off (half precision gives NaN otherwise)."""
    precise = torch.promote_types(q_FNQD.dtype, torch.float32)
    return torch.softmax((q_FNQD.to(precise) @ k_FNKD.to(precise).transpose(-1, -2)) * scale, dim=-1)
