"""The report as one page: tables with intervals, clips side by side and in step, charts, and where the flow
disagrees.

The page loads nothing from elsewhere: style, script, charts (SVG) and frames (WebP) are inside it, so it
works from the file system and can be mailed. Without scripts the tables, first frames and charts remain.
Colours are those of Okabe and Ito, and cividis (Nunez et al. 2018), which people with any colour vision
can tell apart.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit.errors import VeditError
from vedit.jobs.pages.page import data
from vedit.jobs.pages.page import page as whole_page
from vedit.jobs.pages.player import controls, pane
from vedit.jobs.score.compare import Comparison, damage_notes, interval_text
from vedit.jobs.score.render import as_html, figure
from vedit.jobs.score.results import Number, Results, Row, finite, number_json, values_of
from vedit.jobs.score.summary import failures, number_text, remarks, rows_table, skipped_notes, title
from vedit.jobs.score.weights import other_weights_notes

if TYPE_CHECKING:
    import numpy as np

    from vedit.jobs.score.run import Clips, Suite
    from vedit.metrics.base import Clip

LARGEST = 512  # pixels of the longer side of embedded frames
MAP_LARGEST = 192  # and of error maps, which are looked at for where, not for how much
SHOWN = 320  # pixels at which small clips are shown
# cividis at eleven places from dark to light
CIVIDIS = (
    (0, 34, 78), (8, 51, 112), (53, 69, 108), (79, 87, 108), (102, 105, 112), (125, 124, 120),
    (148, 142, 119), (174, 163, 113), (200, 184, 102), (228, 207, 84), (254, 232, 56),
)  # fmt: skip
NOT_SEEN = (128, 128, 128)
_WORDS = ' class="words"'


def page(heading: str, body: str) -> str:
    """A complete page around a body, with style and script inside."""
    here = Path(__file__)
    return whole_page(heading, body, [here.with_name("page.css")], [here.with_name("page.js")])


def report_page(
    results: Results, suite: Suite, towers: Any, clips: Clips, *, link_media: bool = False
) -> str:
    """The page of a report, with the frames of its clips.

    link_media: point to the clips' files instead of embedding their frames.
    """
    rows = in_natural_order(results.rows)
    results = replace(results, rows=tuple(rows))
    parts = [contents(results), alerts(results), '<h2 id="numbers">Numbers</h2>', summary_section(results)]
    if len(rows) > 1:
        parts += [
            '<div id="videos"><h2>Videos</h2></div>',
            filter_of(rows),
            as_html(rows_table(results), is_linked=True),
        ]
    items = {(item.video_id, item.edit_id): item for item in suite.items}
    scales = Scales.of(results)
    for row in rows:
        clip = None
        if not link_media or "warp_error" in row.numbers:
            try:
                clip, _ = clips.get(items[row.id])
            except VeditError:
                clip = None  # its failure is told in the row
        parts.append(video_section(results, row, clip, towers, suite, scales, link_media))
    parts.append(provenance_section(results))
    return page(title(results), "\n".join(parts))


# --- the top -------------------------------------------------------------------------------------

OPEN_AT_MOST = 3  # videos whose sections begin open
FILTER = (
    '<div class="filter"><label>show <input type="search" data-do="filter" placeholder="name, prompt,'
    ' flag"></label><label><input type="checkbox" data-do="flagged"> only with flags</label><button'
    ' type="button" data-do="open">open all</button><button type="button" data-do="close">collapse'
    ' all</button><output data-do="count"></output></div>'
)


def filter_of(rows: Sequence[Row]) -> str:
    """The filter, with a choice of groups where videos have tags."""
    tags = sorted({tag for row in rows for tag in row.facts.get("tags") or ()})
    if not tags:
        return FILTER
    choices = "".join(
        f'<option value="{html.escape(tag, quote=True)}">{html.escape(tag)}'
        f" ({sum(tag in (row.facts.get('tags') or ()) for row in rows)})</option>"
        for tag in tags
    )
    group = f'<label>group <select data-do="group"><option value="">all</option>{choices}</select></label>'
    return FILTER.replace(
        '<button type="button" data-do="open">', group + '<button type="button" data-do="open">'
    )


@dataclass(frozen=True)
class Scales:
    """What all videos of a page share, so that they can be compared by eye. axes: lowest and highest value of
    each chart; error: the warping error that the lightest colour stands for, None without any.
    """

    axes: Mapping[str, tuple[float, float]]
    error: float | None

    @classmethod
    def of(cls, results: Results) -> Scales:
        axes = {}
        of_references = [row for rows in results.baselines.values() for row in rows]
        for key in results.keys:
            numbers = [row.numbers[key] for row in (*results.rows, *of_references) if key in row.numbers]
            values = [value for number in numbers for value in number.per_frame if math.isfinite(value)]
            if values:
                axes[key] = axis(min(values), max(values), results.metrics[key].value.rounding)
        rows = [row for row in results.rows if "warp_error" in row.numbers]
        errors = [value for row in rows for value in row.numbers["warp_error"].per_frame if value >= 0]
        # three times the largest root mean square lies above nearly all pixels of every video
        return cls(axes, min(1.0, max(0.02, 3 * math.sqrt(max(errors)))) if errors else None)


def axis(low: float, high: float, rounding: float) -> tuple[float, float]:
    """Round ends of an axis around values; what only rounding moves is drawn flat."""
    least = 20 * rounding
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    step = 10 ** math.floor(math.log10(high - low))
    step = next(part for part in (step / 5, step / 2, step) if (high - low) / part <= 10)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def in_natural_order(rows: Sequence[Row]) -> list[Row]:
    """Videos as people count them: clip2 before clip10."""
    from vedit.media.sequence import natural_key

    return sorted(rows, key=lambda row: (natural_key(row.video_id), natural_key(row.edit_id)))


def contents(results: Results) -> str:
    """Links to the parts of the page."""
    told = len([row for row in results.rows if row.flags or row.failed])
    parts = [("flags", f"Flags ({told})")] if told else []
    parts += [
        ("numbers", "Numbers"),
        *([("videos", f"Videos ({len(results.rows)})")] if len(results.rows) > 1 else []),
        ("provenance", "Provenance"),
    ]
    links = " ".join(f'<a href="#{name}">{text}</a>' for name, text in parts)
    return f'<nav aria-label="contents">{links}</nav>'


def alerts(results: Results) -> str:
    """What must be known before the numbers are believed: damage, flags and failures, each with its video."""
    left_out = "".join(
        f'<p class="flag"><strong>{html.escape(note)}</strong></p>'
        for note in (
            *(damage_notes(results) if len(results.rows) > 1 else ()),
            *other_weights_notes([results]),
        )
    )
    lines = []
    for row in results.rows:
        said = [*row.flags, *(f"not scored: {why}" for _, why in failures([row]))]
        link = f'<a href="#{html.escape(row.label)}">{html.escape(row.label)}</a>'
        lines += [f'<p class="flag">{link}: {html.escape(text)}</p>' for text in said]
    if not (lines or left_out):
        return ""
    shown_lines = "".join(lines[:10]) + (
        f"<details><summary>and {len(lines) - 10} more</summary>{''.join(lines[10:])}</details>"
        if len(lines) > 10
        else ""
    )
    return f'<div class="alerts" id="flags">{left_out}{shown_lines}</div>'


# --- tables --------------------------------------------------------------------------------------


def summary_section(results: Results) -> str:
    """Each metric with its mean, its interval drawn over the videos, direction, range and meaning."""
    head = [
        "metric",
        "mean" if len(results.rows) > 1 else "value",
        *(["95% interval", "videos", "n"] if len(results.rows) > 1 else []),
    ]
    head += [*results.baselines, "better", "usual range", "what it says"]
    rows = "".join(f"<tr>{''.join(_metric_cells(results, key))}</tr>" for key in results.keys)
    columns = "".join(
        f'<th scope="col"{_WORDS if text == head[-1] else ""}>{html.escape(text)}</th>' for text in head
    )
    said = "".join(
        f'<p class="note">{html.escape(note)}</p>'
        for note in (*skipped_notes(results.rows), *remarks(results.rows))
    )
    return (
        '<div class="scroll"><table'
        f' class="sortable"><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table></div>{said}'
    )


def _metric_cells(results: Results, key: str) -> Iterable[str]:
    fact, found = results.metrics[key].value, results.summary(key)
    yield f'<th scope="row">{html.escape(key)}</th>'
    yield _value_cell(found.mean)
    if len(results.rows) > 1:
        low_high = (
            "n too small"
            if found.interval is None
            else f"{figure(found.interval[0])} to {figure(found.interval[1])}"
        )
        drawn = interval_svg(results.values(key), found.mean, found.interval)
        yield f"<td>{low_high}</td><td>{drawn}</td><td>{found.n}</td>"
    for rows in results.baselines.values():
        of_it = [value for value in values_of(rows, key) if value is not None and math.isfinite(value)]
        yield _value_cell(sum(of_it) / len(of_it) if of_it else None)
    yield f"<td>{'higher' if fact.higher_is_better else 'lower'}</td><td>{html.escape(fact.usual)}</td>"
    yield f'<td class="words">{html.escape(fact.explanation)}</td>'


def _value_cell(value: float | None) -> str:
    return '<td data-value=""></td>' if value is None else f'<td data-value="{value!r}">{figure(value)}</td>'


def interval_svg(
    values: Sequence[float | None], mean: float | None, interval: tuple[float, float] | None
) -> str:
    """The videos as dots, the mean as a diamond, the interval as a bar."""
    there = [value for value in values if value is not None and math.isfinite(value)]
    if not there or mean is None:
        return ""
    low, high = min(there), max(there)

    def x(value: float) -> float:
        return 6 + 132 * ((value - low) / (high - low) if high > low else 0.5)

    dots = "".join(f'<circle class="dots" cx="{x(value):.1f}" cy="10" r="2.5"/>' for value in there)
    bar = (
        ""
        if interval is None
        else (
            f'<line class="range" x1="{x(max(interval[0], low)):.1f}" x2="{x(min(interval[1], high)):.1f}"'
            ' y1="10" y2="10"/>'
        )
    )
    m = x(mean)
    label = f"from {low:.4g} to {high:.4g}, mean {mean:.4g}"
    return (
        f'<svg class="interval" viewBox="0 0 144 20" role="img" aria-label="{label}">{dots}{bar}<path'
        f' class="mean" d="M{m:.1f} 4 l4 6 l-4 6 l-4 -6 z"/></svg>'
    )


def forest(found: Comparison) -> str:
    """The differences of a comparison as a forest plot: each metric's mean and interval, scaled to itself, to
    the right where A is better.
    """
    lines = []
    for place, line in enumerate(found.lines):
        result, sign = line.paired, 1 if found.a.metrics[line.key].value.higher_is_better else -1
        ends = [sign * end for end in result.interval or (result.mean, result.mean)]
        reach = max(abs(sign * result.mean), *map(abs, ends)) or 1.0
        low, middle, high = (
            240 + 100 * value / reach for value in (min(ends), sign * result.mean, max(ends))
        )
        y = 34 + 24 * place
        kind = "shown" if line.verdict in (found.a.name, found.b.name) else "open"
        label = f"{line.key}: {figure(result.mean, sign=True)} {interval_text(result.interval, sign=True)}"
        bar = (
            ""
            if result.interval is None
            else f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
        )
        diamond = f'<path class="mean" d="M{middle:.1f} {y - 6} l5 6 l-5 6 l-5 -6 z"/>'
        lines.append(
            f'<g class="{kind}"><title>{html.escape(label)}</title><text x="4"'
            f' y="{y + 4}">{html.escape(line.key)}</text>{bar}{diamond}</g>'
        )
    height = 44 + 24 * len(lines)
    heads = (
        f'<text x="236" y="14" text-anchor="end">← {html.escape(found.b.name[:16])} better</text><text'
        f' x="244" y="14">{html.escape(found.a.name[:16])} better →</text>'
    )
    return (
        f'<figure class="forest"><svg viewBox="0 0 350 {height}" role="img" aria-label="differences with 95%'
        f' intervals">{heads}<line class="axis" x1="240" x2="240" y1="20"'
        f' y2="{height - 8}"/>{"".join(lines)}</svg><figcaption>Mean difference and 95% interval of each'
        " metric, on a scale of its own; filled where there is a verdict.</figcaption></figure>"
    )


PLOT_STYLE = (
    "text{fill:#1b1f24;font:9px system-ui,sans-serif}.axis{stroke:#d0d7de}.range{stroke:#0072b2;"
    "stroke-width:2.5}.mean{fill:#fff;stroke:#1b1f24}.shown .mean{fill:#1b1f24}"
)


def forests_svg(pairs: Sequence[Comparison]) -> str:
    """The forest plots of comparisons under one another, as an SVG file of its own."""
    top, parts = 0, []
    for found in pairs:
        drawn = forest(found)
        plot = drawn[drawn.index("<svg") : drawn.index("</svg>") + 6]
        height = 44 + 24 * len(found.lines)
        parts.append(plot.replace("<svg ", f'<svg y="{top}" width="350" height="{height}" ', 1))
        top += height + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 350 {top}" width="700" height="{2 * top}">'
        f'<style>{PLOT_STYLE}</style><rect width="350" height="{top}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


# --- one video -----------------------------------------------------------------------------------


def video_section(
    results: Results,
    row: Row,
    clip: Clip | None,
    towers: Any,
    suite: Suite,
    scales: Scales,
    link_media: bool,
) -> str:
    facts = row.facts
    said = [
        ("prompt", facts.get("prompt")),
        ("source prompt", facts.get("source_prompt")),
        ("source read", facts.get("source_read")),
        ("mask", facts.get("mask")),
    ]
    said += [
        ("groups", ", ".join(facts.get("tags") or [])),
        ("method", (facts.get("run") or {}).get("method")),
        ("warning", "; ".join(facts.get("warnings") or [])),
    ]
    words = "".join(f"<dt>{name}</dt><dd>{html.escape(str(value))}</dd>" for name, value in said if value)
    flags = "".join(f'<p class="flag">{html.escape(flag)}</p>' for flag in row.flags)
    lost = "".join(f'<p class="flag">not scored: {html.escape(why)}</p>' for _, why in failures([row]))
    maps = None
    if clip is not None and scales.error is not None and "warp_error" in row.numbers:
        maps = flow_maps(clip, towers, suite, scales.error)
    clips = player(row, clip, maps, link_media) if clip is not None or link_media else ""
    baselines = {
        name: next((other for other in rows if other.id == row.id), None)
        for name, rows in results.baselines.items()
    }
    charts = "".join(
        chart(key, row.numbers[key], baselines, scales.axes[key])
        for key in results.keys
        if key in row.numbers and len(row.numbers[key].per_frame) > 1 and key in scales.axes
    )
    numbers = "".join(
        f"<dt>{html.escape(key)}</dt><dd>{number_text(row, key)}</dd>"
        for key in results.keys
        if key in row.numbers
    )
    listed = f"<dl>{numbers}</dl>" if len(results.rows) > 1 else ""
    traced = {key: number_json(row.numbers[key]) for key in row.numbers}
    is_open = " open" if len(results.rows) <= OPEN_AT_MOST else ""
    mark = ' <span class="mark">flagged</span>' if flags or lost else ""
    return (
        f'<section id="{html.escape(row.label)}"'
        f' data-groups="{html.escape(json.dumps(facts.get("tags") or []), quote=True)}"><details'
        f' class="video"{is_open}><summary><h2>{html.escape(row.label)}</h2>{mark}</summary>'
        f'{flags}{lost}<dl>{words}</dl>{clips}{listed}<div class="charts">{charts}</div>'
        f"{details('Where each number comes from', traced)}</details></section>"
    )


def player(row: Row, clip: Clip | None, maps: tuple[list[str], float] | None, link_media: bool) -> str:
    """Source, edit and error map in step; first frames stand there without scripts too."""
    frames: dict[str, list[str]] = {}
    panes = []
    names = [("source", "source"), ("edited", "edit"), ("truth", "ideal edit")]
    for name, label in names:
        if link_media:
            panes.append(linked_pane(name, label, row.facts.get(name), frames))
        elif clip is not None and (video := getattr(clip, name)) is not None:
            frames[name] = [picture(frame) for frame in video.frames_TYX3]
            panes.append(
                pane(
                    name,
                    label,
                    f'<img data-frames="{name}" class="{_size_class(row)}" src="{frames[name][0]}"'
                    f' alt="{label}, first frame">',
                )
            )
    if clip is not None and clip.mask_TYX is not None and not link_media:
        frames["mask"] = masks_of(clip.mask_TYX)
        content = f'<img data-frames="mask" class="{_size_class(row)}" src="{frames["mask"][0]}" alt="mask">'
        panes.append(pane("mask", "mask: white may change", content))
    if maps is not None:
        frames["map"] = maps[0]
        ramp = f'<span class="ramp" style="background:{_gradient()}"></span>'
        caption = (
            f"warping error: 0 (dark) to {maps[1]:.2g} of the full range (light), the same for all videos;"
            " grey cannot be followed"
        )
        content = (
            f'<img data-frames="map" class="{_size_class(row)}" src="{maps[0][0]}" alt="map of the warping'
            f' error">{ramp}'
        )
        panes.append(
            f'<details class="pane map"><summary>error map</summary>{pane("map", caption, content)}</details>'
        )
    has_both = "source" in frames and "edited" in frames
    width, height = row.facts.get("width", SHOWN), row.facts.get("height", SHOWN)
    side = round(min(LARGEST, max(SHOWN, width)) * min(1, 1.5 * width / max(1, height)))
    inside = data(frames, 'class="frames"')
    return (
        f'<div class="player" data-mode="side" data-count="{max([1, *map(len, frames.values())])}"'
        f' style="--shown:{side}px"><div class="stage"'
        f' data-mode="side">{"".join(panes)}</div>{controls(has_both=has_both)}'
        f"{inside}</div>"
    )


def masks_of(mask_TYX: np.ndarray) -> list[str]:
    """The masks of the frames as small pictures, one where all are alike."""
    import numpy as np

    chosen = mask_TYX[:1] if (mask_TYX == mask_TYX[0]).all() else mask_TYX
    shown = (np.repeat((mask > 127)[..., None], 3, axis=2).astype(np.uint8) * 255 for mask in chosen)
    return [picture(one) for one in shown]


def _size_class(row: Row) -> str:
    return (
        "small" if max(row.facts.get("width", LARGEST), row.facts.get("height", LARGEST)) < SHOWN else "large"
    )


def linked_pane(name: str, label: str, path: str | None, frames: dict[str, list[str]]) -> str:
    """A clip by its file: frames of a folder in step, a video or an animation as it plays."""
    if path is None or path == "-":
        return ""
    if os.path.isdir(path):
        from vedit.media.sequence import SUFFIXES, natural_key

        files = sorted(
            (file for file in os.listdir(path) if file.lower().endswith(SUFFIXES)), key=natural_key
        )
        frames[name] = [_address(os.path.join(path, file)) for file in files]
        return pane(name, label, f'<img data-frames="{name}" src="{frames[name][0]}" alt="{label}">')
    address = _address(path)
    is_picture = path.lower().endswith((".gif", ".webp", ".apng", ".png"))
    content = (
        f'<img src="{address}" alt="{label}">'
        if is_picture
        else f'<video src="{address}" style="width:var(--shown)" muted loop playsinline></video>'
    )
    return pane(name, label, content)


def _address(path: str) -> str:
    return html.escape(Path(path).resolve().as_uri())


def picture(frame_YX3: np.ndarray, *, longest: int = LARGEST) -> str:
    """A frame as a data address: WebP at most so many pixels long, PNG where Pillow has no WebP.

    Small frames are exact; with another length than a frame's they may be lossy, as maps are.
    """
    from PIL import Image, features

    image = Image.fromarray(frame_YX3)
    if max(image.size) > longest:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    kind = "WEBP" if features.check("webp") else "PNG"
    buffer = io.BytesIO()
    # small frames are shown enlarged, where the marks of a lossy encoder would be mistaken for the edit's
    is_exact = longest == LARGEST and max(image.size) < SHOWN
    image.save(
        buffer, kind, **({"lossless": True} if is_exact else {"quality": 85 if longest == LARGEST else 40})
    )
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


# --- charts and maps -----------------------------------------------------------------------------


def tick(value: float, span: float) -> str:
    """An end of an axis with as many decimals as tell it from the other end."""
    return f"{value:.{min(6, max(0, 1 - math.floor(math.log10(span))))}f}"


def chart(key: str, number: Number, baselines: Mapping[str, Row | None], ends: tuple[float, float]) -> str:
    """A metric frame by frame as a line, the baseline dashed, and a mark that the player moves.

    ends: of the axis, the same for all videos of a page.
    """
    others = {
        name: row.numbers[key].per_frame
        for name, row in baselines.items()
        if row is not None and key in row.numbers
    }
    values = [
        value for series in (number.per_frame, *others.values()) for value in series if math.isfinite(value)
    ]
    if not values:
        return ""
    low, high = ends
    xs = [52 + 208 * place / max(1, len(number.per_frame) - 1) for place in range(len(number.per_frame))]

    def y(value: float) -> float:
        return 78 - 62 * ((value - low) / (high - low) if high > low else 0.5)

    def line(series: Sequence[float], kind: str) -> str:
        points = [(x, y(value)) for x, value in zip(xs, series, strict=False) if math.isfinite(value)]
        return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{v:.1f}" for x, v in points)}"/>'

    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y(value):.1f}" r="2.5"><title>{place + 1}: {value:.6g}</title></circle>'
        for place, (x, value) in enumerate(zip(xs, number.per_frame, strict=True))
        if math.isfinite(value)
    )
    bases = "".join(line(series, "base") for series in others.values())
    note = f" (dashed: {', '.join(others)})" if others else ""
    tops = f'<text x="2" y="12">{tick(high, high - low)}</text><text x="2" y="80">{tick(low, high - low)}'
    told = f"{key} by frame, from {min(values):.4g} to {max(values):.4g}"
    places = json.dumps([round(x, 1) for x in xs])
    return (
        f'<figure class="chart"><figcaption>{html.escape(key)}{html.escape(note)}</figcaption><svg viewBox="0'
        f' 0 270 100" role="img" aria-label="{html.escape(told)}"><line'
        f' class="axis" x1="48" x2="266" y1="82" y2="82"/><line class="now" x1="{xs[0]:.1f}" x2="{xs[0]:.1f}"'
        f' y1="10" y2="82" data-places="{places}"/>{bases}{line(number.per_frame, "line")}{dots}'
        f"{tops}</text><text"
        f' x="52" y="96">1</text><text'
        f' x="262" y="96" text-anchor="end">{len(number.per_frame)}</text></svg></figure>'
    )


def flow_maps(clip: Clip, towers: Any, suite: Suite, top: float) -> tuple[list[str], float] | None:
    """The warping error of each pair as pictures in cividis, and the error that the lightest colour stands
    for, which is given.

    The first frame has no pair before it and shows the first one's.
    """
    from vedit.metrics import warp_error

    try:
        errors = warp_error.error_maps(clip, towers, suite.options)
    except VeditError:
        return None
    pictures = [picture(coloured(error / top), longest=MAP_LARGEST) for error in errors]
    return [pictures[0], *pictures], top


def coloured(share_YX: np.ndarray) -> np.ndarray:
    """Values in 0..1 as colours of cividis, grey where they are NaN, (Y, X, 3) uint8."""
    import numpy as np

    table = np.array(CIVIDIS, float)
    place = np.clip(np.nan_to_num(share_YX), 0, 1) * (len(table) - 1)
    below = np.minimum(place.astype(int), len(table) - 2)
    rest = (place - below)[..., None]
    colours = table[below] * (1 - rest) + table[below + 1] * rest
    found: np.ndarray = np.rint(np.where(np.isnan(share_YX)[..., None], NOT_SEEN, colours)).astype(np.uint8)
    return found


def _gradient() -> str:
    return f"linear-gradient(to right,{','.join('rgb' + str(colour) for colour in CIVIDIS)})"


# --- provenance ----------------------------------------------------------------------------------


def details(summary: str, content: Mapping[str, Any]) -> str:
    text = html.escape(json.dumps(finite(content), indent=1, ensure_ascii=False))
    return f"<details><summary>{html.escape(summary)}</summary><pre>{text}</pre></details>"


def provenance_section(results: Results) -> str:
    return '<h2 id="provenance">Provenance</h2>' + details(
        f"Profile {results.profile}: options, versions, weights",
        {"options": results.options, **results.provenance, "seed": results.seed},
    )
