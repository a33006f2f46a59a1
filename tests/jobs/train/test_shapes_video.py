"""Protects the stages of the video model: they stand on each other, pack into a WanPipeline, and begin again
from it.
"""

import shutil
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from vedit.cli.train import command
from vedit.errors import ModelError, UsageError
from vedit.jobs import shapes_model
from vedit.jobs.bench import motion as bench_motion
from vedit.jobs.train import shapes as train_shapes
from vedit.jobs.train.shapes import Settings
from vedit.models.shapes.folder import load_video, record_of
from vedit.training.loop import latest_state, state_of, tensors_of

torch.set_num_threads(1)  # ten times faster for small tensors on a busy machine
STAGES = ("video-codec", "video-pictures", "video")


@pytest.fixture(autouse=True, scope="module")
def tiny():
    """Steps of 4 pictures or clips, and nothing measured."""
    build, read_recipe = train_shapes.build_task, train_shapes.read_recipe

    def small(stage, folder, settings):
        task = build(stage, folder, settings)
        task.batch, task.blocks_of = 4, 1
        task.measure = lambda model, step: {}
        return task

    def short(preset):
        recipe = read_recipe(preset)
        return replace(recipe, options=replace(recipe.options, log_every=1, warmup=1, anneal=0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_shapes, "build_task", small)
        patch.setattr(train_shapes, "read_recipe", short)
        yield


def step(stage, run, steps=1, **settings):
    list(
        train_shapes.train_shapes(f"shapes-{stage}", run, Settings(precision="fp32", steps=steps, **settings))
    )


def config(run, stage):
    return state_of(latest_state(run / stage))["config"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one step of every stage, and RUN/packed."""
    run = tmp_path_factory.mktemp("run")
    for stage in STAGES:
        step(stage, run)
    shapes_model.pack_video(run, run / "packed")
    return run


def test_clips_begin_with_what_pictures_taught_and_say_so(run, tmp_path):
    assert config(run, "video")["base"] == "video-pictures/step-000000001"
    assert config(run, "video-pictures")["taught"] and not config(run, "video")["taught"]
    pictures, clips = (tensors_of(latest_state(run / stage), "ema") for stage in ("video-pictures", "video"))
    moved = max(float((clips[name] - value).abs().max()) for name, value in pictures.items())
    assert 0 < moved < 0.01  # one step of the rate 1e-3


def test_pairs_stand_between_pictures_and_clips(run, tmp_path):
    for stage in ("video-pictures", "video-codec"):
        shutil.copytree(run / stage, tmp_path / stage)
    step("video-pairs", tmp_path)
    assert config(tmp_path, "video-pairs")["base"] == "video-pictures/step-000000001"
    assert (config(tmp_path, "video-pairs")["seen"], config(tmp_path, "video-pairs")["frames"]) == (2, 5)
    step("video", tmp_path)
    assert config(tmp_path, "video")["base"] == "video-pairs/step-000000001"
    assert config(tmp_path, "video")["seen"] == 5
    packed = shapes_model.pack_video(tmp_path, tmp_path / "packed")
    assert list(packed["stages"]) == ["video-codec", "video-pictures", "video-pairs", "video"]


def test_a_copy_anneals_at_uniform_levels_of_whole_clips(run, tmp_path):
    shutil.copytree(run / "video", tmp_path / "video")
    assert (config(tmp_path, "video")["shift"], config(tmp_path, "video")["shown"]) == (3.0, 0.3)
    step("video", tmp_path, steps=None, anneal=1)
    annealed = config(tmp_path, "video-annealed")
    assert (annealed["shift"], annealed["shown"], annealed["mask_weight"]) == (1.0, 0.0, 0.0)


def test_what_is_judged_goes_on_from_clips_at_uniform_levels_and_is_what_is_packed(run, tmp_path):
    for stage in ("video-codec", "video"):
        shutil.copytree(run / stage, tmp_path / stage)
    step("video-judged", tmp_path)
    found = config(tmp_path, "video-judged")
    assert found["base"] == "video/step-000000001" and found["judged"] > 0
    assert (found["shift"], found["shown"], found["mask_weight"], found["seen"]) == (1.0, 0.0, 0.0, 5)
    step("video-judged", tmp_path, steps=None, anneal=1)
    record = shapes_model.pack_video(tmp_path, tmp_path / "packed", annealed=True)
    assert list(record["stages"]) == ["video-codec", "video", "video-judged-annealed"]
    ours = tensors_of(latest_state(tmp_path / "video-judged-annealed"), "ema")["transformer.proj_out.weight"]
    packed = load_video(tmp_path / "packed").transformer.proj_out.weight
    assert torch.allclose(packed, ours, atol=1e-3)


def test_the_packed_folder_is_a_wan_pipeline_that_draws_what_training_measures(run):
    from diffusers import WanPipeline

    from vedit.engine.embedded import sample_videos, unit_noise
    from vedit.models.shapes.video import VideoNetwork

    record = record_of(run / "packed")
    assert record["files"] == shapes_model.hashes(run / "packed") and list(record["stages"]) == list(STAGES)
    model = load_video(run / "packed")
    captions = ["a small striped red circle moving left on a grey background", "a ring"]
    ours = model.decode(
        sample_videos(
            VideoNetwork(model.transformer), model.text_encoder, captions, frames=5, steps=2, seed=5
        )
    )
    stock = WanPipeline.from_pretrained(run / "packed").to(torch.float32)
    stock.set_progress_bar_config(disable=True)
    sizes = {"height": 64, "width": 64, "num_frames": 9, "max_sequence_length": 24}
    theirs = stock(
        captions,
        num_inference_steps=2,
        guidance_scale=3.0,
        latents=unit_noise(2, (6, 5, 16, 16), 5),
        output_type="pt",
        **sizes,
    ).frames
    assert theirs.shape == (2, 9, 3, 64, 64)
    assert torch.allclose(theirs, ours, atol=1e-3)


def test_a_new_run_begins_with_a_packed_model_and_packs_what_it_has_not_trained(run, tmp_path):
    step("video", tmp_path, begin=run / "packed", rate=1e-12)
    assert config(tmp_path, "video")["base"] == "packed/packed"
    step("video", tmp_path, steps=2, rate=1e-12)  # goes on, and needs no folder again
    assert config(tmp_path, "video")["base"] == "packed/packed"
    shapes_model.pack_video(tmp_path, tmp_path / "again")
    before, after = load_video(run / "packed"), load_video(tmp_path / "again")
    for part in ("transformer", "vae"):
        mine, theirs = getattr(before, part).state_dict(), getattr(after, part).state_dict()
        assert all(torch.allclose(value, theirs[name], atol=1e-3) for name, value in mine.items())
    record = record_of(tmp_path / "again")
    assert list(record["stages"]) == ["video"] and list(record["began with"]["stages"]) == list(STAGES)


def test_the_codec_goes_on_from_a_packed_model_too(run, tmp_path):
    step("video-codec", tmp_path, begin=run / "packed")
    mine = tensors_of(latest_state(tmp_path / "video-codec"), "ema")["encoder.conv_in.weight"]
    theirs = load_video(run / "packed").vae.state_dict()["encoder.conv_in.weight"]
    assert 0 < float((mine - theirs).abs().max()) < 0.01
    shapes_model.pack_video(tmp_path, tmp_path / "again")
    assert torch.equal(
        load_video(tmp_path / "again").transformer.proj_out.weight,
        load_video(run / "packed").transformer.proj_out.weight,
    )


def test_a_copy_anneals_without_the_mask(run):
    step("video", run, steps=None, anneal=2)
    assert (
        config(run, "video-annealed")["mask_weight"] == 0.0
        and config(run, "video-annealed")["base"] == config(run, "video")["base"]
    )
    assert state_of(latest_state(run / "video-annealed"))["step"] == 3
    record = shapes_model.pack_video(run, run / "annealed", annealed=True)
    assert list(record["stages"]) == ["video-codec", "video-pictures", "video-annealed"]


def test_a_video_model_is_measured_by_the_same_reading_with_bars_of_its_own(run):
    figures = {
        (figure.group, figure.name): figure
        for figure in bench_motion.bench_motion(
            run / "packed", trials=bench_motion.Trials(clips=2, drawn=2, steps=2, codec=2)
        )
    }
    assert {
        name: figures["clips", name].bar for name in ("motion", "shape", "colour", "ground")
    } == bench_motion.VIDEO_BARS
    assert figures["codec", "psnr"].bar == 32.0 and figures["codec", "psnr"].passed is False
    assert figures["package", "size"].passed and 0 < figures["package", "size"].value < 15_000_000


def test_packing_what_is_not_trained_says_what_to_train(tmp_path):
    with pytest.raises(ModelError) as caught:
        shapes_model.pack_video(tmp_path, tmp_path / "packed")
    assert "--preset shapes-video-codec" in str(caught.value.next_step)


def test_a_folder_without_a_video_model_is_refused(tmp_path):
    (tmp_path / "transformer").mkdir()
    with pytest.raises(ModelError, match="video"):
        next(bench_motion.bench_motion(tmp_path))
    with pytest.raises(ModelError, match="video"):
        step("video", tmp_path / "run", begin=tmp_path)


@pytest.mark.parametrize("preset", ["shapes", "shapes-all", "tiny"])
def test_beginning_with_a_packed_model_is_for_the_video_model(preset, tmp_path):
    given = ["--preset", preset, "--out", str(tmp_path), "--begin", "builtin"]
    with pytest.raises(UsageError, match="--begin is not for the preset"):
        CliRunner().invoke(command, given, catch_exceptions=False)
