from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch

from tests.engine import tiny
from tests.engine.folder import write_folder
from vedit.errors import ModelError
from vedit.models.hub import hash_weights, weights_of
from vedit.models.sd.load import load_model
from vedit.models.sharded import parts_of, shards

INDEX = "diffusion_pytorch_model.safetensors.index.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_folder(tmp_path_factory.mktemp("sharded"))
    (made / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    tiny.unet(torch.float32).save_pretrained(made / "unet", max_shard_size="200KB")
    return made


def test_weights_in_several_files_are_the_same_weights(folder: Path) -> None:
    assert len(shards(folder / "unet", INDEX)) > 1
    loaded, whole = load_model(str(folder)).unet.state_dict(), tiny.unet(torch.float32).state_dict()
    assert loaded.keys() == whole.keys() and all(torch.equal(loaded[name], whole[name]) for name in whole)


def test_the_hash_is_over_every_file(folder: Path) -> None:
    before = hash_weights(folder / "unet")
    last = folder / "unet" / shards(folder / "unet", INDEX)[-1]
    content = last.read_bytes()
    last.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        assert hash_weights(folder / "unet") != before
    finally:
        last.write_bytes(content)


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    name = shards(folder / "unet", INDEX)[-1]
    (folder / "unet" / name).rename(folder / "unet" / "away")
    try:
        with pytest.raises(ModelError, match=name):
            load_model(str(folder))
    finally:
        (folder / "unet" / "away").rename(folder / "unet" / name)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"weight_map": []}', json.dumps({"weight_map": {"a": "../../secret.safetensors"}})],
)
def test_an_index_that_is_none_or_leads_out_of_its_folder_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(ModelError):
        shards(tmp_path, INDEX)


def test_one_file_goes_before_several_and_parts_belong_to_their_own_index() -> None:
    parts = [f"diffusion_pytorch_model-0000{place}-of-00002.safetensors" for place in (1, 2)]
    halves = [f"diffusion_pytorch_model.fp16-0000{place}-of-00002.safetensors" for place in (1, 2)]
    half = "diffusion_pytorch_model.safetensors.index.fp16.json"
    assert weights_of([*parts, *halves, INDEX, half]) == (INDEX, None, True)
    assert weights_of([*halves, half]) == (half, "fp16", True)
    assert weights_of([INDEX, "diffusion_pytorch_model.safetensors"]) == (
        "diffusion_pytorch_model.safetensors",
        None,
        True,
    )
    assert (
        parts_of([*parts, *halves, "config.json"], INDEX) == parts
        and parts_of([*parts, *halves], half) == halves
    )
