"""Protects the stage of the embedded instruction editor: it begins as the video model, packs, is used and goes on."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import vedit
from vedit.jobs import shapes_model
from vedit.jobs.train import shapes as train_shapes
from vedit.jobs.train.shapes import Settings
from vedit.models.shapes.folder import VIDEO, load_video, record_of
from vedit.training import shapes_instruct
from vedit.training.loop import latest_state, state_of, tensors_of

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def tiny():
    """Steps of two pictures or a clip, blocks of four, and nothing measured."""
    read_recipe = train_shapes.read_recipe

    def short(preset):
        recipe = read_recipe(preset)
        return replace(recipe, batch=2, options=replace(recipe.options, log_every=1, warmup=1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_shapes, "read_recipe", short)
        patch.setattr(shapes_instruct.InstructTask.__init__, "__kwdefaults__", {
            **shapes_instruct.InstructTask.__init__.__kwdefaults__, "block": 5,
        })  # fmt: skip
        patch.setattr(shapes_instruct.InstructTask, "measure", lambda self, model, step: {})
        yield


def step(run, steps=1, preset="shapes-instruct", **settings):
    list(train_shapes.train_shapes(preset, run, Settings(precision="fp32", steps=steps, **settings)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps, and RUN/packed."""
    run = tmp_path_factory.mktemp("run")
    step(run, 2)
    shapes_model.pack_instruct(run, run / "packed")
    return run


def test_a_run_begins_as_the_video_model_that_ships_and_says_so(run):
    state = latest_state(run / "instruct")
    assert state_of(state)["config"]["base"] == "packed/shapes-video"
    ours, theirs = tensors_of(state, "ema"), load_video(VIDEO).transformer.state_dict()
    apart = (ours["transformer.proj_out.weight"] - theirs["proj_out.weight"]).abs().max()
    assert 0 < float(apart) < 0.01  # two steps of the rate 1e-3
    assert record_of(run / "packed")["began with"]["format"] == "vedit-shapes-video"


def test_the_packed_weights_are_small_and_another_run_goes_on_from_them(run, tmp_path):
    size = sum(file.stat().st_size for file in (run / "packed").rglob("*") if file.is_file())
    assert size < 6_000_000
    step(tmp_path, begin=run / "packed", rate=1e-12)
    before, after = (tensors_of(latest_state(each / "instruct"), "ema") for each in (run, tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.allclose(value, after[name], atol=2e-3) for name, value in before.items())


def test_what_is_judged_goes_on_from_the_run_or_the_weights_that_ship_and_is_what_is_packed(run, tmp_path):
    step(tmp_path / "new", preset="shapes-instruct-judged")
    config = state_of(latest_state(tmp_path / "new" / "instruct-judged"))["config"]
    assert config["base"] == "packed/shapes-instruct" and config["mask_weight"] == 0 < config["judged"]
    shutil.copytree(run / "instruct", tmp_path / "on" / "instruct")
    step(tmp_path / "on", preset="shapes-instruct-judged")
    assert state_of(latest_state(tmp_path / "on" / "instruct-judged"))["config"]["base"].startswith(
        "instruct/"
    )
    step(tmp_path / "on", preset="shapes-instruct-judged", steps=None, anneal=1)
    record = shapes_model.pack_instruct(tmp_path / "on", tmp_path / "packed", annealed=True)
    assert list(record["stages"]) == ["instruct", "instruct-judged-annealed"]
    state = latest_state(tmp_path / "on" / "instruct-judged-annealed")
    ours = tensors_of(state, "ema")["transformer.proj_out.weight"]
    packed = load_file(tmp_path / "packed" / "transformer" / "diffusion_pytorch_model.safetensors")
    assert torch.allclose(packed["proj_out.weight"].float(), ours, atol=1e-3)


def test_the_packed_editor_edits_drawn_clips_and_knows_its_words(run, tmp_path):
    clip = tmp_path / "clip.gif"
    assert vedit("scene", "a red circle on a grey background", "-o", clip).code == 0
    given = ("--weights", run / "packed", "--steps", "1")
    made = vedit("edit", clip, "-o", tmp_path / "out.gif", "--instruction", "Make the circle blue!", *given)
    assert made.code == 0, made.err
    record = json.loads((tmp_path / "out.gif.vedit.json").read_text())
    assert record["model"]["id"] == "shapes-video" and record["params"]["guidance"] == 2.0
    wrong = vedit("edit", clip, "-o", tmp_path / "no.gif", "--instruction", "make the cat blue", *given)
    assert wrong.code == 2 and '"cat"' in wrong.err and "stripes" in wrong.err


@pytest.mark.slow  # half a minute: twelve edits
def test_the_benchmark_tells_the_cases_as_instructions_and_both_losses(run):
    told = vedit(
        "bench", "scenes", "--instructions", "--weights", run / "packed", "--limit", "1", "--frames", "2",
        "--set", "easyv2v.steps=1", "--json", "-q",
    )  # fmt: skip
    assert told.code == 0, told.err
    found = json.loads(told.text)
    assert [row["method"] for row in found["rows"]] == ["copy-source", "codec-of-truth", "easyv2v"]
    losses = found["losses"]
    assert losses["cases"] == 6 and losses["ratio"] == pytest.approx(losses["with"] / losses["without"])
    wrong = vedit("bench", "scenes", "--instructions", "--methods", "p2p")
    assert wrong.code == 2 and "p2p follows none" in wrong.err
    assert "--weights is for --instructions" in vedit("bench", "scenes", "--weights", "x").err
