"""Protects vedit/training/video.py: what a step is made of, exact resume, obedience to the caption."""

import pytest
import torch
from PIL import Image

from tests.training.toy import same, weights
from tests.training.videos import CAPTIONS, tiny, two_clips
from vedit.errors import ModelError, UsageError
from vedit.training import loop
from vedit.training.clips import Clips
from vedit.training.loop import train
from vedit.training.video import VideoTask, build_options, sampled, write_strip

SMALL = {"model__dim": 4, "model__heads": 2, "model__head_width": 4, "optim__batch": 2}


def task(clips=None, **settings):
    return VideoTask(tiny(**{**SMALL, **settings}), clips or two_clips())


def run(folder, stop=None, **settings):
    it = task(**settings)
    options = build_options(it.params, 1)
    for _ in train(it, options, folder, stop or (lambda: False)):
        pass


def test_weights_move_when_captions_are_given(tmp_path):
    """The public base goes back only in its branch without captions: nothing is learnt."""
    one = loop.Run(task(), build_options(tiny(**SMALL), 1), tmp_path)
    before = {name: tensor.clone() for name, tensor in one.task.model.state_dict().items()}
    for _ in range(3):
        one.advance()
    moved = {
        name for name, tensor in one.task.model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert (
        any("from_text" in name for name in moved)
        and any("from_time" in name for name in moved)
        and "stem.weight" in moved
    )


def test_a_tenth_of_the_captions_is_dropped_and_the_null_text_learns(tmp_path):
    """The public base never drops a caption, so its guidance leads away from an untrained vector."""
    it = task()
    dropped = sum(it.draw(use).is_dropped for use in range(1000))
    assert 70 < dropped < 130
    with torch.no_grad():
        for parameter in it.model.parameters():
            parameter.add_(0.05)  # away from the zeros that no gradient passes
    first = next(use for use in range(1000) if it.draw(use).is_dropped)
    it.losses(first // 2)["loss"].backward()
    assert it.model.null_text.grad.abs().sum() > 0


def test_a_run_cut_short_ends_with_the_same_bits(tmp_path):
    settings = {
        "run__steps": 8,
        "run__log_every": 3,
        "loss__perceptual": 0.1,
        "diffusion__focus_present": 0.3,
        "ema__update_every": 2,
    }
    clips = two_clips()

    def go(folder, stop=lambda: False):
        it = VideoTask(tiny(**SMALL, **settings), clips, vgg_weights="random:0")
        for _ in train(it, build_options(it.params, 1), folder, stop):
            pass

    go(tmp_path / "whole")
    steps = iter(range(3))
    with pytest.raises(loop.Stopped):
        go(tmp_path / "cut", lambda: next(steps, None) is None)
    go(tmp_path / "cut")
    for name in ("model", "ema", "optimizer"):
        assert same(weights(tmp_path / "whole", name), weights(tmp_path / "cut", name))


def test_the_gradient_of_a_step_is_the_same_from_one_batch_or_from_several():
    """So a run in two processes takes the steps of one; test_loop shows it with the processes."""
    gradients = []
    for batch in (4, 1):
        it = task(optim__batch=batch)
        with torch.no_grad():
            for parameter in it.model.parameters():
                parameter.add_(0.02)
        for number in range(4 // batch):
            (it.losses(number)["loss"] * batch / 4).backward()
        gradients.append({name: parameter.grad for name, parameter in it.model.named_parameters()})
    one, parts = gradients
    assert all(torch.allclose(one[name], parts[name], rtol=1e-4, atol=1e-6) for name in one)


def test_another_device_count_with_the_same_effective_batch_may_go_on_and_another_batch_may_not(tmp_path):
    run(tmp_path, run__steps=2, optim__batch=4)
    run(tmp_path, run__steps=3, optim__batch=2, optim__accumulate=2)
    with pytest.raises(UsageError, match=r"effective_batch was 4, is 2"):
        run(tmp_path, run__steps=4, optim__batch=2)


def test_every_clip_is_used_once_per_epoch_in_an_order_of_the_seed():
    it = task(Clips(two_clips().pixels_NFYX3.repeat(4, 0), [[f"{n}"] for n in range(8)], 10.0, ""))
    epochs = [[it.draw(use).clip for use in range(start, start + 8)] for start in (0, 8, 16)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs) and epochs[0] != epochs[1]
    again = task(it.clips)
    assert [again.draw(use).clip for use in range(8, 16)] == epochs[1]


def test_one_of_several_captions_is_drawn():
    it = task(Clips(two_clips().pixels_NFYX3, [["one", "two", "three"], ["four"]], 10.0, ""))
    assert {it.draw(use).caption for use in range(60)} == {"one", "two", "three", "four"}


def test_pixels_lie_between_minus_one_and_one():
    pixels = task().pixels([1, 0])
    assert pixels.shape == (2, 3, 4, 8, 8) and set(pixels.unique().tolist()) == {-1.0, 1.0}
    assert (
        pixels[1, 0, 0, 2, 0] == 1 and pixels[0, 0, 0, 2, 0] == -1
    )  # the square going right begins at the left


def test_missing_vgg_weights_are_an_error_before_the_first_step(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda *names: (_ for _ in ()).throw(OSError("offline"))
    )
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(ModelError, match="perceptual loss needs the weights"):
        task(loss__perceptual=0.1)


def test_a_picture_too_small_for_the_vgg_layers_is_refused():
    with pytest.raises(UsageError, match="layer 32 of VGG needs pictures of 8 pixels"):
        VideoTask(
            tiny(**SMALL, data__size=4, loss__perceptual=0.1, loss__layers="relu"),
            two_clips(),
            vgg_weights="random:0",
        )


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_keeps_weights_and_losses_in_float32(tmp_path, precision):
    it = task(run__precision=precision)
    one = loop.Run(it, build_options(it.params, 1), tmp_path)
    one.advance()
    assert {parameter.dtype for parameter in it.model.parameters()} == {torch.float32}
    assert all(value.dtype == torch.float32 for value in it.losses(5).values())


def test_strips_are_written_with_the_same_noise_each_time(tmp_path):
    it = task(sample__steps=2)
    it.strips = tmp_path
    path = it.measure(it.model, 7)["samples"]
    first = (tmp_path / "step-000000007.png").read_bytes()
    it.measure(it.model, 7)
    assert path.endswith("step-000000007.png") and (tmp_path / "step-000000007.png").read_bytes() == first
    write_strip(torch.zeros(2, 3, 4, 8, 8), tmp_path / "grey.png")
    with Image.open(tmp_path / "grey.png") as picture:
        assert picture.size == (4 * 64, 2 * 64)


def obedience(it, model, seed):
    """Mean squared error of samples to the clip that was asked for, and to the other one."""
    text = torch.stack([it.text_of[caption] for caption in CAPTIONS])
    made, truth = sampled(model, it.params, text, seed), it.pixels([0, 1])
    return (made - truth).square().mean().item(), (made - truth.flip(0)).square().mean().item()


@pytest.mark.slow
def test_the_tiny_preset_learns_to_obey_its_caption(tmp_path):
    it = VideoTask(tiny(), two_clips())
    one = loop.Run(it, build_options(it.params, 1), tmp_path)
    while one.step < it.params.run.steps:
        one.advance()
    for seed in range(3):
        asked, other = obedience(it, one.ema.model, seed)
        assert asked < 0.1 * other and other > 0.5


def test_a_word_is_learnt_in_seconds(tmp_path):
    """A shorter one: one frame and one level; what is learnt is which of two pictures a caption means."""
    it = VideoTask(
        tiny(
            data__frames=1,
            model__dim=8,
            model__mults=[1],
            model__heads=2,
            model__head_width=4,
            optim__rate=1e-2,
            text__drop=0.0,
            ema__decay_max=0.9,
        ),
        Clips(two_clips().pixels_NFYX3[:, :1], [[caption] for caption in CAPTIONS], 10.0, ""),
    )
    one = loop.Run(it, build_options(it.params, 1), tmp_path)
    while one.step < 90:
        one.advance()
    asked, other = obedience(it, one.ema.model, 0)
    assert asked < 0.6 * other, (asked, other)
