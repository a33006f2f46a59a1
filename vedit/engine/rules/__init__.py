"""Rules of attention, features and latents: one primitive a file. See `rule` for what a rule is."""

from vedit.engine.rules.along import AlongTracks, KeepKeys
from vedit.engine.rules.beside import SeeBeside
from vedit.engine.rules.bias import Bias, KeyMask
from vedit.engine.rules.columns import MapColumns
from vedit.engine.rules.concat import Concat
from vedit.engine.rules.gather import Gather, Scatter
from vedit.engine.rules.latents import Embedding, LatentBlend
from vedit.engine.rules.merge import Merging
from vedit.engine.rules.output import BlendOut, Override
from vedit.engine.rules.probe import Probe
from vedit.engine.rules.replace import Replace
from vedit.engine.rules.rule import Call, Plan, Rule, Shape, Steps, parts, step_range
from vedit.engine.rules.temporal import Temporal
from vedit.models.tensors import Tensors

__all__ = [
    "AlongTracks",
    "Bias",
    "BlendOut",
    "Call",
    "Concat",
    "Embedding",
    "Gather",
    "KeepKeys",
    "KeyMask",
    "LatentBlend",
    "MapColumns",
    "Merging",
    "Override",
    "Plan",
    "Probe",
    "Replace",
    "Rule",
    "Scatter",
    "SeeBeside",
    "Shape",
    "Steps",
    "Temporal",
    "Tensors",
    "parts",
    "step_range",
]
