"""Edits and inversions with a tiny model of Wan's layout, from its folder: what users type, end to end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import Result, vedit
from tests.engine.video_folder import write_wan, write_wan22
from tests.jobs.edit.square import read_frames, write_square
from vedit.engine.artefact import Artefact
from vedit.jobs.record import SUFFIX
from vedit.media.video.ffmpeg import find_ffmpeg

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("module_cache")


PROMPTS = ("--source", "a red cat", "--prompt", "a blue cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wan(tmp_path_factory.mktemp("wan") / "m")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven frames of 40x24, a square that moves over a slope."""
    return write_square(tmp_path_factory.mktemp("clip") / "c.png", 7)


def edit(clip: Path, folder: Path, output: Path, *options: str) -> Result:
    return vedit(
        "edit", clip, "-o", output, "--model", folder, "--size", "24", *PROMPTS, "-y", *LOSSY, *options
    )


STEPS = ("--steps", "4", "--guidance", "3")
LOSSY = ("--no-detail",)  # a network of noise changes so little that what the codec lost would hide it


@pytest.mark.parametrize(
    "method, options",
    [
        ("ddim", STEPS),
        ("sdedit", STEPS),
        ("p2p", (*STEPS, "--set", "blend_words=cat", "--set", "blend_threshold=0.1")),
        ("masactrl", (*STEPS, "--set", "start_layer=0", "--set", "union=true")),
        ("dds", ("--set", "iterations=3", "--set", "mask_after=1", "--set", "t_max=900")),
        ("glp", ("--set", "iterations=3", "--set", "mask_after=1")),
        ("flowedit", (*STEPS, "--set", "n_max=3")),
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
    assert record["sizes"]["filled"] == [48, 32] and len(record["model"]["transformer_sha256"]) == 64


def test_explain_says_how_frames_are_packed_and_where_rules_act(
    clip: Path, folder: Path, tmp_path: Path
) -> None:
    told = edit(clip, folder, tmp_path / "o.png", "--method", "p2p", *STEPS, "--explain").text
    assert "7 frames, filled up to 9 by repeating the last: the first alone and then 4 in one" in told
    assert "3 latent frames that see each other" in told
    assert "blocks.0.attn2 (1/2)" in told and "blocks.0.attn1 (1/2)" in told
    assert "an evaluation of a clip takes" in told and "latents 4x4x6" in told


def test_a_record_is_repeated_to_the_byte(clip: Path, folder: Path, tmp_path: Path) -> None:
    assert (
        edit(clip, folder, tmp_path / "a.png", "--method", "flowedit", *STEPS, "--set", "n_max=3").code == 0
    )
    again = vedit("replay", tmp_path / "a.png", "-o", tmp_path / "b.png")
    assert again.code == 0, again.err
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_what_lies_outside_a_mask_keeps_its_pixels(clip: Path, folder: Path, tmp_path: Path) -> None:
    for method in ("flowedit", "sdedit"):
        more = ("--set", "n_max=3", "--set", "n_min=1") if method == "flowedit" else ()
        made = edit(
            clip, folder, tmp_path / "o.png", "--method", method, *STEPS, "--mask", "box:0,0,16,24", *more
        )
        assert made.code == 0, made.err
        before, after = read_frames(clip), read_frames(tmp_path / "o.png")
        assert np.array_equal(after[:, :, 16:], before[:, :, 16:])
        assert not np.array_equal(after[:, :, :16], before[:, :, :16])


def test_an_inversion_holds_a_clip_whole_under_the_names_of_its_levels(
    clip: Path, folder: Path, tmp_path: Path
) -> None:
    made = vedit("invert", clip, "-o", tmp_path / "c.inv.safetensors", "--model", folder, "--size", "24",
                 "--prompt", "a red cat", "--steps", "4")  # fmt: skip
    assert made.code == 0, made.err
    artefact = Artefact(str(tmp_path / "c.inv.safetensors"))
    assert artefact.latents(None).shape == (3, 4, 4, 6)
    assert artefact.saved[0] == 1000.0 and len(artefact.saved) == 4
    used = edit(clip, folder, tmp_path / "o.png", "--method", "ddim", *STEPS, "--inversion",
                str(tmp_path / "c.inv.safetensors"))  # fmt: skip
    assert used.code == 0, used.err
    other = edit(clip, folder, tmp_path / "p.png", "--method", "ddim", "--steps", "5", "--guidance", "3",
                 "--inversion", str(tmp_path / "c.inv.safetensors"))  # fmt: skip
    assert other.code == 2 and "Try --steps 4" in other.err


@pytest.mark.parametrize("solver", ["euler", "rf-solver", "fireflow", "uni-inv"])
def test_a_flow_is_inverted_by_its_own_solvers_which_sample_back(
    clip: Path, folder: Path, tmp_path: Path, solver: str
) -> None:
    made = vedit("invert", clip, "-o", tmp_path / "c.inv.safetensors", "--model", folder, "--size", "24",
                 "--prompt", "a red cat", "--steps", "12", "--solver", solver, "--json")  # fmt: skip
    assert made.code == 0, made.err
    assert json.loads(made.text)["psnr_vae"] > (25 if solver == "euler" else 35)
    facts = Artefact(str(tmp_path / "c.inv.safetensors")).facts
    assert (facts["solver"], facts["fixed_point"]) == (solver, 0)
    used = edit(clip, folder, tmp_path / "o.png", "--method", "ddim", "--steps", "12", "--set",
                f"solver={solver}", "--inversion", str(tmp_path / "c.inv.safetensors"))  # fmt: skip
    assert used.code == 0, used.err
    other = edit(clip, folder, tmp_path / "p.png", "--method", "ddim", "--steps", "12",
                 "--inversion", str(tmp_path / "c.inv.safetensors"))  # fmt: skip
    assert other.code == 2 and "solver" in other.err


def test_a_solver_of_flows_is_refused_for_a_model_without_one(clip: Path, tmp_path: Path) -> None:
    from tests.engine.folder import write_folder

    folder = write_folder(tmp_path / "m")
    refused = vedit(
        "invert", clip, "-o", tmp_path / "c.inv.safetensors", "--model", folder, "--solver", "euler"
    )
    assert refused.code == 2 and "Leave out --solver" in refused.err
    edited = edit(clip, folder, tmp_path / "o.png", "--method", "p2p", "--set", "solver=euler")
    assert edited.code == 2 and "trained by flow matching" in edited.err


def test_two_transformers_edit_from_their_folder(clip: Path, tmp_path: Path) -> None:
    folder = write_wan22(tmp_path / "m")
    made = edit(clip, folder, tmp_path / "o.png", "--method", "flowedit", *STEPS, "--set", "n_max=4")
    assert made.code == 0, made.err
    model = json.loads((tmp_path / f"o.png{SUFFIX}").read_text())["model"]
    assert len({model[f"{part}_sha256"] for part in ("transformer", "transformer_2", "vae", "text")}) == 4


@pytest.mark.parametrize("method", ["tokenflow", "vid2vid-zero", "video-p2p", "pnp", "rave", "fatezero"])
def test_methods_for_networks_of_pictures_are_refused_with_those_for_clips(
    clip: Path, folder: Path, tmp_path: Path, method: str
) -> None:
    refused = edit(clip, folder, tmp_path / "o.png", "--method", method)
    assert (
        refused.code == 5
        and f"{method} is for networks that see the frames of a clip one by one" in refused.err
    )
    assert "flowedit" in refused.err and "p2p" in refused.err


def test_a_clip_that_is_inverted_is_not_cut_into_windows(clip: Path, folder: Path, tmp_path: Path) -> None:
    refused = edit(clip, folder, tmp_path / "o.png", "--method", "ddim", "--window", "5")
    assert refused.code == 2 and "edits a clip as one" in refused.err


def test_flowedit_on_a_model_that_is_not_of_a_flow_names_one_that_is(clip: Path, tmp_path: Path) -> None:
    from tests.engine.folder import write_folder

    refused = edit(clip, write_folder(tmp_path / "m"), tmp_path / "o.png", "--method", "flowedit")
    assert refused.code == 5 and "--model shapes-video" in refused.err


def test_an_edit_that_does_not_fit_says_which_window_would(clip: Path, folder: Path, tmp_path: Path) -> None:
    flow = ("--method", "flowedit", *STEPS, "--set", "n_max=3")
    refused = edit(clip, folder, tmp_path / "o.png", *flow, "--memory", "1")
    assert refused.code == 6 and "7 frames at once, 40x24" in refused.err


def test_the_lengths_that_would_fit_fill_whole_latents() -> None:
    from types import SimpleNamespace

    from vedit.jobs.edit.memory import shorter

    model = SimpleNamespace(filled=lambda pictures: -(-(pictures - 1) // 4) * 4 + 1)
    assert shorter(SimpleNamespace(window=81, model=model)) == [37, 17, 9, 5, 1]  # type: ignore[arg-type]
    assert shorter(SimpleNamespace(window=7, model=model)) == [1]  # type: ignore[arg-type]


@pytest.mark.parametrize("part, key, value, says", [
    ("transformer", "in_channels", 36, "takes 36 channels"),
    ("scheduler", "_class_name", "DDIMScheduler", "not one of flow matching"),
    ("scheduler", "use_dynamic_shifting", True, "moves its levels"),
])  # fmt: skip
def test_folders_that_cannot_be_edited_with_are_refused(
    clip: Path, tmp_path: Path, part: str, key: str, value: Any, says: str
) -> None:
    folder = write_wan(tmp_path / "m")
    path = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    refused = edit(clip, folder, tmp_path / "o.png", "--method", "flowedit")
    assert refused.code == 5 and says in refused.err, refused.err


def test_a_network_that_says_no_channels_out_gives_as_many_as_it_takes(clip: Path, tmp_path: Path) -> None:
    """As diffusers' WanTransformer3DModel reads `"out_channels": null`."""
    folder = write_wan(tmp_path / "m")
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "out_channels": None}))
    given = ("--method", "sdedit", "--steps", "2", "--guidance", "1")
    done = edit(clip, folder, tmp_path / "o.png", *given)
    assert done.code == 0, done.err


def test_the_sound_of_a_film_is_kept_whole_though_its_frames_are_filled_up(
    folder: Path, tmp_path: Path
) -> None:
    from tests.jobs.edit.test_real_clips import filmed

    film = filmed(tmp_path / "film.mp4", "40x24", rate="6", sound=True)
    done = edit(film, folder, tmp_path / "out.mp4", "--method", "sdedit", "--steps", "2", "--guidance", "1")
    assert done.code == 0, done.err
    before, after = (json.loads(vedit("probe", "--json", name).text) for name in (film, tmp_path / "out.mp4"))
    assert (after["images"], after["rate"]) == (before["images"], before["rate"]) and before["images"] == 6
    assert sound_of(tmp_path / "out.mp4") == sound_of(film)


def sound_of(film: Path) -> bytes:
    """The packets of its sound, undecoded, by ffmpeg."""
    command = [find_ffmpeg(), "-v", "error", "-i", str(film), "-map", "0:a", "-c", "copy", "-f", "md5", "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout
