"""Train an instruction editor on one's own pairs, in a run folder.

RUN/state holds the state, RUN/log.jsonl the log, and RUN/weights what `vedit edit --weights` takes, written
when the training ends or is stopped.
"""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vedit.errors import Stopped, UsageError, Warn, nearest, option, silent
from vedit.jobs.train.pairs import PairFiles, check_frames
from vedit.training.run_folder import run_lock

if TYPE_CHECKING:
    from vedit.models.wan.model import WanModel
    from vedit.training.easyv2v import EasyV2VTask
    from vedit.training.loop import Report

WEIGHTS = "weights"


class Settings(BaseModel):
    """How an editor is put together and trained; `vedit train --method easyv2v --set KEY=VALUE`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    way: Literal["sequence", "added"] = Field(
        "sequence", description="the clip as more frames beside those of the edit, or added to them"
    )
    positions: Literal["sequential", "shared"] = Field(
        "sequential", description="places of the clip's frames before those of the edit, or the same"
    )
    rank: int = Field(256, ge=1, le=4096, description="of LoRA on the attention")
    alpha: float | None = Field(None, gt=0, description="of LoRA; without it the rank")
    init: Literal["zero", "copy"] = Field(
        "zero", description="how the patch embeddings of clip and reference begin"
    )
    blank_mask: Literal["ones", "zeros", "skip"] = Field("ones", description="what stands for no mask")
    frames: int = Field(81, ge=1, le=4097, description="of each clip at most, 4k + 1")
    width: int | None = Field(
        None, ge=16, le=16384, description="of the clips; with height; else the first clip's"
    )
    height: int | None = Field(None, ge=16, le=16384, description="of the clips")
    transition: float = Field(0.5, ge=0, le=1, description="share of the pairs shown as a transition")
    ramp: int = Field(4, ge=0, le=64, description="frames that such a transition takes at most")
    drop_reference: float = Field(0.5, ge=0, le=1, description="share of the references left out")
    drop_mask: float = Field(0.3, ge=0, le=1, description="share of the masks left out")
    drop_text: float = Field(0.1, ge=0, le=1, description="share of the instructions left out, for guidance")
    drop_source: float = Field(
        0.0, ge=0, le=1, description="share of the clips left out, for source_guidance"
    )
    mask_weight: float = Field(0.0, ge=0, le=100, description="weight of what a mask covers, over 1")
    rate: float = Field(1e-4, gt=0, description="learning rate, constant")
    batch: int = Field(1, ge=1, le=4096, description="pairs of a step, one after the other")
    weight_decay: float = Field(1e-2, ge=0, description="of AdamW")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="of the averaged weights, which are written")
    log_every: int = Field(10, ge=1, description="steps")
    save_every: int = Field(200, ge=1, description="steps")
    measure_every: int = Field(1000, ge=1, description="steps")


def described() -> list[str]:
    """Each setting with its default and what it means."""
    return [
        f"{name} = {field.default!r}: {field.description}" for name, field in Settings.model_fields.items()
    ]


def read_settings(table: Mapping[str, Any]) -> Settings:
    """The settings of a table. Raises one UsageError with every mistake."""
    try:
        settings = Settings.model_validate(dict(table))
    except ValidationError as error:
        wrong = []
        for detail in error.errors():
            key = str(detail["loc"][0]) if detail["loc"] else ""
            unknown = detail["type"] == "extra_forbidden"
            wrong.append(
                f"no key {key!r}{nearest(key, Settings.model_fields) or '.'}"
                if unknown
                else f"{key} = {table.get(key)!r}: {str(detail['msg'])[:1].lower()}{str(detail['msg'])[1:]}."
            )
        raise UsageError(
            f"{option('settings')}: {' '.join(wrong)}", f"There are {', '.join(Settings.model_fields)}."
        ) from None
    check_frames(settings.frames)
    if (settings.width is None) != (settings.height is None):
        raise UsageError(
            f"{option('set.width')} and {option('set.height')} go together.",
            "Without both, it is the first clip's.",
        )
    return settings


@dataclass(frozen=True)
class Job:
    """One training. backbone: a model of Wan's layout. precision: "auto", "fp32" or "bf16", of the
    backbone.
    """

    pairs: Path
    backbone: str
    folder: Path
    settings: Settings
    device: str = "cpu"
    precision: str = "auto"
    threads: int | None = None
    seed: int = 0
    steps: int | None = None


def train_easyv2v(
    job: Job,
    should_stop: Callable[[], bool] = lambda: False,
    say: Warn = silent,
    warn: Warn = silent,
) -> Iterator[Report]:
    """Train, or go on; yield reports. The weights are written at the end, and when it is stopped.

    Raises Stopped with everything saved, ModelError for a backbone that does not fit.
    """
    import torch

    from vedit.training.loop import Options, train

    if job.threads:
        torch.set_num_threads(job.threads)
    with run_lock(job.folder):
        settings = job.settings
        task = build_task(job, warn)
        options = Options(
            rate=settings.rate,
            steps=job.steps,
            betas=(0.9, 0.999),
            weight_decay=settings.weight_decay,
            ema_decay=settings.ema_decay,
            accumulate=settings.batch,
            seed=job.seed,
            log_every=settings.log_every,
            save_every=settings.save_every,
            measure_every=settings.measure_every * task.pictures(0) * settings.batch,
        )
        try:
            yield from train(task, options, job.folder, should_stop, say=say, give_up=should_stop, warn=warn)
        except Stopped:
            write_weights(task, job)
            raise
        write_weights(task, job)


def build_task(job: Job, warn: Warn = silent) -> EasyV2VTask:
    """Load the backbone and the pairs. Raises ModelError, InputError."""
    from vedit.errors import ModelError
    from vedit.models.load import load_model
    from vedit.models.wan.model import WanModel
    from vedit.models.wan.weights import Recipe
    from vedit.training.easyv2v import Drops, EasyV2VTask

    dtype = "auto" if job.precision == "auto" else job.precision
    model: Any = load_model(job.backbone, device=job.device, dtype=dtype, warn=warn)
    if not isinstance(model, WanModel):
        raise ModelError(
            f"{job.backbone} is not a model of Wan's layout, which easyv2v trains on.",
            "",
            f"Try {option('backbone', 'shapes-video')}, or"
            f" {option('backbone', 'Wan-AI/Wan2.2-TI2V-5B-Diffusers')}",
        )
    settings = job.settings
    check_backbone(model, settings)
    pairs = PairFiles(
        job.pairs,
        frames=settings.frames,
        size=None if settings.width is None or settings.height is None else (settings.width, settings.height),
        multiple=model.scale * model.cells,
    )
    recipe = Recipe(
        job.backbone,
        model.revision,
        {
            name: value
            for name, value in model.identity().items()
            if name in ("transformer_sha256", "vae_sha256")
        },
        settings.way,
        settings.positions,
        settings.rank,
        float(settings.alpha or settings.rank),
        init=settings.init,
        blank_mask=settings.blank_mask,
        frames=settings.frames,
        drops_source=settings.drop_source > 0,
    )
    drops = Drops(
        settings.transition, settings.drop_reference, settings.drop_mask, settings.drop_text,
        settings.drop_source, settings.ramp, settings.mask_weight,
    )  # fmt: skip
    return EasyV2VTask(model, pairs, recipe, drops, seed=job.seed)


def check_backbone(model: WanModel, settings: Settings) -> None:
    """Refuse a backbone that cannot be trained so. Raises ModelError, UsageError."""
    from vedit.errors import ModelError

    if model.transformer_2 is not None:
        raise ModelError(
            f"{model.name} has two transformers, and easyv2v trains one.",
            "Wan 2.2 TI2V 5B and the models of Wan 2.1 have one.",
        )
    places = int(model.transformer.config.rope_max_seq_len)
    frames = model.frames(settings.frames)
    needed = frames * (2 if (settings.way, settings.positions) == ("sequence", "sequential") else 1) + 1
    if needed > places:
        raise UsageError(
            f"frames = {settings.frames} are {frames} latent frames; with the clip beside them and a"
            f" reference {needed}, and {model.name} has places for {places}.",
            "Shared positions, or fewer frames, need fewer.",
            f"Try {option('set.positions', 'shared')}",
        )


def write_weights(task: EasyV2VTask, job: Job) -> Path:
    """Write the averaged weights of the newest state as RUN/weights."""
    from safetensors.torch import save_file

    from vedit.models.wan.weights import CONFIG, EMBEDDINGS, LORA, write_recipe
    from vedit.training.loop import latest_state, state_of, tensors_of

    newest = latest_state(job.folder)
    assert newest is not None, "a run that ends has saved its state"
    averaged, partial = tensors_of(newest, "ema"), job.folder / f"{WEIGHTS}.tmp"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for part, file in (("lora", LORA), ("embeddings", EMBEDDINGS)):
        names = {
            name.removeprefix(f"{part}.").replace("/", "."): value.contiguous()
            for name, value in averaged.items()
            if name.startswith(f"{part}.")
        }
        save_file(names, partial / file)
    state = state_of(newest)
    training = {
        "steps": state["step"],
        "pairs": len(task.pairs),
        "seed": job.seed,
        "seconds": round(state["seconds"]),
        "losses": state.get("losses", {}),
        "settings": json.loads(job.settings.model_dump_json()),
    }
    write_recipe(partial, task.recipe, {"training": training})
    for path in partial.glob("*.safetensors"):  # its writer leaves them to their owner alone
        path.chmod(stat.S_IMODE((partial / CONFIG).stat().st_mode))
    shutil.rmtree(job.folder / WEIGHTS, ignore_errors=True)
    partial.rename(job.folder / WEIGHTS)
    return job.folder / WEIGHTS
