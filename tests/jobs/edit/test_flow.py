"""What estimates motion, in whole commands: recorded, kept, repeated, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from PIL import Image

from tests.conftest import Result, vedit
from vedit.jobs import cache
from vedit.jobs.batch.keys import Contents, Keys
from vedit.jobs.edit.request import EditRequest
from vedit.models.sd.model import Model

ASKED = ("--steps", "1", "--source", "a red cat", "--prompt", "a blue dog", "--size", "32", "-q")


def edit(model: Model, clip: str, output: Path, *more: str, method: str = "ddim") -> Result:
    return vedit("edit", clip, "-o", output, "--model", str(model.folder), "--method", method, *ASKED, *more)


@pytest.fixture(scope="module")
def raft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("flow") / "raft_small.pth"
    torch.save(raft_small(weights=None).state_dict(), path)
    return path


def record_of(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"{output}.vedit.json").read_text())
    return found


def test_flatten_goes_by_raft_which_is_recorded_kept_and_repeated(model: Model, clip: str, raft: Path, tmp_path: Path) -> None:  # fmt: skip
    done = edit(model, clip, tmp_path / "a.gif", "--flow", f"raft:{raft}", method="flatten")
    assert done.code == 0, done.err
    record = record_of(tmp_path / "a.gif")
    assert len(record["flow_sha256"]) == 64 and record["flow"].startswith("raft:") and record["params"]["flow"] == record["flow"]  # fmt: skip
    with Image.open(tmp_path / "a.gif") as made:
        comment = made.info["comment"].decode()
    assert "raft:raft_small.pth" in comment and str(raft.parent) not in comment
    assert len(cache.flows()) == 2  # there and back
    assert "motion of clips" in vedit("cache", "list").text
    again = vedit("replay", tmp_path / "a.gif", "-o", tmp_path / "b.gif")
    assert again.code == 0, again.err
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes() and len(cache.flows()) == 2
    assert "2 flows of clips" in vedit("cache", "clear").text and not cache.flows()


def test_a_mask_follows_by_what_is_asked_for(model: Model, clip: str, raft: Path, tmp_path: Path) -> None:
    masks = {}
    for name, flow in (("usual", ()), ("tvl1", ("--flow", "tvl1")), ("raft", ("--flow", f"raft:{raft}"))):
        more = ("--mask", "track:4,8,12,12", "--save-masks", str(tmp_path / f"{name}.gif"), *flow)
        assert edit(model, clip, tmp_path / "out.gif", "-y", *more).code == 0
        with Image.open(tmp_path / f"{name}.gif") as shown:
            masks[name] = []
            for frame in range(shown.n_frames):
                shown.seek(frame)
                masks[name].append(np.asarray(shown.convert("L")))
    assert np.array_equal(masks["usual"], masks["tvl1"])
    assert np.array_equal(masks["usual"][0], masks["raft"][0])  # as it was drawn
    assert not np.array_equal(masks["usual"], masks["raft"])  # untrained weights follow nothing
    assert record_of(tmp_path / "out.gif")["flow"].startswith("raft:")


def test_flows_that_nobody_can_estimate_are_refused(model: Model, clip: str, tmp_path: Path) -> None:
    wrong = [
        (("--flow", "raff"), "flatten", 2, "did you mean raft"),
        (("--flow", "raft:nothing.pth"), "flatten", 5, "there is no such file"),
        (("--set", "flow=raff"), "flatten", 2, "did you mean raft"),
        (("--set", "flow=raft:nothing.pth"), "flatten", 5, "there is no such file"),
        (("--flow", "dis:x.pth"), "flatten", 2, "takes no weights"),
        (("--flow", "tvl1"), "ddim", 2, "nothing of this edit goes by motion"),
        (("--flow", "raft:nothing.pth", "--mask", "track:4,8,12,12"), "ddim", 5, "there is no such file"),
    ]  # fmt: skip
    for more, method, code, said in wrong:
        done = edit(model, clip, tmp_path / "out.gif", *more, method=method)
        assert (done.code, said in done.err) == (code, True), (more, done.code, done.err)


def test_weights_are_part_of_what_an_item_is_by_their_contents(clip: str, raft: Path, tmp_path: Path) -> None:
    keys = Keys(Contents(None), may_fetch=False)
    bare = EditRequest(input=clip, prompt="a blue circle", source_prompt="a red circle", method="flatten")

    def key(flow: str | None) -> str:
        return keys.of(EditRequest(**{**bare.json(), "flow": flow}), ".gif")

    (tmp_path / "same.pth").write_bytes(raft.read_bytes())
    (tmp_path / "other.pth").write_bytes(b"x")
    assert (
        key(f"raft:{raft}") == key(f"raft:{tmp_path / 'same.pth'}") != key(f"raft:{tmp_path / 'other.pth'}")
    )
    assert key(None) != key("tvl1") != key("dis")
