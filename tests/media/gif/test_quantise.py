"""Quantised frames show what they were made of, in as few pixels as that takes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests import reference
from tests.conftest import LIGHT_REAL, OK, gif, parsed
from vedit.errors import UsageError
from vedit.media.frames import Clip, Frame, Frames, Palette, Rect
from vedit.media.gif.compose import compose
from vedit.media.gif.container import GifReader, write_gif
from vedit.media.gif.lzw import pack, unpack
from vedit.media.gif.palettes import Table, sample, with_blends
from vedit.media.gif.quantise import quantise
from vedit.media.options import QuantiseOptions


def picture(seed: int, width: int = 96, height: int = 64) -> Image.Image:
    """Smooth colours with some noise, as a photograph has."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 7, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return Image.fromarray(
        np.clip(np.asarray(coarse, np.int16) + random.normal(0, 4, (height, width, 3)), 0, 255).astype(
            np.uint8
        )
    )


def sprites(count: int, ground: tuple[int, int, int, int]) -> list[Image.Image]:
    """Discs with soft edges that wander and vanish over a plain ground."""
    random = np.random.default_rng(count)
    made = []
    for _ in range(count):
        image = Image.new("RGBA", (40, 30), ground)
        for _ in range(random.integers(0, 3)):
            x, y, r = (int(v) for v in random.integers((0, 0, 2), (40, 30, 9)))
            disc = Image.new("L", (40, 30))
            ImageDraw.Draw(disc).ellipse((x - r, y - r, x + r, y + r), fill=int(random.integers(60, 256)))
            image.paste(tuple(int(v) for v in random.integers(0, 256, 3)) + (255,), (0, 0, 40, 30), disc)
        made.append(image)
    return made


def frames_of(pictures: list[Image.Image], hint: Palette | None = None) -> Iterator[Frame]:
    for number, image in enumerate(pictures):
        yield Frame(
            number, number, number + 3, image.mode.lower(), Rect(0, 0, *image.size), image, palette=hint
        )


def written(clip: Clip, frames: Frames, jobs: int = 1, **options: object) -> bytes:
    """The GIF that frames in full colour become."""
    out = io.BytesIO()
    write_gif(clip, pack(clip, quantise(clip, frames, QuantiseOptions(**options), jobs)), out)  # type: ignore[arg-type]
    return out.getvalue()


def made(
    pictures: list[Image.Image], jobs: int = 1, hint: Palette | None = None, **options: object
) -> reference.Gif:
    return reference.read(written(Clip(*pictures[0].size), frames_of(pictures, hint), jobs, **options))


def error(gif: reference.Gif, pictures: list[Image.Image]) -> float:
    """Root mean square per channel over all frames."""
    squares = [
        (frame[..., :3].astype(float) - np.asarray(image.convert("RGB"))) ** 2
        for frame, image in zip(gif.frames(), pictures, strict=True)
    ]
    return float(np.mean(squares)) ** 0.5


def colours(gif: reference.Gif) -> set[bytes]:
    return {frame[y, x, :3].tobytes() for frame in gif.frames() for y, x in np.argwhere(frame[..., 3] > 0)}


@pytest.mark.parametrize(
    "name", [*OK, *(name for name in LIGHT_REAL if name not in ("minrf_51.gif", "vdp_moving-mnist.gif"))]
)
def test_composed_frames_that_were_not_changed_come_back(name: str) -> None:
    """Exactly, but for 256-colour palettes, where a colour makes room for the transparent entry."""
    source = parsed(gif(name))
    with gif(name).open("rb") as file:
        reader = GifReader(file.read)
        result = reference.read(
            written(reader.clip, compose(reader.clip, unpack(reader.clip, reader.frames())))
        )
    assert result.delays == source.delays
    crowded = max(len(image.palette or source.palette or reference.GREYS) for image in source.images) == 768
    for number, (frame, wanted) in enumerate(zip(result.frames(), source.frames(), strict=True), 1):
        assert np.array_equal(frame[..., 3], wanted[..., 3]), f"image {number}"
        off = np.sqrt(np.mean((frame.astype(float) - wanted) ** 2))
        assert off <= (2.5 if crowded else 0), f"image {number}"


def test_a_frame_without_change_is_one_transparent_pixel_with_its_delay() -> None:
    still = picture(1)
    result = made([still, still, still])
    assert [(image.x, image.y, image.w, image.h) for image in result.images] == [
        (0, 0, 96, 64),
        (0, 0, 1, 1),
        (0, 0, 1, 1),
    ]
    assert result.delays == [3, 4, 5]
    assert result.images[1].transparent is not None
    first, second, third = result.frames()
    assert np.array_equal(first, second) and np.array_equal(first, third)


def test_only_the_rectangle_that_changed_is_written() -> None:
    ground = picture(1)
    moved = ground.copy()
    moved.paste((255, 0, 0), (20, 10, 25, 12))
    result = made([ground, moved])
    assert (result.images[1].x, result.images[1].y, result.images[1].w, result.images[1].h) == (20, 10, 5, 2)


def test_the_named_rectangle_is_believed() -> None:
    """Frames say where they may differ; what lies outside is not looked at."""
    ground, other = Image.new("RGB", (20, 20), "white"), Image.new("RGB", (20, 20), "blue")
    first, second = frames_of([ground, other])
    result = reference.read(written(Clip(20, 20), iter([first, second.but(rect=Rect(2, 3, 4, 5))])))
    assert (result.images[1].x, result.images[1].y, result.images[1].w, result.images[1].h) == (2, 3, 4, 5)


@pytest.mark.parametrize("seed", range(6))
def test_transparency_is_exact_however_things_appear_and_vanish(seed: int) -> None:
    pictures = sprites(9 + seed, (0, 0, 0, 0))
    result = made(pictures)
    for frame, image in zip(result.frames(), pictures, strict=True):
        drawn = np.asarray(image)[..., 3] >= 128
        assert np.array_equal(frame[..., 3] > 0, drawn)
        assert np.abs(frame[drawn].astype(int) - np.asarray(image)[drawn])[:, :3].max(initial=0) <= 8
    assert set(result.disposals) <= {1, 2}


def test_opaque_clips_never_clear() -> None:
    assert set(made(sprites(12, (9, 99, 199, 255))).disposals) == {1}


def test_a_clip_that_starts_fully_transparent() -> None:
    nothing = Image.new("RGBA", (12, 8))
    result = made([nothing, sprites(3, (200, 10, 10, 255))[0].crop((0, 0, 12, 8)), nothing])
    first, second, third = result.frames()
    assert not first.any() and not third.any() and second[..., 3].all()


def test_alpha_is_drawn_from_128_on() -> None:
    image = Image.new("RGBA", (2, 1), (50, 60, 70, 127))
    image.putpixel((1, 0), (50, 60, 70, 128))
    (frame,) = made([image]).frames()
    assert frame.tolist() == [[[0, 0, 0, 0], [50, 60, 70, 255]]]


@pytest.mark.parametrize(
    "options", [{}, {"palette": "frame"}, {"palette": "global"}, {"dither": "fs"}, {"dither": "bayer"}]
)
def test_any_number_of_jobs_gives_the_same_bytes(options: dict[str, str]) -> None:
    pictures = [picture(seed) for seed in (1, 1, 2, 3, 2)]
    clip = Clip(96, 64)
    assert written(clip, frames_of(pictures), 1, **options) == written(
        Clip(96, 64), frames_of(pictures), 4, **options
    )


def test_a_still_keeps_256_colours() -> None:
    image = Image.new("RGB", (16, 16))
    image.putdata([(v, 255 - v, v // 2) for v in range(256)])
    result = made([image])
    assert len(colours(result)) == 256 and error(result, [image]) == 0
    assert result.images[0].transparent is None


@pytest.mark.parametrize(
    ("palette", "factor"), [("frame", 1.3), ("auto", 1.8), ("global", 2.5), ("keep", 2.5)]
)
def test_a_photograph_is_close_with_every_policy(palette: str, factor: float) -> None:
    """As a factor of Pillow's median cut with k-means of each frame; only "frame" has a palette for each."""
    pictures = [picture(1), picture(2), picture(3)]
    oracle = np.sqrt(
        np.mean(
            [
                (np.asarray(image.quantize(255, kmeans=1).convert("RGB"), float) - np.asarray(image)) ** 2
                for image in pictures
            ]
        )
    )
    assert error(made(pictures, palette=palette), pictures) <= factor * oracle


def test_keep_uses_no_colour_but_the_source_s() -> None:
    hint = Palette(bytes((0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 255)))
    assert colours(made([picture(1), picture(2)], hint=hint, palette="keep")) <= {
        hint.rgb[i : i + 3] for i in range(0, 12, 3)
    }


def test_global_makes_one_palette_and_frame_one_each() -> None:
    pictures = [picture(seed) for seed in range(4)]
    assert [image.palette is None for image in made(pictures, palette="global").images] == [True] * 4
    assert [image.palette is None for image in made(pictures, palette="frame").images] == [
        True,
        False,
        False,
        False,
    ]


def test_poor_source_palettes_are_left_and_good_ones_kept() -> None:
    image = picture(1)
    good = Palette(bytes(image.quantize(255, kmeans=1).getpalette() or ()))
    poor = Palette(bytes(value for level in range(0, 256, 17) for value in (level, level, level)))
    kept = made([image, image], hint=good).palette or b""
    assert {good.rgb[i : i + 3] for i in range(0, 765, 3)} <= {kept[i : i + 3] for i in range(0, 768, 3)}
    assert error(made([image, image], hint=poor), [image, image]) < 12


def test_blends_serve_frames_that_smooth_a_drawing() -> None:
    """Colours of a drawing and a 50 % shrink of it, as literals: black, white and yellow lines."""
    drawing = b"\0\0\0\xff\xff\xff\xff\xff\0"
    filled = with_blends(drawing, 255)
    assert filled.startswith(drawing) and len(filled) <= 765
    shrunk = sample(
        Image.frombytes("RGB", (4, 1), bytes((64, 64, 64, 128, 128, 0, 191, 191, 191, 255, 255, 128)))
    )
    assert shrunk.error(Table(drawing)) > 30
    assert shrunk.error(Table(filled)) < 4


@pytest.mark.parametrize("count", [2, 3, 16, 255])
def test_no_more_colours_than_asked_for(count: int) -> None:
    result = made([picture(1), picture(2)], colors=count, palette="frame")
    for image in result.images:
        used = {colour for colour in np.unique(reference.decode(image)[0]) if colour != image.transparent}
        assert len(used) <= count


def test_mapping_is_exact_where_colours_of_the_palette_nearly_meet() -> None:
    near = b"".join(bytes((100 + r, 100 + g, 100 + b)) for r in range(4) for g in range(4) for b in range(4))
    image = Image.frombytes("RGB", (8, 8), near)
    assert Table(near).map(image).convert("RGB").tobytes() == near


def test_bayer_keeps_a_gradient_s_mean_where_plain_mapping_makes_steps() -> None:
    ramp = np.linspace(0, 255, 256).astype(np.uint8)
    image = Image.fromarray(np.repeat(np.tile(ramp, (64, 1))[..., None], 3, axis=2))

    def blurred(pixels: np.ndarray) -> np.ndarray:
        return pixels[..., :3].astype(float).reshape(8, 8, 32, 8, 3).mean(axis=(1, 3))

    off = {}
    for dither in ("none", "bayer", "fs"):
        frame = next(made([image, image], colors=12, dither=dither).frames())
        off[dither] = float(np.sqrt(np.mean((blurred(frame) - blurred(np.asarray(image))) ** 2)))
    assert off["bayer"] < 0.75 * off["none"]
    assert off["fs"] < 0.5 * off["none"]


def test_metadata_and_user_input_stay_with_their_frames() -> None:
    first, second = frames_of([picture(1), picture(1)])
    clip = Clip(96, 64)
    result = list(quantise(clip, iter([first, second.but(user_input=True)])))
    assert [frame.user_input for frame in result] == [False, True]
    assert [(frame.pts, frame.duration) for frame in result] == [(0, 3), (1, 4)]


def test_the_clip_s_palette_is_set_before_the_first_frame_is_given() -> None:
    clip = Clip(96, 64)
    first = next(quantise(clip, frames_of([picture(1), picture(2)])))
    assert clip.palette is not None and first.palette is None


def test_no_frames_give_none() -> None:
    assert list(quantise(Clip(4, 4), iter(()))) == []


def test_frames_are_drawn_one_ahead_and_not_collected() -> None:
    drawn = []

    def count() -> Iterator[Frame]:
        for frame in frames_of([picture(seed, 16, 16) for seed in range(8)]):
            drawn.append(frame.index)
            yield frame

    result = quantise(Clip(16, 16), count())
    next(result)
    assert drawn == [0, 1]


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: QuantiseOptions(palette="best"), "--palette best"),
        (lambda: QuantiseOptions(dither="yes"), "--dither yes"),
        (lambda: QuantiseOptions(colors=1), "--colors 1"),
    ],
)
def test_wrong_options_are_named(make: Callable[[], QuantiseOptions], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        next(quantise(Clip(4, 4), iter(()), make()))
