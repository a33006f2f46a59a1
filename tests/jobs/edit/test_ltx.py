"""Edits and inversions with a tiny LTX-Video from its folder: what users type, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import Result, vedit
from tests.engine.video_folder import write_ltx
from tests.jobs.edit.square import read_frames, write_square
from vedit.engine.artefact import Artefact
from vedit.jobs.record import SUFFIX

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("module_cache")
PROMPTS = ("--source", "a red cat", "--prompt", "a blue cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ltx(tmp_path_factory.mktemp("ltx") / "m")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven frames of 40x24 at ten a second, a square that moves over a slope."""
    return write_square(tmp_path_factory.mktemp("clip") / "c.png", 7)


def edit(clip: Path, folder: Path, output: Path, *options: str) -> Result:
    # a network of noise changes so little that what the codec lost would hide it
    return vedit("edit", clip, "-o", output, "--model", folder, "--size", "24", *PROMPTS, "-y", "--no-detail",
                 *options)  # fmt: skip


STEPS = ("--steps", "3", "--guidance", "3")
LARGE = ("--size", "72")  # enough cells for a mask to tell some from others


@pytest.mark.parametrize(
    "method, options",
    [
        ("ddim", STEPS),
        ("sdedit", STEPS),
        ("p2p", (*STEPS, *LARGE, "--set", "blend_words=cat", "--set", "blend_threshold=0.1")),
        ("masactrl", (*STEPS, "--set", "start_layer=0", "--set", "start_step=0")),
        ("dds", (*LARGE, "--set", "iterations=3", "--set", "mask_after=1", "--set", "t_max=900")),
        ("glp", (*LARGE, "--set", "iterations=3", "--set", "mask_after=1")),
        ("flowedit", (*STEPS, "--set", "n_max=2")),
        ("unedit", ("--steps", "4")),
        ("kvlock", (*STEPS, "--mask", "box:0,0,24,24")),
    ],
)
def test_methods_that_need_what_the_family_offers_edit_all_frames_at_the_clip_s_size(
    clip: Path, folder: Path, tmp_path: Path, method: str, options: tuple[str, ...]
) -> None:
    made = edit(clip, folder, tmp_path / "o.png", "--method", method, *options)
    assert made.code == 0, made.err
    before, after = read_frames(clip), read_frames(tmp_path / "o.png")
    assert after.shape == before.shape == (7, 24, 40, 3)
    assert np.abs(after.astype(int) - before).max() > 8
    record = json.loads((tmp_path / f"o.png{SUFFIX}").read_text())
    assert record["sizes"]["filled"] == ([128, 96] if LARGE[1] in options else [64, 32])
    assert len(record["model"]["transformer_sha256"]) == 64
    assert record["model"]["rate"] == pytest.approx(10)


def test_explain_says_how_frames_and_sizes_are_filled_up_and_what_the_network_is_told(
    clip: Path, folder: Path, tmp_path: Path
) -> None:
    told = edit(clip, folder, tmp_path / "o.png", "--method", "p2p", *STEPS, "--explain").text
    assert "7 frames, filled up to 9 by repeating the last: the first alone and then 8 in one" in told
    assert "2 latent frames that see each other" in told and "filled up to 64x32" in told
    # 4 tokens: exp(0.95 + 1.1 * (4 - 1024) / 3072) = 1.79
    assert "told 10 frames a second; levels shifted by 1.79 for its size" in told
    assert "transformer_blocks.0.attn2 (1/1)" in told and "transformer_blocks.0.attn1 (1/1)" in told


def test_an_inversion_is_of_the_levels_of_its_clip_and_a_method_takes_it(
    clip: Path, folder: Path, tmp_path: Path
) -> None:
    name = tmp_path / "c.inv.safetensors"
    made = vedit("invert", clip, "-o", name, "--model", folder, "--size", "24", "--prompt", "a red cat",
                 "--steps", "4", "--solver", "uni-inv")  # fmt: skip
    assert made.code == 0, made.err
    artefact = Artefact(str(name))
    assert artefact.latents(None).shape == (2, 4, 1, 2) and artefact.facts["scheduler"]["terminal"] == 0.1
    assert artefact.facts["scheduler"]["shift"] == pytest.approx(1.7946, abs=1e-4)
    used = edit(clip, folder, tmp_path / "o.png", "--method", "ddim", "--steps", "4", "--inversion", str(name),
                "--set", "solver=uni-inv")  # fmt: skip
    assert used.code == 0, used.err


def test_a_record_is_repeated_to_the_byte(clip: Path, folder: Path, tmp_path: Path) -> None:
    made = edit(clip, folder, tmp_path / "a.png", "--method", "flowedit", *STEPS, "--set", "n_max=2")
    assert made.code == 0, made.err
    again = vedit("replay", tmp_path / "a.png", "-o", tmp_path / "b.png")
    assert again.code == 0, again.err
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_clips_are_made_from_text_with_frames_and_sizes_that_fit(folder: Path, tmp_path: Path) -> None:
    line = ("generate", "a red cat", "--model", folder, "--steps", "2", "--pipe", "max_sequence_length=32")
    made = vedit(*line, "-o", tmp_path / "g.webp", "--frames", "9", "--size", "64x32")
    assert made.code == 0, made.err
    assert read_frames(tmp_path / "g.webp").shape == (9, 32, 64, 3)
    for wrong, advice in (
        (("--frames", "10"), "Try --frames 9 or --frames 17"),
        (("--frames", "9", "--size", "50x32"), "Try --size 64x32"),
    ):
        refused = vedit(*line, "-o", tmp_path / "h.webp", *wrong)
        assert refused.code == 2 and advice in refused.err, refused.err


def test_a_lora_of_its_layers_is_taken_and_one_of_wan_is_refused(
    clip: Path, folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    def written(layer: str, side: int) -> Path:
        path = tmp_path / f"{layer[:4]}.safetensors"
        down, up = torch.ones(2, side), torch.ones(side, 2)
        save_file({f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, path)
        return path

    line = ("--method", "flowedit", *STEPS, "--set", "n_max=2")
    own = written("transformer_blocks.0.attn1.to_q", 20)
    made = edit(clip, folder, tmp_path / "o.png", *line, "--lora", str(own))
    assert made.code == 0, made.err
    other = written("blocks.0.self_attn.q", 20)
    refused = edit(clip, folder, tmp_path / "p.png", *line, "--lora", str(other))
    assert refused.code == 5 and "made for a Wan transformer" in refused.err and "LTXPipeline" in refused.err
