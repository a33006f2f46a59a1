"""Resizing: exact on indices, as close as Pillow's whole-frame resize in full colour."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests import reference
from tests.conftest import WELL_FORMED, edited, gif, parsed, same_facts, same_frames
from vedit.errors import UsageError
from vedit.media.frames import Clip, Frame, Rect
from vedit.media.gif.compose import compose
from vedit.media.gif.container import GifReader
from vedit.media.gif.lzw import unpack
from vedit.stages import resize
from vedit.stages.options import Factor, read_options
from vedit.stages.resize import OpenSize, Resize, Target, first_from


def source_pixel(x: int, source: int, target: int) -> int:
    """The source column of output column `x` under nearest: floor((x + 0.5) * source / target)."""
    return (2 * x + 1) * source // (2 * target)


def target(width: int, height: int, /, **given: str) -> Target:
    """What options make of a canvas."""
    stage = resize.make(**read_options("resize", resize.OPTIONS, given))
    stage.open(Clip(width, height))
    return stage.target


def size(width: int, height: int, /, **given: str) -> tuple[int, int]:
    view = target(width, height, **given).view
    return view.w, view.h


def resized(frames: list[Frame], clip: Clip, **options: object) -> list[Frame]:
    stage = Resize(**options)  # type: ignore[arg-type]
    stage.open(clip)
    return list(stage.run(iter(frames)))


def composed(name: str) -> tuple[Clip, list[Frame]]:
    with gif(name).open("rb") as file:
        reader = GifReader(file.read, name)
        return reader.clip, list(compose(reader.clip, unpack(reader.clip, reader.frames())))


# which size


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"size": "100x70"}, (100, 70)),
        ({"size": "100x-1"}, (100, 67)),
        ({"size": "-1x50"}, (75, 50)),
        ({"width": "100"}, (100, 67)),
        ({"width": "100", "height": "-1"}, (100, 67)),
        ({"height": "50"}, (75, 50)),
        ({"width": "99", "height": "50"}, (99, 50)),
        ({"width": "90", "height": "90", "keep_aspect": "true"}, (90, 60)),
        ({"size": "90x90", "keep_aspect": "true"}, (90, 60)),
        ({"width": "90", "keep_aspect": "false"}, (90, 200)),
        ({"scale": "50%"}, (150, 100)),
        ({"scale": "0.125"}, (38, 25)),
        ({"scale": "1/3"}, (100, 67)),
        ({"fit": "120x120"}, (120, 80)),
        ({"fit": "1000x1000", "only_shrink": "true"}, (300, 200)),
        ({"fill": "50x50"}, (50, 50)),
        ({"width": "600", "only_shrink": "true"}, (300, 200)),
        ({"size": "600x100", "only_shrink": "true"}, (300, 100)),
        ({"scale": "0.001"}, (1, 1)),
    ],
)
def test_the_size_of_a_300x200_canvas(options: dict[str, str], expected: tuple[int, int]) -> None:
    assert size(300, 200, **options) == expected


def test_halves_are_rounded_up_and_nothing_vanishes() -> None:
    assert size(5, 3, scale="50%") == (3, 2)
    assert size(400, 1, width="100") == (100, 1)


def test_fill_covers_and_cuts_the_centre() -> None:
    assert target(300, 200, fill="50x50") == Target(75, 50, Rect(12, 0, 50, 50))
    assert target(200, 300, fill="50x50") == Target(50, 75, Rect(0, 12, 50, 50))
    assert target(40, 30, fill="80x80", only_shrink="true") == Target(40, 30, Rect(0, 0, 40, 30))


@pytest.mark.parametrize(
    "options", [{}, {"size": "4x4", "scale": "2"}, {"width": "-1"}, {"width": "-1", "height": "-1"}]
)
def test_exactly_one_way_to_name_the_size(options: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        size(10, 10, **options)
    assert caught.value.right


WRONG = (
    "size 10, size 0x5, size -1x-1, size 16385x1, width 0, scale 0, scale -50%, scale 1/0, fit 10x-1, filter"
    " linear"
)


@pytest.mark.parametrize(("name", "value"), [tuple(pair.split()) for pair in WRONG.split(", ")])
def test_wrong_values_name_their_option(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"resize --{name} {value}"):
        size(10, 10, **{name: value})


def test_a_scale_that_makes_a_side_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match="20000x100"):
        size(200, 1, scale="100")


def test_texts_are_parsed_exactly() -> None:
    assert Factor(100)("33.3%") == Fraction(333, 1000)
    assert OpenSize()("320X240") == (320, 240)
    assert OpenSize()("-1x240") == (None, 240)


# nearest


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 400))
def test_the_columns_of_an_image_are_those_whose_source_lies_in_it(
    source: int, wanted: int, edge: int
) -> None:
    edge = min(edge, source)
    columns = [source_pixel(x, source, wanted) for x in range(wanted)]
    assert columns == [int(np.floor((Fraction(2 * x + 1, 2)) * source / wanted)) for x in range(wanted)]
    assert first_from(edge, source, wanted) == next(
        (x for x, column in enumerate(columns) if column >= edge), wanted
    )


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_nearest_takes_the_exact_column_for_any_two_widths(source: int, wanted: int) -> None:
    ramp = Image.frombytes("L", (source, 1), bytes(x % 251 for x in range(source)))
    (frame,) = resized(
        [Frame(0, 0, 0, "index", Rect(0, 0, source, 1), ramp)],
        Clip(source, 1),
        size=(wanted, 1),
        filter="nearest",
    )
    assert list(frame.pixels.tobytes()) == [source_pixel(x, source, wanted) % 251 for x in range(wanted)]


@pytest.mark.parametrize("scale", ["half", "odd", "larger"])
@pytest.mark.parametrize("name", WELL_FORMED)
def test_nearest_equals_the_nearest_resize_of_every_composed_frame(name: str, scale: str) -> None:
    source = parsed(gif(name))
    width, height = source.size
    w, h = {
        "half": ((width + 1) // 2, (height + 1) // 2),
        "odd": (width * 3 // 7 + 1, height * 5 // 9 + 1),
        "larger": (width + 3, height * 2 - 1),
    }[scale]
    if scale == "larger" and width * height > 50_000:
        pytest.skip("large enough")
    result = edited(name, "resize", f"{w}x{h}", "--filter", "nearest")
    same_frames(result, source, reference.nearest(w, h))
    same_facts(result, source)


@pytest.mark.parametrize(
    "name", ["ok_disposal_mix.gif", "ok_outside_part.gif", "pillow_dispose_bgnd_transparency.gif"]
)
def test_nearest_fill_is_the_centre_of_the_nearest_resize(name: str) -> None:
    source = parsed(gif(name))
    full, _, view = target(*source.size, fill="20x20")[0:2] + (target(*source.size, fill="20x20").view,)
    height = target(*source.size, fill="20x20").full_height
    result = edited(name, "resize", "--fill", "20x20", "--filter", "nearest")
    same_frames(
        result,
        source,
        lambda frame: reference.cropped(view.x, view.y, 20, 20)(reference.nearest(full, height)(frame)),
    )


@pytest.mark.parametrize("name", ["ok_disposal_mix.gif", "ok_local_palettes.gif", "httpx_rich-progress.gif"])
def test_nearest_on_full_colour_frames_gives_the_same(name: str) -> None:
    clip, frames = composed(name)
    change = reference.nearest(31, 17)
    for frame, original in zip(resized(frames, clip, size=(31, 17), filter="nearest"), frames, strict=True):
        assert np.array_equal(np.asarray(frame.pixels), change(np.asarray(original.pixels)))


# filters


@pytest.mark.parametrize("filter", ["box", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("wanted", [(0.5, 0.5), (0.37, 0.81), (1.7, 1.3)])
@pytest.mark.parametrize(
    "name", ["ok_disposal_mix.gif", "ok_disposal1.gif", "ok_transparent_first.gif", "ok_outside_part.gif"]
)
def test_recomputing_what_changed_equals_resizing_whole_frames(
    name: str, wanted: tuple[float, float], filter: str
) -> None:
    """Within two levels, premultiplied: rounded three times, and Pillow keeps the edges of a part in single
    precision.
    """

    def levels(image: Image.Image) -> np.ndarray:
        pixels = np.asarray(image.convert("RGBA"), float)
        return np.concatenate([pixels[..., :3] * pixels[..., 3:] / 255, pixels[..., 3:]], axis=2)

    clip, frames = composed(name)
    w, h = max(1, round(clip.width * wanted[0])), max(1, round(clip.height * wanted[1]))
    results = resized(frames, clip, size=(w, h), filter=filter)
    for number, (frame, original) in enumerate(zip(results, frames, strict=True), 1):
        whole = original.pixels.resize((w, h), Image.Resampling[filter.upper()])
        off = np.abs(levels(frame.pixels) - levels(whole))
        assert off.max() <= (0 if wanted == (0.5, 0.5) and clip.width % 2 == clip.height % 2 == 0 else 2), (
            f"image {number}"
        )


def test_a_small_change_is_recomputed_within_reach_of_the_filter_only() -> None:
    before = Image.new("RGB", (200, 100), "white")
    after = before.copy()
    after.paste((0, 0, 0), (100, 50, 104, 54))
    frames = [
        Frame(0, 0, 1, "rgb", Rect(0, 0, 200, 100), before),
        Frame(1, 1, 1, "rgb", Rect(100, 50, 4, 4), after),
    ]
    second = resized(frames, Clip(200, 100), size=(100, 50))[1]
    assert (second.rect.w, second.rect.h) <= (6, 6)
    assert np.array_equal(
        np.asarray(second.pixels), np.asarray(after.resize((100, 50), Image.Resampling.BILINEAR))
    )


def test_a_frame_without_change_shares_the_picture_before_it() -> None:
    image = Image.new("RGB", (20, 10), "red")
    frames = [
        Frame(0, 0, 1, "rgb", Rect(0, 0, 20, 10), image),
        Frame(1, 1, 5, "rgb", Rect(0, 0, 0, 0), image),
    ]
    first, second = resized(frames, Clip(20, 10), size=(10, 5))
    assert second.pixels is first.pixels and second.rect.is_empty and second.duration == 5


def test_transparent_pixels_do_not_bleed_into_edges() -> None:
    image = Image.new("RGBA", (8, 2), (0, 0, 0, 0))
    image.paste((240, 120, 40, 255), (3, 0, 8, 2))
    (frame,) = resized([Frame(0, 0, 1, "rgba", Rect(0, 0, 8, 2), image)], Clip(8, 2), size=(4, 1))
    pixels = np.asarray(frame.pixels)
    assert np.abs(pixels[pixels[..., 3] >= 128][:, :3].astype(int) - (240, 120, 40)).max() <= 1


def test_fill_in_full_colour_is_the_centre_of_the_resized_frame() -> None:
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 90, 3), np.uint8))
    (frame,) = resized([Frame(0, 0, 1, "rgb", Rect(0, 0, 90, 40), image)], Clip(90, 40), fill=(20, 20))
    whole = image.resize((45, 20), Image.Resampling.BILINEAR).crop((12, 0, 32, 20))
    assert np.abs(np.asarray(frame.pixels, int) - np.asarray(whole, int)).max() <= 1


def test_the_same_size_leaves_frames_alone() -> None:
    frame = Frame(0, 0, 1, "rgb", Rect(0, 0, 9, 7), Image.new("RGB", (9, 7)))
    assert resized([frame], Clip(9, 7), scale=Fraction(1))[0] is frame


def test_jobs_do_not_change_the_result() -> None:
    clip, frames = composed("ok_disposal_mix.gif")
    one, four = (resized(frames, clip.but(jobs=jobs), size=(23, 31)) for jobs in (1, 4))
    assert [frame.pixels.tobytes() for frame in one] == [frame.pixels.tobytes() for frame in four]


@pytest.mark.parametrize(
    "name", ["httpx_rich-progress.gif", "pillow_chi.gif", "t2v_move_mnist.gif", "ok_disposal_mix.gif"]
)
def test_resize_from_the_command_line_is_close_to_the_exact_resize(name: str) -> None:
    """Quality floor of docs/gif.md 3 where there is no peer to ask: 2.0, or 3.5 for photographs."""
    source = parsed(gif(name))
    w, h = (max(1, v // 2) for v in source.size)
    result = reference.read(edited(name, "resize", f"{w}x{h}"))
    assert result.delays == source.delays
    squares = []
    for frame, original in zip(result.frames(), source.frames(), strict=True):
        exact = np.asarray(Image.fromarray(original).resize((w, h), Image.Resampling.BILINEAR), float)
        seen = exact[..., 3] >= 128
        assert np.array_equal(frame[..., 3] > 0, seen)
        squares.append(np.mean((frame[seen].astype(float) - exact[seen])[:, :3] ** 2))
    assert np.sqrt(np.mean(squares)) <= 3.5
