#!/usr/bin/env python3
"""Make the pictures of the README and the tour by running their own commands on the demo clip.

python scripts/pictures.py         writes docs/img/*.gif
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import demo

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "img"
PAGES = (ROOT / "docs" / "tour.md", ROOT / "README.md")
CLIP_SIZE = (240, 135)


def commands(page: Path) -> list[str]:
    """The command lines of a page's `sh` blocks, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.S)
        for line in block.splitlines()
        if line.strip()
    ]


def pictured() -> list[str]:
    """Names of the pictures that these pages show and their commands make."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    return list(dict.fromkeys(re.findall(r"\((?:docs/)?img/([\w-]+\.(?:gif|png))\)", text)))


def run_all(folder: Path) -> None:
    """Draw the clip into a folder for each page and run the page's commands there; raises on the first that
    fails.

    The tour's lie in `folder` itself, the README's in a folder inside it.
    """
    for page, place in zip(PAGES, (folder, folder / "readme"), strict=True):
        place.mkdir(exist_ok=True)
        run_page(page, place)


def run_page(page: Path, folder: Path) -> None:
    """The tour names the clip as it lies in its own folder, the README as it lies in a checkout."""
    clip = folder / "clip.gif"
    demo.draw(clip, size=CLIP_SIZE)
    (folder / "docs" / "img").mkdir(parents=True)
    shutil.copy(clip, folder / "docs" / "img" / clip.name)
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "VEDIT_CONFIG_DIR": str(folder / ".config")}
    for command in commands(page):
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"$ {command}\n{done.stderr}")


def main() -> int:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        run_all(Path(name))
        for picture in pictured():
            shutil.copy(Path(name) / picture, PICTURES / picture)
            print(f"docs/img/{picture}: {(PICTURES / picture).stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
