"""What the page downloads is, byte for byte, what the command lines make that it shows."""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import NASTY, vedit
from vedit import stages
from vedit.jobs.media.chain import parse_chain
from vedit.stages.options import FilePath, Option
from vedit.ui.session import Session
from vedit.ui.shelf import Shelf

CLIPS = ("ok_plain.gif", "ok_first_smaller.gif")
TEXTS = ('it\'s "me"', "a; b, c", "two\nlines", "狗🐕", "(c) 'x'", "=:#", "100%", "-5")


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session over small clips, in the folder that its command lines are run in."""
    monkeypatch.chdir(tmp_path)
    for name in CLIPS:
        (tmp_path / name).write_bytes((NASTY / name).read_bytes())
    Image.new("RGBA", (9, 5), (255, 0, 0, 128)).save("logo.png")
    Path("words.srt").write_text("1\n00:00:00,000 --> 00:00:00,300\nhello\n", encoding="utf-8")
    session = Session(Shelf(2**30), CLIPS)
    yield session
    session.close()


class Told:
    """Waits for the end of a run."""

    def __init__(self, session: Session) -> None:
        self.ends: dict[str, dict[str, Any]] = {}
        self.came = threading.Condition()
        session.listen(self.hear)

    def hear(self, event: dict[str, Any]) -> None:
        with self.came:
            if event.keys() & {"report", "error", "superseded"}:
                self.ends[event["revision"]] = event
                self.came.notify_all()

    def end(self, revision: str) -> dict[str, Any]:
        with self.came:
            assert self.came.wait_for(lambda: revision in self.ends, 120), "no end came"
            return self.ends[revision]


def text_for(option: Option, dice: random.Random) -> str:
    """A text that the option takes, small enough for small clips."""
    facts = option.control()
    low, high = facts.get("usual", (facts.get("low", 0), facts.get("high", 1), 1))[:2]
    samples: dict[str, list[str]] = {
        "range": [f"{low:g}", f"{min(high, low + (high - low) / 8):g}" if option.name != "width" else "70"],
        "log-range": [f"{max(low, 0.5):g}", "2"],
        "choice": list(facts.get("names", [])),
        "words": list(facts.get("names", [])),
        "switch": ["true", "false"],
        "colour": ["#ff8800", "red"],
        "ground": ["transparent", "blurred", "#123"],
        "length": ["3", "10%"],
        "size": ["40x30", "90x70"],
        "aspect": ["1:1", "16:9"],
        "rectangle": ["30x20+2+3", "99x99+1+1"],
        "regions": ["10x8+2+2", "10x8+2+2@0.1-0.3 5x5+0+0"],
        "point": ["3,4", "10%,20%"],
        "spans": ["1-3", "2-"],
        "moments": ["0.1-0.4", "0.1-"],
        "rules": ["1-2=10 last=2s", "all=*0.5"],
        "delay": ["20"],
        "loop": ["forever", "3", "once"],
        "lines": list(TEXTS),
        "text": list(TEXTS),
    }
    if isinstance(option.parse, FilePath):
        return {"picture": "logo.png", "captions": "words.srt"}.get(option.parse.holds, "")
    if facts["kind"] == "range" and "low" in facts and float(facts["low"]).is_integer():
        samples["range"] = [str(round(float(text))) for text in samples["range"]]
    return dice.choice(samples[facts["kind"]])


def spec_for(name: str, dice: random.Random) -> tuple[str, dict[str, str]]:
    """A stage with one of its ways, and some of its other options."""
    module = stages.load(name)
    table = {option.name: option for option in module.OPTIONS}
    ruled = {key for ways in getattr(module, "WAYS", ()) for way in ways.ways for key in way.options}
    chosen = [
        key
        for ways in getattr(module, "WAYS", ())
        if ways.needs_one or dice.random() < 0.6
        for key in dice.choice(ways.ways).options
    ]
    free = [key for key in table if key not in ruled]
    chosen += dice.sample(free, min(len(free), dice.randint(0, 3)))
    if "of" in chosen and "every" not in chosen:
        chosen.remove("of")
    if module.POSITIONAL in free and module.POSITIONAL not in chosen:
        chosen.append(module.POSITIONAL)
    texts = {key: text_for(table[key], dice) for key in chosen}
    texts |= {key: "true" for key in chosen if table[key].is_flag and not table[key].negatable}
    return name, {key: text for key, text in texts.items() if text}


OUTPUTS: list[dict[str, str]] = [
    {}, {}, {}, {"loop": "2"}, {"colors": "16"}, {"comment": 'a "b" c'}, {"palette": "global", "dither": "bayer"},
    {"start": "0.1"}, {"end": "0.4", "strip": "comments"}, {"fps": "5"}, {"format": "webp"}, {"format": "apng"}, {"max-size": "2k"},
]  # fmt: skip


def compare(session: Session, told: Told, chain: Any, output: dict[str, str], forms: tuple[str, ...]) -> bool:
    """Run a job in the page and by its command lines; False where both refuse it."""
    files = {}
    for name in ("logo.png", "words.srt"):
        files[name] = session.holding.add_file(name, [Path(name).read_bytes()])["file"]
    given = [[name, {key: files.get(text, text) for key, text in texts.items()}] for name, texts in chain]
    job = {"source": session.holding.given[len(chain) % 2], "chain": given, "output": output}
    try:
        lines = session.call("command", job)
        answer = session.call("run", job)
    except Exception as error:
        assert type(error).__name__ in ("UsageError", "InputError"), repr(error)
        line = ["gif", "chain", session_chain(chain), CLIPS[len(chain) % 2], "-o", "refused.gif"]
        assert vedit(*line).code in (2, 3)
        return False
    end = answer if "report" in answer else told.end(answer["revision"])
    made = end.get("report") and Path(session.making.path_of(answer["revision"])[0]).read_bytes()
    for form in forms:
        entry = lines["forms"][form]
        if "text" in entry and form == "file":
            Path(entry["name"]).write_text(entry["text"], encoding="utf-8")
        elif "text" in entry:
            os.makedirs(os.environ["VEDIT_CONFIG_DIR"] + "/presets", exist_ok=True)
            Path(f"{os.environ['VEDIT_CONFIG_DIR']}/presets/{entry['name']}.toml").write_text(entry["text"])
        words = shlex.split(entry["posix"])
        assert words[:2] == ["vedit", "gif"]
        result = vedit(*words[1:], "-y")
        if made is None:
            assert result.code == end["error"]["code"], (entry["posix"], result.err, end)
            continue
        assert result.code == 0, (entry["posix"], result.err)
        assert Path(lines["output"]).read_bytes() == made, entry["posix"]
    return made is not None


def session_chain(chain: Any) -> str:
    from vedit.jobs.media.chain import format_chain

    return format_chain([(name, dict(texts)) for name, texts in chain])


def try_some(
    session: Session, seeds: range, forms: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> int:
    monkeypatch.setenv("VEDIT_CONFIG_DIR", str(folder / "config"))
    told = Told(session)
    done = 0
    for seed in seeds:
        dice = random.Random(seed)
        names = [dice.choice(stages.names()) for _ in range(dice.randint(1, 4))]
        chain = [spec_for(name, dice) for name in names]
        done += compare(session, told, chain, dice.choice(OUTPUTS), forms)
    return done


@pytest.mark.parametrize("name", stages.names())
def test_a_download_of_each_stage_is_what_its_command_makes(
    name: str, editor: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDIT_CONFIG_DIR", str(tmp_path / "config"))
    told = Told(editor)
    assert (
        sum(
            compare(editor, told, [spec_for(name, random.Random(seed))], {}, ("command",))
            for seed in range(4)
        )
        >= 1
    )


def test_downloads_of_chains_are_what_their_commands_make(
    editor: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert try_some(editor, range(16), ("command",), monkeypatch, tmp_path) >= 8


def test_files_of_steps_and_presets_make_the_same(
    editor: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert try_some(editor, range(100, 106), ("file", "preset"), monkeypatch, tmp_path) >= 3


@pytest.mark.slow
def test_two_hundred_chains_make_the_same_in_every_form(
    editor: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert try_some(editor, range(1000, 1200), ("command", "file", "preset"), monkeypatch, tmp_path) >= 100


def test_the_line_means_the_same_to_a_shell(editor: Session) -> None:
    """What `shlex` says of quoting is what sh does: newlines, quotes, letters of any script."""
    for text in TEXTS:
        chain = [["watermark", {"text": text, "font-size": "10"}], ["metadata", {"comment": text}]]
        line = editor.call("command", {"source": editor.holding.given[0], "chain": chain, "output": {}})[
            "forms"
        ]["command"]["posix"]
        shown = subprocess.run(
            ["sh", "-c", 'for word in "$@"; do printf \'%s\\0\' "$word"; done', "sh", *shlex.split(line)],
            capture_output=True,
        ).stdout.decode()
        by_shell = subprocess.run(
            ["sh", "-c", f'set -- {line}; for word in "$@"; do printf \'%s\\0\' "$word"; done'],
            capture_output=True,
        ).stdout.decode()
        assert by_shell == shown
        spec = dict(parse_chain(by_shell.split("\0")[3]))
        assert spec["metadata"] == {"comment": text}
        assert spec["watermark"]["text"].replace("\\n", "\n") == text


def test_a_command_for_a_folder_makes_the_same_of_each_clip(editor: Session, tmp_path: Path) -> None:
    told = Told(editor)
    chain = [["crop", {"left": "10%"}], ["speed", {"factor": "2"}]]
    os.mkdir("clips")
    for name in CLIPS:
        Path("clips", name).write_bytes(Path(name).read_bytes())
    jobs = [{"source": id, "chain": chain, "output": {}} for id in editor.holding.given]
    line = editor.call("command", jobs[0])["forms"]["folder"]["posix"]
    assert vedit(*shlex.split(line)[1:]).code == 0
    for name, job in zip(CLIPS, jobs, strict=True):
        revision = editor.call("run", job)["revision"]
        assert "report" in told.end(revision)
        assert Path("done", name).read_bytes() == Path(editor.making.path_of(revision)[0]).read_bytes()


def test_settings_of_the_user_do_not_make_another_file_of_the_shown_line(
    editor: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of one stage takes the user's defaults; the page, which does not, then shows a chain."""
    monkeypatch.setenv("VEDIT_GIF_RESIZE_FILTER", "nearest")
    monkeypatch.setenv("VEDIT_GIF_CHAIN_COLORS", "4")
    told = Told(editor)
    job = {"source": editor.holding.given[0], "chain": [["resize", {"width": "50"}]], "output": {}}
    line = editor.call("command", job)["forms"]["command"]["posix"]
    assert line.startswith("vedit gif chain ") and "--colors 256" in line
    revision = editor.call("run", job)["revision"]
    assert "report" in told.end(revision)
    assert vedit(*shlex.split(line)[1:]).code == 0
    assert Path("ok_plain-edited.gif").read_bytes() == Path(editor.making.path_of(revision)[0]).read_bytes()


def test_an_option_that_is_changed_changes_the_line_by_that_option_alone(editor: Session) -> None:
    def words(**texts: str) -> list[str]:
        job = {"source": None, "chain": [["adjust", texts]], "output": {}}
        return shlex.split(editor.call("command", job)["forms"]["command"]["posix"])

    for option in stages.load("adjust").OPTIONS:
        if option.name == "pivot":
            continue
        bare, more = words(pivot="mean"), words(pivot="mean", **{option.name: "2"})
        assert [word for word in more if word not in bare] == [f"--{option.name}", "2"]
        assert words(pivot="mean", **{option.name: "1"}) == bare


if sys.platform != "win32":

    def test_a_name_with_a_dash_in_front_is_a_file(editor: Session, tmp_path: Path) -> None:
        Path("-x.gif").write_bytes(Path(CLIPS[0]).read_bytes())
        with_dash = editor.holding.add_source("-x.gif", [Path("-x.gif").read_bytes()])["source"]
        job = {"source": with_dash, "chain": [["rotate", {"angle": "90"}]], "output": {}}
        line = editor.call("command", job)["forms"]["command"]["posix"]
        assert vedit(*shlex.split(line)[1:]).code == 0
