"""The metrics that look through networks: closed forms on chosen features, and what must not change a number."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.metrics.seeded import moving_video, towers_at
from tests.metrics.tiny import aesthetic_head
from vedit import metrics
from vedit.errors import InputError
from vedit.metrics.base import GROUPS, NEEDS_OF, Clip, Score, towers_of
from vedit.metrics.towers import FILES, TOWERS, Towers
from vedit.metrics.types import Options, Video

OPTIONS = Options(device="cpu")
STRICT = replace(OPTIONS, profile="strict")
PROMPT, SOURCE_PROMPT = "a red car", "a blue car"
BLACK = Video(np.zeros((3, 32, 32, 3), np.uint8))
GREY = Video(np.full((3, 32, 32, 3), 40, np.uint8))
EIGHT = (
    "aesthetic_score",
    "dover_score",
    "clip_consistency",
    "dino_consistency",
    "clip_text_alignment",
    "pick_score",
    "viclip_text_alignment",
    "motion_alignment",
)


def scores(name: str, clip: Clip, towers: Any, options: Options = OPTIONS) -> Score:
    """The single score of a metric module."""
    found = metrics.load(name).score(clip, towers, options)
    assert list(found) == [name]
    return found[name]


class Chosen:
    """A tower whose features are given: by prompt, and by video for everything else."""

    def __init__(
        self,
        images: dict[Video, list[list[float]]],
        texts: dict[str, list[float]] | None = None,
        scale: float = 100.0,
    ) -> None:
        self.by_video, self.by_text, self.scale = (
            {id(video): np.array(rows) for video, rows in images.items()},
            texts or {},
            scale,
        )

    def images(self, video: Video) -> dict[str, np.ndarray]:
        return dict.fromkeys(("pooled", "projected", "cls"), self.by_video[id(video)])

    cropped = whole = images

    def text(self, prompt: str) -> dict[str, np.ndarray]:
        return {
            "projected": np.array([self.by_text[prompt]]),
            "scale": np.array([self.scale]),
            "truncated": np.zeros(1),
        }

    def get(self, name: str) -> Chosen:
        return self


@pytest.mark.parametrize("name", ["clip_consistency", "dino_consistency"])
def test_consistency_is_the_mean_cosine_of_neighbours_with_negative_ones_as_zero(name: str) -> None:
    towers = Chosen({BLACK: [[2, 0], [1, 1], [-1, 0]]})
    found = scores(name, Clip("c", BLACK), towers)
    assert found.per_frame == pytest.approx((math.sqrt(0.5), 0.0))
    assert found.value == pytest.approx(math.sqrt(0.5) / 2)


def test_subject_consistency_compares_with_the_frame_before_and_with_the_first() -> None:
    found = scores("subject_consistency", Clip("c", BLACK), Chosen({BLACK: [[1, 0], [1, 1], [0, 1]]}))
    half = math.sqrt(0.5)
    assert found.per_frame == pytest.approx(((half + half) / 2, (half + 0) / 2))


def test_frame_consistency_is_the_mean_over_all_pairs() -> None:
    found = scores("clip_frame_consistency", Clip("c", BLACK), Chosen({BLACK: [[3, 0], [1, 1], [-1, 0]]}))
    assert found.value == pytest.approx((math.sqrt(0.5) - 1 - math.sqrt(0.5)) / 3)


@pytest.mark.parametrize("name", ["clip_text_alignment", "pick_score"])
def test_text_alignment_is_scaled_by_the_checkpoint_and_not_clamped(name: str) -> None:
    towers = Chosen({BLACK: [[1, 0], [0, 2], [-1, 0]]}, {PROMPT: [3, 0]}, scale=98.5)
    assert scores(name, Clip("c", BLACK, prompt=PROMPT), towers).per_frame == pytest.approx((98.5, 0, -98.5))


def test_edit_success_counts_frames_nearer_to_the_target() -> None:
    video = moving_video(3, 40, 48)
    nothing = Video(
        np.concatenate([video.frames_TYX3[:1], BLACK.frames_TYX3[:2, :1, :1].repeat(40, 1).repeat(48, 2)])
    )
    features = [[1, 0.1], [0.1, 1], [1, 1]]
    towers = Chosen({video: features, nothing: [[1, 0.1]] * 3}, {PROMPT: [1, 0], SOURCE_PROMPT: [0, 1]})
    assert scores(
        "edit_success", Clip("c", video, prompt=PROMPT, source_prompt=SOURCE_PROMPT), towers
    ).per_frame == (1, 0, 0)
    unsure = scores("edit_success", Clip("c", nothing, prompt=PROMPT, source_prompt=SOURCE_PROMPT), towers)
    assert (
        unsure.per_frame == (1, 0, 0) and unsure.extra["unsure_frames"] == 2
    )  # a black frame shows neither prompt


def test_direction_compares_the_change_of_frames_with_the_change_of_prompts() -> None:
    towers = Chosen(
        {BLACK: [[0, 1], [1, 0], [0, 1]], GREY: [[1, 0], [1, 0], [-1, 0]]},
        {PROMPT: [0, 5], SOURCE_PROMPT: [2, 0]},
    )
    clip = Clip("c", BLACK, source=GREY, prompt=PROMPT, source_prompt=SOURCE_PROMPT)
    assert scores("clip_direction", clip, towers).per_frame == pytest.approx((1, 0, 0))
    assert scores("clip_source_similarity", clip, towers).per_frame == pytest.approx((0, 1, 0))


@pytest.mark.parametrize(
    ("edited", "flag"),
    [(GREY, 1.0), (Video(GREY.frames_TYX3 + 1), 1.0), (Video(GREY.frames_TYX3 + 3), 0.0)],
    ids=["copy", "one grey level", "three"],
)
def test_the_guard_flags_clips_that_neither_moved_in_meaning_nor_in_pixels(
    edited: Video, flag: float
) -> None:
    towers = Chosen({edited: [[1, 0]] * 3, GREY: [[1, 0]] * 3}, {PROMPT: [0, 1], SOURCE_PROMPT: [1, 0]})
    clip = Clip("c", edited, source=GREY, prompt=PROMPT, source_prompt=SOURCE_PROMPT)
    assert scores("no_edit_guard", clip, towers).value == flag


def test_the_guard_stays_down_when_the_meaning_moved() -> None:
    edited = Video(GREY.frames_TYX3.copy())
    towers = Chosen({edited: [[0, 1]] * 3, GREY: [[1, 0]] * 3}, {PROMPT: [0, 1], SOURCE_PROMPT: [1, 0]})
    found = scores(
        "no_edit_guard", Clip("c", edited, source=GREY, prompt=PROMPT, source_prompt=SOURCE_PROMPT), towers
    )
    assert (found.value, found.extra["clip_direction"], found.extra["change"]) == (0, pytest.approx(1), 0)


def test_motion_is_minus_the_mean_distance_of_flow_vectors() -> None:
    flows = {id(BLACK): np.zeros((2, 2, 4, 4), np.float32), id(GREY): np.zeros((2, 2, 4, 4), np.float32)}
    flows[id(GREY)][0] = np.array([3, 4]).reshape(2, 1, 1)
    towers = SimpleNamespace(get=lambda name: SimpleNamespace(flow=lambda video: flows[id(video)]))
    found = scores("motion_alignment", Clip("c", BLACK, source=GREY), towers)
    assert found.per_frame == (-5, 0)
    assert (found.extra["width"], found.extra["height"]) == (32, 32)


@pytest.mark.parametrize(
    ("source", "option"),
    [(Video(BLACK.frames_TYX3[:2]), "--align"), (Video(BLACK.frames_TYX3[:, :16]), "--resize-source")],
)
def test_a_source_of_another_length_or_size_is_refused_with_the_option_that_helps(
    source: Video, option: str
) -> None:
    with pytest.raises(InputError, match=f"my clip: (.|\n)*{option}") as caught:
        scores(
            "motion_alignment", Clip("my clip", BLACK, source=source), SimpleNamespace(get=lambda name: None)
        )
    assert caught.value.exit_code == 3


def test_dover_fuses_its_branches_as_published() -> None:
    towers = SimpleNamespace(
        get=lambda name: SimpleNamespace(
            scores=lambda video: {"technical": np.array([0.2, 0.1, 0.0]), "aesthetic": np.array([-0.05])}
        )
    )
    found = scores("dover_score", Clip("c", BLACK), towers)
    x = 0.6104 * (0.1 - 0.1107) / 0.07355 + 0.3896 * (-0.05 + 0.08285) / 0.03774
    assert found.value == pytest.approx(1 / (1 + math.exp(-x)))
    assert (found.extra["technical"], found.extra["aesthetic"]) == pytest.approx((0.1, -0.05))


def test_fusion_of_absurd_scores_is_still_a_number() -> None:
    from vedit.metrics.dover_score import fuse

    assert (fuse(-1e4, 0), fuse(1e4, 0)) == (0, 1)


def test_the_aesthetic_head_is_linear_in_unit_embeddings(tiny_weights: Path) -> None:
    video, towers = moving_video(2), towers_at(tiny_weights)
    embeddings = torch.tensor(towers.get("clip_l").images(video)["projected"])
    x = embeddings / embeddings.norm(dim=1, keepdim=True)
    head = aesthetic_head()
    for index in (0, 2, 4, 6, 7):
        x = x @ head[f"layers.{index}.weight"].T + head[f"layers.{index}.bias"]
    assert scores("aesthetic_score", Clip("c", video), towers).per_frame == pytest.approx(
        x[:, 0].tolist(), rel=1e-5
    )


def test_identical_frames_are_perfectly_consistent(tiny_weights: Path) -> None:
    video = Video(moving_video(1).frames_TYX3.repeat(3, axis=0))
    for name in ("clip_consistency", "dino_consistency", "clip_frame_consistency", "subject_consistency"):
        assert scores(name, Clip("c", video), towers_at(tiny_weights)).value == pytest.approx(1, abs=1e-6)


def test_an_unchanged_copy_moves_as_its_source_and_is_flagged(tiny_weights: Path) -> None:
    video = moving_video(3)
    clip = Clip(
        "c", video, source=Video(video.frames_TYX3.copy()), prompt=PROMPT, source_prompt=SOURCE_PROMPT
    )
    towers = towers_at(tiny_weights)
    found = {
        name: scores(name, clip, towers).value
        for name in ("motion_alignment", "clip_source_similarity", "clip_direction", "no_edit_guard")
    }
    assert found == {
        "motion_alignment": 0,
        "clip_source_similarity": pytest.approx(1),
        "clip_direction": 0,
        "no_edit_guard": 1,
    }


def test_reversing_time_changes_only_what_has_a_sense_of_time(tiny_weights: Path) -> None:
    video, towers = moving_video(8), towers_at(tiny_weights, STRICT)
    names = [name for name in EIGHT if name != "motion_alignment"]
    forwards, backwards = (
        {name: scores(name, Clip("c", clip, prompt=PROMPT), towers, STRICT).value for name in names}
        for clip in (video, Video(video.frames_TYX3[::-1]))
    )
    moved = {name for name in names if forwards[name] != pytest.approx(backwards[name], rel=1e-6)}
    assert moved == {"dover_score", "viclip_text_alignment"}


def test_another_prompt_leaves_quality_and_consistency_bit_equal(tiny_weights: Path) -> None:
    video = moving_video(2)
    names = [name for name in EIGHT if name not in ("motion_alignment", "dover_score")]
    one, other = (
        {name: scores(name, Clip("c", video, prompt=prompt), towers_at(tiny_weights)).value for name in names}
        for prompt in (PROMPT, SOURCE_PROMPT)
    )
    assert {name for name in names if one[name] != other[name]} == {
        "clip_text_alignment",
        "pick_score",
        "viclip_text_alignment",
    }


def test_few_frames_are_read_twice_by_viclip_with_a_warning(tiny_weights: Path) -> None:
    found = scores(
        "viclip_text_alignment", Clip("c", moving_video(2), prompt=PROMPT), towers_at(tiny_weights)
    )
    assert found.extra["rule"] == "repeated"
    assert "has 2" in found.extra["warning"]


def test_dino_can_be_chosen(tiny_weights: Path) -> None:
    video = moving_video(2)
    paper = replace(OPTIONS, dino="dino-vitb16")
    own, chosen = (
        scores("dino_consistency", Clip("c", video), towers_at(tiny_weights, options), options)
        for options in (OPTIONS, paper)
    )
    assert (own.extra["tower"], chosen.extra["tower"]) == ("dinov2", "dino-vitb16")
    assert own.value != chosen.value
    assert towers_of(metrics.load("dino_consistency"), paper) == ("dino-vitb16",)
    assert towers_of(metrics.load("subject_consistency"), replace(OPTIONS, dino="dinov2")) == ("dinov2",)


def test_the_success_model_can_be_chosen(tiny_weights: Path) -> None:
    options = replace(OPTIONS, success_model="clip_b32")
    clip = Clip("c", moving_video(2), prompt=PROMPT, source_prompt=SOURCE_PROMPT)
    assert (
        scores("edit_success", clip, towers_at(tiny_weights, options), options).extra["tower"] == "clip_b32"
    )
    assert towers_of(metrics.load("edit_success"), options) == ("clip_b32",)


def test_structure_distance_is_the_mean_square_between_self_similarities() -> None:
    a, b = (np.random.default_rng(seed).normal(size=(3, 4, 5)) for seed in (0, 1))
    keys = {id(BLACK): a, id(GREY): b}
    tower = SimpleNamespace(keys=lambda video: {"keys": keys[id(video)]})
    towers = SimpleNamespace(get=lambda name: tower)
    wanted = []
    for frame in range(3):
        apart = []
        for i in range(4):
            for j in range(4):
                cosines = [
                    keys[frame][i] @ keys[frame][j] / math.dist(keys[frame][i], [0] * 5)
                    / math.dist(keys[frame][j], [0] * 5)
                    for keys in (a, b)
                ]  # fmt: skip
                apart.append((cosines[0] - cosines[1]) ** 2)
        wanted.append(np.mean(apart))
    found = scores("structure_distance", Clip("c", BLACK, source=GREY), towers)
    assert found.per_frame == pytest.approx(wanted, abs=1e-12)
    assert scores("structure_distance", Clip("c", BLACK, source=BLACK), towers).value == 0


def test_core_correspondence_and_faithfulness_are_their_formulas() -> None:
    towers = Chosen({BLACK: [[0, 1], [1, 0], [0, 1]], GREY: [[1, 0], [1, 0], [-1, 1]]}, {PROMPT: [0, 5]})
    clip = Clip("c", BLACK, source=GREY, prompt=PROMPT)
    alike = 6.5025 / (40**2 + 6.5025)  # SSIM of two even pictures
    half = math.sqrt(0.5)
    assert scores("core_correspondence", clip, towers).per_frame == pytest.approx(
        [0.7 * cosine + 0.3 * alike for cosine in (0, 1, half)]
    )
    assert scores("core_faithfulness", clip, towers).per_frame == pytest.approx((1, 0.5, 1))


@pytest.mark.parametrize("name", metrics.names())
def test_every_module_declares_what_it_is(name: str) -> None:
    module = metrics.load(name)
    assert set(NEEDS_OF) >= module.NEEDS
    assert module.GROUPS and module.GROUPS <= GROUPS
    assert set(towers_of(module, OPTIONS)) <= set(TOWERS)
    assert isinstance(module.VERSION, int)
    for value in module.VALUES:
        assert value.key and value.explanation.endswith(".")


def test_the_eight_metrics_make_the_group_of_v2vbench() -> None:
    assert {
        name.replace("-", "_") for name in metrics.names() if "v2vbench" in metrics.load(name).GROUPS
    } == set(EIGHT)


def test_no_two_modules_give_the_same_key() -> None:
    keys = [value.key for name in metrics.names() for value in metrics.load(name).VALUES]
    assert len(keys) == len(set(keys))


def test_every_tower_has_a_published_file() -> None:
    assert set(FILES) == set(TOWERS)


def test_towers_are_named_by_the_options_that_choose_them() -> None:
    assert isinstance(towers_at(Path(), OPTIONS), Towers)
    assert towers_of(metrics.load("lpips"), replace(OPTIONS, lpips_net="vgg")) == ("lpips_vgg",)
