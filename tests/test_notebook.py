"""The editor's widget, without a browser: what it answers to messages of the page."""

from __future__ import annotations

import builtins
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vedit.errors import InputError, ModelError, UsageError


@pytest.fixture
def GifEditor() -> Any:
    pytest.importorskip("anywidget", reason="needs: pip install 'vedit[notebook]'")
    from vedit.notebook import GifEditor

    return GifEditor


def images() -> np.ndarray[Any, Any]:
    return np.stack([np.full((40, 50, 3), shade, np.uint8) for shade in (0, 50, 100)])


def ask(editor: Any, sent: list[Any], call: str, args: dict[str, Any], *buffers: bytes) -> Any:
    """The answer to a message of the page."""
    editor._answer(editor, {"id": 7, "call": call, "args": args}, [memoryview(data) for data in buffers])
    return next(message for message in reversed(sent) if message.get("id") == 7)


def test_an_array_is_edited_by_messages_and_the_result_saved(GifEditor: Any, tmp_path: Path) -> None:
    editor = GifEditor(images(), chain="rotate:90", delays=[5, 6, 7])
    sent: list[Any] = []
    editor.send = lambda message, buffers=None: sent.append({**message, "buffers": buffers})
    state = ask(editor, sent, "call", {"kind": "session"})["answer"]
    source = state["sources"][0]
    assert state["chain"] == [["rotate", {"angle": "90"}]]
    job = {"source": source["source"], "chain": state["chain"], "output": {}, "page": "x"}
    assert ask(editor, sent, "call", {"kind": "command", "args": job})["answer"]["chain"] == editor.chain
    assert editor.chain == "rotate:angle=90"
    revision = ask(editor, sent, "call", {"kind": "run", "args": job})["answer"]["revision"]
    for thread in list(editor._session.making.threads):
        thread.join(timeout=20)
    assert editor.report["size_out"] == [40, 50]
    assert editor.report["facts"]["delays_cs"] == [5, 6, 7]
    piece = ask(editor, sent, "read", {"id": revision, "from": 0, "count": 10**9})
    assert piece["buffers"] == [editor.result]
    assert piece["answer"] == {"size": len(editor.result), "type": "image/gif"}
    editor.save(tmp_path / "out.gif")
    assert (tmp_path / "out.gif").read_bytes() == editor.result
    editor.close()


def made(editor: Any, sent: list[Any], chain: list[Any]) -> dict[str, Any]:
    """The report of a result that the page asks for."""
    source = ask(editor, sent, "call", {"kind": "session"})["answer"]["sources"][0]["source"]
    job = {"source": source, "chain": chain, "output": {}, "page": "x"}
    ask(editor, sent, "call", {"kind": "run", "args": job})
    for thread in list(editor._session.making.threads):
        thread.join(timeout=20)
    return dict(editor.report)


@pytest.mark.parametrize("channels", [3, 4])
def test_an_array_keeps_every_colour_and_its_times_until_the_result_is_made(
    GifEditor: Any, channels: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50, channels), np.uint8)
    editor = GifEditor(pixels, delays=[5, 6, 7])
    sent: list[Any] = []
    editor.send = lambda message, buffers=None: sent.append({**message, "buffers": buffers})
    source = ask(editor, sent, "call", {"kind": "session"})["answer"]["sources"][0]["source"]
    times = ask(editor, sent, "call", {"kind": f"timeline/{source}"})["answer"]
    assert times["delays_cs"] == [5, 6, 7]
    for number in (1, 2, 3):
        [data] = ask(editor, sent, "frame", {"id": source, "number": number})["buffers"]
        with Image.open(io.BytesIO(data)) as picture:
            shown = np.asarray(picture.convert("RGBA"))[..., :channels]
        assert (shown == pixels[number - 1]).all()
    editor.close()


def test_the_result_of_an_array_is_what_our_writer_makes_of_it(GifEditor: Any, tmp_path: Path) -> None:
    from vedit.jobs.clips import write_frames

    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8)
    editor = GifEditor(pixels, delays=[5, 6, 7])
    sent: list[Any] = []
    editor.send = lambda message, buffers=None: sent.append(message)
    made(editor, sent, [])
    write_frames(pixels, [5, 6, 7], str(tmp_path / "out.gif"))
    assert editor.result == (tmp_path / "out.gif").read_bytes()
    editor.close()


def test_the_notebook_keeps_a_small_result_whole_and_of_a_large_one_the_first_image(
    GifEditor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vedit import notebook

    editor = GifEditor(images())
    sent: list[Any] = []
    editor.send = lambda message, buffers=None: sent.append(message)
    made(editor, sent, [])
    assert editor.get_state()["_picture"] == editor.result
    monkeypatch.setattr(notebook, "SHOWN", 10)
    made(editor, sent, [["rotate", {"angle": "90"}]])
    with Image.open(io.BytesIO(editor.get_state()["_picture"])) as picture:
        assert (picture.format, picture.size) == ("WEBP", (40, 50))
    editor.close()


def test_a_chain_that_is_set_is_told_to_the_page(GifEditor: Any) -> None:
    editor = GifEditor(images())
    sent: list[Any] = []
    editor.send = lambda message, buffers=None: sent.append(message)
    editor.chain = "crop:auto"
    assert sent == [{"chain": [["crop", {"auto": "true"}]]}]
    editor.close()


def test_a_file_comes_in_pieces_and_a_refused_one_is_told(GifEditor: Any) -> None:
    editor = GifEditor()
    sent: list[Any] = []
    editor.send = lambda message, buffers=None: sent.append(message)
    upload = ask(editor, sent, "begin", {"kind": "source", "name": "x.gif", "bytes": 6})["answer"]["upload"]
    ask(editor, sent, "chunk", {"upload": upload, "number": 0}, b"GIF")
    ask(editor, sent, "chunk", {"upload": upload, "number": 1}, b"no!")
    error = ask(editor, sent, "end", {"upload": upload})["error"]
    assert "x.gif" in error["text"] and error["code"] == 3
    editor.close()


def test_what_cannot_be_edited_is_refused(GifEditor: Any) -> None:
    with pytest.raises(InputError, match="40x50x3 uint8"):
        GifEditor(images()[0])
    with pytest.raises(InputError, match="2 delays for 3 images"):
        GifEditor(images(), delays=[1, 2])
    with pytest.raises(InputError, match="a delay is -1 cs"):
        GifEditor(images(), delays=-1)
    with pytest.raises(InputError, match="0x40x50x3"):
        GifEditor(images()[:0])
    with pytest.raises(UsageError, match="given together"):
        GifEditor(chain="rotate:90", preset="web-small")


def test_the_page_is_one_module_without_imports_and_names_everything_it_uses(GifEditor: Any) -> None:
    from vedit.notebook import STATIC, bundle, needed

    text = bundle()
    assert "\nimport " not in text and text.count("\nexport ") == 1
    assert {path.stem for path in STATIC.glob("*.js")} == {*needed("widget"), "start"}


def test_without_anywidget_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str, *args: Any, **more: Any) -> Any:
        if name == "anywidget":
            raise ImportError(name)
        return real(name, *args, **more)

    real = builtins.__import__
    monkeypatch.delitem(sys.modules, "vedit.notebook", raising=False)
    monkeypatch.setattr(builtins, "__import__", refused)
    with pytest.raises(ModelError, match="needs anywidget") as raised:
        import vedit.notebook  # noqa: F401
    assert "pip install 'vedit[notebook]'" in str(raised.value)
