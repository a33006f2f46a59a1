"""Train the scorer: an open_clip image-text model of drawn scenes.

Each batch holds scenes in variants that share every nuisance and differ in one or two fields,
so the in-batch negatives are the hard ones. Pairs that say the same are masked out of the
softmax. At first half of the variants change the shape and one always the size: a contrastive
loss is content with colour otherwise. Shape is then right and texture is not (.98 and .68 of
256 after 0.19 million pairs), so from step TEXTURE_FROM on half of them change the texture.
A digit's other shapes are digits. Linear read-outs of each field help during training and are
dropped afterwards.

Tensor names: B pictures (= captions), C colours, Y X rows and columns, D embedding, L tokens.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vedit.data import grammar, scenes, vocabulary
from vedit.models.shapes import parts
from vedit.models.shapes.judge import JUDGED
from vedit.training import shapes
from vedit.training.loop import seeded
from vedit.training.shapes_judge import soften

VARIANTS = 8
READOUT_WEIGHT = 0.2
TEXTURE_FROM = 3750
DIGITS_FROM = 8200
DIGITS_LATER = 0.5  # of the scenes from then on
VALUES = {name: grammar.SHAPES if name == "shape" else grammar.FIELDS[name] for name in JUDGED}
# Which field each variant changes; the last two change one more at random.
SHAPE_FIRST = (None, "shape", "shape", "shape", "shape", "size", "texture", None)
TEXTURE_LATER = (None, "texture", "texture", "texture", "texture", "size", "shape", "shape")
DIGITS_LAST = (None, "shape", "shape", "shape", "shape", "texture", "texture", "size")


class Scorer(nn.Module):
    """The open_clip model and the read-outs that only training uses."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = parts.scorer()
        width = parts.SCORER["embed_dim"]
        heads = {name: nn.Linear(width, len(grammar.FIELDS[name])) for name in JUDGED}
        self.image_heads = nn.ModuleDict(heads)
        self.text_heads = nn.ModuleDict(
            {name: nn.Linear(width, len(grammar.FIELDS[name])) for name in JUDGED}
        )


class ScorerTask:
    """Contrastive loss over hard negatives, plus 0.2 x cross-entropy of each field."""

    def __init__(self, *, seed: int, batch: int = 64, device: str = "cpu", precision: str = "fp32") -> None:
        torch.manual_seed(seed)
        self.model = Scorer().to(device)
        self.seed, self.batch, self.precision = seed, batch, precision
        self.device = torch.device(device)
        self.config: dict[str, Any] = {
            "scorer": parts.SCORER,
            "batch": batch,
            "variants": VARIANTS,
            "readout_weight": READOUT_WEIGHT,
            "digits": shapes.DIGIT_SHARE,
            "precision": precision,
        }

    def pictures(self, step: int) -> int:
        return self.batch

    def losses(self, step: int) -> dict[str, Tensor]:
        generator = seeded(self.seed, 7, step, self.device)
        changed = SHAPE_FIRST if step < TEXTURE_FROM else TEXTURE_LATER if step < DIGITS_FROM else DIGITS_LAST
        digits = shapes.DIGIT_SHARE if step < DIGITS_FROM else DIGITS_LATER
        batch = variants(self.batch // VARIANTS, generator, changed, digits)
        rng = random.Random(self.seed * 1_000_000_007 + step)
        captions = [grammar.varied_caption(words, rng, complete=True) for words in batch.words()]
        pictures_BCYX = normalise(soften(grainy(batch, generator), generator))
        with shapes.precision(self.device, self.precision):
            image_BD = self.model.clip.encode_image(pictures_BCYX).float()
            text_BD = self.model.clip.encode_text(vocabulary.token_ids(captions).to(self.device)).float()
        contrast = contrastive_loss(image_BD, text_BD, self.model.clip.logit_scale.exp(), same_pairs(batch))
        readout = torch.stack(
            [
                functional.cross_entropy(heads[name](vector_BD), batch.fields[name])
                for heads, vector_BD in ((self.model.image_heads, image_BD), (self.model.text_heads, text_BD))
                for name in JUDGED
            ]
        ).sum()
        return {"loss": contrast + READOUT_WEIGHT * readout, "contrast": contrast, "readout": readout}

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        right = {**scorer_right(model.clip, 256), "digit": digits_right(model.clip, 256)}
        return {name: round(float(values.float().mean()), 4) for name, values in right.items()}


def normalise(pictures_BCYX: Tensor) -> Tensor:
    """Bring pictures in 0..1 to what the scorer sees: mean 0.5, deviation 0.5."""
    return 2 * pictures_BCYX - 1


def grainy(batch: scenes.Scenes, generator: torch.Generator) -> Tensor:
    pictures_BCYX = scenes.draw(batch, torch.zeros(len(batch), device=batch.device))
    noise = torch.randn(pictures_BCYX.shape, generator=generator, device=batch.device)
    return scenes.add_grain(pictures_BCYX, batch, noise)


def variants(
    count: int, generator: torch.Generator, changed: Sequence[str | None], digits: float = shapes.DIGIT_SHARE
) -> scenes.Scenes:
    """Draw scenes, each in VARIANTS that change the fields named; None is the scene itself.

    digits: the share of scenes that show one.
    """
    batch = with_room(scenes.sample(count, generator, digits=digits), generator)
    rows = torch.arange(count, device=generator.device).repeat_interleave(VARIANTS)
    batch = batch[rows]
    fields = {name: values.view(count, VARIANTS).clone() for name, values in batch.fields.items()}
    for place, name in enumerate(changed):
        if name:
            fields[name][:, place] = _other(fields[name][:, place], name, generator)
    for place in (VARIANTS - 2, VARIANTS - 1):
        picked = torch.randint(len(JUDGED), (count,), generator=generator, device=generator.device)
        for index, name in enumerate(JUDGED):
            other = _other(fields[name][:, place], name, generator)
            fields[name][:, place] = torch.where(picked == index, other, fields[name][:, place])
    return batch.with_fields(**{name: values.flatten() for name, values in fields.items()})


def _other(values: Tensor, name: str, generator: torch.Generator) -> Tensor:
    """Return, for each value of a field, a different one; a digit for a digit."""
    shapes_count = len(grammar.SHAPES)
    is_digit = (values >= shapes_count) & (name == "shape")
    first = torch.where(is_digit, shapes_count, 0)
    total = torch.where(is_digit, len(grammar.DIGITS), len(VALUES[name]))
    step = 1 + (torch.rand(values.shape, generator=generator, device=values.device) * (total - 1)).long()
    return first + (values - first + step) % total


def with_room(batch: scenes.Scenes, generator: torch.Generator) -> scenes.Scenes:
    """Freeze each scene at one moment, where an object of any size stays inside the picture."""
    reach = scenes.REACH * (max(scenes.RADII.values()) + 0.5)
    place = torch.rand(2, len(batch), generator=generator, device=generator.device)
    x_B, y_B = reach + (scenes.SIDE - 2 * reach) * place
    return scenes.Scenes(batch.fields, {**batch.floats, "x": x_B, "y": y_B})


def same_pairs(batch: scenes.Scenes) -> Tensor:
    """Mark the pairs of scenes that look alike in every judged field, but for the diagonal."""
    codes = torch.stack([batch.fields[name] for name in JUDGED], dim=1)
    same = (codes[:, None] == codes[None]).all(dim=2)
    return same & ~torch.eye(len(batch), dtype=torch.bool, device=batch.device)


def contrastive_loss(image_BD: Tensor, text_BD: Tensor, scale: Tensor, same_BB: Tensor) -> Tensor:
    """Return the symmetric cross-entropy of matching pairs, ignoring pairs that say the same."""
    image_BD, text_BD = functional.normalize(image_BD, dim=1), functional.normalize(text_BD, dim=1)
    logits_BB = (scale.clamp(max=100) * image_BD @ text_BD.T).masked_fill(same_BB, -torch.inf)
    target_B = torch.arange(len(logits_BB), device=logits_BB.device)
    return 0.5 * (
        functional.cross_entropy(logits_BB, target_B) + functional.cross_entropy(logits_BB.T, target_B)
    )


def scorer_right(clip: Any, count: int, seed: int = 9_000_004) -> dict[str, Tensor]:
    """Choose among all values of one field with the rest of the caption fixed: the hard test.

    Returns per field, for held-out scenes without digits, whether the right caption scores highest.
    """
    return _chosen(clip, count, seed, VALUES, digits=0.0)


def digits_right(clip: Any, count: int, seed: int = 9_000_004) -> Tensor:
    """Choose among the ten digits for held-out scenes of digits: bool, B."""
    return _chosen(clip, count, seed, {"shape": grammar.DIGITS}, digits=1.0)["shape"]


@torch.no_grad()
def _chosen(
    clip: Any, count: int, seed: int, values: Mapping[str, Sequence[str]], digits: float
) -> dict[str, Tensor]:
    was_training = clip.training
    clip.eval()
    device = next(clip.parameters()).device
    generator = seeded(seed, 0, 0, device)
    batch = with_room(scenes.sample(count, generator, held_out=True, digits=digits), generator)
    image_BD = functional.normalize(clip.encode_image(normalise(grainy(batch, generator))), dim=1)
    right = {}
    for name in values:
        captions = [
            grammar.caption({**words, name: value}, show_motion=False)
            for words in batch.words()
            for value in values[name]
        ]
        text = functional.normalize(clip.encode_text(vocabulary.token_ids(captions).to(device)), dim=1)
        scores = torch.einsum("bd,bvd->bv", image_BD, text.view(count, -1, text.shape[1]))
        said = scores.argmax(dim=1) + grammar.FIELDS[name].index(values[name][0])
        right[name] = said == batch.fields[name]
    clip.train(was_training)
    return right
