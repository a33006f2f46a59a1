"""What the editor can do, without a server: `protocol` says what goes in and out.

`holding` has what came in, `making` the runs, `looks` single images, `keeping` what is done with results.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from vedit import __version__
from vedit.errors import VeditError
from vedit.ui.asked import Answer, Args, Missing, text_of
from vedit.ui.controls import FORMAT, controls
from vedit.ui.holding import Holding
from vedit.ui.keeping import Keeping, presets
from vedit.ui.looks import Looks
from vedit.ui.making import Making
from vedit.ui.shelf import Shelf
from vedit.ui.work import Event, Job, aim_at

Listener = Callable[[Event], None]


class Session:
    """One editor.

    files: clips that are read in place. mode: "file" where the result is to be written to `target`, "folder"
    where results may be saved into it, else "". preset: whose stages the page begins with. max_upload: bytes.
    """

    def __init__(
        self,
        shelf: Shelf,
        files: Sequence[str] = (),
        *,
        mode: str = "",
        target: str = "",
        preset: str | None = None,
        max_upload: int = 2 * 2**30,
    ) -> None:
        self.shelf, self.mode, self.max_upload = shelf, mode, max_upload
        self.lock = threading.Lock()
        self.listeners: list[Listener] = []
        self.ended: Answer | None = None  # what the command prints, once the page is done
        self.on_end: Callable[[], None] = lambda: None
        aim = self.aim = aim_at(mode, target)
        self.holding = Holding(shelf, files, max_upload)
        self.making = Making(self.holding, aim, self.emit)
        self.keeping = Keeping(self.holding, self.making, aim, self._ended)
        self.looks = Looks(self.making.opened, self.making.key)
        self.chain = self.keeping.of_preset(preset) if preset else []
        self.calls: dict[str, Callable[[Args], Any]] = {
            "controls": lambda args: {"version": __version__, **controls()},
            "session": lambda args: self.state(),
            "presets": lambda args: presets(),
            "load_preset": self.keeping.load_preset,
            "run": self.making.run,
            "plan": self.making.plan,
            "cancel": self.making.cancel,
            "measure": self.making.measure,
            "timeline": lambda args: self.looks.timeline(text_of(args, "id")),
            "command": self.keeping.command,
            "preset": self.keeping.save_preset,
            "save": self.keeping.save,
            "done": self.keeping.done,
            "close": self.end,
        }

    def call(self, kind: str, args: Args) -> Any:
        """Answer a request by its name. Raises VeditError."""
        if kind not in self.calls:
            raise Missing(f"there is no request called {kind!r}.")
        try:
            return self.calls[kind](args)
        except VeditError as error:
            raise self.holding.in_their_names(error) from error.__cause__

    def state(self) -> Answer:
        """Where a page begins."""
        given, fixed = self.holding.given, self.aim.fixed
        return {
            "version": __version__,
            "mode": self.mode,
            "sources": [self.holding.stated(self.holding.sources[id]) for id in given],
            "chain": [list(spec) for spec in self.chain],
            "output": {FORMAT: fixed} if fixed else {},
            "output_name": os.path.basename(self.aim.target) if self.mode == "file" else "",
            "max_upload": self.max_upload,
            "presets": presets(),
        }

    def frame(self, id: str, number: int) -> bytes:
        """An image, counted from 1, as WebP without loss. Raises Missing behind the last one."""
        try:
            return self.looks.frame(id, number)
        except VeditError as error:
            raise self._named(error, id) from error.__cause__

    def thumbs(self, id: str, begin: int, count: int, height: int) -> bytes:
        """Small images side by side, as WebP."""
        try:
            return self.looks.thumbs(id, begin, count, height)
        except VeditError as error:
            raise self._named(error, id) from error.__cause__

    # --- telling -----------------------------------------------------------------------------------

    def _named(self, error: VeditError, id: str) -> VeditError:
        return self.holding.in_their_names(self.making.placed(error, self.making.jobs.get(id)))

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear events, from any thread; the answer ends it."""
        with self.lock:
            self.listeners.append(listener)

        def stop() -> None:
            with self.lock:
                if listener in self.listeners:
                    self.listeners.remove(listener)

        return stop

    def emit(self, event: Event) -> None:
        with self.lock:
            listeners = list(self.listeners)
        for listener in listeners:
            listener(event)

    def told(self, error: VeditError, job: Job | None = None) -> Answer:
        """An error as the page gets it."""
        return self.making.told(error, job)

    def end(self, args: Args) -> Answer:
        """End without a result."""
        self.on_end()
        return {}

    def _ended(self, answer: Answer) -> None:
        self.ended = answer
        self.on_end()

    def close(self) -> None:
        """End what runs, and remove what was kept."""
        self.making.close()
        self.looks.close()
        self.shelf.close()
