"""Model folders of strangers: what is refused before a library sees it, and three hundred damaged
configurations.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.engine.folder import write_folder
from tests.engine.video_folder import write_wan
from tests.odd_json import mutated
from vedit.errors import ModelError
from vedit.models import pipelines
from vedit.models.checked import check_index, check_parts, is_stock, tensor_names
from vedit.models.hub import PARTS, check_family, is_as_published
from vedit.models.sd.load import check_schedule, load_model


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "sd"))


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("library", "name", "stock"),
    [
        ("diffusers", "UNet2DConditionModel", True), ("diffusers", "DDIMScheduler", True), ("transformers", "CLIPTextModel", True),
        ("transformers", "CLIPTokenizer", True), ("transformers", "CLIPFeatureExtractor", True), ("stable_diffusion", "StableDiffusionSafetyChecker", True),
        ("evil", "Evil", False), ("os", "system", False), ("transformers", "AutoTokenizer", False), ("transformers", "AutoModel", False),
        ("transformers", "pipeline", False), ("diffusers", "DiffusionPipeline", False), ("diffusers", "utils", False), ("diffusers", "__class__", False),
        ("diffusers.utils", "logging", False), ("stable_diffusion", "os", False), ("..", "x", False), ("transformers", "PretrainedConfig", False),
        ("torch", "load", False), ("onnxruntime.training", "ORTModule", False), ("", "", False),
    ],
)  # fmt: skip
def test_a_part_is_a_class_of_the_libraries_for_parts(library: str, name: str, stock: bool) -> None:
    assert is_stock(library, name) is stock


@pytest.mark.parametrize(
    "entry",
    [["evil", "Evil"], ["diffusers"], ["diffusers", None], [1, 2], [["a"], "b"], ["diffusers", "a", "b"], []],
)
def test_an_index_that_names_other_parts_is_refused(entry: Any) -> None:
    with pytest.raises(ModelError, match="its"):
        check_index("m", {"_class_name": "WanPipeline", "transformer": entry, "vae": [None, None]})
    with pytest.raises(ModelError, match="its part"):
        check_index("m", {"../x": ["diffusers", "UNet2DConditionModel"]})


def test_code_beside_a_pipeline_is_never_run(tmp_path: Path) -> None:
    folder = write_wan(tmp_path / "wan")
    for place in ("transformer/evil.py", "pipeline.py", "evil.py"):
        (folder / place).write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')")
    change(folder / "model_index.json", transformer=["evil", "Evil"])
    with pytest.raises(ModelError, match="runs no code"):
        pipelines.load_pipeline(str(folder), device="cpu")
    change(
        folder / "model_index.json",
        transformer=["diffusers", "WanTransformer3DModel"],
        _class_name=["pipeline", "Evil"],
    )
    with pytest.raises(ModelError, match="code of its own"):
        pipelines.load_pipeline(str(folder), device="cpu")
    change(folder / "model_index.json", _class_name="utils")
    with pytest.raises(ModelError):
        pipelines.load_pipeline(str(folder), device="cpu")
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("text_encoder/config.json", {"num_hidden_layers": 10**7}, "num_hidden_layers 10000000"),
        ("unet/config.json", {"layers_per_block": [10**7]}, "layers_per_block 10000000"),
        ("unet/config.json", {"block_out_channels": [4] * 50_000}, "lists 50000 block_out_channels"),
        ("text_encoder/config.json", {"attn_implementation": "attacker/kernel"}, "code of the Hub"),
        ("vae/config.json", {"trust_remote_code": True}, "code of its own"),
        ("tokenizer/tokenizer_config.json", {"custom_pipeline": "x"}, "code of its own"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}, "num_train_timesteps"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": "1000"}, "num_train_timesteps"),
    ],
)
def test_what_a_configuration_may_not_say_is_told_with_its_file(
    folder: Path, file: str, changes: dict[str, Any], said: str
) -> None:
    change(folder / file, **changes)
    with pytest.raises(ModelError, match=said) as caught:
        check_parts("m", folder, PARTS)
    assert file in str(caught.value)


@pytest.mark.parametrize("content", ["[1]", "null", "[" * 50_000, "{", "1", '{"a": 1' + "0" * 5000 + "}"])
@pytest.mark.parametrize(
    "file", ["unet/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"]
)
def test_a_configuration_that_is_no_object_is_told_with_its_file(
    folder: Path, file: str, content: str
) -> None:
    (folder / file).write_text(content)
    with pytest.raises(ModelError, match=file.rpartition("/")[2]):
        check_parts("m", folder, PARTS)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 8,
        b"\2\0\0\0\0\0\0\0[]",
        b"\2\0\0\0\0\0\0\0{}x",
        b'\x0a\0\0\0\0\0\0\0{"a": 1}  ',
    ],
)
def test_weights_that_are_damaged_are_told_with_their_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.safetensors: the weights cannot be loaded"):
        tensor_names(tmp_path / "w.safetensors")


def test_weights_cut_anywhere_are_refused_by_their_header(folder: Path) -> None:
    (file,) = (folder / "text_encoder").glob("*.safetensors")
    data = file.read_bytes()
    assert len(tensor_names(file)) > 10
    for size in (0, 7, 9, 100, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:size])
        with pytest.raises(ModelError):
            tensor_names(file)


def test_a_tokenizer_without_a_limit_reads_as_many_tokens_as_the_encoder_has_places(folder: Path) -> None:
    change(folder / "tokenizer" / "tokenizer_config.json", model_max_length=1e30)
    model = load_model(str(folder), device="cpu")
    assert model.tokenizer.model_max_length == model.text_encoder.config.max_position_embeddings
    assert model.encode_prompt("a cat").shape[1] == model.text_encoder.config.max_position_embeddings


def test_three_hundred_damaged_configurations_are_told_or_understood(folder: Path) -> None:
    """All that is read before weights are: the index, the family, the parts, the noise schedule."""
    rng = random.Random(5)
    files = [
        folder / "model_index.json",
        *sorted(path for path in folder.glob("*/*.json") if path.name.endswith("config.json")),
    ]
    texts = {path: path.read_text() for path in files}
    outcomes = {"told": 0, "read": 0}
    for number in range(300):
        path = files[number % len(files)]
        path.write_text(json.dumps(mutated(json.loads(texts[path]), rng)))
        try:
            check_index("m", pipelines.read_index(str(folder)))
            check_family("m", folder)
            check_parts("m", folder, PARTS)
            check_schedule("m", folder)
            outcomes["read"] += 1
        except ModelError as error:
            assert len(str(error)) < 2000
            outcomes["told"] += 1
        path.write_text(texts[path])
    assert outcomes["told"] > 30 and outcomes["read"] > 30, outcomes


def test_a_blob_of_the_cache_has_the_hash_of_its_name(tmp_path: Path) -> None:
    # sha256 and git's blob id of b"hello\n", as `sha256sum` and `git hash-object` print them
    good = (
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "ce013625030ba8dba906f756967f9e9ca394464a",
    )
    for name in good:
        (tmp_path / name).write_bytes(b"hello\n")
        assert is_as_published(tmp_path / name)
        (tmp_path / name).write_bytes(b"hello!")
        assert not is_as_published(tmp_path / name)


def test_parts_are_hashed_by_content(tmp_path: Path) -> None:
    folder = write_wan(tmp_path / "wan")
    index = pipelines.read_index(str(folder))
    first = pipelines.part_hashes(folder, index)
    assert sorted(first) == ["scheduler", "text_encoder", "tokenizer", "transformer", "vae"]
    (weights,) = (folder / "transformer").glob("*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    second = pipelines.part_hashes(folder, index)
    assert [part for part in first if first[part] != second[part]] == ["transformer"]
