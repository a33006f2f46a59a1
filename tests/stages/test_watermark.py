"""Watermarks: nothing outside them changes, what is inside is the blend, and words say what cannot be seen."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, features

from tests import reference
from tests.conftest import OK, ROOT, WELL_FORMED, edited, gif, parsed, same_facts, same_frames, vedit
from tests.data.make_nasty_gifs import END, gce, header, image
from tests.media.clips import decoded
from tests.random_gifs import random_gif
from vedit.media.frames import Clip, Frame, Rect
from vedit.media.overlay import draw_text
from vedit.stages import watermark
from vedit.stages.options import read_options

FONT = ROOT / "vedit" / "media" / "fonts" / "DejaVuSans.ttf"
DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")


class Mark(NamedTuple):
    """What is drawn, worked out here and not by vedit: coverage 0-255 at a place of the canvas."""

    coverage: np.ndarray
    x: int
    y: int
    colour: tuple[int, int, int] = (255, 255, 255)
    opacity: int = 128

    @property
    def box(self) -> tuple[slice, slice]:
        height, width = self.coverage.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


def letters(text: str, size: int = 24) -> np.ndarray:
    """Coverage of the text without empty borders, as Pillow draws it on black."""
    canvas = Image.new("L", (2000, 400))
    ImageDraw.Draw(canvas).multiline_text((100, 100), text, 255, ImageFont.truetype(FONT, size))
    pixels = np.asarray(canvas, np.int64)
    rows, columns = np.nonzero(pixels.any(1))[0], np.nonzero(pixels.any(0))[0]
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def at_bottom_right(coverage: np.ndarray, width: int, height: int, margin: int = 10, **style: object) -> Mark:
    """The mark where the defaults put it; what is too large starts at the edge and is cut."""
    high, wide = coverage.shape
    x, y = (
        max(0, min(width - wide - margin, width - wide)),
        max(0, min(height - high - margin, height - high)),
    )
    return Mark(coverage[: height - y, : width - x], x, y, **style)  # type: ignore[arg-type]


def blended(frame: np.ndarray, mark: Mark) -> np.ndarray:
    """A composed frame with the mark: the exact blend, and over nothing a pixel from half opacity on."""
    result = frame.astype(np.float64)
    part = result[mark.box]
    weight = mark.coverage.astype(np.float64)[..., None] * mark.opacity
    colour = np.array(mark.colour, np.float64)
    over = np.rint(part[..., :3] + (colour - part[..., :3]) * weight / 255**2)
    drawn = weight >= 128 * 255
    opaque = part[..., 3:] == 255
    part[..., :3] = np.where(opaque, over, np.where(drawn, colour, 0))
    part[..., 3:] = np.where(opaque | drawn, 255, 0)
    return result.astype(np.uint8)


def check(
    result: bytes, source: reference.Gif, mark: Mark, first: int = 1, last: int | None = None
) -> list[float]:
    """Hold every composed frame against the blend: alpha everywhere, colours outside; gives the errors
    inside.
    """
    found = reference.read(result)
    assert len(found.images) == len(source.images)
    errors = []
    for number, (frame, original) in enumerate(zip(found.frames(), source.frames(), strict=True), 1):
        if not first <= number <= (last or number):
            assert np.array_equal(frame, original), f"image {number} has no watermark and differs"
            continue
        wanted = blended(original, mark)
        assert np.array_equal(frame[..., 3], wanted[..., 3]), f"image {number}: transparency"
        touched = np.zeros(frame.shape[:2], bool)
        touched[mark.box] = mark.coverage > 0
        assert np.array_equal(frame[~touched], original[~touched]), f"image {number}: a pixel outside differs"
        difference = frame[mark.box].astype(float)[..., :3] - wanted[mark.box][..., :3]
        errors.append(float(np.sqrt((difference**2).mean())) if difference.size else 0.0)
    return errors


@pytest.mark.parametrize("name", WELL_FORMED)
def test_no_pixel_outside_the_letters_changes(name: str) -> None:
    source = parsed(gif(name))
    result = edited(name, "watermark", "--text", "(c) me", "--font-size", "12", "-q")
    check(result, source, at_bottom_right(letters("(c) me", 12), source.width, source.height))
    same_facts(result, source)


@pytest.mark.parametrize(
    "name",
    [name for name in OK if "disposal" in name or "trans" in name or "local" in name or "outside" in name],
)
@pytest.mark.parametrize("span", ["2-3", "3", "2-"])
def test_a_range_of_images_leaves_the_others_bit_for_bit(name: str, span: str) -> None:
    source = parsed(gif(name))
    first, _, last = span.partition("-")
    result = edited(name, "watermark", "--text", "mark", "--font-size", "14", "--frames", span, "-q")
    mark = at_bottom_right(letters("mark", 14), source.width, source.height)
    check(result, source, mark, int(first), None if span.endswith("-") else int(last or first))


@pytest.mark.parametrize("tens", range(8))
def test_random_gifs_keep_every_pixel_outside(tens: int, tmp_path: Path) -> None:
    for seed in range(10 * tens, 10 * tens + 10):
        path = tmp_path / f"{seed}.gif"
        path.write_bytes(random_gif(seed))
        source = parsed(path)
        for span in ("1-", "2-3"):
            result = vedit(
                "gif",
                "watermark",
                "--text",
                "Mm",
                "--font-size",
                "12",
                "--margin",
                "2",
                "--frames",
                span,
                path,
            )
            assert result.code == 0, result.err
            if "no room" in result.err or "all 256" in result.err:
                continue  # said, and only possible with hundreds of colours in one image
            mark = at_bottom_right(letters("Mm", 12), source.width, source.height, 2)
            check(result.out, source, mark, *((1, None) if span == "1-" else (2, 3)))


RAMP = [(i, 40 + i // 2, 255 - i) for i in range(248)]  # leaves eight slots of a palette


def test_eight_free_slots_are_enough_over_a_few_colours(tmp_path: Path) -> None:
    """All 248 colours are used outside the letters, eight of them under them."""
    pixels = bytes(100 + x // 20 if y >= 50 else (x + y * 160) % 248 for y in range(100) for x in range(160))
    assert max(_errors(tmp_path, RAMP, pixels, 160, 100)) <= 3.0


def test_eight_free_slots_are_used_as_well_as_they_can_be(tmp_path: Path) -> None:
    """Over a hundred colours the best of 30 runs of k-means beside the palette reaches 3.75: 3.0 is out of
    reach.
    """
    pixels = bytes(min(247, (x + y) * 248 // 260) for y in range(100) for x in range(160))
    assert max(_errors(tmp_path, RAMP, pixels, 160, 100)) <= 1.1 * 3.75


def test_the_blend_is_close_in_a_grey_picture_without_a_free_slot(tmp_path: Path) -> None:
    pixels = bytes((x * 255 // 319 + y) % 256 for y in range(100) for x in range(320))
    assert max(_errors(tmp_path, [(i, i, i) for i in range(256)], pixels, 320, 100)) <= 1.0


def test_without_a_free_slot_every_pixel_gets_the_nearest_colour_there_is(tmp_path: Path) -> None:
    """The best that an image with 256 colours can show; vedit may miss it by a quarter of a level."""
    rng = np.random.default_rng(5)
    table = np.unique(rng.integers(0, 256, (400, 3)), axis=0)[:256]
    pixels = rng.integers(0, 256, (60, 100)).astype(np.uint8)
    pixels[:3, :100].flat[:256] = np.arange(256)
    mark = at_bottom_right(letters("nearest", 20), 100, 60)
    source, result = _marked(
        tmp_path, [tuple(map(int, c)) for c in table], pixels.tobytes(), 100, 60, "nearest", 20
    )
    wanted = blended(next(iter(source.frames())), mark)[mark.box][..., :3].astype(float)
    distances = ((wanted[:, :, None] - table[None, None]) ** 2).sum(3).min(2)
    best = np.sqrt(np.where(mark.coverage > 0, distances, 0).mean() / 3)
    assert check(result, source, mark)[0] <= best + 0.25


def _marked(
    folder: Path,
    colours: list[tuple[int, int, int]],
    pixels: bytes,
    width: int,
    height: int,
    text: str,
    size: int = 24,
) -> tuple[reference.Gif, bytes]:
    path = folder / "in.gif"
    path.write_bytes(header(width, height, colours, 8) + gce() + image(width, height, pixels, mcs=8) + END)
    return reference.read(path.read_bytes()), edited(
        path, "watermark", "--text", text, "--font-size", str(size)
    )


def _errors(
    folder: Path, colours: list[tuple[int, int, int]], pixels: bytes, width: int, height: int
) -> list[float]:
    source, result = _marked(folder, colours, pixels, width, height, "(c) vedit")
    return check(result, source, at_bottom_right(letters("(c) vedit"), width, height))


LIMITS = {
    "pillow_chi.gif": 3.0,
    "httpx_rich-progress.gif": 3.0,
    "minrf_51.gif": 3.0,
    "fatezero_fox_512.gif": 8.0,
    "t2v_move_mnist.gif": 8.0,
}


@pytest.mark.parametrize(("name", "most"), LIMITS.items())
def test_real_clips_show_the_blend(name: str, most: float) -> None:
    source = parsed(gif(name))
    result = edited(name, "watermark", "--text", "(c) vedit")
    assert (
        max(check(result, source, at_bottom_right(letters("(c) vedit"), source.width, source.height))) <= most
    )


def test_opacity_0_changes_nothing_and_decodes_nothing() -> None:
    for name in OK:
        result = vedit("gif", "watermark", "--text", "x", "--opacity", "0", "--info", gif(name))
        assert (result.code, result.err) == (0, "copy\n")
        same_frames(result.out, parsed(gif(name)))
        same_facts(result.out, parsed(gif(name)))


def test_the_path_is_called_recolour(tmp_path: Path) -> None:
    result = vedit("gif", "watermark", "--text", "x", "--info", "-o", tmp_path / "o.gif", gif("ok_plain.gif"))
    assert (result.code, result.err) == (0, "recolour\n")


def test_equal_palettes_are_extended_once(tmp_path: Path) -> None:
    """A clip with one global palette and free slots stays a clip with one global palette."""
    result = reference.read(edited("ok_static_dupes.gif", "watermark", "--text", "hi", "--font-size", "12"))
    assert [image.palette for image in result.images] == [None] * 12
    assert len(result.palette or b"") > len(parsed(gif("ok_static_dupes.gif")).palette or b"")


def logo(path: Path, side: int = 12) -> np.ndarray:
    """A picture whose alpha rises from left to right."""
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, np.linspace(0, 255, side).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels[:, 1:, 3].astype(np.int64)  # the first column is empty


@pytest.mark.parametrize("position", ["top-left", "top-right", "bottom-left", "bottom-right", "center"])
def test_a_logo_is_blended_by_its_own_alpha_at_its_place(position: str, tmp_path: Path) -> None:
    coverage = logo(tmp_path / "logo.png")
    source = parsed(gif("ok_plain.gif"))
    result = edited(
        "ok_plain.gif",
        "watermark",
        "--image",
        str(tmp_path / "logo.png"),
        "--position",
        position,
        "--margin",
        "3",
        "--opacity",
        "200",
    )
    high, wide = coverage.shape
    x = {"t": 3, "b": 3}[position[0]] if "left" in position else source.width - wide - 3
    y = 3 if "top" in position else source.height - high - 3
    if position == "center":
        x, y = (source.width - wide) // 2, (source.height - high) // 2
    assert max(check(result, source, Mark(coverage, x, y, (200, 0, 0), 200))) <= 3.0


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_full_colour_frames_get_the_exact_blend(mode: str) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (60, 200, 4)).astype(np.uint8)
    pixels[..., 3] = np.where(rng.random((60, 200)) < 0.3, 0, 255)
    pixels[pixels[..., 3] == 0] = 0
    picture = Image.fromarray(pixels).convert(mode)
    stage = _stage(text="exact", color="#ff8000", opacity="137")
    clip = stage.open(Clip(200, 60))
    frame = next(iter(stage.run(iter([Frame(0, 0, 1, mode.lower(), clip.canvas, picture)]))))
    mark = at_bottom_right(letters("exact"), 200, 60, colour=(255, 128, 0), opacity=137)
    opaque = np.asarray(picture.convert("RGBA"))[..., 3:] == 255
    wanted, found = (
        blended(np.asarray(picture.convert("RGBA")), mark),
        np.asarray(frame.pixels.convert("RGBA")),
    )
    assert np.array_equal(np.where(opaque, found, 0), np.where(opaque, wanted, 0))
    alpha = np.zeros((60, 200))
    alpha[mark.box] = mark.coverage * 137 / 255
    assert np.abs(np.where(opaque[..., 0], 0, found[..., 3] - alpha)).max() <= 0.5
    assert frame.pixels.mode == mode


def test_half_transparent_pixels_are_composed_by_the_porter_duff_formula() -> None:
    """Soft alpha comes from video with transparency; within one level, as both steps round."""
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (40, 120, 4)).astype(np.uint8)
    stage = _stage(text="soft", opacity="90")
    clip = stage.open(Clip(120, 40))
    frame = next(iter(stage.run(iter([Frame(0, 0, 1, "rgba", clip.canvas, Image.fromarray(pixels))]))))
    mark = at_bottom_right(letters("soft"), 120, 40)
    over = np.zeros((40, 120, 1))
    over[mark.box] = mark.coverage[..., None] * 90 / 255**2
    under = pixels[..., 3:] / 255
    alpha = over + under * (1 - over)
    colour = (255 * over + pixels[..., :3] * under * (1 - over)) / np.maximum(alpha, 1e-9)
    found = np.asarray(frame.pixels).astype(float)
    assert np.abs(found[..., 3:] - alpha * 255).max() <= 0.51
    assert np.abs(np.where(alpha > 0.01, found[..., :3] - colour, 0)[mark.box]).max() <= 0.51


def test_a_range_on_full_colour_marks_where_it_comes_and_goes_as_changed() -> None:
    stage = _stage(text="x", frames="2-3")
    clip = stage.open(Clip(80, 40))
    picture = Image.new("RGB", (80, 40))
    frames = list(stage.run(Frame(i, i, 1, "rgb", Rect(0, 0, 1, 1), picture) for i in range(5)))
    assert [frame.pixels.getbbox() is not None for frame in frames] == [False, True, True, False, False]
    assert [frame.rect != Rect(0, 0, 1, 1) for frame in frames] == [False, True, False, True, False]
    assert clip.width == 80


@pytest.mark.parametrize(("told", "count"), [(9, 3), (2, 4), (None, 3)])
def test_a_range_behind_the_last_image_is_told_by_their_number_and_not_by_a_guess(
    told: int | None, count: int
) -> None:
    said = list[str]()
    stage = _stage(text="x", frames="4-")
    stage.open(Clip(80, 40, frames_hint=told, warn=said.append))
    picture = Image.new("RGB", (80, 40))
    frames = list(stage.run(Frame(i, i, 1, "rgb", Rect(0, 0, 1, 1), picture) for i in range(count)))
    assert len(frames) == count
    expected = [] if count == 4 else ["--frames starts at image 4, and there are only 3: nothing is drawn"]
    assert said == expected


def _stage(**given: str) -> watermark.Watermark:
    return watermark.make(**read_options("watermark", watermark.OPTIONS, given))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "does not say what to write"),
        (("--text", "a", "--image", "b.png"), "got --text TEXT and --image FILE"),
        (("--image", "b.png", "--outline", "2"), "--outline has no meaning with --image"),
        (("--text", "a", "--scale", "50%"), "--scale has no meaning with --text"),
        (("--text", " "), "expected something to write"),
        (("--text", "a", "--font-size", "9"), "expected a whole number from 10 to 50"),
        (("--text", "a", "--opacity", "256"), "expected a whole number from 0 to 255"),
        (("--text", "a", "--position", "botom-left"), "did you mean bottom-left?"),
        (("--text", "a", "--frames", "3-2"), "expected a range such as 10-20"),
        (("--image", "b.png", "--scale", "1e999999999"), "expected a factor such as 0.5"),
    ],
)
def test_wrong_options_are_refused_with_what_would_be_right(given: tuple[str, ...], words: str) -> None:
    result = vedit("gif", "watermark", *given, gif("ok_plain.gif"))
    assert result.code == 2
    assert words in result.err


def test_files_that_are_no_font_or_picture_are_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.bin"
    junk.write_bytes(b"junk")
    for given, words in ((("--text", "a", "--font"), "not a font"), (("--image",), "not a picture")):
        result = vedit("gif", "watermark", *given, junk, gif("ok_plain.gif"))
        assert result.code == 3
        assert words in result.err and str(junk) in result.err
        assert vedit("gif", "watermark", *given, tmp_path / "none", gif("ok_plain.gif")).code == 3


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("漢a", "漢 (CJK UNIFIED IDEOGRAPH-6F22)"),
        ("שלום", "ש (HEBREW LETTER SHIN)"),
        ("ok 😀", "😀 (GRINNING FACE)"),
        ("漢字仮名交文", "and 1 more"),
        ("a\x07b", "(U+0007)"),
    ],
)
def test_characters_that_the_font_lacks_are_named_before_any_work(
    text: str, named: str, tmp_path: Path
) -> None:
    result = vedit(
        "gif", "watermark", "--text", text, "--font-size", "10", gif("ok_plain.gif"), "-o", tmp_path / "o.gif"
    )
    assert result.code == 2 and named in result.err and "--font FILE" in result.err
    assert not (tmp_path / "o.gif").exists()


@pytest.mark.parametrize(
    "text",
    [
        "José Müller ñ ß € ®",
        "Łódź ŭ ğ ș ő İı",
        "Ελληνικά ᾦ",
        "Привет, Київ Ѩ",
        "Tiếng Việt",
        "“quotes” — … ½ № ™ ♥ → ✓",
        "\u200bzero\ufe0f \u200emarks",
    ],
)
def test_the_built_in_font_has_latin_greek_and_cyrillic_letters(text: str) -> None:
    result = vedit("gif", "watermark", "--text", text, "--font-size", "10", "-q", gif("ok_plain.gif"))
    assert (result.code, result.err) == (0, "")


def test_a_letter_and_its_accent_are_drawn_as_the_one_letter_that_they_make() -> None:
    composed, apart = (
        draw_text(text, None, 24, (0, 0, 0)).coverage for text in ("é ñ Å", "e\u0301 n\u0303 A\u030a")
    )
    assert composed.size == apart.size and composed.tobytes() == apart.tobytes()


def test_text_that_runs_from_right_to_left_is_laid_out_or_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not DEJAVU.exists() or not features.check("raqm"):
        pytest.skip("needs DejaVu Sans, and Pillow with FriBiDi")
    given = (
        "gif",
        "watermark",
        "--text",
        "אב",
        "--font",
        DEJAVU,
        "--font-size",
        "30",
        "-q",
        gif("ok_plain.gif"),
    )
    assert vedit(*given).err == ""
    # what comes first in the text stands to the right
    first, both = (draw_text(text, str(DEJAVU), 30, (0, 0, 0)).coverage for text in ("א", "אב"))
    right = both.crop((both.width - first.width, 0, both.width, both.height))
    assert right.crop(right.getbbox()).tobytes() == first.tobytes()
    monkeypatch.setattr("vedit.media.overlay.can_run_from_right", lambda: False)
    assert "FriBiDi" in vedit(*(part for part in given if part != "-q")).err


@pytest.mark.parametrize("option", ["--font", "--image"])
def test_a_pipe_as_font_or_logo_is_not_waited_for(option: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    given = (("--text", "a") if option == "--font" else ()) + (option, tmp_path / "pipe")
    result = vedit("gif", "watermark", *given, gif("ok_plain.gif"))
    assert result.code == 3 and "not a file" in result.err


def test_a_text_or_logo_larger_than_any_canvas_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (1100, 1100), "red").save(tmp_path / "logo.png")
    for given in (
        ("--text", "m" * 80_000, "--font-size", "50"),
        ("--image", tmp_path / "logo.png", "--scale", "100"),
    ):
        result = vedit("gif", "watermark", *given, gif("ok_plain.gif"))
        assert result.code == 2 and "million pixels" in result.err


@pytest.mark.skipif(not DEJAVU.exists(), reason="needs DejaVu Sans")
def test_another_font_has_other_characters() -> None:
    assert (
        vedit(
            "gif", "watermark", "--text", "→Ω", "--font", DEJAVU, "--font-size", "10", gif("ok_plain.gif")
        ).err
        == ""
    )


def test_the_size_that_would_fit_fits_and_the_next_does_not() -> None:
    result = vedit("gif", "watermark", "--text", "wide text", "--font-size", "40", gif("ok_plain.gif"))
    size = int(result.err.split("--font-size ")[1].split()[0])
    assert letters("wide text", size).shape[1] <= 64 < letters("wide text", size + 1).shape[1]
    assert (
        vedit("gif", "watermark", "--text", "wide text", "--font-size", str(size), gif("ok_plain.gif")).err
        == ""
    )


def test_backslash_n_is_a_new_line() -> None:
    two = edited("ok_noise.gif", "watermark", "--text", "a\\nb")
    assert two == edited("ok_noise.gif", "watermark", "--text", "a\nb")
    source = parsed(gif("ok_noise.gif"))
    check(two, source, at_bottom_right(letters("a\nb"), source.width, source.height))


def test_an_outline_surrounds_the_letters() -> None:
    plain, outlined = (
        _stage(text="i", opacity="255"),
        _stage(text="i", opacity="255", outline="3", outline_color="#ff0000"),
    )
    for stage in (plain, outlined):
        stage.open(Clip(100, 60))
    assert (
        outlined.overlay.rect.w == plain.overlay.rect.w + 6
        and outlined.overlay.rect.h == plain.overlay.rect.h + 6
    )
    colours = np.asarray(outlined.overlay.colours)[np.asarray(outlined.overlay.coverage) == 255]
    assert {(255, 0, 0), (255, 255, 255)} <= {tuple(map(int, colour)) for colour in colours}


def test_any_number_of_threads_gives_the_same_bytes() -> None:
    assert edited("ok_disposal_mix.gif", "watermark", "--text", "x", "-j", "1") == edited(
        "ok_disposal_mix.gif", "watermark", "--text", "x", "-j", "4"
    )


def test_the_result_is_readable_by_pillow() -> None:
    with Image.open(io.BytesIO(edited("ok_disposal2.gif", "watermark", "--text", "x"))) as picture:
        assert picture.n_frames == 6


def box_of_change(name: str, *arguments: str) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what a watermark changes in the first image."""
    source = next(parsed(gif(name)).frames())
    done = vedit("gif", "watermark", *arguments, gif(name))
    assert done.code == 0, done.err
    rows, columns = np.nonzero((next(reference.read(done.out).frames()) != source).any(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def block(tmp_path: Path, width: int, height: int) -> str:
    path = tmp_path / "block.png"
    Image.new("RGB", (width, height), (1, 2, 250)).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("place", "box"),
    [
        (("--at", "7,9"), (7, 9, 17, 15)),
        (("--at", "50%+25%"), (32, 12, 42, 18)),
        (("--position", "bottom-center", "--margin", "3"), (27, 39, 37, 45)),
        (("--position", "top-center", "--margin", "3"), (27, 3, 37, 9)),
        (("--position", "center-left", "--margin", "2"), (2, 21, 12, 27)),
        (("--position", "center-right", "--margin", "2"), (52, 21, 62, 27)),
    ],
)
def test_a_drawing_goes_where_it_is_told_to(
    place: tuple[str, ...], box: tuple[int, int, int, int], tmp_path: Path
) -> None:
    logo = block(tmp_path, 10, 6)
    assert box_of_change("ok_plain.gif", "--image", logo, "--opacity", "255", *place) == box


def test_any_size_of_letters_is_said_in_pixels() -> None:
    name, opaque = "imagegif_gifplayer-muybridge.gif", ("--opacity", "255", "--color", "red")
    small = box_of_change(name, "--text", "X", "--font-size", "50", *opaque)
    large = box_of_change(name, "--text", "X", "--font-size", "150px", *opaque)
    assert abs((large[3] - large[1]) - 3 * (small[3] - small[1])) <= 3


SRT = "1\n00:00:00,000 --> 00:00:01,000\n<i>one</i>\n\n2\n00:00:02,000 --> 00:00:03,500\ntwo\nlines\n"


@pytest.mark.parametrize("words", [SRT, "# a comment\n0-1 one\n2-3.5 two\\nlines\n"])
@pytest.mark.parametrize("sink", ["gif", "nut"])
def test_captions_are_shown_for_their_times_alone(words: str, sink: str, tmp_path: Path) -> None:
    captions, result = tmp_path / "words.srt", tmp_path / f"out.{sink}"
    captions.write_text(words, encoding="utf-8")
    source = parsed(gif("minrf_51.gif"))  # 51 images of 10 cs
    arguments = ("watermark", "--captions", captions, "--position", "bottom-center", "--opacity", "255")
    done = vedit("gif", *map(str, arguments), "--color", "red", gif("minrf_51.gif"), "-o", result)
    assert (done.code, done.err) == (0, "")
    shown = (
        [np.asarray(frame) for frame in decoded(result, source.size)]
        if sink == "nut"
        else [frame[..., :3] for frame in reference.read(result.read_bytes()).frames()]
    )
    pictures = zip(shown, source.frames(), strict=True)
    changed = [i for i, (now, then) in enumerate(pictures) if not np.array_equal(now, then[..., :3])]
    assert changed == [*range(10), *range(20, 35)]


def test_an_animated_logo_plays_by_its_own_clock_and_begins_anew(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    first, *rest = (Image.new("RGB", (8, 8), colour) for colour in colours)
    first.save(tmp_path / "logo.gif", save_all=True, append_images=rest, duration=[200, 100, 300])
    result = edited(
        "minrf_51.gif", "watermark", "--image", str(tmp_path / "logo.gif"), "--opacity", "255", "--at", "4,4"
    )
    shown = [tuple(int(v) for v in frame[6, 6, :3]) for frame in reference.read(result).frames()]
    turn = [colours[0]] * 2 + [colours[1]] + [colours[2]] * 3
    assert shown == [turn[i % 6] for i in range(51)]


@pytest.mark.parametrize("text", ["Ærøskøbing ĳ", "Ελληνικά ώς", "Русский Їжак ѣ"])
def test_the_font_that_comes_along_has_latin_greek_and_cyrillic_letters(text: str) -> None:
    done = vedit("gif", "watermark", "--text", text, "--font-size", "10", gif("minrf_51.gif"))
    assert done.code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--text", "a", "--at", "7"], 2),
        (["--text", "a", "--at", "7,x"], 2),
        (["--text", "a", "--at", "70,9"], 2),
        (["--text", "a", "--at", "7,9", "--position", "center"], 2),
        (["--text", "a", "--font-size", "51"], 2),
        (["--text", "a", "--font-size", "0px"], 2),
        (["--text", "a", "--font-size", "9999px"], 2),
        (["--captions", "nothing.srt"], 3),
        (["--captions", "EMPTY"], 3),
        (["--captions", "WRONG"], 3),
        (["--captions", "BINARY"], 3),
        (["--captions", "TURNED"], 3),
        (["--captions", "EMPTY", "--text", "a"], 2),
        (["--captions", "EMPTY", "--frames", "1-2"], 2),
    ],
)
def test_places_sizes_and_captions_that_make_no_sense_are_refused(
    arguments: list[str], code: int, tmp_path: Path
) -> None:
    contents = {"EMPTY": b"", "WRONG": b"hello\n", "BINARY": b"\xff\xfe\x00", "TURNED": b"3-2 hello\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    given = [str(tmp_path / word) if word in contents else word for word in arguments]
    done = vedit("gif", "watermark", *given, gif("ok_plain.gif"))
    assert (done.code, done.out) == (code, b""), done.err


@pytest.mark.parametrize("outline", [1, 3, 7])
def test_every_line_has_its_outline_around_it(outline: int) -> None:
    drawing = draw_text("Ab\nCd\nEf", None, 40, (255, 255, 255), outline, (0, 0, 0))
    letters = np.nonzero((np.asarray(drawing.colours)[..., 0] > 128).any(1))[0]
    whole = np.nonzero((np.asarray(drawing.coverage) > 128).any(1))[0]
    ends = [np.split(rows, np.nonzero(np.diff(rows) > 1)[0] + 1) for rows in (letters, whole)]
    assert len(ends[0]) == len(ends[1]) == 3
    for inner, outer in zip(*ends, strict=True):
        assert (inner[0] - outer[0], outer[-1] - inner[-1]) == (outline, outline)


def test_sizes_are_taken_as_shares_too() -> None:
    name, opaque = "imagegif_gifplayer-muybridge.gif", ("--opacity", "255", "--color", "red", "--text", "X")
    whole = parsed(gif(name)).size
    pixels = round(whole[1] * 0.2)
    same = (("--font-size", "20%", "--margin", "0"), ("--font-size", f"{pixels}px", "--margin", "0"))
    assert box_of_change(name, *opaque, *same[0]) == box_of_change(name, *opaque, *same[1])
    for wrong in (("--font-size", "51%"), ("--margin", "x%"), ("--outline", "60%")):
        assert vedit("gif", "watermark", *opaque, *wrong, gif(name)).code == 2


def test_a_palette_that_was_made_for_one_image_serves_those_that_follow() -> None:
    ramp = np.add.outer(
        np.arange(40) * 2, np.arange(200)
    )  # of all colours, so that none of their slots is free
    data = header(200, 40, [(i, 255 - i, i * 7 % 256) for i in range(200)], bits=8)
    for number in range(40):
        data += gce() + image(200, 40, ((ramp + 3 * number) % 200).astype(np.uint8).tobytes(), mcs=8)
    done = vedit("gif", "watermark", "--text", "vedit", "--font-size", "20", stdin=data + END)
    own = [image.palette for image in reference.read(done.out).images if image.palette is not None]
    assert len(own) >= 10  # the ground moves on, and the first palette no longer does
    assert len(set(own)) <= len(own) / 2
