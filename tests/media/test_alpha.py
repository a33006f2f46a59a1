"""Transparency is kept where a format has room for it, else laid on a colour, and that is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.conftest import vedit
from tests.media.clips import clip_of, decoded, ffmpeg, noise
from vedit.media.alpha import Ground, filled
from vedit.media.open import write_clip

SIZE = (64, 48)


def discs(count: int = 4) -> list[Image.Image]:
    """A red disc that moves over nothing, and a half-transparent green square."""
    pictures = []
    for number in range(count):
        picture = Image.new("RGBA", SIZE)
        draw = ImageDraw.Draw(picture)
        draw.ellipse((5 + 3 * number, 8, 30 + 3 * number, 40), fill=(230, 20, 40, 255))
        draw.rectangle((48, 2, 60, 20), fill=(20, 200, 60, 128))
        pictures.append(picture)
    return pictures


def made(tmp_path: Path, kind: str) -> Path:
    """The discs as a GIF (without half transparency), an animated PNG or WebP, or a folder of PNG."""
    pictures = discs()
    if kind == "folder":
        for number, picture in enumerate(pictures):
            picture.save(tmp_path / f"{number}.png")
        return tmp_path
    path = tmp_path / f"a.{kind}"
    if kind == "gif":
        for picture in pictures:
            picture.putalpha(picture.getchannel("A").point([0] * 200 + [255] * 56))
    options = (
        {"lossless": True, "exact": True} if kind == "webp" else {"disposal": 2} if kind == "gif" else {}
    )
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40, **options)
    return path


def reading(path: Path) -> tuple[str, ...]:
    """Options for ffmpeg in front of a film: its own VP9 decoder leaves alpha out."""
    return ("-c:v", "libvpx-vp9") if path.suffix == ".webm" else ()


def shown(path: Path) -> np.ndarray:
    """All frames of a film as ffmpeg decodes them, RGBA."""
    filters = ("-vf", "scale=flags=bicubic+accurate_rnd+full_chroma_int,format=rgba")
    raw = ffmpeg(*reading(path), "-i", path, *filters, "-fps_mode", "passthrough", "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, SIZE[1], SIZE[0], 4).astype(int)


def stacked(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture.convert("RGBA")).astype(int) for picture in pictures])


def alike(found: np.ndarray, wanted: np.ndarray, alpha: int, colour: float) -> None:
    """Alpha within `alpha` everywhere, and colours that show within `colour` on average."""
    assert found.shape == wanted.shape
    assert np.abs(found[..., 3] - wanted[..., 3]).max() <= alpha
    seen = wanted[..., 3] > 0
    assert np.abs(found[..., :3] - wanted[..., :3])[seen].mean() <= colour


LOSS = {"webm": (12, 4.0), "mov": (2, 1.0)}  # of alpha at most, of colours on average


@pytest.mark.parametrize("suffix", ["webm", "mov"])
@pytest.mark.parametrize("kind", ["gif", "png", "webp", "folder"])
def test_transparency_goes_into_films_that_have_room_for_it(kind: str, suffix: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source, film = made(tmp_path / "in", kind), tmp_path / f"o.{suffix}"
    done = vedit("convert", source, "-o", film)
    assert (done.code, done.err) == (0, "")
    wanted = discs()
    if kind == "gif":
        for picture in wanted:
            picture.putalpha(picture.getchannel("A").point([0] * 200 + [255] * 56))
    alike(shown(film), stacked(wanted), *LOSS[suffix])


@pytest.mark.parametrize("suffix", ["webm", "mov"])
def test_films_with_transparency_come_back(suffix: str, tmp_path: Path) -> None:
    film, back = tmp_path / f"a.{suffix}", tmp_path / "o.png"
    write_clip(*clip_of(discs(), [4] * 4), str(film))
    done = vedit("convert", film, "-o", back)
    assert (done.code, done.err) == (0, "")
    with Image.open(back) as image:
        found = stacked([image.copy() for number in range(4) if image.seek(number) is None])
    alike(found, stacked(discs()), *LOSS[suffix])
    for other in ("webm", "mov"):
        assert vedit("convert", film, "-o", tmp_path / f"again.{other}").err == ""
        alike(shown(tmp_path / f"again.{other}"), stacked(discs()), 16, 5.0)


def test_a_film_that_plays_several_times_keeps_its_transparency(tmp_path: Path) -> None:
    source, film, back = made(tmp_path, "png"), tmp_path / "o.webm", tmp_path / "o.mov"
    vedit("convert", source, "--repeat", "2", "-o", film)
    assert vedit("convert", film, "-o", back).err == ""  # its tag is written in capitals
    alike(shown(back), stacked(discs() * 2), 16, 5.0)


def test_a_clip_without_holes_is_no_film_with_transparency(tmp_path: Path) -> None:
    pictures = [noise(64, 48, seed).quantize(64) for seed in range(3)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=40)
    for suffix, codec in (("mov", b"h264"), ("webm", b"vp9")):
        vedit("convert", tmp_path / "a.gif", "-o", tmp_path / f"o.{suffix}")
        told = vedit("probe", "--json", tmp_path / f"o.{suffix}").out
        assert b'"transparency": false' in told and codec in told


def test_a_clip_that_turns_transparent_late_keeps_that(tmp_path: Path) -> None:
    whole = Image.new("RGBA", SIZE, (10, 90, 200, 255))
    whole.save(tmp_path / "a.png", save_all=True, append_images=discs(2), duration=40)
    assert vedit("convert", tmp_path / "a.png", "-o", tmp_path / "o.mov").err == ""
    alike(shown(tmp_path / "o.mov"), stacked([whole, *discs(2)]), *LOSS["mov"])


def test_padding_with_nothing_makes_a_film_transparent(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=red:s=32x48:d=0.08", "-pix_fmt", "yuv420p", tmp_path / "a.mp4")
    vedit("gif", "pad", "64x48", "--color", "transparent", tmp_path / "a.mp4", "-o", tmp_path / "o.mov")
    alpha = shown(tmp_path / "o.mov")[..., 3]
    assert (alpha[:, :, 16:48] == 255).all() and not alpha[:, :, :16].any() and not alpha[:, :, 48:].any()


@pytest.mark.parametrize(
    ("name", "colour"),
    [("o.mp4", "white"), ("o.mkv", "white"), ("o.y4m", "black"), ("o/%d.jpg", "white"), ("o.avi", "white")],
)
def test_a_format_without_transparency_says_what_shows_instead(
    name: str, colour: str, tmp_path: Path
) -> None:
    done = vedit("convert", made(tmp_path, "png"), "-o", tmp_path / name)
    assert done.code == 0 and done.err.count("transparent parts are laid on") == 1
    assert f"laid on {colour}: {name[2:].split('.')[-1]} keeps no transparency" in done.err
    film = tmp_path / ("o/1.jpg" if "%" in name else name)
    corner = decoded(film, SIZE)[0].getpixel((2, 44))
    assert np.abs(np.array(corner) - (255 if colour == "white" else 0)).max() <= 6


@pytest.mark.parametrize("name", ["o.mp4", "o.webm", "o.mov", "o/%d.png", "o/%d.jpg"])
def test_a_background_that_is_asked_for_is_laid_under_and_not_told(name: str, tmp_path: Path) -> None:
    done = vedit("convert", made(tmp_path, "png"), "--background", "#ff8000", "-o", tmp_path / name)
    assert (done.code, done.err) == (0, "")
    film = Path(str(tmp_path / name).replace("%d", "1"))
    told = vedit("probe", "--json", film).out
    assert b'"transparency": false' in told
    assert np.abs(np.array(decoded(film, SIZE)[0].getpixel((2, 44))) - (255, 128, 0)).max() <= 6


def test_colours_that_nobody_sees_are_those_of_their_neighbours() -> None:
    picture = noise(33, 17, mode="RGBA")
    picture.putalpha(picture.getchannel("A").point([0] * 120 + list(range(120, 256))))
    result = filled(picture)
    before, after = stacked([picture])[0], stacked([result])[0]
    assert np.array_equal(before[..., 3], after[..., 3])
    seen = before[..., 3] > 0
    assert np.array_equal(before[seen], after[seen])
    lone = Image.new("RGBA", (40, 20))
    lone.putpixel((20, 10), (200, 100, 50, 255))
    near = np.asarray(filled(lone)).astype(int)[..., :3]
    assert np.abs(near[0:16, 16:32] - (200, 100, 50)).max() <= 8  # its block of 16 by 16
    assert (near[:, :16] == 0).all()
    assert filled(noise(4, 4)).mode == "RGB"


def test_ground_is_told_when_something_shows_and_once() -> None:
    told: list[str] = []
    clip, _ = clip_of(discs(2), [1, 1], warn=told.append)
    ground = Ground(clip, "mp4", None)
    ground.under(noise(4, 4))
    ground.under(Image.new("RGBA", (4, 4), (1, 2, 3, 255)))
    assert not told
    for picture in discs(2):
        assert ground.under(picture).getpixel((0, 0)) == (255, 255, 255)
    assert len(told) == 1


def test_frames_from_a_pipe_are_judged_by_the_first(tmp_path: Path) -> None:
    nut = vedit("convert", made(tmp_path, "png"), "--to", "nut").out
    done = vedit("convert", "-", "-o", tmp_path / "o.webm", stdin=nut)
    assert (done.code, done.err) == (0, "")
    alike(shown(tmp_path / "o.webm"), stacked(discs()), *LOSS["webm"])
