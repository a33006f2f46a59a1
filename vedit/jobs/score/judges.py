"""Judges that read: one that knows drawn scenes, a model of transformers that runs here, and any model behind
/chat/completions.

Answers of models are kept in a folder by what was asked: pictures, question and model, with its host or its
weights. What comes back is words: they are matched against the answers asked for, and go nowhere else.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit.errors import InputError, ModelError, UsageError, nearest, option
from vedit.media.atomic import open_output
from vedit.media.pictures import from_bytes
from vedit.metrics._judging import Asked, Judge
from vedit.metrics.types import Pixels

if TYPE_CHECKING:
    from vedit.jobs.caption.captioners import Captioner
    from vedit.models.readers import Reader
    from vedit.remote.chat import Chat

TRUTH = "truth"
HERE = ("local", "hub")  # what stands before the colon of a model that runs here
MOST_TOKENS = 128  # of an answer, as FiVE-Bench has it
LARGEST = 512  # pixels of the longer side of what is sent
SYSTEM = "You judge edited videos. You answer with what is asked for and nothing else."
KEPT = 2000  # characters of an answer that are kept


def judge_of(
    name: str | None,
    model: str | None = None,
    key_env: str | None = None,
    folder: Path | None = None,
    *,
    device: str = "auto",
    dtype: str = "fp32",
) -> Judge | None:
    """The judge of a name: "truth", local:FOLDER or hub:ID, or the base URL of a service; None for none.

    folder: where answers are kept, None for nowhere. device, dtype: of a model that runs here.
    Raises UsageError; nothing is loaded or sent.
    """
    kind, _, own = (name or "").partition(":")
    is_here = name is None or name == TRUTH or kind in HERE
    if is_here and (model or key_env):
        given = "judge_model" if model else "judge_key_env"
        raise UsageError(
            f"{option(given)} goes with the address of a service.",
            "",
            f"Add {option('judge', 'http://127.0.0.1:8080/v1')}, or leave it out",
        )
    if name is None:
        return None
    if name == TRUTH:
        return TruthJudge()
    if kind in HERE:
        return LocalJudge(_named(name, own), device, dtype, folder)
    if "://" not in name:
        raise UsageError(
            f"{option('judge', name)} is not a judge{nearest(name, [TRUTH, *HERE]) or '.'}",
            "It is truth, local:FOLDER, hub:OWNER/NAME, or the address of a service.",
        )
    if not model:
        raise UsageError(
            f"{option('judge', name)} needs the name of a model.",
            "",
            f"Add {option('judge_model', 'NAME')}",
        )
    from vedit.remote.chat import Chat
    from vedit.remote.http import Service, key_from

    return HostedJudge(Chat(Service(name, key_from(key_env)), model), folder)


def _named(name: str, own: str) -> str:
    if not own:
        raise UsageError(
            f"{option('judge', name)} names no model.",
            "A folder stands behind local:, an id of the Hub behind hub:.",
            f"Example: {option('judge', 'hub:HuggingFaceTB/SmolVLM2-256M-Video-Instruct')}",
        )
    return own


class ModelJudge(ABC):
    """A model that is asked in words. folder: where its answers are kept, None for nowhere."""

    name: str

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.sent, self.reused = folder, 0, 0

    @abstractmethod
    def who(self) -> list[str]:
        """What tells its answers from those of another."""

    @abstractmethod
    def said(self, text: str, pictures: list[bytes]) -> str:
        """Its answer to a question about pictures, PNG files. Raises RemoteError, ModelError."""

    def answer(self, asked: Asked, edited_TYX3: Pixels, source_TYX3: Pixels | None) -> str:
        from vedit.remote.chat import without_thoughts

        clips = [clip for clip in (source_TYX3, edited_TYX3) if clip is not None]
        pictures = [png(frame) for clip in clips for frame in clip]
        kept = self._file(asked, pictures)
        if kept is not None and kept.is_file():
            self.reused += 1
            return kept.read_text(encoding="utf-8", errors="replace")
        self.sent += 1
        words = without_thoughts(self.said(asked.text, pictures))[:KEPT]
        if kept is not None:
            os.makedirs(kept.parent, exist_ok=True)
            with open_output(str(kept)) as stream:
                stream.write(words.encode("utf-8", "replace"))
        return words

    def _file(self, asked: Asked, pictures: list[bytes]) -> Path | None:
        if self.folder is None:
            return None
        digest = hashlib.sha256(json.dumps([asked.text, SYSTEM, *self.who()]).encode())
        for picture in pictures:
            digest.update(hashlib.sha256(picture).digest())
        return self.folder / f"{digest.hexdigest()}.txt"

    def facts(self) -> Mapping[str, Any]:
        return {"judge": self.name, "asked": self.sent, "reused": self.reused}


class HostedJudge(ModelJudge):
    """A model behind /chat/completions."""

    def __init__(self, chat: Chat, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.chat = chat
        self.name = f"{chat.model} at {chat.service.host}"

    def who(self) -> list[str]:
        return [self.chat.service.base, self.chat.model]

    def said(self, text: str, pictures: list[bytes]) -> str:
        from vedit.remote.chat import Question

        return self.chat.ask(Question(text, SYSTEM, pictures))

    def facts(self) -> Mapping[str, Any]:
        tokens = self.chat.tokens
        cost = {"tokens_read": tokens["read"], "tokens_written": tokens["written"]}
        return {**super().facts(), "asked": self.chat.asked, **cost}


class LocalJudge(ModelJudge):
    """A model of transformers that sees pictures, loaded when it is first asked."""

    def __init__(self, model: str, device: str, dtype: str, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.name, self.device, self.dtype = model, device, dtype

    @cached_property
    def _reader(self) -> Reader:
        from vedit.models.readers import open_reader

        again = f"vedit score CLIP --metrics judge --judge hub:{self.name}"
        found = open_reader(self.name, device=self.device, dtype=self.dtype, again=again)
        if not found.talks:
            raise ModelError(
                f"{self.name} is not asked in words: it captions, and answers no questions.",
                "A judge is a model with a chat template.",
                f"Example: {option('judge', 'hub:HuggingFaceTB/SmolVLM2-256M-Video-Instruct')}",
            )
        return found

    def who(self) -> list[str]:
        return [json.dumps(self._reader.known, sort_keys=True), self.dtype]

    def said(self, text: str, pictures: list[bytes]) -> str:
        shown = [from_bytes(one).convert("RGB") for one in pictures]
        return self._reader.asked(f"{SYSTEM}\n{text}", shown, most_tokens=MOST_TOKENS, may_be_empty=True)

    def facts(self) -> Mapping[str, Any]:
        return {**super().facts(), **(self._reader.known if self.sent or self.reused else {})}


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
        seen = self._seen(edited_TYX3)
        if asked.kind == "checklist":
            wanted = _named_in(asked.about["question"])
            return "yes" if seen and _share(seen, wanted) == 1 else "no"
        prompts = {key: _fields(text) for key, text in asked.about.items() if key != "scale"}
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


def _named_in(question: str) -> dict[str, str]:
    """The fields that a question names, such as "Is there a red star?". Raises InputError for none."""
    from vedit.data import grammar

    said = re.findall(r"digit [0-9]|[a-z0-9]+", question.lower())
    words = [grammar.SYNONYMS.get(word, word) for word in said]
    ground = next((at for at, word in enumerate(words) if word in ("on", "over")), len(words))
    if ground == len(words) and "background" in words:
        ground = 0
    parts = {**dict.fromkeys(("shape", "colour", "texture", "size"), words[:ground]),
             **dict.fromkeys(("ground", "pattern"), words[ground:])}  # fmt: skip
    found = {name: word for name, part in parts.items() for word in part if word in grammar.FIELDS[name]}
    if not found:
        raise InputError(
            f"{question!r} names nothing of a drawn scene.",
            f"{option('judge', TRUTH)} knows shapes, colours, textures, sizes, grounds and patterns.",
        )
    return found


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
