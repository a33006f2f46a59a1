"""HDR and wide colours become what SDR can show, and say so; other colours are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import vedit
from tests.media.clips import decoded, ffmpeg
from vedit.media.light import CURVES, Light, matrix_of, parse_light, to_sdr

TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])  # BT.2087


def pq(light: np.ndarray) -> np.ndarray:
    """The signal of light in units of 203 nits (BT.2100, table 4)."""
    y = (light * 203 / 10000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375)


def hlg(light: np.ndarray) -> np.ndarray:
    """The signal of grey light in units of 203 nits on a screen of 1000 nits (BT.2100, table 5; system gamma
    1.2).
    """
    scene = (light * 0.203) ** (1 / 1.2)
    return np.asarray(
        np.where(
            scene <= 1 / 12,
            np.sqrt(3 * scene),
            0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
        )
    )


def film(path: Path, signal: np.ndarray, transfer: str) -> Path:
    """Two frames of a signal as 10-bit BT.2020 film."""
    height, width = signal.shape[:2]
    raw = (np.clip(signal, 0, 1) * 65535 + 0.5).astype("<u2").tobytes() * 2
    tags = f"setparams=range=tv:colorspace=bt2020nc:color_primaries=bt2020:color_trc={transfer}"
    ffmpeg(
        "-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", f"{width}x{height}", "-r", "10", "-i", "pipe:0",
        "-vf", f"scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le,{tags}", "-c:v", "libx264", "-crf", "4",
        "-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc", "-color_range", "tv", path, stdin=raw,
    )  # fmt: skip
    return path


def ramp() -> np.ndarray:
    """Light from black to white, and below it reddish light, of 64x32."""
    light = np.linspace(0, 1, 64)[None, :, None] * np.ones((32, 1, 3))
    light[16:, :, 1:] *= 0.3
    return light


def opened(path: Path, mode: str = "RGB") -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode)).astype(float)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
@pytest.mark.parametrize("suffix", ["png", "mp4"])
def test_hdr_is_shown_as_sdr_with_a_line_that_says_so(transfer: str, suffix: str, tmp_path: Path) -> None:
    light = ramp() if transfer == "smpte2084" else ramp()[:16].repeat(2, 0)
    signal = pq(light @ TO_2020.T) if transfer == "smpte2084" else hlg(light)
    result = vedit("convert", film(tmp_path / "hdr.mp4", signal, transfer), "-o", tmp_path / f"out.{suffix}")
    assert result.code == 0 and "is tone-mapped to SDR by mobius" in result.err
    out = tmp_path / f"out.{suffix}"
    wanted = 255 * light ** (1 / 2.4)  # BT.1886
    found = np.asarray(decoded(out, (64, 32))[0]).astype(float) if suffix == "mp4" else opened(out)
    dark = light.max(axis=2) < 0.55  # the curve leaves alone what is below its knee
    assert np.abs(found - wanted)[dark].mean() < 6
    assert found[:14, -2:].min() > 225


def test_without_tone_mapping_the_film_is_told_to_be_grey(tmp_path: Path) -> None:
    source = film(tmp_path / "hdr.mp4", pq(ramp() @ TO_2020.T), "smpte2084")
    result = vedit("gif", "crop", "--left", "2", "--tonemap", "none", source, "-o", tmp_path / "out.png")
    assert result.code == 0 and "not tone-mapped" in result.err
    assert opened(tmp_path / "out.png", "L").max() < 160


@pytest.mark.parametrize("curve", CURVES[1:])
def test_every_curve_is_known_to_ffmpeg_and_keeps_black_black(curve: str, tmp_path: Path) -> None:
    source = film(tmp_path / "hdr.mp4", pq(ramp() @ TO_2020.T), "smpte2084")
    assert vedit("convert", "--tonemap", curve, source, "-o", tmp_path / "out.png").code == 0
    assert opened(tmp_path / "out.png", "L")[:, 0].max() < 12


def test_wide_colours_of_sdr_film_become_those_of_bt709_without_a_word(tmp_path: Path) -> None:
    light = ramp()
    source = film(tmp_path / "wide.mp4", (light @ TO_2020.T) ** (1 / 2.4), "bt709")
    result = vedit("convert", source, "-o", tmp_path / "out.png")
    assert (result.code, result.err) == (0, "")
    found = opened(tmp_path / "out.png")
    assert np.abs(found - 255 * light ** (1 / 2.4))[2:14].mean() < 4
    assert np.abs(found - 255 * light ** (1 / 2.4))[18:30].mean() < 6


def test_colours_are_read_from_what_ffmpeg_prints() -> None:
    assert parse_light("tv, bt2020nc/bt2020/smpte2084") == Light("tv", "bt2020nc", "bt2020", "smpte2084")
    assert parse_light("pc, bt709, top first") == Light("pc", "bt709", "bt709", "bt709")
    assert parse_light("smpte170m/unknown/unknown") == Light("", "smpte170m", "", "")
    assert parse_light("") == Light() and to_sdr(Light()) == ""


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((640, 480), "smpte170m"), ((1280, 720), "bt709"), ((720, 576), "smpte170m"), ((1080, 1920), "bt709")],
)
def test_a_film_without_a_matrix_is_taken_as_players_take_it(size: tuple[int, int], matrix: str) -> None:
    assert matrix_of(Light(), *size) == matrix
