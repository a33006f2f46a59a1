"""Protects vedit/training/shapes*.py: the parts fit together, and their algebra is exact."""

import contextlib
import math

import pytest
import torch
from safetensors.torch import load_file

from vedit.data import grammar, scenes, vocabulary
from vedit.engine.invert import invert
from vedit.engine.sample import Stream, sample
from vedit.errors import Stopped
from vedit.models.shapes import judge, parts
from vedit.training import shapes_codec, shapes_gates, shapes_judge, shapes_scorer, shapes_unet
from vedit.training.loop import Options, latest_state, seeded, train


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return parts.codec().eval()


def test_the_schedule_leaves_almost_no_signal_at_its_last_step():
    # The sum of beta is 1000 times the mean of a squared line from sqrt(.00085) to sqrt(.03):
    # 11.97; half the sum of its squares, 0.11, is what log(1 - beta) adds.
    left = math.sqrt(parts.scheduler().alphas_cumprod[-1])
    assert left == pytest.approx(math.exp(-(11.97 + 0.11) / 2), rel=0.01)


# --- codec -----------------------------------------------------------------------------------


def code(model, pictures):
    posterior = model.encode(pictures).latent_dist
    return posterior, model.decode(posterior.mean).sample


@torch.no_grad()
def test_standardising_changes_the_latents_and_not_the_decoded_picture(codec):
    pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before, decoded = code(codec, pictures)
    mean, std = before.mean.mean(dim=(0, 2, 3)), before.mean.std(dim=(0, 2, 3))
    copy = parts.codec().eval()
    copy.load_state_dict(codec.state_dict())
    shapes_codec.standardise(copy, mean, std)
    after, decoded_after = code(copy, pictures)
    assert torch.allclose(decoded_after, decoded, atol=1e-4)
    assert torch.allclose(after.mean.mean(dim=(0, 2, 3)), torch.zeros(8), atol=1e-4)
    assert torch.allclose(after.mean.std(dim=(0, 2, 3)), torch.ones(8), atol=1e-3)
    assert torch.allclose(after.std * std[:, None, None], before.std, rtol=1e-3)


@torch.no_grad()
def test_cutting_a_channel_that_never_moves_changes_nothing_inside_the_picture(codec):
    still = parts.codec().eval()
    still.load_state_dict(codec.state_dict())
    still.quant_conv.weight[[2, 5]] = 0  # the means of channels 2 and 5 are now their biases
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    posterior, _ = code(still, pictures)
    kept = torch.tensor([0, 1, 3, 4, 6, 7])
    small = shapes_codec.without_channels(still, kept, posterior.mean.mean(dim=(0, 2, 3)))
    after = small.encode(pictures).latent_dist
    assert small.config.latent_channels == 6
    assert torch.allclose(after.mean, posterior.mean[:, kept], atol=1e-5)
    assert torch.allclose(after.logvar, posterior.logvar[:, kept], atol=1e-5)
    first = [
        still.decoder.conv_in(still.post_quant_conv(posterior.mean)),
        small.decoder.conv_in(small.post_quant_conv(after.mean)),
    ]
    inside = [maps[:, :, 1:-1, 1:-1] for maps in first]
    assert torch.allclose(*inside, atol=1e-5)


def test_training_crops_hold_the_object():
    whole = shapes_codec.training_pictures(32, seeded(0, 0, 0), crop=False)
    crops = shapes_codec.training_pictures(32, seeded(0, 0, 0), crop=True)
    assert crops.shape == (32, 3, 32, 32)
    for picture, crop in zip(whole, crops, strict=True):
        places = picture.unfold(1, 32, 1).unfold(2, 32, 1)
        assert ((places - crop[:, None, None]).abs().amax(dim=(0, 3, 4)) == 0).any()


# --- denoiser --------------------------------------------------------------------------------


def test_stratified_timesteps_hold_one_of_each_slice():
    timesteps = shapes_unet.stratified_timesteps(20, 1000, seeded(0, 0, 0))
    assert sorted((timesteps // 50).tolist()) == list(range(20))


def test_the_latent_mask_covers_the_object_and_one_cell_around_it():
    cover = torch.zeros(1, 64, 64)
    cover[0, 32:36, 32:36] = 1  # exactly latent cell (8, 8)
    mask = shapes_unet.latent_mask(cover)[0]
    assert mask[7:10, 7:10].sum() == 9 and mask.sum() == 9


def denoise(folder, *, seed, stop=None):
    """Train three steps of two pictures, two steps to a block; return the losses."""
    torch.manual_seed(0)
    task = shapes_unet.UNetTask(parts.codec(), None, seed=seed, batch=2, blocks_of=1, reuse=2)
    task.measure = lambda model, step: {}
    options = Options(rate=1e-3, steps=3, log_every=1, seed=seed)
    reports = []
    with contextlib.suppress(Stopped):
        for report in train(task, options, folder, lambda: len(reports) == stop):
            reports.append(report.losses["loss"])
    return reports


def test_the_first_losses_of_a_seed_are_always_the_same_and_other_seeds_differ(tmp_path):
    first = denoise(tmp_path / "a", seed=1)
    assert denoise(tmp_path / "b", seed=1) == first
    assert denoise(tmp_path / "c", seed=2)[0] != first[0]


def test_the_denoiser_goes_on_inside_a_block_to_the_same_bits(tmp_path):
    whole = denoise(tmp_path / "whole", seed=1)
    cut = denoise(tmp_path / "cut", seed=1, stop=1) + denoise(tmp_path / "cut", seed=1)
    assert cut[:1] + cut[-2:] == whole and len(cut) >= 3
    ends = [load_file(latest_state(tmp_path / name) / "model.safetensors") for name in ("whole", "cut")]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_dropped_captions_are_empty_and_about_a_tenth():
    task = shapes_unet.UNetTask(parts.codec(), None, seed=0, batch=400, blocks_of=1)
    batch = scenes.sample(400, seeded(0, 0, 0))
    ids = task._token_ids(batch, 0, seeded(0, 0, 1))
    empty = (ids == vocabulary.token_ids([""])).all(dim=1)
    assert 20 <= int(empty.sum()) <= 62


# --- inversion -------------------------------------------------------------------------------


class Gaussian:
    """The exact v-prediction when clean latents are N(0, variance), at the embedded model's noise levels."""

    frame_axis, sees_picture, network_dtype = False, False, torch.float32
    schedule = parts.schedule()

    def __init__(self, variance):
        self.variance = variance

    def predict(self, latents, timestep, text):
        a = self.schedule.level(timestep)
        total = a * self.variance + 1 - a
        return latents * (a**0.5 * (1 - a) ** 0.5 * (1 - self.variance)) / total


def test_fixed_point_inversion_returns_closer_than_plain_inversion():
    network, timesteps, text = Gaussian(0.3), parts.schedule().timesteps(25), torch.zeros(1, 1, 1)
    clean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.3**0.5
    errors = []
    for passes in (0, 1, 8):
        *_, noise = invert(network, timesteps, clean, text, fixed_point=passes)
        *_, back = sample(network, timesteps, [Stream("src", noise.latents, text)])
        errors.append(float((back.latents["src"] - clean).abs().max()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-4


def test_inverted_gaussian_latents_approach_unit_deviation_with_many_steps():
    clean = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.5
    *_, noise = invert(
        Gaussian(0.25), parts.schedule().timesteps(500), clean, torch.zeros(1, 1, 1), fixed_point=2
    )
    assert float(noise.latents.std()) == pytest.approx(1.0, abs=0.03)


def test_wilson_interval_of_nine_in_ten():
    assert shapes_gates.interval(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-3)
    assert shapes_gates.interval(0, 0) == (0.0, 1.0)


# --- scorer and judge ------------------------------------------------------------------------


def test_variants_share_every_nuisance_and_differ_where_asked():
    batch = shapes_scorer.variants(3, seeded(0, 0, 0), shapes_scorer.SHAPE_FIRST)
    assert len(batch) == 24
    for values in batch.floats.values():
        assert (values.view(3, 8, -1) == values.view(3, 8, -1)[:, :1]).all()
    shape = batch.fields["shape"].view(3, 8)
    assert (shape[:, 1:5] != shape[:, :1]).all() and (shape[:, 5] == shape[:, 0]).all()
    size = batch.fields["size"].view(3, 8)
    assert (size[:, 5] != size[:, 0]).all()


def test_the_other_shape_of_a_digit_is_a_digit_and_of_a_shape_a_shape():
    batch = shapes_scorer.variants(64, seeded(1, 0, 0), shapes_scorer.SHAPE_FIRST)
    is_digit = (batch.fields["shape"] >= len(grammar.SHAPES)).view(64, 8)
    assert (is_digit == is_digit[:, :1]).all() and is_digit[:, 0].any() and not is_digit[:, 0].all()
    assert int(batch.fields["shape"].max()) < len(grammar.FIELDS["shape"])


def test_contrastive_loss_is_that_of_open_clip_when_no_pair_is_masked():
    from open_clip.loss import ClipLoss

    generator = torch.Generator().manual_seed(0)
    image, text = (
        torch.nn.functional.normalize(torch.randn(6, 5, generator=generator), dim=1) for _ in range(2)
    )
    expected = ClipLoss()(image, text, torch.tensor(7.0))
    nothing = torch.zeros(6, 6, dtype=torch.bool)
    assert torch.allclose(shapes_scorer.contrastive_loss(image, text, torch.tensor(7.0), nothing), expected)


def test_pairs_that_say_the_same_are_found_and_the_diagonal_is_not():
    batch = scenes.stack(scenes.sample_records(4, seed=1))
    doubled = batch[torch.tensor([0, 1, 0])]
    assert shapes_scorer.same_pairs(doubled).tolist() == [
        [False, False, True],
        [False] * 3,
        [True, False, False],
    ]


def test_softening_keeps_a_flat_picture_flat_but_for_noise():
    soft = shapes_judge.soften(torch.full((8, 3, 64, 64), 0.5), seeded(0, 0, 0))
    assert float((soft.mean(dim=(2, 3)) - 0.5).abs().max()) < 0.005
    assert float(soft.flatten(1).std(dim=1).max()) < 0.065


def test_the_judge_names_a_value_of_every_field():
    torch.manual_seed(0)
    verdict = judge.Judge().verdict(torch.rand(2, 3, 64, 64))
    assert list(verdict) == list(judge.JUDGED)
    for name, said in verdict.items():
        assert said.shape == (2,) and int(said.max()) < len(grammar.FIELDS[name])
