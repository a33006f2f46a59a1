"""A picture as tokens that cross-attention sees beside the text's (IP-Adapter), for Stable Diffusion's UNets.

    out = Attn(q, K_text, V_text) + w Attn(q, T W_k, T W_v)          T: tokens of the picture

Source: Ye et al. 2023. Files are read and converted by diffusers' own loader for its UNets; what its
attention processors would do is done by a rule of the engine, so that what a method controls stays
controlled.
Shape letters: T tokens of the picture, E width of text, N heads, D head width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vedit.errors import ModelError, option, read_fault
from vedit.models.hub import first_line, hash_weights
from vedit.models.images import Adapter
from vedit.models.lora import read
from vedit.models.parts import loaded
from vedit.models.sd.single_file import digest_of

FACES = ("perceiver_resampler.proj_in.weight", "norm.weight")  # of adapters that read a face, not a picture


class ImageAdapter(NamedTuple):
    """A loaded adapter. keys, values: weights by the path of the cross-attention. sees_all: it reads all
    states of the encoder, not the embedding alone.
    """

    name: str
    projection: Any
    keys: dict[str, Tensor]
    values: dict[str, Tensor]
    encoder: Any
    sees_all: bool
    sha256: str
    encoder_sha256: str

    def keys_of(self, path: str, tokens_1TE: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (1, T, N D) of tokens at a cross-attention."""
        linear = torch.nn.functional.linear
        return linear(tokens_1TE, self.keys[path].to(tokens_1TE)), linear(
            tokens_1TE, self.values[path].to(tokens_1TE)
        )

    @torch.inference_mode()
    def tokens(self, picture: Any) -> tuple[Tensor, Tensor]:
        """The tokens (1, T, E) of a PIL picture, and those that guidance leads away from."""
        from transformers import CLIPImageProcessor

        side = self.encoder.config.image_size
        prepared = CLIPImageProcessor(size=side, crop_size=side)(picture, return_tensors="pt").pixel_values
        weight = next(self.encoder.parameters())
        pixels = prepared.to(weight)
        if self.sees_all:
            shown, blank = (
                self.encoder(one, output_hidden_states=True).hidden_states[-2]
                for one in (pixels, torch.zeros_like(pixels))
            )
        else:
            shown = self.encoder(pixels).image_embeds
            blank = torch.zeros_like(shown)
        return self.projection(shown), self.projection(blank)


def load_adapter(found: Adapter, model: Any) -> ImageAdapter:
    """An adapter on the model's device, in its precision. Raises ModelError for one of another network."""
    from transformers import CLIPVisionModelWithProjection

    state = _state(found.file)
    proj = state["image_proj"]
    is_face = FACES[0] in proj or (FACES[1] in proj and "latents" not in proj and "proj.3.weight" not in proj)
    if is_face and "proj.weight" not in proj:
        raise ModelError(
            f"{found.name} is an IP-Adapter for faces, which reads what another network makes of a face.",
            "Edits take adapters of pictures: the plain ones, and those called plus.",
        )
    _check_fits(found, state["ip_adapter"], model)
    again = f"Name another: {option('image_adapter', 'FILE')}"
    encoder = loaded(
        found.name, found.encoder.parent, found.encoder.name, CLIPVisionModelWithProjection, again
    )
    try:
        projection = model.unet._convert_ip_adapter_image_proj_to_diffusers(proj, low_cpu_mem_usage=False)
        processors = model.unet._convert_ip_adapter_attn_to_diffusers([state], low_cpu_mem_usage=False)
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        raise ModelError(
            f"{found.name}: not an IP-Adapter for {model.name}: {first_line(error)}.",
            "It was made for another network, or is damaged.",
        ) from None
    own = {
        name.removesuffix(".processor"): one for name, one in processors.items() if hasattr(one, "to_k_ip")
    }
    sees_all = type(projection).__name__ != "ImageProjection"
    _check_encoder(found, encoder, proj, sees_all)

    def placed(weight: Tensor) -> Tensor:
        return weight.detach().to(model.device, model.dtype)

    return ImageAdapter(
        found.name,
        projection.eval().requires_grad_(False).to(model.device, model.dtype),
        {path: placed(one.to_k_ip[0].weight) for path, one in own.items()},
        {path: placed(one.to_v_ip[0].weight) for path, one in own.items()},
        encoder.eval().requires_grad_(False).to(model.device, model.dtype),
        sees_all,
        digest_of(found.file),
        hash_weights(found.encoder),
    )


def _state(file: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of a file by their two halves. Raises ModelError."""
    if file.suffix == ".safetensors":
        flat = read(file)
    else:
        flat = _nested(file)
    state: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, tensor in flat.items():
        half, _, rest = key.partition(".")
        if half in state:
            state[half][rest] = tensor
    if not all(state.values()):
        raise ModelError(
            f"{file} is not an IP-Adapter.",
            "One holds tensors called image_proj. and ip_adapter., as those of h94/IP-Adapter do.",
        )
    return state


def _nested(file: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        return {
            f"{half}.{key}": tensor
            for half, part in content.items()
            if isinstance(part, dict)
            for key, tensor in part.items()
        }
    except Exception as error:  # whatever a damaged file makes the reader say
        raise ModelError(f"{file}: the IP-Adapter cannot be read: {read_fault(error)}.") from None


def _check_fits(found: Adapter, tensors: dict[str, Tensor], model: Any) -> None:
    """Refuse the adapter of a network with other cross-attention: as many, and of the same widths."""
    own = [
        (model.unet.get_submodule(name.removesuffix(".processor")))
        for name in model.unet.attn_processors
        if name.endswith("attn2.processor")
    ]
    theirs = [tensors[key] for key in tensors if key.endswith(".to_k_ip.weight")]
    shapes = [tuple(module.to_k.weight.shape) for module in own]
    if sorted(tuple(weight.shape) for weight in theirs) != sorted(shapes):
        width = int(theirs[0].shape[-1]) if theirs else 0
        raise ModelError(
            f"the IP-Adapter {found.name} is for {len(theirs)} layers that read text of width {width}, and"
            f" {model.name} has {len(shapes)} of width {shapes[0][-1] if shapes else 0}.",
            "It was made for another family.",
            "Leave out the adapter to take the published one, or name that of the model's family",
        )


def _check_encoder(found: Adapter, encoder: Any, proj: dict[str, Tensor], sees_all: bool) -> None:
    """Refuse an image encoder whose states are not those that the adapter reads."""
    config = encoder.config
    width = int(config.hidden_size if sees_all else config.projection_dim)
    names = ("proj.weight", "proj_in.weight", "proj.0.weight")
    wanted = next((int(proj[name].shape[-1]) for name in names if name in proj), width)
    if wanted != width:
        raise ModelError(
            f"the image encoder {found.encoder} gives {width} numbers, and the IP-Adapter {found.name} reads"
            f" {wanted}.",
            "They are not of one adapter.",
        )
