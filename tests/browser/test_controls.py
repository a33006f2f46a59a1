"""Each option has its control, and changes what the page asks for by itself alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Editor
from vedit import stages
from vedit.ui.controls import control

OWN = {
    "width": "120",
    "height": "90",
    "font-size": "30",
    "min-delay": "4",
}  # where the middle of the range is far
TYPED = {
    "text": "some words",
    "lines": "two\nlines",
    "colour": "#123456",
    "ground": "#123456",
    "length": "7",
    "aspect": "4:3",
    "regions": "20x10+5+6@0-0.5",
    "point": "12,9",
    "spans": "2-4",
    "moments": "0.1-0.4",
    "rules": "1-3=12",
    "delay": "50",
}


class Asked:
    """What the page asks for, without a run: the server's part has tests of its own."""

    def __init__(self, page: Any) -> None:
        self.chain: list[Any] = []
        self.page = page
        page.route("**/run", lambda route: route.fulfill(json={"revision": "0" * 16}))
        page.route("**/command", self._take)
        page.route("**/frame/**", lambda route: route.fulfill(status=200, body=b""))

    def _take(self, route: Any) -> None:
        self.chain = json.loads(route.request.post_data)["chain"]
        forms = {
            name: {"posix": json.dumps(self.chain), "powershell": ""}
            for name in ("command", "file", "preset", "folder")
        }
        route.fulfill(json={"chain": "", "output": "", "notes": [], "forms": forms})

    def until(self, is_so: Callable[[dict[str, str]], bool]) -> None:
        """Wait until the options of the last stage are so."""
        for _ in range(100):
            if self.chain and is_so(self.chain[-1][1]):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(self.chain)


def change(row: Any, facts: dict[str, Any], folder: Path) -> str:
    """Give the option another value at its control; the text that it should have."""
    kind, name = facts["kind"], facts["name"]
    kind = "lines" if facts.get("is_multiline") else kind
    box = row.locator("input[type=text]").first
    if kind in ("range", "log-range"):
        low, high = facts.get("low", 0), facts.get("high", 4)
        value = OWN.get(name) or ("2" if low <= 2 <= high and str(facts.get("default")) != "2" else str(low))
        box.fill(value)
        box.blur()
        return value
    if kind == "choice":
        value = next(one for one in reversed(facts["names"]) if one != facts.get("default"))
        if row.locator("select").count():
            row.locator("select").select_option(value)
        else:
            row.locator(f"input[value='{value}']").check()
        return value
    if kind == "switch" and facts.get("negatable"):
        row.locator("input[value=false]").check()
        return "false"
    if kind == "switch":
        row.locator("input[type=checkbox]").check()
        return "true"
    if kind == "size":
        row.locator("input").nth(0).fill("50")
        row.locator("input").nth(1).fill("40")
        row.locator("input").nth(1).blur()
        return "50x40"
    if kind == "rectangle":
        for place, text in enumerate(("3", "4", "50", "40")):
            row.locator("input").nth(place).fill(text)
        row.locator("input").nth(3).blur()
        return "50x40+3+4"
    if kind == "words":
        row.locator("input").nth(1).check()
        return str(facts["names"][1])
    if kind == "loop":
        row.locator("select").select_option("once")
        return "once"
    if kind == "file":
        (folder / "some.txt").write_text("0-1 Hello\n")
        row.locator("input[type=file]").set_input_files(folder / "some.txt")
        row.locator(".filename", has_text="some.txt").wait_for()
        return "upload"
    field = row.locator("textarea" if kind == "lines" else "input[type=text]").first
    field.fill(TYPED[kind])
    field.blur()
    return TYPED[kind].replace("\n", "\\n")


@pytest.mark.parametrize("stage", stages.names())
def test_every_option_has_one_control_which_changes_it_alone(
    open_editor: Callable[..., Editor], stage: str, tmp_path: Path
) -> None:
    editor = open_editor("cat.gif")
    editor.settle()
    page, asked = editor.page, Asked(editor.page)
    card = editor.add(stage.capitalize())
    if page.locator(".box").count() or stage == "crop":
        page.get_by_role("button", name="Done", exact=True).click()
    for summary in card.locator("details:not([open]) > summary").all():
        summary.click()
    asked.until(lambda now: True)
    module = stages.load(stage)
    facts = {option.name: control(option) for option in module.OPTIONS}
    groups = [[way.options for way in ways.ways] for ways in getattr(module, "WAYS", ())]
    seen: set[str] = set()

    def try_row(name: str) -> None:
        row = card.locator(f"[data-option='{name}']")
        assert row.count() == 1, name
        before = dict(asked.chain[-1][1])
        left = {key: text for key, text in before.items() if key != name}
        if name == "at":  # a free place and a corner exclude each other
            left = {key: text for key, text in left.items() if key not in ("position", "margin")}
        value = change(row, facts[name], tmp_path)
        if value == "upload":
            asked.until(
                lambda now: now.get(name, "").startswith("upload:") and now == {**left, name: now[name]}
            )
        else:
            asked.until(lambda now: now == {**left, name: value})
        seen.add(name)

    in_ways = {name for group in groups for way in group for name in way}
    for name in [name for name in facts if name not in in_ways and name != "at"]:
        try_row(name)
    if "at" in facts:
        try_row("at")
    for place, group in enumerate(groups):
        for way in group:
            card.locator(f"input[name$='-{place}'][value='{way[0]}'][type=radio]").check()
            page.wait_for_timeout(300)  # what the way begins with is asked for, if anything
            if len(way) == 1 and facts[way[0]]["kind"] == "switch":
                asked.until(lambda now, name=way[0]: now.get(name) == "true")
                seen.add(way[0])
                continue
            for name in way:
                try_row(name)
    assert seen == set(facts)


def test_a_stage_of_another_distribution_appears_with_a_text_box_for_a_bare_parser(
    open_editor: Callable[..., Editor], tmp_path: Path
) -> None:
    modules = tmp_path / "modules"
    facts = modules / "strange-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[vedit.stages]\nstrange = strange_stage\n")
    (modules / "strange_stage.py").write_text(
        '''"""A stage of somebody else."""
from vedit.stages.metadata import Metadata
from vedit.stages.options import Option

SUMMARY = "Something that nobody here knows."
POSITIONAL = None
EXAMPLES = ()
OPTIONS = (Option("word", str.upper, "any word", "WORD"),)


def make(word=None):
    return Metadata(comment=word)
'''
    )
    editor = open_editor("cat.gif", modules=modules)
    card = editor.add("Strange")
    card.get_by_role("textbox", name="Word").fill("hello")
    assert editor.chain() == "strange:word=hello"
    assert b"HELLO" in editor.download()
