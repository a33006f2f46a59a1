"""The adapter for text-to-video pipelines, on tiny random Wan and AnimateDiff folders, against diffusers
called directly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.engine.folder import write_folder  # noqa: E402
from tests.engine.video_folder import write_adapter, write_animatediff, write_wan  # noqa: E402
from vedit.errors import ModelError, UsageError  # noqa: E402
from vedit.models import pipelines  # noqa: E402
from vedit.models.pipelines import (  # noqa: E402
    Order,
    Rules,
    TextToVideo,
    call_parameters,
    load_pipeline,
    rules_of,
    to_frames,
)

ORDER = Order("a cat sitting", seed=3, frames=5, size=(32, 32), steps=2, guidance=2.0)

OFFLOADS = ("none", "model", "sequential", "group")


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wan(tmp_path_factory.mktemp("models") / "wan")


@pytest.fixture(scope="module")
def model(wan: Path) -> TextToVideo:
    return load_pipeline(str(wan), device="cpu")


@pytest.fixture(scope="module")
def animated(tmp_path_factory: pytest.TempPathFactory) -> TextToVideo:
    return load_pipeline(
        str(write_animatediff(tmp_path_factory.mktemp("models") / "animatediff")), device="cpu"
    )


def test_a_wan_clip_is_what_the_pipeline_itself_makes_with_that_seed(wan: Path, model: TextToVideo) -> None:
    from diffusers import WanPipeline

    pipe = WanPipeline.from_pretrained(str(wan), dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    result = pipe(
        "a cat sitting", num_frames=5, width=32, height=32, num_inference_steps=2, guidance_scale=2.0,
        generator=torch.Generator().manual_seed(3), output_type="np",
    )  # fmt: skip
    steps: list[int] = []
    made = model.make(ORDER, lambda: steps.append(1))
    assert np.array_equal(made, np.rint(result.frames[0] * 255).astype(np.uint8))
    assert (made.shape, made.dtype, len(steps)) == ((5, 32, 32, 3), np.uint8, 2)


def test_seeds_decide_the_clip_and_a_negative_prompt_changes_it(model: TextToVideo) -> None:
    first = model.make(ORDER)
    assert np.array_equal(first, model.make(ORDER))
    assert not np.array_equal(first, model.make(ORDER._replace(seed=4)))
    assert not np.array_equal(first, model.make(ORDER._replace(negative="a big dog at night")))


def test_animatediff_runs_with_its_own_rules(animated: TextToVideo) -> None:
    made = animated.make(ORDER._replace(frames=3))
    assert made.shape == (3, 32, 32, 3)
    assert np.array_equal(made, animated.make(ORDER._replace(frames=3)))
    assert animated.rules == Rules(1, 0, 8, 8)
    with pytest.raises(UsageError, match=r"(?s)9 frames are too many.*8 places.*--frames 8"):
        animated.make(ORDER._replace(frames=9))


def test_a_stable_diffusion_folder_and_a_motion_adapter_make_an_animatediff(tmp_path: Path) -> None:
    made = load_pipeline(
        str(write_folder(tmp_path / "sd")),
        device="cpu",
        motion_adapter=str(write_adapter(tmp_path / "adapter")),
    )
    assert made.kind == "AnimateDiffPipeline"
    assert made.pipe.scheduler.config.beta_schedule == "linear"
    assert made.make(ORDER._replace(frames=2)).shape == (2, 32, 32, 3)


def test_the_rules_of_wan_are_read_from_its_parts(model: TextToVideo) -> None:
    assert model.rules == Rules(4, 1, None, 16)
    assert model.rate(None) == 16
    assert model.rate(10) == 10


@pytest.mark.parametrize(
    ("factor", "default", "rest"),
    [(4, 81, 1), (8, 161, 1), (6, 19, 1), (4, 88, 0), (4, 132, 0), (1, 16, 0)],
)
def test_whether_the_first_frame_stands_alone_is_told_by_the_default(
    factor: int, default: int, rest: int
) -> None:
    """The defaults of Wan, LTX, Mochi, Allegro, Helios and AnimateDiff."""

    class Pipe:
        vae_scale_factor_temporal = factor

        def __call__(self, prompt: str = "", num_frames: int = default) -> None: ...

    rules = rules_of(Pipe(), call_parameters(Pipe))
    assert rules.rest % rules.factor == rest % factor
    rules.check_frames(default)


@pytest.mark.parametrize(
    ("frames", "advice"),
    [(10, "--frames 9 or --frames 13"), (4, "--frames 1 or --frames 5"), (80, "--frames 77 or --frames 81")],
)
def test_frames_that_do_not_fit_are_explained_with_those_that_do(
    model: TextToVideo, frames: int, advice: str
) -> None:
    with pytest.raises(UsageError) as caught:
        model.make(ORDER._replace(frames=frames))
    assert "4k + 1" in caught.value.right
    assert advice in caught.value.next_step


@pytest.mark.parametrize(("size", "advice"), [((40, 32), "32x32"), ((100, 50), "96x48"), ((8, 8), "16x16")])
def test_sides_that_do_not_fit_are_explained_with_those_that_do(
    model: TextToVideo, size: tuple[int, int], advice: str
) -> None:
    with pytest.raises(UsageError) as caught:
        model.make(ORDER._replace(size=size))
    assert "multiples of 16" in caught.value.right
    assert f"--size {advice}" in caught.value.next_step


def test_what_fits_passes() -> None:
    for frames in (1, 5, 81):
        Rules(4, 1).check_frames(frames)
    for frames in (4, 88):
        Rules(4, 0).check_frames(frames)
    Rules(multiple=16).check_size(832, 480)


def test_further_arguments_are_held_against_the_signature(model: TextToVideo) -> None:
    model.make(ORDER._replace(more={"max_sequence_length": 16}))
    with pytest.raises(UsageError, match="did you mean guidance_scale"):
        model.make(ORDER._replace(more={"guidanse_scale": 2}))
    with pytest.raises(UsageError, match="option of its own"):
        model.make(ORDER._replace(more={"num_frames": 5}))
    for name in ("prompt_embeds", "callback_on_step_end", "latents", "generator", "output_type"):
        assert name not in model.settable()


def test_an_option_that_the_pipeline_lacks_is_an_error(model: TextToVideo) -> None:
    class Plain:
        def __call__(self, prompt: str = "", num_frames: int = 8, generator: Any = None) -> None: ...

    plain = TextToVideo("plain", Plain(), torch.device("cpu"))
    for change in ({"guidance": 2.0}, {"negative": "x"}, {"steps": 3}, {"size": (32, 32)}):
        with pytest.raises(UsageError, match=f"has no --{next(iter(change))}"):
            plain.arguments(Order("a cat", **change))  # type: ignore[arg-type]
    assert set(plain.arguments(Order("a cat", frames=4))) == {"prompt", "generator", "num_frames"}


def test_the_pipelines_own_refusal_becomes_a_usage_error(model: TextToVideo) -> None:
    with pytest.raises(UsageError, match="WanPipeline refuses"):
        model.make(ORDER._replace(more={"guidance_scale_2": 3.0}))


@pytest.mark.parametrize(
    "name",
    ["WanPipeline", "LTXPipeline", "CogVideoXPipeline", "HunyuanVideoPipeline", "HunyuanVideo15Pipeline", "MochiPipeline", "AllegroPipeline", "LattePipeline",
     "AnimateDiffPipeline", "AnimateDiffSDXLPipeline", "EasyAnimatePipeline", "SkyReelsV2Pipeline", "SanaVideoPipeline", "Kandinsky5T2VPipeline",
     "CosmosTextToWorldPipeline", "LTX2Pipeline", "HeliosPipeline", "MotifVideoPipeline", "TextToVideoSDPipeline", "TextToVideoZeroPipeline"],
)  # fmt: skip
def test_every_text_to_video_class_of_diffusers_is_taken(name: str) -> None:
    import diffusers

    kind = getattr(diffusers, name, None)
    if kind is None:
        pytest.skip(f"this diffusers has no {name}")
    assert pipelines.check_text_to_video("m", {"_class_name": name}) is kind


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ({"_class_name": "StableDiffusionPipeline"}, "pictures, not clips.*motion-adapter"),
        ({"_class_name": "FluxPipeline"}, "pictures, not clips"),
        ({"_class_name": "WanImageToVideoPipeline"}, "needs image"),
        ({"_class_name": "StableVideoDiffusionPipeline"}, "needs image"),
        ({"_class_name": "NoSuchPipeline"}, "does not have"),
        ({"_class_name": ["pipeline.py", "MyPipeline"]}, "code of its own"),
        ({}, "code of its own"),
    ],
)
def test_other_families_are_refused_and_told(index: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=f"(?s){said}"):
        pipelines.check_text_to_video("m", index)


def test_a_motion_adapter_goes_into_stable_diffusion_only(wan: Path) -> None:
    with pytest.raises(ModelError, match="StableDiffusionPipeline"):
        load_pipeline(str(wan), device="cpu", motion_adapter="a/b")


def test_a_folder_without_its_parts_is_a_model_error(wan: Path, tmp_path: Path) -> None:
    import shutil

    with pytest.raises(ModelError, match="cannot be read"):
        load_pipeline(str(tmp_path), device="cpu")
    broken = shutil.copytree(wan, tmp_path / "broken")
    shutil.rmtree(broken / "vae")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_pipeline(str(broken), device="cpu")
    shutil.copytree(wan / "vae", broken / "vae")
    (weights,) = (broken / "transformer").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_pipeline(str(broken), device="cpu")
    (broken / "model_index.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        load_pipeline(str(broken), device="cpu")


def test_a_network_that_lacks_a_tensor_is_refused_and_not_made_up(wan: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    lacking = shutil.copytree(wan, tmp_path / "lacking")
    (path,) = (lacking / "transformer").glob("*.safetensors")
    tensors = load_file(path)
    del tensors["proj_out.weight"]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"transformer lacks 1 tensors, such as proj_out\.weight"):
        load_pipeline(str(lacking), device="cpu")


def test_code_in_a_folder_is_not_run(wan: Path, tmp_path: Path) -> None:
    import shutil

    trap = shutil.copytree(wan, tmp_path / "trap")
    (trap / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass MyPart:\n    pass\n")
    index = json.loads((trap / "model_index.json").read_text())
    (trap / "model_index.json").write_text(json.dumps({**index, "transformer": ["mine", "MyPart"]}))
    shutil.copy(trap / "mine.py", trap / "transformer" / "mine.py")
    with pytest.raises(ModelError):
        load_pipeline(str(trap), device="cpu")
    assert not (tmp_path / "ran").exists()


def test_offloading_needs_a_gpu_and_tiling_an_autoencoder_that_can(wan: Path, model: TextToVideo) -> None:
    for offload in OFFLOADS[1:]:
        with pytest.raises(UsageError, match="device is the CPU"):
            load_pipeline(str(wan), device="cpu", offload=offload)
    tiled = load_pipeline(str(wan), device="cpu", vae_tiling=True)
    assert tiled.pipe.vae.use_tiling
    assert tiled.make(ORDER).shape == (5, 32, 32, 3)


@pytest.mark.gpu
@pytest.mark.parametrize("offload", OFFLOADS)
def test_every_offload_gives_the_clip_that_the_gpu_alone_gives(
    wan: Path, model: TextToVideo, offload: str
) -> None:
    on_gpu = load_pipeline(str(wan), device="cuda", dtype="fp32", offload=offload)
    assert (
        np.abs(on_gpu.make(ORDER).astype(int) - model.make(ORDER)).max() <= 2
    )  # the noise is that of the CPU; sums differ in their last bits


def test_wan_2_2_of_5b_plays_faster(wan: Path, tmp_path: Path, model: TextToVideo) -> None:
    import copy

    larger = copy.copy(model)
    larger.pipe = copy.copy(model.pipe)
    larger.pipe.register_to_config(expand_timesteps=True)
    assert larger.rate(None) == 24


def test_the_precision_is_that_of_every_part(wan: Path) -> None:
    half = load_pipeline(str(wan), device="cpu", dtype="bf16")
    assert {part.dtype for part in (half.pipe.transformer, half.pipe.text_encoder)} == {torch.bfloat16}


@pytest.mark.parametrize("form", ["batch", "list", "tensor", "pictures", "bytes", "alpha"])
def test_every_form_of_result_becomes_the_same_frames(form: str) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    wanted = rng.integers(0, 256, (3, 4, 5, 3), np.uint8)
    shares = wanted.astype(np.float32) / 255
    results: dict[str, Any] = {
        "batch": shares[None],
        "list": [shares],
        "tensor": torch.from_numpy(shares)[None],
        "pictures": [[Image.fromarray(frame) for frame in wanted]],
        "bytes": wanted[None],
        "alpha": np.concatenate([shares, np.ones((3, 4, 5, 1), np.float32)], -1)[None],
    }
    assert np.array_equal(to_frames(results[form]), wanted)


def test_what_is_no_number_is_black() -> None:
    assert to_frames(np.full((1, 2, 4, 4, 3), np.nan)).max() == 0


def test_older_callbacks_are_counted_too() -> None:
    class Old:
        def __call__(
            self,
            prompt: str = "",
            num_frames: int = 2,
            num_inference_steps: int = 2,
            callback: Any = None,
            callback_steps: int = 1,
            generator: Any = None,
        ) -> Any:
            for step in range(num_inference_steps):
                callback(step, 0, None)
            return type("Result", (), {"frames": np.zeros((1, num_frames, 4, 4, 3))})

    steps: list[int] = []
    TextToVideo("old", Old(), torch.device("cpu")).make(Order("a cat", steps=3), lambda: steps.append(1))
    assert len(steps) == 3
