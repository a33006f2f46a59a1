"""Protects vedit/remote/chat.py: questions as the interface has them, and answers that are words alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.remote.stub import Answer, Stub, serve
from vedit.errors import RemoteError
from vedit.remote.chat import Chat, Question, first_object, without_thoughts
from vedit.remote.http import Service

PATH = "/v1/chat/completions"
PNG = b"\x89PNG\r\n\x1a\n rest"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as made:
        yield made


def said(text: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}], **more}


def chat(stub: Stub, key: str = "") -> Chat:
    return Chat(Service(stub.url, key, timeout_s=5, sleep=lambda seconds: None), "small")


def test_a_question_carries_its_pictures_and_asks_for_the_likeliest_words(stub: Stub) -> None:
    stub.on("POST", PATH, said("a red circle", usage={"prompt_tokens": 12, "completion_tokens": 3}))
    talk = chat(stub, "key-of-mine")
    assert talk.ask(Question("what is it?", "you tell", (PNG,))) == "a red circle"
    body = json.loads(stub.asked[0].body)
    assert (body["model"], body["temperature"], body["stream"]) == ("small", 0, False)
    assert body["messages"][0] == {"role": "system", "content": "you tell"}
    picture, text = body["messages"][1]["content"]
    assert picture["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert text == {"type": "text", "text": "what is it?"}
    assert stub.asked[0].headers["authorization"] == "Bearer key-of-mine"
    assert (talk.tokens, talk.asked) == ({"read": 12, "written": 3}, 1)


@pytest.mark.parametrize("status", [400, 404, 422, 501])
def test_a_server_that_refuses_the_schema_is_asked_without_it_from_then_on(stub: Stub, status: int) -> None:
    stub.on("POST", PATH, Answer(status, b'{"error": "response_format"}'), said("{}"), said("{}"))
    talk, question = chat(stub), Question("q", schema={"type": "object"})
    assert talk.ask(question) == talk.ask(question) == "{}"
    forms = ["response_format" in json.loads(asked.body) for asked in stub.asked]
    assert forms == [True, False, False]


def test_a_refusal_that_has_another_reason_is_told_once_and_the_schema_is_tried_again(stub: Stub) -> None:
    stub.on("POST", PATH, Answer(401, b"{}"), Answer(404, b"{}"), Answer(404, b"{}"), said("{}"))
    talk, question = chat(stub), Question("q", schema={"type": "object"})
    for status in (401, 404):
        with pytest.raises(RemoteError, match=f"answers {status}"):
            talk.ask(question)
    assert talk.ask(question) == "{}" and talk.takes_schema


@pytest.mark.parametrize(
    "answer",
    [{}, {"choices": []}, {"choices": "x"}, {"choices": [3]}, {"choices": [{"message": []}]}, said(None), said("  "), said(7), said([{"text": 3}])],
    ids=str,
)  # fmt: skip
def test_an_answer_without_words_is_an_error(stub: Stub, answer: dict[str, Any]) -> None:
    stub.on("POST", PATH, answer)
    with pytest.raises(RemoteError, match="answers without words"):
        chat(stub).ask(Question("q"))


def test_words_in_parts_are_put_together_and_counts_that_are_none_are_left_out(stub: Stub) -> None:
    stub.on("POST", PATH, said([{"type": "text", "text": "a "}, {"type": "text", "text": "b"}], usage={"prompt_tokens": "9", "completion_tokens": -1}))  # fmt: skip
    talk = chat(stub)
    assert talk.ask(Question("q")) == "a b" and talk.tokens == {"read": 0, "written": 0}


def test_ten_megabytes_a_redirect_and_silence_are_errors(stub: Stub) -> None:
    stub.on(
        "POST",
        PATH,
        Answer(body=json.dumps(said("x" * (10 << 20))).encode()),
        Answer(307, b"", {"Location": "http://127.0.0.1:9/v1/chat/completions"}),
        Answer(is_deaf=True),
    )
    talk = chat(stub)
    for why in ("more than 4 MiB", "sends a POST on to", "broke"):
        with pytest.raises(RemoteError, match=why):
            talk.ask(Question("q"))


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('{"target": "a"}', {"target": "a"}),
        ('Sure! Here it is:\n```json\n{"target": "a {b}"}\n```', {"target": "a {b}"}),
        ('<think>{"target": "no"}</think>{"target": "yes"}', {"target": "yes"}),
        ('<think>{"target": "never ends"}', None),
        ('{not json} {"target": "a"}', {"target": "a"}),
        ("[1, 2]", None),
        ("nothing", None),
        ("{" * 30_000, None),
        ('{"a":' * 5_000, None),
        ('{"a": ' + "9" * 5_000 + "}", None),
    ],
)
def test_the_first_object_is_found_in_whatever_stands_around_it(answer: str, found: Any) -> None:
    assert first_object(answer) == found


def test_thoughts_are_taken_out() -> None:
    assert without_thoughts("<THINK>a\nb</think>\nc") == "c"
