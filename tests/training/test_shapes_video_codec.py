"""Protects vedit/training/shapes_video_codec.py: stock diffusers runs what is trained, and latents mean what
they should.
"""

import pytest
import torch

from vedit.models.shapes import parts
from vedit.training import shapes_video_codec
from vedit.training.loop import Options, latest_state, seeded, tensors_of, train
from vedit.training.shapes_video_codec import (
    VideoCodecTask,
    decoded,
    encoded,
    inflate,
    training_clips,
    video_codec,
)

torch.set_num_threads(1)  # ten times faster for small tensors on a busy machine
CHANNELS = 6


@pytest.fixture(scope="module")
def picture():
    torch.manual_seed(1)
    return parts.codec(CHANNELS).eval()


def trained(seed=0):
    """A codec whose every weight that may train has moved."""
    torch.manual_seed(seed)
    codec = video_codec(CHANNELS)
    task = VideoCodecTask.__new__(VideoCodecTask)
    task.model = codec
    latents = torch.randn(1, CHANNELS, 3, 8, 8)
    (
        decoded(codec, latents).square().sum() + encoded(codec, torch.randn(1, 3, 32, 32)).square().sum()
    ).backward()
    with torch.no_grad():
        for parameter in codec.parameters():
            if parameter.grad is not None:
                parameter += 0.02 * parameter.grad.sign() * torch.rand_like(parameter)
    return codec.eval()


def test_nine_frames_become_five_latents_and_nine_frames_again():
    codec = trained()
    with torch.no_grad():
        latents = codec.encode(torch.rand(1, 3, 9, 64, 64)).latent_dist.mean
        assert latents.shape == (1, CHANNELS, 5, 16, 16)
        assert codec.decode(latents).sample.shape == (1, 3, 9, 64, 64)
        assert codec.decode(latents[:, :, :1]).sample.shape == (1, 3, 1, 64, 64)


def test_stock_diffusers_encodes_each_second_frame_as_a_picture():
    codec, clip = trained(), torch.rand(2, 3, 9, 32, 32) * 2 - 1
    with torch.no_grad():
        stock = codec.encode(clip).latent_dist
        mean, logvar = (
            encoded(codec, clip[:, :, ::2].transpose(1, 2).flatten(0, 1))
            .unflatten(0, (2, 5))
            .transpose(1, 2)
            .chunk(2, dim=1)
        )
    assert torch.allclose(stock.mean, mean, atol=1e-5) and torch.allclose(
        stock.logvar, logvar.clamp(-30, 20), atol=1e-5
    )


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_stock_diffusers_draws_what_training_saw(frames):
    codec, latents = trained(), torch.randn(2, CHANNELS, frames, 8, 8)
    with torch.no_grad():
        assert torch.allclose(codec.decode(latents).sample, decoded(codec, latents).clamp(-1, 1), atol=1e-5)


def test_earlier_latents_reach_later_frames_and_no_others():
    codec, latents = trained(), torch.randn(1, CHANNELS, 5, 8, 8)
    other = latents.clone()
    other[:, :, 3] += 1
    with torch.no_grad():
        differs = (decoded(codec, latents) - decoded(codec, other)).abs().amax(dim=(0, 1, 3, 4)) > 1e-6
    assert (
        differs.tolist() == [False] * 5 + [True] * 4
    )  # frames 5 and 6 are latent 3's own, 7 and 8 come after


def test_weights_of_the_picture_codec_fill_the_last_tap(picture):
    codec = video_codec(CHANNELS)
    copied = inflate(codec, picture)
    assert copied == 34
    assert torch.equal(codec.encoder.conv_in.weight[:, :, -1], picture.encoder.conv_in.weight)
    assert codec.encoder.conv_in.weight[:, :, :-1].abs().sum() == 0


def test_crops_of_a_clip_stay_in_place_while_the_object_moves():
    clips = training_clips(4, 5, seeded(0, 0, 0), crop=True)
    assert clips.shape == (4, 3, 5, 32, 32)
    assert training_clips(2, 5, seeded(0, 0, 0), crop=False).shape == (2, 3, 5, 64, 64)
    corners = clips[:, :, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    spread = (corners - corners.mean(dim=2, keepdim=True)).abs().amax(dim=(1, 2))
    assert (spread.amin(dim=1) < 0.1).all()  # a background that stands still, but for grain, in some corner


def build(picture, **steps):
    return VideoCodecTask(picture, seed=0, batch=4, **{"picture_steps": 1, "crop_steps": 2, **steps})


def test_each_part_of_training_looks_at_its_own_pictures(picture):
    task = build(picture)
    assert [task.pictures(step) for step in (0, 1, 2)] == [4, 5, 5]
    assert "latent" in task.losses(0) and "latent" not in task.losses(1)
    task.losses(2)["loss"].backward()
    assert all(
        parameter.grad is None for parameter in task.model.encoder.parameters()
    )  # clips train the decoder alone
    time_conv = task.model.decoder.up_blocks[0].upsamplers[0].time_conv
    assert time_conv.weight.grad.abs().sum() > 0


def test_the_codec_learns(picture, tmp_path):
    task = build(picture, picture_steps=100, crop_steps=100)
    task.measure = lambda model, step: {}
    losses = [
        report.losses["loss"]
        for report in train(
            task, Options(rate=5e-3, warmup=1, steps=24, log_every=8, measure_every=10**9), tmp_path
        )
    ]
    assert losses[-1] < 0.8 * losses[0]


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(picture, tmp_path):
    for run, stops in (("whole", (3,)), ("resumed", (1, 2, 3))):
        for steps in stops:
            task = build(picture)
            task.measure = lambda model, step: {}
            list(
                train(
                    task,
                    Options(rate=1e-3, warmup=1, steps=steps, log_every=1, measure_every=10**9),
                    tmp_path / run,
                )
            )
    for name in ("model", "ema", "optimizer"):
        whole, resumed = (tensors_of(latest_state(tmp_path / run), name) for run in ("whole", "resumed"))
        assert whole and whole.keys() == resumed.keys()
        assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_what_the_encoder_takes_of_two_frames_stays(picture):
    task = build(picture)
    before = [parameter.clone() for parameter in task.model.encoder.down_blocks[3].time_conv.parameters()]
    assert shapes_video_codec.CODEC["temperal_downsample"] == [False, True]
    assert not any(
        parameter.requires_grad for parameter in task.model.encoder.down_blocks[3].time_conv.parameters()
    )
    assert torch.equal(before[0][:, :, -1, 0, 0], torch.eye(32)) and before[0][:, :, :-1].abs().sum() == 0
