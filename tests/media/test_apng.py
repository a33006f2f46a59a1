"""Animated PNG against a reference compositor in NumPy, after the specification, and against ffmpeg."""

from __future__ import annotations

import itertools
import random
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import vedit
from tests.media.clips import ffmpeg
from tests.pictures import chunk, header, packed
from vedit.errors import InputError
from vedit.media.frames import Frame
from vedit.media.open import open_clip, write_clip

WIDTH, HEIGHT = 13, 9
BACKGROUND, PREVIOUS = 1, 2


@dataclass
class Part:
    """One image: RGBA pixels, place, disposal and blend as the control chunk numbers them."""

    pixels: np.ndarray
    x: int = 0
    y: int = 0
    disposal: int = 0
    blend: int = 0
    delay: tuple[int, int] = (1, 10)


def apng(
    parts: list[Part],
    *,
    plays: int = 0,
    default_image: bool = False,
    said: int | None = None,
    split: int = 10**9,
) -> bytes:
    """The file, byte by byte. default_image: another picture stands in front, for readers without animation."""
    data = header(WIDTH, HEIGHT, 8, 6) + chunk(
        b"acTL", struct.pack(">II", len(parts) if said is None else said, plays)
    )
    if default_image:
        data += chunk(b"IDAT", packed([bytes([9, 9, 9, 255]) * WIDTH] * HEIGHT))
    number = 0
    for place, part in enumerate(parts):
        h, w = part.pixels.shape[:2]
        data += chunk(
            b"fcTL",
            struct.pack(">IIIIIHHBB", number, w, h, part.x, part.y, *part.delay, part.disposal, part.blend),
        )
        number += 1
        body = packed([row.tobytes() for row in part.pixels])
        for start in range(0, len(body), split):
            if place == 0 and not default_image:
                data += chunk(b"IDAT", body[start : start + split])
            else:
                data += chunk(b"fdAT", struct.pack(">I", number) + body[start : start + split])
                number += 1
    return data + chunk(b"IEND", b"")


def composed(parts: list[Part]) -> list[np.ndarray]:
    """What is shown after each image: section 12.13 with alpha in floating point."""
    canvas = np.zeros((HEIGHT, WIDTH, 4))
    shown = []
    for number, part in enumerate(parts):
        before = canvas.copy()
        h, w = part.pixels.shape[:2]
        under = canvas[part.y : part.y + h, part.x : part.x + w]
        over = part.pixels.astype(float)
        if part.blend:
            alpha, below = over[..., 3:] / 255, under[..., 3:] / 255
            joint = alpha + below * (1 - alpha)
            colour = (over[..., :3] * alpha + under[..., :3] * below * (1 - alpha)) / np.maximum(joint, 1e-9)
            over = np.concatenate([colour, joint * 255], axis=2)
        canvas[part.y : part.y + h, part.x : part.x + w] = over
        shown.append(canvas.copy())
        if part.disposal == BACKGROUND or (part.disposal == PREVIOUS and number == 0):
            canvas[part.y : part.y + h, part.x : part.x + w] = 0
        elif part.disposal == PREVIOUS:
            canvas = before
    return shown


def random_parts(seed: int, alphas: tuple[int, ...]) -> list[Part]:
    rng = random.Random(seed)
    parts = []
    for number in range(6):
        w, h = (WIDTH, HEIGHT) if number == 0 else (rng.randrange(1, WIDTH + 1), rng.randrange(1, HEIGHT + 1))
        pixels = np.array(
            [
                [
                    [rng.randrange(256), rng.randrange(256), rng.randrange(256), rng.choice(alphas)]
                    for _ in range(w)
                ]
                for _ in range(h)
            ],
            np.uint8,
        )
        parts.append(
            Part(
                pixels,
                rng.randrange(WIDTH - w + 1),
                rng.randrange(HEIGHT - h + 1),
                rng.randrange(3),
                rng.randrange(2),
            )
        )
    return parts


def read(data: bytes, folder: Path, said: list[str] | None = None) -> list[Frame]:
    path = folder / "a.png"
    path.write_bytes(data)
    return list(open_clip(str(path), warn=(said if said is not None else []).append)[1])


def difference(frame: Frame, expected: np.ndarray) -> float:
    """The largest, of channels where something shows."""
    found = np.asarray(frame.pixels.convert("RGBA")).astype(float)
    shows = (expected[..., 3:] > 0) | (found[..., 3:] > 0)
    # the colour of a pixel that hardly shows has few bits left
    weight = np.concatenate(
        [np.maximum(expected[..., 3:], found[..., 3:]) / 255] * 3 + [np.ones_like(expected[..., 3:])], axis=2
    )
    return float(np.abs((found - expected) * shows * weight).max())


@pytest.mark.parametrize("default_image", [False, True])
@pytest.mark.parametrize(
    "alphas", [(255,), (0, 255), (0, 60, 128, 200, 255)], ids=["opaque", "holes", "soft"]
)
@pytest.mark.parametrize("seed", range(6))
def test_images_are_blended_and_disposed_of_as_the_specification_says(
    seed: int, alphas: tuple[int, ...], default_image: bool, tmp_path: Path
) -> None:
    parts = random_parts(seed, alphas)
    frames = read(apng(parts, default_image=default_image), tmp_path)
    assert len(frames) == len(parts)
    for frame, expected in zip(frames, composed(parts), strict=True):
        assert difference(frame, expected) <= (1.01 if len(alphas) > 2 else 0)


@pytest.mark.parametrize("seed", range(4))
def test_ffmpeg_composes_the_same_pictures(seed: int, tmp_path: Path) -> None:
    parts = random_parts(seed, (255,))
    frames = read(apng(parts), tmp_path)
    theirs = ffmpeg(
        "-i", tmp_path / "a.png", "-fps_mode", "passthrough", "-pix_fmt", "rgba", "-f", "rawvideo", "pipe:1"
    )
    pictures = np.frombuffer(theirs, np.uint8).reshape(-1, HEIGHT, WIDTH, 4).astype(float)
    assert [difference(frame, picture) for frame, picture in zip(frames, pictures, strict=True)] == [0] * 6


@pytest.mark.parametrize("seed", range(4))
def test_only_the_rectangle_of_a_frame_differs_from_the_frame_before(seed: int, tmp_path: Path) -> None:
    frames = read(apng(random_parts(seed, (0, 255))), tmp_path)
    for before, frame in itertools.pairwise(frames):
        changed = (np.asarray(before.pixels) != np.asarray(frame.pixels)).any(2)
        changed[frame.rect.y : frame.rect.bottom, frame.rect.x : frame.rect.right] = False
        assert not changed.any()


def test_pixel_data_in_many_small_chunks_is_one_image(tmp_path: Path) -> None:
    parts = random_parts(1, (255,))
    assert [frame.pixels.tobytes() for frame in read(apng(parts, split=7), tmp_path)] == [
        frame.pixels.tobytes() for frame in read(apng(parts), tmp_path)
    ]


def test_delays_are_exact_over_the_whole_clip_and_zero_is_a_tenth_of_a_second(tmp_path: Path) -> None:
    parts = random_parts(2, (255,))
    for part in parts:
        part.delay = (1, 30)
    assert sum(frame.duration for frame in read(apng(parts), tmp_path)) == 200
    parts[0].delay, parts[1].delay = (0, 10), (3, 0)  # a denominator of 0 stands for 100
    assert [frame.duration for frame in read(apng(parts), tmp_path)][:2] == [100, 30]


@pytest.mark.parametrize(("plays", "loop"), [(0, 0), (1, None), (4, 3), (70_000, 69_999)])
@pytest.mark.parametrize("kind", ["apng", "webp", "gif"])
def test_loops_are_kept_as_far_as_a_format_counts(
    plays: int, loop: int | None, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(apng(random_parts(3, (255,)), plays=plays))
    clip, frames, _ = open_clip(str(tmp_path / "a.png"))
    assert clip.loop == loop
    frames.close()
    assert vedit("convert", tmp_path / "a.png", "-o", tmp_path / f"o.{kind}").code == 0
    most = {"apng": 1 << 31, "webp": 65534, "gif": 65535}[kind]
    kept, frames, _ = open_clip(str(tmp_path / f"o.{kind}"))
    frames.close()
    assert kept.loop == (None if loop is None else min(loop, most))


def test_an_animation_that_turns_transparent_later_keeps_its_alpha_when_it_is_written_again(
    tmp_path: Path,
) -> None:
    solid = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    parts = [Part(solid, disposal=BACKGROUND), Part(solid[:2, :2])]
    (tmp_path / "a.png").write_bytes(apng(parts))
    clip, frames, _ = open_clip(str(tmp_path / "a.png"))
    write_clip(clip, frames, str(tmp_path / "b.apng"))
    again = list(open_clip(str(tmp_path / "b.apng"))[1])
    assert [difference(frame, expected) for frame, expected in zip(again, composed(parts), strict=True)] == [
        0,
        0,
    ]


@pytest.mark.parametrize("cut", [30, 90, 200])
def test_of_an_animation_that_is_cut_off_the_front_is_kept(cut: int, tmp_path: Path) -> None:
    parts = random_parts(4, (255,))
    said: list[str] = []
    frames = read(apng(parts)[:-cut], tmp_path, said)
    assert 1 <= len(frames) <= 6 and said
    assert difference(frames[0], composed(parts)[0]) == 0


def test_an_image_beyond_the_canvas_ends_the_animation_with_a_warning(tmp_path: Path) -> None:
    parts = random_parts(5, (255,))
    parts[3].x = WIDTH
    said: list[str] = []
    assert len(read(apng(parts), tmp_path, said)) == 3
    assert said == ["damaged behind image 3 (an image reaches beyond the canvas): the rest is left out"]


def test_a_count_that_is_wrong_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    assert len(read(apng(random_parts(5, (255,)), said=9), tmp_path, said)) == 6
    assert said == ["the animation says that it has 9 images, and it has 6"]


def test_a_first_image_that_cannot_be_decoded_is_an_input_error(tmp_path: Path) -> None:
    data = header(WIDTH, HEIGHT, 8, 6) + chunk(b"acTL", struct.pack(">II", 1, 0))
    data += (
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0))
        + chunk(b"IDAT", b"junk")
        + chunk(b"IEND", b"")
    )
    with pytest.raises(InputError):
        read(data, tmp_path)


@pytest.mark.parametrize(("depth", "colour"), [(8, 0), (8, 3), (4, 0)], ids=["grey", "palette", "4 bits"])
def test_pictures_at_the_ceiling_of_deflate_are_refused_before_one_is_decoded(
    depth: int, colour: int, tmp_path: Path
) -> None:
    """240 of 81 megapixels took minutes: their 19 MB are 1023 pixels to a byte, which GIF data may be."""
    side, count = 5000, 12
    blank = packed([bytes(side * depth // 8)] * side)
    data = header(side, side, depth, colour) + chunk(b"acTL", struct.pack(">II", count, 0))
    data += chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    for number in range(count):
        data += chunk(b"fcTL", struct.pack(">IIIIIHHBB", 2 * number, side, side, 0, 0, 1, 10, 0, 0))
        data += chunk(b"fdAT", struct.pack(">I", 2 * number + 1) + blank) if number else chunk(b"IDAT", blank)
    path = tmp_path / "a.png"
    path.write_bytes(data + chunk(b"IEND", b""))
    done = vedit("probe", str(path))
    assert done.code == 6 and "--limit expansion=0" in done.err
