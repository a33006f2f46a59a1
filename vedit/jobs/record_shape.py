"""The shape of a run record: what it must hold to be repeated, and to be scored.

Apart from `recorded`, since a refusal of `vedit edit` has no time for the library that checks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vedit.documents import validated
from vedit.errors import InputError
from vedit.jobs.recorded import RECORD

Words = Annotated[str, Field(max_length=20_000)]
Name = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Revision = Annotated[str, Field(max_length=200, pattern=r"^\w[\w-]*(?:[./][\w-]+)*$")]
Seed = Annotated[int, Field(ge=0, lt=2**64)]
Steps = Annotated[int, Field(ge=1, le=1000)]  # noise levels that models are trained with
Frames = Annotated[int, Field(ge=1, le=1_000_000)]
Side = Annotated[int, Field(ge=1, le=16_384)]
Size = Annotated[list[Side], Field(min_length=2, max_length=2)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|(cuda|xpu)(:\d{1,3})?)$")]
Weight = Annotated[float, Field(ge=0, le=100)]
Masks = Annotated[list[Name], Field(max_length=64)]
MOST = {
    "steps": 1000,
    "inversion_steps": 1000,
    "fixed_point": 100,
    "iterations": 100_000,
    "inner_steps": 1000,
}


class Shape(BaseModel):
    """Keys that are not named are left as they are: versions to come have more."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class Source(Shape):
    sha256: Hash
    frames: Annotated[list[Annotated[int, Field(ge=0, le=10_000_000)]], Field(min_length=3, max_length=3)]
    size: Size
    crop: Literal["centre", "none"]


class Picked(Shape):
    start: Annotated[int, Field(ge=0, le=10_000_000)]
    stride: Frames
    frames: Frames | None
    size: Side | Size
    output: Size | None = None


class Lora(Shape):
    name: Name
    scale: Annotated[float, Field(ge=-100, le=100)]
    part: Annotated[str, Field(pattern=r"^\w{1,40}$")] | None
    file: Annotated[str, Field(max_length=400, pattern=r"^[\w./-]+$")] | None
    revision: Revision | None
    sha256: Hash


Loras = Annotated[list[Lora], Field(max_length=64)]


Weight10 = Annotated[float, Field(ge=0, le=10)]


class ControlNet(Shape):
    net: Name
    weight: Weight10
    revision: Revision | None
    clip: Name | None
    tool: Literal["canny"] | None
    sha256: Hash
    clip_sha256: Hash

    @model_validator(mode="after")
    def _goes_by_one(self) -> ControlNet:
        if (self.clip is None) == (self.tool is None):
            raise ValueError("it goes by a clip or by a tool, and one of them")
        return self


class Pictured(Shape):
    image: Name
    weight: Weight10
    adapter: Name
    adapter_sha256: Hash
    encoder_sha256: Hash


class Weights(Shape):
    id: Name
    revision: Revision | None
    unet_sha256: Hash | None = None
    transformer_sha256: Hash | None = None
    transformer_2_sha256: Hash | None = None
    vae_sha256: Hash
    text_sha256: Hash
    text_encoder_2_sha256: Hash | None = None
    lora: Loras = []

    @model_validator(mode="after")
    def _has_network(self) -> Weights:
        if self.unet_sha256 is None and self.transformer_sha256 is None:
            raise ValueError("it holds no hash of a network")
        return self


class Null(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    guidance: Weight
    inner_steps: Annotated[int, Field(ge=0, le=1000)]
    lr: Annotated[float, Field(ge=0, le=100)]
    early_stop: Annotated[float, Field(ge=0, le=100)]
    shared: bool


class Inversion(Shape):
    key: Words
    steps: Steps
    fixed_point: Annotated[int, Field(ge=0, le=100)]
    null: Null | None
    path: Name | None = None


class Read(Shape):
    """What `vedit score` takes from a record; nothing of it must be there."""

    command: Words | None = None
    input: Name | None = None
    mask: Name | None = None
    edit_mask: Masks | None = None
    source_prompt: Words | None = None
    target_prompt: Words | None = None
    method: Words | None = None
    params: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    clip: dict[str, Any] | None = None
    seed: Any = None


class Edited(Shape):
    """The record of an edit, or of an ablation."""

    command: Literal["edit", "ablate"]
    input: Name
    method: Words
    params: dict[str, Any]
    source_prompt: Words
    target_prompt: Words
    seed: Seed
    model: Weights
    device: Device
    dtype: Literal["float32", "float16", "bfloat16"]
    clip: Source
    selection: Picked
    frames_per_call: Annotated[int, Field(ge=1, le=4096)]
    window: Frames | None
    edit_mask: Masks
    keep_outside: bool
    detail: bool = False
    inversion: Inversion | None
    versions: dict[str, Words]
    truth: Name | None = None
    ref: Name | None = None
    ref_from: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    ref_edit: Words | None = None
    control: Annotated[list[ControlNet], Field(max_length=64)] = []
    image_prompt: Pictured | None = None
    flow: Name | None = None
    flow_sha256: Hash | None = None


class Extra(Shape):
    """Options of those that make clips."""

    from_x_start: Name | None = None
    from_step: Annotated[int, Field(ge=0, le=1000)] | None = None
    mask: Masks | None = None
    motion_adapter: Name | None = None
    offload: Literal["none", "model", "sequential", "group"] = "none"
    vae_tiling: bool | None = None
    variant: Annotated[str, Field(pattern=r"^\w{1,40}$")] | None = None
    pipe: dict[str, Any] = {}
    weights: Literal["ema", "raw"] = "ema"
    eta: Annotated[float, Field(ge=0, le=1)] | None = None
    clip: Words | None = None
    spacing: Literal["leading", "trailing", "linspace"] | None = None
    lora: Loras = []


class Asked(Shape):
    prompt: Words
    negative: Words | None
    seed: Seed
    frames: Annotated[int, Field(ge=1, le=100_000)] | None
    size: Size | None
    steps: Steps | None
    guidance: Weight | None
    fps: Rate
    extra: Extra


class Maker(Shape):
    name: Name
    revision: Revision | None


class Chosen(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    device: Device
    dtype: Literal["auto", "fp32", "fp16", "bf16"]
    extra: Extra


class Generated(Shape):
    """The record of clips made from text: rows of a grid."""

    command: Literal["generate"]
    model: Maker
    choices: Chosen
    clips: Annotated[
        list[Annotated[list[Asked], Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=4096)
    ]
    versions: dict[str, Words]


def check_record(record: Any, name: str) -> dict[str, Any]:
    """The record, when it is one that can be repeated. Raises InputError that says what is wrong with it.

    name: of the file it came from, for messages.
    """
    command = record.get("command") if isinstance(record, dict) else None
    if (
        command not in ("edit", "ablate", "generate")
        or (command == "generate" and "choices" not in record)
        or (command != "generate" and "edit_mask" not in record)
    ):
        raise InputError(
            f"{name}: this run record is of nothing that can be repeated.",
            "Outputs of vedit edit and vedit generate can.",
        )
    validated(_readable(record), Generated if command == "generate" else Edited, name, RECORD)
    if command != "generate":
        _check_params(record, name)
    found: dict[str, Any] = record
    return found


def check_read(record: Any, name: str) -> None:
    """Refuse a record of which `vedit score` cannot take what it needs. Raises InputError."""
    validated(_readable(record), Read, name, RECORD)


def _readable(value: Any) -> Any:
    """A value whose file names are all UTF-8, as pydantic wants texts; used for looking only."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_readable(key): _readable(item) for key, item in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list) else value


def _check_params(record: Mapping[str, Any], name: str) -> None:
    """The method's parameters by the method's own class, and none that would run without end."""
    from vedit import methods
    from vedit.errors import UsageError
    from vedit.methods.params import read_params

    if record["method"] not in methods.names():
        raise RECORD.refusal(name, f"there is no method {record['method'][:80]!a}")
    for key, value in record["params"].items():
        if key in MOST and type(value) is int and value > MOST[key]:
            raise RECORD.refusal(name, f"{key} is {value}, and {MOST[key]} is the most that is repeated")
    try:
        read_params(methods.load(record["method"]).Params, record["params"], record["method"])
    except UsageError as error:
        raise RECORD.refusal(name, " ".join(str(error).split())) from None
