"""Video models from their folders, against the pipelines of diffusers that the folders are of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine import tiny
from tests.engine.folder import write_folder
from tests.engine.motion import MOST, write_adapter, write_animatediff, write_i2vgen, write_svd
from tests.engine.video_folder import write_wan
from vedit.engine.sample import Stream, sample
from vedit.errors import ModelError, UsageError
from vedit.models.hub import EMBEDDED_MOTION, layout_named, with_adapter
from vedit.models.layout import ANIMATEDIFF
from vedit.models.load import load_model
from vedit.models.motion.model import FirstFrameModel, MotionModel, VideoDiffusionModel
from vedit.pixels import from_bytes

PROMPT, NEGATIVE, STEPS, GUIDANCE, FRAMES = "a red cat", "big", 3, 3.0, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_animatediff(tmp_path_factory.mktemp("motion") / "animatediff")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("pair")
    return write_folder(root / "pictures"), write_adapter(root / "adapter")


def ours(model: Any, noise: torch.Tensor) -> torch.Tensor:
    stream = Stream("tgt", noise, model.encode_prompt(PROMPT), model.encode_prompt(NEGATIVE), GUIDANCE)
    *_, last = sample(model, model.schedule.timesteps(STEPS), [stream])
    return last.latents["tgt"]


def test_clips_are_those_that_the_pipeline_makes(folder: Path) -> None:
    import diffusers

    model = load_model(str(folder), device="cpu")
    assert isinstance(model, MotionModel) and (model.frame_axis, model.sees_picture) == (True, False)
    noise = torch.randn(FRAMES, 4, tiny.SIDE, tiny.SIDE, generator=torch.Generator().manual_seed(7))
    pipe = diffusers.AnimateDiffPipeline.from_pretrained(str(folder))
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        PROMPT, num_frames=FRAMES, height=32, width=32, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
        negative_prompt=NEGATIVE, latents=noise.transpose(0, 1)[None], output_type="latent",
    ).frames[0].transpose(0, 1)  # fmt: skip
    torch.testing.assert_close(ours(model, noise), theirs, rtol=0, atol=2e-5)


def test_a_model_and_an_adapter_are_a_network_of_clips(folder: Path, pair: tuple[Path, Path]) -> None:
    pictures, adapter = pair
    name = f"{pictures}+{adapter}"
    assert with_adapter(name) == (str(pictures), str(adapter)) and layout_named(name) is ANIMATEDIFF
    made, whole = load_model(name, device="cpu"), load_model(str(folder), device="cpu")
    assert isinstance(made, MotionModel)
    theirs = dict(whole.unet.named_parameters())
    assert {key for key, value in made.unet.named_parameters() if "motion_modules" in key} == {
        key for key in theirs if "motion_modules" in key
    }
    assert torch.equal(made.unet.conv_in.weight, theirs["conv_in.weight"])
    told = made.schedule.identity
    assert told["beta"] == [0.00085, 0.012, "linear"] and told["spacing"] == "linspace"
    assert made.identity()["motion_adapter_sha256"] != made.identity()["unet_sha256"]


def test_a_folder_with_a_plus_in_its_name_is_that_folder(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    copied = Path(shutil.copytree(pair[0], tmp_path / "one+two"))
    assert with_adapter(str(copied)) == (str(copied), None)


def test_the_embedded_adapter_reads_the_words_of_motion() -> None:
    model = load_model(EMBEDDED_MOTION, device="cpu")
    assert model.is_embedded and model.frames(8) == 8
    moving, still = (
        model.encode_prompt(f"a red circle {words} on a grey background")
        for words in ("moving left", "standing still")
    )
    assert moving.shape[1:] == model.text_shape and not torch.equal(moving[:, -1], still[:, -1])
    with pytest.raises(UsageError, match="9 frames at once are too many for shapes-motion"):
        model.frames(9)


def test_more_frames_than_the_layers_know_are_refused_with_what_fits(folder: Path) -> None:
    model = load_model(str(folder), device="cpu")
    with pytest.raises(UsageError) as refused:
        model.frames(2 * MOST)
    assert f"{MOST} places in time" in str(refused.value) and "--stride 2" in str(refused.value)


@pytest.mark.parametrize(
    "spoil, told",
    [
        ({"block_out_channels": [8, 16, 16, 32]}, "widths"),
        ({"conv_in_channels": 9}, "takes 9 channels"),
        ({"_class_name": "ControlNetModel"}, "not a motion adapter"),
    ],
)
def test_an_adapter_of_another_network_is_refused(
    pair: tuple[Path, Path], tmp_path: Path, spoil: dict[str, Any], told: str
) -> None:
    from tests.engine.motion import ADAPTER

    pictures, adapter = pair
    copied = tmp_path / "other"
    if "_class_name" in spoil:
        shutil.copytree(adapter, copied)
        file = copied / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **spoil}))
    else:
        from diffusers import MotionAdapter

        MotionAdapter(**{**ADAPTER, **spoil}).save_pretrained(copied)
    with pytest.raises(ModelError, match=told):
        load_model(f"{pictures}+{copied}", device="cpu")


def test_an_adapter_that_is_nowhere_and_one_for_another_layout_are_explained(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="there is no motion adapter 'nowhere'"):
        load_model(f"{pair[0]}+nowhere", device="cpu")
    with pytest.raises(ModelError, match="is a WanPipeline"):
        load_model(f"{write_wan(tmp_path / 'wan')}+{pair[1]}", device="cpu")


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("size", [(48, 32), (32, 48)])
def test_clips_of_a_first_frame_are_those_that_the_pipeline_makes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    import diffusers
    import numpy as np
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
    from PIL import Image
    from transformers import CLIPTextModel

    folder = write_i2vgen(tmp_path_factory.mktemp("motion") / "i2vgen")
    width, height = size
    picture = np.random.default_rng(2).integers(0, 256, (height, width, 3)).astype(np.uint8)
    noise = torch.randn(FRAMES, 4, height // 4, width // 4, generator=torch.Generator().manual_seed(7))
    model = load_model(str(folder), device="cpu")
    assert isinstance(model, FirstFrameModel) and model.sees_picture
    shown, unshown = model.show(from_bytes(picture[None])[0], FRAMES)
    stream = Stream(
        "tgt",
        noise,
        model.encode_prompt(PROMPT),
        model.encode_prompt(NEGATIVE),
        GUIDANCE,
        shown=shown,
        unshown=unshown,
    )
    *_, last = sample(model, model.schedule.timesteps(STEPS), [stream])
    # what the pipeline draws from the codec is its mean here, and an attribute is the one that transformers had
    monkeypatch.setattr(CLIPTextModel, "text_model", property(lambda self: self), raising=False)
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    pipe = diffusers.I2VGenXLPipeline.from_pretrained(str(folder))
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        PROMPT, Image.fromarray(picture), height=height, width=width, num_frames=FRAMES, target_fps=8,
        num_inference_steps=STEPS, guidance_scale=GUIDANCE, negative_prompt=NEGATIVE,
        latents=noise.transpose(0, 1)[None], output_type="latent",
    ).frames[0].transpose(0, 1)  # fmt: skip
    torch.testing.assert_close(last.latents["tgt"], theirs, rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_clips_of_stable_video_diffusion_are_those_that_its_pipeline_makes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers
    import numpy as np
    from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as module
    from PIL import Image

    folder = write_svd(tmp_path_factory.mktemp("motion") / "svd")
    picture = (
        np.random.default_rng(2).integers(0, 256, (128, 192, 3)).astype(np.uint8)
    )  # smaller, norms are of a pixel or two
    noise = torch.randn(FRAMES, 4, 32, 48, generator=torch.Generator().manual_seed(7))
    model = load_model(str(folder), device="cpu")
    assert isinstance(model, VideoDiffusionModel) and model.native_size == 576
    given = from_bytes(picture[None])[0]
    shown, unshown = model.show(given, FRAMES)
    empty, timesteps = model.encode_prompt(""), model.schedule.timesteps(STEPS)
    stream = Stream("tgt", noise, empty, empty, GUIDANCE, shown=shown, unshown=unshown)
    *_, last = sample(model, timesteps, [stream])
    # what the pipeline draws for the picture is drawn of one seed here
    drawn = torch.randn(given.shape, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **_: drawn.expand(shape))
    pipe = diffusers.StableVideoDiffusionPipeline.from_pretrained(str(folder))
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        Image.fromarray(picture), height=128, width=192, num_frames=FRAMES, num_inference_steps=STEPS,
        min_guidance_scale=GUIDANCE, max_guidance_scale=GUIDANCE, latents=noise[None], output_type="latent",
    ).frames[0]  # fmt: skip
    torch.testing.assert_close(last.latents["tgt"], theirs, rtol=0, atol=2e-4)
    pixels = model.decode_latents(last.latents["tgt"])
    assert pixels.shape == (FRAMES, 3, 128, 192)
