"""A loaded Wan against diffusers' WanPipeline: its text, its codec, its samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline

from tests.engine.video_folder import write_wan, write_wan22
from vedit.engine.sample import Stream, sample
from vedit.errors import UsageError
from vedit.models.load import load_model
from vedit.models.wan.model import WanModel

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wan(tmp_path_factory.mktemp("wan") / "m")


@pytest.fixture(scope="module")
def model(folder: Path) -> WanModel:
    found = load_model(str(folder))
    assert isinstance(found, WanModel)
    return found


def stock(folder: Path) -> Any:
    pipe = WanPipeline.from_pretrained(str(folder), dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_the_text_is_that_of_the_pipeline_with_zeros_behind_the_last_token(
    model: WanModel, folder: Path
) -> None:
    expected, _ = stock(folder).encode_prompt(
        "a red  cat &amp; dog", do_classifier_free_guidance=False, max_sequence_length=32
    )
    found = model.encode_prompt("a red  cat &amp; dog")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert found.shape == (1, 32, 16) and bool((found[:, 6:] == 0).all())


def test_words_have_their_tokens_without_a_mark_before_them(model: WanModel) -> None:
    prompt = model.words("a red cat")
    assert prompt.places == ((0,), (1,), (2,)) and len(prompt.ids) in (3, 4) and prompt.length == 32


def test_a_prompt_too_long_is_refused_not_cut(model: WanModel) -> None:
    with pytest.raises(UsageError, match="tokens, the model reads"):
        model.encode_prompt("a cat " * 20)


@pytest.mark.parametrize(
    "pictures, filled, latents", [(1, 1, 1), (2, 5, 2), (5, 5, 2), (6, 9, 3), (81, 81, 21), (80, 81, 21)]
)
def test_a_clip_is_filled_up_to_four_k_plus_one(
    model: WanModel, pictures: int, filled: int, latents: int
) -> None:
    assert (model.filled(pictures), model.frames(pictures)) == (filled, latents)


def test_latents_are_the_codec_s_mode_normalised_and_come_back_at_the_size_of_the_clip(
    model: WanModel,
) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(7, 3, 20, 40, generator=generator) * 2 - 1  # filled up to 9 frames of 32x48
    model.vae.register_to_config(latents_mean=[0.1, 0.2, 0.3, 0.4], latents_std=[1.0, 2.0, 3.0, 4.0])
    try:
        found = model.encode_frames(pixels)
        whole = torch.cat([pixels, pixels[-1:].expand(2, -1, -1, -1)])
        whole = torch.nn.functional.pad(whole, (0, 8, 0, 12), mode="replicate")
        with torch.no_grad():
            mode = model.vae.encode(whole.transpose(0, 1)[None]).latent_dist.mode()[0].transpose(0, 1)
        expected = (mode - torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None, None]) / torch.arange(1, 5)[
            :, None, None
        ]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert found.shape == (3, 4, *model.latent_size((40, 20))) == (3, 4, 4, 6)
        back = model.decode_latents(found, size=(40, 20))
        with torch.no_grad():
            decoded = model.vae.decode(mode.transpose(0, 1)[None]).sample[0].transpose(0, 1)
        torch.testing.assert_close(back, decoded[..., :20, :40], rtol=1e-4, atol=1e-4)
    finally:
        model.vae.register_to_config(latents_mean=[0.0] * 4, latents_std=[1.0] * 4)


def test_masks_are_packed_as_the_codec_packs_frames_and_unpacked_again(model: WanModel) -> None:
    mask = torch.zeros(7, 1, 1, 1)
    mask[3] = 0.5
    packed = model.packed(mask)
    assert packed.flatten().tolist() == [0.0, 0.5, 0.0]
    assert model.unpacked(packed, 7).flatten().tolist() == [0, 0.5, 0.5, 0.5, 0.5, 0, 0]
    mask[6] = 1.0
    assert model.packed(mask).flatten().tolist() == [0.0, 0.5, 1.0]


def test_euler_samples_are_those_of_the_pipeline(model: WanModel, folder: Path) -> None:
    noise = torch.randn(1, 4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    pipe = stock(folder)
    expected = pipe(
        "a red cat", "a dog", height=32, width=32, num_frames=9, num_inference_steps=4, guidance_scale=3.0,
        latents=noise, output_type="latent", max_sequence_length=32,
    ).frames  # fmt: skip
    stream = Stream(
        "tgt", noise[0].transpose(0, 1), model.encode_prompt("a red cat"), model.encode_prompt("a dog"), 3.0
    )
    for _ in sample(model, model.schedule.timesteps(4), [stream]):
        pass
    torch.testing.assert_close(stream.latents.transpose(0, 1)[None], expected, rtol=1e-4, atol=1e-5)


def test_two_transformers_sample_as_first_order_unipc_does(tmp_path: Path) -> None:
    folder = write_wan22(tmp_path / "m")
    model = load_model(str(folder))
    assert isinstance(model, WanModel) and model.boundary == 0.875
    noise = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    pipe = stock(folder)
    pipe.scheduler = type(pipe.scheduler).from_config(
        pipe.scheduler.config, solver_order=1, disable_corrector=list(range(9))
    )
    expected = pipe(
        "a red cat", height=32, width=32, num_frames=5, num_inference_steps=6, guidance_scale=1.0,
        latents=noise, output_type="latent", max_sequence_length=32,
    ).frames  # fmt: skip
    stream = Stream("tgt", noise[0].transpose(0, 1), model.encode_prompt("a red cat"))
    asked: list[str] = []
    for name in ("transformer", "transformer_2"):
        getattr(model, name).register_forward_pre_hook(lambda module, args, name=name: asked.append(name))
    timesteps = model.schedule.timesteps(6)
    for _ in sample(model, timesteps, [stream]):
        pass
    told = pipe.scheduler.timesteps.tolist()
    assert asked == ["transformer" if t >= 875 else "transformer_2" for t in told]
    assert len(set(asked)) == 2
    torch.testing.assert_close(stream.latents.transpose(0, 1)[None], expected, rtol=1e-4, atol=1e-4)


def test_too_long_a_clip_and_too_large_a_picture_say_what_would_fit(model: WanModel) -> None:
    with pytest.raises(UsageError, match=r"126 frames at once are too many") as error:
        model.frames(126)
    assert "--frames 125" in str(error.value)
    with pytest.raises(UsageError, match="600x32 pixels are too many"):
        model.latent_size((600, 32))


def test_shapes_without_contents_take_the_same_way(model: WanModel) -> None:
    copy = model.on_meta()
    out = copy.predict(
        torch.empty(1, 3, 4, 4, 4, device="meta"), 500.0, torch.empty(1, 32, 16, device="meta")
    )
    assert out.shape == (1, 3, 4, 4, 4) and out.device.type == "meta"
    coded, decoded = (call() for call in model.codec_on_meta(6, (4, 4)))
    assert coded.latent_dist.mean.shape[2:] == (3, 4, 4) and decoded.shape[2:] == (9, 32, 32)
