"""Settings of methods: what several of them share, and how a table is read into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from vedit.engine.inflation import Inflation
from vedit.engine.null_text import NullText
from vedit.engine.solvers import Sampler, Way
from vedit.engine.tune import Tuning
from vedit.errors import UsageError, option, refuse_mistakes
from vedit.methods.outline import no_key
from vedit.motion import split_engine, weights_sha256
from vedit.motion.dis import opencv

Share = Annotated[float, Field(ge=0, le=1)]
Span = Share | tuple[Share, Share]


def one_is_a_list(value: Any) -> Any:
    """A single value where a list is wanted, as it is typed on a command line: words may be several with
    commas.
    """
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return (value,) if isinstance(value, int) else value


Listed = BeforeValidator(one_is_a_list)
Words = Annotated[tuple[str, ...], Listed]
Numbers = Annotated[tuple[int, ...], Listed]


def checked_flow(engine: str) -> str:
    """What estimates flow, as `vedit.motion` reads it."""
    try:
        split_engine(engine)
    except UsageError as error:
        raise ValueError(f"{error.what} {error.right}") from None
    return engine


FlowBy = Annotated[str, AfterValidator(checked_flow)]


def of_flow(engine: str) -> dict[str, str]:
    """What a result depends on beside the name of what estimates flow: its weights. Raises ModelError."""
    if engine == "dis":
        opencv()  # which is missed before the clip is inverted
    digest = weights_sha256(engine)
    return {} if digest is None else {"flow_sha256": digest}


class MethodParams(BaseModel):
    """Settings of a method; unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    guidance: float = Field(
        7.5,
        ge=1,
        le=100,
        validation_alias=AliasChoices("guidance", "cfg", "cfg_txt"),
        description="weight of classifier-free guidance; 1 is none",
    )
    negative_prompt: str = Field(
        "",
        validation_alias=AliasChoices("negative_prompt", "editing_negative_prompt"),
        description="what guidance leads away from",
    )

    @property
    def joins_frames(self) -> bool:
        """Whether frames act on each other, so that a clip is edited as one, and memory grows with its
        frames.
        """
        return self.inflation != "none"

    @property
    def inflation(self) -> Inflation:
        """How frames see each other in the inversion and in the edit."""
        return "none"

    @property
    def tuning(self) -> Tuning | None:
        """How the network is tuned on the clip before its inversion, where it is."""
        return None

    @property
    def null(self) -> NullText | None:
        """How null embeddings are optimised behind the inversion, where they are."""
        return None


class SamplingParams(MethodParams):
    """Settings of a method that samples."""

    steps: int = Field(
        50,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("steps", "n_steps"),
        description="DDIM steps of sampling",
    )
    guidance_2: float | None = Field(
        None,
        ge=1,
        le=100,
        validation_alias=AliasChoices("guidance_2", "guidance_scale_2"),
        description="weight of guidance where a second transformer is asked; the same if not given",
    )

    @model_validator(mode="after")
    def _is_guided(self) -> Self:
        if self.guidance_2 not in (None, 1) and self.guidance == 1:
            raise ValueError(f"guidance_2 = {self.guidance_2:g} needs guidance above 1")
        return self


class SolverParams(SamplingParams):
    """Settings of a method that samples from noise of its own."""

    solver: Sampler = Field(
        "euler",
        description="how steps along a flow are taken: euler, or unipc, of second order",
    )


class InversionParams(SamplingParams):
    """Settings of a method that starts from an inverted clip."""

    inversion_steps: int | None = Field(
        None, ge=1, le=1000, description="DDIM steps of the inversion; without it those of sampling"
    )
    fixed_point: int = Field(
        0, ge=0, le=10, description="further evaluations per inversion step, for an exact round trip"
    )
    solver: Way = Field(
        "ddim",
        description=(
            "how a flow is inverted: ddim asks at the level being reached, fixed_point times more; the others"
            " are solvers of its own"
        ),
    )
    null_text: Literal["both", "source", "none"] = Field(
        "both",
        description=(
            "branches that are guided away from the null embeddings of the inversion, where it has them;"
            " source keeps the edit freer"
        ),
    )


class StartParams(InversionParams):
    """Settings of a method that may leave the first steps out."""

    start_index: int = Field(
        0,
        ge=0,
        validation_alias=AliasChoices("start_index", "ddim_init_latents_t_idx"),
        description="sampling step to start at; later keeps more of the clip",
    )


class FlowParams(MethodParams):
    """Settings of a method whose frames act on each other along the clip's motion."""

    flow: FlowBy = Field(
        "tvl1",
        description="what estimates the clip's motion: tvl1, dis, raft or gmflow, with :FILE of weights",
    )

    @property
    def joins_frames(self) -> bool:
        return True


class MergeParams(MethodParams):
    """Settings of a method whose self-attention may run over merged tokens of a few frames."""

    merge: Share = Field(
        0.0,
        validation_alias=AliasChoices("merge", "local_merge_ratio"),
        description="share of the tokens of neighbouring frames that self-attention merges; 0 merges none",
    )
    merge_across: Share = Field(
        0.0,
        validation_alias=AliasChoices("merge_across", "global_merge_ratio"),
        description="share of what is left that is merged with frames further off",
    )
    merge_frames: int = Field(
        4,
        ge=2,
        validation_alias=AliasChoices("merge_frames", "chunk_size"),
        description="neighbouring frames whose tokens are merged, and that go through the network at once",
    )
    merge_scale: int = Field(
        2, ge=1, le=8, description="coarsest modules that merge: the latent's side divided by theirs"
    )

    @property
    def joins_frames(self) -> bool:
        return self.merge > 0


def mistakes(params: type[MethodParams], table: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each wrong key or value of a table."""
    try:
        params.model_validate(_underscored(table))
    except ValidationError as error:
        seen = set()
        for detail in error.errors():
            key = str(detail["loc"][0]) if detail["loc"] else ""
            if key and key in seen:  # a union reports each of its branches
                continue
            seen.add(key)
            if detail["type"] == "extra_forbidden":
                yield no_key(key, params.model_fields, _spellings(params))
                continue
            is_list = detail["type"] in ("tuple_type", "list_type")
            what = (
                f"it is a list; in a shell, {option(f'set.{key}', ['a', 'b'])}"
                if is_list
                else str(detail["msg"]).removeprefix("Value error, ").rstrip(".")
            )
            yield f"{key} = {_shown(table, key)}: {what[:1].lower()}{what[1:]}." if key else f"{what}."


def read_params(params: type[MethodParams], table: Mapping[str, Any], where: str) -> Any:
    """The settings of a table; raises one UsageError that names every mistake in it.

    where: the preset or option the table comes from, for the message.
    """
    refuse_mistakes(where, list(mistakes(params, table)))
    return params.model_validate(_underscored(table))


def canonical(params: type[MethodParams], key: str) -> str:
    """A key by the name that its field has, for one of the names that published code gives it; others stay,
    with underscores.
    """
    key = key.replace("-", "_")
    for name, entry in params.model_fields.items():
        if isinstance(entry.validation_alias, AliasChoices) and key in entry.validation_alias.choices:
            return name
    return key


def _underscored(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in table.items()}


def _spellings(params: type[MethodParams]) -> list[str]:
    """Every spelling that a key may have."""
    found = list(params.model_fields)
    for entry in params.model_fields.values():
        if isinstance(entry.validation_alias, AliasChoices):
            found += [str(choice) for choice in entry.validation_alias.choices if choice not in found]
    return found


def _shown(table: Mapping[str, Any], key: str) -> str:
    value = repr(_underscored(table).get(key, "missing"))
    return value if len(value) <= 80 else f"{value[:77]}..."
