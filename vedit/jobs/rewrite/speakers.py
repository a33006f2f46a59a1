"""Who is asked for a prompt: a language model that runs here, or one at an address that the user names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from vedit.errors import UsageError, Warn, option
from vedit.jobs.rewrite.request import RewriteOptions

if TYPE_CHECKING:
    from vedit.models.writers import Writer
    from vedit.remote.chat import Chat

SCHEMA = {
    "type": "object",
    "properties": {"target": {"type": "string"}},
    "required": ["target"],
    "additionalProperties": False,
}
MOST_TOKENS = 400


class Speaker(Protocol):
    """A model that is ready, or ready to be opened."""

    @property
    def name(self) -> str:
        """The model, as records name it."""
        ...

    def facts(self) -> dict[str, Any]:
        """Which model it is, without a key: answers are kept by it."""
        ...

    def ask(self, system: str, text: str) -> str:
        """Its answer. Raises ModelError, RemoteError."""
        ...


def opened(options: RewriteOptions, warn: Warn) -> Speaker:
    """The model that options name; nothing is sent. Raises UsageError, ModelError."""
    if options.base_url is not None:
        return _hosted(options, warn)
    for name in ("llm_model", "key_env"):
        if getattr(options, name) is not None:
            raise UsageError(
                f"{option(name)} is for a hosted model.", "", f"Add {option('base_url', 'https://HOST/v1')}"
            )
    kind, colon, name = str(options.llm).partition(":")
    if kind not in ("local", "hub") or not colon or not name:
        raise UsageError(
            f"{option('llm', options.llm)} is not a language model.",
            "It is rules, local:FOLDER or hub:OWNER/NAME.",
            f"For a server: {option('base_url', 'http://127.0.0.1:8080/v1')} {option('llm_model', 'NAME')}",
        )
    from vedit.jobs.extras import need

    need("diffusion")
    return Local(str(options.llm), options)


def _hosted(options: RewriteOptions, warn: Warn) -> Speaker:
    from vedit.remote.chat import Chat
    from vedit.remote.http import Service, key_from

    if options.llm is not None:
        raise UsageError(
            f"{option('llm', options.llm)} and {option('base_url')} name two models.", "", "Leave out one"
        )
    if not options.llm_model:
        raise UsageError(
            f"{option('base_url')} needs the name of a model.", "", f"Add {option('llm_model', 'NAME')}"
        )
    key = key_from(options.key_env)
    service = Service(options.base_url or "", key, timeout_s=options.timeout, warn=warn)
    return Hosted(Chat(service, options.llm_model))


class Local:
    """A network that runs here, loaded when it is first asked."""

    def __init__(self, name: str, options: RewriteOptions) -> None:
        self.name, self.options = name, options
        self._writer: Writer | None = None

    @property
    def writer(self) -> Writer:
        from vedit.models.writers import open_writer

        if self._writer is None:
            asked = self.options
            model = self.name.partition(":")[2]
            again = f'vedit rewrite --llm {self.name} --source "..." "..."'
            self._writer = open_writer(
                model, asked.revision, device=asked.device, dtype=asked.dtype, again=again
            )
        return self._writer

    def facts(self) -> dict[str, Any]:
        return {"llm": self.name, **self.writer.known, "dtype": self.options.dtype}

    def ask(self, system: str, text: str) -> str:
        return self.writer.ask(system, text, most_tokens=MOST_TOKENS)


class Hosted:
    """A model at an address: words go there, and nowhere else."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    @property
    def name(self) -> str:
        return f"{self.chat.service.host}:{self.chat.model}"

    def facts(self) -> dict[str, Any]:
        return {"host": self.chat.service.host, "model": self.chat.model}

    def ask(self, system: str, text: str) -> str:
        from vedit.remote.chat import Question

        if not self.chat.asked:
            self.chat.service.warn(f"sends prompts and instructions to {self.chat.service.host}")
        return self.chat.ask(Question(text, system, schema=SCHEMA, most_tokens=MOST_TOKENS))
