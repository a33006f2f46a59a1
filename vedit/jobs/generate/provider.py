"""Clips from an inference provider of the Hub, through huggingface_hub's client.

The client waits inside one call and tells no id, so a call that is stopped cannot be gone on with.
"""

from __future__ import annotations

import io
import os
import tempfile
import threading
from typing import Any

from vedit.errors import RemoteError, UsageError, option
from vedit.jobs.generate.options import PROVIDER, read_by
from vedit.jobs.generate.remote import decoded
from vedit.jobs.generate.run import Choices, Made, Take
from vedit.jobs.watch import Watch
from vedit.secrecy import without, without_login, without_values

PREFIX = "provider:"
SUMMARY = f"{PREFIX}NAME:MODEL, a model at an inference provider of the Hub"
OPTIONS = read_by(PROVIDER)
TIMEOUT_S = 1800.0


def claims(model: str) -> bool:
    return model.startswith(PREFIX)


def load(choices: Choices, connect: Any = None) -> ProviderMaker:
    """Make the client; nothing is sent. connect: instead of huggingface_hub's InferenceClient.

    Raises UsageError.
    """
    provider, _, model = choices.model.removeprefix(PREFIX).partition(":")
    _check_provider(provider)
    variable = choices.extra.get("key_env")
    key = os.environ.get(variable) if variable else None
    if variable and not key:
        raise UsageError(
            f"the variable {variable} is empty or not set.",
            f"{option('key_env')} names the variable that holds the API key.",
        )
    from huggingface_hub import InferenceClient, get_token

    if connect is None:
        connect = InferenceClient
        if key is None and get_token() is None:
            raise RemoteError(
                f"{provider} needs a token.",
                "",
                "Set HF_TOKEN to a token that may use inference providers, or name a variable with"
                f" {option('key_env')}",
            )
    return ProviderMaker(
        connect(provider=provider, api_key=key, timeout=choices.extra.get("timeout", TIMEOUT_S)),
        provider,
        model or None,
        choices,
        key or get_token(),
    )


def _check_provider(name: str) -> None:
    """Refuse a provider that the client does not know for this task, naming those it does."""
    from huggingface_hub.inference._providers import PROVIDERS

    from vedit.errors import nearest

    able = sorted(provider for provider, tasks in PROVIDERS.items() if "text-to-video" in tasks)
    if name not in able:
        raise UsageError(
            f"no provider {name!r} makes clips{nearest(name, able)}",
            f"Those that do: {', '.join(able)}.",
            f"Try {option('provider', able[0])}",
        )


class ProviderMaker:
    """Calls `text_to_video` of an inference client."""

    def __init__(
        self, client: Any, provider: str, model: str | None, choices: Choices, key: str | None = None
    ) -> None:
        self.client, self.provider, self.model, self.choices, self.key = client, provider, model, choices, key

    def identity(self) -> dict[str, Any]:
        return {"provider": self.provider, "remote_model": self.model}

    def make(self, request: Take, watch: Watch) -> Made:
        """Make one clip. Raises RemoteError."""
        more = {
            **request.extra.get("pipe", {}),
            **({"width": request.size[0], "height": request.size[1]} if request.size else {}),
        }
        named = {
            "model": self.model,
            "guidance_scale": request.guidance,
            "negative_prompt": [request.negative] if request.negative else None,
            "num_frames": request.frames,
            "num_inference_steps": request.steps,
            "seed": request.seed,
            "extra_body": more or None,
        }
        self.choices.warn(f"sends the prompt to {self.provider}")
        for _ in watch(iter([0]), 1, self.provider):
            data = self._in_time(
                request.prompt, {name: value for name, value in named.items() if value is not None}
            )
        with tempfile.NamedTemporaryFile(prefix="vedit-", suffix=".mp4") as file:
            file.write(data if isinstance(data, bytes) else io.BytesIO(data).getvalue())
            made = decoded(file, self.provider, "call again")
        return made._replace(
            fps=request.fps or made.fps,
            facts={**made.facts, "arguments": without_values(more)},
            file=None if request.fps else made.file,
        )

    def _in_time(self, prompt: str, named: dict[str, Any]) -> Any:
        """What the provider sends in time; the client's own clock begins anew with every byte."""
        found: list[Any] = []

        def ask() -> None:
            try:
                found.append(self._asked(prompt, named))
            except BaseException as error:
                found.append(error)

        seconds = self.choices.extra.get("timeout", TIMEOUT_S)
        thread = threading.Thread(target=ask, daemon=True)  # one that is still waiting ends with the process
        thread.start()
        thread.join(seconds)
        if not found:
            raise RemoteError(
                f"{self.provider} was not done in {seconds:g} s.",
                "",
                f"Try again, or give a longer {option('timeout')}",
            )
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    def _asked(self, prompt: str, named: dict[str, Any]) -> Any:
        from huggingface_hub import errors

        from vedit.remote import http

        def shown(text: str) -> str:
            return http.quoted(without(without_login(text), self.key or ""))

        try:
            return self.client.text_to_video(prompt, **named)
        except errors.InferenceTimeoutError:
            raise RemoteError(
                f"{self.provider} was not done in time.",
                "",
                f"Try again, or give a longer {option('timeout')}",
            ) from None
        except errors.OfflineModeIsEnabled:
            raise RemoteError(
                f"{self.provider} cannot be asked: HF_HUB_OFFLINE is set.", "", "Unset it to use a provider"
            ) from None
        except errors.HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            step = (
                "Set HF_TOKEN to a token that may use inference providers, or name a variable with"
                f" {option('key_env')}"
                if status in (401, 403)
                else "Try again later"
            )
            raise RemoteError(f"{self.provider} answers {status}: {shown(str(error))}.", "", step) from None
        except (
            ValueError,
            KeyError,
            TypeError,
            StopIteration,
        ) as error:  # what the client itself refuses, or an answer it does not understand
            raise RemoteError(
                f"{self.provider} cannot make this: {shown(str(error))}.",
                "",
                "Look at https://huggingface.co/models?pipeline_tag=text-to-video",
            ) from None
        except Exception as error:
            if type(error).__module__.split(".")[0] in (
                "httpx",
                "httpx2",
                "httpcore",
                "httpcore2",
                "requests",
            ) or isinstance(error, OSError):
                raise RemoteError(
                    f"the connection to {self.provider} broke: {shown(str(error))}.", "", "Try again"
                ) from None
            raise
