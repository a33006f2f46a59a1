"""A released instruction editor: a pipeline of diffusers, as it is.

`--backend` names it; `vedit.models.editors` has a file for each. Nothing of the engine takes part: the
pipeline samples by itself, so there is no inversion, no window and no rule.
"""

from __future__ import annotations

from pydantic import Field

from vedit.errors import UsageError, option
from vedit.methods.base import Prepared, Request
from vedit.methods.params import MethodParams
from vedit.models.family import Family

SUMMARY = "Follow an instruction with a released editor: InstructPix2Pix, Lucy Edit, Wan VACE or LTX-2."
NEEDS = frozenset({"instruction", "pipeline", "flow"})


class Params(MethodParams):
    backend: str = Field("ip2p", description="the editor: ip2p, lucy, vace or ltx2-ic")
    steps: int = Field(50, ge=1, le=1000, description="steps of sampling")
    guidance: float = Field(5.0, ge=1, le=100, description="how strongly the instruction leads; 1 is none")
    negative_prompt: str = Field("", description="what guidance leads away from")
    image_guidance: float = Field(1.5, ge=1, le=100, description="ip2p: how strongly the frame leads")
    guidance_2: float | None = Field(
        None,
        ge=1,
        le=100,
        description="lucy, vace: guidance of a second transformer, of noise that is nearly gone",
    )
    conditioning_scale: float = Field(1.0, ge=0, le=10, description="vace: how strongly clip and mask lead")
    reference_strength: float = Field(1.0, ge=0, le=1, description="ltx2-ic: how strongly the clip leads")
    reference_downscale: int | None = Field(
        None,
        ge=1,
        le=8,
        description="ltx2-ic: how many times smaller the clip is shown; as the LoRA was trained if not given",
    )
    stg: float = Field(1.0, ge=0, le=10, description="ltx2-ic: how strongly it leads away from a weaker self")


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises UsageError: an editor is no network of the engine's."""
    raise UsageError(
        "instruct hands the clip to a released editor, and not to a network whose steps are taken here.",
        "",
        f"Try it alone: {option('method', 'instruct')} {option('backend', params.backend)}",
    )
