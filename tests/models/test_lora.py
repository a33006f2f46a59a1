"""LoRAs in every layout of files, merged; the oracle is diffusers' own loader, which keeps them beside the weights."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from safetensors.torch import load_file, save_file

from tests.engine.folder import write_folder
from vedit.errors import ModelError, UsageError
from vedit.models.adapters import Adapter, Found, by_content, find, locate, made_for, parse, recorded
from vedit.models.layout import SD, WAN
from vedit.models.load import load_model
from vedit.models.lora import Names, merge, original_of_wan

TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1")
NAMES_LONG = "lora.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("model"))


def weights_of(module: Any, ends: tuple[str, ...], rank: int, seed: int) -> dict[str, Any]:
    """Random halves for layers with these ends of names: peft's keys without a prefix."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for path, layer in module.named_modules():
        if not path.endswith(ends) or not hasattr(layer, "weight"):
            continue
        shape = layer.weight.shape
        down = torch.randn(rank, *shape[1:], generator=generator) * 0.2
        up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2), generator=generator) * 0.2
        found |= {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": up}
    return found


def as_kohya(prefix: str, halves: Mapping[str, Any], alpha: float | None) -> dict[str, Any]:
    found = {}
    for key, tensor in halves.items():
        path, _, half = key.rpartition(".lora_")
        name = f"{prefix}{path.replace('.', '_')}"
        found[f"{name}.{'lora_down' if half[0] == 'A' else 'lora_up'}.weight"] = tensor
        if alpha is not None:
            found[f"{name}.alpha"] = torch.tensor(alpha)
    return found


def prefixed(part: str, halves: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{part}.{key}": tensor for key, tensor in halves.items()}


def text_path(key: str) -> str:
    """A key of the text encoder as files have it, whatever this version of transformers calls the module."""
    return key if key.startswith("text_model.") else f"text_model.{key}"


def outputs(unet: Any, text: Any) -> tuple[Any, Any]:
    ids = torch.arange(5, 15)[None]
    width, channels, side = unet.config.cross_attention_dim, unet.config.in_channels, unet.config.sample_size
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, channels, side, side, generator=generator)
    context = torch.randn(2, 7, width, generator=generator)
    with torch.inference_mode():
        return unet(latents, 500, encoder_hidden_states=context).sample, text(ids)[0]


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return StableDiffusionPipeline.from_pretrained(
            folder, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )


@pytest.fixture(scope="module")
def parts(pipe: Any) -> dict[str, Any]:
    """The network and the text encoder, untouched."""
    return {"unet": copy.deepcopy(pipe.unet), "text_encoder": copy.deepcopy(pipe.text_encoder)}


def merged(parts: dict[str, Any], *lora: str) -> dict[str, Any]:
    own = copy.deepcopy(parts)
    merge("m", own, locate(lora, SD, "m"))
    return own


@pytest.fixture(scope="module")
def made(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files(parts, tmp_path_factory.mktemp("loras"))


def files(parts: dict[str, Any], to: Path) -> dict[str, Path]:
    """One LoRA of the network and the text encoder in each layout of files."""
    linear = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj")
    unet, text = weights_of(parts["unet"], linear, 3, 7), weights_of(parts["text_encoder"], TEXT_LAYERS, 3, 8)
    text = {text_path(key): tensor for key, tensor in text.items()}
    made = {
        "kohya": {**as_kohya("lora_unet_", unet, 1.5), **as_kohya("lora_te_", text, 1.5)},
        "peft": {**prefixed("unet", unet), **prefixed("text_encoder", text)},
        "diffusers": {
            **{f"unet.{key.replace('lora_A', 'lora.down').replace('lora_B', 'lora.up')}": one for key, one in unet.items()},
            **{f"text_encoder.{key.replace('lora_A', 'lora_linear_layer.down').replace('lora_B', 'lora_linear_layer.up')}": one for key, one in text.items()},
        },
        "processors": {
            f"unet.{old_processor(key)}": one for key, one in unet.items() if ".ff." not in key
        },
    }  # fmt: skip
    for name, tensors in made.items():
        save_file(tensors, to / f"{name}.safetensors")
    settings = {"unet.lora_alpha": 6, "unet.r": 3, "unet.alpha_pattern": {}, "unet.rank_pattern": {}, "unet.target_modules": list(linear),
                "text_encoder.lora_alpha": 1, "text_encoder.r": 3, "text_encoder.target_modules": list(TEXT_LAYERS)}  # fmt: skip
    save_file(made["peft"], to / "header.safetensors", metadata={"lora_adapter_metadata": json.dumps(settings), "format": "pt"})  # fmt: skip
    return {path.stem: path for path in to.glob("*.safetensors")}


def old_processor(key: str) -> str:
    """`attn1.to_out.0.lora_A.weight` as `attn1.processor.to_out_lora.down.weight`."""
    path, _, half = key.rpartition(".lora_")
    at, _, layer = path.removesuffix(".0").rpartition(".")
    return f"{at}.processor.{layer}_lora.{'down' if half[0] == 'A' else 'up'}.weight"


@pytest.mark.parametrize("layout", ["kohya", "peft", "diffusers", "processors", "header"])
def test_a_merged_lora_gives_what_diffusers_makes_of_the_same_file(
    pipe: Any, parts: dict[str, Any], made: dict[str, Path], layout: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.load_lora_weights(made[layout].parent, weight_name=made[layout].name, adapter_name="one")
    pipe.set_adapters(["one"], [0.7])
    wanted, said = outputs(pipe.unet, pipe.text_encoder)
    pipe.unload_lora_weights()
    own = merged(parts, f"{made[layout]}:0.7")
    found, ours = outputs(own["unet"], own["text_encoder"])
    plain, plainly = outputs(parts["unet"], parts["text_encoder"])
    assert (found - wanted).abs().max() < 1e-6 and (ours - said).abs().max() < 1e-6
    assert (found - plain).abs().max() > 1e-3
    assert layout == "processors" or (ours - plainly).abs().max() > 1e-3


def test_a_scale_of_zero_leaves_every_bit_and_two_loras_add_up(
    parts: dict[str, Any], made: dict[str, Path]
) -> None:
    none, both, once = (
        merged(parts, *lora)["unet"].state_dict()
        for lora in ((f"{made['kohya']}:0",), (f"{made['kohya']}:0.25",) * 2, (f"{made['kohya']}:0.5",))
    )
    for name, weight in parts["unet"].state_dict().items():
        assert torch.equal(weight, none[name]) and torch.allclose(both[name], once[name], atol=1e-6)


def test_a_model_is_loaded_with_its_lora_and_says_so(
    folder: Path, made: dict[str, Path], parts: dict[str, Any]
) -> None:
    model = load_model(str(folder), device="cpu", lora=(f"{made['kohya']}:0.5",))
    wanted = merged(parts, f"{made['kohya']}:0.5")["unet"].state_dict()
    assert all(torch.equal(weight, wanted[name]) for name, weight in model.unet.state_dict().items())
    [told] = model.identity()["lora"]
    assert told["name"] == str(made["kohya"]) and told["scale"] == 0.5


def test_convolutions_and_whole_differences_are_merged_by_their_formulas(tmp_path: Path) -> None:
    torch.manual_seed(2)
    block = torch.nn.Module()
    block.conv, block.norm = torch.nn.Conv2d(4, 6, 3), torch.nn.LayerNorm(6)
    before = {name: weight.clone() for name, weight in block.state_dict().items()}
    up, mid, down = torch.randn(6, 2, 1, 1), torch.randn(2, 3, 3, 3), torch.randn(3, 4, 1, 1)
    parts = {
        "lora_unet_conv.lora_up.weight": up,
        "lora_unet_conv.lora_mid.weight": mid,
        "lora_unet_conv.lora_down.weight": down,
        "lora_unet_conv.alpha": torch.tensor(3.0),
        "diffusion_model.norm.diff": torch.ones(6),
        "diffusion_model.norm.diff_b": torch.full((6,), 2.0),
    }
    save_file(parts, tmp_path / NAMES_LONG)
    merge("m", {"unet": block}, locate([f"{tmp_path / NAMES_LONG}:0.5"], None, "m"))
    wanted = torch.zeros(6, 4, 3, 3)
    for o in range(6):  # one number at a time: what the layers of the adapter do to an impulse
        for i in range(4):
            for s in range(3):
                for r in range(2):
                    wanted[o, i] += up[o, r, 0, 0] * mid[r, s] * down[s, i, 0, 0]
    after = block.state_dict()
    assert torch.allclose(after["conv.weight"], before["conv.weight"] + 0.5 * wanted * 3 / 3, atol=1e-6)
    assert torch.equal(after["norm.weight"], before["norm.weight"] + 0.5)
    assert torch.equal(after["norm.bias"], before["norm.bias"] + 1)


def test_half_precision_weights_are_merged_in_full_and_keep_their_dtype(tmp_path: Path) -> None:
    layer = torch.nn.ModuleDict({"to_q": torch.nn.Linear(8, 8, bias=False)}).half()
    before = layer["to_q"].weight.clone()
    up, down = torch.randn(8, 2) * 1e-3, torch.randn(2, 8)
    save_file({"unet.to_q.lora_A.weight": down, "unet.to_q.lora_B.weight": up}, tmp_path / NAMES_LONG)
    merge("m", {"unet": layer}, locate([str(tmp_path / NAMES_LONG)], None, "m"))
    assert layer["to_q"].weight.dtype == torch.float16
    assert torch.equal(layer["to_q"].weight, (before.float() + up @ down).half())


def transformer(seed: int) -> Any:
    from diffusers import WanTransformer3DModel

    torch.manual_seed(seed)
    return WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, text_dim=32, freq_dim=32, ffn_dim=48, num_layers=2
    )


def wan_output(part: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    latents, text = (
        torch.randn(1, 16, 2, 4, 4, generator=generator),
        torch.randn(1, 6, 32, generator=generator),
    )
    with torch.inference_mode():
        return part(latents, torch.tensor([500.0]), text, return_dict=False)[0]


@pytest.mark.parametrize("layout", ["diffusers", "original", "kohya"])
def test_a_wan_lora_gives_what_diffusers_makes_of_it_under_either_names(tmp_path: Path, layout: str) -> None:
    from diffusers import WanPipeline

    bare, ours, theirs = transformer(5), transformer(5), transformer(5)
    halves = weights_of(bare, ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"), 2, 4)
    diffusers = prefixed("transformer", halves)
    originals = {original_key(key): one for key, one in halves.items()}
    made = {
        "diffusers": diffusers,
        "original": {f"diffusion_model.{key}": one for key, one in originals.items()},
        "kohya": as_kohya("lora_unet_", originals, 3.0),
    }[layout]
    save_file(made, tmp_path / NAMES_LONG)
    [told] = merge("m", {"transformer": ours}, locate([f"{tmp_path / NAMES_LONG}:0.6"], WAN, "m"))
    pipe = WanPipeline(None, None, None, None, theirs)
    pipe.load_lora_weights(tmp_path, weight_name=NAMES_LONG, adapter_name="one")
    pipe.set_adapters(["one"], [0.6])
    assert (wan_output(ours) - wan_output(pipe.transformer)).abs().max() < 1e-6
    assert (wan_output(ours) - wan_output(bare)).abs().max() > 1e-4
    assert told["scale"] == 0.6 and len(told["sha256"]) == 64


def original_key(key: str) -> str:
    path, _, half = key.rpartition(".lora_")
    return f"{original_of_wan(path)}.lora_{half}"


def test_the_original_names_are_those_that_diffusers_turns_into_its_own() -> None:
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    own = transformer(5).state_dict()
    paths = {name.rpartition(".")[0] for name in own if not name.endswith("scale_shift_table")}
    layers = {f"{original_of_wan(path)}.{end}": path for path in paths for end in ("weight", "bias")
              if f"{path}.{end}" in own}  # fmt: skip
    turned = convert_wan_transformer_to_diffusers({key: own[f"{path}.{key.rpartition('.')[2]}"] for key, path in layers.items()})  # fmt: skip
    assert set(turned) == {name for name in own if not name.endswith("scale_shift_table")}


def test_of_two_transformers_both_are_changed_or_the_one_that_is_named(tmp_path: Path) -> None:
    halves = weights_of(transformer(5), ("attn1.to_q",), 2, 4)
    save_file(prefixed("transformer", halves), tmp_path / NAMES_LONG)
    for text, changed in ((str(tmp_path / NAMES_LONG), (True, True)), (f"transformer_2={tmp_path / NAMES_LONG}", (False, True))):  # fmt: skip
        parts = {"transformer": transformer(5), "transformer_2": transformer(6)}
        before = {name: part.blocks[0].attn1.to_q.weight.clone() for name, part in parts.items()}
        merge("m", parts, locate([text], WAN, "m"))
        assert tuple(not torch.equal(before[name], part.blocks[0].attn1.to_q.weight) for name, part in parts.items()) == changed  # fmt: skip


# --- what is refused -----------------------------------------------------------------------------


def test_unknown_keys_are_refused_with_their_count_and_the_first_names(
    parts: dict[str, Any], made: dict[str, Path], tmp_path: Path
) -> None:
    tensors = load_file(made["kohya"])
    for number in range(5):
        tensors[f"lora_unet_down_blocks_9_{number}.lora_up.weight"] = torch.zeros(2, 2)
    tensors["surprise"] = torch.zeros(2)
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(ModelError) as error:
        merged(parts, str(tmp_path / "odd.safetensors"))
    told = " ".join(str(error.value).split())
    assert f"has 6 keys, of {len(tensors)}, that are not of a layer" in told
    assert "surprise" in told and "lora_unet_down_blocks_9_0.lora_up.weight" in told
    assert "lora_unet_down_blocks_9_4" not in told and "Stable Diffusion's UNet" in told


def test_half_of_a_layer_is_not_a_lora(parts: dict[str, Any], made: dict[str, Path], tmp_path: Path) -> None:
    tensors = load_file(made["peft"])
    lost = next(key for key in tensors if key.endswith("lora_B.weight"))
    del tensors[lost]
    save_file(tensors, tmp_path / "half.safetensors")
    with pytest.raises(ModelError, match="has 1 keys, of") as error:
        merged(parts, str(tmp_path / "half.safetensors"))
    assert lost.replace("lora_B", "lora_A") in str(error.value)


def test_another_width_is_refused_with_both_shapes(parts: dict[str, Any], tmp_path: Path) -> None:
    key = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    save_file({f"{key}.lora_A.weight": torch.zeros(2, 768), f"{key}.lora_B.weight": torch.zeros(16, 2)},
              tmp_path / NAMES_LONG)  # fmt: skip
    with pytest.raises(ModelError, match="it has 16x768, and the model 16x16") as error:
        merged(parts, str(tmp_path / NAMES_LONG))
    assert "in 1 layers, such as mid_block.attentions.0.transformer_blocks.0.attn2.to_k" in str(error.value)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("unet.down_blocks.0.attentions.0.proj_in.lora_A.weight",), "Stable Diffusion's UNet"),
        (("lora_unet_input_blocks_4_1_proj_in.lora_up.weight", "lora_te2_text_model_x.lora_up.weight"), "Stable Diffusion XL"),
        (("diffusion_model.blocks.0.self_attn.q.lora_A.weight",), "a Wan transformer"),
        (("transformer.blocks.0.attn1.to_q.lora_A.weight",), "a Wan transformer"),
        (("lora_unet_blocks_0_self_attn_q.lora_down.weight",), "a Wan transformer"),
        (("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight",), "a FLUX or HunyuanVideo transformer"),
        (("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight",), "a FLUX or HunyuanVideo transformer"),
        (("transformer.transformer_blocks.0.attn1.to_q.lora_A.weight",), "another transformer"),
        (("lora_te_text_model_encoder_layers_0_mlp_fc1.alpha",), "a CLIP text encoder"),
        (("something.else",), None),
    ],
)  # fmt: skip
def test_names_tell_what_a_lora_was_made_for(names: tuple[str, ...], told: str | None) -> None:
    found = made_for(names)
    assert (found is None) if told is None else (found is not None and found[0].startswith(told))


def test_a_lora_of_another_family_is_refused_before_its_tensors_are_read(made: dict[str, Path]) -> None:
    file = made["kohya"]
    with pytest.raises(ModelError, match=r"was made for Stable Diffusion's UNet, and m is a WanPipeline") as error:  # fmt: skip
        locate([str(file)], WAN, "m")
    assert "StableDiffusionPipeline" in str(error.value)
    assert locate([str(file)], SD, "m")[0].path == file


@pytest.mark.parametrize("key", ["lora_unet_x.hada_w1_a", "lora_unet_x.lokr_w1", "lora_unet_x.dora_scale"])
def test_relatives_of_lora_are_called_by_their_names(tmp_path: Path, key: str) -> None:
    save_file({key: torch.zeros(2, 2)}, tmp_path / NAMES_LONG)
    with pytest.raises(ModelError, match=r"is a (LoHa|LoKr|DoRA), not a LoRA"):
        merge("m", {"unet": torch.nn.Linear(2, 2)}, locate([str(tmp_path / NAMES_LONG)], None, "m"))


def test_a_pickle_with_more_than_tensors_runs_nothing(
    parts: dict[str, Any], made: dict[str, Path], tmp_path: Path
) -> None:
    class Bad:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"x": Bad()}, tmp_path / "bad.bin")
    with pytest.raises(ModelError, match="cannot be read"):
        merged(parts, str(tmp_path / "bad.bin"))
    assert not (tmp_path / "ran").exists()
    torch.save(load_file(made["kohya"]), tmp_path / "good.bin")
    assert merged(parts, str(tmp_path / "good.bin"))


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_file_is_refused_by_name(parts: dict[str, Any], tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAMES_LONG).write_bytes(content)
    with pytest.raises(ModelError, match="lora"):
        merged(parts, str(tmp_path / NAMES_LONG))


# --- names of LoRAs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a/b", Adapter("a/b")),
        ("a/b:0.5", Adapter("a/b", 0.5)),
        ("a/b:-1", Adapter("a/b", -1.0)),
        ("a/b/style.safetensors:2", Adapter("a/b", 2.0, None, "style.safetensors")),
        ("a/b@v1.2:2", Adapter("a/b", 2.0, None, None, "v1.2")),
        ("unet=a/b/x.safetensors@main", Adapter("a/b", 1.0, "unet", "x.safetensors", "main")),
        ("transformer_2=a/b:1e-1", Adapter("a/b", 0.1, "transformer_2")),
    ],
)
def test_a_lora_is_read_as_it_is_written_and_written_as_it_is_read(text: str, wanted: Adapter) -> None:
    assert parse(text) == wanted and parse(str(wanted)) == wanted
    assert parse(recorded({**wanted._asdict(), "sha256": "0" * 64})) == wanted


@pytest.mark.parametrize("text", ["a/b:", "a/b:x", "a/b:nan", "a/b:inf", "a/b:101"])
def test_a_scale_is_a_number_of_some_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a scale"):
        parse(text)


def test_a_name_with_a_colon_is_a_file_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "x:0.5").touch()
    assert parse(str(tmp_path / "x:0.5")) == Adapter(str(tmp_path / "x:0.5"))
    with pytest.raises(ModelError, match="there is no LoRA"):
        parse(str(tmp_path / "y:0.5"))


def test_of_a_folder_the_usual_file_is_taken_or_the_only_one(tmp_path: Path) -> None:
    (tmp_path / "one.safetensors").touch()
    assert find(Adapter(str(tmp_path))).path.name == "one.safetensors"
    (tmp_path / "two.safetensors").touch()
    with pytest.raises(ModelError, match=r"holds 2 files of weights: one.safetensors, two.safetensors"):
        find(Adapter(str(tmp_path)))
    (tmp_path / "pytorch_lora_weights.safetensors").touch()
    assert find(Adapter(str(tmp_path))).path.name == "pytorch_lora_weights.safetensors"
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ModelError, match="is not a file of weights"):
        find(Adapter(str(tmp_path / "notes.txt")))


def test_pefts_settings_beside_the_weights_say_alpha(tmp_path: Path) -> None:
    layer = torch.nn.ModuleDict({"to_q": torch.nn.Linear(4, 4), "to_k": torch.nn.Linear(4, 4)})
    before = {name: part.weight.clone() for name, part in layer.items()}
    up, down = torch.randn(4, 2), torch.randn(2, 4)
    halves = {
        f"base_model.model.{name}.lora_{half}.weight": one.clone()
        for name in layer
        for half, one in (("A", down), ("B", up))
    }
    save_file(halves, tmp_path / "adapter_model.safetensors")
    settings = {"lora_alpha": 8, "r": 2, "alpha_pattern": {"to_k": 1}, "use_rslora": False}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    merge("m", {"unet": layer}, locate([str(tmp_path)], None, "m"))
    for name, share in (("to_q", 4.0), ("to_k", 0.5)):
        assert torch.allclose(layer[name].weight, before[name] + share * up @ down, atol=1e-6)
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": "much"}')
    with pytest.raises(ModelError, match="lora_alpha is 'much', which is not a number"):
        merge("m", {"unet": layer}, locate([str(tmp_path)], None, "m"))


def test_contents_decide_not_names(tmp_path: Path) -> None:
    facts = []
    for name in ("a.safetensors", "b.safetensors"):
        save_file({"unet.to_q.lora_A.weight": torch.zeros(1, 1)}, tmp_path / name)
        facts.append(Found(Adapter(str(tmp_path / name)), tmp_path / name, None).facts)
    assert facts[0] != facts[1] and by_content(facts[:1]) == by_content(facts[1:])


def test_a_network_knows_its_layers_by_dots_and_by_underscores() -> None:
    names = Names(transformer(5))
    assert (
        names.find("blocks.0.attn1.to_out.0")
        == names.find("blocks_0_self_attn_o")
        == "blocks.0.attn1.to_out.0"
    )
    assert names.find("blocks.0.nothing") is None
