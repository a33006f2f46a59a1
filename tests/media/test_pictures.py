"""Pictures of every mode and format, held against formulas, NumPy and Pillow's own writers; and hostile ones."""

from __future__ import annotations

import os
import re
import struct
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, gif, vedit
from tests.media.clips import noise
from tests.pictures import chunk, header, packed, png, samples, saved, tiff
from tests.random_gifs import corrupted
from vedit.errors import InputError, LimitError
from vedit.media.avif import avif_loop
from vedit.media.limits import Limits
from vedit.media.open import open_clip
from vedit.media.options import ReadOptions
from vedit.media.overlay import load_picture
from vedit.media.pictures import kind_of, read_file

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n(code) =\n%%EOF\n"
FOREIGN = {
    "eps": EPS,
    "eps in a DOS binary": struct.pack("<IIIIIIIH", 0xC6D3D0C5, 30, len(EPS), 0, 0, 0, 0, 0) + EPS,
    "psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 4, 4, 8, 3) + bytes(60),
    "icns": b"icns" + struct.pack(">I", 40) + b"ic07" + struct.pack(">I", 32) + bytes(24),
    "wmf": b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<hhhhH", 0, 0, 100, 100, 72) + bytes(40),
    "emf": struct.pack("<II", 1, 108) + bytes(32) + b" EMF" + bytes(68),
    "fits": b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
    "xpm": b'/* XPM */\nstatic char *a[] = {"1 1 1 1","a c #000000","a"};',
    "xbm": b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {0x00};\n",
    "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
    "spider": struct.pack("<27f", *[1.0] * 27),
    "pcx": b"\x0a\x05\x01\x08" + bytes(124),
    "fli": struct.pack("<IHHHH", 200, 0xAF11, 1, 8, 8) + bytes(120),
    "pdf": b"%PDF-1.4\n" + bytes(60),
}
FOREIGN |= {kind: saved(noise(16, 16), kind) for kind in ("ICO", "DDS", "SGI", "QOI", "JPEG2000")}


def frames_of(data: bytes, folder: Path, warn: list[str] | None = None) -> list[np.ndarray]:
    path = folder / "a.bin"
    path.write_bytes(data)
    _, frames, _ = open_clip(str(path), warn=(warn if warn is not None else []).append)
    return [np.asarray(frame.pixels) for frame in frames]


def still(data: bytes, folder: Path) -> np.ndarray:
    [frame] = frames_of(data, folder)
    return frame


# --- which formats -------------------------------------------------------------------------------


def test_only_one_place_of_the_package_opens_pictures_and_it_names_the_format() -> None:
    found = [
        (path.relative_to(ROOT).as_posix(), line.strip())
        for path in sorted((ROOT / "vedit").rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(
            r"\bImage\.open\(|ImageFile\.open|from PIL\.Image import"
            r" .*\bopen\b|load_image\(|imread\(|read_image\(",
            line,
        )
    ]
    assert found == [("vedit/media/pictures.py", "image = Image.open(file, formats=(kind,))")]


@pytest.mark.parametrize("kind", sorted(FOREIGN))
def test_no_other_format_reaches_pillow_whatever_its_name(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.init()

    def refuse(*args: object) -> None:
        raise AssertionError("a reader of another format was called")

    allowed = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "TGA")
    monkeypatch.setattr(
        Image,
        "OPEN",
        {name: entry if name in allowed else (refuse, refuse) for name, entry in Image.OPEN.items()},
    )
    (tmp_path / "frames").mkdir()
    for name in ("frames/0001.png", "logo.png"):
        (tmp_path / name).write_bytes(FOREIGN[kind])
    with pytest.raises(InputError, match="not a picture"):
        open_clip(str(tmp_path / "frames"))
    with pytest.raises(InputError, match="not a picture"):
        load_picture(str(tmp_path / "logo.png"), Fraction(1))


def test_every_format_that_is_read_is_told_by_its_first_bytes() -> None:
    names = {
        "png": "PNG",
        "apng": "PNG",
        "webp": "WEBP",
        "avif": "AVIF",
        "jpg": "JPEG",
        "bmp": "BMP",
        "tif": "TIFF",
        "ppm": "PPM",
        "tga": "TGA",
    }
    assert {kind: {kind_of(data[:64]) for data in files} for kind, files in samples().items()} == {
        kind: {name} for kind, name in names.items()
    }


# --- modes ---------------------------------------------------------------------------------------

DEEP = np.array([[0, 1, 127, 128, 129, 1000, 32767, 32768, 65407, 65535]], np.uint16)


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(DEEP), "PNG"),
        saved(Image.fromarray(DEEP), "TIFF"),
        saved(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw"),
        saved(Image.frombytes("I;16B", (10, 1), DEEP.astype(">u2").tobytes()), "TIFF"),
        b"P5 10 1 65535\n" + DEEP.astype(">u2").tobytes(),
    ],
    ids=["png", "tiff", "lzw", "big-endian", "pgm"],
)
def test_grey_of_16_bits_is_scaled(data: bytes, tmp_path: Path) -> None:
    assert still(data, tmp_path)[..., 0].tolist() == np.rint(DEEP / 257).astype(int).tolist()


def test_grey_of_16_bits_where_white_is_zero_is_turned_over(tmp_path: Path) -> None:
    data = tiff(10, 1, 16, 0, DEEP.astype("<u2").tobytes())
    assert still(data, tmp_path)[..., 0].tolist() == (255 - np.rint(DEEP / 257)).astype(int).tolist()


def test_grey_of_12_bits_reaches_white(tmp_path: Path) -> None:
    values = [0, 2048, 4095, 100]
    bits = int("".join(f"{value:012b}" for value in values), 2).to_bytes(6, "big")
    assert still(tiff(4, 1, 12, 1, bits), tmp_path)[0, :, 0].tolist() == [
        round(value / 4095 * 255) for value in values
    ]


def test_colours_of_16_bits_keep_their_upper_half(tmp_path: Path) -> None:
    row = struct.pack(">8H", 0xFFFF, 0x8000, 0x00FF, 0x4000, 0x1234, 0x0100, 0xFF00, 0xFFFF)
    assert still(png(2, 1, 16, 6, [row]), tmp_path)[0].tolist() == [[255, 128, 0, 64], [18, 1, 255, 255]]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_without_a_white_are_told(mode: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"which of them is white.*\n.*Scale them|which of them is white"):
        still(saved(Image.new(mode, (4, 4), 1), "TIFF"), tmp_path)


KEYED = {
    "1 bit": (1, 0, b"\x40", struct.pack(">H", 1), [255, 0, 255], [0, 1, 0]),
    "2 bits": (2, 0, b"\x1b", struct.pack(">H", 1), [255, 0, 255, 255], [0, 85, 170, 255]),
    "4 bits": (4, 0, b"\x3f", struct.pack(">H", 3), [0, 255], [51, 255]),
    "8 bits": (8, 0, b"\x03\xff", struct.pack(">H", 3), [0, 255], [3, 255]),
    "16 bits": (16, 0, struct.pack(">HH", 1000, 1001), struct.pack(">H", 1000), [0, 255], [4, 4]),
    "rgb": (8, 2, b"\1\2\3\1\2\4", struct.pack(">HHH", 1, 2, 3), [0, 255], [1, 1]),
    "deep rgb": (
        16,
        2,
        struct.pack(">6H", 65535, 0, 0x1234, 0, 65535, 128),
        struct.pack(">HHH", 65535, 0, 0x1234),
        [0, 255],
        [255, 0],
    ),
    "palette": (8, 3, b"\0\1\2", b"\0\x80", [0, 128, 255], [9, 8, 7]),
}


@pytest.mark.parametrize("case", sorted(KEYED))
def test_a_transparency_chunk_hides_what_it_names(case: str, tmp_path: Path) -> None:
    depth, colour, row, key, alpha, red = KEYED[case]
    palette = chunk(b"PLTE", bytes([9, 0, 0, 8, 0, 0, 7, 0, 0])) if colour == 3 else b""
    pixels = still(png(len(alpha), 1, depth, colour, [row], palette + chunk(b"tRNS", key)), tmp_path)
    assert pixels[0, :, 3].tolist() == alpha
    shown = [level for level, opacity in zip(pixels[0, :, 0].tolist(), alpha, strict=True) if opacity]
    assert shown == [
        level * 255 if depth == 1 else level for level, opacity in zip(red, alpha, strict=True) if opacity
    ]


def test_grey_with_alpha_keeps_it(tmp_path: Path) -> None:
    assert still(saved(Image.new("LA", (1, 1), (100, 50)), "PNG"), tmp_path).tolist() == [
        [[100, 100, 100, 50]]
    ]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_shows_the_colours_it_was_made_from(kind: str, tmp_path: Path) -> None:
    data = saved(Image.new("RGB", (16, 16), (200, 100, 50)).convert("CMYK"), kind)
    assert np.abs(still(data, tmp_path).astype(int) - (200, 100, 50)).max() <= 2


def test_bitmaps_of_16_bits_are_read(tmp_path: Path) -> None:
    data = (
        b"BM"
        + struct.pack("<IHHI", 58, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 0, 4, 0, 0, 0, 0)
        + struct.pack("<HH", 0x7FFF, 0x7C00)
    )
    assert still(data, tmp_path)[0].tolist() == [[255, 255, 255], [255, 0, 0]]


# --- orientation ---------------------------------------------------------------------------------

UPRIGHT = {  # what EXIF's eight values say about the stored rows and columns
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


def exif_of(way: object) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = way
    return exif


@pytest.mark.parametrize("way", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG", "AVIF"])
def test_pictures_are_turned_upright_as_stills_frames_and_logos(kind: str, way: int, tmp_path: Path) -> None:
    stored = Image.new("RGB", (24, 16), (0, 0, 200))
    stored.paste((250, 250, 0), (0, 0, 8, 8))
    data = saved(
        stored,
        kind,
        exif=exif_of(way),
        **{
            "WEBP": {"lossless": True},
            "JPEG": {"quality": 100, "subsampling": 0},
            "AVIF": {"quality": 100, "subsampling": "4:4:4"},
        }.get(kind, {}),
    )
    expected = UPRIGHT[way](np.asarray(stored)).astype(int)
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "1.png").write_bytes(data)
    [frame] = open_clip(str(tmp_path / "frames"))[1]
    logo = load_picture(str(tmp_path / "frames" / "1.png"), Fraction(1)).colours
    for picture in (still(data, tmp_path), np.asarray(frame.pixels), np.asarray(logo)):
        assert picture.shape == expected.shape
        assert np.abs(picture - expected).max() <= (3 if kind in ("JPEG", "AVIF") else 0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_turned_as_a_whole(kind: str, tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (48, 32), (0, 0, 40 * number)) for number in range(1, 3)]
    for picture in pictures:
        picture.paste((240, 240, 240), (0, 0, 16, 16))
    exact = {"lossless": True} if kind == "WEBP" else {}
    found = frames_of(
        saved(
            pictures[0],
            kind,
            save_all=True,
            append_images=pictures[1:],
            duration=40,
            exif=exif_of(6),
            **exact,
        ),
        tmp_path,
    )
    assert len(found) == 2
    for frame, picture in zip(found, pictures, strict=True):
        assert frame[..., :3].tolist() == np.rot90(np.asarray(picture), -1).tolist()


@pytest.mark.parametrize(
    "exif",
    [exif_of(9), exif_of(0), b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0junk"],
    ids=["9", "0", "no table", "junk"],
)
def test_an_orientation_that_cannot_be_read_leaves_the_picture_as_it_is(exif: object, tmp_path: Path) -> None:
    assert still(saved(noise(8, 4), "PNG", exif=exif), tmp_path).tolist() == np.asarray(noise(8, 4)).tolist()


# --- pages and animations ------------------------------------------------------------------------


def test_pages_of_a_tiff_are_images_and_small_versions_of_them_are_not(tmp_path: Path) -> None:
    pages = [noise(8, 4, seed) for seed in range(3)]
    assert [
        frame.tolist()
        for frame in frames_of(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]), tmp_path)
    ] == [np.asarray(page).tolist() for page in pages]
    clip, frames, _ = open_clip(str(tmp_path / "a.bin"))
    frames.close()
    assert clip.loop == 0  # as everything that cannot say
    small = {254: 1}
    data = saved(pages[0], "TIFF", save_all=True, append_images=[_with_tags(noise(4, 2), small)])
    assert len(frames_of(data, tmp_path)) == 1


def _with_tags(picture: Image.Image, tags: dict[int, int]) -> Image.Image:
    picture.encoderinfo = {"tiffinfo": tags}  # type: ignore[attr-defined]
    return picture


def test_pages_of_another_size_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image 2 is 4x2, but the first is 8x4"):
        frames_of(saved(noise(8, 4), "TIFF", save_all=True, append_images=[noise(4, 2)]), tmp_path)


def test_a_photo_with_a_second_picture_in_it_is_a_still(tmp_path: Path) -> None:
    data = saved(noise(16, 8), "MPO", save_all=True, append_images=[noise(16, 8, 1)])
    assert len(frames_of(data, tmp_path)) == 1


def test_an_animation_among_frames_gives_its_first_image_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(
        saved(noise(8, 4), "WEBP", lossless=True, save_all=True, append_images=[noise(8, 4, 1)])
    )
    said: list[str] = []
    [frame] = open_clip(str(tmp_path), warn=said.append)[1]
    assert frame.pixels.convert("RGB").tobytes() == noise(8, 4).tobytes()
    assert said == ["1.png: holds more than one image: the first is taken"]


def test_an_animated_avif_has_its_delays_and_loops(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (16, 16), (60 * number, 0, 0)) for number in range(4)]
    path = tmp_path / "a.avif"
    path.write_bytes(
        saved(
            pictures[0],
            "AVIF",
            save_all=True,
            append_images=pictures[1:],
            duration=[40, 33, 1000, 7],
            speed=10,
        )
    )
    clip, frames, _ = open_clip(str(path))
    kept = list(frames)
    assert (clip.loop, clip.frames_hint) == (0, 4)
    assert [frame.duration for frame in kept] == [40, 33, 1000, 7]
    assert all(abs(frame.pixels.getpixel((8, 8))[0] - 60 * number) <= 4 for number, frame in enumerate(kept))


@pytest.mark.parametrize(
    ("flags", "whole", "loop"),
    [(0, 1000, None), (1, 1000, None), (1, 3000, 2), (1, 2500, 2), (1, (1 << 64) - 1, 0)],
)
def test_an_avif_repeats_as_its_edit_list_says(
    flags: int, whole: int, loop: int | None, tmp_path: Path
) -> None:
    """libavif: the repetition count is the track's duration over that of the edit, rounded up, less one."""

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + kind + content

    edits = box(b"edts", box(b"elst", struct.pack(">BBHIQQHH", 1, 0, flags, 1, 1000, 0, 1, 0)))
    head = box(b"tkhd", struct.pack(">BBHQQIIQ", 1, 0, 3, 0, 0, 1, 0, whole) + bytes(52))
    path = tmp_path / "a.avif"
    path.write_bytes(
        box(b"ftyp", b"avis\0\0\0\0avis") + box(b"moov", box(b"mvhd", bytes(20)) + box(b"trak", head + edits))
    )
    with open(path, "rb") as file:
        assert avif_loop(file) == loop


def test_a_webp_is_composed_with_its_alpha(tmp_path: Path) -> None:
    pictures = [
        Image.new("RGBA", (8, 4), (200, 100, 50, 128)),
        Image.new("RGBA", (8, 4), (0, 255, 0, 10)),
        Image.new("RGBA", (8, 4), (9, 9, 9, 0)),
    ]
    found = frames_of(
        saved(
            pictures[0],
            "WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=40,
            lossless=True,
            exact=True,
        ),
        tmp_path,
    )
    assert [frame[0, 0].tolist() for frame in found][:2] == [[200, 100, 50, 128], [0, 255, 0, 10]]
    assert found[2][0, 0, 3] == 0


# --- limits and damage ---------------------------------------------------------------------------


def test_a_small_file_of_many_large_images_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side, dot = 4000, packed([b"\0"])

    def control(number: int) -> bytes:
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 1, 1, 0, 0, 1, 10, 0, 0))

    body = b"".join(
        control(2 * k - 1) + chunk(b"fdAT", struct.pack(">I", 2 * k) + dot) for k in range(1, 1000)
    )
    path = tmp_path / "a.png"
    path.write_bytes(
        header(side, side, 1, 0)
        + chunk(b"acTL", struct.pack(">II", 1000, 0))
        + control(0)
        + chunk(b"IDAT", dot)
        + body
        + chunk(b"IEND", b"")
    )
    with pytest.raises(LimitError, match="expansion"):
        open_clip(str(path))
    open_clip(str(path), ReadOptions(limits=Limits(expansion=0)))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_a_picture_larger_than_the_canvas_limit_is_refused_in_our_words(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(saved(Image.new("1" if kind != "WEBP" else "RGB", (3000, 1200)), kind))
    with pytest.raises(LimitError, match=r"is over the limit of 1M for canvas"):
        open_clip(str(path), ReadOptions(limits=Limits(canvas=10**6)))


def test_pillows_own_limit_does_not_hold_where_ours_is_lifted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    (tmp_path / "a.png").write_bytes(saved(noise(30, 20), "PNG"))
    with pytest.raises(LimitError, match="over the limit of 200 for canvas"):
        read_file(str(tmp_path / "a.png"), Limits(canvas=200))
    assert read_file(str(tmp_path / "a.png"), Limits(canvas=0)).size == (30, 20)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TGA"])
def test_of_a_picture_that_is_cut_off_the_upper_part_is_kept_and_that_is_said(
    kind: str, tmp_path: Path
) -> None:
    data = saved(noise(64, 64), kind)
    (tmp_path / "1.png").write_bytes(data[: len(data) // 2])
    said: list[str] = []
    picture = read_file(str(tmp_path / "1.png"), warn=said.append)
    whole = np.asarray(Image.open(_kept(tmp_path, data)).convert("RGB"))
    found = np.asarray(picture)
    rows = slice(60, 64) if kind == "BMP" else slice(0, 4)  # a bitmap begins at the bottom
    assert np.array_equal(found[rows], whole[rows]) or kind == "TGA"
    assert len(said) == 1 and "damaged" in said[0]


def _kept(folder: Path, data: bytes) -> Path:
    path = folder / "whole"
    path.write_bytes(data)
    return path


def test_names_with_other_digits_are_letters(tmp_path: Path) -> None:
    for name in ("1²2.png", "12.png", "2.png", "٣.png"):
        noise(4, 4).save(tmp_path / name)
    assert len(list(open_clip(str(tmp_path))[1])) == 4


def test_a_pipe_among_the_frames_is_not_waited_for(tmp_path: Path) -> None:
    noise(4, 4).save(tmp_path / "1.png")
    os.mkfifo(tmp_path / "2.png")
    with pytest.raises(InputError, match=r"2\.png: not a file"):
        list(open_clip(str(tmp_path))[1])


def read_somehow(data: bytes, kind: str, way: int, folder: Path) -> None:
    """Read a file as a picture among frames, as a logo, or as a clip."""
    path = folder / ("frames/1.png", "logo.png", f"a.{kind}")[way]
    path.write_bytes(data)
    if way == 1:
        load_picture(str(path), Fraction(1))
    else:
        list(open_clip(str(path if way else folder / "frames"))[1])


@pytest.mark.parametrize("kind", sorted(samples()))
def test_damaged_pictures_are_read_in_part_or_refused(kind: str, tmp_path: Path) -> None:
    """No other error, and no warning of Pillow's, which would be one here."""
    counts = corrupt(kind, range(56), tmp_path)
    assert counts["read"] > 3 and counts["InputError"] > 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(samples()))
def test_many_more_damaged_pictures_are_read_in_part_or_refused(kind: str, tmp_path: Path) -> None:
    corrupt(kind, range(1000, 4000), tmp_path)


def corrupt(kind: str, seeds: range, folder: Path) -> Counter[str]:
    files, counts = samples()[kind], Counter[str]()
    (folder / "frames").mkdir(exist_ok=True)
    for seed in seeds:
        data = corrupted(files[seed % len(files)], seed)
        is_picture = (
            kind_of(data[:64]) is not None
        )  # a clip that is none goes to ffmpeg, which has tests of its own
        try:
            read_somehow(data, kind, seed // len(files) % (3 if is_picture else 2), folder)
            counts["read"] += 1
        except (InputError, LimitError) as error:
            counts[type(error).__name__] += 1
    return counts


@pytest.mark.parametrize("kind", sorted(samples()))
def test_damaged_pictures_end_a_command_in_its_exit_code(kind: str, tmp_path: Path) -> None:
    for seed, data in enumerate(samples()[kind]):
        (tmp_path / "logo.png").write_bytes(corrupted(data, seed))
        result = vedit("gif", "watermark", "--image", tmp_path / "logo.png", gif("ok_plain.gif"))
        assert result.code in (0, 3, 6), result.err
        assert "bug:" not in result.err and "Traceback" not in result.err and "Warning" not in result.err
