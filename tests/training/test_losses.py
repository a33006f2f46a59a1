"""Protects vedit/training/losses.py and vgg.py against torchvision's network and the formulas."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from vedit.errors import ModelError, UsageError
from vedit.models.alpha_bar import cosine
from vedit.training.losses import HybridLoss, frames_of, perceptual
from vedit.training.params import RELU_LAYERS, SEED_LAYERS
from vedit.training.vgg import load_vgg


@pytest.fixture(scope="module")
def theirs():
    """torchvision's network with uneven running statistics."""
    torch.manual_seed(0)
    layers = torchvision.models.vgg.make_layers(
        torchvision.models.vgg.cfgs["D"], batch_norm=True
    )  # vgg16_bn without its 120 million classifier weights
    network = torch.nn.ModuleDict({"features": layers}).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


def clips(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_features_equal_torchvision_at_the_literal_layers(theirs, tmp_path, kind):
    path = str(tmp_path / f"vgg.{kind}")
    save_file(theirs.state_dict(), path) if kind == "safetensors" else torch.save(theirs.state_dict(), path)
    network = load_vgg((*SEED_LAYERS, 32), path)
    pictures = clips(2, 3, 16, 16)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((pictures + 1) / 2 - mean[:, None, None]) / std[:, None, None]
    expected = {}
    for number, module in enumerate(theirs["features"][:33]):
        x = module(x)
        expected[number] = x.clone()  # the next ReLU works in place
    for number, found in zip(network.layers, network(pictures), strict=True):
        assert torch.allclose(found, expected[number], atol=1e-6)


@torch.no_grad()
def test_layers_8_and_15_are_batch_norms_and_keep_their_negative_values():
    features = load_vgg(SEED_LAYERS, "random:0")(clips(1, 3, 16, 16))
    assert [bool((tensor < 0).any()) for tensor in features] == [True, True, True, False]
    rectified = load_vgg(RELU_LAYERS, "random:0")(clips(1, 3, 16, 16))
    assert not any(bool((tensor < 0).any()) for tensor in rectified)


def test_only_tensors_up_to_the_last_layer_are_held():
    assert sum(parameter.numel() for parameter in load_vgg(SEED_LAYERS, "random:0").parameters()) == 1_737_792


def test_the_network_stays_in_evaluation_mode():
    network = load_vgg(SEED_LAYERS, "random:0")
    assert not network.train().features[1].training


def test_missing_and_foreign_weights_are_errors_with_names(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="no such file"):
        load_vgg(SEED_LAYERS, str(tmp_path / "none.safetensors"))
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "part.safetensors")
    with pytest.raises(ModelError, match=r"features\.0\.bias is missing"):
        load_vgg(SEED_LAYERS, str(tmp_path / "part.safetensors"))
    (tmp_path / "torn.pth").write_bytes(b"PK torn")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_vgg(SEED_LAYERS, str(tmp_path / "torn.pth"))
    with pytest.raises(UsageError, match="seed is not a number"):
        load_vgg(SEED_LAYERS, "random:x")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda *names: (_ for _ in ()).throw(OSError("offline"))
    )
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(ModelError, match="the perceptual loss needs the weights of VGG16-BN"):
        load_vgg(SEED_LAYERS)


def test_random_weights_repeat_by_their_seed():
    first, again, other = (load_vgg((3,), f"random:{seed}").features[0].weight for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_feature_distance_is_zero_symmetric_and_has_a_gradient():
    network = load_vgg(SEED_LAYERS, "random:0")
    a, b = clips(2, 2, 3, 8, 8), clips(2, 2, 3, 8, 8, seed=1)
    weights = (1.0, 0.5, 2.0, 1.0)
    assert perceptual(network, weights, a, a).tolist() == [0, 0]
    assert torch.allclose(perceptual(network, weights, a, b), perceptual(network, weights, b, a))
    a.requires_grad_()
    perceptual(network, weights, a, b).sum().backward()
    assert a.grad.abs().sum() > 0


def test_the_feature_distance_is_the_weighted_sum_of_means():
    network = load_vgg(SEED_LAYERS, "random:0")
    a, b = clips(2, 2, 3, 8, 8), clips(2, 2, 3, 8, 8, seed=1)
    weights = (1.0, 0.5, 2.0, 0.0)
    for clip in range(2):
        expected = sum(
            w * (x - y).abs().mean() for w, x, y in zip(weights, network(a[clip]), network(b[clip]))
        )
        assert torch.allclose(perceptual(network, weights, a, b)[clip], expected, rtol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_right_output_costs_nothing(prediction):
    schedule = cosine(1000, prediction)
    x0, noise, timestep = clips(2, 3, 2, 8, 8), clips(2, 3, 2, 8, 8, seed=1), torch.tensor([30, 600])
    level = schedule.alpha_bar.float()[timestep].view(-1, 1, 1, 1, 1)
    noisy = schedule.mix(x0, noise, level)
    right = schedule.target(x0, noise, level)
    loss = HybridLoss(schedule, "l1", 1.0, timesteps="all", vgg=load_vgg(SEED_LAYERS, "random:0"))
    parts = loss(right, noisy, x0, noise, timestep, torch.tensor([[0], [1]]))
    assert parts["l_pix"] == 0 and parts["l_perc"] < 1e-4


def test_the_parts_add_up_by_lambda_and_g():
    schedule = cosine(1000, "epsilon")
    network = load_vgg(SEED_LAYERS, "random:0")
    x0, noise, output = (clips(2, 3, 2, 8, 8, seed=seed) for seed in range(3))
    timestep, seen = torch.tensor([100, 700]), torch.tensor([[0, 1], [1, 0]])
    level = schedule.alpha_bar.float()[timestep].view(-1, 1, 1, 1, 1)
    noisy = schedule.mix(x0, noise, level)
    guess = schedule.to_x0(output, noisy, level)
    each = perceptual(network, (1.0,) * 4, frames_of(guess, seen), frames_of(x0, seen))
    for kind, share in {
        "abar": schedule.alpha_bar[timestep].float(),
        "cut": torch.tensor([1.0, 0.0]),
        "all": torch.ones(2),
    }.items():
        parts = HybridLoss(schedule, "l2", 0.1, timesteps=kind, vgg=network)(
            output, noisy, x0, noise, timestep, seen
        )
        assert torch.allclose(parts["l_pix"], (output - noise).square().mean())
        assert torch.allclose(parts["l_perc"], (share * each).mean(), rtol=1e-5)
        assert torch.allclose(parts["loss"], parts["l_pix"] + 0.1 * parts["l_perc"])
    balanced = HybridLoss(schedule, "l1", 0.1, "balanced", vgg=network)(
        output, noisy, x0, noise, timestep, seen
    )
    assert torch.allclose(balanced["loss"], 1.1 * balanced["l_pix"], rtol=1e-5)
    steep = HybridLoss(schedule, "l1", 1e9, "balanced", vgg=network)(output, noisy, x0, noise, timestep, seen)
    assert torch.allclose(steep["loss"], steep["l_pix"] + 10 * steep["l_perc"], rtol=1e-5)


def test_frames_are_taken_by_clip():
    clip = torch.arange(2 * 3 * 4.0).view(2, 1, 3, 2, 2)
    taken = frames_of(clip, torch.tensor([[2, 0], [1, 1]]))
    assert (
        torch.equal(taken[0, 0], clip[0, :, 2])
        and torch.equal(taken[0, 1], clip[0, :, 0])
        and torch.equal(taken[1, 1], clip[1, :, 1])
    )
    assert taken.shape == (2, 2, 1, 2, 2)
