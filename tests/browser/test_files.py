"""What comes in and goes out: files by drop and paste, large ones, presets, cards in order, the file behind -o."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import NARROW, WIDE, Editor, numbered
from tests.conftest import vedit

PASTE = """(main, files) => {
  const transfer = new DataTransfer();
  for (const [data, name, type] of files) {
    transfer.items.add(new File([Uint8Array.from(atob(data), (one) => one.charCodeAt(0))], name, { type }));
  }
  main.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, composed: true }));
}"""


def paste(editor: Editor, *files: tuple[bytes, str, str]) -> None:
    """Paste files: their bytes, names and types."""
    given = [[base64.b64encode(data).decode(), name, kind] for data, name, kind in files]
    editor.page.locator("main").evaluate(PASTE, given)


def test_a_pasted_clip_is_the_source_and_its_name_that_of_the_result(
    open_editor: Callable[..., Editor],
) -> None:
    editor = open_editor()
    editor.page.get_by_role("heading", name="Drop a GIF or a film here").wait_for()
    paste(editor, (numbered(4), "from the web.gif", "image/gif"))
    editor.settle()
    assert "'from the web.gif'" in editor.command()
    with Image.open(io.BytesIO(editor.download())) as result:
        assert (result.n_frames, result.size) == (4, (240, 160))


def test_a_pasted_picture_becomes_a_clip_of_one_image(open_editor: Callable[..., Editor]) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (90, 50), (200, 30, 60)).save(picture, "PNG")
    editor = open_editor("cat.gif")
    editor.settle()
    paste(editor, (picture.getvalue(), "image.png", "image/png"))
    editor.page.locator(".where", has_text="image 1 of 1").wait_for()
    editor.settle()
    assert editor.pixel()[:3] == [200, 30, 60]
    assert editor.page.get_by_role("combobox", name="Source").evaluate(
        "(one) => one.selectedOptions[0].text"
    ) == ("image.png")


def test_of_several_files_the_first_is_shown_and_all_can_be_chosen(
    open_editor: Callable[..., Editor],
) -> None:
    editor = open_editor()
    files = [(numbered(count), f"{count}.gif", "image/gif") for count in (3, 4, 5)]
    paste(editor, *files)
    choice = editor.page.get_by_role("combobox", name="Source")
    choice.locator("option", has_text="5.gif").wait_for(state="attached")
    editor.settle()
    assert " 3.gif " in editor.command()
    choice.select_option(label="5.gif")
    editor.settle()
    assert " 5.gif " in editor.command()


def test_a_file_that_is_too_large_is_told_before_it_is_sent(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif", "--max-upload", "1k")
    editor.settle()
    before = len(editor.asked)
    paste(editor, (numbered(), "large.gif", "image/gif"))
    editor.page.locator(".notes .error", has_text="large.gif is too large: at most 1.0 kB").wait_for()
    assert not [url for url in editor.asked[before:] if "/source" in url]
    editor.settle()


def test_what_is_no_clip_is_told_and_the_clip_before_it_stays(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif")
    editor.may_refuse = True
    editor.settle()
    paste(editor, (b"#EXTM3U\nfile:///etc/passwd\n", "film.mp4", "video/mp4"))
    editor.page.locator(".notes .error", has_text="film.mp4").wait_for()
    assert editor.chain_text().endswith("cat-edited.gif")
    editor.add("Rotate")
    assert editor.chain() == "rotate:angle=90"
    assert editor.page.locator(".notes .error").count() == 0


def many_images(count: int = 8001, side: int = 500) -> bytes:
    """A GIF of over two billion pixels in a few kilobytes: images of one pixel on a large canvas."""
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes((0, 0, 0, 255, 255, 255))
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    dots = [_image(i % side, i // side, 1, 1) + b"\x02\x02\x4c\x01\0" for i in range(count - 1)]
    first = io.BytesIO()
    Image.new("P", (side, side)).save(first, "GIF")
    packed = first.getvalue().partition(b"\x2c\0\0\0\0")[2][5:-1]  # behind the rest of its descriptor
    return b"".join([head, loop, _image(0, 0, side, side), packed, *dots, b";"])


def _image(x: int, y: int, w: int, h: int) -> bytes:
    """What stands before the pixels of an image: 4 cs, and its place."""
    return b"\x21\xf9\x04\x04\x04\0\0\0\x2c" + struct.pack("<HHHHB", x, y, w, h, 0)


def test_of_a_large_clip_the_first_images_are_shown_and_the_whole_is_made_on_demand(
    open_editor: Callable[..., Editor], tmp_path: Path
) -> None:
    (tmp_path / "long.gif").write_bytes(many_images())
    editor = open_editor("long.gif")
    page, facts = editor.page, editor.page.locator(".facts")
    editor.settle()
    page.get_by_text("Preview of the first 60 images").wait_for()
    assert "60" in facts.text_content()
    assert page.locator("a.download").get_attribute("href") is None
    editor.add("Speed").get_by_role("textbox", name="Factor").fill("2")
    editor.settle()
    page.get_by_text("Preview of the first 60 images").wait_for()
    assert "frames" not in editor.chain()  # the command line is that of the whole
    page.get_by_role("button", name="Make the whole file").click()
    facts.get_by_text("8001", exact=True).wait_for()
    assert not page.get_by_text("Preview of the first 60 images").is_visible()
    assert editor.download() == editor.run_command()


def test_a_run_that_is_cancelled_can_be_made_after_all(
    open_editor: Callable[..., Editor], tmp_path: Path
) -> None:
    noise = [Image.effect_noise((640, 480), 200).convert("P") for _ in range(4)]
    noise[0].save(tmp_path / "noise.gif", save_all=True, append_images=(noise * 30)[1:], duration=40)
    editor = open_editor("noise.gif")
    page = editor.page
    editor.settle()
    card = editor.add("Resize")
    card.get_by_role("textbox", name="Width").fill("900")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.locator("main[data-state=stopped]").wait_for()
    assert editor.announced() == "Cancelled"
    card.get_by_role("textbox", name="Width").fill("100")
    card.get_by_role("textbox", name="Width").blur()
    editor.settle()
    page.locator(".facts", has_text="100 × 75").wait_for()


def test_a_file_that_is_gone_is_told_and_a_reload_opens_another(
    open_editor: Callable[..., Editor], tmp_path: Path
) -> None:
    (tmp_path / "two.gif").write_bytes(numbered(5))
    editor = open_editor("cat.gif", "two.gif")
    editor.may_refuse = True
    page = editor.page
    editor.settle()
    page.get_by_role("combobox", name="Source").select_option(label="two.gif")
    editor.settle()
    (tmp_path / "two.gif").unlink()
    editor.add("Rotate")
    page.locator(".notes .error", has_text="two.gif: cannot read: no such file").wait_for()
    page.reload()
    editor.settle()
    assert " cat.gif " in editor.command()


def test_a_server_that_has_died_is_told(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif", "--port", "0")
    editor.may_refuse = True
    editor.settle()
    editor.server.process.kill()
    editor.server.process.wait()
    editor.add("Rotate")
    editor.page.locator(".notes .error", has_text="The server does not answer").wait_for()


def test_steps_may_be_there_before_the_clip(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor()
    editor.add("Crop")
    editor.add("Rotate")
    assert editor.page.locator(".error:not([hidden])").count() == 0
    paste(editor, (numbered(2), "cat.gif", "image/gif"))
    editor.settle()
    assert editor.chain().endswith("rotate:angle=90")


def test_all_images_cannot_be_dropped(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif")
    editor.settle()
    select = editor.page.get_by_label("Select images by number")
    drop = editor.page.get_by_role("button", name="Drop", exact=True)
    select.fill("1-9")
    assert drop.is_enabled()
    select.fill("all")
    assert drop.is_disabled()


def test_presets_are_saved_replaced_and_loaded(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("cat.gif", "--port", "0")  # a server of its own: it keeps what is saved
    editor.may_refuse = True
    page = editor.page
    editor.add("Rotate")
    editor.settle()
    page.get_by_role("button", name="Presets").click()
    dialog = page.locator("dialog")
    name = dialog.get_by_role("textbox", name="Name")
    assert name.evaluate("(one) => one === document.activeElement")
    dialog.get_by_role("button", name="Load: web-small").wait_for()
    name.fill("../../evil")
    dialog.get_by_role("button", name="Save these steps").click()
    dialog.locator(".error").wait_for()
    name.fill("turned")
    name.press("Enter")
    dialog.get_by_text("Saved as turned").wait_for()
    dialog.get_by_role("button", name="Load: turned").wait_for()
    dialog.get_by_role("button", name="Save these steps").click()
    dialog.get_by_role("button", name="Replace").click()
    dialog.get_by_text("Saved as turned").wait_for()
    dialog.get_by_role("button", name="Close", exact=True).click()
    assert page.get_by_role("button", name="Presets").evaluate("(one) => one === document.activeElement")

    page.get_by_role("button", name="Remove Rotate").click()
    assert "rotate" not in editor.command()
    page.get_by_role("button", name="Presets").click()
    dialog.get_by_role("button", name="Load: turned").click()
    dialog.wait_for(state="detached")
    assert editor.chain() == "rotate:angle=90"
    page.get_by_role("button", name="Undo").click()
    assert "rotate" not in editor.command()
    page.get_by_role("button", name="Presets").click()
    dialog.get_by_role("button", name="Load: web-small").click()
    dialog.wait_for(state="detached")
    assert "resize" in editor.command()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "360"])
def test_cards_are_dragged_into_another_order(
    open_editor: Callable[..., Editor], size: tuple[int, int]
) -> None:
    editor = open_editor("cat.gif", size=size)
    for stage in ("Rotate", "Metadata", "Fade"):
        card = editor.add(stage)
        card.get_by_role("button", name=stage, exact=True).click()  # folded: all are in sight
    editor.settle()
    grips = [editor.page.locator(f"[data-stage={name}] .grip") for name in ("rotate", "metadata", "fade")]
    top, bottom = grips[0].bounding_box()["y"], grips[2].bounding_box()["y"]
    editor.drag(grips[2], (0, round(top - bottom) - 12), steps=12)
    assert _order(editor) == ["fade", "rotate", "metadata"]
    assert editor.chain().startswith("fade:")
    editor.drag(grips[2], (0, round(bottom - top) + 30), steps=12)
    assert _order(editor) == ["rotate", "metadata", "fade"]
    editor.page.get_by_role("button", name="Undo").click()
    assert _order(editor) == ["fade", "rotate", "metadata"]


def _order(editor: Editor) -> list[Any]:
    cards = editor.page.locator(".cards > .card")
    return [card.get_attribute("data-stage") for card in cards.all()]


def test_a_file_behind_o_that_exists_ends_the_command_with_4(tmp_path: Path) -> None:
    (tmp_path / "cat.gif").write_bytes(numbered())
    (tmp_path / "small.gif").write_bytes(b"of somebody")
    done = vedit("gif", "serve", tmp_path / "cat.gif", "-o", tmp_path / "small.gif", "--no-browser")
    assert done.code == 4
    assert "small.gif exists" in done.err and "-y" in done.err
    assert (tmp_path / "small.gif").read_bytes() == b"of somebody"


def test_a_file_that_came_up_behind_o_meanwhile_is_replaced_only_when_that_is_said(
    open_editor: Callable[..., Editor],
) -> None:
    editor = open_editor("cat.gif", "-o", "small.gif")
    editor.may_refuse = True
    page, target = editor.page, editor.server.folder / "small.gif"
    editor.settle()
    target.write_bytes(b"of somebody")
    page.get_by_role("button", name="Done: small.gif").click()
    dialog = page.locator("dialog", has_text="small.gif exists")
    dialog.get_by_role("button", name="Cancel").click()
    assert target.read_bytes() == b"of somebody"
    page.get_by_role("button", name="Done: small.gif").click()
    dialog.get_by_role("button", name="Replace").click()
    page.get_by_role("alertdialog").wait_for()
    assert editor.server.ended() == 0
    with Image.open(target) as result:
        assert result.n_frames == 10
