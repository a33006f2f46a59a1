"""Protects vedit/models/unet3d/unet3d.py: shapes, what sees what, and its position codes."""

import math

import pytest
import torch

from vedit.errors import UsageError
from vedit.models.unet3d.unet3d import (
    FARTHEST,
    PointConv,
    SpatialLinearAttention,
    TemporalAttention,
    TemporalConv,
    UNet3D,
    buckets,
    rotated,
)

SMALL = {"dim": 4, "mults": (1, 2), "heads": 2, "head_width": 4, "text_width": 6}


def unet(seed=0, **changes):
    """A small network whose zero-initialised parts say something."""
    torch.manual_seed(seed)
    network = UNet3D(**{**SMALL, **changes}).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not parameter.any() and "bias" not in name:
                parameter.normal_(0, 0.3)
    return network


def inputs(frames=3, rows=4, columns=6, batch=2):
    generator = torch.Generator().manual_seed(2)
    clip = torch.randn(batch, 3, frames, rows, columns, generator=generator)
    return clip, torch.tensor([3, 700])[:batch], torch.randn(batch, 6, generator=generator)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 7])
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (6, 10)])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_output_has_the_shape_of_the_clip(frames, rows, columns, batch):
    clip, timestep, text = inputs(frames, rows, columns, batch)
    assert unet()(clip, timestep, text).shape == clip.shape


@torch.no_grad()
def test_odd_widths_and_models_without_text_work():
    clip, timestep, _ = inputs()
    assert unet(dim=5, text_width=None)(clip, timestep).shape == clip.shape


def test_a_size_that_does_not_halve_is_refused():
    with pytest.raises(UsageError, match="5x4 does not fit"):
        unet()(torch.zeros(1, 3, 2, 4, 5), torch.tensor([1]))


@torch.no_grad()
def test_the_untrained_network_says_zero():
    clip, timestep, text = inputs()
    assert not UNet3D(**SMALL)(clip, timestep, text).any()


@torch.no_grad()
def test_temporal_convolution_changes_nothing_at_the_start():
    clip, timestep, text = inputs()
    plain = unet()
    convolved = UNet3D(**SMALL, temporal_conv=True).eval()
    missing = convolved.load_state_dict(plain.state_dict(), strict=False)
    assert len(missing.missing_keys) == 8 and all(
        "conv.conv" in name for name in missing.missing_keys
    )  # weight and bias, two levels down and up
    assert torch.allclose(convolved(clip, timestep, text), plain(clip, timestep, text), atol=1e-6)


@torch.no_grad()
def test_a_clip_in_present_only_mode_is_its_frames_one_by_one():
    network = unet(norm_scope="frame")
    clip, timestep, text = inputs(frames=4)
    present = network(clip, timestep, text, present_B=torch.tensor([True, False]))
    alone = torch.cat([network(clip[:, :, [frame]], timestep, text) for frame in range(4)], dim=2)
    assert torch.allclose(present[0], alone[0], atol=1e-5)
    assert not torch.allclose(present[1], alone[1], atol=1e-2)
    assert torch.allclose(present[1], network(clip, timestep, text)[1], atol=1e-5)


@torch.no_grad()
def test_the_null_text_does_not_know_the_caption():
    network = unet()
    clip, timestep, text = inputs()
    drop = torch.tensor([True, True])
    assert torch.equal(
        network(clip, timestep, text, drop_B=drop), network(clip, timestep, text.flip(0), drop_B=drop)
    )
    assert not torch.allclose(network(clip, timestep, text), network(clip, timestep, text.flip(0)))


def test_dropped_captions_train_the_null_text():
    """The public base guides with a null vector that it never trains."""
    network = unet()
    clip, timestep, text = inputs()
    network(clip, timestep, text, drop_B=torch.tensor([True, False])).square().sum().backward()
    assert network.null_text.grad.abs().sum() > 0


def test_buckets_are_exact_when_near_logarithmic_when_far_and_differ_by_sign():
    distance = torch.arange(-40, 41)
    bucket = dict(zip(distance.tolist(), buckets(distance).tolist()))
    assert [bucket[-d] for d in range(8)] == list(range(8))
    assert [bucket[d] for d in range(1, 8)] == list(range(17, 24))
    assert bucket[-FARTHEST] == bucket[-40] == 15 and bucket[40] == 31
    for d in (8, 11, 16, 25, 31):  # 8 + 8 log4(d / 8), each a factor of 4^(1/8)
        assert bucket[-d] == 8 + int(8 * math.log(d / 8) / math.log(4) + 1e-6)


def test_rotated_products_depend_on_the_distance_alone():
    q, k = torch.randn(2, 8, dtype=torch.float64)
    turned_q, turned_k = (rotated(x.expand(1, 1, 9, 8)).double()[0, 0] for x in (q, k))
    assert torch.allclose(turned_q[2] @ turned_k[5], turned_q[4] @ turned_k[7], atol=1e-6)
    assert not torch.isclose(turned_q[2] @ turned_k[5], turned_q[2] @ turned_k[6], atol=1e-3)
    assert torch.allclose(turned_q.norm(dim=1), q.norm().expand(9), atol=1e-6)


@torch.no_grad()
def test_temporal_attention_is_softmax_attention_over_frames_with_its_bias():
    layer = TemporalAttention(4, 2, 2, turns=False).double()
    x, bias = torch.randn(1, 4, 3, 2, 1).double(), torch.randn(1, 2, 3, 3).double()
    y = layer(x, bias)
    for row in range(2):
        pixel = x[0, :, :, row, 0].T
        normal = (
            (pixel - pixel.mean(1, keepdim=True))
            / (pixel.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
            * layer.norm.weight
        )
        q, k, v = (normal @ layer.qkv.weight.T).view(3, 3, 2, 2).permute(1, 2, 0, 3)
        heads = [torch.softmax(q[n] @ k[n].T / 2**0.5 + bias[0, n], dim=-1) @ v[n] for n in range(2)]
        expected = pixel + torch.cat(heads, dim=1) @ layer.out.weight.T + layer.out.bias
        assert torch.allclose(y[0, :, :, row, 0].T, expected, atol=1e-12)


@torch.no_grad()
def test_linear_attention_weighs_values_by_softmaxed_features_and_positions():
    layer = SpatialLinearAttention(4, 2, 2).double()
    x = torch.randn(1, 4, 2, 3, 2).double()
    y = layer(x)
    for frame in range(2):
        pixels = x[0, :, frame].flatten(1).T
        normal = (
            (pixels - pixels.mean(1, keepdim=True))
            / (pixels.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
            * layer.norm.weight
        )
        q, k, v = (normal @ layer.qkv.weight.T).view(6, 3, 2, 2).permute(1, 2, 0, 3)
        heads = [q[n].softmax(1) @ (k[n].softmax(0).T @ v[n]) / 2**0.5 for n in range(2)]
        expected = pixels + torch.cat(heads, dim=1) @ layer.out.weight.T + layer.out.bias
        assert torch.allclose(y[0, :, frame].flatten(1).T, expected, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize(("layer", "padding"), [(PointConv(3, 5, 1), 0), (TemporalConv(3), (1, 0, 0))])
def test_convolutions_that_see_one_axis_are_those_of_three_dimensions(layer, padding):
    parameters = layer.state_dict()
    weight, bias = (torch.randn_like(parameter) for parameter in parameters.values())
    layer.load_state_dict(dict(zip(parameters, (weight, bias), strict=True)))
    x = torch.randn(2, 3, 4, 6, 5)
    assert torch.allclose(layer(x), torch.nn.functional.conv3d(x, weight, bias, padding=padding), atol=1e-5)
