"""Protects vedit/jobs/pages/page.py: what a page may do, tried in a browser where there is one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

from tests.jobs.pages.browser import browse, needs_browser, with_script
from vedit.jobs.pages.page import data, page
from vedit.jobs.pages.player import controls


def test_the_policy_names_the_very_scripts_of_the_page() -> None:
    text = page("a <b>", "<p>x</p>")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    allowed = re.search(r"script-src ([^;]*);", text)
    assert allowed and allowed[1].split() == [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    ]
    assert "default-src 'none'" in text and "<title>a &lt;b&gt;</title>" in text
    assert not re.search(r"https?://|@import|url\(", text)


def test_no_text_ends_the_element_of_data() -> None:
    said = {"</script><script>": "<!--", "\u2028": "é"}
    text = data(said, 'id="x"')
    assert text.count("<") == 2 and json.loads(re.findall(r">(.*)<", text)[0]) == said


def test_a_player_has_the_views_and_speeds_that_it_can_show() -> None:
    alone, both = controls(has_both=False), controls(has_both=True, has_own_speed=True)
    assert "split</option>" not in alone and 'value="8" selected' in alone
    assert "difference</option>" in both and 'value="own" selected' in both and both.count(" selected") == 1


@needs_browser
def test_words_that_somebody_typed_run_nowhere_and_load_nothing(tmp_path: Path) -> None:
    evil = "<script>document.title = 'ran'</script><img src=x onerror=\"document.title = 'ran'\"><img src='http://localhost:9/x'>"
    tell = (
        "window.blocked = []; addEventListener('securitypolicyviolation', (event) => blocked.push(event.violatedDirective));"
        "addEventListener('load', () => { document.body.dataset.blocked = blocked.sort().join(' '); });"
    )
    (tmp_path / "page.html").write_text(with_script(page("title", evil), tell, "</head>"))
    shown = browse(tmp_path / "page.html", tmp_path / "profile", "--dump-dom")
    assert "<title>title</title>" in shown
    assert re.search(r'data-blocked="([^"]*)"', shown)[1] == "img-src script-src-attr script-src-elem"  # type: ignore[index]
