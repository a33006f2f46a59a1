"""Sizes that an edit is made in, and what is refused before its model is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT
from vedit.errors import UsageError
from vedit.jobs.clips import Selection
from vedit.jobs.edit.before import Asked, check_prompts, parse_output, parse_size, with_short_side


@pytest.mark.parametrize(
    ("source", "asked", "expected"),
    [
        ((1280, 720), Asked(), Selection(size=(910, 512), output=(1280, 720))),
        ((720, 1280), Asked(), Selection(size=(512, 910), output=(720, 1280))),
        ((512, 512), Asked(), Selection(size=(512, 512))),
        ((1280, 720), Asked(size=360), Selection(size=(640, 360), output=(1280, 720))),
        ((1280, 720), Asked(size=(142, 80)), Selection(size=(142, 80), output=(1280, 720))),
        ((1280, 720), Asked(crop="square"), Selection(size=512, output=(720, 720))),
        ((1280, 720), Asked(crop="square", output="worked"), Selection(size=512)),
        ((1280, 720), Asked(output="worked"), Selection(size=(910, 512))),
        ((1280, 720), Asked(output=(320, 180)), Selection(size=(910, 512), output=(320, 180))),
        ((2000, 20), Asked(size=64), Selection(size=(6400, 64), output=(2000, 20))),
    ],
)
def test_a_clip_keeps_its_aspect_and_comes_back_in_its_size_unless_asked(
    source: tuple[int, int], asked: Asked, expected: Selection
) -> None:
    assert asked.of(source, 512) == expected


def test_the_other_side_is_the_nearest_whole_number() -> None:
    assert with_short_side((1920, 1080), 512) == (910, 512)  # 910.2
    assert with_short_side((853, 480), 512) == (910, 512)  # 909.9
    assert with_short_side((3, 2), 1) == (2, 1)


@pytest.mark.parametrize(
    "text", ["", "x", "5x", "x5", "0", "0x4", "4x0", "-1", "1.5", "99999", "64x64x64", "²"]
)
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_sizes_of_outputs_are_words_or_width_and_height() -> None:
    assert (parse_output("source"), parse_output("worked"), parse_output("20x10")) == (
        "source",
        "worked",
        (20, 10),
    )
    for text in ("20", "", "sauce", "20x"):
        with pytest.raises(UsageError):
            parse_output(text)


def test_the_embedded_model_s_words_are_known_without_it() -> None:
    check_prompts("shapes", ["a red circle"])
    check_prompts("some/model", ["a grey wolf"])
    with pytest.raises(UsageError, match="wolf"):
        check_prompts("shapes", ["a red circle", "a grey wolf"])


WORDS = ("--source", "a red circle", "--prompt", "a blue circle")


REFUSED = [
    (("typo.gif", "-o", "out.gif", *WORDS), 3, "typo.gif"),
    (("clip.gif", "-o", "out.gif", "--source", "a red circle", "--prompt", "a blue wolf"), 2, "wolf"),
    (("clip.gif", "-o", "none/out.gif", *WORDS), 4, "no folder none"),
    (("clip.gif", "-o", "out.gif", *WORDS, "--size", "5x"), 2, "--size 5x"),
    (("clip.gif", "-o", "out.gif", *WORDS, "--method", "p3p"), 2, "no method called 'p3p'"),
    (("clip.gif", "-o", "out.gif", *WORDS, "--preset", "p3p"), 2, "no preset called 'p3p'"),
    (("clip.gif", "-o", "out.gif", *WORDS, "--mask", "box:0,0,99,99"), 2, "does not lie in the 64x64 frame"),
    (("clip.gif", "-o", "out.gif", *WORDS, "--mask", "time:9s-"), 2, "holds no frame"),
    (("clip.gif", "-o", "out.gif", *WORDS, "--mask", "black.png"), 2, "black everywhere"),
    (("clip.gif", "-o", "out.gif", *WORDS, "--inversion", "none.safetensors"), 3, "no such file"),
    (("clip.gif", "-o", "clip.gif", *WORDS), 2, "is the clip itself"),
    (("clip.gif", "-o", "out.gif", *WORDS, "--model", "no-such-folder"), 5, "no-such-folder"),
]
EACH = """
import contextlib, io, json, sys
from vedit.cli import execute
found = []
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = execute(["edit", *arguments])
    heavy = {"torch", "diffusers", "transformers", "open_clip"} & set(sys.modules)
    found.append([code, said.getvalue(), sorted(heavy)])
print(json.dumps(found))
"""


def test_what_is_wrong_is_said_without_loading_torch(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "clip.gif")
    Image.new("L", (64, 64)).save(tmp_path / "black.png")
    lines = json.dumps([arguments for arguments, _, _ in REFUSED])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", EACH, lines],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    for (arguments, code, message), (found, said, heavy) in zip(
        REFUSED, json.loads(done.stdout), strict=True
    ):
        assert (found, message in said, heavy) == (code, True, []), (arguments, said)
    assert not (tmp_path / "out.gif").exists()
