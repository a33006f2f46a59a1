from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.jobs.conftest import job
from vedit.errors import UsageError
from vedit.jobs.clips import Selection, read_pixels
from vedit.jobs.edit.ablate import ablate, ablations, table_text
from vedit.jobs.edit.video import edit_video
from vedit.media.run import Settings
from vedit.models.sd.model import Model

GLP = {"iterations": 3, "guidance": 3.0, "lr": 0.2}


def test_every_variant_stands_beside_the_source_and_is_what_its_own_run_gives(
    model: Model, clip: str, tmp_path: Path
) -> None:
    base = job(clip, tmp_path / "all.nut", method="glp", params=GLP, target="a blue dog", mask=("0,0,16,32",))
    record = ablate(base, model, Settings(), truth=clip)
    assert [row["variant"] for row in record["rows"]] == ["source", "DDS", "GP only", "LP only", "GLP"]
    shown = read_pixels(str(tmp_path / "all.nut"), Selection(size=(6 * 34 - 2, 32))).frames_FYX3
    columns = [shown[:, :, place * 34 : place * 34 + 32] for place in range(6)]
    source = read_pixels(clip, Selection(size=32)).frames_FYX3
    assert (columns[0] == source).all() and (columns[5] == source).all()  # the truth given is the clip itself
    dds = job(
        clip,
        tmp_path / "dds.nut",
        method="dds",
        params={**GLP, "w1": 2.0, "w2": 2.0},
        target="a blue dog",
        mask=("0,0,16,32",),
        keep_outside=False,
        detail=False,
    )
    edit_video(dds, model, Settings())
    assert (columns[1] == read_pixels(str(tmp_path / "dds.nut"), Selection(size=32)).frames_FYX3).all()
    assert len({column.tobytes() for column in columns[1:5]}) == 4
    row = record["rows"][1]
    change = columns[1].astype(float) - source
    assert row["change"] == pytest.approx(np.sqrt(np.mean(change**2)), rel=1e-5)
    assert row["whole"] == pytest.approx(20 * np.log10(255 / row["change"]), abs=1e-3)
    outside = change[:, :, 16:]
    assert row["outside"] == pytest.approx(10 * np.log10(255**2 / np.mean(outside**2)), abs=1e-3)
    assert json.loads((tmp_path / "all.nut.vedit.json").read_text())["rows"][0]["change"] == 0


def test_the_table_has_a_column_for_what_could_be_measured_only() -> None:
    rows = [{"variant": "source", "change": 0.0}, {"variant": "GLP", "change": 2.5, "seconds": 1.0}]
    assert table_text(rows).splitlines() == [
        "                  change     seconds s",
        "source              0.00",
        "GLP                 2.50          1.00",
    ]


def test_methods_without_parts_and_truths_of_another_length_are_refused(
    model: Model, clip: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="pnp has no parts to switch off") as error:
        ablations("pnp")
    assert error.value.next_step == "Try --method glp"
    short = job(clip, tmp_path / "a.gif", method="glp", params=GLP, selection=Selection(size=32))
    from PIL import Image

    Image.new("RGB", (32, 32)).save(tmp_path / "one.gif")
    with pytest.raises(UsageError, match="1 frames of the selection, the clip 3"):
        ablate(short, model, Settings(), truth=str(tmp_path / "one.gif"))
