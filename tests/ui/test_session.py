"""The editor without a server, as the notebook has it."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import NASTY
from tests.ui.test_exact import Told
from vedit.errors import InputError, UsageError, VeditError
from vedit.jobs.media.gif import stages_of
from vedit.media.run import Settings, run_file
from vedit.ui.asked import InTheWay, Missing, NotUnderstood
from vedit.ui.session import Session
from vedit.ui.shelf import Shelf
from vedit.ui.work import PageSink, Run, Superseded

PLAIN = NASTY / "ok_plain.gif"


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("VEDIT_CONFIG_DIR", str(tmp_path / "config"))
    session = Session(Shelf(2**30, str(tmp_path)), [str(PLAIN)])
    yield session
    session.close()


def job(editor: Session, *chain: Any, **more: Any) -> dict[str, Any]:
    return {"source": editor.holding.given[0], "chain": list(chain), "output": {}, **more}


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def composed(path: str | Path) -> list[np.ndarray[Any, Any]]:
    """All pictures of a GIF as Pillow composes them."""
    found = []
    with Image.open(path) as clip:
        for place in range(clip.n_frames):  # type: ignore[attr-defined]
            clip.seek(place)
            found.append(np.asarray(clip.convert("RGBA")))
    return found


def test_frames_of_a_source_are_its_own_to_the_pixel_in_any_order(editor: Session) -> None:
    wanted = composed(PLAIN)
    for number in (1, 2, 6, 3, 3, 1, 5):
        shown = pixels(editor.frame(editor.holding.given[0], number))
        opaque = wanted[number - 1][..., 3] == 255
        assert (shown[opaque] == wanted[number - 1][opaque]).all()
    with pytest.raises(Missing, match="no image 7"):
        editor.frame(editor.holding.given[0], 7)


def test_a_frame_under_a_chain_needs_no_result(editor: Session) -> None:
    planned = editor.call(
        "plan", job(editor, ["crop", {"left": "16", "top": "8"}], ["rotate", {"angle": "90"}])
    )
    assert planned["size_out"] == [40, 48]
    shown = pixels(editor.frame(planned["revision"], 2))
    wanted = np.rot90(composed(PLAIN)[1][8:, 16:], -1)
    assert (
        shown.shape == wanted.shape and (shown[wanted[..., 3] == 255] == wanted[wanted[..., 3] == 255]).all()
    )


def test_a_frame_shows_the_result_itself_once_there_is_one(editor: Session) -> None:
    told = Told(editor)
    asked = job(editor, ["resize", {"width": "32"}], output={"colors": "2"})
    planned = editor.call("plan", asked)["revision"]
    before = pixels(editor.frame(planned, 1))
    assert editor.call("run", asked)["revision"] == planned
    assert "report" in told.end(planned)
    after = pixels(editor.frame(planned, 1))
    assert len(np.unique(before.reshape(-1, 4), axis=0)) > len(np.unique(after.reshape(-1, 4), axis=0))


def test_thumbs_stand_side_by_side_and_stop_at_the_end(editor: Session) -> None:
    sheet = Image.open(io.BytesIO(editor.thumbs(editor.holding.given[0], 5, 4, 24)))
    assert sheet.size == (4 * 32, 24)
    shown = np.asarray(sheet.convert("RGBA"))
    assert shown[:, :64, 3].any() and not shown[:, 64:, 3].any()


def test_a_timeline_adds_up(editor: Session) -> None:
    planned = editor.call(
        "plan", job(editor, ["delay", {"rules": "1=7 2=3 last=20"}], ["resize", {"width": "20"}])
    )
    assert editor.call("timeline", {"id": planned["revision"]}) == {
        "images": 6,
        "delays_cs": [7, 3, 10, 10, 10, 20],
        "starts_cs": [0, 7, 10, 20, 30, 40],
        "duration_cs": 60,
    }


@pytest.mark.parametrize(
    ("chain", "stage", "box", "size"),
    [
        ([["crop", {"rect": "20x10+3+4"}]], 0, [3, 4, 20, 10], (64, 48)),
        ([["rotate", {"angle": "90"}], ["crop", {"left": "25%"}]], 1, [12, 0, 36, 64], (48, 64)),
        (
            [["watermark", {"image": "LOGO", "position": "top-left", "margin": "2"}]],
            0,
            [2, 2, 9, 5],
            (64, 48),
        ),
        ([["watermark", {"image": "LOGO", "at": "60,40"}]], 0, [60, 40, 9, 5], (64, 48)),
        ([["blur", {"rect": "10x8+1+2"}]], 0, [1, 2, 10, 8], (64, 48)),
        ([["rotate", {"angle": "90"}]], 0, None, (64, 48)),
    ],
)
def test_a_stage_tells_what_it_marks_on_its_input(
    chain: list[Any], stage: int, box: list[int] | None, size: tuple[int, int], editor: Session
) -> None:
    logo = io.BytesIO()
    Image.new("RGBA", (9, 5), "red").save(logo, "png")
    id = editor.holding.add_file("logo.png", [logo.getvalue()])["file"]
    asked = [
        [name, {key: id if text == "LOGO" else text for key, text in texts.items()}] for name, texts in chain
    ]
    found = editor.call("measure", job(editor, *asked, stage=stage))
    assert (found["width"], found["height"]) == size
    assert found["boxes"] == ([] if box is None else [box])


def test_the_border_that_auto_finds_is_measured(editor: Session, tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 20), "white")
    picture.paste("red", (5, 6, 12, 16))
    picture.save(tmp_path / "border.gif")
    source = editor.holding.add_source("border.gif", [(tmp_path / "border.gif").read_bytes()])["source"]
    found = editor.call(
        "measure", {"source": source, "chain": [["crop", {"auto": "true"}]], "output": {}, "stage": 0}
    )
    assert found["boxes"] == [[5, 6, 7, 10]]


def test_warnings_stand_at_the_stage_that_they_are_about(editor: Session) -> None:
    told = Told(editor)
    chain = [["rotate", {"angle": "90"}], ["watermark", {"text": "a long text", "font-size": "50"}]]
    answer = editor.call("run", job(editor, *chain, output={"start": "0.1"}))
    report = told.end(answer["revision"])["report"]
    warning = next(entry for entry in report["warnings"] if "clipped" in entry["text"])
    assert warning["stage"] == 1 and str(PLAIN) not in warning["text"]


def test_an_error_in_the_middle_of_work_stands_at_its_stage(editor: Session) -> None:
    told = Told(editor)
    chain = [["rotate", {"angle": "90"}], ["crop", {"rect": "9x9+900+0"}]]
    answer = editor.call("run", job(editor, *chain, output={"start": "0.1"}, first=3))
    error = told.end(answer["revision"])["error"]
    assert (error["stage"], error["code"]) == (1, 2) and "lies outside the 48x64 canvas" in error["text"]


def test_a_part_is_made_of_the_first_images_alone_and_the_command_is_of_all(editor: Session) -> None:
    told = Told(editor)
    part = job(editor, ["rotate", {"angle": "90"}], first=2)
    answer = editor.call("run", part)
    report = told.end(answer["revision"])["report"]
    assert (report["images"], report["is_part"]) == (2, True)
    whole = editor.call("run", job(editor, ["rotate", {"angle": "90"}]))
    assert whole["revision"] != answer["revision"]
    assert editor.call("command", part)["forms"]["command"]["posix"].startswith(
        "vedit gif rotate --angle 90 "
    )
    told.end(whole["revision"])


@pytest.mark.parametrize(
    "text", ["/etc/passwd", "logo.png", "upload:", "upload:../../x", "upload:0123456789abcdef", ""]
)
def test_no_path_from_the_page_reaches_a_file(text: str, editor: Session) -> None:
    for kind in ("run", "plan", "command", "measure"):
        with pytest.raises(UsageError, match="no such file here") as raised:
            editor.call(kind, job(editor, ["watermark", {"image": text}], stage=0))
        assert (raised.value.stage, raised.value.option) == (0, "image")
    with pytest.raises(UsageError, match="no such file here"):
        editor.call("run", job(editor, output={"subtitles": text or "x"}))
    with pytest.raises(VeditError):
        editor.call("preset", {"name": "mine", "chain": [["watermark", {"font": text, "text": "a"}]]})


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"source": 5, "chain": []},
        {"source": ["x"], "chain": []},
        {"chain": {}},
        {"chain": [["rotate"]]},
        {"chain": [["rotate", []]]},
        {"chain": [["rotate", {"angle": 90}]]},
        {"chain": [[5, {}]]},
        {"chain": [["rotate", {}]] * 101},
        {"chain": [], "output": "gif"},
        {"chain": [], "output": {"format": 5}},
        {"chain": [], "first": -1},
        {"chain": [], "first": "3"},
        {"chain": [], "page": "x" * 41},
        {"chain": [], "page": 5},
    ],
)
def test_what_is_not_a_job_is_not_understood(args: dict[str, Any], editor: Session) -> None:
    with pytest.raises((NotUnderstood, Missing)):
        editor.call("run", {"source": editor.holding.given[0], **args})


def test_presets_go_and_come_under_their_names(editor: Session) -> None:
    chain = [
        ["resize", {"width": "50", "only-shrink": "true"}],
        ["watermark", {"text": "a 'b'", "font-size": "12"}],
    ]
    assert editor.call("preset", {"name": "mine", "chain": chain}) == {"name": "mine"}
    assert editor.call("load_preset", {"name": "mine"})["chain"] == chain
    assert {"name": "mine", "summary": "", "is_own": True} in editor.call("presets", {})
    with pytest.raises(InTheWay):
        editor.call("preset", {"name": "mine", "chain": chain})
    editor.call("preset", {"name": "mine", "chain": chain[:1], "overwrite": True})
    assert editor.call("load_preset", {"name": "mine"})["chain"] == chain[:1]


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "x.toml", "", "a b", "a/b"])
def test_a_presets_name_is_no_path(name: str, editor: Session, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        editor.call("preset", {"name": name, "chain": [["rotate", {"angle": "90"}]]})
    with pytest.raises(Missing):
        editor.call("load_preset", {"name": name})
    assert not (tmp_path / "config").exists() or os.listdir(tmp_path / "config") in ([], ["presets"])


def test_a_file_that_changes_on_disk_is_another_source(editor: Session, tmp_path: Path) -> None:
    path = tmp_path / "mine.gif"
    path.write_bytes(PLAIN.read_bytes())
    session = Session(Shelf(2**30, str(tmp_path)), [str(path)])
    first = session.call("plan", job(session, ["rotate", {"angle": "90"}]))["revision"]
    assert session.call("plan", job(session, ["rotate", {"angle": "90", "flip": "h"}]))["revision"] != first
    said = ["rotate", {"keep-interlace": "false", "angle": "90"}]  # which means the same
    assert session.call("plan", job(session, said))["revision"] == first
    path.write_bytes((NASTY / "ok_first_smaller.gif").read_bytes())
    assert session.call("plan", job(session, ["rotate", {"angle": "90"}]))["revision"] != first
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        session.call("plan", job(session, ["rotate", {"angle": "90"}]))
    session.close()


def test_messages_never_say_where_uploads_lie(editor: Session, tmp_path: Path) -> None:
    broken = PLAIN.read_bytes()[:-40]
    source = editor.holding.add_source("half.gif", [broken])["source"]
    told = Told(editor)
    revision = editor.call("run", {"source": source, "chain": [["rotate", {"angle": "90"}]], "output": {}})[
        "revision"
    ]
    end = told.end(revision)
    assert end["report"]["warnings"] and str(tmp_path) not in str(end)
    with pytest.raises(InputError) as raised:
        editor.holding.add_source("no.gif", [b"GIF89a"])
    assert str(raised.value).startswith("no.gif: ") and str(tmp_path) not in str(raised.value)
    logo = editor.holding.add_file("logo.png", [b"not a picture"])["file"]
    answer = editor.call("run", {"source": source, "chain": [["watermark", {"image": logo}]], "output": {}})
    error = told.end(answer["revision"])["error"]
    assert "logo.png" in error["text"] and str(tmp_path) not in error["text"]


def test_a_session_may_be_used_from_many_threads(editor: Session) -> None:
    told, wrong = Told(editor), []

    def work(number: int) -> None:
        try:
            chain = ["resize", {"width": str(20 + number)}]
            answer = editor.call("run", job(editor, chain, page=str(number)))
            editor.frame(answer["revision"], 1 + number % 6)
            assert told.end(answer["revision"])["report"]["size_out"][0] == 20 + number
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_films_come_in_and_go_out(editor: Session, tmp_path: Path) -> None:
    told = Told(editor)
    answer = editor.call("run", job(editor, ["speed", {"factor": "2"}], output={"format": "mp4"}))
    report = told.end(answer["revision"])["report"]
    assert (report["format"], report["facts"]["video"]["codec"], report["name"]) == (
        "mp4",
        "h264",
        "ok_plain-edited.mp4",
    )
    film = Path(editor.making.path_of(answer["revision"])[0]).read_bytes()
    source = editor.holding.add_source("film.mp4", [film])
    assert source["facts"]["format"].startswith("mov") or source["facts"]["format"] == "mp4"
    times = editor.call("timeline", {"id": source["source"]})
    assert times["images"] == 6 and times["duration_cs"] == pytest.approx(30, abs=2)
    assert pixels(editor.frame(source["source"], 6)).shape[:2] == (48, 64)


def test_subtitles_stand_in_the_command_under_the_users_name(tmp_path: Path) -> None:
    target = tmp_path / "out.gif"
    session = Session(Shelf(2**30, str(tmp_path)), [str(PLAIN)], mode="file", target=str(target))
    words = b"1\n00:00:00,000 --> 00:00:00,300\nhello\n"
    id = session.holding.add_file("my words.srt", [words])["file"]
    again = session.holding.add_file("other.srt", [words])["file"]
    told = Told(session)
    asked = job(session, ["rotate", {"angle": "90"}], output={"subtitles": id, "start": "0.1"})
    lines = session.call("command", asked)
    assert lines["notes"] == ["my words.srt is the file that you chose here."]
    revision = session.call("run", asked)["revision"]
    assert "report" in told.end(revision)
    done = session.call("done", {"revision": revision})
    assert (
        done["command"] == lines["forms"]["command"]["posix"]
        and "--subtitles 'my words.srt'" in done["command"]
    )
    assert target.read_bytes() == Path(session.making.path_of(revision)[0]).read_bytes()
    assert (
        session.call("plan", {**asked, "output": {"subtitles": again, "start": "0.1"}})["revision"]
        == revision
    )
    session.close()


def test_a_run_ends_while_a_stage_looks_at_the_clip(editor: Session) -> None:
    """What `crop --auto` looks at is not the result yet, and may take as long."""
    found = editor.making.job(job(editor, ["crop", {"auto": "true"}], ["resize", {"width": "20"}]))
    run = Run(found, "")
    seen = 0

    def noted(frames: Any) -> Any:
        nonlocal seen
        for frame in PageSink(run, str, lambda event: None).look(frames):
            seen += 1
            run.is_over.set()
            yield frame

    request = found.request(str(Path(editor.shelf.folder) / "x.gif"))
    settings = Settings(look=noted)
    with pytest.raises(Superseded):
        run_file(found.source.path, request.output, stages_of(request)(request.output), settings)
    assert seen == 1 and not os.path.exists(request.output)


def test_a_stage_that_breaks_is_told_and_leaves_nothing_and_the_editor_goes_on(
    editor: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vedit.stages.rotate import Rotate

    def breaks(*_: Any) -> Any:
        raise RuntimeError("broken")
        yield

    told = Told(editor)
    with monkeypatch.context() as patched:
        patched.setattr(Rotate, "run", breaks)
        answer = editor.call("run", job(editor, ["rotate", {"angle": "90"}]))
        error = told.end(answer["revision"])["error"]
    assert error["code"] == 1 and "RuntimeError: broken" in error["text"]
    assert os.listdir(editor.shelf.folder) == ["owner"]
    again = editor.call("run", job(editor, ["rotate", {"angle": "270"}]))
    assert told.end(again["revision"])["report"]["size_out"] == [48, 64]


def test_a_wished_size_is_met_and_the_report_says_how(editor: Session, tmp_path: Path) -> None:
    told = Told(editor)
    picture = Image.effect_noise((60, 40), 80)
    picture.save(tmp_path / "noise.gif")
    source = editor.holding.add_source("noise.gif", [(tmp_path / "noise.gif").read_bytes()])["source"]
    answer = editor.call("run", {"source": source, "chain": [], "output": {"max-size": "1k"}})
    report = told.end(answer["revision"])["report"]
    assert report["bytes_out"] <= 1000 and report["setting"]
    wrong = editor.call("run", {"source": source, "chain": [], "output": {"max-size": "small"}})
    assert told.end(wrong["revision"])["error"]["code"] == 2
