"""Protects vedit/training/shapes_motion.py: the adapter starts as nothing, trains alone, and opens in
diffusers.
"""

import pytest
import torch
from safetensors.torch import load_file

from vedit.data import grammar, vocabulary
from vedit.engine.embedded import TRAVEL, moved, sample_clips
from vedit.models.shapes import motion, parts
from vedit.models.shapes.networks import ClipNetwork, clip_prediction
from vedit.training import shapes_motion
from vedit.training.loop import seeded
from vedit.training.shapes_unet import Denoiser

torch.set_num_threads(1)  # ten times faster for small tensors on a busy machine
CHANNELS = 6


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    return Denoiser(CHANNELS).eval()


@pytest.fixture
def task(base):
    torch.manual_seed(1)
    return shapes_motion.MotionTask(
        parts.codec(CHANNELS).eval(), base, base_name="test", seed=0, batch=2, blocks_of=1
    )


def predicted(unet, base, said="digit 5", frames=3):
    generator = torch.Generator().manual_seed(3)
    noisy = torch.randn(2 * frames, CHANNELS, 16, 16, generator=generator)
    ids = vocabulary.token_ids([said, "a red ring"])
    text = base.text_encoder(ids).last_hidden_state
    with torch.no_grad():
        return (
            noisy,
            text,
            clip_prediction(unet, noisy, torch.tensor([900, 400]), text, vocabulary.motion_words(ids)),
        )


def test_a_fresh_adapter_leaves_every_frame_as_the_denoiser_of_pictures_draws_it(base):
    noisy, text, v = predicted(motion.clip_denoiser(base.unet), base)
    with torch.no_grad():
        alone = base.unet(
            noisy, torch.tensor([900] * 3 + [400] * 3), encoder_hidden_states=text.repeat_interleave(3, dim=0)
        ).sample
    assert torch.allclose(v, alone, atol=1e-4)


def test_a_word_of_motion_is_heard_from_the_start(base):
    unet = motion.clip_denoiser(base.unet)
    *_, still = predicted(unet, base)
    noisy, text, v = predicted(unet, base)
    with torch.no_grad():
        left = clip_prediction(
            unet, noisy, torch.tensor([900, 400]), text, torch.tensor([[1.0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
        )
    assert torch.equal(still, v)
    assert not torch.allclose(left[:3], v[:3], atol=1e-4) and torch.allclose(left[3:], v[3:], atol=1e-5)


def test_motion_words_are_marked_wherever_they_stand():
    ids = vocabulary.token_ids(
        ["digit 5 moving left", "a ring standing still on a grey background", "left up", ""]
    )
    assert vocabulary.motion_words(ids).tolist() == [
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [1, 0, 1, 0, 0],
        [0] * 5,
    ]


def test_only_motion_modules_and_motion_words_train(task):
    task.losses(0)["loss"].backward()
    trained = {name for name, parameter in task.unet.named_parameters() if parameter.requires_grad}
    assert all("motion_modules" in name or "cond_proj" in name for name in trained)
    assert len(trained) == len(list(task.model.parameters()))
    moved = {
        name
        for name, parameter in task.unet.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }
    # what comes before a zero matrix gets no gradient at first
    assert moved == {name for name in trained if ".proj_out." in name or "cond_proj" in name}


def test_what_is_saved_gives_what_was_trained_and_the_base_stays(task, base, tmp_path):
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    torch.manual_seed(2)
    for parameter in task.model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    *_, trained = predicted(task.unet, base)
    task.model.save(tmp_path)
    *_, loaded = predicted(motion.load_clip_denoiser(base.unet, tmp_path), base)
    *_, fresh = predicted(motion.clip_denoiser(base.unet), base)
    assert (
        float((loaded - trained).abs().max()) < 0.02 < float((fresh - trained).abs().max())
    )  # half precision
    assert all(torch.equal(value, before[name]) for name, value in base.unet.state_dict().items())


def test_the_stored_adapter_opens_in_stock_diffusers(task, base, tmp_path):
    from diffusers import MotionAdapter, UNetMotionModel

    task.model.save(tmp_path)
    assert {
        str(tensor.dtype) for file in tmp_path.glob("*.safetensors") for tensor in load_file(file).values()
    } == {"torch.float16"}
    unet = UNetMotionModel.from_unet2d(
        base.unet, MotionAdapter.from_pretrained(tmp_path, torch_dtype=torch.float32)
    )
    noisy, text, v = predicted(motion.load_clip_denoiser(base.unet, tmp_path), base)
    with torch.no_grad():
        stock = unet(
            noisy.unflatten(0, (2, 3)).transpose(1, 2),
            torch.tensor([900, 400]),
            encoder_hidden_states=text.repeat_interleave(3, dim=0),
        ).sample
    assert torch.allclose(
        stock.transpose(1, 2).flatten(0, 1), v, atol=1e-5
    )  # no motion word in these captions


def test_clips_train_on_all_moments_of_a_path_and_mostly_on_high_noise(task):
    assert torch.allclose(task.times(2, seeded(0, 0, 0))[1], torch.arange(8) / 7)
    task.batch = 1000
    timesteps = task.timesteps(seeded(0, 0, 1))
    assert int(timesteps.max()) < 1000
    assert float((timesteps < 250).float().mean()) == pytest.approx(0.25**2, abs=0.005)  # P(1000 u^.5 < 250)


def test_sampling_a_clip_is_a_function_of_prompt_and_seed(base):
    unet = motion.clip_denoiser(base.unet)

    def clip(seed, **settings):
        (latents,) = sample_clips(
            ClipNetwork(unet, parts.schedule()),
            base.text_encoder,
            ["digit 5"],
            steps=1,
            seed=seed,
            **settings,
        )
        return latents

    first = clip(0)
    assert first.shape == (1, 8, CHANNELS, 16, 16)
    assert torch.equal(clip(0), first) and not torch.equal(clip(1), first)
    alone = clip(0, guidance=1.0)
    assert not torch.allclose(first, alone, atol=1e-3)
    # led away from its own prompt, guidance changes nothing
    assert torch.allclose(clip(0, negative="digit 5", guidance=5.0), alone, atol=1e-3)


@pytest.mark.parametrize(
    ("caption", "x", "y"),
    [("moving left", -1, 0), ("moving right", 1, 0), ("moving up", 0, -1), ("moving down", 0, 1), ("", 0, 0)],
)
def test_latents_move_along_the_path_that_the_words_name_and_the_middle_stays(caption, x, y):
    grid = torch.arange(16.0)
    bump = torch.exp(-0.5 * ((grid - 7) ** 2 + (grid[:, None] - 8) ** 2) / 2)[None, None]
    clip = moved(bump, vocabulary.motion_words(vocabulary.token_ids([caption])))[0, :, 0]
    assert clip.shape == (8, 16, 16)
    centres = (
        torch.stack([(clip * grid).sum(dim=(1, 2)), (clip * grid[:, None]).sum(dim=(1, 2))], dim=1)
        / clip.sum(dim=(1, 2))[:, None]
    )
    assert torch.allclose(centres[-1] - centres[0], TRAVEL * torch.tensor([x, y]).float(), atol=0.02)
    assert torch.allclose(centres.mean(dim=0), torch.tensor([7.0, 8.0]), atol=0.02)


def test_frames_share_their_noise_until_the_object_has_its_place(base):
    unet = motion.clip_denoiser(base.unet)
    network = ClipNetwork(unet, parts.schedule())
    clips = sample_clips(network, base.text_encoder, ["a ring moving up"], steps=4, seed=0)
    spread = [
        float(latents[0].std(dim=0).mean()) for latents in clips
    ]  # after the steps from 751, 501, 251 and 1
    assert spread[0] < 1e-4 and min(spread[1:]) > 0.1


def test_motion_is_said_more_often_than_to_the_denoiser_of_pictures(task):
    from vedit.data import scenes

    batch = scenes.sample(300, seeded(0, 0, 2))
    said = [set(caption.split()) & {*grammar.MOTIONS} for caption in task.captions(batch, 0)]
    assert 0.85 < sum(map(bool, said)) / 300 < 0.95
