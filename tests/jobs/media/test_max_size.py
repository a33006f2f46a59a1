"""The best that fits is written, near the size asked for, and what was given up is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import reference
from tests.conftest import gif, vedit
from vedit.errors import UsageError
from vedit.jobs.media.max_size import Setting, fitted, read_size, wish_of
from vedit.media.run import Report


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8MB", 8_000_000),
        ("500k", 500_000),
        ("1.5MiB", 1_572_864),
        ("20000", 20_000),
        ("2 GB", 2_000_000_000),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-3k", "0", "8 apples", "1e6"])
def test_other_texts_are_not_sizes(text: str) -> None:
    with pytest.raises(UsageError):
        wish_of(text)


def test_what_is_given_up_stands_behind_the_stages_and_before_what_packs() -> None:
    asked = [
        ("crop", {"rect": "9x9+0+0"}),
        ("optimize", {"keep-images": "true"}),
        ("metadata", {"loop": "3"}),
    ]
    assert Setting(405, 64, 600, 500).specs(asked) == [
        ("crop", {"rect": "9x9+0+0"}),
        ("frames", {"every": "1000/600"}),
        ("resize", {"scale": "500/1000"}),
        ("optimize", {"keep-images": "true", "lossy": "81/2"}),
        ("metadata", {"loop": "3"}),
    ]


@pytest.mark.parametrize("share", [0.55, 0.2])
def test_the_result_is_at_most_as_large_as_asked_for_and_near_it(share: float, tmp_path: Path) -> None:
    source, out = gif("ok_noise.gif"), tmp_path / "out.gif"
    wish = int(share * source.stat().st_size)
    result = vedit("gif", "optimize", "--max-size", str(wish), "--json", source, "-o", out)
    assert result.code == 0, result.err
    assert 0.95 * wish <= out.stat().st_size <= wish
    report = json.loads(result.text)
    assert report["bytes_out"] == out.stat().st_size and report["setting"] in result.err
    assert reference.read(out.read_bytes()).is_complete


def test_nothing_is_given_up_where_nothing_must_be(tmp_path: Path) -> None:
    source, out = gif("ok_plain.gif"), tmp_path / "out.gif"
    result = vedit("gif", "optimize", "--max-size", "1MB", source, "-o", out)
    assert (result.code, result.err) == (0, "")
    assert out.read_bytes() == vedit("gif", "optimize", source).out


def test_a_size_that_nothing_reaches_is_refused_with_what_was_tried(tmp_path: Path) -> None:
    out = tmp_path / "out.gif"
    result = vedit("gif", "optimize", "--max-size", "50", gif("ok_noise.gif"), "-o", out)
    assert result.code == 4 and not out.exists()
    assert "--lossy 100" in result.err and "every second image" in result.err


def attempt_of(size_of: Callable[[Setting], float]) -> Callable[[Setting, str], Report]:
    """What makes files of sizes that a formula gives."""

    def attempt(setting: Setting, path: str) -> Report:
        Path(path).write_bytes(bytes(round(size_of(setting))))
        return Report("a", path, "index", [], (1, 1), (1, 1), bytes_out=Path(path).stat().st_size)

    return attempt


def test_where_sizes_jump_the_next_better_setting_is_named_with_what_it_takes(tmp_path: Path) -> None:
    attempt = attempt_of(lambda setting: 1000 if setting.lossy < 577 else 600)
    said: list[str] = []
    assert fitted(attempt, 800, str(tmp_path / "o.gif"), said.append).bytes_out == 600
    (words,) = said
    assert words.startswith("to fit in 800 bytes: --lossy 57.7 (")
    assert words.endswith("settings tried; the next better one, --lossy 57.6, takes 1000)")
    fitted(attempt, 610, str(tmp_path / "o.gif"), said.append)  # within 5 %: nothing needs to be said
    assert "the next better" not in said[1]


@pytest.mark.parametrize("wish", range(1000, 2000, 100))
@pytest.mark.parametrize(
    "size_of",
    [
        lambda setting: 2000 - setting.lossy,
        lambda setting: 20 + 6 * setting.colors + setting.images / 4 + setting.scale / 4,
        lambda setting: 2 * setting.images,
        lambda setting: setting.images * (setting.scale / 1000) ** 2 * 2,
    ],
    ids=["lossy", "colors", "images", "scale"],
)
def test_what_has_a_finer_setting_ends_within_five_in_a_hundred(
    size_of: Callable[[Setting], float], wish: int, tmp_path: Path
) -> None:
    made = fitted(attempt_of(size_of), wish, str(tmp_path / "o.gif"), lambda words: None)
    assert 0.95 * wish <= (made.bytes_out or 0) <= wish


def test_no_more_is_given_up_than_it_takes(tmp_path: Path) -> None:
    """Loss and colours change nothing here, so neither is spent where images are."""
    made = fitted(
        attempt_of(lambda setting: setting.images), 850, str(tmp_path / "o.gif"), lambda words: None
    )
    assert made.bytes_out and 808 <= made.bytes_out <= 850
    assert made.setting == f"lossless, {made.bytes_out / 10:g}% of the images"


def test_a_conversion_and_a_resize_fit_too(tmp_path: Path) -> None:
    source, out = gif("ok_noise.gif"), tmp_path / "out.gif"
    for command in (["convert"], ["gif", "resize", "--scale", "90%"]):
        result = vedit(*command, "--max-size", "6000", source, "-y", "-o", out)
        assert result.code == 0 and out.stat().st_size <= 6000, result.err


def test_other_formats_and_pipes_are_refused(tmp_path: Path) -> None:
    source = gif("ok_plain.gif")
    assert vedit("convert", "--max-size", "1k", source, "-o", tmp_path / "a.mp4").code == 2
    assert vedit("gif", "optimize", "--max-size", "1k", "-", stdin=source.read_bytes()).code == 2
