"""What the parts of the page reckon, and what else it does: views, keys, presets, forms, folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Editor, numbered


@pytest.fixture
def reckon(open_editor: Callable[..., Editor]) -> Callable[[str, str], Any]:
    """A value of a module of the page: reckon("crop", "m.rectText(...)")."""
    page = open_editor().page

    def value(module: str, words: str) -> Any:
        return page.evaluate(
            f"async () => {{ const m = await import('./static/{module}.js'); return ({words}); }}"
        )

    return value


def test_a_rectangle_is_resized_within_the_canvas_and_keeps_its_aspect(
    reckon: Callable[[str, str], Any],
) -> None:
    canvas = "{width: 100, height: 80}"
    for rect, handle, by, aspect, wanted in (
        ((10, 10, 50, 40), "se", (5, 6), 0, (10, 10, 55, 46)),
        ((10, 10, 50, 40), "nw", (-50, -50), 0, (0, 0, 60, 50)),
        ((10, 10, 50, 40), "e", (900, 30), 0, (10, 10, 90, 40)),
        ((10, 10, 50, 40), "se", (-900, -900), 0, (10, 10, 1, 1)),
        ((10, 10, 40, 40), "se", (20, 0), 1, (10, 10, 60, 60)),
        ((10, 10, 40, 40), "se", (90, 0), 1, (10, 10, 70, 70)),  # the canvas is 80 high
        ((10, 10, 40, 40), "n", (0, -10), 2, (10, 10, 90, 45)),  # ... and 100 wide
    ):
        x, y, w, h = rect
        found = reckon(
            "crop",
            f"m.resized({{x: {x}, y: {y}, w: {w}, h: {h}}}, '{handle}', {by[0]}, {by[1]}, {canvas}, {aspect})",
        )
        if aspect == 2:
            assert found["w"] / found["h"] == pytest.approx(2, rel=0.03)
            assert found["y"] + found["h"] == 50  # the edge that is not pulled stays
        else:
            assert (found["x"], found["y"], found["w"], found["h"]) == wanted


def test_numbers_become_spans_and_spans_numbers(reckon: Callable[[str, str], Any]) -> None:
    assert reckon("timeline", "m.spansOf([1, 2, 3, 5, 9, 10])") == "1-3,5,9-10"
    assert reckon("timeline", "m.numbersOf('3-7, 9, last, 11-', 12)") == [3, 4, 5, 6, 7, 9, 11, 12]
    assert reckon("timeline", "m.numbersOf('3-x', 12)") is None
    assert reckon("timeline", "m.reversed([3, 4, 5], 9)") == "1-2,5-3,6-9"
    assert reckon("timeline", "m.reversed([1, 2], 2)") == "2-1"
    assert reckon("timeline", "m.loopedAt(4, 9)") == "4-9,1-3"


def test_what_is_done_to_the_result_joins_the_last_card_or_makes_one(
    reckon: Callable[[str, str], Any],
) -> None:
    def changed(chain: list[Any], stage: str, options: dict[str, str], images: int = 0) -> Any:
        cards = [{"stage": name, "options": given, "on": True} for name, given in chain]
        return reckon(
            "timeline", f"m.changed({json.dumps(cards)}, '{stage}', {json.dumps(options)}, {images})"
        )

    drop = [("frames", {"drop": "9"})]
    assert changed([], "frames", {"drop": "3"}) == {"merged": False, "options": {"drop": "3"}}
    # of ten images the ninth is gone: the ninth of the result is the tenth of what came in
    assert changed(drop, "frames", {"drop": "9"}, 10)["options"] == {"drop": "9-10"}
    assert changed(drop, "frames", {"keep": "1-3"}, 10)["options"] == {"drop": "4-10"}
    assert changed([("frames", {"keep": "2-5"})], "frames", {"drop": "1"}, 10)["options"] == {"keep": "3-5"}
    assert not changed([("frames", {"every": "2"})], "frames", {"drop": "1"}, 10)["merged"]
    assert not changed([*drop, ("crop", {"auto": "true"})], "frames", {"drop": "1"}, 10)["merged"]
    rules = [("delay", {"rules": "1-5=10 6=50"})]
    assert changed(rules, "delay", {"rules": "1-5=20"})["options"] == {"rules": "6=50 1-5=20"}
    assert changed(rules, "delay", {"rules": "1-5=*0.5"})["options"] == {"rules": "1-5=10 6=50 1-5=*0.5"}


def test_a_logarithmic_slider_has_1_in_its_middle_and_its_bounds_at_its_ends(
    reckon: Callable[[str, str], Any],
) -> None:
    assert [reckon("controls", f"m.fromLog({place}, 0.1, 5)") for place in (-1, 0, 1)] == [0.1, 1, 5]
    assert reckon("controls", "m.toLog(m.fromLog(-0.37, 0.1, 5), 0.1, 5)") == pytest.approx(-0.37)


def test_views_show_source_result_and_their_difference(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif", reduced_motion="reduce")
    page = editor.page
    card = editor.add("Adjust")
    card.get_by_role("textbox", name="Brightness").fill("2")
    editor.settle()
    shown = lambda: [name for name in ("source", "result") if page.locator(f".board .{name}").is_visible()]
    assert shown() == ["result"]
    assert editor.pixel()[:3] == [40, 80, 180]  # twice (20, 40, 90)
    page.locator(".viewport").focus()
    page.keyboard.down("b")
    assert shown() == ["source"]
    assert editor.pixel("source")[:3] == [20, 40, 90]
    page.keyboard.up("b")
    assert shown() == ["result"]
    page.get_by_role("radio", name="Difference").check()
    assert shown() == ["source", "result"]
    assert (
        page.locator(".board .result").evaluate("(one) => getComputedStyle(one).mixBlendMode") == "difference"
    )
    page.get_by_role("radio", name="Split").check()
    page.get_by_role("slider", name="Where the two pictures meet").fill("25")
    assert page.locator(".board .result").evaluate("(one) => getComputedStyle(one).clipPath").endswith("25%)")
    page.get_by_role("radio", name="Side by side").check()
    left, right = (page.locator(f".board .{name} canvas").bounding_box() for name in ("source", "result"))
    assert left["x"] + left["width"] <= right["x"]


def test_keys_step_zoom_select_and_drop(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif", reduced_motion="reduce")
    page = editor.page
    editor.settle()
    page.locator(".viewport").focus()
    for key in (".", ".", "["):
        page.keyboard.press(key)
    assert page.locator(".where").text_content().endswith("image 3 of 10")
    for key in (".", "]", "Delete"):
        page.keyboard.press(key)
    assert editor.chain() == "frames:drop=3-4"
    page.keyboard.press("End")
    page.locator(".where", has_text="image 8 of 8").wait_for()
    page.keyboard.press("Home")
    page.keyboard.press("1")
    assert page.locator(".level").text_content() == "100 %"
    page.keyboard.press("+")
    assert page.locator(".level").text_content() == "150 %"
    page.keyboard.press("Space")
    page.get_by_role("button", name="Pause").wait_for()
    page.keyboard.press("?")
    page.locator("dialog").get_by_text("Copy the command line").wait_for()


def test_results_are_saved_into_the_folder_behind_O(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif", "-O", "done")
    page = editor.page
    editor.add("Rotate")
    editor.settle()
    page.get_by_role("textbox", name="File name").fill("turned.gif")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved as turned.gif", exact=True).first.wait_for()
    wanted = editor.download()
    assert (editor.server.folder / "done" / "turned.gif").read_bytes() == wanted


def test_each_form_of_the_command_makes_the_same_bytes(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif")
    editor.add("Rotate")
    card = editor.add("Speed")
    card.get_by_role("textbox", name="Factor").fill("2")
    wanted = editor.download()
    for form in ("command", "file", "preset"):
        editor.page.get_by_role("combobox", name="Form", exact=True).select_option(form)
        contents = editor.page.locator(".command-text")
        if form != "command":
            name = contents.locator("summary").text_content().removeprefix("Contents of ")
            name = f"{name}.toml" if form == "preset" and not name.endswith(".toml") else name
            (editor.server.folder / name).write_text(contents.locator("pre").text_content())
        if form == "preset":
            continue  # the command knows it by its name, once it is among the user's
        assert editor.run_command() == wanted


def test_the_page_speaks_chinese(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif")
    editor.page.get_by_role("button", name="中文").click()
    editor.page.get_by_role("button", name="添加步骤").wait_for()
    assert editor.page.locator("html").get_attribute("lang") == "zh"


def test_a_film_is_played_image_by_image(open_editor: Callable[..., Editor], tmp_path: Any) -> None:
    from tests.conftest import vedit

    (tmp_path / "in.gif").write_bytes(numbered(6))
    assert vedit("convert", tmp_path / "in.gif", "-o", tmp_path / "film.mp4").code == 0
    editor = open_editor("film.mp4", reduced_motion="reduce")
    editor.settle()
    editor.page.locator(".viewport").focus()
    editor.page.keyboard.press("End")
    editor.page.locator(".where", has_text="image 6 of 6").wait_for()
    editor.page.get_by_role("radio", name="Source").check()
    editor.page.locator(".board .source canvas[data-frame='5']").wait_for()
    assert abs(editor.pixel("source")[0] - 120) <= 8  # the sixth; film is not exact


@pytest.mark.parametrize(("motion", "button"), [("no-preference", "Pause"), ("reduce", "Play")])
def test_a_clip_plays_by_itself_unless_less_motion_is_wished(
    open_editor: Callable[..., Editor], motion: str, button: str
) -> None:
    editor = open_editor("cat.gif", reduced_motion=motion)
    editor.settle()
    editor.page.get_by_role("button", name=button, exact=True).wait_for()
