"""A training run of the embedded models, packed into a folder that can be loaded and shipped."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vedit.documents import Kind, whole_lines
from vedit.errors import ModelError, OutputError, option
from vedit.models.shapes.folder import BUILTIN, VIDEO_FORMAT, be_quiet, record_of
from vedit.training.stages import STAGES

BEGUN = "begun"  # in a run folder: the packed video model whose weights it began with
ORIGIN = "_name_or_path"  # where diffusers writes what a part was read from
MAX_CURVE_POINTS = 40
LOG = Kind("a log of training", ModelError, largest=2**30)


def pack(run: Path, folder: Path, *, stage: str = "unet", overwrite: bool = False) -> dict[str, Any]:
    """Write the averaged weights of a run in half precision; return what training.json says.

    stage: "unet" packs the newest state of the open-ended run, "unet-annealed" its annealed copy.
    A folder that exists keeps its README.md; everything else in it is replaced.
    """

    def write(partial: Path) -> dict[str, Any]:
        _write_parts(run, partial, stage)
        return training_record("vedit-shapes", run, partial, ("codec", "judge", "scorer", stage))

    return _replaced(folder, write, overwrite)


def pack_motion(run: Path, folder: Path, *, stage: str = "motion", overwrite: bool = False) -> dict[str, Any]:
    """Write the averaged motion adapter of a run in half precision; return what training.json says.

    stage: "motion", or "motion-annealed" for its annealed copy.
    """
    from vedit.models.shapes import parts
    from vedit.models.shapes.motion import Motion, clip_denoiser
    from vedit.training.shapes_run import load_codec

    def write(partial: Path) -> dict[str, Any]:
        channels = load_codec(run).config.latent_channels
        _averaged(Motion(clip_denoiser(parts.unet(channels))), run / stage).save(partial)
        return training_record("vedit-shapes-motion", run, partial, (stage,))

    return _replaced(folder, write, overwrite)


def pack_video(run: Path, folder: Path, *, annealed: bool = False, overwrite: bool = False) -> dict[str, Any]:
    """Write the averaged video model of a run in half precision; return what training.json says.

    The weights are those of clips, or of pictures before there are clips. What the run has not
    trained itself is taken from the packed model that it began with.
    """
    stages = _stages_of(run, "video", annealed)
    begun = run / BEGUN

    def write(partial: Path) -> dict[str, Any]:
        _write_video_parts(run, partial, stages)
        record = training_record(VIDEO_FORMAT, run, partial, stages)
        return {**record, "began with": record_of(begun)} if begun.exists() else record

    return _replaced(folder, write, overwrite)


def _stages_of(run: Path, kind: str, annealed: bool) -> list[str]:
    """Return the stages of a kind ("video", "instruct") of a run, in order; the last may be annealed."""
    stages = [stage.name for stage in STAGES if stage.name.startswith(kind) and (run / stage.name).exists()]
    return [*stages[:-1], f"{[kind, *stages][-1]}-annealed"] if annealed else stages


def pack_instruct(
    run: Path, folder: Path, *, annealed: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Write the averaged instruction editor of a run in half precision; return what training.json says."""
    stages = _stages_of(run, "instruct", annealed) or ["instruct"]

    def write(partial: Path) -> dict[str, Any]:
        _write_instruct_parts(run / stages[-1], partial)
        record = training_record("vedit-shapes-instruct", run, partial, stages)
        begun = run / BEGUN
        return {**record, "began with": record_of(begun)} if begun.exists() else record

    return _replaced(folder, write, overwrite)


def _write_instruct_parts(stage: Path, folder: Path) -> None:
    """Write a folder of `vedit.models.wan.weights` with a whole transformer and words of its own."""
    from safetensors.torch import save_file

    from vedit.data import instructions, vocabulary
    from vedit.models.hub import EMBEDDED_VIDEO
    from vedit.models.shapes import instruct
    from vedit.models.wan.conditions import unfit
    from vedit.models.wan.weights import EMBEDDINGS, Recipe, write_recipe
    from vedit.training.shapes_instruct import DROPPED_SOURCES, Instruct
    from vedit.training.shapes_video import CLIP_FRAMES

    be_quiet()
    channels = int(json.loads((BUILTIN / "vae" / "config.json").read_text())["latent_channels"])
    model = _averaged(Instruct(channels), stage).half()
    new = {name: value.contiguous() for name, value in model.transformer.patch_embedding.new().items()}
    save_file(new, folder / EMBEDDINGS)
    unfit(model.transformer)
    model.transformer.save_pretrained(folder / "transformer")
    model.text_encoder.save_pretrained(folder / "text_encoder")
    vocabulary.tokenizer(instructions.WORDS).save_pretrained(folder / "tokenizer")
    recipe = Recipe(
        EMBEDDED_VIDEO,
        way=instruct.WAY,
        positions=instruct.POSITIONS,
        rank=0,
        frames=CLIP_FRAMES,
        drops_source=DROPPED_SOURCES > 0,
        words="drawn scenes",
    )
    write_recipe(folder, recipe, {})


def _write_video_parts(run: Path, folder: Path, stages: Sequence[str]) -> None:
    """Write a WanPipeline of diffusers from the newest stages, or what the run began with."""
    from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
    from transformers import CLIPTextModel

    from vedit.data import vocabulary
    from vedit.models.shapes.video import scheduler
    from vedit.training.shapes_video import Video
    from vedit.training.shapes_video_codec import video_codec

    be_quiet()
    begun, networks = run / BEGUN, [name for name in stages if not name.startswith("video-codec")]
    channels = int(json.loads((BUILTIN / "vae" / "config.json").read_text())["latent_channels"])
    if len(networks) < len(stages) or not begun.exists():
        codec = _averaged(video_codec(channels), run / "video-codec")
    else:
        codec = AutoencoderKLWan.from_pretrained(begun / "vae")
    if networks or not begun.exists():
        network = _averaged(Video(channels), run / (networks or ["video-pictures"])[-1]).transformer
    else:
        network = WanTransformer3DModel.from_pretrained(begun / "transformer")
    pipeline = WanPipeline(
        tokenizer=vocabulary.tokenizer(),
        text_encoder=CLIPTextModel.from_pretrained(BUILTIN / "text_encoder").half(),
        vae=codec.half(),
        scheduler=scheduler(),
        transformer=network.half(),
    )
    _save(pipeline, folder)
    _write_vocabulary(folder / "tokenizer")


def _save(pipeline: Any, folder: Path) -> None:
    """Save a pipeline of diffusers without the places on this machine that its parts were read from."""
    pipeline.save_pretrained(folder)
    for path in folder.glob("*/config.json"):
        config = {name: value for name, value in json.loads(path.read_text()).items() if name != ORIGIN}
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _replaced(folder: Path, write: Callable[[Path], dict[str, Any]], overwrite: bool) -> dict[str, Any]:
    """Write a folder beside its name and put it there when it is whole; its README.md stays."""
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        again = f"Add {option('overwrite', True)} to replace what it holds."
        raise OutputError(f"{folder} is not empty.", next_step=again)
    partial = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        record = write(partial)
        write_record(partial, record)
        for path in partial.rglob("*.safetensors"):  # its writer leaves them to their owner alone
            path.chmod(stat.S_IMODE((partial / "training.json").stat().st_mode))
        if (folder / "README.md").exists():
            shutil.copy(folder / "README.md", partial / "README.md")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


def _write_parts(run: Path, folder: Path, stage: str) -> None:
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import save_file

    from vedit.data import vocabulary
    from vedit.models.shapes import parts
    from vedit.models.shapes.judge import Judge
    from vedit.training.shapes_run import load_codec
    from vedit.training.shapes_scorer import Scorer
    from vedit.training.shapes_unet import Denoiser

    codec = load_codec(run)
    denoiser = _averaged(Denoiser(codec.config.latent_channels), run / stage)
    be_quiet()
    pipeline = StableDiffusionPipeline(
        vae=codec.half(),
        text_encoder=denoiser.text_encoder.half(),
        tokenizer=vocabulary.tokenizer(),
        unet=denoiser.unet.half(),
        scheduler=parts.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    _save(pipeline, folder)
    _write_vocabulary(folder / "tokenizer")
    for name, module in {
        "scorer": _averaged(Scorer(), run / "scorer").clip,
        "judge": _averaged(Judge(), run / "judge"),
    }.items():
        (folder / name).mkdir()
        halves = {
            key: value.half() if value.is_floating_point() else value
            for key, value in module.state_dict().items()
        }
        save_file(halves, folder / name / "model.safetensors")
    (folder / "scorer" / "open_clip_config.json").write_text(json.dumps(_scorer_config(), indent=2) + "\n")


def _write_vocabulary(folder: Path) -> None:
    """Write vocab.json and merges.txt as well: tools with older tokenizers read those."""
    from vedit.data import vocabulary

    words, merges = vocabulary.vocabulary()
    (folder / "vocab.json").write_text(json.dumps(words, ensure_ascii=False) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))


def _averaged(module: Any, stage_folder: Path) -> Any:
    from safetensors.torch import load_file

    from vedit.training.loop import latest_state

    newest = latest_state(stage_folder)
    if newest is None:
        raise ModelError(
            f"{stage_folder}: this stage is not trained yet.",
            next_step=f"Run: vedit train --preset {preset_of(stage_folder.name)} --out {stage_folder.parent}",
        )
    module.load_state_dict(load_file(newest / "ema.safetensors"))
    return module.eval()


def preset_of(stage: str) -> str:
    """Name the preset that trains a stage, or all of the picture model's."""
    name = stage.removesuffix("-annealed")
    return f"shapes-{name}" if name.startswith(("motion", "video", "instruct")) else "shapes-all"


def _scorer_config() -> dict[str, Any]:
    """Return the scorer in the form that open_clip's `local-dir:` loading reads."""
    from vedit.data import vocabulary
    from vedit.models.shapes import parts

    words, _ = vocabulary.vocabulary()
    text = {**parts.SCORER_TEXT, "vocab_size": len(words), "pad_id": words[vocabulary.END]}
    return {
        "model_cfg": {**parts.SCORER, "text_cfg": text},
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "size": 64, "interpolation": "bicubic"},
    }


def training_record(form: str, run: Path, folder: Path, stages: Sequence[str]) -> dict[str, Any]:
    """Return how each part was trained, and the hash of every weight file."""
    return {
        "format": form,
        "version": 1,
        "code": code_revision(),
        "stages": {name: _stage_record(run / name) for name in stages},
        "gates": {},
        "files": hashes(folder),
    }


def _stage_record(folder: Path) -> dict[str, Any]:
    from vedit.training.loop import latest_state, state_of

    newest = latest_state(folder)
    assert newest is not None
    state = state_of(newest)
    lines = [line for line in _log(folder) if line["step"] <= state["step"]]
    every = max(1, len(lines) // MAX_CURVE_POINTS)
    return {
        "steps": state["step"],
        "pictures": state["pictures"],
        "seconds": round(state["seconds"]),
        "device": state.get("device", "cpu"),
        "seed": state["options"]["seed"],
        "options": state["options"],
        "config": {key: value for key, value in state["config"].items() if not isinstance(value, dict)},
        "loss_curve": [[line["pictures"], round(line["losses"]["loss"], 5)] for line in lines[::every]],
        "measured": [[line["pictures"], line["measured"]] for line in lines if line["measured"]],
    }


def _log(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a stage's log; an annealed copy begins with those of what it copied."""
    lines = list(whole_lines(folder / "log.jsonl", LOG))
    start = folder / "start"
    if start.exists():
        before = _log(folder.with_name(folder.name.removesuffix("-annealed")))
        lines = [line for line in before if line["step"] <= int(start.read_text())] + lines
    return lines


def code_revision() -> str:
    """Return the git revision of the code, with a plus sign when the tree differs from it."""
    try:
        here = Path(__file__).resolve().parent
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "--", "../data", "../engine", "../models", "../training", "."],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every weight and configuration file of a packed folder."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in ("training.json", "README.md")
    }


def write_record(folder: Path, record: dict[str, Any]) -> None:
    from vedit.training.loop import write_atomically

    write_atomically(folder / "training.json", json.dumps(record, indent=1) + "\n")
