"""Tracks of tokens: closed forms of motions that are known."""

from __future__ import annotations

import torch

from vedit.data import scenes
from vedit.data.cases import load_cases
from vedit.engine.tracks import Motion, follow, standing


def flow_of(x: float, y: float, pairs: int, rows: int = 32, columns: int = 48) -> torch.Tensor:
    return torch.tensor([x, y], dtype=torch.float32).view(1, 2, 1, 1).expand(pairs, 2, rows, columns)


def seen(pairs: int, rows: int = 32, columns: int = 48) -> torch.Tensor:
    return torch.ones(pairs, rows, columns, dtype=torch.bool)


def test_every_token_lies_on_one_track_and_a_track_passes_a_frame_once() -> None:
    noise = torch.randn(5, 2, 32, 48, generator=torch.Generator().manual_seed(0)) * 6
    tracks = follow(noise, torch.rand(5, 32, 48) > 0.2, (8, 12))
    for frame, track_T in enumerate(tracks.track_FT):
        assert track_T.unique().numel() == 96
        assert torch.equal(tracks.place_NF[track_T.long(), frame], torch.arange(96, dtype=torch.int32))
    assert int((tracks.place_NF >= 0).sum()) == 6 * 96


def test_a_clip_at_rest_has_a_track_for_each_token_through_all_frames() -> None:
    tracks = follow(flow_of(0, 0, 3), seen(3), (8, 12))
    assert torch.equal(tracks.place_NF, torch.arange(96, dtype=torch.int32)[:, None].expand(-1, 4))


def test_a_motion_of_one_token_a_frame_moves_each_track_by_one_token() -> None:
    tracks = follow(flow_of(4, 0, 3), seen(3), (8, 12))  # tokens of 4x4 pixels
    assert tracks.of(0)[0].tolist() == [0, 1, 2, 3]
    assert tracks.of(0)[10].tolist() == [10, 11, -1, -1], "it leaves the picture"
    assert tracks.of(3)[0].tolist() == [-1, -1, -1, 0], "it comes into the picture"
    assert tracks.of(2)[5 * 12 + 7].tolist() == [65, 66, 67, 68]


def test_slow_motion_adds_up_on_a_coarse_grid() -> None:
    tracks = follow(flow_of(0, 1, 8), seen(8), (4, 6))  # tokens of 8x8 pixels, an eighth of one a frame
    assert tracks.of(0)[0].tolist() == [0, 0, 0, 0, 6, 6, 6, 6, 6]


def test_a_track_ends_where_its_pixel_is_not_seen_again() -> None:
    visible = seen(2)
    visible[1, 2, 2] = False  # the pixel at the middle of token 0
    tracks = follow(flow_of(0, 0, 2), visible, (8, 12))
    assert tracks.of(0)[0].tolist() == [0, 0, -1] and tracks.of(2)[0].tolist() == [-1, -1, 0]
    assert tracks.of(0)[1].tolist() == [1, 1, 1]


def test_of_two_tracks_that_meet_the_nearer_one_goes_on() -> None:
    flow = flow_of(0, 0, 1).clone()
    flow[0, 0, :4, 4:8] = -3.0  # token 1 comes to rest a pixel beside the middle of token 0
    tracks = follow(flow, seen(1), (8, 12))
    assert tracks.of(0)[0].tolist() == [0, 0] and tracks.of(0)[1].tolist() == [1, -1]
    flow[0, 0, :4, :4] = 1.5  # token 0 stays in its place, further from the middle
    tracks = follow(flow, seen(1), (8, 12))
    assert tracks.of(0)[0].tolist() == [0, -1] and tracks.of(0)[1].tolist() == [1, 0]


def test_standing_tracks_hold_one_token_each() -> None:
    tracks = standing(3, (2, 2))
    for frame in range(3):
        assert [int((row >= 0).sum()) for row in tracks.of(frame)] == [1] * 4
        assert tracks.of(frame)[:, frame].tolist() == [0, 1, 2, 3]


def test_the_tracks_of_a_drawn_clip_stay_on_its_object() -> None:
    moving = [case.scene for case in load_cases("drawn-scenes-tuning") if case.scene.motion == "right"]
    scene, frames = moving[0], 8
    tracks = Motion(scenes.clip(scene, frames) * 2 - 1).tracks((16, 16))
    cover = scenes.object_mask(scenes.stack([scene] * frames), torch.arange(frames) / (frames - 1))
    share_FT = torch.nn.functional.avg_pool2d(cover[:, None], 4).flatten(1)
    begun_TF = tracks.of(0)[share_FT[0] > 0.99]
    on_object = [
        float(share_FT[frame, place]) > 0.5
        for row in begun_TF.tolist()
        for frame, place in enumerate(row)
        if place >= 0
    ]
    rest_TF = tracks.of(0)[share_FT[0] == 0]
    assert len(begun_TF) >= 6 and sum(on_object) > 0.9 * len(on_object)
    assert len(on_object) > 0.6 * begun_TF.numel(), "most are followed to the end"
    assert float((rest_TF == rest_TF[:, :1]).float().mean()) > 0.8, "the background stays where it is"
