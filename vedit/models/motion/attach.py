"""Run rules inside a stock video UNet: the processors and hooks of Stable Diffusion's, all put back.

Attention over frames has a sequence of frames for each pixel: there a rule is given tensors (P, N, F, D)
where it is given (F, N, T, D) within frames. P pixels, N heads, F frames, T tokens, D head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vedit.models.sd.attach import FeatureHook, Processor
from vedit.models.sites import FEATURES, Site
from vedit.models.tensors import Applier


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
                before[site.path] = module.processor
                module.set_processor(Processor(controller, site.path))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for path, processor in before.items():
            # set_processor would drop a processor that is itself a module
            unet.get_submodule(path).processor = processor
