from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

from tests import mutations
from vedit.engine.artefact import Artefact, canonical, identity_key, writing
from vedit.errors import InputError, UsageError
from vedit.jobs.edit.invert import kept_inversion

FACTS: dict[str, Any] = {
    "kind": "ddim",
    "prompt": "a cat",
    "steps": 2,
    "model": {"id": "m", "unet_sha256": "1"},
    "source": {"size": [8, 8], "sha256": "x"},
}
SHAPES = {
    "z0": (2, 4, 3, 3),
    "text/source": (1, 5, 6),
    "latents/0001": (2, 4, 3, 3),
    "latents/0501": (2, 4, 3, 3),
}


def write(path: Path, facts: dict[str, Any] = FACTS) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    with writing(str(path), SHAPES, facts) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor)
    return tensors


def test_what_is_written_comes_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = write(tmp_path / "a.safetensors")
    artefact = Artefact(str(tmp_path / "a.safetensors"))
    assert torch.equal(artefact.latents(None), tensors["z0"])
    assert torch.equal(artefact.latents(501), tensors["latents/0501"])
    assert torch.equal(artefact.text(), tensors["text/source"])
    assert artefact.saved == [501, 1]
    assert artefact.null_steps == []


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tensors = write(tmp_path / "a.safetensors")
    loaded = load_file(tmp_path / "a.safetensors")
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="half way"),
        writing(str(tmp_path / "a.safetensors"), SHAPES, FACTS) as writer,
    ):
        writer.write("z0", torch.zeros(2, 4, 3, 3))
        raise RuntimeError("half way")
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_the_hash_of_what_latents_depend_on() -> None:
    assert canonical({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    key = identity_key(FACTS)
    assert key == identity_key({**FACTS, "seed": 7, "vedit": "9.9", "reconstruction": {"psnr": 1}})
    assert key != identity_key({**FACTS, "prompt": "a dog"})


@pytest.mark.parametrize(
    "change, field",
    [
        ({"model": {"id": "m", "unet_sha256": "2"}}, "model.unet_sha256"),
        ({"source": {"size": [16, 8], "sha256": "x"}}, "source.size"),
        ({"prompt": "a dog"}, "prompt"),
        (
            {"source": {"size": [8, 8], "sha256": "x", "pixels_sha256": "9"}},
            "another clip (source.pixels_sha256 differs)",
        ),
        (
            {
                "source": {"size": [16, 8], "sha256": "x", "pixels_sha256": "9"},
                "model": {"id": "m", "unet_sha256": "2"},
            },
            "source.size = [8, 8], this edit has [16, 8]",
        ),
    ],
)
def test_an_inversion_of_something_else_is_refused_naming_the_field(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    write(tmp_path / "a.safetensors")
    artefact = Artefact(str(tmp_path / "a.safetensors"))
    with pytest.raises(UsageError, match=re.escape(field)):
        artefact.check_against({**FACTS, **change}, same_prompt=True)


def test_the_same_pixels_and_weights_in_other_files_and_a_free_prompt_are_accepted(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors")
    artefact = Artefact(str(tmp_path / "a.safetensors"))
    artefact.check_against({**FACTS, "source": {"size": [8, 8], "sha256": "y"}}, same_prompt=True)
    artefact.check_against({**FACTS, "prompt": "a dog"}, same_prompt=False)
    artefact.check_against(
        {**FACTS, "model": {"id": "./m", "revision": "main", "unet_sha256": "1"}}, same_prompt=True
    )


@pytest.mark.parametrize("content", [b"", b"GIF89a and more", (8).to_bytes(8, "little") + b"{}      "])
def test_a_file_that_is_no_inversion_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match="not an inversion"):
        Artefact(str(tmp_path / "x"))


def test_five_hundred_damaged_inversions_are_input_errors_or_read(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    read = 0
    for seed in range(500):
        head = mutations.bytes_of(whole[8:start], seed)
        data = (
            mutations.bytes_of(whole, seed)
            if seed % 4 == 0
            else len(head).to_bytes(8, "little") + head + whole[start:]
        )
        (tmp_path / "b.safetensors").write_bytes(data)
        try:
            Artefact(str(tmp_path / "b.safetensors"))
            read += 1
        except InputError as error:
            assert "b.safetensors: " in error.what
    assert 0 < read < 250


def test_a_damaged_file_of_the_cache_is_told_and_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path))
    (tmp_path / "inversions").mkdir()
    made = tmp_path / "inversions" / "made"
    write(made)
    key = Artefact(str(made)).key
    path = made.rename(tmp_path / "inversions" / f"{key}.inv.safetensors")
    told: list[str] = []
    kept = kept_inversion(key, [501, 1], told.append)
    assert kept is not None and kept.path == str(path)
    assert told == []
    path.rename(tmp_path / "inversions" / f"{'0' * 64}.inv.safetensors")
    assert kept_inversion("0" * 64, [501, 1], told.append) is None
    assert "0000 is damaged and made anew: it does not hold what its name says" in told.pop()
    os.truncate(tmp_path / "inversions" / f"{'0' * 64}.inv.safetensors", 900)
    assert kept_inversion("0" * 64, [501, 1], told.append) is None
    assert "is damaged and made anew: not an inversion" in told.pop()
