"""Judges that read: one that knows drawn scenes, and any model behind /chat/completions.

Answers of a hosted model are kept in a folder by what was asked: pictures, question, host and model. What
comes back is words: they are matched against the answers asked for, and go nowhere else.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit.errors import InputError, UsageError, option
from vedit.media.atomic import open_output
from vedit.metrics._judging import Asked, Judge
from vedit.metrics.types import Pixels

if TYPE_CHECKING:
    from vedit.jobs.caption.captioners import Captioner
    from vedit.remote.chat import Chat

TRUTH = "truth"
LARGEST = 512  # pixels of the longer side of what is sent
SYSTEM = "You judge edited videos. You answer with what is asked for and nothing else."
KEPT = 2000  # characters of an answer that are kept


def judge_of(
    name: str | None, model: str | None, key_env: str | None, folder: Path | None = None
) -> Judge | None:
    """The judge of a name: "truth", or the base URL of a service; None for none. Raises UsageError."""
    if name is None:
        if model or key_env:
            raise UsageError(
                f"{option('judge_model')} and {option('judge_key_env')} go with {option('judge')}."
            )
        return None
    if name == TRUTH:
        return TruthJudge()
    from vedit.remote.chat import Chat
    from vedit.remote.http import Service, key_from

    if not model:
        raise UsageError(
            f"{option('judge', name)} needs the name of a model.",
            "",
            f"Add {option('judge_model', 'NAME')}",
        )
    return HostedJudge(Chat(Service(name, key_from(key_env)), model), folder)


class HostedJudge:
    """A model behind /chat/completions. folder: where its answers are kept, None for nowhere."""

    def __init__(self, chat: Chat, folder: Path | None = None) -> None:
        self.chat, self.folder, self.reused = chat, folder, 0

    @property
    def name(self) -> str:
        return f"{self.chat.model} at {self.chat.service.host}"

    def answer(self, asked: Asked, edited_TYX3: Pixels, source_TYX3: Pixels | None) -> str:
        from vedit.remote.chat import Question, without_thoughts

        clips = [clip for clip in (source_TYX3, edited_TYX3) if clip is not None]
        pictures = [png(frame) for clip in clips for frame in clip]
        kept = self._file(asked, pictures)
        if kept is not None and kept.is_file():
            self.reused += 1
            return kept.read_text(encoding="utf-8", errors="replace")
        words = without_thoughts(self.chat.ask(Question(asked.text, SYSTEM, pictures)))[:KEPT]
        if kept is not None:
            os.makedirs(kept.parent, exist_ok=True)
            with open_output(str(kept)) as stream:
                stream.write(words.encode("utf-8", "replace"))
        return words

    def _file(self, asked: Asked, pictures: list[bytes]) -> Path | None:
        if self.folder is None:
            return None
        about = [asked.text, SYSTEM, self.chat.service.base, self.chat.model]
        digest = hashlib.sha256(json.dumps(about).encode())
        for picture in pictures:
            digest.update(hashlib.sha256(picture).digest())
        return self.folder / f"{digest.hexdigest()}.txt"

    def facts(self) -> Mapping[str, Any]:
        return {
            "judge": self.name,
            "asked": self.chat.asked,
            "reused": self.reused,
            "tokens_read": self.chat.tokens["read"],
            "tokens_written": self.chat.tokens["written"],
        }


def png(frame_YX3: Pixels) -> bytes:
    """A frame as a PNG file, at most LARGEST pixels long."""
    from PIL import Image

    image = Image.fromarray(frame_YX3)
    image.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class TruthJudge:
    """Answers about drawn scenes by reading their fields, without asking anybody."""

    name = "truth (the embedded reader of drawn scenes)"

    def __init__(self) -> None:
        self.asked = 0

    @cached_property
    def _reader(self) -> Captioner:
        from vedit.jobs.caption.captioners import Opening, shapes

        return shapes.open_captioner(Opening(device="cpu"))

    def answer(self, asked: Asked, edited_TYX3: Pixels, source_TYX3: Pixels | None) -> str:
        """Raises InputError for prompts of other words than those of drawn scenes."""
        self.asked += 1
        prompts = {key: _fields(text) for key, text in asked.about.items() if key != "scale"}
        seen = self._seen(edited_TYX3)
        if asked.kind == "yes-no":
            return "yes" if seen and _share(seen, prompts["prompt"]) == 1 else "no"
        if asked.kind == "choice":
            target, source = (_share(seen, prompts[key]) for key in ("prompt", "source_prompt"))
            return "b" if target > source else "a"
        low, high = int(asked.answers[0]), int(asked.answers[-1])
        return str(low + round((high - low) * _grade(asked.about["scale"], seen, prompts)))

    def _seen(self, frames_TYX3: Pixels) -> dict[str, str]:
        """The fields of what is shown, nothing where it is no drawn scene."""
        from vedit.jobs.caption.captioners import Look

        try:
            return _fields(self._reader.told(_small(frames_TYX3), Look("detailed")).clip)
        except InputError:
            return {}

    def facts(self) -> Mapping[str, Any]:
        return {"judge": self.name, "asked": self.asked}


def _small(frames_TYX3: Pixels) -> Pixels:
    import numpy as np
    from PIL import Image

    return np.stack([np.asarray(Image.fromarray(frame).resize((64, 64))) for frame in frames_TYX3])


def _fields(prompt: str) -> dict[str, str]:
    """What a prompt says of a scene; motion is left out, four frames do not show it."""
    from vedit.data import grammar

    unsaid = {"size": "medium", "texture": "plain", "pattern": "plain"}
    fields = unsaid | grammar.parse_caption(prompt)
    return {key: value for key, value in fields.items() if key != "motion"}


def _share(seen: Mapping[str, str], wanted: Mapping[str, str]) -> float:
    """Which share of what is wanted is seen."""
    return sum(seen.get(key) == value for key, value in wanted.items()) / max(1, len(wanted))


def _grade(scale: str, seen: Mapping[str, str], prompts: Mapping[str, Mapping[str, str]]) -> float:
    """0..1: of what changes, of what stays, or whether it looks like a scene at all."""
    if scale == "looks":
        return float(bool(seen))
    target, source = prompts["prompt"], prompts["source_prompt"]
    changes = {key: value for key, value in target.items() if source.get(key) != value}
    stays = {key: value for key, value in target.items() if key not in changes}
    return _share(seen, changes if scale == "following" else stays)
