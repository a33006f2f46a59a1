"""Protects vedit/jobs/batch/{gallery,thumbs,sheet}.py: a page of a batch, tried in a browser where there is one."""

from __future__ import annotations

import hashlib
import html as html_text
import json
import os
import re
import time
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from tests.conftest import vedit
from tests.jobs.pages.browser import browse, needs_browser, with_script
from vedit.errors import InputError
from vedit.jobs.batch.gallery import Embedded, dimensions_of, keep_fresh
from vedit.jobs.batch.plan import Plan, plan
from vedit.jobs.batch.rows import read_rows
from vedit.jobs.batch.run import prepare
from vedit.jobs.batch.sheet import GAP, LINE, NAMES, TILE, wrapped
from vedit.jobs.batch.status import read
from vedit.jobs.batch.thumbs import MOST_FRAMES, Part, Thumbs, taken

EVIL = "<img src=x onerror=alert(1)> \x1b[31m </script>"


def drawn(path: Path, colour: tuple[int, int, int], count: int = 4, size: tuple[int, int] = (32, 24)) -> None:
    frames = [Image.new("RGB", size, colour) for _ in range(count)]
    for number, frame in enumerate(frames):
        frame.putpixel((number % size[0], 0), (255, 255, 255))
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=[50 + 10 * n for n in range(count)], loop=0
    )


def done(made: Plan, number: int, colour: tuple[int, int, int], seconds: float) -> None:
    """An item as a worker leaves it."""
    item = made.items[number]
    target = Path(made.state.out, item.output)
    target.parent.mkdir(parents=True, exist_ok=True)
    drawn(target, colour)
    content = target.read_bytes()
    record = {
        "key": item.key,
        "output": item.output,
        "bytes": len(content),
        "seconds": seconds,
        "attempts": 1,
        "host": "a",
    }
    made.state.write("done", item.key, {**record, "sha256": hashlib.sha256(content).hexdigest()})


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve items of three clips: ten done, one failed, one open."""
    folder = tmp_path_factory.mktemp("gallery")
    for number, name in enumerate(("cat", "dog", "odd #%")):
        drawn(folder / f"{name}.gif", (60 * number, 90, 120))
    rows = ["input,source,prompt,seed,label"]
    for name in ("cat", "dog", "odd #%"):
        for prompt in ("a fox", f'"{EVIL}"' if name == "dog" else f"a {name} in snow"):
            rows += [f"{name}.gif,a {name},{prompt},{seed},p2p" for seed in (0, 1)]
    (folder / "jobs.csv").write_text("\n".join(rows) + "\n")
    made = plan(read_rows([str(folder / "jobs.csv")]), str(folder / "out"))
    prepare(made)
    for number in range(10):
        done(made, number, (20 * number, 200, 255 - 20 * number), seconds=10.0 - number)
    failed = made.items[10].key
    made.state.write(
        "failed",
        failed,
        {
            "key": failed,
            "exit": 6,
            "message": f"too much {EVIL}",
            "attempts": 2,
            "log": f".vedit-batch/log/{failed}.2.txt",
        },
    )
    assert vedit("batch", "gallery", folder / "out").code == 0
    return folder / "out"


@pytest.fixture(scope="module")
def page(out: Path) -> str:
    return (out / "gallery.html").read_text(encoding="utf-8")


def facts_of(page: str) -> dict:  # type: ignore[type-arg]
    return json.loads(re.search(r'id="batch">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index, no-any-return]


# --- what the page knows -------------------------------------------------------------------------


def test_cells_have_their_states_reasons_and_files_beside_the_page(page: str, out: Path) -> None:
    facts = facts_of(page)
    assert [cell["s"] for cell in facts["cells"]] == [0] * 10 + [1, 2]
    assert facts["cells"][10]["why"].startswith("too much") and facts["cells"][10]["tries"] == 2
    for cell in facts["cells"][:10]:
        for name in ("poster", "strip", "href"):
            assert (out / unquote(cell[name])).is_file()
        assert cell["line"].startswith("vedit replay ") and (cell["w"], cell["h"], cell["ms"]) == (
            32,
            24,
            [50, 60, 70, 80],
        )
    assert [source["name"].rpartition("/")[2] for source in facts["sources"]] == [
        "cat.gif",
        "dog.gif",
        "odd #%.gif",
    ]
    assert (out / unquote(facts["sources"][2]["href"])).resolve() == (out.parent / "odd #%.gif").resolve()


def test_nothing_that_was_typed_is_markup_and_nothing_comes_from_elsewhere(page: str) -> None:
    assert page.count("<img src=x") == 0 and "\x1b" not in page
    assert "&lt;img src=x onerror=alert(1)&gt; \\x1b[31m" in page  # in the table without scripts
    assert not re.search(
        r"https?://|@import|url\(", re.sub(r"<script type.*?</script>", "", page, flags=re.DOTALL)
    )
    addresses = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert addresses and not [address for address in addresses if ":" in address or address.startswith("/")]


def test_without_scripts_it_is_a_table_of_posters(page: str) -> None:
    table = re.search(r"<noscript>(.*)</noscript>", page, re.DOTALL)[1]  # type: ignore[index]
    assert table.count("<tr>") == 3 and table.count('loading="lazy"') == 10
    assert table.count("failed: too much") == 1 and table.count("not made yet") == 1


def rows_of(tmp_path: Path, *rows: str) -> list:  # type: ignore[type-arg]
    for name in ("a.gif", "b.gif"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "jobs.csv").write_text("\n".join(rows) + "\n")
    return plan(read_rows([str(tmp_path / "jobs.csv")]), str(tmp_path / "out")).items


def test_prompts_are_columns_by_their_words_where_clips_share_them_and_by_number_elsewhere(
    tmp_path: Path,
) -> None:
    shared = rows_of(tmp_path, "input,prompt", "a.gif,fox", "a.gif,cat", "b.gif,fox", "b.gif,cat")
    assert [(one.name, one.value(shared[1])) for one in dimensions_of(shared)] == [
        ("clip", "a.gif"),
        ("prompt", "cat"),
    ]
    own = rows_of(tmp_path, "input,prompt", "a.gif,fox", "a.gif,cat", "b.gif,dog", "b.gif,cow")
    assert [(one.name, one.value(own[3])) for one in dimensions_of(own)] == [
        ("clip", "b.gif"),
        ("prompt", "2"),
    ]
    alone = rows_of(tmp_path, "input,prompt,seed", "a.gif,fox,1", "a.gif,fox,2")
    assert [one.name for one in dimensions_of(alone)] == ["clip", "seed"]


def test_a_standalone_page_holds_its_pictures_as_far_as_there_is_room(out: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert vedit("batch", "gallery", out, "--standalone", "-o", target).code == 0
    facts = facts_of(target.read_text())
    assert all(cell["poster"].startswith("data:image/webp;base64,") for cell in facts["cells"][:10])
    link = Embedded(str(tmp_path), room=300)
    small, large = tmp_path / "a.webp", tmp_path / "b.webp"
    small.write_bytes(b"x" * 100)
    large.write_bytes(b"x" * 200)
    assert link.picture(str(small)) and link.picture(str(large)) is None and link.left == 1


def test_the_page_is_kept_fresh_while_a_batch_runs(out: Path) -> None:
    made = read(str(out))
    before = (out / "gallery.html").stat().st_mtime_ns
    time.sleep(0.01)
    show = keep_fresh(made)
    show(False)
    first = (out / "gallery.html").stat().st_mtime_ns
    assert first > before
    show(False)  # so soon again: who hands out items has more to do
    assert (out / "gallery.html").stat().st_mtime_ns == first
    show(True)
    assert (out / "gallery.html").stat().st_mtime_ns > first


def test_scores_are_numbers_to_sort_by(out: Path, tmp_path: Path) -> None:
    first = os.path.splitext(read(str(out)).items[0].output)[0]
    (tmp_path / "scores.csv").write_text(f"video_id,edit_id,flicker_mae\ncat,{first},0.25\n")
    done = vedit("batch", "gallery", out, "--scores", tmp_path / "scores.csv", "-o", tmp_path / "p.html")
    assert done.code == 0, done.err
    facts = facts_of((tmp_path / "p.html").read_text())
    assert facts["scores"] == ["flicker_mae"] and facts["cells"][0]["scores"] == {"flicker_mae": 0.25}
    assert facts["lower"] == ["flicker_mae"]


# --- thumbs --------------------------------------------------------------------------------------


def test_small_frames_are_kept_bit_for_bit_in_their_order(out: Path) -> None:
    facts = facts_of((out / "gallery.html").read_text())
    strip = np.asarray(Image.open(out / facts["cells"][3]["strip"]).convert("RGB"))
    assert strip.shape == (24, 4 * 32, 3)
    with Image.open(out / unquote(facts["cells"][3]["href"])) as gif:
        for number in range(4):
            gif.seek(number)
            assert np.array_equal(strip[:, 32 * number : 32 * (number + 1)], np.asarray(gif.convert("RGB")))


def test_a_long_clip_is_a_few_frames_that_last_as_long(tmp_path: Path) -> None:
    drawn(tmp_path / "a.gif", (9, 9, 9), count=131, size=(600, 12))
    frames, delays, (width, height, count) = taken(str(tmp_path / "a.gif"), Part())
    whole = sum(50 + 10 * n for n in range(131))
    assert (width, height, count) == (600, 12, 131) and frames[0].size == (256, 5)
    assert 12 <= len(frames) == len(delays) <= MOST_FRAMES and abs(sum(delays) - whole) <= len(delays)


def test_the_part_that_an_edit_takes_is_what_its_source_shows(tmp_path: Path) -> None:
    drawn(tmp_path / "a.gif", (9, 9, 9), count=10)
    frames, delays, facts = taken(str(tmp_path / "a.gif"), Part(start=2, stride=3, frames=2, is_square=True))
    assert facts == (32, 24, 2) and [frame.size for frame in frames] == [(24, 24)] * 2
    assert delays == [70 + 80 + 90, 100 + 110 + 120]
    marks = [
        int(np.flatnonzero((np.asarray(frame)[0] == 255).all(1))[0])
        for frame in frames
        if (np.asarray(frame)[0] == 255).any()
    ]
    assert marks == [1]  # the dot of frame 5 lies 4 columns inside the square; that of frame 2 outside of it


def test_a_clip_that_cannot_be_read_is_tried_once(out: Path, tmp_path: Path) -> None:
    thumbs = Thumbs(read(str(out)).state)
    (tmp_path / "no.gif").write_bytes(b"clip")
    assert thumbs.make("bad", "content", str(tmp_path / "no.gif")) is None
    assert thumbs.is_known("bad", "content") and not thumbs.is_known("bad", "other")
    assert thumbs.of("bad", "content") is None


# --- the contact sheet ---------------------------------------------------------------------------


def test_a_sheet_has_a_row_per_clip_and_a_column_per_variant(out: Path, tmp_path: Path) -> None:
    assert vedit("batch", "gallery", out, "--sheet", tmp_path / "s.png").code == 0
    sheet = Image.open(tmp_path / "s.png").convert("RGB")
    top, high = 2 * GAP + 2 * LINE, 120  # 32 x 24 pixels, five times as large
    assert sheet.size == (NAMES + GAP + 5 * (TILE + GAP), top + 3 * (high + GAP))
    for column in range(4):  # the first clip's edits, in their colours
        x, y = NAMES + GAP + (column + 1) * (TILE + GAP) + TILE // 2, top + high // 2
        assert sheet.getpixel((x, y)) == (20 * column, 200, 255 - 20 * column)
    assert vedit("batch", "gallery", out, "--sheet", tmp_path / "s.jpg").code == 2
    assert vedit("batch", "gallery", out, "--sheet", tmp_path / "s.png", "--standalone").code == 2


@pytest.mark.parametrize("text", ["", "a", "one two three four", "W" * 40, "a  b\nc", "中文" * 30])
def test_words_are_wrapped_to_a_width_and_none_is_lost(text: str) -> None:
    lines = wrapped(text, lambda line: 7 * len(line), 50)
    assert "".join(lines).replace(" ", "") == "".join(text.split())
    assert all(7 * len(line) <= 50 for line in lines)


def test_a_folder_without_a_batch_is_told(tmp_path: Path) -> None:
    done = vedit("batch", "gallery", tmp_path)
    assert done.code == InputError.exit_code and "no batch" in done.err


# --- in a browser --------------------------------------------------------------------------------

ACTIONS = """
window.errors = []; addEventListener("error", (event) => errors.push(event.message));
addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const all = (css) => [...document.querySelectorAll(css)];
const names = () => all(".cell").map((cell) => batch.cells[cell.dataset.at].name);
const press = (element, key) => element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
addEventListener("load", async () => {
  const said = {};
  said.cells = all(".cell").length;
  said.rows = all(".row:not(.heads)").length;
  said.heads = all(".heads .cells > div").map((head) => head.textContent);
  said.failed = all(".cell.failed .why").map((why) => why.textContent);
  await pause(200);
  said.posters = all(".cell img").filter((image) => image.naturalWidth > 0).length;
  const find = document.getElementById("find");
  find.value = "CAT snow"; find.dispatchEvent(new Event("input"));
  await pause(50);
  said.found = names();
  find.value = "nowhere"; find.dispatchEvent(new Event("input"));
  await pause(50);
  said.nothing = all(".nothing").length;
  find.value = ""; find.dispatchEvent(new Event("input"));
  await pause(50);
  all("#states .chip")[0].click();
  said.without_done = names().length;
  all("#states .chip")[0].click();
  const sort = document.getElementById("sort");
  sort.value = "slow"; sort.dispatchEvent(new Event("change"));
  said.slowest_row = all(".row:not(.heads) h2")[0].textContent;
  sort.value = "failed"; sort.dispatchEvent(new Event("change"));
  said.failed_row = all(".row:not(.heads) h2")[0].textContent;
  sort.value = "list"; sort.dispatchEvent(new Event("change"));
  for (const name of ["prompt", "seed"]) all('.zone[data-zone="columns"] .chip').find((chip) => chip.textContent.startsWith(name)).click();
  said.flow = [all(".row").length, all(".heads").length, document.getElementById("board").className];
  said.address = location.hash;
  all('.zone[data-zone="rows"] .chip').find((chip) => chip.textContent.startsWith("seed")).click();
  const first = all(".cell")[0];
  first.focus();
  await pause(200);
  said.plays = all(".row canvas").length;
  press(first, "ArrowRight");
  said.right = all(".cell").indexOf(document.activeElement);
  press(document.activeElement, "ArrowDown");
  said.down = all(".cell").indexOf(document.activeElement);
  first.click();
  await pause(200);
  const dialog = document.getElementById("shown");
  said.open = dialog.open;
  said.title = document.getElementById("shown-name").textContent;
  const canvases = all("dialog canvas");
  said.sizes = canvases.map((canvas) => [canvas.width, canvas.height]);
  const player = dialog.querySelector(".player");
  player.querySelector("[data-do=next]").click();
  said.place = player.querySelector("output").value;
  const mode = player.querySelector("[data-do=mode]");
  mode.value = "split"; mode.dispatchEvent(new Event("change"));
  const boxes = canvases.map((canvas) => canvas.getBoundingClientRect());
  said.split = [boxes[0].left === boxes[1].left, boxes[0].width > 50, getComputedStyle(canvases[1]).clipPath];
  said.differs = all("dialog tbody tr").slice(1).map((row) => row.textContent);
  press(player, "k");
  await pause(100);
  said.next = document.getElementById("shown-name").textContent !== said.title;
  dialog.close();
  all(".cell.failed")[0].click();
  await pause(200);
  said.reason = dialog.querySelector("pre.bad").textContent;
  said.log = all("dialog a").some((link) => link.textContent.endsWith(".2.txt"));
  said.wide = document.documentElement.scrollWidth;
  said.errors = errors;
  const told = document.createElement("pre");
  told.id = "said"; told.textContent = JSON.stringify(said);
  document.body.append(told);
});
"""


@needs_browser
def test_a_browser_filters_sorts_pivots_plays_and_opens(page: str, out: Path, tmp_path: Path) -> None:
    (out / "tried.html").write_text(with_script(page, ACTIONS), encoding="utf-8")
    shown = browse(
        out / "tried.html",
        tmp_path / "profile",
        "--virtual-time-budget=8000",
        "--window-size=1200,900",
        "--dump-dom",
    )
    found = re.search(r'<pre id="said">(.*?)</pre>', shown, re.DOTALL)
    assert found, shown[-800:]
    said = json.loads(html_text.unescape(found[1]))
    assert said["errors"] == []
    assert (said["cells"], said["rows"], said["posters"]) == (12, 3, 10)
    assert said["heads"] == ["prompt 1seed 0", "prompt 1seed 1", "prompt 2seed 0", "prompt 2seed 1"]
    assert said["failed"] == ["failedtoo much <img src=x onerror=alert(1)> \\x1b[31m </script>"]
    assert (
        said["found"] == ["cat/p2p-a-cat-in-snow-s0.gif", "cat/p2p-a-cat-in-snow-s1.gif"]
        and said["nothing"] == 1
    )
    assert said["without_done"] == 2
    assert (said["slowest_row"], said["failed_row"]) == ("cat.gif", "odd #%.gif")
    assert said["flow"] == [12, 0, "board flow"] and "columns=" in said["address"]
    assert said["plays"] == 3 and (said["right"], said["down"]) == (1, 3)
    assert said["open"] and said["title"] == "cat/p2p-a-fox-s0.gif" and said["next"]
    assert (
        said["sizes"] == [[32, 24], [32, 24]]
        and said["place"].startswith("frame ")
        and said["place"].endswith("of 4")
    )
    assert said["split"][:2] == [True, True] and "50%" in said["split"][2]
    assert said["differs"] == ["seed01"]
    assert said["reason"].startswith("too much <img") and said["log"] and said["wide"] <= 1200


@needs_browser
def test_at_360_pixels_nothing_scrolls_sideways(page: str, out: Path, tmp_path: Path) -> None:
    tell = "parent.postMessage([document.documentElement.scrollWidth, [...document.querySelectorAll('.cell')].filter((c) => c.getBoundingClientRect().right > innerWidth).length].join(), '*')"
    (out / "in.html").write_text(with_script(page, tell), encoding="utf-8")
    (out / "frame.html").write_text(
        '<p id="said"></p><iframe src="in.html" style="width:360px;height:800px;border:0"></iframe>'
        '<script>onmessage = (event) => { document.getElementById("said").textContent = `W${event.data}W`; }</script>'
    )
    shown = browse(out / "frame.html", tmp_path / "profile", "--virtual-time-budget=3000", "--dump-dom")
    found = re.search(r"W(\d+),(\d+)W", shown)
    assert found, shown[-300:]
    assert 0 < int(found[1]) <= 360 and found[2] == "0"
