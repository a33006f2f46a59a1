"""Clips from the embedded model: a coloured shape or digit that moves, eight frames of 64x64, offline.

The denoiser of pictures becomes one of clips with the motion adapter, as in AnimateDiff. It
knows the words of drawn scenes and refuses a prompt that holds others.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from vedit.errors import UsageError, option
from vedit.jobs.generate.options import SHAPES, read_by
from vedit.jobs.generate.run import Choices, Made, Take, lora_hashes
from vedit.jobs.watch import Watch

if TYPE_CHECKING:
    from vedit.models.shapes.folder import ShapesModel

EMBEDDED = "shapes"
SUMMARY = f'"{EMBEDDED}", the embedded model of drawn scenes'
OPTIONS = read_by(SHAPES)
STEPS = 25
FPS = 10


def claims(model: str) -> bool:
    return model == EMBEDDED


def load(choices: Choices) -> ShapesMaker:
    """Load the embedded model and its motion adapter. Raises ModelError."""
    from vedit.models.adapters import locate
    from vedit.models.layout import SD
    from vedit.models.lora import merge
    from vedit.models.place import choose_device, choose_dtype
    from vedit.models.shapes import folder
    from vedit.models.shapes.motion import load_clip_denoiser

    folder.check_motion(folder.MOTION)
    device = choose_device(choices.device)
    model = folder.load(device=str(device))
    parts = {"unet": model.unet, "text_encoder": model.text_encoder}
    merge(EMBEDDED, parts, locate(choices.extra.get("lora", ()), SD, EMBEDDED))
    unet = load_clip_denoiser(model.unet, folder.MOTION).to(device)
    return ShapesMaker(model, unet, choose_dtype(choices.dtype, device), weights(choices))


def weights(choices: Choices | None = None) -> dict[str, Any]:
    """The hashes of the embedded weights, as their folders record them."""
    from vedit.models.shapes.folder import BUILTIN, MOTION, record_of

    denoiser, motion = record_of(BUILTIN)["files"], record_of(MOTION)["files"]
    return {
        "unet_sha256": denoiser["unet/diffusion_pytorch_model.safetensors"],
        "text_encoder_sha256": denoiser["text_encoder/model.safetensors"],
        "vae_sha256": denoiser["vae/diffusion_pytorch_model.safetensors"],
        "motion_adapter_sha256": motion["diffusion_pytorch_model.safetensors"],
        "motion_words_sha256": motion["motion_words.safetensors"],
        **(lora_hashes(choices) if choices else {}),
    }


class ShapesMaker:
    """Samples by DDIM with classifier-free guidance."""

    def __init__(self, model: ShapesModel, unet: Any, dtype: Any, hashes: dict[str, Any]) -> None:
        self.model, self.unet, self.dtype, self.hashes = model, unet, dtype, hashes

    def identity(self) -> dict[str, Any]:
        return self.hashes

    def make(self, request: Take, watch: Watch) -> Made:
        """Sample one clip. Raises UsageError for words, sizes and frame counts that it does not know."""
        import torch

        from vedit.data import scenes
        from vedit.engine.embedded import GUIDANCE, sample_clips
        from vedit.jobs.generate.run import rate_of
        from vedit.models.shapes.codec import decode
        from vedit.models.shapes.networks import ClipNetwork

        prompt, negative = read_prompt(request.prompt, request.seed), read_negative(request.negative)
        check_shape(request, scenes.FRAMES, scenes.SIDE)
        steps = request.steps or STEPS
        guidance = GUIDANCE if request.guidance is None else request.guidance
        if negative and guidance == 1:
            raise UsageError(
                "a negative prompt has no meaning with guidance 1.",
                "Guidance leads away from it.",
                f"Try {option('guidance', f'{GUIDANCE:g}')}",
            )
        if steps > self.model.schedule.train_steps:
            raise UsageError(
                f"{steps} steps are too many.",
                f"The model has {self.model.schedule.train_steps} noise levels.",
            )
        device = self.unet.device
        with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            stream = sample_clips(
                ClipNetwork(self.unet, self.model.schedule),
                self.model.text_encoder,
                [prompt],
                steps=steps,
                seed=request.seed,
                guidance=guidance,
                negative=negative,
            )
            *_, latents_BFCYX = watch(stream, steps, "sample")
            clip_FCYX = decode(self.model.vae, latents_BFCYX[0].float())
        frames = (clip_FCYX.float() * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        facts = {
            "caption": prompt,
            "steps": steps,
            "guidance": guidance,
            "frames": scenes.FRAMES,
            "size": [scenes.SIDE, scenes.SIDE],
        }
        return Made(frames, request.fps or rate_of(FPS), facts)


def read_prompt(prompt: str, seed: int) -> str:
    """Return the prompt as a complete caption. Raises UsageError for what no drawn scene shows.

    A colour or background that it does not name is drawn from the seed, so that all frames have
    the same; size, texture and pattern are medium, plain and plain, as for `vedit scene`.
    """
    from vedit.data import grammar

    said = grammar.parse_caption(prompt)
    rng = random.Random(seed)
    drawn = {"colour": rng.choice(grammar.COLOURS), "ground": rng.choice(grammar.GROUNDS)}
    defaults = {"size": "medium", "texture": "plain", "pattern": "plain", "motion": "still"}
    return grammar.caption({**drawn, **defaults, **said}, show_motion="motion" in said)


def read_negative(negative: str | None) -> str:
    """Return a negative prompt as the tokenizer reads it; it may be words without a shape."""
    return _words(negative) if negative else ""


def _words(text: str) -> str:
    from vedit.data.grammar import check_words
    from vedit.data.vocabulary import TEXT_LENGTH

    words = check_words(text)
    if len(words) > TEXT_LENGTH - 2:
        raise UsageError(
            f'"{text}" has {len(words)} words.', f"The embedded model reads {TEXT_LENGTH - 2} at most."
        )
    return " ".join(words)


def check_shape(request: Take, frames: int, side: int, name: str = "embedded model") -> None:
    """Refuse another size or length than the model makes. name: as messages call it."""
    if request.size not in (None, (side, side)):
        raise UsageError(
            f"the {name} makes pictures of {side}x{side} pixels.",
            f"Leave out {option('size')}; vedit gif resize enlarges a clip.",
        )
    if request.frames not in (None, frames):
        raise UsageError(
            f"the {name} makes clips of {frames} frames.",
            f"Leave out {option('frames')}; vedit gif speed changes how long a clip takes.",
        )
