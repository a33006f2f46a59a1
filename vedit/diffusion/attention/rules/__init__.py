"""Rules of attention, features and latents: one primitive a file. See `rule` for what a rule is."""

from vedit.diffusion.attention.rules.bias import Bias, KeyMask
from vedit.diffusion.attention.rules.columns import MapColumns
from vedit.diffusion.attention.rules.concat import Concat
from vedit.diffusion.attention.rules.gather import Gather, Scatter
from vedit.diffusion.attention.rules.latents import Embedding, LatentBlend
from vedit.diffusion.attention.rules.output import BlendOut, Override
from vedit.diffusion.attention.rules.probe import Probe
from vedit.diffusion.attention.rules.replace import Replace
from vedit.diffusion.attention.rules.rule import Call, Plan, Rule, Shape, Steps, step_range
from vedit.models.tensors import Tensors

__all__ = [
    "Bias",
    "BlendOut",
    "Call",
    "Concat",
    "Embedding",
    "Gather",
    "KeyMask",
    "LatentBlend",
    "MapColumns",
    "Override",
    "Plan",
    "Probe",
    "Replace",
    "Rule",
    "Scatter",
    "Shape",
    "Steps",
    "Tensors",
    "step_range",
]
