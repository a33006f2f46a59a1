"""Merge LoRAs into a model's parts: W + scale * (alpha / rank) * up @ down, for each layer that a file names.

Layouts of files: kohya's (`lora_unet_..._to_q.lora_down.weight`, with `.alpha`), diffusers' old one
(`unet....processor.to_q_lora.down.weight`) and peft's (`unet....to_q.lora_A.weight`, alphas in the header or
in adapter_config.json); layers by diffusers' names or by those of Stability AI's and Wan's own networks.
Checked against: diffusers' `load_lora_weights`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vedit.errors import ModelError, read_fault
from vedit.models.adapters import Found, made_for, settings_of

ENDS = {  # of keys, the longer before those they end in
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_B.bias": "bias",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_mid.weight": "mid",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    ".alpha": "alpha",
    ".diff_b": "diff_b",
    ".diff": "diff",
}
NETWORK = ("unet", "transformer", "transformer_2")
PREFIXES = {  # of layers, the longer before those they begin with; "" is the network
    "base_model.model.": "",
    "model.diffusion_model.": "",
    "diffusion_model.": "",
    "transformer_2.": "transformer_2",
    "transformer.": "",
    "unet.": "",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder.": "text_encoder",
    "lora_transformer_": "",
    "lora_unet_": "",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te_": "text_encoder",
    "lycoris_": "",
}
OTHERS = {  # ends of keys of what is not a LoRA
    "hada_w1_a": "LoHa",
    "lokr_w1": "LoKr",
    "lokr_w1_a": "LoKr",
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "oft_blocks": "OFT",
    "oft_diag": "OFT",
    "on_input": "IA3",
}
TOLD = 3  # names of keys in a message


@dataclass
class Layer:
    """What a file holds for one layer: low-rank halves, or whole differences."""

    name: str
    keys: list[str] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        has = set(self.tensors)
        return has <= {"diff", "diff_b"} if "down" not in has and "up" not in has else {"down", "up"} <= has


class Change(NamedTuple):
    """What is added to a weight. shape: as the file has it. make: the difference at scale 1, float32."""

    weight: Any
    shape: tuple[int, ...]
    make: Callable[[], Tensor]

    @property
    def fits(self) -> bool:
        if self.weight is None:
            return False
        return math.prod(self.shape) == self.weight.numel() and self.shape[0] == self.weight.shape[0]

    def add(self, scale: float) -> None:
        """Merge it, in float32; a weight that is mapped from a file is replaced, not written to."""
        weight = self.weight
        made = self.make().to(weight.device).reshape(weight.shape)
        weight.data = (weight.data.float() + scale * made).to(weight.dtype)


def merge(model: str, parts: Mapping[str, Any], found: Sequence[Found]) -> list[dict[str, Any]]:
    """Merge LoRAs into the parts of a model, in their order; what a record tells of them.

    parts: networks by the names of diffusers' pipelines. Raises ModelError for keys that name no layer, and
    for layers of another size.
    """
    targets = {part: Names(module) for part, module in parts.items()} if found else {}
    for one in found:
        _merge(model, targets, one)
    return [one.facts for one in found]


def _merge(model: str, targets: Mapping[str, Names], found: Found) -> None:
    name, only = str(found.path), found.asked.part
    if only is not None and only not in targets:
        raise ModelError(
            f"{model} has no part {only!r} for the LoRA {name}.", f"It has {', '.join(targets)}."
        )
    tensors = read(found.path)
    layers, unknown = layers_of(tensors)
    settings, changes = settings_of(found.path), list[tuple[str, Change]]()
    for layer in layers:
        at = list(places(layer.name, targets))
        if not at or not layer.is_whole:
            unknown += layer.keys
            continue
        for part, path in at:
            if only in (None, part):
                share = scaling(layer, part, path, settings)
                changes += [(path, one) for one in changes_of(layer, targets[part].module, path, share)]
    _refuse(name, model, tensors, unknown, [(path, one) for path, one in changes if not one.fits])
    if not changes:
        raise ModelError(f"the LoRA {name} changes nothing of {model}.", "", "Leave it out")
    for _, change in changes if found.asked.scale else ():
        change.add(found.asked.scale)


def _refuse(
    name: str,
    model: str,
    tensors: Mapping[str, Tensor],
    unknown: Sequence[str],
    misfits: Sequence[tuple[str, Change]],
) -> None:
    """Refuse a LoRA that does not fit in all its keys, with how many do not. Raises ModelError."""
    made = made_for(tensors)
    right = f"By its names it was made for {made[0]}." if made else ""
    if other := next((OTHERS[end] for key in tensors for end in OTHERS if end in key.split(".")), None):
        raise ModelError(f"{name} is a {other}, not a LoRA.", "Only LoRAs can be merged.")
    if unknown:
        raise ModelError(
            f"the LoRA {name} has {len(unknown)} keys, of {len(tensors)}, that are not of a layer of {model},"
            f" such as {', '.join(unknown[:TOLD])}.",
            right,
            "Name the model that it was made for, or another LoRA",
        )
    if misfits:
        path, change = misfits[0]
        has = "no such weight" if change.weight is None else _shape(change.weight.shape)
        raise ModelError(
            f"the LoRA {name} does not fit {model} in {len(misfits)} layers, such as {path}: it has"
            f" {_shape(change.shape)}, and the model {has}.",
            right or "It was made for a network of other widths.",
            "Name the model that it was made for, or another LoRA",
        )


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


# --- files ---------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file. Raises ModelError for one that is damaged, or holds more than tensors."""
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes the two readers say
        raise ModelError(
            f"{path}: the LoRA cannot be read: {read_fault(error)}.", "", "Download it again"
        ) from None
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    found = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not found:
        raise ModelError(f"{path}: it holds no tensors.", "A LoRA is a table of them.")
    return found


def layers_of(tensors: Mapping[str, Tensor]) -> tuple[list[Layer], list[str]]:
    """The layers that a file's keys name, and the keys that end as none of a LoRA does."""
    layers, unknown = dict[str, Layer](), list[str]()
    for key, tensor in tensors.items():
        end = next((end for end in ENDS if key.endswith(end)), None)
        if end is None:
            unknown.append(key)
            continue
        name = key.removesuffix(end)
        layer = layers.setdefault(name, Layer(name))
        layer.keys.append(key)
        layer.tensors[ENDS[end]] = tensor
    return list(layers.values()), unknown


def scaling(layer: Layer, part: str, path: str, settings: Mapping[str, Mapping[str, Any]]) -> float:
    """alpha / rank: of the file's own number, of the settings beside it, else 1."""
    if "down" not in layer.tensors:
        return 1.0
    rank = int(layer.tensors["down"].shape[0])
    if "alpha" in layer.tensors:
        return float(layer.tensors["alpha"]) / rank
    own = settings.get(part) or settings.get("") or {}
    if part in NETWORK and not own:
        own = next((settings[other] for other in NETWORK if other in settings), {})
    alpha = own.get("lora_alpha")
    for name, value in (own.get("alpha_pattern") or {}).items():  # names, which peft takes for patterns
        if path == name or path.endswith(f".{name}"):
            alpha = value
    if alpha is None:
        return 1.0
    return float(alpha) / (math.sqrt(rank) if own.get("use_rslora") else rank)


def changes_of(layer: Layer, module: Any, path: str, share: float) -> Iterator[Change]:
    """What a layer's tensors add to a module's weight and bias."""
    has, at = layer.tensors, module.get_submodule(path)
    weight, bias = at.weight, getattr(at, "bias", None)
    if "down" in has:
        yield Change(weight, _product_shape(has), lambda: share * product(has))
    if "bias" in has:
        yield Change(bias, tuple(has["bias"].shape), lambda: share * has["bias"].float())
    if "diff" in has:
        yield Change(weight, tuple(has["diff"].shape), lambda: has["diff"].float())
    if "diff_b" in has:
        yield Change(bias, tuple(has["diff_b"].shape), lambda: has["diff_b"].float())


def _product_shape(has: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The shape of up @ down; one that fits nothing where the halves do not fit each other."""
    up, down, mid = has["up"], has["down"], has.get("mid")
    if mid is not None:
        fits = mid.shape[:2] == (up.shape[1], down.shape[0])
        return (up.shape[0], down.shape[1], *mid.shape[2:]) if fits else (0,)
    fits = up.ndim >= 2 <= down.ndim and up.shape[1] == down.shape[0] and math.prod(up.shape[2:]) == 1
    return (up.shape[0], *down.shape[1:]) if fits else (0,)


def product(has: Mapping[str, Tensor]) -> Tensor:
    """up @ down in float32, with what convolutions have between them (LoCon's Tucker form)."""
    up, down = (has[name].float().flatten(1) for name in ("up", "down"))
    if "mid" in has:
        return torch.einsum("or,rskl,si->oikl", up, has["mid"].float(), down)
    return up @ down


# --- names ---------------------------------------------------------------------------------------


class Names:
    """The layers of a network by every name that files have for them."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.paths: dict[str, str] = {}
        layers = dict(module.named_modules())
        own = [path for path, layer in layers.items() if isinstance(getattr(layer, "weight", None), Tensor)]
        for path in own:
            self.paths[path] = path
        for path in own:
            for name in _spellings(path, module):
                self.paths.setdefault(name, path)
                self.paths.setdefault(name.replace(".", "_"), path)

    def find(self, name: str) -> str | None:
        return self.paths.get(name) or self.paths.get(name.replace(".processor.", "."))


def places(name: str, targets: Mapping[str, Names]) -> Iterator[tuple[str, str]]:
    """The parts and paths of the modules that a layer's name means: of two transformers both."""
    part = ""
    for prefix, own in PREFIXES.items():
        if name.startswith(prefix):
            name, part = name.removeprefix(prefix), own
    for target in (part,) if part else NETWORK:
        if target in targets and (path := targets[target].find(name)) is not None:
            yield target, path


def _spellings(path: str, module: Any) -> Iterator[str]:
    """A layer's names: diffusers' or transformers', older ones, and those of the original networks."""
    yield path
    if path.endswith(".to_out.0"):
        yield path.removesuffix(".0")
    if path.startswith(("text_model.", "encoder.", "embeddings.", "final_layer_norm")):
        yield path.removeprefix("text_model.") if path.startswith("text_model.") else f"text_model.{path}"
    if type(module).__name__.startswith("Wan"):
        yield original_of_wan(path)
    elif type(module).__name__.startswith("LTX"):
        yield original_of_ltx(path)
    elif hasattr(module, "down_blocks") and hasattr(module, "up_blocks"):
        yield from original_of_unet(path, module.config)


WAN_NAMES = (
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])$", r".\1"),
    (r"\.to_out\.0$", ".o"),
    (r"\.add_([kv])_proj$", r".\1_img"),
    (r"\.norm_added_k$", ".norm_k_img"),
    (r"\.ffn\.net\.0\.proj$", ".ffn.0"),
    (r"\.ffn\.net\.2$", ".ffn.2"),
    (r"(blocks\.\d+)\.norm2$", r"\1.norm3"),
    (r"^condition_embedder\.time_embedder\.linear_1$", "time_embedding.0"),
    (r"^condition_embedder\.time_embedder\.linear_2$", "time_embedding.2"),
    (r"^condition_embedder\.text_embedder\.linear_1$", "text_embedding.0"),
    (r"^condition_embedder\.text_embedder\.linear_2$", "text_embedding.2"),
    (r"^condition_embedder\.time_proj$", "time_projection.1"),
    (r"^proj_out$", "head.head"),
)


def original_of_wan(path: str) -> str:
    """What Wan's own network calls a layer of WanTransformer3DModel."""
    for pattern, name in WAN_NAMES:
        path = re.sub(pattern, name, path)
    return path


LTX_NAMES = (
    (r"\.norm_([qk])$", r".\1_norm"),
    (r"^(audio_)?proj_in$", r"\1patchify_proj"),
    (r"^(audio_)?time_embed\.", r"\1adaln_single."),
    (r"^(audio_)?prompt_adaln\.", r"\1prompt_adaln_single."),
    (r"^av_cross_attn_(video|audio)_scale_shift\.", r"av_ca_\1_scale_shift_adaln_single."),
    (r"^av_cross_attn_video_a2v_gate\.", "av_ca_a2v_gate_adaln_single."),
    (r"^av_cross_attn_audio_v2a_gate\.", "av_ca_v2a_gate_adaln_single."),
)


def original_of_ltx(path: str) -> str:
    """What LTX's own network calls a layer of diffusers' transformer."""
    for pattern, name in LTX_NAMES:
        path = re.sub(pattern, name, path)
    return path


RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def original_of_unet(path: str, config: Any) -> Iterator[str]:
    """What Stability AI's networks call a layer of UNet2DConditionModel; kohya names SDXL's so."""
    if path in UNET:
        yield UNET[path]
        return
    layers = config.layers_per_block
    match = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.", path)
    middle = re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.", path)
    if middle:
        place, kind = f"middle_block.{2 * int(middle[2]) + (middle[1] == 'attentions')}", middle[1]
    elif match and isinstance(layers, int):
        place, kind = _block_of(match, layers, config), match[3]
    else:
        return
    rest = path[(middle or match).end() :]  # type: ignore[union-attr]  # one of them is there
    if kind == "downsamplers":
        rest = "op"
    if kind == "resnets":
        rest = RESNET.get(rest, rest)
    yield f"{place}.{rest}"


def _block_of(match: re.Match[str], layers: int, config: Any) -> str:
    side, block, kind, layer = match[1], int(match[2]), match[3], int(match[4])
    if side == "down":
        number = 1 + (layers + 1) * block + (layers if kind == "downsamplers" else layer)
        return f"input_blocks.{number}.{int(kind == 'attentions')}"
    number = (layers + 1) * block + (layers if kind == "upsamplers" else layer)
    below = int("Attn" in config.up_block_types[block]) if kind == "upsamplers" else 0
    return f"output_blocks.{number}.{below + int(kind != 'resnets')}"
