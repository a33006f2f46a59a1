"""What `vedit edit` refuses before any work, and what it prints; the work itself is tested in tests/jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
from PIL import Image

from tests.conftest import vedit

WORDS = ("--source", "a red circle", "--prompt", "a blue circle")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "clip.gif")
    return tmp_path / "clip.gif"


def test_a_run_that_needs_too_much_memory_exits_6_and_says_what_would_fit(clip: Path) -> None:
    result = vedit("edit", clip, "-o", clip.with_name("out.gif"), *WORDS, "--memory", "1")
    assert result.code == 6 and "--memory allows 1 MiB (1 frames at once, 64x64, float32)" in result.err
    assert [path.name for path in clip.parent.iterdir()] == ["clip.gif"]


def test_explain_prints_the_memory_and_writes_nothing(clip: Path) -> None:
    result = vedit("edit", clip, "--explain", *WORDS, "--mask", "box:0,0,50%,50%")
    assert result.code == 0 and "memory: about" in result.text and "swap: red -> blue" in result.text
    assert [path.name for path in clip.parent.iterdir()] == ["clip.gif"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--truth", "truth.gif"), 2, "--truth is for the table of --ablate"),
        (("--method", "pnp", "--ablate"), 2, "pnp has no parts to switch off"),
        (("--method", "glp", "--ablate", "--preview", "p.gif"), 2, "--preview does not go with --ablate"),
        (("--save-attention", "full"), 4, "full holds pictures already"),
        (("--save-attention", "clip.gif"), 4, "clip.gif is a file"),
        (("--save-masks", "full"), 4, "full holds pictures already"),
        (("--save-masks", "full/m%03d.png"), 2, "Name a file: --save-masks full/clip.gif"),
    ],
)
def test_what_cannot_be_is_refused_before_a_model_is_loaded(
    clip: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(clip.parent)
    (clip.parent / "full").mkdir()
    Image.new("L", (2, 2)).save(clip.parent / "full" / "00001.png")
    monkeypatch.setattr("vedit.models.sd.load.load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    result = vedit("edit", "clip.gif", "-o", "out.gif", *WORDS, *options)
    assert result.code == code and message in result.err
