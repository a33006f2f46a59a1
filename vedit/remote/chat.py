"""Questions to a hosted model that answers in words: the /chat/completions of OpenAI's interface.

llama-server, Ollama, vLLM, LM Studio, `transformers serve` and most hosted models speak it. Pictures travel
inside the question, as data addresses. What comes back is words and never anything else: `first_object` reads
the JSON that was asked for, and whoever asked checks what it holds.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vedit.errors import RemoteError, option
from vedit.remote.http import Refusal, Service

NO_SCHEMA = (400, 404, 422, 501)  # of servers that do not know response_format, or not this one
LONGEST_ANSWER = 32_768  # characters that are read of an answer
THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """What is asked once. system: who answers, and how. pictures: PNG, JPEG or WebP files. schema: the JSON
    schema of the answer, a help and never a guarantee. most_tokens: of the answer.
    """

    text: str
    system: str = ""
    pictures: Sequence[bytes] = ()
    schema: Mapping[str, Any] | None = None
    most_tokens: int = 512

    def messages(self) -> list[dict[str, Any]]:
        """The question as the interface has it."""
        shown = [{"type": "image_url", "image_url": {"url": data_address(one)}} for one in self.pictures]
        content: Any = [*shown, {"type": "text", "text": self.text}] if shown else self.text
        told = [{"role": "system", "content": self.system}] if self.system else []
        return [*told, {"role": "user", "content": content}]


@dataclass
class Chat:
    """A model at a service. asked: questions sent; tokens: what the service says it read and wrote."""

    service: Service
    model: str
    seed: int = 0
    takes_schema: bool = True
    asked: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: {"read": 0, "written": 0})

    def ask(self, question: Question) -> str:
        """What the model answers, at temperature 0. Raises RemoteError, also for an answer without words."""
        body = {
            "model": self.model,
            "messages": question.messages(),
            "temperature": 0,
            "seed": self.seed,
            "max_tokens": question.most_tokens,
            "stream": False,
        }
        if question.schema is None or not self.takes_schema:
            return self._sent(body)
        form = {"name": "answer", "strict": True, "schema": dict(question.schema)}
        try:
            return self._sent({**body, "response_format": {"type": "json_schema", "json_schema": form}})
        except Refusal as error:
            if error.status not in NO_SCHEMA:
                raise
        answer = self._sent(body)
        self.takes_schema = False  # it was the form, for without it there is an answer
        return answer

    def _sent(self, body: Mapping[str, Any]) -> str:
        self.asked += 1
        answer = self.service.post("/chat/completions", json.dumps(body).encode(), "application/json")
        usage = answer.get("usage")
        for name, key in (("read", "prompt_tokens"), ("written", "completion_tokens")):
            count = usage.get(key) if isinstance(usage, dict) else None
            self.tokens[name] += count if type(count) is int and 0 <= count < 2**31 else 0
        return _words(answer, self.service.host)


def _words(answer: Mapping[str, Any], host: str) -> str:
    """The content of the first choice. Raises RemoteError."""
    choices = answer.get("choices")
    message = choices[0].get("message") if isinstance(choices, list) and _is_table(choices) else None
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):  # of parts, as some servers send it
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str) or not content.strip():
        raise RemoteError(
            f"{host} answers without words.",
            "It answers POST /chat/completions with choices[0].message.content.",
            f"Is {option('base_url')} that of a chat model? It often ends in /v1",
        )
    return content[:LONGEST_ANSWER]


def _is_table(choices: Sequence[Any]) -> bool:
    return bool(choices) and isinstance(choices[0], dict)


def data_address(picture: bytes) -> str:
    """A picture file as an address that holds it."""
    kinds = {b"\x89PNG": "png", b"RIFF": "webp", b"\xff\xd8\xff": "jpeg"}
    kind = next(kind for mark, kind in kinds.items() if picture.startswith(mark))
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def without_thoughts(answer: str) -> str:
    """An answer without what a reasoning model says to itself."""
    return THOUGHT.sub("", answer).strip()


def first_object(answer: str) -> dict[str, Any] | None:
    """The first JSON object in an answer, whatever stands around it; None where there is none."""
    text, decoder = without_thoughts(answer[:LONGEST_ANSWER]), json.JSONDecoder()
    for place in (found.start() for found in re.finditer(r"\{", text)):
        try:
            value, _ = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None
