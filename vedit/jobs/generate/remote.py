"""Clips from a hosted generator that speaks a protocol of `vedit.remote`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from types import ModuleType
from typing import IO, Any

from vedit import remote
from vedit.errors import RemoteError, UsageError, VeditError, option
from vedit.jobs.data.read import Cut, read_cut, times
from vedit.jobs.generate.options import REMOTE, read_by
from vedit.jobs.generate.run import Choices, Made, Take
from vedit.jobs.watch import Watch

PREFIX = "remote:"
SUMMARY = f"{PREFIX}PROTOCOL, a hosted generator at a base URL"
OPTIONS = read_by(REMOTE)
TIMEOUT_S = 1800.0


def claims(model: str) -> bool:
    return model.startswith(PREFIX)


def load(choices: Choices) -> RemoteMaker:
    """Check all that can be checked before anything is sent. Raises UsageError."""
    from vedit.remote.http import check_base_url, key_from

    protocol = remote.load(choices.model.removeprefix(PREFIX))
    if "base_url" not in choices.extra:
        raise UsageError(
            f"{choices.model} needs the address of the service.",
            "There is none to start from.",
            f"Add {option('base_url', 'https://HOST/v1')}",
        )
    if choices.revision is not None:
        raise UsageError("a hosted model has no revision.", "", f"Leave out {option('revision')}")
    check_base_url(choices.extra["base_url"])
    return RemoteMaker(protocol, choices, key_from(choices.extra.get("key_env")))


class RemoteMaker:
    """Begins a job for each clip, waits, and fetches it."""

    def __init__(self, protocol: ModuleType, choices: Choices, key: str) -> None:
        self.protocol, self.choices, self.key = protocol, choices, key

    def identity(self) -> dict[str, Any]:
        extra = self.choices.extra
        return {
            "protocol": self.choices.model,
            "base_url": extra["base_url"],
            "remote_model": extra.get("remote_model"),
        }

    def make(self, request: Take, watch: Watch) -> Made:
        """Make one clip. Raises RemoteError."""
        from vedit.remote.http import Service
        from vedit.remote.jobs import Note, begin, wait

        extra = self.choices.extra
        seconds = extra.get("timeout", TIMEOUT_S)
        service = Service(
            extra["base_url"], self.key, deadline=time.monotonic() + seconds, warn=self.choices.warn
        )
        order = {**self.identity(), "form": extra.get("form", "multipart"), "fields": self.fields(request)}
        note = Note(request.pending, order)
        self.choices.warn(f"sends the prompt to {service.host}")
        id = begin(self.protocol, service, order, note)
        for _ in watch(percents(wait(self.protocol, service, id, note)), 100, f"job {id}"):
            pass
        with tempfile.NamedTemporaryFile(prefix="vedit-", suffix=".mp4") as file:
            self.protocol.fetch(service, id, file)
            made = decoded(file, service.host, f"job {id} is kept: call again to fetch it again")
        return made._replace(facts={"job": id, **made.facts})

    def fields(self, request: Take) -> dict[str, Any]:
        """What is sent: what the user set, and the --field ones, an empty one leaving a field out."""
        fields: dict[str, Any] = {
            "model": self.choices.extra.get("remote_model"),
            "prompt": request.prompt,
            "negative_prompt": request.negative,
            "size": "x".join(map(str, request.size)) if request.size else None,
            "num_frames": request.frames,
            "fps": None if request.fps is None else float(request.fps),
            "num_inference_steps": request.steps,
            "guidance_scale": request.guidance,
            "seed": request.seed,
        }
        for text in self.choices.extra.get("field", ()):
            name, equals, value = text.partition("=")
            if not equals or not name:
                raise UsageError(
                    f"{option('field', text)} has no value.",
                    "Write NAME=VALUE, or NAME= to leave a field out.",
                )
            fields[name] = value or None
        return {name: value for name, value in fields.items() if value is not None}


def percents(states: Iterator[Any]) -> Iterator[int]:
    """A step for each percent that the job says it is further."""
    done = 0
    for state in states:
        while done < int(state.progress or 0):
            done += 1
            yield done


def decoded(file: IO[bytes], host: str, next_step: str) -> Made:
    """The clip in a file that a service sent. Raises RemoteError when it is none."""
    file.flush()
    try:
        frames = read_cut(file.name, Cut()).frames_FYX3
        ends = times(file.name)
    except VeditError as error:
        why = error.what.removeprefix(f"{file.name}: ").rstrip(".")
        raise RemoteError(
            f"what {host} sent is no clip: {why}.", "", next_step[:1].upper() + next_step[1:]
        ) from None
    file.seek(0)
    data = file.read()
    facts = {"frames": len(frames), "size": [frames.shape[2], frames.shape[1]]}
    return Made(
        frames,
        (Fraction(len(ends)) / ends[-1]).limit_denominator(1001),
        facts,
        data if data[4:8] == b"ftyp" else None,
    )
