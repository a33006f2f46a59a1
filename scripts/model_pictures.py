"""Draw the contact sheets of the embedded model: scenes, samples by attribute, reconstructions, clips.

    python scripts/model_pictures.py [MODEL_FOLDER] [--only scenes|samples|reconstructions|clips]

Writes docs/img/shapes-scenes.png, shapes-samples.png, shapes-reconstructions.png and shapes-clips.png.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vedit.data import grammar, scenes
from vedit.models.shapes.folder import BUILTIN, MOTION, load

IMG = Path(__file__).resolve().parent.parent / "docs" / "img"
BASE = {
    "shape": "circle",
    "colour": "red",
    "texture": "plain",
    "size": "large",
    "ground": "grey",
    "pattern": "plain",
}
ROWS: list[tuple[str, tuple[str, ...]]] = [
    ("shape", grammar.SHAPES),
    ("shape", grammar.DIGITS),
    *((name, values) for name, values in grammar.FIELDS.items() if name not in ("shape", "motion")),
]
CLIPS = (
    "digit 5 moving left",
    "a red circle moving right on a grey background",
    "a large yellow star moving down on a navy background",
    "a white digit 8 standing still on a black background",
    "a small green square moving up on a pink background",
    "a striped blue ring moving left on a checkered brown background",
)


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
    clip = replace(
        records[0],
        shape="star",
        size="medium",
        texture="plain",
        colour="red",
        ground="teal",
        motion="right",
        x=20.0,
        y=32.0,
        span=16.0,
    )
    for fields in (
        {},
        {"colour": "yellow"},
        {"texture": "striped"},
        {"ground": "pink"},
        {"pattern": "checkered"},
    ):
        rows.append(scenes.clip(clip.edited(**fields)))
    sheet(rows, IMG / "shapes-scenes.png")


def draw_samples(model: Any) -> None:
    """One row per attribute, one column per value; then prompts with everything in them."""
    from vedit.engine.embedded import sample_pictures
    from vedit.models.shapes.codec import decode
    from vedit.models.shapes.networks import PictureNetwork

    network, rows = PictureNetwork(model.unet, model.schedule), []
    for name, values in ROWS:
        captions = [grammar.caption({**BASE, name: value}, show_motion=False) for value in values]
        latents = sample_pictures(network, model.text_encoder, captions, steps=50, seed=100)
        rows.append(decode(model.vae, latents))
    records = scenes.sample_records(14, 2, held_out=True)
    captions = [record.caption for record in records]
    pictures = decode(
        model.vae,
        sample_pictures(network, model.text_encoder, captions, steps=50, seed=200),
    )
    rows += [pictures[:7], pictures[7:]]
    print("\n".join(captions))
    sheet(rows, IMG / "shapes-samples.png")


@torch.no_grad()
def draw_reconstructions(model: Any) -> None:
    """Source, codec, plain DDIM inversion, fixed-point inversion; 50 steps."""
    from vedit.data import vocabulary
    from vedit.engine.invert import invert
    from vedit.engine.sample import Stream, sample
    from vedit.models.shapes.codec import decode
    from vedit.models.shapes.networks import PictureNetwork

    records = scenes.sample_records(10, 4, held_out=True)
    source = torch.cat([scenes.clip(record, 1) for record in records])
    text = model.text_encoder(vocabulary.token_ids([record.caption for record in records])).last_hidden_state
    clean = model.vae.encode(2 * source - 1).latent_dist.mean
    network, timesteps = PictureNetwork(model.unet, model.schedule), model.schedule.timesteps(50)
    rows = [source, decode(model.vae, clean)]
    for passes in (0, 1):
        *_, there = invert(network, timesteps, clean, text, fixed_point=passes)
        *_, back = sample(network, timesteps, [Stream("src", there.latents, text)])
        rows.append(decode(model.vae, back.latents["src"]))
    sheet(rows, IMG / "shapes-reconstructions.png")


def draw_clips(model: Any) -> None:
    """One clip a row, eight frames; what the prompts say is in CLIPS."""
    from vedit.engine.embedded import sample_clips
    from vedit.models.shapes.codec import decode
    from vedit.models.shapes.motion import load_clip_denoiser
    from vedit.models.shapes.networks import ClipNetwork

    network = ClipNetwork(load_clip_denoiser(model.unet, MOTION), model.schedule)
    *_, latents = sample_clips(network, model.text_encoder, list(CLIPS), steps=25, seed=0)
    print("\n".join(CLIPS))
    sheet([decode(model.vae, clip) for clip in latents], IMG / "shapes-clips.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=BUILTIN)
    parser.add_argument("--only", choices=["scenes", "samples", "reconstructions", "clips"])
    chosen = parser.parse_args()
    IMG.mkdir(parents=True, exist_ok=True)
    if chosen.only in (None, "scenes"):
        draw_scenes()
    drawings = {"samples": draw_samples, "reconstructions": draw_reconstructions, "clips": draw_clips}
    wanted = [draw for name, draw in drawings.items() if chosen.only in (None, name)]
    loaded = load(chosen.folder) if wanted else None
    for draw in wanted:
        draw(loaded)
