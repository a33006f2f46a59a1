"""`vedit train` for a generator and `vedit generate` from it, through the command line on a folder of clips."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests import reference
from tests.training.videos import squares, write_folder
from vedit.cli import execute
from vedit.errors import InputError, Stopped, VeditError
from vedit.jobs.train import generator as app
from vedit.jobs.train.clip_folder import find_pairs, read_folder
from vedit.models.unet3d.params import DataTable
from vedit.training.loop import latest_state, state_of
from vedit.training.video import VideoTask

SMALL = [
    "--set",
    "model.dim=4",
    "--set",
    "model.heads=2",
    "--set",
    "model.head_width=4",
    "--set",
    "sample.steps=2",
]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data"))


def train(data: Path, run: Path, *more: str, steps: int = 3) -> int:
    return execute(
        [
            "train",
            "--preset",
            "tiny",
            "--data",
            str(data),
            "--out",
            str(run),
            "--steps",
            str(steps),
            *SMALL,
            *more,
        ]
    )


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert train(data, folder, "-q") == 0
    return folder


# --- the data folder ---


def test_a_folder_is_decoded_to_its_own_pixels(data: Path, tmp_path: Path) -> None:
    clips = read_folder(data, DataTable(frames=4, size=8), tmp_path)
    assert [captions[0] for captions in clips.captions] == ["a square moving left", "a square moving right"]
    assert (clips.pixels_NFYX3 == squares()[::-1]).all()
    assert clips.fps == 10


def test_clips_that_cannot_be_used_are_named_and_left_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data")
    (folder / "torn.gif").write_bytes((folder / "left.gif").read_bytes()[:30])
    (folder / "torn.txt").write_text("torn")
    (folder / "silent.gif").write_bytes((folder / "left.gif").read_bytes())
    (folder / "empty.gif").write_bytes((folder / "left.gif").read_bytes())
    (folder / "empty.txt").write_text("\n \n")
    said: list[str] = []
    clips = read_folder(folder, DataTable(frames=4, size=8), tmp_path / "cache", warn=said.append)
    assert len(clips) == 2
    assert {line.split(":")[1].strip() for line in said} == {"torn.gif", "silent.gif", "empty.txt"}
    again: list[str] = []
    read_folder(folder, DataTable(frames=4, size=8), tmp_path / "cache", warn=again.append)
    assert again == said  # also when nothing is decoded again


def test_decoded_clips_are_used_again_until_files_or_settings_change(tmp_path: Path) -> None:
    folder, cache = write_folder(tmp_path / "data"), tmp_path / "cache"
    first = read_folder(folder, DataTable(frames=4, size=8), cache)
    made = (cache / "clips.u8").stat().st_mtime_ns
    assert read_folder(folder, DataTable(frames=4, size=8), cache).fingerprint == first.fingerprint
    assert (cache / "clips.u8").stat().st_mtime_ns == made
    (folder / "left.txt").write_text("something else")
    changed = read_folder(folder, DataTable(frames=4, size=8), cache)
    assert changed.fingerprint != first.fingerprint and changed.captions[0] == ["something else"]
    assert read_folder(folder, DataTable(frames=2, size=8), cache).pixels_NFYX3.shape == (2, 2, 8, 8, 3)


def test_several_captions_stand_in_lines(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "left.txt").write_text("one\n\ntwo\n")
    assert find_pairs(folder)[0][0].captions == ["one", "two"]


def test_an_empty_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="vedit data moving-mnist --synth"):
        read_folder(tmp_path, DataTable(frames=4, size=8), tmp_path / "cache")
    with pytest.raises(InputError, match="no such folder"):
        read_folder(tmp_path / "none", DataTable(frames=4, size=8), tmp_path / "cache")


# --- training ---


def test_a_run_leaves_state_log_curve_and_strips(run: Path) -> None:
    state = state_of(latest_state(run))
    assert (state["step"], state["config"]["clips"]["count"], state["config"]["vgg"]) == (3, 2, None)
    line = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    assert {"step", "losses", "rate", "ema_decay", "seconds"} <= line.keys() and {
        "loss",
        "l_pix",
        "norm",
    } <= line["losses"].keys()
    with Image.open(run / "loss.png") as curve, Image.open(run / "samples" / "step-000000003.png") as strip:
        assert curve.size == (900, 420) and strip.size == (4 * 64, 2 * 64)


def test_sigterm_saves_and_exits_with_75_and_the_same_command_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    straight = VideoTask.losses

    def losses(task: VideoTask, number: int) -> dict[str, torch.Tensor]:
        if number == 1:
            signal.raise_signal(signal.SIGTERM)  # a step that has changed no weight yet is given up
        return straight(task, number)

    monkeypatch.setattr(VideoTask, "losses", losses)
    assert train(data, tmp_path / "cut", steps=4) == 75
    assert "stopped at step 1" in capsys.readouterr().err
    monkeypatch.undo()
    assert train(data, tmp_path / "cut", "-q", steps=4) == 0
    assert train(data, tmp_path / "whole", "-q", steps=4) == 0
    cut, whole = (load_file(latest_state(tmp_path / name) / "ema.safetensors") for name in ("cut", "whole"))
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


def test_a_changed_setting_is_refused_and_fresh_begins_anew(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, tmp_path, "-q", steps=1) == 0
    assert train(data, tmp_path, "-q", "--rate", "0.5", steps=2) == 2
    assert "options.rate was 0.004, is 0.5" in capsys.readouterr().err
    assert train(data, tmp_path, "-q", "--rate", "0.5", "--fresh", steps=1) == 4
    assert "--fresh would remove it" in capsys.readouterr().err
    assert train(data, tmp_path, "-q", "--rate", "0.5", "--fresh", "-y", steps=1) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--preset", "tiny", "--out", "R"], "--data is missing"),
        (["--preset", "tny", "--out", "R", "--data", "D"], "did you mean tiny"),
        (["--preset", "tiny", "--out", "R", "--data", "D", "--set", "optim.rte=1"], "did you mean rate"),
        (["--preset", "tiny", "--out", "R", "--data", "D", "--set", "rate"], "--set rate has no value"),
        (
            ["--preset", "tiny", "--out", "R", "--data", "D", "--anneal", "5"],
            "--anneal is not for the preset tiny",
        ),
        (["--preset", "shapes", "--out", "R", "--data", "D"], "--data is not for the preset shapes"),
        (["--preset", "shapes", "--out", "R", "--precision", "fp16"], "fp16 is not for the embedded models"),
        (["--preset", "web-small.toml", "--out", "R", "--data", "D"], "cannot read: no such file"),
        (["--out", "R"], "--preset is missing"),
    ],
)
def test_wrong_calls_of_train_say_what_is_wrong(
    words: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["train", *words]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "R").exists()


def test_the_settings_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["train", "--describe"]) == 0
    assert "cut_below = 0.5: with timesteps = cut" in capsys.readouterr().out


def test_losses_go_to_tensorboard_where_it_is_installed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, int]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            assert folder.endswith("tensorboard")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, step))

        def close(self) -> None:
            written.append(("closed", 0))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    assert train(data, tmp_path, "-q", steps=1) == 0
    assert ("loss", 1) in written and written[-1] == ("closed", 0)


def test_no_tensorboard_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert app.open_board(tmp_path) is None


def test_launched_processes_are_told_who_they_are_and_the_first_failure_counts(tmp_path: Path) -> None:
    code = (
        "import os, sys; open(os.environ['RANK'], 'w').write(os.environ['WORLD_SIZE'] +"
        " os.environ['MASTER_ADDR']); sys.exit(int(sys.argv[1 + int(os.environ['RANK'])]))"
    )
    command = [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {code}"]
    app.launch([*command, "0", "0"], 2)
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["2127.0.0.1"] * 2
    with pytest.raises(VeditError, match="process 1 of 2 ended with 4") as failed:
        app.launch([*command, "0", "4"], 2)
    assert failed.value.exit_code == 4
    with pytest.raises(Stopped):
        app.launch([*command, "75", "75"], 2)


@pytest.mark.parametrize("module", ["click", "vedit", "torch", "sitecustomize"])
def test_launched_processes_import_nothing_from_the_working_folder(
    module: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')")
    commands: list[list[str]] = []
    monkeypatch.setattr(app, "launch", lambda command, count: commands.append(list(command)))
    assert train(data, tmp_path / "run", "--launch", "2") == 0
    interpreter = commands[0][: commands[0].index("vedit") + 1]
    done = subprocess.run([*interpreter, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout[:6]) == (0, "vedit ")
    assert not (tmp_path / "RAN").exists()


@pytest.mark.slow
def test_two_processes_train_as_one_with_two_batches(data: Path, tmp_path: Path) -> None:
    """Through the command line, SIGTERM in the middle of the run included."""
    command = [
        sys.executable,
        "-m",
        "vedit",
        "train",
        "--preset",
        "tiny",
        "--data",
        str(data),
        "--threads",
        "1",
        "--steps",
        "6",
        "--set",
        "run.log_every=1",
        *SMALL,
    ]
    one = [*command, "--out", str(tmp_path / "one"), "--set", "optim.batch=2", "--set", "optim.accumulate=2"]
    two = [*command, "--out", str(tmp_path / "two"), "--set", "optim.batch=2", "--launch", "2"]
    assert subprocess.run(one, capture_output=True).returncode == 0
    child = subprocess.Popen(two, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None and "step 1" in child.stderr.readline()
    child.send_signal(signal.SIGTERM)
    child.communicate()
    assert child.returncode == 75
    assert subprocess.run(two, capture_output=True).returncode == 0
    a, b = (load_file(latest_state(tmp_path / name) / "ema.safetensors") for name in ("one", "two"))
    assert max(float((a[name] - b[name]).abs().max()) for name in a) < 1e-5


# --- sampling ---


def generate(*words: object) -> int:
    return execute(["generate", *map(str, words), "--steps", "3", "--device", "cpu", "-q"])


def test_a_clip_is_made_repeats_and_has_its_record(run: Path, tmp_path: Path) -> None:
    for name in ("a.gif", "b.gif"):
        assert generate("a square moving left", "--model", run, "-o", tmp_path / name, "--seed", 4) == 0
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    assert generate("a square moving left", "--model", run, "-o", tmp_path / "c.gif", "--seed", 5) == 0
    assert (tmp_path / "a.gif").read_bytes() != (tmp_path / "c.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as clip:
        assert (clip.size, clip.n_frames, clip.info["duration"]) == ((8, 8), 4, 100)
    record = json.loads((tmp_path / "a.gif.vedit.json").read_text())
    assert (record["command"], record["model"]["weights"], record["clips"][0][0]["seed"]) == (
        "generate",
        "ema",
        4,
    )


def test_raw_weights_guidance_and_a_negative_prompt_each_change_the_clip(run: Path, tmp_path: Path) -> None:
    cases = {
        "plain": [],
        "raw": ["--weights", "raw"],
        "guided": ["--guidance", 40],
        "negative": ["--guidance", 40, "--negative", "a cat"],
        "eta": ["--eta", 1],
    }
    made = {}
    for name, words in cases.items():
        assert (
            generate(
                "a square moving left",
                "--model",
                run,
                "-o",
                tmp_path / f"{name}.gif",
                "--save-x-start",
                tmp_path / name,
                *words,
            )
            == 0
        )
        made[name] = load_file(tmp_path / name / "step-002.safetensors")["x0"]
    for name in cases:
        assert all(not torch.equal(made[name], made[other]) for other in cases if other != name)


def test_seeds_and_prompts_make_a_grid_or_a_folder(run: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("# two\na square moving left\n\na square moving right\n")
    assert (
        generate(
            "--prompts", tmp_path / "prompts.txt", "--model", run, "-o", tmp_path / "grid.gif", "--count", 3
        )
        == 0
    )
    with Image.open(tmp_path / "grid.gif") as grid:
        assert (grid.size, grid.n_frames) == ((3 * 9 - 1, 2 * 9 - 1), 4)
    assert (
        generate("--prompts", tmp_path / "prompts.txt", "--model", run, "-O", tmp_path / "all", "--seed", 7)
        == 0
    )
    assert sorted(path.name for path in (tmp_path / "all").glob("*.gif")) == [
        "001-a-square-moving-left-seed7.gif",
        "002-a-square-moving-right-seed7.gif",
    ]


def test_a_stored_x0_goes_on_exactly_and_stays_outside_the_mask(run: Path, tmp_path: Path) -> None:
    x0 = tmp_path / "x0"
    assert (
        generate("a square moving left", "--model", run, "-o", tmp_path / "a.gif", "--save-x-start", x0) == 0
    )
    assert sorted(path.name for path in x0.glob("*.safetensors")) == [
        f"step-{step:03d}.safetensors" for step in range(3)
    ]
    last = x0 / "step-002.safetensors"
    again = tmp_path / "again"
    words = [
        "--from-x-start",
        last,
        "--from-step",
        1,
        "--mask",
        "0,0,4,8",
        "--save-x-start",
        again,
        "--seed",
        9,
    ]
    assert generate("a square moving right", "--model", run, "-o", tmp_path / "b.apng", *words) == 0
    with Image.open(tmp_path / "b.apng") as made:
        made.seek(1)
        right_half = torch.frombuffer(bytearray(made.convert("RGB").tobytes()), dtype=torch.uint8).view(
            8, 8, 3
        )[:, 4:]
    kept = ((load_file(last)["x0"].clamp(-1, 1) + 1) * 127.5).round().byte()[:, 1].permute(1, 2, 0)
    assert torch.equal(right_half, kept[:, 4:])
    assert (
        generate(
            "a square moving right",
            "--model",
            run,
            "-o",
            tmp_path / "c.gif",
            "--from-x-start",
            tmp_path / "a.gif",
            "--save-x-start",
            tmp_path / "strip.png",
        )
        == 0
    )
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.size == (4 * 64, 3 * 64)


def test_a_regenerated_clip_is_repeated_without_writing_its_steps_again(run: Path, tmp_path: Path) -> None:
    x0 = tmp_path / "x0"
    assert (
        generate("a square moving left", "--model", run, "-o", tmp_path / "a.gif", "--save-x-start", x0) == 0
    )
    words = [
        "--from-x-start",
        x0 / "step-002.safetensors",
        "--from-step",
        1,
        "--mask",
        "0,0,4,8",
        "--save-x-start",
        tmp_path / "again",
    ]
    assert generate("a square moving right", "--model", run, "-o", tmp_path / "b.gif", *words) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "again").iterdir()}
    assert execute(["replay", str(tmp_path / "b.gif"), "-o", str(tmp_path / "c.gif"), "-q"]) == 0
    one, other = (reference.read((tmp_path / name).read_bytes()).frames() for name in ("b.gif", "c.gif"))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "again").iterdir()} == before


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--mask", "0,0,4,8"], 2, "--mask needs --from-x-start"),
        (["--from-x-start", "none.safetensors"], 3, "no such file"),
        (["--size", "9"], 2, "Try --size 8"),
        (["--clip", "dynamo"], 2, "--clip dynamo is not known"),
        (["--guidance", "1", "--negative", "x"], 2, "no meaning with guidance 1"),
        (["--save-x-start", "x0", "--count", "2"], 2, "keeps the steps of one clip"),
        (["--base-url", "http://127.0.0.1:1"], 2, "--base-url"),
    ],
)
def test_wrong_calls_of_generate_say_what_is_wrong(
    words: list[str], code: int, says: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate("a square", "--model", run, "-o", tmp_path / "a.gif", *words) == code
    assert says in capsys.readouterr().err
    assert not (tmp_path / "a.gif").exists()


def test_an_exported_folder_makes_the_same_clips_and_names_what_is_wrong_with_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "squares"
    assert execute(["models", "export", str(run), "-o", str(folder), "--both"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.raw.safetensors",
        "model.safetensors",
    ]
    assert "a square moving left" in (folder / "README.md").read_text()
    for weights in ("ema", "raw"):
        for model, name in ((run, "run.gif"), (folder, "folder.gif")):
            assert (
                generate(
                    "a square moving left",
                    "--model",
                    model,
                    "-o",
                    tmp_path / name,
                    "--weights",
                    weights,
                    "-y",
                )
                == 0
            )
        one, other = (
            reference.read((tmp_path / name).read_bytes()).frames() for name in ("run.gif", "folder.gif")
        )
        assert all(
            np.array_equal(a, b) for a, b in zip(one, other, strict=True)
        )  # the recipe they carry names another model
    assert execute(["models", "export", str(run), "-o", str(folder)]) == 4
    assert execute(["models", "export", str(run), "-o", str(folder), "-y", "--step", "9"]) == 5
    assert "Steps that are saved: 3" in capsys.readouterr().err
    config = json.loads((folder / "config.json").read_text())
    for change, says in (
        ({"version": 2}, "version is 2"),
        ({"diffusion": None}, "diffusion is missing"),
        ({"model": {"dim": 5}}, "not the weights of this generator"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        assert generate("a square", "--model", folder, "-o", tmp_path / "x.gif") == 5
        assert says in capsys.readouterr().err
