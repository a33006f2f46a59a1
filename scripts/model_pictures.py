"""Draw the contact sheets of the embedded model: scenes, samples by attribute, reconstructions.

    python scripts/model_pictures.py [MODEL_FOLDER] [--only scenes]

Writes docs/img/shapes-scenes.png, shapes-samples.png and shapes-reconstructions.png.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vedit.app.shapes_model import BUILTIN, load
from vedit.data import grammar, scenes

IMG = Path(__file__).resolve().parent.parent / "docs" / "img"
BASE = {"shape": "circle", "colour": "red", "texture": "plain", "size": "large", "ground": "grey", "pattern": "plain"}
ROWS = {**{name: values for name, values in grammar.FIELDS.items() if name != "motion"}}


def sheet(rows: list[Tensor], path: Path, gap: int = 2) -> None:
    """Lay rows of pictures (B, 3, Y, X in 0..1) under each other on white."""
    side, columns = scenes.SIDE + gap, max(len(row) for row in rows)
    canvas = Image.new("RGB", (columns * side + gap, len(rows) * side + gap), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate((row * 255 + 0.5).byte().permute(0, 2, 3, 1).numpy()):
            canvas.paste(Image.fromarray(picture), (gap + x * side, gap + y * side))
    canvas.quantize(256).save(path, optimize=True)
    print(path, canvas.size, path.stat().st_size, "bytes")


def draw_scenes() -> None:
    """Twelve held-out scenes a row, three rows, then one clip of eight frames and its edits."""
    records = scenes.sample_records(36, 1, held_out=True)
    rows = [torch.cat([scenes.clip(record, 1) for record in records[i : i + 12]]) for i in (0, 12, 24)]
    clip = replace(records[0], shape="star", size="medium", texture="plain", colour="red", ground="teal", motion="right", x=20.0, y=32.0, span=16.0)
    for fields in ({}, {"colour": "yellow"}, {"texture": "striped"}, {"ground": "pink"}, {"pattern": "checkered"}):
        rows.append(scenes.clip(clip.edited(**fields)))
    sheet(rows, IMG / "shapes-scenes.png")


def draw_samples(model: Any) -> None:
    """One row per attribute, one column per value; then prompts with everything in them."""
    from vedit.train.shapes_gates import decode, sample_latents

    rows = []
    for name, values in ROWS.items():
        captions = [grammar.caption({**BASE, name: value}, show_motion=False) for value in values]
        latents = sample_latents(model.unet, model.text_encoder, model.scheduler, captions, steps=50, seed=100)
        rows.append(decode(model.vae, latents))
    records = scenes.sample_records(14, 2, held_out=True)
    captions = [record.caption for record in records]
    pictures = decode(model.vae, sample_latents(model.unet, model.text_encoder, model.scheduler, captions, steps=50, seed=200))
    rows += [pictures[:7], pictures[7:]]
    print("\n".join(captions))
    sheet(rows, IMG / "shapes-samples.png")


@torch.no_grad()
def draw_reconstructions(model: Any) -> None:
    """Source, codec, plain DDIM inversion, fixed-point inversion; 50 steps."""
    from vedit.train import shapes
    from vedit.train.shapes_gates import decode, invert, reconstruct

    records = scenes.sample_records(10, 4, held_out=True)
    source = torch.cat([scenes.clip(record, 1) for record in records])
    text = model.text_encoder(shapes.token_ids([record.caption for record in records])).last_hidden_state
    clean = model.vae.encode(2 * source - 1).latent_dist.mean
    model.scheduler.set_timesteps(50)
    rows = [source, decode(model.vae, clean)]
    for passes in (0, 1):

        def predict(latents: Tensor, timestep: int) -> Any:
            return model.unet(latents, timestep, encoder_hidden_states=text).sample

        *_, noise = invert(predict, model.scheduler, clean, passes)
        rows.append(decode(model.vae, reconstruct(predict, model.scheduler, noise)))
    sheet(rows, IMG / "shapes-reconstructions.png")


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    IMG.mkdir(parents=True, exist_ok=True)
    draw_scenes()
    if "--only" not in sys.argv:
        loaded = load(Path(arguments[0]) if arguments else BUILTIN)
        draw_samples(loaded)
        draw_reconstructions(loaded)
