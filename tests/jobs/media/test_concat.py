"""`vedit gif concat`: clips one after another, exact outside their crossfades."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import reference
from tests.conftest import vedit
from tests.media.clips import decoded, ffmpeg, noise, packets
from vedit.errors import UsageError
from vedit.jobs.media.gif import GifRequest, plan

CONCAT = "gif", "concat"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def still(color: str, size: tuple[int, int], spot: int) -> Image.Image:
    picture = Image.new("RGB", size, color)
    picture.paste((spot * 30, 255 - spot * 20, 7), (spot, spot, spot + 5, spot + 5))
    return picture


def made(
    name: str, colors: Sequence[str], size: tuple[int, int] = (24, 16), delays: int | Sequence[int] = 10
) -> None:
    pictures = [still(color, size, spot) for spot, color in enumerate(colors)]
    times = [delays] * len(pictures) if isinstance(delays, int) else delays
    pictures[0].save(
        name, save_all=True, append_images=pictures[1:], duration=[10 * time for time in times], loop=0
    )


def ghost(name: str, shift: int) -> None:
    """Three images with a transparent ground, cleared in between."""
    pictures = []
    for spot in range(3):
        picture = Image.new("RGBA", (24, 16))
        picture.paste((250, 40 * spot, shift, 255), (spot + shift, 2, spot + shift + 6, 9))
        pictures.append(picture)
    pictures[0].save(name, save_all=True, append_images=pictures[1:], duration=100, loop=0, disposal=2)


def shown(name: str) -> tuple[list[np.ndarray], list[int]]:
    gif = reference.read(Path(name).read_bytes())
    return list(gif.frames()), gif.delays


def joined(*args: str) -> str:
    done = vedit(*CONCAT, *args)
    assert done.code == 0, done.err
    return done.err


def test_gifs_of_one_size_follow_one_another_as_they_are_stored() -> None:
    made("a.gif", ["red", "green", "blue"], delays=[7, 3, 50])
    made("b.gif", ["white", "black"], delays=[2, 9])
    assert joined("a.gif", "b.gif", "a.gif", "-o", "o.gif", "--info") == "copy\n"
    parts = [shown(name) for name in ("a.gif", "b.gif", "a.gif")]
    pictures, delays = shown("o.gif")
    assert delays == [7, 3, 50, 2, 9, 7, 3, 50]
    for got, want in zip(pictures, [picture for part, _ in parts for picture in part], strict=True):
        assert np.array_equal(got, want)


@pytest.mark.parametrize(
    "order", [("a.gif", "g.gif"), ("g.gif", "h.gif", "a.gif"), ("h.gif", "a.gif", "g.gif")]
)
def test_every_clip_begins_on_a_clean_canvas(order: tuple[str, ...]) -> None:
    made("a.gif", ["red", "green"])
    ghost("g.gif", 0)
    ghost("h.gif", 9)
    joined(*order, "-o", "o.gif")
    wanted = [picture for name in order for picture in shown(name)[0]]
    for got, want in zip(shown("o.gif")[0], wanted, strict=True):
        assert np.array_equal(got, want)


def test_delays_of_0_stay_where_nothing_is_blended() -> None:
    made("a.gif", ["red", "green"], delays=[0, 1])
    made("b.gif", ["blue", "white"], delays=[5, 0])
    joined("a.gif", "b.gif", "-o", "o.gif")
    assert shown("o.gif")[1] == [0, 1, 5, 0]


def test_outside_a_crossfade_no_pixel_changes_and_inside_it_is_the_formula() -> None:
    made("a.gif", ["red", "green", "blue"])
    made("b.gif", ["white", "black", "yellow"])
    joined("--crossfade", "0.15", "a.gif", "b.gif", "-o", "o.gif")
    (a, _), (b, _), (got, delays) = shown("a.gif"), shown("b.gif"), shown("o.gif")
    assert delays == [10, 5, 5, 5, 5, 5, 10]
    assert sum(delays) == 30 + 30 - 15
    for picture, want in zip(got, [a[0], a[1], None, None, None, b[1], b[2]], strict=True):
        assert want is None or np.array_equal(picture, want)
    for picture, before, after, share in (
        (got[2], a[1], b[0], 1 / 6),
        (got[3], a[2], b[0], 3 / 6),
        (got[4], a[2], b[1], 5 / 6),
    ):
        exact = before[..., :3] + (after[..., :3].astype(float) - before[..., :3]) * share
        assert np.array_equal(picture[..., :3], np.floor(exact + 0.5 + 1e-9))


def test_still_images_turn_into_each_other_in_steps_of_a_twentieth_of_a_second() -> None:
    made("a.gif", ["red"], delays=200)
    made("b.gif", ["blue"], delays=300)
    joined("--crossfade", "1", "a.gif", "b.gif", "a.gif", "-o", "o.gif")
    delays = shown("o.gif")[1]
    assert delays == [100, *[5] * 20, 100, *[5] * 20, 100]


def test_transparent_clips_are_blended_by_how_opaque_they_are() -> None:
    ghost("g.gif", 0)
    ghost("h.gif", 9)
    joined("--crossfade", "0.1", "g.gif", "h.gif", "-o", "o.gif")
    (g, _), (h, _), (got, delays) = shown("g.gif"), shown("h.gif"), shown("o.gif")
    assert (delays, len(got)) == ([10, 10, 5, 5, 10, 10], 6)
    for place, want in ((0, g[0]), (1, g[1]), (2, g[2]), (3, h[0]), (4, h[1]), (5, h[2])):
        assert np.array_equal(
            got[place], want
        )  # a GIF's pixel is there from half on: neither clip's is, or one is


def test_other_sizes_are_fitted_and_other_rates_kept_and_both_are_said() -> None:
    made("a.gif", ["red", "green"])
    made("b.gif", ["blue", "white"], size=(8, 16))
    said = joined("a.gif", "b.gif", "-o", "o.gif")
    assert "b.gif is 8x16 and is fitted into 24x16, as 8x16 in its middle" in said
    got, want = shown("o.gif")[0][2], shown("b.gif")[0][0]
    assert np.array_equal(got[:, 8:16], want)
    assert not got[:, :8, :3].any() and not got[:, 16:, :3].any() and got[..., 3].all()
    joined("--color", "transparent", "a.gif", "b.gif", "-o", "o.gif", "-y")
    assert not shown("o.gif")[0][2][:, :8].any()
    joined("--size", "48x32", "--color", "#ff0000", "a.gif", "b.gif", "-o", "o.gif", "-y")
    assert shown("o.gif")[0][3].shape == (32, 48, 4)
    assert shown("o.gif")[0][3][0, 0].tolist() == [255, 0, 0, 255]


def films() -> None:
    for name, color, tone, rate in (
        ("a", "testsrc2", 500, 20),
        ("b", "testsrc", 2000, 20),
        ("c", "testsrc", 0, 30),
    ):
        sound = ("-f", "lavfi", "-i", f"sine=f={tone}:r=48000:d=1") if tone else ()
        ffmpeg("-f", "lavfi", "-i", f"{color}=s=32x24:r={rate}:d=1", *sound, "-pix_fmt", "yuv420p", "-c:v", "ffv1", "-c:a", "pcm_s16le", f"{name}.mkv")  # fmt: skip


def raw_planes(name: str) -> np.ndarray:
    raw = ffmpeg(
        "-i",
        name,
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-pix_fmt",
        "yuv420p",
        "-f",
        "rawvideo",
        "pipe:1",
    )
    return np.frombuffer(raw, np.uint8).reshape(-1, 32 * 24 * 3 // 2).astype(int)


def test_films_of_one_rate_stay_in_planes_and_overlap_by_whole_frames() -> None:
    films()
    assert (
        joined("--crossfade", "0.26", "a.mkv", "b.mkv", "--crf", "0", "-o", "o.mkv", "--info") == "planes\n"
    )
    a, b, got = raw_planes("a.mkv"), raw_planes("b.mkv"), raw_planes("o.mkv")
    assert len(got) == 35
    assert np.array_equal(got[:15], a[:15]) and np.array_equal(got[20:], b[5:])
    for number in range(5):
        share = (number + 0.5) / 5
        exact = np.floor(a[15 + number] + (b[number] - a[15 + number]) * share + 0.5 + 1e-9)
        assert np.array_equal(got[15 + number], exact)
    assert [time for time, _ in packets(Path("o.mkv"))] == pytest.approx([n / 20 for n in range(35)])


def test_films_of_other_rates_keep_their_times_until_one_is_asked_for() -> None:
    films()
    said = joined("a.mkv", "c.mkv", "-o", "o.mkv")
    assert "c.mkv has 30 frames a second and a.mkv 20: each keeps its own times" in said
    times = [float(time) for time, _ in packets(Path("o.mkv"))]
    assert times == pytest.approx([n / 20 for n in range(20)] + [1 + n / 30 for n in range(30)], abs=0.001)
    assert joined("a.mkv", "c.mkv", "--fps", "10", "-o", "p.mkv") == ""
    assert len(packets(Path("p.mkv"))) == 20


def tones(name: str) -> list[tuple[float, float]]:
    """How loud 500 and 2000 Hz are in each tenth of a second, 1 being the loudest."""
    raw = ffmpeg("-i", name, "-map", "0:a:0", "-ac", "1", "-ar", "48000", "-f", "s16le", "pipe:1")
    samples = np.frombuffer(raw, np.int16).astype(float)
    whole = samples[: len(samples) // 4800 * 4800].reshape(-1, 4800)
    loud = np.abs(np.fft.rfft(whole))[:, [50, 200]]
    return [tuple(row) for row in loud / loud.max()]


def test_sound_stays_in_step_is_blended_and_is_silent_where_a_clip_has_none() -> None:
    films()
    joined("--crossfade", "0.2", "a.mkv", "b.mkv", "c.mkv", "-o", "o.mkv")
    heard = tones("o.mkv")
    assert 25 <= len(heard) <= 26  # 1 + 1 + 1 - 0.4
    for place, (low, high) in enumerate(heard[:25]):
        want = (
            (1, 0)
            if place < 8
            else [(0.75, 0.25), (0.25, 0.75)][place - 8]
            if place < 10
            else (0, 1)
            if place < 16
            else [(0, 0.75), (0, 0.25)][place - 16]
            if place < 18
            else (0, 0)
        )
        assert (low, high) == pytest.approx(want, abs=0.06), place


def test_a_film_and_a_gif_are_one_clip() -> None:
    films()
    made("g.gif", ["red", "green"], size=(32, 24), delays=[0, 50])
    joined("a.mkv", "g.gif", "-o", "o.nut")
    times = [float(time) for time, _ in packets(Path("o.nut"))]
    assert times[18:] == pytest.approx([0.9, 0.95, 1.0, 1.1])
    assert decoded(Path("o.nut"), (32, 24))[20].getpixel((20, 20)) == (255, 0, 0)


def test_pictures_are_shown_for_the_time_asked_for() -> None:
    for seed in range(3):
        noise(24, 16, seed).save(f"p{seed}.png")
    joined("--still", "1.5", "--crossfade", "0.5", "p0.png", "p1.png", "p2.png", "-o", "o.nut")
    got = decoded(Path("o.nut"), (24, 16))
    assert (len(got), got[0].tobytes(), got[-1].tobytes()) == (
        23,
        noise(24, 16, 0).tobytes(),
        noise(24, 16, 2).tobytes(),
    )
    times = [float(time) for time, _ in packets(Path("o.nut"))]
    assert times == pytest.approx([0, *np.arange(1, 1.5, 0.05), 1.5, *np.arange(2, 2.5, 0.05), 2.5])


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--crossfade", "0.5", "a.gif", "b.gif"), 2, r"^vedit: a\.gif: it lasts 0\.2 s, too short for a crossfade of 0\.5 s\..*--crossfade 0\.2"),
        (("--crossfade", "0.15", "a.gif", "b.gif", "a.gif"), 2, r"^vedit: b\.gif: it lasts 0\.2 s.* at both ends\..*--crossfade 0\.1"),
        (("a.gif", "nix.gif"), 3, r"^vedit: nix\.gif: cannot read"),
        (("a.gif", "-", "-"), 2, "named twice"),
        (("a.gif", "b.gif", "--still", "0"), 2, "for no time"),
        (("a.gif", "b.gif", "--size", "0x9"), 2, "expected WIDTHxHEIGHT"),
        (("a.gif", "b.gif", "--crossfade", "-1"), 2, "--crossfade -1: a part is missing, or has a sign"),
        (("a.gif", "empty.gif"), 3, r"^vedit: empty\.gif: empty file"),
        (("o.gif", "a.gif"), 2, "both input and output"),
    ],
)  # fmt: skip
def test_what_cannot_be_joined_is_refused(args: tuple[str, ...], code: int, said: str) -> None:
    made("a.gif", ["red", "green"])
    made("b.gif", ["white", "black"])
    Path("empty.gif").touch()
    if "o.gif" in args:
        made("o.gif", ["red"])
    before = Path("o.gif").read_bytes() if Path("o.gif").exists() else None
    done = vedit(*CONCAT, *args, "-o", "o.gif")
    assert done.code == code
    assert re.search(said, done.err, re.DOTALL), done.err
    assert (Path("o.gif").read_bytes() if Path("o.gif").exists() else None) == before


def test_comments_of_all_clips_stay_and_the_loop_is_the_first_one_s() -> None:
    made("a.gif", ["red", "green"])
    made("b.gif", ["white", "black"])
    for name, loop in (("a", "3"), ("b", "once")):
        vedit("gif", "metadata", "--comment", f"words of {name}", "--loop", loop, f"{name}.gif", "--in-place")
    joined("a.gif", "b.gif", "-o", "o.gif")
    gif = reference.read(Path("o.gif").read_bytes())
    assert (gif.loop, gif.comments) == (3, [b"words of a", b"words of b"])
    joined("--crossfade", "0.1", "a.gif", "b.gif", "-o", "o.gif", "-y")
    assert reference.read(Path("o.gif").read_bytes()).comments == [b"words of a", b"words of b"]


def test_stages_behind_see_the_whole_and_max_size_too() -> None:
    made("a.gif", ["red", "green"])
    made("b.gif", ["white", "black"])
    joined("a.gif", "b.gif", "--start", "0.1", "--duration", "0.2", "-o", "o.gif")
    assert shown("o.gif")[1] == [10, 10]
    joined("a.gif", "b.gif", "--max-size", "100kB", "-o", "o.gif", "-y")
    assert len(shown("o.gif")[0]) == 4
    done = vedit(*CONCAT, "-", "a.gif", stdin=Path("b.gif").read_bytes())
    assert len(reference.read(done.out).images) == 4


def test_one_clip_alone_is_itself() -> None:
    made("a.gif", ["red", "green"])
    joined("a.gif", "-o", "o.gif")
    assert Path("o.gif").read_bytes() == vedit("gif", "metadata", "--loop", "keep", "a.gif").out


def test_a_request_that_joins_nothing_refuses_what_says_how() -> None:
    with pytest.raises(UsageError, match="--crossfade 1 has no meaning without --concat"):
        plan(GifRequest(inputs=("a.gif",), output="o.gif", crossfade="1"))
