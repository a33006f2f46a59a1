"""Train the embedded instruction editor: drawn scenes before and after an edit, and what to type for it.

The network begins as the embedded video model, which draws from a caption, and learns to draw what an
instruction makes of a source. Three steps of four are single pictures, each a clip of one latent frame, and
the fourth clips of nine frames, five latent frames; one in four shows a reference picture as well. Positions
are shared by source and target, so that what single pictures teach holds in clips.

Source: EasyV2V (arXiv 2512.16920), for what is seen and how pairs are made. Deviation: all weights train.

Tensor names: B pairs, F latent frames of each, N pictures (B x F), C latent channels, Y X latent rows and
columns, L text tokens, E text width.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vedit.data import edits, instructions, scenes, vocabulary
from vedit.data.cases import Case, load_cases
from vedit.engine.sample import Stream, sample
from vedit.models.shapes import instruct, video
from vedit.models.shapes.codec import decode
from vedit.models.shapes.text import padded
from vedit.models.wan.conditions import Conditions, Way, predict
from vedit.models.wan.editing import EditNetwork
from vedit.training import flow, shapes
from vedit.training.loop import seeded
from vedit.training.shapes_video import CLIP_FRAMES, LATENT_FRAMES, stratified_levels

DROPPED_TEXTS, DROPPED_SOURCES = 0.1, 0.05
CHANGED_WEIGHT = 5.0
REUSE = 4  # turns of a block, each with new noise, levels and wordings
BLOCK = 512  # pairs of single pictures that are drawn at once; a fifth as many clips
CASES, GUIDANCE, STEPS = "drawn-scenes-tuning", 3.0, 10
SAMPLE_SEED = 9_000_021


class Instruct(nn.Module):
    """What trains, under the names of the packed folder."""

    def __init__(self, channels: int, way: Way = instruct.WAY, text_encoder: Any = None) -> None:
        super().__init__()
        self.transformer = instruct.transformer(channels, way)
        self.text_encoder = instruct.text_encoder(text_encoder)


@dataclass(frozen=True)
class Block:
    """Pairs that are drawn and coded together. latents by name, each BFCYX; changed_BFYX on their grid.

    whole_BF: whether the edit holds in all of a frame, so that it shows the scene after it.
    """

    drawn: edits.DrawnEdits
    latents: dict[str, Tensor]
    changed_BFYX: Tensor
    whole_BF: Tensor


class InstructTask:
    """The velocity of the edited clip, weighted 1 + `mask_weight` where the edit changes it."""

    def __init__(
        self,
        codec: Any,
        text_encoder: Any,
        *,
        seed: int,
        batch: int = 16,
        way: Way = instruct.WAY,
        device: str = "cpu",
        precision: str = "fp32",
        mask_weight: float = CHANGED_WEIGHT,
        block: int = BLOCK,
    ) -> None:
        """codec, text_encoder: of the picture model; the second one's weights are the first of ours. batch:
        single pictures of a step; clips are a fifth as many.
        """
        self.device = torch.device(device)
        self.codec = codec.to(device).requires_grad_(False).eval()
        self.seed, self.batch, self.precision, self.mask_weight = seed, batch, precision, mask_weight
        self.block = block
        torch.manual_seed(seed)
        self.model = Instruct(codec.config.latent_channels, way, text_encoder).to(self.device)
        with torch.no_grad():
            white = torch.ones(1, 3, scenes.SIDE, scenes.SIDE, device=self.device)
            self.blank_CYX = self.coded(white)[0]
        self.blocks: dict[tuple[bool, bool], tuple[int, Block]] = {}
        self.config: dict[str, Any] = {
            "transformer": video.TRANSFORMER,
            "channels": codec.config.latent_channels,
            "way": way,
            "positions": instruct.POSITIONS,
            "words": len(instructions.WORDS),
            "batch": batch,
            "block": block,
            "reuse": REUSE,
            "mask_weight": mask_weight,
            "dropped_texts": DROPPED_TEXTS,
            "dropped_sources": DROPPED_SOURCES,
            "precision": precision,
        }

    # --- what a step sees ---

    def is_clips(self, step: int) -> bool:
        return step % 4 == 3

    def has_reference(self, step: int) -> bool:
        return step // 4 % 4 == step % 4

    def count(self, step: int) -> int:
        """Pairs of a step."""
        return max(1, self.batch // LATENT_FRAMES) if self.is_clips(step) else self.batch

    def pictures(self, step: int) -> int:
        return self.count(step) * (LATENT_FRAMES if self.is_clips(step) else 1)

    def losses(self, step: int) -> dict[str, Tensor]:
        block, rows = self._rows(step)
        generator = seeded(self.seed, 3, step, self.device)
        target_BFCYX = block.latents["target"][rows]
        noise = torch.randn(target_BFCYX.shape, generator=generator, device=self.device)
        level_B = stratified_levels(len(rows), generator)
        dropped = torch.rand(2, len(rows), generator=generator, device=self.device)
        text_BLE = self._text(block, rows.tolist(), step, (dropped[0] < DROPPED_TEXTS).tolist())
        given = self._given(block, rows, dropped[1] >= DROPPED_SOURCES)
        noisy = flow.mixed(target_BFCYX, noise, level_B)
        with shapes.precision(self.device, self.precision):
            v_BCFYX = predict(
                self.model.transformer, noisy.transpose(1, 2), video.TIMESTEPS * level_B, text_BLE, given
            )
        error_BFYX = (
            (v_BCFYX.float().transpose(1, 2) - flow.velocity(target_BFCYX, noise)).square().mean(dim=2)
        )
        weight_BFYX = 1 + self.mask_weight * block.changed_BFYX[rows]
        weight_BFYX = weight_BFYX / weight_BFYX.mean()
        return {"loss": (weight_BFYX * error_BFYX).mean(), "plain": error_BFYX.mean()}

    def _given(self, block: Block, rows: Tensor, seen_B: Tensor) -> Conditions:
        """The conditions of some pairs; a source that is dropped is all zeros."""
        source = block.latents["source"][rows] * seen_B.view(-1, 1, 1, 1, 1)
        reference = block.latents["reference"][rows] if "reference" in block.latents else None
        parts = (source, block.latents["mask"][rows], reference)
        return Conditions(*(None if part is None else part.transpose(1, 2) for part in parts))

    def _text(self, block: Block, rows: Sequence[int], step: int, dropped: Sequence[bool]) -> Tensor:
        rng = random.Random(self.seed * 1_000_000_007 + step)
        said = block.drawn.instructions(rng, rows)
        return encoded(
            self.model.text_encoder, ["" if drop else text for text, drop in zip(said, dropped, strict=True)]
        )

    def _rows(self, step: int) -> tuple[Block, Tensor]:
        """The block of a step and which of its pairs the step sees; drawn when the step is its first."""
        kind, count = (self.is_clips(step), self.has_reference(step)), self.count(step)
        turn = sum(
            (self.is_clips(each), self.has_reference(each)) == kind for each in range(step // 16 * 16, step)
        ) + step // 16 * (1 if kind[1] and kind[0] else 3 if kind[0] or kind[1] else 9)
        size = max(count, (self.block // LATENT_FRAMES if kind[0] else self.block) // count * count)
        steps = size // count
        number = turn // (steps * REUSE)
        if self.blocks.get(kind, (-1,))[0] != number:
            self.blocks[kind] = number, self._drawn(kind, number, size)
        order = torch.randperm(
            size, generator=seeded(self.seed, 4, 4 * (turn // steps) + 2 * kind[0] + kind[1])
        )
        place = turn % steps
        return self.blocks[kind][1], order[place * count : (place + 1) * count].to(self.device)

    @torch.no_grad()
    def _drawn(self, kind: tuple[bool, bool], number: int, size: int) -> Block:
        is_clips, has_reference = kind
        generator = seeded(self.seed, 5, 4 * number + 2 * is_clips + has_reference, self.device)
        drawn = edits.draw(size, generator, clips=is_clips, like=has_reference)
        if is_clips:
            path_BF = torch.linspace(0, 1, LATENT_FRAMES, device=self.device).expand(size, -1)
            time_BF = edits.middles(CLIP_FRAMES, size)[:, ::2].to(self.device)
        else:
            path_BF = torch.rand(size, 1, generator=generator, device=self.device)
            time_BF = path_BF
        before, after = drawn_pair(drawn, path_BF, time_BF, generator)
        mask = drawn.mask(time_BF)
        latents = {
            "source": self.coded(before).unflatten(0, (size, -1)),
            "target": self.coded(after).unflatten(0, (size, -1)),
            "mask": self._mask_latents(drawn, mask),
        }
        if has_reference:
            shown = edits.references(drawn, generator)
            latents["reference"] = self.coded(scenes.draw(shown, torch.zeros(size, device=self.device)))[
                :, None
            ]
        changed = scenes.changed_pixels(before, after, grow=0).float()
        changed = nn.functional.max_pool2d(changed[:, None], 4)[:, 0].unflatten(0, (size, -1))
        return Block(drawn, latents, changed, drawn.weights(time_BF).amin(dim=(2, 3)) == 1)

    def _mask_latents(self, drawn: edits.DrawnEdits, mask_BFYX: Tensor) -> Tensor:
        """Masks as coded clips of white and black; those that are not told are white."""
        count, frames = mask_BFYX.shape[:2]
        latents = self.blank_CYX.expand(count, frames, *self.blank_CYX.shape).clone()
        told = drawn.masked_B.nonzero()[:, 0]
        if len(told):
            shown = mask_BFYX[told].flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
            latents[told] = self.coded(shown).unflatten(0, (len(told), frames))
        return latents

    @torch.no_grad()
    def coded(self, pictures_NCYX: Tensor) -> Tensor:
        """The latents of pictures in 0..1: the middle of what the codec gives."""
        with shapes.precision(self.device, self.precision):
            parts = [self.codec.encode(2 * part - 1).latent_dist.mean for part in pictures_NCYX.split(64)]
        return torch.cat(parts).float()

    # --- how far it is ---

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        """Shares of right answers on the cases that may be tuned on, on single pictures and on clips."""
        cases, found = load_cases(CASES), dict[str, Any]()
        for name, frames, chosen in (("picture", 1, cases), ("clip", LATENT_FRAMES, cases[::3])):
            right, kept = self._tried(model, chosen, frames)
            found |= {name: round(sum(right) / len(right), 3), f"{name} kept dB": round(kept, 2)}
            if frames == 1:
                found |= {
                    kind: round(sum(hits) / len(hits), 2)
                    for kind in dict.fromkeys(case.kind for case in chosen)
                    if (hits := [hit for hit, case in zip(right, chosen, strict=True) if case.kind == kind])
                }
        return found

    def _tried(self, model: Any, cases: Sequence[Case], frames: int) -> tuple[list[bool], float]:
        """Which cases are answered rightly, and how well the rest of the picture is kept, in dB."""
        path_F = torch.linspace(0, 1, frames) if frames > 1 else torch.full((1,), 0.5)
        right, errors = [], []
        for first in range(0, len(cases), 12):
            chosen = cases[first : first + 12]
            sources = torch.stack([still(case.scene, path_F) for case in chosen])
            source = self.coded(sources.flatten(0, 1).to(self.device)).unflatten(0, (len(chosen), -1))
            said = [case.instruction for case in chosen]
            latents = edited(model, source, self.blank_CYX, said, steps=STEPS, guidance=GUIDANCE)
            pictures = decode(self.codec, latents.flatten(0, 1)).unflatten(0, (len(chosen), -1)).cpu()
            for case, before, shown in zip(chosen, sources, pictures, strict=True):
                far = {
                    value: float((shown - still(scene, path_F)).square().mean())
                    for value, scene in case.alternatives().items()
                }
                right.append(min(far, key=lambda value: far[value]) == case.value)
                same = ~scenes.changed_pixels(before, still(case.truth, path_F))
                if same.any():
                    errors.append(float((shown - before).square().mean(dim=1)[same].mean()))
        return right, -10 * float(torch.tensor(errors).mean().log10())


def drawn_pair(
    drawn: edits.DrawnEdits, path_BF: Tensor, time_BF: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The pictures of each pair before and after, NCYX in 0..1, with the same grain.

    path_BF: how far the object is on its way; time_BF: the time of each frame, which says whether it is
    edited.
    """
    frames = path_BF.shape[1]
    rows = torch.arange(len(drawn), device=path_BF.device).repeat_interleave(frames)
    old, new = drawn.before[rows], drawn.after[rows]
    before, after = scenes.draw(old, path_BF.flatten()), scenes.draw(new, path_BF.flatten())
    after = torch.lerp(before, after, drawn.weights(time_BF).flatten(0, 1)[:, None])
    noise = torch.randn(before.shape, generator=generator, device=before.device)
    return scenes.add_grain(before, old, noise), scenes.add_grain(after, old, noise)


def still(scene: scenes.Scene, path_F: Tensor) -> Tensor:
    """A scene without grain at some moments of its path, FCYX in 0..1."""
    return scenes.draw(scenes.stack([scene] * len(path_F)), path_F)


def encoded(text_encoder: Any, texts: list[str]) -> Tensor:
    """The states of instructions, zero behind each end."""
    ids_BL = vocabulary.token_ids(texts, instructions.WORDS).to(text_encoder.device)
    return padded(text_encoder(ids_BL).last_hidden_state, ids_BL, vocabulary.end_id(instructions.WORDS))


@torch.no_grad()
def edited(
    model: Any, source_BFCYX: Tensor, mask_CYX: Tensor, said: list[str], *, steps: int, guidance: float
) -> Tensor:
    """The latents of edited clips, BFCYX, one for each instruction; noise i depends on i alone."""
    count, frames = source_BFCYX.shape[:2]
    mask = mask_CYX.expand(count, frames, *mask_CYX.shape)
    given = Conditions(source_BFCYX.transpose(1, 2), mask.transpose(1, 2))
    network = EditNetwork(model.transformer, video.SCHEDULE, text_tokens=vocabulary.TEXT_LENGTH, given=given)
    text_BLE, none_BLE = (encoded(model.text_encoder, texts) for texts in (said, [""] * count))
    streams = []
    for row in range(count):
        noise = torch.randn(
            source_BFCYX.shape[1:], generator=torch.Generator().manual_seed(SAMPLE_SEED + row)
        ).to(source_BFCYX)
        streams.append(Stream(str(row), noise, text_BLE[[row]], none_BLE[[row]], guidance))
    for _ in sample(network, network.schedule.timesteps(steps), streams):
        pass
    return torch.stack([stream.latents for stream in streams])
