"""On a CUDA device: 8 frames of 512x512 in half precision through every method, with random weights in Stable
Diffusion 1.5's layout.

Prints (pytest -m gpu -s) seconds, peak memory, and the share of the device's own matrix rate that the
network's calls reach.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

from tests.conftest import shared, vedit
from tests.engine.sd15 import write_sd15
from vedit import methods
from vedit.jobs.clips import Selection, read_pixels

SOURCE, TARGET = "a grey wolf turning its head in a forest", "a grey fox turning its head in a forest"
STEPS = 10
INVERTED = ["--steps", str(STEPS), "--set", f"inversion_steps={STEPS}"]
LENGTH = {
    "sdedit": ["--steps", str(STEPS)],
    "dds": ["--set", f"iterations={STEPS}"],
    "glp": ["--set", f"iterations={STEPS}"],
    "combine": [*INVERTED, "--set", f"glp={{iterations={STEPS}}}"],
}
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("own_cache"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = write_sd15(
        tmp_path_factory.mktemp("gpu") / "stable-diffusion-v1-5", sorted({*SOURCE.split(), *TARGET.split()})
    )
    yield folder
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()


@pytest.fixture(scope="module")
def matrix_rate() -> float:
    """Operations per second of a large product in half precision."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.float16) for _ in range(2))
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(3):
        a @ b
    begin.record()
    for _ in range(20):
        a @ b
    end.record()
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (begin.elapsed_time(end) / 1000)


@pytest.fixture(scope="module")
def flops_of_a_call(sd15: Path) -> float:
    """Operations of one evaluation of the network at 64x64 latents."""
    from torch.utils.flop_counter import FlopCounterMode

    from vedit.models.sd.load import load_model

    model = load_model(str(sd15), device="cuda", dtype="fp16")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.unet(
            torch.zeros(1, 4, 64, 64, device="cuda").half(),
            1,
            encoder_hidden_states=torch.zeros(1, 77, 768, device="cuda").half(),
        )
    return float(counter.get_total_flops())


def edit(sd15: Path, output: Path, method: str, *more: str) -> dict[str, Any]:
    clip = shared("data/clips/wolf.mp4")
    prompts = ["--source", SOURCE, "--prompt", TARGET]
    selection = ["--frames", "8", "--stride", "3", "--size", "512", "--device", "cuda", "--dtype", "fp16"]
    done = vedit(
        "edit",
        clip,
        "-o",
        output,
        "--model",
        sd15,
        "--method",
        method,
        *prompts,
        *selection,
        *LENGTH.get(method, INVERTED),
        *more,
    )
    assert done.code == 0, done.err
    record: dict[str, Any] = json.loads(Path(f"{output}.vedit.json").read_text())
    return record


@pytest.mark.parametrize("method", methods.fitting(of_clips=False))
def test_eight_frames_of_512_in_half_precision(
    sd15: Path, tmp_path: Path, matrix_rate: float, flops_of_a_call: float, method: str
) -> None:
    from vedit.models.sd.load import load_model

    calls = {"frames": 0}
    torch.cuda.reset_peak_memory_stats()

    def counted(*args: Any, **options: Any) -> Any:
        model = load_model(*args, **options)
        model.unet.register_forward_pre_hook(
            lambda module, inputs: calls.__setitem__("frames", calls["frames"] + len(inputs[0]))
        )
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vedit.models.sd.load.load_model", counted)
        record = edit(sd15, tmp_path / "out.mp4", method)
    seconds, peak = record["seconds"], record["peak_memory_mib"]["device"]
    share = calls["frames"] * flops_of_a_call / (seconds["invert"] + seconds["edit"]) / matrix_rate
    print(
        f"\n{method}: invert {seconds['invert']:.1f} s, edit {seconds['edit']:.1f} s, decode"
        f" {seconds['decode']:.1f} s, {calls['frames']} evaluations, peak {peak:.0f} MiB, {share:.0%} of"
        f" {matrix_rate / 1e12:.0f} TFLOP/s"
    )
    assert read_pixels(str(tmp_path / "out.mp4"), Selection(size=512)).frames_FYX3.std() > 5
    assert peak < 16 * 1024


def test_the_same_seed_gives_the_same_bytes_on_the_same_device(sd15: Path, tmp_path: Path) -> None:
    for name in ("a.gif", "b.gif"):
        edit(sd15, tmp_path / name, "p2p")
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offloading_takes_less_memory_for_the_same_picture(sd15: Path, tmp_path: Path, offload: str) -> None:
    peaks = {}
    for how in ("none", offload):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        peaks[how] = edit(sd15, tmp_path / f"{how}.nut", "p2p", "--offload", how)["peak_memory_mib"]["device"]
    plain, moved = (
        read_pixels(str(tmp_path / f"{how}.nut"), Selection(size=512)).frames_FYX3.astype(int)
        for how in ("none", offload)
    )
    assert abs(plain - moved).max() <= 2
    assert peaks[offload] < peaks["none"]
