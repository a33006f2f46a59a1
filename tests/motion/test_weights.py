"""RAFT and GMFlow from files of weights in their published layouts, seeded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from vedit import motion
from vedit.errors import ModelError, UsageError
from vedit.motion import kept
from vedit.motion.gmflow import GmflowNet
from vedit.motion.weights import URLS, find


def frames(count: int = 2, rows: int = 128, columns: int = 144, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (count, rows, columns, 3), dtype=np.uint8)


def raft(path: Path, **wrapped: bool) -> tuple[Path, Any]:
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    net = raft_small(weights=None).eval()
    state = net.state_dict()
    torch.save(
        {"model": {f"module.{key}": value for key, value in state.items()}} if wrapped else state, path
    )
    return path, net


@pytest.mark.parametrize("size", [(128, 144), (131, 150)], ids=["whole", "filled up"])
def test_raft_is_torchvisions(tmp_path: Path, size: tuple[int, int]) -> None:
    path, net = raft(tmp_path / "raft.pth")
    a, b = frames(1, *size), frames(1, *size, seed=1)
    found = motion.pairs_of(f"raft:{path}")(a, b)
    assert found.shape == (1, 2, *size) and found.dtype == np.float32
    images = [torch.from_numpy(one).movedim(-1, 1).float() / 127.5 - 1 for one in (a, b)]
    down, right = -size[0] % 8, -size[1] % 8
    edges = (right // 2, right - right // 2, down // 2, down - down // 2)
    with torch.inference_mode():
        expected = net(*(torch.nn.functional.pad(one, edges, mode="replicate") for one in images))[-1]
    expected = expected[..., edges[2] : edges[2] + size[0], edges[0] : edges[0] + size[1]]
    assert np.abs(found - expected.numpy()).max() < 1e-3


def test_small_pictures_are_enlarged_for_raft_and_their_flow_is_in_their_pixels(tmp_path: Path) -> None:
    path, _ = raft(tmp_path / "raft.pth", wrapped=True)  # as training leaves it
    large = np.repeat(np.repeat(frames(2, 32, 48), 4, 1), 4, 2)
    small = large[:, ::4, ::4]
    estimate = motion.pairs_of(f"raft:{path}")
    found = estimate(small[:1], small[1:])
    assert found.shape == (1, 2, 32, 48) and np.isfinite(found).all()


def test_gmflow_is_the_network_of_the_metrics(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = GmflowNet().eval()
    torch.save({"model": net.state_dict()}, tmp_path / "gmflow.pth")
    a, b = frames(2, 32, 48), frames(2, 32, 48, seed=1)
    found = motion.pairs_of(f"gmflow:{tmp_path / 'gmflow.pth'}")(a, b)
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    with torch.inference_mode():
        for place in range(2):
            pair = [
                (torch.from_numpy(one[place : place + 1]).movedim(-1, 1).float() / 255 - mean) / std
                for one in (a, b)
            ]
            expected = net.match(*net.mix(*(net.backbone(one) for one in pair)))
            assert np.abs(found[place] - expected.numpy()).max() < 1e-3


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    path, _ = raft(tmp_path / "raft.pth")
    with pytest.raises(ModelError, match="not the weights of GMFlow"):
        motion.pairs_of(f"gmflow:{path}")
    torch.save({"model": GmflowNet().state_dict()}, tmp_path / "g.pth")
    with pytest.raises(ModelError, match="not the weights of torchvision's RAFT"):
        motion.pairs_of(f"raft:{tmp_path / 'g.pth'}")
    (tmp_path / "damaged.pth").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="the weights cannot be read: it is damaged, or holds more") as told:
        motion.pairs_of(f"raft:{tmp_path / 'damaged.pth'}")
    assert "weights_only" not in str(told.value)  # torch's advice runs the code that a pickle holds


@pytest.mark.parametrize("name", ["raft", "gmflow"])
def test_published_weights_are_found_where_others_keep_them(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelError, match="are not on this machine") as told:
        motion.check_engine(name)
    assert URLS[name] in str(told.value) and "tvl1" in str(told.value)
    file = URLS[name].rpartition("/")[2]
    place = tmp_path / ("hub/checkpoints" if name == "raft" else "hub/models--pranay-ar--gmflow/snapshots/0a")
    place.mkdir(parents=True)
    (place / file).write_bytes(b"x")
    assert find(name, None) == place / file


@pytest.mark.parametrize(
    ("engine", "said"),
    [("raff", "did you mean raft"), ("tvl1:x.pth", "takes no weights"), ("raft:", "names no file"), ("", "nothing of that name")],
)  # fmt: skip
def test_what_does_not_estimate_flow_is_refused(engine: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        motion.split_engine(engine)
    with pytest.raises(ModelError, match="there is no such file"):
        motion.check_engine("raft:nothing.pth")


def test_a_flow_is_estimated_once_where_flows_are_kept(tmp_path: Path) -> None:
    asked = []

    def estimate(a: Any, b: Any) -> Any:
        asked.append(len(a))
        return np.full((len(a), 2, *a.shape[1:3]), 0.25, np.float32)

    a, b = frames(3, 8, 12), frames(3, 8, 12, seed=1)
    kept.once("one", estimate, a, b)
    with motion.keeping(str(tmp_path / "flows")):
        first, again = (kept.once("one", estimate, a.copy(), b) for _ in range(2))
        assert asked == [3, 3] and np.array_equal(first, again) and again.dtype == np.float32
        kept.once("other", estimate, a, b)  # by another estimator, or its weights
        kept.once("one", estimate, b, a)  # the way back
        kept.once("one", estimate, a[:, :4], b[:, :4])  # at another size
        assert asked == [3] * 5
        files = sorted((tmp_path / "flows").iterdir())
        assert len(files) == 4 and all(path.name.endswith(".flow.npz") for path in files)
        for path in files:
            path.write_bytes(path.read_bytes()[:100])  # damaged
        assert np.array_equal(kept.once("one", estimate, a, b), first) and asked == [3] * 6
        kept.once("one", estimate, a, b)
        assert asked == [3] * 6
    kept.once("one", estimate, a, b)
    assert asked == [3] * 7


def test_a_disk_that_takes_nothing_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with motion.keeping(str(tmp_path / "file")):
        found = motion.pairs_of("tvl1")(frames(1, 24, 24), frames(1, 24, 24, seed=1))
    assert found.shape == (1, 2, 24, 24)
