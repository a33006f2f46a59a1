"""Protects vedit/jobs/score/html.py: one file that shows everything, with and without scripts, tried in a
browser where there is one.
"""

from __future__ import annotations

import base64
import html as html_text
import html.parser
import io
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import vedit
from tests.jobs.pages.browser import BROWSER, FLAGS, with_script
from tests.jobs.score.test_clips import greys, write_gif
from tests.jobs.scores import report as numbers
from vedit.jobs.score.compare import compare, comparison_table
from vedit.jobs.score.html import (
    CIVIDIS,
    FILTER,
    NOT_SEEN,
    Scales,
    axis,
    coloured,
    filter_of,
    forest,
    interval_svg,
    page,
    picture,
)
from vedit.jobs.score.results import Row

# What a reader does, and what then stands on the page: stepping, the split and difference views, sorting.
ACTIONS = """
const said = {};
const player = document.querySelector(".player");
const shown = () => [...player.querySelectorAll("img[data-frames]")].map((image) => image.src.slice(-40));
const press = (name) => player.querySelector(`[data-do=${name}]`).click();
const choose = (name, value) => { const box = player.querySelector(`[data-do=${name}]`); box.value = value; box.dispatchEvent(new Event("change")); };
said.first = shown();
said.mark = document.querySelector(".now").getAttribute("x1");
press("next");
said.second = shown();
said.place = player.querySelector("output").value;
said.moved = document.querySelector(".now").getAttribute("x1");
press("back"); press("back");
said.last = player.querySelector("output").value;
choose("mode", "split");
const cut = player.querySelector("[data-do=cut]");
cut.value = 20;
cut.dispatchEvent(new Event("input"));
const [source, edited] = ["source", "edited"].map((name) => player.querySelector(`.${name}`).getBoundingClientRect());
said.overlap = source.left === edited.left && source.top === edited.top && source.width > 50;
said.clip = getComputedStyle(player.querySelector(".edited img")).clipPath;
choose("mode", "difference");
said.blend = getComputedStyle(player.querySelector(".edited")).mixBlendMode;
press("play");
said.playing = player.querySelector("[data-do=play]").textContent;
press("play");
const table = document.querySelector("table.sortable");
const column = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[1].dataset.value));
table.tHead.rows[0].cells[1].click();
said.up = column();
table.tHead.rows[0].cells[1].click();
said.down = column();
said.errors = window.errors;
document.body.innerHTML = `<pre id="said">${JSON.stringify(said)}</pre>`;
"""


class Outline(html.parser.HTMLParser):
    """Tags that are opened and closed, and what the page would load."""

    VOID = frozenset({"meta", "img", "input", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a suite of two: one scored whole, one broken."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "out").mkdir()
    write_gif(folder / "a.gif", greys(4, 24, 32))
    write_gif(folder / "out" / "a.gif", greys(4, 24, 32, first=60))
    (folder / "out" / "b<i>.gif").write_bytes(b"GIF89a")
    (folder / "out" / "a.gif.vedit.json").write_text(
        json.dumps({"target_prompt": "</script><b>bold</b>", "method": "p2p"})
    )
    options = (
        "--metrics",
        "flicker,warp_error",
        "--profile",
        "embedded",
        "--baseline",
        "identity",
        "--journal",
        folder / "j.jsonl",
    )
    done = vedit(
        "score",
        "--edited",
        folder / "out",
        "--source-dir",
        folder,
        *options,
        "--html",
        folder / "r.html",
        "-q",
    )
    assert done.code == 8, done.err
    return (folder / "r.html").read_text()


def test_the_page_is_well_formed_and_loads_nothing_from_elsewhere(report: str) -> None:
    outline = Outline(report)
    assert outline.open == []
    assert [
        address[:40] for address in outline.addresses if not address.startswith(("data:image/", "#"))
    ] == []
    assert not re.search(r"https?://|@import|url\(", report)


def test_without_scripts_tables_posters_and_charts_remain(report: str) -> None:
    plain = re.sub(r"<script.*?</script>", "", report, flags=re.DOTALL)
    posters = re.findall(r'<img[^>]* src="data:image/webp;base64,([^"]+)" alt="([^"]+)"', plain)
    assert [name for _, name in posters] == [
        "source, first frame",
        "edit, first frame",
        "map of the warping error",
    ]
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(posters[1][0]))).convert("RGB"))
    assert first.shape == (24, 32, 3) and abs(int(first[0, 0, 0]) - 60) <= 1
    assert "flicker_mae" in plain
    assert plain.count('<figure class="chart">') == 3
    assert re.search(r"\.controls \{ display: none;", plain)


def test_what_users_typed_cannot_become_markup(report: str) -> None:
    assert "<b>bold" not in report and "&lt;b&gt;bold" in report
    assert "b<i>" not in report and "b&lt;i&gt;" in report


def test_failures_flags_and_provenance_are_on_the_page(report: str) -> None:
    assert re.search(r'<a href="#b&lt;i&gt;">b&lt;i&gt;</a>: not scored: ', report)
    assert "Where each number comes from" in report and "&quot;seconds&quot;" in report
    assert "mean (dashed" not in report and "flicker_mae (dashed: identity)" in report


@pytest.mark.skipif(BROWSER is None, reason="no browser here")
def test_a_browser_steps_plays_splits_and_sorts(report: str, tmp_path: Path) -> None:
    catch = "window.errors = []; window.onerror = (message) => window.errors.push(String(message));"
    changed = with_script(with_script(report, catch, "</head>"), ACTIONS)
    (tmp_path / "page.html").write_text(changed)
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        " --disable-component-update --disable-sync"
    )
    command = [
        BROWSER,
        *flags.split(),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        (tmp_path / "page.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    found = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-500:] + done.stderr[-500:]
    said = json.loads(html_text.unescape(found[1]))
    assert said["errors"] == []
    assert len(said["first"]) == 3 and all(
        a != b for a, b in zip(said["first"][:2], said["second"][:2], strict=True)
    )
    assert said["place"] == "frame 2 of 4" and said["last"] == "frame 4 of 4"
    assert float(said["moved"]) > float(said["mark"])
    assert (
        said["overlap"]
        and "20%" in said["clip"]
        and said["blend"] == "difference"
        and said["playing"] == "Pause"
    )
    assert said["up"] == sorted(said["up"]) and said["down"] == sorted(said["up"], reverse=True)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a suite of eleven: an unchanged copy, a frozen clip, and one of which a third is there."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "out").mkdir()
    frames = [
        np.roll(np.arange(48, dtype=np.uint8)[None, :, None] * 5 + np.zeros((40, 1, 3), np.uint8), t, 1)
        for t in range(4)
    ]
    write_gif(folder / "src.gif", frames)
    for number in range(1, 12):
        write_gif(
            folder / "out" / f"c{number}.gif",
            (
                frames
                if number == 4
                else [np.clip(frame.astype(int) + 9 + number, 0, 255).astype(np.uint8) for frame in frames]
            ),
        )
    whole = (folder / "out" / "c3.gif").read_bytes()
    (folder / "out" / "c3.gif").write_bytes(whole[: len(whole) // 2])
    videos = "".join(
        f'[[video]]\nid = "c{number}"\nsource = "src.gif"\n[[video.edit]]\nprompt = "x"\n'
        for number in range(1, 12)
    )
    (folder / "i.toml").write_text(videos)
    done = vedit(
        "score",
        "--index",
        folder / "i.toml",
        "--edited",
        folder / "out",
        "--source-dir",
        folder,
        "--metrics",
        "flicker",
        "--html",
        folder / "r.html",
        "-q",
    )
    assert done.code == 8 and "Damaged and left out of out: c3." in done.text, done.err
    return (folder / "r.html").read_text()


def test_what_must_be_known_first_stands_first(many: str) -> None:
    top = many[: many.index("<h2>Videos")]
    assert "<section" not in top and top.index("Damaged and left out") < top.index("<table")
    for label, said in (("c3", "damaged: "), ("c4", "no_edit_guard: ")):
        assert f'<a href="#{label}">{label}</a>: {said}' in top
    assert (
        '<a href="#flags">Flags (2)</a>' in many
        and 'id="flags"' in many
        and 'id="videos"' in many
        and 'id="provenance"' in many
    )


def test_videos_stand_in_the_order_people_count_and_begin_collapsed_where_there_are_many(
    many: str, report: str
) -> None:
    assert re.findall(r'<section id="([^"]+)"', many) == [f"c{number}" for number in range(1, 12)]
    assert re.findall(r'<th scope="row"><a href="#([^"]+)"', many) == [
        f"c{number}" for number in range(1, 12)
    ]
    assert many.count('<details class="video">') == 11 and report.count('<details class="video" open>') == 2
    assert 'data-do="filter"' in many and 'data-do="flagged"' in many


def test_error_maps_are_asked_for_and_are_not_most_of_the_bytes(report: str) -> None:
    frames = json.loads(re.search(r'class="frames">(.*?)</script>', report, re.DOTALL)[1])  # type: ignore[index]
    sizes = {name: sum(map(len, pictures)) for name, pictures in frames.items()}
    assert sizes["map"] < sizes["edited"] + sizes["source"]
    assert '<details class="pane map"><summary>error map</summary>' in report


def test_a_comparison_has_a_forest_plot_with_the_verdict_beside_the_metric(tmp_path: Path) -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    a = numbers(
        "a",
        {"up": [value + 1 for value in values], "down": [value + 2 for value in values], "same": values},
        lower=["down"],
    )
    b = numbers(
        "b",
        {"up": values, "down": values, "same": [value + (-1) ** place for place, value in enumerate(values)]},
        lower=["down"],
    )
    found = compare(a, b)
    drawn = forest(found)
    middles = {
        key: float(x)
        for key, x in re.findall(r'<text x="4" y="\d+">(\w+)</text>.*?class="mean" d="M([\d.]+) ', drawn)
    }
    assert (
        middles["up"] == 340 and middles["down"] == 140 and middles["same"] == 240
    )  # to the right where a is better
    assert (
        drawn.count('class="shown"') == 2
        and drawn.count('class="open"') == 1
        and drawn.count('class="range"') == 3
    )
    assert (
        comparison_table(found, verdict_first=True).head[1] == "verdict"
        and comparison_table(found).head[-1] == "verdict"
    )


WIDTH = """<p id="said"></p><iframe src="in.html" style="width:390px;height:800px;border:0"></iframe>
<script>onmessage = (event) => { document.getElementById("said").textContent = `W${event.data}W`; }</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no browser here")
def test_at_390_pixels_nothing_scrolls_sideways(report: str, many: str, tmp_path: Path) -> None:
    long = many.replace("out: 11 edited videos", "out" * 60).replace(
        '<details class="video">', '<details class="video" open>'
    )
    split = (
        "for (const box of document.querySelectorAll('[data-do=mode]')) { box.value = 'split';"
        " box.dispatchEvent(new Event('change')); }"
    )
    tells = "parent.postMessage(document.documentElement.scrollWidth, '*')"
    opened = report.replace('class="pane map"', 'class="pane map" open')
    for text in (opened, long, with_script(report, split)):
        (tmp_path / "in.html").write_text(with_script(text, tells))
        (tmp_path / "page.html").write_text(WIDTH)
        flags = (
            "--headless --no-sandbox --disable-gpu --no-first-run --allow-file-access-from-files"
            " --virtual-time-budget=3000"
        )
        command = [
            BROWSER,
            *flags.split(),
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            (tmp_path / "page.html").as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        found = re.search(r"W(\d+)W", done.stdout)
        assert found, done.stdout[-300:] + done.stderr[-300:]
        assert 0 < int(found[1]) <= 390


def test_linked_media_embeds_no_frames(tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        for number, frame in enumerate(greys(2)):
            Image.fromarray(frame).save(tmp_path / name / f"{number}.png")
    done = vedit(
        "score",
        tmp_path / "out",
        "--source",
        tmp_path / "in",
        "--metrics",
        "flicker",
        "--html",
        "-",
        "--link-media",
        "-q",
    )
    assert "base64" not in done.text and done.text.count((tmp_path / "out" / "1.png").as_uri()) == 1


# --- parts ---------------------------------------------------------------------------------------


def test_colours_run_from_dark_to_light_and_grey_marks_what_is_not_seen() -> None:
    shown = coloured(np.array([[0.0, 0.5, 1.0, np.nan, 7.0]]))[0]
    assert [tuple(map(int, pixel)) for pixel in shown] == [
        CIVIDIS[0],
        CIVIDIS[5],
        CIVIDIS[10],
        NOT_SEEN,
        CIVIDIS[10],
    ]
    lightness = coloured(np.linspace(0, 1, 50)[None])[0] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -0.01).all()  # also in black and white


def test_large_frames_are_made_smaller_and_small_ones_kept_exactly() -> None:
    large = Image.open(
        io.BytesIO(base64.b64decode(picture(np.zeros((1000, 500, 3), np.uint8)).partition(",")[2]))
    )
    assert large.size == (256, 512)
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    small = Image.open(io.BytesIO(base64.b64decode(picture(noise).partition(",")[2])))
    assert np.array_equal(np.asarray(small.convert("RGB")), noise)


def test_the_interval_is_drawn_over_the_videos() -> None:
    drawn = interval_svg([0.0, 10.0, None, float("nan")], 5.0, (2.5, 7.5))
    assert drawn.count('class="dots"') == 2 and 'x1="39.0" x2="105.0"' in drawn
    assert interval_svg([None], None, None) == ""
    assert 'class="range"' not in interval_svg([1.0], 1.0, None)


def test_a_page_escapes_its_heading() -> None:
    assert "<title>a &lt;b&gt;</title>" in page("a <b>", "")


def test_axes_have_round_ends_and_noise_of_rounding_is_drawn_flat() -> None:
    low, high = axis(0.953, 0.9871, 1e-4)
    assert (round(low, 9), round(high, 9)) == (0.95, 0.99)
    assert axis(3.0, 997.0, 1e-4) == (0, 1000)
    low, high = axis(0.5, 0.50001, 1e-4)
    assert low < 0.4995 and high > 0.5005
    for span in (1.0, 9.99, 10.0, 0.3, 8.5):
        low, high = axis(2.0, 2.0 + span, 1e-4)
        assert low <= 2 + 1e-9 and high >= 2 + span - 1e-9 and high - low < 1.6 * span


def test_all_videos_share_axes_and_the_scale_of_error_maps() -> None:
    from dataclasses import replace

    from vedit.jobs.score.results import Number

    rows = numbers("a", {"warp_error": [0.01, 0.04]})
    frames = [(0.01, 0.01), (0.04, 0.0025)]
    changed = [
        replace(row, numbers={"warp_error": Number(row.numbers["warp_error"].value, of)})
        for row, of in zip(rows.rows, frames, strict=True)
    ]
    scales = Scales.of(replace(rows, rows=tuple(changed)))
    assert scales.error == pytest.approx(3 * 0.2)
    assert scales.axes["warp_error"] == pytest.approx((0, 0.04))


def test_groups_of_videos_can_be_chosen() -> None:
    rows = numbers("a", {"m": [1, 2]}, tags=["an <animal>"]).rows
    assert '<option value="an &lt;animal&gt;">an &lt;animal&gt; (2)</option>' in filter_of(rows)
    assert "<select" not in filter_of(numbers("a", {"m": [1, 2]}).rows)


def test_forest_plots_are_a_picture_of_their_own(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    from vedit.jobs.score.html import forests_svg

    a, b, c = (numbers(name, {"m": [1 + i, 2 + i, 4, 5, 9, 7]}) for i, name in enumerate(("a<b", "b", "c")))
    root = ElementTree.fromstring(forests_svg([compare(a, b), compare(b, c)]))
    tag = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{tag}svg"
    plots = root.findall(f"{tag}svg")
    assert [plot.get("y") for plot in plots] == ["0", "80"]
    assert "a<b better →" in [text.text for text in plots[0].iter(f"{tag}text")]


MANY_ACTIONS = """
const said = {}, find = (name) => document.querySelector(`.filter [data-do=${name}]`);
const shown = () => [...document.querySelectorAll("section")].filter((one) => !one.hidden).length;
const set = (name, value, kind) => { find(name).value = value; find(name).dispatchEvent(new Event(kind)); };
said.all = shown();
set("filter", "c17", "input"); said.filtered = shown(); said.told = find("count").value;
set("filter", "", "input"); set("group", "sea", "change"); said.group = shown();
set("group", "", "change"); said.again = shown();
const one = document.getElementById("c150"), box = one.querySelector("[data-do=zoom]");
one.querySelector("details.video").open = true;
const wide = () => one.querySelector("img[data-frames=edited]").getBoundingClientRect().width;
said.before = wide();
box.value = "2"; box.dispatchEvent(new Event("change")); said.after = wide();
const pre = document.createElement("pre");
pre.id = "said"; pre.textContent = JSON.stringify(said); document.body.append(pre);
"""


@pytest.mark.skipif(BROWSER is None, reason="no browser here")
def test_two_hundred_videos_are_filtered_grouped_and_zoomed(many: str, tmp_path: Path) -> None:
    found = re.search(r'<section id="c5".*?</section>', many, re.DOTALL)
    assert found
    begin, end = many.index("<section"), many.rindex("</section>") + len("</section>")
    groups = [("sea", "land", "air")[number % 3] for number in range(200)]
    sections = "".join(
        found[0]
        .replace("c5", f"c{number}")
        .replace('data-groups="[]"', f'data-groups="[&quot;{group}&quot;]"')
        for number, group in enumerate(groups)
    )
    rows = [Row(f"c{number}", "0", {}, facts={"tags": [group]}) for number, group in enumerate(groups)]
    page = (many[:begin] + sections + many[end:]).replace(FILTER, filter_of(rows))
    (tmp_path / "page.html").write_text(with_script(page, MANY_ACTIONS))
    command = [
        str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,800", "--dump-dom",
        (tmp_path / "page.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    told = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stdout[-300:] + done.stderr[-300:]
    said = json.loads(html_text.unescape(told[1]))
    assert (said["all"], said["filtered"], said["group"], said["again"]) == (200, 11, 67, 200)
    assert said["told"] == "11 of 200 videos"
    assert said["before"] > 0 and said["after"] != said["before"]
