"""That everybody can use the page: axe-core's rules in light and dark, and targets large enough to hit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import NARROW, WIDE, Editor

AXE = "axe-core@4.11.0"
HELP = f"needs axe-core: npm install --prefix .pytest_cache/d/axe {AXE}"


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The script of axe-core, which npm puts into the cache of the tests once."""
    folder = Path(request.config.cache.mkdir("axe"))
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    npm = shutil.which("npm")
    if not script.exists() and npm:
        words = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", AXE]
        subprocess.run(words, capture_output=True, timeout=120)
    if not script.exists():
        pytest.skip(HELP)
    return script.read_text(encoding="utf-8")


def violations(page: Any, axe: str) -> list[str]:
    """What axe finds in light; in dark, which differs by its colours alone, what it finds of contrast."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    page.emulate_media(color_scheme="light")
    found = _told(page, "{ resultTypes: ['violations'] }")
    page.emulate_media(color_scheme="dark")
    return found + _told(page, "{ resultTypes: ['violations'], runOnly: ['color-contrast'] }")


def _told(page: Any, options: str) -> list[str]:
    found = page.evaluate(f"async () => (await axe.run(document, {options})).violations")
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for one in found
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "360"])
def test_no_rule_of_axe_is_broken_in_any_state(
    open_editor: Callable[..., Editor], axe: str, size: tuple[int, int]
) -> None:
    editor = open_editor("cat.gif", size=size, bypass_csp=True)  # only axe needs the policy off
    page = editor.page
    editor.settle()
    assert not violations(page, axe), "the result"

    editor.add("Crop")
    editor.tab("View")
    page.locator(".box").wait_for()
    assert not violations(page, axe), "a box on the picture"
    page.get_by_role("button", name="Done", exact=True).click()

    for stage in ("Resize", "Watermark", "Adjust", "Metadata", "Delay", "Pad", "Blur"):
        editor.add(stage)
    for more in page.locator("details.more > summary").all():
        more.click()
    editor.settle()
    assert not violations(page, axe), "many cards"

    editor.tab("View")
    page.get_by_role("radio", name="Difference").check()
    page.get_by_label("Select images by number").fill("3-5")
    assert not violations(page, axe), "a selection and the difference"

    editor.tab("Result")
    page.get_by_role("button", name="Keys (?)").click()
    page.locator("dialog").wait_for()
    assert not violations(page, axe), "keys"
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("button", name="Presets").click()
    page.locator("dialog").wait_for()
    assert not violations(page, axe), "presets"


def test_the_empty_page_breaks_no_rule_either(open_editor: Callable[..., Editor], axe: str) -> None:
    editor = open_editor(bypass_csp=True)
    editor.page.get_by_role("heading", name="Drop a GIF or a film here").wait_for()
    assert not violations(editor.page, axe)


def test_targets_are_44_pixels_high_on_a_phone(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif", size=NARROW)
    editor.settle()
    editor.add("Watermark")
    small = editor.page.evaluate(
        """() => [...document.querySelectorAll(".left button, .left select, .left input[type=text], .nav button, header button, header label")]
          .filter((one) => one.checkVisibility({ checkVisibilityCSS: true }) && one.getBoundingClientRect().height < 43.5)
          .map((one) => `${one.outerHTML.slice(0, 120)} ${one.getBoundingClientRect().height}`)"""
    )
    assert not small


@pytest.mark.parametrize("size", [WIDE, NARROW, (800, 700)], ids=["1280", "360", "800"])
def test_nothing_is_wider_than_the_window(open_editor: Callable[..., Editor], size: tuple[int, int]) -> None:
    editor = open_editor("cat.gif", size=size)
    for stage in ("Crop", "Resize", "Watermark"):
        editor.add(stage)
    editor.settle()
    wide = editor.page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll("header, .left, .middle, .right, footer, .card")]
          .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => `${one.className || one.localName} ${one.scrollWidth} > ${one.clientWidth}`)"""
    )
    assert not wide
