"""A hosted model that sees pictures, at an address that the user names: frames are sent there."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image

from vedit.errors import RemoteError, UsageError, option
from vedit.jobs.caption.captioners import Look, Opening, Told, by_medoid, question, within
from vedit.plain import one_line

if TYPE_CHECKING:
    import numpy as np

    from vedit.remote.chat import Chat

SUMMARY = "a hosted model: llama-server, vLLM, Ollama, and services that speak their interface"
FRAMES, EVERY, WAYS = 8, None, ("clip", "medoid")
DEFAULT = None
LONGEST = 2000  # characters of a caption that are kept
side = within(512)


def open_captioner(opening: Opening) -> Remote:
    """Check what can be checked; nothing is sent. Raises UsageError."""
    from vedit.remote.chat import Chat
    from vedit.remote.http import Service, key_from

    missing = [name for name in ("base_url", "remote_model") if getattr(opening, name) is None]
    if missing:
        raise UsageError(
            f"a hosted captioner needs {' and '.join(option(name) for name in missing)}.",
            "There is no service to start from.",
            f"Example: {option('base_url', 'http://127.0.0.1:8080/v1')} {option('remote_model', 'NAME')}",
        )
    service = Service(
        str(opening.base_url), key_from(opening.key_env), timeout_s=opening.timeout, warn=opening.warn
    )
    return Remote(Chat(service, str(opening.remote_model)))


class Remote:
    """The model, as a captioner."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    def told(self, frames_FYX3: np.ndarray, look: Look) -> Told:
        count, service = len(frames_FYX3), self.chat.service
        service.warn(f"sends {count} picture{'s' * (count > 1)} of each clip to {service.host}")
        if look.by == "medoid":
            return by_medoid(frames_FYX3, lambda picture: self.said(look, [picture]))
        return Told(self.said(look, [Image.fromarray(frame) for frame in frames_FYX3]))

    def said(self, look: Look, pictures: list[Any]) -> str:
        """The model's words, on one line. Raises RemoteError."""
        from vedit.remote.chat import Question, without_thoughts

        asked = Question(question(look.detail, len(pictures)), pictures=list(map(png, pictures)))
        words = one_line(without_thoughts(self.chat.ask(asked)))[:LONGEST]
        if not words:
            raise RemoteError(f"{self.chat.service.host} answers without words.")
        return words

    def facts(self) -> dict[str, Any]:
        return {"name": "remote", "host": self.chat.service.host, "model": self.chat.model}


def png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
