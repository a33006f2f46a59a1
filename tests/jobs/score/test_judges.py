"""Protects vedit/jobs/score/judges.py and the judge_* metrics: a judge that knows the truth, answers that are
only words, and what is sent to a stub server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from tests.conftest import vedit
from tests.metrics.clips import clip, noise
from vedit.data.cases import load_cases
from vedit.errors import RemoteError, UsageError
from vedit.jobs.draw_scene import frames_of, write_scene
from vedit.jobs.score.judges import HostedJudge, TruthJudge, judge_of
from vedit.metrics import judge_grades, judge_points, judge_questions
from vedit.metrics._judging import Asked, choice, scale, shown, understood, yes_no
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options
from vedit.remote.chat import Chat
from vedit.remote.http import Service


class Says:
    """A judge with given answers."""

    name = "a stub"

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), []

    def answer(self, asked: Asked, edited: Any, source: Any) -> str:
        self.asked.append((asked, len(edited), None if source is None else len(source)))
        return self.answers.pop(0)

    def facts(self) -> dict[str, Any]:
        return {}


def score(module: Any, *answers: str) -> dict[str, Any]:
    case = clip(noise(9), noise(9, seed=1), prompt="a dog", source_prompt="a cat")
    return module.score(case, Towers(Options(), judge=Says(*answers)), Options())


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        (("no", "yes", "b"), (1, 1, 1)),
        (("no", "yes", "a"), (1, 0, 0.5)),
        (("yes", "yes", "b"), (0, 1, 0.5)),
        (("no", "no", "a"), (0, 0, 0)),
    ],
)
def test_accuracy_is_the_mean_of_both_either_and_all(answers: Any, wanted: Any) -> None:
    found = score(judge_questions, *answers)
    assert tuple(one.value for one in found.values()) == wanted


def test_grades_are_not_above_the_first_and_points_are_summed() -> None:
    found = score(judge_grades, "3", "5", "2")
    assert {key: one.value for key, one in found.items()} == {
        "judge_following": 3,
        "judge_keeping": 3,
        "judge_looks": 2,
        "judge_grade": pytest.approx(8 / 3),
    }
    assert score(judge_points, "3", "0", "2")["judge_points"].value == 5


@pytest.mark.parametrize(
    ("asked", "answer", "wanted"),
    [
        (yes_no("x"), "Yes.", "yes"),
        (yes_no("x"), "**no**, it shows a dog", "no"),
        (yes_no("x"), "yes and no", None),
        (yes_no("x"), "", None),
        (choice("x", "y"), "b", "b"),
        (choice("x", "y"), "b) y", "b"),
        (choice("x", "y"), "(B)", "b"),
        (choice("x", "y"), "a dog is shown", None),
        (scale("looks", "x", "y", 1, 5), "4", "4"),
        (scale("looks", "x", "y", 1, 5), "4/5", "4"),
        (scale("looks", "x", "y", 1, 5), "Grade: 4.", "4"),
        (scale("looks", "x", "y", 1, 5), "6", None),
        (scale("looks", "x", "y", 1, 5), "between 3 and 4", None),
        (scale("looks", "x", "y", 0, 3), "0", "0"),
        (yes_no("x"), "--output /etc/passwd", None),
        (yes_no("x"), "<script>alert(1)</script>", None),
    ],
)
def test_only_the_answers_asked_for_are_understood(asked: Asked, answer: str, wanted: str | None) -> None:
    assert understood(asked, answer) == wanted


def test_an_unparsable_answer_is_counted_and_gives_no_number() -> None:
    found = score(judge_questions, "no", "perhaps", "b")
    assert np.isnan(found["judge_yes_no"].value) and np.isnan(found["judge_accuracy"].value)
    assert found["judge_choice"].value == 1
    assert found["judge_yes_no"].extra["unparsable"] == 1


def test_frames_are_taken_evenly_with_first_and_last() -> None:
    assert shown(np.arange(9)).tolist() == [0, 3, 5, 8]
    assert shown(np.arange(2)).tolist() == [0, 1]


def pixels(scene: Any) -> np.ndarray:
    return np.stack([np.asarray(frame.pixels) for frame in frames_of(scene, 4)[1]])


def test_the_truth_judge_tells_true_edits_from_none() -> None:
    cases = [case for case in load_cases("drawn-scenes") if case.kind != "size"][::12]
    judge, right = TruthJudge(), 0
    for case in cases:
        source, truth = pixels(case.scene), pixels(case.truth)
        facts = {"prompt": case.target_prompt, "source_prompt": case.source_prompt}
        towers = Towers(Options(), judge=judge)
        done = judge_questions.score(clip(truth, source, **facts), towers, Options())["judge_accuracy"]
        none = judge_questions.score(clip(source, source, **facts), towers, Options())["judge_accuracy"]
        points = judge_points.score(clip(truth, source, **facts), towers, Options())["judge_points"]
        copy = judge_grades.score(clip(source, source, **facts), towers, Options())
        assert copy["judge_following"].value == 1
        right += done.value == 1 and none.value == 0 and points.value == 9
    assert right >= len(cases) - 1


def test_noise_is_no_scene_for_the_truth_judge() -> None:
    judge = TruthJudge()
    grade = scale("looks", "a red circle", "a blue circle", 0, 3)
    assert judge.answer(grade, noise(4, 64, 64), noise(4, 64, 64)) == "0"
    assert judge.answer(yes_no("a blue circle"), noise(4, 64, 64), None) == "no"


# --- a stub server -------------------------------------------------------------------------------

Serve = Callable[[Callable[[Any], tuple[int, dict[str, str], bytes]]], str]


@pytest.fixture
def served() -> Iterator[Any]:
    """Starts a server with an answer; its requests are kept in `served.bodies`."""
    servers = []

    class Serves:
        bodies: list[Any] = []  # noqa: RUF012
        headers: list[Any] = []  # noqa: RUF012

        def __call__(self, status: int, headers: dict[str, str], body: bytes) -> str:
            kept = self

            class Handler(BaseHTTPRequestHandler):
                def do_POST(self) -> None:
                    kept.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                    kept.headers.append(dict(self.headers))
                    self.send_response(status)
                    for name, value in {**headers, "Content-Length": str(len(body))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    try:
                        self.wfile.write(body)
                    except OSError:
                        pass

                def log_message(self, *arguments: Any) -> None:
                    pass

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            servers.append(server)
            return f"http://127.0.0.1:{server.server_port}/v1"

    found = Serves()
    found.bodies, found.headers = [], []
    yield found
    for server in servers:
        server.shutdown()
        server.server_close()


def words(text: str) -> bytes:
    usage = {"prompt_tokens": 900, "completion_tokens": 2}
    return json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode()


def hosted(url: str, folder: Path | None = None, key: str = "") -> HostedJudge:
    return HostedJudge(Chat(Service(url, key, sleep=lambda seconds: None), "eye-7b"), folder)


def test_pictures_and_question_are_sent_and_the_cost_is_told(served: Any, tmp_path: Path) -> None:
    judge = hosted(served(200, {}, words("<think>hm</think>Yes")), tmp_path / "kept", "secret-key-1")
    assert judge.answer(yes_no("a dog"), noise(3), None) == "Yes"
    content = served.bodies[0]["messages"][1]["content"]
    assert [part["type"] for part in content] == ["image_url"] * 3 + ["text"]
    assert content[0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert 'show this: "a dog"' in content[-1]["text"]
    assert judge.answer(yes_no("a dog"), noise(3), None) == "Yes"  # out of the folder
    assert len(served.bodies) == 1
    assert judge.answer(yes_no("a cat"), noise(3), None) == "Yes"
    facts = judge.facts()
    assert (facts["asked"], facts["reused"], facts["tokens_read"], facts["tokens_written"]) == (
        2, 1, 1800, 4,
    )  # fmt: skip
    kept = "".join(path.read_text() for path in (tmp_path / "kept").iterdir()) + json.dumps(dict(facts))
    assert "secret-key-1" not in kept
    assert served.headers[0]["Authorization"] == "Bearer secret-key-1"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (302, {"Location": "http://127.0.0.1:1/other"}, b""),
        (200, {}, b""),
        (200, {}, b"<html>hello</html>"),
        (200, {}, b"{" + b" " * (10 << 20) + b"}"),
        (200, {}, b'{"choices": []}'),
        (401, {}, b'{"error": {"message": "no key"}}'),
    ],
)
def test_what_is_no_answer_is_an_error_of_the_service(
    served: Any, status: int, headers: dict[str, str], body: bytes
) -> None:
    judge = hosted(served(status, headers, body))
    with pytest.raises(RemoteError):
        judge.answer(yes_no("a dog"), noise(2), None)
    assert len(served.bodies) == 1


def test_nothing_is_sent_without_a_named_host_and_a_model() -> None:
    assert judge_of(None, None, None) is None
    with pytest.raises(UsageError, match="needs the name of a model"):
        judge_of("https://example.org/v1", None, None)
    with pytest.raises(UsageError, match="plain HTTP"):
        judge_of("http://example.org/v1", "m", None)
    with pytest.raises(UsageError, match="go with"):
        judge_of(None, "m", None)


def test_a_report_says_who_judged_and_what_it_cost(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = load_cases("drawn-scenes")[0]
    for name, scene in (("s", case.scene), ("e", case.truth)):
        write_scene(scene, str(tmp_path / f"{name}.gif"), frames=2)
    line = ("score", tmp_path / "e.gif", "--source", tmp_path / "s.gif", "--metrics", "judge_questions",
            "--prompt", case.target_prompt, "--source-prompt", case.source_prompt)  # fmt: skip
    done = vedit(*line, "--judge", "truth", "--json", "-")
    assert done.code == 0, done.err
    assert json.loads(done.out)["videos"][0]["values"]["judge_accuracy"]["value"] == 1
    refused = vedit(*line)
    assert refused.code == 2 and "needs a judge (--judge)" in refused.err
    monkeypatch.setenv("VEDIT_REMOTE_KEY", "secret-key-2")
    url = served(200, {}, words("--output <b>/etc/passwd</b>"))
    odd = vedit(*line, "--judge", url, "--judge-model", "eye-7b", "--json", tmp_path / "r.json")
    assert odd.code in (0, 8), odd.err
    text = (tmp_path / "r.json").read_text()
    assert json.loads(text)["provenance"]["weights"]["judge"]["asked"] == 3
    assert '"unparsable": 3' in text and "secret-key-2" not in text + odd.err + odd.text
