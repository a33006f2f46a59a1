"""Protects vedit/models/unet3d/adagn.py: plain GroupNorm at the start, and its formula afterwards."""

import pytest
import torch
from torch.nn import functional

from vedit.models.unet3d.adagn import AdaGN


def filled(layer):
    """Give every parameter a value that shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


@pytest.mark.parametrize(("channels", "groups"), [(3, 1), (24, 8), (48, 16), (64, 32), (100, 4)])
def test_at_the_start_it_is_group_norm_to_the_bit(channels, groups):
    layer = AdaGN(channels, 8, 6)
    features, time, text = torch.randn(2, channels, 3, 4, 5), torch.randn(2, 8), torch.randn(2, 6)
    assert torch.equal(layer(features, time, text), functional.group_norm(features, groups))


def test_it_scales_and_shifts_by_the_weighted_sum_of_time_and_text():
    layer = filled(AdaGN(8, 4, 6, group_limit=4)).double()
    features, time, text = (
        torch.randn(2, 8, 3, 4, 5).double(),
        torch.randn(2, 4).double(),
        torch.randn(2, 6).double(),
    )

    def of(linear, vector):
        return linear.weight @ (vector * torch.sigmoid(vector)) + linear.bias

    for clip in range(2):
        both = layer.time_scale * of(layer.from_time, time[clip]) + of(layer.from_text, text[clip])
        for channel in range(8):
            group = features[clip, channel // 2 * 2 : channel // 2 * 2 + 2]
            normal = (features[clip, channel] - group.mean()) / (group.var(unbiased=False) + 1e-5).sqrt()
            expected = normal * (1 + both[channel]) + both[8 + channel]
            assert torch.allclose(layer(features, time, text)[clip, channel], expected, atol=1e-12)


def test_without_a_text_only_time_counts():
    layer = filled(AdaGN(8, 4, 6))
    bare = AdaGN(8, 4)
    bare.load_state_dict({name: value for name, value in layer.state_dict().items() if "text" not in name})
    features, time = torch.randn(1, 8, 2, 3, 3), torch.randn(1, 4)
    assert torch.equal(layer(features, time), bare(features, time))


def test_frame_statistics_make_a_frame_independent_of_its_neighbours():
    features, time = torch.randn(2, 8, 5, 4, 4), torch.randn(2, 4)
    by_frame, by_clip = AdaGN(8, 4, norm_scope="frame"), AdaGN(8, 4)
    assert torch.equal(by_frame(features, time)[:, :, :3], by_frame(features[:, :, :3], time))
    assert not torch.allclose(by_clip(features, time)[:, :, :3], by_clip(features[:, :, :3], time))


def test_time_scale_learns():
    layer = filled(AdaGN(4, 4))
    layer(torch.randn(1, 4, 2, 3, 3), torch.randn(1, 4)).square().sum().backward()
    assert layer.time_scale.grad.abs() > 0
