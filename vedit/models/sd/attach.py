"""Run rules inside a stock diffusers UNet: attention processors and forward hooks, all put back.

Order inside one attention module: rules of `enter`; project q, k, v; rules of `qkv`; branches whose maps a
rule reads or writes get an explicit float32 softmax, then the rules of `maps`; all others use fused
attention; then rules of `output`, the output projection, and rules of `exit`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from vedit.models.attention import attend
from vedit.models.sd.inflate import OverFrames
from vedit.models.sites import FEATURES, Site
from vedit.models.tensors import Applier, Tensors


@contextmanager
def attached(unet: Any, sites: Sequence[Site], controller: Applier) -> Iterator[None]:
    """Put processors and hooks in place at these sites; the network is itself again on any exit."""
    before: dict[str, Any] = {}
    hooks = []
    try:
        for site in sites:
            module = unet.get_submodule(site.path)
            if site.kind in FEATURES:
                hooks.append(module.register_forward_hook(FeatureHook(controller, site.path)))
            else:
                if site.kind == "temporal":
                    hooks.append(_over_frames(unet, site.path, controller))
                before[site.path] = module.processor
                module.set_processor(Processor(controller, site.path))
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


class FeatureHook:
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


class Processor:
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
            if all(given.get("y", branch) is not None for branch in self.controller.branches):
                return given.stacked("y").flatten(0, 1)
            if all(given.get("out", branch) is not None for branch in self.controller.branches):
                return self._left(hidden_states, _projected(attn, given.stacked("out")))
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
        projected = _projected(attn, attend(self.controller, self.path, tensors, attn.scale))
        return self._left(hidden_states, projected)

    def _left(self, x: Tensor, y: Tensor) -> Tensor:
        """What leaves the module, after the rules of `exit`. x: what came in. Both (B*F, T, C)."""
        leaving = self.controller.acting(self.path, "exit")
        if not leaving:
            return y
        branches = self.controller.branches
        given = Tensors(
            {"x": x.unflatten(0, (len(branches), -1)), "y": y.unflatten(0, (len(branches), -1))}, branches
        )
        self.controller.apply(leaving, self.path, given)
        return given.stacked("y").flatten(0, 1)


def _projected(attn: Any, out_BFNQD: Tensor) -> Tensor:
    hidden_states = out_BFNQD.flatten(0, 1).transpose(1, 2).flatten(2)
    projected: Tensor = attn.to_out[1](attn.to_out[0](hidden_states)) / attn.rescale_output_factor
    return projected
