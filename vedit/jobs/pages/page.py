"""A complete page: one file that works from the file system, and a policy that lets it load nothing else.

The policy names the very scripts of the page by their hashes, so that no word that somebody typed can become
one, and pictures may come from the page itself and from files beside it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any


def page(heading: str, body: str, styles: Sequence[Path] = (), scripts: Sequence[Path] = ()) -> str:
    """A page around a body, with the style and the scripts of files inside; those of `player` come first."""
    style = "".join(map(asset, (_own("base.css"), _own("player.css"), *styles)))
    written = [f"\n{asset(path)}" for path in (_own("player.js"), *scripts)]
    parts = "".join(f"<script>{text}</script>" for text in written)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{policy(written)}<meta name="viewport"'
        f' content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(heading)}</title><style>\n{style}</style></head>\n"
        f"<body><h1>{html.escape(heading)}</h1>\n{body}\n{parts}</body></html>\n"
    )


def policy(scripts: Sequence[str]) -> str:
    """What a page with these scripts may do, as browsers hold it to."""
    hashes = " ".join(f"'sha256-{_digest(text)}'" for text in scripts)
    media = "'self' file: data:"
    content = (
        f"default-src 'none'; img-src {media}; media-src {media}; style-src 'unsafe-inline';"
        f" script-src {hashes}; base-uri 'none'; form-action 'none'"
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{content}">'


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _own(name: str) -> Path:
    return Path(__file__).with_name(name)


@cache
def asset(path: Path) -> str:
    """The text of a file of the package."""
    return path.read_text(encoding="utf-8")


def data(value: Any, attributes: str) -> str:
    """Data for a script of the page; no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" {attributes}>{text}</script>'
