"""The editor in a cell of JupyterLab, which is not among what the tests install: it is looked for on the PATH."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import PATIENCE_MS, numbered
from tests.conftest import ROOT

pytestmark = pytest.mark.slow
JUPYTER = os.environ.get("VEDIT_TEST_JUPYTER") or shutil.which("jupyter-lab")  # the tests hide VEDIT_* later
LAB_PATIENCE_MS = 10 * PATIENCE_MS  # of what waits for JupyterLab, its kernel, or files that it writes
CELL = """from vedit.notebook import GifEditor
editor = GifEditor(height=620)
editor"""
SMALL = CELL.replace("height", '"cat.gif", "rotate:90", height')
AFTER = """import subprocess, sys, shlex
words = shlex.split(editor.command)
subprocess.run([sys.executable, "-m", "vedit", *words[1:-1], "out.gif", "-y"], check=True)
same = open("out.gif", "rb").read() == editor.result
print("SAME" if same else "OTHER", len(editor.result), editor.chain)"""


def notebook(*cells: str) -> str:
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "source": cell,
                    "metadata": {},
                    "outputs": [],
                    "execution_count": None,
                    "id": f"c{i}",
                }
                for i, cell in enumerate(cells)
            ],
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab in a folder of its own."""
    if not JUPYTER:
        pytest.skip("needs JupyterLab: pip install jupyterlab, or VEDIT_TEST_JUPYTER=.../bin/jupyter-lab")
    settings = tmp_path / "settings" / "lab" / "user-settings" / "@jupyter-widgets" / "jupyterlab-manager"
    settings.mkdir(parents=True)
    (settings / "plugin.jupyterlab-settings").write_text('{"saveState": true}')
    (tmp_path / "work").mkdir()
    words = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--port=0",
        "--ServerApp.root_dir=" + str(tmp_path / "work"),
    ]
    process = subprocess.Popen(
        [JUPYTER, *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(tmp_path / "settings"),
            "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings" / "lab" / "user-settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
            "PYTHONPATH": str(ROOT),
        },
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if address := re.search(r"http://127\.0\.0\.1:\d+/lab\?token=\w+", line):
                yield address[0]
                break
        else:
            pytest.fail("JupyterLab did not start")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=LAB_PATIENCE_MS / 1000)
        process.stderr.close()


def test_a_file_of_40_mb_is_cropped_in_a_cell_and_the_result_is_that_of_the_command(
    chromium: Any, lab: str, tmp_path: Path
) -> None:
    from PIL import Image

    size = (1300, 1000)
    noise = [Image.frombytes("P", size, os.urandom(size[0] * size[1])) for _ in range(24)]
    for image in noise:
        image.putpalette(bytes(range(256)) * 3)
    noise[0].save(tmp_path / "big.gif", save_all=True, append_images=noise[1:], duration=100, loop=0)
    assert (tmp_path / "big.gif").stat().st_size > 40_000_000
    shutil.copy(tmp_path / "big.gif", tmp_path / "work" / "big.gif")  # where the command looks for it
    (tmp_path / "work" / "edit.ipynb").write_text(notebook(CELL, AFTER))

    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(LAB_PATIENCE_MS)
    page.goto(lab.replace("/lab?", "/lab/tree/edit.ipynb?"))
    _run_first(page)
    editor = page.locator("main.editor")
    editor.locator(".drop").wait_for()
    editor.locator("#pick-source").set_input_files(tmp_path / "big.gif")
    page.locator("main.editor[data-state=ready]").wait_for()

    editor.locator("button.add").click()
    editor.get_by_role("menuitem").filter(has=page.get_by_text("Crop", exact=True)).click()
    editor.locator(".box").wait_for()
    editor.locator(".box").focus()
    for _ in range(12):
        page.keyboard.press("Alt+Shift+ArrowLeft")
    editor.get_by_role("button", name="Done", exact=True).click()
    page.locator("main.editor[data-state=ready]").wait_for()
    cell = page.locator(".jp-Notebook .jp-Cell").nth(1)
    said = cell.locator(".jp-OutputArea-output").first

    def ask() -> None:
        cell.locator(".jp-InputArea-editor").click()
        page.keyboard.press("Shift+Enter")
        page.locator(".jp-Notebook .jp-Cell").nth(1).get_by_text(re.compile(r"\[\d+\]:")).wait_for()

    # the kernel reads the result some time after the page was told of it
    _repeated(page, ask, lambda: "crop:rect" in (said.text_content() or ""))
    assert said.text_content().split()[0] == "SAME"
    assert "crop:rect=1180x1000+0+0" in said.text_content()

    saved = tmp_path / "work" / "edit.ipynb"
    state = "application/vnd.jupyter.widget-state+json"
    _repeated(page, lambda: page.keyboard.press("Control+s"), lambda: state in saved.read_text())
    assert state in json.loads(saved.read_text())["metadata"]["widgets"]
    page.close()


def test_a_notebook_that_is_opened_again_shows_the_result_and_the_command_without_its_kernel(
    chromium: Any, lab: str, tmp_path: Path
) -> None:
    (tmp_path / "work" / "cat.gif").write_bytes(numbered())
    path = tmp_path / "work" / "edit.ipynb"
    path.write_text(notebook(SMALL))
    address = lab.replace("/lab?", "/lab/tree/edit.ipynb?")
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(LAB_PATIENCE_MS)
    page.goto(address)
    _run_first(page)
    page.locator("main.editor[data-state=ready]").wait_for()

    def is_saved() -> bool:
        text = path.read_text()
        return "_picture" in text and "vedit gif rotate" in text

    # the kernel reads the result some time after the page was told of it
    _repeated(page, lambda: page.keyboard.press("Control+s"), is_saved)
    page.close()
    _end_kernels(lab)

    again = chromium.new_page(viewport={"width": 1400, "height": 1000})
    again.set_default_timeout(LAB_PATIENCE_MS)
    again.goto(address)
    still = again.locator("main.still")
    still.wait_for()
    assert str(still.locator(".line").text_content()).startswith("vedit gif rotate")
    image = still.locator("img")
    image.evaluate("(one) => one.decode()")
    assert image.evaluate("(one) => [one.naturalWidth, one.naturalHeight]") == [160, 240]
    assert again.locator("main.editor").count() == 1
    again.close()


def _run_first(page: Any) -> None:
    """Run the first cell, once there is a kernel: what is run before is lost."""
    page.get_by_text("| Idle").wait_for()
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.keyboard.press("Shift+Enter")


def _repeated(page: Any, act: Callable[[], None], is_done: Callable[[], bool]) -> None:
    """Do something until it has had its effect."""
    for _ in range(LAB_PATIENCE_MS // 1500):
        act()
        page.wait_for_timeout(1500)
        if is_done():
            return
    pytest.fail("it has had no effect")


def _end_kernels(lab: str) -> None:
    base, _, token = lab.partition("/lab?token=")
    key = {"Authorization": f"token {token}"}
    with urllib.request.urlopen(urllib.request.Request(f"{base}/api/sessions", headers=key)) as answer:
        sessions = json.load(answer)
    for session in sessions:
        address = f"{base}/api/sessions/{session['id']}"
        urllib.request.urlopen(urllib.request.Request(address, method="DELETE", headers=key)).close()
