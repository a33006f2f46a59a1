"""The reference reader itself, held against the digests of a third reader."""

from __future__ import annotations

import json

import pytest

from tests import reference
from tests.conftest import EXPECTED, HEAVY_REAL, LIGHT_REAL, OK, WARN, gif, parsed, shared


@pytest.mark.parametrize("name", [*OK, *WARN])
def test_the_reference_agrees_with_the_recorded_frames(name: str) -> None:
    expected, found = EXPECTED[name], parsed(gif(name))
    assert found.digests() == expected["frames_sha"]
    assert (list(found.size), found.loop, len(found.comments), found.delays) == (
        expected["size"],
        expected["loop"],
        expected["comments"],
        expected["delays_cs"],
    )
    assert found.disposals == expected["disposal"]


@pytest.mark.parametrize(
    "name", [*LIGHT_REAL, *HEAVY_REAL, "imagegif_moon_impact.gif", "imagegif_out-of-range.gif"]
)
def test_the_reference_agrees_on_real_files(name: str) -> None:
    expected = json.loads(shared("data/gifs/real/expected.json").read_text())[name]
    found = parsed(gif(name))
    assert found.digests() == expected["frames_sha"]
    assert (list(found.size), found.loop, len(found.comments), len(found.images)) == (
        expected["size"],
        expected["loop"],
        expected["comments"],
        expected["images"],
    )


@pytest.mark.parametrize(
    "name",
    [
        "err_empty.gif",
        "err_header_only.gif",
        "err_screen_only.gif",
        "err_text.gif",
        "err_png_bytes.gif",
        "err_truncated_palette.gif",
    ],
)
def test_the_reference_refuses_what_shows_nothing(name: str) -> None:
    with pytest.raises(reference.Unreadable):
        reference.read(gif(name).read_bytes())
