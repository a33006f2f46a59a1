"""Write a training run's generator as a folder for use: weights, config.json and a card."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from vedit.documents import read_json
from vedit.errors import InputError, ModelError, OutputError, option, reason_of
from vedit.jobs.train.clip_folder import CACHED

README = """# {name}

A text-to-video generator trained with `vedit train` ({width}x{height}, {frames} frames, {fps:g} a second).

    vedit generate "{caption}" --model {name} -o clip.gif

Steps: {step}. Clips seen: {clips}. Loss: {loss}. Weights: averaged{raw}.
Text: {encoder}. Prediction: {predict}. Feature loss: {vgg}.
Format: `vedit-unet3d` 1, see config.json; the data's fingerprint is {fingerprint}.
"""


def export_generator(
    run: Path, output: Path, *, step: int | None = None, with_raw: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Write the newest state of a run, or that of `step`, into a new folder; returns config.json.

    with_raw: add the trained weights beside the averaged ones. The folder appears when complete.
    Raises ModelError when there is no such state, OutputError when the folder may not be written.
    """
    from vedit.training.checkpoint import run_config

    saved = state_at(run, step)
    config = run_config(saved)
    if output.exists() and not overwrite:
        raise OutputError(
            f"{output} exists.",
            "",
            f"Add {option('overwrite')} to replace it, or name another folder with {option('output')}",
        )
    partial = output.with_name(output.name + ".part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        shutil.copyfile(saved / "ema.safetensors", partial / "model.safetensors")
        if with_raw:
            shutil.copyfile(saved / "model.safetensors", partial / "model.raw.safetensors")
        (partial / "config.json").write_text(
            json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        (partial / "README.md").write_text(_card(output.name, config, with_raw, run), encoding="utf-8")
        if output.exists():
            _replace(output, partial)
        else:
            partial.rename(output)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"{output}: cannot write: {reason_of(error)}.") from None
    return config


def state_at(run: Path, step: int | None) -> Path:
    """The folder of a saved state."""
    from vedit.training.loop import latest_state

    states = sorted(run.glob("state/step-?????????"))
    found = latest_state(run) if step is None else run / "state" / f"step-{step:09d}"
    if found is None or not found.is_dir():
        there = ", ".join(str(int(state.name.removeprefix("step-"))) for state in states) or "none"
        raise ModelError(
            f"{run}: there is no saved state{'' if step is None else f' of step {step}'}.",
            f"Steps that are saved: {there}.",
        )
    return found


def _replace(output: Path, partial: Path) -> None:
    """Put a complete folder in another's place; refuses one that is no generator."""
    if not (output / "config.json").exists():
        raise OutputError(
            f"{output} is not a generator, so it is not replaced.",
            "",
            f"Name another folder with {option('output')}",
        )
    old = output.with_name(output.name + ".old")
    os.rename(output, old)
    os.rename(partial, output)
    shutil.rmtree(old)


def _card(name: str, config: dict[str, Any], with_raw: bool, run: Path) -> str:
    data, training, size = config["data"], config["training"], config["data"]["size"]
    width, height = (size, size) if isinstance(size, int) else size
    return README.format(
        name=name,
        width=width,
        height=height,
        frames=data["frames"],
        fps=data["fps"],
        caption=_caption(run),
        step=training["step"],
        clips=training["clips"],
        loss=f"{training['losses'].get('loss', float('nan')):.4g}",
        raw=", and the trained ones in model.raw.safetensors" if with_raw else "",
        encoder=config["text"]["encoder"],
        predict=config["diffusion"]["predict"],
        vgg=training["vgg"] or "none",
        fingerprint=training["data_fingerprint"][:16],
    )


def _caption(run: Path) -> str:
    """A caption that the generator was trained on, where the run still has them."""
    try:
        captions = read_json(run / "data" / "clips.json", CACHED)["captions"]
        return str(captions[0][0])
    except (InputError, KeyError, IndexError, TypeError):
        return "PROMPT"
