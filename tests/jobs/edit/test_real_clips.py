"""Clips as people have them through `vedit edit`: size, frames, rate, sound, and a word about what is lost."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
from PIL import Image, ImageDraw

from tests.conftest import shared, vedit
from tests.engine.folder import write_folder
from vedit.media.video.ffmpeg import find_ffmpeg

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_cache")]
CLIPS = ["ballet", "kitten", "man-skiing", "rabbit-watermelon", "wolf", "woman-running"]
LINE = [
    "--method",
    "sdedit",
    "--steps",
    "1",
    "--strength",
    "1",
    "--guidance",
    "1",
    "--frames",
    "6",
    "--source",
    "a red cat",
    "--prompt",
    "a blue dog",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_folder(tmp_path_factory.mktemp("model")))


def facts(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(vedit("probe", "--json", path).text)
    return found


def filmed(path: Path, size: str, rate: str = "30", sound: bool = False) -> Path:
    """A film of a test picture, with a tone if asked for."""
    inputs = ["-f", "lavfi", "-i", f"testsrc=size={size}:rate={rate}:duration=1"]
    inputs += ["-f", "lavfi", "-i", "sine=duration=1"] if sound else []
    subprocess.run(
        [find_ffmpeg(), "-loglevel", "error", *inputs, "-pix_fmt", "yuv420p", "-shortest", str(path)],
        check=True,
    )
    return path


@pytest.mark.parametrize("name", [*CLIPS, "portrait", "wide", "odd"])
def test_a_film_comes_back_in_its_size_rate_and_length_with_its_sound(
    model: str, tmp_path: Path, name: str
) -> None:
    made = {"portrait": ("720x1280", True), "wide": ("1280x720", True), "odd": ("854x480", False)}
    clip = (
        filmed(tmp_path / "clip.mp4", made[name][0], sound=made[name][1])
        if name in made
        else Path(shared(f"data/clips/{name}.mp4"))
    )
    done = vedit("edit", clip, "-o", tmp_path / "out.mp4", "--model", model, *LINE)
    assert done.code == 0, done.err
    before, after = facts(clip), facts(tmp_path / "out.mp4")
    assert (after["width"], after["height"], after["images"]) == (before["width"], before["height"], 6)
    assert after["rate"]["avg"] == pytest.approx(before["rate"]["avg"], rel=0.01)
    assert bool(after["audio"]) == bool(before["audio"])
    sizes = json.loads((tmp_path / "out.mp4.vedit.json").read_text())["sizes"]
    assert min(sizes["worked"]) == 32 and sizes["output"] == [before["width"], before["height"]]


def test_a_transparent_gif_keeps_its_size_and_times_and_what_it_loses_is_said(
    model: str, tmp_path: Path
) -> None:
    images = []
    for number in range(4):
        picture = Image.new("RGBA", (90, 61))
        ImageDraw.Draw(picture).ellipse((10 + 5 * number, 10, 50 + 5 * number, 50), fill=(200, 30, 30, 255))
        images.append(picture)
    images[0].save(
        tmp_path / "t.gif",
        save_all=True,
        append_images=images[1:],
        duration=[50, 120, 30, 70],
        disposal=2,
        loop=0,
    )
    done = vedit("edit", tmp_path / "t.gif", "-o", tmp_path / "out.gif", "--model", model, *LINE)
    assert done.code == 0 and "no transparency" in done.err
    with Image.open(tmp_path / "out.gif") as made:
        assert made.size == (90, 61) and made.n_frames == 4
        durations = []
        for place in range(4):
            made.seek(place)
            durations.append(made.info["duration"])
    assert durations == [50, 120, 30, 70]


def test_a_folder_of_pictures_is_edited_in_the_order_of_its_numbers(model: str, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(1, 13):
        Image.new("RGB", (70, 40), (20 * number, 90, 90)).save(tmp_path / "many" / f"{number}.png")
    done = vedit(
        "edit",
        tmp_path / "many",
        "-o",
        tmp_path / "out.mp4",
        "--model",
        model,
        *LINE,
        "--frames",
        "12",
        "--mask",
        "box:0,0,1,1",
    )
    assert done.code == 0, done.err
    after = facts(tmp_path / "out.mp4")
    assert (after["width"], after["height"], after["images"], after["rate"]["avg"]) == (70, 40, 12, 25)
    record = json.loads((tmp_path / "out.mp4.vedit.json").read_text())
    assert record["clip"]["frames"] == [0, 1, 12] and len(record["clip"]["sha256"]) == 64
