"""A Stable Diffusion 1.x or 2.x in one file, under the names of the original code, as most fine-tunes are
shared; what is SDXL's alone stands in `single_xl`.

Everything that a folder's configuration files say is read off the tensors' shapes; the vocabulary is CLIP's
own, which open_clip brings. safetensors are opened by their header alone until they are loaded; a .ckpt is a
pickle and is read with `weights_only`. What the shapes cannot tell is what a 2.x network predicts: a
NAME.yaml beside the file, as other programs want it, says `parameterization: "v"` or not; without it 2.x is
taken for 768-v.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vedit import documents
from vedit.documents import Kind
from vedit.errors import ModelError, option, read_fault, reason_of
from vedit.models.layout import SD, SDXL, Layout

SUFFIXES = (".safetensors", ".ckpt")
UNET, VAE, CLIP, OPEN_CLIP = (
    "model.diffusion_model.",
    "first_stage_model.",
    "cond_stage_model.transformer.",
    "cond_stage_model.model.",
)
CLIP_XL, OPEN_CLIP_XL = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
REFINER = "conditioner.embedders.0.model."
LONGEST_HEADER = 100 * 2**20
HEADER = Kind(
    "a safetensors file",
    ModelError,
    "It may be damaged, or a page that was saved in its place.",
    "Download it again",
    largest=LONGEST_HEADER,
)
LEVELS, LAYERS = 4, 2
NATIVE_SIDE_XL = 1024
START, END = "<|startoftext|>", "<|endoftext|>"
SCHEDULER = {
    "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False, "timestep_spacing": "leading",
}  # fmt: skip
OTHERS = (  # what else people have in one file, by a pattern of its names
    ("a LoRA, which changes a model and is none by itself", r"lora_|\.lora"),
    (
        "a FLUX, a Stable Diffusion 3 or another larger model",
        r"double_blocks|joint_blocks",
    ),
    ("the refiner of Stable Diffusion XL", r"^conditioner\.embedders\.0\.model\."),
    ("a ControlNet", r"control_model\.|zero_convs|controlnet_"),
    ("an embedding of textual inversion", r"emb_params|string_to_param|clip_[lg]$"),
    ("an autoencoder alone", r"(first_stage_model\.)?(encoder|decoder)\."),
)


def is_file(name: str) -> bool:
    """Whether the name of a model is one of a file."""
    return os.path.isfile(name)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, which stands for each of its parts."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def header(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file, without its weights. Raises ModelError."""
    try:
        with open(name, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > LONGEST_HEADER:
                raise ValueError("its header has no end")
            table = documents.table(documents.parse_json(stream.read(length), name, HEADER), name, HEADER)
        return {str(key): tuple(entry["shape"]) for key, entry in table.items() if key != "__metadata__"}
    except OSError as error:
        raise ModelError(f"{name}: cannot read: {reason_of(error)}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{name}: not a safetensors file: {error}.",
            "It may be damaged, or a page that was saved in its place.",
            "Download it again",
        ) from None


def is_xl(names: Iterable[str]) -> bool:
    """Whether the tensors are those of SDXL, by its second text encoder or the conditions beside the text."""
    marks = (OPEN_CLIP_XL, CLIP_XL, REFINER, f"{UNET}label_emb.")
    return any(key.startswith(marks) for key in names)


def layout(name: str) -> Layout:
    """The layout of the model in a file; Stable Diffusion's where that cannot be told, as of a .ckpt."""
    try:
        return SDXL if name.lower().endswith(".safetensors") and is_xl(header(name)) else SD
    except ModelError:  # whoever loads it says what is wrong
        return SD


def check(name: str) -> None:
    """Refuse a file that is no whole Stable Diffusion, saying what it is; a .ckpt only by its ending. Raises
    ModelError.
    """
    if not name.lower().endswith(SUFFIXES):
        raise ModelError(
            f"{name} is a file, and not one of weights.",
            f"A model in one file ends in {' or '.join(SUFFIXES)}.",
            "See: vedit models list",
        )
    if name.lower().endswith(".safetensors"):
        check_names(name, header(name))


def check_names(name: str, names: Iterable[str]) -> None:
    """Refuse tensors that are not those of a whole checkpoint."""
    names = list(names)
    lacks = [
        what
        for what, start in (("network", UNET), ("autoencoder", VAE))
        if not any(key.startswith(start) for key in names)
    ]
    if is_large := is_xl(names):
        lacks += [
            what
            for what, start in (("text encoder", CLIP_XL), ("second text encoder", OPEN_CLIP_XL))
            if not any(key.startswith(start) for key in names)
        ]
    else:
        lacks += [] if any(key.startswith((CLIP, OPEN_CLIP)) for key in names) else ["text encoder"]
    other = next(
        (kind for kind, pattern in OTHERS[:3] if any(re.search(pattern, key) for key in names)), None
    )
    if (len(lacks) == 3 and not is_large) or other:
        other = other or next(
            (kind for kind, pattern in OTHERS if any(re.search(pattern, key) for key in names)),
            "not a model that is known here",
        )
        raise ModelError(
            f"{name} is {other}.",
            "These methods need a whole Stable Diffusion 1.x, 2.x or XL (its base): a network, an autoencoder"
            " and its text encoders.",
            "Name the model that it belongs to, or merge it into one:"
            f" {option('model', 'FILE.safetensors')} or {option('model', 'OWNER/NAME')}",
        )
    if lacks:
        raise ModelError(
            f"{name} is a checkpoint without its {' and '.join(lacks)}.",
            "It was saved in part, to be used beside another.",
            "Take the full file, often called NAME-full",
        )


def native_side(name: str) -> int:
    """The side in pixels that the model in a file was trained at."""
    check(name)
    if not name.lower().endswith(".safetensors"):
        return 512
    if layout(name) is SDXL:
        return NATIVE_SIDE_XL
    shapes = header(name)
    return unet_config(name, shapes)["sample_size"] << (
        len(vae_config(name, shapes)["block_out_channels"]) - 1
    )


def load_parts(name: str) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """The network, autoencoder and text encoder in float32, the tokenizer, and the scheduler's configuration.
    Raises ModelError.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    check(name)
    tensors = read_tensors(name)
    check_names(name, tensors)
    if is_xl(tensors):
        raise ModelError(
            f"{name} is a Stable Diffusion XL in a pickle.",
            "In one file it is read from safetensors alone.",
            "Convert it, or take the file that ends in .safetensors",
        )
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    unet, vae = unet_config(name, shapes), vae_config(name, shapes)
    parts = {
        "unet": filled(
            name, UNet2DConditionModel.from_config(unet), convert_ldm_unet_checkpoint(tensors, unet)
        ),
        "vae": filled(name, AutoencoderKL.from_config(vae), convert_ldm_vae_checkpoint(tensors, vae)),
        "text_encoder": text_encoder(name, tensors),
    }
    is_first = not unet["use_linear_projection"]
    scheduler = {
        **SCHEDULER,
        "prediction_type": "epsilon" if is_first or not predicts_v(name) else "v_prediction",
    }
    return parts, tokenizer(END if is_first else "!"), scheduler


def read_tensors(name: str) -> dict[str, Any]:
    """All tensors of a file.

    Raises ModelError for one that is damaged, or whose pickle holds more than tensors.
    """
    import torch

    try:
        if name.lower().endswith(".safetensors"):
            from safetensors.torch import load_file

            return dict(load_file(name))
        content = torch.load(name, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes the two readers say
        advice = (
            "A .ckpt may hold more than weights, which is not run here; convert it to safetensors"
            if name.lower().endswith(".ckpt")
            else "Download it again"
        )
        raise ModelError(f"{name}: the weights cannot be read: {read_fault(error)}.", "", advice) from None
    table = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {str(key): value for key, value in table.items() if isinstance(value, torch.Tensor)}


def unet_config(name: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The network's configuration, by its shapes: 1.x has eight heads everywhere and convolutions around
    attention, 2.x heads of 64 and linear layers.
    """
    try:
        blocks = tuple(
            shapes[f"{UNET}input_blocks.{1 + (LAYERS + 1) * level}.0.out_layers.3.weight"][0]
            for level in range(LEVELS)
        )
        cross = shapes[f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"][1]
        is_second = len(shapes[f"{UNET}input_blocks.1.1.proj_in.weight"]) == 2
        takes = shapes[f"{UNET}input_blocks.0.0.weight"][1]
    except (KeyError, IndexError) as error:
        raise ModelError(
            f"{name}: not a Stable Diffusion 1.x or 2.x: its network has no {error.args[0]}.",
            "",
            "See: vedit models list",
        ) from None
    return {
        "sample_size": 96 if is_second and predicts_v(name) else 64, "in_channels": takes, "out_channels": 4,
        "block_out_channels": blocks,
        "layers_per_block": LAYERS, "cross_attention_dim": cross,
        "attention_head_dim": [max(1, side // 64) for side in blocks] if is_second else 8,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "use_linear_projection": is_second, "norm_num_groups": 32,
    }  # fmt: skip


def vae_config(
    name: str, shapes: Mapping[str, tuple[int, ...]], scaling: float = 0.18215, side: int = 512
) -> dict[str, Any]:
    """The autoencoder's configuration, by its shapes. scaling, side: what they do not tell."""
    try:
        blocks = [shapes[f"{VAE}encoder.down.{level}.block.1.conv2.weight"][0] for level in range(LEVELS)]
        latent = shapes[f"{VAE}post_quant_conv.weight"][0]
    except (KeyError, IndexError) as error:
        raise ModelError(
            f"{name}: its autoencoder is not Stable Diffusion's: there is no {error.args[0]}.",
            "",
            "See: vedit models list",
        ) from None
    return {
        "down_block_types": ("DownEncoderBlock2D",) * LEVELS,
        "up_block_types": ("UpDecoderBlock2D",) * LEVELS, "block_out_channels": blocks,
        "latent_channels": latent, "layers_per_block": LAYERS, "norm_num_groups": 32, "sample_size": side,
        "scaling_factor": scaling,
    }  # fmt: skip


def text_encoder(name: str, tensors: Mapping[str, Any]) -> Any:
    """CLIP's text encoder of 1.x, or open_clip's of 2.x, whose last layer is not used."""
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextModel

    is_open = any(key.startswith(OPEN_CLIP) for key in tensors)
    prefix = OPEN_CLIP if is_open else CLIP
    config = text_config(name, tensors, prefix, is_open)
    config.num_hidden_layers -= is_open
    model = CLIPTextModel(config)
    weights = (
        convert_open_clip_checkpoint(model, tensors) if is_open else convert_ldm_clip_checkpoint(tensors)
    )
    return filled_text(name, model, weights)


def text_config(name: str, tensors: Mapping[str, Any], prefix: str, is_open: bool) -> Any:
    """The configuration of a text encoder whose names begin with a prefix, by its shapes."""
    from transformers import CLIPTextConfig

    stem = next(
        (key for key in tensors if key.startswith(prefix) and key.endswith("token_embedding.weight")), None
    )
    if stem is None:
        raise ModelError(f"{name}: its text encoder has no vocabulary.", "", "See: vedit models list")
    vocabulary, width = tensors[stem].shape
    pattern = r"resblocks\.(\d+)\.mlp\.c_fc\.weight" if is_open else r"layers\.(\d+)\.mlp\.fc1\.weight"
    inner = {
        int(found[1]): value.shape[0]
        for key, value in tensors.items()
        if key.startswith(prefix) and (found := re.search(pattern, key))
    }
    if not inner:
        raise ModelError(
            f"{name}: its text encoder has no layers.", "", "Take the full file, or another copy"
        )
    return CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=next(iter(inner.values())),
        num_hidden_layers=len(inner), num_attention_heads=max(1, width // 64),
        hidden_act="gelu" if is_open else "quick_gelu", bos_token_id=0, eos_token_id=2, pad_token_id=1,
    )  # fmt: skip


def filled_text(name: str, model: Any, weights: Mapping[str, Any]) -> Any:
    """A text encoder with those of some weights that it has, by the names of whichever transformers."""
    own = model.state_dict()
    prefix = "text_model." if any(key.startswith("text_model.") for key in own) else ""
    named = {
        key if key in own else prefix + key.removeprefix("text_model."): value
        for key, value in weights.items()
    }
    return filled(name, model, {key: value for key, value in named.items() if key in own})


def filled(name: str, part: Any, weights: Mapping[str, Any]) -> Any:
    """A part with its weights, all of them; float32."""
    missing = sorted(set(part.state_dict()) - set(weights))
    missing = [key for key in missing if not key.endswith("position_ids")]
    if missing:
        raise ModelError(
            f"{name}: {type(part).__name__} lacks {len(missing)} tensors, such as {missing[0]}.",
            "",
            "Take the full file, or another copy",
        )
    try:
        part.load_state_dict(dict(weights), strict=False)  # becomes float32 one by one: XL is large
    except RuntimeError as error:
        raise ModelError(
            f"{name}: the weights do not fit: {str(error).strip().splitlines()[-1].strip()}.",
            "",
            "See: vedit models list",
        ) from None
    return part


def predicts_v(name: str, otherwise: bool = True) -> bool:
    """Whether a file predicts velocity, as the YAML beside it says. otherwise: where there is none."""
    beside = Path(name).with_suffix(".yaml")
    try:
        return bool(re.search(r"""parameterization:\s*["']?v\b""", beside.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        return otherwise


def tokenizer(padding: str) -> Any:
    """CLIP's tokenizer of 49408 tokens, from open_clip's merges. padding: what fills a prompt up."""
    from importlib.util import find_spec

    from transformers import CLIPTokenizer

    spec = find_spec("open_clip")
    assert spec is not None and spec.submodule_search_locations, "the extra has been asked for"
    path = Path(next(iter(spec.submodule_search_locations))) / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    letters = byte_letters()
    tokens = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        model_max_length=77,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=padding,
    )


def byte_letters() -> list[str]:
    """The printable letters that byte-level BPE writes bytes as, in its order: printable bytes first."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    hidden = [code for code in range(256) if code not in printable]
    return [chr(code) for code in printable] + [chr(256 + place) for place in range(len(hidden))]
