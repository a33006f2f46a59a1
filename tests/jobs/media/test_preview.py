"""Previews: the very frame, sheets with the right frames, and terminals left as they were."""

from __future__ import annotations

import base64
import io
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import gif, leftovers, parsed, shared, vedit
from vedit.jobs.media import preview


def frame(name: str, number: int) -> np.ndarray:
    return list(parsed(gif(name)).frames())[number - 1]


@pytest.mark.parametrize(
    "name", ["ok_disposal2.gif", "ok_transparent_first.gif", "ok_local_palettes.gif", "ok_interlaced.gif"]
)
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_one_frame_is_written_exactly_with_its_alpha(name: str, suffix: str, tmp_path: Path) -> None:
    output = tmp_path / f"f{suffix}"
    result = vedit("gif", "preview", gif(name), "--frame", "2", "-o", output)
    assert (result.code, result.err) == (0, "")
    with Image.open(output) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGBA")), frame(name, 2))
    assert leftovers(tmp_path) == []


def test_a_picture_goes_down_a_pipe() -> None:
    result = vedit("gif", "preview", "--frame", "1", "-o", "-", stdin=gif("ok_plain.gif").read_bytes())
    with Image.open(io.BytesIO(result.out)) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGBA")), frame("ok_plain.gif", 1))


def test_a_contact_sheet_holds_the_frames_it_names(tmp_path: Path) -> None:
    """50 images of 64x48 in 3x2: each picture stands unscaled where the grid says."""
    output = tmp_path / "sheet.png"
    assert vedit("gif", "preview", gif("ok_odd_delays_3cs.gif"), "-o", output, "--grid", "3x2").code == 0
    frames = list(parsed(gif("ok_odd_delays_3cs.gif")).frames())
    with Image.open(output) as picture:
        sheet = np.asarray(picture.convert("RGB"))
    cell_wide, cell_high = (sheet.shape[1] - 8) // 3, (sheet.shape[0] - 8) // 2
    for place, number in enumerate([1, 11, 21, 30, 40, 50]):
        x, y = 8 + place % 3 * cell_wide + (cell_wide - 8 - 64) // 2, 8 + place // 3 * cell_high
        found, wanted = sheet[y : y + 48, x : x + 64], frames[number - 1]
        opaque = wanted[..., 3] == 255
        assert np.array_equal(found[opaque], wanted[opaque][:, :3]), f"frame {number}"


def test_a_pipe_gives_the_sheet_that_the_file_gives(tmp_path: Path) -> None:
    from_file, from_pipe = tmp_path / "a.png", tmp_path / "b.png"
    vedit("gif", "preview", gif("ok_plain.gif"), "-o", from_file)
    vedit("gif", "preview", "-o", from_pipe, stdin=gif("ok_plain.gif").read_bytes())
    assert from_file.read_bytes() == from_pipe.read_bytes()


def test_a_video_has_a_contact_sheet(tmp_path: Path) -> None:
    result = vedit(
        "gif",
        "preview",
        shared("data/gifs/real/autoeditor_testsrc.mp4"),
        "-o",
        tmp_path / "s.png",
        "--grid",
        "2x2",
        "--tile",
        "100",
    )
    assert (result.code, result.err) == (0, "")
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.width > 200


def shown(text: str) -> np.ndarray:
    """What a terminal shows of half blocks: a second reading of the escape codes. -1 is its own background."""
    rows = []
    for line in text.splitlines():
        ink = ground = (-1, -1, -1)
        above, below = [], []
        for codes, character in re.findall(r"\x1b\[([\d;]*)m|([^\x1b])", line):
            if character:
                above.append({"▀": ink, "▄": ground, " ": ground}[character])
                below.append({"▀": ground, "▄": ink, " ": ground}[character])
            elif codes.startswith("38;2;"):
                ink = tuple(map(int, codes.split(";")[2:]))
            elif codes.startswith("48;2;"):
                ground = tuple(map(int, codes.split(";")[2:]))
            else:
                ground = (-1, -1, -1)
                ink = ink if codes == "49" else (-1, -1, -1)
        rows += [above, below]
    return np.array(rows)


@pytest.mark.parametrize("size", [(7, 4), (6, 5), (1, 1)])
def test_half_blocks_show_every_pixel(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 4, (size[1], size[0], 4)).astype(np.uint8) * 60
    pixels[..., 3] = np.where(rng.random(pixels.shape[:2]) < 0.4, 0, 255)
    text, rows = preview.draw(Image.fromarray(pixels), "blocks", 80, 24)
    assert rows == text.count("\n") == (size[1] + 1) // 2
    found = shown(text)
    assert np.array_equal(found[: size[1]], np.where(pixels[..., 3:] == 255, pixels[..., :3].astype(int), -1))
    assert (found[size[1] :] == -1).all()


def test_a_large_picture_is_made_to_fit_the_terminal() -> None:
    for style in ("blocks", "kitty", "sixel"):
        assert preview.draw(Image.new("RGB", (3000, 1000)), style, 60, 10)[1] <= 10
    assert shown(preview.draw(Image.new("RGB", (3000, 1000)), "blocks", 60, 30)[0]).shape[:2] == (20, 60)


def test_kitty_gets_the_picture_as_png() -> None:
    picture = Image.radial_gradient("L").convert("RGB").crop((0, 0, 200, 100))
    text, _ = preview.draw(picture, "kitty", 80, 24)
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert [control.split(",")[-1] for control, _ in chunks] == ["m=1"] * (len(chunks) - 1) + ["m=0"]
    assert all(len(chunk) <= 4096 for _, chunk in chunks)
    with Image.open(io.BytesIO(base64.b64decode("".join(chunk for _, chunk in chunks)))) as found:
        assert np.array_equal(np.asarray(found), np.asarray(picture))


def sixel_pixels(text: str, width: int, height: int) -> np.ndarray:
    """What a sixel terminal paints, by the manual of the VT340; -1 where it paints nothing."""
    body = re.sub(r'^"[\d;]+', "", text[text.index("q") + 1 : text.rindex("\x1b")])
    painted = np.full((height + 6, width, 3), -1.0)
    colours: dict[int, tuple[float, ...]] = {}
    x = y = colour = 0
    for number, share, count, repeated, sign in re.findall(r"#(\d+)(?:;2;([\d;]+))?|!(\d+)(.)|(.)", body):
        if number:
            colour = int(number)
            if share:
                colours[colour] = tuple(int(part) * 2.55 for part in share.split(";"))
        elif sign == "$":
            x = 0
        elif sign == "-":
            x, y = 0, y + 6
        else:
            times = int(count or 1)
            for bit in range(6):
                if (ord(repeated or sign) - 63) >> bit & 1:
                    painted[y + bit, x : x + times] = colours[colour]
            x += times
    return painted[:height]


def test_sixel_paints_the_picture_to_the_hundredth_that_it_can_say() -> None:
    pixels = np.asarray(Image.radial_gradient("L").resize((50, 31)).convert("RGBA")).copy()
    pixels[5:15, 10:30] = (255, 0, 0, 255)
    pixels[20:, :8] = 0
    text, _ = preview.draw(Image.fromarray(pixels), "sixel", 80, 24)
    painted = sixel_pixels(text, 50, 31)
    opaque = pixels[..., 3] == 255
    assert (painted[~opaque] == -1).all()
    assert np.abs(painted[opaque] - pixels[opaque][:, :3]).max() <= 4  # 255 colours, in hundredths


@pytest.mark.parametrize(
    ("environment", "style"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "kitty"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "screen", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({}, "blocks"),
    ],
)
def test_the_terminal_says_how_it_can_draw(environment: dict[str, str], style: str) -> None:
    assert preview.terminal_style(environment) == style


class Clock:
    """Time that passes only while somebody sleeps, or draws slowly."""

    def __init__(self, drawing_s: float = 0.0) -> None:
        self.time = 100.0
        self.drawing_s = drawing_s

    def now(self) -> float:
        self.time += self.drawing_s / 2
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def shots(count: int, seconds: Fraction) -> list[preview.Shot]:
    return [
        preview.Shot(i + 1, Image.new("RGB", (2, 2), (i, 0, 0)), i * seconds, seconds) for i in range(count)
    ]


def test_playing_takes_as_long_as_the_clip() -> None:
    clock, out = Clock(), io.StringIO()
    preview.play(iter(shots(5, Fraction(3, 10))), out, "blocks", 80, 24, clock.sleep, clock.now)
    assert clock.time == pytest.approx(101.5)
    assert [int(red) for red in re.findall(r"48;2;(\d+);0;0", out.getvalue())] == [0, 1, 2, 3, 4]


def test_frames_that_are_late_are_left_out_but_not_the_last() -> None:
    clock, out = Clock(drawing_s=0.5), io.StringIO()
    preview.play(iter(shots(10, Fraction(1, 10))), out, "blocks", 80, 24, clock.sleep, clock.now)
    drawn = [int(red) for red in re.findall(r"48;2;(\d+);0;0", out.getvalue())]
    assert len(drawn) < 10 and drawn[-1] == 9


def test_the_cursor_is_shown_again_after_ctrl_c() -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        preview.play(iter(shots(3, Fraction(1))), out, "blocks", 80, 24, interrupted, Clock().now)
    assert out.getvalue().endswith("\x1b[0m\x1b[?25h")


def test_without_a_terminal_one_frame_is_drawn() -> None:
    result = vedit("gif", "preview", gif("ok_1x1.gif"))
    assert (result.code, result.err) == (0, "")
    pixel = frame("ok_1x1.gif", 1)[0, 0]
    assert shown(result.text)[0, 0].tolist() == (pixel[:3].tolist() if pixel[3] else [-1, -1, -1])


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (("--frame", "99"), 2, "there is no frame 99: the clip has 6"),
        (("--grid", "4x3"), 2, "no output is named"),
        (("--grid", "0x3", "-o", "x.png"), 2, "expected COLUMNSxROWS"),
        (("--grid", "2x2", "--frame", "1", "-o", "x.png"), 2, "--grid and --frame"),
        (("-o", "x.jpg"), 2, "PNG or WebP"),
    ],
)
def test_wrong_options_are_refused_with_what_would_be_right(
    given: tuple[str, ...], code: int, words: str
) -> None:
    result = vedit("gif", "preview", gif("ok_plain.gif"), *given)
    assert result.code == code
    assert words in result.err


def test_an_output_that_exists_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "f.png"
    output.write_bytes(b"mine")
    assert vedit("gif", "preview", gif("ok_plain.gif"), "-o", output).code == 4
    assert output.read_bytes() == b"mine"
    assert vedit("gif", "preview", gif("ok_plain.gif"), "-o", output, "-y").code == 0
