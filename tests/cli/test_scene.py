"""Protects the commands scene, train, bench model and models pack: exit codes and what they print."""

import json
import os
import signal
import subprocess
import sys

import pytest

from vedit.cli import execute

CAPTION = "a small red circle moving left on a grey background"


def test_scene_writes_a_clip_its_truth_and_its_record(tmp_path, capsys):
    paths = {name: str(tmp_path / name) for name in ("clip.gif", "truth.gif", "scene.json")}
    code = execute(
        [
            "scene",
            CAPTION,
            "-o",
            paths["clip.gif"],
            "--truth",
            "a blue circle",
            "-t",
            paths["truth.gif"],
            "--record",
            paths["scene.json"],
            "--json",
        ]
    )
    assert code == 0 and {path.name for path in tmp_path.iterdir()} == set(paths)
    printed = json.loads(capsys.readouterr().out)
    assert printed["caption"] == CAPTION and printed["truth"]["colour"] == "blue"
    assert json.loads((tmp_path / "scene.json").read_text()) == printed


def test_an_unknown_word_exits_2_and_names_the_nearest(tmp_path, capsys):
    assert execute(["scene", "a red cirlce", "-o", str(tmp_path / "a.gif")]) == 2
    assert 'Did you mean "circle"?' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give a caption or --from-record"),
        ([CAPTION], "no output named"),
        ([CAPTION, "--truth", "a star", "-o", "a.gif"], "--truth needs -t"),
        ([CAPTION, "-t", "b.gif"], "-t needs --truth"),
    ],
)
def test_a_call_that_cannot_be_meant_exits_2_with_an_example(arguments, says, capsys):
    assert execute(["scene", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error and "vedit scene" in error


def test_an_existing_clip_is_kept_without_y(tmp_path, monkeypatch):
    target = tmp_path / "a.gif"
    target.write_bytes(b"mine")
    assert execute(["scene", CAPTION, "-o", str(target)]) == 4
    assert target.read_bytes() == b"mine"
    assert execute(["scene", CAPTION, "-o", str(target), "-y"]) == 0
    assert target.read_bytes()[:3] == b"GIF"


def test_a_record_that_is_none_exits_3(tmp_path, capsys):
    record = tmp_path / "scene.json"
    record.write_text("[1]")
    assert execute(["scene", "--from-record", str(record), "-o", str(tmp_path / "a.gif")]) == 3
    assert "not a scene record" in capsys.readouterr().err


def test_benching_a_folder_without_a_model_exits_5(tmp_path, capsys):
    assert execute(["bench", "model", str(tmp_path)]) == 5
    assert "vedit models pack RUN" in capsys.readouterr().err


def test_packing_a_run_that_never_was_exits_5(tmp_path, capsys):
    assert execute(["models", "pack", str(tmp_path / "none"), "-o", str(tmp_path / "model")]) == 5
    assert not list(tmp_path.iterdir())


def test_training_the_denoiser_before_the_codec_exits_5(tmp_path, capsys):
    assert execute(["train", "--preset", "shapes", "--out", str(tmp_path)]) == 5
    assert "--preset shapes-codec" in capsys.readouterr().err


@pytest.mark.slow
def test_sigterm_saves_the_state_and_exits_75(tmp_path):
    command = [
        sys.executable,
        "-m",
        "vedit",
        "train",
        "--preset",
        "shapes-judge",
        "--out",
        str(tmp_path),
        "--threads",
        "1",
        "--json",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    first = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 75
    saved = (tmp_path / "judge" / "state" / "latest").read_text().strip()
    assert int(saved.removeprefix("step-")) >= first["step"] == 50


def test_a_missing_extra_names_the_install_line(monkeypatch, tmp_path, capsys):
    from vedit.jobs import extras

    monkeypatch.setitem(extras.EXTRAS, "diffusion", ("torch", "not_a_library"))
    assert execute(["train", "--preset", "shapes", "--out", str(tmp_path)]) == 5
    assert 'pip install "vedit[diffusion]"' in capsys.readouterr().err
