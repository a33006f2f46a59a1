from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.app.test_edit_video import clip, job, model
from vedit.app.edit_video import edit_video
from vedit.app.gif import Settings
from vedit.app.record import read_record, write_record
from vedit.app.replay import replay
from vedit.diffusion.models import Model
from vedit.errors import InputError, ModelError

__all__ = ["clip", "model"]


def test_a_replayed_edit_gives_the_same_bytes(model: Model, clip: str, tmp_path: Path) -> None:
    edit_video(job(clip, tmp_path / "a.gif", target="a blue dog", seed=3, mask=("0,0,16,16",), keep_outside=True), model, Settings())
    replay(read_record(str(tmp_path / "a.gif")), str(tmp_path / "b.gif"))
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_other_weights_and_other_commands_are_refused(model: Model, clip: str, tmp_path: Path) -> None:
    record = edit_video(job(clip, tmp_path / "a.gif"), model, Settings())
    with pytest.raises(ModelError, match="not those of the record"):
        replay({**record, "model": {**record["model"], "unet_sha256": "0" * 64}}, str(tmp_path / "b.gif"))
    with pytest.raises(InputError, match="not of an edit"):
        replay({"command": "generate"}, str(tmp_path / "b.gif"))


def test_other_versions_are_named(model: Model, clip: str, tmp_path: Path) -> None:
    record = edit_video(job(clip, tmp_path / "a.gif"), model, Settings())
    said: list[str] = []
    replay({**record, "versions": {**record["versions"], "torch": "1.0"}}, str(tmp_path / "b.gif"), warn=said.append)
    assert any("(was 1.0)" in message for message in said)


def test_an_output_without_a_record_says_where_it_would_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.gif\.vedit\.json"):
        read_record(str(tmp_path / "none.gif"))
    write_record(str(tmp_path / "x.gif"), {"command": "edit"})
    assert read_record(str(tmp_path / "x.gif.vedit.json")) == {"command": "edit"}
