"""LoRAs in whole commands: recorded, part of what an inversion is, repeated, refused, fetched from a Hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from safetensors.torch import save_file

from tests.conftest import Result, vedit
from tests.hub import stub_as_hub
from vedit.jobs import cache
from vedit.jobs.batch.keys import Contents, Keys
from vedit.jobs.batch.rows import read_rows
from vedit.jobs.edit.request import EditRequest
from vedit.models.sd.model import Model

SHORT = (
    "--method",
    "ddim",
    "--steps",
    "2",
    "--source",
    "a red cat",
    "--prompt",
    "a blue dog",
    "--size",
    "32",
)
LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_v"


def write_lora(path: Path, layer: str = f"unet.{LAYER}", seed: int = 0, width: int = 16) -> Path:
    generator = torch.Generator().manual_seed(seed)
    down, up = (torch.randn(*shape, generator=generator) * 2 for shape in ((2, width), (width, 2)))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, path)
    return path


def edit(model: Model, clip: str, output: Path, *more: str) -> Result:
    return vedit("edit", clip, "-o", output, "--model", str(model.folder), *SHORT, *more)


def record_of(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"{output}.vedit.json").read_text())
    return found


def test_an_edit_records_its_lora_and_is_repeated_with_it(model: Model, clip: str, tmp_path: Path) -> None:
    lora = write_lora(tmp_path / "loras" / "style.safetensors")
    outputs = {name: tmp_path / f"{name}.gif" for name in ("bare", "none", "full", "again")}
    assert edit(model, clip, outputs["bare"]).code == 0
    assert edit(model, clip, outputs["none"], "--lora", f"{lora}:0").code == 0
    done = edit(model, clip, outputs["full"], "--lora", f"{lora}:1.5")
    assert done.code == 0, done.err
    pixels = {name: path.read_bytes() for name, path in outputs.items() if path.exists()}
    keys = {name: record_of(outputs[name])["inversion"]["key"] for name in pixels}
    assert len(set(keys.values())) == 3 and len(cache.entries()) == 3
    told = record_of(outputs["full"])["model"]["lora"]
    assert [(one["name"], one["scale"], one["part"]) for one in told] == [
        ("./loras/style.safetensors", 1.5, None)
    ]
    repeated = vedit("replay", outputs["full"], "-o", outputs["again"])
    assert repeated.code == 0, repeated.err
    assert outputs["again"].read_bytes() == pixels["full"]
    assert record_of(outputs["again"])["model"]["lora"][0]["sha256"] == told[0]["sha256"]
    from vedit.jobs.clips import Selection, read_pixels

    bare, none, full = (read_pixels(str(outputs[name]), Selection(size=32)).frames_FYX3 for name in ("bare", "none", "full"))  # fmt: skip
    assert (bare == none).all() and (bare != full).any()


def test_a_changed_or_lost_lora_is_not_repeated_with(model: Model, clip: str, tmp_path: Path) -> None:
    lora = write_lora(tmp_path / "style.safetensors")
    assert edit(model, clip, tmp_path / "a.gif", "--lora", str(lora)).code == 0
    write_lora(lora, seed=1)
    changed = vedit("replay", tmp_path / "a.gif", "-o", tmp_path / "b.gif")
    assert changed.code == 5 and "not the one of the record" in changed.err and "SHA-256" in changed.err
    lora.unlink()
    lost = vedit("replay", tmp_path / "a.gif", "-o", tmp_path / "b.gif")
    assert lost.code == 5 and "there is no LoRA" in lost.err and str(lora.name) in lost.err


def test_an_inversion_fits_the_model_with_the_same_loras_alone(
    model: Model, clip: str, tmp_path: Path
) -> None:
    lora = write_lora(tmp_path / "style.safetensors")
    name = tmp_path / "clip.inv.safetensors"
    asked = ("--model", str(model.folder), "--prompt", "a red cat", "--steps", "2", "--size", "32")
    done = vedit("invert", clip, "-o", name, *asked, "--lora", f"{lora}:0.5")
    assert done.code == 0, done.err
    shutil.copy(lora, tmp_path / "renamed.safetensors")  # the same contents elsewhere are the same LoRA
    same = edit(model, clip, tmp_path / "a.gif", "--inversion", str(name), "--lora", f"{tmp_path}/renamed.safetensors:0.5")  # fmt: skip
    assert same.code == 0, same.err
    for more in ((), ("--lora", f"{lora}:0.6")):
        other = edit(model, clip, tmp_path / "b.gif", "--inversion", str(name), *more)
        assert other.code == 2 and "made with other LoRAs" in other.err


def test_what_is_wrong_with_a_lora_is_said(model: Model, clip: str, tmp_path: Path) -> None:
    wan = write_lora(tmp_path / "wan.safetensors", "diffusion_model.blocks.0.self_attn.q")
    unknown = write_lora(tmp_path / "odd.safetensors", "unet.down_blocks.7.attn1.to_q")
    for lora, code, words in (
        (str(wan), 5, ("was made for a Wan transformer", "is a StableDiffusionPipeline")),
        (str(unknown), 5, ("has 2 keys, of 2,", "unet.down_blocks.7.attn1.to_q.lora_A.weight")),
        (f"{wan}:much", 2, ("'much' is not a scale",)),
        ("nowhere.safetensors", 5, ("there is no LoRA 'nowhere.safetensors'",)),
        (f"transformer={unknown}", 5, ("has no part 'transformer'",)),
    ):
        refused = edit(model, clip, tmp_path / "a.gif", "--lora", lora)
        assert refused.code == code, refused.err
        assert all(word in " ".join(refused.err.split()) for word in words), refused.err
    assert not (tmp_path / "a.gif").exists()


def test_a_lora_of_the_hub_is_fetched_once_and_used_offline(
    model: Model, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants

    repository = write_lora(tmp_path / "repository" / "style.safetensors").parent
    (repository / "preview.png").write_bytes(b"not asked for")
    with stub_as_hub(monkeypatch, tmp_path / "hub") as hub:
        hub.add("somebody/style", repository)
        done = edit(model, clip, tmp_path / "a.gif", "--lora", "somebody/style:0.5")
        assert done.code == 0, done.err
        assert [request.path.rpartition("/")[2] for request in hub.downloads()] == ["style.safetensors"]
        [told] = record_of(tmp_path / "a.gif")["model"]["lora"]
        assert (
            told["name"] == "somebody/style" and told["revision"] == hub.repositories["somebody/style"].commit
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        repeated = vedit("replay", tmp_path / "a.gif", "-o", tmp_path / "b.gif")
        assert repeated.code == 0, repeated.err
        assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
        missing = edit(model, clip, tmp_path / "c.gif", "--lora", "somebody/other")
        assert missing.code == 5 and "not in the local cache" in missing.err
        assert "hf download somebody/other" in missing.err
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        wrong = edit(model, clip, tmp_path / "c.gif", "--lora", "somebody/style/stile.safetensors")
        assert wrong.code == 5 and "has no file 'stile.safetensors'" in wrong.err


def test_a_generated_clip_records_its_lora_and_is_repeated_with_it(tmp_path: Path) -> None:
    lora = write_lora(tmp_path / "style.safetensors", "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_v", width=64)  # fmt: skip
    from vedit.models.shapes.folder import load

    width = load().unet.get_submodule(LAYER).weight.shape[0]
    write_lora(lora, f"unet.{LAYER}", width=width)
    line = ("generate", "a red star on a grey background", "--model", "shapes", "--steps", "2", "--seed", "3")
    for name, more in (("bare", ()), ("none", ("--lora", f"{lora}:0")), ("full", ("--lora", f"{lora}:4"))):
        done = vedit(*line, "-o", tmp_path / f"{name}.gif", "--no-metadata", *more)
        assert done.code == 0, done.err
    assert (tmp_path / "bare.gif").read_bytes() == (tmp_path / "none.gif").read_bytes()
    assert (tmp_path / "bare.gif").read_bytes() != (tmp_path / "full.gif").read_bytes()
    assert vedit(*line, "-o", tmp_path / "told.gif", "--lora", f"{lora}:4").code == 0
    told = record_of(tmp_path / "told.gif")
    assert told["choices"]["extra"]["lora"][0]["scale"] == 4 and len(told["model"]["lora_sha256"]) == 1
    again = vedit("replay", tmp_path / "told.gif", "-o", tmp_path / "again.gif")
    assert again.code == 0, again.err
    assert (tmp_path / "told.gif").read_bytes() == (tmp_path / "again.gif").read_bytes()
    write_lora(lora, f"unet.{LAYER}", seed=5, width=width)
    changed = vedit("replay", tmp_path / "told.gif", "-o", tmp_path / "again.gif", "-y")
    assert changed.code == 5 and "not those of the record" in changed.err


def test_rows_of_a_batch_name_loras_and_are_told_apart_by_their_contents(tmp_path: Path) -> None:
    write_lora(tmp_path / "a.safetensors")
    shutil.copy(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    write_lora(tmp_path / "c.safetensors", seed=1)
    (tmp_path / "clip.gif").write_bytes(b"clip")
    loras = ("", "a.safetensors:0.5", "b.safetensors:0.5", "c.safetensors:0.5", "a.safetensors;somebody/x:2")
    lines = [f"clip.gif,a cat,a dog,{lora}" for lora in loras]
    (tmp_path / "rows.csv").write_text("\n".join(["input,source,prompt,lora", *lines]) + "\n")
    requests = [row.request for row in read_rows([str(tmp_path / "rows.csv")])]
    assert [request.lora for request in requests] == [
        (),
        *((f"{tmp_path}/{name}.safetensors:0.5",) for name in "abc"),
        (f"{tmp_path}/a.safetensors", "somebody/x:2"),
    ]
    keys = [Keys(Contents()).of(request, ".gif") for request in requests]
    assert keys[1] == keys[2] and len(set(keys)) == 4
    assert EditRequest.from_json(requests[1].json()) == requests[1]
