"""That everybody can use the page: axe-core's rules in light and dark, and targets large enough to hit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

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


def violations(editor: Editor, axe: str) -> list[str]:
    editor.page.evaluate(axe)
    found = editor.page.evaluate(
        "async () => (await axe.run(document, { resultTypes: ['violations'] })).violations"
    )
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for one in found
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "360"])
def test_no_rule_of_axe_is_broken_in_any_state(
    open_editor: Callable[..., Editor], axe: str, scheme: str, size: tuple[int, int]
) -> None:
    editor = open_editor(
        "cat.gif", size=size, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce"
    )  # only axe needs the policy off
    page = editor.page
    editor.settle()
    assert not violations(editor, axe)

    editor.add("Crop")
    editor.tab("View")
    page.locator(".box").wait_for()
    assert not violations(editor, axe)
    page.get_by_role("button", name="Done", exact=True).click()

    for stage in ("Resize", "Watermark", "Adjust", "Metadata", "Delay", "Pad", "Blur"):
        editor.add(stage)
    for more in page.locator("details.more > summary").all():
        more.click()
    editor.settle()
    assert not violations(editor, axe)

    editor.tab("View")
    page.get_by_role("radio", name="Split").check()
    assert not violations(editor, axe)
    page.get_by_role("radio", name="Difference").check()
    page.get_by_label("Select images by number").fill("3-5")
    assert not violations(editor, axe)

    editor.tab("Result")
    page.get_by_role("button", name="Keys (?)").click()
    page.locator("dialog").wait_for()
    assert not violations(editor, axe)
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("button", name="Presets").click()
    page.locator("dialog").wait_for()
    assert not violations(editor, axe)


def test_the_empty_page_breaks_no_rule_either(open_editor: Callable[..., Editor], axe: str) -> None:
    editor = open_editor(bypass_csp=True)
    editor.page.get_by_role("heading", name="Drop a GIF or a film here").wait_for()
    assert not violations(editor, axe)


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
