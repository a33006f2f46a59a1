from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import vedit
from vedit.errors import RemoteError, UsageError
from vedit.jobs.clips import write_frames
from vedit.jobs.generate import provider as generate_provider
from vedit.jobs.generate.run import Choices, Take
from vedit.jobs.watch import unwatched


class Client:
    """Stands for huggingface_hub's InferenceClient: answers with `answer`, or raises it."""

    answer: Any = b""

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def text_to_video(self, prompt: str, **named: Any) -> bytes:
        self.calls.append((prompt, named))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]


def maker(answer: Any, **extra: Any) -> Any:
    made = generate_provider.load(
        Choices("provider:fal-ai:Wan-AI/Wan2.2-TI2V-5B", extra=extra), connect=Client
    )
    made.client.answer = answer
    return made


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_frames(
        np.stack([np.full((32, 48, 3), shade, np.uint8) for shade in (10, 120, 240)]), [20] * 3, str(path)
    )
    return path.read_bytes()


def test_only_what_was_set_is_sent_under_the_clients_own_names(
    clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "t1")
    provider = maker(clip, key_env="MY_TOKEN", timeout=9.0)
    made = provider.make(
        Take("a cat", "blurred", 7, 33, (832, 480), 20, 5.0, extra={"pipe": {"resolution": "480p"}}),
        unwatched,
    )
    assert provider.client.given == {"provider": "fal-ai", "api_key": "t1", "timeout": 9.0}
    assert provider.client.calls == [
        ("a cat", {"model": "Wan-AI/Wan2.2-TI2V-5B", "guidance_scale": 5.0, "negative_prompt": ["blurred"], "num_frames": 33, "num_inference_steps": 20,
                   "seed": 7, "extra_body": {"resolution": "480p", "width": 832, "height": 480}}),
    ]  # fmt: skip
    assert made.frames_FYX3.shape == (3, 32, 48, 3)
    assert made.fps == 5
    provider.make(Take("a dog"), unwatched)
    assert provider.client.calls[1] == ("a dog", {"model": "Wan-AI/Wan2.2-TI2V-5B", "seed": 0})


def test_the_arguments_are_those_of_the_real_client() -> None:
    import inspect

    from huggingface_hub import InferenceClient

    own = {
        "model",
        "guidance_scale",
        "negative_prompt",
        "num_frames",
        "num_inference_steps",
        "seed",
        "extra_body",
    }
    assert own <= set(inspect.signature(InferenceClient.text_to_video).parameters)
    assert {"provider", "api_key", "timeout"} <= set(inspect.signature(InferenceClient).parameters)


def failures() -> list[tuple[BaseException, str]]:
    from huggingface_hub import errors

    def refused(status: int) -> BaseException:
        error = errors.HfHubHTTPError.__new__(errors.HfHubHTTPError)
        Exception.__init__(error, f"{status} Client Error")
        error.response = SimpleNamespace(status_code=status)  # type: ignore[assignment]
        return error

    late = errors.InferenceTimeoutError.__new__(errors.InferenceTimeoutError)
    Exception.__init__(late, "slow")
    return [
        (refused(401), "HF_TOKEN"),
        (refused(500), "answers 500"),
        (late, "--timeout"),
        (errors.OfflineModeIsEnabled("off"), "HF_HUB_OFFLINE"),
        (ValueError("Task 'text-to-video' not supported"), "cannot make this"),
        (KeyError("video"), "cannot make this"),
        (ConnectionResetError("reset by peer"), "broke"),
    ]


@pytest.mark.parametrize("number", range(7))
def test_every_failure_of_the_client_is_a_remote_error_with_a_next_step(number: int) -> None:
    error, said = failures()[number]
    with pytest.raises(RemoteError) as caught:
        maker(error).make(Take("a cat"), unwatched)
    assert said in str(caught.value)
    assert caught.value.next_step


def test_a_bug_is_not_dressed_up_as_a_failure_of_the_service() -> None:
    with pytest.raises(ZeroDivisionError):
        maker(ZeroDivisionError()).make(Take("a cat"), unwatched)


@pytest.mark.parametrize("rubbish", [b"", b"{}", b"\0" * 100])
def test_rubbish_is_no_clip(rubbish: bytes) -> None:
    with pytest.raises(RemoteError, match="is no clip"):
        maker(rubbish).make(Take("a cat"), unwatched)


def test_unknown_providers_are_refused_with_those_that_make_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"(?s)did you mean fal-ai.*replicate"):
        generate_provider.load(Choices("provider:fal:x"), connect=Client)
    result = vedit("generate", "a cat", "--provider", "hf-inference", "-o", tmp_path / "a.gif")
    assert result.code == 2


def test_without_a_token_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    result = vedit("generate", "a cat", "--provider", "fal-ai", "-o", tmp_path / "a.gif")
    assert (result.code, "HF_TOKEN" in result.err) == (7, True)


def test_a_provider_that_drips_is_left_at_the_timeout(clip: bytes) -> None:
    class Slow(Client):
        def text_to_video(self, prompt: str, **named: Any) -> bytes:
            time.sleep(5)
            return clip

    made = generate_provider.load(Choices("provider:fal-ai:a/b", extra={"timeout": 0.1}), connect=Slow)
    with pytest.raises(RemoteError, match=r"not done in 0\.1 s"):
        made.make(Take("a cat"), unwatched)


def test_a_token_that_a_provider_repeats_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hf_secret_1")
    with pytest.raises(RemoteError) as caught:
        maker(ValueError("no such key: hf_secret_1 at https://u:word@h/x"), key_env="MY_TOKEN").make(
            Take("a cat"), unwatched
        )
    assert "hf_secret" not in str(caught.value) and "word" not in str(caught.value)
