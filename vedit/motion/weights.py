"""Networks for optical flow, from files of weights in their published layouts, each read once.

    raft:FILE      torchvision's RAFT, large or small by what the file holds
    gmflow:FILE    GMFlow with one scale, as trained for Sintel

Without a FILE the published one is looked for where torch and the Hub's client keep theirs; nothing is
fetched. Shape letters: P pairs of frames, 2 for x and y, Y X rows and columns.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vedit.errors import ModelError, option, read_fault

if TYPE_CHECKING:
    from torch import Tensor

    from vedit.motion.places import Floats, Pixels

URLS = {
    "raft": "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth",
    "gmflow": "https://huggingface.co/pranay-ar/gmflow/resolve/main/gmflow_sintel-0c07dcb3.pth",
}
LEAST, MULTIPLE = 128, 8  # pixels of a side that RAFT looks at: its coarsest correlations are 16 times halved
UPDATES = 12  # of RAFT's estimate, as torchvision has it


def find(name: str, file: str | None) -> Path:
    """The file of weights of a network. Raises ModelError."""
    if file is not None:
        if not os.path.isfile(file):
            raise ModelError(
                f"{option('flow', f'{name}:{file}')}: there is no such file.", "", "Check the name"
            )
        return Path(file)
    wanted = URLS[name].rpartition("/")[2]
    for place in _places(name):
        for found in sorted(place.glob(f"**/{wanted}")) if place.is_dir() else ():
            return found
    raise ModelError(
        f"{option('flow', name)}: the weights {wanted} are not on this machine.",
        f"They are at {URLS[name]}",
        f"Fetch them, and {option('flow', f'{name}:{wanted}')} takes the file; or use"
        f" {option('flow', 'tvl1')}",
    )


def _places(name: str) -> list[Path]:
    """Where other programs keep published weights."""
    if name == "raft":
        torch_home = os.environ.get("TORCH_HOME") or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "torch"
        )
        return [Path(torch_home, "hub", "checkpoints")]
    from huggingface_hub import constants

    return [
        Path(constants.HF_HUB_CACHE, f"models--{repo}", "snapshots")
        for repo in ("pranay-ar--gmflow", "logtd--gmflow")
    ]


def digest_of(path: Path) -> str:
    """SHA-256 of a file of weights."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@cache
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def pairs_by(name: str, file: str | None) -> Callable[[Pixels, Pixels], Floats]:
    """What estimates the flow of pairs of frames, (P, Y, X, 3) twice to (P, 2, Y, X). Raises ModelError."""
    path = find(name, file)
    between = _network(name, path, digest_of(path))

    def pairs(a_PYX3: Pixels, b_PYX3: Pixels) -> Floats:
        return np.stack([between(a, b) for a, b in zip(a_PYX3, b_PYX3, strict=True)])

    return pairs


@cache
def _network(name: str, path: Path, digest: str) -> Callable[[Pixels, Pixels], Floats]:
    state = _read(path)
    device = _device()
    net = (_raft if name == "raft" else _gmflow)(state, path).to(device).eval().requires_grad_(False)

    def between(a_YX3: Pixels, b_YX3: Pixels) -> Floats:
        import torch

        from vedit.motion.tvl1 import as_colours

        a, b = (as_colours(one[None]).to(device) for one in (a_YX3, b_YX3))
        with torch.inference_mode():
            flow_2YX = _raft_flow(net, a, b) if name == "raft" else _gmflow_flow(net, a, b)
        found: Floats = flow_2YX.float().cpu().numpy()
        return found

    return between


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _read(path: Path) -> dict[str, Any]:
    """The tensors of a file, without what training puts around them. Raises ModelError."""
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
        for wrapper in ("model", "state_dict"):
            content = content.get(wrapper, content)
        found = {str(key).removeprefix("module."): value for key, value in content.items()}
    except Exception as error:  # whatever a damaged file makes the two readers say
        raise ModelError(
            f"{path}: the weights cannot be read: {read_fault(error)}.", "", "Download them again"
        ) from None
    return found


def _raft(state: dict[str, Any], path: Path) -> Any:
    """torchvision's RAFT that the weights are of."""
    try:
        from torchvision.models.optical_flow import raft_large, raft_small
    except ImportError:
        raise ModelError(
            f"{option('flow', 'raft')} needs torchvision, not installed here.",
            "",
            f'Install with: pip install "vedit[diffusion]", or use {option("flow", "tvl1")}',
        ) from None
    first = state.get("feature_encoder.convnormrelu.0.weight")
    is_small = first is not None and tuple(first.shape)[:1] == (32,)
    return _filled((raft_small if is_small else raft_large)(weights=None), state, path, "torchvision's RAFT")


def _gmflow(state: dict[str, Any], path: Path) -> Any:
    from vedit.motion.gmflow import GmflowNet

    return _filled(GmflowNet(), state, path, "GMFlow of one scale")


def _filled(net: Any, state: dict[str, Any], path: Path, what: str) -> Any:
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = str(error).strip().splitlines()
        raise ModelError(
            f"{path}: not the weights of {what}: {(lines[1] if len(lines) > 1 else lines[0]).strip()[:200]}",
            f"Those of {what} are at {URLS['raft' if 'RAFT' in what else 'gmflow']}",
        ) from None
    return net


def _raft_flow(net: Any, a_13YX: Tensor, b_13YX: Tensor) -> Tensor:
    """The flow (2, Y, X) in pixels. Pictures smaller than RAFT can take are enlarged, others filled up to
    whole cells by repeating the border.
    """
    from torch.nn.functional import interpolate, pad

    rows, columns = a_13YX.shape[-2:]
    factor = max(1.0, LEAST / min(rows, columns))
    size = round(rows * factor), round(columns * factor)
    down, right = (-side % MULTIPLE for side in size)
    edges = (right // 2, right - right // 2, down // 2, down - down // 2)

    def prepared(picture: Tensor) -> Tensor:
        if factor > 1:
            picture = interpolate(picture, size, mode="bilinear", antialias=True)
        return pad(picture * 2 - 1, edges, mode="replicate")

    flow_12YX = net(prepared(a_13YX), prepared(b_13YX), num_flow_updates=UPDATES)[-1]
    flow_12YX = flow_12YX[..., edges[2] : edges[2] + size[0], edges[0] : edges[0] + size[1]]
    if factor > 1:
        scale = flow_12YX.new_tensor([columns / size[1], rows / size[0]]).view(1, 2, 1, 1)
        flow_12YX = interpolate(flow_12YX, (rows, columns), mode="bilinear", antialias=True) * scale
    return flow_12YX[0]


def _gmflow_flow(net: Any, a_13YX: Tensor, b_13YX: Tensor) -> Tensor:
    from vedit.motion.gmflow import flow_between

    return flow_between(net, a_13YX, b_13YX)
