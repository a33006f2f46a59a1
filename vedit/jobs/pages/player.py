"""The player of a page, as HTML: pictures that show the same frame, and what moves them. See player.js."""

from __future__ import annotations

import html


def pane(name: str, caption: str, content: str) -> str:
    """A picture of a player with what it is called."""
    return f'<figure class="pane {name}">{content}<figcaption>{html.escape(caption)}</figcaption></figure>'


def controls(*, has_both: bool, has_own_speed: bool = False) -> str:
    """The controls. has_both: source and edit can be laid over one another."""
    modes = '<option value="side">side by side</option>' + (
        '<option value="split">split</option><option value="difference">difference</option>'
        if has_both
        else ""
    )
    rates = "".join(
        f'<option value="{rate}"{" selected" if rate == "8" and not has_own_speed else ""}>{rate}/s</option>'
        for rate in ("2", "8", "12", "25")
    )
    own = '<option value="own" selected>as made</option>' if has_own_speed else ""
    return (
        '<div class="controls"><button type="button" data-do="back" aria-label="one frame'
        ' back">◀</button><button type="button" data-do="play">Play</button><button type="button"'
        ' data-do="next" aria-label="one frame on">▶</button><input type="range" data-do="seek" min="0"'
        ' value="0" aria-label="frame"><output data-do="place"></output><label>speed <select'
        f' data-do="rate">{own}{rates}</select></label><label>view <select'
        f' data-do="mode">{modes}</select></label><label class="only-split">split <input type="range"'
        ' data-do="cut" min="0" max="100" value="50"></label><label class="only-difference">gain <input'
        ' type="range" data-do="gain" min="1" max="10" value="3"></label><label>zoom <select'
        ' data-do="zoom"><option value="1">fit</option><option value="2">2x</option><option'
        ' value="4">4x</option></select></label></div>'
    )
