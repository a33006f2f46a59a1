"""What an edit and an inversion are asked for, as plain data: a call, a row of a batch and what a run record
repeats are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from vedit.jobs.request import Request
from vedit.models.adapters import recorded
from vedit.models.controls import recorded as recorded_control
from vedit.models.images import recorded as recorded_image

Size = str | int | tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ClipRequest(Request):
    """Which frames of a clip, at which size, through which network.

    input: a clip or a folder of pictures. frames: at most so many; every stride-th from start, from 0.
    size: that is worked on, a shorter side (512), or width and height ("640x384" or a pair); None for
    the side that the model was trained at. crop: "square" takes the centre square. lora: LoRAs that are
    merged into the model, each [PART=]FILE|ID[:SCALE]. control: ControlNets that it goes by, each
    NET[=WEIGHT][:CLIP]. frames_per_call: frames that go through the network at once.
    """

    input: str
    frames: int | None = None
    stride: int = 1
    start: int = 0
    size: Size | None = None
    crop: Literal["none", "square"] = "none"
    model: str = "shapes"
    revision: str | None = None
    device: str = "auto"
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    offload: Literal["none", "model", "sequential"] = "none"
    lora: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    frames_per_call: int = 8
    output: str | None = None
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class EditRequest(ClipRequest):
    """One edit.

    prompt: what the clip should show, or the instruction of a method that follows one; source_prompt: what it
    shows. ref: a picture of what the edit should look like, for such a method; or ref_from, a frame of the
    clip by its number from 0, which is edited first by the instruction ref_edit. preset: of the method's
    parameters, None for the method's own, "" for none; set: parameters by name, over the preset;
    steps, guidance, negative, strength: over both. inversion: a file to start from. mask: forms of
    `vedit.jobs.masks`, united. keep_outside: put the source's own pixels back outside the mask; None: if
    there is one. detail: give back what the codec loses of the clip, where the edit left it alone; None: but
    for an ablation. output_size: "source", "worked", "WxH" or a pair. window: frames edited together, None
    to choose. memory: MiB that may be used. save_masks: a clip, or a folder of pictures, of the mask
    that the edit acted in. save_attention: a folder for a picture per word. preview: a clip of
    source and edit. metadata: whether the output has a run record. ablate: run the method with its
    parts switched off in turn; truth: the true edited clip for its table. invert_like: the
    inversion of a run record, to be found or made again. backend: the released editor of `instruct`;
    accept_licence: its weights may be fetched under a licence that must be accepted. image_prompt: a picture
    that the result is to show, FILE[=WEIGHT]; image_adapter: the IP-Adapter that reads it, None for the
    published one. flow: what estimates motion for masks that follow something and for methods that go by it:
    tvl1, dis, raft or gmflow, with :FILE of weights.
    """

    prompt: str | None = None
    source_prompt: str = ""
    method: str = "p2p"
    preset: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    strength: float | None = None
    seed: int = 0
    inversion: str | None = None
    mask: tuple[str, ...] = ()
    keep_outside: bool | None = None
    detail: bool | None = None
    output_size: str | tuple[int, int] = "source"
    window: int | None = None
    memory: int | None = None
    save_masks: str | None = None
    save_attention: str | None = None
    preview: str | None = None
    metadata: bool = True
    ablate: bool = False
    truth: str | None = None
    invert_like: Mapping[str, Any] | None = None
    ref: str | None = None
    ref_from: int | None = None
    ref_edit: str | None = None
    backend: str | None = None
    accept_licence: bool = False
    image_prompt: str | None = None
    image_adapter: str | None = None
    flow: str | None = None

    @property
    def own_options(self) -> dict[str, Any]:
        """Parameters that are options too, those that were given."""
        own = {
            "steps": self.steps,
            "guidance": self.guidance,
            "negative": self.negative,
            "strength": self.strength,
            "backend": self.backend,
        }
        return {name: value for name, value in own.items() if value is not None}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], output: str | None) -> Self:
        """The request that a run record repeats, for another output."""
        selection, model, crop = (
            record["selection"],
            record["model"],
            isinstance(record["selection"]["size"], int),
        )
        size, shown = (
            (tuple(value) if isinstance(value, list) else value)
            for value in (selection["size"], selection.get("output"))
        )
        return cls(
            input=record["input"],
            output=output,
            method=record["method"],
            source_prompt=record["source_prompt"],
            prompt=record["target_prompt"],
            start=selection["start"],
            stride=selection["stride"],
            frames=selection["frames"],
            size=size,
            crop="square" if crop else "none",
            output_size="worked" if shown is None else shown,
            preset="",
            set=as_it_was(record["params"]),
            seed=record["seed"],
            mask=tuple(record["edit_mask"]),
            keep_outside=record["keep_outside"],
            detail=record.get("detail", False),  # records had no such key before there was any
            frames_per_call=record["frames_per_call"],
            window=record["window"],
            model=model["id"],
            revision=model["revision"],
            lora=tuple(recorded(told) for told in model.get("lora", ())),
            control=tuple(recorded_control(told) for told in record.get("control", ())),
            device=record["device"],
            dtype={"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[record["dtype"]],  # type: ignore[arg-type]  # one of its Literals
            ablate=record["command"] == "ablate",
            truth=record.get("truth"),
            invert_like=record["inversion"],
            ref=record.get("ref"),
            ref_from=record.get("ref_from"),
            ref_edit=record.get("ref_edit"),
            image_prompt=image_of(record)[0],
            image_adapter=image_of(record)[1],
            flow=record.get("flow"),
        )


def image_of(record: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The options that ask for the image prompt of a record, and for its adapter."""
    told = record.get("image_prompt")
    return (None, None) if told is None else recorded_image(told)


def as_it_was(params: Mapping[str, Any]) -> dict[str, Any]:
    """A record's parameters as they were meant: before masks could fit, they were of cells."""
    found = dict(params)
    for prefix in ("blend", "mask"):
        if f"{prefix}_scales" in found:
            found.setdefault(f"{prefix}_fit", "cells")
    return found


@dataclass(frozen=True, kw_only=True)
class InvertRequest(ClipRequest):
    """One inversion.

    prompt: what the clip shows. steps: noise levels computed. fixed_point: further evaluations per
    step. solver: of a flow; ddim does for all models. method: "null-text" also optimises embeddings that
    hold sampling at `guidance` on the clip, with inner_steps of Adam at most per level, lr at the first,
    early_stop the error to stop at, and one embedding for all frames if `shared`. check: sample it back and
    measure the error.
    for_method: invert as this method of editing does, by `preset` and `set`: its steps, null embeddings,
    attention between frames and tuning. embed_tuning: the tuned weights are written too.
    """

    prompt: str = ""
    steps: int = 50
    fixed_point: int = 1
    solver: Literal["ddim", "euler", "rf-solver", "fireflow", "uni-inv"] = "ddim"
    method: Literal["ddim", "null-text"] = "ddim"
    guidance: float = 7.5
    inner_steps: int = 10
    lr: float = 1e-2
    early_stop: float = 1e-5
    shared: bool = True
    check: bool = True
    for_method: str | None = None
    preset: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    embed_tuning: bool = False
