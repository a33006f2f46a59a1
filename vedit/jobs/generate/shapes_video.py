"""Clips from the embedded video model: nine frames of 64x64 that one network draws together, offline.

It knows the words of drawn scenes and refuses a prompt that holds others.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit.errors import UsageError, option
from vedit.jobs.generate.options import SHAPES, read_by
from vedit.jobs.generate.run import Choices, Made, Take, lora_hashes
from vedit.jobs.generate.shapes import FPS, STEPS, check_shape, read_negative, read_prompt
from vedit.jobs.watch import Watch
from vedit.models.hub import EMBEDDED_VIDEO
from vedit.models.shapes.folder import is_packed_video

if TYPE_CHECKING:
    from vedit.models.family import Model

SUMMARY = f'"{EMBEDDED_VIDEO}", the embedded video model of drawn scenes, or a packed run of its training'
OPTIONS = read_by(SHAPES)
FRAMES, SIDE = 9, 64
GUIDANCE = 3.0


def claims(model: str) -> bool:
    """The embedded model, and a folder that `vedit models pack --video` made."""
    return model == EMBEDDED_VIDEO or is_packed_video(Path(model))


def load(choices: Choices) -> VideoMaker:
    """Load the model. Raises ModelError."""
    from vedit.models.load import load_model

    lora = choices.extra.get("lora", ())
    model = load_model(choices.model, device=choices.device, dtype=choices.dtype, lora=lora)
    return VideoMaker(model, weights(choices))


def weights(choices: Choices) -> dict[str, Any]:
    """The hashes of the weights, as their folder records them."""
    from vedit.models.shapes.folder import VIDEO, record_of

    files = record_of(VIDEO if choices.model == EMBEDDED_VIDEO else Path(choices.model))["files"]
    return {
        "transformer_sha256": files["transformer/diffusion_pytorch_model.safetensors"],
        "text_encoder_sha256": files["text_encoder/model.safetensors"],
        "vae_sha256": files["vae/diffusion_pytorch_model.safetensors"],
        **lora_hashes(choices),
    }


class VideoMaker:
    """Samples by Euler steps with classifier-free guidance."""

    def __init__(self, model: Model, hashes: dict[str, Any]) -> None:
        self.model, self.hashes = model, hashes

    def identity(self) -> dict[str, Any]:
        return self.hashes

    def make(self, request: Take, watch: Watch) -> Made:
        """Sample one clip. Raises UsageError for words, sizes and frame counts that it does not know."""
        from vedit.engine.embedded import unit_noise
        from vedit.engine.sample import Stream, sample
        from vedit.jobs.generate.run import rate_of
        from vedit.pixels import to_bytes

        model = self.model
        prompt, negative = read_prompt(request.prompt, request.seed), read_negative(request.negative)
        check_shape(request, FRAMES, SIDE, "embedded video model")
        steps, guidance = request.steps or STEPS, GUIDANCE if request.guidance is None else request.guidance
        if negative and guidance == 1:
            raise UsageError(
                "a negative prompt has no meaning with guidance 1.",
                "Guidance leads away from it.",
                f"Try {option('guidance', f'{GUIDANCE:g}')}",
            )
        timesteps, size = model.schedule.timesteps(steps), model.latent_size((SIDE, SIDE))
        noise_CFYX = unit_noise(1, (model.channels, model.frames(FRAMES), *size), request.seed)[0]
        said, unsaid = (model.encode_prompt(text).to(model.device) for text in (prompt, negative))
        stream = Stream("tgt", noise_CFYX.transpose(0, 1).to(model.device), said, unsaid, guidance)
        for _ in watch(sample(model, timesteps, [stream]), steps, "sample"):
            pass
        frames = to_bytes(model.decode_latents(stream.latents)[:FRAMES])
        facts = {
            "caption": prompt,
            "steps": steps,
            "guidance": guidance,
            "frames": FRAMES,
            "size": [SIDE, SIDE],
        }
        return Made(frames, request.fps or rate_of(FPS), facts)
