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
from vedit.errors import InputError, RemoteError, UsageError
from vedit.jobs.draw_scene import frames_of, write_scene
from vedit.jobs.score.clips import read_frames
from vedit.jobs.score.judges import HostedJudge, TruthJudge, judge_of
from vedit.metrics import judge_checklist, judge_grades, judge_points, judge_questions
from vedit.metrics._judging import Asked, checked, choice, scale, shown, understood, yes_no
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
    with pytest.raises(UsageError, match="goes with the address"):
        judge_of(None, "m", None)
    for name in ("truth", "local:here", "hub:a/b"):
        with pytest.raises(UsageError, match="goes with the address"):
            judge_of(name, "m", None)
    with pytest.raises(UsageError, match="did you mean truth"):
        judge_of("trut", None, None)
    with pytest.raises(UsageError, match="names no model"):
        judge_of("hub:", None, None)


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


# --- a model that runs here ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def eye(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolVLM2 in small, with random weights, as its repository is laid out."""
    pytest.importorskip("num2words")
    from tests.jobs.caption.tiny import save_smolvlm2

    return save_smolvlm2(tmp_path_factory.mktemp("eye") / "smolvlm2")


def test_a_model_that_runs_here_sees_the_frames_and_answers_the_same_again(eye: Path, tmp_path: Path) -> None:
    first, again = (judge_of(f"local:{eye}", folder=tmp_path / "kept", device="cpu") for _ in range(2))
    assert first is not None and again is not None and list(first.facts()) == ["judge", "asked", "reused"]
    dark, light = np.zeros((3, 32, 32, 3), np.uint8), np.full((3, 32, 32, 3), 255, np.uint8)
    grade = scale("looks", "a cat", "a dog", 1, 5)
    said = [
        first.answer(grade, dark, dark),
        first.answer(grade, light, dark),
        first.answer(yes_no("a dog"), dark, None),
    ]
    assert len(list((tmp_path / "kept").iterdir())) == 3 and all(isinstance(one, str) for one in said)
    assert again.answer(grade, dark, dark) == said[0]
    facts = again.facts()
    assert (facts["asked"], facts["reused"]) == (0, 1) and len(facts["sha256"]) == 64
    fresh = judge_of(f"local:{eye}", device="cpu")
    assert fresh is not None and fresh.answer(grade, light, dark) == said[1], "nothing is drawn by chance"


def test_the_answers_of_a_model_that_runs_here_come_into_a_report(
    eye: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vedit.models.readers import Reader

    texts: list[str] = []

    def asked(self: Reader, text: str, pictures: Any, **how: Any) -> str:
        texts.append(text)
        assert len(pictures) == 2 and how == {"most_tokens": 128, "may_be_empty": True}
        return "" if '"a red' in text else "Yes"

    monkeypatch.setattr(Reader, "asked", asked)
    write_scene(load_cases("drawn-scenes")[0].scene, str(tmp_path / "e.gif"), frames=2)
    done = vedit("score", tmp_path / "e.gif", "--prompt", "a dog", "--source-prompt", "a red cat", "--judge",
                 f"local:{eye}", "--metrics", "judge_questions", "--json", "-")  # fmt: skip
    told = json.loads(done.out)
    extra = told["videos"][0]["values"]["judge_yes_no"]["extra"]
    assert extra["answers"] == [None, "yes"] and extra["unparsable"] == 1, "no words are no answer"
    assert told["provenance"]["weights"]["judge"]["judge"] == str(eye) and len(texts) == 3
    assert all(text.startswith("You judge edited videos.") for text in texts)


def test_a_captioner_that_is_not_asked_in_words_is_no_judge(tmp_path: Path) -> None:
    from tests.jobs.caption.tiny import save_blip
    from vedit.errors import ModelError

    judge = judge_of(f"local:{save_blip(tmp_path / 'blip')}", device="cpu")
    assert judge is not None
    with pytest.raises(ModelError, match="is not asked in words"):
        judge.answer(yes_no("a dog"), noise(2), None)


# --- checklists ----------------------------------------------------------------------------------


def checklist(answers: tuple[str, ...], questions: tuple[tuple[str, str], ...]) -> Any:
    case = clip(noise(3), questions=questions)
    return judge_checklist.score(case, Towers(Options(), judge=Says(*answers)), Options())["judge_checklist"]


def test_a_checklist_is_the_share_of_right_answers_among_those_understood() -> None:
    questions = (("Is there a dog?", "yes"), ("Is there a cat?", "no"), ("Is it night?", "yes"))
    found = checklist(("yes", "yes", "Yes."), questions)
    assert found.value == pytest.approx(2 / 3) and found.extra["unparsable"] == 0
    partly = checklist(("yes", "perhaps", "no"), questions)
    assert partly.value == 0.5 and partly.extra["answers"] == ["yes", None, "no"]
    assert np.isnan(checklist(("hm", "", "yes and no"), questions).value)


def test_the_truth_judge_reads_questions_about_scenes(tmp_path: Path) -> None:
    path = tmp_path / "star.gif"
    assert vedit("scene", "a green star on a grey background", "-o", path, "--frames", "2").code == 0
    frames, judge = read_frames(str(path)), TruthJudge()
    asked = {
        "Is there a green star on a grey background?": "yes",
        "Is the star red?": "no",
        "Is the background grey?": "yes",
        "Is the background navy?": "no",
        "Is it a large star?": "no",
        "Is the background gray and plain?": "yes",
    }
    assert {question: judge.answer(checked(question), frames, None) for question in asked} == asked


def test_the_truth_judge_does_not_guess_at_other_questions() -> None:
    with pytest.raises(InputError, match="names nothing of a drawn scene"):
        TruthJudge().answer(checked("Is anybody happy?"), noise(2, 64, 64), None)


def test_questions_stand_in_the_index_and_other_metrics_do_not_depend_on_them(tmp_path: Path) -> None:
    case = load_cases("drawn-scenes")[0]
    (tmp_path / "out").mkdir()
    write_scene(case.truth, str(tmp_path / "out" / "a.gif"), frames=2)
    index = tmp_path / "i.toml"
    line = ("score", "--index", index, "--edited", tmp_path / "out", "--judge", "truth", "--metrics",
            "judge_checklist,sharpness", "--resume", "-y", "--json", tmp_path / "r.json")  # fmt: skip
    text = '[[video]]\nid = "a"\n[[video.edit]]\nprompt = "x"\nquestions = '
    colour = case.truth.fields["colour"]
    index.write_text(text + f'["Is it {colour}?", {{ ask = "Is it a digit 5?", answer = "no" }}]\n')
    assert vedit(*line).code == 0
    first = json.loads((tmp_path / "r.json").read_text())["videos"][0]["values"]
    assert first["judge_checklist"]["value"] == 1
    index.write_text(text + f'[{{ ask = "Is it {colour}?", answer = "no" }}]\n')
    assert vedit(*line).code == 0
    second = json.loads((tmp_path / "r.json").read_text())["videos"][0]["values"]
    assert second["judge_checklist"]["value"] == 0
    assert second["sharpness"]["provenance"] == first["sharpness"]["provenance"], "not computed again"
    for wrong in (
        "[3]",
        '[{ ask = "x", answer = "maybe" }]',
        '[{ answer = "no" }]',
        '[""]',
        '[{ask="x",a="b"}]',
    ):
        index.write_text(text + wrong + "\n")
        refused = vedit(*line)
        assert refused.code == 3 and "is not a question" in refused.err, wrong
