"""What a generator is: the tables of settings that its config.json holds.

Every table says with `description` what each key means. Loads no torch.
"""

import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vedit.errors import nearest

Share = Annotated[float, Field(ge=0, le=1)]


class Table(BaseModel):
    """One table of settings; unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelTable(Table):
    dim: int = Field(64, ge=1, description="width of the first level")
    mults: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2, 4, 8), min_length=1, description="width of each level as a multiple of dim"
    )
    heads: int = Field(8, ge=1, description="attention heads")
    head_width: int = Field(32, ge=2, multiple_of=2, description="width of a head")
    group_limit: int = Field(
        32, ge=1, description="most groups of a normalisation; it has gcd(group_limit, width)"
    )
    norm_scope: Literal["clip", "frame"] = Field(
        "clip", description="statistics over the clip, or over each frame alone"
    )
    temporal_conv: bool = Field(False, description="convolve neighbouring frames in each level")
    position: Literal["bias+rotary", "bias"] = Field(
        "bias+rotary", description="how temporal attention knows distance"
    )

    @property
    def multiple(self) -> int:
        """Sides of the picture are multiples of this."""
        return 2 ** (len(self.mults) - 1)


class DiffusionTable(Table):
    steps: int = Field(1000, ge=2, description="training timesteps T of the cosine schedule")
    beta_max: float = Field(0.999, gt=0, lt=1, description="largest beta")
    predict: Literal["eps", "v", "x0"] = Field("eps", description="what the network predicts")
    focus_present: Share = Field(
        0.0, description="share of clips whose frames do not see each other, as still pictures"
    )


class TextTable(Table):
    encoder: Literal["hash", "bert", "t5", "clip"] = Field(
        "hash", description="how a caption becomes a vector"
    )
    model: str | None = Field(
        None, description="Hub id or folder of the encoder; the usual one of its kind by default"
    )
    drop: Share = Field(0.1, description="share of captions replaced by the learnt null text, for guidance")


class DataTable(Table):
    frames: int = Field(10, ge=1, description="frames per clip, taken uniformly over its time")
    size: int | tuple[int, int] = Field(64, description="side of the centre square, or width and height")
    extend: Literal["pingpong", "loop", "hold"] = Field(
        "pingpong", description="how clips with fewer frames go on"
    )

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class SampleTable(Table):
    steps: int = Field(20, ge=1, description="DDIM steps (ddim_num_steps)")
    guidance: float = Field(2.0, ge=0, description="weight of classifier-free guidance; 1 is none")
    clip: str = Field(
        "dynamic:0.9",
        pattern=r"^(none|static|dynamic(:(0?\.\d+|1(\.0*)?))?)$",
        description="clip_x_start: none, static or dynamic:QUANTILE",
    )
    spacing: Literal["leading", "trailing", "linspace"] = Field(
        "leading", description="which timesteps are sampled"
    )
    eta: Share = Field(0.0, description="0 is DDIM, 1 adds the noise of DDPM")


class Described(Table):
    """What sampling needs to know."""

    model: ModelTable = ModelTable.model_validate({})
    diffusion: DiffusionTable = DiffusionTable.model_validate({})
    text: TextTable = TextTable.model_validate({})
    data: DataTable = DataTable.model_validate({})
    sample: SampleTable = SampleTable.model_validate({})

    @model_validator(mode="after")
    def _fits_together(self) -> "Described":
        for side in self.data.shape:
            if side < 1 or side % self.model.multiple:
                raise ValueError(
                    f"data.size {side} is not a multiple of {self.model.multiple}, which"
                    f" {len(self.model.mults)} levels need"
                )
        if self.sample.steps > self.diffusion.steps:
            raise ValueError(
                f"sample.steps {self.sample.steps} is more than diffusion.steps {self.diffusion.steps}"
            )
        return self


def tables_of(kind: type[Described]) -> dict[str, type[Table]]:
    """The tables of settings by name."""
    hints = typing.get_type_hints(kind)
    return {name: hints[name] for name in kind.model_fields}


def mistakes_in(kind: type[Described], tables: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each wrong table, key or value."""
    try:
        kind.model_validate(tables)
    except ValidationError as error:
        seen = set()
        for detail in error.errors():
            path = tuple(str(part) for part in detail["loc"][:2])
            if path not in seen:  # a union reports each of its branches
                seen.add(path)
                yield _sentence(tables_of(kind), path, detail)


def _sentence(tables: Mapping[str, type[Table]], path: tuple[str, ...], detail: Mapping[str, Any]) -> str:
    if detail["type"] == "extra_forbidden":
        known = list(tables) if len(path) == 1 else list(tables[path[0]].model_fields)
        noun = "table" if len(path) == 1 else f"key of [{path[0]}]"
        return (
            f"no {noun} is called {path[-1]!r}{nearest(path[-1], known) or '.'} There are {', '.join(known)}."
        )
    what = str(detail["msg"]).removeprefix("Value error, ").rstrip(".")
    return (
        f"{'.'.join(path)} = {detail['input']!r}: {what[:1].lower()}{what[1:]}."
        if len(path) == 2
        else f"{what}."
    )
