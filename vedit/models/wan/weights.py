"""The weights of an instruction editor: what was trained beside a backbone, or in its place.

config.json              format, backbone, how the parts are put together, what was trained
embeddings.safetensors   the patch embeddings of source, mask and reference
lora.safetensors         LoRA of the backbone's attention, by peft's names; or
transformer/             a whole transformer, in diffusers' layout
text_encoder/, tokenizer/   where the editor reads words of its own

Reading needs no network but the backbone's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired

from typing_extensions import TypedDict

from vedit.documents import Kind, read_json, validated
from vedit.errors import ModelError, option
from vedit.models.hub import BUILTIN, OURS, hash_weights

if TYPE_CHECKING:
    from torch import Tensor

    from vedit.data.instructions import Span
    from vedit.models.wan.conditions import Conditions
    from vedit.models.wan.editing import EditNetwork
    from vedit.models.wan.model import WanModel

FORMAT, VERSION = "vedit-easyv2v", 1
ADAPTER = "easyv2v"
CONFIG = "config.json"
LORA, EMBEDDINGS = "lora.safetensors", "embeddings.safetensors"
FILES = (CONFIG, EMBEDDINGS, LORA, "transformer/*", "text_encoder/*", "tokenizer/*")
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
DOCUMENT = Kind(
    "the weights of an instruction editor",
    ModelError,
    f"They are a folder with {CONFIG}, {EMBEDDINGS}, and {LORA} or transformer/.",
    "Train some with: vedit train --method easyv2v --pairs pairs.jsonl --backbone NAME --out RUN",
    names_files=True,
)
EXTRA = {"extra": "allow"}  # further keys pass
DRAWN = "drawn scenes"
WAYS = {"sequence": "shown as more frames", "added": "added to the frames of the edit"}
Blank = Literal["ones", "zeros", "skip"]


class _Backbone(TypedDict):
    id: str
    revision: str | None
    hashes: dict[str, str]


class _Config(TypedDict):
    """What config.json holds; what else stands there stays."""

    __pydantic_config__ = EXTRA  # type: ignore[misc]  # read by pydantic, and no key
    format: str
    version: int
    backbone: _Backbone
    way: Literal["sequence", "added"]
    positions: Literal["sequential", "shared"]
    rank: int
    alpha: float
    targets: list[str]
    init: Literal["zero", "copy"]
    blank_mask: Blank
    frames: int
    drops_source: NotRequired[bool]
    words: NotRequired[str]


@dataclass(frozen=True)
class Recipe:
    """How an editor is put together, and on what.

    backbone: the model's name. hashes: of the backbone's parts that the weights belong to. rank, alpha,
    targets: of LoRA; rank 0 is a whole transformer. blank_mask: what stands for no mask: white, black, or
    nothing at all. frames: pictures of the clips it was trained on. drops_source: it has also learnt without
    a source. words: "drawn scenes" where it knows only those of `vedit.data.instructions`.
    """

    backbone: str
    revision: str | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    way: Literal["sequence", "added"] = "sequence"
    positions: Literal["sequential", "shared"] = "sequential"
    rank: int = 16
    alpha: float = 16.0
    targets: Sequence[str] = TARGETS
    init: Literal["zero", "copy"] = "zero"
    blank_mask: Blank = "ones"
    frames: int = 81
    drops_source: bool = False
    words: str = ""

    def table(self) -> dict[str, Any]:
        """As config.json says it."""
        told = asdict(self)
        backbone = {
            "id": told.pop("backbone"),
            "revision": told.pop("revision"),
            "hashes": dict(told.pop("hashes")),
        }
        return {
            "format": FORMAT,
            "version": VERSION,
            "backbone": backbone,
            **told,
            "targets": list(self.targets),
        }


def read_recipe(folder: Path) -> Recipe:
    """What config.json of a folder says. Raises ModelError."""
    path = str(folder / CONFIG)
    found = validated(read_json(path, DOCUMENT), _Config, path, DOCUMENT)
    if (found["format"], found["version"]) != (FORMAT, VERSION):
        raise DOCUMENT.refusal(path, f"its format is {found['format']!r}, version {found['version']}")
    if found["rank"] < 0 or found["frames"] < 1:
        raise DOCUMENT.refusal(path, f"its rank is {found['rank']}, its frames are {found['frames']}")
    backbone = found["backbone"]
    own = {name: found[name] for name in Recipe.__dataclass_fields__ if name in found}  # type: ignore[literal-required]
    own.pop("backbone", None)
    return Recipe(
        backbone=backbone["id"], revision=backbone["revision"], hashes=dict(backbone["hashes"]), **own
    )


def is_editor(folder: Path) -> bool:
    """Whether a folder holds the weights of an instruction editor."""
    return (folder / CONFIG).is_file() and (folder / EMBEDDINGS).is_file()


def write_recipe(folder: Path, recipe: Recipe, more: Mapping[str, Any]) -> None:
    """Write config.json. more: of the training, say."""
    (folder / CONFIG).write_text(json.dumps({**recipe.table(), **more}, indent=1) + "\n")


class Editor:
    """The weights of an instruction editor, loaded for a model that is their backbone.

    Raises ModelError for weights that are damaged, or of another backbone.
    """

    def __init__(self, folder: Path, model: WanModel) -> None:
        self.folder, self.model, self.recipe = folder, model, read_recipe(folder)
        self._check_backbone()
        self.embeddings = _tensors(folder / EMBEDDINGS)
        self.transformer, self.lora = None, None
        if self.recipe.rank:
            self.lora = _tensors(folder / LORA)
        else:
            self.transformer = self._own_transformer()
        self.text_encoder: Any = None
        self.tokenizer: Any = None
        if (folder / "text_encoder").is_dir():
            self.text_encoder, self.tokenizer = self._own_words()

    def _check_backbone(self) -> None:
        recipe, model = self.recipe, self.model
        if model.transformer_2 is not None:
            raise ModelError(
                f"{model.name} has two transformers, and an instruction editor is trained on one.",
                "Wan 2.2 TI2V 5B and the models of Wan 2.1 have one.",
            )
        hashes = recipe.hashes or self._codec()
        known = model.identity() if hashes else {}
        wrong = [name for name, value in hashes.items() if known.get(name) != value]
        if wrong:
            raise ModelError(
                f"{self.folder}: these weights were trained on other weights of {recipe.backbone} than"
                f" {model.name} has ({', '.join(wrong)}).",
                "They fit the model alone that they were trained on.",
                f"Train them again: {option('backbone', model.name)}, or name that model:"
                f" {option('model', recipe.backbone)}",
            )

    def _codec(self) -> dict[str, str]:
        """The part that weights with a transformer of their own still share with an embedded model."""
        backbone = self.recipe.backbone
        if backbone not in OURS or self.model.name == backbone:
            return {}
        return {"vae_sha256": hash_weights(BUILTIN / backbone / "vae")}

    def _own_transformer(self) -> Any:
        import diffusers

        from vedit.models.parts import loaded
        from vedit.models.wan.conditions import fit

        recipe = self.recipe
        made = loaded(
            str(self.folder), self.folder, "transformer", diffusers.WanTransformer3DModel,
            torch_dtype=self.model.dtype,
        )  # fmt: skip
        fit(made, recipe.way, recipe.positions)
        self._put(made)
        return made.eval().requires_grad_(False).to(self.model.device)

    def _own_words(self) -> tuple[Any, Any]:
        import transformers

        from vedit.models.parts import load_tokenizer, loaded

        text_encoder = loaded(
            str(self.folder), self.folder, "text_encoder", transformers.CLIPTextModel, dtype=self.model.dtype
        )
        tokenizer = load_tokenizer(str(self.folder), self.folder, transformers.CLIPTokenizer)
        return text_encoder.eval().requires_grad_(False).to(self.model.device), tokenizer

    def _put(self, transformer: Any) -> None:
        """Put the embeddings into a transformer that has been fitted."""
        new = transformer.patch_embedding.new()
        if {name: value.shape for name, value in new.items()} != {
            name: value.shape for name, value in self.embeddings.items()
        }:
            raise DOCUMENT.refusal(str(self.folder / EMBEDDINGS), "it does not fit the backbone")
        transformer.patch_embedding.load_state_dict(self.embeddings, strict=False)

    @contextmanager
    def network(self) -> Iterator[EditNetwork]:
        """The network that edits; the model is itself again on exit."""
        from vedit.models.wan.conditions import fit, unfit
        from vedit.models.wan.editing import EditNetwork

        model, recipe = self.model, self.recipe
        if self.transformer is not None:
            yield EditNetwork(self.transformer, model.schedule, text_tokens=model.text_tokens)
            return
        fit(model.transformer, recipe.way, recipe.positions)
        try:
            self._put(model.transformer)
            add_lora(model.transformer, recipe)
            load_lora(model.transformer, self.lora or {}, str(self.folder / LORA))
            model.transformer.requires_grad_(False)
            with model._ready(model.transformer):
                yield EditNetwork(model.transformer, model.schedule, text_tokens=model.text_tokens)
        finally:
            remove_lora(model.transformer)
            unfit(model.transformer)

    @cached_property
    def sha256(self) -> str:
        """A hash of all that the weights are made of."""
        import hashlib

        whole = hashlib.sha256(json.dumps(self.recipe.table(), sort_keys=True).encode())
        for file in sorted(self.folder.rglob("*.safetensors")):
            whole.update(hashlib.sha256(file.read_bytes()).digest())
        return whole.hexdigest()

    @property
    def about(self) -> tuple[str, ...]:
        """Lines of --explain."""
        recipe = self.recipe
        how = f"LoRA of rank {recipe.rank}" if recipe.rank else "a transformer of its own"
        return (
            f"weights: {self.folder}, {how} on {recipe.backbone}; the clip is {WAYS[recipe.way]}; trained on"
            f" {recipe.frames} frames",
        )

    def conditions(
        self,
        source_fCYX: Tensor,
        mask_F1YX: Tensor | None = None,
        reference_3YX: Tensor | None = None,
    ) -> Conditions:
        """What the network is shown of one clip. source: its latents; mask: of its pictures, in [0, 1], 1 may
        change; reference: a picture in [-1, 1]. Without a mask there is what stands for none.
        """
        import torch

        from vedit.models.wan.conditions import Conditions

        model = self.model

        def one(latents_fCYX: Tensor) -> Tensor:
            return latents_fCYX.transpose(0, 1)[None].to(model.device)

        blank = {"ones": 1.0, "zeros": 0.0}.get(self.recipe.blank_mask)
        if mask_F1YX is None and blank is not None:
            pictures = (len(source_fCYX) - 1) * model.packs + 1
            rows, columns = (side * model.scale for side in source_fCYX.shape[-2:])
            mask_F1YX = torch.full((pictures, 1, rows, columns), blank)
        mask = None if mask_F1YX is None else 2 * mask_F1YX.expand(-1, 3, -1, -1) - 1
        return Conditions(
            one(source_fCYX),
            None if mask is None else one(model.encode_frames(mask)),
            None if reference_3YX is None else one(model.encode_frames(reference_3YX[None])[:1]),
        )

    def read(self, text: str) -> str:
        """An instruction as the weights know it. Raises UsageError for words that they do not know."""
        if self.recipe.words != DRAWN:
            return text
        from vedit.data.instructions import read_words

        return read_words(text)

    def timed(self, text: str) -> tuple[str, Span | None]:
        """An instruction as the weights know it, without the words that say when it holds, and that time in
        shares of the clip. Free words are left to the network. Raises as `read` does.
        """
        if self.recipe.words != DRAWN:
            return text, None
        from vedit.data.instructions import split_when

        return split_when(self.read(text))

    def needs_picture(self, text: str) -> bool:
        """Whether an instruction, as the weights know it, speaks of the reference picture."""
        return self.recipe.words == DRAWN and "the picture" in text

    def encode(self, text: str) -> Tensor:
        """The states of an instruction, (1, L, E) float32."""
        if self.text_encoder is None:
            return self.model.encode_prompt(text)
        from dataclasses import replace

        own = replace(self.model, text_encoder=self.text_encoder, tokenizer=self.tokenizer, offload="none")
        return own.encode_prompt(text)


def editor_for(weights: str, model: Any) -> Editor:
    """The editor of some weights for a model, which keeps it. weights: a folder or a Hub id; "" for the
    embedded ones. Raises ModelError.
    """
    from vedit.models.wan.model import WanModel

    if not isinstance(model, WanModel):
        raise ModelError(
            f"easyv2v is for models of Wan's layout, and {model.name} is not one.",
            "",
            f"Try {option('model', 'shapes-video')}",
        )
    if weights not in model.editors:
        model.editors[weights] = Editor(find_weights(weights), model)
    found: Editor = model.editors[weights]
    return found


def find_weights(weights: str) -> Path:
    """The folder of some weights. Raises ModelError where there are none."""
    from vedit.models.hub import BUILTIN, EMBEDDED_EDITOR, fetch_folder

    if not weights:
        folder = BUILTIN / EMBEDDED_EDITOR
        if not is_editor(folder):
            raise ModelError(
                "the embedded instruction editor is not in this installation.",
                "Released editors need none of it.",
                f"Name weights of your own: {option('set.weights', 'DIR')}, made by vedit train"
                " --method easyv2v or --preset shapes-instruct",
            )
        return folder
    folder = Path(weights) if Path(weights).is_dir() else fetch_folder(weights, FILES)
    if not is_editor(folder):
        raise ModelError(f"{weights}: these are not {DOCUMENT.what}.", DOCUMENT.right, DOCUMENT.next_step)
    return folder


def add_lora(transformer: Any, recipe: Recipe) -> None:
    """Add LoRA to the attention of a transformer; at the start it changes nothing."""
    from peft import LoraConfig

    alpha: Any = recipe.alpha  # peft's hint says int, and it divides by the rank
    made = LoraConfig(r=recipe.rank, lora_alpha=alpha, target_modules=list(recipe.targets))
    transformer.add_adapter(made, adapter_name=ADAPTER)


def lora_of(transformer: Any) -> dict[str, Any]:
    """The parameters of LoRA by peft's names without the adapter's: blocks.0.attn1.to_q.lora_A.weight."""
    return {
        name.replace(f".{ADAPTER}.", "."): value
        for name, value in transformer.named_parameters()
        if f".{ADAPTER}." in name
    }


def load_lora(transformer: Any, weights: Mapping[str, Any], where: str) -> None:
    """Put weights into the LoRA of a transformer. Raises ModelError where they are not those that it has."""
    import torch

    own = lora_of(transformer)
    if {name: value.shape for name, value in own.items()} != {
        name: value.shape for name, value in weights.items()
    }:
        missing, more = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
        raise DOCUMENT.refusal(
            where,
            f"it does not fit the backbone: {len(missing)} weights are missing and {len(more)} are more"
            f"{f', {(missing or more)[0]} for one' if missing or more else ''}",
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(weights[name])


def remove_lora(transformer: Any) -> None:
    """Take LoRA out again."""
    if ADAPTER in getattr(transformer, "peft_config", {}):
        transformer.unload_lora()


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DOCUMENT.refusal(str(path), str(error).strip().splitlines()[0]) from None
