"""Protects vedit/jobs/train/shapes.py: stages follow each other, stop, go on, and anneal in a copy."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from vedit.errors import ModelError, Stopped, UsageError
from vedit.jobs import shapes_model
from vedit.jobs.train import shapes as train_shapes
from vedit.jobs.train.shapes import Settings
from vedit.models.shapes.folder import record_of
from vedit.training import shapes_codec
from vedit.training.loop import latest_state, state_of

torch.set_num_threads(1)  # ten times faster for small tensors on a busy machine


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Steps of 8 pictures, a few of each stage, and a judge's worth of measuring left out."""
    read_recipe = train_shapes.read_recipe
    build = train_shapes.build_task

    def short(preset):
        recipe = read_recipe(preset)
        options = replace(recipe.options, measure_every=10**9, save_every=10**9, log_every=1, warmup=1)
        return replace(
            recipe, options=options if options.steps is None else replace(options, steps=2, anneal=1)
        )

    def small(stage, folder, settings):
        task = build(stage, folder, settings)
        task.batch = 8
        task.measure = lambda model, step: {}
        if stage in ("unet", "motion"):
            task.blocks_of, task.reuse = 1, 1
        return task

    monkeypatch.setattr(shapes_codec, "frozen", partial(shapes_codec.frozen, count=64))
    monkeypatch.setattr(train_shapes, "read_recipe", short)
    monkeypatch.setattr(train_shapes, "build_task", small)


def steps(reports):
    return [(stage, report.step) for stage, report in reports]


def test_all_stages_run_in_order_then_the_denoiser_goes_on_until_stopped(tmp_path):
    seen = []

    def should_stop():
        return sum(stage == "unet" for stage, _ in seen) >= 2

    def collect():
        for stage, report in train_shapes.train_shapes(
            "shapes-all", tmp_path, Settings(precision="fp32"), should_stop
        ):
            seen.append((stage, report.step))

    with pytest.raises(Stopped):
        collect()
    assert [stage for stage, _ in seen] == ["codec"] * 2 + ["judge"] * 2 + ["scorer"] * 2 + ["unet"] * 2
    assert (tmp_path / "vae" / "config.json").exists()
    before = state_of(latest_state(tmp_path / "unet"))["step"]
    annealed = train_shapes.train_shapes("shapes", tmp_path, Settings(precision="fp32", anneal=2))
    rates = [report.rate for _, report in annealed]
    assert rates == sorted(rates, reverse=True) and len(rates) == 2
    assert state_of(latest_state(tmp_path / "unet"))["step"] == before
    annealed_state = state_of(latest_state(tmp_path / "unet-annealed"))
    assert annealed_state["step"] == before + 2
    assert annealed_state["ema_update_count"] == 2  # the average of the copy began anew
    weights = [
        state_of(latest_state(tmp_path / stage))["config"]["mask_weight"]
        for stage in ("unet", "unet-annealed")
    ]
    assert weights == [5.0, 0.0]  # objects come out too large with it
    list(train_shapes.train_shapes("shapes", tmp_path, Settings(precision="fp32", steps=before + 1)))
    list(train_shapes.train_shapes("shapes", tmp_path, Settings(precision="fp32", anneal=1)))
    assert state_of(latest_state(tmp_path / "unet-annealed"))["step"] == before + 2
    assert (tmp_path / f"unet-annealed-{before}").exists()
    the_motion_adapter_stands_on_the_denoiser_that_trained_longest(tmp_path, before)


def the_motion_adapter_stands_on_the_denoiser_that_trained_longest(run, step):
    list(train_shapes.train_shapes("shapes-motion", run, Settings(precision="fp32", steps=1)))
    assert state_of(latest_state(run / "motion"))["config"]["base"] == f"unet-annealed/step-{step + 2:09d}"
    list(train_shapes.train_shapes("shapes", run, Settings(precision="fp32", steps=step + 3)))
    list(
        train_shapes.train_shapes("shapes-motion", run, Settings(precision="fp32", steps=2))
    )  # goes on, on the new one
    state = state_of(latest_state(run / "motion"))
    assert state["config"]["base"] == f"unet/step-{step + 3:09d}" and state["step"] == 2
    assert state["pictures"] == 2 * 8 * 8
    shapes_model.pack_motion(run, run / "packed")
    record = record_of(run / "packed")
    assert (
        record["files"] == shapes_model.hashes(run / "packed")
        and "motion_words.safetensors" in record["files"]
    )


def test_the_denoiser_without_a_codec_says_what_to_run_first(tmp_path):
    with pytest.raises(ModelError, match="shapes-codec"):
        list(train_shapes.train_shapes("shapes", tmp_path))


def test_annealing_before_training_is_refused(tmp_path):
    with pytest.raises(ModelError, match="nothing to anneal"):
        list(train_shapes.train_shapes("shapes", tmp_path, Settings(anneal=5)))


def test_a_stage_that_anneals_by_itself_refuses_another(tmp_path):
    with pytest.raises(UsageError, match="anneals by itself"):
        list(train_shapes.train_shapes("shapes-codec", tmp_path, Settings(anneal=5)))


@pytest.mark.parametrize("preset", ["shapes-codec", "shapes-judge", "shapes-scorer", "shapes-video-codec"])
@pytest.mark.parametrize(("given", "said"), [({"batch": 5}, "--batch 5"), ({"rate": 0.01}, "--rate 0.01")])
def test_a_stage_that_keeps_its_own_refuses_a_batch_or_rate(preset, given, said, tmp_path):
    with pytest.raises(UsageError, match=f"{said} is not for the stage {preset.removeprefix('shapes-')}"):
        next(train_shapes.train_shapes(preset, tmp_path, Settings(**given)))


def test_batch_and_rate_of_the_denoiser_can_be_chosen(tmp_path):
    def rate(preset):
        return train_shapes._options(
            train_shapes.read_recipe(preset), Settings(rate=2e-3), one_stage=True
        ).rate

    assert (rate("shapes"), rate("shapes-motion"), rate("shapes-scorer")) == (2e-3, 2e-3, 1e-3)
