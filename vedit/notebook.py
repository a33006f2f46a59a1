"""The GIF editor in a cell of a notebook.

    from vedit.notebook import GifEditor

    editor = GifEditor("cat.gif")
    editor                      # the page of `vedit gif serve`
    editor.result, editor.chain, editor.command
    editor.save("small.gif")

The page is that of `vedit.ui`; it talks to a `Session` in the kernel through the widget's own channel, in
pieces of at most 4 MB, so that it works where a browser reaches no port of the machine.
"""

from __future__ import annotations

import mimetypes
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vedit.errors import InputError, ModelError, OutputError, UsageError, VeditError
from vedit.jobs.media.chain import format_chain, parse_chain
from vedit.ui.session import Session
from vedit.ui.shelf import Shelf

try:
    import anywidget
    import traitlets
except ImportError:
    raise ModelError(
        "the editor in a notebook needs anywidget, which is not installed.",
        "",
        "Run: pip install 'vedit[notebook]'",
    ) from None

if TYPE_CHECKING:
    import numpy as np

MADE = "clip.apng"  # what an array is called
SHOWN = 2**20  # bytes of a result that the notebook keeps, to be looked at without a kernel
PICTURES = ("gif", "apng", "webp", "avif")  # that browsers play
PIECE = 4 * 2**20  # bytes of one message
CACHE = 2 * 2**30  # of results on disk
MAX_UPLOAD = 2 * 2**30
STATIC = Path(__file__).parent / "ui" / "static"


def bundle() -> str:
    """The page's modules as the one module that a widget may have, each in a scope of its own."""
    names = [name for name in needed("widget") if name != "widget"]
    parts = [f"const ${name} = (() => {{\n{_as_function(name)}\n}})();" for name in names]
    return "\n".join([*parts, _imports_replaced(_text("widget"))])


def needed(name: str) -> list[str]:
    """A module and those that it imports, each behind what it needs itself."""
    found: dict[str, None] = {}
    for other in re.findall(r'^import .* from "\./(\w+)\.js";$', _text(name), re.M):
        found |= dict.fromkeys(needed(other))
    return [*found, name]


def _text(name: str) -> str:
    return (STATIC / f"{name}.js").read_text(encoding="utf-8")


def _as_function(name: str) -> str:
    text = _text(name)
    exported = re.findall(r"^export (?:const|class) (\w+)", text, re.M)
    body = re.sub(r"^export (?=const|class)", "", _imports_replaced(text), flags=re.M)
    return f"{body}\nreturn {{ {', '.join(exported)} }};"


def _imports_replaced(text: str) -> str:
    return re.sub(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', r"const \1 = $\2;", text, flags=re.M)


class GifEditor(anywidget.AnyWidget):
    """An editor of one clip, as a widget.

    source: a file, the bytes of one, or images (F, H, W, 3 or 4) of uint8 with `delays` in centiseconds, one
    for all or one each, of which no colour is lost; without it the page asks for a file. chain: what
    `vedit gif chain` takes. preset: the name of one. height: of the cell, in pixels.

    chain can be set, too; result (bytes), report and command follow what the page shows, and can be observed:
    `editor.observe(act, "result")`.
    """

    _esm = bundle()
    _style = traitlets.Unicode((STATIC / "page.css").read_text(encoding="utf-8")).tag(sync=True)
    _picture = traitlets.Bytes(b"").tag(sync=True)
    height = traitlets.Int(640).tag(sync=True)
    chain = traitlets.Unicode("").tag(sync=True)
    command = traitlets.Unicode("").tag(sync=True)
    report = traitlets.Dict().tag(sync=True)
    result = traitlets.Bytes(b"")

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes | np.ndarray[Any, Any] | None = None,
        chain: str | None = None,
        preset: str | None = None,
        height: int = 640,
        *,
        delays: int | Sequence[int] = 10,
    ) -> None:
        if chain and preset:
            raise UsageError("chain and preset were given together.", "Give one of them.")
        self._told: str = ""  # the chain that the page has
        self._uploads: dict[int, tuple[str, str, IO[bytes]]] = {}
        self._wanted = ""  # the revision that the page shows next
        files = [os.fspath(source)] if isinstance(source, (str, os.PathLike)) else []
        self._session = Session(Shelf(CACHE), files, preset=preset, max_upload=MAX_UPLOAD)
        if chain:
            self._session.chain = parse_chain(chain)
        if source is not None and not files:
            self._session.holding.given.append(self._added(source, delays))
        self._session.listen(self._heard)
        super().__init__(height=height, chain=_written(self._session.chain))
        self._told = self.chain
        self.on_msg(self._answer)

    def _added(self, source: Any, delays: int | Sequence[int]) -> str:
        if isinstance(source, (bytes, bytearray, memoryview)):
            return str(self._session.holding.add_source("clip.gif", [bytes(source)])["source"])
        return str(self._session.holding.add_source(MADE, [_without_loss(source, delays)])["source"])

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write the result to a file. Raises UsageError where there is none yet, OutputError for one that
        exists.
        """
        from vedit.media.atomic import check_output, open_output

        if not self.result:
            raise UsageError("there is no result yet.", "Wait until the page shows one.")
        target = os.fspath(path)
        check_output(target, (), overwrite)
        with open_output(target) as stream:
            stream.write(self.result)

    def close(self) -> None:
        """Take the widget away, and the files that it keeps."""
        super().close()
        if "_session" in vars(self):  # what was refused at the start is closed, too
            self._session.close()

    # --- what the page asks --------------------------------------------------------------------------

    def _answer(self, _: Any, message: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """Answer a message of the page: see `overModel` in transport.js."""
        id, args = message.get("id"), message.get("args") or {}
        try:
            answer, sent = self._asked(str(message.get("call")), args, buffers)
            self.send({"id": id, "answer": answer}, sent)
        except VeditError as error:
            self.send({"id": id, "error": self._session.told(error)})
        except OSError as error:
            self.send(
                {"id": id, "error": self._session.told(OutputError(f"cannot keep it: {error.strerror}."))}
            )

    def _asked(
        self, call: str, args: Mapping[str, Any], buffers: Sequence[memoryview]
    ) -> tuple[Any, list[bytes]]:
        match call:
            case "call":
                return self._called(str(args.get("kind")), args.get("args") or {}), []
            case "begin":
                return self._begun(args), []
            case "chunk":
                self._uploads[args["upload"]][2].write(buffers[0])
                return {}, []
            case "end":
                return self._ended(args["upload"]), []
            case "read":
                return self._read(str(args["id"]), int(args["from"]), min(int(args["count"]), PIECE))
            case "frame":
                return {}, [self._session.frame(str(args["id"]), int(args["number"]))]
            case "thumbs":
                part = int(args["from"]), int(args["count"]), int(args["height"])
                return {}, [self._session.thumbs(str(args["id"]), *part)]
        raise InputError(f"there is no call {call!r}.")

    def _called(self, kind: str, args: Mapping[str, Any]) -> Any:
        name, _, rest = kind.partition("/")
        if rest:  # an address, as the page has it
            kind, args = {"preset": ("load_preset", {"name": rest})}.get(name, (name, {"id": rest}))
        answer = self._session.call(kind, args)
        if kind == "command":
            self._told = answer["chain"] if args.get("chain") else ""
            self.chain = self._told
            self.command = answer["forms"]["command"]["posix"]
        if kind == "run":
            self._wanted = answer["revision"]
            if "report" in answer:
                self._take(answer["revision"], answer["report"])
        return answer

    def _begun(self, args: Mapping[str, Any]) -> dict[str, int]:
        if int(args["bytes"]) > MAX_UPLOAD:
            raise InputError(f"{args['name']} is too large: at most {MAX_UPLOAD} bytes are taken.")
        number = len(self._uploads) + 1
        self._uploads[number] = str(args["kind"]), str(args["name"]), tempfile.TemporaryFile()
        return {"upload": number}

    def _ended(self, number: int) -> Any:
        kind, name, stream = self._uploads[number]
        with stream:
            stream.seek(0)
            chunks = iter(lambda: stream.read(PIECE), b"")
            add = self._session.holding.add_source if kind == "source" else self._session.holding.add_file
            return add(name, chunks)

    def _read(self, id: str, begin: int, count: int) -> tuple[dict[str, Any], list[bytes]]:
        path, name = self._session.making.path_of(id)
        with open(path, "rb") as stream:
            stream.seek(begin)
            data = stream.read(count)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return {"size": os.path.getsize(path), "type": kind}, [data]

    # --- what the page hears -------------------------------------------------------------------------

    def _heard(self, event: Mapping[str, Any]) -> None:
        if "report" in event and event["revision"] == self._wanted:
            self._take(event["revision"], event["report"])
        self.send({"event": dict(event)})

    def _take(self, revision: str, report: dict[str, Any]) -> None:
        path, _ = self._session.making.path_of(revision)
        with open(path, "rb") as stream:
            result = stream.read()
        moves = report["format"] in PICTURES and len(result) <= SHOWN
        self._picture = result if moves else self._session.frame(revision, 1)
        self.report = report
        self.result = result

    @traitlets.observe("chain")
    def _wish(self, change: Any) -> None:
        """Tell the page of a chain that was set here."""
        if change["new"] == self._told:
            return
        specs = parse_chain(change["new"]) if change["new"].strip() else []
        self._told = change["new"]
        self.send({"chain": [list(spec) for spec in specs]})


def _written(specs: Sequence[tuple[str, dict[str, str]]]) -> str:
    return format_chain(specs) if specs else ""


def _without_loss(images: Any, delays: int | Sequence[int]) -> bytes:
    """Images as an animated PNG, so that colours are chosen once, for the result. Raises InputError for
    another shape or type.
    """
    import numpy as np

    from vedit.jobs.clips import write_frames

    array = np.asarray(images)
    if array.ndim != 4 or array.shape[3] not in (3, 4) or array.dtype != np.uint8 or not array.size:
        shape = "x".join(map(str, array.shape))
        raise InputError(
            f"the source is an array of {shape} {array.dtype}.", "Images are (F, H, W, 3 or 4) of uint8."
        )
    times = [int(delays)] * len(array) if isinstance(delays, (int, np.integer)) else list(map(int, delays))
    if len(times) != len(array):
        raise InputError(f"there are {len(times)} delays for {len(array)} images.", "Give one for each.")
    if min(times) < 0:
        raise InputError(f"a delay is {min(times)} cs.", "Delays are 0 or more.")
    with tempfile.TemporaryDirectory(prefix="vedit-") as folder:
        write_frames(array, times, os.path.join(folder, MADE))
        return Path(folder, MADE).read_bytes()
