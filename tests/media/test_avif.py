"""Animated AVIF: pixels, times, loops and transparency as Pillow's own reader finds them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from tests.conftest import gif, parsed, vedit
from tests.media.clips import clip_of, noise
from tests.media.test_alpha import discs, stacked
from vedit.errors import OutputError
from vedit.media.avif import avif_loop, set_plays, write_avif
from vedit.media.frames import Palette
from vedit.media.open import open_clip

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow that writes AVIF")


def written(pictures: list[Image.Image], delays: list[int], **facts: object) -> bytes:
    """An animation whose frames come as a GIF's do, with palettes."""
    clip, frames = clip_of(pictures, delays, **facts)  # type: ignore[arg-type]
    stream = io.BytesIO()
    assert write_avif(clip, (frame.but(palette=Palette(bytes(3))) for frame in frames), stream) == len(
        pictures
    )
    return stream.getvalue()


def shown(data: bytes | Path) -> tuple[np.ndarray, list[int]]:
    """All frames, and how long each is shown in milliseconds, by Pillow."""
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        pictures, delays = [], []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            pictures.append(image.copy())
            delays.append(image.info.get("duration"))
        return stacked(pictures), delays


def test_a_gif_arrives_within_4_levels_with_its_delays(tmp_path: Path) -> None:
    source = parsed(gif("ok_disposal_mix.gif"))
    done = vedit("convert", gif("ok_disposal_mix.gif"), "-o", tmp_path / "o.avif")
    assert (done.code, done.err) == (0, "")
    pictures, delays = shown(tmp_path / "o.avif")
    assert delays == [10 * delay for delay in source.delays]
    frames = np.stack([frame.astype(int) for frame in source.frames()])
    seen = frames[..., 3] > 0
    assert np.abs(pictures[..., 3] - frames[..., 3]).max() <= 4
    assert np.abs(pictures[..., :3] - frames[..., :3])[seen].max() <= 8


def test_delays_of_any_length_add_up() -> None:
    pictures = [noise(24, 16, seed) for seed in range(4)]
    found, delays = shown(written(pictures, [7, 3, 500, 1]))
    assert delays == [70, 30, 5000, 10]
    assert np.abs(found - stacked(pictures)).max() <= 4


@pytest.mark.parametrize("loop", [None, 0, 1, 4, 1000])
def test_how_often_it_plays_is_kept(loop: int | None) -> None:
    data = written([noise(24, 16, seed) for seed in range(3)], [7, 3, 50], loop=loop)
    assert avif_loop(io.BytesIO(data)) == loop
    assert len(shown(data)[1]) == 3


@pytest.mark.parametrize("is_known", [True, None])
def test_transparency_is_kept(is_known: bool | None) -> None:
    pictures, _ = shown(written(discs(), [4] * 4, alpha=is_known))
    wanted = stacked(discs())
    assert np.abs(pictures[..., 3] - wanted[..., 3]).max() <= 4
    seen = wanted[..., 3] > 0
    assert np.abs(pictures[..., :3] - wanted[..., :3])[seen].max() <= 12


def test_a_single_frame_is_a_still(tmp_path: Path) -> None:
    data = written([noise(24, 16)], [4])
    assert data[8:12] == b"avif"
    (tmp_path / "a.avif").write_bytes(data)
    assert len(list(open_clip(str(tmp_path / "a.avif"))[1])) == 1


def test_frames_are_drawn_one_at_a_time() -> None:
    clip, frames = clip_of([noise(24, 16)] * 9, [4] * 9)
    drawn = []

    def coming() -> object:
        for frame in frames:
            drawn.append(frame.index)
            yield frame

    stream = io.BytesIO()
    stream.write = lambda data: drawn.append("written") or len(data)  # type: ignore[method-assign,func-returns-value]
    write_avif(clip, coming(), stream)  # type: ignore[arg-type]
    assert drawn == [*range(9), "written"]


def test_a_pillow_without_the_encoder_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(OutputError, match="cannot write AVIF"):
        written([noise(4, 4)], [4])
    done = vedit("convert", gif("ok_plain.gif"), "-o", tmp_path / "o.avif")
    assert done.code == 4 and "pip install" in done.err and not (tmp_path / "o.avif").exists()


def test_boxes_in_boxes_without_end_are_no_danger() -> None:
    data = b""
    for _ in range(3000):
        data = struct.pack(">I4s", len(data) + 8, b"moov") + data
    assert avif_loop(io.BytesIO(data)) == 0
    set_plays(memoryview(bytearray(data)), 1)
