"""Exit codes and messages: which number, what was wrong, and what to type next."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests import reference
from tests.conftest import edited, gif, parsed, vedit


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gif", "rotate", "45", "IN"], 2, "expected 0, 90, 180, 270"),
        (
            ["gif", "crop", "--left", "60%", "--right", "40%", "IN"],
            2,
            "crop leaves no pixels (left 60% + right 40% of 64)",
        ),
        (["gif", "crop", "IN"], 2, "Give one of --rect"),
        (["gif", "speed", "9", "IN"], 2, "--any 9"),
        (
            ["gif", "rotate", "90", "/no/such/file.gif"],
            3,
            "/no/such/file.gif: cannot read: no such file or directory",
        ),
        (["gif", "rotate", "90", "FOLDER"], 2, "-O DIR"),
        (["gif", "rotate", "90", "IN", "-o", "IN"], 2, "both input and output"),
        (["gif", "rotate", "90", "IN", "-o", "/no/such/folder/x.gif"], 4, "mkdir -p /no/such/folder"),
        (["gif", "rotate", "90", "IN", "-o", "FOLDER"], 4, "is a folder"),
        (["gif", "rotate", "90", "IN", "--limit", "canvas=5"], 6, "--limit canvas="),
        (["gif", "rotate", "90", "IN", "--limit", "height=5"], 2, "no limit is called"),
        (["gif", "rotate", "90", "IN", "-y", "-n"], 2, "-y and -n"),
        (["gif", "rotate", "90", "IN", "-j", "0"], 2, "0"),
        (["gif", "rotate", "90", "IN", "--json"], 2, "-o FILE"),
        (["gif", "rotate", "90", "a.gif", "b.gif"], 2, "-O DIR"),
        (["gif", "rotate", "90", "--nonsense", "IN"], 2, "--nonsense"),
        (["nonsense"], 2, "vedit --help"),
        (["probe", "/no/such/file.gif"], 3, "cannot read"),
        (["gif", "chain", "IN"], 2, ""),
        (["gif", "chain", "crop:sideways=3", "IN"], 2, "sideways"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_each_mistake_has_its_code_and_says_what_is_right(
    arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    places = {"IN": str(gif("ok_plain.gif")), "FOLDER": str(tmp_path)}
    done = vedit(*(places.get(argument, argument) for argument in arguments))
    assert (done.code, done.out) == (code, b"")
    assert done.err.startswith("vedit: ") and words in done.err
    assert "Traceback" not in done.err and "bug" not in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "gif rotate 90 IN -o", "gif rotate 90 IN -qO", "gif preview IN -o", "gif chain rotate:90 IN -O", "convert IN -O", "demo -O",
        "generate dot -O", "generate dot -o", "edit IN -o", "invert IN -o", "scene dot -o", "replay IN -o", "score IN --json",
        "score IN --html", "score IN --journal", "score compare IN IN --json", "score table IN -o", "models pack IN -o",
        "models export IN -o", "bench scenes -o",
    ],
)  # fmt: skip
def test_a_name_that_is_empty_is_refused_whatever_option_it_is_for(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = vedit(*(str(gif("ok_plain.gif")) if word == "IN" else word for word in line.split()), "")
    assert done.code == 2 and "is empty" in done.err and not list(tmp_path.iterdir())


def test_an_error_is_printed_once_with_the_name_of_the_file_in_front() -> None:
    done = vedit("gif", "rotate", "90", gif("err_text.gif"))
    assert done.err.count(str(gif("err_text.gif"))) == 1
    assert done.err == f'vedit: {gif("err_text.gif")}: not a GIF (starts with "<htm").\n'


@pytest.mark.parametrize("name", ["-", "pipe"])
def test_damage_on_standard_input_is_named_by_a_dash(name: str) -> None:
    arguments = ["-"] if name == "-" else []
    done = vedit("gif", "rotate", "90", *arguments, stdin=b"")
    assert (done.code, done.err) == (3, "vedit: -: empty file.\n")


def test_debug_shows_the_traceback_that_is_otherwise_hidden() -> None:
    shown = vedit("gif", "rotate", "90", "/no/such.gif", "--debug")
    assert shown.code == 3 and "Traceback" in shown.err and shown.err.endswith("no such file or directory.\n")


def test_a_bug_is_told_as_one_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import vedit.jobs.media.gif as app

    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(app, "run_file", broken)
    done = vedit("gif", "rotate", "90", gif("ok_1x1.gif"))
    assert done.code == 1
    assert "bug: ZeroDivisionError" in done.err and "vedit env" in done.err and "Traceback" not in done.err


def test_out_of_memory_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    import vedit.jobs.media.gif as app

    def greedy(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr(app, "run_file", greedy)
    done = vedit("gif", "rotate", "90", gif("ok_1x1.gif"))
    assert done.code == 6 and "out of memory" in done.err


def test_json_tells_what_was_done(tmp_path: Path) -> None:
    out = tmp_path / "out.gif"
    done = vedit("gif", "rotate", "90", gif("ok_plain.gif"), "-o", out, "--json")
    report = json.loads(done.text)
    assert done.text.count("\n") == 1
    assert (report["path"], report["size_in"], report["size_out"], report["images"]) == (
        "index",
        [64, 48],
        [48, 64],
        6,
    )
    assert (report["duration_s"], report["bytes_in"], report["bytes_out"]) == (
        0.6,
        gif("ok_plain.gif").stat().st_size,
        out.stat().st_size,
    )


@pytest.mark.parametrize(
    "arguments", [("speed", "0.5"), ("rotate", "90"), ("resize", "--width", "9")], ids=" ".join
)
def test_a_dry_run_writes_nothing_and_tells_the_plan(arguments: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "out.gif"
    done = vedit("gif", *arguments, gif("ok_plain.gif"), "-o", out, "--dry-run", "--json")
    assert done.code == 0 and not out.exists()
    plan = json.loads(done.text)
    assert plan["output"] == str(out) and plan["path"] in ("copy", "index", "full")
    if arguments[0] == "speed":
        assert plan["delays"] == [20] * 6
    written = vedit("gif", *arguments, gif("ok_plain.gif"), "-o", out, "--json")
    assert json.loads(written.text)["size_out"] == plan["size_out"]


def test_a_dry_run_to_standard_output_prints_the_plan_and_no_gif() -> None:
    done = vedit("gif", "speed", "0.5", gif("ok_plain.gif"), "--dry-run")
    assert done.code == 0 and "20 20 20 20 20 20" in done.text and b"GIF89a" not in done.out


@pytest.mark.parametrize(
    ("arguments", "path"),
    [(("speed", "0.5"), "copy"), (("rotate", "90"), "index"), (("resize", "--width", "9"), "full")],
)
def test_info_prints_the_path_taken(arguments: tuple[str, ...], path: str) -> None:
    done = vedit("gif", *arguments, "--info", gif("ok_plain.gif"))
    assert (done.code, done.err) == (0, f"{path}\n")


def test_quiet_keeps_warnings_and_progress_away_but_not_errors() -> None:
    assert vedit("gif", "rotate", "90", "-q", gif("warn_corrupt_lzw.gif")).err == ""
    assert vedit("gif", "rotate", "90", "-q", gif("err_text.gif")).err != ""


def test_verbose_says_how_the_input_was_processed(tmp_path: Path) -> None:
    done = vedit("gif", "rotate", "90", "-v", gif("ok_plain.gif"), "-o", tmp_path / "out.gif")
    assert "index path (unpack rotate pack)" in done.err


def test_progress_for_programs_is_one_json_line_per_image(tmp_path: Path) -> None:
    done = vedit(
        "gif", "rotate", "90", "--progress", "jsonl", gif("ok_plain.gif"), "-o", tmp_path / "out.gif"
    )
    assert [json.loads(line) for line in done.err.splitlines()] == [
        {"frame": n, "total": 6} for n in range(1, 7)
    ]


def test_many_warnings_are_counted_not_printed() -> None:
    head, *images = gif("warn_corrupt_lzw.gif").read_bytes().partition(b"\x21\xf9")
    many = head + b"".join(images)[:-1] * 30 + b"\x3b"
    done = vedit("gif", "rotate", "90", stdin=many)
    assert done.code == 0
    assert len(done.err.splitlines()) <= 11 and "further warnings" in done.err


def test_options_come_from_the_environment_and_from_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text('[gif.resize]\nwidth = "10"\nfilter = "nearest"\n')
    monkeypatch.setenv("VEDIT_CONFIG_DIR", str(tmp_path))
    by_settings = vedit("gif", "resize", gif("ok_plain.gif"))
    assert reference.read(by_settings.out).size == (10, 8)
    monkeypatch.setenv("VEDIT_GIF_RESIZE_WIDTH", "20")
    assert reference.read(vedit("gif", "resize", gif("ok_plain.gif")).out).size == (20, 15)
    assert reference.read(vedit("gif", "resize", "--width", "40", gif("ok_plain.gif")).out).size == (40, 30)


def test_a_wrong_settings_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text("[gif.resize\n")
    monkeypatch.setenv("VEDIT_CONFIG_DIR", str(tmp_path))
    done = vedit("gif", "rotate", "90", gif("ok_1x1.gif"))
    assert done.code == 2 and str(tmp_path / "config.toml") in done.err


def test_chains_from_a_line_and_from_a_file_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "steps.txt").write_text(
        "# make it small\ncrop:left=10%,right=10%\n\n  # and turn\nrotate:90\nspeed:0.5\n"
    )
    line = edited("ok_plain.gif", "chain", "crop:left=10%,right=10%; rotate:90; speed:0.5")
    assert edited("ok_plain.gif", "chain", "-f", str(tmp_path / "steps.txt")) == line
    assert reference.read(line).size == (48, 52) and reference.read(line).delays == [20] * 6
    assert edited("ok_plain.gif", "chain", "crop:left=10%,right=10%, rotate:90, speed:0.5") == line


def test_the_order_of_a_chain_is_the_order_written() -> None:
    first, second = (
        edited("ok_plain.gif", "chain", "crop:left=20; rotate:90"),
        edited("ok_plain.gif", "chain", "rotate:90; crop:left=20"),
    )
    assert (reference.read(first).size, reference.read(second).size) == ((48, 44), (28, 64))


def test_a_file_whose_name_looks_like_a_value_is_an_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "90").write_bytes(gif("ok_plain.gif").read_bytes())
    done = vedit("gif", "rotate", "180", "90")
    assert done.code == 0 and reference.read(done.out).size == (64, 48)


def test_input_comes_from_a_pipe_when_none_is_named() -> None:
    assert vedit("gif", "rotate", "90", stdin=gif("ok_plain.gif").read_bytes()).out == edited(
        "ok_plain.gif", "rotate", "90"
    )


def test_an_unreadable_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "secret.gif"
    path.write_bytes(gif("ok_1x1.gif").read_bytes())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("permissions do not bind this user")
    done = vedit("gif", "rotate", "90", path)
    assert done.code == 3 and "permission denied" in done.err


def test_a_read_only_folder_is_an_output_error(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("permissions do not bind this user")
    done = vedit("gif", "rotate", "90", gif("ok_1x1.gif"), "-o", folder / "out.gif")
    assert done.code == 4 and "permission denied" in done.err


def test_a_full_disk_is_an_output_error_without_a_traceback() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    done = vedit("gif", "rotate", "90", gif("ok_plain.gif"), "-o", "/dev/full")
    assert done.code == 4
    assert (
        done.err == "vedit: /dev/full: cannot write: no space left on device.\n"
        or "/dev/full: cannot write: no space left on device" in done.err
    )


def test_probe_reads_what_the_reference_reads() -> None:
    for name in (
        "ok_metadata.gif",
        "ok_disposal_mix.gif",
        "ok_local_palettes.gif",
        "ok_delays.gif",
        "ok_loop7.gif",
    ):
        facts, source = json.loads(vedit("probe", "--json", gif(name)).text), parsed(gif(name))
        assert (facts["width"], facts["height"], facts["images"], facts["loop"]) == (
            *source.size,
            len(source.images),
            source.loop,
        )
        assert (facts["delays_cs"], facts["disposals"], len(facts["comments"])) == (
            source.delays,
            source.disposals,
            len(source.comments),
        )
