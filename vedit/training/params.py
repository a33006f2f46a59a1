"""The settings of the text-to-video generator: tables of a preset of kind "train".

Every table says with `description` what each key means; `vedit train --describe` prints them.
Loads no torch, so that presets can be checked without.
"""

import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vedit.errors import UsageError, nearest, refuse_mistakes
from vedit.models.unet3d.params import Described, Share, Table, mistakes_in, tables_of

SEED_LAYERS = (3, 8, 15, 22)
RELU_LAYERS = (5, 12, 22, 32)


class LossTable(Table):
    pixel: Literal["l1", "l2"] = Field("l2", description="distance of the prediction")
    perceptual: float = Field(0.0, ge=0, description="lambda of the VGG16-BN feature loss; 0 leaves it out")
    mode: Literal["fixed", "balanced"] = Field(
        "fixed", description="lambda as given, or times L_pix / L_perc"
    )
    timesteps: Literal["abar", "cut", "all"] = Field(
        "abar", description="g(t), which timesteps the feature loss counts at"
    )
    cut_below: Share = Field(0.5, description="with timesteps = cut: the share of the schedule that counts")
    layers: Literal["relu"] | tuple[Annotated[int, Field(ge=0, le=43)], ...] = Field(
        SEED_LAYERS, description="layers of VGG16-BN, ascending; relu is 5, 12, 22, 32"
    )
    layer_weights: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (1.0, 1.0, 1.0, 1.0), description="weight of each layer"
    )
    frames: int = Field(4, ge=1, description="frames of a clip that VGG looks at")

    @model_validator(mode="after")
    def _has_a_weight_per_layer(self) -> "LossTable":
        if len(self.layer_numbers) != len(self.layer_weights):
            raise ValueError(f"{len(self.layer_numbers)} layers have {len(self.layer_weights)} layer_weights")
        if list(self.layer_numbers) != sorted(set(self.layer_numbers)):
            raise ValueError("layers are not in ascending order, each once")
        return self

    @property
    def layer_numbers(self) -> tuple[int, ...]:
        return RELU_LAYERS if self.layers == "relu" else self.layers


class EmaTable(Table):
    decay_min: Share = Field(0.9, description="decay at the start")
    decay_max: float = Field(0.9999, ge=0, lt=1, description="decay it grows towards")
    update_every: int = Field(10, ge=1, description="steps between updates (ema_update_every)")
    power: float | None = Field(
        None, gt=0, description="grow as 1 - (1 + n)^-power instead of (1 + n) / (10 + n)"
    )


class OptimTable(Table):
    rate: float = Field(1e-4, gt=0, description="learning rate of AdamW")
    warmup: int = Field(0, ge=0, description="steps over which the rate grows from 0")
    anneal: int = Field(0, ge=0, description="last steps over which it falls to 0")
    betas: tuple[Share, Share] = Field((0.9, 0.999), description="decays of the moments")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    batch: int = Field(2, ge=1, description="clips at once in each process")
    accumulate: int = Field(1, ge=1, description="batches per step in each process")


class RunTable(Table):
    steps: int = Field(10_000, ge=1, description="steps in all")
    seed: int = Field(0, ge=0, description="decides the weights at the start and everything drawn")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="arithmetic of the network; weights stay in fp32"
    )
    log_every: int = Field(50, ge=1, description="steps per line of the log")
    save_every: int = Field(500, ge=1, description="steps between saved states")
    sample_every: int = Field(1000, ge=1, description="steps between sample strips")
    keep: int = Field(3, ge=1, description="newest states that stay")
    milestone_every: int = Field(
        0, ge=0, description="states at multiples of this stay for good; 0 keeps none"
    )


class GeneratorParams(Described):
    """Everything that decides a generator and its training."""

    loss: LossTable = LossTable.model_validate({})
    ema: EmaTable = EmaTable.model_validate({})
    optim: OptimTable = OptimTable.model_validate({})
    run: RunTable = RunTable.model_validate({})

    @model_validator(mode="after")
    def _trains(self) -> "GeneratorParams":
        if self.optim.anneal > self.run.steps:
            raise ValueError(f"optim.anneal {self.optim.anneal} is more than run.steps {self.run.steps}")
        if self.ema.decay_min > self.ema.decay_max:
            raise ValueError(
                f"ema.decay_min {self.ema.decay_min} is more than ema.decay_max {self.ema.decay_max}"
            )
        return self


TABLES = tables_of(GeneratorParams)


def read_params(tables: Mapping[str, Any], where: str) -> GeneratorParams:
    """The settings that the tables give; raises one UsageError that names every mistake in them."""
    refuse_mistakes(where, list(mistakes(tables)), "The keys are explained by: vedit train --describe")
    return GeneratorParams.model_validate(tables)


def mistakes(tables: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each wrong table, key or value."""
    return mistakes_in(GeneratorParams, tables)


def changed(tables: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The tables with `TABLE.KEY` set to values, for options and --set."""
    result = {name: dict(table) if isinstance(table, Mapping) else table for name, table in tables.items()}
    for path, value in settings.items():
        table, dot, key = path.partition(".")
        if not dot or table not in TABLES:
            raise UsageError(
                f"there is no setting {path!r}{nearest(path, spellings())}",
                "Settings are written TABLE.KEY, such as optim.rate.",
                "See: vedit train --describe",
            )
        result.setdefault(table, {})[key] = value
    return result


def spellings() -> list[str]:
    """Every setting as TABLE.KEY."""
    return [f"{name}.{key}" for name, table in TABLES.items() for key in table.model_fields]


def described() -> Iterator[str]:
    """A line per table and key: default and meaning."""
    for name, table in TABLES.items():
        yield f"[{name}]"
        for key, field in table.model_fields.items():
            choices = (
                typing.get_args(field.annotation) if typing.get_origin(field.annotation) is Literal else ()
            )
            among = f" ({', '.join(choices)})" if choices else ""
            yield f"    {key} = {field.default!r}: {field.description}{among}"
