"""A loaded LTX-Video against diffusers' LTXPipeline and LTXConditionPipeline: text, codec, levels, samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTXConditionPipeline, LTXPipeline

from tests.engine.video_folder import ltx_transformer, write_ltx
from vedit.engine.sample import Stream, sample
from vedit.errors import ModelError, UsageError
from vedit.models.load import load_model
from vedit.models.ltx.model import LTXModel

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ltx(tmp_path_factory.mktemp("ltx") / "m")


@pytest.fixture(scope="module")
def model(folder: Path) -> LTXModel:
    found = load_model(str(folder))
    assert isinstance(found, LTXModel)
    return found


def stock(folder: Path, kind: Any = LTXPipeline) -> Any:
    pipe = kind.from_pretrained(str(folder), dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_the_text_is_that_of_the_pipeline_as_far_as_its_mask_goes(model: LTXModel, folder: Path) -> None:
    expected, mask, _, _ = stock(folder).encode_prompt(
        "a red cat", do_classifier_free_guidance=False, max_sequence_length=32
    )
    found = model.encode_prompt("a red cat")
    torch.testing.assert_close(found, expected * mask[..., None], rtol=0, atol=1e-6)
    assert torch.equal((found != 0).any(-1), mask) and mask.sum() == 4
    with pytest.raises(UsageError, match="tokens, the model reads"):
        model.encode_prompt("a cat " * 20)


@pytest.mark.parametrize(
    "pictures, filled, latents", [(1, 1, 1), (2, 9, 2), (9, 9, 2), (10, 17, 3), (161, 161, 21)]
)
def test_a_clip_is_filled_up_to_eight_k_plus_one(
    model: LTXModel, pictures: int, filled: int, latents: int
) -> None:
    assert (model.filled(pictures), model.frames(pictures)) == (filled, latents)


def test_latents_are_normalised_and_come_back_at_the_size_of_the_clip(model: LTXModel, folder: Path) -> None:
    pixels = torch.rand(7, 3, 20, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole = torch.cat([pixels, pixels[-1:].expand(2, -1, -1, -1)])
    whole = torch.nn.functional.pad(whole, (0, 24, 0, 12), mode="replicate")
    vae = model.vae
    with torch.no_grad():
        mode = vae.encode(whole.transpose(0, 1)[None]).latent_dist.mode()
        expected = LTXPipeline.__dict__["_denormalize_latents"].__func__  # its own way back
        found = model.encode_frames(pixels)
        assert found.shape == (2, 4, *model.latent_size((40, 20))) == (2, 4, 1, 2)
        given = expected(found.transpose(0, 1)[None], vae.latents_mean, vae.latents_std, 0.5)
        torch.testing.assert_close(given, mode, rtol=1e-5, atol=1e-5)
        decoded = vae.decode(mode, None).sample[0].transpose(0, 1)
        back = model.decode_latents(found, size=(40, 20))
        torch.testing.assert_close(back, decoded[..., :20, :40], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size, frames", [((64, 32), 9), ((128, 96), 17)])
def test_samples_are_those_of_the_pipeline_whatever_the_size(
    model: LTXModel, folder: Path, size: tuple[int, int], frames: int
) -> None:
    here = model.for_clip(size, frames, 12.0)
    (width, height), count = size, here.frames(frames)
    noise = torch.randn(count, 4, height // 32, width // 32, generator=torch.Generator().manual_seed(1))
    pipe = stock(folder)
    expected = pipe(
        "a red cat", "a dog", height=height, width=width, num_frames=frames, frame_rate=12,
        num_inference_steps=4, guidance_scale=3.0, max_sequence_length=32, output_type="latent",
        latents=noise.permute(0, 2, 3, 1).flatten(0, 2)[None],
    ).frames  # fmt: skip
    stream = Stream("tgt", noise, here.encode_prompt("a red cat"), here.encode_prompt("a dog"), 3.0)
    for _ in sample(here, here.schedule.timesteps(4), [stream]):
        pass
    assert here.schedule.timesteps(4) == pytest.approx(pipe.scheduler.timesteps.tolist(), rel=1e-5)
    found = stream.latents.permute(0, 2, 3, 1).flatten(0, 2)[None]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
def test_a_model_of_0_9_5_samples_and_decodes_as_its_own_pipeline(tmp_path: Path) -> None:
    folder = write_ltx(tmp_path / "m", late=True)
    loaded = load_model(str(folder))
    assert isinstance(loaded, LTXModel) and loaded.moving is None and loaded.grid.is_causal
    model = loaded.for_clip((64, 64), 17, 30.0)
    pipe = stock(folder, LTXConditionPipeline)
    asked: dict[str, Any] = {
        "prompt": "a red cat", "negative_prompt": "a dog", "height": 64, "width": 64, "num_frames": 17,
        "frame_rate": 30, "num_inference_steps": 5, "guidance_scale": 3.0, "max_sequence_length": 32,
    }  # fmt: skip
    expected = pipe(**asked, output_type="latent", generator=torch.Generator().manual_seed(3)).frames
    noise = torch.randn(1, 4, 3, 2, 2, generator=torch.Generator().manual_seed(3))[0].transpose(0, 1)
    stream = Stream("tgt", noise, model.encode_prompt("a red cat"), model.encode_prompt("a dog"), 3.0)
    for _ in sample(model, model.schedule.timesteps(5), [stream]):
        pass
    torch.testing.assert_close(stream.latents.transpose(0, 1)[None], expected, rtol=0, atol=1e-5)
    pixels, again = (model.decode_latents(stream.latents) for _ in range(2))
    assert torch.equal(pixels, again) and pixels.shape == (17, 3, 64, 64)  # its noise is always the same
    clean = stream.latents.transpose(0, 1)[None]
    mean, std = (part.view(1, -1, 1, 1, 1) for part in model.normal())
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        given = 0.975 * (clean * std + mean) + 0.025 * noise  # as its pipeline mixes them
        torch.manual_seed(0)
        decoded = model.vae.decode(given, torch.tensor([0.05])).sample[0].transpose(0, 1)
    torch.testing.assert_close(pixels, decoded, rtol=1e-4, atol=1e-4)


def test_shapes_without_contents_take_the_same_way(model: LTXModel) -> None:
    out = model.on_meta().predict(
        torch.empty(1, 3, 4, 4, 4, device="meta"), 500.0, torch.empty(1, 32, 16, device="meta")
    )
    assert out.shape == (1, 3, 4, 4, 4) and out.device.type == "meta"
    coded, decoded = (call() for call in model.codec_on_meta(10, (2, 2)))
    assert coded.latent_dist.mean.shape[2:] == (3, 2, 2) and decoded.shape[2:] == (17, 64, 64)


def test_parts_of_different_models_and_levels_that_are_none_are_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    broken = Path(shutil.copytree(folder, tmp_path / "m"))
    path = broken / "scheduler" / "scheduler_config.json"
    levels = json.loads(path.read_text())
    path.write_text(json.dumps({**levels, "shift_terminal": 1.5}))
    with pytest.raises(ModelError, match=r"not levels of a flow: its shift_terminal is 1\.5"):
        load_model(str(broken))
    path.write_text(json.dumps({**levels, "max_image_seq_len": 1024}))
    with pytest.raises(ModelError, match="between"):
        load_model(str(broken))
    path.write_text(json.dumps(levels))
    ltx_transformer(caption_channels=24).save_pretrained(broken / "transformer")
    with pytest.raises(ModelError, match="reads text of width 24, and the text encoder gives 16"):
        load_model(str(broken))
