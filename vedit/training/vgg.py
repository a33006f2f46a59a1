"""Features of VGG16 with batch normalisation, frozen, for the perceptual loss.

Source: Simonyan & Zisserman 2015, configuration D; layer numbers and weight names as in
torchvision's `vgg16_bn().features`, so that its weights load as they are.

The seed takes layers 3, 8, 15 and 22. In this network these are a convolution, two batch norms
and relu3_3; the ReLUs relu1_2, relu2_2, relu3_3 and relu4_3, which the numbers mean in VGG16
*without* batch normalisation, are 5, 12, 22 and 32 here (`params.RELU_LAYERS`). Our ReLUs do not work
in place: torchvision's would rectify layers 8 and 15 behind the back of who kept them.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vedit.errors import ModelError, UsageError, option, read_fault
from vedit.models.hub import hub_or_cache
from vedit.training.loop import seeded

CONVOLUTIONS = (
    64,
    64,
    0,
    128,
    128,
    0,
    256,
    256,
    256,
    0,
    512,
    512,
    512,
    0,
    512,
    512,
    512,
    0,
)  # 0: halve the sides
HUB_ID, HUB_FILE = "timm/vgg16_bn.tv_in1k", "model.safetensors"
TORCHVISION_URL = "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Vgg(nn.Module):
    """Give the outputs of `layers` for pictures (B, 3, Y, X) in [-1, 1]; always in evaluation mode."""

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        wanted = sorted(set(layers))
        if not wanted or wanted[0] < 0 or wanted[-1] > 43:
            raise UsageError(
                f"the layers {list(layers)} are not those of VGG16-BN.", "Layers are numbered 0 to 43."
            )
        self.layers = wanted
        self.features = nn.Sequential(*_modules()[: wanted[-1] + 1])
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Vgg":
        return super().train(False)  # running statistics, whatever the model around it does

    def forward(self, pictures_BCYX: Tensor) -> list[Tensor]:
        x = ((pictures_BCYX + 1) / 2 - self.mean) / self.std
        found = []
        for number, module in enumerate(self.features):
            x = module(x)
            if number in self.layers:
                found.append(x)
        return found

    @property
    def smallest_side(self) -> int:
        """The least side in pixels that every halving on the way leaves something of."""
        return 2 ** sum(isinstance(module, nn.MaxPool2d) for module in self.features)


def _modules() -> list[nn.Module]:
    modules: list[nn.Module] = []
    before = 3
    for width in CONVOLUTIONS:
        if width == 0:
            modules.append(nn.MaxPool2d(2))
            continue
        modules += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=False)]
        before = width
    return modules


def load_vgg(layers: Sequence[int], weights: str | None = None) -> Vgg:
    """Build the network with its weights.

    weights: a file (safetensors, or a pickle read with weights_only); "random:SEED" for an
    untrained network; None looks in the Hub cache and on the Hub, then for torchvision's file.
    Raises ModelError when there are none: the loss is never quietly left out.
    """
    network = Vgg(layers)
    if weights is not None and weights.startswith("random:"):
        _randomise(network, weights)
        return network
    found = _read(weights) if weights is not None else _fetched()
    state = {key: tensor for key, tensor in found.items() if key in network.state_dict()}
    missing = sorted(
        network.state_dict().keys()
        - state.keys()
        - {key for key in network.state_dict() if key.endswith("num_batches_tracked")}
    )
    if missing:
        raise ModelError(
            f"{weights or HUB_ID}: not the weights of VGG16-BN: {missing[0]} is missing.",
            "The names are those of torchvision's vgg16_bn.",
        )
    try:
        network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(
            f"{weights or HUB_ID}: not the weights of VGG16-BN: {str(error).splitlines()[-1].strip()}"
        ) from None
    return network


def _randomise(network: Vgg, weights: str) -> None:
    text = weights.removeprefix("random:")
    if not text.isdigit():
        raise UsageError(f"{weights}: the seed is not a number.", "Write random:SEED, such as random:0.")
    generator = seeded(int(text), 0, 0)
    for module in network.features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            nn.init.zeros_(module.bias)


def _read(path: str) -> dict[str, Tensor]:
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(
            f"{path}: there is no such file.", "It would hold the weights of VGG16-BN."
        ) from None
    except Exception as error:  # safetensors, pickle and zip each have errors of their own
        raise ModelError(f"{path}: cannot be read as weights: {read_fault(error)}.") from None


def _fetched() -> dict[str, Tensor]:
    """The weights by way of the Hub, else torchvision's own file where torch keeps what it downloaded."""
    from huggingface_hub import hf_hub_download

    try:
        with hub_or_cache():
            return _read(hf_hub_download(HUB_ID, HUB_FILE))
    except Exception as error:  # gated, offline, proxy, disk: the next source may still do
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(TORCHVISION_URL).name
    if cached.exists():
        return _read(str(cached))
    raise ModelError(
        f"the perceptual loss needs the weights of VGG16-BN, and they are not here: {reason.rstrip('.')}.",
        f"They are looked for at the Hub ({HUB_ID}) and in {cached}.",
        f"Name a file with {option('vgg_weights', 'FILE')}, take an untrained network with"
        f" {option('vgg_weights', 'random:0')}, or train without: {option('set.loss.perceptual', 0)}",
    )
