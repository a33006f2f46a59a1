"""Train the embedded models in one run folder, stage after stage, from nothing to a package.

RUN/codec, RUN/judge, RUN/unet and RUN/scorer hold the state of each stage; a stage that has reached its steps
is not touched again. The denoiser has no last step: `shapes-all` ends in it and trains until it is stopped,
and the next call goes on. `anneal` copies the denoiser's newest state to RUN/unet-annealed and lets its rate
fall to zero there, the loss without the weight of the object's mask; the run itself stays as it is. Asked
again after the run has gone on, it sets the old copy aside under its step and makes another.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit import presets
from vedit.errors import ModelError, UsageError, Warn, option, silent
from vedit.training.run_folder import run_lock
from vedit.training.stages import EVERY, STAGES, stage_of

if TYPE_CHECKING:
    from vedit.training.loop import Options, Report

ANNEALED = {"mask_weight": 0.0, "shift": 1.0, "shown": 0.0}  # plain loss at uniform levels
INSTRUCTS = ("instruct", "instruct-judged")
BEGINS_WITH = {
    "video-pairs": ("video-pictures",),
    "video": ("video-pairs", "video-pictures"),
    "video-judged": ("video",),
    "instruct-judged": ("instruct",),
}
IN_TURN = tuple(stage.preset for stage in STAGES if stage.in_turn)


@dataclass(frozen=True)
class Settings:
    """What a user may choose; everything else is the recipe below.

    batch, rate: of the denoiser (on a GPU 1024 and 2e-3 keep it busy) or of the motion adapter, in
    clips. The other stages keep theirs.
    begin: a packed video model whose weights a stage of the video model begins with; of the instruction
    editor also a packed one, and without it the video model that ships.
    """

    device: str = "cpu"
    precision: str = "auto"
    threads: int | None = None
    compiled: bool = False
    seed: int = 0
    steps: int | None = None
    anneal: int = 0
    batch: int | None = None
    rate: float | None = None
    begin: Path | None = None


@dataclass(frozen=True)
class Recipe:
    """How a stage is trained. batch: None for stages that keep their own."""

    stage: str
    options: "Options"
    batch: int | None


def read_recipe(preset: str) -> Recipe:
    """Read the preset of a stage. Raises UsageError."""
    from vedit.training.loop import Options

    table = presets.load_embedded(preset)
    stage, batch = table.pop("stage"), table.pop("batch", None)
    return Recipe(stage, Options(**table), batch)


def train_shapes(
    preset: str,
    folder: Path,
    settings: Settings | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    say: Warn = silent,
    warn: Warn = silent,
) -> Iterator[tuple[str, "Report"]]:
    """Go through the stages of a preset; yield (stage, report) as the loop reports.

    say: told after a few steps of each stage what one takes. Raises Stopped, with everything saved, soon
    after `should_stop` turns true.
    """
    import torch

    settings = settings or Settings()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    with run_lock(folder):
        yield from _train_stages(preset, folder, settings, should_stop, say, warn)


def _train_stages(
    preset: str,
    folder: Path,
    settings: Settings,
    should_stop: Callable[[], bool],
    say: Callable[[str], None],
    warn: Warn,
) -> Iterator[tuple[str, "Report"]]:
    from vedit.training.loop import train

    for name in IN_TURN if preset == EVERY else (preset,):
        recipe = read_recipe(name)
        if preset != EVERY:
            _refuse_idle(recipe, settings)
        stage, options = recipe.stage, _options(recipe, settings, one_stage=preset != EVERY)
        if settings.anneal:
            options = _fork(stage, folder, options, settings)
            place = folder / f"{stage}-annealed"
        else:
            place = folder / stage
        if not _is_finished(place, options):
            task = build_task(stage, folder, replace(settings, batch=settings.batch or recipe.batch))
            if stage_of(stage).is_video:
                _begin(task, stage, place, settings.begin)
            for report in train(task, options, place, should_stop, say=say, give_up=should_stop, warn=warn):
                yield stage, report
        if stage == "codec" and not (folder / "vae").exists():
            _freeze_codec(folder, settings)


def _refuse_idle(recipe: Recipe, settings: Settings) -> None:
    """Refuse a batch or rate for a stage that keeps its own, rather than go on without it."""
    for name, value in (("batch", settings.batch), ("rate", settings.rate)):
        if value is not None and recipe.batch is None:
            raise UsageError(
                f"{option(name, float(value))} is not for the stage {recipe.stage}.",
                "It keeps its own; a preset file of your own may say another rate.",
            )


def _options(recipe: Recipe, settings: Settings, *, one_stage: bool) -> "Options":
    options = replace(recipe.options, seed=settings.seed)
    if recipe.batch is not None and settings.rate is not None:
        options = replace(options, rate=settings.rate)
    if settings.steps is not None and (one_stage or options.steps is None):
        return replace(options, steps=settings.steps, anneal=min(options.anneal, settings.steps))
    return options


def _fork(stage: str, folder: Path, options: "Options", settings: Settings) -> "Options":
    """Copy the newest state aside once, and end the copy `anneal` steps later."""
    from vedit.training.loop import latest_state, state_of, write_atomically

    if options.steps is not None and settings.steps is None:
        raise UsageError(
            f"stage {stage} anneals by itself at its end.",
            f"Only stages without end take {option('anneal')}: the denoiser, the motion adapter, and those of"
            " the video model but its codec.",
        )
    place = folder / f"{stage}-annealed"
    newest = latest_state(folder / stage)
    if newest is None:
        raise ModelError(f"{folder}: nothing to anneal yet; stage {stage} has no saved state.")
    start = state_of(newest)["step"]
    annealed = latest_state(place)
    if (
        annealed is not None
        and start > _start(place)
        and state_of(annealed)["step"] >= state_of(annealed)["options"]["steps"]
    ):
        place.rename(place.with_name(f"{place.name}-{_start(place)}"))  # done; the run has gone on since
    if latest_state(place) is None:
        target = place / "state" / newest.name
        shutil.copytree(newest, target.with_suffix(".tmp"), dirs_exist_ok=True)
        _begin_anew(target.with_suffix(".tmp"))
        target.with_suffix(".tmp").rename(target)
        write_atomically(place / "start", f"{start}\n")
        write_atomically(place / "state" / "latest", newest.name + "\n")
    return replace(options, steps=_start(place) + settings.anneal, anneal=settings.anneal)


def _begin_anew(saved: Path) -> None:
    """Let the average of an annealed copy begin with its first step, since a long one would remember the high
    rate, and tell it of its loss and levels.
    """
    from vedit.training.loop import state_of, write_atomically

    state = state_of(saved)
    config = {name: ANNEALED.get(name, value) for name, value in state["config"].items()}
    write_atomically(
        saved / "state.json", json.dumps({**state, "config": config, "ema_update_count": 0}, indent=1) + "\n"
    )


def _start(place: Path) -> int:
    """Return the step at which an annealed copy left its run."""
    return int((place / "start").read_text())


def _is_finished(place: Path, options: "Options") -> bool:
    from vedit.training.loop import latest_state, state_of

    newest = latest_state(place)
    return newest is not None and options.steps is not None and state_of(newest)["step"] >= options.steps


def build_task(stage: str, folder: Path, settings: Settings) -> Any:
    """Build the task of a stage, with the finished stages that it stands on."""
    precision = settings.precision if settings.precision != "auto" else best_precision(settings.device)
    common: dict[str, Any] = {"seed": settings.seed, "device": settings.device, "precision": precision}
    if stage == "codec":
        from vedit.training.shapes_codec import CodecTask

        return CodecTask(crop_steps=3000, **common)
    if stage == "video-codec":
        from vedit.models.shapes.folder import load
        from vedit.training.shapes_video_codec import VideoCodecTask

        return VideoCodecTask(load().vae, picture_steps=500, crop_steps=850, **common)
    if stage == "judge":
        from vedit.training.shapes_judge import JudgeTask

        return JudgeTask(**{**common, "seed": settings.seed + 1})
    if stage == "scorer":
        from vedit.training.shapes_scorer import ScorerTask

        return ScorerTask(**common)
    from vedit.training.shapes_run import load_codec, load_denoiser, load_judge
    from vedit.training.shapes_unet import MASK_WEIGHT, UNetTask

    assert settings.batch is not None, "presets of these stages say it"
    batch, weight = settings.batch, 0.0 if settings.anneal else MASK_WEIGHT
    if stage == "motion":
        from vedit.training.shapes_motion import MotionTask

        base, name = load_denoiser(folder)
        return MotionTask(
            load_codec(folder),
            base,
            base_name=name,
            batch=batch,
            blocks_of=max(1, 128 // batch),
            mask_weight=weight,
            **common,
        )
    blocks_of = max(1, 1024 // batch)
    if stage in INSTRUCTS:
        return _instruct_task(stage, batch=batch, is_annealed=bool(settings.anneal), **common)
    if stage_of(stage).is_video:
        return _video_task(
            stage, is_annealed=bool(settings.anneal), batch=batch, mask_weight=weight, **common
        )
    return UNetTask(
        load_codec(folder),
        load_judge(folder),
        batch=batch,
        blocks_of=blocks_of,
        compiled=settings.compiled,
        mask_weight=weight,
        **common,
    )


def _video_task(stage: str, *, is_annealed: bool, batch: int, **common: Any) -> Any:
    """Build the task of the video model upon the packed picture model."""
    from vedit.models.shapes.folder import load
    from vedit.training.shapes_video import VIEWS, VideoTask
    from vedit.training.shapes_video_judged import JudgedTask

    picture, view = load(), {**common, **VIEWS[stage]}
    if is_annealed:
        view = {name: ANNEALED.get(name, value) for name, value in view.items()}
    return (JudgedTask if stage == "video-judged" else VideoTask)(
        picture.vae,
        picture.judge,
        picture,
        batch=batch,
        blocks_of=max(1, 1024 // (batch * view["frames"])),
        **view,
    )


def _instruct_task(stage: str, *, batch: int, is_annealed: bool, **common: Any) -> Any:
    """Build the task of the instruction editor upon the packed picture model's codec and text encoder."""
    from vedit.models.shapes.folder import load
    from vedit.training.shapes_instruct import CHANGED_WEIGHT, InstructTask
    from vedit.training.shapes_instruct_judged import JudgedInstructTask

    picture = load()
    settings = {"batch": batch, "mask_weight": CHANGED_WEIGHT, **common}
    if is_annealed or stage == "instruct-judged":
        settings["mask_weight"] = 0.0
    if stage == "instruct-judged":
        return JudgedInstructTask(picture.vae, picture.text_encoder, picture.judge, **settings)
    return InstructTask(picture.vae, picture.text_encoder, **settings)


def _begin(task: Any, stage: str, place: Path, packed: Path | None) -> None:
    """Give a new stage of the video model the weights it begins with, and note in its config which they are.

    A stage begins with the newest of BEGINS_WITH that the run has; with a packed model when one is named; and
    where there is neither, instructions with the video model that ships, and what is judged with the weights
    that ship of its own kind. The head that is not packed begins anew.
    """
    from vedit.models.shapes.folder import INSTRUCT, VIDEO
    from vedit.training.loop import latest_state, state_of, tensors_of

    run = place.parent
    if (saved := latest_state(place)) is not None:
        task.config["base"] = state_of(saved)["config"].get("base")
        return
    before = next(
        (
            (name, state)
            for name in BEGINS_WITH.get(stage, ())
            if (state := latest_state(run / name)) is not None
        ),
        None,
    )
    if before is None:
        ships = {"instruct": VIDEO, "video-judged": VIDEO, "instruct-judged": INSTRUCT}
        packed = packed or ships.get(stage)
    if packed is not None:
        _load_packed(task, _kept(packed, run))
        task.config["base"] = f"packed/{packed.name}"
    elif before is not None:
        name, state = before
        task.model.load_state_dict(tensors_of(state, "ema"))
        task.config["base"] = f"{name}/{state.name}"


def _kept(packed: Path, run: Path) -> Path:
    """Copy a packed model into the run, which must not depend on a folder that changes."""
    from vedit.jobs.shapes_model import BEGUN
    from vedit.models.shapes.folder import check_video, is_instruct

    if not is_instruct(packed):
        check_video(packed)
    if not (run / BEGUN).exists():
        partial = run / f"{BEGUN}.tmp"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(packed, partial)
        partial.rename(run / BEGUN)
    return run / BEGUN


def _load_packed(task: Any, folder: Path) -> None:
    from vedit.models.shapes.folder import is_instruct, load_video

    if is_instruct(folder):
        task.model.load_state_dict(_instruct_weights(folder))
        return
    model = load_video(folder)
    if hasattr(task.model, "text_encoder"):  # the instruction editor's
        from vedit.models.wan.conditions import fitted_names

        task.model.transformer.load_state_dict(fitted_names(model.transformer.state_dict()), strict=False)
    elif hasattr(task.model, "transformer"):
        task.model.transformer.load_state_dict(model.transformer.state_dict())
    else:
        task.model.load_state_dict(model.vae.state_dict())


def _instruct_weights(folder: Path) -> dict[str, Any]:
    """The weights of a packed instruction editor by the names that its task has."""
    from diffusers import WanTransformer3DModel
    from safetensors.torch import load_file
    from transformers import CLIPTextModel

    from vedit.models.wan.conditions import fitted_names

    network = WanTransformer3DModel.from_pretrained(folder / "transformer").state_dict()
    text = CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict()
    new = load_file(folder / "embeddings.safetensors")
    return {
        **{f"transformer.{name}": value.float() for name, value in fitted_names(network).items()},
        **{f"transformer.patch_embedding.{name}": value.float() for name, value in new.items()},
        **{f"text_encoder.{name}": value.float() for name, value in text.items()},
    }


def best_precision(device: str) -> str:
    """Return bf16 where the hardware multiplies it, else fp32."""
    import torch

    from vedit.training.loop import cpu_features

    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if cpu_features().get("avx512_bf16") else "fp32"


def _freeze_codec(folder: Path, settings: Settings) -> None:
    """Write the averaged codec to RUN/vae, ready to build on: later stages need these bits."""
    from safetensors.torch import load_file

    from vedit.models.shapes import parts
    from vedit.training.loop import latest_state
    from vedit.training.shapes_codec import frozen

    newest = latest_state(folder / "codec")
    assert newest is not None
    codec = parts.codec()
    codec.load_state_dict(load_file(newest / "ema.safetensors"))
    partial = folder / "vae.tmp"
    frozen(codec.eval(), seed=settings.seed).save_pretrained(partial)
    partial.rename(folder / "vae")
