"""What people do with the page, from the file to the download."""

from __future__ import annotations

import base64
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest

from tests.browser.conftest import NARROW, WIDE, Editor, numbered

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "360"])
DROP = """(main, data) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "cat.gif", { type: "image/gif" }));
  for (const name of ["dragover", "drop"]) main.dispatchEvent(new DragEvent(name, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@SIZES
def test_a_dropped_file_is_cropped_resized_reordered_and_downloaded_as_the_command_makes_it(
    open_editor: Callable[..., Editor], size: tuple[int, int]
) -> None:
    editor = open_editor(size=size)
    page = editor.page
    page.locator("main").evaluate(DROP, base64.b64encode(numbered()).decode())
    editor.settle()

    editor.add("Crop")
    editor.tab("View")
    page.locator(".box").wait_for()
    editor.drag(page.locator(".handle.nw"), (60, 30))
    page.get_by_role("button", name="Done", exact=True).click()
    assert "crop" in editor.chain()
    assert not editor.chain().endswith("240x160+0+0")

    card = editor.add("Resize")
    card.get_by_role("textbox", name="Width").fill("120")
    assert "width=120" in editor.chain()
    card.get_by_role("button", name="Move Resize up").click()
    assert editor.chain().startswith("resize:width=120; crop:")

    for _ in range(2):
        page.get_by_role("button", name="Undo").click()
    assert "width=120" not in editor.chain()
    for _ in range(2):
        page.get_by_role("button", name="Redo").click()
    assert editor.chain().startswith("resize:width=120; crop:")
    assert editor.download() == editor.run_command()


@SIZES
def test_a_watermark_is_dragged_to_a_corner_and_to_a_free_place(
    open_editor: Callable[..., Editor], size: tuple[int, int]
) -> None:
    editor = open_editor("cat.gif", size=size)
    page = editor.page
    card = editor.add("Watermark")
    editor.settle()
    card.get_by_role("button", name="On the picture").click()
    editor.tab("View")
    box = page.locator(".box")
    box.wait_for()
    canvas = page.locator(".overlay").bounding_box()
    place, scale = box.bounding_box(), canvas["width"] / 240
    corner = round(canvas["x"] + 10 * scale - place["x"]), round(canvas["y"] + 10 * scale - place["y"])
    editor.drag(box, (corner[0] + 3, corner[1] - 2))  # not quite: it is drawn there
    assert "position=top-left" in editor.chain()
    assert "at=" not in editor.chain()
    editor.drag(box, (52, 38))
    assert "at=" in editor.chain()
    assert "position" not in editor.chain()
    page.get_by_role("button", name="Done", exact=True).click()
    assert editor.download() == editor.run_command()


@SIZES
def test_delays_of_a_selection_and_a_dropped_image_are_what_is_played(
    open_editor: Callable[..., Editor], size: tuple[int, int]
) -> None:
    editor = open_editor("cat.gif", size=size, reduced_motion="reduce")
    page = editor.page
    editor.settle()
    page.get_by_label("Select images by number").fill("3-7")
    page.get_by_label("Delay", exact=True).fill("20")
    page.get_by_role("button", name="Set delay").click()
    assert editor.chain() == "delay:rules=3-7=20"
    page.get_by_label("Select images by number").fill("9")
    page.get_by_role("button", name="Drop", exact=True).click()
    assert "frames:drop=9" in editor.chain()

    delays = {1: 10, 2: 10, 3: 20, 4: 20, 5: 20, 6: 20, 7: 20, 8: 10, 10: 10}
    page.locator(".where", has_text="image 1 of 9").wait_for()
    samples = _played(page, 3.5)
    for before_s, now_s, number in samples:
        assert number in _due(delays, before_s, now_s), (before_s, now_s, number)
    assert len({number for _, _, number in samples}) > 5


def _played(page: Any, seconds: float) -> list[tuple[float, float, int]]:
    """What the canvas shows at each picture of the display, once all images were shown: the clip's time at the
    picture before and at this one, and the number of the image.
    """
    script = """async (canvas, seconds) => {
      const one = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
      document.querySelector(".play").click();
      const found = [];
      let [last, clock] = [performance.now(), 0];
      while (clock < seconds) {
        const now = await new Promise(requestAnimationFrame);
        const before = clock;
        clock += Math.min(1, (now - last) / 1000); // longer than a second is a page that was away
        last = now;
        one.drawImage(canvas, 5, 5, 1, 1, 0, 0, 1, 1);
        found.push([before, clock, Math.round(one.getImageData(0, 0, 1, 1).data[0] / 20)]);
      }
      return found.filter(([before]) => before > 1.4);
    }"""
    found = page.locator(".board .result canvas").evaluate(script, seconds)
    return [(float(before), float(now), int(number)) for before, now, number in found]


def _due(delays: dict[int, int], before_s: float, now_s: float) -> set[int]:
    """The images that may be shown between two times, on a clock that is right to a millisecond."""
    ends = list(accumulate(delays.values()))
    due = set()
    for cycle in range(9):
        for number, end, delay in zip(delays, ends, delays.values(), strict=True):
            begin_s = cycle * ends[-1] / 100 + (end - delay) / 100
            if begin_s - 0.005 <= now_s and before_s <= begin_s + delay / 100 + 0.005:
                due.add(number)
    return due


@SIZES
def test_the_same_journey_with_the_keyboard_alone_keeps_the_focus_and_is_announced(
    open_editor: Callable[..., Editor], size: tuple[int, int]
) -> None:
    editor = open_editor("cat.gif", size=size)
    page = editor.page
    editor.settle()
    assert editor.announced().startswith("Result")

    page.keyboard.press("c")
    page.locator(".box:focus").wait_for()
    page.keyboard.press("Alt+Shift+ArrowLeft")
    page.keyboard.press("Alt+Shift+ArrowUp")
    page.keyboard.press("Enter")
    assert "230x150+0+0" in editor.chain()
    assert _focused(page) != "BODY"

    if editor.is_narrow:
        _tab_to(page, "button", "Steps")
        page.keyboard.press("Enter")
    _tab_to(page, "button", "Add a step")
    page.keyboard.press("Enter")
    for _ in range(20):
        if page.evaluate("document.activeElement.textContent").startswith("Resize"):
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("[data-stage=resize]").wait_for(state="attached")
    _tab_to(page, "input", "card-2-width")
    page.keyboard.press("Control+a")
    page.keyboard.type("115")
    assert "width=115" in editor.chain()
    page.keyboard.press("Alt+ArrowUp")
    assert editor.chain().startswith("resize:")
    assert _focused(page) != "BODY"
    page.keyboard.press("Tab")  # in a text box, undo is that of the text
    page.keyboard.press("Control+z")
    assert editor.chain().startswith("crop")
    page.keyboard.press("Control+Shift+z")
    assert editor.chain().startswith("resize:")
    assert "smaller" in editor.announced() or "larger" in editor.announced()
    with page.expect_download() as waiting:
        page.keyboard.press("Control+s")
    with open(waiting.value.path(), "rb") as stream:
        assert stream.read() == editor.run_command()


def _focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.tagName"))


def _tab_to(page: Any, tag: str, name: str) -> None:
    """Press Tab until a control has the focus."""
    script = """([tag, name]) => {
      const one = document.activeElement;
      return one.localName === tag && (one.textContent.includes(name) || one.id.endsWith(name));
    }"""
    for _ in range(150):
        if page.evaluate(script, [tag, name]):
            return
        assert _focused(page) != "HTML"
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never came to {name}")


@SIZES
def test_thirty_moves_of_a_slider_make_at_most_three_runs_and_show_the_last(
    open_editor: Callable[..., Editor], size: tuple[int, int]
) -> None:
    editor = open_editor("cat.gif", size=size)
    card = editor.add("Adjust")
    editor.settle()
    before = sum(url.endswith("/run") for url in editor.asked)
    slider = card.locator("[data-option=brightness] input[type=range]")
    slider.evaluate(
        """async (slider) => {
          for (let i = 1; i <= 30; i += 1) {
            slider.value = 1 + i * 0.05;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            await new Promise((resolve) => setTimeout(resolve, 33));
          }
          slider.dispatchEvent(new Event("change", { bubbles: true }));
        }"""
    )
    assert editor.chain() == "adjust:brightness=2.5"
    assert sum(url.endswith("/run") for url in editor.asked) - before <= 3
    assert editor.download() == editor.run_command()


def test_what_was_done_is_still_there_after_a_reload(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif")
    card = editor.add("Speed")
    card.get_by_role("textbox", name="Factor").fill("2")
    wanted = editor.chain()
    editor.page.reload()
    editor.page.locator("main.editor").wait_for()
    assert editor.chain() == wanted
    editor.page.get_by_role("button", name="Undo").click()
    assert editor.chain() != wanted


def test_a_value_that_is_refused_is_told_at_its_control_and_the_last_result_stays(
    open_editor: Callable[..., Editor],
) -> None:
    editor = open_editor("cat.gif")
    editor.may_refuse = True
    card = editor.add("Resize")
    editor.settle()
    before = editor.page.locator("a.download").get_attribute("href")
    card.get_by_role("textbox", name="Width").fill("-7")
    row = card.locator("[data-option=width]")
    row.locator(".error:not([hidden])").wait_for()
    assert "width" in row.locator(".error").text_content()
    assert row.get_by_role("textbox").get_attribute("aria-invalid") is not None
    assert editor.page.locator("a.download").get_attribute("href") == before


def test_done_writes_the_file_and_ends_the_command_with_0(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif", "-o", "small.gif")
    card = editor.add("Resize")
    card.get_by_role("textbox", name="Width").fill("100")
    wanted = editor.run_command()
    (editor.server.folder / "small.gif").unlink()
    editor.page.get_by_role("button", name="Done: small.gif").click()
    editor.page.get_by_role("alertdialog").wait_for()
    assert editor.server.ended() == 0
    assert (editor.server.folder / "small.gif").read_bytes() == wanted


def test_closing_without_done_ends_the_command_with_1(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif", "-o", "small.gif")
    editor.settle()
    editor.page.get_by_role("button", name="Close without a result").click()
    assert editor.server.ended() == 1
    assert not (editor.server.folder / "small.gif").exists()
