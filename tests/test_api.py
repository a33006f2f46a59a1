"""`vedit.api`: the examples of docs/api.md work, and importing it costs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT
from vedit import api
from vedit.errors import OutputError, UsageError

EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "api.md").read_text("utf-8"), re.S | re.M)


def test_the_examples_of_the_page_work_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / ".cache"))
    assert len(EXAMPLES) == 8
    for example in EXAMPLES:
        exec(example, {})
    said = capsys.readouterr().out
    assert "full (112, 128) 9 " in said and "edit clip.gif with pnp on shapes: 2 frames of 64x64" in said
    assert "nothing.gif: cannot read" in said
    assert "2 of 2" in said
    for name in ("blue.gif", "green.gif", "edited/clip_blue.gif"):
        with Image.open(tmp_path / name) as made:
            assert (made.size, made.n_frames) == ((64, 64), 2)  # type: ignore[attr-defined]
    assert sorted(path.name for path in tmp_path.glob("yellow-*.png")) == [
        f"yellow-{i}.png" for i in range(2)
    ]


def test_importing_it_loads_no_library() -> None:
    heavy = {"torch", "numpy", "PIL", "pydantic", "click", "diffusers", "dataclasses"}
    code = f"import sys, vedit.api; print([name for name in sys.modules if name.split('.')[0] in {heavy}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_name_that_it_offers_is_there() -> None:
    assert all(hasattr(api, name) for name in api.__all__)
    with pytest.raises(AttributeError, match="no attribute 'editt'"):
        api.editt  # noqa: B018  # what is looked at raises


def test_a_field_that_is_unknown_is_refused_with_the_nearest_spelling() -> None:
    with pytest.raises(UsageError, match=r"no key 'step'; did you mean steps\?"):
        api.edit("clip.gif", "a blue circle", "out.gif", step=3)
    with pytest.raises(UsageError, match=r"score: not a ScoreRequest: batch: "):
        api.score("clip.gif", batch="many")


def test_an_output_that_exists_is_replaced_when_that_is_said_alone(tmp_path: Path) -> None:
    source, out = tmp_path / "in.gif", tmp_path / "out.gif"
    Image.new("P", (8, 6)).save(source)
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"out.gif exists"):
        api.gif("rotate:90", str(source), str(out))
    assert out.read_bytes() == b"mine"
    assert api.gif("rotate:90", str(source), str(out), overwrite=True).size_out == (6, 8)
    assert api.probe(str(out), check=True)["width"] == 6
