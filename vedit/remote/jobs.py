"""Jobs at a hosted generator: begun once, written down before anything else, waited for, fetched.

The vendor's id is in a file before the first question about it, so that a call that was stopped or
lost its connection goes on with the job that is paid for.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from vedit.documents import Kind, read_json
from vedit.errors import RemoteError, VeditError, option
from vedit.media.atomic import open_output
from vedit.plain import digest
from vedit.remote.http import Refusal, Service, quoted
from vedit.secrecy import without_values

FORMAT = "vedit-remote-job"
PENDING = Kind("the file of a pending job", largest=1 << 20)
FIRST_S, GROWTH, LONGEST_S = 2.0, 1.5, 20.0  # pauses between questions
WAITING, DONE = ("queued", "in_progress"), "completed"
ID = re.compile(r"(?!\.+$)[A-Za-z0-9_.:~-]{1,200}")  # it becomes a part of addresses
OVER = ("failed", "cancelled", "expired")


class State(NamedTuple):
    """What the service says of a job: its state, how far it is in percent, and why it failed."""

    state: str
    progress: float | None = None
    reason: str = ""


class Note(NamedTuple):
    """The file that keeps a job between calls: `path` is None for none, `order` what the job must be for."""

    path: str | None
    order: Mapping[str, Any]

    @property
    def key(self) -> str:
        return digest(dict(self.order))

    def read(self) -> str | None:
        """The vendor's id of a job for the same order, None when there is none."""
        try:
            kept = read_json(self.path or "", PENDING)
            is_ours = kept["format"] == FORMAT and kept["key"] == self.key and ID.fullmatch(kept["id"])
            return str(kept["id"]) if is_ours else None
        except (VeditError, ValueError, LookupError, TypeError):
            return None

    def write(self, id: str) -> None:
        if self.path is not None:
            with open_output(self.path) as file:
                file.write(
                    (
                        json.dumps(
                            {"format": FORMAT, "id": id, "key": self.key, **self._told()},
                            indent=2,
                            default=str,
                        )
                        + "\n"
                    ).encode()
                )

    def _told(self) -> dict[str, Any]:
        """The order for people to read: a field called a key is there without its value."""
        return {**self.order, "fields": without_values(self.order.get("fields", {}))}

    def drop(self) -> None:
        """The job is over: a later call begins another."""
        if self.path is not None and os.path.exists(self.path):
            os.unlink(self.path)


def begin(protocol: ModuleType, service: Service, order: Mapping[str, Any], note: Note) -> str:
    """The id of the job: the one that was begun by an earlier call, else a new one, written down at once."""
    id = note.read()
    if id is not None:
        service.warn(f"going on with job {id} at {service.host}")
        return id
    id = str(protocol.create(service, order))
    if not ID.fullmatch(id):
        raise RemoteError(
            f"{service.host} began a job without a usable id: {quoted(id)!r}.",
            "An id is letters, digits and .:~_-",
            f"Is {option('base_url')} right?",
        )
    note.write(id)
    if note.path is not None:
        service.warn(
            f"job {id} is begun at {service.host}; if this call is stopped, the same call goes on with it"
        )
    return id


def wait(protocol: ModuleType, service: Service, id: str, note: Note) -> Iterator[State]:
    """Each state of the job until it is completed. Raises RemoteError when it ends otherwise."""
    pause = FIRST_S
    while True:
        try:
            state = protocol.poll(service, id)
        except Refusal as error:
            if error.status not in (404, 410):
                raise
            note.drop()
            raise RemoteError(
                f"{service.host} knows no job {id} (any more).", "", "Call again to begin a new one"
            ) from None
        yield state
        if state.state == DONE:
            return
        if state.state in OVER:
            note.drop()
            raise RemoteError(
                f"{service.host}: job {id} {state.state}"
                + (f": {quoted(state.reason)}" if state.reason else "")
                + ".",
                "",
                "Call again to begin a new one",
            )
        if state.state not in WAITING:
            raise RemoteError(
                f"{service.host} says that job {id} is {quoted(state.state)!r}.",
                f"Known are {', '.join((*WAITING, DONE, *OVER))}.",
                "Call again to ask again",
            )
        service.pause(pause)
        pause = min(pause * GROWTH, LONGEST_S)
