"""Protects vedit/training/shapes_video.py: what is learnt, from whom, at which levels; and that it is learnt."""

import pytest
import torch

from vedit.data import grammar, scenes
from vedit.engine.embedded import sample_videos
from vedit.models.flow import shifted
from vedit.models.shapes import parts, video
from vedit.models.shapes.judge import Judge
from vedit.training import shapes_video
from vedit.training.loop import Options, latest_state, seeded, tensors_of, train
from vedit.training.shapes_unet import Denoiser

torch.set_num_threads(1)  # ten times faster for small tensors on a busy machine
CHANNELS = 6
MOTION_OF = {step: name for name, step in scenes.STEP_XY.items()}
pytestmark = pytest.mark.usefixtures("small")
OPTIONS = Options(rate=3e-3, warmup=1, log_every=1, save_every=10**9, measure_every=10**9)


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    return parts.codec(CHANNELS).eval(), Judge().eval(), Denoiser(CHANNELS).eval()


def build(base, **settings):
    codec, judge, picture = base
    given = {"frames": 1, "batch": 2, "blocks_of": 1, "reuse": 2, "seed": 0, **settings}
    return shapes_video.VideoTask(codec, given.pop("judge", judge), picture, **given)


def test_levels_are_spread_evenly():
    levels = shapes_video.stratified_levels(8, seeded(0, 0, 0))
    assert sorted((8 * levels).long().tolist()) == list(range(8))


class Gaussian:
    """The exact picture model of latents that are Gaussian with variance `power`, on the schedule `signal_T`."""

    def __init__(self, power, signal_T):
        self.power, self.signal_T = power, signal_T

    def __call__(self, noisy, timestep, encoder_hidden_states):
        before = timestep.floor().long().clamp_max(len(self.signal_T) - 2)
        signal = torch.lerp(self.signal_T[before], self.signal_T[before + 1], timestep - before).view(
            -1, 1, 1, 1
        )
        noise = (1 - signal.square()).sqrt()
        v = noisy * signal * noise * (1 - self.power) / (signal.square() * self.power + noise.square())
        return type("Output", (), {"sample": v})


@pytest.mark.parametrize("level", [0.05, 0.3, 0.5, 0.9])
def test_the_teacher_gives_the_mean_velocity_of_the_straight_path(level):
    power, alpha_bar = 0.3, parts.scheduler().alphas_cumprod
    teacher = shapes_video.Teacher(Gaussian(power, alpha_bar.sqrt()), alpha_bar)
    noisy = torch.randn(3, CHANNELS, 4, 4, generator=torch.Generator().manual_seed(0))
    v = teacher.velocity(noisy, torch.full((3,), level), torch.zeros(3, 2, 2))
    # x and n are Gaussian, so E[n - x | z] = z (s - (1 - s) p) / ((1 - s)^2 p + s^2)
    wanted = noisy * (level - (1 - level) * power) / ((1 - level) ** 2 * power + level**2)
    assert torch.allclose(v, wanted, atol=2e-4)


def test_the_teacher_knows_levels_within_its_schedule():
    alpha_bar = parts.scheduler().alphas_cumprod
    teacher = shapes_video.Teacher(None, alpha_bar)
    assert teacher.knows(torch.tensor([0.001, 0.03, 0.99, 0.9999])).tolist() == [False, True, True, False]
    assert torch.allclose(
        teacher.timesteps(alpha_bar.sqrt()[[0, 400, 999]]), torch.tensor([0.0, 400.0, 999.0]), atol=1e-2
    )


def test_without_a_teacher_the_loss_is_the_distance_to_noise_less_data(base, monkeypatch):
    task = build(base, judge=None, taught=False, mask_weight=0.0)
    seen = {}

    def half(network, noisy_BCFYX, level_B, text_BLE):
        seen["noisy"], seen["level"] = noisy_BCFYX, level_B
        return torch.zeros_like(noisy_BCFYX)

    monkeypatch.setattr(video, "predict", half)
    loss = float(task.losses(0)["loss"])
    generator = seeded(0, 3, 0)
    latents, _, _ = task._batch(0, generator)
    noise = torch.randn(latents.shape, generator=generator)
    level = shapes_video.stratified_levels(2, generator)
    assert torch.equal(seen["level"], level)
    assert torch.allclose(
        seen["noisy"][:, :, 0],
        (1 - level[:, None, None, None]) * latents + level[:, None, None, None] * noise,
        atol=1e-6,
    )
    assert loss == pytest.approx(float((noise - latents).square().mean()), rel=1e-5)


def test_an_answer_of_the_teacher_is_heard_twice_by_the_scene_it_was_given_for(base):
    task = build(base, batch=4, blocks_of=2, reuse=4)
    asked = []
    answer = task.teacher.velocity
    task.teacher.velocity = lambda *given: asked.append(0) or answer(*given)
    heard = [
        {int(row): value for row, value in zip(lesson["rows"], lesson["wanted"], strict=True)}
        for lesson in map(task._repeated, range(8))
    ]
    turns = [heard[0] | heard[1], heard[2] | heard[3], heard[4] | heard[5]]
    assert [sorted(turn) for turn in turns] == [list(range(8))] * 3 and sorted(heard[0]) != sorted(heard[2])
    assert all(
        torch.equal(turns[0][row], turns[1][row]) and not torch.equal(turns[0][row], turns[2][row])
        for row in range(8)
    )
    assert len(asked) == 4  # batches, of eight
    fresh = build(base, batch=4, blocks_of=2, reuse=4)._repeated(3)  # as a resumed run begins
    assert torch.equal(fresh["wanted"], torch.stack([heard[3][int(row)] for row in fresh["rows"]]))


def test_clips_have_five_moments_and_mostly_say_how_they_move(base):
    task = build(base, frames=5)
    assert task.times(2, seeded(0, 0, 0))[1].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert task.teacher is None and task.pictures(0) == 10
    said = [
        set(caption.split()) & {*grammar.MOTIONS}
        for caption in task.captions(scenes.sample(300, seeded(0, 0, 2)), 0)
    ]
    assert 0.85 < sum(map(bool, said)) / 300 < 0.95


def test_pairs_are_the_ends_of_a_part_of_any_length(base):
    task = build(base, frames=5, seen=2)
    places = [task.places(step) for step in range(2000)]
    lengths = torch.tensor([last - first for first, last in places])
    assert {tuple(pair) for pair in places} == {(a, b) for b in range(5) for a in range(b)}
    shares = torch.bincount(lengths, minlength=5)[1:] / len(places)
    assert shares.sub(0.25).abs().max() < 0.04  # four standard errors
    assert build(base, frames=5).places(0) == [0, 1, 2, 3, 4]


def test_a_pair_is_seen_at_the_places_it_has_in_the_clip(base, monkeypatch):
    """The network hears frames 1 and 4 of a clip with the rotary angles of frames 1 and 4."""
    task = build(base, frames=5, seen=2)
    monkeypatch.setattr(task, "places", lambda step: [1, 4])
    heard = []
    rope = task.model.transformer.rope
    rope.register_forward_hook(lambda module, inputs, angles: heard.append((inputs[0].shape, angles)))
    task.losses(0)
    (shape, (cos, sin)), row = heard[0], task._rows(0)
    assert shape[2] == 2
    every = rope.base(torch.empty(1, CHANNELS, 5, 16, 16))
    for mine, all_of_them in zip((cos, sin), every, strict=True):
        assert torch.equal(mine.unflatten(1, (2, -1)), all_of_them.unflatten(1, (5, -1))[:, [1, 4]])
    assert torch.equal(task.seen(0, task.block["mean"][row]), task.block["mean"][row][:, [1, 4]])


def test_tokens_are_to_tell_where_the_object_is_where_it_was_and_how_it_goes():
    """Oracle: the centroid of the object's mask, as it is drawn."""
    batch = scenes.sample(6, torch.Generator().manual_seed(1), far=True)
    told = shapes_video.path_of(batch, [0.0, 0.5]).unflatten(1, (2, 8, 8))
    grid = torch.arange(scenes.SIDE) + 0.5
    for place, time in enumerate((0.0, 0.5)):
        covers = scenes.object_mask(batch, torch.full((6,), time))
        for row, cover in enumerate(covers):
            centre = torch.stack([(cover.sum(0) * grid).sum(), (cover.sum(1) * grid).sum()]) / cover.sum()
            token = told[row, place, 5, 2]  # its middle is 20 pixels from the left, 44 from the top
            assert torch.allclose(16 * token[:2], centre - torch.tensor([20.0, 44.0]), atol=2.0)
            assert torch.equal(token[2:4], told[row, 0, 5, 2, :2])
            assert torch.allclose(token[4:6], token[:2] - token[2:4], atol=1e-6)
            assert batch.words()[row]["motion"] == MOTION_OF[tuple(token[6:8].tolist())]
            assert float(token[8]) == time


def test_levels_of_clips_are_shifted_towards_noise():
    """At a shift of 3, s' = 3 s / (1 + 2 s): the upper half of the levels lies above .75."""
    levels = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert torch.allclose(shifted(levels, 3.0), torch.tensor([0.0, 0.5, 0.75, 1.0]))
    assert torch.equal(shifted(levels, 1.0), levels)


def test_three_of_five_first_frames_are_shown_and_every_token_hears_its_frames_level(base):
    task = build(base, frames=5, shown=0.6, shift=3.0)
    task.batch = 2000
    level = task._levels(seeded(0, 0, 0))
    shown = level[:, 0] != level[:, 1]
    assert abs(float(shown.float().mean()) - 0.6) < 0.05  # four standard errors
    assert level[shown, 0].max() <= shapes_video.SHOWN_LEVEL < level[:, 1].median()
    assert torch.equal(level[:, 2:], level[:, 1:2].expand(-1, 3))
    assert torch.equal(task._heard(level).unflatten(1, (5, 64))[:, :, 7], level)


def test_features_lie_in_the_order_of_tokens_rows_first(base):
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    features = shapes_video.judge_features(base[1], pictures)
    assert features.shape == (2, 64, shapes_video.JUDGE_WIDTH)
    with torch.no_grad():
        place = base[1].body[: shapes_video.JUDGE_LAYERS](2 * pictures - 1)[1, :, 4, 1]
    assert torch.allclose(features[1, 4 * 8 + 1], place / place.norm(), atol=1e-6)


def test_a_step_in_half_precision_loses_what_one_in_full_does(base):
    """bf16 has 8 bits: the loss agrees to a hundredth."""
    whole, half = (build(base, frames=5, precision=name).losses(0) for name in ("fp32", "bf16"))
    assert {name: float(value.detach()) for name, value in half.items()} == pytest.approx(
        {name: float(value.detach()) for name, value in whole.items()}, rel=1e-2
    )


@pytest.mark.parametrize("frames", [1, 5])
def test_what_is_asked_is_learnt(base, frames, tmp_path):
    task = build(base, frames=frames, batch=4, reuse=100, taught=False)
    task.measure = lambda model, step: {}
    losses = [
        report.losses["loss"]
        for report in train(
            task, Options(rate=5e-3, warmup=1, steps=30, log_every=10, measure_every=10**9), tmp_path
        )
    ]
    assert losses[-1] < 0.9 * losses[0]


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(base, tmp_path):
    for run, stops in (("whole", (4,)), ("resumed", (1, 3, 4))):  # a block lasts two steps
        for steps in stops:
            options = Options(**{**OPTIONS.__dict__, "steps": steps})
            task = build(base)
            task.measure = lambda model, step: {}
            list(train(task, options, tmp_path / run))
    for name in ("model", "ema", "optimizer"):
        whole, resumed = (tensors_of(latest_state(tmp_path / run), name) for run in ("whole", "resumed"))
        assert whole and whole.keys() == resumed.keys()
        assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_the_head_trains_with_the_first_blocks_only(base):
    task = build(base)
    task.losses(0)["apart"].backward()
    moved = {
        name
        for name, parameter in task.model.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }
    assert any(name.startswith("head") for name in moved) and any("blocks.1." in name for name in moved)
    assert not any("proj_out" in name for name in moved)


def test_a_sample_is_a_function_of_caption_and_seed(base):
    torch.manual_seed(0)
    network = video.VideoNetwork(video.transformer(CHANNELS).eval())

    def sample(seed, captions=("a red ring", "digit 5")):
        return sample_videos(network, base[2].text_encoder, list(captions), frames=5, steps=2, seed=seed)

    first = sample(0)
    assert first.shape == (2, CHANNELS, 5, 16, 16)
    assert torch.equal(sample(0), first) and not torch.equal(sample(7), first)
    assert torch.allclose(sample(1, ("digit 5",))[0], first[1], atol=1e-5)  # noise i is that of seed + i
